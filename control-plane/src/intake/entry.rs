//! What the log says of records that came without an entry of their replica, and of records that did not come.

use std::borrow::Cow;

use serde_json::{Map, Value, json};
use tollgate_audit::{Entry, Facts, Outcome as Ended, verify::FORGOTTEN};
use tollgate_proto::{
    convert::{evidence, usage::Reported},
    usage::v1,
};

use crate::{
    audit::{Draft, Origin},
    store::StoreError,
};

/// An entry of this control plane.
pub(super) fn here<'a>(entry: Entry) -> Draft<'a> {
    Draft { entry: Cow::Owned(entry), origin: Origin::Here }
}

/// The entry of a record for which the replica wrote none.
///
/// # Errors
/// Never in practice: every entry has a JSON form.
pub(super) fn of(replica: &str, reported: &Reported) -> Result<Entry, StoreError> {
    evidence::entry(replica, &v1::Record::from(reported)).map_err(|error| StoreError::corrupt("body", error))
}

/// The entry of records behind `stored`, up to `known`, that the replica has not, or not any more, and the log does not have.
/// Whoever verifies the log knows by it that the chain of the run goes on behind them.
pub(super) fn forgotten(replica: &str, incarnation: i64, stored: u64, known: u64, now_ms: i64) -> Entry {
    let detail = json!({"incarnation": incarnation, "from_sequence": stored + 1, "to_sequence": known});
    let target = format!("replica/{replica}");
    let facts = Facts { initiator: "system", target: &target, replica, detail: fields(detail), ..Facts::default() };
    Entry::new(now_ms, FORGOTTEN, Ended::Failed, facts)
}

fn fields(object: Value) -> Map<String, Value> {
    match object {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
