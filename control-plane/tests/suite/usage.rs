//! The ledger: each record counts once, sums never differ from the records, and nothing is answered to the wrong question.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{
    prelude::{Strategy as _, any, prop},
    sample::select,
    strategy::ValueTree as _,
    test_runner::TestRunner,
};
use tokio::task::JoinSet;
use tollgate_audit::seal::CHAIN_START;
use tollgate_control_plane::{
    intake::{Intake, Reporter},
    store::Store,
};
use tollgate_policy::id::ReplicaId;
use tollgate_proto::{
    admin::v1 as admin,
    usage::v1::{
        Dimension, ListRecordsRequest, Outcome, Record, ReportRequest, ReportResponse, StoredRecord, SummarizeRequest,
        Summary, Tokens, usage_intake_service_server::UsageIntakeService as _,
    },
};
use tonic::{Code, Request, Status};

use crate::{
    audit::chained,
    world::{Place, World, code, over_both, violations},
};

over_both! {
    each_record_counts_once_however_reports_arrive
    a_gap_is_answered_with_the_last_sequence_before_it
    control_planes_that_take_one_run_at_once_count_it_once
    what_breaks_a_rule_is_refused_whole
    what_a_replica_has_forgotten_is_noted_and_passed_over
    dropped_records_show_in_the_list_and_the_log_and_in_no_sum
    a_visit_has_an_entry_in_the_log
    a_visit_of_nobody_has_an_entry_in_the_log_and_no_line_in_the_ledger
    sums_are_exact_between_any_two_instants
    rows_have_names_and_filters_take_them
    the_list_goes_back_page_by_page
}

const HOUR_MS: i64 = 3_600_000;
const START_MS: i64 = 472_222 * HOUR_MS;
const DIMENSIONS: [Dimension; 9] = [
    Dimension::Key,
    Dimension::Team,
    Dimension::Customer,
    Dimension::User,
    Dimension::Model,
    Dimension::Provider,
    Dimension::Session,
    Dimension::Agent,
    Dimension::Day,
];

pub(crate) fn id(noun: &str, number: usize) -> String {
    format!("{noun}-{number:026}")
}

pub(crate) fn replica(number: usize) -> ReplicaId {
    ReplicaId::parse(&id("replica", number)).unwrap()
}

// A record that differs from others in every dimension, by its sequence.
pub(crate) fn record(incarnation: i64, sequence: i64) -> Record {
    let number = usize::try_from(sequence).unwrap();
    let outcome = [Outcome::Completed, Outcome::Refused, Outcome::Cut, Outcome::Uncertain, Outcome::ClientGone];
    let outcome = outcome[number % outcome.len()];
    Record {
        incarnation,
        sequence,
        request_id: format!("req_{incarnation}_{sequence}"),
        arrived_ms: START_MS + sequence * 47 * 60_000,
        duration_ms: 1_500,
        first_byte_ms: 300,
        outcome: outcome.into(),
        refusal: if outcome == Outcome::Refused { "model_denied".into() } else { String::new() },
        status: 200,
        key: id("key", number % 3),
        team: id("team", number % 2),
        customer: id("customer", 0),
        user: if number % 3 == 0 { String::new() } else { id("user", number % 3) },
        session: format!("session-{}", number % 4),
        agent: if number % 2 == 0 { String::new() } else { format!("agent-{}", number % 5) },
        parent_agent: String::new(),
        operation: "messages".into(),
        model: format!("model-{}", number % 3),
        answered_model: "model".into(),
        provider: if outcome == Outcome::Refused { String::new() } else { id("provider", number % 2) },
        credential: String::new(),
        streamed: true,
        tokens: Some(Tokens {
            input: sequence,
            output: 2 * sequence,
            cache_read: 3,
            cache_write_5m: 4,
            cache_write_1h: 5,
            web_searches: 1,
        }),
        cost_nano_usd: 1_000 * sequence,
        unpriced: number % 7 == 0,
        revision: 3,
        upstream_request_id: "up".into(),
        attempts: if outcome == Outcome::Refused { 0 } else { 1 },
        dropped: 0,
        charges: Vec::new(),
        held_incarnation: 0,
        evidence: None,
        unidentified: false,
    }
}

