//! Room 3: what is asked. The body is read whole and looked at once; its bytes are kept as they came, also where it came in the
//! envelope of a cloud and was taken out.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Uri};
use http_body::Body;
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout_at};
use tollgate_dialect::{
    Asked, Called, DecodeError, Dialect, Malformed, Weight,
    asked::{asked, counted, embedded},
    bedrock::invoke::{self, Opened},
    vertex,
};
use tollgate_policy::{
    decide::Caller,
    refusal::{Refusal, RefusalKind},
};

use super::{
    authenticate::Visitor,
    receive::Message,
    route::Call,
    ticket::{Ticket, Verdict},
};
use crate::{
    current::Current,
    upstream::speech::{Envelope, Question},
};

/// The largest body, in bytes: what Anthropic's API accepts.
pub(crate) const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// How long a body may stand still.
pub(crate) const BODY_IDLE_MAX: Duration = Duration::from_secs(30);
/// How long a body may take in all: the largest one at 1 Mbit/s.
pub(crate) const BODY_TIME_MAX: Duration = Duration::from_secs(300);

// What a client announces is set aside at once only up to here; a larger body earns its memory by arriving.
const ANNOUNCED_BYTES_MAX: u64 = 1024 * 1024;

/// A visit whose request is understood.
pub(super) struct Ask {
    pub(super) ticket: Box<Ticket>,
    pub(super) current: Arc<Current>,
    pub(super) caller: Caller,
    pub(super) request: Outgoing,
    /// What bounds its cost.
    pub(super) weight: Weight,
}

/// What goes to a provider: the client's bytes, in the client's dialect.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) headers: HeaderMap,
    pub(super) uri: Uri,
    /// The body, without its envelope.
    pub(super) body: Bytes,
    /// Its dialect.
    pub(super) dialect: Dialect,
    /// What the path says.
    pub(super) call: Call,
    /// How it came, where it came in an envelope.
    pub(super) enclosed: Option<Enclosed>,
}

/// A body in the envelope of a cloud.
#[derive(Debug)]
pub(super) struct Enclosed {
    pub(super) envelope: Envelope,
    /// The body as it came.
    pub(super) body: Bytes,
    /// The beta features that it names, for the header `anthropic-beta`.
    pub(super) beta: Option<String>,
}

/// Reads the body.
pub(super) async fn parse(visitor: Visitor) -> Verdict<Ask> {
    let Visitor { mut ticket, current, caller, message: Message { method: _, host: _, headers, uri, mut body, call } } =
        visitor;
    let begun = Instant::now();
    let bytes = match collect(&mut body, begun).await {
        Ok(bytes) => bytes,
        Err(refusal) => return Err(ticket.refuse(refusal).leaving(body)),
    };
    ticket.times.body = begun.elapsed();
    let (body, enclosed) = match open(&call, bytes) {
        Ok(opened) => opened,
        Err(error) => return Err(ticket.refuse(Refusal::new(RefusalKind::Malformed, error.to_string()))),
    };
    let (model, stream, weight) = match look(&call, &body) {
        Ok(asked) => (Arc::from(&*asked.model), asked.stream, asked.weight),
        Err(error) => return Err(ticket.refuse(Refusal::new(RefusalKind::Malformed, error.to_string()))),
    };
    (ticket.model, ticket.streamed) = (model, stream);
    let dialect = call.operation.body();
    Ok(Ask { ticket, current, caller, request: Outgoing { headers, uri, body, dialect, call, enclosed }, weight })
}

// Takes a body out of its envelope, if there is one.
fn open(call: &Call, body: Bytes) -> Result<(Bytes, Option<Enclosed>), Malformed> {
    let Some(envelope) = call.operation.envelope() else { return Ok((body, None)) };
    let (model, stream) = (call.model.as_deref().unwrap_or(vertex::COUNT_TOKENS), call.stream.unwrap_or_default());
    let Opened { body: opened, beta } = match envelope {
        Envelope::Bedrock => invoke::to_messages(&body, model, stream)?,
        Envelope::Vertex => Opened { body: vertex::to_messages(&body, model, stream)?, beta: None },
    };
    Ok((opened.into(), Some(Enclosed { envelope, body, beta })))
}

