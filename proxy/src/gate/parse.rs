//! Room 3: what is asked. The body is read whole and looked at once; its bytes are kept as they came.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Uri};
use http_body::Body;
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout_at};
use tollgate_dialect::{Called, Dialect, Weight, asked::asked};
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
use crate::current::Current;

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
    pub(super) body: Bytes,
    /// The dialect.
    pub(super) dialect: Dialect,
    /// What the path says.
    pub(super) call: Call,
}

/// Reads the body.
pub(super) async fn parse(visitor: Visitor) -> Verdict<Ask> {
    let Visitor { mut ticket, current, caller, message: Message { headers, uri, mut body, call } } = visitor;
    let begun = Instant::now();
    let bytes = match collect(&mut body, begun).await {
        Ok(bytes) => bytes,
        Err(refusal) => return Err(ticket.refuse(refusal).leaving(body)),
    };
    ticket.times.body = begun.elapsed();
    let dialect = ticket.operation.dialect();
    let (model, stream, weight) = match asked(dialect, &called(&call), &bytes) {
        Ok(asked) => (Arc::from(&*asked.model), asked.stream, asked.weight),
        Err(error) => return Err(ticket.refuse(Refusal::new(RefusalKind::Malformed, error.to_string()))),
    };
    (ticket.model, ticket.streamed) = (model, stream);
    Ok(Ask { ticket, current, caller, request: Outgoing { headers, uri, body: bytes, dialect, call }, weight })
}

/// What the path of a call says to its dialect.
pub(super) fn called(call: &Call) -> Called<'_> {
    Called { model: call.model.as_deref().map(Into::into), stream: call.stream }
}

// Collects a body within its bounds. One that arrives in one piece is not copied.
async fn collect<B>(body: &mut B, begun: Instant) -> Result<Bytes, Refusal>
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
    use crate::gate::fake::Script;

    async fn collected(script: Script) -> Result<usize, RefusalKind> {
        let mut script = script;
        collect(&mut script, Instant::now()).await.map(|bytes| bytes.len()).map_err(|refusal| refusal.kind())
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
