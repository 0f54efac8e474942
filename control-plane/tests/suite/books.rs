//! The books of budgets: what is lent never passes a limit, what is told twice counts once, and who must know is told.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, routing::post};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tokio::{
    sync::{Mutex, mpsc},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tollgate_control_plane::{
    lend::{Answered, Asked, Exchange, LendError, Lender},
    recalls::Recalls,
    store::{
        Row, Statement, Store,
        books::{WindowId, WindowRow, leases::LeaseId},
    },
};
use tollgate_policy::{
    id::{BudgetId, ReplicaId},
    lend::{Ask, Loan, Standing},
    money::NanoUsd,
};
use tollgate_proto::{
    admin::v1,
    fleet::v1::{
        ExchangeRequest, ExchangeResponse, LeaseAnswer, LeaseAsk, LeaseStanding, follow_response::Message as Hear,
        lease_service_client::LeaseServiceClient,
    },
    usage::v1::{BudgetCharge, ListRecordsRequest, Record},
};
use tollgate_settings::Secret;
use tonic::{Code, Status};

use crate::{
    fleet::{Member, until_listed},
    usage::{id, record, replica, report},
    world::{Place, World, code, config, keyring, over_both, violations},
};

over_both! {
    what_is_lent_and_spent_never_passes_the_limit
    an_ask_that_is_repeated_is_granted_once
    an_older_run_borrows_nothing
    a_budget_that_cannot_be_read_holds_up_no_other
    what_an_ended_run_had_is_freed_once_its_records_are_stored
    what_a_run_did_not_live_to_report_is_paid_from_what_it_had
    a_charge_counts_once_however_often_it_is_reported
    a_charge_finds_its_window_whatever_the_record_names
    each_threshold_is_told_once_a_window
    a_budget_that_is_gone_takes_what_is_given_back
    windows_only_go_forward
    the_current_window_is_made_again_for_who_borrowed_from_it
    leases_of_windows_that_ended_long_ago_are_removed_once_nothing_is_outstanding
    what_breaks_a_rule_of_asking_is_refused
    a_need_that_is_not_met_recalls_the_budget_wherever_replicas_follow
    an_alert_is_signed_and_sent_again_until_it_is_taken
    a_correction_is_made_once_in_its_window
    an_operator_frees_what_a_lost_replica_had
}

const DOLLAR: i64 = 1_000_000_000;
const HOUR_MS: i64 = 3_600_000;

fn now() -> i64 {
    tollgate_control_plane::clock::now_ms()
}

fn budget(number: usize) -> BudgetId {
    BudgetId::parse(&id("budget", number)).unwrap()
}

struct Terms {
    dollars: i64,
    period: &'static str,
    enforcement: &'static str,
    retired: bool,
    create_time: i64,
}

impl Default for Terms {
    fn default() -> Self {
        Self { dollars: 100, period: "total", enforcement: "hard", retired: false, create_time: 1_700_000_000_000 }
    }
}

async fn write(store: &Store, statement: Statement) {
    let mut txn = store.begin().await.unwrap();
    txn.execute(statement).await.unwrap();
    txn.commit().await.unwrap();
}

async fn configure(store: &Store, number: usize, terms: Terms) -> BudgetId {
    let Terms { dollars, period, enforcement, retired, create_time } = terms;
    let insert = Statement::new(
        "INSERT INTO budgets (id, owner_kind, owner, position, limit_nano_usd, period, alignment, time_zone, models,
         provider, enforcement, holding, thresholds, grace_nano_usd, grace_ms, contact, create_time, created, retired)
         VALUES ($1, 'team', $2, 0, $3, $4, 'rolling', 'UTC', '[]', NULL, $5, 'auto', '[50,80,100]', 0, 0, 'ask us', $6,
         1, $7)",
    );
    let insert = insert.bind(budget(number).as_str()).bind(id("team", 1)).bind(dollars * DOLLAR);
    write(store, insert.bind(period).bind(enforcement).bind(create_time).bind(retired)).await;
    budget(number)
}

fn ask(dollars: i64) -> Ask {
    let need = NanoUsd::new(dollars * DOLLAR);
    Ask { need, wish: need, mean_hold: NanoUsd::new(DOLLAR / 100), ..Ask::default() }
}

fn exchange(replica: &ReplicaId, incarnation: i64, asks: &[(&BudgetId, Option<i64>, Ask)]) -> Exchange {
    let asked = |(budget, window, ask): &(&BudgetId, Option<i64>, Ask)| Asked {
        budget: (*budget).clone(),
        window: *window,
        ask: *ask,
    };
    Exchange { replica: replica.clone(), incarnation, asks: asks.iter().map(asked).collect(), replayed: Vec::new() }
}

// A lender and its task, which ends with it.
struct Lending {
    lender: Lender,
    _desk: JoinSet<()>,
}

impl Lending {
    async fn exchange(&self, exchange: Exchange) -> Result<Vec<Answered>, LendError> {
        self.lender.exchange(exchange).await
    }
}

fn lender(store: &Store) -> Lending {
    let (lender, desk) = Lender::new(store.clone(), Recalls::default());
    let mut desks = JoinSet::new();
    desks.spawn(desk.run(CancellationToken::new()));
    Lending { lender, _desk: desks }
}

// The window, how long it lasts, what is granted in dollars, and how the budget stands.
fn lent(answered: &Answered) -> (i64, i64, i64, Standing) {
    let Answered::Lent { window, valid_ms, answer } = answered else { panic!("the budget is gone") };
    (*window, *valid_ms, answer.granted.get() / DOLLAR, answer.standing)
}