fn records(incarnation: i64, sequences: std::ops::RangeInclusive<i64>) -> Vec<Record> {
    sequences.map(|sequence| record(incarnation, sequence)).collect()
}

pub(crate) async fn report_request(store: &Store, from: &ReplicaId, request: ReportRequest) -> Result<i64, Status> {
    let mut request = Request::new(request);
    request.extensions_mut().insert(Reporter(from.clone()));
    let answer = Intake::new(store.clone()).report(request).await?;
    let ReportResponse { acknowledged_sequence } = answer.into_inner();
    Ok(acknowledged_sequence)
}

pub(crate) async fn report(
    store: &Store,
    from: &ReplicaId,
    incarnation: i64,
    records: Vec<Record>,
) -> Result<i64, Status> {
    report_request(store, from, ReportRequest { incarnation, records, forgotten_through: 0 }).await
}

async fn list(
    world: &World,
    filter: &str,
    page_size: i32,
    page_token: &str,
) -> Result<(Vec<StoredRecord>, String), Status> {
    let request = ListRecordsRequest { page_size, page_token: page_token.into(), filter: filter.into() };
    let page = world.usage().list_records(request).await?.into_inner();
    Ok((page.records, page.next_page_token))
}

async fn whole_list(world: &World, filter: &str) -> Vec<StoredRecord> {
    let (mut all, mut token) = list(world, filter, 0, "").await.unwrap();
    while !token.is_empty() {
        let (more, next) = list(world, filter, 0, &token).await.unwrap();
        all.extend(more);
        token = next;
    }
    all
}

async fn summarize(
    world: &World,
    by: Dimension,
    (since, until): (Option<i64>, Option<i64>),
    filter: &str,
) -> Result<Vec<Summary>, Status> {
    let instant = |millis: i64| prost_types::Timestamp {
        seconds: millis.div_euclid(1_000),
        nanos: i32::try_from(millis.rem_euclid(1_000)).unwrap() * 1_000_000,
    };
    let (since, until) = (since.map(instant), until.map(instant));
    let request = SummarizeRequest { by: by.into(), since, until, filter: filter.into() };
    Ok(world.usage().summarize(request).await?.into_inner().rows)
}

fn value(by: Dimension, record: &Record) -> String {
    match by {
        Dimension::Key => record.key.clone(),
        Dimension::Team => record.team.clone(),
        Dimension::Customer => record.customer.clone(),
        Dimension::User => record.user.clone(),
        Dimension::Model => record.model.clone(),
        Dimension::Provider => record.provider.clone(),
        Dimension::Session => record.session.clone(),
        Dimension::Agent => record.agent.clone(),
        Dimension::Day => jiff_date(record.arrived_ms),
        Dimension::Unspecified => unreachable!(),
    }
}

fn jiff_date(millis: i64) -> String {
    jiff::Timestamp::from_millisecond(millis).unwrap().to_string()[..10].to_owned()
}

// What a summary must say, computed record by record.
fn expected(by: Dimension, records: &[Record]) -> BTreeMap<String, Summary> {
    let mut rows: BTreeMap<String, Summary> = BTreeMap::new();
    for record in records {
        let id = value(by, record);
        let row = rows.entry(id.clone()).or_insert_with(|| Summary {
            id,
            tokens: Some(Tokens::default()),
            ..Default::default()
        });
        row.requests += i64::from(record.attempts > 0);
        row.refused += i64::from(record.outcome() == Outcome::Refused);
        row.uncertain += i64::from(record.outcome() == Outcome::Uncertain);
        row.unpriced += i64::from(record.unpriced && record.attempts > 0);
        row.cost_nano_usd += record.cost_nano_usd;
        let (sums, tokens) = (row.tokens.as_mut().unwrap(), record.tokens.unwrap());
        sums.input += tokens.input;
        sums.output += tokens.output;
        sums.cache_read += tokens.cache_read;
        sums.cache_write_5m += tokens.cache_write_5m;
        sums.cache_write_1h += tokens.cache_write_1h;
        sums.web_searches += tokens.web_searches;
    }
    rows
}

