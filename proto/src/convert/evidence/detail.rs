//! The detail of an entry, as it is written: the members of each object are sorted, and what is empty is left out.

use std::net::IpAddr;

use serde::{Serialize, Serializer};
use tollgate_policy::{price::Rates, usage::Charge};

use super::{Applied, Circumstances, Counted, Found, ToolCall};
use crate::usage::v1;

/// The member of a note that is no detail of an entry.
pub(super) const SOURCE_ADDRESS: &str = "source_address";
/// The budgets that were asked or charged.
pub(super) const BUDGETS: &str = "budgets";

/// Of a visit.
#[derive(Serialize)]
pub(super) struct Detail<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    agent: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    answered_model: &'a str,
    attempts: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    budgets: Option<Budgets<'a>>,
    #[serde(skip_serializing_if = "is_zero")]
    cache_read_tokens: i64,
    #[serde(skip_serializing_if = "is_zero")]
    cache_write_1h_tokens: i64,
    #[serde(skip_serializing_if = "is_zero")]
    cache_write_5m_tokens: i64,
    cost_nano_usd: i64,
    #[serde(skip_serializing_if = "str::is_empty")]
    credential: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    customer: &'a str,
    duration_ms: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    findings: Option<Findings<'a>>,
    #[serde(skip_serializing_if = "is_zero")]
    findings_more: i64,
    #[serde(skip_serializing_if = "is_zero")]
    held_incarnation: i64,
    #[serde(skip_serializing_if = "is_zero")]
    held_nano_usd: i64,
    #[serde(skip_serializing_if = "is_false")]
    in_session_limit: bool,
    incarnation: i64,
    #[serde(skip_serializing_if = "is_zero")]
    input_tokens: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<Limits<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    operation: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    output_tokens: i64,
    #[serde(skip_serializing_if = "str::is_empty")]
    parent_agent: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<Priced<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    provider: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    refusal: &'a str,
    revision: i64,
    sequence: i64,
    status: i32,
    #[serde(skip_serializing_if = "is_false")]
    streamed: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    team: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool: Option<Tool<'a>>,
    #[serde(skip_serializing_if = "is_false")]
    unpriced: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    upstream_request_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    user: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    user_agent: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    web_searches: i64,
}

/// Of a gap.
#[derive(Serialize)]
pub(super) struct Missing {
    pub(super) dropped: i64,
    pub(super) duration_ms: i64,
    pub(super) incarnation: i64,
    pub(super) sequence: i64,
}

/// What is noted of circumstances with an intent: under the names that they have in an entry.
#[derive(Serialize)]
pub(super) struct Noted<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    budgets: Option<Budgets<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    findings: Option<Findings<'a>>,
    #[serde(skip_serializing_if = "is_zero")]
    findings_more: i64,
    #[serde(skip_serializing_if = "is_zero")]
    held_nano_usd: i64,
    #[serde(skip_serializing_if = "is_false")]
    in_session_limit: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<Limits<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<Priced<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool: Option<Tool<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    user_agent: &'a str,
}

// A call of a tool.
#[derive(Serialize)]
struct Tool<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    arguments: &'a str,
    arguments_sha256: String,
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    outcome: &'a str,
    server: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    session: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    tool_use_id: &'a str,
}

enum Budgets<'a> {
    Held(&'a [Charge]),
    Charged(&'a [v1::BudgetCharge]),
}

#[derive(Serialize)]
struct Budget<'a> {
    budget: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    window_ms: Option<i64>,
}

struct Limits<'a>(&'a [Counted]);

struct Findings<'a>(&'a [Found]);

#[derive(Serialize)]
struct Finding<'a> {
    action: &'static str,
    count: u32,
    direction: &'static str,
    fingerprint: String,
    guardrail: &'a str,
    offset: u64,
    place: &'a str,
    rule: &'a str,
    #[serde(skip_serializing_if = "is_false")]
    shadow: bool,
}

#[derive(Serialize)]
struct Limit<'a> {
    amount: u64,
    measure: &'static str,
    owner: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    span_ms: Option<u64>,
}

// In nano-dollars for a million tokens, as the catalogue has it; a search in nano-dollars.
#[derive(Serialize)]
struct Priced<'a> {
    cache_read: i64,
    cache_write_1h: i64,
    cache_write_5m: i64,
    input: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    long_context: Option<LongContext>,
    model: &'a str,
    output: i64,
    vendor: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    web_search: i64,
}

#[derive(Serialize)]
struct LongContext {
    cache_read: i64,
    cache_write_1h: i64,
    cache_write_5m: i64,
    input: i64,
    output: i64,
    threshold: u64,
}

// === impl Detail ===

