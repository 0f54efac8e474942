//! What the audit log says of a record: of a visit, how it ended and what decided, and that nobody is known where no key was
//! accepted; of a gap, how many records are missing. Never prompt text; of the model only its name.
//!
//! A replica writes the entry with its record, each in a few microseconds: from what is known straight to its bytes. The control
//! plane has it of the records for which a replica wrote none.

mod detail;

use std::{net::IpAddr, sync::Arc};

use serde_json::{Map, Value};
use tollgate_audit::{Entry, Facts, Outcome as Ended, Unreadable};
use tollgate_policy::{
    guardrail::{Action, Direction, FINGERPRINT_BYTES},
    limit::Measure,
    money::NanoUsd,
    price::Price,
    snapshot::Model,
    usage::Charge,
};

use self::detail::{Detail, Missing, Noted};
use crate::usage::v1;

/// The action of an entry that tells of a refusal.
pub const REFUSE: &str = "request.refuse";
/// The operation of a record of a tool's call.
pub const TOOL_CALL: &str = "mcp_call";
/// With this begins in such a record what is the name of a model in others.
const TOOL_PREFIX: &str = "mcp:";
/// The initiator of a visit whose key was not accepted: nobody is known.
pub const UNKNOWN: &str = "unknown";

/// What is known of a visit beyond its record, for the audit log alone. What is not known stays empty.
#[derive(Clone, Debug, Default)]
pub struct Circumstances {
    /// Where the connection came from: behind a load balancer, that. Nothing that a client claims.
    pub source_address: Option<IpAddr>,
    /// What the client says that it is, within a bound.
    pub user_agent: Arc<str>,
    /// Why it was refused, as the client was told.
    pub reason: Arc<str>,
    /// What the last attempt held when it was sent: mostly the most that it could cost.
    pub held: NanoUsd,
    /// The budgets against which it was held.
    pub charges: Arc<[Charge]>,
    /// What its tokens cost.
    pub price: Option<Applied>,
    /// The rate limits that it was counted in.
    pub limits: Arc<[Counted]>,
    /// Whether it was counted in the limit of its session.
    pub in_session: bool,
    /// What guardrails found, within a bound.
    pub findings: Arc<[Found]>,
    /// How many more findings there were.
    pub findings_more: u32,
    /// The call of a tool that it was.
    pub tool: Option<Arc<ToolCall>>,
}

/// A call of a tool.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ToolCall {
    /// The server, by name.
    pub server: Arc<str>,
    /// The tool, by the name that the server gives it.
    pub name: Arc<str>,
    /// SHA-256 of its arguments as they left.
    pub arguments_sha256: [u8; 32],
    /// The arguments themselves, within a bound, where policy has them recorded; otherwise empty.
    pub arguments: Box<str>,
    /// By which the model's answer knows the call; empty when the client did not say.
    pub tool_use_id: Arc<str>,
    /// The session of the protocol; empty when there was none.
    pub session: Arc<str>,
    /// What the tool said: `result`, `tool_error`, `error`; empty when it said nothing.
    pub outcome: &'static str,
}

/// What a guardrail found: which rule, where and how often; never the value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Found {
    /// The guardrail, by name.
    pub guardrail: Arc<str>,
    /// The rule.
    pub rule: Arc<str>,
    /// Which way the text went.
    pub direction: Direction,
    /// What was done.
    pub action: Action,
    /// Whether it would have been done, and was not.
    pub shadow: bool,
    /// In which part of the message it stood first, such as `messages[3].content[0]`.
    pub place: Box<str>,
    /// At which byte of that part.
    pub offset: u64,
    /// Which secret: a keyed hash.
    pub fingerprint: [u8; FINGERPRINT_BYTES],
    /// How often it stood there in all.
    pub count: u32,
}

/// The price of a model, as it was applied: with what the way of asking adds.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The model of the catalogue.
    pub model: Arc<Model>,
    /// Its price.
    pub price: Price,
}

/// A rate limit that a visit was counted in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Counted {
    /// Whose limit it is, by id.
    pub owner: Box<str>,
    /// What it counts.
    pub measure: Measure,
    /// How many it allows.
    pub amount: u64,
    /// In how many milliseconds; 0 for [`Measure::Parallel`].
    pub span_ms: u64,
}

/// The encoded entry of a record that has its sequence. Who wrote it is for the control plane to say: it knows by which
/// certificate the record came.
///
/// # Errors
/// Never in practice: every entry has a JSON form.
pub fn encode(record: &v1::Record, circumstances: &Circumstances) -> Result<Vec<u8>, Unreadable> {
    encode_of("", record, circumstances)
}