fn keyed(rows: Vec<Summary>) -> BTreeMap<String, Summary> {
    rows.into_iter().map(|row| (row.id.clone(), Summary { name: String::new(), ..row })).collect()
}

// The sums, the list and the log say the same as these records.
async fn assert_ledger(world: &World, stored: &[Record]) {
    for by in DIMENSIONS {
        let rows = summarize(world, by, (None, None), "").await.unwrap();
        assert_eq!(keyed(rows), expected(by, stored), "{by:?}");
    }
    let listed: BTreeSet<_> =
        whole_list(world, "").await.into_iter().map(|row| row.record.unwrap().request_id).collect();
    let expect: BTreeSet<_> = stored.iter().map(|record| record.request_id.clone()).collect();
    assert_eq!(listed, expect);
    let logged: Vec<_> = world.log("action=request.*").await.into_iter().map(|entry| entry.request_id).collect();
    assert_eq!(logged.len(), stored.len());
    assert_eq!(logged.into_iter().collect::<BTreeSet<_>>(), expect);
}

async fn each_record_counts_once_however_reports_arrive(place: Place) {
    const RUN: i64 = 40;
    let world = World::start(&place).await;
    let runs: Vec<(ReplicaId, i64)> = vec![(replica(1), 100), (replica(1), 200), (replica(2), 150)];
    // Which run, how far from its end, how many: replays, overlaps and gaps as they come.
    let reports = prop::collection::vec((0..runs.len(), -12..4_i64, 1..15_i64), 60);
    let reports = reports.new_tree(&mut TestRunner::deterministic()).unwrap().current();
    let mut acknowledged = vec![0; runs.len()];
    for (run, distance, count) in reports {
        let (from, incarnation) = &runs[run];
        let first = (acknowledged[run] + 1 + distance).clamp(1, RUN);
        let last = (first + count - 1).min(RUN);
        if first <= acknowledged[run] + 1 {
            acknowledged[run] = acknowledged[run].max(last);
        }
        let answer = report(&world.store, from, *incarnation, records(*incarnation, first..=last)).await;
        assert_eq!(answer.unwrap(), acknowledged[run], "{from} {incarnation} {first} {count}");
    }
    assert!(acknowledged.iter().all(|through| *through >= RUN / 4), "{acknowledged:?}");
    // Runs of different replicas have different incarnations here, so that each request id is of one record.
    let stored: Vec<_> = runs
        .iter()
        .zip(&acknowledged)
        .flat_map(|((_, incarnation), through)| records(*incarnation, 1..=*through))
        .collect();
    assert_ledger(&world, &stored).await;
    world.stop().await;
}

async fn a_gap_is_answered_with_the_last_sequence_before_it(place: Place) {
    let world = World::start(&place).await;
    let from = replica(1);
    let send = |sequences| report(&world.store, &from, 5, records(5, sequences));
    assert_eq!(send(2..=4).await.unwrap(), 0);
    assert_eq!(send(1..=3).await.unwrap(), 3);
    assert_eq!(send(5..=9).await.unwrap(), 3);
    assert_eq!(send(1..=2).await.unwrap(), 3);
    assert_eq!(send(2..=6).await.unwrap(), 6);
    assert_eq!(report(&world.store, &from, 5, vec![]).await.unwrap(), 6);
    assert_ledger(&world, &records(5, 1..=6)).await;
    world.stop().await;
}

