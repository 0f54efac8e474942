//! How a refusal looks on the wire: the one place that maps its kind to a status, a word of the dialect and headers.
//!
//! The choices follow what coding agents were measured to do with each answer. A decision of policy must reach the developer
//! as one clean sentence after one request, so it carries `x-should-retry: false` and a status that the agent neither
//! repeats nor rewrites. A fault on the way may heal, so it stays repeatable.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use tollgate_dialect::{Dialect, ErrorClass, anthropic, bedrock::converse, hub::Event};
use tollgate_mcp::failure::{self, code};
use tollgate_policy::refusal::{Refusal, RefusalKind};

/// The header that joins our records with the client's own telemetry. Every answer carries it.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
/// The header by which a gateway tells the client whether to send the request again.
pub(crate) const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

// Where the SDKs of AWS look for the type of an error and for the id of a request.
const AMZN_ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
const AMZN_REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

// A replica is ready, or its backlog reported, within seconds; clients wait this long and come back.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("5");

/// In which shape a client is told what is wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Shape {
    /// That of a dialect.
    Of(Dialect),
    /// A JSON-RPC error, as clients of MCP read it. Of a request that could not be read it has no id.
    JsonRpc,
}

impl From<Dialect> for Shape {
    fn from(dialect: Dialect) -> Self {
        Self::Of(dialect)
    }
}

/// What a refusal needs beyond its kind.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Detail {
    /// Nothing.
    #[default]
    None,
    /// The methods that the path does have.
    Allow(&'static str),
    /// The body is compressed, which is not accepted.
    Encoding,
    /// The address is too long.
    Address,
    /// The headers are too large.
    Headers,
    /// Not before so many seconds; at least 1.
    Later(u64),
    /// A budget is used up.
    Spent(Spent),
    /// A page of that origin may not ask.
    Origin,
}

/// What a client is told of a budget that is used up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Spent {
    /// When its window ends, in Unix seconds; `None`: never.
    pub(crate) resets: Option<u64>,
    /// In how many seconds that is.
    pub(crate) after: u64,
    /// The length of the window, by the nearest word that clients know.
    pub(crate) period: &'static str,
}

/// How far a budget is used, for the headers of an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Used {
    /// In thousandths of the limit.
    pub(crate) permille: u64,
    /// When its window ends, in Unix seconds; `None`: never.
    pub(crate) resets: Option<u64>,
}

/// The status that a client sees for a refusal.
#[must_use]
pub(crate) const fn status(kind: RefusalKind, detail: Detail) -> StatusCode {
    match (kind, detail) {
        (_, Detail::Encoding) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        (_, Detail::Origin) => StatusCode::FORBIDDEN,
        (_, Detail::Address) => StatusCode::URI_TOO_LONG,
        (_, Detail::Headers) => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        (RefusalKind::UnknownRoute, _) => StatusCode::NOT_FOUND,
        (RefusalKind::MethodNotAllowed, _) => StatusCode::METHOD_NOT_ALLOWED,
        (RefusalKind::Malformed, _) => StatusCode::BAD_REQUEST,
        (RefusalKind::TooLarge, _) => StatusCode::PAYLOAD_TOO_LARGE,
        (RefusalKind::Timeout, _) => StatusCode::REQUEST_TIMEOUT,
        (
            RefusalKind::Unauthenticated
            | RefusalKind::KeyRevoked
            | RefusalKind::KeyExpired
            | RefusalKind::OwnerDisabled,
            _,
        ) => StatusCode::UNAUTHORIZED,
        // Claude Code shows the sentence of a 451 as it is, after one request. With 403 it says "Please run /login", with
        // 404 it hides the sentence and offers another model, and a 400 it sends six times.
        (
            RefusalKind::ModelDenied
            | RefusalKind::ToolDenied
            | RefusalKind::NoProvider
            | RefusalKind::RegionDenied
            | RefusalKind::Unpriced
            | RefusalKind::Guardrail
            | RefusalKind::Inexpressible,
            _,
        ) => StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS,
        // Claude Code shows the sentence of this one word for word, after one request. Where it was given a key it puts `API
        // Error: Request rejected (429)` in front; where its user signed in, the headers of a spend limit beside it keep the
        // sentence alone, and without them it says that the server is busy.
        (RefusalKind::BudgetExhausted | RefusalKind::BudgetBusy, _) => StatusCode::TOO_MANY_REQUESTS,
        (RefusalKind::RateLimited | RefusalKind::ParallelLimited, _) => StatusCode::TOO_MANY_REQUESTS,
        (RefusalKind::SessionLimited, Detail::Later(_)) => StatusCode::TOO_MANY_REQUESTS,
        (RefusalKind::SessionLimited, _) => StatusCode::PAYMENT_REQUIRED,
        (RefusalKind::NotReady | RefusalKind::Backlog | RefusalKind::BudgetUnreachable, _) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        (RefusalKind::UpstreamUnavailable | RefusalKind::UpstreamInvalid, _) => StatusCode::BAD_GATEWAY,
        (RefusalKind::UpstreamTimeout, _) => StatusCode::GATEWAY_TIMEOUT,
    }
}