impl<'a> Detail<'a> {
    pub(super) fn new(record: &'a v1::Record, circumstances: &'a Circumstances) -> Self {
        let v1::Tokens { input, output, cache_read, cache_write_5m, cache_write_1h, web_searches } =
            record.tokens.unwrap_or_default();
        // Of the source address the entry has a fact.
        let Noted {
            budgets,
            findings,
            findings_more,
            held_nano_usd,
            in_session_limit,
            limits,
            price,
            reason,
            source_address: _,
            tool,
            user_agent,
        } = Noted::new(circumstances);
        // A visit that cost nothing is charged to no budget; which ones were asked is known from its circumstances.
        let charged = (!record.charges.is_empty()).then_some(Budgets::Charged(&record.charges));
        // A counter below zero is none.
        let count = |number: i64| number.max(0);
        Self {
            agent: &record.agent,
            answered_model: &record.answered_model,
            attempts: record.attempts,
            budgets: budgets.or(charged),
            cache_read_tokens: count(cache_read),
            cache_write_1h_tokens: count(cache_write_1h),
            cache_write_5m_tokens: count(cache_write_5m),
            cost_nano_usd: record.cost_nano_usd,
            credential: &record.credential,
            customer: &record.customer,
            duration_ms: record.duration_ms,
            findings,
            findings_more,
            held_incarnation: count(record.held_incarnation),
            held_nano_usd,
            in_session_limit,
            incarnation: record.incarnation,
            input_tokens: count(input),
            limits,
            operation: &record.operation,
            output_tokens: count(output),
            parent_agent: &record.parent_agent,
            price,
            provider: &record.provider,
            reason,
            refusal: &record.refusal,
            revision: record.revision,
            sequence: record.sequence,
            status: record.status,
            streamed: record.streamed,
            team: &record.team,
            tool,
            unpriced: record.unpriced,
            upstream_request_id: &record.upstream_request_id,
            user: &record.user,
            user_agent,
            web_searches: count(web_searches),
        }
    }
}

// === impl Noted ===

impl<'a> Noted<'a> {
    pub(super) fn new(circumstances: &'a Circumstances) -> Self {
        let Circumstances {
            source_address,
            user_agent,
            reason,
            held,
            charges,
            price,
            limits,
            in_session,
            findings,
            findings_more,
            tool,
        } = circumstances;
        Self {
            budgets: (!charges.is_empty()).then_some(Budgets::Held(charges)),
            findings: (!findings.is_empty()).then_some(Findings(findings)),
            findings_more: i64::from(*findings_more),
            held_nano_usd: held.get().max(0),
            in_session_limit: *in_session,
            limits: (!limits.is_empty()).then_some(Limits(limits)),
            price: price.as_ref().map(Priced::new),
            reason,
            source_address: source_address.map(|address| address.to_canonical()),
            tool: tool.as_deref().map(Tool::new),
            user_agent,
        }
    }
}

// === impl Tool ===

impl<'a> Tool<'a> {
    fn new(call: &'a ToolCall) -> Self {
        let ToolCall { server, name, arguments_sha256, arguments, tool_use_id, session, outcome } = call;
        Self { arguments, arguments_sha256: hex::encode(arguments_sha256), name, outcome, server, session, tool_use_id }
    }
}

// === impl Budgets ===

impl Serialize for Budgets<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Held(charges) => serializer.collect_seq(charges.iter().map(|Charge { budget, window }| Budget {
                budget: budget.as_str(),
                window_ms: window.map(|at| at.get()),
            })),
            Self::Charged(charges) => serializer.collect_seq(
                charges.iter().map(|v1::BudgetCharge { budget, window_ms }| Budget { budget, window_ms: *window_ms }),
            ),
        }
    }
}

// === impl Limits ===

impl Serialize for Limits<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|Counted { owner, measure, amount, span_ms }| Limit {
            amount: *amount,
            measure: measure.word(),
            owner,
            span_ms: (*span_ms > 0).then_some(*span_ms),
        }))
    }
}

// === impl Findings ===

impl Serialize for Findings<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|found| {
            let Found { guardrail, rule, direction, action, shadow, place, offset, fingerprint, count } = found;
            Finding {
                action: action.word(),
                count: *count,
                direction: direction.word(),
                fingerprint: hex::encode(fingerprint),
                guardrail,
                offset: *offset,
                place,
                rule,
                shadow: *shadow,
            }
        }))
    }
}

// === impl Priced ===

impl<'a> Priced<'a> {
    fn new(applied: &'a Applied) -> Self {
        let Applied { model, price } = applied;
        let Rates { input, output, cache_read, cache_write_5m, cache_write_1h } = price.rates;
        Self {
            cache_read: cache_read.get(),
            cache_write_1h: cache_write_1h.get(),
            cache_write_5m: cache_write_5m.get(),
            input: input.get(),
            long_context: price.long_context.map(|(threshold, rates)| LongContext::new(threshold, rates)),
            model: &model.name,
            output: output.get(),
            vendor: &model.vendor,
            web_search: price.web_search.get().max(0),
        }
    }
}

impl LongContext {
    fn new(threshold: u64, rates: Rates) -> Self {
        let Rates { input, output, cache_read, cache_write_5m, cache_write_1h } = rates;
        Self {
            cache_read: cache_read.get(),
            cache_write_1h: cache_write_1h.get(),
            cache_write_5m: cache_write_5m.get(),
            input: input.get(),
            output: output.get(),
            threshold,
        }
    }
}

const fn is_zero(number: &i64) -> bool {
    *number == 0
}

const fn is_false(flag: &bool) -> bool {
    !*flag
}
