use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value::Value, trace::v1::Span as Exported,
};
use prost::Message as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::*;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn options(endpoint: Option<String>) -> Options {
    Options {
        service: "tollgate-test",
        version: "1",
        json: true,
        filter: "off".to_owned(),
        otlp_endpoint: endpoint,
        trace_ratio: 1.0,
        attributes: vec![("cloud.region", "here".to_owned())],
    }
}

// Reads one HTTP request and answers 200. Returns its first line and its body.
async fn collect(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut read = Vec::new();
    loop {
        let head_ends = read.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = head_ends {
            let head = String::from_utf8(read[..end].to_vec()).unwrap().to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if read.len() >= end + 4 + length.parse::<usize>().unwrap() {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
                return (head.lines().next().unwrap().to_owned(), read.split_off(end + 4));
            }
        }
        assert!(stream.read_buf(&mut read).await.unwrap() > 0, "the exporter hung up");
    }
}

fn attribute(span: &Exported, name: &str) -> Option<Value> {
    span.attributes.iter().find(|pair| pair.key == name)?.value.clone()?.value
}

#[tokio::test]
async fn spans_reach_the_collector_under_their_remote_parent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (telemetry, subscriber) = Telemetry::prepare(&options(Some(endpoint))).unwrap();
    assert!(telemetry.sampler().sampled(None));
    tracing::subscriber::with_default(subscriber, || {
        let visit = span::visit(Some(&PARENT.parse().unwrap()), "POST", "/v1/messages");
        let attempt = span::attempt(&visit, "chat", "anthropic", "claude-sonnet-4-5");
        span::count(&attempt, "gen_ai.usage.output_tokens", 12);
        let onward = span::traceparent(&attempt).unwrap();
        assert!(onward.is_sampled());
        assert_eq!(onward.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        let _library = tracing::info_span!("a library's span, with who knows what");
    });
    let (collected, ()) = tokio::join!(
        async {
            let (mut stream, _) = listener.accept().await.unwrap();
            collect(&mut stream).await
        },
        telemetry.shutdown()
    );
    assert_eq!(collected.0, "post /v1/traces http/1.1");
    let request = ExportTraceServiceRequest::decode(collected.1.as_slice()).unwrap();
    let resource = request.resource_spans[0].resource.clone().unwrap();
    for expect in ["service.name", "service.version", "cloud.region"] {
        assert!(resource.attributes.iter().any(|pair| pair.key == expect), "{expect}");
    }
    let spans: Vec<Exported> =
        request.resource_spans.into_iter().flat_map(|of| of.scope_spans).flat_map(|of| of.spans).collect();
    assert_eq!(spans.len(), 2, "{spans:?}");
    let visit = spans.iter().find(|span| span.name == "POST /v1/messages").unwrap();
    let attempt = spans.iter().find(|span| span.name == "chat claude-sonnet-4-5").unwrap();
    assert_eq!(visit.parent_span_id, [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]);
    assert_eq!(attempt.parent_span_id, visit.span_id);
    assert_eq!(attribute(attempt, "gen_ai.usage.output_tokens"), Some(Value::IntValue(12)));
    assert_eq!(attribute(attempt, "gen_ai.response.model"), None);
}

#[tokio::test]
async fn a_collector_that_is_away_holds_nothing_up() {
    let unbound = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (telemetry, subscriber) = Telemetry::prepare(&options(Some(format!("http://{unbound}")))).unwrap();
    tracing::subscriber::with_default(subscriber, || {
        // Far more than the queue takes: what does not fit is dropped, and no call waits.
        for _ in 0..10_000 {
            drop(span::visit(None, "POST", "/v1/messages"));
        }
    });
    tokio::time::timeout(FLUSH_MAX * 2, telemetry.shutdown()).await.unwrap();
}

#[tokio::test]
async fn without_a_collector_nothing_is_traced() {
    let (telemetry, subscriber) = Telemetry::prepare(&options(None)).unwrap();
    assert!(!telemetry.sampler().sampled(None));
    tracing::subscriber::with_default(subscriber, || {
        let visit = span::visit(Some(&PARENT.parse().unwrap()), "POST", "/v1/messages");
        assert_eq!(span::traceparent(&visit), None);
    });
    telemetry.shutdown().await;
}

#[tokio::test]
async fn wrong_options_are_refused() {
    let check = |change: fn(&mut Options), expect: &str| {
        let mut options = options(None);
        change(&mut options);
        let error = Telemetry::prepare(&options).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.starts_with(expect), "{error}");
    };
    check(|options| options.filter = "tollgate=loud".to_owned(), "log filter does not parse");
    check(|options| options.trace_ratio = 1.1, "trace ratio must be from 0 to 1");
    check(|options| options.trace_ratio = f64::NAN, "trace ratio must be from 0 to 1");
    check(
        |options| options.otlp_endpoint = Some("canary".to_owned()),
        "otlp endpoint must be an http or https address",
    );
}
