use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use super::*;
use crate::{
    lease::{Hold, IDLE_MS, SCARCE_MS},
    lend::{self, Book, Loan, Standing},
};

const START: Ticks = Ticks::new(1_000);
const HOUR_MS: u64 = 3_600_000;

fn usd(nano: i64) -> NanoUsd {
    NanoUsd::new(nano)
}

fn budget(number: usize) -> BudgetId {
    BudgetId::from_ulid(&format!("01k9zq3v5m8c4t2n7r6x0w{number:04}")).unwrap()
}

fn want(number: usize, first: i64, waiting: i64) -> Want {
    Want { budget: budget(number), first: usd(first), waiting: usd(waiting), ahead: false }
}

fn lent(window: i64, valid_ms: u64, granted: i64) -> Answered {
    let answer = Answer { granted: usd(granted), standing: Standing::Ample, limit: usd(10_000), settled: usd(0) };
    Answered::Lent { window: UnixMillis::new(window), valid_ms: Some(valid_ms), answer }
}

// One budget, of which 100 was borrowed in window 1 for an hour.
fn borrower() -> (Borrower, Arc<Account>) {
    let mut borrower = Borrower::new();
    let asked = borrower.asks(START, &[want(0, 100, 100)]);
    let changes = borrower.answered(START, START, &asked, &[lent(1, HOUR_MS, 100)]);
    let account = changes[0].1.clone().unwrap();
    (borrower, account)
}

fn spend(account: &Arc<Account>, now: Ticks, held: i64, charge: i64) {
    let _ = Hold::take(now, Arc::new([Arc::clone(account)]), usd(held)).unwrap().settle(usd(charge));
}

fn windows(asked: &[Asked]) -> Vec<Option<i64>> {
    asked.iter().map(|asked| asked.window.map(UnixMillis::get)).collect()
}

// Asks at an instant and hears the same answer to each.
fn exchange(borrower: &mut Borrower, now: Ticks, wants: &[Want], answer: Answered) -> (Vec<Asked>, Vec<Change>) {
    let asked = borrower.asks(now, wants);
    let answers = vec![answer; asked.len()];
    let changes = borrower.answered(now, now, &asked, &answers);
    (asked, changes)
}

#[test]
fn a_budget_without_account_is_asked_for_without_window_and_published_once() {
    let mut borrower = Borrower::new();
    assert_eq!(borrower.asks(START, &[]), []);
    let asked = borrower.asks(START, &[want(0, 30, 70)]);
    let ask = Ask { need: usd(30), wish: usd(70), mean_hold: usd(30), ..Ask::default() };
    assert_eq!(asked, [Asked { budget: budget(0), window: None, ask }]);
    let answers = [lent(1, HOUR_MS, 70)];
    let changes = borrower.answered(START, START, &asked, &answers);
    let account = changes[0].1.clone().unwrap();
    assert_eq!((changes.len(), account.position().free), (1, usd(70)));
    assert!(borrower.answered(START, START, &asked, &answers).is_empty(), "the same answer again changes nothing");
    assert_eq!((account.position().free, borrower.accounts().count()), (usd(70), 1));
    assert!(Arc::ptr_eq(&borrower.account(START, &budget(0)).unwrap(), &account));
    assert!(borrower.account(START.plus(HOUR_MS), &budget(0)).is_none(), "the window has ended");
}

#[test]
fn what_is_given_back_is_told_until_it_is_acknowledged() {
    let (mut borrower, _account) = borrower();
    let idle = START.plus(IDLE_MS);
    let asked = borrower.asks(idle, &[]);
    assert_eq!((windows(&asked), asked[0].ask.returned), (vec![Some(1)], usd(100)));
    assert_eq!(borrower.asks(idle, &[]), asked, "no answer came");
    let stale = [Asked { ask: Ask::default(), ..asked[0].clone() }];
    let _ = borrower.answered(idle, idle, &stale, &[lent(1, HOUR_MS, 100)]);
    assert_eq!(borrower.asks(idle, &[]), asked, "the answer to an older ask acknowledges nothing");
    let _ = borrower.answered(idle, idle, &asked, &[lent(1, HOUR_MS, 100)]);
    assert_eq!(borrower.asks(idle, &[]), []);
    assert!(borrower.is_clear());
}

