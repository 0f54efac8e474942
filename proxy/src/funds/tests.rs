use tollgate_policy::{
    budget::{Enforcement, Holding},
    lend::{Answer, Standing},
    pattern::Patterns,
    time::UnixMillis,
};

use super::*;

const HOUR_MS: u64 = 3_600_000;

fn budget(last: char) -> Arc<Budget> {
    Arc::new(Budget {
        id: BudgetId::from_ulid(&format!("01k9zq3v5m8c4t2n7r6x0w1y9{last}")).unwrap(),
        limit: NanoUsd::new(1_000),
        period: "1h".parse().unwrap(),
        models: Patterns::default(),
        provider: None,
        enforcement: Enforcement::Hard,
        holding: Holding::Strict,
        grace: None,
        contact: Arc::default(),
    })
}

// What the borrowing task does with an answer.
pub(crate) fn answer(funds: &Funds, budget: &Budget, granted: i64, settled: i64) {
    let (now, purse) = (funds.now(), funds.purse(budget));
    if purse.account.load().is_none() {
        let account = Account::new(budget.id.clone(), UnixMillis::new(0), now.plus(HOUR_MS), now);
        purse.account.store(Some(Arc::new(account)));
    }
    let (limit, settled) = (NanoUsd::new(1_000), NanoUsd::new(settled));
    let answer = Answer { granted: NanoUsd::new(granted), standing: Standing::Ample, limit, settled };
    purse.account.load().as_ref().unwrap().apply(now, now, HOUR_MS, &answer);
    told(funds, budget, true);
}

fn told(funds: &Funds, budget: &Budget, answered: bool) {
    funds.purse(budget).heard.send_modify(|heard| {
        heard.attempts += 1;
        heard.answered = answered;
    });
}

async fn held(funds: &Funds, budgets: &[&Arc<Budget>], amount: i64) -> Result<Hold, (usize, Why)> {
    funds.hold(budgets, NanoUsd::new(amount)).await.map_err(|unfunded| (unfunded.at, unfunded.why))
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_until_enough_was_borrowed_in_every_budget() {
    let (funds, one, two) = (Arc::new(Funds::new()), budget('a'), budget('b'));
    answer(&funds, &one, 100, 0);
    let both = [&one, &two];
    let waiting = held(&funds, &both, 60);
    let borrowing = async {
        for purse in [&one, &two] {
            funds.wake.notified().await;
            let dirty = funds.wash();
            assert!(dirty.iter().any(|dirty| dirty.budget == purse.id || purse.id == one.id));
        }
        assert_eq!(funds.purse(&two).waiting(), (NanoUsd::new(60), NanoUsd::new(60)));
        answer(&funds, &two, 60, 0);
    };
    let borrowing = async { tokio::time::timeout(Duration::from_millis(500), borrowing).await };
    let (hold, _) = tokio::join!(waiting, async {
        let _ = borrowing.await;
        answer(&funds, &two, 60, 0);
    });
    let hold = hold.unwrap();
    assert_eq!((hold.amount(), hold.accounts().len()), (NanoUsd::new(60), 2));
    assert_eq!(funds.purse(&two).waiting().0, NanoUsd::ZERO, "who goes on waits no longer");
    funds.end(hold, NanoUsd::new(10));
    assert_eq!(funds.totals(), (0, 140));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_can_never_fit_is_refused_as_soon_as_that_is_known() {
    let (funds, budget) = (Funds::new(), budget('a'));
    let budgets = [&budget];
    let begun = Instant::now();
    let (refused, ()) = tokio::join!(held(&funds, &budgets, 200), async {
        tokio::task::yield_now().await;
        answer(&funds, &budget, 0, 900);
    });
    assert_eq!(refused.unwrap_err(), (0, Why::Exhausted));
    assert!(begun.elapsed() < Duration::from_millis(10));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_would_fit_waits_for_those_that_run_and_then_is_told_so() {
    let (funds, budget) = (Funds::new(), budget('a'));
    answer(&funds, &budget, 100, 0);
    let running = held(&funds, &[&budget], 100).await.unwrap();
    let begun = Instant::now();
    assert_eq!(held(&funds, &[&budget], 50).await.unwrap_err(), (0, Why::Busy));
    assert_eq!(begun.elapsed(), WAIT_MAX);
    let budgets = [&budget];
    let (hold, ()) = tokio::join!(held(&funds, &budgets, 50), async {
        tokio::task::yield_now().await;
        funds.end(running, NanoUsd::new(10));
        // The borrowing task wakes who waits, whatever it was told.
        told(&funds, &budget, true);
    });
    funds.end(hold.unwrap(), NanoUsd::ZERO);
}

#[tokio::test(start_paused = true)]
async fn without_a_control_plane_what_was_borrowed_can_be_spent_and_no_more() {
    let (funds, budget) = (Funds::new(), budget('a'));
    answer(&funds, &budget, 100, 0);
    let hold = held(&funds, &[&budget], 80).await.unwrap();
    let budgets = [&budget];
    let (refused, ()) = tokio::join!(held(&funds, &budgets, 50), async {
        for _ in 0..2 {
            tokio::task::yield_now().await;
            told(&funds, &budget, false);
        }
    });
    assert_eq!(refused.unwrap_err(), (0, Why::Unreachable));
    funds.end(hold, NanoUsd::new(80));
}

#[tokio::test(start_paused = true)]
async fn a_recall_gives_back_at_once_what_is_not_held() {
    let (funds, budget) = (Funds::new(), budget('a'));
    answer(&funds, &budget, 100, 0);
    let hold = held(&funds, &[&budget], 30).await.unwrap();
    funds.wash();
    funds.recall(&budget.id);
    let account = funds.purse(&budget).account.load_full().unwrap();
    assert_eq!(funds.wash().len(), 1, "the borrowing task looks at it");
    assert!(account.is_scarce(funds.now()) && account.has_surplus(funds.now()));
    funds.end(hold, NanoUsd::new(10));
    assert_eq!(funds.wash().len(), 1, "what a hold leaves over goes back as well");
}

#[tokio::test]
async fn a_budget_is_found_by_every_request_at_once() {
    let (funds, budget) = (Arc::new(Funds::new()), budget('a'));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| funds.purse(&budget));
        }
    });
    assert_eq!(funds.purses().len(), 1);
}
