//! What is remembered of a visit.

use std::sync::Arc;

use crate::{
    id::{BudgetId, CredentialId, CustomerId, KeyId, ProviderId, TeamId, UserId},
    money::NanoUsd,
    time::UnixMillis,
};

/// The counters of an answer. Input counts exclude each other: their sum is the whole prompt.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tokens {
    /// Input that no cache served.
    pub input: u64,
    /// Output, hidden reasoning included.
    pub output: u64,
    /// Input read from a cache.
    pub cache_read: u64,
    /// Input written to a five-minute cache.
    pub cache_write_5m: u64,
    /// Input written to a one-hour cache.
    pub cache_write_1h: u64,
    /// Web searches by the provider's own tool.
    pub web_searches: u64,
}

impl Tokens {
    /// The whole prompt, in tokens.
    #[must_use]
    pub const fn input_total(&self) -> u64 {
        self.input
            .saturating_add(self.cache_read)
            .saturating_add(self.cache_write_5m)
            .saturating_add(self.cache_write_1h)
    }
}

/// How a visit ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Outcome {
    /// The answer was passed on whole.
    Completed,
    /// Policy refused it.
    Refused,
    /// The provider failed, or its answer broke off.
    UpstreamFailed,
    /// The client went away.
    ClientGone,
    /// Policy cut the answer while it was streamed.
    Cut,
    /// The replica ended before it knew: the provider may have answered.
    Uncertain,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 6] =
        [Self::Completed, Self::Refused, Self::UpstreamFailed, Self::ClientGone, Self::Cut, Self::Uncertain];

    /// The word for logs, metrics and filters.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Refused => "refused",
            Self::UpstreamFailed => "upstream_failed",
            Self::ClientGone => "client_gone",
            Self::Cut => "cut",
            Self::Uncertain => "uncertain",
        }
    }
}

/// Whose visit it was, as the snapshot had it then.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attribution {
    /// The key that was presented.
    pub key: KeyId,
    /// Its team.
    pub team: TeamId,
    /// The team's customer.
    pub customer: CustomerId,
    /// The key's user, if it has one.
    pub user: Option<UserId>,
    /// The agent's session, `x-claude-code-session-id`; empty when the client sent none.
    pub session: Arc<str>,
    /// The sub-agent, `x-claude-code-agent-id`; empty for the main agent.
    pub agent: Arc<str>,
    /// The sub-agent's parent, `x-claude-code-parent-agent-id`.
    pub parent_agent: Arc<str>,
}

/// One visit, ended. `sequence` is assigned where records are written, one after the other.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    /// The number of the replica's run; each start has a higher one.
    pub incarnation: u64,
    /// The position among the records of that run, from 1, without gaps.
    pub sequence: u64,
    /// The `request-id` that the client saw.
    pub request_id: Arc<str>,
    /// When the request arrived.
    pub arrived: UnixMillis,
    /// From arrival to the last byte, in milliseconds.
    pub duration_ms: u64,
    /// From arrival to the first byte of the answer, in milliseconds; 0 when there was none.
    pub first_byte_ms: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// The kind of the refusal, or empty.
    pub refusal: Arc<str>,
    /// The HTTP status that the client saw.
    pub status: u16,
    /// Whose it was.
    pub attribution: Attribution,
    /// What was called: `messages`, `count_tokens`, `models`.
    pub operation: Arc<str>,
    /// The model that the client asked for.
    pub model: Arc<str>,
    /// The model that the provider says answered; empty when it did not say.
    pub answered_model: Arc<str>,
    /// The provider that was called last.
    pub provider: Option<ProviderId>,
    /// The credential that was used last.
    pub credential: Option<CredentialId>,
    /// Whether the answer was streamed.
    pub streamed: bool,
    /// What was metered.
    pub tokens: Tokens,
    /// What it cost, each priced line rounded up.
    pub cost: NanoUsd,
    /// Whether the model had no price; the cost is then zero and means unknown.
    pub unpriced: bool,
    /// The policy revision that decided.
    pub revision: u64,
    /// The provider's own request id; empty when it sent none.
    pub upstream_request_id: Arc<str>,
    /// How many attempts were made at providers.
    pub attempts: u32,
    /// The budgets that the cost is charged to.
    pub charges: Arc<[Charge]>,
    /// The run that borrowed what the cost is paid from; `None`: the run that reports it.
    pub held_incarnation: Option<u64>,
}

/// A budget that a visit is charged to, with its whole cost.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Charge {
    /// The budget.
    pub budget: BudgetId,
    /// The start of the window in which the cost was held; `None` for a soft budget, in which nothing is held: the window is
    /// then that of the visit's arrival.
    pub window: Option<UnixMillis>,
}
