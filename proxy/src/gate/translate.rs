//! The request as the provider of an attempt gets it. Where the provider speaks the client's dialect, the client's bytes and headers
//! pass as they came; otherwise the request is read and written anew, and what is lost on the way is named.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, USER_AGENT},
};
use tollgate_dialect::{
    Dialect, Quirks,
    asked::{has_envelope, includes_usage},
    bedrock, beta,
    hub::{Feature, Forms, Losses, Text},
    splice::{Edit, Object, quoted},
    vertex,
};
use tollgate_policy::{
    refusal::{Refusal, RefusalKind},
    snapshot::Provider,
};

use super::{
    parse::{Outgoing, called},
    route::Operation,
    ticket::Passage,
};
use crate::upstream::speech::{self, Envelope};

/// What names what a request lost on its way to the provider.
pub(super) const APPROXIMATED: HeaderName = HeaderName::from_static("x-tollgate-approximated");
/// How the limit of output is called in Messages, and with vendors who speak OpenAI Chat.
const MAX_TOKENS: &str = "max_tokens";
const ANTHROPIC_BETA: HeaderName = HeaderName::from_static("anthropic-beta");
const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");

/// A request, ready for its provider but for the credential.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) headers: HeaderMap,
    /// The path and the query behind the provider's base URL.
    pub(super) path: String,
    pub(super) body: Bytes,
    /// How the answer will be passed on.
    pub(super) passage: Passage,
    /// What is lost, as the client is told; `None`: nothing.
    pub(super) losses: Option<HeaderValue>,
}

/// What an attempt asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) operation: Operation,
    /// The model, as the client names it.
    pub(super) asked: &'a str,
    /// The model, as the provider names it.
    pub(super) name: &'a str,
    /// The most tokens of output that the model gives; 0: nobody knows.
    pub(super) output_max: u64,
    pub(super) stream: bool,
    /// A request that cannot be expressed whole is refused.
    pub(super) is_strict: bool,
}

/// Makes a request ready.
///
/// # Errors
/// Refuses what the provider's dialect cannot express, where the route is strict.
pub(super) fn prepare(
    provider: &Provider,
    wanted: &Wanted<'_>,
    request: &Outgoing,
    headers: HeaderMap,
) -> Result<Prepared, Refusal> {
    let Some(dialect) = speech::dialect(provider.dialect) else { return Err(unspoken(provider)) };
    let passage = Passage { client: request.dialect, provider: dialect, ..Passage::default() };
    let envelope = speech::envelope(provider.dialect);
    let passage = Passage { envelope, ..passage };
    if passes(dialect, wanted, request) {
        let path = as_it_came(wanted, request, dialect);
        let prepared =
            Prepared { headers, path, body: renamed(dialect, wanted, &request.body)?, passage, losses: None };
        return enveloped(prepared, wanted);
    }
    let Written { body, losses, forms, is_usage_hidden } = written(provider, dialect, wanted, request)?;
    let passage = Passage { is_translated: true, forms, is_usage_hidden, ..passage };
    if wanted.is_strict && !losses.is_empty() {
        return Err(inexpressible(provider, &losses));
    }
    let losses = told(&losses);
    let path = speech::path(dialect, wanted.name, wanted.stream).into_owned();
    let headers = anew(&headers, dialect, wanted.stream);
    enveloped(Prepared { headers, path, body: body.into(), passage, losses }, wanted)
}

// A body of Messages, in what the provider carries it.
fn enveloped(prepared: Prepared, wanted: &Wanted<'_>) -> Result<Prepared, Refusal> {
    let Some(envelope) = prepared.passage.envelope else { return Ok(prepared) };
    let (beta, losses) = betas(envelope, &prepared.headers);
    let wrapped = match envelope {
        Envelope::Bedrock => bedrock::invoke::from_messages(&prepared.body, beta.iter().copied()),
        Envelope::Vertex => vertex::from_messages(&prepared.body),
    };
    let wrapped = wrapped.map_err(|error| Refusal::new(RefusalKind::Malformed, error.to_string()))?;
    let mut headers = anew(&prepared.headers, Dialect::Anthropic, wanted.stream);
    headers.remove(ANTHROPIC_VERSION);
    let accepted = match envelope {
        Envelope::Bedrock if wanted.stream => Some(HeaderValue::from_static("application/vnd.amazon.eventstream")),
        Envelope::Bedrock => None,
        Envelope::Vertex => {
            let beta = HeaderValue::from_str(&beta.join(",")).ok().filter(|beta| !beta.is_empty());
            beta.into_iter().for_each(|beta| drop(headers.insert(ANTHROPIC_BETA, beta)));
            None
        }
    };
    if let Some(accepted) = accepted {
        headers.insert(ACCEPT, accepted);
    }
    let path = speech::enveloped(envelope, wanted.name, wanted.stream);
    let body = wrapped.body.into();
    // Headers of a request that was translated name none.
    let losses = prepared.losses.or_else(|| told(&losses));
    Ok(Prepared { headers, path, body, passage: prepared.passage, losses })
}