#[test]
fn windows_only_go_forward() {
    let (mut borrower, first) = borrower();
    let end = START.plus(HOUR_MS);
    let (asked, changes) = exchange(&mut borrower, end, &[want(0, 10, 10)], lent(2, HOUR_MS, 10));
    assert_eq!(windows(&asked), [Some(1), None], "the old one gives back, the new one is asked for");
    let second = changes[0].1.clone().unwrap();
    assert_eq!((second.window(), changes.len()), (UnixMillis::new(2), 1));
    // A control plane whose clock is behind.
    let (_, changes) = exchange(&mut borrower, end, &[want(0, 90, 90)], lent(1, HOUR_MS, 100));
    assert!(changes.is_empty() && first.is_expired(end));
    assert!(Arc::ptr_eq(&borrower.account(end, &budget(0)).unwrap(), &second));
}

#[test]
fn an_account_of_an_older_window_is_forgotten_when_all_is_acknowledged_and_never_opened_again() {
    let (mut borrower, first) = borrower();
    let held = Hold::take(START, Arc::new([Arc::clone(&first)]), usd(40)).unwrap();
    let end = START.plus(HOUR_MS);
    let _ = exchange(&mut borrower, end, &[want(0, 10, 10)], lent(2, HOUR_MS, 10));
    let (asked, _) = exchange(&mut borrower, end, &[], lent(1, 0, 100));
    assert_eq!((windows(&asked), borrower.accounts().count()), (vec![Some(1)], 2), "something is still held");
    let _ = held.settle(usd(15));
    let (asked, _) = exchange(&mut borrower, end, &[], lent(1, 0, 100));
    assert_eq!((asked[0].ask.returned, borrower.accounts().count()), (usd(85), 2), "a wish may come late");
    let late = end.plus(LATE_MS);
    let asked = borrower.asks(late, &[]);
    let _ = borrower.answered(late, late, &asked, &[lent(1, 0, 100)]);
    assert_eq!((windows(&asked), borrower.accounts().count()), (vec![Some(1), Some(2)], 1));
    let _ = borrower.answered(late, late, &asked, &[lent(1, HOUR_MS, 100)]);
    assert_eq!(borrower.accounts().count(), 1, "a second account would be lent what the first has spent");
}

#[test]
fn the_account_of_the_newest_window_is_kept_when_it_is_empty() {
    let (mut borrower, account) = borrower();
    spend(&account, START, 100, 100);
    let end = START.plus(HOUR_MS);
    let (asked, changes) = exchange(&mut borrower, end, &[want(0, 10, 10)], lent(1, 5_000, 110));
    assert_eq!((windows(&asked), changes.len()), (vec![Some(1), None], 0), "the window lasts longer than was thought");
    assert!(Arc::ptr_eq(&borrower.account(end, &budget(0)).unwrap(), &account));
    assert_eq!((account.position().free, account.position().spent), (usd(10), usd(100)));
}

#[test]
fn what_was_granted_on_the_way_in_a_window_that_has_ended_goes_back() {
    let mut borrower = Borrower::new();
    let early = borrower.asks(START, &[want(0, 10, 10)]);
    let _ = exchange(&mut borrower, START, &[want(0, 10, 10)], lent(2, HOUR_MS, 10));
    assert!(borrower.answered(START, START, &early, &[lent(1, HOUR_MS, 30)]).is_empty());
    let late = START.plus(LATE_MS);
    let asked = borrower.asks(late, &[]);
    assert_eq!((windows(&asked), asked[0].ask.returned), (vec![Some(1), Some(2)], usd(30)));
    let _ = borrower.answered(late, late, &asked, &[lent(1, 0, 30), lent(2, HOUR_MS, 10)]);
    assert_eq!(borrower.accounts().count(), 1);
}

#[test]
fn a_wish_that_nobody_heard_of_is_told_again_until_no_late_message_can_be_granted() {
    let mut borrower = Borrower::new();
    let _lost = borrower.asks(START, &[want(0, 10, 10)]);
    let (asked, changes) = exchange(&mut borrower, START.plus(1), &[], lent(1, HOUR_MS, 0));
    assert_eq!((windows(&asked), asked[0].ask.wish), (vec![None], usd(0)), "nobody waits any more");
    assert!(borrower.is_clear() && borrower.asks(START.plus(2), &[]).is_empty());
    let late = START.plus(LATE_MS);
    let (asked, _) = exchange(&mut borrower, late, &[], lent(1, HOUR_MS, 10));
    assert_eq!(windows(&asked), [Some(1)]);
    assert_eq!(changes[0].1.as_ref().unwrap().position().free, usd(10), "what was granted late is not lost");
    assert!(borrower.asks(late, &[]).is_empty());
}