async fn control_planes_that_take_one_run_at_once_count_it_once(place: Place) {
    let first = World::start(&place).await;
    let second = World::start_in(&place, "second").await;
    let mut reports = JoinSet::new();
    for turn in 0..24 {
        let store = [&first, &second][turn % 2].store.clone();
        reports.spawn(async move {
            let (from, incarnation) = (replica(turn % 3), i64::try_from(10 + turn % 3).unwrap());
            loop {
                match report(&store, &from, incarnation, records(incarnation, 1..=60)).await {
                    Ok(acknowledged) => return acknowledged,
                    Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status:?}"),
                }
            }
        });
    }
    while let Some(acknowledged) = reports.join_next().await {
        assert_eq!(acknowledged.unwrap(), 60);
    }
    let stored: Vec<_> = (10..13).flat_map(|incarnation| records(incarnation, 1..=60)).collect();
    assert_ledger(&first, &stored).await;
    first.stop().await;
    second.stop().await;
}

async fn what_breaks_a_rule_is_refused_whole(place: Place) {
    let world = World::start(&place).await;
    let from = replica(1);
    let refused = |incarnation, records: Vec<Record>, forgotten_through| {
        report_request(&world.store, &from, ReportRequest { incarnation, records, forgotten_through })
    };
    let mut wrong = records(5, 1..=3);
    wrong[1].model = "x".repeat(300);
    wrong[2].outcome = 99;
    assert_eq!(violations(refused(5, wrong, 0).await), ["records[1].model", "records[2].outcome"]);
    assert_eq!(violations(refused(0, vec![], 0).await), ["incarnation"]);
    assert_eq!(violations(refused(5, records(6, 1..=2), 0).await), ["records"]);
    assert_eq!(violations(refused(5, vec![record(5, 1), record(5, 3)], 0).await), ["records"]);
    assert_eq!(violations(refused(5, vec![record(5, 2), record(5, 1)], 0).await), ["records"]);
    assert_eq!(violations(refused(5, records(5, 1..=501), 0).await), ["records"]);
    assert_eq!(violations(refused(5, records(5, 3..=4), 3).await), ["forgotten_through"]);
    assert_eq!(violations(refused(5, records(5, 3..=4), -1).await), ["forgotten_through"]);
    let anonymous = Request::new(ReportRequest { incarnation: 5, records: records(5, 1..=1), forgotten_through: 0 });
    assert_eq!(code(Intake::new(world.store.clone()).report(anonymous).await), Code::Unauthenticated);
    assert_ledger(&world, &[]).await;
    world.stop().await;
}

async fn what_a_replica_has_forgotten_is_noted_and_passed_over(place: Place) {
    let world = World::start(&place).await;
    let from = replica(1);
    let (first, _) = chained(records(5, 1..=2), CHAIN_START);
    assert_eq!(report(&world.store, &from, 5, first).await.unwrap(), 2);
    let (later, _) = chained(records(5, 10..=11), [9; 32]);
    let request = ReportRequest { incarnation: 5, records: later, forgotten_through: 9 };
    assert_eq!(report_request(&world.store, &from, request.clone()).await.unwrap(), 11);
    assert_eq!(report_request(&world.store, &from, request).await.unwrap(), 11);
    let noted = world.log("action=usage.forget").await;
    assert_eq!(noted.len(), 1);
    assert_eq!((noted[0].replica.as_str(), noted[0].target.as_str()), (from.as_str(), &*format!("replica/{from}")));
    let detail: serde_json::Value = serde_json::from_str(&noted[0].detail).unwrap();
    assert_eq!(detail, serde_json::json!({"incarnation": 5, "from_sequence": 3, "to_sequence": 9}));
    let stored: Vec<_> = [1, 2, 10, 11].map(|sequence| record(5, sequence)).into();
    assert_ledger(&world, &stored).await;
    world.stop().await;
}

