//! Whether the requests of a key go on that the audit log may miss.

use clap::ValueEnum;
use serde::Serialize;
use tollgate_proto::admin::v1::KeyAudit;

/// The mode, as it is typed and shown.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Audit {
    /// They are refused.
    #[default]
    Required,
    /// They go on, unless a budget is charged for them.
    #[value(alias = "best_effort")]
    BestEffort,
}

impl Audit {
    /// The word in files and answers.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::BestEffort => "best_effort",
        }
    }

    /// What the control plane says. One that does not know of modes, or says none, keeps to the usual one.
    pub(crate) const fn from_wire(audit: KeyAudit) -> Self {
        match audit {
            KeyAudit::Unspecified | KeyAudit::Required => Self::Required,
            KeyAudit::BestEffort => Self::BestEffort,
        }
    }

    /// As the control plane is told.
    pub(crate) const fn to_wire(self) -> KeyAudit {
        match self {
            Self::Required => KeyAudit::Required,
            Self::BestEffort => KeyAudit::BestEffort,
        }
    }
}

/// Reads the word of a file.
pub(crate) fn audit(word: &str) -> Result<Audit, String> {
    let found = [Audit::Required, Audit::BestEffort].into_iter().find(|audit| audit.word() == word);
    found.ok_or_else(|| "must be required or best_effort".to_owned())
}
