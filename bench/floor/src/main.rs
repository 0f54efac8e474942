//! The floor of the benchmark: a reverse proxy on the libraries that Tollgate stands on, and nothing more. It passes bodies
//! as they come, reads none, knows no keys, counts nothing.
//!
//! `tollgate-bench-floor http://127.0.0.1:PORT` listens on a free loopback port, prints it, and runs until it is ended.

use std::{convert::Infallible, env, net::SocketAddr};

use anyhow::{Context as _, Result};
use http::{HeaderName, Request, Response, StatusCode, Uri, header, uri::Authority};
use http_body_util::{Either, Empty};
use hyper::body::{Bytes, Incoming};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use tokio::{net::TcpListener, task::JoinSet};

/// What belongs to one connection and is not passed on (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

type Upstream = Client<HttpConnector, Incoming>;
type Answer = Response<Either<Incoming, Empty<Bytes>>>;

#[tokio::main]
async fn main() -> Result<()> {
    let target = env::args().nth(1).context("usage: tollgate-bench-floor http://HOST:PORT")?;
    let authority = target.parse::<Uri>()?.into_parts().authority.context("the target has no authority")?;
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    announce(listener.local_addr()?);
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let upstream = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
    serve(listener, upstream, authority).await
}

#[expect(clippy::print_stdout, reason = "the benchmark reads the bound address there")]
fn announce(address: SocketAddr) {
    println!("{address}");
}

async fn serve(listener: TcpListener, upstream: Upstream, authority: Authority) -> Result<()> {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (upstream, authority) = (upstream.clone(), authority.clone());
        let service = hyper::service::service_fn(move |request| {
            let (upstream, authority) = (upstream.clone(), authority.clone());
            async move { Ok::<_, Infallible>(pass(&upstream, authority, request).await) }
        });
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

async fn pass(upstream: &Upstream, authority: Authority, mut request: Request<Incoming>) -> Answer {
    for name in &HOP_BY_HOP {
        request.headers_mut().remove(name);
    }
    request.headers_mut().remove(header::HOST);
    let path = request.uri().path_and_query().cloned();
    let uri = Uri::builder()
        .scheme("http")
        .authority(authority)
        .path_and_query(path.map_or_else(|| "/".into(), |path| path.to_string()));
    let answer = match uri.build() {
        Ok(uri) => {
            *request.uri_mut() = uri;
            upstream.request(request).await.ok()
        }
        Err(_) => None,
    };
    let Some(mut answer) = answer else {
        let mut failed = Response::new(Either::Right(Empty::new()));
        *failed.status_mut() = StatusCode::BAD_GATEWAY;
        return failed;
    };
    for name in &HOP_BY_HOP {
        answer.headers_mut().remove(name);
    }
    answer.map(Either::Left)
}