/// The class under which a dialect words a refusal.
#[must_use]
pub(crate) const fn class(kind: RefusalKind) -> ErrorClass {
    match kind {
        RefusalKind::UnknownRoute => ErrorClass::NotFound,
        RefusalKind::MethodNotAllowed | RefusalKind::Malformed => ErrorClass::InvalidRequest,
        RefusalKind::TooLarge => ErrorClass::RequestTooLarge,
        RefusalKind::Timeout | RefusalKind::UpstreamTimeout => ErrorClass::Timeout,
        RefusalKind::Unauthenticated
        | RefusalKind::KeyRevoked
        | RefusalKind::KeyExpired
        | RefusalKind::OwnerDisabled => ErrorClass::Authentication,
        RefusalKind::ModelDenied
        | RefusalKind::ToolDenied
        | RefusalKind::NoProvider
        | RefusalKind::RegionDenied
        | RefusalKind::Unpriced
        | RefusalKind::Guardrail
        | RefusalKind::Inexpressible => ErrorClass::Permission,
        RefusalKind::BudgetExhausted | RefusalKind::SessionLimited => ErrorClass::Billing,
        RefusalKind::BudgetBusy | RefusalKind::RateLimited | RefusalKind::ParallelLimited => ErrorClass::RateLimit,
        // Not `Overloaded`: three of those make Claude Code give up, or change to another model.
        RefusalKind::NotReady
        | RefusalKind::Backlog
        | RefusalKind::BudgetUnreachable
        | RefusalKind::UpstreamUnavailable
        | RefusalKind::UpstreamInvalid => ErrorClass::Api,
    }
}

/// Whether sending the same request again may help.
#[must_use]
pub(crate) const fn may_heal(kind: RefusalKind) -> bool {
    matches!(
        kind,
        RefusalKind::Timeout
            | RefusalKind::NotReady
            | RefusalKind::Backlog
            | RefusalKind::BudgetBusy
            | RefusalKind::BudgetUnreachable
            | RefusalKind::RateLimited
            | RefusalKind::ParallelLimited
            | RefusalKind::UpstreamUnavailable
            | RefusalKind::UpstreamTimeout
    )
}

/// The code of a refusal in JSON-RPC.
#[must_use]
pub(crate) const fn rpc_code(kind: RefusalKind) -> i64 {
    match kind {
        RefusalKind::UnknownRoute | RefusalKind::MethodNotAllowed | RefusalKind::Malformed | RefusalKind::TooLarge => {
            code::INVALID_REQUEST
        }
        RefusalKind::Guardrail => code::GUARDRAIL,
        RefusalKind::ToolDenied => code::INVALID_PARAMS,
        RefusalKind::BudgetExhausted
        | RefusalKind::BudgetBusy
        | RefusalKind::BudgetUnreachable
        | RefusalKind::RateLimited
        | RefusalKind::ParallelLimited
        | RefusalKind::SessionLimited => code::LIMITED,
        RefusalKind::UpstreamUnavailable | RefusalKind::UpstreamTimeout | RefusalKind::UpstreamInvalid => {
            code::UPSTREAM
        }
        RefusalKind::Timeout | RefusalKind::NotReady | RefusalKind::Backlog => code::INTERNAL_ERROR,
        RefusalKind::Unauthenticated
        | RefusalKind::KeyRevoked
        | RefusalKind::KeyExpired
        | RefusalKind::OwnerDisabled
        | RefusalKind::ModelDenied
        | RefusalKind::NoProvider
        | RefusalKind::RegionDenied
        | RefusalKind::Unpriced
        | RefusalKind::Inexpressible => code::DENIED,
    }
}

