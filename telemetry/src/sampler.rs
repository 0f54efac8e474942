//! Which requests are traced, decided before there is a span.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::traceparent::Traceparent;

// 2^64 divided by the golden ratio. Its multiples, modulo 2^64, spread as evenly as any sequence can, so that a share of
// one tenth takes nearly every tenth request, at the price of one addition.
const STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;

/// Decides which requests are traced: as the caller decided, or a fixed share of those whose caller did not.
#[derive(Clone)]
pub struct Sampler(Option<Arc<Share>>);

struct Share {
    position: AtomicU64,
    // Positions below this are traced; `None` is all of them.
    below: Option<u64>,
}

impl Sampler {
    /// Traces what callers trace, and this share of the rest: 0 none, 1 all.
    #[must_use]
    pub fn new(ratio: f64) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of 2^64; `as` saturates")]
        let below = (ratio < 1.0).then_some((ratio * 2_f64.powi(64)) as u64);
        Self(Some(Arc::new(Share { position: AtomicU64::new(0), below })))
    }

    /// Traces nothing, whatever callers say.
    #[must_use]
    pub const fn off() -> Self {
        Self(None)
    }

    /// Decides for one request.
    #[must_use]
    pub fn sampled(&self, parent: Option<&Traceparent>) -> bool {
        match (&self.0, parent) {
            (None, _) => false,
            (Some(_), Some(parent)) => parent.is_sampled(),
            (Some(share), None) => {
                share.below.is_none_or(|below| share.position.fetch_add(STRIDE, Ordering::Relaxed) < below)
            }
        }
    }
}

impl fmt::Debug for Sampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("Sampler(off)"),
            Some(share) => write!(f, "Sampler(below {:?})", share.below),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_requests_is_traced() {
        for (ratio, expect) in [(0.0, 0), (0.01, 100), (0.1, 1_000), (0.5, 5_000), (1.0, 10_000)] {
            let sampler = Sampler::new(ratio);
            let sampled = (0..10_000).filter(|_| sampler.sampled(None)).count();
            assert!(sampled.abs_diff(expect) <= 2, "{ratio}: {sampled}");
        }
    }

    #[test]
    fn the_caller_decides_first_and_off_is_off() {
        let parent = |flags: &str| format!("00-{}-{}-{flags}", "a".repeat(32), "b".repeat(16)).parse().unwrap();
        assert!(Sampler::new(0.0).sampled(Some(&parent("01"))));
        assert!(!Sampler::new(1.0).sampled(Some(&parent("00"))));
        assert!(!Sampler::off().sampled(Some(&parent("01"))));
        assert!(!Sampler::off().sampled(None));
    }
}
