//! What entries look like. In the lines, `LEAF` stands for the leaf's hash, `VERSION` for ours, and `BOM` for U+FEFF.

use serde_json::json;

use super::*;

fn check(placed: &Placed<'_>, syslog: &str, cef: &str, json: &Value, ocsf: &Value) {
    let (leaf, version) = ("ab".repeat(32), env!("CARGO_PKG_VERSION"));
    let whole = |text: &str| text.replace("LEAF", &leaf).replace("VERSION", version).replace("BOM", "\u{feff}");
    assert_eq!(line(Format::Syslog, placed), whole(syslog));
    assert_eq!(line(Format::Cef, placed), whole(cef));
    for (format, expect) in [(Format::Json, json), (Format::Ocsf, ocsf)] {
        let expect: Value = serde_json::from_str(&whole(&expect.to_string())).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&line(format, placed)).unwrap(), expect, "{format:?}");
    }
}

#[test]
fn a_change_by_an_administrator() {
    let detail =
        object(json!({"call": "CreateKey", "changed": {"name": {"after": "dev \"a=b\" | c"}}, "revision": 12}));
    let initiator = "administrator/bootstrap";
    let facts = Facts {
        initiator,
        target: "key/01",
        source_address: "203.0.113.9",
        detail: detail.clone(),
        ..Facts::default()
    };
    let entry = entry("key.create", Outcome::Allowed, facts);
    check(
        &placed(&entry),
        concat!(
            r#"<109>1 2023-11-14T22:13:20.007Z gate.example tollgate - key.create [tollgate@32473 index="7" leaf="LEAF" "#,
            r#"writer="replica-01" action="key.create" outcome="allowed" initiator="administrator/bootstrap" "#,
            r#"target="key/01" source="203.0.113.9"] "#,
            r#"BOM{"call":"CreateKey","changed":{"name":{"after":"dev \"a=b\" | c"}},"revision":12}"#,
        ),
        concat!(
            "CEF:0|Tollgate|Tollgate|VERSION|key.create|key create|3|rt=1700000000007 deviceExternalId=replica-01 ",
            "cn1Label=index cn1=7 cs1Label=leaf cs1=LEAF act=allowed outcome=success suser=administrator/bootstrap ",
            "src=203.0.113.9 cs2Label=target cs2=key/01 cs6Label=detail ",
            r#"cs6={"call":"CreateKey","changed":{"name":{"after":"dev \\"a\=b\\" | c"}},"revision":12}"#,
        ),
        &json!({
            "index": 7, "leaf": "LEAF", "writer": "replica-01", "time": "2023-11-14T22:13:20.007Z",
            "time_ms": TIME_MS, "action": "key.create", "erased": false, "outcome": "allowed", "initiator": initiator,
            "target": "key/01", "replica": "", "request_id": "", "session": "", "source_address": "203.0.113.9",
            "detail": detail,
        }),
        &json!({
            "activity_id": 1, "activity_name": "Create", "category_uid": 6, "class_name": "API Activity",
            "class_uid": 6003, "type_uid": 600_301, "time": TIME_MS, "severity": "Informational", "severity_id": 1,
            "status": "Success", "status_code": "allowed", "status_id": 1,
            "message": "administrator/bootstrap key.create key/01 allowed",
            "actor": {"user": {"name": initiator, "uid": initiator, "type": "Admin", "type_id": 2}},
            "api": {"operation": "key.create", "service": {"name": "tollgate"}},
            "resources": [{"type": "key", "uid": "key/01"}],
            "src_endpoint": {"ip": "203.0.113.9"},
            "metadata": {
                "version": "1.3.0", "uid": "LEAF", "sequence": 7, "event_code": "key.create", "log_name": "audit",
                "original_time": "2023-11-14T22:13:20.007Z",
                "product": {"name": "Tollgate", "vendor_name": "Tollgate", "version": "VERSION"},
            },
            "unmapped": {"writer": "replica-01", "detail": detail},
        }),
    );
}