/// The answer to a refused request, in the dialect that the client speaks: a status, headers and a JSON body, never a stream.
#[must_use]
pub(crate) fn answer(shape: impl Into<Shape>, refusal: &Refusal, detail: Detail, request_id: &str) -> Response<Bytes> {
    let (kind, shape) = (refusal.kind(), shape.into());
    let body = match shape {
        Shape::Of(dialect) => dialect.encode_error(class(kind), refusal.public(), request_id),
        Shape::JsonRpc => failure::answer(None, rpc_code(kind), refusal.public()),
    };
    let mut answer = json(status(kind, detail), body, request_id);
    let headers = answer.headers_mut();
    if shape == Shape::Of(Dialect::BedrockConverse) {
        name_error(headers, class(kind));
    }
    if shape == Shape::JsonRpc && class(kind) == ErrorClass::Authentication {
        // RFC 9110, section 11.6.1. There is no authorization server to point at: keys are given out by people.
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"tollgate\""));
    }
    if !may_heal(kind) {
        headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
    }
    if matches!(kind, RefusalKind::NotReady | RefusalKind::Backlog | RefusalKind::BudgetUnreachable) {
        headers.insert(RETRY_AFTER, RETRY_AFTER_S);
    }
    match detail {
        Detail::Allow(methods) => {
            headers.insert(ALLOW, HeaderValue::from_static(methods));
        }
        Detail::Later(seconds) => {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        Detail::Spent(spent) if shape == Shape::Of(Dialect::Anthropic) => reject(headers, &spent),
        Detail::Spent(spent) => {
            headers.insert(RETRY_AFTER, HeaderValue::from(spent.after.max(1)));
        }
        Detail::None | Detail::Encoding | Detail::Address | Detail::Headers | Detail::Origin => {}
    }
    answer
}

/// The headers of a spend limit, as Anthropic's API sends them: of a limit that is reached. `representative-claim` and
/// `overage-status` must not stand beside them, or Claude Code puts a sentence of its own in place of ours.
fn reject(headers: &mut HeaderMap, spent: &Spent) {
    let Spent { resets, after, period } = *spent;
    unified(headers, "status", HeaderValue::from_static("rejected"));
    // A client that reads no other header waits that long; a limit that never resets is as good as a day.
    headers.insert(RETRY_AFTER, HeaderValue::from(after.max(1)));
    if let Some(resets) = resets {
        unified(headers, "reset", HeaderValue::from(resets));
        unified(headers, "overage-reset", HeaderValue::from(resets));
    }
    unified(headers, "overage-utilization", HeaderValue::from_static("1"));
    unified(headers, "overage-surpassed-threshold", HeaderValue::from_static("1"));
    unified(headers, "overage-period", HeaderValue::from_static(period));
    unified(headers, "overage-disabled-reason", HeaderValue::from_static("org_spend_cap_reached"));
}

/// The headers of a spend limit that is not reached: with them Claude Code warns from three quarters on.
pub(crate) fn warn(headers: &mut HeaderMap, used: &Used) {
    let Used { permille, resets } = *used;
    let passed = WARNED_PERMILLE.into_iter().find(|threshold| permille > *threshold);
    let status = HeaderValue::from_static(if passed.is_some() { "allowed_warning" } else { "allowed" });
    unified(headers, "status", status.clone());
    unified(headers, "overage-status", status);
    unified(headers, "representative-claim", HeaderValue::from_static("overage"));
    if let Some(resets) = resets {
        unified(headers, "reset", HeaderValue::from(resets));
        unified(headers, "overage-reset", HeaderValue::from(resets));
    }
    unified(headers, "overage-utilization", fraction(permille));
    if let Some(passed) = passed {
        unified(headers, "overage-surpassed-threshold", fraction(passed));
    }
}

// What part of a limit is used before a client is warned, the highest first.
const WARNED_PERMILLE: [u64; 2] = [950, 750];

fn unified(headers: &mut HeaderMap, name: &'static str, value: HeaderValue) {
    if let Ok(name) = HeaderName::try_from(format!("anthropic-ratelimit-unified-{name}")) {
        headers.insert(name, value);
    }
}

// Thousandths as a decimal: `0.75`.
fn fraction(permille: u64) -> HeaderValue {
    let text = format!("{}.{:03}", permille / 1_000, permille % 1_000);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("0"))
}