/// The same with the circumstances as they were noted, by this version or an earlier one. Nothing is known from what is no note.
///
/// # Errors
/// As [`encode`].
pub fn encode_noted(record: &v1::Record, noted: &[u8]) -> Result<Vec<u8>, Unreadable> {
    let bare = encode(record, &Circumstances::default())?;
    let known: Map<String, Value> = serde_json::from_slice(noted).unwrap_or_default();
    if known.is_empty() || record.dropped != 0 {
        return Ok(bare);
    }
    let entry = Entry::decode(&bare)?;
    let source_address = known.get(detail::SOURCE_ADDRESS).and_then(Value::as_str).unwrap_or_default();
    // What the record says counts; but a visit that cost nothing is charged to no budget, and the note has those that were asked.
    let mut all = known.clone();
    all.remove(detail::SOURCE_ADDRESS);
    let has_budgets = all.contains_key(detail::BUDGETS);
    let of_record = entry.detail().clone().into_iter().filter(|(name, _)| name != detail::BUDGETS || !has_budgets);
    all.extend(of_record);
    let facts = Facts {
        initiator: entry.initiator(),
        target: entry.target(),
        replica: entry.replica(),
        request_id: entry.request_id(),
        session: entry.session(),
        source_address,
        detail: all,
    };
    Entry::new(entry.time_ms(), entry.action(), entry.outcome(), facts).encode()
}

/// The entry of a record of that replica, which wrote none itself.
///
/// # Errors
/// As [`encode`].
pub fn entry(replica: &str, record: &v1::Record) -> Result<Entry, Unreadable> {
    Entry::decode(&encode_of(replica, record, &Circumstances::default())?)
}

impl Circumstances {
    /// The bytes to note with an intent, for the entry of a visit whose end is never known.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Texts and numbers have a JSON form.
        serde_json::to_vec(&Noted::new(self)).unwrap_or_default()
    }
}

fn encode_of(replica: &str, record: &v1::Record, circumstances: &Circumstances) -> Result<Vec<u8>, Unreadable> {
    if record.dropped != 0 {
        return missing(replica, record);
    }
    let (action, ended) = match record.outcome() {
        v1::Outcome::Completed => ("request.admit", Ended::Allowed),
        v1::Outcome::Refused => (REFUSE, Ended::Refused),
        v1::Outcome::Cut => ("request.cut", Ended::Refused),
        v1::Outcome::UpstreamFailed => ("request.fail", Ended::Failed),
        v1::Outcome::ClientGone => ("request.abandon", Ended::Failed),
        v1::Outcome::Uncertain | v1::Outcome::Unspecified => ("request.uncertain", Ended::Failed),
    };
    let tool = (record.operation == TOOL_CALL).then(|| record.model.strip_prefix(TOOL_PREFIX)).flatten();
    let target = match (record.model.as_str(), record.provider.as_str()) {
        ("", "") => String::new(),
        ("", provider) => ["provider/", provider].concat(),
        (model, _) => tool.map_or_else(|| ["model/", model].concat(), |tool| ["tool/", tool].concat()),
    };
    let initiator = if record.unidentified { UNKNOWN.to_owned() } else { ["key/", &record.key].concat() };
    let source_address = circumstances.source_address.map(|address| address.to_canonical().to_string());
    let facts = Facts {
        initiator: &initiator,
        target: &target,
        replica,
        request_id: &record.request_id,
        session: &record.session,
        source_address: source_address.as_deref().unwrap_or_default(),
        detail: Detail::new(record, circumstances),
    };
    // The entry bears the time at which the visit ended: it is then that the outcome was known.
    Entry::written(record.arrived_ms.saturating_add(record.duration_ms), action, ended, facts)
}

fn missing(replica: &str, record: &v1::Record) -> Result<Vec<u8>, Unreadable> {
    let v1::Record { incarnation, sequence, arrived_ms, duration_ms, dropped, .. } = *record;
    let target = if replica.is_empty() { String::new() } else { ["replica/", replica].concat() };
    let facts = Facts {
        initiator: "system",
        target: &target,
        replica,
        request_id: "",
        session: "",
        source_address: "",
        detail: Missing { dropped, duration_ms, incarnation, sequence },
    };
    Entry::written(arrived_ms, "usage.drop", Ended::Failed, facts)
}