#[test]
fn a_budget_that_is_gone_is_withdrawn_and_may_come_back_in_the_same_window() {
    let (mut borrower, account) = borrower();
    spend(&account, START, 60, 60);
    let (_, changes) = exchange(&mut borrower, START, &[want(0, 50, 50)], Answered::Gone);
    assert!(matches!(&changes[..], [(id, None)] if *id == budget(0)));
    assert!(borrower.account(START, &budget(0)).is_none() && borrower.asks(START.plus(IDLE_MS), &[]).is_empty());
    let (asked, _) = exchange(&mut borrower, START.plus(GONE_MS), &[], Answered::Gone);
    assert_eq!((asked[0].ask.returned, borrower.is_clear()), (usd(40), true));
    let (_, changes) = exchange(&mut borrower, START, &[want(0, 50, 50)], lent(1, HOUR_MS, 100));
    assert!(Arc::ptr_eq(changes[0].1.as_ref().unwrap(), &account), "with what it had spent");
    assert!(borrower.is_clear());
}

#[test]
fn a_recall_and_an_end_give_back_what_is_not_held() {
    let (mut borrower, account) = borrower();
    account.keep_back(usd(20));
    spend(&account, START, 50, 50);
    borrower.recall(START, &budget(0));
    let asked = borrower.asks(START, &[]);
    assert_eq!(asked[0].ask.returned, usd(30), "the reserve stays");
    borrower.close();
    let later = START.plus(2 * SCARCE_MS);
    let (asked, _) = exchange(&mut borrower, later, &[], lent(1, HOUR_MS, 100));
    assert_eq!((asked[0].ask.returned, asked[0].ask.wish), (usd(50), usd(0)));
    assert!(borrower.is_clear() && borrower.asks(later.plus(SCARCE_MS), &[]).is_empty());
}

#[test]
fn nothing_starves_when_there_is_more_to_say_than_a_message_holds() {
    let mut borrower = Borrower::new();
    let wants: Vec<Want> = (0..1_000).map(|number| want(number, 1, 1)).collect();
    let mut served = std::collections::BTreeSet::new();
    for _ in 0..10 {
        let asked = borrower.asks(START, &wants);
        assert!(asked.len() <= ASKS_MAX);
        served.extend(asked.iter().map(|asked| asked.budget.clone()));
        let _ = borrower.answered(START, START, &asked, &vec![lent(1, HOUR_MS, 1); asked.len()]);
    }
    assert_eq!(served.len(), 1_000);
    // All are idle now, and somebody waits for the first ones in every message.
    let idle = START.plus(IDLE_MS);
    for _ in 0..20 {
        let asked = borrower.asks(idle, wants.get(..400).unwrap());
        assert!(asked.len() <= ASKS_MAX);
        let _ = borrower.answered(idle, idle, &asked, &vec![lent(1, HOUR_MS, 1); asked.len()]);
    }
    let kept = borrower.accounts().filter(|account| !account.is_empty()).count();
    assert_eq!(kept, 400, "all the others have given back");
}

#[test]
fn threads_that_hold_and_the_task_that_borrows_agree_at_rest() {
    let (mut book, mut loan) = (Book { limit: usd(100_000), ..Book::default() }, Loan::default());
    let mut borrower = Borrower::new();
    let mut exchange = |borrower: &mut Borrower, now: Ticks, wants: &[Want]| {
        let asked = borrower.asks(now, wants);
        let lend = |asked: &Asked| {
            let answer = lend::exchange(&mut book, &mut loan, &asked.ask, 1);
            Answered::Lent { window: UnixMillis::new(1), valid_ms: Some(HOUR_MS), answer }
        };
        let answers: Vec<Answered> = asked.iter().map(lend).collect();
        borrower.answered(now, now, &asked, &answers)
    };
    let account = exchange(&mut borrower, START, &[want(0, 40, 400)])[0].1.clone().unwrap();
    let (spent, busy) = (AtomicI64::new(0), AtomicUsize::new(3));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for round in 0..4_000_i64 {
                    let held = Hold::take(START, Arc::new([Arc::clone(&account)]), usd(1 + round % 40));
                    let charge = round % 7;
                    if let Ok(held) = held {
                        let charge = charge.min(held.amount().get());
                        spent.fetch_add(charge, Ordering::SeqCst);
                        let _ = held.settle(usd(charge));
                    }
                }
                busy.fetch_sub(1, Ordering::SeqCst);
            });
        }
        while busy.load(Ordering::SeqCst) > 0 {
            let _ = exchange(&mut borrower, START, &[want(0, 40, 400)]);
            borrower.recall(START, &budget(0));
        }
    });
    let _ = exchange(&mut borrower, START.plus(IDLE_MS), &[]);
    assert!(borrower.is_clear());
    let spent = NanoUsd::new(spent.into_inner());
    lend::charge(&mut book, &mut loan, spent);
    assert_eq!((book.settled, book.leased, account.position().spent), (spent, usd(0), spent));
    assert!(spent <= book.limit);
}
