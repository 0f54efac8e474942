//! Events against what the public schema of OCSF 1.3.0 requires, written down by hand from
//! <https://schema.ocsf.io/1.3.0/classes/authentication> and <https://schema.ocsf.io/1.3.0/classes/api_activity>.

use serde_json::{Value, json};

use super::*;

/// Class, its category, the attributes that it requires, those of which it wants one, and its activities.
type Class = (u64, u64, &'static [&'static str], &'static [&'static str], &'static [(u64, &'static str)]);

const BASE: &[&str] = &["activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid"];
const CLASSES: &[Class] = &[
    (3002, 3, &["user"], &["service", "dst_endpoint"], &[(1, "Logon"), (2, "Logoff")]),
    (6003, 6, &["actor", "api", "src_endpoint"], &["api"], &[(1, "Create"), (2, "Read"), (3, "Update"), (4, "Delete")]),
];
/// Path of an object, the attributes that it requires, and those of which it wants one.
const OBJECTS: &[(&str, &[&str], &[&str])] = &[
    ("/metadata", &["product", "version"], &["version"]),
    ("/metadata/product", &["vendor_name"], &["name", "uid"]),
    ("/actor", &[], &["process", "user", "invoked_by", "session", "app_name", "app_uid"]),
    ("/actor/user", &[], &["account", "name", "uid"]),
    ("/actor/session", &[], &["uid"]),
    ("/user", &[], &["account", "name", "uid"]),
    ("/session", &[], &["uid"]),
    ("/service", &[], &["name", "uid"]),
    ("/api", &["operation"], &["operation"]),
    ("/api/request", &["uid"], &["uid"]),
    ("/api/service", &[], &["name", "uid"]),
    ("/src_endpoint", &[], &["ip", "uid", "name", "hostname", "instance_uid"]),
    ("/resources/0", &[], &["name", "uid"]),
];
/// Every attribute that may be there, so that none is invented. Those of objects are in [`MEMBERS`].
const ATTRIBUTES: &[&str] = &[
    "activity_name",
    "actor",
    "api",
    "class_name",
    "message",
    "resources",
    "service",
    "session",
    "severity",
    "src_endpoint",
    "status",
    "status_code",
    "status_detail",
    "status_id",
    "unmapped",
    "user",
];
const MEMBERS: &[(&str, &[&str])] = &[
    ("/metadata", &["version", "product", "uid", "sequence", "event_code", "log_name", "original_time"]),
    ("/actor/user", &["name", "uid", "type", "type_id"]),
    ("/user", &["name", "uid", "type", "type_id"]),
    ("/src_endpoint", &["ip", "name"]),
    ("/resources/0", &["uid", "type"]),
];

// An empty text tells a rule as little as none.
fn is_there(object: &Value, name: &str) -> bool {
    !object[name].is_null() && object[name] != ""
}

fn valid(placed: &Placed<'_>, expect: (u64, u64)) {
    let event: Value = serde_json::from_str(&line(Format::Ocsf, placed)).unwrap();
    let number = |name: &str| event[name].as_u64().unwrap_or_else(|| panic!("{name} of {event}"));
    assert_eq!((number("class_uid"), number("activity_id")), expect, "{event}");
    let class = CLASSES.iter().find(|class| class.0 == number("class_uid")).unwrap();
    let (class, category, required, one_of, activities) = *class;
    for name in BASE.iter().chain(required) {
        assert!(is_there(&event, name), "{name} is missing in {event}");
    }
    assert!(one_of.iter().any(|name| is_there(&event, name)), "{one_of:?} are missing in {event}");
    for name in event.as_object().unwrap().keys() {
        assert!([BASE, ATTRIBUTES].concat().contains(&name.as_str()), "{name} is no attribute");
    }
    assert_eq!(number("category_uid"), category);
    assert_eq!(number("type_uid"), class * 100 + number("activity_id"));
    let named = activities.iter().find(|(id, _)| *id == number("activity_id"));
    assert!(named.map_or(number("activity_id") == 99, |(_, name)| event["activity_name"] == *name), "{event}");
    assert!(number("severity_id") <= 6 && number("status_id") <= 2);
    for kind in ["/user/type_id", "/actor/user/type_id"].iter().filter_map(|path| event.pointer(path)) {
        assert!([0, 1, 2, 3, 99].iter().any(|id| kind == id), "{kind} is no type of user");
    }
    assert_eq!(event["time"], placed.time_ms());
    assert_eq!(
        (&event["metadata"]["sequence"], &event["metadata"]["version"]),
        (&json!(placed.index), &json!("1.3.0"))
    );
    assert_eq!(event["metadata"]["uid"], "ab".repeat(32));
    for (path, required, one_of) in OBJECTS {
        let Some(object) = event.pointer(path) else { continue };
        assert!(required.iter().all(|name| is_there(object, name)), "{path} of {event}");
        assert!(one_of.iter().any(|name| is_there(object, name)), "{path} of {event}");
    }
    for (path, members) in MEMBERS {
        let there = event.pointer(path).and_then(Value::as_object).into_iter().flat_map(|object| object.keys());
        there.for_each(|name| assert!(members.contains(&name.as_str()), "{name} is no member of {path}"));
    }
}

#[test]
fn every_event_has_what_its_class_requires() {
    let rows = [
        ("session.create", (3002, 1)),
        ("session.issue", (3002, 1)),
        ("session.refuse", (3002, 1)),
        ("call.authenticate", (3002, 1)),
        ("session.end", (3002, 2)),
        ("session.revoke", (3002, 2)),
        ("session.read", (6003, 2)),
        ("key.create", (6003, 1)),
        ("catalogue.import", (6003, 1)),
        ("key.rotate", (6003, 3)),
        ("administrator.token.reset", (6003, 3)),
        ("key.delete", (6003, 4)),
        ("call.authorize", (6003, 99)),
        ("request.admit", (6003, 99)),
        ("usage.forget", (6003, 99)),
    ];
    let names =
        ["", "anonymous", "system", "user/1", "administrator/bootstrap", "key/1", "service-account/1", "/", "x/"];
    for (action, expect) in rows {
        valid(&erased(action), expect);
        for outcome in Outcome::ALL {
            for name in names {
                for source_address in ["", "203.0.113.9", "2001:db8::1", "somewhere"] {
                    let detail = object(json!({"user": name, "reason": name}));
                    let facts = Facts {
                        initiator: name,
                        target: name,
                        session: name,
                        request_id: name,
                        source_address,
                        detail,
                        ..Facts::default()
                    };
                    valid(&placed(&entry(action, outcome, facts)), expect);
                }
                let facts = Facts { initiator: name, ..Facts::default() };
                valid(&placed(&entry(action, outcome, facts)), expect);
            }
        }
    }
}