/// The event that ends a stream which has begun and may not, or cannot, go on.
#[must_use]
pub(crate) fn event(dialect: Dialect, kind: RefusalKind, sentence: &str, request_id: &str) -> Bytes {
    if dialect == Dialect::Anthropic {
        return anthropic::error_event(class(kind), sentence, request_id).into();
    }
    let mut bytes = Vec::new();
    dialect.stream_encoder().push(&Event::Failed { class: class(kind), message: sentence.into() }, &mut bytes);
    bytes.into()
}

/// The answer when our own code failed.
#[must_use]
pub(crate) fn fault(shape: Shape, request_id: &str) -> Response<Bytes> {
    let sentence = "Tollgate failed while it handled this request. Try again; if it happens again, tell your platform team \
                    the request id.";
    let body = match shape {
        Shape::Of(dialect) => dialect.encode_error(ErrorClass::Api, sentence, request_id),
        Shape::JsonRpc => failure::answer(None, code::INTERNAL_ERROR, sentence),
    };
    let mut answer = json(StatusCode::INTERNAL_SERVER_ERROR, body, request_id);
    if shape == Shape::Of(Dialect::BedrockConverse) {
        name_error(answer.headers_mut(), ErrorClass::Api);
    }
    answer
}

/// A JSON answer of our own.
#[must_use]
pub(crate) fn json(status: StatusCode, body: Vec<u8>, request_id: &str) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::from(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    identify(&mut answer, request_id);
    answer
}

/// Puts our request id on an answer, in place of any other.
pub(crate) fn identify<B>(answer: &mut Response<B>, request_id: &str) {
    if let Ok(value) = HeaderValue::from_str(request_id) {
        answer.headers_mut().insert(REQUEST_ID, value);
    }
}

/// Puts our request id where the clients of a dialect look for it besides.
pub(crate) fn identify_for<B>(shape: Shape, answer: &mut Response<B>, request_id: &str) {
    if shape == Shape::Of(Dialect::BedrockConverse)
        && let Ok(value) = HeaderValue::from_str(request_id)
    {
        answer.headers_mut().insert(AMZN_REQUEST_ID, value);
    }
}

