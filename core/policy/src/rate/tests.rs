use proptest::{collection::vec, prelude::*};

use super::*;

const START: Ticks = Ticks::new(1_000);
const MINUTE: u64 = 60_000;

fn rate(amount: u64, span_ms: u64) -> Rate {
    Rate { amount, span_ms }
}

fn take(cell: &mut Cell, now: Ticks, rate: Rate, count: u64) -> Result<(), u64> {
    cell.check(now, rate, count).map_err(|retry| retry.millis)?;
    cell.take(now, rate, count);
    Ok(())
}

#[test]
fn a_burst_takes_the_whole_amount_and_then_waits_for_one_at_a_time() {
    let (mut cell, rate) = (Cell::default(), rate(60, MINUTE));
    for (after_ms, count, expect) in [
        (0, 60, Ok(())),
        (0, 1, Err(1_000)),
        (999, 1, Err(1)),
        (1_000, 1, Ok(())),
        (1_000, 2, Err(2_000)),
        (3_000, 2, Ok(())),
        (33_000, 31, Err(1_000)),
        (33_000, 30, Ok(())),
        (93_000, 60, Ok(())),
        (1_000_000, 60, Ok(())),
        (1_000_000, 1, Err(1_000)),
    ] {
        assert_eq!(take(&mut cell, START.plus(after_ms), rate, count), expect, "{count} after {after_ms}");
    }
}

#[test]
fn what_was_estimated_is_corrected() {
    let rate = rate(100, 1_000);
    let check = |taken: u64, used: u64, remaining: u64, reset_ms: u64| {
        let mut bucket = Bucket::new(Measure::Tokens, START);
        bucket.take(START, rate, taken);
        bucket.correct(START, rate, taken.min(100), used);
        let Bucket::Flow(cell) = bucket else { unreachable!() };
        assert_eq!((cell.remaining(START, rate), cell.reset_ms(START, rate)), (remaining, reset_ms), "{taken} {used}");
    };
    check(40, 40, 60, 400);
    check(40, 10, 90, 100);
    check(40, 0, 100, 0);
    check(40, 90, 10, 900);
    check(40, 250, 0, 2_500);
    check(500, 120, 0, 1_200);
}

#[test]
fn more_than_the_whole_amount_waits_for_an_empty_cell() {
    let (mut cell, rate) = (Cell::default(), rate(100, 1_000));
    assert_eq!(take(&mut cell, START, rate, 10), Ok(()));
    assert_eq!(take(&mut cell, START, rate, 5_000), Err(100));
    assert_eq!(take(&mut cell, START.plus(100), rate, 5_000), Ok(()));
    assert_eq!(take(&mut cell, START.plus(100), rate, 1), Err(10));
}

#[test]
fn an_amount_of_nothing_admits_nothing() {
    assert_eq!(Cell::default().check(START, rate(0, 500), 1), Err(RetryAfter { millis: 500 }));
    assert_eq!(Cell::default().check(START, rate(0, 500), 0), Err(RetryAfter { millis: 500 }));
    assert!(Bucket::Open(0).check(START, rate(0, 0), 1).is_err());
}

#[test]
fn a_new_amount_holds_at_once() {
    let mut cell = Cell::default();
    cell.take(START, rate(10, 1_000), 10);
    assert_eq!(cell.remaining(START, rate(30, 1_000)), 20);
    assert_eq!(cell.check(START, rate(5, 1_000), 1), Err(RetryAfter { millis: 1_200 }));
}

#[test]
fn a_note_never_makes_a_debt_and_never_forgives_one() {
    let (mut cell, rate) = (Cell::default(), rate(10, 1_000));
    cell.note(START, rate, 4);
    assert_eq!(cell.remaining(START, rate), 6);
    cell.note(START, rate, 400);
    assert_eq!(cell.reset_ms(START, rate), 1_000);
    cell.charge(START, rate, 10);
    cell.note(START, rate, 1);
    assert_eq!(cell.reset_ms(START, rate), 2_000);
}