#[test]
fn a_request_that_was_refused() {
    let detail = object(json!({"refusal": "model_not_allowed", "status": 403}));
    let facts = Facts {
        initiator: "key/01",
        target: "model/[gpt]",
        replica: "replica-01",
        request_id: "req_01",
        session: "s\\1",
        source_address: "",
        detail: detail.clone(),
    };
    let entry = entry("request.refuse", Outcome::Refused, facts);
    check(
        &placed(&entry),
        concat!(
            r#"<108>1 2023-11-14T22:13:20.007Z gate.example tollgate - request.refuse [tollgate@32473 index="7" "#,
            r#"leaf="LEAF" writer="replica-01" action="request.refuse" outcome="refused" initiator="key/01" "#,
            r#"target="model/[gpt\]" replica="replica-01" request_id="req_01" session="s\\1"] "#,
            r#"BOM{"refusal":"model_not_allowed","status":403}"#,
        ),
        concat!(
            "CEF:0|Tollgate|Tollgate|VERSION|request.refuse|request refuse|5|rt=1700000000007 ",
            "deviceExternalId=replica-01 cn1Label=index cn1=7 cs1Label=leaf cs1=LEAF act=refused outcome=failure ",
            "suser=key/01 reason=model_not_allowed cs2Label=target cs2=model/[gpt] cs3Label=session ",
            r#"cs3=s\\1 cs4Label=requestId cs4=req_01 cs5Label=replica cs5=replica-01 cs6Label=detail "#,
            r#"cs6={"refusal":"model_not_allowed","status":403}"#,
        ),
        &json!({
            "index": 7, "leaf": "LEAF", "writer": "replica-01", "time": "2023-11-14T22:13:20.007Z",
            "time_ms": TIME_MS, "action": "request.refuse", "erased": false, "outcome": "refused",
            "initiator": "key/01", "target": "model/[gpt]", "replica": "replica-01", "request_id": "req_01",
            "session": "s\\1", "source_address": "", "detail": detail,
        }),
        &json!({
            "activity_id": 99, "activity_name": "refuse", "category_uid": 6, "class_name": "API Activity",
            "class_uid": 6003, "type_uid": 600_399, "time": TIME_MS, "severity": "Low", "severity_id": 2,
            "status": "Failure", "status_code": "refused", "status_detail": "model_not_allowed", "status_id": 2,
            "message": "key/01 request.refuse model/[gpt] refused",
            "actor": {
                "session": {"uid": "s\\1"},
                "user": {"name": "key/01", "uid": "key/01", "type": "key", "type_id": 99},
            },
            "api": {
                "operation": "request.refuse", "request": {"uid": "req_01"}, "service": {"name": "tollgate"},
            },
            "resources": [{"type": "model", "uid": "model/[gpt]"}],
            "src_endpoint": {"name": "unknown"},
            "metadata": {
                "version": "1.3.0", "uid": "LEAF", "sequence": 7, "event_code": "request.refuse", "log_name": "audit",
                "original_time": "2023-11-14T22:13:20.007Z",
                "product": {"name": "Tollgate", "vendor_name": "Tollgate", "version": "VERSION"},
            },
            "unmapped": {"writer": "replica-01", "replica": "replica-01", "detail": detail},
        }),
    );
}

#[test]
fn a_sign_in_that_failed() {
    let detail = object(json!({"reason": "the issuer\ndid not answer", "step": "callback"}));
    let (initiator, source_address) = ("anonymous", "2001:db8::1");
    let facts = Facts { initiator, source_address, detail: detail.clone(), ..Facts::default() };
    let entry = entry("session.refuse", Outcome::Failed, facts);
    let user = json!({"name": "anonymous", "uid": "anonymous", "type": "anonymous", "type_id": 99});
    check(
        &placed(&entry),
        concat!(
            r#"<107>1 2023-11-14T22:13:20.007Z gate.example tollgate - session.refuse [tollgate@32473 index="7" "#,
            r#"leaf="LEAF" writer="replica-01" action="session.refuse" outcome="failed" initiator="anonymous" "#,
            r#"source="2001:db8::1"] BOM{"reason":"the issuer\ndid not answer","step":"callback"}"#,
        ),
        concat!(
            "CEF:0|Tollgate|Tollgate|VERSION|session.refuse|session refuse|6|rt=1700000000007 ",
            "deviceExternalId=replica-01 cn1Label=index cn1=7 cs1Label=leaf cs1=LEAF act=failed outcome=failure ",
            r"suser=anonymous reason=the issuer\ndid not answer c6a2Label=Source IPv6 Address c6a2=2001:db8::1 ",
            r#"cs6Label=detail cs6={"reason":"the issuer\\ndid not answer","step":"callback"}"#,
        ),
        &json!({
            "index": 7, "leaf": "LEAF", "writer": "replica-01", "time": "2023-11-14T22:13:20.007Z",
            "time_ms": TIME_MS, "action": "session.refuse", "erased": false, "outcome": "failed",
            "initiator": "anonymous", "target": "", "replica": "", "request_id": "", "session": "",
            "source_address": "2001:db8::1", "detail": detail,
        }),
        &json!({
            "activity_id": 1, "activity_name": "Logon", "category_uid": 3, "class_name": "Authentication",
            "class_uid": 3002, "type_uid": 300_201, "time": TIME_MS, "severity": "Medium", "severity_id": 3,
            "status": "Failure", "status_code": "failed", "status_detail": "the issuer\ndid not answer", "status_id": 2,
            "message": "anonymous session.refuse failed",
            "actor": {"user": user}, "user": user, "service": {"name": "tollgate"}, "src_endpoint": {"ip": source_address},
            "metadata": {
                "version": "1.3.0", "uid": "LEAF", "sequence": 7, "event_code": "session.refuse", "log_name": "audit",
                "original_time": "2023-11-14T22:13:20.007Z",
                "product": {"name": "Tollgate", "vendor_name": "Tollgate", "version": "VERSION"},
            },
            "unmapped": {"writer": "replica-01", "detail": detail},
        }),
    );
}

