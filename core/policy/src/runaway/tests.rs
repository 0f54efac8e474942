use super::*;

const START: Ticks = Ticks::new(5_000);

fn key(number: u128) -> SessionKey {
    SessionKey(number)
}

fn limit(dollars: Option<i64>, requests: Option<u64>, repeats: Option<u32>, action: RunawayAction) -> SessionLimit {
    SessionLimit { dollars: dollars.map(NanoUsd::new), requests, repeats, action }
}

fn pause(seconds: u32) -> RunawayAction {
    RunawayAction::Pause { seconds }
}

fn ask(
    sessions: &mut Sessions,
    now: Ticks,
    limit: &SessionLimit,
    fingerprint: u64,
) -> Option<(RunawayKind, Option<u64>)> {
    let refused = sessions.check(now, &[(key(1), limit)], fingerprint).err()?;
    Some((refused.kind, refused.retry_after_ms))
}

#[test]
fn a_session_goes_on_until_it_reaches_a_limit() {
    use RunawayKind::{Dollars, Repeats, Requests};
    // Each row: after so many milliseconds this request is made, then costs so much.
    type Row = (u64, u64, i64, Option<(RunawayKind, Option<u64>)>);
    let check = |limit: &SessionLimit, rows: &[Row]| {
        let mut sessions = Sessions::default();
        for (at, (after_ms, fingerprint, cost, expect)) in rows.iter().enumerate() {
            let now = START.plus(*after_ms);
            assert_eq!(ask(&mut sessions, now, limit, *fingerprint), *expect, "row {at} of {limit:?}");
            if *cost > 0 {
                sessions.spent(now, key(1), NanoUsd::new(*cost));
            }
        }
    };
    let refuse = RunawayAction::Refuse;
    check(&limit(None, None, None, refuse), &[(0, 7, 999, None), (0, 7, 999, None), (0, 7, 999, None)]);
    check(
        &limit(Some(10), None, None, refuse),
        &[(0, 1, 9, None), (0, 2, 1, None), (0, 3, 0, Some((Dollars, None))), (80_000, 4, 0, Some((Dollars, None)))],
    );
    check(
        &limit(None, Some(2), None, refuse),
        &[(0, 1, 0, None), (0, 2, 0, None), (0, 3, 0, Some((Requests, None))), (9, 4, 0, Some((Requests, None)))],
    );
    check(
        &limit(None, None, Some(2), refuse),
        &[
            (0, 1, 0, None),
            (0, 1, 0, None),
            (0, 1, 0, None),
            (0, 1, 0, Some((Repeats, None))),
            (1, 1, 0, Some((Repeats, None))),
            (2, 5, 0, None),
            (3, 1, 0, None),
        ],
    );
    check(&limit(None, None, Some(0), refuse), &[(0, 1, 0, None), (0, 1, 0, Some((Repeats, None))), (0, 2, 0, None)]);
    check(
        &limit(None, Some(1), None, pause(60)),
        &[
            (0, 1, 0, None),
            (5, 2, 0, Some((Requests, Some(60_000)))),
            (1_005, 2, 0, Some((Requests, Some(59_000)))),
            (60_005, 2, 0, None),
            (60_006, 3, 0, Some((Requests, Some(60_000)))),
        ],
    );
    check(
        &limit(None, None, Some(1), pause(1)),
        &[
            (0, 1, 0, None),
            (0, 1, 0, None),
            (0, 1, 0, Some((Repeats, Some(1_000)))),
            (500, 2, 0, Some((Repeats, Some(500)))),
            (1_000, 1, 0, None),
        ],
    );
    check(
        &limit(Some(5), None, None, pause(1)),
        &[(0, 1, 6, None), (0, 2, 3, Some((Dollars, Some(1_000)))), (1_000, 3, 4, None), (1_001, 4, 0, None)],
    );
}

