//! The credentials of a provider: what an administrator wrote, and the secrets to seal.

use serde_json::{Value, json};
use tollgate_policy::{id::CredentialId, name::Name};
use tollgate_proto::admin::v1;
use tollgate_settings::{Secret, SecretSource, Setting as _};

use super::{
    super::{failure::Failure, violations::Violations, wire},
    health::Health,
};
use crate::{
    keys::Minter,
    seal::{Keyring, Place},
    store::{
        Txn,
        providers::{CREDENTIAL, Credential},
    },
};

/// The most credentials of one provider: a choice among more is a load balancer's.
const CREDENTIALS_MAX: usize = 32;
/// The longest literal secret, in bytes: it travels in a header.
pub(in crate::api) const SECRET_BYTES_MAX: usize = 4 * 1024;
/// Before a secret it says that the secret is sent as `authorization: Bearer`.
pub(in crate::api) const BEARER_PREFIX: &str = "Bearer ";
const WEIGHT_MAX: i32 = 1_000;

/// What to seal when the change is made, and what to forget.
#[derive(Debug, Default)]
pub(in crate::api) struct Secrets {
    literal: Vec<(CredentialId, Secret)>,
    replaced: Vec<CredentialId>,
}

// What a credential's `secret` field said.
enum Written {
    Kept,
    Reference(String),
    Literal(Secret),
}

// === impl Secrets ===

impl Secrets {
    pub(in crate::api) const fn is_empty(&self) -> bool {
        self.literal.is_empty() && self.replaced.is_empty()
    }

    /// Has the secret of a credential forgotten, if one is sealed.
    pub(in crate::api) fn forget(&mut self, id: &CredentialId) {
        self.replaced.push(id.clone());
    }

    /// Has a secret sealed in the place of what was there.
    pub(in crate::api) fn put(&mut self, id: &CredentialId, secret: Secret) {
        self.forget(id);
        self.literal.push((id.clone(), secret));
    }

    /// Seals what is new in the transaction of the change.
    pub(in crate::api) async fn store(&self, txn: &mut Txn, keyring: &Keyring) -> Result<(), Failure> {
        for id in &self.replaced {
            txn.secret_delete(place(id)).await?;
        }
        for (id, secret) in &self.literal {
            txn.secret_insert(place(id), &keyring.seal(place(id), secret.expose().as_bytes())?).await?;
        }
        Ok(())
    }
}

/// Reads the whole list. One that has the id, or without an id the name, of a credential in `old` is that one.
pub(super) fn read(
    minter: &Minter,
    list: &[v1::Credential],
    old: &[Credential],
    secrets: &mut Secrets,
    violations: &mut Violations,
) -> Result<Vec<Credential>, Failure> {
    if list.len() > CREDENTIALS_MAX {
        violations.add("credentials", format!("must be at most {CREDENTIALS_MAX}"));
        return Ok(Vec::new());
    }
    let mut read: Vec<Credential> = Vec::new();
    for (at, wire) in list.iter().enumerate() {
        let field = format!("credentials[{at}]");
        let Some(credential) = read_one(minter, wire, old, &field, secrets, violations)? else { continue };
        if read.iter().any(|other| other.name == credential.name || other.id == credential.id) {
            violations.add(format!("{field}.name"), "is given twice");
        }
        read.push(credential);
    }
    Ok(read)
}

