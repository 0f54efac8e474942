//! Reads routes.

use prost_types::Duration;

use super::fields::Fields;
use crate::{
    declare::document::route::{Fallback, Route, Target, Wait},
    literals::{self, WEIGHT_MAX, route},
};

pub(super) fn route(mut fields: Fields<'_, '_>) -> Route {
    let place = fields.place();
    let model = fields.parsed("model", literals::pattern).map(|model| vec![model]);
    let models = fields.list("models", literals::pattern);
    if fields.names(&["model", "models"]) > 1 {
        fields.mistake_here("has both model and models: write the list alone");
    }
    let models = models.or(model);
    if models.as_ref().is_some_and(Vec::is_empty) {
        fields.mistake(place, "models", "must not be empty; write \"*\" for every model");
    }
    let name = fields.parsed("name", literals::name);
    let named_after = models.as_deref().and_then(route::route_name);
    if fields.names(&["name", "model", "models"]) == 0 {
        fields.mistake_here("needs a name or models");
    } else if name.is_none() && named_after.is_none() && fields.names(&["name"]) == 0 {
        fields.mistake_here("needs a name: none can be made of its models");
    }
    let read = Route {
        place,
        name: name.or(named_after).unwrap_or_default(),
        models,
        targets: fields.tables("targets", target),
        fallbacks: fields.tables("fallbacks", fallback),
        customers: fields.list("customers", literals::reference),
        teams: fields.list("teams", literals::reference),
        keys: fields.list("keys", literals::reference),
        priority: fields
            .integer("priority", i32::MIN.into(), i32::MAX.into())
            .and_then(|number| i32::try_from(number).ok()),
        rule: fields.parsed("rule", rule),
        balance: fields.parsed("balance", route::balance),
        first_byte_timeout: fields.parsed("first_byte_timeout", |text| wait(text, route::first_byte_timeout)),
        hedge_after: fields.parsed("hedge_after", |text| wait(text, route::hedge_after)),
        deadline: fields.parsed("deadline", |text| wait(text, route::deadline)),
        strict: fields.boolean("strict"),
        disabled: fields.boolean("disabled"),
    };
    if read.targets.as_ref().is_some_and(Vec::is_empty) {
        fields.mistake(place, "targets", "must be at least one");
    }
    fields.close();
    read
}

fn target(mut fields: Fields<'_, '_>) -> Target {
    let read = Target {
        provider: fields.required("provider", literals::reference).unwrap_or_default(),
        model: fields.parsed("model", model).unwrap_or_default(),
        weight: weight(&mut fields),
    };
    fields.close();
    read
}

// One target with its fields, or a list of several.
fn fallback(mut fields: Fields<'_, '_>) -> Fallback {
    let targets = fields.tables("targets", target);
    let provider = fields.parsed("provider", literals::reference);
    let only = Target {
        provider: provider.clone().unwrap_or_default(),
        model: fields.parsed("model", model).unwrap_or_default(),
        weight: weight(&mut fields),
    };
    let on = fields.list("on", route::condition);
    let alone = fields.names(&["provider", "model", "weight"]);
    match &targets {
        Some(targets) if targets.is_empty() || alone > 0 => {
            fields.mistake_here("has targets, which must not be empty, or else the fields of one target");
        }
        None if fields.names(&["provider", "targets"]) == 0 => fields.mistake_here("needs a provider"),
        _ => {}
    }
    let on = on.filter(|on| !on.is_empty()).map(|on| on.into_iter().collect()).unwrap_or_default();
    fields.close();
    Fallback { targets: targets.unwrap_or_else(|| vec![only]), on }
}

fn rule(text: &str) -> Result<String, String> {
    if text.is_empty() { Ok(String::new()) } else { route::rule(text) }
}

fn wait(text: &str, read: fn(&str) -> Result<Duration, String>) -> Result<Wait, String> {
    if text == "none" {
        return Ok(Wait::None);
    }
    read(text).map(Wait::Of).map_err(|reason| format!("{reason}, or none"))
}

fn model(text: &str) -> Result<String, String> {
    if text.is_empty() { Ok(String::new()) } else { route::target_model(text) }
}

fn weight(fields: &mut Fields<'_, '_>) -> i32 {
    fields.integer("weight", 1, WEIGHT_MAX.into()).and_then(|number| i32::try_from(number).ok()).unwrap_or(1)
}
