//! How visits are settled, by the way in which they ended.

use super::*;
use crate::{
    gate::{
        fake,
        ticket::{AttemptResult, Attempted, Running, Ticket},
    },
    health::rest::Cause,
    spool::{Durability, Options},
};
use tokio::task::JoinSet;
use tollgate_dialect::Metered;
use tollgate_policy::{
    id::{CredentialId, ProviderId},
    lease::Hold,
    price::{Extent, Price, Rates},
    snapshot::Model,
};

const ULID: &str = "01k9zq3v5m8c4t2n7r6x0w1y9b";

/// A dollar a million tokens, whatever they are.
fn model(priced: bool) -> Arc<Model> {
    let dollar = NanoUsd::new(1_000_000_000);
    let rates =
        Rates { input: dollar, output: dollar, cache_read: dollar, cache_write_5m: dollar, cache_write_1h: dollar };
    Arc::new(Model {
        vendor: "anthropic".into(),
        name: "claude-x".into(),
        display_name: Arc::default(),
        aliases: vec![],
        context_window: 0,
        output_max: 0,
        price: priced.then_some(Price { rates, ..Price::default() }),
    })
}

/// What was sent to a provider under a hold of 100 µ$, and metered at 30 tokens.
fn sent(ticket: &mut Ticket, model: Option<Arc<Model>>) {
    ticket.attempt(Attempted {
        provider: ProviderId::from_ulid(ULID).unwrap(),
        provider_name: "anthropic".into(),
        credential: CredentialId::from_ulid(ULID).unwrap(),
        model,
        result: AttemptResult::Answered,
    });
    ticket.take_on(Hold::unbudgeted(NanoUsd::new(100_000)));
    ticket.times.sent = Some(Instant::now());
    ticket.upstream_status = 200;
    let counters = Counters { input: 10, output: 20, ..Counters::default() };
    ticket.metered = Some(Metered { counters, is_final: true, ..Metered::default() });
    let price = ticket.attempt.as_ref().and_then(|attempt| attempt.model.as_ref()?.price).unwrap_or_default();
    let extent = Extent { output_tokens_max: 1_000, ..Extent::default() };
    ticket.running = Some(Running { price, extent, stepwise: false, cut: Arc::default() });
}

fn running(ticket: &mut Ticket) -> &mut Running {
    ticket.running.as_mut().unwrap()
}

fn settled(end: End, prepare: impl FnOnce(&mut Ticket)) -> Settled {
    let (mut ticket, mut queue) = fake::ticket();
    prepare(&mut ticket);
    ticket.close(end);
    settle(&queue.try_recv().unwrap())
}

#[test]
fn each_end_has_its_outcome_and_its_cost() {
    let refused = RefusalKind::KeyRevoked;
    for (end, outcome, nano) in [
        (End::Completed, Outcome::Completed, 30_000),
        (End::Dropped, Outcome::ClientGone, 30_000),
        (End::Cut(refused), Outcome::Cut, 30_000),
        (End::UpstreamFailed, Outcome::UpstreamFailed, 30_000),
        (End::Refused(refused), Outcome::Refused, 30_000),
        (End::Refused(RefusalKind::UpstreamTimeout), Outcome::UpstreamFailed, 30_000),
        (End::Unmetered, Outcome::Uncertain, 100_000),
        (End::Panicked, Outcome::Uncertain, 100_000),
        (End::Ended, Outcome::Uncertain, 100_000),
    ] {
        let settled = settled(end, |ticket| sent(ticket, Some(model(true))));
        assert_eq!((settled.outcome, settled.cost), (outcome, NanoUsd::new(nano)), "{end:?}");
        assert!(!settled.unpriced);
    }
    for (end, outcome) in [
        (End::Completed, Outcome::Completed),
        (End::Dropped, Outcome::ClientGone),
        (End::Ended, Outcome::ClientGone),
        (End::Refused(refused), Outcome::Refused),
    ] {
        let settled = settled(end, |_| {});
        assert_eq!((settled.outcome, settled.cost), (outcome, NanoUsd::ZERO), "{end:?} before anything was sent");
    }
}

