//! Guardrails that the control plane has.

use tollgate_proto::admin::v1;

use super::{Existing, State};
use crate::declare::document::guardrail::{Allowed, Expression, Guardrail};

impl State {
    pub(super) fn existing_guardrail(&self, guardrail: v1::Guardrail) -> Existing<Guardrail> {
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
            create_time: _,
            update_time: _,
        } = guardrail;
        let named = |references: Vec<String>| references.iter().map(|each| self.name_of(each)).collect();
        let value = Guardrail {
            name,
            kind: Some(kind),
            builtin,
            rules_toml: Some(rule_file),
            expressions: Some(expressions.into_iter().map(Expression::held).collect()),
            words: Some(words),
            rules: Some(rules),
            on: Some(on),
            action: Some(action),
            shadow: Some(shadow),
            customers: Some(named(customers)),
            teams: Some(named(teams)),
            keys: Some(keys),
            models: Some(models),
            allowed: Some(allowed.into_iter().map(Allowed::held).collect()),
            disabled: Some(disabled),
            ..Guardrail::default()
        };
        Existing { id, etag, value: value.in_order() }
    }
}