// What decides, in the body as in the path: where both say whether the answer is a stream, they agree.
fn look<'a>(call: &'a Call, body: &'a [u8]) -> Result<Asked<'a>, DecodeError> {
    let (dialect, called) = (call.operation.body(), called(call));
    let asked = match call.operation.question() {
        Some(Question::Embeddings) => embedded(body),
        Some(Question::Count) => counted(dialect, &called, body),
        Some(Question::Answer) | None => asked(dialect, &called, body),
    }?;
    match call.stream {
        Some(stream) if stream != asked.stream => {
            Err(Malformed::Invalid { field: "stream", expected: "what the path says, or left out" }.into())
        }
        _ => Ok(asked),
    }
}

/// What bounds the cost of a body.
///
/// # Errors
/// When it is none of its dialect.
pub(super) fn weigh(call: &Call, body: &[u8]) -> Result<Weight, DecodeError> {
    look(call, body).map(|asked| asked.weight)
}

/// What the path of a call says to its dialect.
pub(super) fn called(call: &Call) -> Called<'_> {
    Called { model: call.model.as_deref().map(Into::into), stream: call.stream }
}

// === impl Outgoing ===

impl Outgoing {
    /// Whether a stream shall be the elements of one JSON list, and no events.
    pub(super) fn is_list(&self) -> bool {
        let asks_for_events = |query: &str| query.split('&').any(|pair| pair == "alt=sse");
        self.dialect == Dialect::Gemini && !self.uri.query().is_some_and(asks_for_events)
    }
}

