//! Every way to fail.

use crate::client::{KEY, MESSAGES, ask, events, read, request, send, send_http2, soon, start, stream};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use std::{io::Read as _, time::Duration};
use tokio::time::Instant;
use tollgate_simulator::{Entry, Fault, Options, Running, Simulator, State};

const BODY: &str = r#"{"model":"m","messages":[]}"#;

#[tokio::test]
async fn an_error_has_its_status_and_the_shape_of_its_dialect() {
    let simulator = start().await;
    let gemini = "/v1beta/models/m:generateContent";
    for (path, settings, status, pointer, kind) in [
        (MESSAGES, [("status", "529"), ("retry-after", "2")].as_slice(), 529, "/error/type", "overloaded_error"),
        (MESSAGES, &[("status", "401")], 401, "/error/type", "authentication_error"),
        (
            MESSAGES,
            &[("status", "429"), ("error-type", "billing_error"), ("error-message", "Spent.")],
            429,
            "/error/type",
            "billing_error",
        ),
        (MESSAGES, &[("error-message", "Spent.")], 500, "/error/message", "Spent."),
        ("/v1/chat/completions", &[("status", "429")], 429, "/error/type", "rate_limit_exceeded"),
        (gemini, &[("status", "503")], 503, "/error/status", "UNAVAILABLE"),
        ("/model/m/converse", &[("status", "429"), ("error-message", "Slow down.")], 429, "/message", "Slow down."),
    ] {
        let answer = ask(&simulator, path, settings, BODY).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.json().pointer(pointer).and_then(Value::as_str), Some(kind), "{}", answer.text());
        assert!(!answer.header("request-id").is_empty());
        let wanted = settings.iter().find(|(name, _)| *name == "retry-after").map_or("", |(_, value)| value);
        assert_eq!(answer.header("retry-after"), wanted);
    }
    let throttled = ask(&simulator, "/model/m/invoke", &[("status", "429")], BODY).await;
    assert_eq!(throttled.header("x-amzn-errortype"), "ThrottlingException");
}

#[tokio::test]
async fn a_request_that_cannot_be_answered_is_refused() {
    let simulator = start().await;
    for (path, settings, body, status, said) in [
        ("/v1/nothing", [].as_slice(), BODY, 404, "no such path"),
        (MESSAGES, &[], "{", 400, "JSON object"),
        (MESSAGES, &[], "{}", 400, "names a model"),
        (MESSAGES, &[("colour", "red")], BODY, 400, "no setting named `colour`"),
        (MESSAGES, &[("delay", "soon")], BODY, 400, "`delay`"),
        (MESSAGES, &[], r#"{"model":"m","messages":[{"role":"user","content":"[[simulate a]]"}]}"#, 400, "directive"),
    ] {
        let answer = ask(&simulator, path, settings, body).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.text().contains(said), "{}", answer.text());
    }
    let strict = Options { require_key: Some("the one".into()), ..Options::default() };
    assert!(!format!("{strict:?}").contains("the one"));
    let strict = Simulator::start(strict).await.unwrap();
    for (key, status) in [("another", 401), ("", 401), ("the one", 200)] {
        let mut request = request(MESSAGES, &[], BODY);
        request.headers_mut().insert("x-api-key", key.parse().unwrap());
        assert_eq!(send(&strict, request).await.unwrap().response.status(), status, "{key:?}");
    }
}

#[tokio::test]
async fn bodies_that_are_no_answers() {
    let simulator = start().await;
    for (settings, status, content_type, begins) in [
        ([("body", "garbage")].as_slice(), 200, "application/json", b"\0\xff".as_slice()),
        (&[("body", "html"), ("status", "502")], 502, "text/html; charset=utf-8", b"<!DOCTYPE"),
        (&[("body", "empty")], 200, "application/json", b""),
        (&[("content-type", "text/plain")], 200, "text/plain", b"{\""),
    ] {
        let answer = ask(&simulator, MESSAGES, settings, BODY).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (status, content_type));
        assert!(answer.body.starts_with(begins), "{}", answer.text());
        assert!(serde_json::from_slice::<Value>(&answer.body).is_err() || content_type == "text/plain");
    }
    let answer = ask(&simulator, MESSAGES, &[("redirect", "http://127.0.0.1:1/x")], BODY).await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (307, "http://127.0.0.1:1/x"));
    let answer = ask(&simulator, MESSAGES, &[("answer-header", "x-should-retry: false")], BODY).await;
    assert_eq!(answer.header("x-should-retry"), "false");
}