async fn dropped_records_show_in_the_list_and_the_log_and_in_no_sum(place: Place) {
    let world = World::start(&place).await;
    let gap = Record {
        incarnation: 5,
        sequence: 2,
        arrived_ms: START_MS,
        duration_ms: 60_000,
        dropped: 12,
        ..Default::default()
    };
    let sent = vec![record(5, 1), gap.clone(), record(5, 3)];
    assert_eq!(report(&world.store, &replica(1), 5, sent).await.unwrap(), 3);
    let counted = [record(5, 1), record(5, 3)];
    let rows = summarize(&world, Dimension::Key, (None, None), "").await.unwrap();
    assert_eq!(keyed(rows), expected(Dimension::Key, &counted));
    let around = (Some(START_MS - 1), Some(START_MS + 1));
    assert_eq!(summarize(&world, Dimension::Key, around, "").await.unwrap(), []);
    let listed: Vec<_> = whole_list(&world, "").await.into_iter().map(|row| row.record.unwrap()).collect();
    assert_eq!(listed, [record(5, 3), record(5, 1), gap]);
    let noted = world.log("action=usage.drop").await;
    assert_eq!(noted.len(), 1);
    assert!(noted[0].detail.contains("\"dropped\":12"), "{}", noted[0].detail);
    world.stop().await;
}

async fn a_visit_has_an_entry_in_the_log(place: Place) {
    let world = World::start(&place).await;
    let from = replica(1);
    report(&world.store, &from, 5, records(5, 1..=5)).await.unwrap();
    let log = world.log("action=request.*").await;
    let actions: Vec<_> = log.iter().map(|entry| (entry.action.as_str(), entry.outcome.as_str())).collect();
    let expect = [
        ("request.refuse", "refused"),
        ("request.cut", "refused"),
        ("request.uncertain", "failed"),
        ("request.abandon", "failed"),
        ("request.admit", "allowed"),
    ];
    assert_eq!(actions, expect);
    let entry = &log[4];
    assert_eq!(entry.initiator, format!("key/{}", id("key", 2)));
    assert_eq!(entry.target, "model/model-2");
    assert_eq!((entry.replica.as_str(), entry.request_id.as_str()), (from.as_str(), "req_5_5"));
    assert_eq!(entry.session, "session-1");
    let detail: serde_json::Value = serde_json::from_str(&entry.detail).unwrap();
    assert_eq!((&detail["input_tokens"], &detail["cost_nano_usd"]), (&5.into(), &5_000.into()));
    assert_eq!(detail["provider"], id("provider", 1));
    assert!(log[0].detail.contains("\"refusal\":\"model_denied\""));
    world.stop().await;
}

// As a replica reports whom it refused before a key was accepted.
pub(crate) fn unidentified(incarnation: i64, sequence: i64) -> Record {
    Record {
        incarnation,
        sequence,
        request_id: format!("req_{incarnation}_{sequence}"),
        arrived_ms: START_MS + sequence * 47 * 60_000,
        duration_ms: 2,
        outcome: Outcome::Refused.into(),
        refusal: "unauthenticated".into(),
        status: 401,
        operation: "messages".into(),
        revision: 3,
        unidentified: true,
        ..Record::default()
    }
}

