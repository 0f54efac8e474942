//! Whether a key requires the audit log, as a snapshot says it.

use tollgate_policy::snapshot::AuditMode;

use super::{Field, problem};

/// The mode of a key in its item: nothing for the usual one, so that such an item is as it was before there were modes, and
/// replicas that know of none take it.
#[must_use]
pub fn audit_word(mode: AuditMode) -> &'static str {
    match mode {
        AuditMode::Required => "",
        AuditMode::BestEffort => mode.word(),
    }
}

pub(super) fn audit(word: &str) -> Field<AuditMode> {
    let mode = AuditMode::ALL.into_iter().find(|mode| audit_word(*mode) == word);
    mode.ok_or_else(|| problem("audit", format!("{word:?} is not known to this version")))
}
