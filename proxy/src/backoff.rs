//! How long to wait before trying again: exponential, with full jitter, so that a fleet does not return in step.

use std::time::Duration;

/// The waiting times of one thing that is tried again and again.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    attempts: u32,
}

impl Backoff {
    /// Waits between nothing and `first` the first time, and then between nothing and twice as much each time, up to
    /// `longest`.
    pub(crate) const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, attempts: 0 }
    }

    /// The next waiting time.
    pub(crate) fn next(&mut self) -> Duration {
        let ceiling = self.first.saturating_mul(1_u32.checked_shl(self.attempts).unwrap_or(u32::MAX)).min(self.longest);
        self.attempts = self.attempts.saturating_add(1).min(31);
        ceiling.mul_f64(random_fraction())
    }

    /// Begins anew, after a success.
    pub(crate) const fn reset(&mut self) {
        self.attempts = 0;
    }
}

/// A random number from 0 to 1. Without randomness it is 1: the wait is then longest, and nothing else depends on it.
pub(crate) fn random_fraction() -> f64 {
    getrandom::u32().map_or(1.0, |random| f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_doubles_up_to_the_longest() {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
        for attempt in 0..200 {
            let ceiling = 50 << attempt.min(7);
            assert!(backoff.next() <= Duration::from_millis(ceiling).min(Duration::from_secs(5)), "{attempt}");
        }
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(50));
    }
}