async fn a_visit_of_nobody_has_an_entry_in_the_log_and_no_line_in_the_ledger(place: Place) {
    let world = World::start(&place).await;
    let from = replica(1);
    // More than one statement takes, with visits of somebody among them; with entries of the replica, or without.
    let mixed = |sequence| if sequence % 3 == 0 { record(5, sequence) } else { unidentified(5, sequence) };
    let (mut sent, _) = chained((1..=40).map(mixed).collect(), CHAIN_START);
    let bare = |sequence| Record { evidence: None, ..mixed(sequence) };
    sent.extend((41..=60).map(bare));
    let send = |range: std::ops::Range<usize>| report(&world.store, &from, 5, sent[range].to_vec());
    assert_eq!(send(0..25).await.unwrap(), 25);
    // Whatever comes again, and overlaps, is told once.
    for again in [0..25, 0..1, 24..25, 10..41, 40..60, 0..60] {
        assert!(send(again).await.unwrap() >= 25);
    }
    let somebody: Vec<_> = (1..=60).filter(|sequence| sequence % 3 == 0).map(|sequence| record(5, sequence)).collect();
    for by in DIMENSIONS {
        assert_eq!(keyed(summarize(&world, by, (None, None), "").await.unwrap()), expected(by, &somebody), "{by:?}");
    }
    let listed: Vec<_> = whole_list(&world, "").await.into_iter().map(|row| row.record.unwrap().request_id).collect();
    assert_eq!(listed, somebody.iter().rev().map(|record| record.request_id.clone()).collect::<Vec<_>>());
    let log = world.log("action=request.*").await;
    let told: Vec<_> = log.iter().map(|entry| entry.request_id.clone()).collect();
    assert_eq!(told, (1..=60).map(|sequence| format!("req_5_{sequence}")).collect::<Vec<_>>(), "each once, in order");
    let nobodys = world.log("action=request.refuse AND initiator=unknown").await;
    assert_eq!(nobodys.len(), 40);
    let detail: serde_json::Value = serde_json::from_str(&nobodys[39].detail).unwrap();
    assert_eq!((&detail["refusal"], &detail["status"]), (&"unauthenticated".into(), &401.into()));
    assert_eq!((&detail["revision"], nobodys[39].replica.as_str()), (&3.into(), from.as_str()));

    // What names a key is no visit of nobody, and an entry that says more is not its own.
    let hiding = Record { key: id("key", 1), ..unidentified(5, 61) };
    assert_eq!(violations(report(&world.store, &from, 5, vec![hiding]).await), ["records[0].unidentified"]);
    let claims = chained(vec![record(5, 61)], CHAIN_START).0.remove(0).evidence;
    let telling = Record { evidence: claims, ..unidentified(5, 61) };
    assert_eq!(violations(report(&world.store, &from, 5, vec![telling]).await), ["records[0].evidence"]);
    assert_eq!(world.log("action=request.*").await.len(), 60);
    world.stop().await;
}

async fn sums_are_exact_between_any_two_instants(place: Place) {
    let world = World::start(&place).await;
    let stored = records(5, 1..=80);
    report(&world.store, &replica(1), 5, stored.clone()).await.unwrap();
    let last = stored.last().unwrap().arrived_ms;
    let instant = (START_MS - 2 * HOUR_MS..last + 2 * HOUR_MS, any::<bool>(), any::<bool>());
    let instant = instant.prop_map(|(at, whole, none)| {
        let at = if whole { at / HOUR_MS * HOUR_MS } else { at };
        (!none).then_some(at)
    });
    let filter = select(vec!["", "session=session-1", "model=model-2", "model=model-1 AND session=session-3"]);
    let case = (instant.clone(), instant, select(DIMENSIONS.to_vec()), filter);
    let mut runner = TestRunner::deterministic();
    for _ in 0..80 {
        let (one, other, by, filter) = case.new_tree(&mut runner).unwrap().current();
        let (since, until) = match (one, other) {
            (Some(one), Some(other)) => (Some(one.min(other)), Some(one.max(other))),
            either => either,
        };
        let meant: Vec<_> = stored
            .iter()
            .filter(|record| since.is_none_or(|since| record.arrived_ms >= since))
            .filter(|record| until.is_none_or(|until| record.arrived_ms < until))
            .filter(|record| !filter.contains("session=") || filter.ends_with(&record.session))
            .filter(|record| !filter.contains("model=") || filter.contains(&record.model))
            .cloned()
            .collect();
        let rows = summarize(&world, by, (since, until), filter).await.unwrap();
        assert_eq!(keyed(rows), expected(by, &meant), "{by:?} {since:?} {until:?} {filter}");
    }
    let by_cost = summarize(&world, Dimension::Session, (None, None), "").await.unwrap();
    assert!(by_cost.is_sorted_by(|one, next| one.cost_nano_usd >= next.cost_nano_usd), "dearest first");
    let by_day = summarize(&world, Dimension::Day, (None, None), "").await.unwrap();
    assert!(by_day.len() > 2 && by_day.is_sorted_by(|one, next| one.id < next.id), "oldest first");
    world.stop().await;
}

