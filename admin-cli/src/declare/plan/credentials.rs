//! What becomes of a provider's credentials. Their secrets cannot be read, so what is there is told by its reference or its
//! fingerprint.

use serde_json::{Value, json};
use tollgate_proto::admin::v1;

use super::Change;
use crate::declare::{
    document::{Credential, STORED_PREFIX, Secret},
    tree::Mistake,
};

/// The whole list as it will be, and how it differs from what is there.
#[derive(Debug, Default)]
pub(super) struct Credentials {
    /// The declared ones, then those that end later.
    pub(super) written: Vec<v1::Credential>,
    /// The declared ones, with no secret said again.
    pub(super) kept: Vec<v1::Credential>,
    pub(super) changes: Vec<Change>,
    /// The ones that end.
    pub(super) removed: Vec<Change>,
    /// Whether nothing changes but literals that only the control plane can compare.
    pub(super) only_compared: bool,
    pub(super) mistakes: Vec<Mistake>,
}

/// What becomes of one secret.
enum Fate {
    Keeps,
    Changes(Change),
    /// A literal takes the place of a literal, and may be the same.
    Compared(Change),
}

impl Credentials {
    /// Compares the declared list with the one that is there.
    pub(super) fn merge(declared: &[Credential], held: &[Credential], provider: &str) -> Self {
        let mut merged = Self { only_compared: true, ..Self::default() };
        for wanted in declared {
            match held.iter().find(|credential| credential.name == wanted.name) {
                Some(held) => merged.keep(wanted, held, provider),
                None => merged.add(wanted, provider),
            }
        }
        let ending = held.iter().filter(|held| !declared.iter().any(|wanted| wanted.name == held.name));
        for held in ending {
            let Credential { name, secret, weight, disabled, place: _ } = held;
            merged.removed.push(change(format!("credentials.{name}"), json!(secret.shown()), Value::Null));
            merged.written.push(wire(name, String::new(), *weight, *disabled));
        }
        merged
    }

    fn add(&mut self, wanted: &Credential, provider: &str) {
        let Credential { name, secret, weight, disabled, place } = wanted;
        if let Secret::Stored(_) = secret {
            let text = format!(
                "the provider {provider:?} has no credential {name:?} whose secret could stay: write env://NAME, file:///path or the secret"
            );
            self.mistakes.push(Mistake { place: *place, text });
        }
        self.only_compared = false;
        self.changes.push(change(format!("credentials.{name}"), Value::Null, json!(secret.shown())));
        self.written.push(wire(name, said(secret), *weight, *disabled));
        self.kept.push(wire(name, String::new(), *weight, *disabled));
    }

    fn keep(&mut self, wanted: &Credential, held: &Credential, provider: &str) {
        let Credential { name, secret, weight, disabled, place } = wanted;
        let (weight, disabled) = (weight.or(held.weight), disabled.or(held.disabled));
        let mut plain = Vec::new();
        if weight != held.weight {
            plain.push(change(format!("credentials.{name}.weight"), json!(held.weight), json!(weight)));
        }
        if disabled != held.disabled {
            plain.push(change(format!("credentials.{name}.disabled"), json!(held.disabled), json!(disabled)));
        }
        let mut said = said(secret);
        match fate(wanted, held, provider) {
            Ok(Fate::Keeps) => said = String::new(),
            Ok(Fate::Changes(change)) => plain.push(change),
            Ok(Fate::Compared(change)) => self.changes.push(change),
            Err(text) => self.mistakes.push(Mistake { place: *place, text }),
        }
        self.only_compared &= plain.is_empty();
        self.changes.extend(plain);
        self.written.push(wire(name, said, weight, disabled));
        self.kept.push(wire(name, String::new(), weight, disabled));
    }
}

fn fate(wanted: &Credential, held: &Credential, provider: &str) -> Result<Fate, String> {
    let name = &wanted.name;
    let difference =
        || change(format!("credentials.{name}.secret"), json!(held.secret.shown()), json!(wanted.secret.shown()));
    match (&wanted.secret, &held.secret) {
        (Secret::Reference(wanted), Secret::Reference(held)) if wanted == held => Ok(Fate::Keeps),
        (Secret::Literal(_), Secret::Stored(_)) => Ok(Fate::Compared(difference())),
        (Secret::Reference(_) | Secret::Literal(_), _) => Ok(Fate::Changes(difference())),
        (Secret::Stored(wanted), Secret::Stored(held)) if wanted.is_empty() || wanted == held => Ok(Fate::Keeps),
        (Secret::Stored(_), Secret::Stored(_)) => Err(format!(
            "the secret of the credential {name:?} of {provider:?} is another one than the file means; write {STORED_PREFIX} alone to keep \
             whatever is there"
        )),
        (Secret::Stored(_), _) => Err(format!(
            "the credential {name:?} of {provider:?} has the reference {} and no stored secret that could stay",
            held.secret.shown()
        )),
    }
}

// What the wire is told: nothing for a secret that stays.
fn said(secret: &Secret) -> String {
    match secret {
        Secret::Reference(reference) => reference.clone(),
        Secret::Literal(literal) => literal.to_string(),
        Secret::Stored(_) => String::new(),
    }
}

fn wire(name: &str, secret: String, weight: Option<i32>, disabled: Option<bool>) -> v1::Credential {
    let (weight, disabled) = (weight.unwrap_or(1), disabled.unwrap_or_default());
    v1::Credential { name: name.to_owned(), secret, weight, disabled, ..v1::Credential::default() }
}

fn change(field: String, from: Value, to: Value) -> Change {
    Change { field, from, to }
}
