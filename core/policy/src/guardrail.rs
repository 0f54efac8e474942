//! What is looked for in prompts and answers, and what is done where it is found.
//!
//! A guardrail is a source of rules, those of them that act, where they look, and an action. Several may apply to a request; where two find
//! the same text the stricter action is taken. The rules themselves are text here: who enforces them compiles them.

use std::sync::Arc;

use crate::{
    id::{CustomerId, GuardrailId, TeamId},
    pattern::{Pattern, Patterns},
    time::UnixMillis,
};

/// The most guardrails of an installation: each request asks each of them whether it applies.
pub const GUARDRAILS_MAX: usize = 100;
/// The longest rule file, in bytes: the official one of Gitleaks takes 120 KiB.
pub const RULE_FILE_BYTES_MAX: usize = 512 * 1024;
/// The most expressions of a guardrail.
pub const EXPRESSIONS_MAX: usize = 200;
/// The longest expression, in bytes.
pub const EXPRESSION_BYTES_MAX: usize = 2_048;
/// The most blocked words of a guardrail.
pub const WORDS_MAX: usize = 1_000;
/// The most fingerprints that a guardrail lets pass.
pub const ALLOWED_MAX: usize = 1_000;
/// The most owners that a guardrail is for.
pub const SCOPE_MAX: usize = 1_000;
/// A fingerprint, in bytes.
pub const FINGERPRINT_BYTES: usize = 16;
/// With this begins a pattern in [`Guardrail::rules`] that is one of tags.
pub const TAG: &str = "tag:";

/// A guardrail.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Guardrail {
    /// Its id.
    pub id: GuardrailId,
    /// Its name.
    pub name: Arc<str>,
    /// Whether it does nothing.
    pub disabled: bool,
    /// Where its rules come from.
    pub source: RuleSource,
    /// Which of the rules act: patterns of their ids, or of their tags behind [`TAG`].
    pub rules: Patterns,
    /// Where it looks.
    pub directions: Directions,
    /// What is done where it finds something.
    pub action: Action,
    /// Whether what it finds is told, as if the action were taken, and nothing is done.
    pub shadow: bool,
    /// What it is for.
    pub scope: Scope,
    /// What it lets pass, sorted by fingerprint.
    pub allowed: Arc<[Allowed]>,
}

/// Where rules come from.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum RuleSource {
    /// Credentials: the rules that come with Tollgate, a rule file in the form of Gitleaks, or both.
    Secrets {
        /// Whether those that come with Tollgate are among them.
        builtin: bool,
        /// The rule file.
        file: Option<Arc<str>>,
    },
    /// Expressions of one's own.
    Expressions(Arc<[Expression]>),
    /// Words that must not pass.
    Words(Arc<[Arc<str>]>),
}

/// An expression of one's own.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Expression {
    /// Its id, as findings name it.
    pub id: Arc<str>,
    /// The expression, in the syntax of RE2.
    pub regex: Arc<str>,
}

/// Where a guardrail looks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Directions {
    /// In what goes to a provider.
    pub request: bool,
    /// In what comes back.
    pub response: bool,
}

/// Which way a text went.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Direction {
    /// To a provider.
    Request,
    /// Back.
    Response,
}

/// What is done where something is found, from the mildest to the strictest.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Action {
    /// It is told.
    Detect,
    /// A placeholder goes out in its place, and is taken back in the answer. In an answer as [`Self::Redact`].
    Tokenize,
    /// A placeholder takes its place for good.
    Redact,
    /// The request, or the answer, does not go on.
    Block,
}

/// What a guardrail is for: whatever each of the lists admits. An empty list admits everything.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Scope {
    /// The customers.
    pub customers: Vec<CustomerId>,
    /// The teams. Who is of one of the customers or of one of the teams is meant.
    pub teams: Vec<TeamId>,
    /// The keys, by name.
    pub keys: Patterns,
    /// The models, as clients name them.
    pub models: Patterns,
}

/// A secret that is let pass.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Allowed {
    /// Which one: a keyed hash, as findings tell it.
    pub fingerprint: [u8; FINGERPRINT_BYTES],
    /// Until when; `None`: for good.
    pub until: Option<UnixMillis>,
}

/// Who asks for what.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// The customer.
    pub customer: &'a CustomerId,
    /// The team.
    pub team: &'a TeamId,
    /// The name of the key.
    pub key: &'a str,
    /// The model, as the client named it.
    pub model: &'a str,
}

// === impl Guardrail ===

impl Guardrail {
    /// Whether it looks at what the asker sends or gets.
    #[must_use]
    pub fn applies(&self, direction: Direction, asker: Asker<'_>) -> bool {
        !self.disabled && self.directions.has(direction) && self.scope.has(asker)
    }

    /// Whether a rule of that id and those tags acts.
    #[must_use]
    pub fn acts<'a>(&self, id: &str, tags: impl IntoIterator<Item = &'a str>) -> bool {
        if self.rules.is_empty() {
            return true;
        }
        let tags: Vec<String> = tags.into_iter().map(|tag| [TAG, tag].concat()).collect();
        let is_one = |pattern: &Pattern| pattern.matches(id) || tags.iter().any(|tag| pattern.matches(tag));
        let allowed = self.rules.allowed().is_empty() || self.rules.allowed().iter().any(is_one);
        allowed && !self.rules.denied().iter().any(is_one)
    }

    /// Whether the secret is let pass now.
    #[must_use]
    pub fn lets_pass(&self, fingerprint: &[u8; FINGERPRINT_BYTES], now: UnixMillis) -> bool {
        let at = self.allowed.binary_search_by(|allowed| allowed.fingerprint.cmp(fingerprint));
        at.ok().and_then(|at| self.allowed.get(at)).is_some_and(|allowed| allowed.until.is_none_or(|until| now < until))
    }
}

