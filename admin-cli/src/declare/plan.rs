//! What would change, as a pure function of what the control plane has and what the file says.

mod access;
mod credentials;
mod guardrail;
mod mcp;
mod resolve;
mod route;
mod wire;

use std::fmt;

use serde::Serialize;
use serde_json::Value;
use tollgate_policy::{self as policy, time::UnixMillis};
use tollgate_proto::{admin::v1, convert::model::written};

use super::{
    document::{Document, Kind},
    state::{Existing, State, existing_model},
    tree::{Mistake, Place},
};
use credentials::Credentials;

/// The steps, in the order in which they are carried out.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    /// What is as the file says.
    pub(crate) unchanged: Vec<(Kind, String)>,
}

/// One object that changes.
#[derive(Debug, PartialEq)]
pub(crate) struct Step {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) action: Action,
    pub(crate) changes: Vec<Change>,
    pub(crate) call: Call,
}

/// What is done with the object.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Action {
    Create,
    Update,
    /// The file holds a literal secret where the control plane holds one too. Only the control plane can tell whether they are
    /// the same, so it is sent.
    Compare,
    Delete,
}

/// One field that changes.
#[derive(Debug, Eq, PartialEq, Serialize)]
pub(crate) struct Change {
    pub(crate) field: String,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub(crate) from: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub(crate) to: Value,
}

/// The calls that make the change.
#[derive(Clone, PartialEq)]
pub(crate) enum Call {
    Customer(Write<v1::Customer>),
    Team(Write<v1::Team>),
    User(Write<v1::User>),
    Provider(Write<v1::Provider>),
    /// A provider's credentials that end. While a key names one it cannot be deleted, so this follows the keys.
    Trim {
        provider: String,
        credentials: Vec<v1::Credential>,
        etag: String,
    },
    /// The whole row, and whether it is new.
    Model(v1::Model, bool),
    ModelReset(String),
    Route(Write<v1::Route>),
    Guardrail(Write<v1::Guardrail>),
    McpServer(Write<v1::McpServer>),
    Role(Write<v1::Role>),
    ServiceAccount(Write<v1::ServiceAccount>),
    /// The id and etag of the binding that ends, and the one that takes its place.
    Binding {
        ends: Option<(String, String)>,
        begins: Option<v1::Binding>,
    },
    Key {
        write: Option<Write<v1::Key>>,
        revoked: Option<bool>,
        id: String,
    },
}

/// One object that is written.
#[derive(Clone, PartialEq)]
pub(crate) enum Write<T> {
    Create(T),
    /// The object with its id and etag, and the fields that change.
    Update(T, Vec<String>),
    Delete {
        id: String,
        etag: String,
    },
}

/// Collects the plan while objects are compared.
struct Drafting<'a> {
    state: &'a State,
    document: &'a Document,
    plan: Plan,
    /// What must follow the keys.
    trims: Vec<Step>,
    mistakes: Vec<Mistake>,
}

/// Plans what makes the state as the document says. With `prune`, objects of a section of the file that the file does not
/// name are deleted.
///
/// # Errors
/// Everything that the file asks for and that cannot be: a reference to nothing, a field that is fixed after creation.
pub(crate) fn plan(state: &State, document: &Document, prune: bool) -> Result<Plan, Vec<Mistake>> {
    let document = resolve::resolve(state, document, prune)?;
    let mut drafting =
        Drafting { state, document: &document, plan: Plan::default(), trims: Vec::new(), mistakes: Vec::new() };
    drafting.providers();
    drafting.models();
    drafting.customers();
    drafting.teams();
    drafting.users();
    drafting.keys();
    drafting.routes();
    drafting.guardrails();
    drafting.mcp_servers();
    drafting.roles();
    drafting.service_accounts();
    drafting.bindings();
    if prune {
        drafting.prune();
    }
    let Drafting { mut plan, trims, mut mistakes, .. } = drafting;
    // Deletions of keys stand before the credentials that they named, all other deletions behind.
    let keys_end = plan.steps.iter().rposition(|step| step.kind == Kind::Key).map_or(plan.steps.len(), |at| at + 1);
    plan.steps.splice(keys_end..keys_end, trims);
    mistakes.sort();
    if mistakes.is_empty() { Ok(plan) } else { Err(mistakes) }
}

