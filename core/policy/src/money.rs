//! Money as integers: nano-dollars, 1e-9 USD. No float comes near it.

use std::{fmt, iter::Sum};

/// An amount in nano-dollars.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct NanoUsd(i64);

/// A text that is not an amount.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("must be a decimal number of dollars with at most nine digits behind the point, such as 12.50")]
pub struct InvalidAmount;

impl NanoUsd {
    /// Which part of `whole` it is, 0.0 to 1.0; of nothing, all.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a part for a rule to compare, not an amount to charge")]
    pub fn part_of(self, whole: Self) -> f64 {
        if whole.0 <= 0 { 1.0 } else { (self.0.max(0) as f64 / whole.0 as f64).min(1.0) }
    }

    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// One dollar.
    pub const DOLLAR: Self = Self(1_000_000_000);

    /// An amount of so many nano-dollars.
    #[must_use]
    pub const fn new(nano: i64) -> Self {
        Self(nano)
    }

    /// The amount in nano-dollars.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The sum; stays at the largest amount rather than wrap.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The price of `count` units at `per_million` for a million of them, rounded up to a whole nano-dollar.
    #[must_use]
    pub fn priced(count: u64, per_million: Self) -> Self {
        let exact = i128::from(count) * i128::from(per_million.0);
        Self(
            i64::try_from(exact.div_euclid(1_000_000) + i128::from(exact.rem_euclid(1_000_000) > 0))
                .unwrap_or(i64::MAX),
        )
    }

    /// Parses a decimal number of dollars.
    ///
    /// # Errors
    /// Refuses signs, exponents, more than nine decimals, and amounts beyond nine billion dollars.
    pub fn parse_dollars(text: &str) -> Result<Self, InvalidAmount> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let shaped = !whole.is_empty() && digits(whole) && digits(fraction) && fraction.len() <= 9;
        if !shaped || text.ends_with('.') {
            return Err(InvalidAmount);
        }
        let nano = format!("{whole}{fraction:0<9}").parse().map_err(|_| InvalidAmount)?;
        Ok(Self(nano))
    }
}

impl Sum for NanoUsd {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Self::plus)
    }
}

/// Prints dollars as a decimal, without trailing zeros: `0.0105`.
impl fmt::Display for NanoUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, fraction) = (self.0.unsigned_abs() / 1_000_000_000, self.0.unsigned_abs() % 1_000_000_000);
        if fraction == 0 {
            return write!(f, "{sign}{whole}");
        }
        let digits = format!("{fraction:09}");
        write!(f, "{sign}{whole}.{}", digits.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_survive_printing_and_parsing() {
        for (text, nano) in [("0", 0), ("1", 1_000_000_000), ("0.0105", 10_500_000), ("12.000000001", 12_000_000_001)] {
            assert_eq!(NanoUsd::parse_dollars(text), Ok(NanoUsd::new(nano)));
            assert_eq!(NanoUsd::new(nano).to_string(), text);
        }
        for bad in ["", ".", "1.", ".5", "-1", "1e3", "0.0000000001", "99999999999999999999"] {
            assert_eq!(NanoUsd::parse_dollars(bad), Err(InvalidAmount), "{bad}");
        }
    }

    #[test]
    fn a_price_is_rounded_up() {
        let three_dollars = NanoUsd::new(3_000_000_000);
        assert_eq!(NanoUsd::priced(1_000_000, three_dollars), three_dollars);
        assert_eq!(NanoUsd::priced(1, NanoUsd::new(1)), NanoUsd::new(1));
        assert_eq!(NanoUsd::priced(0, three_dollars), NanoUsd::ZERO);
        assert_eq!(NanoUsd::priced(u64::MAX, three_dollars), NanoUsd::new(i64::MAX));
    }
}
