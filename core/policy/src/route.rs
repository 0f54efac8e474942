//! Where the requests for a model go: a route gives a name, or a pattern of names, to targets, tier by tier.
//!
//! The first route, by priority, that is for the caller and for the model decides alone. Where none of its targets can be
//! reached, the request is refused: what an administrator has routed is never sent elsewhere.

use std::{sync::Arc, time::Duration};

use tollgate_rule::Rule;

use crate::{
    id::{CustomerId, KeyId, ProviderId, RouteId, TeamId},
    pattern::Patterns,
};

/// The most tiers of a route, the first one included.
pub const TIERS_MAX: usize = 8;
/// The most targets of a tier.
pub const TARGETS_MAX: usize = 32;
/// The most owners that a route is for.
pub const SCOPE_MAX: usize = 1_000;
/// The largest weight of a target, so that no sum of weights overflows.
pub const WEIGHT_MAX: u32 = 1_000;
/// The shortest time that an answer may have to begin: below it, every attempt would fail.
pub const FIRST_BYTE_TIMEOUT_MIN: Duration = Duration::from_millis(100);
/// The longest.
pub const FIRST_BYTE_TIMEOUT_MAX: Duration = Duration::from_secs(3_600);
/// The shortest time after which a second provider is asked beside the first: below it, every request would be sent twice.
pub const HEDGE_AFTER_MIN: Duration = Duration::from_millis(100);
/// The longest.
pub const HEDGE_AFTER_MAX: Duration = Duration::from_secs(600);
/// The shortest time that a request may have in all.
pub const DEADLINE_MIN: Duration = Duration::from_secs(1);
/// The longest.
pub const DEADLINE_MAX: Duration = Duration::from_secs(24 * 3_600);

/// A route.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Route {
    /// Its id.
    pub id: RouteId,
    /// Its name.
    pub name: Arc<str>,
    /// The models, as clients name them.
    pub models: Patterns,
    /// Whom it is for.
    pub scope: Scope,
    /// The lowest decides.
    pub priority: i32,
    /// Whether it does not decide.
    pub disabled: bool,
    /// Whether a request is refused that the target's dialect cannot express whole.
    pub strict: bool,
    /// Where to, and where to after that; never empty.
    pub tiers: Vec<Tier>,
    /// It decides only where this holds; `None`: always.
    pub rule: Option<Rule>,
    /// How is chosen within a tier.
    pub balance: Balance,
    /// How long an attempt may take until its answer begins; `None`: as the replica is configured.
    pub first_byte_timeout: Option<Duration>,
    /// When the first attempt has not begun to answer after this long, another is made beside it, and whichever begins first is the
    /// answer; `None`: never. Both are charged.
    pub hedge_after: Option<Duration>,
    /// How long the whole request may take; `None`: as long as it takes.
    pub deadline: Option<Duration>,
}

/// How a target is chosen within a tier. A session stays with its choice while that answers.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Balance {
    /// In proportion to the weights.
    #[default]
    Weight,
    /// Whichever begins to answer soonest, as this replica has seen it.
    Latency,
}

/// Whom a route is for: for everybody where all lists are empty, otherwise for whoever is in one of them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Scope {
    /// These customers.
    pub customers: Vec<CustomerId>,
    /// These teams.
    pub teams: Vec<TeamId>,
    /// These keys.
    pub keys: Vec<KeyId>,
}

/// Targets among which is chosen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tier {
    /// The targets; never empty.
    pub targets: Vec<RouteTarget>,
    /// After which failures of the tier before it is tried; the first tier is tried anyway.
    pub on: Conditions,
}

/// One target.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RouteTarget {
    /// The provider.
    pub provider: ProviderId,
    /// The model, as the provider names it; `None`: as the client does.
    pub model: Option<Arc<str>>,
    /// How often it is chosen relative to the others of its tier, at least 1.
    pub weight: u32,
}

/// After which failures a request goes on to the next tier.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Conditions(u8);

/// A failure after which a request may go on.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Condition {
    /// 429.
    RateLimit,
    /// 5xx, and no connection.
    ServerError,
    /// 529, and 503.
    Overloaded,
    /// The answer did not begin in time. What was sent may have been carried out, and is charged.
    Timeout,
    /// The conversation is longer than the model takes.
    ContextLength,
    /// 401, 403: the provider does not accept the credential.
    Credential,
    /// 404: the provider does not know the model.
    NotFound,
}

