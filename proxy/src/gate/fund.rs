//! Which budgets an attempt is held against, and what a client is told when one of them refuses.

use std::sync::Arc;

use tollgate_dialect::Weight;
use tollgate_policy::{
    budget::{Budget, Enforcement, Holding, say::Refusing},
    decide::{self, Caller},
    id::{BudgetId, ProviderId},
    lease::Hold,
    money::NanoUsd,
    refusal::{Refusal, RefusalKind},
    snapshot::Snapshot,
    time::UnixMillis,
    usage::Charge,
    window::{Period, Unit},
};

use crate::{
    clock,
    funds::{Funds, Known, Unfunded, Why},
    refuse::{Detail, Spent, Used},
};

/// A budget that never resets is told to clients as one that resets in a day: they ask again then, and not before.
const NEVER_AFTER_S: u64 = 24 * 3_600;

/// A refusal, and what its answer needs beyond the kind.
pub(super) type Turned = (Refusal, Detail);

/// The budgets against which an attempt is held.
#[derive(Debug, Default)]
pub(super) struct Owed {
    hard: Vec<Due>,
    soft: Vec<BudgetId>,
}

#[derive(Debug)]
struct Due {
    budget: Arc<Budget>,
    noun: &'static str,
    name: Arc<str>,
}

/// The most that an attempt can cost.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Worst {
    /// In all.
    pub(super) whole: NanoUsd,
    /// Until the first slice of its output has passed; `None`: its cost cannot be followed while it is answered.
    pub(super) first: Option<NanoUsd>,
}

/// What was set aside.
#[derive(Debug)]
pub(super) struct Funded {
    pub(super) hold: Hold,
    /// Whether only the first slice of the output is held.
    pub(super) stepwise: bool,
}

impl Owed {
    /// Finds the budgets of a caller that cover a model at a provider, or a tool, which has none.
    pub(super) fn of(snapshot: &Snapshot, caller: &Caller, model: &str, provider: Option<&ProviderId>) -> Self {
        let mut owed = Self::default();
        for owner in decide::quotas(snapshot, caller) {
            for budget in owner.quota.budgets.iter().filter(|budget| budget.covers(model, provider)) {
                match budget.enforcement {
                    Enforcement::Soft => owed.soft.push(budget.id.clone()),
                    Enforcement::Hard => {
                        owed.hard.push(Due { budget: Arc::clone(budget), noun: owner.noun, name: owner.name.into() });
                    }
                }
            }
        }
        owed
    }

    /// Sets aside what an attempt may cost, in every hard budget or in none.
    ///
    /// # Errors
    /// Says which budget refuses, how it stands and whom to ask.
    pub(super) async fn hold(&self, funds: &Funds, worst: Worst) -> Result<Funded, Turned> {
        let budgets: Vec<&Arc<Budget>> = self.hard.iter().map(|due| &due.budget).collect();
        let any = |holding| self.hard.iter().any(|due| due.budget.holding == holding);
        // Only where a budget asks for it and none forbids it: what a provider has written and nobody has read yet is not
        // held then.
        if let Some(first) = worst.first.filter(|_| any(Holding::Incremental) && !any(Holding::Strict)) {
            let hold = funds.hold(&budgets, first).await.map_err(|unfunded| self.turned(&unfunded, first))?;
            return Ok(Funded { hold, stepwise: first < worst.whole });
        }
        let hold = funds.hold(&budgets, worst.whole).await;
        let hold = hold.map_err(|unfunded| self.turned(&unfunded, worst.whole))?;
        Ok(Funded { hold, stepwise: false })
    }

    /// Refuses what has no worst case that could be named, if a hard budget would have to pay for it.
    ///
    /// # Errors
    /// Names the first such budget.
    pub(super) fn ensure_bounded(&self, model: &str, is_priced: bool, weight: &Weight) -> Result<(), Turned> {
        let Some(due) = self.hard.first() else { return Ok(()) };
        let refusing = due.refusing(NanoUsd::ZERO, None);
        let sentence = if !is_priced {
            refusing.unpriced(model)
        } else if weight.is_open_to_other_models {
            refusing.unbounded("it lets the provider answer with other models; remove `fallbacks` and advisor tools")
        } else if weight.is_open_to_any_uses {
            refusing.unbounded("one of its tools may be used any number of times; set `max_uses` on it")
        } else {
            return Ok(());
        };
        Err((Refusal::new(RefusalKind::Unpriced, sentence), Detail::None))
    }

