//! An entry as a JSON object (RFC 8259) with everything in it: the time as RFC 3339 has it, the detail as it is.

use serde_json::{Value, json};

use super::{Placed, text::line};
use crate::entry::Entry;

/// The object, on one line. Of an erased entry it has only what is known; every other has every member.
#[must_use]
pub fn record(placed: &Placed<'_>) -> String {
    let mut object = json!({
        "index": placed.index,
        "leaf": hex::encode(placed.leaf),
        "writer": placed.writer,
        "time": placed.time(),
        "time_ms": placed.time_ms(),
        "action": placed.action(),
        "erased": placed.entry().is_none(),
    });
    if let (Some(object), Some(entry)) = (object.as_object_mut(), placed.entry()) {
        object.extend(facts(entry).map(|(name, value)| (name.to_owned(), value)));
    }
    line(&object)
}

fn facts(entry: &Entry) -> [(&'static str, Value); 8] {
    [
        ("outcome", entry.outcome().word().into()),
        ("initiator", entry.initiator().into()),
        ("target", entry.target().into()),
        ("replica", entry.replica().into()),
        ("request_id", entry.request_id().into()),
        ("session", entry.session().into()),
        ("source_address", entry.source_address().into()),
        ("detail", Value::Object(entry.detail().clone())),
    ]
}
