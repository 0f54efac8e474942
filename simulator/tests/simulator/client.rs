//! A client that sees everything: heads, pieces, and how a body ends.

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use std::{future::Future, time::Duration};
use tokio::{net::TcpStream, task::JoinSet};
use tollgate_simulator::{Options, Running, Simulator};

pub(crate) const KEY: &str = "sk-the-canary-credential";
pub(crate) const MESSAGES: &str = "/v1/messages";
/// Nothing here takes long; a test that waits for ever shall fail.
const PATIENCE: Duration = Duration::from_secs(20);

/// What came back, to the end or to where it broke off.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) broke_off: bool,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

pub(crate) async fn start() -> Running {
    Simulator::start(Options::default()).await.unwrap()
}

pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it takes too long")
}

/// One connection for one request; the connection lives as long as this.
pub(crate) struct Sent {
    pub(crate) response: Response<Incoming>,
    _connection: JoinSet<()>,
}

pub(crate) fn request(path: &str, settings: &[(&str, &str)], body: &str) -> Request<Full<Bytes>> {
    let mut request = Request::post(path).header("host", "simulator").header("x-api-key", KEY);
    for (name, value) in settings {
        request = request.header(format!("x-simulator-{name}"), *value);
    }
    request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).unwrap()
}

/// Sends a request on a connection of its own; an error when no head comes back.
pub(crate) async fn send(simulator: &Running, request: Request<Full<Bytes>>) -> hyper::Result<Sent> {
    let stream = TcpStream::connect(simulator.addr()).await.unwrap();
    let (mut sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let mut connection = JoinSet::new();
    connection.spawn(async {
        let _ = driver.await;
    });
    let response = soon(sender.send_request(request)).await?;
    Ok(Sent { response, _connection: connection })
}

/// Sends over HTTP/2 without TLS.
pub(crate) async fn send_http2(simulator: &Running, request: Request<Full<Bytes>>) -> Answer {
    let stream = TcpStream::connect(simulator.addr()).await.unwrap();
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, driver) = handshake.await.unwrap();
    let mut connection = JoinSet::new();
    connection.spawn(async {
        let _ = driver.await;
    });
    read(soon(sender.send_request(request)).await.unwrap()).await
}

/// Reads an answer as far as it comes.
pub(crate) async fn read(response: Response<Incoming>) -> Answer {
    let (head, mut incoming) = response.into_parts();
    let mut answer = Answer { status: head.status, headers: head.headers, body: Vec::new(), broke_off: false };
    while let Some(frame) = soon(incoming.frame()).await {
        match frame {
            Ok(frame) => answer.body.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new())),
            Err(_) => {
                answer.broke_off = true;
                break;
            }
        }
    }
    answer
}

pub(crate) async fn ask(simulator: &Running, path: &str, settings: &[(&str, &str)], body: &str) -> Answer {
    read(send(simulator, request(path, settings, body)).await.unwrap().response).await
}

/// Asks for a stream of Anthropic's.
pub(crate) async fn stream(simulator: &Running, settings: &[(&str, &str)]) -> Answer {
    ask(simulator, MESSAGES, settings, r#"{"model":"claude-x","stream":true,"messages":[]}"#).await
}

/// The name and data of each event of a stream.
pub(crate) fn events(body: &[u8]) -> Vec<(String, String)> {
    let mut events = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    tollgate_dialect::sse::Splitter::new(1 << 20).push(body, |event| events.push((text(event.name), text(event.data))));
    events
}
