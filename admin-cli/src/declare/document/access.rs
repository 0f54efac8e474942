//! Roles, bindings and service accounts as the file writes them, and what the developers of a team may do for themselves.

use std::fmt;

use jiff::Timestamp;
use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::Expires;
use crate::{
    access::{Scope, SelfService, Subject},
    declare::tree::Place,
};

/// A role.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Role {
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) permissions: Option<Vec<String>>,
    #[serde(skip)]
    pub(crate) place: Place,
}

/// A service account. Its tokens are no part of a file.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct ServiceAccount {
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) disabled: Option<bool>,
    #[serde(skip)]
    pub(crate) place: Place,
}

/// A binding. Role, subject and scope tell it from the others.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Binding {
    pub(crate) role: String,
    pub(crate) subject: Subject,
    pub(crate) scope: Scope,
    /// `None` where the file says nothing, which leaves the end as it is.
    pub(crate) expires: Option<Expires>,
    pub(crate) place: Place,
}

/// What the developers of a team may do for themselves.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum SelfServed {
    None,
    Granted(SelfService),
}

#[derive(Serialize)]
struct SelfServiceFields<'s> {
    keys: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_life: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_life: Option<String>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    models: &'s [String],
}

// === impl Binding ===

impl Binding {
    /// What tells it from the others, as people read it: `auditor to group security-team, everywhere`.
    pub(crate) fn title(&self) -> String {
        let Self { role, subject, scope, .. } = self;
        format!("{role} to {subject}, {}", Placed(scope))
    }

    /// From when it no longer holds; `None` for never.
    pub(crate) fn end(&self) -> Option<Timestamp> {
        match self.expires {
            Some(Expires::At(at)) => Some(at),
            Some(Expires::Never) | None => None,
        }
    }
}

struct Placed<'s>(&'s Scope);

impl fmt::Display for Placed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Scope::Everywhere => f.write_str("everywhere"),
            Scope::Own => f.write_str("for their own"),
            scope => write!(f, "in {scope}"),
        }
    }
}

impl Serialize for Binding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { role, subject, scope, expires, place: _ } = self;
        let mut fields = serializer.serialize_map(None)?;
        fields.serialize_entry("role", role)?;
        let (kind, which) = subject.parts();
        fields.serialize_entry(if kind == "service-account" { "service_account" } else { kind }, which)?;
        match scope {
            Scope::Everywhere => {}
            Scope::Own => fields.serialize_entry("own", &true)?,
            Scope::Customer(which) => fields.serialize_entry("customer", which)?,
            Scope::Team(which) => fields.serialize_entry("team", which)?,
        }
        if let Some(Expires::At(at)) = expires {
            fields.serialize_entry("expires", &Expires::At(*at))?;
        }
        fields.end()
    }
}

impl Serialize for SelfServed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self::Granted(granted) = self else { return serializer.serialize_str("none") };
        let fields = SelfServiceFields {
            keys: granted.keys(),
            key_life: granted.key_life(),
            token_life: (!granted.lives_as_usual()).then(|| granted.token_life()),
            models: granted.models(),
        };
        fields.serialize(serializer)
    }
}