#[tokio::test]
async fn an_answer_is_cut_where_it_was_asked() {
    let simulator = start().await;
    let whole = stream(&simulator, &[]).await.body;
    for how in ["fin", "rst"] {
        for (setting, value, bytes, count) in
            [("cut", "0", 0, 0), ("cut", "4", 0, 4), ("cut-bytes", "0", 0, 0), ("cut-bytes", "333", 333, 0)]
        {
            let answer = stream(&simulator, &[(setting, value), ("cut-with", how)]).await;
            assert!(answer.broke_off, "{setting}={value} with {how}");
            assert!(whole.starts_with(&answer.body));
            if setting == "cut" {
                assert_eq!(events(&answer.body).len(), count);
                assert!(answer.body.is_empty() || answer.body.ends_with(b"\n\n"));
            } else {
                assert_eq!(answer.body.len(), bytes);
            }
            assert_eq!(simulator.ledger().pop().unwrap().state, State::Cut);
        }
        let head = send(&simulator, request(MESSAGES, &[("cut", "head"), ("cut-with", how)], BODY)).await;
        assert!(head.is_err(), "no head comes");
        let message = ask(&simulator, MESSAGES, &[("cut-bytes", "20"), ("cut-with", how)], BODY).await;
        assert!(message.broke_off && message.body.len() == 20);
    }
    let one_more = (whole.len() + 1).to_string();
    assert_eq!(stream(&simulator, &[("cut-bytes", &one_more)]).await.body, whole);
    let over_http2 = send_http2(&simulator, request(MESSAGES, &[("cut-bytes", "20")], BODY)).await;
    assert!(over_http2.broke_off && over_http2.body.len() == 20);
}

#[tokio::test]
async fn a_reset_is_a_reset() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let simulator = start().await;
    for (how, expect) in [("rst", Some(std::io::ErrorKind::ConnectionReset)), ("fin", None)] {
        let mut socket = tokio::net::TcpStream::connect(simulator.addr()).await.unwrap();
        let head = format!(
            "POST {MESSAGES} HTTP/1.1\r\nhost: s\r\nx-api-key: k\r\nx-simulator-cut-bytes: 9\r\nx-simulator-cut-with: {how}\r\n"
        );
        socket.write_all(format!("{head}content-length: {}\r\n\r\n{BODY}", BODY.len()).as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let end = soon(socket.read_to_end(&mut answer)).await;
        assert_eq!(end.err().map(|error| error.kind()), expect, "{how}");
    }
}

