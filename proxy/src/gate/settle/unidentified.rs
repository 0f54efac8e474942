//! Visits that were refused before their key was accepted, and are nobody's. So many a minute are written down one by one; how
//! many more there were is counted in gap records. Whoever was told a request id finds it in the log, or a count that it is in.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tollgate_proto::convert::usage::Unidentified;

use super::{Words, millis};
use crate::{
    gate::ticket::{End, Facts},
    spool::Spool,
};

/// The most entries a minute on one replica, as many as a control plane writes of refused admin calls: who errs, or tries keys, is
/// told of one by one; a flood, which needs no key at all, neither fills a disk nor buries the log.
pub(crate) const ENTRIES_MAX: u32 = 300;
const MINUTE: Duration = Duration::from_secs(60);
/// How far apart gap records are, so that a flood amid other visits does not write one with each batch of these.
pub(crate) const GAP_EVERY: Duration = Duration::from_secs(1);

/// How many entries this minute has, and when the last gap record was written.
#[derive(Debug, Default)]
pub(super) struct Pace {
    minute: Option<Instant>,
    written: u32,
    counted: Option<Instant>,
}

/// What is left of a visit whose key was not accepted.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Account {
    /// Its client was told that it is refused.
    Record(Unidentified),
    /// Its client was told something, and nothing but the number is written.
    Count,
    /// It decided nothing: it was a probe, or nobody was answered.
    Nothing,
}

impl Account {
    pub(super) fn of(facts: &Facts, words: &Words) -> Self {
        match facts.end {
            End::Refused(kind) => Self::Record(Unidentified {
                // The spool knows both.
                incarnation: 0,
                sequence: 0,
                request_id: facts.request_id.clone(),
                arrived: facts.arrived,
                duration_ms: facts.times.ended.map_or(0, |ended| millis(ended, facts.times.arrived)),
                refusal: words.refusal(kind),
                status: facts.status,
                operation: words.operation(facts.operation),
                revision: facts.revision,
            }),
            // By our own fault, and so no refusal.
            End::Panicked => Self::Count,
            _ => Self::Nothing,
        }
    }
}

// === impl Pace ===

impl Pace {
    /// Whether one more may be written at this instant.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        if self.minute.is_none_or(|began| now.saturating_duration_since(began) >= MINUTE) {
            (self.minute, self.written) = (Some(now), 0);
        }
        let is_free = self.written < ENTRIES_MAX;
        self.written += u32::from(is_free);
        is_free
    }

    /// Waits until a gap record is to be written.
    pub(super) async fn due(&self, spool: &Spool) {
        spool.missed().await;
        if let Some(counted) = self.counted {
            sleep_until(counted + GAP_EVERY).await;
        }
    }

    /// Writes how many were missed.
    pub(super) fn count(&mut self, spool: &Spool, now: Instant) {
        self.counted = Some(now);
        if let Err(error) = spool.count_missed() {
            // The spool has told that it failed; they are counted once it takes something again.
            tracing::debug!(%error, "failed to write how many visits were missed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_written_in_a_minute() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let taken = |pace: &mut Pace, at: Duration| (0..2 * ENTRIES_MAX).filter(|_| pace.take(start + at)).count();
        let max = usize::try_from(ENTRIES_MAX).unwrap();
        for (millis, expect) in [(0, max), (1, 0), (59_999, 0), (60_000, max), (60_001, 0), (3_600_000, max)] {
            assert_eq!(taken(&mut pace, Duration::from_millis(millis)), expect, "after {millis} ms");
        }
    }
}
