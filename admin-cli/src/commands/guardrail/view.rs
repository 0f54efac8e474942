//! A guardrail as it is shown.

use serde::Serialize;
use tollgate_proto::admin::v1;

use crate::{
    commands::{names::Names, some_or_all, switched},
    literals::printed,
    output::View,
};

/// A guardrail. Ids stand beside names, since a name may change.
#[derive(Serialize)]
pub(super) struct GuardrailView {
    id: String,
    name: String,
    disabled: bool,
    kind: String,
    builtin: Option<bool>,
    rule_file: String,
    expressions: Vec<ExpressionView>,
    words: Vec<String>,
    rules: Vec<String>,
    on: Vec<String>,
    action: String,
    shadow: bool,
    customers: Vec<Owner>,
    teams: Vec<Owner>,
    keys: Vec<String>,
    models: Vec<String>,
    allowed: Vec<AllowedView>,
    etag: String,
    create_time: Option<String>,
    update_time: Option<String>,
}

#[derive(Serialize)]
struct ExpressionView {
    id: String,
    regex: String,
}

#[derive(Serialize)]
struct Owner {
    id: String,
    name: String,
}

#[derive(Serialize)]
struct AllowedView {
    fingerprint: String,
    until: Option<String>,
    reason: String,
}

impl GuardrailView {
    pub(super) fn new(guardrail: v1::Guardrail, names: &Names) -> Self {
        let v1::Guardrail {
            id,
            name,
            disabled,
            kind,
            builtin,
            rule_file,
            expressions,
            words,
            rules,
            on,
            action,
            shadow,
            customers,
            teams,
            keys,
            models,
            allowed,
            etag,
            create_time,
            update_time,
        } = guardrail;
        let owners = |ids: Vec<String>| ids.into_iter().map(|id| Owner { name: names.of(&id), id }).collect();
        let expression = |v1::Expression { id, regex }| ExpressionView { id, regex };
        let allowance = |v1::AllowedFinding { fingerprint, until, reason }| AllowedView {
            fingerprint,
            until: printed(until.as_ref()),
            reason,
        };
        Self {
            id,
            name,
            disabled,
            kind,
            builtin,
            rule_file,
            expressions: expressions.into_iter().map(expression).collect(),
            words,
            rules,
            on,
            action,
            shadow,
            customers: owners(customers),
            teams: owners(teams),
            keys,
            models,
            allowed: allowed.into_iter().map(allowance).collect(),
            etag,
            create_time: printed(create_time.as_ref()),
            update_time: printed(update_time.as_ref()),
        }
    }

    fn scope(&self) -> String {
        let named = |noun: &'static str, owners: &[Owner]| {
            owners.iter().map(|owner| format!("{noun}/{}", owner.name)).collect::<Vec<_>>()
        };
        let all = [named("customer", &self.customers), named("team", &self.teams)].concat();
        if all.is_empty() { "(everybody)".to_owned() } else { all.join(" ") }
    }

    // As it is looked at by people: how much there is, where the rules themselves would fill a screen.
    fn source(&self) -> String {
        let lines = self.rule_file.lines().count();
        match self.kind.as_str() {
            "expressions" => self.expressions.iter().map(|each| each.id.as_str()).collect::<Vec<_>>().join(" "),
            "words" => format!("{} words", self.words.len()),
            _ if self.rule_file.is_empty() => "builtin".to_owned(),
            _ if self.builtin == Some(false) => format!("a file of {lines} lines"),
            _ => format!("builtin, and a file of {lines} lines"),
        }
    }
}

impl View for GuardrailView {
    const PLURAL: &'static str = "guardrails";
    const LISTED: &'static [&'static str] = &["name", "kind", "on", "action", "shadow", "for", "keys", "state", "id"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        let allowed = self.allowed.iter().map(|AllowedView { fingerprint, until, reason }| {
            let until = until.as_ref().map(|until| format!(" until {until}")).unwrap_or_default();
            format!("{fingerprint}{until} ({reason})")
        });
        vec![
            ("name", self.name.clone()),
            ("kind", self.kind.clone()),
            ("source", self.source()),
            ("rules", some_or_all(&self.rules)),
            ("on", self.on.join(" ")),
            ("action", self.action.clone()),
            ("shadow", if self.shadow { "yes".to_owned() } else { String::new() }),
            ("for", self.scope()),
            ("keys", some_or_all(&self.keys)),
            ("models", some_or_all(&self.models)),
            ("allowed", allowed.collect::<Vec<_>>().join("; ")),
            ("state", switched(self.disabled)),
            ("id", self.id.clone()),
            ("etag", self.etag.clone()),
            ("created", self.create_time.clone().unwrap_or_default()),
            ("updated", self.update_time.clone().unwrap_or_default()),
        ]
    }
}
