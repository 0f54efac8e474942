//! What replicas leave alone for a while: providers and credentials that failed them.

use serde::{Deserialize, Serialize};
use tollgate_policy::id::{CredentialId, ProviderId, ReplicaId};

use super::{StoreError, Txn, replicas::SILENCE_MS_MAX};

/// The most of them that one replica tells: more are an outage of everything, which as many show.
pub const RESTING_MAX: usize = 1_000;
/// Why something rests, in the order in which one of two that are as frequent is told.
pub const CAUSES: [&str; 5] = ["rejected", "limited", "failing", "late", "unreachable"];
/// For how long a replica can be believed to leave something alone, in milliseconds: a day.
const LEFT_MS_MAX: i64 = 24 * 3_600_000;
/// A replica tells how long it will be, to the instant at which it says so: what differs by less is the same end.
const SAME_MS: i64 = 2_000;

/// A provider or a credential that a replica leaves alone.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Resting {
    /// Its id.
    pub id: String,
    /// Why, one of [`CAUSES`]; empty: for a reason that this version does not know.
    pub cause: String,
    /// When one request tries it again, in Unix milliseconds.
    pub until: i64,
}

impl Resting {
    /// Reads what a replica says now. What is neither a provider nor a credential is left out.
    #[must_use]
    pub fn read(id: &str, cause: &str, left_ms: i64, now: i64) -> Option<Self> {
        let is_known = ProviderId::parse(id).is_ok() || CredentialId::parse(id).is_ok();
        let cause = CAUSES.into_iter().find(|known| *known == cause).unwrap_or_default();
        let until = now.saturating_add(left_ms.clamp(0, LEFT_MS_MAX));
        is_known.then(|| Self { id: id.to_owned(), cause: cause.to_owned(), until })
    }

    // Where nothing has happened since: the end is the same, or it has come and the one request that tries has not.
    fn is_still(&self, earlier: &Self, now: i64) -> bool {
        let is_due = |resting: &Self| resting.until <= now.saturating_add(SAME_MS);
        let is_same_end = self.until.abs_diff(earlier.until) <= SAME_MS.unsigned_abs();
        self.id == earlier.id && self.cause == earlier.cause && (is_same_end || (is_due(self) && is_due(earlier)))
    }
}

/// Whether a replica says now what it said before. Both lists are in the order of their ids.
#[must_use]
pub fn is_unchanged(told: &[Resting], before: &[Resting], now: i64) -> bool {
    told.len() == before.len() && told.iter().zip(before).all(|(told, before)| told.is_still(before, now))
}

impl Txn {
    /// Notes what a replica leaves alone, all of it.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn replica_resting(&mut self, id: &ReplicaId, resting: &[Resting]) -> Result<(), StoreError> {
        let text = serde_json::to_string(resting).map_err(|error| StoreError::corrupt("resting", error))?;
        self.execute(sql!("UPDATE replicas SET resting = $1 WHERE id = $2", text, id.as_str())).await?;
        Ok(())
    }

    /// What each of the replicas leaves alone that follow at this instant; those without anything are left out.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn resting_list(&mut self, now: i64) -> Result<Vec<Vec<Resting>>, StoreError> {
        let select = sql!(
            "SELECT resting FROM replicas WHERE stream <> '' AND seen_time > $1 AND resting <> '[]'",
            now - SILENCE_MS_MAX
        );
        let rows = self.fetch_all(select).await?;
        rows.iter().map(|row| row.parsed("resting", |text| serde_json::from_str(text))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000;

    fn resting(last: char, cause: &str, left_ms: i64) -> Resting {
        let id = format!("credential-{}{last}", "0".repeat(25));
        Resting::read(&id, cause, left_ms, NOW).unwrap()
    }

    #[test]
    fn what_a_replica_says_is_bounded() {
        let read = |id: &str, cause: &str, left_ms| Resting::read(id, cause, left_ms, NOW);
        for id in ["", "provider-x", "key-00000000000000000000000000", "anthropic"] {
            assert_eq!(read(id, "limited", 1), None, "{id}");
        }
        let id = "provider-00000000000000000000000000";
        for (cause, left_ms, expect) in [
            ("limited", 5, ("limited", NOW + 5)),
            ("odd", -5, ("", NOW)),
            ("late", i64::MAX, ("late", NOW + LEFT_MS_MAX)),
        ] {
            let read = read(id, cause, left_ms).unwrap();
            assert_eq!((read.cause.as_str(), read.until), expect, "{cause}");
        }
    }

    #[test]
    fn only_what_differs_is_news() {
        let later = |left_ms: i64| Resting { until: NOW + 10_000 + left_ms, ..resting('a', "limited", 0) };
        let now = NOW + 10_000;
        for (told, before, expect) in [
            (vec![], vec![], true),
            // Ten seconds have passed, and the end is as far away as was said, or as good as.
            (vec![later(20_000)], vec![resting('a', "limited", 30_000)], true),
            (vec![later(21_500)], vec![resting('a', "limited", 30_000)], true),
            (vec![later(30_000)], vec![resting('a', "limited", 30_000)], false),
            // It waits for the request that tries it.
            (vec![later(0)], vec![resting('a', "limited", 3_000)], true),
            (vec![later(0)], vec![resting('a', "limited", 30_000)], false),
            (vec![later(20_000)], vec![resting('a', "failing", 30_000)], false),
            (vec![later(20_000)], vec![resting('b', "limited", 30_000)], false),
            (vec![], vec![resting('a', "limited", 30_000)], false),
            (vec![later(20_000)], vec![], false),
        ] {
            assert_eq!(is_unchanged(&told, &before, now), expect, "{told:?} {before:?}");
        }
    }
}