fn read_one(
    minter: &Minter,
    wire: &v1::Credential,
    old: &[Credential],
    field: &str,
    secrets: &mut Secrets,
    violations: &mut Violations,
) -> Result<Option<Credential>, Failure> {
    // What is output only comes back as it was read, when a caller changes what it got: it decides nothing.
    let v1::Credential { id, name, secret, reference: _, weight, disabled, fingerprint: _, health: _ } = wire;
    let name = violations.take(&format!("{field}.name"), Name::parse(name));
    let weight = read_weight(*weight, field, violations);
    let written = read_secret(secret, field, violations);
    let known = if id.is_empty() {
        old.iter().find(|old| Some(&old.name) == name.as_ref())
    } else {
        let known = old.iter().find(|old| old.id.as_str() == id);
        if known.is_none() && !old.is_empty() {
            violations.add(format!("{field}.id"), "is not a credential of this provider: leave it empty for a new one");
        }
        known
    };
    if known.is_none() && matches!(written, Some(Written::Kept)) {
        violations.add(format!("{field}.secret"), "is required for a new credential");
    }
    let (Some(name), Some(weight), Some(written)) = (name, weight, written) else { return Ok(None) };
    let id = match known {
        Some(known) => known.id.clone(),
        None => wire::new_id(CredentialId::from_ulid)?,
    };
    let (reference, fingerprint) = match written {
        Written::Kept => known.map(|known| (known.reference.clone(), known.fingerprint.clone())).unwrap_or_default(),
        Written::Reference(reference) => {
            if known.is_some_and(|known| known.reference.is_none()) {
                secrets.forget(&id);
            }
            (Some(reference), String::new())
        }
        Written::Literal(secret) => {
            let fingerprint = minter.fingerprint(secret.expose());
            // The same secret again is no change: a declarative file may be applied any number of times.
            if known.is_none_or(|known| known.fingerprint != fingerprint) {
                secrets.put(&id, secret);
            }
            (None, fingerprint)
        }
    };
    Ok(Some(Credential { id, name, reference, weight, disabled: *disabled, fingerprint }))
}

fn read_weight(weight: i32, field: &str, violations: &mut Violations) -> Option<u32> {
    let weight = if weight == 0 { 1 } else { weight };
    let within = u32::try_from(weight).ok().filter(|_| (1..=WEIGHT_MAX).contains(&weight));
    violations.take(&format!("{field}.weight"), within.ok_or("must be 1 to 1,000, or 0 for 1"))
}

fn read_secret(text: &str, field: &str, violations: &mut Violations) -> Option<Written> {
    let field = format!("{field}.secret");
    if text.is_empty() {
        return Some(Written::Kept);
    }
    let bare = text.strip_prefix(BEARER_PREFIX).unwrap_or(text);
    if bare.is_empty() || bare.len() > SECRET_BYTES_MAX || !bare.bytes().all(|byte| byte.is_ascii_graphic()) {
        violations.add(field, format!("must be at most {SECRET_BYTES_MAX} visible ASCII characters, without spaces"));
        return None;
    }
    match violations.take(&field, SecretSource::parse(text))? {
        SecretSource::Env(_) | SecretSource::File(_) => Some(Written::Reference(text.to_owned())),
        SecretSource::Literal(_) if looks_like_a_reference(text) => {
            violations
                .add(field, "must be env://NAME, file:///path or the secret itself: other references are not known");
            None
        }
        SecretSource::Literal(secret) => Some(Written::Literal(secret)),
    }
}

/// Whether a text would be a reference, if there were such references.
pub(in crate::api) fn looks_like_a_reference(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        !scheme.is_empty()
            && scheme.len() <= 16
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+.-".contains(&byte))
    })
}

/// Where a credential's secret is sealed.
pub(in crate::api) fn place(id: &CredentialId) -> Place<'_> {
    Place { purpose: CREDENTIAL, id: id.as_str() }
}

/// The credential as the log may show it.
pub(super) fn field_of(credential: &Credential) -> Value {
    let Credential { id, name, reference, weight, disabled, fingerprint } = credential;
    json!({
        "id": id.as_str(),
        "name": name.as_str(),
        "reference": reference,
        "weight": weight,
        "disabled": disabled,
        "fingerprint": fingerprint,
    })
}

/// The credential on the wire, without its secret.
pub(super) fn written(credential: &Credential, health: &Health) -> v1::Credential {
    let Credential { id, name, reference, weight, disabled, fingerprint } = credential;
    v1::Credential {
        id: id.to_string(),
        name: name.to_string(),
        secret: String::new(),
        reference: reference.clone().unwrap_or_default(),
        weight: i32::try_from(*weight).unwrap_or(WEIGHT_MAX),
        disabled: *disabled,
        fingerprint: fingerprint.clone(),
        health: Some(health.of(id.as_str())),
    }
}
