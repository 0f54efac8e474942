//! What an entry says: of a visit, how it ended and what decided; of a gap, how many records are missing.

use serde_json::{Map, Value};
use tollgate_audit::{Entry, Facts, Outcome as Ended};
use tollgate_policy::price::{Price, Rates};
use tollgate_proto::usage::v1;

use super::{Applied, Circumstances, Counted};

/// What is known of a visit beyond its record, as members of its entry. `source_address` is among them.
pub(crate) type Members = Map<String, Value>;

const SOURCE_ADDRESS: &str = "source_address";

/// The encoded entry of a record that has its sequence. Who wrote it is for the control plane to say: it knows by which
/// certificate the record came.
pub(super) fn encode(record: &v1::Record, known: Members) -> Vec<u8> {
    let entry = if record.dropped == 0 { visit(record, known) } else { missing(record) };
    // An entry has a JSON form.
    entry.encode().unwrap_or_default()
}

fn missing(record: &v1::Record) -> Entry {
    let v1::Record { incarnation, sequence, arrived_ms, duration_ms, dropped, .. } = *record;
    let detail =
        [("dropped", dropped), ("duration_ms", duration_ms), ("incarnation", incarnation), ("sequence", sequence)];
    let detail = detail.into_iter().map(|(name, number)| (name.to_owned(), Value::from(number))).collect();
    Entry::new(arrived_ms, "usage.drop", Ended::Failed, Facts { initiator: "system", detail, ..Facts::default() })
}

fn visit(record: &v1::Record, mut known: Members) -> Entry {
    let (action, ended) = match record.outcome() {
        v1::Outcome::Completed => ("request.admit", Ended::Allowed),
        v1::Outcome::Refused => ("request.refuse", Ended::Refused),
        v1::Outcome::Cut => ("request.cut", Ended::Refused),
        v1::Outcome::UpstreamFailed => ("request.fail", Ended::Failed),
        v1::Outcome::ClientGone => ("request.abandon", Ended::Failed),
        v1::Outcome::Uncertain | v1::Outcome::Unspecified => ("request.uncertain", Ended::Failed),
    };
    let initiator = format!("key/{}", record.key);
    let target = match (record.model.as_str(), record.provider.as_str()) {
        ("", "") => String::new(),
        ("", provider) => format!("provider/{provider}"),
        (model, _) => format!("model/{model}"),
    };
    let source_address = known.remove(SOURCE_ADDRESS);
    let facts = Facts {
        initiator: &initiator,
        target: &target,
        replica: "",
        request_id: &record.request_id,
        session: &record.session,
        source_address: source_address.as_ref().and_then(Value::as_str).unwrap_or_default(),
        detail: detail(record, known),
    };
    // The entry bears the time at which the visit ended: it is then that the outcome was known.
    Entry::new(record.arrived_ms.saturating_add(record.duration_ms), action, ended, facts)
}

fn detail(record: &v1::Record, mut detail: Members) -> Members {
    let v1::Tokens { input, output, cache_read, cache_write_5m, cache_write_1h, web_searches } =
        record.tokens.unwrap_or_default();
    let mut put = |name: &str, value: Value| detail.insert(name.to_owned(), value);
    for (name, number) in [
        ("status", i64::from(record.status)),
        ("cost_nano_usd", record.cost_nano_usd),
        ("duration_ms", record.duration_ms),
        ("attempts", i64::from(record.attempts)),
        ("revision", record.revision),
        ("incarnation", record.incarnation),
        ("sequence", record.sequence),
    ] {
        put(name, number.into());
    }
    for (name, count) in [
        ("input_tokens", input),
        ("output_tokens", output),
        ("cache_read_tokens", cache_read),
        ("cache_write_5m_tokens", cache_write_5m),
        ("cache_write_1h_tokens", cache_write_1h),
        ("web_searches", web_searches),
        ("held_incarnation", record.held_incarnation),
    ] {
        if count > 0 {
            put(name, count.into());
        }
    }
    for (name, text) in [
        ("operation", &record.operation),
        ("team", &record.team),
        ("customer", &record.customer),
        ("refusal", &record.refusal),
        ("user", &record.user),
        ("agent", &record.agent),
        ("parent_agent", &record.parent_agent),
        ("provider", &record.provider),
        ("credential", &record.credential),
        ("answered_model", &record.answered_model),
        ("upstream_request_id", &record.upstream_request_id),
    ] {
        if !text.is_empty() {
            put(name, text.as_str().into());
        }
    }
    for (name, set) in [("streamed", record.streamed), ("unpriced", record.unpriced)] {
        if set {
            put(name, set.into());
        }
    }
    // A visit that cost nothing is charged to no budget; which ones were asked is known from its circumstances.
    if !record.charges.is_empty() && !detail.contains_key("budgets") {
        let budgets = record.charges.iter().map(|charge| budget(&charge.budget, charge.window_ms));
        detail.insert("budgets".to_owned(), budgets.collect());
    }
    detail
}

