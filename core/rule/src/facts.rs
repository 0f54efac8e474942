//! What a rule may be about.

use std::{collections::HashMap, fmt, sync::Arc};

use cel::{
    Value,
    objects::{Key, Map},
};
use chrono::DateTime;

/// One of the names that a rule begins with.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Variable {
    /// `request.model`, `.dialect`, `.operation` (texts), `.stream` (bool), `.max_tokens`, `.bytes`, `.images` (ints; 0: not said).
    Request,
    /// `caller.key`, `.team`, `.customer`, `.user`, `.session`, `.agent`: names, and texts that may be empty.
    Caller,
    /// `headers["x-name"]`: what the client sent, by names in lower case, without credentials.
    Headers,
    /// `budget.used`: the used part of that budget of the caller of which the least is left; 0.0 to 1.0, and 0.0 without one.
    Budget,
    /// `region`: where the replica runs.
    Region,
    /// `now`: a timestamp.
    Now,
    /// `arguments`: the JSON object of a call, with whatever fields.
    Arguments,
    /// `tool.server`, `tool.name`: texts.
    Tool,
}

/// What is decided.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Scope {
    /// A request for an answer of a model.
    Request,
    /// A call of a tool.
    Call,
}

/// What is asked for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Request {
    /// The model, as the client names it.
    pub model: Arc<str>,
    /// The dialect that the client speaks, by its word.
    pub dialect: &'static str,
    /// The operation, by its word.
    pub operation: &'static str,
    /// Whether a stream is asked for.
    pub stream: bool,
    /// The most tokens of the answer; 0: not said.
    pub max_tokens: u64,
    /// The bytes of text in the body.
    pub bytes: u64,
    /// The images in it.
    pub images: u64,
}

/// Who asks, by name.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Who {
    /// The key.
    pub key: Arc<str>,
    /// Its team.
    pub team: Arc<str>,
    /// The team's customer.
    pub customer: Arc<str>,
    /// The key's user; empty without one.
    pub user: Arc<str>,
    /// The agent's session, as the agent calls it; empty when it does not say.
    pub session: Arc<str>,
    /// The agent within the session; empty when it does not say.
    pub agent: Arc<str>,
}

/// Tells a rule what it is about. Each is asked for only if the rule is about it.
pub trait Facts: fmt::Debug {
    /// What is asked for.
    fn request(&self) -> Request;
    /// Who asks.
    fn caller(&self) -> Who;
    /// What the client sent, names in lower case, without credentials.
    fn headers(&self) -> Vec<(String, String)>;
    /// The used part of that budget of the caller of which the least is left.
    fn budget_used(&self) -> f64;
    /// Where the replica runs.
    fn region(&self) -> Arc<str>;
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> i64;
}

impl Variable {
    /// The name in a rule.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Caller => "caller",
            Self::Headers => "headers",
            Self::Budget => "budget",
            Self::Region => "region",
            Self::Now => "now",
            Self::Arguments => "arguments",
            Self::Tool => "tool",
        }
    }

    /// What it has; empty where it is not made of fields, or of any.
    pub(crate) const fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Request => &["model", "dialect", "operation", "stream", "max_tokens", "bytes", "images"],
            Self::Caller => &["key", "team", "customer", "user", "session", "agent"],
            Self::Budget => &["used"],
            Self::Tool => &["server", "name"],
            Self::Headers | Self::Region | Self::Now | Self::Arguments => &[],
        }
    }
}

impl Scope {
    /// What a rule may be about.
    pub(crate) const fn variables(self) -> &'static [Variable] {
        match self {
            Self::Request => &[
                Variable::Request,
                Variable::Caller,
                Variable::Headers,
                Variable::Budget,
                Variable::Region,
                Variable::Now,
            ],
            Self::Call => &[Variable::Arguments, Variable::Tool, Variable::Caller, Variable::Region, Variable::Now],
        }
    }

    /// The same as a sentence.
    pub(crate) const fn sentence(self) -> &'static str {
        match self {
            Self::Request => "a rule is about request, caller, headers, budget, region and now",
            Self::Call => "a rule over calls of tools is about arguments, tool, caller, region and now",
        }
    }
}

