//! Roles, bindings and service accounts that the control plane has.

use tollgate_proto::admin::v1;

use super::{Existing, State};
use crate::{
    access::{Scope, SelfService, Subject},
    declare::document::{
        Expires,
        access::{Binding, Role, SelfServed, ServiceAccount},
    },
    literals::from_wire,
    quota::ordered,
};

/// A role that the control plane has.
#[derive(Debug)]
pub(crate) struct ExistingRole {
    /// Whether it is part of the program, and so is neither exported nor changed.
    pub(crate) system: bool,
    pub(crate) held: Existing<Role>,
}

pub(super) fn existing_role(role: v1::Role) -> ExistingRole {
    let v1::Role { id, name, display_name, permissions, system, etag, create_time: _, update_time: _ } = role;
    let (display_name, permissions) = (Some(display_name), Some(ordered(permissions)));
    let value = Role { name, display_name, permissions, ..Role::default() };
    ExistingRole { system, held: Existing { id, etag, value } }
}

pub(super) fn existing_service_account(account: v1::ServiceAccount) -> Existing<ServiceAccount> {
    let v1::ServiceAccount { id, name, display_name, disabled, tokens: _, etag, create_time: _, update_time: _ } =
        account;
    let (display_name, disabled) = (Some(display_name), Some(disabled));
    Existing { id, etag, value: ServiceAccount { name, display_name, disabled, ..ServiceAccount::default() } }
}

pub(super) fn existing_self_service(self_service: Option<v1::SelfService>) -> SelfServed {
    self_service.map_or(SelfServed::None, |wire| SelfServed::Granted(SelfService::new(wire)))
}

impl State {
    // One whose subject this version does not know is left alone.
    pub(super) fn existing_binding(&self, binding: v1::Binding) -> Option<Existing<Binding>> {
        let v1::Binding { id, role, expire_time, etag, create_time: _, subject, scope } = binding;
        let name_of = |reference: &str| self.name_of(reference);
        let value = Binding {
            role: self.name_of(&role),
            subject: Subject::new(subject)?.named(name_of),
            scope: Scope::new(scope).named(name_of),
            expires: Some(from_wire(expire_time.as_ref()).map_or(Expires::Never, Expires::At)),
            place: Default::default(),
        };
        Some(Existing { id, etag, value })
    }
}
