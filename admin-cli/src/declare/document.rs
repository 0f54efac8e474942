//! What a declarative file can say. The same types describe what the control plane has, with every field set.

pub(crate) mod access;
pub(crate) mod guardrail;
pub(crate) mod mcp;
pub(crate) mod quota;
pub(crate) mod route;

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use tollgate_policy::money::NanoUsd;
use zeroize::Zeroizing;

use super::tree::Place;
use crate::literals::{audit::Audit, is_reference};
use access::{Binding, Role, SelfServed, ServiceAccount};
use guardrail::Guardrail;
use mcp::McpServer;
use quota::Quota;
use route::Route;

/// With what a secret begins that stays as it is.
pub(crate) const STORED_PREFIX: &str = "stored://";

/// A noun of the file, in the order in which changes are made: what is referred to comes first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    Provider,
    Model,
    Customer,
    Team,
    User,
    Key,
    Route,
    Guardrail,
    McpServer,
    Role,
    ServiceAccount,
    Binding,
}

/// The whole file.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Document {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) providers: Vec<Provider>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) models: Vec<Model>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) customers: Vec<Customer>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) teams: Vec<Team>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) users: Vec<User>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) keys: Vec<Key>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) routes: Vec<Route>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) guardrails: Vec<Guardrail>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) mcp_servers: Vec<McpServer>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) roles: Vec<Role>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) service_accounts: Vec<ServiceAccount>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) bindings: Vec<Binding>,
    /// The sections that the file has, be they empty: pruning touches no others.
    #[serde(skip)]
    pub(crate) sections: Vec<Kind>,
}

/// A customer.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Customer {
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) disabled: Option<bool>,
    #[serde(flatten)]
    pub(crate) quota: Quota,
    #[serde(skip)]
    pub(crate) place: Place,
}

/// A team.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Team {
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) customer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) disabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) providers: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) regions: Option<Vec<String>>,
    #[serde(flatten)]
    pub(crate) quota: Quota,
    /// `none` for nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) self_service: Option<SelfServed>,
    #[serde(skip)]
    pub(crate) place: Place,
}

/// A user.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct User {
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) display_name: Option<String>,
    /// Empty for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) team: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) disabled: Option<bool>,
    #[serde(flatten)]
    pub(crate) quota: Quota,
    #[serde(skip)]
    pub(crate) place: Place,
}

/// A virtual key.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Key {
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) team: Option<String>,
    /// Empty for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) models: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) providers: Option<Vec<String>>,
    /// `provider/credential`, or in a file the credential's name alone, which means that of every allowed provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) credentials: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) regions: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tools: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tool_rules: Option<Vec<ToolRule>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<Expires>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tags: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) audit: Option<Audit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) revoked: Option<bool>,
    #[serde(flatten)]
    pub(crate) quota: Quota,
    #[serde(skip)]
    pub(crate) place: Place,
}

/// What must hold of the arguments of calls.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct ToolRule {
    pub(crate) tools: String,
    pub(crate) when: String,
}

/// When a key ends. A duration is no part of a file: it would mean another instant at each apply.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Expires {
    Never,
    At(Timestamp),
}

/// A provider.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Provider {
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dialect: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) base_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) allow_private: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) models: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) vendor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) priority: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) disabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) auth: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) region: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) quirks: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) credentials: Option<Vec<Credential>>,
    /// What it is created with where the file names no credentials: that of its preset.
    #[serde(skip)]
    pub(crate) usual: Option<Credential>,
    #[serde(skip)]
    pub(crate) place: Place,
}

/// A credential of a provider.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Credential {
    pub(crate) name: String,
    pub(crate) secret: Secret,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) weight: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) disabled: Option<bool>,
    #[serde(skip)]
    pub(crate) place: Place,
}