// The beta features that a cloud knows, and which it does not. A strict route takes a request without them: they are permission to ask for
// more, and whoever does is refused by the cloud itself.
fn betas(envelope: Envelope, headers: &HeaderMap) -> (Vec<&str>, Losses) {
    let mut losses = Losses::new(Dialect::Anthropic);
    let lists = headers.get_all(ANTHROPIC_BETA).iter().filter_map(|value| value.to_str().ok());
    let named = lists.flat_map(|list| list.split(',')).map(str::trim).filter(|name| !name.is_empty());
    let known = named.filter_map(|name| {
        let known = match envelope {
            Envelope::Bedrock => beta::on_bedrock(name),
            Envelope::Vertex => beta::on_vertex(name),
        };
        if known.is_none() {
            losses.drop(Feature::Field(["anthropic-beta.", name].concat()));
        }
        known
    });
    (known.collect(), losses)
}

fn told(losses: &Losses) -> Option<HeaderValue> {
    (!losses.is_empty()).then(|| HeaderValue::from_str(&losses.to_string()).ok()).flatten()
}

// Whether the client's bytes may pass: who is asked speaks the same; no seal of another provider is among them; and the answer will tell
// what it cost.
fn passes(dialect: Dialect, wanted: &Wanted<'_>, request: &Outgoing) -> bool {
    let is_told = || dialect != Dialect::OpenAiChat || !wanted.stream || includes_usage(&request.body);
    dialect == request.dialect && is_told() && !has_envelope(&request.body)
}

// The client's bytes, but for the name of the model where the provider has another one for it.
fn renamed(dialect: Dialect, wanted: &Wanted<'_>, body: &Bytes) -> Result<Bytes, Refusal> {
    let is_in_path = matches!(dialect, Dialect::Gemini | Dialect::BedrockConverse);
    if is_in_path || wanted.asked == wanted.name {
        return Ok(body.clone());
    }
    let object = Object::read(body).map_err(|error| Refusal::new(RefusalKind::Malformed, error.to_string()))?;
    let mut edits = vec![Edit::Set("model", quoted(wanted.name))];
    // A client asks for all that the model gives that it knows; another one may give less, and refuses to be asked for more.
    let asked = object.get(MAX_TOKENS).and_then(|raw| raw.get().parse().ok());
    if asked.is_some_and(|asked: u64| wanted.output_max > 0 && asked > wanted.output_max) {
        edits.push(Edit::Set(MAX_TOKENS, wanted.output_max.to_string().into()));
    }
    Ok(object.edited(&edits).into())
}

// The client's own path and query, behind a base URL that may bring a part of it.
fn as_it_came(wanted: &Wanted<'_>, request: &Outgoing, dialect: Dialect) -> String {
    let path = match wanted.operation {
        Operation::CountTokens => Operation::CountTokens.path().into(),
        _ => speech::path(dialect, wanted.name, wanted.stream),
    };
    let path = path.split('?').next().unwrap_or_default();
    match request.uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    }
}

// A request in another dialect, and what its answer will need.
struct Written {
    body: Vec<u8>,
    losses: Losses,
    forms: Forms,
    is_usage_hidden: bool,
}

fn written(provider: &Provider, dialect: Dialect, wanted: &Wanted<'_>, request: &Outgoing) -> Result<Written, Refusal> {
    let called = called(&request.call);
    let decoded = request.dialect.decode_request(&called, &request.body);
    let mut read = decoded.map_err(|error| Refusal::new(RefusalKind::Malformed, error.to_string()))?;
    read.model = Text::from(wanted.name);
    read.stream = wanted.stream;
    let mut losses = Losses::new(dialect);
    let most = Some(wanted.output_max).filter(|most| *most > 0);
    if let (Some(asked), Some(most)) = (&mut read.output_tokens_max, most) {
        *asked = (*asked).min(most);
    }
    let quirks = Quirks { output_tokens_max: most, ..speech::quirks(provider) };
    let body = dialect.encode_request(&read, &quirks, &mut losses);
    Ok(Written { body, losses, forms: read.forms, is_usage_hidden: read.is_usage_hidden })
}

// The headers of a request that was written anew: none that means something in the client's dialect alone.
fn anew(headers: &HeaderMap, dialect: Dialect, stream: bool) -> HeaderMap {
    let mut written = HeaderMap::new();
    let accepted = if stream { speech::stream_type(dialect) } else { "application/json" };
    written.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    written.insert(ACCEPT, HeaderValue::from_static(accepted));
    written.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    for name in [USER_AGENT, HeaderName::from_static("traceparent"), HeaderName::from_static("tracestate")] {
        if let Some(value) = headers.get(&name) {
            written.insert(name, value.clone());
        }
    }
    if dialect == Dialect::Anthropic {
        written.insert(ANTHROPIC_VERSION, HeaderValue::from_static("2023-06-01"));
    }
    written
}

fn unspoken(provider: &Provider) -> Refusal {
    Refusal::new(
        RefusalKind::UpstreamUnavailable,
        format!(
            "The provider \"{}\" speaks a dialect that this Tollgate replica does not know. Tell your platform team.",
            provider.name
        ),
    )
}

fn inexpressible(provider: &Provider, losses: &Losses) -> Refusal {
    let lost: Vec<&str> = losses.iter().map(|(feature, _)| feature.word()).collect();
    let sentence = format!(
        "The request cannot be sent whole to the provider \"{}\", which the route demands: its dialect lacks {}. Ask without, or ask your \
         platform team for another route.",
        provider.name,
        lost.join(", ")
    );
    Refusal::new(RefusalKind::Inexpressible, sentence)
}
