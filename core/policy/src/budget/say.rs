//! What a developer reads when a budget refuses: which budget, what is spent of which limit, when it resets, whom to ask.

use std::fmt::{self, Write as _};

use jiff::Timestamp;

use super::Budget;
use crate::{money::NanoUsd, time::UnixMillis, window::Period};

/// A budget that refuses, and what is known of it.
#[derive(Clone, Copy, Debug)]
pub struct Refusing<'a> {
    /// The owner's noun: `team`.
    pub noun: &'a str,
    /// The owner's name.
    pub name: &'a str,
    /// The budget.
    pub budget: &'a Budget,
    /// The limit and what is spent, as the control plane last said; `None`: it has not yet said.
    pub spent: Option<(NanoUsd, NanoUsd)>,
    /// The most that the request may cost.
    pub asked: NanoUsd,
    /// When the window ends; `None`: never, or not known.
    pub resets: Option<UnixMillis>,
    /// Now.
    pub now: UnixMillis,
}

// Dollars as people read them: cents, and more digits only for less than a cent. Rounded up, since it is money spent.
struct Dollars(NanoUsd);

impl Refusing<'_> {
    /// The budget is used up, or too little is left for the request.
    #[must_use]
    pub fn exhausted(&self) -> String {
        let (limit, settled) = self.spent.unwrap_or((self.budget.limit, NanoUsd::ZERO));
        let mut text = format!("{} is used up", self.subject());
        if settled < limit {
            text = format!(
                "{} has too little left for this request, which may cost up to ${}",
                self.subject(),
                Dollars(self.asked)
            );
        }
        let _ = write!(text, ": ${} of ${} spent", Dollars(settled), Dollars(limit));
        match self.resets {
            Some(at) => {
                let _ = write!(text, ". It resets {}", self.moment(at));
            }
            None if self.budget.period == Period::Total => text.push_str(". It does not reset"),
            None => {}
        }
        let _ = write!(text, ". Ask {} for more.", self.whom());
        text
    }

    /// The budget is held by requests that run.
    #[must_use]
    pub fn busy(&self) -> String {
        format!(
            "What is left of {} is reserved by requests that are running, and this one may cost up to ${}. Try again in a moment.",
            lower(&self.subject()),
            Dollars(self.asked)
        )
    }

    /// What was borrowed is used, and no control plane answers.
    #[must_use]
    pub fn unreachable(&self) -> String {
        format!(
            "Tollgate cannot reach its control plane to reserve more of {}. Try again in a few seconds.",
            lower(&self.subject())
        )
    }

    /// The model has no price, so that its cost cannot be held.
    #[must_use]
    pub fn unpriced(&self, model: &str) -> String {
        format!(
            "The model \"{}\" has no price, so it cannot be used under {}. Choose another model, or ask {} to set its price.",
            model.chars().filter(|c| !c.is_control()).take(100).collect::<String>(),
            lower(&self.subject()),
            self.whom()
        )
    }

    /// The request has no worst case that could be held.
    #[must_use]
    pub fn unbounded(&self, why: &str) -> String {
        format!("The cost of this request has no bound that {} could hold: {why}.", lower(&self.subject()))
    }

    /// An answer was ended, since the budget could not pay for more of it.
    #[must_use]
    pub fn cut(&self) -> String {
        format!("{} is used up, so this answer ends here. Ask {} for more.", self.subject(), self.whom())
    }

    fn subject(&self) -> String {
        let per = match self.budget.period {
            Period::Total => String::new(),
            period => format!("{period} "),
        };
        format!("The {per}budget of the {} \"{}\"", self.noun, self.name)
    }

    fn whom(&self) -> &str {
        if self.budget.contact.is_empty() { "your platform team" } else { &self.budget.contact }
    }

    // `2026-11-26 00:00 UTC, in 3 h 12 min`.
    fn moment(&self, at: UnixMillis) -> String {
        let minutes = at.get().saturating_sub(self.now.get()).max(0) / 60_000 + 1;
        let left = match (minutes / 1_440, minutes / 60 % 24, minutes % 60) {
            (0, 0, minutes) => format!("{minutes} min"),
            (0, hours, minutes) => format!("{hours} h {minutes} min"),
            (days, hours, _) => format!("{days} d {hours} h"),
        };
        let at = Timestamp::from_millisecond(at.get()).unwrap_or(Timestamp::MAX);
        format!("at {} UTC, in {left}", at.strftime("%Y-%m-%d %H:%M"))
    }
}

