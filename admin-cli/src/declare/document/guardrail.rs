//! Guardrails as the file writes them.

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use tollgate_proto::admin::v1;

use crate::{
    declare::tree::Place,
    literals::{from_wire, to_wire},
};

/// A guardrail.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Guardrail {
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) builtin: Option<bool>,
    /// The rule file itself; empty for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rules_toml: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expressions: Option<Vec<Expression>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) words: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rules: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) on: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) action: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) shadow: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) customers: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) teams: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) keys: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) models: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) allowed: Option<Vec<Allowed>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) disabled: Option<bool>,
    /// Where the file says that the rule file lies, relative to itself. It is read into `rules_toml`.
    #[serde(skip)]
    pub(crate) rule_file: Option<String>,
    #[serde(skip)]
    pub(crate) place: Place,
}

/// An expression of one's own.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) struct Expression {
    pub(crate) id: String,
    pub(crate) regex: String,
}

/// Something that is let pass.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) struct Allowed {
    pub(crate) fingerprint: String,
    /// For good where there is none.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "shown")]
    pub(crate) until: Option<Timestamp>,
    pub(crate) reason: String,
}

fn shown<S: Serializer>(until: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match until {
        Some(until) => serializer.collect_str(until),
        None => serializer.serialize_none(),
    }
}

impl Guardrail {
    /// With lists in the order in which they are compared.
    pub(crate) fn in_order(mut self) -> Self {
        let texts =
            [&mut self.words, &mut self.rules, &mut self.on, &mut self.customers, &mut self.teams, &mut self.keys];
        for list in texts.into_iter().chain([&mut self.models]) {
            *list = list.take().map(crate::quota::ordered);
        }
        self.expressions.iter_mut().for_each(|list| list.sort());
        self.allowed.iter_mut().for_each(|list| list.sort());
        self
    }

    /// Without what is as usual.
    pub(crate) fn telling(self) -> Self {
        fn some<T>(list: Option<Vec<T>>) -> Option<Vec<T>> {
            list.filter(|list| !list.is_empty())
        }
        Self {
            builtin: self.builtin.filter(|builtin| !builtin),
            rules_toml: self.rules_toml.filter(|text| !text.is_empty()),
            expressions: some(self.expressions),
            words: some(self.words),
            rules: some(self.rules),
            shadow: self.shadow.filter(|shadow| *shadow),
            customers: some(self.customers),
            teams: some(self.teams),
            keys: some(self.keys),
            models: some(self.models),
            allowed: some(self.allowed),
            disabled: self.disabled.filter(|disabled| *disabled),
            ..self
        }
    }
}

impl Expression {
    /// What the wire has.
    pub(crate) fn held(wire: v1::Expression) -> Self {
        let v1::Expression { id, regex } = wire;
        Self { id, regex }
    }

    /// For the wire.
    pub(crate) fn into_wire(self) -> v1::Expression {
        let Self { id, regex } = self;
        v1::Expression { id, regex }
    }
}

impl Allowed {
    /// What the wire has.
    pub(crate) fn held(wire: v1::AllowedFinding) -> Self {
        let v1::AllowedFinding { fingerprint, until, reason } = wire;
        Self { fingerprint, until: from_wire(until.as_ref()), reason }
    }

    /// For the wire.
    pub(crate) fn into_wire(self) -> v1::AllowedFinding {
        let Self { fingerprint, until, reason } = self;
        v1::AllowedFinding { fingerprint, until: until.map(to_wire), reason }
    }
}