/// The members of the entry that the circumstances give.
pub(crate) fn members(circumstances: &Circumstances) -> Members {
    let Circumstances { source_address, user_agent, reason, held, charges, price, limits, in_session } = circumstances;
    let mut members = Members::new();
    let mut put = |name: &str, value: Value| members.insert(name.to_owned(), value);
    if let Some(address) = source_address {
        put(SOURCE_ADDRESS, address.to_canonical().to_string().into());
    }
    for (name, text) in [("user_agent", user_agent), ("reason", reason)] {
        if !text.is_empty() {
            put(name, (**text).into());
        }
    }
    if held.get() > 0 {
        put("held_nano_usd", held.get().into());
    }
    if !charges.is_empty() {
        let budgets = charges.iter().map(|charge| budget(charge.budget.as_str(), charge.window.map(|at| at.get())));
        put("budgets", budgets.collect());
    }
    if let Some(applied) = price {
        put("price", priced(applied));
    }
    if !limits.is_empty() {
        put("limits", limits.iter().map(limit).collect());
    }
    if *in_session {
        put("in_session_limit", true.into());
    }
    members
}

fn budget(id: &str, window_ms: Option<i64>) -> Value {
    let mut budget = Members::from_iter([("budget".to_owned(), id.into())]);
    if let Some(window_ms) = window_ms {
        budget.insert("window_ms".to_owned(), window_ms.into());
    }
    budget.into()
}

fn limit(counted: &Counted) -> Value {
    let Counted { owner, measure, amount, span_ms } = counted;
    let mut limit = Members::from_iter([
        ("owner".to_owned(), (**owner).into()),
        ("measure".to_owned(), measure.word().into()),
        ("amount".to_owned(), (*amount).into()),
    ]);
    if *span_ms > 0 {
        limit.insert("span_ms".to_owned(), (*span_ms).into());
    }
    limit.into()
}

// In nano-dollars for a million tokens, as the catalogue has it; a search in nano-dollars.
fn priced(applied: &Applied) -> Value {
    let Applied { model, price: Price { rates, long_context, web_search } } = applied;
    let mut price = rated(rates);
    price.insert("vendor".to_owned(), (*model.vendor).into());
    price.insert("model".to_owned(), (*model.name).into());
    if web_search.get() > 0 {
        price.insert("web_search".to_owned(), web_search.get().into());
    }
    if let Some((threshold, rates)) = long_context {
        let mut long = rated(rates);
        long.insert("threshold".to_owned(), (*threshold).into());
        price.insert("long_context".to_owned(), long.into());
    }
    price.into()
}

fn rated(rates: &Rates) -> Members {
    let Rates { input, output, cache_read, cache_write_5m, cache_write_1h } = rates;
    let all = [
        ("input", input),
        ("output", output),
        ("cache_read", cache_read),
        ("cache_write_5m", cache_write_5m),
        ("cache_write_1h", cache_write_1h),
    ];
    all.into_iter().map(|(name, rate)| (name.to_owned(), rate.get().into())).collect()
}
