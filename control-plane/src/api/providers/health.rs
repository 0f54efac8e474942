//! Whether replicas find that a provider answers, and that its credentials are accepted.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};

use tollgate_proto::admin::v1;

use super::super::wire;
use crate::{
    clock,
    store::{StoreError, Txn, resting::CAUSES},
};

/// What the connected replicas say, by the id of a provider or a credential.
#[derive(Debug, Default)]
pub(super) struct Health {
    replicas: i64,
    found: HashMap<String, Found>,
}

// Where one rests.
#[derive(Debug, Default)]
struct Found {
    resting: i64,
    // By where they stand among all causes.
    causes: BTreeMap<usize, i64>,
    until: i64,
}

impl Health {
    /// As it was last heard.
    pub(super) async fn read(txn: &mut Txn) -> Result<Self, StoreError> {
        let now = clock::now_ms();
        let (replicas, _) = txn.replica_counts(now).await?;
        let mut health = Self { replicas, ..Self::default() };
        for resting in txn.resting_list(now).await?.into_iter().flatten() {
            let found = health.found.entry(resting.id).or_default();
            found.resting += 1;
            found.until = found.until.max(resting.until);
            if let Some(at) = CAUSES.iter().position(|cause| *cause == resting.cause) {
                *found.causes.entry(at).or_default() += 1;
            }
        }
        Ok(health)
    }

    /// On the wire, of the provider or the credential with this id.
    pub(super) fn of(&self, id: &str) -> v1::ProviderHealth {
        let found = self.found.get(id);
        let count = |count: i64| i32::try_from(count).unwrap_or(i32::MAX);
        v1::ProviderHealth {
            replicas: count(self.replicas),
            resting: count(found.map_or(0, |found| found.resting)),
            cause: found.and_then(Found::cause).unwrap_or_default().to_owned(),
            until: found.map(|found| wire::timestamp(found.until)),
        }
    }
}

impl Found {
    // The most frequent.
    fn cause(&self) -> Option<&'static str> {
        let most = self.causes.iter().max_by_key(|(at, count)| (**count, Reverse(**at)));
        most.and_then(|(at, _)| CAUSES.get(*at).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_cause_is_told() {
        let cause = |counts: &[(usize, i64)]| Found { causes: counts.iter().copied().collect(), ..Found::default() };
        assert_eq!(cause(&[]).cause(), None);
        assert_eq!(cause(&[(0, 1), (2, 3), (4, 2)]).cause(), Some("failing"));
        assert_eq!(cause(&[(1, 2), (3, 2)]).cause(), Some("limited"));
    }
}
