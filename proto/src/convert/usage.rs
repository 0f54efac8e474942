//! Usage records.
//!
//! A record is clamped where it is made and validated where it is received: what a client sent, such as the name of a model
//! that does not exist, must not make a record that no control plane ever takes.

use std::sync::Arc;

use tollgate_policy::{
    id::{BudgetId, CredentialId, CustomerId, KeyId, ProviderId, TeamId, UserId},
    money::NanoUsd,
    time::UnixMillis,
    usage::{Attribution, Charge, Outcome, Record, Tokens},
};

use crate::usage::v1;

/// The longest text in a record, in bytes: model names and session ids are far shorter.
pub const TEXT_BYTES_MAX: usize = 256;
/// The largest counter of tokens: thousands of times the largest context window of today, and few enough that no sum of
/// records overflows the ledger's 64 bits.
pub const TOKENS_MAX: i64 = 10_000_000_000;
/// The largest cost of one visit: 10,000 dollars, many times the dearest that any model sells. The ledger's 64 bits hold
/// nearly a million of the worst.
pub const COST_NANO_USD_MAX: i64 = 10_000_000_000_000;
/// The most budgets that one visit is charged to: those of four owners.
pub const CHARGES_MAX: usize = 4 * tollgate_policy::budget::BUDGETS_MAX;
/// The longest visit: ten days, in milliseconds. Gaps may be longer; theirs is capped as well.
pub const DURATION_MS_MAX: i64 = 10 * 24 * 3_600_000;
/// The last instant that a record may bear: the end of the year 9999.
pub const ARRIVED_MS_MAX: i64 = 253_402_300_799_999;

/// What a replica reports under one sequence.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "nearly all are visits, and a gap is not kept")]
pub enum Reported {
    /// A visit.
    Visit(Record),
    /// The lack of records.
    Gap(Gap),
    /// A visit of nobody.
    Unidentified(Unidentified),
}

/// So many records of visits that no budget was charged for are missing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Gap {
    /// The number of the replica's run.
    pub incarnation: u64,
    /// The position among the records of that run.
    pub sequence: u64,
    /// When the first of them arrived.
    pub from: UnixMillis,
    /// From then to the last of them, in milliseconds.
    pub duration_ms: u64,
    /// How many.
    pub dropped: u64,
}

/// A visit that was refused before its key was accepted. The audit log tells of it; the ledger does not have it, since it is
/// nobody's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unidentified {
    /// The number of the replica's run.
    pub incarnation: u64,
    /// The position among the records of that run.
    pub sequence: u64,
    /// The `request-id` that the client saw.
    pub request_id: Arc<str>,
    /// When it arrived.
    pub arrived: UnixMillis,
    /// From then until it was refused, in milliseconds.
    pub duration_ms: u64,
    /// The kind of the refusal.
    pub refusal: Arc<str>,
    /// The HTTP status that the client saw.
    pub status: u16,
    /// What was called.
    pub operation: Arc<str>,
    /// The policy revision that decided; 0 when none was asked.
    pub revision: u64,
}

/// A record that breaks a rule: which field, and which rule.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{field} {rule}")]
pub struct InvalidRecord {
    /// The field's name in the contract.
    pub field: &'static str,
    /// What it must be.
    pub rule: &'static str,
}

type Field<T> = Result<T, InvalidRecord>;

// === domain to wire ===

impl From<&Record> for v1::Record {
    /// Clamps what exceeds a bound, and replaces control characters.
    fn from(record: &Record) -> Self {
        let Attribution { key, team, customer, user, session, agent, parent_agent } = &record.attribution;
        Self {
            incarnation: signed(record.incarnation, i64::MAX),
            sequence: signed(record.sequence, i64::MAX),
            request_id: clamped(&record.request_id),
            arrived_ms: record.arrived.get().clamp(0, ARRIVED_MS_MAX),
            duration_ms: signed(record.duration_ms, DURATION_MS_MAX),
            first_byte_ms: signed(record.first_byte_ms, DURATION_MS_MAX),
            outcome: v1::Outcome::from(record.outcome).into(),
            refusal: clamped(&record.refusal),
            status: i32::from(record.status.min(999)),
            key: key.as_str().to_owned(),
            team: team.as_str().to_owned(),
            customer: customer.as_str().to_owned(),
            user: user.as_ref().map(|id| id.as_str().to_owned()).unwrap_or_default(),
            session: clamped(session),
            agent: clamped(agent),
            parent_agent: clamped(parent_agent),
            operation: clamped(&record.operation),
            model: clamped(&record.model),
            answered_model: clamped(&record.answered_model),
            provider: record.provider.as_ref().map(|id| id.as_str().to_owned()).unwrap_or_default(),
            credential: record.credential.as_ref().map(|id| id.as_str().to_owned()).unwrap_or_default(),
            streamed: record.streamed,
            tokens: Some(v1::Tokens::from(&record.tokens)),
            cost_nano_usd: record.cost.get().clamp(0, COST_NANO_USD_MAX),
            unpriced: record.unpriced,
            revision: signed(record.revision, i64::MAX),
            upstream_request_id: clamped(&record.upstream_request_id),
            attempts: i32::try_from(record.attempts).unwrap_or(i32::MAX),
            dropped: 0,
            charges: record.charges.iter().map(v1::BudgetCharge::from).collect(),
            held_incarnation: record.held_incarnation.map_or(0, |run| signed(run, i64::MAX)),
            // Whoever numbers the record adds it.
            evidence: None,
            unidentified: false,
        }
    }
}