#[test]
fn open_requests_are_counted() {
    let (mut bucket, rate) = (Bucket::new(Measure::Parallel, START), rate(2, 0));
    for _ in 0..2 {
        bucket.check(START, rate, 1).unwrap();
        bucket.take(START, rate, 1);
    }
    assert_eq!(bucket.check(START, rate, 1), Err(RetryAfter { millis: PARALLEL_RETRY_MS }));
    assert!(!bucket.is_idle(START, rate));
}

#[test]
fn the_longest_wait_is_told() {
    let full = |amount: u64| {
        let mut bucket = Bucket::new(Measure::Requests, START);
        bucket.take(START, rate(amount, MINUTE), amount);
        bucket
    };
    let (mut fast, mut slow, mut free) = (full(60), full(2), Bucket::new(Measure::Requests, START));
    let mut demands = [
        Demand { bucket: &mut fast, rate: rate(60, MINUTE), count: 1 },
        Demand { bucket: &mut slow, rate: rate(2, MINUTE), count: 1 },
        Demand { bucket: &mut free, rate: rate(9, MINUTE), count: 1 },
    ];
    assert_eq!(admit(START, &mut demands), Err(Refused { at: 1, retry: RetryAfter { millis: 30_000 } }));
    assert!(free.is_idle(START, rate(9, MINUTE)));
}

#[test]
fn shares_divide_an_amount() {
    for (amount, replicas, rank, expect) in [
        (10, 3, Some(0), 4),
        (10, 3, Some(1), 3),
        (10, 3, None, 3),
        (2, 3, Some(1), 1),
        (2, 3, Some(2), 0),
        (2, 3, None, 0),
        (7, 0, Some(0), 7),
        (u64::MAX, 1, Some(0), u64::MAX),
    ] {
        assert_eq!(Share::new(replicas, rank).of(amount), expect, "{amount} over {replicas}, {rank:?}");
    }
}

#[test]
fn what_a_share_grows_by_begins_as_used() {
    let rate = rate(100, 1_000);
    let (half, whole) = (Share::new(2, Some(0)), Share::WHOLE);
    let mut bucket = Bucket::new(Measure::Tokens, START);
    bucket.take(START, half.rate(rate), 20);
    bucket.reshare(START, rate, half, whole);
    let Bucket::Flow(cell) = bucket else { unreachable!() };
    assert_eq!(cell.remaining(START, rate), 30, "as much as before");
    bucket.reshare(START, rate, whole, half);
    let Bucket::Flow(cell) = bucket else { unreachable!() };
    assert_eq!(cell.remaining(START, half.rate(rate)), 0, "a part that shrinks is in debt");
}