#[tokio::test]
async fn an_error_event_takes_the_place_of_the_rest() {
    let simulator = start().await;
    for (path, body, data) in [
        (MESSAGES, r#"{"model":"m","stream":true}"#, "\"type\":\"overloaded_error\""),
        ("/v1/chat/completions", r#"{"model":"m","stream":true}"#, "\"error\":{"),
        ("/v1/responses", r#"{"model":"m","stream":true}"#, "\"type\":\"error\""),
        ("/v1beta/models/m:streamGenerateContent?alt=sse", "{}", "\"status\":\"UNAVAILABLE\""),
    ] {
        let answer = ask(&simulator, path, &[("error-event", "3"), ("status", "529")], body).await;
        assert!(answer.status == 200 && !answer.broke_off);
        let events = events(&answer.body);
        assert_eq!(events.len(), 4, "{path}");
        assert!(events[3].1.contains(data), "{}", events[3].1);
    }
    let twin = ask(&simulator, MESSAGES, &[("error-event", "3"), ("status", "529")], BODY).await;
    assert_eq!(twin.status, 200, "an answer that is no stream has no event");
    let frame = ask(&simulator, "/model/m/converse-stream", &[("error-event", "0"), ("status", "429")], "{}").await;
    assert!(frame.text().contains("throttlingException"));
}

#[tokio::test]
async fn a_compressed_answer_is_the_same_answer() {
    let simulator = start().await;
    let plain = stream(&simulator, &[("events", "40")]).await;
    assert_eq!(plain.header("content-encoding"), "");
    for encoding in ["gzip", "deflate", "zstd"] {
        let answer = stream(&simulator, &[("events", "40"), ("encoding", encoding)]).await;
        assert_eq!(answer.header("content-encoding"), encoding);
        let mut body = Vec::new();
        match encoding {
            "gzip" => flate2::read::GzDecoder::new(&*answer.body).read_to_end(&mut body).unwrap(),
            "deflate" => flate2::read::ZlibDecoder::new(&*answer.body).read_to_end(&mut body).unwrap(),
            _ => zstd::stream::read::Decoder::new(&*answer.body).unwrap().read_to_end(&mut body).unwrap(),
        };
        assert_eq!(body, plain.body);
        let message = ask(&simulator, MESSAGES, &[("encoding", encoding)], BODY).await;
        assert!(message.headers.get("content-length").is_none() && !message.broke_off);
    }
}

#[tokio::test]
async fn slow_answers_are_whole_and_take_their_time() {
    let simulator = start().await;
    let whole = stream(&simulator, &[]).await.body;
    for (settings, least) in [
        ([("delay", "30ms"), ("delay-body", "30ms")].as_slice(), 60),
        (&[("spacing", "3ms")], 3 * (events(&whole).len() as u64 - 1)),
        (&[("drip", "100"), ("spacing", "2ms")], 2 * (whole.len() as u64 / 100)),
        (&[("drip", "1")], 0),
    ] {
        let begun = Instant::now();
        assert_eq!(stream(&simulator, settings).await.body, whole);
        assert!(begun.elapsed() >= Duration::from_millis(least), "{settings:?}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_at_once() {
    let simulator = start().await;
    let wanted = |settings| request(MESSAGES, settings, r#"{"model":"m","stream":true}"#);
    let is_open = |entries: &[Entry]| entries.iter().any(|entry| entry.state == State::Open);
    // Before the head.
    for settings in [&[("hang", "head")], &[("delay", "1m")]] {
        simulator.clear_ledger();
        let mut sending = Box::pin(send(&simulator, wanted(settings)));
        tokio::select! {
            _ = &mut sending => panic!("no head was to come"),
            _ = soon(simulator.ledger_when(is_open)) => {}
        }
        drop(sending);
        noticed(&simulator, settings).await;
    }
    // Behind the head, and behind the first event.
    for settings in [[("hang", "0")].as_slice(), &[("hang", "3")], &[("events", "1000000"), ("spacing", "20ms")]] {
        simulator.clear_ledger();
        let mut sent = send(&simulator, wanted(settings)).await.unwrap();
        if settings[0].1 != "0" {
            assert!(soon(sent.response.body_mut().frame()).await.unwrap().is_ok());
        }
        drop(sent);
        noticed(&simulator, settings).await;
    }
}

/// Waits until the ledger says that the one client left. The bound is for a busy machine: alone it takes less than a millisecond.
async fn noticed(simulator: &Running, settings: &[(&str, &str)]) {
    let left = Instant::now();
    let entries = soon(simulator.ledger_when(|entries| entries.iter().all(|entry| entry.state != State::Open))).await;
    assert_eq!(entries.first().map(|entry| entry.state), Some(State::Aborted), "{settings:?}");
    assert!(left.elapsed() < Duration::from_secs(1), "{settings:?}");
}

#[tokio::test]
async fn planned_faults_hit_whom_they_name_and_no_more_often() {
    let simulator = start().await;
    assert!(simulator.plan(Fault::next([("status", "503")])));
    let control = |body: Value| ask(&simulator, "/simulator/faults", &[], Box::leak(body.to_string().into_boxed_str()));
    let planned =
        control(json!({"next": 2, "credential": KEY, "path": MESSAGES, "settings": {"status": 529, "retry-after": 1}}))
            .await;
    assert_eq!(planned.status, 201);
    assert!(!planned.text().contains(KEY));
    assert_eq!(control(json!({"credential": "another", "settings": {"status": 500}})).await.status, 201);
    for (bad, said) in [
        (json!({"settings": {"colour": "red"}}), "colour"),
        (json!({"settings": {}, "often": 1}), "often"),
        (json!({"next": 1}), "settings"),
    ] {
        let answer = control(bad).await;
        assert!(answer.status == 400 && answer.text().contains(said), "{}", answer.text());
    }
    for expect in [503, 529, 529, 200] {
        assert_eq!(ask(&simulator, MESSAGES, &[("status", "200")], BODY).await.status.as_u16(), expect);
    }
    let mut request = request("/simulator/faults", &[], "");
    *request.method_mut() = http::Method::GET;
    let rest = read(send(&simulator, request).await.unwrap().response).await.json();
    assert_eq!(rest["faults"].as_array().map(Vec::len), Some(1));
}
