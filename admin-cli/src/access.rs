//! Who may do what, in one form for the nouns and for the declarative file: who gets a role, where it holds, and what the
//! developers of a team may do for themselves.

use std::fmt;

use prost_types::Duration;
use tollgate_proto::admin::v1::{self, binding};

use crate::{literals::quota::shown_seconds, quota::ordered};

/// How long a short-lived credential may live when nothing else is said, in seconds.
const TOKEN_LIFE_S: i64 = 12 * 3_600;

/// Who gets a role.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Subject {
    User(String),
    Group(String),
    ServiceAccount(String),
}

/// Where a role holds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) enum Scope {
    #[default]
    Everywhere,
    Customer(String),
    Team(String),
    Own,
}

/// What the developers of a team may do for themselves.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SelfService(v1::SelfService);

// === impl Subject ===

impl Subject {
    /// Reads the subject of a binding. One of a kind that this version does not know is nobody.
    pub(crate) fn new(wire: Option<binding::Subject>) -> Option<Self> {
        Some(match wire? {
            binding::Subject::User(user) => Self::User(user),
            binding::Subject::Group(group) => Self::Group(group),
            binding::Subject::ServiceAccount(account) => Self::ServiceAccount(account),
        })
    }

    /// The wire form.
    pub(crate) fn into_wire(self) -> binding::Subject {
        match self {
            Self::User(user) => binding::Subject::User(user),
            Self::Group(group) => binding::Subject::Group(group),
            Self::ServiceAccount(account) => binding::Subject::ServiceAccount(account),
        }
    }

    /// The subject with a name for its id. A group has no id.
    pub(crate) fn named(self, name_of: impl FnOnce(&str) -> String) -> Self {
        match self {
            Self::User(user) => Self::User(name_of(&user)),
            Self::Group(group) => Self::Group(group),
            Self::ServiceAccount(account) => Self::ServiceAccount(name_of(&account)),
        }
    }

    /// What kind it is, and which one.
    pub(crate) fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::User(user) => ("user", user),
            Self::Group(group) => ("group", group),
            Self::ServiceAccount(account) => ("service-account", account),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, which) = self.parts();
        write!(f, "{kind} {which}")
    }
}

// === impl Scope ===

impl Scope {
    /// Reads the scope of a binding.
    pub(crate) fn new(wire: Option<binding::Scope>) -> Self {
        match wire {
            None => Self::Everywhere,
            Some(binding::Scope::Customer(customer)) => Self::Customer(customer),
            Some(binding::Scope::Team(team)) => Self::Team(team),
            Some(binding::Scope::Own(_)) => Self::Own,
        }
    }

    /// The wire form.
    pub(crate) fn into_wire(self) -> Option<binding::Scope> {
        match self {
            Self::Everywhere => None,
            Self::Customer(customer) => Some(binding::Scope::Customer(customer)),
            Self::Team(team) => Some(binding::Scope::Team(team)),
            Self::Own => Some(binding::Scope::Own(true)),
        }
    }

    /// The scope with a name for its id.
    pub(crate) fn named(self, name_of: impl FnOnce(&str) -> String) -> Self {
        match self {
            Self::Customer(customer) => Self::Customer(name_of(&customer)),
            Self::Team(team) => Self::Team(name_of(&team)),
            other => other,
        }
    }

    /// What kind it is, and which one.
    pub(crate) fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Everywhere => ("everywhere", ""),
            Self::Customer(customer) => ("customer", customer),
            Self::Team(team) => ("team", team),
            Self::Own => ("own", ""),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parts() {
            (kind, "") => f.write_str(kind),
            (kind, which) => write!(f, "{kind} {which}"),
        }
    }
}

// === impl SelfService ===

impl SelfService {
    /// Reads what the wire says. What was left to the control plane is filled in as it fills it in.
    pub(crate) fn new(wire: v1::SelfService) -> Self {
        let v1::SelfService { keys_max, key_life_max, token_life_max, models } = wire;
        let token_life_max = token_life_max.or(Some(Duration { seconds: TOKEN_LIFE_S, nanos: 0 }));
        Self(v1::SelfService { keys_max, key_life_max, token_life_max, models: ordered(models) })
    }

    /// The wire form.
    pub(crate) fn into_wire(self) -> v1::SelfService {
        self.0
    }

    /// The most keys of one developer.
    pub(crate) const fn keys(&self) -> i32 {
        self.0.keys_max
    }

    /// How long a key may live, as people write it. `None`: for ever.
    pub(crate) fn key_life(&self) -> Option<String> {
        self.0.key_life_max.as_ref().map(shown_life)
    }

    /// How long a short-lived credential may live, as people write it.
    pub(crate) fn token_life(&self) -> String {
        self.0.token_life_max.as_ref().map_or_else(|| shown_seconds(TOKEN_LIFE_S), shown_life)
    }

    /// Whether credentials may live as long as they may when nothing else is said.
    pub(crate) fn lives_as_usual(&self) -> bool {
        self.0.token_life_max == Some(Duration { seconds: TOKEN_LIFE_S, nanos: 0 })
    }

    /// The models that keys may ask for. Empty: every model.
    pub(crate) fn models(&self) -> &[String] {
        &self.0.models
    }
}

fn shown_life(life: &Duration) -> String {
    shown_seconds(life.seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_that_was_left_to_the_control_plane_is_twelve_hours() {
        let said = Duration { seconds: TOKEN_LIFE_S, nanos: 0 };
        let one = SelfService::new(v1::SelfService { keys_max: 1, ..v1::SelfService::default() });
        let other =
            SelfService::new(v1::SelfService { keys_max: 1, token_life_max: Some(said), ..v1::SelfService::default() });
        assert_eq!(one, other);
        assert_eq!((one.token_life(), one.key_life()), ("12h".to_owned(), None));
    }

    #[test]
    fn subjects_and_scopes_survive_the_wire() {
        for subject in [Subject::User("u".into()), Subject::Group("g".into()), Subject::ServiceAccount("s".into())] {
            assert_eq!(Subject::new(Some(subject.clone().into_wire())), Some(subject));
        }
        for scope in [Scope::Everywhere, Scope::Own, Scope::Customer("c".into()), Scope::Team("t".into())] {
            assert_eq!(Scope::new(scope.clone().into_wire()), scope);
        }
    }
}