async fn granted(lender: &Lending, exchange: Exchange) -> (i64, i64, i64, Standing) {
    lent(&lender.exchange(exchange).await.unwrap()[0])
}

async fn row(store: &Store, budget: &BudgetId, start: i64) -> Option<WindowRow> {
    let window = WindowId { budget: budget.clone(), start };
    let mut txn = store.begin().await.unwrap();
    let mut rows = BTreeMap::new();
    txn.windows_lock(std::slice::from_ref(&window), &mut rows).await.unwrap();
    txn.end().await.unwrap();
    rows.remove(&window)
}

// What was spent and what is lent, in dollars.
async fn book(store: &Store, budget: &BudgetId, start: i64) -> (i64, i64) {
    let row = row(store, budget, start).await.unwrap();
    let mut txn = store.begin_read().await.unwrap();
    let leases = txn.leases_list(None, Some(budget), 1_000).await.unwrap();
    txn.end().await.unwrap();
    let outstanding = leases.iter().filter(|lease| lease.id.window.start == start).map(|lease| lease.outstanding);
    assert_eq!(row.leased, outstanding.sum::<NanoUsd>(), "the row has the sum of its leases");
    (row.settled.get() / DOLLAR, row.leased.get() / DOLLAR)
}

fn charged(incarnation: i64, sequence: i64, dollars: i64, charges: &[(&BudgetId, Option<i64>)]) -> Record {
    let charge = |(budget, window_ms): &(&BudgetId, Option<i64>)| BudgetCharge {
        budget: budget.to_string(),
        window_ms: *window_ms,
    };
    Record {
        arrived_ms: now(),
        cost_nano_usd: dollars * DOLLAR,
        charges: charges.iter().map(charge).collect(),
        ..record(incarnation, sequence)
    }
}

fn detail(entry: &tollgate_proto::audit::v1::Entry) -> serde_json::Value {
    serde_json::from_str(&entry.detail).unwrap()
}

// === Lending ===