/// Collects a body within its bounds. One that arrives in one piece is not copied.
///
/// # Errors
/// Refuses one that is too large, too slow, or broken off.
pub(super) async fn collect<B>(body: &mut B, begun: Instant) -> Result<Bytes, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    let announced = body.size_hint().lower();
    if announced > BODY_BYTES_MAX as u64 {
        return Err(too_large());
    }
    let deadline = begun + BODY_TIME_MAX;
    let (mut first, mut all) = (Bytes::new(), BytesMut::new());
    while !body.is_end_stream() {
        let patience = deadline.min(Instant::now() + BODY_IDLE_MAX);
        let frame = match timeout_at(patience, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => break,
            Ok(Some(Err(_))) => return Err(broken()),
            Err(_) => return Err(late()),
        };
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + all.len() + data.len() > BODY_BYTES_MAX {
            return Err(too_large());
        }
        if first.is_empty() && all.is_empty() {
            first = data;
            continue;
        }
        if all.is_empty() {
            all.reserve(usize::try_from(announced.min(ANNOUNCED_BYTES_MAX)).unwrap_or_default());
            all.extend_from_slice(&std::mem::take(&mut first));
        }
        all.extend_from_slice(&data);
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

fn too_large() -> Refusal {
    Refusal::new(
        RefusalKind::TooLarge,
        "The request is larger than 32 MiB. Send less context: compact or clear the conversation.",
    )
}

fn late() -> Refusal {
    Refusal::new(RefusalKind::Timeout, "The body did not arrive in time. Send the request again.")
}

fn broken() -> Refusal {
    Refusal::new(RefusalKind::Malformed, "The body broke off before its end. Send the request again.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::{fake::Script, route::route};

    async fn collected(script: Script) -> Result<usize, RefusalKind> {
        let mut script = script;
        collect(&mut script, Instant::now()).await.map(|bytes| bytes.len()).map_err(|refusal| refusal.kind())
    }

    #[test]
    fn a_body_is_taken_out_of_its_envelope_and_what_decides_stands_in_it_once() {
        let check = |path: &str, body: &'static str, expect: Result<(&str, bool, &str), &str>| {
            let call = route(&http::Method::POST, path).unwrap();
            let read = open(&call, body.into()).map_err(DecodeError::from).and_then(|(opened, enclosed)| {
                assert_eq!(enclosed.unwrap().body, body, "it is kept as it came");
                let Asked { model, stream, .. } = look(&call, &opened)?;
                Ok((model.into_owned(), stream, String::from_utf8(opened.to_vec()).unwrap()))
            });
            match (read, expect) {
                (Ok((model, stream, opened)), Ok(expect)) => assert_eq!((&*model, stream, &*opened), expect, "{path}"),
                (Err(error), Err(words)) => assert!(error.to_string().contains(words), "{path}: {error}"),
                (read, expect) => panic!("{path} {body}: {read:?}, not {expect:?}"),
            }
        };
        const BEDROCK: &str = r#"{"anthropic_version":"bedrock-2023-05-31","max_tokens":9,"messages":[]}"#;
        check("/model/m/invoke", BEDROCK, Ok(("m", false, r#"{"model":"m","max_tokens":9,"messages":[]}"#)));
        let stream = r#"{"model":"m","stream":true,"max_tokens":9,"messages":[]}"#;
        check("/model/m/invoke-with-response-stream", BEDROCK, Ok(("m", true, stream)));
        // What the body says of the model is nothing: the provider reads the path.
        let body = r#"{"model":"other","anthropic_version":"bedrock-2023-05-31","messages":[]}"#;
        check("/model/m/invoke", body, Ok(("m", false, r#"{"model":"m","messages":[]}"#)));
        let body = r#"{"model":"a","model":"b","anthropic_version":"bedrock-2023-05-31"}"#;
        check("/model/m/invoke", body, Err("model"));
        let body = r#"{"anthropic_version":"bedrock-2023-05-31","max_tokens":1,"max_tokens":90000}"#;
        check("/model/m/invoke", body, Err("max_tokens"));
        check("/model/m/invoke", r#"{"inputText":"hi"}"#, Err("anthropic_version"));
        let vertex = "/v1/projects/p/locations/l/publishers/anthropic/models";
        let body = r#"{"anthropic_version":"vertex-2023-10-16","stream":true,"messages":[]}"#;
        let opened = r#"{"model":"m","stream":true,"messages":[]}"#;
        check(&format!("{vertex}/m:streamRawPredict"), body, Ok(("m", true, opened)));
        check(&format!("{vertex}/m:rawPredict"), body, Err("what the path says"));
        let body = r#"{"anthropic_version":"vertex-2023-10-16","model":"m","messages":[]}"#;
        let opened = r#"{"model":"m","messages":[]}"#;
        check(&format!("{vertex}/count-tokens:rawPredict"), body, Ok(("m", false, opened)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_collected_within_its_bounds() {
        let mib = || Bytes::from(vec![b'x'; 1024 * 1024]);
        for (name, script, expect) in [
            ("empty", Script::new(), Ok(0)),
            ("one piece", Script::new().data("hello"), Ok(5)),
            ("pieces", Script::new().data("he").pending().data("llo"), Ok(5)),
            ("trailers are no body", Script::new().data("hello").trailers(), Ok(5)),
            ("exactly the bound", (0..32).fold(Script::new(), |script, _| script.data(mib())), Ok(BODY_BYTES_MAX)),
            (
                "one byte more",
                (0..32).fold(Script::new(), |script, _| script.data(mib())).data("x"),
                Err(RefusalKind::TooLarge),
            ),
            ("announced too large", Script::new().announcing(BODY_BYTES_MAX as u64 + 1), Err(RefusalKind::TooLarge)),
            (
                "announced and not sent",
                Script::new().announcing(BODY_BYTES_MAX as u64).data("x").fail(),
                Err(RefusalKind::Malformed),
            ),
            ("broken off", Script::new().data("he").fail(), Err(RefusalKind::Malformed)),
            ("standing still", Script::new().data("he").hang(), Err(RefusalKind::Timeout)),
        ] {
            assert_eq!(collected(script).await, expect, "{name}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_is_not_waited_for_without_end() {
        let trickle = (0..60).fold(Script::new(), |script, _| script.after(Duration::from_secs(20)).data("x"));
        assert_eq!(collected(trickle).await, Err(RefusalKind::Timeout));
    }
}
