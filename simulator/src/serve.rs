//! One request from its head to its answer.

mod beta;
mod credential;
mod make;

use crate::{
    ask::{Ask, LastTurn},
    behaviour::{Behaviour, Odd, Place, Unclear, directive},
    control,
    dialects::failure::Wrong,
    faults::Seen,
    ledger::{self, Entry, State, Visit},
    play::{self, CutOff, Score, Sending, wait},
    route::{Call, Vendor},
    server::{Shared, sha256},
    wire::Reset,
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt as _, Collected, Limited};
use hyper::body::Incoming;
use make::{Answer, Content};
use std::sync::Arc;

/// The largest body that is read: twice what Anthropic takes, so that a gateway's own limit can be seen to work.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A request that has arrived.
struct Arrival {
    parts: Parts,
    /// None where there is no such path.
    call: Option<Call>,
    /// None where it is too large, or broke off.
    body: Option<Bytes>,
    request_id: String,
    credential_sha256: Option<String>,
    reset: Reset,
}

/// What is wanted.
struct Wanted {
    ask: Option<Ask>,
    behaviour: Behaviour,
    has_tool_result: bool,
}

/// Answers one request.
pub(crate) async fn respond(
    shared: Arc<Shared>,
    reset: Reset,
    request: Request<Incoming>,
) -> Result<Response<Sending>, CutOff> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map(Collected::to_bytes).ok();
    let call = Call::of(&parts.method, parts.uri.path());
    if let Some(Call::Control { path }) = &call {
        let (status, answer) = control::respond(&shared, &parts.method, path, &body.unwrap_or_default());
        return Ok(json(status, answer));
    }
    let credential_sha256 = credential::find(&parts).map(|credential| sha256(credential.as_bytes()));
    let request_id = shared.next_request_id();
    let arrival = Arrival { parts, call, body, request_id, credential_sha256, reset };
    let visit = arrival.enter(&shared);
    match arrival.understand(&shared) {
        Ok(wanted) => arrival.answer(wanted, visit).await,
        Err(wrong) => Ok(arrival.refuse(&wrong, &Behaviour::default(), visit)),
    }
}

// === impl Arrival ===

impl Arrival {
    /// Writes the request down.
    fn enter(&self, shared: &Shared) -> Visit {
        if !shared.keeps_ledger {
            return Visit::unrecorded();
        }
        let body = self.body.as_deref().unwrap_or_default();
        let (header_names, headers) = ledger::headers(&self.parts.headers);
        shared.ledger.open(Entry {
            number: 0,
            request_id: self.request_id.clone(),
            method: self.parts.method.to_string(),
            path: self.parts.uri.path().to_owned(),
            query: self.parts.uri.query().map(ledger::query),
            body_sha256: sha256(body),
            body_bytes: body.len() as u64,
            header_names,
            headers,
            credential_sha256: self.credential_sha256.clone(),
            model: None,
            stream: false,
            status: None,
            tokens: None,
            state: State::Open,
            bytes_sent: 0,
        })
    }

    /// Reads what is wanted, or says what is wrong with it.
    fn understand(&self, shared: &Shared) -> Result<Wanted, Wrong> {
        let Some(call) = &self.call else {
            return Err(Wrong::new(
                StatusCode::NOT_FOUND,
                "The simulator has no such path; see `tollgate-simulator --help`.",
            ));
        };
        let Some(body) = &self.body else {
            return Err(Wrong::new(StatusCode::PAYLOAD_TOO_LARGE, "The body is larger than 64 MiB, or broke off."));
        };
        if !matches!(call, Call::Probe) && !shared.admits(self.credential_sha256.as_deref()) {
            return Err(Wrong::new(StatusCode::UNAUTHORIZED, "The simulator does not accept this key."));
        }
        let ask = Ask::read(call, body);
        if ask.is_none() && self.parts.method == Method::POST {
            return Err(Wrong::new(StatusCode::BAD_REQUEST, "The body must be a JSON object that names a model."));
        }
        if let Some(problem) = beta::refused(call, &self.parts.headers, body) {
            return Err(Wrong::new(StatusCode::BAD_REQUEST, problem));
        }
        let unclear = |problem: Unclear| Wrong::new(StatusCode::BAD_REQUEST, problem.to_string());
        let (behaviour, has_tool_result) = self.behaviour(shared, body, ask.as_ref()).map_err(unclear)?;
        Ok(Wanted { ask, behaviour, has_tool_result })
    }

    /// A planned fault comes before headers, these before directives, these before what was set at start.
    fn behaviour(&self, shared: &Shared, body: &[u8], ask: Option<&Ask>) -> Result<(Behaviour, bool), Unclear> {
        let mut behaviour = shared.defaults.clone();
        let mut from_headers = Behaviour::default();
        from_headers.set_from_headers(&self.parts.headers)?;
        let turn = LastTurn::read(body, behaviour.wants_tools() || from_headers.wants_tools());
        directive::apply(&mut behaviour, &turn.text)?;
        behaviour.set_from_headers(&self.parts.headers)?;
        let seen = Seen {
            credential_sha256: self.credential_sha256.as_deref(),
            path: self.parts.uri.path(),
            model: ask.map(|ask| ask.model.as_str()),
        };
        if let Some(fault) = shared.faults.take(seen) {
            fault.apply(&mut behaviour)?;
        }
        Ok((behaviour, turn.has_tool_result))
    }

