//! Plans roles, service accounts and bindings.

use serde_json::Value;
use tollgate_proto::admin::v1;

use super::{Action, Call, Change, Drafting, Step, Write, delete, differences};
use crate::{
    declare::{
        document::{
            Expires, Kind,
            access::{Binding, Role, ServiceAccount},
        },
        state::Existing,
        tree::Mistake,
    },
    literals::to_wire,
};

impl Drafting<'_> {
    pub(super) fn roles(&mut self) {
        for declared in &self.document.roles {
            let existing = self.state.roles.get(&declared.name);
            let about = (Kind::Role, declared.name.as_str(), declared.place);
            let changes = differences(existing.map(|existing| &existing.held.value), declared);
            if existing.is_some_and(|existing| existing.system) && !changes.is_empty() {
                let text = format!("the role {:?} is part of the program and cannot be changed", declared.name);
                self.mistakes.push(Mistake { place: declared.place, text });
            }
            self.required(existing.is_none() && declared.permissions.is_none(), "permissions", about);
            let held = existing.map(|existing| &existing.held);
            let write = self.write(held, &changes, |id, etag| role(declared, id, etag));
            self.step(Kind::Role, &declared.name, changes, write.map(Call::Role));
        }
    }

    pub(super) fn service_accounts(&mut self) {
        for declared in &self.document.service_accounts {
            let existing = self.state.service_accounts.get(&declared.name);
            let changes = differences(existing.map(|existing| &existing.value), declared);
            let write = self.write(existing, &changes, |id, etag| service_account(declared, id, etag));
            self.step(Kind::ServiceAccount, &declared.name, changes, write.map(Call::ServiceAccount));
        }
    }

    // A binding does not change: one with another end takes the place of the one that is there.
    pub(super) fn bindings(&mut self) {
        for declared in &self.document.bindings {
            let title = declared.title();
            let Some(Existing { id, etag, value }) = self.state.bindings.get(&title) else {
                let changes = declared.end().map(|_| end_change(None, declared)).into_iter().collect();
                let call = Call::Binding { ends: None, begins: Some(binding(declared)) };
                self.step(Kind::Binding, &title, changes, Some(call));
                continue;
            };
            let differs = declared.expires.is_some_and(|expires| Some(expires) != value.expires);
            let call = differs
                .then(|| Call::Binding { ends: Some((id.clone(), etag.clone())), begins: Some(binding(declared)) });
            let changes = differs.then(|| end_change(value.expires, declared)).into_iter().collect();
            self.step(Kind::Binding, &title, changes, call);
        }
    }

    /// Takes away what the file does not name; before anything else is deleted, since bindings refer to it.
    pub(super) fn prune_bindings(&mut self) {
        if !self.document.sections.contains(&Kind::Binding) {
            return;
        }
        let declared: Vec<_> = self.document.bindings.iter().map(Binding::title).collect();
        for (title, Existing { id, etag, .. }) in self.state.bindings.iter().filter(|held| !declared.contains(held.0)) {
            let call = Call::Binding { ends: Some((id.clone(), etag.clone())), begins: None };
            let (name, changes) = (title.clone(), Vec::new());
            self.plan.steps.push(Step { kind: Kind::Binding, name, action: Action::Delete, changes, call });
        }
    }

    pub(super) fn prune_access(&mut self) {
        let (state, document) = (self.state, self.document);
        if document.sections.contains(&Kind::ServiceAccount) {
            let named = |name: &String| document.service_accounts.iter().any(|each| each.name == *name);
            for (name, existing) in state.service_accounts.iter().filter(|held| !named(held.0)) {
                self.delete(Kind::ServiceAccount, name, Some(Call::ServiceAccount(delete(existing))));
            }
        }
        if document.sections.contains(&Kind::Role) {
            let named = |name: &String| document.roles.iter().any(|each| each.name == *name);
            for (name, existing) in state.roles.iter().filter(|held| !held.1.system && !named(held.0)) {
                self.delete(Kind::Role, name, Some(Call::Role(delete(&existing.held))));
            }
        }
    }
}

/// Whether the call creates something.
pub(super) fn creates(call: &Call) -> bool {
    matches!(
        call,
        Call::Role(Write::Create(_))
            | Call::ServiceAccount(Write::Create(_))
            | Call::Binding { ends: None, begins: Some(_) }
    )
}

fn end_change(from: Option<Expires>, declared: &Binding) -> Change {
    let shown = |expires: Option<Expires>| serde_json::to_value(expires).unwrap_or(Value::Null);
    Change { field: "expires".to_owned(), from: shown(from), to: shown(declared.expires) }
}

fn role(declared: &Role, id: &str, etag: &str) -> v1::Role {
    let Role { name, display_name, permissions, place: _ } = declared.clone();
    v1::Role {
        id: id.to_owned(),
        etag: etag.to_owned(),
        name,
        display_name: display_name.unwrap_or_default(),
        permissions: permissions.unwrap_or_default(),
        ..v1::Role::default()
    }
}

fn service_account(declared: &ServiceAccount, id: &str, etag: &str) -> v1::ServiceAccount {
    let ServiceAccount { name, display_name, disabled, place: _ } = declared.clone();
    v1::ServiceAccount {
        id: id.to_owned(),
        etag: etag.to_owned(),
        name,
        display_name: display_name.unwrap_or_default(),
        disabled: disabled.unwrap_or_default(),
        ..v1::ServiceAccount::default()
    }
}

fn binding(declared: &Binding) -> v1::Binding {
    let expire_time = declared.end().map(to_wire);
    let Binding { role, subject, scope, expires: _, place: _ } = declared.clone();
    v1::Binding {
        role,
        subject: Some(subject.into_wire()),
        scope: scope.into_wire(),
        expire_time,
        ..v1::Binding::default()
    }
}