// === impl Scope ===

impl Scope {
    /// Whether it has that key, of that team, of that customer.
    #[must_use]
    pub fn has(&self, customer: &CustomerId, team: &TeamId, key: &KeyId) -> bool {
        let Self { customers, teams, keys } = self;
        let is_open = customers.is_empty() && teams.is_empty() && keys.is_empty();
        is_open || keys.contains(key) || teams.contains(team) || customers.contains(customer)
    }
}

// === impl Balance ===

impl Balance {
    /// Every way.
    pub const ALL: [Self; 2] = [Self::Weight, Self::Latency];

    /// The word for it in configuration and records.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Weight => "weight",
            Self::Latency => "latency",
        }
    }

    /// The way of that word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|balance| balance.word() == word)
    }
}

// === impl Conditions ===

impl Default for Conditions {
    /// Whatever says that the provider did not answer, and charges nothing.
    fn default() -> Self {
        use Condition::{Credential, Overloaded, RateLimit, ServerError};
        [RateLimit, ServerError, Overloaded, Credential].into_iter().collect()
    }
}

impl Conditions {
    /// Whether the failure is among them.
    #[must_use]
    pub const fn contain(self, condition: Condition) -> bool {
        self.0 & condition.bit() != 0
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Condition> {
        Condition::ALL.into_iter().filter(move |condition| self.contain(*condition))
    }
}

impl FromIterator<Condition> for Conditions {
    fn from_iter<I: IntoIterator<Item = Condition>>(conditions: I) -> Self {
        Self(conditions.into_iter().fold(0, |all, condition| all | condition.bit()))
    }
}

// === impl Condition ===

impl Condition {
    /// Every condition.
    pub const ALL: [Self; 7] = [
        Self::RateLimit,
        Self::ServerError,
        Self::Overloaded,
        Self::Timeout,
        Self::ContextLength,
        Self::Credential,
        Self::NotFound,
    ];

    /// The word for it in configuration and records.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::RateLimit => "rate_limit",
            Self::ServerError => "server_error",
            Self::Overloaded => "overloaded",
            Self::Timeout => "timeout",
            Self::ContextLength => "context_length",
            Self::Credential => "credential",
            Self::NotFound => "not_found",
        }
    }

    /// The condition of that word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|condition| condition.word() == word)
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_those_that_were_put_in() {
        let some: Conditions = [Condition::Timeout, Condition::NotFound].into_iter().collect();
        for condition in Condition::ALL {
            let is_in = matches!(condition, Condition::Timeout | Condition::NotFound);
            assert_eq!(some.contain(condition), is_in);
            assert_eq!(Condition::of_word(condition.word()), Some(condition));
        }
        assert_eq!(some.iter().collect::<Vec<_>>(), [Condition::Timeout, Condition::NotFound]);
        assert!(
            !Conditions::default().contain(Condition::Timeout),
            "what may have been charged is not repeated unasked"
        );
    }

    #[test]
    fn an_empty_scope_has_everybody_and_any_other_only_its_own() {
        let ulid = |last: char| format!("01k9zq3v5m8c4t2n7r6x0w1y9{last}");
        let customer = |last| CustomerId::from_ulid(&ulid(last)).unwrap();
        let team = |last| TeamId::from_ulid(&ulid(last)).unwrap();
        let key = |last| KeyId::from_ulid(&ulid(last)).unwrap();
        let (one, other) = ((customer('a'), team('a'), key('a')), (customer('b'), team('b'), key('b')));
        for (scope, expect) in [
            (Scope::default(), (true, true)),
            (Scope { customers: vec![one.0.clone()], ..Scope::default() }, (true, false)),
            (Scope { teams: vec![other.1.clone()], ..Scope::default() }, (false, true)),
            (Scope { keys: vec![one.2.clone()], teams: vec![other.1.clone()], ..Scope::default() }, (true, true)),
            (Scope { keys: vec![key('c')], ..Scope::default() }, (false, false)),
        ] {
            let has = |it: &(CustomerId, TeamId, KeyId)| scope.has(&it.0, &it.1, &it.2);
            assert_eq!((has(&one), has(&other)), expect, "{scope:?}");
        }
    }
}
