use serde_json::{Value, json};
use tollgate_audit::Entry;
use tollgate_policy::{
    guardrail::{Action, Direction},
    id::{BudgetId, CustomerId, KeyId, TeamId},
    limit::Measure,
    money::NanoUsd,
    price::{Price, Rates},
    snapshot::Model,
    time::UnixMillis,
    usage::{Attribution, Charge, Outcome, Record, Tokens},
};
use tollgate_proto::convert::{
    evidence::Found,
    usage::{Gap, Unidentified},
};

use super::*;

const ULID: &str = "01k9zq3v5m8c4t2n7r6x0w1y9b";
const SALT: Salt = [7; SALT_BYTES];

fn record(outcome: Outcome) -> v1::Record {
    v1::Record::from(&Record {
        incarnation: 0,
        sequence: 0,
        request_id: "req_1".into(),
        arrived: UnixMillis::new(1_000),
        duration_ms: 500,
        first_byte_ms: 20,
        outcome,
        refusal: Arc::default(),
        status: 200,
        attribution: Attribution {
            key: KeyId::from_ulid(ULID).unwrap(),
            team: TeamId::from_ulid(ULID).unwrap(),
            customer: CustomerId::from_ulid(ULID).unwrap(),
            user: None,
            session: "session".into(),
            agent: "agent".into(),
            parent_agent: Arc::default(),
        },
        operation: "messages".into(),
        model: "claude-x".into(),
        answered_model: Arc::default(),
        provider: None,
        credential: None,
        streamed: true,
        tokens: Tokens { input: 3, output: 4, ..Tokens::default() },
        cost: NanoUsd::new(77),
        unpriced: false,
        revision: 12,
        upstream_request_id: Arc::default(),
        attempts: 1,
        charges: Arc::default(),
        held_incarnation: None,
    })
}

fn circumstances() -> Circumstances {
    let rate = NanoUsd::new;
    let rates = Rates {
        input: rate(1),
        output: rate(2),
        cache_read: rate(3),
        cache_write_5m: rate(4),
        cache_write_1h: rate(5),
    };
    let price = Price { rates, long_context: Some((200_000, rates)), web_search: rate(6) };
    let model = Model {
        vendor: "anthropic".into(),
        name: "claude-x-1".into(),
        display_name: Arc::default(),
        aliases: vec![],
        context_window: 0,
        output_max: 0,
        price: Some(price),
    };
    let budget = |window| Charge { budget: BudgetId::from_ulid(ULID).unwrap(), window };
    Circumstances {
        source_address: Some("::ffff:192.0.2.7".parse().unwrap()),
        user_agent: "claude-cli/2.1.330 (external, cli)".into(),
        reason: Arc::default(),
        held: NanoUsd::new(900),
        charges: Arc::new([budget(Some(UnixMillis::new(5))), budget(None)]),
        price: Some(Applied { model: Arc::new(model), price }),
        limits: Arc::new([
            Counted { owner: "team-1".into(), measure: Measure::Requests, amount: 600, span_ms: 60_000 },
            Counted { owner: "key-1".into(), measure: Measure::Parallel, amount: 8, span_ms: 0 },
        ]),
        in_session: true,
        findings: Arc::new([Found {
            guardrail: "secrets".into(),
            rule: "aws-access-token".into(),
            direction: Direction::Request,
            action: Action::Redact,
            shadow: true,
            place: "messages[3].content[0]".into(),
            offset: 17,
            fingerprint: [0xab; 16],
            count: 2,
        }]),
        findings_more: 3,
        tool: None,
    }
}

fn sealed(record: v1::Record, circumstances: &Circumstances) -> (v1::Record, Entry) {
    let record = Chain::begin(9).append(3, record, circumstances, &SALT);
    // As control planes read it: it is what the log's own encoding makes of it, sorted and within the limits.
    let entry = Entry::decode_foreign(&record.evidence.as_ref().unwrap().body).unwrap();
    (record, entry)
}

