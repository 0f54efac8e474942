use super::*;

const START: Ticks = Ticks::new(1_000);

fn usd(nano: i64) -> NanoUsd {
    NanoUsd::new(nano)
}

fn account(last: char, granted: i64) -> Arc<Account> {
    let id = BudgetId::from_ulid(&format!("01k9zq3v5m8c4t2n7r6x0w1y9{last}")).unwrap();
    let account = Account::new(id, UnixMillis::new(0), START.plus(3_600_000), START);
    account.apply(START, START, 3_600_000, &answer(granted, Standing::Ample));
    Arc::new(account)
}

fn answer(granted: i64, standing: Standing) -> Answer {
    Answer { granted: usd(granted), standing, limit: usd(10_000), settled: usd(0) }
}

fn hold(accounts: &[&Arc<Account>], amount: i64) -> Result<Hold, Short> {
    let accounts: Vec<Arc<Account>> = accounts.iter().map(|account| Arc::clone(account)).collect();
    Hold::take(START, accounts.into(), usd(amount))
}

fn figures(account: &Account) -> (i64, i64, i64) {
    let Position { free, held, spent, .. } = account.position();
    (free.get(), held.get(), spent.get())
}

#[test]
fn a_hold_is_charged_and_the_rest_returns() {
    let check = |held: i64, charge: i64, returned: i64, excess: i64| {
        let account = account('a', 100);
        let settled = hold(&[&account], held).unwrap().settle(usd(charge));
        assert_eq!((settled.returned, settled.excess), (usd(returned), usd(excess)));
        assert_eq!(figures(&account), (100 - charge, 0, charge));
    };
    check(10, 4, 6, 0);
    check(10, 10, 0, 0);
    check(10, 13, 0, 3);
    check(0, 0, 0, 0);
}

#[test]
fn a_hold_is_taken_in_every_account_or_in_none() {
    let (rich, poor) = (account('a', 100), account('b', 5));
    assert_eq!(hold(&[&rich, &poor], 6).unwrap_err(), Short { at: 1, expired: false });
    assert_eq!((figures(&rich), figures(&poor)), ((100, 0, 0), (5, 0, 0)));
    let both = hold(&[&rich, &poor], 5).unwrap();
    assert_eq!((figures(&rich), figures(&poor)), ((95, 5, 0), (0, 5, 0)));
    let _ = both.settle(usd(2));
    assert_eq!((figures(&rich), figures(&poor)), ((98, 0, 2), (3, 0, 2)));
}

#[test]
fn a_hold_shrinks_and_grows_within_what_is_free() {
    let account = account('a', 100);
    let mut held = hold(&[&account], 60).unwrap();
    held.tighten(usd(20));
    assert_eq!(figures(&account), (80, 20, 0));
    held.tighten(usd(50));
    assert_eq!(held.amount(), usd(20), "tightening never holds more");
    held.extend(usd(80)).unwrap();
    assert_eq!(held.extend(usd(1)).unwrap_err().at, 0);
    assert_eq!(held.settle(usd(99)).returned, usd(1));
    assert_eq!(figures(&account), (1, 0, 99));
}

#[test]
fn a_dropped_hold_is_charged_whole() {
    let account = account('a', 100);
    drop(hold(&[&account], 30).unwrap());
    assert_eq!(figures(&account), (70, 0, 30));
}

#[test]
fn a_window_that_has_ended_holds_nothing_more_and_settles_what_it_held() {
    let account = account('a', 100);
    let before = hold(&[&account], 30).unwrap();
    account.apply(START, START, 0, &answer(100, Standing::Ample));
    assert_eq!(hold(&[&account], 1).unwrap_err(), Short { at: 0, expired: true });
    let asked = account.ask(START, usd(50), usd(50), true);
    assert_eq!((asked.returned, asked.need, asked.wish), (usd(70), usd(0), usd(0)));
    let _ = before.settle(usd(10));
    assert_eq!(account.ask(START, usd(0), usd(0), false).returned, usd(90));
    assert!(account.is_empty());
}

