//! Providers that other objects name.

use tollgate_policy::id::ProviderId;

use super::super::violations::Violations;
use crate::store::{StoreError, Txn};

/// The most providers, and the most credentials, that one key or team names.
const REFERENCES_MAX: usize = 64;

/// The provider that a field refers to.
pub(in crate::api) async fn referred(
    txn: &mut Txn,
    field: &str,
    named: &str,
    violations: &mut Violations,
) -> Result<Option<ProviderId>, StoreError> {
    let provider = txn.provider_find(named).await?.ok_or("is not the id or the name of a provider");
    Ok(violations.take(field, provider).map(|provider| provider.id))
}

/// The providers that the field `providers` lists. One that is named twice is so once.
pub(in crate::api) async fn listed(
    txn: &mut Txn,
    list: &[String],
    violations: &mut Violations,
) -> Result<Vec<ProviderId>, StoreError> {
    let mut ids: Vec<ProviderId> = Vec::new();
    for (at, named) in bounded("providers", list, violations).iter().enumerate() {
        let id = referred(txn, &format!("providers[{at}]"), named, violations).await?;
        ids.extend(id.filter(|id| !ids.contains(id)));
    }
    Ok(ids)
}

/// As many references as one object may have.
pub(in crate::api) fn bounded<'a>(field: &str, list: &'a [String], violations: &mut Violations) -> &'a [String] {
    if list.len() > REFERENCES_MAX {
        violations.add(field, format!("must be at most {REFERENCES_MAX}"));
    }
    list.get(..REFERENCES_MAX).unwrap_or(list)
}
