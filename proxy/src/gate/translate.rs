//! The request as the provider of an attempt gets it. Where the provider speaks the client's dialect, the client's bytes and headers
//! pass as they came; otherwise the request is read and written anew, and what is lost on the way is named. What the clouds carry in
//! envelopes changes those alone: a body that came in the provider's own passes in it, any other is taken out and put into the provider's.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, USER_AGENT},
};
use tollgate_dialect::{
    Dialect, Quirks,
    asked::{has_envelope, includes_usage},
    bedrock, beta, count, gemini,
    hub::{Feature, Forms, Losses, Text},
    splice::{Edit, Object, quoted},
    vertex,
};
use tollgate_policy::{
    refusal::{Refusal, RefusalKind},
    snapshot::Provider,
};

use super::{
    parse::{Enclosed, Outgoing, called},
    route::Operation,
    ticket::Passage,
};
use crate::upstream::speech::{self, Envelope, Question};

/// What names what a request lost on its way to the provider.
pub(super) const APPROXIMATED: HeaderName = HeaderName::from_static("x-tollgate-approximated");
/// How the limit of output is called in Messages, and with vendors who speak OpenAI Chat.
const MAX_TOKENS: &str = "max_tokens";
const ANTHROPIC_BETA: HeaderName = HeaderName::from_static("anthropic-beta");
const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");
// What Bedrock is asked in headers for a price of its own, which nobody has here: the ordinary service answers.
const DEARER: [HeaderName; 2] = [
    HeaderName::from_static("x-amzn-bedrock-service-tier"),
    HeaderName::from_static("x-amzn-bedrock-performanceconfig-latency"),
];
// What AWS's clients say to AWS alone.
const OF_AWS: [&str; 2] = ["x-amz", "amz-sdk-"];

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
    /// The stream of the answer is read and written anew, although the request may pass.
    pub(super) is_read: bool,
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
    let passage = Passage {
        client: request.dialect,
        client_envelope: wanted.operation.envelope(),
        provider: dialect,
        envelope: speech::envelope(provider.dialect),
        question: wanted.operation.question().unwrap_or_default(),
        is_list: wanted.stream && request.is_list(),
        ..Passage::default()
    };
    if passes(provider, &passage, wanted, request) {
        let passage = Passage { forms: forms(wanted, request), ..passage };
        return as_it_came(passage, wanted, request, headers);
    }
    let Written { body, losses, forms, is_usage_hidden } = written(provider, &passage, wanted, request)?;
    let passage = Passage { is_translated: true, forms, is_usage_hidden, ..passage };
    if wanted.is_strict && !losses.is_empty() {
        return Err(inexpressible(provider, &losses));
    }
    let losses = told(&losses);
    let mut written = anew(&headers, dialect, wanted.stream);
    if request.dialect == Dialect::Anthropic && dialect == Dialect::Anthropic {
        // The fields of a beta feature are written as they were.
        betas(&headers, request).for_each(|beta| {
            written.append(ANTHROPIC_BETA, beta);
        });
    }
    let path = path(&passage, wanted);
    enveloped(Prepared { headers: written, path, body: body.into(), passage, losses }, wanted)
}

// Which tools are no functions: only an answer that is written anew has to know it, in the dialects that have such tools.
fn forms(wanted: &Wanted<'_>, request: &Outgoing) -> Forms {
    let has_forms = matches!(request.dialect, Dialect::OpenAiChat | Dialect::OpenAiResponses);
    let read = || request.dialect.decode_request(&called(&request.call), &request.body);
    (wanted.is_read && has_forms).then(read).and_then(Result::ok).map(|read| read.forms).unwrap_or_default()
}

// The client's bytes.
fn as_it_came(
    passage: Passage,
    wanted: &Wanted<'_>,
    request: &Outgoing,
    mut headers: HeaderMap,
) -> Result<Prepared, Refusal> {
    let path = path(&passage, wanted);
    let Some(enclosed) = &request.enclosed else {
        let path = with_query(&path, request);
        let body = renamed(&passage, wanted, &request.body)?;
        return enveloped(Prepared { headers, path, body, passage, losses: None }, wanted);
    };
    if passage.envelope == Some(enclosed.envelope) {
        DEARER.iter().for_each(|name| drop(headers.remove(name)));
        let body = renamed(&passage, wanted, &enclosed.body)?;
        return Ok(Prepared { headers, path: with_query(&path, request), body, passage, losses: None });
    }
    let headers = unwrapped(headers, request, wanted.stream);
    let body = renamed(&Passage { envelope: None, ..passage.clone() }, wanted, &request.body)?;
    enveloped(Prepared { headers, path, body, passage, losses: None }, wanted)
}

// The headers of a body of Messages that came in an envelope, as Anthropic's own clients have them.
fn unwrapped(mut headers: HeaderMap, request: &Outgoing, stream: bool) -> HeaderMap {
    let of_aws = |name: &&HeaderName| OF_AWS.iter().any(|prefix| name.as_str().starts_with(prefix));
    let gone: Vec<HeaderName> = headers.keys().filter(of_aws).cloned().collect();
    let named: Vec<HeaderValue> = betas(&headers, request).collect();
    for name in gone.iter().chain([&ANTHROPIC_BETA]) {
        headers.remove(name);
    }
    let accepted = if stream { "text/event-stream" } else { "application/json" };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT, HeaderValue::from_static(accepted));
    headers.insert(ANTHROPIC_VERSION, HeaderValue::from_static("2023-06-01"));
    for beta in named {
        headers.append(ANTHROPIC_BETA, beta);
    }
    headers
}