#[test]
fn a_refused_request_counts_under_no_limit() {
    let (wide, narrow) = (limit(None, Some(2), None, pause(1)), limit(None, Some(1), None, RunawayAction::Refuse));
    let mut sessions = Sessions::default();
    let both = [(key(1), &wide), (key(2), &narrow)];
    assert_eq!(sessions.check(START, &both, 1), Ok(()));
    for fingerprint in 2..9 {
        let refused = Runaway { at: 1, kind: RunawayKind::Requests, retry_after_ms: None };
        assert_eq!(sessions.check(START, &both, fingerprint), Err(refused));
    }
    assert_eq!(sessions.check(START, &both[..1], 9), Ok(()), "the second request under the wide limit");
}

#[test]
fn a_silent_session_is_forgotten_and_a_paused_one_is_not() {
    let once = |action| limit(None, Some(1), None, action);
    let check = |limit: &SessionLimit, after_ms: u64, expect: bool| {
        let mut sessions = Sessions::default();
        assert_eq!(ask(&mut sessions, START, limit, 1), None);
        assert!(ask(&mut sessions, START, limit, 2).is_some());
        assert_eq!(ask(&mut sessions, START.plus(after_ms), limit, 3).is_some(), expect, "{after_ms}");
        assert_eq!(sessions.len(), 1);
    };
    check(&once(RunawayAction::Refuse), IDLE_MS - 1, true);
    check(&once(RunawayAction::Refuse), IDLE_MS, false);
    check(&once(pause(200_000)), 199_999_999, true);
    check(&once(pause(200_000)), 200_000_000, false);
}

#[test]
fn a_flood_of_sessions_sets_nobody_free() {
    let once = limit(None, Some(1), None, RunawayAction::Refuse);
    let mut sessions = Sessions::new(8);
    assert_eq!(ask(&mut sessions, START, &once, 1), None);
    assert!(ask(&mut sessions, START, &once, 2).is_some());
    for number in 100..200 {
        sessions.check(START, &[(key(number), &once)], 1).unwrap();
        assert!(sessions.len() <= 8);
    }
    assert!(ask(&mut sessions, START, &once, 3).is_some(), "still stopped");
    sessions.check(START, &[(key(150), &once)], 1).unwrap();
    assert!(sessions.check(START, &[(key(199), &once)], 1).is_err(), "the latest are remembered");
    for number in 300..320 {
        let _ = sessions.check(START, &[(key(number), &once)], 1);
        let _ = sessions.check(START, &[(key(number), &once)], 2);
    }
    assert_eq!(sessions.len(), 8, "where all are stopped, the longest silent makes room");
    assert_eq!(sessions.running.len() + sessions.stopped.len(), 8);
}

#[test]
fn a_late_cost_keeps_a_session_stopped() {
    let limits = limit(Some(5), None, None, RunawayAction::Refuse);
    let mut sessions = Sessions::new(2);
    assert_eq!(ask(&mut sessions, START, &limits, 1), None);
    sessions.spent(START, key(1), NanoUsd::new(5));
    assert!(ask(&mut sessions, START, &limits, 2).is_some());
    sessions.spent(START, key(1), NanoUsd::new(5));
    for number in 10..20 {
        sessions.spent(START, key(number), NanoUsd::new(1));
    }
    assert!(ask(&mut sessions, START, &limits, 3).is_some());
}

#[test]
fn what_is_refused_for_another_reason_is_taken_back() {
    let limit = limit(None, Some(3), Some(1), RunawayAction::Refuse);
    let mut sessions = Sessions::default();
    for fingerprint in [1, 2, 2] {
        // Sent again and again while a rate limit refuses.
        for _ in 0..10 {
            assert_eq!(ask(&mut sessions, START, &limit, fingerprint), None);
            sessions.take_back(START, key(1));
        }
        assert_eq!(ask(&mut sessions, START, &limit, fingerprint), None);
    }
    assert_eq!(ask(&mut sessions, START, &limit, 2), Some((RunawayKind::Requests, None)));
    sessions.take_back(START, key(2));
    assert_eq!(sessions.len(), 1, "who is not known is not remembered by it");
}
