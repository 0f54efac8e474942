//! Reads roles, bindings and service accounts, and what the developers of a team may do for themselves.

use tollgate_proto::admin::v1;

use super::{expires, fields::Fields, name};
use crate::{
    access::{Scope, SelfService, Subject},
    declare::document::access::{Binding, Role, SelfServed, ServiceAccount},
    literals,
};

/// What is said of a binding that gives a role to nobody, or to two.
const SUBJECT: &str = "must have one of user, group and service_account";
/// What is said of a binding that holds in two places.
const SCOPE: &str = "must have at most one of customer, team and own";
/// The most keys that a team may allow to one developer.
const KEYS_MAX: i64 = 100;

pub(super) fn role(mut fields: Fields<'_, '_>) -> Role {
    let role = Role {
        place: fields.place(),
        name: name(&mut fields),
        display_name: fields.text("display_name"),
        permissions: fields.list("permissions", literals::permission),
    };
    fields.close();
    role
}

pub(super) fn service_account(mut fields: Fields<'_, '_>) -> ServiceAccount {
    let account = ServiceAccount {
        place: fields.place(),
        name: name(&mut fields),
        display_name: fields.text("display_name"),
        disabled: fields.boolean("disabled"),
    };
    fields.close();
    account
}

pub(super) fn binding(mut fields: Fields<'_, '_>) -> Binding {
    let place = fields.place();
    let role = fields.required("role", literals::reference).unwrap_or_default();
    let subjects = [
        fields.parsed("user", literals::reference).map(Subject::User),
        fields.parsed("group", literals::group).map(Subject::Group),
        fields.parsed("service_account", literals::reference).map(Subject::ServiceAccount),
    ];
    let scopes = [
        fields.parsed("customer", literals::reference).map(Scope::Customer),
        fields.parsed("team", literals::reference).map(Scope::Team),
        fields.boolean("own").map(|own| if own { Scope::Own } else { Scope::Everywhere }),
    ];
    let expires = fields.parsed("expires", expires);
    if fields.names(&["user", "group", "service_account"]) != 1 {
        fields.mistake_here(SUBJECT);
    }
    if fields.names(&["customer", "team", "own"]) > 1 {
        fields.mistake_here(SCOPE);
    }
    fields.close();
    // Nobody stands for what has been reported already.
    let subject = subjects.into_iter().flatten().next().unwrap_or(Subject::Group(String::new()));
    let scope = scopes.into_iter().flatten().next().unwrap_or_default();
    Binding { role, subject, scope, expires, place }
}

/// Reads the field of a team.
pub(super) fn self_service(fields: &mut Fields<'_, '_>) -> Option<SelfServed> {
    fields.one_of("self_service", "none", granted).map(|granted| granted.map_or(SelfServed::None, SelfServed::Granted))
}

fn granted(mut fields: Fields<'_, '_>) -> SelfService {
    let keys = fields.required_integer("keys", 1, KEYS_MAX);
    let granted = v1::SelfService {
        keys_max: keys.and_then(|keys| i32::try_from(keys).ok()).unwrap_or_default(),
        key_life_max: fields.parsed("key_life", literals::life),
        token_life_max: fields.parsed("token_life", literals::life),
        models: fields.list("models", literals::pattern).unwrap_or_default(),
    };
    fields.close();
    SelfService::new(granted)
}
