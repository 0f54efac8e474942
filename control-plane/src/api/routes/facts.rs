//! What a rule is told about a request that nobody has sent: what the explanation was asked for.

use std::{collections::HashMap, sync::Arc};

use tollgate_policy::{
    decide::Caller,
    rule::{Facts, Request, Who},
    snapshot::{Dialect, Snapshot},
};
use tollgate_proto::admin::v1;

use super::super::{providers::read_region, violations::Violations};

/// The most headers that are supposed, as many as a proxy would receive.
const HEADERS_MAX: usize = 100;
/// The longest name or value of one, in bytes.
const HEADER_BYTES_MAX: usize = 8 * 1024;

/// What is supposed of a request, beside who sends it.
#[derive(Debug)]
pub(super) struct Supposed {
    pub(super) region: Arc<str>,
    headers: Vec<(String, String)>,
    budget_used: f64,
    request: Request,
}

/// All that is supposed.
#[derive(Debug)]
pub(super) struct Supposition {
    supposed: Supposed,
    who: Who,
    now_ms: i64,
}

impl Supposed {
    /// Reads the fields of the question.
    pub(super) fn read(wire: &v1::ExplainRouteRequest, dialect: Dialect, violations: &mut Violations) -> Option<Self> {
        let v1::ExplainRouteRequest { key: _, model, dialect: _, region, headers, budget_used, stream, bytes } = wire;
        let region = read_region(region, violations);
        let headers = read_headers(headers, violations);
        let used = (0.0..=1.0).contains(budget_used).then_some(*budget_used);
        let budget_used = violations.take("budget_used", used.ok_or("must be 0.0 to 1.0"));
        let bytes = violations.take("bytes", u64::try_from(*bytes).map_err(|_| "must be 0 or more"));
        let request = Request {
            model: model.as_str().into(),
            dialect: dialect.word(),
            operation: operation(dialect),
            stream: *stream,
            bytes: bytes?,
            ..Request::default()
        };
        Some(Self { region: region?.into(), headers: headers?, budget_used: budget_used?, request })
    }

    /// With who sends it, and when.
    pub(super) fn sent(self, snapshot: &Snapshot, caller: &Caller, now_ms: i64) -> Supposition {
        let key = caller.key();
        let team = snapshot.team(&key.team);
        let customer = team.and_then(|team| snapshot.customer(&team.customer));
        let user = key.user.as_ref().and_then(|user| snapshot.user(user)).map(|user| Arc::clone(&user.name));
        let who = Who {
            key: Arc::clone(&key.name),
            team: team.map(|team| Arc::clone(&team.name)).unwrap_or_default(),
            customer: customer.map(|customer| Arc::clone(&customer.name)).unwrap_or_default(),
            user: user.unwrap_or_default(),
            ..Who::default()
        };
        Supposition { supposed: self, who, now_ms }
    }
}

impl Facts for Supposition {
    fn request(&self) -> Request {
        self.supposed.request.clone()
    }

    fn caller(&self) -> Who {
        self.who.clone()
    }

    fn headers(&self) -> Vec<(String, String)> {
        self.supposed.headers.clone()
    }

    fn budget_used(&self) -> f64 {
        self.supposed.budget_used
    }

    fn region(&self) -> Arc<str> {
        Arc::clone(&self.supposed.region)
    }

    fn now_ms(&self) -> i64 {
        self.now_ms
    }
}

fn read_headers(headers: &HashMap<String, String>, violations: &mut Violations) -> Option<Vec<(String, String)>> {
    let is_short = |(name, value): (&String, &String)| name.len().max(value.len()) <= HEADER_BYTES_MAX;
    if headers.len() > HEADERS_MAX || !headers.iter().all(is_short) {
        violations.add("headers", format!("must be at most {HEADERS_MAX}, each of at most {HEADER_BYTES_MAX} bytes"));
        return None;
    }
    Some(headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect())
}

// What a client of that dialect asks models for, by the word that a replica has for it.
const fn operation(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Anthropic | Dialect::BedrockInvoke | Dialect::VertexAnthropic => "messages",
        Dialect::OpenAiChat => "chat_completions",
        Dialect::OpenAiResponses => "responses",
        Dialect::Gemini => "generate_content",
        Dialect::BedrockConverse => "converse",
    }
}
