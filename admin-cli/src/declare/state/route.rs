//! Routes and providers that the control plane has.

use tollgate_policy::route::Balance;
use tollgate_proto::admin::v1;

use super::{Existing, State, existing_credential};
use crate::{
    declare::document::{
        Provider,
        route::{Fallback, Route, Target, Wait},
    },
    quota::ordered,
};

pub(super) fn existing_provider(provider: v1::Provider) -> Existing<Provider> {
    let v1::Provider {
        id,
        name,
        dialect,
        base_url,
        allow_private,
        models,
        vendor,
        disabled,
        priority,
        credentials,
        etag,
        create_time: _,
        update_time: _,
        auth,
        region,
        quirks,
        health: _,
    } = provider;
    let value = Provider {
        name,
        dialect: Some(dialect),
        base_url: Some(base_url),
        allow_private: Some(allow_private),
        models: Some(ordered(models)),
        vendor: Some(vendor),
        priority: Some(priority),
        disabled: Some(disabled),
        auth: Some(auth),
        region: Some(region),
        quirks: Some(ordered(quirks)),
        credentials: Some(credentials.into_iter().map(existing_credential).collect()),
        ..Provider::default()
    };
    Existing { id, etag, value }
}

impl State {
    pub(super) fn existing_route(&self, route: v1::Route) -> Existing<Route> {
        let v1::Route {
            id,
            name,
            models,
            customers,
            teams,
            keys,
            priority,
            disabled,
            strict,
            tiers,
            etag,
            create_time: _,
            update_time: _,
            rule,
            balance,
            first_byte_timeout,
            hedge_after,
            deadline,
        } = route;
        let name_of = |reference: &str| self.name_of(reference);
        let named = |references: Vec<String>| ordered(references.iter().map(|each| name_of(each)).collect());
        let mut tiers = tiers.into_iter();
        let first = tiers.next().unwrap_or_default();
        let value = Route {
            name,
            models: Some(ordered(models)),
            targets: Some(first.targets.into_iter().map(|target| Target::held(target, name_of)).collect()),
            fallbacks: Some(tiers.map(|tier| Fallback::held(tier, name_of)).collect()),
            customers: Some(named(customers)),
            teams: Some(named(teams)),
            keys: Some(named(keys)),
            priority: Some(priority),
            rule: Some(rule),
            // What does not say knows but one way.
            balance: Some(if balance.is_empty() { Balance::default().word().to_owned() } else { balance }),
            first_byte_timeout: Some(Wait::held(first_byte_timeout)),
            hedge_after: Some(Wait::held(hedge_after)),
            deadline: Some(Wait::held(deadline)),
            strict: Some(strict),
            disabled: Some(disabled),
            ..Route::default()
        };
        Existing { id, etag, value }
    }
}