// The beta features that a client names, in headers or in an envelope.
fn betas(headers: &HeaderMap, request: &Outgoing) -> impl Iterator<Item = HeaderValue> {
    let enclosed =
        request.enclosed.as_ref().and_then(|Enclosed { beta, .. }| HeaderValue::from_str(beta.as_ref()?).ok());
    headers.get_all(ANTHROPIC_BETA).iter().cloned().chain(enclosed).collect::<Vec<_>>().into_iter()
}

// A body of Messages, in what the provider carries it.
fn enveloped(prepared: Prepared, wanted: &Wanted<'_>) -> Result<Prepared, Refusal> {
    let Some(envelope) = prepared.passage.envelope else { return Ok(prepared) };
    let (beta, losses) = known_betas(envelope, &prepared.headers);
    let wrapped = match (envelope, prepared.passage.question) {
        (Envelope::Bedrock, _) => bedrock::invoke::from_messages(&prepared.body, beta.iter().copied()),
        (Envelope::Vertex, Question::Count) => vertex::from_count_tokens(&prepared.body),
        (Envelope::Vertex, _) => vertex::from_messages(&prepared.body),
    };
    let wrapped = wrapped.map_err(|error| Refusal::new(RefusalKind::Malformed, error.to_string()))?;
    let mut headers = anew(&prepared.headers, Dialect::Anthropic, wanted.stream);
    headers.remove(ANTHROPIC_VERSION);
    match envelope {
        Envelope::Bedrock if wanted.stream => {
            headers.insert(ACCEPT, HeaderValue::from_static(prepared.passage.stream_type()));
        }
        Envelope::Bedrock => {}
        Envelope::Vertex => {
            let beta = HeaderValue::from_str(&beta.join(",")).ok().filter(|beta| !beta.is_empty());
            beta.into_iter().for_each(|beta| drop(headers.insert(ANTHROPIC_BETA, beta)));
        }
    }
    // A query of the client's was for another path.
    let path = path(&prepared.passage, wanted);
    let body = wrapped.body.into();
    let losses = prepared.losses.or_else(|| told(&losses));
    Ok(Prepared { headers, path, body, passage: prepared.passage, losses })
}

// The beta features that a cloud knows, and which it does not. A strict route takes a request without them: they are permission to ask for
// more, and whoever does is refused by the cloud itself.
fn known_betas(envelope: Envelope, headers: &HeaderMap) -> (Vec<&str>, Losses) {
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
fn passes(provider: &Provider, passage: &Passage, wanted: &Wanted<'_>, request: &Outgoing) -> bool {
    let dialect = passage.provider;
    let is_taken = || match passage.question {
        Question::Answer => dialect != Dialect::OpenAiChat || !wanted.stream || includes_usage(&request.body),
        Question::Count if dialect == Dialect::Gemini => {
            gemini::takes_count(speech::count_form(provider), &request.body)
        }
        Question::Count | Question::Embeddings => true,
    };
    // Both dialects of OpenAI have the same embeddings, and nothing is sealed in texts.
    passage.question == Question::Embeddings || dialect == request.dialect && is_taken() && !has_envelope(&request.body)
}

// The client's bytes, but for the name of the model where the provider has another one for it.
fn renamed(passage: &Passage, wanted: &Wanted<'_>, body: &Bytes) -> Result<Bytes, Refusal> {
    let is_in_path = match passage.question {
        Question::Answer => {
            passage.envelope.is_some() && passage.client_envelope == passage.envelope
                || matches!(passage.provider, Dialect::Gemini | Dialect::BedrockConverse)
        }
        Question::Count => passage.provider == Dialect::Gemini,
        Question::Embeddings => false,
    };
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

// The path and the query of what is written here.
fn path(passage: &Passage, wanted: &Wanted<'_>) -> String {
    let Passage { question, provider, envelope, .. } = *passage;
    speech::path(question, provider, envelope, wanted.name, wanted.stream).into_owned()
}

// The client's own query, behind a base URL that may bring a part of the path.
fn with_query(path: &str, request: &Outgoing) -> String {
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

fn written(
    provider: &Provider,
    passage: &Passage,
    wanted: &Wanted<'_>,
    request: &Outgoing,
) -> Result<Written, Refusal> {
    let called = called(&request.call);
    let is_count = passage.question == Question::Count;
    let decoded = match is_count {
        true => count::decode(request.dialect, &called, &request.body),
        false => request.dialect.decode_request(&called, &request.body),
    };
    let mut read = decoded.map_err(|error| Refusal::new(RefusalKind::Malformed, error.to_string()))?;
    read.model = Text::from(wanted.name);
    read.stream = wanted.stream;
    let (dialect, quirks) = (passage.provider, speech::quirks(provider));
    let mut losses = Losses::new(dialect);
    let most = Some(wanted.output_max).filter(|most| *most > 0);
    if let (Some(asked), Some(most)) = (&mut read.output_tokens_max, most) {
        *asked = (*asked).min(most);
    }
    let quirks = Quirks { output_tokens_max: most, ..quirks };
    let body = match is_count {
        true => count::encode(dialect, &read, &quirks, speech::count_form(provider), &mut losses),
        false => Some(dialect.encode_request(&read, &quirks, &mut losses)),
    };
    let body = body.ok_or_else(|| unspoken(provider))?;
    Ok(Written { body, losses, forms: read.forms, is_usage_hidden: read.is_usage_hidden })
}

// The headers of a request that was written anew: none that means something in the client's dialect alone.
fn anew(headers: &HeaderMap, dialect: Dialect, stream: bool) -> HeaderMap {
    let mut written = HeaderMap::new();
    let accepted = if stream { speech::stream_type(dialect, None) } else { "application/json" };
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
