use super::*;

const NOW: i64 = 1_000 * SLOT_MS + 60_000;

#[test]
fn a_burn_rate_is_of_the_last_hour_within_the_window() {
    let check = |spent: &[(i64, i64)], start_ms: i64, expect: i64| {
        let spent: Vec<_> = spent.iter().map(|(slot, amount)| (*slot, NanoUsd::new(*amount))).collect();
        let window = Window { start: UnixMillis::new(start_ms), end: None };
        assert_eq!(burn_per_hour(&spent, window, UnixMillis::new(NOW)), expect, "{spent:?} {start_ms}");
    };
    let long_ago = 10 * SLOT_MS;
    check(&[], long_ago, 0);
    // Eleven slots and the minute of the one that runs: 56 minutes.
    check(&[(989, 560), (1_000, 560)], long_ago, 1_200);
    check(&[(988, 5_600), (1_000, 560)], long_ago, 600);
    // The window has lasted for 31 minutes: what was spent before it does not count.
    check(&[(993, 9_000), (994, 310), (1_000, 310)], 994 * SLOT_MS, 1_200);
    // In its first five minutes a window is taken to be five minutes old.
    check(&[(1_000, 100)], NOW - 1_000, 1_200);
    check(&[(1_000, i64::MAX)], NOW - 1_000, i64::MAX);
    check(&[(1_000, -100)], NOW - 1_000, 0);
}

#[test]
fn a_budget_is_empty_when_what_is_left_has_burnt() {
    for (left, burn, expect) in [
        (1_000, 0, None),
        (1_000, 1_000, Some(NOW + HOUR_MS)),
        (500, 1_000, Some(NOW + HOUR_MS / 2)),
        (0, 0, Some(NOW)),
        (-5, 1_000, Some(NOW)),
        (i64::MAX, 1, None),
        (i64::MAX, i64::MAX, Some(NOW + HOUR_MS)),
    ] {
        assert_eq!(empty_ms(left, burn, UnixMillis::new(NOW)), expect, "{left} {burn}");
    }
}