#[test]
fn scarcity_returns_what_is_not_held() {
    let account = account('a', 100);
    let held = hold(&[&account], 30).unwrap();
    account.recall(START);
    let asked = account.ask(START, usd(0), usd(0), true);
    assert_eq!((asked.returned, asked.wish), (usd(70), usd(0)));
    let _ = held.settle(usd(30));
    let later = START.plus(SCARCE_MS);
    assert!(account.is_scarce(START) && !account.is_scarce(later));
    assert!(account.ask(later, usd(0), usd(0), true).wish > usd(0), "afterwards it borrows ahead again");
}

#[test]
fn an_idle_account_gives_everything_back() {
    let account = account('a', 100);
    let later = START.plus(IDLE_MS);
    assert_eq!(account.ask(later, usd(0), usd(0), false).returned, usd(100));
    assert!(account.is_empty());
}

#[test]
fn an_idle_account_borrows_nothing_ahead_and_gives_nothing_back_that_somebody_waits_for() {
    let account = account('a', 100);
    let _ = hold(&[&account], 60).unwrap().settle(usd(60));
    let later = START.plus(IDLE_MS);
    assert!(account.runs_low(START) && !account.runs_low(later));
    let asked = account.ask(later, usd(70), usd(140), false);
    assert_eq!((asked.returned, asked.need, asked.wish), (usd(0), usd(30), usd(100)));
    assert!(!account.has_surplus(later), "somebody waits, so it is not idle");
    assert!(account.has_surplus(later.plus(IDLE_MS)));
}

#[test]
fn in_scarcity_only_what_the_first_needs_is_kept() {
    let check = |granted: i64, first: i64, waiting: i64, returned: i64, need: i64, wish: i64| {
        let account = account('a', granted);
        account.recall(START);
        let asked = account.ask(START, usd(first), usd(waiting), true);
        assert_eq!((asked.returned, asked.need, asked.wish), (usd(returned), usd(need), usd(wish)));
    };
    check(100, 101, 300, 100, 101, 300);
    check(100, 100, 300, 0, 0, 200);
    check(100, 30, 60, 70, 0, 30);
}

#[test]
fn the_answer_to_the_newest_ask_says_when_a_window_ends() {
    let account = account('a', 100);
    let heard = |asked: u64, valid_ms: u64| {
        account.apply(START.plus(asked), START.plus(500), valid_ms, &answer(100, Standing::Ample));
    };
    heard(100, 200);
    assert!(account.is_expired(START.plus(300)));
    heard(50, 9_000);
    assert!(account.is_expired(START.plus(300)), "an overtaken answer says nothing");
    heard(200, 800);
    assert!(!account.is_expired(START.plus(999)) && account.is_expired(START.plus(1_000)));
}

#[test]
fn a_grant_counts_once_however_often_it_is_heard() {
    let account = account('a', 100);
    for granted in [100, 60, 150, 150] {
        account.apply(START, START, 3_600_000, &answer(granted, Standing::Ample));
    }
    assert_eq!(figures(&account), (150, 0, 0));
}

#[test]
fn a_reserve_is_kept_while_the_control_plane_answers() {
    let account = account('a', 100);
    account.keep_back(usd(80));
    assert!(hold(&[&account], 21).is_err());
    assert_eq!(account.ask(START, usd(21), usd(21), false).need, usd(1));
    account.keep_back(usd(0));
    let _ = hold(&[&account], 100).unwrap().settle(usd(0));
}

#[test]
fn many_threads_never_hold_more_than_was_granted() {
    let account = account('a', 1_000);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let account = &account;
            scope.spawn(move || {
                for round in 0..5_000_i64 {
                    if let Ok(held) = hold(&[account], 1 + round % 97) {
                        assert!(account.free.load(Ordering::SeqCst) >= 0);
                        let _ = held.settle(usd(i64::from(round % 97 == 0)));
                    }
                }
            });
        }
    });
    let (free, held, spent) = figures(&account);
    assert_eq!((free + spent, held), (1_000, 0));
}
