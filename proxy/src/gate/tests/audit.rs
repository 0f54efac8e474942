//! Requests that the audit log may miss, since the spool takes no more.

use tollgate_policy::{
    budget::{Budget, Enforcement, Holding},
    id::BudgetId,
    money::NanoUsd,
    price::{Price, Rates},
    snapshot::{Model, Quota},
    usage::Attribution,
};

use super::*;
use crate::{evidence::Circumstances, spool::Intent};

pub(super) fn budget(enforcement: Enforcement) -> Arc<Budget> {
    Arc::new(Budget {
        id: BudgetId::from_ulid(&format!("{ULID}b")).unwrap(),
        limit: NanoUsd::new(1_000),
        period: "1h".parse().unwrap(),
        models: Patterns::default(),
        provider: None,
        enforcement,
        holding: Holding::Strict,
        grace: None,
        contact: Arc::default(),
    })
}

// One nano-dollar a token.
pub(super) fn model() -> Model {
    let one = NanoUsd::new(1_000_000);
    let rates = Rates { input: one, output: one, cache_read: one, cache_write_5m: one, cache_write_1h: one };
    Model {
        vendor: "anthropic".into(),
        name: "claude-x".into(),
        display_name: "claude-x".into(),
        aliases: vec![],
        context_window: 0,
        output_max: 0,
        price: Some(Price { rates, ..Price::default() }),
    }
}

impl Stand {
    // Sets the mode of the key, and its only budget.
    fn set(&self, audit: AuditMode, budget: Option<&Arc<Budget>>) {
        let current = self.holder.load().unwrap();
        let key = current.snapshot.key_by_id(&KeyId::from_ulid(&format!("{ULID}k")).unwrap()).unwrap().as_ref().clone();
        let quota = budget.map(|budget| Arc::new(Quota { budgets: vec![Arc::clone(budget)], ..Quota::default() }));
        self.put(vec![Object::Key(Key { audit, quota, ..key })]);
    }

    // Fills the spool until it takes no further intent.
    fn fill(&self) {
        let ulid = format!("{ULID}k");
        let attribution = Attribution {
            key: KeyId::from_ulid(&ulid).unwrap(),
            team: TeamId::from_ulid(&ulid).unwrap(),
            customer: CustomerId::from_ulid(&ulid).unwrap(),
            user: None,
            session: Arc::default(),
            agent: Arc::default(),
            parent_agent: Arc::default(),
        };
        let mut intent = Intent {
            visit: 1 << 32,
            request_id: "req_other".into(),
            arrived: UnixMillis::new(1),
            attribution,
            operation: "messages".into(),
            model: "claude-x".into(),
            provider: None,
            credential: None,
            hold: NanoUsd::ZERO,
            charges: Arc::default(),
            unpriced: true,
            revision: 1,
            circumstances: Circumstances::default(),
        };
        while self.spool.intent(&intent).is_ok() {
            intent.visit += 1;
        }
    }

    async fn dropped(&self, count: u64) {
        while self.spool.depth().dropped < count {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn only_a_key_that_does_not_require_the_audit_log_goes_on_without_it_and_is_counted() {
    let stand = Stand::new(&["sk-one", "sk-two"]).await;
    stand.put(vec![Object::Model(model())]);
    stand.fill();
    stand.set(AuditMode::BestEffort, None);
    assert!(!stand.spool.is_full());
    // What is left is too little for an intent, and enough for a record: that one is not lost.
    assert_eq!(stand.script("").await.status, 200);
    while stand.spool.depth().outcomes == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!((stand.spool.depth().outcomes, stand.spool.depth().dropped), (1, 0));
    assert!(stand.spool.is_full());

    assert_eq!(stand.script("").await.status, 200);
    stand.dropped(1).await;
    // Two attempts, neither of which was noted.
    assert_eq!(stand.script(",,529,").await.status, 200);
    stand.dropped(2).await;
    assert_eq!(stand.asked().len(), 4);

    let refused = async |audit, budget: Option<&Arc<Budget>>| {
        stand.set(audit, budget);
        let answer = stand.script("").await;
        assert_eq!(answer.status, 503, "{audit:?} {budget:?}: {}", answer.text);
        assert!(answer.text.contains("cannot note more requests"), "{}", answer.text);
        assert_eq!(stand.asked().len(), 4, "nothing was sent");
    };
    refused(AuditMode::Required, None).await;
    // No budget is weakened: neither one that would refuse, nor one that only counts.
    refused(AuditMode::BestEffort, Some(&budget(Enforcement::Soft))).await;
    let hard = budget(Enforcement::Hard);
    crate::funds::tests::answer(&stand.funds, &hard, 1_000, 0);
    refused(AuditMode::BestEffort, Some(&hard)).await;
    stand.dropped(5).await;
    assert_eq!(stand.funds.totals(), (0, 1_000), "what was held for it went back");
    stand.set(AuditMode::BestEffort, None);
    assert_eq!(stand.script("").await.status, 200);
    stand.dropped(6).await;

    let pending = stand.spool.pending().unwrap().unwrap().records;
    let [record, gap] = pending.as_slice() else { panic!("{pending:?}") };
    assert_eq!((record.outcome(), record.status, record.attempts), (Outcome::Completed, 200, 1));
    assert!(record.cost_nano_usd > 0);
    assert_eq!((gap.dropped, gap.sequence), (6, 2));
    assert!(gap.evidence.is_some(), "it has its entry in the audit log");
}