/// Says in a header what type of error a body of Bedrock's is.
pub(crate) fn name_error(headers: &mut HeaderMap, class: ErrorClass) {
    headers.insert(AMZN_ERROR_TYPE, HeaderValue::from_static(converse::error_type(class)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kind: RefusalKind) -> String {
        let answer = answer(Dialect::Anthropic, &Refusal::new(kind, "Why."), Detail::None, "req_1");
        let header = |name: HeaderName| answer.headers().get(name).map_or("-", |value| value.to_str().unwrap());
        let body: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!(body["error"]["message"], "Why.");
        assert_eq!(body["request_id"], "req_1");
        assert_eq!(header(REQUEST_ID), "req_1");
        assert_eq!(header(CONTENT_TYPE), "application/json");
        format!(
            "{} {} retry={} after={}",
            answer.status().as_u16(),
            body["error"]["type"].as_str().unwrap(),
            header(SHOULD_RETRY),
            header(RETRY_AFTER)
        )
    }

    #[test]
    fn each_kind_has_its_status_its_word_and_its_headers() {
        let table = [
            (RefusalKind::UnknownRoute, "404 not_found_error retry=false after=-"),
            (RefusalKind::MethodNotAllowed, "405 invalid_request_error retry=false after=-"),
            (RefusalKind::Malformed, "400 invalid_request_error retry=false after=-"),
            (RefusalKind::TooLarge, "413 request_too_large retry=false after=-"),
            (RefusalKind::Timeout, "408 timeout_error retry=- after=-"),
            (RefusalKind::Unauthenticated, "401 authentication_error retry=false after=-"),
            (RefusalKind::KeyRevoked, "401 authentication_error retry=false after=-"),
            (RefusalKind::KeyExpired, "401 authentication_error retry=false after=-"),
            (RefusalKind::OwnerDisabled, "401 authentication_error retry=false after=-"),
            (RefusalKind::ModelDenied, "451 permission_error retry=false after=-"),
            (RefusalKind::ToolDenied, "451 permission_error retry=false after=-"),
            (RefusalKind::NoProvider, "451 permission_error retry=false after=-"),
            (RefusalKind::RegionDenied, "451 permission_error retry=false after=-"),
            (RefusalKind::Unpriced, "451 permission_error retry=false after=-"),
            (RefusalKind::BudgetExhausted, "429 billing_error retry=false after=-"),
            (RefusalKind::BudgetBusy, "429 rate_limit_error retry=- after=-"),
            (RefusalKind::BudgetUnreachable, "503 api_error retry=- after=5"),
            (RefusalKind::RateLimited, "429 rate_limit_error retry=- after=-"),
            (RefusalKind::ParallelLimited, "429 rate_limit_error retry=- after=-"),
            (RefusalKind::SessionLimited, "402 billing_error retry=false after=-"),
            (RefusalKind::Guardrail, "451 permission_error retry=false after=-"),
            (RefusalKind::Inexpressible, "451 permission_error retry=false after=-"),
            (RefusalKind::NotReady, "503 api_error retry=- after=5"),
            (RefusalKind::Backlog, "503 api_error retry=- after=5"),
            (RefusalKind::UpstreamUnavailable, "502 api_error retry=- after=-"),
            (RefusalKind::UpstreamTimeout, "504 timeout_error retry=- after=-"),
            (RefusalKind::UpstreamInvalid, "502 api_error retry=false after=-"),
        ];
        assert_eq!(table.map(|(kind, _)| kind), RefusalKind::ALL);
        for (kind, expect) in table {
            assert_eq!(row(kind), expect, "{kind:?}");
        }
    }

    #[test]
    fn a_decision_of_policy_is_never_sent_twice() {
        for kind in RefusalKind::ALL {
            assert!(!(kind.is_policy() && may_heal(kind)), "{kind:?}");
        }
    }

    #[test]
    fn a_detail_changes_the_status_or_adds_a_header() {
        let refusal = |kind| Refusal::new(kind, "Why.");
        let allow = answer(Dialect::Anthropic, &refusal(RefusalKind::MethodNotAllowed), Detail::Allow("POST"), "req_1");
        assert_eq!(allow.headers().get(ALLOW).unwrap(), "POST");
        let later = answer(Dialect::Anthropic, &refusal(RefusalKind::RateLimited), Detail::Later(7), "req_1");
        assert_eq!(later.headers().get(RETRY_AFTER).unwrap(), "7");
        assert_eq!(status(RefusalKind::SessionLimited, Detail::Later(7)), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(status(RefusalKind::Malformed, Detail::Encoding), StatusCode::UNSUPPORTED_MEDIA_TYPE);
        assert_eq!(status(RefusalKind::TooLarge, Detail::Address), StatusCode::URI_TOO_LONG);
        assert_eq!(status(RefusalKind::TooLarge, Detail::Headers), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }

    fn unified_of(headers: &HeaderMap) -> Vec<String> {
        let prefix = "anthropic-ratelimit-unified-";
        let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
        let mut all: Vec<String> = headers
            .iter()
            .filter_map(|(name, value)| Some(format!("{}={}", name.as_str().strip_prefix(prefix)?, text(value))))
            .collect();
        all.sort();
        all
    }

    #[test]
    fn a_spent_budget_is_told_as_a_spend_limit_that_is_reached() {
        let spent = Spent { resets: Some(1_800_000_000), after: 3_600, period: "daily" };
        let answer = answer(
            Dialect::Anthropic,
            &Refusal::new(RefusalKind::BudgetExhausted, "Why."),
            Detail::Spent(spent),
            "req_1",
        );
        assert_eq!(answer.headers().get(RETRY_AFTER).unwrap(), "3600");
        assert_eq!(
            unified_of(answer.headers()),
            [
                "overage-disabled-reason=org_spend_cap_reached",
                "overage-period=daily",
                "overage-reset=1800000000",
                "overage-surpassed-threshold=1",
                "overage-utilization=1",
                "reset=1800000000",
                "status=rejected",
            ]
        );
    }

    #[test]
    fn a_client_is_told_how_far_its_budget_is_used() {
        for (permille, expect) in [
            (0, "overage-status=allowed overage-utilization=0 representative-claim=overage status=allowed"),
            (750, "overage-status=allowed overage-utilization=0.75 representative-claim=overage status=allowed"),
            (
                751,
                "overage-status=allowed_warning overage-surpassed-threshold=0.75 overage-utilization=0.751 \
                 representative-claim=overage status=allowed_warning",
            ),
            (
                1_000,
                "overage-status=allowed_warning overage-surpassed-threshold=0.95 overage-utilization=1 \
                 representative-claim=overage status=allowed_warning",
            ),
        ] {
            let mut headers = HeaderMap::new();
            warn(&mut headers, &Used { permille, resets: None });
            assert_eq!(unified_of(&headers).join(" "), expect);
        }
    }
}