#[test]
fn what_the_provider_may_have_charged_is_charged_and_nothing_else() {
    let final_at = |ticket: &mut Ticket, is_final: bool, input: u64| {
        let counters = Counters { input, output: 20, ..Counters::default() };
        ticket.metered = Some(Metered { counters, is_final, ..Metered::default() });
    };
    type Row<'a> = (&'a str, AttemptResult, End, i64, &'a dyn Fn(&mut Ticket));
    let table: [Row<'_>; 15] = [
        ("answered", AttemptResult::Answered, End::Completed, 30_000, &|_| {}),
        ("broke off: what was seen and a little more", AttemptResult::Answered, End::Dropped, 94_000, &|ticket| {
            final_at(ticket, false, 10);
        }),
        (
            "broke off after a while: what may have been written meanwhile",
            AttemptResult::Answered,
            End::Dropped,
            1_010_000,
            &|ticket| {
                final_at(ticket, false, 10);
                ticket.times.sent = Some(Instant::now() - Duration::from_secs(3));
            },
        ),
        ("broke off between two runs of the model", AttemptResult::Answered, End::Dropped, 100_000, &|ticket| {
            final_at(ticket, false, 10);
            running(ticket).extent.samples = 2;
        }),
        (
            "a message that cannot be read",
            AttemptResult::Invalid,
            End::Refused(RefusalKind::UpstreamInvalid),
            100_000,
            &|it| {
                it.metered = None;
            },
        ),
        ("broke off before it told its input", AttemptResult::Answered, End::UpstreamFailed, 100_000, &|ticket| {
            final_at(ticket, false, 0);
        }),
        ("left while it was gathered", AttemptResult::Answered, End::Dropped, 100_000, &|ticket| ticket.metered = None),
        ("an error of the provider", AttemptResult::Answered, End::UpstreamFailed, 0, &|ticket| {
            (ticket.upstream_status, ticket.metered) = (400, None);
        }),
        ("no model's answer", AttemptResult::Answered, End::Refused(RefusalKind::UpstreamInvalid), 0, &|ticket| {
            ticket.metered = None;
        }),
        ("turned away", AttemptResult::Failed(Cause::Failing), End::UpstreamFailed, 0, &|_| {}),
        ("sent elsewhere", AttemptResult::Redirected, End::Refused(RefusalKind::UpstreamInvalid), 0, &|_| {}),
        ("not answered in time", AttemptResult::TimedOut, End::Refused(RefusalKind::UpstreamTimeout), 100_000, &|it| {
            it.metered = None;
        }),
        (
            "closed before its answer",
            AttemptResult::Invalid,
            End::Refused(RefusalKind::UpstreamUnavailable),
            100_000,
            &|it| {
                it.metered = None;
            },
        ),
        ("cut before its answer", AttemptResult::Unanswered, End::Refused(RefusalKind::KeyRevoked), 100_000, &|it| {
            it.metered = None;
        }),
        ("reserved and never sent", AttemptResult::Unanswered, End::Dropped, 0, &|ticket| {
            (ticket.times.sent, ticket.metered) = (None, None);
        }),
    ];
    for (name, result, end, nano, change) in table {
        let settled = settled(end, |ticket| {
            sent(ticket, Some(model(true)));
            ticket.resolve(result);
            change(ticket);
        });
        assert_eq!(settled.cost, NanoUsd::new(nano), "{name}");
    }
}

#[test]
fn an_unpriced_model_is_marked_and_counting_tokens_is_free() {
    for model in [None, Some(model(false))] {
        let settled = settled(End::Completed, |ticket| sent(ticket, model));
        assert_eq!((settled.cost, settled.unpriced), (NanoUsd::ZERO, true));
    }
    let counted = settled(End::Completed, |ticket| {
        sent(ticket, Some(model(true)));
        ticket.operation = Operation::CountTokens;
    });
    assert_eq!((counted.cost, counted.unpriced), (NanoUsd::ZERO, false));
}