impl Plan {
    /// Whether the state is as the document says, as far as can be known here.
    pub(crate) fn is_empty(&self) -> bool {
        self.steps.iter().all(|step| step.action == Action::Compare)
    }
}

/// Says which call it is, not what it carries: secrets are among that.
impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Customer(_) => "Customer",
            Self::Team(_) => "Team",
            Self::User(_) => "User",
            Self::Provider(_) => "Provider",
            Self::Trim { .. } => "Trim",
            Self::Model(..) => "Model",
            Self::ModelReset(_) => "ModelReset",
            Self::Key { .. } => "Key",
            Self::Route(_) => "Route",
            Self::Guardrail(_) => "Guardrail",
            Self::McpServer(_) => "McpServer",
            Self::Role(_) => "Role",
            Self::ServiceAccount(_) => "ServiceAccount",
            Self::Binding { .. } => "Binding",
        })
    }
}

impl Drafting<'_> {
    fn customers(&mut self) {
        for declared in &self.document.customers {
            let existing = self.state.customers.get(&declared.name);
            let changes = differences(existing.map(|existing| &existing.value), declared);
            let write = self.write(existing, &changes, |id, etag| wire::customer(declared, id, etag));
            self.step(Kind::Customer, &declared.name, changes, write.map(Call::Customer));
        }
    }

    fn teams(&mut self) {
        for declared in &self.document.teams {
            let existing = self.state.teams.get(&declared.name);
            let changes = differences(existing.map(|existing| &existing.value), declared);
            self.fixed(&changes, existing.is_some(), &["customer"], (Kind::Team, &declared.name, declared.place));
            self.required(
                existing.is_none() && declared.customer.is_none(),
                "customer",
                (Kind::Team, &declared.name, declared.place),
            );
            let write = self.write(existing, &changes, |id, etag| wire::team(declared, id, etag));
            self.step(Kind::Team, &declared.name, changes, write.map(Call::Team));
        }
    }

    fn users(&mut self) {
        for declared in &self.document.users {
            let existing = self.state.users.get(&declared.name);
            let changes = differences(existing.map(|existing| &existing.value), declared);
            let write = self.write(existing, &changes, |id, etag| wire::user(declared, id, etag));
            self.step(Kind::User, &declared.name, changes, write.map(Call::User));
        }
    }

    fn providers(&mut self) {
        for declared in &self.document.providers {
            let existing = self.state.providers.get(&declared.name);
            let about = (Kind::Provider, declared.name.as_str(), declared.place);
            let mut changes = differences(existing.map(|existing| &existing.value), declared);
            changes.retain(|change| change.field != "credentials");
            self.fixed(&changes, existing.is_some(), &["dialect"], about);
            self.required(existing.is_none() && declared.dialect.is_none(), "dialect", about);
            self.required(existing.is_none() && declared.base_url.is_none(), "base_url", about);
            let held = existing.and_then(|existing| existing.value.credentials.as_deref()).unwrap_or_default();
            let merged = declared.credentials.as_deref().map(|wanted| Credentials::merge(wanted, held, &declared.name));
            let credentials = merged.unwrap_or_default();
            self.mistakes.extend(credentials.mistakes);
            let plain = changes.is_empty();
            let mut mask = fields(&changes);
            if !credentials.changes.is_empty() {
                mask.push("credentials".to_owned());
            }
            changes.extend(credentials.changes);
            let compare = plain && credentials.only_compared && !changes.is_empty();
            let write = match existing {
                None => Some(Write::Create(wire::provider(declared, "", "", credentials.written))),
                Some(_) if mask.is_empty() => None,
                Some(Existing { id, etag, .. }) => {
                    Some(Write::Update(wire::provider(declared, id, etag, credentials.written), mask))
                }
            };
            let steps = self.plan.steps.len();
            let trimmed = !credentials.removed.is_empty();
            if write.is_some() || !trimmed {
                self.step(Kind::Provider, &declared.name, changes, write.map(Call::Provider));
            }
            if let Some(step) = self.plan.steps.get_mut(steps)
                && compare
            {
                step.action = Action::Compare;
            }
            if let (true, Some(Existing { id, etag, .. })) = (trimmed, existing) {
                // After an earlier step the etag is another one, which is then taken from its answer.
                let call = Call::Trim { provider: id.clone(), credentials: credentials.kept, etag: etag.clone() };
                let (name, changes) = (declared.name.clone(), credentials.removed);
                self.trims.push(Step { kind: Kind::Provider, name, action: Action::Update, changes, call });
            }
        }
    }

    fn models(&mut self) {
        for declared in &self.document.models {
            let held = self.state.models.get(&declared.name);
            let about = (Kind::Model, declared.name.as_str(), declared.place);
            let unpriced = !held.is_some_and(|held| held.priced) && wire::prices(declared);
            self.required(unpriced && declared.rates.input.is_none(), "input", about);
            self.required(unpriced && declared.rates.output.is_none(), "output", about);
            // The control plane's own reading says what the row will be: what is left out of a price is not nothing.
            let row = wire::model(declared, held.map(|held| &held.value));
            let wanted = match policy::snapshot::Model::try_from(row.clone()) {
                Ok(model) => existing_model(written(&model, "", UnixMillis::default())).value,
                Err(invalid) => {
                    let mistake = |(field, problem)| Mistake {
                        place: declared.place,
                        text: format!("the model {:?}: {field} {problem}", declared.name),
                    };
                    self.mistakes.extend(invalid.fields().map(mistake));
                    continue;
                }
            };
            let changes = differences(held.map(|held| &held.value), &wanted);
            let call = (held.is_none() || !changes.is_empty()).then_some(Call::Model(row, held.is_none()));
            self.step(Kind::Model, &declared.name, changes, call);
        }
    }

    fn keys(&mut self) {
        for declared in &self.document.keys {
            let existing = self.state.keys.get(&declared.name);
            let about = (Kind::Key, declared.name.as_str(), declared.place);
            let changes = differences(existing.map(|existing| &existing.value), declared);
            self.fixed(&changes, existing.is_some(), &["team"], about);
            self.required(existing.is_none() && declared.team.is_none(), "team", about);
            let switched = changes.iter().any(|change| change.field == "revoked");
            let revoked = match existing {
                None => declared.revoked.filter(|revoked| *revoked),
                Some(_) => declared.revoked.filter(|_| switched),
            };
            let write = match existing {
                None => Some(Write::Create(wire::key(declared, "", ""))),
                Some(Existing { id, etag, .. }) => {
                    let mask = fields(&changes);
                    (!mask.is_empty()).then(|| Write::Update(wire::key(declared, id, etag), mask))
                }
            };
            let id = existing.map(|existing| existing.id.clone()).unwrap_or_default();
            let call = (write.is_some() || revoked.is_some()).then_some(Call::Key { write, revoked, id });
            self.step(Kind::Key, &declared.name, changes, call);
        }
    }

    // Bindings, routes, guardrails, servers of tools and keys first and providers last: what refers goes before what is referred to.
    fn prune(&mut self) {
        self.prune_bindings();
        self.prune_access();
        self.prune_routes();
        self.prune_guardrails();
        self.prune_mcp_servers();
        let (state, document) = (self.state, self.document);
        let sections = &document.sections;
        let gone = |kind: Kind, names: Vec<&String>, declared: Vec<&String>| -> Vec<String> {
            let named = names.into_iter().filter(|name| sections.contains(&kind) && !declared.contains(name));
            named.cloned().collect()
        };
        for name in gone(Kind::Key, state.keys.keys().collect(), document.keys.iter().map(|each| &each.name).collect())
        {
            let write = state.keys.get(&name).map(delete);
            self.delete(
                Kind::Key,
                &name,
                write.map(|write| Call::Key { write: Some(write), revoked: None, id: String::new() }),
            );
        }
        for name in
            gone(Kind::User, state.users.keys().collect(), document.users.iter().map(|each| &each.name).collect())
        {
            self.delete(Kind::User, &name, state.users.get(&name).map(delete).map(Call::User));
        }
        for name in
            gone(Kind::Team, state.teams.keys().collect(), document.teams.iter().map(|each| &each.name).collect())
        {
            self.delete(Kind::Team, &name, state.teams.get(&name).map(delete).map(Call::Team));
        }
        for name in gone(
            Kind::Customer,
            state.customers.keys().collect(),
            document.customers.iter().map(|each| &each.name).collect(),
        ) {
            self.delete(Kind::Customer, &name, state.customers.get(&name).map(delete).map(Call::Customer));
        }
        let overridden = state.models.iter().filter(|model| model.1.overridden).map(|model| model.0).collect();
        for name in gone(Kind::Model, overridden, document.models.iter().map(|each| &each.name).collect()) {
            self.delete(Kind::Model, &name, Some(Call::ModelReset(name.clone())));
        }
        for name in gone(
            Kind::Provider,
            state.providers.keys().collect(),
            document.providers.iter().map(|each| &each.name).collect(),
        ) {
            self.delete(Kind::Provider, &name, state.providers.get(&name).map(delete).map(Call::Provider));
        }
    }

    fn write<T, W>(
        &self,
        existing: Option<&Existing<T>>,
        changes: &[Change],
        wire: impl Fn(&str, &str) -> W,
    ) -> Option<Write<W>> {
        match existing {
            None => Some(Write::Create(wire("", ""))),
            Some(_) if changes.is_empty() => None,
            Some(Existing { id, etag, .. }) => Some(Write::Update(wire(id, etag), fields(changes))),
        }
    }

    fn step(&mut self, kind: Kind, name: &str, changes: Vec<Change>, call: Option<Call>) {
        let Some(call) = call else { return self.plan.unchanged.push((kind, name.to_owned())) };
        let created = matches!(
            &call,
            Call::Customer(Write::Create(_))
                | Call::Team(Write::Create(_))
                | Call::User(Write::Create(_))
                | Call::Provider(Write::Create(_))
                | Call::Model(_, true)
                | Call::Route(Write::Create(_))
                | Call::Guardrail(Write::Create(_))
                | Call::McpServer(Write::Create(_))
                | Call::Key { write: Some(Write::Create(_)), .. }
        ) || access::creates(&call);
        let action = if created { Action::Create } else { Action::Update };
        self.plan.steps.push(Step { kind, name: name.to_owned(), action, changes, call });
    }

    fn delete(&mut self, kind: Kind, name: &str, call: Option<Call>) {
        let step = |call| Step { kind, name: name.to_owned(), action: Action::Delete, changes: Vec::new(), call };
        self.plan.steps.extend(call.map(step));
    }

    fn fixed(&mut self, changes: &[Change], exists: bool, fields: &[&str], about: (Kind, &str, Place)) {
        let (kind, name, place) = about;
        for change in changes.iter().filter(|change| exists && fields.contains(&change.field.as_str())) {
            let Change { field, from, to } = change;
            let text = format!(
                "the {} {name:?} has the {field} {from}, which is fixed after creation and cannot become {to}",
                kind.noun()
            );
            self.mistakes.push(Mistake { place, text });
        }
    }

    fn required(&mut self, missing: bool, field: &str, about: (Kind, &str, Place)) {
        let (kind, name, place) = about;
        if missing {
            let text = format!("the {} {name:?} does not exist yet, and needs {field} to be created", kind.noun());
            self.mistakes.push(Mistake { place, text });
        }
    }
}

fn delete<T, W>(existing: &Existing<T>) -> Write<W> {
    Write::Delete { id: existing.id.clone(), etag: existing.etag.clone() }
}

/// The fields that differ. What the declared object does not name does not.
fn differences<T: Serialize>(existing: Option<&T>, declared: &T) -> Vec<Change> {
    let fields = |object: &T| match serde_json::to_value(object) {
        Ok(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let held = existing.map(fields).unwrap_or_default();
    let named = fields(declared).into_iter().filter(|(field, _)| field != "name" && field != "model");
    let differing = named.filter(|(field, to)| held.get(field) != Some(to));
    differing.map(|(field, to)| Change { from: held.get(&field).cloned().unwrap_or_default(), field, to }).collect()
}

/// The mask of an update: the wire's names of what changes.
fn fields(changes: &[Change]) -> Vec<String> {
    let wire = |field: &str| match field {
        // A revocation has its own call.
        "revoked" => None,
        "expires" => Some("expire_time".to_owned()),
        other => Some(other.to_owned()),
    };
    changes.iter().filter_map(|change| wire(&change.field)).collect()
}

#[cfg(test)]
mod tests;