#[test]
fn an_entry_that_was_erased() {
    check(
        &erased("key.create"),
        concat!(
            r#"<109>1 2023-11-14T22:13:20.007Z gate.example tollgate - key.create [tollgate@32473 index="8" leaf="LEAF" "#,
            r#"writer="control-plane" action="key.create" erased="true"] BOMthe content of this entry was erased"#,
        ),
        concat!(
            "CEF:0|Tollgate|Tollgate|VERSION|key.create|key create|3|rt=1700000000007 ",
            "deviceExternalId=control-plane cn1Label=index cn1=8 cs1Label=leaf cs1=LEAF ",
            "msg=the content of this entry was erased",
        ),
        &json!({
            "index": 8, "leaf": "LEAF", "writer": "control-plane", "time": "2023-11-14T22:13:20.007Z",
            "time_ms": TIME_MS, "action": "key.create", "erased": true,
        }),
        &json!({
            "activity_id": 1, "activity_name": "Create", "category_uid": 6, "class_name": "API Activity",
            "class_uid": 6003, "type_uid": 600_301, "time": TIME_MS, "severity": "Unknown", "severity_id": 0,
            "status": "Unknown", "status_id": 0, "message": "the content of this entry was erased",
            "actor": {"user": {"name": "unknown", "type": "Unknown", "type_id": 0}},
            "api": {"operation": "key.create", "service": {"name": "tollgate"}},
            "src_endpoint": {"name": "unknown"},
            "metadata": {
                "version": "1.3.0", "uid": "LEAF", "sequence": 8, "event_code": "key.create", "log_name": "audit",
                "original_time": "2023-11-14T22:13:20.007Z",
                "product": {"name": "Tollgate", "vendor_name": "Tollgate", "version": "VERSION"},
            },
            "unmapped": {"writer": "control-plane", "erased": true},
        }),
    );
}

#[test]
fn severities_follow_the_outcome() {
    // Action, outcome, and the severities of syslog, CEF and OCSF.
    let rows = [
        ("key.create", Outcome::Allowed, (5, "3", 1)),
        ("request.admit", Outcome::Allowed, (6, "1", 1)),
        ("request.refuse", Outcome::Refused, (4, "5", 2)),
        ("call.authorize", Outcome::Refused, (4, "5", 2)),
        ("request.fail", Outcome::Failed, (3, "6", 3)),
    ];
    for (action, outcome, (syslog, cef, ocsf)) in rows {
        let entry = entry(action, outcome, Facts::default());
        let [in_syslog, in_cef, in_ocsf] =
            [Format::Syslog, Format::Cef, Format::Ocsf].map(|f| line(f, &placed(&entry)));
        assert_eq!(read::syslog(&in_syslog).severity, syslog, "{action}");
        assert_eq!(read::cef(&in_cef).header[5], cef, "{action}");
        assert_eq!(serde_json::from_str::<Value>(&in_ocsf).unwrap()["severity_id"], ocsf, "{action}");
    }
}

#[test]
fn the_header_of_a_message_holds_whatever_it_is_given() {
    // Time, host, action, and how they are told.
    let long = "x".repeat(300);
    let rows = [
        (0, "h", "a", ("1970-01-01T00:00:00.000Z", "h", "a")),
        (-1, "", "", ("1969-12-31T23:59:59.999Z", "-", "-")),
        (253_402_207_200_000, "zwölf uhr", "a b\n", ("9999-12-30T22:00:00.000Z", "zw_lf_uhr", "a_b_")),
        (-62_167_219_200_001, &long, &long[..64], ("-", &long[..255], &long[..32])),
        (i64::MAX, "h", "a", ("-", "h", "a")),
        (i64::MIN, "h", "a", ("-", "h", "a")),
    ];
    for (time_ms, host, action, expect) in rows {
        let placed = Placed { told: Told::Erased { time_ms, action }, ..erased("") };
        let message = String::from_utf8(Format::Syslog.record(host, &placed).unwrap()).unwrap();
        let read = read::syslog(&message);
        assert_eq!((&*read.time, &*read.host, &*read.message_id), expect);
        let json: Value = serde_json::from_str(&line(Format::Json, &placed)).unwrap();
        assert_eq!((&json["time_ms"], json["time"].as_str().unwrap_or("-")), (&time_ms.into(), expect.0));
    }
}