#[test]
fn a_ticket_that_dies_with_its_thread_is_settled_as_our_fault() {
    let (ticket, mut queue) = fake::ticket();
    let fall = std::panic::AssertUnwindSafe(|| {
        let _ticket = ticket;
        panic!("a room fell");
    });
    assert!(std::panic::catch_unwind(fall).is_err());
    let facts = queue.try_recv().unwrap();
    assert_eq!((facts.end, facts.status), (End::Panicked, 500));
}

#[tokio::test(start_paused = true)]
async fn every_visit_with_a_known_key_becomes_one_record_in_the_order_of_their_ends() {
    let spool = fake::spool();
    let (door, settler) = open(spool.clone(), Arc::default(), Arc::default(), Arc::new(Metrics::new()));
    let (_, caller) = fake::world();
    for number in 0..2 * BATCH_MAX {
        let place = door.place().unwrap();
        let request_id = format!("req_{number}").into();
        let mut ticket = Ticket::open(place, request_id, tollgate_policy::time::UnixMillis::new(1), Instant::now());
        // Every second visit came without a key that is known.
        if number % 2 == 0 {
            ticket.attribution = Some(caller.attribution("session".into(), Arc::default(), Arc::default()));
        }
        ticket.close(End::Completed);
    }
    drop(door);
    settler.run().await;
    let pending: Vec<v1::Record> = spool.pending().unwrap().unwrap().records;
    assert_eq!(pending.len(), BATCH_MAX);
    for (at, record) in pending.iter().enumerate() {
        assert_eq!(record.request_id, format!("req_{}", at * 2));
        assert_eq!((record.session.as_str(), record.sequence), ("session", at as i64 + 1));
    }
}

fn visit(door: &Door, number: u64, caller: Option<&tollgate_policy::decide::Caller>) {
    let arrived = tollgate_policy::time::UnixMillis::new(i64::try_from(number).unwrap());
    let request_id = format!("req_{number}").into();
    let mut ticket = Ticket::open(door.place().unwrap(), request_id, arrived, Instant::now());
    if let Some(caller) = caller {
        ticket.attribution = Some(caller.attribution("session".into(), Arc::default(), Arc::default()));
    }
    ticket.status = 401;
    ticket.close(End::Refused(RefusalKind::Unauthenticated));
}

fn all(spool: &Spool) -> Vec<v1::Record> {
    let mut all = Vec::new();
    while let Some(pending) = spool.pending().unwrap() {
        spool.acknowledge(pending.incarnation, pending.first + pending.records.len() as u64 - 1).unwrap();
        all.extend(pending.records);
    }
    all
}