/// A variable's value.
pub(crate) fn value(variable: Variable, facts: &dyn Facts) -> Value {
    match variable {
        Variable::Request => {
            let Request { model, dialect, operation, stream, max_tokens, bytes, images } = facts.request();
            let number = |number: u64| Value::Int(i64::try_from(number).unwrap_or(i64::MAX));
            fields([
                ("model", text(&model)),
                ("dialect", text(dialect)),
                ("operation", text(operation)),
                ("stream", Value::Bool(stream)),
                ("max_tokens", number(max_tokens)),
                ("bytes", number(bytes)),
                ("images", number(images)),
            ])
        }
        Variable::Caller => caller(facts.caller()),
        Variable::Headers => {
            let headers = facts.headers().into_iter();
            map(headers.map(|(name, value)| (name, Value::String(Arc::new(value)))).collect())
        }
        Variable::Budget => fields([("used", Value::Float(facts.budget_used()))]),
        Variable::Region => text(&facts.region()),
        Variable::Now => now(facts.now_ms()),
        // No rule over requests is about these.
        Variable::Arguments | Variable::Tool => Value::Null,
    }
}

pub(crate) fn caller(who: Who) -> Value {
    let Who { key, team, customer, user, session, agent } = who;
    fields([
        ("key", text(&key)),
        ("team", text(&team)),
        ("customer", text(&customer)),
        ("user", text(&user)),
        ("session", text(&session)),
        ("agent", text(&agent)),
    ])
}

// What lies beyond the calendar is no time that a replica's clock shows.
pub(crate) fn now(now_ms: i64) -> Value {
    Value::Timestamp(DateTime::from_timestamp_millis(now_ms).unwrap_or_default().fixed_offset())
}

pub(crate) fn text(text: &str) -> Value {
    Value::String(Arc::new(text.to_owned()))
}

pub(crate) fn fields<const N: usize>(fields: [(&str, Value); N]) -> Value {
    map(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

pub(crate) fn map(entries: Vec<(String, Value)>) -> Value {
    let entries = entries.into_iter().map(|(name, value)| (Key::String(Arc::new(name)), value));
    Value::Map(Map { map: Arc::new(entries.collect::<HashMap<_, _>>()) })
}

/// Two requests between which every rule can be decided that can be decided at all: one that says everything, one that says
/// nothing.
pub(crate) fn samples() -> [Sample; 2] {
    let full = Sample {
        request: Request {
            model: "claude-sonnet-5-5".into(),
            dialect: "anthropic",
            operation: "messages",
            stream: true,
            max_tokens: 32_000,
            bytes: 400_000,
            images: 1,
        },
        who: Who {
            key: "dev".into(),
            team: "platform".into(),
            customer: "acme".into(),
            user: "ada".into(),
            session: "9f6a".into(),
            agent: "main".into(),
        },
        headers: vec![("user-agent".into(), "claude-cli".into())],
        budget_used: 0.5,
        region: "eu-west".into(),
        now_ms: 1_767_225_600_000,
    };
    [full, Sample::default()]
}

/// A request that was made up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    pub(crate) request: Request,
    pub(crate) who: Who,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) budget_used: f64,
    pub(crate) region: Arc<str>,
    pub(crate) now_ms: i64,
}

impl Facts for Sample {
    fn request(&self) -> Request {
        self.request.clone()
    }

    fn caller(&self) -> Who {
        self.who.clone()
    }

    fn headers(&self) -> Vec<(String, String)> {
        self.headers.clone()
    }

    fn budget_used(&self) -> f64 {
        self.budget_used
    }

    fn region(&self) -> Arc<str> {
        Arc::clone(&self.region)
    }

    fn now_ms(&self) -> i64 {
        self.now_ms
    }
}
