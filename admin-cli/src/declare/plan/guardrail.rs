//! Plans guardrails.

use serde_json::{Value, json};
use tollgate_proto::admin::v1;

use super::{Call, Change, Drafting, Write, delete, differences};
use crate::declare::document::{
    Kind,
    guardrail::{Allowed, Expression, Guardrail},
};

/// The field of a file whose text is longer than people read in a plan.
const RULES_TOML: &str = "rules_toml";

impl Drafting<'_> {
    pub(super) fn guardrails(&mut self) {
        for declared in &self.document.guardrails {
            let existing = self.state.guardrails.get(&declared.name);
            let about = (Kind::Guardrail, declared.name.as_str(), declared.place);
            let changes = differences(existing.map(|existing| &existing.value), declared);
            self.required(existing.is_none() && declared.kind.is_none(), "kind", about);
            self.required(existing.is_none() && declared.action.is_none(), "action", about);
            let write = self.write(existing, &changes, |id, etag| guardrail(declared, id, etag));
            let write = write.map(|write| match write {
                Write::Update(guardrail, mask) => Write::Update(guardrail, masked(mask)),
                other => other,
            });
            let changes = changes.into_iter().map(shortened).collect();
            self.step(Kind::Guardrail, &declared.name, changes, write.map(Call::Guardrail));
        }
    }

    /// Takes away what the file does not name; before teams and customers, which guardrails refer to.
    pub(super) fn prune_guardrails(&mut self) {
        let (state, document) = (self.state, self.document);
        if !document.sections.contains(&Kind::Guardrail) {
            return;
        }
        let named = |name: &String| document.guardrails.iter().any(|each| each.name == *name);
        for (name, existing) in state.guardrails.iter().filter(|held| !named(held.0)) {
            self.delete(Kind::Guardrail, name, Some(Call::Guardrail(delete(existing))));
        }
    }
}

fn masked(mask: Vec<String>) -> Vec<String> {
    mask.into_iter().map(|field| if field == RULES_TOML { "rule_file".to_owned() } else { field }).collect()
}

fn shortened(change: Change) -> Change {
    let lines =
        |text: Value| text.as_str().map(|text| json!(format!("{} lines", text.lines().count()))).unwrap_or(text);
    match change.field.as_str() {
        RULES_TOML => Change { from: lines(change.from), to: lines(change.to), ..change },
        _ => change,
    }
}

fn guardrail(declared: &Guardrail, id: &str, etag: &str) -> v1::Guardrail {
    let Guardrail {
        name,
        kind,
        builtin,
        rules_toml,
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
        disabled,
        rule_file: _,
        place: _,
    } = declared.clone();
    v1::Guardrail {
        id: id.to_owned(),
        name,
        disabled: disabled.unwrap_or_default(),
        kind: kind.unwrap_or_default(),
        builtin,
        rule_file: rules_toml.unwrap_or_default(),
        expressions: expressions.unwrap_or_default().into_iter().map(Expression::into_wire).collect(),
        words: words.unwrap_or_default(),
        rules: rules.unwrap_or_default(),
        on: on.unwrap_or_default(),
        action: action.unwrap_or_default(),
        shadow: shadow.unwrap_or_default(),
        customers: customers.unwrap_or_default(),
        teams: teams.unwrap_or_default(),
        keys: keys.unwrap_or_default(),
        models: models.unwrap_or_default(),
        allowed: allowed.unwrap_or_default().into_iter().map(Allowed::into_wire).collect(),
        etag: etag.to_owned(),
        create_time: None,
        update_time: None,
    }
}