async fn rows_have_names_and_filters_take_them(place: Place) {
    let world = World::start(&place).await;
    world.customer("acme").await;
    world.team("platform", "acme").await;
    world.user("ada").await;
    let provider = world.provider("anthropic", &[("primary", "sk-canary")]).await;
    let key = admin::Key { name: "dev".into(), team: "platform".into(), user: "ada".into(), ..Default::default() };
    let key = world.key(key).await.unwrap().key.unwrap();
    let known = Record {
        key: key.id.clone(),
        team: key.team.clone(),
        user: key.user.clone(),
        provider: provider.id.clone(),
        ..record(5, 1)
    };
    report(&world.store, &replica(1), 5, vec![known, record(5, 2)]).await.unwrap();
    for (by, name) in [
        (Dimension::Key, "dev"),
        (Dimension::Team, "platform"),
        (Dimension::User, "ada"),
        (Dimension::Provider, "anthropic"),
    ] {
        let rows = summarize(&world, by, (None, None), "").await.unwrap();
        let names: BTreeSet<_> = rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names, BTreeSet::from(["", name]), "{by:?}");
    }
    let unknown = id("key", 2);
    for (filter, expect) in [
        ("key=dev".to_owned(), 1),
        (format!("key={}", key.id), 1),
        (format!("key={unknown}"), 1),
        (format!("key={}", id("key", 999)), 0),
        ("team=platform AND user=ada AND provider=anthropic".to_owned(), 1),
        (format!("key=dev AND key={unknown}").replace(" AND key=", " AND model=model-2 AND session="), 0),
    ] {
        assert_eq!(whole_list(&world, &filter).await.len(), expect, "{filter}");
        let rows = summarize(&world, Dimension::Day, (None, None), &filter).await.unwrap();
        assert_eq!(rows.len(), expect, "{filter}");
    }
    assert_eq!(code(list(&world, "key=nobody", 0, "").await), Code::NotFound);
    assert_eq!(violations(list(&world, "colour=red", 0, "").await), ["filter"]);
    assert_eq!(violations(summarize(&world, Dimension::Unspecified, (None, None), "").await), ["by"]);
    assert_eq!(violations(summarize(&world, Dimension::Day, (Some(2), Some(1)), "").await), ["until"]);
    assert_eq!(violations(summarize(&world, Dimension::Day, (None, None), "outcome=cut").await), ["filter"]);
    world.stop().await;
}

async fn the_list_goes_back_page_by_page(place: Place) {
    let world = World::start(&place).await;
    let twins = |incarnation| -> Vec<Record> {
        let record = |sequence| Record { arrived_ms: START_MS + sequence / 3, ..record(incarnation, sequence) };
        (1..=20).map(record).collect()
    };
    report(&world.store, &replica(1), 5, twins(5)).await.unwrap();
    report(&world.store, &replica(2), 6, twins(6)).await.unwrap();
    let (mut pages, mut token) = (Vec::new(), String::new());
    loop {
        let (page, next) = list(&world, "", 7, &token).await.unwrap();
        assert!(page.len() == 7 || next.is_empty());
        pages.extend(page.into_iter().map(|row| (row.record.unwrap(), row.replica)));
        token = next;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(pages.len(), 40);
    assert!(pages.is_sorted_by(|(one, _), (next, _)| one.arrived_ms >= next.arrived_ms), "newest first");
    let distinct: BTreeSet<_> = pages.iter().map(|(record, from)| (from.clone(), record.sequence)).collect();
    assert_eq!(distinct.len(), 40);
    assert_eq!(whole_list(&world, "request_id=req_6_13").await.len(), 1);
    assert_eq!(whole_list(&world, "outcome=refused").await.len(), 8);
    assert_eq!(violations(list(&world, "outcome=lost", 0, "").await), ["filter"]);
    assert_eq!(violations(list(&world, "", 0, "garbage").await), ["page_token"]);
    world.stop().await;
}
