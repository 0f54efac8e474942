//! Reads guardrails.

use tollgate_policy::guardrail::Direction;

use super::fields::Fields;
use crate::{
    declare::document::guardrail::{Allowed, Expression, Guardrail},
    literals::{self, guardrail},
};

pub(super) fn guardrail(mut fields: Fields<'_, '_>) -> Guardrail {
    let place = fields.place();
    let read = Guardrail {
        place,
        name: fields.required("name", literals::name).unwrap_or_default(),
        kind: fields.parsed("kind", guardrail::kind),
        builtin: fields.boolean("builtin"),
        rule_file: fields.parsed("rule_file", path),
        rules_toml: fields.text("rules_toml"),
        expressions: fields.tables("expressions", expression),
        words: fields.list("words", text),
        rules: fields.list("rules", literals::pattern),
        on: fields.list("on", guardrail::direction).map(directions),
        action: fields.parsed("action", guardrail::action),
        shadow: fields.boolean("shadow"),
        customers: fields.list("customers", literals::reference),
        teams: fields.list("teams", literals::reference),
        keys: fields.list("keys", literals::pattern),
        models: fields.list("models", literals::pattern),
        allowed: fields.tables("allowed", allowed),
        disabled: fields.boolean("disabled"),
    };
    if fields.names(&["rule_file", "rules_toml"]) > 1 {
        fields.mistake_here("has both rule_file and rules_toml: write one of them");
    }
    fields.close();
    read
}

// An empty list is both for the control plane, which says so.
fn directions(on: Vec<String>) -> Vec<String> {
    if on.is_empty() { Direction::ALL.map(Direction::word).map(str::to_owned).into() } else { on }
}

fn expression(mut fields: Fields<'_, '_>) -> Expression {
    let read = Expression {
        id: fields.required("id", text).unwrap_or_default(),
        regex: fields.required("regex", text).unwrap_or_default(),
    };
    fields.close();
    read
}

fn allowed(mut fields: Fields<'_, '_>) -> Allowed {
    let read = Allowed {
        fingerprint: fields.required("fingerprint", guardrail::fingerprint).unwrap_or_default(),
        until: fields.parsed("until", literals::instant),
        reason: fields.required("reason", text).unwrap_or_default(),
    };
    fields.close();
    read
}

fn text(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("must not be empty".to_owned()) } else { Ok(text.to_owned()) }
}

fn path(path: &str) -> Result<String, String> {
    if path.is_empty() {
        return Err("must be a path, relative to this file; write rules_toml: \"\" for no rule file".to_owned());
    }
    Ok(path.to_owned())
}
