//! Plans routes.

use tollgate_proto::admin::v1;

use super::{Call, Drafting, Write, delete, differences};
use crate::declare::{
    document::{
        Kind,
        route::{Route, Wait, tiers},
    },
    state::Existing,
};

/// The fields of a file that are one field of the wire.
const TIERS: [&str; 2] = ["targets", "fallbacks"];

impl Drafting<'_> {
    pub(super) fn routes(&mut self) {
        for declared in &self.document.routes {
            let existing = self.state.routes.get(&declared.name);
            let about = (Kind::Route, declared.name.as_str(), declared.place);
            let changes = differences(existing.map(|existing| &existing.value), declared);
            self.required(existing.is_none() && declared.models.is_none(), "models", about);
            self.required(existing.is_none() && declared.targets.is_none(), "targets", about);
            let write = self.write(existing, &changes, |id, etag| route(declared, existing, id, etag));
            let write = write.map(|write| match write {
                Write::Update(route, mask) => Write::Update(route, masked(mask)),
                other => other,
            });
            self.step(Kind::Route, &declared.name, changes, write.map(Call::Route));
        }
    }

    /// Takes away what the file does not name; before keys and providers, which routes refer to.
    pub(super) fn prune_routes(&mut self) {
        let (state, document) = (self.state, self.document);
        if !document.sections.contains(&Kind::Route) {
            return;
        }
        let named = |name: &String| document.routes.iter().any(|each| each.name == *name);
        for (name, existing) in state.routes.iter().filter(|held| !named(held.0)) {
            self.delete(Kind::Route, name, Some(Call::Route(delete(existing))));
        }
    }
}

fn masked(mut mask: Vec<String>) -> Vec<String> {
    let before = mask.len();
    mask.retain(|field| !TIERS.contains(&field.as_str()));
    if mask.len() < before {
        mask.push("tiers".to_owned());
    }
    mask
}

// The tiers are written whole: what the file does not say of them stays.
fn route(declared: &Route, existing: Option<&Existing<Route>>, id: &str, etag: &str) -> v1::Route {
    let Route {
        name,
        models,
        targets,
        fallbacks,
        customers,
        teams,
        keys,
        priority,
        rule,
        balance,
        first_byte_timeout,
        hedge_after,
        deadline,
        strict,
        disabled,
        place: _,
    } = declared.clone();
    let held = existing.map(|existing| existing.value.clone()).unwrap_or_default();
    let targets = targets.or(held.targets).unwrap_or_default();
    v1::Route {
        id: id.to_owned(),
        name,
        models: models.unwrap_or_default(),
        customers: customers.unwrap_or_default(),
        teams: teams.unwrap_or_default(),
        keys: keys.unwrap_or_default(),
        priority: priority.unwrap_or_default(),
        disabled: disabled.unwrap_or_default(),
        strict: strict.unwrap_or_default(),
        tiers: tiers(targets, fallbacks.or(held.fallbacks).unwrap_or_default()),
        etag: etag.to_owned(),
        create_time: None,
        update_time: None,
        rule: rule.unwrap_or_default(),
        balance: balance.unwrap_or_default(),
        first_byte_timeout: first_byte_timeout.and_then(Wait::into_wire),
        hedge_after: hedge_after.and_then(Wait::into_wire),
        deadline: deadline.and_then(Wait::into_wire),
    }
}
