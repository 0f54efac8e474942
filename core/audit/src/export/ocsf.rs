//! An entry as an event of the Open Cybersecurity Schema Framework, version 1.3.0 (<https://schema.ocsf.io/1.3.0>). What is used
//! of it is the same in every version from 1.3 to 1.8.
//!
//! Sign-ins and the ends of sessions are of the class Authentication (3002), everything else is API Activity (6003). What the
//! schema requires and the entry does not know is named `unknown`; what the schema has no place for is under `unmapped`.

mod activity;

use serde_json::{Map, Value, json};

use self::activity::{Activity, Class};
use super::{ERASED, PRODUCT, Placed, VENDOR, VERSION, address, reason, text::line};
use crate::entry::{Entry, Outcome};

/// The version of the schema.
pub const SCHEMA: &str = "1.3.0";

const SERVICE: &str = "tollgate";
const UNKNOWN: &str = "unknown";

/// The event, on one line.
#[must_use]
pub fn record(placed: &Placed<'_>) -> String {
    let activity = Activity::of(placed.action());
    let mut event = base(placed, &activity);
    let (status_id, status, severity_id, severity) = standing(placed.entry().map(Entry::outcome));
    event.extend([
        ("status_id".to_owned(), status_id.into()),
        ("status".to_owned(), status.into()),
        ("severity_id".to_owned(), severity_id.into()),
        ("severity".to_owned(), severity.into()),
    ]);
    match activity.class {
        Class::Authentication => event.extend(authentication(placed)),
        Class::ApiActivity => event.extend(api_activity(placed)),
    }
    if let Some(entry) = placed.entry() {
        event.insert("status_code".into(), entry.outcome().word().into());
        put(&mut event, "status_detail", reason(entry));
    }
    line(&Value::Object(event))
}

// Attributes of the Base Event. The leaf's hash names the event; the index says its order.
fn base(placed: &Placed<'_>, activity: &Activity) -> Map<String, Value> {
    let Activity { class, id, name } = activity;
    let metadata = json!({
        "version": SCHEMA,
        "product": {"name": PRODUCT, "vendor_name": VENDOR, "version": VERSION},
        "uid": hex::encode(placed.leaf),
        "sequence": placed.index,
        "event_code": placed.action(),
        "log_name": "audit",
        "original_time": placed.time().unwrap_or_else(|| placed.time_ms().to_string()),
    });
    Map::from_iter([
        ("category_uid".into(), class.category().into()),
        ("class_uid".into(), class.uid().into()),
        ("class_name".into(), class.name().into()),
        ("activity_id".into(), (*id).into()),
        ("activity_name".into(), name.as_str().into()),
        ("type_uid".into(), (class.uid() * 100 + id).into()),
        ("time".into(), placed.time_ms().into()),
        ("message".into(), message(placed).into()),
        ("metadata".into(), metadata),
        ("unmapped".into(), unmapped(placed)),
    ])
}

fn message(placed: &Placed<'_>) -> String {
    let Some(entry) = placed.entry() else { return ERASED.to_owned() };
    let words = [entry.initiator(), placed.action(), entry.target(), entry.outcome().word()];
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

// `status_id`, `status`, `severity_id`, `severity`: how an erased entry ended is not known.
const fn standing(outcome: Option<Outcome>) -> (u32, &'static str, u32, &'static str) {
    match outcome {
        Some(Outcome::Allowed) => (1, "Success", 1, "Informational"),
        Some(Outcome::Refused) => (2, "Failure", 2, "Low"),
        Some(Outcome::Failed) => (2, "Failure", 3, "Medium"),
        None => (0, "Unknown", 0, "Unknown"),
    }
}

fn unmapped(placed: &Placed<'_>) -> Value {
    let mut unmapped = Map::from_iter([("writer".to_owned(), placed.writer.into())]);
    match placed.entry() {
        Some(entry) => {
            put(&mut unmapped, "replica", entry.replica());
            unmapped.insert("detail".into(), Value::Object(entry.detail().clone()));
        }
        None => drop(unmapped.insert("erased".into(), true.into())),
    }
    Value::Object(unmapped)
}

fn authentication(placed: &Placed<'_>) -> Map<String, Value> {
    let service = ("service".to_owned(), json!({"name": SERVICE}));
    let Some(entry) = placed.entry() else {
        return Map::from_iter([service, ("user".into(), principal(""))]);
    };
    // Whose session it is, which need not be who ended it.
    let subject = entry.detail().get("user").and_then(Value::as_str).unwrap_or(entry.initiator());
    let mut event = Map::from_iter([
        service,
        ("user".into(), principal(subject)),
        ("actor".into(), json!({"user": principal(entry.initiator())})),
        ("src_endpoint".into(), endpoint(entry)),
    ]);
    if let Some(session) = [entry.session(), entry.target()].into_iter().find(|name| !name.is_empty()) {
        event.insert("session".into(), json!({"uid": session}));
    }
    event
}

fn api_activity(placed: &Placed<'_>) -> Map<String, Value> {
    let mut api = json!({"operation": placed.action(), "service": {"name": SERVICE}});
    let mut actor = json!({"user": principal(placed.entry().map_or("", Entry::initiator))});
    let mut event = Map::new();
    event.insert("src_endpoint".into(), placed.entry().map_or_else(|| json!({"name": UNKNOWN}), endpoint));
    if let Some(entry) = placed.entry() {
        nest(&mut api, "request", entry.request_id());
        nest(&mut actor, "session", entry.session());
        if !entry.target().is_empty() {
            event.insert("resources".into(), json!([{"uid": entry.target(), "type": noun(entry.target())}]));
        }
    }
    event.insert("api".into(), api);
    event.insert("actor".into(), actor);
    event
}

// A User object. Dashboards show the name, rules compare the unique identifier: we have one text for both. A type of its own for
// service accounts came with version 1.6; here they are of another type, as keys are.
fn principal(name: &str) -> Value {
    let (type_id, kind) = match noun(name) {
        "" => return json!({"name": UNKNOWN, "type_id": 0, "type": "Unknown"}),
        "user" => (1, "User"),
        "administrator" => (2, "Admin"),
        "system" => (3, "System"),
        other => (99, other),
    };
    json!({"name": name, "uid": name, "type_id": type_id, "type": kind})
}

// A Network Endpoint object, which must have an address or a name.
fn endpoint(entry: &Entry) -> Value {
    match (address(entry), entry.source_address()) {
        (Some(_), address) => json!({"ip": address}),
        (None, "") => json!({"name": UNKNOWN}),
        (None, other) => json!({"name": other}),
    }
}

// What kind of object a name is of: `key` of `key/<id>`.
fn noun(name: &str) -> &str {
    name.split_once('/').map_or(name, |(noun, _)| noun)
}

fn put(members: &mut Map<String, Value>, name: &str, value: &str) {
    if !value.is_empty() {
        members.insert(name.to_owned(), value.into());
    }
}

fn nest(object: &mut Value, name: &str, uid: &str) {
    if let (Some(members), false) = (object.as_object_mut(), uid.is_empty()) {
        members.insert(name.to_owned(), json!({"uid": uid}));
    }
}
