//! The user that a person of an issuer is. Issuer and subject are the identity: an address never makes two people one.

use serde_json::{Value, json};
use tollgate_audit::{Entry, Facts, Fields, Outcome};
use tollgate_policy::{
    id::{InvalidId, UserId},
    name::Name,
};

use super::{
    claims::{self, Person},
    settings::IssuerSettings,
};
use crate::{
    audit,
    store::{
        Store, StoreError, Txn,
        organisation::{Stamp, User},
        quotas::Quota,
    },
};

/// How many names are tried before one is made of an identifier.
const NAMES_TRIED_MAX: usize = 20;

/// Why there is no user.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// The user is disabled.
    #[error("the user is disabled")]
    Disabled,
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The user that a person is, made when there is none, with the groups as the issuer says now.
///
/// # Errors
/// Refuses a disabled user; fails as the database does.
pub async fn provision(
    store: &Store,
    settings: &IssuerSettings,
    person: &Person,
    now: i64,
) -> Result<User, ProvisionError> {
    let mut txn = store.begin_read().await?;
    let known = find(&mut txn, settings, person).await?;
    let groups = match &known {
        Some(user) => txn.memberships(&user.id, &settings.url).await?,
        None => Default::default(),
    };
    txn.end().await?;
    match known {
        Some(user) if user.disabled => Err(ProvisionError::Disabled),
        // What automation presents at each call writes nothing.
        Some(user) if groups == person.groups => Ok(user),
        Some(user) => {
            let mut txn = store.begin().await?;
            txn.memberships_replace(&user.id, &settings.url, &person.groups).await?;
            audit::append(&mut txn, regrouped(settings, &user, person, now)).await?;
            txn.commit().await?;
            Ok(user)
        }
        None => create(store, settings, person, now).await,
    }
}

async fn find(txn: &mut Txn, settings: &IssuerSettings, person: &Person) -> Result<Option<User>, StoreError> {
    match txn.identity_find(&settings.url, &person.subject).await? {
        Some(id) => txn.user_find(id.as_str()).await,
        None => Ok(None),
    }
}

// The revision is taken first: of several control planes that see a person for the first time, one makes the user.
async fn create(store: &Store, settings: &IssuerSettings, person: &Person, now: i64) -> Result<User, ProvisionError> {
    let mut txn = store.begin().await?;
    let revision = txn.advance_revision().await?;
    if let Some(user) = find(&mut txn, settings, person).await? {
        txn.end().await?;
        return if user.disabled { Err(ProvisionError::Disabled) } else { Ok(user) };
    }
    let corrupt = |error: InvalidId| StoreError::corrupt("id", error);
    let ulid = ulid::Ulid::generate().to_string();
    let id = UserId::from_ulid(&ulid).map_err(corrupt)?;
    let email_is_taken = match &person.email {
        Some(email) => txn.user_find_email(email).await?.is_some(),
        None => false,
    };
    let team = match &person.team {
        Some(named) => txn.team_find(named).await?.map(|team| team.id),
        None => None,
    };
    let user = User {
        name: free_name(&mut txn, person, &ulid).await?,
        email: person.email.clone().filter(|_| !email_is_taken),
        display_name: person.display_name.clone(),
        team,
        disabled: false,
        quota: Quota::default(),
        stamp: Stamp { created: revision, revision, create_time: now, update_time: now },
        id,
    };
    txn.user_insert(&user).await?;
    txn.identity_insert(&settings.url, &person.subject, &user.id, now).await?;
    txn.memberships_replace(&user.id, &settings.url, &person.groups).await?;
    audit::append(&mut txn, created(settings, &user, person, email_is_taken, now)).await?;
    txn.commit().await?;
    Ok(user)
}

async fn free_name(txn: &mut Txn, person: &Person, ulid: &str) -> Result<Name, StoreError> {
    for name in &person.names {
        // An id in the place of a name cannot be found by it: a name never reads like one.
        for attempt in 0..NAMES_TRIED_MAX {
            let Some(name) = claims::numbered(name, attempt) else { break };
            if txn.user_find(name.as_str()).await?.is_none() {
                return Ok(name);
            }
        }
    }
    let name = format!("person-{}", ulid.to_ascii_lowercase());
    Name::parse(&name).map_err(|error| StoreError::corrupt("name", error))
}

fn created(settings: &IssuerSettings, user: &User, person: &Person, email_is_taken: bool, now: i64) -> Entry {
    let mut fields = about(settings, person);
    fields.insert("name".into(), json!(user.name.as_str()));
    fields.insert("email".into(), json!(user.email));
    fields.insert("team".into(), json!(user.team.as_ref().map(|team| team.as_str())));
    fields.insert("revision".into(), json!(user.stamp.revision));
    if email_is_taken {
        let sentence = "the address is that of another user: it was left empty, and the users were not linked";
        fields.insert("email_left_empty".into(), json!(sentence));
    }
    if let (Some(named), None) = (&person.team, &user.team) {
        fields.insert("team_missing".into(), json!(named));
    }
    entry("user.provision", settings, user, fields, now)
}

fn regrouped(settings: &IssuerSettings, user: &User, person: &Person, now: i64) -> Entry {
    entry("user.groups", settings, user, about(settings, person), now)
}

fn about(settings: &IssuerSettings, person: &Person) -> Fields {
    let groups: Vec<_> = person.groups.iter().cloned().collect();
    let pairs: [(&str, Value); 3] =
        [("issuer", json!(settings.url)), ("subject", json!(person.subject)), ("groups", json!(groups))];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn entry(action: &str, settings: &IssuerSettings, user: &User, detail: Fields, now: i64) -> Entry {
    let (initiator, target) = (format!("issuer/{}", settings.name), format!("{}/{}", UserId::NOUN, user.id));
    let facts = Facts { initiator: &initiator, target: &target, detail, ..Facts::default() };
    Entry::new(now, action, Outcome::Allowed, facts)
}