impl From<&Charge> for v1::BudgetCharge {
    fn from(charge: &Charge) -> Self {
        let Charge { budget, window } = charge;
        Self { budget: budget.as_str().to_owned(), window_ms: window.map(UnixMillis::get) }
    }
}

impl From<&Tokens> for v1::Tokens {
    fn from(tokens: &Tokens) -> Self {
        let Tokens { input, output, cache_read, cache_write_5m, cache_write_1h, web_searches } = *tokens;
        Self {
            input: signed(input, TOKENS_MAX),
            output: signed(output, TOKENS_MAX),
            cache_read: signed(cache_read, TOKENS_MAX),
            cache_write_5m: signed(cache_write_5m, TOKENS_MAX),
            cache_write_1h: signed(cache_write_1h, TOKENS_MAX),
            web_searches: signed(web_searches, TOKENS_MAX),
        }
    }
}

impl From<Outcome> for v1::Outcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Completed => Self::Completed,
            Outcome::Refused => Self::Refused,
            Outcome::UpstreamFailed => Self::UpstreamFailed,
            Outcome::ClientGone => Self::ClientGone,
            Outcome::Cut => Self::Cut,
            Outcome::Uncertain => Self::Uncertain,
        }
    }
}

impl From<&Gap> for v1::Record {
    fn from(gap: &Gap) -> Self {
        Self {
            incarnation: signed(gap.incarnation, i64::MAX),
            sequence: signed(gap.sequence, i64::MAX),
            arrived_ms: gap.from.get().clamp(0, ARRIVED_MS_MAX),
            duration_ms: signed(gap.duration_ms, DURATION_MS_MAX),
            dropped: signed(gap.dropped.max(1), i64::MAX),
            ..Self::default()
        }
    }
}

impl From<&Unidentified> for v1::Record {
    /// Clamps as it does for a visit.
    fn from(visit: &Unidentified) -> Self {
        Self {
            incarnation: signed(visit.incarnation, i64::MAX),
            sequence: signed(visit.sequence, i64::MAX),
            request_id: clamped(&visit.request_id),
            arrived_ms: visit.arrived.get().clamp(0, ARRIVED_MS_MAX),
            duration_ms: signed(visit.duration_ms, DURATION_MS_MAX),
            outcome: v1::Outcome::Refused.into(),
            refusal: clamped(&visit.refusal),
            status: i32::from(visit.status.min(999)),
            operation: clamped(&visit.operation),
            revision: signed(visit.revision, i64::MAX),
            unidentified: true,
            ..Self::default()
        }
    }
}

impl From<&Reported> for v1::Record {
    fn from(reported: &Reported) -> Self {
        match reported {
            Reported::Visit(record) => Self::from(record),
            Reported::Gap(gap) => Self::from(gap),
            Reported::Unidentified(visit) => Self::from(visit),
        }
    }
}

fn signed(number: u64, max: i64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX).min(max)
}

