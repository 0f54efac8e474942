//! Budgets: how many dollars an owner may spend in a window, as the replicas enforce it.

use std::sync::Arc;

use crate::{
    id::{BudgetId, ProviderId},
    money::NanoUsd,
    pattern::Patterns,
    window::Period,
};

pub mod say;

/// The most budgets of one owner.
pub const BUDGETS_MAX: usize = 16;
/// The longest text that says whom to ask, in characters.
pub const CONTACT_CHARS_MAX: usize = 120;

/// A budget. Every request of its owner that its scope covers is held against it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Budget {
    /// Its id.
    pub id: BudgetId,
    /// The most that may be spent in one window.
    pub limit: NanoUsd,
    /// How long a window is, for people. Which window it is now, the control plane says.
    pub period: Period,
    /// The models that it covers, by the name that was asked for.
    pub models: Patterns,
    /// The provider that it covers; `None`: all.
    pub provider: Option<ProviderId>,
    /// What happens at the limit.
    pub enforcement: Enforcement,
    /// How much is held for a stream.
    pub holding: Holding,
    /// What may be spent while no control plane can be reached.
    pub grace: Option<Grace>,
    /// Whom to ask for more, for the sentence of a refusal; empty: the platform team.
    pub contact: Arc<str>,
}

/// What happens at the limit.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Enforcement {
    /// Requests are refused: the limit is never passed.
    #[default]
    Hard,
    /// People are alerted, nothing is refused.
    Soft,
}

/// How much is held for an answer that is streamed.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Holding {
    /// The worst case.
    #[default]
    Auto,
    /// Always the worst case.
    Strict,
    /// The input and a slice of the output, extended as the answer grows. What was written and not yet read when an answer is
    /// cut may exceed the budget.
    Incremental,
}

/// An amount that is lent beforehand and kept for the time without a control plane.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Grace {
    /// How much each replica that uses the budget keeps.
    pub amount: NanoUsd,
    /// For how long, in milliseconds.
    pub duration_ms: u64,
}

impl Budget {
    /// Whether a request for this model at this provider is held against it; a tool is at none.
    #[must_use]
    pub fn covers(&self, model: &str, provider: Option<&ProviderId>) -> bool {
        self.models.admit(model) && self.provider.as_ref().is_none_or(|only| Some(only) == provider)
    }
}

impl Enforcement {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Hard => "hard",
            Self::Soft => "soft",
        }
    }

    /// What a word means.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        [Self::Hard, Self::Soft].into_iter().find(|known| known.word() == word)
    }
}

impl Holding {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Strict => "strict",
            Self::Incremental => "incremental",
        }
    }

    /// What a word means.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        [Self::Auto, Self::Strict, Self::Incremental].into_iter().find(|known| known.word() == word)
    }
}