    /// The budgets that the cost of an attempt is charged to.
    pub(super) fn charges(&self, hold: &Hold) -> Arc<[Charge]> {
        let held = hold
            .accounts()
            .iter()
            .map(|account| Charge { budget: account.budget().clone(), window: Some(account.window()) });
        let soft = self.soft.iter().map(|budget| Charge { budget: budget.clone(), window: None });
        held.chain(soft).collect()
    }

    /// How far the budget is used of which the least is left.
    pub(super) fn used(&self, funds: &Funds) -> Option<Used> {
        let now = clock::wall();
        let used = |due: &Due| {
            let known = funds.known(&due.budget.id)?;
            let resets = resets(now, &known).and_then(|at| u64::try_from(at.get() / 1_000).ok());
            Some(Used { permille: permille(known.settled, known.limit), resets })
        };
        self.hard.iter().filter_map(used).max_by_key(|used| used.permille)
    }

    /// What is said at the end of an answer that no budget could pay for any longer.
    pub(super) fn cut(&self) -> Arc<str> {
        self.hard.first().map(|due| due.refusing(NanoUsd::ZERO, None).cut()).unwrap_or_default().into()
    }

    fn turned(&self, unfunded: &Unfunded, asked: NanoUsd) -> Turned {
        let Some(due) = self.hard.get(unfunded.at) else {
            return (Refusal::new(RefusalKind::BudgetBusy, "A budget cannot be read. Try again."), Detail::Later(1));
        };
        let refusing = due.refusing(asked, unfunded.standing.as_ref());
        match unfunded.why {
            Why::Exhausted => {
                let detail = Detail::Spent(spent(&due.budget, &refusing));
                (Refusal::new(RefusalKind::BudgetExhausted, refusing.exhausted()), detail)
            }
            Why::Busy => (Refusal::new(RefusalKind::BudgetBusy, refusing.busy()), Detail::Later(1)),
            Why::Unreachable => (Refusal::new(RefusalKind::BudgetUnreachable, refusing.unreachable()), Detail::None),
        }
    }
}

impl Due {
    fn refusing(&self, asked: NanoUsd, known: Option<&Known>) -> Refusing<'_> {
        let now = clock::wall();
        Refusing {
            noun: self.noun,
            name: &self.name,
            budget: &self.budget,
            spent: known.map(|known| (known.limit, known.settled)),
            asked,
            resets: known.and_then(|known| resets(now, known)),
            now,
        }
    }
}

fn resets(now: UnixMillis, known: &Known) -> Option<UnixMillis> {
    let left = i64::try_from(known.left_ms?).ok()?;
    Some(UnixMillis::new(now.get().saturating_add(left)))
}

fn spent(budget: &Budget, refusing: &Refusing<'_>) -> Spent {
    let seconds = |millis: i64| u64::try_from(millis.max(0)).unwrap_or_default().div_ceil(1_000);
    let after = refusing.resets.map(|at| seconds(at.get().saturating_sub(refusing.now.get())));
    let period = match budget.period {
        Period::Total | Period::Every { unit: Unit::Month | Unit::Year, .. } => "monthly",
        Period::Every { unit: Unit::Week, .. } => "weekly",
        Period::Every { unit: Unit::Hour | Unit::Day, .. } => "daily",
    };
    Spent { resets: refusing.resets.map(|at| seconds(at.get())), after: after.unwrap_or(NEVER_AFTER_S), period }
}

fn permille(settled: NanoUsd, limit: NanoUsd) -> u64 {
    let part = i128::from(settled.get().max(0)).saturating_mul(1_000).checked_div(i128::from(limit.get()));
    part.map_or(1_000, |part| u64::try_from(part).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_counted_in_thousandths() {
        for (settled, limit, expect) in [(0, 10, 0), (5, 10, 500), (9_999, 10_000, 999), (20, 10, 2_000), (1, 0, 1_000)]
        {
            assert_eq!(permille(NanoUsd::new(settled), NanoUsd::new(limit)), expect);
        }
    }
}
