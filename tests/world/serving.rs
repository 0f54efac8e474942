//! An HTTP server of a test's own, such as a server of tools: what is asked goes to a function.

use std::{convert::Infallible, fmt};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinSet};

use crate::must;

/// A server on loopback. It ends when it is dropped.
pub struct Serving {
    _connections: JoinSet<()>,
}

// === impl Serving ===

impl Serving {
    /// Listens on a free port; gives its URL, without a path, and what becomes the server when it is told what to answer.
    ///
    /// # Panics
    /// When no port can be had.
    pub async fn bind() -> (String, TcpListener) {
        let listener = must("bind", TcpListener::bind("127.0.0.1:0").await);
        (format!("http://{}", must("address", listener.local_addr())), listener)
    }

    /// Answers whatever comes.
    pub fn start<F, R>(listener: TcpListener, answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
        R: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    {
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let answer = answer.clone();
                connections.spawn(async move {
                    let service = service_fn(move |request| {
                        let answering = answer(request);
                        async move { Ok::<_, Infallible>(answering.await) }
                    });
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { _connections: serving }
    }
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving").finish_non_exhaustive()
    }
}

/// An answer in JSON; null: with an empty body.
///
/// # Panics
/// When the status is none.
#[must_use]
pub fn json(status: u16, body: &Value) -> Response<Full<Bytes>> {
    let text = if body.is_null() { String::new() } else { body.to_string() };
    let answer = Response::builder().status(status).header("content-type", "application/json");
    must("answer", answer.body(Full::from(text)))
}
