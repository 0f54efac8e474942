//! The negative decision. A refusal is an answer, not an error: it has a kind, and a sentence for the client.

use std::{borrow::Cow, fmt};

/// Why a visit is refused. Metrics, records and the audit log carry [`RefusalKind::word`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum RefusalKind {
    /// Nothing is served at this path.
    UnknownRoute,
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// The request cannot be read.
    Malformed,
    /// The body, the headers or the address exceed their bound.
    TooLarge,
    /// The body did not arrive in time.
    Timeout,
    /// No credential, two that differ, or one that is neither a known key nor a developer's credential that holds.
    Unauthenticated,
    /// The key was revoked, or the session of a developer's credential has ended.
    KeyRevoked,
    /// The key, or a developer's credential for it, has expired.
    KeyExpired,
    /// The key's user, team or customer is disabled.
    OwnerDisabled,
    /// The key may not use the model.
    ModelDenied,
    /// The key may not use the tool, or its definition was not approved.
    ToolDenied,
    /// No provider that the key may reach serves the model.
    NoProvider,
    /// The key may not be used where the replica runs.
    RegionDenied,
    /// The model has no price, or the cost of the request no bound, and a budget would have to pay for it.
    Unpriced,
    /// What the request may cost does not fit in what is left of a budget.
    BudgetExhausted,
    /// What is left of a budget is held by requests that run.
    BudgetBusy,
    /// Nothing more can be borrowed of a budget, since no control plane answers.
    BudgetUnreachable,
    /// Too many requests or tokens in too short a time.
    RateLimited,
    /// Too many requests are open at the same time.
    ParallelLimited,
    /// The agent session reached its limit, or repeats itself.
    SessionLimited,
    /// A guardrail found what must not pass.
    Guardrail,
    /// The provider's dialect cannot express the request whole, and the route demands it.
    Inexpressible,
    /// The replica has no policy yet, is draining, or lacks a provider's secret.
    NotReady,
    /// The replica cannot remember more until its reports are received.
    Backlog,
    /// Every provider that was tried failed before it answered.
    UpstreamUnavailable,
    /// The provider did not answer in time.
    UpstreamTimeout,
    /// The provider answered with what is not its dialect.
    UpstreamInvalid,
}

/// A refusal.
#[derive(Clone, Eq, PartialEq)]
pub struct Refusal {
    kind: RefusalKind,
    sentence: Cow<'static, str>,
}

impl RefusalKind {
    /// Every kind.
    pub const ALL: [Self; 27] = [
        Self::UnknownRoute,
        Self::MethodNotAllowed,
        Self::Malformed,
        Self::TooLarge,
        Self::Timeout,
        Self::Unauthenticated,
        Self::KeyRevoked,
        Self::KeyExpired,
        Self::OwnerDisabled,
        Self::ModelDenied,
        Self::ToolDenied,
        Self::NoProvider,
        Self::RegionDenied,
        Self::Unpriced,
        Self::BudgetExhausted,
        Self::BudgetBusy,
        Self::BudgetUnreachable,
        Self::RateLimited,
        Self::ParallelLimited,
        Self::SessionLimited,
        Self::Guardrail,
        Self::Inexpressible,
        Self::NotReady,
        Self::Backlog,
        Self::UpstreamUnavailable,
        Self::UpstreamTimeout,
        Self::UpstreamInvalid,
    ];

    /// The word for logs, metrics, records and filters.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::UnknownRoute => "unknown_route",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::Timeout => "timeout",
            Self::Unauthenticated => "unauthenticated",
            Self::KeyRevoked => "key_revoked",
            Self::KeyExpired => "key_expired",
            Self::OwnerDisabled => "owner_disabled",
            Self::ModelDenied => "model_denied",
            Self::ToolDenied => "tool_denied",
            Self::NoProvider => "no_provider",
            Self::RegionDenied => "region_denied",
            Self::Unpriced => "unpriced",
            Self::BudgetExhausted => "budget_exhausted",
            Self::BudgetBusy => "budget_busy",
            Self::BudgetUnreachable => "budget_unreachable",
            Self::RateLimited => "rate_limited",
            Self::ParallelLimited => "parallel_limited",
            Self::SessionLimited => "session_limited",
            Self::Guardrail => "guardrail",
            Self::Inexpressible => "inexpressible",
            Self::NotReady => "not_ready",
            Self::Backlog => "backlog",
            Self::UpstreamUnavailable => "upstream_unavailable",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::UpstreamInvalid => "upstream_invalid",
        }
    }

    /// Whether policy decided it, rather than a fault on the way.
    #[must_use]
    pub const fn is_policy(self) -> bool {
        matches!(
            self,
            Self::Unauthenticated
                | Self::KeyRevoked
                | Self::KeyExpired
                | Self::OwnerDisabled
                | Self::ModelDenied
                | Self::ToolDenied
                | Self::NoProvider
                | Self::RegionDenied
                | Self::Unpriced
                | Self::BudgetExhausted
                | Self::SessionLimited
                | Self::Guardrail
                | Self::Inexpressible
        )
    }
}

impl Refusal {
    /// A refusal with a sentence for the client: what was refused, and what to do. It carries nothing that the client did
    /// not send or may not know.
    #[must_use]
    pub fn new(kind: RefusalKind, sentence: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, sentence: sentence.into() }
    }

    /// Why.
    #[must_use]
    pub const fn kind(&self) -> RefusalKind {
        self.kind
    }

    /// What the client reads.
    #[must_use]
    pub fn public(&self) -> &str {
        &self.sentence
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.word(), self.sentence)
    }
}