fn clamped(text: &str) -> String {
    if text.len() <= TEXT_BYTES_MAX && !text.chars().any(char::is_control) {
        return text.to_owned();
    }
    let end = (0..=TEXT_BYTES_MAX.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    let kept = text.get(..end).unwrap_or_default();
    // A replacement is one byte, so that the text never grows past its bound.
    kept.chars().map(|character| if character.is_control() { '?' } else { character }).collect()
}

// === wire to domain ===

impl TryFrom<v1::Record> for Reported {
    type Error = InvalidRecord;

    fn try_from(wire: v1::Record) -> Field<Self> {
        match (wire.dropped, wire.unidentified) {
            (0, false) => visit(wire).map(Self::Visit),
            (0, true) => unidentified(wire).map(Self::Unidentified),
            _ => gap(wire).map(Self::Gap),
        }
    }
}

impl Reported {
    /// The number of the replica's run.
    #[must_use]
    pub const fn incarnation(&self) -> u64 {
        match self {
            Self::Visit(record) => record.incarnation,
            Self::Gap(gap) => gap.incarnation,
            Self::Unidentified(visit) => visit.incarnation,
        }
    }

    /// The position among the records of that run.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        match self {
            Self::Visit(record) => record.sequence,
            Self::Gap(gap) => gap.sequence,
            Self::Unidentified(visit) => visit.sequence,
        }
    }

    /// When it arrived; of a gap, when the first that is missing did.
    #[must_use]
    pub const fn arrived(&self) -> UnixMillis {
        match self {
            Self::Visit(record) => record.arrived,
            Self::Gap(gap) => gap.from,
            Self::Unidentified(visit) => visit.arrived,
        }
    }
}

fn visit(wire: v1::Record) -> Field<Record> {
    let v1::Record {
        incarnation,
        sequence,
        request_id,
        arrived_ms,
        duration_ms,
        first_byte_ms,
        outcome,
        refusal,
        status,
        key,
        team,
        customer,
        user,
        session,
        agent,
        parent_agent,
        operation,
        model,
        answered_model,
        provider,
        credential,
        streamed,
        tokens,
        cost_nano_usd,
        unpriced,
        revision,
        upstream_request_id,
        attempts,
        dropped: _,
        charges,
        held_incarnation,
        // Sealed bytes, which are not read here.
        evidence: _,
        unidentified: _,
    } = wire;
    let attribution = Attribution {
        key: id("key", KeyId::parse(&key))?,
        team: id("team", TeamId::parse(&team))?,
        customer: id("customer", CustomerId::parse(&customer))?,
        user: optional("user", &user, UserId::parse)?,
        session: text("session", session)?,
        agent: text("agent", agent)?,
        parent_agent: text("parent_agent", parent_agent)?,
    };
    Ok(Record {
        incarnation: number("incarnation", incarnation, 1, i64::MAX)?,
        sequence: number("sequence", sequence, 1, i64::MAX)?,
        request_id: text("request_id", request_id)?,
        arrived: arrived(arrived_ms)?,
        duration_ms: number("duration_ms", duration_ms, 0, DURATION_MS_MAX)?,
        first_byte_ms: number("first_byte_ms", first_byte_ms, 0, DURATION_MS_MAX)?,
        outcome: ended(outcome)?,
        refusal: text("refusal", refusal)?,
        status: answered(status)?,
        attribution,
        operation: text("operation", operation)?,
        model: text("model", model)?,
        answered_model: text("answered_model", answered_model)?,
        provider: optional("provider", &provider, ProviderId::parse)?,
        credential: optional("credential", &credential, CredentialId::parse)?,
        streamed,
        tokens: metered(tokens.unwrap_or_default())?,
        cost: NanoUsd::new(whole("cost_nano_usd", cost_nano_usd, 0, COST_NANO_USD_MAX)?),
        unpriced,
        revision: number("revision", revision, 0, i64::MAX)?,
        upstream_request_id: text("upstream_request_id", upstream_request_id)?,
        attempts: u32::try_from(attempts).map_err(|_| rule("attempts", "must not be negative"))?,
        charges: charged(charges)?,
        held_incarnation: match number("held_incarnation", held_incarnation, 0, i64::MAX)? {
            0 => None,
            run => Some(run),
        },
    })
}

fn gap(wire: v1::Record) -> Field<Gap> {
    let v1::Record { incarnation, sequence, arrived_ms, duration_ms, dropped, .. } = wire;
    let gap = Gap {
        incarnation: number("incarnation", incarnation, 1, i64::MAX)?,
        sequence: number("sequence", sequence, 1, i64::MAX)?,
        from: arrived(arrived_ms)?,
        duration_ms: number("duration_ms", duration_ms, 0, DURATION_MS_MAX)?,
        dropped: number("dropped", dropped, 1, i64::MAX)?,
    };
    let bare = v1::Record { evidence: None, ..wire };
    // A gap that also names a key or a cost would be a visit that hides from the ledger.
    if bare == v1::Record::from(&gap) { Ok(gap) } else { Err(rule("dropped", "must be 0 in the record of a visit")) }
}

