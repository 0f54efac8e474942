//! A server of tools (Model Context Protocol, 2025-11-25 and 2026-07-28, streamable HTTP) that does as little as it can: what the benchmark has behind
//! the proxies that it compares.
//!
//! `tollgate-bench-tools TOOLS` listens on a free loopback port, prints it, and runs until it is ended. At each path it has so many tools; each says
//! `done`. It gives a session where it is greeted, and asks for none; on `GET` it opens a stream on which nothing comes.

use std::{convert::Infallible, env, net::SocketAddr};

use anyhow::{Context as _, Result};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};

type Answer = Response<Either<Full<Bytes>, Silence>>;

/// A body that never ends and says nothing.
struct Silence;

impl Body for Silence {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        std::task::Poll::Pending
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let tools = env::args().nth(1).context("usage: tollgate-bench-tools TOOLS")?.parse()?;
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    announce(listener.local_addr()?);
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let service = hyper::service::service_fn(move |request| answer(request, tools));
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service);
        connections.spawn(async move {
            // A client that went away is no event here.
            let _gone = connection.await;
        });
        while connections.try_join_next().is_some() {}
    }
}

#[expect(clippy::print_stdout, reason = "the benchmark reads the bound address there")]
fn announce(address: SocketAddr) {
    println!("{address}");
}

async fn answer(request: Request<Incoming>, tools: usize) -> Result<Answer, hyper::Error> {
    if request.method() == Method::GET {
        let mut stream = Response::new(Either::Right(Silence));
        let events = header::HeaderValue::from_static("text/event-stream");
        stream.headers_mut().insert(header::CONTENT_TYPE, events);
        return Ok(stream);
    }
    let body = request.into_body().collect().await?.to_bytes();
    let message: Value = serde_json::from_slice(&body).unwrap_or_default();
    let Some(id) = message.get("id") else {
        let mut taken = Response::new(Either::Left(Full::default()));
        *taken.status_mut() = StatusCode::ACCEPTED;
        return Ok(taken);
    };
    let method = message.get("method").and_then(Value::as_str).unwrap_or_default();
    let result = match method {
        "server/discover" => json!({
            "resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, "ttlMs": 0, "cacheScope": "private",
        }),
        "initialize" => json!({
            "protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "bench", "version": "1"},
        }),
        "tools/list" => json!({"resultType": "complete", "tools": (0..tools).map(tool).collect::<Vec<_>>()}),
        _ => json!({"resultType": "complete", "content": [{"type": "text", "text": "done"}]}),
    };
    let answer = json!({"jsonrpc": "2.0", "id": id, "result": result});
    let mut answer = Response::new(Either::Left(Full::from(answer.to_string())));
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    Ok(answer)
}

// As long as those of real servers are.
fn tool(number: usize) -> Value {
    json!({
        "name": format!("tool_{number:03}"),
        "description": "Looks for records that match a query, the newest first, and gives at most so many of them, with when each was changed last.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "query": {"type": "string", "description": "What to look for: words, or a phrase between quotation marks."},
                "limit": {"type": "integer", "description": "How many to give at most.", "minimum": 1, "maximum": 100},
                "since": {"type": "string", "format": "date-time", "description": "Leaves out what was changed before."},
            },
            "required": ["query"],
        },
    })
}