#[tokio::test(start_paused = true)]
async fn of_a_flood_of_unknown_keys_some_are_told_and_the_others_are_counted_in_few_gaps() {
    const UNKNOWN: u64 = 1_000;
    let options = Options { durability: Durability::Memory, bytes_max: 64 << 20 };
    let spool = Spool::open(std::path::Path::new("/nowhere"), options).unwrap().0;
    let (door, settler) = open(spool.clone(), Arc::default(), Arc::default(), Arc::new(Metrics::new()));
    let mut settling = JoinSet::new();
    settling.spawn(settler.run());
    let (_, caller) = fake::world();
    let began = Instant::now();
    // One unknown key every ten milliseconds, with a good one behind it: each pair is a batch of its own.
    for pair in 0..UNKNOWN {
        visit(&door, 2 * pair, None);
        visit(&door, 2 * pair + 1, Some(&caller));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let seconds = began.elapsed().as_secs();
    drop(door);
    settling.join_all().await;

    let records = all(&spool);
    let told: Vec<_> = records.iter().filter(|record| record.unidentified).collect();
    assert_eq!(told.len(), unidentified::ENTRIES_MAX as usize);
    assert!(told.iter().enumerate().all(|(at, record)| record.request_id == format!("req_{}", 2 * at)));
    let known = records.iter().filter(|record| !record.key.is_empty()).count();
    assert_eq!(known as u64, UNKNOWN, "whoever has a key is told of, whatever the flood");
    let gaps: Vec<_> = records.iter().filter(|record| record.dropped > 0).collect();
    let counted: i64 = gaps.iter().map(|gap| gap.dropped).sum();
    assert_eq!(counted as u64, UNKNOWN - told.len() as u64);
    assert!((2..=seconds + 1).contains(&(gaps.len() as u64)), "{} gaps in {seconds} s", gaps.len());
    assert!(gaps.iter().all(|gap| gap.evidence.is_some()), "each has its entry in the audit log");
    assert_eq!(spool.depth().dropped, 0, "the spool had room");
}

#[tokio::test(start_paused = true)]
async fn what_was_missed_is_counted_although_nothing_further_ends() {
    let spool = fake::spool();
    let (door, settler) = open(spool.clone(), Arc::default(), Arc::default(), Arc::new(Metrics::new()));
    let mut settling = JoinSet::new();
    settling.spawn(settler.run());
    let gaps = || all(&spool).iter().map(|record| record.dropped).collect::<Vec<_>>();
    let arrived = tollgate_policy::time::UnixMillis::new(1);
    for _ in 0..3 {
        spool.miss(arrived);
        spool.arrived().await;
        assert_eq!(gaps(), [1]);
    }
    // A gap was just written: these wait for the next, while visits go on.
    let began = Instant::now();
    for number in 0..5 {
        spool.miss(arrived);
        visit(&door, number, None);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(gaps(), [0; 5]);
    spool.arrived().await;
    while spool.depth().outcomes == 0 {
        spool.arrived().await;
    }
    assert_eq!(gaps(), [5]);
    assert!(began.elapsed() <= unidentified::GAP_EVERY, "{:?}", began.elapsed());
    // A visit that failed by our own fault was told its id, and was not refused.
    let mut ticket = Ticket::open(door.place().unwrap(), "req_9".into(), arrived, Instant::now());
    ticket.end = End::Panicked;
    drop(ticket);
    drop(door);
    settling.join_all().await;
    assert_eq!(gaps(), [1], "at the end it does not wait");
}

#[tokio::test(start_paused = true)]
async fn a_spool_that_fills_counts_whoever_has_no_key() {
    let spool = fake::spool();
    let (door, settler) = open(spool.clone(), Arc::default(), Arc::default(), Arc::new(Metrics::new()));
    let (_, caller) = fake::world();
    let mut settling = JoinSet::new();
    settling.spawn(settler.run());
    let mut number = 0;
    while spool.has_room_for_unidentified() {
        visit(&door, number, Some(&caller));
        number += 1;
        tokio::time::sleep(LINGER).await;
    }
    visit(&door, number, None);
    visit(&door, number + 1, Some(&caller));
    drop(door);
    settling.join_all().await;
    let records = all(&spool);
    let (told, rest) = records.split_at(usize::try_from(number).unwrap());
    assert!(told.iter().all(|record| !record.unidentified && record.dropped == 0));
    let rest: Vec<_> = rest.iter().map(|record| (record.request_id.as_str(), record.dropped)).collect();
    assert_eq!(rest, [(format!("req_{}", number + 1).as_str(), 0), ("", 1)]);
}

#[tokio::test]
async fn when_no_place_is_left_nobody_gets_a_ticket() {
    let (door, settler) = open(fake::spool(), Arc::default(), Arc::default(), Arc::new(Metrics::new()));
    let places: Vec<_> = std::iter::from_fn(|| door.place()).take(VISITS_MAX + 1).collect();
    assert_eq!((places.len(), door.taken()), (VISITS_MAX, VISITS_MAX));
    drop(places);
    assert!(door.place().is_some(), "a place that was not used is free again");
    drop(settler);
    assert!(door.place().is_none(), "without a settler there is nobody to settle");
}