    /// Answers as is wanted.
    async fn answer(self, wanted: Wanted, mut visit: Visit) -> Result<Response<Sending>, CutOff> {
        let behaviour = &wanted.behaviour;
        if let Some(ask) = &wanted.ask {
            visit.asked(&ask.model, ask.stream);
        }
        wait(behaviour.pace.delay).await;
        if behaviour.fault.hang == Some(Place::Head) {
            std::future::pending::<()>().await;
        }
        if behaviour.fault.cut == Some(Place::Head) {
            return Err(play::cut(behaviour.fault.reset, &self.reset, &mut visit).await);
        }
        if let Some(failure) =
            behaviour.failure.as_ref().filter(|_| !behaviour.fails_midway() && behaviour.shape.odd.is_none())
        {
            return Ok(self.refuse(&Wrong::asked(failure), behaviour, visit));
        }
        let status = behaviour.failure.as_ref().and_then(|failure| failure.status);
        let status = status.filter(|_| behaviour.shape.odd.is_some()).unwrap_or(StatusCode::OK);
        if let Some(to) = &behaviour.shape.redirect {
            let answer = Answer::whole("text/plain", Bytes::new());
            let mut response = self.send(StatusCode::TEMPORARY_REDIRECT, answer, behaviour, visit);
            response.headers_mut().insert(header::LOCATION, to.clone());
            return Ok(response);
        }
        let answer = match behaviour.shape.odd {
            Some(odd) => self::odd(odd),
            None => match make::make(&self, &wanted) {
                Ok(answer) => answer,
                Err(wrong) => return Ok(self.refuse(&wrong, behaviour, visit)),
            },
        };
        Ok(self.send(status, answer, behaviour, visit))
    }

    /// Answers an error.
    fn refuse(&self, wrong: &Wrong, behaviour: &Behaviour, visit: Visit) -> Response<Sending> {
        let call = self.call.as_ref().unwrap_or(&Call::Messages);
        let (body, kind) = wrong.body(call, &self.request_id);
        let mut response = self.send(wrong.status, Answer::whole("application/json", body), behaviour, visit);
        if let Some(kind) = kind.and_then(|kind| HeaderValue::try_from(kind).ok()) {
            response.headers_mut().insert(HeaderName::from_static("x-amzn-errortype"), kind);
        }
        response
    }

    /// Puts head and body together.
    fn send(&self, status: StatusCode, answer: Answer, behaviour: &Behaviour, mut visit: Visit) -> Response<Sending> {
        let Answer { content_type, content, tokens } = answer;
        visit.answering(status.as_u16(), tokens);
        let length = content.length().filter(|_| behaviour.shape.encoding.is_none());
        let body = match content {
            _ if self.parts.method == Method::HEAD => {
                visit.close(State::Completed);
                Sending::Whole { bytes: Bytes::new(), visit }
            }
            Content::Whole(bytes) if behaviour.is_plain() => Sending::Whole { bytes, visit },
            Content::Whole(bytes) => self.play(Box::new(std::iter::once(bytes)), behaviour, false, visit),
            Content::Stream(frames) => self.play(frames, behaviour, true, visit),
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(length) = length {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        if let Some(encoding) = behaviour.shape.encoding {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding.name()));
        }
        if let Ok(id) = HeaderValue::try_from(&*self.request_id) {
            let own = match self.call.as_ref().map(Call::vendor) {
                Some(Vendor::OpenAi) => Some("x-request-id"),
                Some(Vendor::Bedrock) => Some("x-amzn-requestid"),
                _ => None,
            };
            own.into_iter().for_each(|name| drop(headers.insert(HeaderName::from_static(name), id.clone())));
            headers.insert(HeaderName::from_static("request-id"), id);
        }
        for (name, value) in &behaviour.shape.headers {
            if name == header::CONTENT_TYPE {
                headers.insert(name, value.clone());
            } else {
                headers.append(name, value.clone());
            }
        }
        response
    }

    fn play(&self, frames: crate::dialects::Frames, behaviour: &Behaviour, is_stream: bool, visit: Visit) -> Sending {
        let mut fault = behaviour.fault;
        fault.error_event = fault.error_event.filter(|_| is_stream);
        let wrong = Wrong::asked(behaviour.failure.as_ref().unwrap_or(&crate::behaviour::Failure::default()));
        let call = self.call.as_ref().unwrap_or(&Call::Messages);
        let error = wrong.event(call, &self.request_id, fault.error_event.unwrap_or_default());
        let score = Score { frames, pace: behaviour.pace, fault, error, encoding: behaviour.shape.encoding };
        Sending::play(score, visit, self.reset.clone())
    }
}

/// A body that is no answer.
fn odd(odd: Odd) -> Answer {
    match odd {
        Odd::Garbage => {
            Answer::whole("application/json", Bytes::from_static(b"\x00\xff{\"type\":\"mess\x80age\", nothing"))
        }
        Odd::Html => {
            let page =
                "<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body>Bad Gateway</body></html>";
            Answer::whole("text/html; charset=utf-8", Bytes::from_static(page.as_bytes()))
        }
        Odd::Empty => Answer::whole("application/json", Bytes::new()),
    }
}

fn json(status: StatusCode, bytes: Bytes) -> Response<Sending> {
    let mut response = Response::new(Sending::Whole { bytes, visit: Visit::unrecorded() });
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