fn lower(subject: &str) -> String {
    subject.replacen("The ", "the ", 1)
}

impl fmt::Display for Dollars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nano = self.0.get().max(0);
        let step = if nano >= 10_000_000 || nano == 0 { 10_000_000 } else { 1_000 };
        let (whole, rest) = {
            let up = (nano + step - 1) / step * step;
            (up / 1_000_000_000, up % 1_000_000_000)
        };
        if step == 10_000_000 {
            write!(f, "{whole}.{:02}", rest / 10_000_000)
        } else {
            write!(f, "{whole}.{:06}", rest / 1_000)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        budget::{Enforcement, Holding},
        id::BudgetId,
        pattern::Patterns,
    };

    fn budget(period: &str, contact: &str) -> Budget {
        Budget {
            id: BudgetId::from_ulid("01k9zq3v5m8c4t2n7r6x0w1y9b").unwrap(),
            limit: NanoUsd::DOLLAR,
            period: period.parse().unwrap(),
            models: Patterns::default(),
            provider: None,
            enforcement: Enforcement::Hard,
            holding: Holding::Auto,
            grace: None,
            contact: Arc::from(contact),
        }
    }

    fn refusing<'a>(budget: &'a Budget, settled: i64, resets: Option<i64>) -> Refusing<'a> {
        Refusing {
            noun: "team",
            name: "platform",
            budget,
            spent: Some((NanoUsd::new(5_000_000_000), NanoUsd::new(settled))),
            asked: NanoUsd::new(321_000_000),
            resets: resets.map(UnixMillis::new),
            now: UnixMillis::new(1_764_100_000_000),
        }
    }

    #[test]
    fn a_refusal_says_which_budget_how_much_until_when_and_whom_to_ask() {
        let (daily, total) = (budget("1d", "#llm-budgets"), budget("total", ""));
        for (text, expect) in [
            (
                refusing(&daily, 5_000_000_000, Some(1_764_115_200_000)).exhausted(),
                "The 1d budget of the team \"platform\" is used up: $5.00 of $5.00 spent. It resets at 2025-11-26 00:00 UTC, in \
                 4 h 14 min. Ask #llm-budgets for more.",
            ),
            (
                refusing(&daily, 4_980_000_001, Some(1_764_100_030_000)).exhausted(),
                "The 1d budget of the team \"platform\" has too little left for this request, which may cost up to $0.33: $4.99 \
                 of $5.00 spent. It resets at 2025-11-25 19:47 UTC, in 1 min. Ask #llm-budgets for more.",
            ),
            (
                refusing(&total, 5_000_000_000, None).exhausted(),
                "The budget of the team \"platform\" is used up: $5.00 of $5.00 spent. It does not reset. Ask your platform team \
                 for more.",
            ),
            (
                refusing(&total, 0, None).busy(),
                "What is left of the budget of the team \"platform\" is reserved by requests that are running, and this one may \
                 cost up to $0.33. Try again in a moment.",
            ),
        ] {
            assert_eq!(text, expect);
        }
    }

    #[test]
    fn dollars_are_cents_unless_they_are_less_than_one() {
        for (nano, text) in [(0, "0.00"), (1, "0.000001"), (9_999_999, "0.010000"), (10_000_001, "0.02"), (-5, "0.00")]
        {
            assert_eq!(Dollars(NanoUsd::new(nano)).to_string(), text);
        }
    }
}