#[test]
fn an_entry_says_what_decided() {
    let (record, entry) = sealed(record(Outcome::Completed), &circumstances());
    assert_eq!((record.incarnation, record.sequence), (9, 3));
    let budgets = json!([{"budget": format!("budget-{ULID}"), "window_ms": 5}, {"budget": format!("budget-{ULID}")}]);
    let rates = json!({"input": 1, "output": 2, "cache_read": 3, "cache_write_5m": 4, "cache_write_1h": 5});
    let with = |members: Value| {
        let all = [rates.clone(), members].into_iter().flat_map(|value| value.as_object().cloned().unwrap_or_default());
        Value::from_iter(all)
    };
    let long_context = with(json!({"threshold": 200_000}));
    let price =
        with(json!({"vendor": "anthropic", "model": "claude-x-1", "web_search": 6, "long_context": long_context}));
    let limits = json!([
        {"owner": "team-1", "measure": "requests", "amount": 600, "span_ms": 60_000},
        {"owner": "key-1", "measure": "parallel", "amount": 8},
    ]);
    let findings = json!([{
        "guardrail": "secrets",
        "rule": "aws-access-token",
        "direction": "request",
        "action": "redact",
        "shadow": true,
        "place": "messages[3].content[0]",
        "offset": 17,
        "fingerprint": "abababababababababababababababab",
        "count": 2,
    }]);
    let expect = json!({
        "time_ms": 1_500,
        "action": "request.admit",
        "outcome": "allowed",
        "initiator": format!("key/key-{ULID}"),
        "target": "model/claude-x",
        "replica": "",
        "request_id": "req_1",
        "session": "session",
        "source_address": "192.0.2.7",
        "detail": {
            "operation": "messages",
            "status": 200,
            "team": format!("team-{ULID}"),
            "customer": format!("customer-{ULID}"),
            "agent": "agent",
            "cost_nano_usd": 77,
            "duration_ms": 500,
            "attempts": 1,
            "revision": 12,
            "incarnation": 9,
            "sequence": 3,
            "input_tokens": 3,
            "output_tokens": 4,
            "streamed": true,
            "user_agent": "claude-cli/2.1.330 (external, cli)",
            "held_nano_usd": 900,
            "budgets": budgets,
            "price": price,
            "limits": limits,
            "in_session_limit": true,
            "findings": findings,
            "findings_more": 3,
        },
    });
    assert_eq!(serde_json::to_value(&entry).unwrap(), expect);
}

#[test]
fn each_end_has_its_action() {
    for (outcome, action, ended) in [
        (Outcome::Completed, "request.admit", "allowed"),
        (Outcome::Refused, "request.refuse", "refused"),
        (Outcome::Cut, "request.cut", "refused"),
        (Outcome::UpstreamFailed, "request.fail", "failed"),
        (Outcome::ClientGone, "request.abandon", "failed"),
        (Outcome::Uncertain, "request.uncertain", "failed"),
    ] {
        let (_, entry) = sealed(record(outcome), &Circumstances::default());
        assert_eq!((entry.action(), entry.outcome().word(), entry.source_address()), (action, ended, ""));
        assert_eq!(entry.detail().get("user_agent"), None);
    }
}

#[test]
fn a_gap_says_how_many_are_missing() {
    let gap = Gap { incarnation: 9, sequence: 3, from: UnixMillis::new(5), duration_ms: 6, dropped: 7 };
    let (_, entry) = sealed(v1::Record::from(&gap), &Circumstances::default());
    assert_eq!((entry.action(), entry.time_ms(), entry.replica()), ("usage.drop", 5, ""));
    let expect = json!({"dropped": 7, "duration_ms": 6, "incarnation": 9, "sequence": 3});
    assert_eq!(Value::from(entry.detail().clone()), expect);
}

#[test]
fn what_was_noted_with_an_intent_gives_the_same_entry() {
    let noted = circumstances().encode();
    let again = Chain::begin(9).append_noted(3, record(Outcome::Uncertain), &noted, &SALT);
    assert_eq!(again, sealed(record(Outcome::Uncertain), &circumstances()).0);
    // A note that cannot be read, or that an older version did not write, loses nothing else.
    for noted in [&b""[..], b"\xff", b"[]"] {
        let bare = Chain::begin(9).append_noted(3, record(Outcome::Uncertain), noted, &SALT);
        assert_eq!(bare, sealed(record(Outcome::Uncertain), &Circumstances::default()).0);
    }
}