/// The secret of a credential.
#[derive(Clone, Eq, PartialEq)]
pub(crate) enum Secret {
    /// Where each replica finds it.
    Reference(String),
    /// The secret itself. It cannot be read back, only replaced.
    Literal(Zeroizing<String>),
    /// `stored://FINGERPRINT`: the literal that the control plane has stays. With a fingerprint, only if it is that one.
    Stored(String),
}

/// A model whose price is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Model {
    /// `vendor/model`.
    #[serde(rename = "model")]
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) rates: Rates,
    /// Dollars for one web search.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) web_search: Option<Dollars>,
    /// `none` for no such tier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) long_context: Option<Tier>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) context_window: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_output: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) aliases: Option<Vec<String>>,
    #[serde(skip)]
    pub(crate) place: Place,
}

/// The prices of one tier, each for a million tokens.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub(crate) struct Rates {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) input: Option<Dollars>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) output: Option<Dollars>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cache_read: Option<Dollars>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cache_write_5m: Option<Dollars>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cache_write_1h: Option<Dollars>,
}

/// The dearer tier for long prompts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Tier {
    None,
    Above(LongContext),
}

/// From how many tokens on, and at what prices. A price that is not named is nothing.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub(crate) struct LongContext {
    pub(crate) threshold: i64,
    #[serde(flatten)]
    pub(crate) rates: Rates,
}

/// An amount, written as a decimal number of dollars.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Dollars(pub(crate) NanoUsd);

// === impl Document ===

impl Document {
    /// What the owners in the file may spend and how fast.
    pub(crate) fn quotas(&self) -> impl Iterator<Item = &Quota> {
        let customers = self.customers.iter().map(|each| &each.quota);
        let teams = self.teams.iter().map(|each| &each.quota);
        let users = self.users.iter().map(|each| &each.quota);
        customers.chain(teams).chain(users).chain(self.keys.iter().map(|each| &each.quota))
    }
}

// === impl Kind ===

impl Kind {
    /// The section of the file.
    pub(crate) const fn section(self) -> &'static str {
        match self {
            Self::Customer => "customers",
            Self::Team => "teams",
            Self::User => "users",
            Self::Provider => "providers",
            Self::Model => "models",
            Self::Key => "keys",
            Self::Route => "routes",
            Self::Guardrail => "guardrails",
            Self::McpServer => "mcp_servers",
            Self::Role => "roles",
            Self::ServiceAccount => "service_accounts",
            Self::Binding => "bindings",
        }
    }

    /// One of it.
    pub(crate) const fn noun(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Team => "team",
            Self::User => "user",
            Self::Provider => "provider",
            Self::Model => "model",
            Self::Key => "key",
            Self::Route => "route",
            Self::Guardrail => "guardrail",
            Self::McpServer => "mcp-server",
            Self::Role => "role",
            Self::ServiceAccount => "service-account",
            Self::Binding => "binding",
        }
    }
}

// === impl Secret ===

impl Secret {
    /// The secret as a file writes it.
    pub(crate) fn parse(text: &str) -> Self {
        if is_reference(text) {
            return Self::Reference(text.to_owned());
        }
        match text.strip_prefix(STORED_PREFIX) {
            Some(fingerprint) => Self::Stored(fingerprint.to_owned()),
            None => Self::Literal(Zeroizing::new(text.to_owned())),
        }
    }

    /// As it is shown: where it lies, never what it is.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Reference(reference) => reference.clone(),
            Self::Literal(_) => "***".to_owned(),
            Self::Stored(fingerprint) => format!("{STORED_PREFIX}{fingerprint}"),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

/// Writes a literal as `***`: what is printed comes from the control plane, which returns none.
impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.shown())
    }
}

impl Serialize for Expires {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Never => serializer.serialize_str("never"),
            Self::At(at) => serializer.collect_str(at),
        }
    }
}

impl Serialize for Dollars {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl Serialize for Tier {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None => serializer.serialize_str("none"),
            Self::Above(tier) => tier.serialize(serializer),
        }
    }
}
