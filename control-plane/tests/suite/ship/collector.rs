//! A collector over HTTP that fails as it is told.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::post,
};
use futures_util::{StreamExt as _, stream};
use serde_json::Value;
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet};

use super::PATIENCE;

/// How a request is answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Answer {
    Taken,
    Unavailable,
    BadRequest,
    /// With 200, of which the end never comes.
    CutOff,
    /// Not at all: the connection ends.
    Dropped,
}

/// A request, and how it was answered.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) answer: Answer,
    pub(super) authorization: String,
    pub(super) events: Vec<Value>,
}

pub(super) struct Collector {
    url: String,
    requests: mpsc::UnboundedReceiver<Request>,
    _serving: JoinSet<std::io::Result<()>>,
}

#[derive(Clone)]
struct Desk {
    plan: Arc<Mutex<VecDeque<Answer>>>,
    requests: mpsc::UnboundedSender<Request>,
}

/// The index of an event.
pub(super) fn index(event: &Value) -> i64 {
    event["event"]["index"].as_i64().unwrap()
}

impl Collector {
    /// Answers as planned, and then takes everything.
    pub(super) async fn start(plan: &[Answer]) -> Self {
        let (send, requests) = mpsc::unbounded_channel();
        let desk = Desk { plan: Arc::new(Mutex::new(plan.iter().copied().collect())), requests: send };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new().route("/services/collector/event", post(take)).with_state(desk);
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, routes).await });
        Self { url, requests, _serving: serving }
    }

    /// The configuration of a sink that ships there.
    pub(super) fn splunk(&self, name: &str) -> String {
        format!(
            "[[sink]]\nname = '{name}'\nkind = 'splunk'\nurl = '{}'\ntoken = 'canary-token'\nhost = 'gateway-1'\n",
            self.url
        )
    }

    pub(super) async fn request(&mut self) -> Request {
        tokio::time::timeout(PATIENCE, self.requests.recv()).await.expect("a request").unwrap()
    }

    pub(super) fn is_quiet(&mut self) -> bool {
        self.requests.is_empty()
    }
}

impl Request {
    pub(super) fn first(&self) -> i64 {
        index(self.events.first().unwrap())
    }

    pub(super) fn last(&self) -> i64 {
        index(self.events.last().unwrap())
    }
}

async fn take(State(desk): State<Desk>, headers: HeaderMap, body: Bytes) -> Response {
    let answer = desk.plan.lock().unwrap().pop_front().unwrap_or(Answer::Taken);
    let events = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let events = events.map(|line| serde_json::from_slice(line).unwrap()).collect();
    let authorization = headers["authorization"].to_str().unwrap().to_owned();
    // Whoever has asked enough does not listen any more.
    let _ = desk.requests.send(Request { answer, authorization, events });
    let broken = || Err(std::io::Error::other("cut off"));
    match answer {
        Answer::Taken => r#"{"text":"Success","code":0}"#.into_response(),
        Answer::Unavailable => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Answer::BadRequest => StatusCode::BAD_REQUEST.into_response(),
        Answer::CutOff => {
            // What is there is sent when there is nothing more for a moment.
            let breaks = stream::once(async move {
                tokio::task::yield_now().await;
                broken()
            });
            let begins = stream::once(std::future::ready(Ok(Bytes::from_static(br#"{"text":"#))));
            Body::from_stream(begins.chain(breaks)).into_response()
        }
        Answer::Dropped => Body::from_stream(stream::iter([broken(), Ok(Bytes::new())])).into_response(),
    }
}