// === impl Directions ===

impl Directions {
    /// Whether it is one of them.
    #[must_use]
    pub const fn has(self, direction: Direction) -> bool {
        match direction {
            Direction::Request => self.request,
            Direction::Response => self.response,
        }
    }
}

// === impl Direction ===

impl Direction {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Request, Self::Response];

    /// The word for it in configuration and records.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
        }
    }

    /// The direction of that word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|direction| direction.word() == word)
    }
}

// === impl Action ===

impl Action {
    /// Every action, from the mildest to the strictest.
    pub const ALL: [Self; 4] = [Self::Detect, Self::Tokenize, Self::Redact, Self::Block];

    /// The word for it in configuration and records.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Detect => "detect",
            Self::Tokenize => "tokenize",
            Self::Redact => "redact",
            Self::Block => "block",
        }
    }

    /// The action of that word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.word() == word)
    }
}

// === impl Scope ===

impl Scope {
    fn has(&self, asker: Asker<'_>) -> bool {
        let Self { customers, teams, keys, models } = self;
        let is_open = customers.is_empty() && teams.is_empty();
        let is_owner = is_open || customers.contains(asker.customer) || teams.contains(asker.team);
        is_owner && keys.admit(asker.key) && models.admit(asker.model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ULID: &str = "01k9zq3v5m8c4t2n7r6x0w1y9";

    fn guardrail() -> Guardrail {
        Guardrail {
            id: GuardrailId::from_ulid(&format!("{ULID}b")).unwrap(),
            name: "g".into(),
            disabled: false,
            source: RuleSource::Secrets { builtin: true, file: None },
            rules: Patterns::default(),
            directions: Directions { request: true, response: false },
            action: Action::Block,
            shadow: false,
            scope: Scope::default(),
            allowed: Arc::default(),
        }
    }

    fn patterns(list: &[&str]) -> Patterns {
        Patterns::parse(list).unwrap()
    }

    #[test]
    fn a_guardrail_applies_to_whatever_each_list_admits() {
        let customer = |last| CustomerId::from_ulid(&format!("{ULID}{last}")).unwrap();
        let team = |last| TeamId::from_ulid(&format!("{ULID}{last}")).unwrap();
        let (own, of_team) = (customer('a'), team('a'));
        let asker = Asker { customer: &own, team: &of_team, key: "payments-dev", model: "claude-x" };
        let scope = Scope::default;
        for (scope, expect) in [
            (scope(), true),
            (Scope { customers: vec![customer('a')], ..scope() }, true),
            (Scope { customers: vec![customer('b')], ..scope() }, false),
            (Scope { customers: vec![customer('b')], teams: vec![team('a')], ..scope() }, true),
            (Scope { teams: vec![team('b')], ..scope() }, false),
            (Scope { keys: patterns(&["*"]), ..scope() }, true),
            (Scope { keys: patterns(&["payments-*", "!*-prod"]), ..scope() }, true),
            (Scope { keys: patterns(&["!payments-*"]), ..scope() }, false),
            (Scope { models: patterns(&["gpt-*"]), ..scope() }, false),
            (Scope { customers: vec![customer('a')], models: patterns(&["gpt-*"]), ..scope() }, false),
        ] {
            let one = Guardrail { scope, ..guardrail() };
            assert_eq!(one.applies(Direction::Request, asker), expect, "{one:?}");
            assert!(!one.applies(Direction::Response, asker), "it looks at requests alone");
            assert!(!Guardrail { disabled: true, ..one }.applies(Direction::Request, asker));
        }
    }

    #[test]
    fn rules_act_by_id_or_by_tag() {
        for (rules, expect) in [
            (&[][..], [true, true]),
            (&["aws-*"], [true, false]),
            (&["tag:cloud"], [true, false]),
            (&["tag:chat"], [false, true]),
            (&["*", "!slack-*"], [true, false]),
            (&["!tag:chat"], [true, false]),
            (&["cloud"], [false, false]),
        ] {
            let one = Guardrail { rules: patterns(rules), ..guardrail() };
            let acts = [one.acts("aws-access-token", ["cloud", "aws"]), one.acts("slack-bot-token", ["chat"])];
            assert_eq!(acts, expect, "{rules:?}");
        }
    }

    #[test]
    fn a_fingerprint_passes_until_its_time() {
        let allowed = |first, until: Option<i64>| Allowed {
            fingerprint: [first; FINGERPRINT_BYTES],
            until: until.map(UnixMillis::new),
        };
        let one = Guardrail { allowed: [allowed(1, None), allowed(2, Some(10))].into(), ..guardrail() };
        let passes = |first, now| one.lets_pass(&[first; FINGERPRINT_BYTES], UnixMillis::new(now));
        assert_eq!([passes(1, 99), passes(2, 9), passes(2, 10), passes(3, 0)], [true, true, false, false]);
    }

    #[test]
    fn words_are_read_back_and_actions_grow_stricter() {
        assert!(Action::ALL.into_iter().all(|action| Action::of_word(action.word()) == Some(action)));
        assert!(Direction::ALL.into_iter().all(|way| Direction::of_word(way.word()) == Some(way)));
        assert!(Action::ALL.is_sorted());
    }
}
