//! Budgets and limits as the file writes them. What is usual is left out, so that an export is short and a difference shows.

use serde::{Serialize, Serializer};
use tollgate_policy::money::NanoUsd;
use tollgate_proto::admin::v1;

use crate::{
    literals::quota::{shown_grace, shown_seconds},
    quota::{Budget, RateLimit, SessionLimit, alignment_word, enforcement_word, holding_word, measure_word},
};

/// What an owner may spend and how fast: fields of a customer, a team, a user or a key.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Quota {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) budgets: Option<Vec<Budget>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limits: Option<Vec<RateLimit>>,
    /// `none` for no such limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) session_limit: Option<Session>,
}

/// What one agent session may do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Session {
    None,
    Limited(SessionLimit),
}

#[derive(Serialize)]
struct BudgetFields<'b> {
    limit: String,
    window: &'b str,
    #[serde(skip_serializing_if = "is_usual")]
    align: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    time_zone: &'b str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    models: &'b [String],
    #[serde(skip_serializing_if = "str::is_empty")]
    provider: &'b str,
    #[serde(skip_serializing_if = "is_usual")]
    enforcement: &'static str,
    #[serde(skip_serializing_if = "is_usual")]
    holding: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    thresholds: Option<&'b [i32]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grace: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    contact: &'b str,
}

#[derive(Serialize)]
struct LimitFields<'l> {
    #[serde(skip_serializing_if = "Option::is_none")]
    requests: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    per: Option<String>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    models: &'l [String],
}

#[derive(Serialize)]
struct SessionFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    dollars: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requests: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repeats: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pause: Option<String>,
}

// === impl Quota ===

impl Quota {
    /// What an owner of the wire has, with every field set.
    pub(crate) fn held(
        budgets: Vec<v1::Budget>,
        limits: Vec<v1::RateLimit>,
        session_limit: Option<v1::SessionLimit>,
        name_of: impl Fn(&str) -> String,
    ) -> Self {
        let quota = Self {
            budgets: Some(budgets.into_iter().map(|wire| Budget::new(wire).named(&name_of)).collect()),
            limits: Some(limits.into_iter().map(RateLimit::new).collect()),
            session_limit: Some(session_limit.and_then(SessionLimit::new).map_or(Session::None, Session::Limited)),
        };
        quota.in_order()
    }

    /// The lists, whose order means nothing, in the order in which they are compared.
    pub(crate) fn in_order(mut self) -> Self {
        if let Some(budgets) = &mut self.budgets {
            budgets.sort_by(|one, other| one.identity().cmp(&other.identity()));
        }
        if let Some(limits) = &mut self.limits {
            limits.sort_by(|one, other| one.rank().cmp(&other.rank()));
        }
        self
    }

    /// Only what holds its owner back.
    pub(crate) fn braking(self) -> Self {
        Self {
            budgets: self.budgets.filter(|budgets| !budgets.is_empty()),
            limits: self.limits.filter(|limits| !limits.is_empty()),
            session_limit: self.session_limit.filter(|session| *session != Session::None),
        }
    }

    /// The fields of the wire.
    pub(crate) fn into_wire(self) -> (Vec<v1::Budget>, Vec<v1::RateLimit>, Option<v1::SessionLimit>) {
        let session_limit = match self.session_limit {
            Some(Session::Limited(limit)) => Some(limit.wire()),
            Some(Session::None) | None => None,
        };
        let budgets = self.budgets.into_iter().flatten().map(Budget::into_wire).collect();
        (budgets, self.limits.into_iter().flatten().map(RateLimit::into_wire).collect(), session_limit)
    }
}

// === impl Serialize ===

impl Serialize for Budget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let budget = self.wire();
        let fields = BudgetFields {
            limit: dollars(budget.limit_nano_usd),
            window: &budget.window,
            align: alignment_word(budget),
            time_zone: &budget.time_zone,
            models: &budget.models,
            provider: &budget.provider,
            enforcement: enforcement_word(budget),
            holding: holding_word(budget),
            thresholds: (!self.alerts_as_usual()).then_some(&budget.thresholds),
            grace: shown_grace(budget),
            contact: &budget.contact,
        };
        fields.serialize(serializer)
    }
}

impl Serialize for RateLimit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let limit = self.wire();
        let measured = |word: &str| (measure_word(limit) == word).then_some(limit.amount);
        let fields = LimitFields {
            requests: measured("requests"),
            tokens: measured("tokens"),
            parallel: measured("parallel"),
            per: (limit.per_seconds != 0).then(|| shown_seconds(limit.per_seconds)),
            models: &limit.models,
        };
        fields.serialize(serializer)
    }
}

impl Serialize for Session {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self::Limited(limit) = self else { return serializer.serialize_str("none") };
        let v1::SessionLimit { dollars_nano_usd, requests, repeats, pause_seconds } = limit.wire();
        let fields = SessionFields {
            dollars: (dollars_nano_usd != 0).then(|| dollars(dollars_nano_usd)),
            requests: (requests != 0).then_some(requests),
            repeats: (repeats != 0).then_some(repeats),
            pause: (pause_seconds != 0).then(|| shown_seconds(pause_seconds.into())),
        };
        fields.serialize(serializer)
    }
}

fn dollars(nano: i64) -> String {
    format!("{} USD", NanoUsd::new(nano))
}

fn is_usual(word: &str) -> bool {
    matches!(word, "rolling" | "hard" | "auto")
}