proptest! {
    #[test]
    fn any_span_sees_at_most_the_amount_twice(
        amount in 1_u64..50,
        span_ms in 1_u64..5_000,
        steps in vec((0_u64..500, 1_u64..20), 1..300),
    ) {
        let (mut cell, rate, mut now, mut admitted) = (Cell::default(), rate(amount, span_ms), START, Vec::new());
        for (pause, count) in steps {
            now = now.plus(pause);
            if count <= amount && take(&mut cell, now, rate, count).is_ok() {
                admitted.push((now, count));
            }
        }
        for (first, (from, _)) in admitted.iter().enumerate() {
            let within = admitted.iter().skip(first).take_while(|(at, _)| at.get() - from.get() <= span_ms);
            let sum: u64 = within.map(|(_, count)| count).sum();
            prop_assert!(sum <= 2 * amount, "{sum} of {amount} within {span_ms} ms");
        }
    }

    #[test]
    fn the_wait_that_is_told_is_exact(amount in 1_u64..1_000, span_ms in 1_u64..100_000, first in 1_u64..2_000, next in 1_u64..1_000) {
        let (mut cell, rate) = (Cell::default(), rate(amount, span_ms));
        cell.charge(START, rate, first);
        if let Err(retry) = cell.check(START, rate, next) {
            prop_assert!(cell.check(START.plus(retry.millis), rate, next).is_ok());
            prop_assert!(cell.check(START.plus(retry.millis - 1), rate, next).is_err());
        }
    }

    #[test]
    fn a_refusal_takes_nothing(
        amounts in vec((1_u64..20, 0_u64..20), 1..8),
        asks in vec(1_u64..10, 1..20),
    ) {
        let mut buckets: Vec<(Bucket, Rate)> = amounts
            .iter()
            .map(|(amount, used)| {
                let mut bucket = Bucket::new(Measure::Tokens, START);
                bucket.take(START, rate(*amount, 1_000), *used);
                (bucket, rate(*amount, 1_000))
            })
            .collect();
        for count in asks {
            let before: Vec<Bucket> = buckets.iter().map(|(bucket, _)| *bucket).collect();
            let mut demands: Vec<Demand<'_>> =
                buckets.iter_mut().map(|(bucket, rate)| Demand { bucket, rate: *rate, count }).collect();
            let refused = admit(START, &mut demands).is_err();
            let fits = before.iter().zip(&buckets).all(|(bucket, (_, rate))| bucket.check(START, *rate, count).is_ok());
            prop_assert_eq!(refused, !fits);
            let after: Vec<Bucket> = buckets.iter().map(|(bucket, _)| *bucket).collect();
            if refused {
                prop_assert_eq!(before, after);
            } else {
                prop_assert!(before.iter().zip(&after).all(|(before, after)| before != after));
            }
        }
    }

    #[test]
    fn years_of_steady_use_do_not_drift(amount in 1_u64..1_000_000_000, spans in 1_u64..10_000) {
        // The whole amount leaks in each span, however uneven the steps.
        let (mut cell, rate, mut now) = (Cell::default(), rate(amount, 86_400_000), START);
        cell.charge(now, rate, amount);
        for span in 0..spans.min(300) {
            for step in [1 + span, 40_000_000, 46_399_999 - span] {
                now = now.plus(step);
                cell.charge(now, rate, 0);
            }
            prop_assert_eq!(cell.remaining(now, rate), amount);
            prop_assert!(take(&mut cell, now, rate, amount).is_ok());
            prop_assert_eq!(cell.check(now.plus(86_399_999), rate, amount), Err(RetryAfter { millis: 1 }));
        }
    }

    #[test]
    fn shares_add_up_to_the_amount(amount in 0_u64..1_000_000, replicas in 1_u32..400) {
        let sum = |ranked: bool| -> u64 {
            (0..replicas).map(|rank| Share::new(replicas, ranked.then_some(rank)).of(amount)).sum()
        };
        prop_assert_eq!(sum(true), amount);
        prop_assert!(sum(false) <= amount);
    }

    #[test]
    fn a_fleet_that_regroups_admits_no_more(
        amount in 1_u64..60,
        steps in vec((0_u64..300, 0_usize..5, 1_u32..6), 1..200),
    ) {
        // Five replicas; each step some of them take all they can, and the fleet regroups: first who shrinks, then who grows.
        let (rate, mut now, mut admitted) = (rate(amount, 1_000), START, Vec::new());
        let none = Share::new(u32::MAX, None);
        let mut fleet: Vec<(Bucket, Share)> = (0..5).map(|rank| {
            let share = Share::new(5, Some(rank));
            (Bucket::new(Measure::Requests, START), share)
        }).collect();
        for (pause, busy, size) in steps {
            now = now.plus(pause);
            let next: Vec<Share> =
                (0..5).map(|rank| if rank < size { Share::new(size, Some(rank)) } else { none }).collect();
            for grows in [false, true] {
                for ((bucket, share), to) in fleet.iter_mut().zip(&next) {
                    if (to.of(amount) > share.of(amount)) == grows {
                        bucket.reshare(now, rate, *share, *to);
                        *share = *to;
                    }
                }
            }
            let (bucket, share) = &mut fleet[busy];
            while bucket.check(now, share.rate(rate), 1).is_ok() {
                bucket.take(now, share.rate(rate), 1);
                admitted.push(now);
            }
        }
        for (first, from) in admitted.iter().enumerate() {
            let within = admitted.iter().skip(first).take_while(|at| at.get() - from.get() <= 1_000).count();
            prop_assert!(within as u64 <= 2 * amount, "{} of {} within a span", within, amount);
        }
    }
}
