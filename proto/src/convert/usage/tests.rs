use super::*;

const ULID: &str = "01k9zq3v5m8c4t2n7r6x0w1y9b";

fn record() -> Record {
    Record {
        incarnation: 7,
        sequence: 3,
        request_id: "req_1".into(),
        arrived: UnixMillis::new(1_700_000_000_000),
        duration_ms: 1_500,
        first_byte_ms: 200,
        outcome: Outcome::Completed,
        refusal: "".into(),
        status: 200,
        attribution: Attribution {
            key: KeyId::from_ulid(ULID).unwrap(),
            team: TeamId::from_ulid(ULID).unwrap(),
            customer: CustomerId::from_ulid(ULID).unwrap(),
            user: UserId::from_ulid(ULID).ok(),
            session: "s".into(),
            agent: "a".into(),
            parent_agent: "p".into(),
        },
        operation: "messages".into(),
        model: "claude-sonnet-4-5".into(),
        answered_model: "claude-sonnet-4-5-20250929".into(),
        provider: ProviderId::from_ulid(ULID).ok(),
        credential: CredentialId::from_ulid(ULID).ok(),
        streamed: true,
        tokens: Tokens { input: 1, output: 2, cache_read: 3, cache_write_5m: 4, cache_write_1h: 5, web_searches: 6 },
        cost: NanoUsd::new(10_500_000),
        unpriced: false,
        revision: 12,
        upstream_request_id: "up".into(),
        attempts: 2,
        charges: Arc::new([
            Charge { budget: BudgetId::from_ulid(ULID).unwrap(), window: Some(UnixMillis::new(5)) },
            Charge { budget: BudgetId::from_ulid(ULID).unwrap(), window: None },
        ]),
        held_incarnation: Some(6),
    }
}

fn wire() -> v1::Record {
    v1::Record::from(&record())
}

#[test]
fn a_record_survives_the_wire() {
    assert_eq!(Reported::try_from(wire()), Ok(Reported::Visit(record())));
    for outcome in Outcome::ALL {
        let attribution = Attribution { user: None, ..record().attribution };
        let record = Record { outcome, attribution, provider: None, credential: None, ..record() };
        assert_eq!(Reported::try_from(v1::Record::from(&record)), Ok(Reported::Visit(record)));
    }
}

#[test]
fn a_gap_survives_the_wire_and_carries_nothing_else() {
    let gap = Gap { incarnation: 1, sequence: 2, from: UnixMillis::new(3), duration_ms: 4, dropped: 5 };
    let wire = v1::Record::from(&gap);
    assert_eq!(Reported::try_from(wire.clone()), Ok(Reported::Gap(gap)));
    let sealed =
        v1::Record { evidence: Some(v1::Evidence { body: b"{}".into(), ..v1::Evidence::default() }), ..wire.clone() };
    assert_eq!(Reported::try_from(sealed), Ok(Reported::Gap(gap)));
    let hiding = v1::Record { cost_nano_usd: 1, ..wire };
    assert_eq!(Reported::try_from(hiding).unwrap_err().field, "dropped");
}

fn unidentified() -> Unidentified {
    Unidentified {
        incarnation: 1,
        sequence: 2,
        request_id: "req_1".into(),
        arrived: UnixMillis::new(3),
        duration_ms: 4,
        refusal: "unauthenticated".into(),
        status: 401,
        operation: "messages".into(),
        revision: 5,
    }
}

#[test]
fn a_visit_of_nobody_survives_the_wire_and_hides_nothing_from_the_ledger() {
    let visit = unidentified();
    let wire = v1::Record::from(&visit);
    assert_eq!(Reported::try_from(wire.clone()), Ok(Reported::Unidentified(visit.clone())));
    let evidence = Some(v1::Evidence { body: b"{}".into(), ..v1::Evidence::default() });
    let sealed = v1::Record { evidence, ..wire.clone() };
    assert_eq!(Reported::try_from(sealed), Ok(Reported::Unidentified(visit)));

    let check = |field: &str, change: fn(&mut v1::Record)| {
        let mut wire = wire.clone();
        change(&mut wire);
        let told = format!("{wire:?}");
        assert_eq!(Reported::try_from(wire).map_err(|error| error.field), Err(field), "{told}");
    };
    check("unidentified", |wire| wire.first_byte_ms = 1);
    for outcome in Outcome::ALL.into_iter().filter(|outcome| *outcome != Outcome::Refused) {
        let other = v1::Record { outcome: v1::Outcome::from(outcome).into(), ..wire.clone() };
        assert_eq!(Reported::try_from(other).unwrap_err().field, "unidentified", "{outcome:?}");
    }
    check("unidentified", |wire| wire.outcome = 0);
    check("unidentified", |wire| wire.key = record().attribution.key.as_str().to_owned());
    check("unidentified", |wire| wire.team = "x".to_owned());
    check("unidentified", |wire| wire.customer = "x".to_owned());
    check("unidentified", |wire| wire.user = "x".to_owned());
    check("unidentified", |wire| wire.session = "x".to_owned());
    check("unidentified", |wire| wire.agent = "x".to_owned());
    check("unidentified", |wire| wire.parent_agent = "x".to_owned());
    check("unidentified", |wire| wire.model = "x".to_owned());
    check("unidentified", |wire| wire.answered_model = "x".to_owned());
    check("unidentified", |wire| wire.provider = "x".to_owned());
    check("unidentified", |wire| wire.credential = "x".to_owned());
    check("unidentified", |wire| wire.streamed = true);
    check("unidentified", |wire| wire.tokens = Some(v1::Tokens::default()));
    check("unidentified", |wire| wire.cost_nano_usd = 1);
    check("unidentified", |wire| wire.unpriced = true);
    check("unidentified", |wire| wire.upstream_request_id = "x".to_owned());
    check("unidentified", |wire| wire.attempts = 1);
    check("unidentified", |wire| wire.charges.push(v1::BudgetCharge::default()));
    check("unidentified", |wire| wire.held_incarnation = 1);
    check("dropped", |wire| wire.dropped = 1);
    check("incarnation", |wire| wire.incarnation = 0);
    check("sequence", |wire| wire.sequence = 0);
    check("request_id", |wire| wire.request_id = "a\nb".to_owned());
    check("arrived_ms", |wire| wire.arrived_ms = -1);
    check("duration_ms", |wire| wire.duration_ms = DURATION_MS_MAX + 1);
    check("refusal", |wire| wire.refusal = "x".repeat(TEXT_BYTES_MAX + 1));
    check("status", |wire| wire.status = 1_000);
    check("operation", |wire| wire.operation = "\0".to_owned());
    check("revision", |wire| wire.revision = -1);
}

