//! Routes as the file writes them: the targets among which is chosen, and what is tried after them, one after the other.

use prost_types::Duration;
use serde::{Serialize, Serializer, ser::SerializeMap as _};
use tollgate_policy::route::{Balance, Conditions};
use tollgate_proto::admin::v1;

use crate::{
    declare::tree::Place,
    literals::route::{conditions, shown_wait, words},
};

/// A route.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Route {
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) models: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) targets: Option<Vec<Target>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fallbacks: Option<Vec<Fallback>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) customers: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) teams: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) keys: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) priority: Option<i32>,
    /// Empty for always.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rule: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) balance: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) first_byte_timeout: Option<Wait>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hedge_after: Option<Wait>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) deadline: Option<Wait>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) strict: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) disabled: Option<bool>,
    #[serde(skip)]
    pub(crate) place: Place,
}

/// How long is waited; `none` for as is usual.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Wait {
    None,
    Of(Duration),
}

/// One target.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Target {
    pub(crate) provider: String,
    /// Empty: as the client names it.
    pub(crate) model: String,
    pub(crate) weight: i32,
}

/// What is tried after a failure: one target, or several among which is chosen.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fallback {
    pub(crate) targets: Vec<Target>,
    pub(crate) on: Conditions,
}

impl Wait {
    /// What the wire has.
    pub(crate) fn held(wire: Option<Duration>) -> Self {
        wire.map_or(Self::None, Self::Of)
    }

    /// For the wire.
    pub(crate) const fn into_wire(self) -> Option<Duration> {
        match self {
            Self::None => None,
            Self::Of(wait) => Some(wait),
        }
    }
}

impl Route {
    /// Without what is as usual.
    pub(crate) fn telling(self) -> Self {
        let is_said = |wait: &Wait| *wait != Wait::None;
        Self {
            rule: self.rule.filter(|rule| !rule.is_empty()),
            balance: self.balance.filter(|balance| balance != Balance::default().word()),
            first_byte_timeout: self.first_byte_timeout.filter(is_said),
            hedge_after: self.hedge_after.filter(is_said),
            deadline: self.deadline.filter(is_said),
            ..self
        }
    }

    /// The providers that it names.
    pub(crate) fn providers_mut(&mut self) -> impl Iterator<Item = &mut String> {
        let fallbacks = self.fallbacks.iter_mut().flatten().flat_map(|fallback| &mut fallback.targets);
        self.targets.iter_mut().flatten().chain(fallbacks).map(|target| &mut target.provider)
    }
}

impl Target {
    /// As the wire says it, whose 0 means 1.
    pub(crate) fn held(target: v1::RouteTarget, name_of: impl Fn(&str) -> String) -> Self {
        let v1::RouteTarget { provider, model, weight } = target;
        Self { provider: name_of(&provider), model, weight: weight.max(1) }
    }

    fn into_wire(self) -> v1::RouteTarget {
        let Self { provider, model, weight } = self;
        v1::RouteTarget { provider, model, weight }
    }

    fn fields<M: serde::ser::SerializeMap>(&self, fields: &mut M) -> Result<(), M::Error> {
        let Self { provider, model, weight } = self;
        fields.serialize_entry("provider", provider)?;
        if !model.is_empty() {
            fields.serialize_entry("model", model)?;
        }
        if *weight != 1 {
            fields.serialize_entry("weight", weight)?;
        }
        Ok(())
    }
}

impl Fallback {
    /// A tier behind the first one.
    pub(crate) fn held(tier: v1::RouteTier, name_of: impl Fn(&str) -> String) -> Self {
        let v1::RouteTier { targets, on } = tier;
        let targets = targets.into_iter().map(|target| Target::held(target, &name_of)).collect();
        Self { targets, on: conditions(&on) }
    }
}

/// The tiers for the wire.
pub(crate) fn tiers(targets: Vec<Target>, fallbacks: Vec<Fallback>) -> Vec<v1::RouteTier> {
    let tier = |targets: Vec<Target>, on: Vec<String>| v1::RouteTier {
        targets: targets.into_iter().map(Target::into_wire).collect(),
        on,
    };
    let mut tiers = vec![tier(targets, Vec::new())];
    tiers.extend(fallbacks.into_iter().map(|Fallback { targets, on }| tier(targets, words(on))));
    tiers
}

impl Serialize for Wait {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None => serializer.serialize_str("none"),
            Self::Of(wait) => serializer.serialize_str(&shown_wait(wait)),
        }
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_map(None)?;
        self.fields(&mut fields)?;
        fields.end()
    }
}

impl Serialize for Fallback {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { targets, on } = self;
        let mut fields = serializer.serialize_map(None)?;
        match targets.as_slice() {
            [only] => only.fields(&mut fields)?,
            several => fields.serialize_entry("targets", several)?,
        }
        if *on != Conditions::default() {
            fields.serialize_entry("on", &words(*on))?;
        }
        fields.end()
    }
}
