//! What an owner may spend and how fast, in one form: whatever was left to the control plane is filled in as it fills it in,
//! so that what was asked for can be compared with what is there.

use tollgate_policy::window::{Period, Zone};
use tollgate_proto::admin::v1;

/// At how many percent a budget alerts when nothing else is said.
const THRESHOLDS: [i32; 3] = [50, 80, 100];

/// A budget without its id: budgets of an owner are told apart by what they cover.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Budget(v1::Budget);

/// A rate limit.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RateLimit(v1::RateLimit);

/// What one agent session may do.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct SessionLimit(v1::SessionLimit);

// === impl Budget ===

impl Budget {
    /// Reads a budget of the wire.
    pub(crate) fn new(wire: v1::Budget) -> Self {
        let v1::Budget {
            id: _,
            limit_nano_usd,
            window,
            alignment,
            time_zone,
            models,
            provider,
            enforcement,
            holding,
            mut thresholds,
            grace_nano_usd,
            grace_seconds,
            contact,
        } = wire;
        let calendar = alignment == i32::from(v1::BudgetAlignment::Calendar);
        thresholds.sort_unstable();
        thresholds.dedup();
        Self(v1::Budget {
            id: String::new(),
            limit_nano_usd,
            // Another spelling is no other window or zone. What this version does not know stays as it is.
            window: window.parse::<Period>().map_or(window, |period| period.to_string()),
            alignment: specified(alignment, v1::BudgetAlignment::Rolling.into()),
            time_zone: match (calendar, time_zone.is_empty()) {
                (true, true) => "UTC".to_owned(),
                (true, false) => Zone::parse(&time_zone).map_or(time_zone, |zone| zone.name().to_owned()),
                (false, _) => String::new(),
            },
            models: ordered(models),
            provider,
            enforcement: specified(enforcement, v1::BudgetEnforcement::Hard.into()),
            holding: specified(holding, v1::BudgetHolding::Auto.into()),
            thresholds: if thresholds.is_empty() { THRESHOLDS.to_vec() } else { thresholds },
            grace_nano_usd,
            grace_seconds,
            contact,
        })
    }

    /// The wire form.
    pub(crate) fn wire(&self) -> &v1::Budget {
        &self.0
    }

    /// The wire form, to be sent.
    pub(crate) fn into_wire(self) -> v1::Budget {
        self.0
    }

    /// The provider that it covers, if it covers one alone.
    pub(crate) fn provider_mut(&mut self) -> Option<&mut String> {
        Some(&mut self.0.provider).filter(|provider| !provider.is_empty())
    }

    /// The budget with the name of its provider for the id.
    pub(crate) fn named(mut self, name: impl FnOnce(&str) -> String) -> Self {
        if let Some(provider) = self.provider_mut() {
            *provider = name(provider);
        }
        self
    }

    /// What tells it from the other budgets of its owner.
    pub(crate) fn identity(&self) -> (&str, i32, &str, &[String], &str) {
        let v1::Budget { window, alignment, time_zone, models, provider, .. } = &self.0;
        (window, *alignment, time_zone, models, provider)
    }

    /// Whether it alerts where every budget does of which nothing else is said.
    pub(crate) fn alerts_as_usual(&self) -> bool {
        self.0.thresholds == THRESHOLDS
    }
}

// === impl RateLimit ===

impl RateLimit {
    /// Reads a rate limit of the wire.
    pub(crate) fn new(wire: v1::RateLimit) -> Self {
        let v1::RateLimit { measure, amount, per_seconds, models } = wire;
        Self(v1::RateLimit { measure, amount, per_seconds, models: ordered(models) })
    }

    /// The wire form.
    pub(crate) fn wire(&self) -> &v1::RateLimit {
        &self.0
    }

    /// The wire form, to be sent.
    pub(crate) fn into_wire(self) -> v1::RateLimit {
        self.0
    }

    /// By what limits are put in order.
    pub(crate) fn rank(&self) -> (i32, i64, i64, &[String]) {
        let v1::RateLimit { measure, amount, per_seconds, models } = &self.0;
        (*measure, *per_seconds, *amount, models)
    }
}

// === impl SessionLimit ===

