//! Whom an object is for: the customers and teams that it names. Guardrails and servers of tools have them alike.

use tollgate_policy::{
    guardrail::SCOPE_MAX,
    id::{CustomerId, TeamId},
};

use super::{mask::Mask, violations::Violations};
use crate::store::{StoreError, Txn, guardrails::Owners};

// What a replica takes of the one it takes of the other.
const _: () = assert!(SCOPE_MAX == tollgate_policy::mcp::SCOPE_MAX);

/// Finds whom an object is for. One that is named twice is so once.
pub(super) async fn read(
    txn: &mut Txn,
    customers: &[String],
    teams: &[String],
    violations: &mut Violations,
) -> Result<Owners, StoreError> {
    let mut owners = Owners::default();
    if customers.len() + teams.len() > SCOPE_MAX {
        let field = if teams.is_empty() { "customers" } else { "teams" };
        violations.add(field, format!("must be at most {SCOPE_MAX}, customers and teams together"));
        return Ok(owners);
    }
    for (at, named) in customers.iter().enumerate() {
        let found = txn.customer_find(named).await?.map(|customer| customer.id);
        put(&mut owners.customers, found, (&format!("customers[{at}]"), CustomerId::NOUN), violations);
    }
    for (at, named) in teams.iter().enumerate() {
        let found = txn.team_find(named).await?.map(|team| team.id);
        put(&mut owners.teams, found, (&format!("teams[{at}]"), TeamId::NOUN), violations);
    }
    Ok(owners)
}

/// Whom an object is for, with the masked lists changed. References that stay are not looked up again.
pub(super) async fn merged(
    txn: &mut Txn,
    old: &Owners,
    (customers, teams): (&[String], &[String]),
    mask: &Mask,
    violations: &mut Violations,
) -> Result<Owners, StoreError> {
    let asked = |field: &'static str, list| if mask.has(field) { list } else { Default::default() };
    let new = read(txn, asked("customers", customers), asked("teams", teams), violations).await?;
    let owners = Owners {
        customers: if mask.has("customers") { new.customers } else { old.customers.clone() },
        teams: if mask.has("teams") { new.teams } else { old.teams.clone() },
    };
    if owners.customers.len() + owners.teams.len() > SCOPE_MAX {
        violations.add("teams", format!("must be at most {SCOPE_MAX}, customers and teams together"));
    }
    Ok(owners)
}

fn put<T: PartialEq>(list: &mut Vec<T>, found: Option<T>, (field, noun): (&str, &str), violations: &mut Violations) {
    let found = found.ok_or_else(|| format!("is not the id or the name of a {noun}"));
    list.extend(violations.take(field, found).filter(|found| !list.contains(found)));
}