#[test]
fn each_field_has_its_bound() {
    let check = |field: &str, change: fn(&mut v1::Record)| {
        let mut wire = wire();
        change(&mut wire);
        assert_eq!(Reported::try_from(wire).map_err(|error| error.field), Err(field));
    };
    check("incarnation", |wire| wire.incarnation = 0);
    check("sequence", |wire| wire.sequence = -1);
    check("request_id", |wire| wire.request_id = "x".repeat(TEXT_BYTES_MAX + 1));
    check("arrived_ms", |wire| wire.arrived_ms = -1);
    check("arrived_ms", |wire| wire.arrived_ms = ARRIVED_MS_MAX + 1);
    check("duration_ms", |wire| wire.duration_ms = DURATION_MS_MAX + 1);
    check("first_byte_ms", |wire| wire.first_byte_ms = -1);
    check("outcome", |wire| wire.outcome = 0);
    check("outcome", |wire| wire.outcome = 99);
    check("refusal", |wire| wire.refusal = "a\nb".to_owned());
    check("status", |wire| wire.status = 1_000);
    check("status", |wire| wire.status = -200);
    check("key", |wire| wire.key = String::new());
    check("key", |wire| wire.key = "team-01k9zq3v5m8c4t2n7r6x0w1y9b".to_owned());
    check("team", |wire| wire.team = "x".to_owned());
    check("customer", |wire| wire.customer = "x".to_owned());
    check("user", |wire| wire.user = "x".to_owned());
    check("session", |wire| wire.session = "\0".to_owned());
    check("agent", |wire| wire.agent = "x".repeat(TEXT_BYTES_MAX + 1));
    check("parent_agent", |wire| wire.parent_agent = "\u{85}".to_owned());
    check("operation", |wire| wire.operation = "\u{7f}".to_owned());
    check("model", |wire| wire.model = "x".repeat(TEXT_BYTES_MAX + 1));
    check("answered_model", |wire| wire.answered_model = "x".repeat(TEXT_BYTES_MAX + 1));
    check("provider", |wire| wire.provider = "x".to_owned());
    check("credential", |wire| wire.credential = "x".to_owned());
    check("tokens.output", |wire| wire.tokens.as_mut().unwrap().output = -1);
    check("tokens.web_searches", |wire| wire.tokens.as_mut().unwrap().web_searches = TOKENS_MAX + 1);
    check("cost_nano_usd", |wire| wire.cost_nano_usd = -1);
    check("cost_nano_usd", |wire| wire.cost_nano_usd = COST_NANO_USD_MAX + 1);
    check("revision", |wire| wire.revision = -1);
    check("upstream_request_id", |wire| wire.upstream_request_id = "\r".to_owned());
    check("attempts", |wire| wire.attempts = -1);
    check("dropped", |wire| wire.dropped = -1);
    check("dropped", |wire| wire.dropped = 1);
    check("unidentified", |wire| wire.unidentified = true);
}

#[test]
fn whatever_a_client_sends_makes_a_record_that_is_taken() {
    for text in ["x".repeat(5_000), "ä".repeat(5_000), "a\0b\n\u{85}c".to_owned(), "\u{85}".repeat(300), String::new()]
    {
        let text: Arc<str> = text.into();
        let record = Record {
            incarnation: u64::MAX,
            arrived: UnixMillis::new(i64::MIN),
            duration_ms: u64::MAX,
            request_id: Arc::clone(&text),
            refusal: Arc::clone(&text),
            operation: Arc::clone(&text),
            model: Arc::clone(&text),
            answered_model: Arc::clone(&text),
            upstream_request_id: Arc::clone(&text),
            attribution: Attribution {
                session: Arc::clone(&text),
                agent: Arc::clone(&text),
                parent_agent: Arc::clone(&text),
                ..record().attribution
            },
            tokens: Tokens { input: u64::MAX, ..Tokens::default() },
            cost: NanoUsd::new(i64::MAX),
            attempts: u32::MAX,
            ..record()
        };
        let taken = Reported::try_from(v1::Record::from(&record));
        assert!(taken.is_ok(), "{taken:?}");
        let visit = Unidentified {
            incarnation: u64::MAX,
            arrived: UnixMillis::new(i64::MIN),
            duration_ms: u64::MAX,
            request_id: Arc::clone(&text),
            refusal: Arc::clone(&text),
            operation: text,
            status: u16::MAX,
            revision: u64::MAX,
            ..unidentified()
        };
        let taken = Reported::try_from(v1::Record::from(&visit));
        assert!(taken.is_ok(), "{taken:?}");
    }
}