impl SessionLimit {
    /// Reads a session limit of the wire; `None` for one that limits nothing.
    pub(crate) fn new(wire: v1::SessionLimit) -> Option<Self> {
        let v1::SessionLimit { dollars_nano_usd, requests, repeats, pause_seconds: _ } = wire;
        (dollars_nano_usd != 0 || requests != 0 || repeats != 0).then_some(Self(wire))
    }

    /// The wire form.
    pub(crate) const fn wire(self) -> v1::SessionLimit {
        self.0
    }
}

// === words ===

/// Where windows begin, in a word.
pub(crate) fn alignment_word(budget: &v1::Budget) -> &'static str {
    match v1::BudgetAlignment::try_from(budget.alignment) {
        Ok(v1::BudgetAlignment::Unspecified | v1::BudgetAlignment::Rolling) => "rolling",
        Ok(v1::BudgetAlignment::Calendar) => "calendar",
        Err(_) => "unknown",
    }
}

/// What happens at the limit, in a word.
pub(crate) fn enforcement_word(budget: &v1::Budget) -> &'static str {
    match v1::BudgetEnforcement::try_from(budget.enforcement) {
        Ok(v1::BudgetEnforcement::Unspecified | v1::BudgetEnforcement::Hard) => "hard",
        Ok(v1::BudgetEnforcement::Soft) => "soft",
        Err(_) => "unknown",
    }
}

/// How much is held for a stream, in a word.
pub(crate) fn holding_word(budget: &v1::Budget) -> &'static str {
    match v1::BudgetHolding::try_from(budget.holding) {
        Ok(v1::BudgetHolding::Unspecified | v1::BudgetHolding::Auto) => "auto",
        Ok(v1::BudgetHolding::Strict) => "strict",
        Ok(v1::BudgetHolding::Incremental) => "incremental",
        Err(_) => "unknown",
    }
}

/// What a rate limit counts, in a word.
pub(crate) fn measure_word(limit: &v1::RateLimit) -> &'static str {
    match v1::RateMeasure::try_from(limit.measure) {
        Ok(v1::RateMeasure::Requests) => "requests",
        Ok(v1::RateMeasure::Tokens) => "tokens",
        Ok(v1::RateMeasure::Parallel) => "parallel",
        Ok(v1::RateMeasure::Unspecified) | Err(_) => "unknown",
    }
}

fn specified(given: i32, default: i32) -> i32 {
    if given == 0 { default } else { given }
}

/// A list whose order means nothing, in the order in which it is compared.
pub(crate) fn ordered(mut list: Vec<String>) -> Vec<String> {
    list.sort();
    list.dedup();
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_to_the_control_plane_is_filled_in_as_it_fills_it_in() {
        let asked = v1::Budget { limit_nano_usd: 1, window: "01d".to_owned(), ..v1::Budget::default() };
        let there = v1::Budget {
            id: "budget-1".to_owned(),
            limit_nano_usd: 1,
            window: "1d".to_owned(),
            alignment: v1::BudgetAlignment::Rolling.into(),
            enforcement: v1::BudgetEnforcement::Hard.into(),
            holding: v1::BudgetHolding::Auto.into(),
            thresholds: vec![80, 50, 100],
            ..v1::Budget::default()
        };
        assert_eq!(Budget::new(asked.clone()), Budget::new(there));
        let calendar = v1::Budget { alignment: v1::BudgetAlignment::Calendar.into(), ..asked.clone() };
        assert_eq!(Budget::new(calendar.clone()).wire().time_zone, "UTC");
        let berlin = v1::Budget { time_zone: "europe/berlin".to_owned(), ..calendar.clone() };
        assert_eq!(Budget::new(berlin).wire().time_zone, "Europe/Berlin");
        assert_ne!(Budget::new(calendar), Budget::new(asked));
    }

    #[test]
    fn a_session_limit_that_limits_nothing_is_none() {
        assert_eq!(SessionLimit::new(v1::SessionLimit { pause_seconds: 5, ..v1::SessionLimit::default() }), None);
        assert!(SessionLimit::new(v1::SessionLimit { repeats: 5, ..v1::SessionLimit::default() }).is_some());
    }
}