// As a running replica may have it on its disk.
#[test]
fn a_note_of_another_version_tells_all_that_it_has() {
    let noted = br#"{"user_agent":"agent/1","held_nano_usd":900,"source_address":"192.0.2.7","budgets":[{"budget":"b"}],"status":1,"x":[1]}"#;
    let charges = vec![v1::BudgetCharge { budget: "budget-1".into(), window_ms: Some(5) }];
    let uncertain = v1::Record { charges, ..record(Outcome::Uncertain) };
    let noted = Chain::begin(9).append_noted(3, uncertain, noted, &SALT);
    let entry = Entry::decode_foreign(&noted.evidence.unwrap().body).unwrap();
    assert_eq!((entry.source_address(), entry.detail().get("source_address")), ("192.0.2.7", None));
    let detail = entry.detail();
    assert_eq!(
        (&detail["user_agent"], &detail["held_nano_usd"], &detail["x"]),
        (&json!("agent/1"), &json!(900), &json!([1]))
    );
    assert_eq!(
        (&detail["budgets"], &detail["status"], &detail["sequence"]),
        (&json!([{"budget": "b"}]), &json!(200), &json!(3))
    );
}

#[test]
fn a_detail_beyond_its_bound_is_shortened_as_everywhere() {
    let limit = |at| Counted { owner: format!("team-{at}").into(), measure: Measure::Tokens, amount: at, span_ms: 1 };
    let many = Circumstances { limits: (0..300).map(limit).collect(), ..circumstances() };
    let (record, entry) = sealed(record(Outcome::Completed), &many);
    assert!(entry.detail()["limits"].as_str().unwrap().ends_with('…') && record.evidence.unwrap().body.len() < 8_192);
    assert_eq!(entry.detail()["user_agent"], json!("claude-cli/2.1.330 (external, cli)"));
}

#[test]
fn the_budgets_of_a_record_are_told_where_nothing_else_is_known() {
    let charges = vec![v1::BudgetCharge { budget: "budget-1".into(), window_ms: Some(5) }];
    let (_, entry) = sealed(v1::Record { charges, ..record(Outcome::Uncertain) }, &Circumstances::default());
    assert_eq!(entry.detail()["budgets"], json!([{"budget": "budget-1", "window_ms": 5}]));
}

#[test]
fn what_a_client_says_is_bounded_and_one_line() {
    for (sent, bytes_max, expect) in [
        (b"claude-cli/2".as_slice(), 12, "claude-cli/2"),
        (b"claude-cli/2", 6, "claude"),
        (b"a\tb\xc2\x85c", 12, "a b c"),
        ("x\u{fc}".as_bytes(), 2, "x"),
        (b"ab\xff", 2, "ab"),
        (b"ab\xff", 5, "ab\u{fffd}"),
        (b"", 12, ""),
    ] {
        assert_eq!(&*bounded(sent, bytes_max), expect);
    }
}

#[test]
fn each_record_points_to_the_one_before() {
    let mut chain = Chain::begin(9);
    let records: Vec<_> =
        (1..=3).map(|sequence| chain.append(sequence, record(Outcome::Completed), &circumstances(), &SALT)).collect();
    let previous: Vec<_> = records.iter().map(|record| record.evidence.clone().unwrap().previous).collect();
    assert_eq!(previous[0], [0; 32]);
    assert_eq!(previous[1], link_of(&records[0]).unwrap());
    assert_eq!(previous[2], link_of(&records[1]).unwrap());
    let other = v1::Record { evidence: None, ..records[0].clone() };
    assert_eq!(link_of(&other), None);
}

#[test]
fn an_entry_of_nobody_says_why_and_from_where() {
    let visit = Unidentified {
        incarnation: 0,
        sequence: 0,
        request_id: "req_1".into(),
        arrived: UnixMillis::new(1_000),
        duration_ms: 500,
        refusal: "unauthenticated".into(),
        status: 401,
        operation: "messages".into(),
        revision: 12,
    };
    let known = Circumstances {
        source_address: Some([192, 0, 2, 7].into()),
        user_agent: "claude-cli/2.1.330".into(),
        reason: "This key is not known here.".into(),
        ..Circumstances::default()
    };
    let (_, entry) = sealed(v1::Record::from(&visit), &known);
    assert_eq!((entry.action(), entry.outcome().word()), ("request.refuse", "refused"));
    assert_eq!((entry.initiator(), entry.target(), entry.session()), ("unknown", "", ""));
    assert_eq!((entry.request_id(), entry.source_address(), entry.time_ms()), ("req_1", "192.0.2.7", 1_500));
    let expect = json!({
        "attempts": 0, "cost_nano_usd": 0, "duration_ms": 500, "incarnation": 9, "operation": "messages",
        "reason": "This key is not known here.", "refusal": "unauthenticated", "revision": 12, "sequence": 3, "status": 401,
        "user_agent": "claude-cli/2.1.330"
    });
    assert_eq!(Value::Object(entry.detail().clone()), expect);
}
