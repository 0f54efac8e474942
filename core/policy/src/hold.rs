//! The money that is set aside while a request runs.

use crate::money::NanoUsd;

/// The worst case of one attempt, set aside before any byte goes to a provider. It is not `Clone`, and only
/// [`Hold::settle`] ends it: who sends to a provider must show one, and what was held is charged or returned exactly once.
#[derive(Debug, Eq, PartialEq)]
#[must_use = "a hold that is not settled is money that is neither charged nor returned"]
pub struct Hold {
    amount: NanoUsd,
}

/// What became of a hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Settlement {
    /// What was charged.
    pub charged: NanoUsd,
    /// What went back.
    pub returned: NanoUsd,
    /// By how much the charge passed the hold: the estimator's error, zero when its bound is sound.
    pub excess: NanoUsd,
}

impl Hold {
    /// Sets an amount aside where no budget applies.
    pub const fn unbudgeted(amount: NanoUsd) -> Self {
        Self { amount }
    }

    /// What is held.
    #[must_use]
    pub const fn amount(&self) -> NanoUsd {
        self.amount
    }

    /// Ends the hold with what was really spent.
    #[must_use]
    pub fn settle(self, charge: NanoUsd) -> Settlement {
        let positive = |nano: i64| NanoUsd::new(nano.max(0));
        Settlement {
            charged: charge,
            returned: positive(self.amount.get().saturating_sub(charge.get())),
            excess: positive(charge.get().saturating_sub(self.amount.get())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_is_charged_and_the_rest_returns() {
        let check = |held: i64, charge: i64, returned: i64, excess: i64| {
            let settled = Hold::unbudgeted(NanoUsd::new(held)).settle(NanoUsd::new(charge));
            assert_eq!((settled.returned, settled.excess), (NanoUsd::new(returned), NanoUsd::new(excess)));
        };
        check(10, 4, 6, 0);
        check(10, 10, 0, 0);
        check(10, 13, 0, 3);
    }
}
