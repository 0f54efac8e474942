//! A large organisation, put into a store as its own calls would: too many objects for a call each.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};
use tollgate_control_plane::store::{
    Store, StoreError, Txn,
    access::{Binding, Subject},
    keys::Key,
    organisation::{Customer, Stamp, Team, User},
    quotas::Quota,
};
use tollgate_policy::{
    id::{BindingId, CustomerId, KeyId, TeamId, UserId},
    name::Name,
    rbac::Scope,
    snapshot::AuditMode,
    token::KeyHash,
};

use crate::must;

/// From where its users are known.
const ISSUER: &str = "https://idp.example.com";
/// When everything was created, in Unix milliseconds.
const CREATED_MS: i64 = 1_764_000_000_000;

/// How large it is.
#[derive(Clone, Copy, Debug)]
pub struct Organisation {
    /// Its users, each with an identity, a group and a key.
    pub users: usize,
    /// Its groups, each with a team in which a binding lets it work.
    pub groups: usize,
    /// How many users come in one transaction, and so in one revision, at least 1.
    pub together: usize,
}

impl Organisation {
    /// Puts it into a store. Nobody knows the secrets of the keys: rotate one to use it.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn fill(self, store: &Store) -> Result<(), StoreError> {
        let mut txn = store.begin().await?;
        let customer = self.customer(&mut txn).await?;
        for group in 0..self.groups {
            self.group(&mut txn, &customer, group).await?;
        }
        txn.commit().await?;
        for first in (0..self.users).step_by(self.together) {
            let mut txn = store.begin().await?;
            for number in first..self.users.min(first + self.together) {
                self.user(&mut txn, number).await?;
            }
            txn.commit().await?;
        }
        Ok(())
    }

    /// The name of the key of this user.
    #[must_use]
    pub fn key_name(number: usize) -> String {
        format!("dev-{number:05}")
    }

    async fn customer(self, txn: &mut Txn) -> Result<CustomerId, StoreError> {
        let id = must("customer", CustomerId::from_ulid(&ulid(0)));
        let customer = Customer {
            id: id.clone(),
            name: name("organisation"),
            display_name: "A large organisation".into(),
            disabled: false,
            quota: Quota::default(),
            stamp: stamp(txn).await?,
        };
        txn.customer_insert(&customer).await?;
        Ok(id)
    }

    async fn group(self, txn: &mut Txn, customer: &CustomerId, number: usize) -> Result<(), StoreError> {
        let stamp = stamp(txn).await?;
        let team = Team {
            id: team_id(number),
            name: name(&format!("department-{number:03}")),
            display_name: format!("Department {number}"),
            customer: customer.clone(),
            disabled: false,
            quota: Quota::default(),
            self_service: None,
            providers: Vec::new(),
            regions: Vec::new(),
            stamp,
        };
        txn.team_insert(&team).await?;
        let binding = Binding {
            id: must("binding", BindingId::from_ulid(&ulid(number))),
            role: "developer".into(),
            role_name: "developer".into(),
            subject: Subject::Group(group_name(number)),
            scope: Scope::Team(team.id),
            expires_ms: None,
            stamp,
        };
        txn.binding_insert(&binding).await?;
        Ok(())
    }

    async fn user(self, txn: &mut Txn, number: usize) -> Result<(), StoreError> {
        let (stamp, group) = (stamp(txn).await?, number % self.groups);
        let user = User {
            id: must("user", UserId::from_ulid(&ulid(number))),
            name: name(&format!("developer-{number:05}")),
            email: Some(format!("developer-{number:05}@example.com")),
            display_name: format!("Developer {number}"),
            team: Some(team_id(group)),
            disabled: false,
            quota: Quota::default(),
            stamp,
        };
        txn.user_insert(&user).await?;
        txn.identity_insert(ISSUER, &format!("subject-{number:05}"), &user.id, CREATED_MS).await?;
        txn.memberships_replace(&user.id, ISSUER, &BTreeSet::from([group_name(group)])).await?;
        let key = Key {
            id: must("key", KeyId::from_ulid(&ulid(number))),
            name: name(&Self::key_name(number)),
            display_name: format!("Key of developer {number}"),
            team: team_id(group),
            user: Some(user.id),
            revoked: false,
            expires_ms: None,
            models: vec!["claude-*".into()],
            providers: Vec::new(),
            credentials: Vec::new(),
            tags: [("environment".into(), "development".into())].into(),
            audit: AuditMode::Required,
            regions: Vec::new(),
            tools: Vec::new(),
            tool_rules: vec![],
            prefix: format!("tg_{number:08}"),
            hash: KeyHash::new(Sha256::digest(number.to_be_bytes()).into()),
            quota: Quota::default(),
            stamp,
        };
        txn.key_insert(&key).await
    }
}

async fn stamp(txn: &mut Txn) -> Result<Stamp, StoreError> {
    let revision = txn.advance_revision().await?;
    Ok(Stamp { created: revision, revision, create_time: CREATED_MS, update_time: CREATED_MS })
}

fn team_id(number: usize) -> TeamId {
    must("team", TeamId::from_ulid(&ulid(number)))
}

fn group_name(number: usize) -> String {
    format!("group-{number:03}")
}

fn name(text: &str) -> Name {
    must("name", Name::parse(text))
}

fn ulid(number: usize) -> String {
    format!("01k9{number:022}")
}