fn unidentified(wire: v1::Record) -> Field<Unidentified> {
    let bare = v1::Record { evidence: None, ..wire };
    let visit = Unidentified {
        incarnation: number("incarnation", bare.incarnation, 1, i64::MAX)?,
        sequence: number("sequence", bare.sequence, 1, i64::MAX)?,
        request_id: text("request_id", bare.request_id.clone())?,
        arrived: arrived(bare.arrived_ms)?,
        duration_ms: number("duration_ms", bare.duration_ms, 0, DURATION_MS_MAX)?,
        refusal: text("refusal", bare.refusal.clone())?,
        status: answered(bare.status)?,
        operation: text("operation", bare.operation.clone())?,
        revision: number("revision", bare.revision, 0, i64::MAX)?,
    };
    // One that also names a key or a cost, or was not refused, would be a visit that hides from the ledger.
    let is_whole = bare == v1::Record::from(&visit);
    if is_whole { Ok(visit) } else { Err(rule("unidentified", "must be false in the record of anybody's visit")) }
}

fn charged(charges: Vec<v1::BudgetCharge>) -> Field<Arc<[Charge]>> {
    if charges.len() > CHARGES_MAX {
        return Err(rule("charges", "must be at most 64"));
    }
    let charge = |wire: v1::BudgetCharge| {
        let v1::BudgetCharge { budget, window_ms } = wire;
        Ok(Charge { budget: id("charges.budget", BudgetId::parse(&budget))?, window: window_ms.map(UnixMillis::new) })
    };
    charges.into_iter().map(charge).collect()
}

fn metered(tokens: v1::Tokens) -> Field<Tokens> {
    let v1::Tokens { input, output, cache_read, cache_write_5m, cache_write_1h, web_searches } = tokens;
    Ok(Tokens {
        input: number("tokens.input", input, 0, TOKENS_MAX)?,
        output: number("tokens.output", output, 0, TOKENS_MAX)?,
        cache_read: number("tokens.cache_read", cache_read, 0, TOKENS_MAX)?,
        cache_write_5m: number("tokens.cache_write_5m", cache_write_5m, 0, TOKENS_MAX)?,
        cache_write_1h: number("tokens.cache_write_1h", cache_write_1h, 0, TOKENS_MAX)?,
        web_searches: number("tokens.web_searches", web_searches, 0, TOKENS_MAX)?,
    })
}

fn ended(outcome: i32) -> Field<Outcome> {
    match v1::Outcome::try_from(outcome) {
        Ok(v1::Outcome::Completed) => Ok(Outcome::Completed),
        Ok(v1::Outcome::Refused) => Ok(Outcome::Refused),
        Ok(v1::Outcome::UpstreamFailed) => Ok(Outcome::UpstreamFailed),
        Ok(v1::Outcome::ClientGone) => Ok(Outcome::ClientGone),
        Ok(v1::Outcome::Cut) => Ok(Outcome::Cut),
        Ok(v1::Outcome::Uncertain) => Ok(Outcome::Uncertain),
        Ok(v1::Outcome::Unspecified) | Err(_) => Err(rule("outcome", "must be a known outcome")),
    }
}

fn answered(status: i32) -> Field<u16> {
    let known = u16::try_from(status).ok().filter(|status| *status < 1_000);
    known.ok_or(rule("status", "must be below 1,000"))
}

fn arrived(millis: i64) -> Field<UnixMillis> {
    whole("arrived_ms", millis, 0, ARRIVED_MS_MAX).map(UnixMillis::new)
}

fn number(field: &'static str, value: i64, min: i64, max: i64) -> Field<u64> {
    whole(field, value, min, max).map(i64::unsigned_abs)
}

fn whole(field: &'static str, value: i64, min: i64, max: i64) -> Field<i64> {
    if (min..=max).contains(&value) { Ok(value) } else { Err(rule(field, "is out of range")) }
}

fn text(field: &'static str, text: String) -> Field<Arc<str>> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(rule(field, "must be at most 256 bytes"));
    }
    if text.chars().any(char::is_control) {
        return Err(rule(field, "must have no control characters"));
    }
    Ok(Arc::from(text))
}

fn id<T, E>(field: &'static str, parsed: Result<T, E>) -> Field<T> {
    parsed.map_err(|_| rule(field, "must be an id"))
}

fn optional<T, E>(field: &'static str, text: &str, parse: fn(&str) -> Result<T, E>) -> Field<Option<T>> {
    if text.is_empty() { Ok(None) } else { id(field, parse(text)).map(Some) }
}

const fn rule(field: &'static str, rule: &'static str) -> InvalidRecord {
    InvalidRecord { field, rule }
}

#[cfg(test)]
mod tests;