async fn what_is_lent_and_spent_never_passes_the_limit(place: Place) {
    const REPLICAS: usize = 10;
    let stores = [Store::open(&place.url, keyring()).await.unwrap(), Store::open(&place.url, keyring()).await.unwrap()];
    let terms = Terms { dollars: 300, ..Terms::default() };
    let start = terms.create_time;
    let hot = configure(&stores[0], 1, terms).await;
    let wide = configure(&stores[0], 2, Terms { dollars: 100_000, ..Terms::default() }).await;
    let lenders = [lender(&stores[0]), lender(&stores[1])];
    let mut running = JoinSet::new();
    for number in 0..REPLICAS {
        let (store, lender, hot, wide) =
            (stores[number % 2].clone(), lenders[number % 2].lender.clone(), hot.clone(), wide.clone());
        running.spawn(async move { borrow_and_spend(&store, &lender, &hot, &wide, number).await });
    }
    let watch = stores[0].clone();
    let watched = hot.clone();
    let mut watcher = JoinSet::new();
    watcher.spawn(async move {
        loop {
            if let Some(row) = row(&watch, &watched, start).await {
                let used = row.settled.plus(row.leased).get();
                assert!(used <= 300 * DOLLAR, "{row:?}");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let spent: i64 = running.join_all().await.into_iter().sum();
    assert!(watcher.try_join_next().is_none(), "the limit was passed");
    watcher.shutdown().await;
    let (settled, leased) = book(&stores[0], &hot, start).await;
    assert_eq!(settled, spent);
    assert!(settled + leased <= 300 && settled >= 290, "{settled} {leased}");
    assert_eq!(book(&stores[1], &wide, start).await.0, spent);
}

// Borrows a dollar or two at a time from both budgets and spends them, until nothing more fits. Returns what it spent.
async fn borrow_and_spend(store: &Store, lender: &Lender, hot: &BudgetId, wide: &BudgetId, number: usize) -> i64 {
    let from = replica(number);
    let (mut spent, mut sequence, mut known, mut window) = (0, 0, [0, 0], None);
    loop {
        let need = 1 + i64::try_from(number).unwrap() % 2;
        let want = |at: usize| {
            let known = NanoUsd::new(known[at] * DOLLAR);
            let free = known.get() - spent * DOLLAR;
            let need = NanoUsd::new((need * DOLLAR - free).max(0));
            Ask { granted: known, need, wish: need, mean_hold: NanoUsd::new(DOLLAR), ..Ask::default() }
        };
        let asks = exchange(&from, 1, &[(hot, window, want(0)), (wide, window, want(1))]);
        let answers = match lender.exchange(asks).await {
            Ok(answers) => answers,
            Err(LendError::Unavailable) => continue,
            Err(error) => panic!("{error}"),
        };
        let (start, _, hot_granted, standing) = lent(&answers[0]);
        (known, window) = ([hot_granted, lent(&answers[1]).2], Some(start));
        if known[0] - spent < need {
            if standing == Standing::Exhausted {
                return spent;
            }
            // Others hold the rest of it until they have spent it.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        }
        (sequence, spent) = (sequence + 1, spent + need);
        let record = charged(1, sequence, need, &[(hot, window), (wide, window)]);
        while let Err(status) = report(store, &from, 1, vec![record.clone()]).await {
            assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        }
    }
}

async fn an_ask_that_is_repeated_is_granted_once(place: Place) {
    let store = Store::open(&place.url, keyring()).await.unwrap();
    let start = Terms::default().create_time;
    let total = configure(&store, 1, Terms::default()).await;
    let lender = lender(&store);
    for _ in 0..3 {
        let answer = granted(&lender, exchange(&replica(1), 1, &[(&total, None, ask(3))])).await;
        assert_eq!(answer, (start, -1, 3, Standing::Ample));
    }
    let heard = Ask { granted: NanoUsd::new(3 * DOLLAR), ..ask(2) };
    assert_eq!(granted(&lender, exchange(&replica(1), 1, &[(&total, Some(start), heard)])).await.2, 5);
    let back = Ask { granted: NanoUsd::new(5 * DOLLAR), returned: NanoUsd::new(4 * DOLLAR), ..Ask::default() };
    for _ in 0..2 {
        granted(&lender, exchange(&replica(1), 1, &[(&total, Some(start), back)])).await;
        assert_eq!(book(&store, &total, start).await, (0, 1));
    }
}

async fn an_older_run_borrows_nothing(place: Place) {
    let store = Store::open(&place.url, keyring()).await.unwrap();
    let total = configure(&store, 1, Terms::default()).await;
    let lender = lender(&store);
    let run = |incarnation| lender.exchange(exchange(&replica(1), incarnation, &[(&total, None, ask(1))]));
    assert!(run(5).await.is_ok());
    assert!(run(7).await.is_ok());
    assert_eq!(run(5).await, Err(LendError::Superseded { asked: 5, newest: 7 }));
    assert!(run(7).await.is_ok());
    // In one round as well.
    let (older, newer, other) = tokio::join!(run(7), run(8), run(6));
    assert!(newer.is_ok() && other.is_err(), "{older:?} {newer:?} {other:?}");
    assert_eq!(run(7).await, Err(LendError::Superseded { asked: 7, newest: 8 }));
}

async fn a_budget_that_cannot_be_read_holds_up_no_other(place: Place) {
    let store = Store::open(&place.url, keyring()).await.unwrap();
    let good = configure(&store, 1, Terms::default()).await;
    let bad = configure(&store, 2, Terms { period: "1x", ..Terms::default() }).await;
    let lender = lender(&store);
    for _ in 0..4 {
        let ask = |number, budget| lender.exchange(exchange(&replica(number), 1, &[(budget, None, ask(1))]));
        let (one, two, three) = tokio::join!(ask(1, &good), ask(2, &bad), ask(3, &good));
        assert_eq!((one.is_ok(), two, three.is_ok()), (true, Err(LendError::Failed), true));
    }
    assert_eq!(book(&store, &good, Terms::default().create_time).await, (0, 2));
}

async fn what_an_ended_run_had_is_freed_once_its_records_are_stored(place: Place) {
    let world = World::start(&place).await;
    let start = Terms::default().create_time;
    let total = configure(&world.store, 1, Terms::default()).await;
    let lender = lender(&world.store);
    for incarnation in [1, 2] {
        granted(&lender, exchange(&replica(1), incarnation, &[(&total, None, ask(4))])).await;
    }
    granted(&lender, exchange(&replica(2), 1, &[(&total, None, ask(4))])).await;
    assert_eq!(
        report(&world.store, &replica(1), 1, vec![charged(1, 1, 3, &[(&total, Some(start))])]).await.unwrap(),
        1
    );
    assert_eq!(book(&world.store, &total, start).await, (3, 9));
    // A run cannot name itself, nor a later one.
    for _ in 0..2 {
        let replayed = Exchange { replayed: vec![1, 3, 9], ..exchange(&replica(1), 3, &[]) };
        assert_eq!(lender.exchange(replayed).await.unwrap(), []);
        assert_eq!(book(&world.store, &total, start).await, (3, 8));
    }
    let entries = world.log("action=lease.replay").await;
    assert_eq!(entries.len(), 1);
    assert_eq!(detail(&entries[0]), serde_json::json!({"incarnation": 1, "leases": 1, "released_nano_usd": DOLLAR}));
    assert_eq!(entries[0].target, format!("replica/{}", replica(1)));
    world.stop().await;
}

async fn what_a_run_did_not_live_to_report_is_paid_from_what_it_had(place: Place) {
    let world = World::start(&place).await;
    let start = Terms::default().create_time;
    let total = configure(&world.store, 1, Terms::default()).await;
    let lender = lender(&world.store);
    for incarnation in [1, 2] {
        granted(&lender, exchange(&replica(1), incarnation, &[(&total, None, ask(4))])).await;
    }
    let late = Record { held_incarnation: 1, ..charged(2, 1, 3, &[(&total, Some(start))]) };
    assert_eq!(report(&world.store, &replica(1), 2, vec![late]).await.unwrap(), 1);
    assert_eq!(book(&world.store, &total, start).await, (3, 5), "the run that reports has all that it borrowed");
    let replayed = Exchange { replayed: vec![1], ..exchange(&replica(1), 2, &[]) };
    lender.exchange(replayed).await.unwrap();
    assert_eq!(book(&world.store, &total, start).await, (3, 4));
    let request = ListRecordsRequest::default();
    let stored = world.usage().list_records(request).await.unwrap().into_inner().records.remove(0);
    assert_eq!(stored.record.unwrap().held_incarnation, 1);
    world.stop().await;
}

async fn a_budget_that_is_gone_takes_what_is_given_back(place: Place) {
    let store = Store::open(&place.url, keyring()).await.unwrap();
    let start = Terms::default().create_time;
    let total = configure(&store, 1, Terms::default()).await;
    let soft = configure(&store, 2, Terms { enforcement: "soft", ..Terms::default() }).await;
    let lender = lender(&store);
    granted(&lender, exchange(&replica(1), 1, &[(&total, None, ask(4))])).await;
    let retire = Statement::new("UPDATE budgets SET retired = 1 WHERE id = $1");
    write(&store, retire.bind(total.as_str())).await;
    let back = Ask { granted: NanoUsd::new(4 * DOLLAR), returned: NanoUsd::new(3 * DOLLAR), ..ask(9) };
    for (budget, window) in
        [(&total, Some(start)), (&total, None), (&soft, None), (&soft, Some(start)), (&budget(9), None)]
    {
        let answers = lender.exchange(exchange(&replica(1), 1, &[(budget, window, back)])).await.unwrap();
        assert_eq!(answers, [Answered::Gone], "{budget} {window:?}");
    }
    assert_eq!(book(&store, &total, start).await, (0, 1));
}

async fn windows_only_go_forward(place: Place) {
    let store = Store::open(&place.url, keyring()).await.unwrap();
    let begun = now() - 3 * HOUR_MS - 60_000;
    let hourly = configure(&store, 1, Terms { period: "1h", create_time: begun, ..Terms::default() }).await;
    let lender = lender(&store);
    let (current, valid_ms, ..) = granted(&lender, exchange(&replica(1), 1, &[(&hourly, None, ask(1))])).await;
    assert_eq!(current, begun + 3 * HOUR_MS);
    assert!((1..=HOUR_MS).contains(&valid_ms), "{valid_ms}");
    // A window without a row is none.
    let answers = lender.exchange(exchange(&replica(1), 1, &[(&hourly, Some(begun), ask(1))])).await.unwrap();
    assert_eq!(answers, [Answered::Gone]);
    // Another control plane, whose clock is ahead, has begun the next one.
    let next = WindowId { budget: hourly.clone(), start: current + HOUR_MS };
    let fresh = WindowRow { end: Some(current + 2 * HOUR_MS), ..WindowRow::default() };
    let mut txn = store.begin().await.unwrap();
    txn.windows_insert(&[(next, fresh)]).await.unwrap();
    txn.commit().await.unwrap();
    let (window, valid_ms, dollars, _) = granted(&lender, exchange(&replica(1), 1, &[(&hourly, None, ask(1))])).await;
    assert_eq!((window, dollars), (current + HOUR_MS, 1));
    assert!((HOUR_MS..=2 * HOUR_MS).contains(&valid_ms), "{valid_ms}");
    // What is over takes and lends nothing, and a charge still belongs to it.
    let heard = Ask { granted: NanoUsd::new(DOLLAR), ..ask(5) };
    let (window, valid_ms, dollars, _) =
        granted(&lender, exchange(&replica(1), 1, &[(&hourly, Some(current), heard)])).await;
    assert_eq!((window, valid_ms, dollars), (current, 0, 1));
    report(&store, &replica(1), 1, vec![charged(1, 1, 1, &[(&hourly, Some(current))])]).await.unwrap();
    assert_eq!(book(&store, &hourly, current).await, (1, 0));
    assert_eq!(book(&store, &hourly, current + HOUR_MS).await, (0, 1));
}

async fn the_current_window_is_made_again_for_who_borrowed_from_it(place: Place) {
    let store = Store::open(&place.url, keyring()).await.unwrap();
    let start = Terms::default().create_time;
    let total = configure(&store, 1, Terms::default()).await;
    // The books were restored from before anything was lent.
    let lender = lender(&store);
    let heard = Ask { granted: NanoUsd::new(4 * DOLLAR), ..ask(1) };
    let answer = granted(&lender, exchange(&replica(1), 1, &[(&total, Some(start), heard)])).await;
    assert_eq!(answer, (start, -1, 5, Standing::Ample));
    assert_eq!(book(&store, &total, start).await, (0, 5));
}

async fn leases_of_windows_that_ended_long_ago_are_removed_once_nothing_is_outstanding(place: Place) {
    let store = Store::open(&place.url, keyring()).await.unwrap();
    let total = configure(&store, 1, Terms::default()).await;
    let daily = configure(&store, 2, Terms { period: "1d", ..Terms::default() }).await;
    let days_ago = |days: i64| now() - days * 24 * HOUR_MS;
    let amount = |dollars: i64| NanoUsd::new(dollars * DOLLAR);
    // The window, when it ended in days, and what is outstanding of its lease in dollars.
    let rows =
        [(&total, None, 0), (&daily, Some(36), 0), (&daily, Some(40), 0), (&daily, Some(38), 1), (&daily, Some(34), 0)];
    let mut txn = store.begin().await.unwrap();
    for (budget, ended, outstanding) in rows {
        let start = ended.map_or(Terms::default().create_time, |days| days_ago(days + 1));
        let window = WindowId { budget: budget.clone(), start };
        let row = WindowRow { end: ended.map(days_ago), leased: amount(outstanding), ..WindowRow::default() };
        txn.windows_insert(&[(window.clone(), row)]).await.unwrap();
        let loan = Loan { granted: amount(3), returned: amount(1), settled: amount(2 - outstanding) };
        txn.leases_write(&[(LeaseId { window, replica: replica(1), incarnation: 1 }, loan)]).await.unwrap();
    }
    txn.commit().await.unwrap();
    let _lender = lender(&store);
    let until = tokio::time::Instant::now() + Duration::from_secs(10);
    let mut left = ended_days_ago(&store).await;
    while left.len() > 3 && tokio::time::Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(5)).await;
        left = ended_days_ago(&store).await;
    }
    assert_eq!(left, [None, Some(34), Some(38)]);
}

// When the windows of all leases ended, in days.
async fn ended_days_ago(store: &Store) -> Vec<Option<i64>> {
    let select = Statement::new(
        "SELECT w.end_ms AS end_ms FROM budget_leases l
         JOIN budget_windows w ON w.budget = l.budget AND w.start_ms = l.start_ms",
    );
    let mut txn = store.begin_read().await.unwrap();
    let rows = txn.fetch_all(select).await.unwrap();
    txn.end().await.unwrap();
    let days = |row: &Row| row.int_opt("end_ms").unwrap().map(|end| (now() - end) / (24 * HOUR_MS));
    let mut days: Vec<_> = rows.iter().map(days).collect();
    days.sort_unstable();
    days
}

// === Charging ===

async fn a_charge_counts_once_however_often_it_is_reported(place: Place) {
    let world = World::start(&place).await;
    let start = Terms::default().create_time;
    let total = configure(&world.store, 1, Terms::default()).await;
    let other = configure(&world.store, 2, Terms::default()).await;
    let lender = lender(&world.store);
    granted(&lender, exchange(&replica(1), 1, &[(&total, None, ask(5)), (&other, None, ask(5))])).await;
    let charges = [(&total, Some(start)), (&other, Some(start)), (&budget(9), Some(start))];
    let records: Vec<_> = (1..=4).map(|sequence| charged(1, sequence, 1, &charges)).collect();
    for last in [2, 1, 4, 3, 4] {
        report(&world.store, &replica(1), 1, records[..last].to_vec()).await.unwrap();
    }
    for budget in [&total, &other] {
        assert_eq!(book(&world.store, budget, start).await, (4, 1));
    }
    let listed = world.usage().list_records(ListRecordsRequest::default()).await.unwrap().into_inner().records;
    assert_eq!(listed.len(), 4);
    for stored in listed {
        assert_eq!(stored.record.unwrap().charges, records[0].charges);
    }
    let mut txn = world.store.begin_read().await.unwrap();
    let spent = Statement::new("SELECT CAST(SUM(amount) AS BIGINT) AS spent FROM budget_spend WHERE budget = $1");
    let spent = txn.fetch_one(spent.bind(total.as_str())).await.unwrap().int("spent").unwrap();
    txn.end().await.unwrap();
    assert_eq!(spent, 4 * DOLLAR);
    world.stop().await;
}

async fn a_charge_finds_its_window_whatever_the_record_names(place: Place) {
    let store = Store::open(&place.url, keyring()).await.unwrap();
    let begun = now() - 3 * HOUR_MS - 60_000;
    let hourly = |enforcement| Terms { period: "1h", create_time: begun, enforcement, ..Terms::default() };
    let soft = configure(&store, 1, hourly("soft")).await;
    let hard = configure(&store, 2, hourly("hard")).await;
    let earlier = |sequence, window| Record {
        arrived_ms: begun + HOUR_MS + 5,
        ..charged(1, sequence, 2, &[(&soft, None), (&hard, window)])
    };
    let second = begun + HOUR_MS;
    let records = vec![
        earlier(1, Some(second)),
        // One that no terms make, and one that is to come: that of the arrival.
        earlier(2, Some(second + 7)),
        earlier(3, Some(begun + 90 * HOUR_MS)),
        // Of the future: the current one.
        Record { arrived_ms: now() + 90 * HOUR_MS, ..charged(1, 4, 1, &[(&soft, None)]) },
    ];
    report(&store, &replica(1), 1, records).await.unwrap();
    assert_eq!(book(&store, &soft, second).await, (6, 0));
    assert_eq!(book(&store, &hard, second).await, (6, 0));
    assert_eq!(book(&store, &soft, begun + 3 * HOUR_MS).await, (1, 0));
    assert_eq!(row(&store, &hard, begun + 90 * HOUR_MS).await, None);
    // What was spent without borrowing is not taken off what is borrowed later.
    let harden = Statement::new("UPDATE budgets SET enforcement = 'hard' WHERE id = $1");
    write(&store, harden.bind(soft.as_str())).await;
    granted(&lender(&store), exchange(&replica(1), 1, &[(&soft, None, ask(3))])).await;
    assert_eq!(book(&store, &soft, begun + 3 * HOUR_MS).await, (1, 3));
}

async fn each_threshold_is_told_once_a_window(place: Place) {
    let world = World::start(&place).await;
    let start = Terms::default().create_time;
    let total = configure(&world.store, 1, Terms { dollars: 10, ..Terms::default() }).await;
    let mut told = Vec::new();
    for (sequence, dollars) in (1..).zip([4, 1, 1, 1, 4, 5]) {
        report(&world.store, &replica(1), 1, vec![charged(1, sequence, dollars, &[(&total, Some(start))])])
            .await
            .unwrap();
        told.push(world.log("action=budget.threshold").await.len());
    }
    assert_eq!(told, [0, 1, 1, 1, 3, 3]);
    let entries = world.log("action=budget.threshold").await;
    let percents: Vec<_> = entries.iter().map(|entry| detail(entry)["percent"].as_i64().unwrap()).collect();
    assert_eq!(percents, [50, 80, 100]);
    assert_eq!(entries[0].target, format!("budget/{total}"));
    let told = detail(&entries[2]);
    assert_eq!(told["owner"], format!("team/{}", id("team", 1)));
    assert_eq!((&told["limit_nano_usd"], &told["settled_nano_usd"]), (&(10 * DOLLAR).into(), &(11 * DOLLAR).into()));
    assert!(told["reset_time"].is_null());
    // Without a webhook nothing waits.
    let mut txn = world.store.begin_read().await.unwrap();
    assert_eq!(txn.deliveries_due(now() + 1_000, 10).await.unwrap(), []);
    txn.end().await.unwrap();
    world.stop().await;
}

// === The fleet listener ===

async fn exchange_over_wire(member: &Member, request: ExchangeRequest) -> Result<Vec<LeaseAnswer>, Status> {
    let ExchangeResponse { answers } = LeaseServiceClient::new(member.channel()).exchange(request).await?.into_inner();
    Ok(answers)
}

fn wire_ask(budget: &BudgetId, dollars: i64) -> LeaseAsk {
    LeaseAsk { budget: budget.to_string(), need: dollars * DOLLAR, wish: dollars * DOLLAR, ..Default::default() }
}

async fn what_breaks_a_rule_of_asking_is_refused(place: Place) {
    let world = World::start(&place).await;
    let member = Member::join(&world, "one").await;
    let good = wire_ask(&budget(1), 1);
    let refused = |incarnation, asks: Vec<LeaseAsk>, replayed: Vec<i64>| {
        let request = ExchangeRequest { incarnation, asks, replayed_incarnations: replayed };
        exchange_over_wire(&member, request)
    };
    assert_eq!(violations(refused(0, vec![], vec![]).await), ["incarnation"]);
    assert_eq!(violations(refused(3, vec![good.clone(); 2], vec![]).await), ["asks[1].budget"]);
    let wrong = LeaseAsk { budget: "team-1".into(), need: -1, granted: i64::MAX, ..Default::default() };
    let fields = ["asks[1].budget", "asks[1].granted", "asks[1].need"];
    assert_eq!(violations(refused(3, vec![good.clone(), wrong], vec![]).await), fields);
    for replayed in [vec![3], vec![0], vec![4], vec![1; 300]] {
        assert_eq!(violations(refused(3, vec![], replayed).await), ["replayed_incarnations"]);
    }
    let many = (0..257).map(|number| wire_ask(&budget(number), 1)).collect();
    assert_eq!(violations(refused(3, many, vec![]).await), ["asks"]);
    let gone = refused(3, vec![good], vec![1]).await.unwrap();
    assert_eq!(gone, [LeaseAnswer { standing: LeaseStanding::Gone.into(), ..Default::default() }]);
    assert_eq!(code(refused(2, vec![], vec![]).await), Code::FailedPrecondition);
    world.stop().await;
}

async fn a_need_that_is_not_met_recalls_the_budget_wherever_replicas_follow(place: Place) {
    let first = World::start(&place).await;
    let second = World::start_in(&place, "second").await;
    let total = configure(&first.store, 1, Terms { dollars: 10, ..Terms::default() }).await;
    let near = Member::join(&first, "near").await;
    let mut far = Member::join(&first, "far").await;
    far.world = second.fleet;
    let (mut near_follows, mut far_follows) = (near.follow().await, far.follow().await);
    for name in ["near", "far"] {
        until_listed(&first, name, |replica| replica.connected).await;
    }
    let request = |incarnation, dollars| ExchangeRequest {
        incarnation,
        asks: vec![wire_ask(&total, dollars)],
        replayed_incarnations: vec![],
    };
    let answers = exchange_over_wire(&far, request(1, 8)).await.unwrap();
    assert_eq!(answers[0].granted, 8 * DOLLAR);
    let answers = exchange_over_wire(&near, request(1, 5)).await.unwrap();
    assert_eq!((answers[0].granted, answers[0].standing()), (0, LeaseStanding::Scarce));
    for follower in [&mut near_follows, &mut far_follows] {
        loop {
            if let Hear::Recall(recall) = follower.hear().await.unwrap() {
                break assert_eq!(recall.budget, total.as_str());
            }
        }
    }
    // What does not fit whatever others give back is no reason to recall.
    let scarce_time = row(&first.store, &total, Terms::default().create_time).await.unwrap().scarce_time;
    assert!(scarce_time > 0);
    let answers = exchange_over_wire(&near, request(1, 11)).await.unwrap();
    assert_eq!(answers[0].standing(), LeaseStanding::Exhausted);
    let after = row(&first.store, &total, Terms::default().create_time).await.unwrap().scarce_time;
    assert_eq!(after, scarce_time);
    first.stop().await;
    second.stop().await;
}

// === Webhooks ===

type Sent = (HeaderMap, String);

// A receiver that fails at first.
async fn receiver(failures: usize) -> (String, mpsc::Receiver<Sent>, JoinSet<std::io::Result<()>>) {
    let (send, receive) = mpsc::channel(64);
    let left = Arc::new(Mutex::new(failures));
    let take = move |State(send): State<mpsc::Sender<Sent>>, headers: HeaderMap, body: Bytes| {
        let left = Arc::clone(&left);
        async move {
            let body = String::from_utf8(body.to_vec()).unwrap();
            let listens = send.send((headers, body)).await.is_ok();
            let mut left = left.lock().await;
            let fails = *left > 0 || !listens;
            *left = left.saturating_sub(1);
            if fails { axum::http::StatusCode::SERVICE_UNAVAILABLE } else { axum::http::StatusCode::NO_CONTENT }
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let routes = Router::new().route("/hook", post(take)).with_state(send);
    let mut serving = JoinSet::new();
    serving.spawn(async move { axum::serve(listener, routes).await });
    (url, receive, serving)
}

fn assert_signed((headers, body): &Sent, secret: &[u8]) -> String {
    let text = |name: &str| headers[name].to_str().unwrap().to_owned();
    let (id, timestamp) = (text("webhook-id"), text("webhook-timestamp"));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
    mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
    assert_eq!(text("webhook-signature"), format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())));
    assert_eq!(text("content-type"), "application/json");
    assert!((now() / 1_000 - timestamp.parse::<i64>().unwrap()).abs() < 60);
    id
}

async fn heard(sent: &mut mpsc::Receiver<Sent>) -> Sent {
    tokio::time::timeout(Duration::from_secs(30), sent.recv()).await.expect("an alert").unwrap()
}

async fn an_alert_is_signed_and_sent_again_until_it_is_taken(place: Place) {
    let (url, mut sent, _serving) = receiver(1).await;
    let secret = "0123456789abcdef0123456789abcdef";
    let webhook = |directory| tollgate_control_plane::config::Config {
        webhook_url: Some(Secret::new(url.clone())),
        webhook_secret: Some(Secret::new(format!("whsec_{}", STANDARD.encode(secret)))),
        ..config(&place, directory)
    };
    let worlds = [World::start_from(webhook("data")).await, World::start_from(webhook("second")).await];
    let start = Terms::default().create_time;
    let total = configure(&worlds[0].store, 1, Terms { dollars: 10, ..Terms::default() }).await;
    let member = Member::join(&worlds[0], "one").await;
    let request = tollgate_proto::usage::v1::ReportRequest {
        incarnation: 1,
        records: vec![charged(1, 1, 6, &[(&total, Some(start))])],
        forgotten_through: 0,
    };
    let mut intake =
        tollgate_proto::usage::v1::usage_intake_service_client::UsageIntakeServiceClient::new(member.channel());
    intake.report(request).await.unwrap();
    let first = heard(&mut sent).await;
    let id = assert_signed(&first, secret.as_bytes());
    let body: serde_json::Value = serde_json::from_str(&first.1).unwrap();
    assert_eq!((&body["type"], &body["data"]["percent"]), (&"budget.threshold".into(), &50.into()));
    assert_eq!((&body["data"]["budget"], &body["data"]["contact"]), (&total.as_str().into(), &"ask us".into()));
    // It was refused, and waits for some seconds; the second time it is taken, and sent no more.
    until_due(&worlds[0].store, |due| due > now() + 1_000 && due < now() + 10_000).await;
    write(&worlds[0].store, Statement::new("UPDATE webhook_deliveries SET next_time = 0")).await;
    let again = heard(&mut sent).await;
    assert_eq!((assert_signed(&again, secret.as_bytes()), &again.1), (id, &first.1));
    until_due(&worlds[1].store, |due| due == i64::MAX).await;
    assert!(sent.try_recv().is_err());
    // What nobody takes for three days is given up, and noted.
    let insert = Statement::new(
        "INSERT INTO webhook_deliveries (id, body, create_time, attempts, next_time) VALUES ($1, '{}', 1, 9, 0)",
    );
    drop(sent);
    write(&worlds[0].store, insert.bind("msg_old")).await;
    until_due(&worlds[0].store, |due| due == i64::MAX).await;
    let entries = worlds[0].log("action=webhook.drop").await;
    assert_eq!(entries.len(), 1);
    assert_eq!((&detail(&entries[0])["id"], &detail(&entries[0])["attempts"]), (&"msg_old".into(), &10.into()));
    for world in worlds {
        world.stop().await;
    }
}

// When the next alert is due: at the end of time when none waits.
async fn until_due(store: &Store, wanted: impl Fn(i64) -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let mut txn = store.begin_read().await.unwrap();
        let waiting = txn.deliveries_due(i64::MAX - 1, 1).await.unwrap();
        txn.end().await.unwrap();
        if wanted(waiting.first().map_or(i64::MAX, |delivery| delivery.next_time)) {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{waiting:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

// === What operators do ===

async fn a_correction_is_made_once_in_its_window(place: Place) {
    let world = World::start(&place).await;
    let begun = now() - 3 * HOUR_MS - 60_000;
    let hourly =
        configure(&world.store, 1, Terms { dollars: 10, period: "1h", create_time: begun, ..Terms::default() }).await;
    report(&world.store, &replica(1), 1, vec![charged(1, 1, 4, &[(&hourly, Some(begun))])]).await.unwrap();
    let at = |millis: i64| Some(prost_types::Timestamp { seconds: millis / 1_000, nanos: 0 });
    let adjust = |request: v1::AdjustBudgetRequest| {
        let mut budgets = world.budgets();
        async move { Ok::<_, Status>(budgets.adjust_budget(request).await?.into_inner()) }
    };
    let refund = v1::AdjustBudgetRequest {
        budget: hourly.to_string(),
        amount_nano_usd: -3 * DOLLAR,
        reason: "the provider credited it".into(),
        at: at(begun + 5_000),
        request_id: "ticket-7".into(),
    };
    for _ in 0..2 {
        let status = adjust(refund.clone()).await.unwrap();
        assert_eq!(
            (status.settled_nano_usd, status.free_nano_usd),
            (0, 10 * DOLLAR),
            "the current window is another one"
        );
        assert_eq!(book(&world.store, &hourly, begun).await, (1, 0));
    }
    for other in [
        v1::AdjustBudgetRequest { amount_nano_usd: -DOLLAR, ..refund.clone() },
        v1::AdjustBudgetRequest { reason: "another".into(), ..refund.clone() },
        v1::AdjustBudgetRequest { at: at(begun + HOUR_MS + 5_000), ..refund.clone() },
    ] {
        assert_eq!(code(adjust(other).await), Code::AlreadyExists);
    }
    // Not below zero; a charge passes thresholds like any other.
    let bare = v1::AdjustBudgetRequest { request_id: String::new(), ..refund.clone() };
    adjust(bare.clone()).await.unwrap();
    assert_eq!(book(&world.store, &hourly, begun).await, (0, 0));
    let status =
        adjust(v1::AdjustBudgetRequest { at: None, amount_nano_usd: 9 * DOLLAR, ..bare.clone() }).await.unwrap();
    assert_eq!((status.settled_nano_usd, status.free_nano_usd), (9 * DOLLAR, DOLLAR));
    assert_eq!(world.log("action=budget.threshold").await.len(), 2);
    let entries = world.log("action=budget.adjust").await;
    assert_eq!(entries.len(), 3);
    assert_eq!(entries[0].target, format!("budget/{hourly}"));
    let logged = detail(&entries[0]);
    assert_eq!(logged["reason"], "the provider credited it");
    assert_eq!(logged["changed"]["settled_nano_usd"]["before"], 4 * DOLLAR);

    let empty = v1::AdjustBudgetRequest { at: at(begun + HOUR_MS + 5_000), ..bare.clone() };
    assert_eq!(code(adjust(empty).await), Code::FailedPrecondition);
    assert_eq!(code(adjust(v1::AdjustBudgetRequest { budget: budget(9).to_string(), ..bare }).await), Code::NotFound);
    let wrong = v1::AdjustBudgetRequest {
        budget: "x".into(),
        amount_nano_usd: 0,
        reason: " ".into(),
        at: at(now() + HOUR_MS),
        request_id: "a b".into(),
    };
    assert_eq!(violations(adjust(wrong).await), ["amount_nano_usd", "at", "budget", "reason", "request_id"]);
    world.stop().await;
}

async fn an_operator_frees_what_a_lost_replica_had(place: Place) {
    let world = World::start(&place).await;
    let start = Terms::default().create_time;
    let total = configure(&world.store, 1, Terms::default()).await;
    let member = Member::join(&world, "one").await;
    let request = |incarnation, dollars| ExchangeRequest {
        incarnation,
        asks: vec![wire_ask(&total, dollars)],
        replayed_incarnations: vec![],
    };
    for (incarnation, dollars) in [(2, 3), (4, 5)] {
        exchange_over_wire(&member, request(incarnation, dollars)).await.unwrap();
    }
    let listed = async |replica: &str| {
        let request = v1::ListLeasesRequest { replica: replica.into(), budget: total.to_string() };
        let leases = world.budgets().list_leases(request).await.unwrap().into_inner().leases;
        let short = |lease: v1::Lease| {
            assert_eq!((lease.replica_name.as_str(), lease.budget.as_str()), ("one", total.as_str()));
            (lease.incarnation, lease.outstanding_nano_usd / DOLLAR, lease.ended)
        };
        leases.into_iter().map(short).collect::<Vec<_>>()
    };
    assert_eq!(listed("one").await, [(4, 5, false), (2, 3, true)]);
    assert_eq!(listed("").await.len(), 2);
    let release = async |reason: &str| {
        let request = v1::ReleaseLeasesRequest { replica: "one".into(), reason: reason.into() };
        let answer = world.budgets().release_leases(request).await?.into_inner();
        Ok::<_, Status>((answer.leases, answer.released_nano_usd / DOLLAR))
    };
    assert_eq!(violations(release("").await), ["reason"]);
    // It follows with its run 4: that one is left alone.
    let follower = member.follow().await;
    until_listed(&world, "one", |replica| replica.connected && replica.incarnation == 4).await;
    assert_eq!(release("its disk is lost").await.unwrap(), (1, 3));
    assert!(exchange_over_wire(&member, request(4, 5)).await.is_ok());
    drop(follower);
    until_listed(&world, "one", |replica| !replica.connected).await;
    assert_eq!(release("it burnt down").await.unwrap(), (1, 5));
    assert_eq!(release("once more").await.unwrap(), (0, 0));
    assert_eq!(book(&world.store, &total, start).await, (0, 0));
    assert_eq!(listed("one").await, []);
    assert_eq!(code(exchange_over_wire(&member, request(4, 5)).await), Code::FailedPrecondition);
    assert!(exchange_over_wire(&member, request(5, 5)).await.is_ok());
    let entries = world.log("action=budget.release").await;
    assert_eq!(entries.len(), 3);
    assert_eq!(entries[1].target, format!("replica/{}", member.id));
    let logged = detail(&entries[1]);
    assert_eq!(logged["reason"], "it burnt down");
    assert_eq!(logged["changed"]["released_nano_usd"]["after"], 5 * DOLLAR);
    let unknown = v1::ReleaseLeasesRequest { replica: "nobody".into(), reason: "x".into() };
    assert_eq!(code(world.budgets().release_leases(unknown).await), Code::NotFound);
    world.stop().await;
}
