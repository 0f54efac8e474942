//! What the log says of a visit: one entry a record. Never prompt text; of the model only its name.

use std::borrow::Cow;

use serde_json::{Map, Value, json};
use tollgate_audit::{Entry, Facts, Outcome as Ended, verify::FORGOTTEN};
use tollgate_policy::usage::{Attribution, Outcome, Record, Tokens};
use tollgate_proto::convert::usage::{Gap, Reported};

use crate::audit::{Draft, Origin};

/// An entry of this control plane.
pub(super) fn here<'a>(entry: Entry) -> Draft<'a> {
    Draft { entry: Cow::Owned(entry), origin: Origin::Here }
}

/// The entry of a record for which the replica wrote none.
pub(super) fn of(replica: &str, reported: &Reported) -> Entry {
    match reported {
        Reported::Visit(record) => visit(replica, record),
        Reported::Gap(gap) => missing(replica, gap),
    }
}

/// The entry of records behind `stored`, up to `known`, that the replica has not, or not any more, and the log does not have.
/// Whoever verifies the log knows by it that the chain of the run goes on behind them.
pub(super) fn forgotten(replica: &str, incarnation: i64, stored: u64, known: u64, now_ms: i64) -> Entry {
    let detail = json!({"incarnation": incarnation, "from_sequence": stored + 1, "to_sequence": known});
    let target = format!("replica/{replica}");
    let facts = Facts { initiator: "system", target: &target, replica, detail: fields(detail), ..Facts::default() };
    Entry::new(now_ms, FORGOTTEN, Ended::Failed, facts)
}

fn missing(replica: &str, gap: &Gap) -> Entry {
    let Gap { incarnation, sequence, from, duration_ms, dropped } = *gap;
    let detail =
        json!({"dropped": dropped, "duration_ms": duration_ms, "incarnation": incarnation, "sequence": sequence});
    let target = format!("replica/{replica}");
    let facts = Facts { initiator: "system", target: &target, replica, detail: fields(detail), ..Facts::default() };
    Entry::new(from.get(), "usage.drop", Ended::Failed, facts)
}

fn visit(replica: &str, record: &Record) -> Entry {
    let (action, ended) = match record.outcome {
        Outcome::Completed => ("request.admit", Ended::Allowed),
        Outcome::Refused => ("request.refuse", Ended::Refused),
        Outcome::Cut => ("request.cut", Ended::Refused),
        Outcome::UpstreamFailed => ("request.fail", Ended::Failed),
        Outcome::ClientGone => ("request.abandon", Ended::Failed),
        Outcome::Uncertain => ("request.uncertain", Ended::Failed),
    };
    let Attribution { key, session, .. } = &record.attribution;
    let initiator = format!("key/{key}");
    let target = match (&*record.model, &record.provider) {
        ("", Some(provider)) => format!("provider/{provider}"),
        ("", None) => String::new(),
        (model, _) => format!("model/{model}"),
    };
    let facts = Facts {
        initiator: &initiator,
        target: &target,
        replica,
        request_id: &record.request_id,
        session,
        source_address: "",
        detail: detail(record),
    };
    // The entry bears the time at which the visit ended: it is then that the outcome was known.
    let ended_ms = record.arrived.get().saturating_add(i64::try_from(record.duration_ms).unwrap_or(i64::MAX));
    Entry::new(ended_ms, action, ended, facts)
}

fn detail(record: &Record) -> Map<String, Value> {
    let Attribution { team, customer, user, agent, parent_agent, .. } = &record.attribution;
    let Tokens { input, output, cache_read, cache_write_5m, cache_write_1h, web_searches } = record.tokens;
    let mut detail = fields(json!({
        "operation": &*record.operation,
        "status": record.status,
        "team": team.as_str(),
        "customer": customer.as_str(),
        "cost_nano_usd": record.cost.get(),
        "duration_ms": record.duration_ms,
        "attempts": record.attempts,
        "revision": record.revision,
        "incarnation": record.incarnation,
        "sequence": record.sequence,
    }));
    let texts = [
        ("refusal", &*record.refusal),
        ("user", user.as_ref().map(|id| id.as_str()).unwrap_or_default()),
        ("agent", agent),
        ("parent_agent", parent_agent),
        ("provider", record.provider.as_ref().map(|id| id.as_str()).unwrap_or_default()),
        ("credential", record.credential.as_ref().map(|id| id.as_str()).unwrap_or_default()),
        ("answered_model", &record.answered_model),
        ("upstream_request_id", &record.upstream_request_id),
    ];
    let texts = texts.into_iter().filter(|(_, text)| !text.is_empty());
    detail.extend(texts.map(|(name, text)| (name.to_owned(), Value::from(text))));
    let tokens = [
        ("input_tokens", input),
        ("output_tokens", output),
        ("cache_read_tokens", cache_read),
        ("cache_write_5m_tokens", cache_write_5m),
        ("cache_write_1h_tokens", cache_write_1h),
        ("web_searches", web_searches),
    ];
    let tokens = tokens.into_iter().filter(|(_, count)| *count > 0);
    detail.extend(tokens.map(|(name, count)| (name.to_owned(), Value::from(count))));
    let flags = [("streamed", record.streamed), ("unpriced", record.unpriced)];
    detail.extend(flags.into_iter().filter(|(_, set)| *set).map(|(name, set)| (name.to_owned(), Value::from(set))));
    detail
}

fn fields(object: Value) -> Map<String, Value> {
    match object {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
