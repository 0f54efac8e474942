//! What is the same each time, and what is remembered.

use crate::client::{KEY, MESSAGES, ask, read, request, send, soon, start, stream};
use futures_util::future::join_all;
use http::Method;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use tollgate_simulator::{Behaviour, Options, Simulator, State};

#[tokio::test]
async fn the_same_request_has_the_same_answer_from_every_simulator() {
    let (one, other) = (start().await, start().await);
    for path in [
        MESSAGES,
        "/v1/chat/completions",
        "/v1/responses",
        "/v1/embeddings",
        "/v1beta/models/m:generateContent",
        "/v1beta/models/m:streamGenerateContent",
        "/model/m/invoke-with-response-stream",
        "/model/m/converse",
    ] {
        for body in [r#"{"model":"m","input":"x"}"#, r#"{"model":"m","input":"x","stream":true}"#] {
            let (first, second) = (ask(&one, path, &[], body).await, ask(&other, path, &[], body).await);
            assert_eq!(first.body, second.body, "{path}");
            assert!(!first.body.is_empty() && first.status == 200);
        }
    }
    let ids: BTreeSet<String> = one.ledger().into_iter().map(|entry| entry.request_id).collect();
    assert_eq!(ids.len(), one.ledger().len());
}

#[tokio::test]
async fn the_ledger_has_hashes_and_no_texts() {
    let simulator = start().await;
    let body = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"the canary text"}]}"#;
    let mut request = request("/v1/messages?beta=true&key=the-canary-key", &[("text", "hi")], body);
    request.headers_mut().insert("anthropic-beta", "a,b".parse().unwrap());
    request.headers_mut().insert("x-claude-code-session-id", "s-1".parse().unwrap());
    request.headers_mut().insert("x-private", "the-canary-header".parse().unwrap());
    let answer = read(send(&simulator, request).await.unwrap().response).await;
    let mut request = crate::client::request("/simulator/ledger", &[], "");
    *request.method_mut() = Method::GET;
    let ledger = read(send(&simulator, request).await.unwrap().response).await;
    assert!(!ledger.text().contains("canary"), "{}", ledger.text());
    let entry = &ledger.json()["entries"][0];
    let hash = |text: &str| hex::encode(Sha256::digest(text));
    assert_eq!(entry["body_sha256"], hash(body));
    assert_eq!(entry["credential_sha256"], hash(KEY));
    assert_eq!(entry["request_id"], answer.header("request-id"));
    assert_eq!(entry["headers"]["anthropic-beta"], "a,b");
    assert_eq!(entry["headers"]["x-claude-code-session-id"], "s-1");
    assert_eq!(entry["query"], "beta=true&key=");
    assert_eq!((entry["state"].as_str(), entry["status"].as_u64()), (Some("completed"), Some(200)));
    assert_eq!((entry["model"].as_str(), entry["stream"].as_bool()), (Some("m"), Some(true)));
    assert!(entry["header_names"].as_array().unwrap().iter().any(|name| name == "x-private"));
    simulator.clear_ledger();
    assert!(simulator.ledger().is_empty());
    stream(&simulator, &[]).await;
    assert_eq!(simulator.ledger()[0].number, 1, "numbers go on");
}

#[tokio::test]
async fn two_hundred_streams_at_once_are_all_whole() {
    let simulator = start().await;
    let settings: &[(&str, &str)] = &[("events", "20"), ("spacing", "5ms")];
    let answers = soon(join_all((0..200).map(|_| stream(&simulator, settings)))).await;
    assert!(answers.iter().all(|answer| !answer.broke_off && answer.body == answers[0].body));
    let ledger =
        soon(simulator.ledger_when(|entries| entries.iter().all(|entry| entry.state == State::Completed))).await;
    assert_eq!(ledger.len(), 200);
    assert!(ledger.iter().all(|entry| entry.bytes_sent == answers[0].body.len() as u64));
}

#[tokio::test]
async fn what_is_set_at_start_holds_until_a_request_asks_otherwise() {
    let defaults = Behaviour::default().with([("text", "By default."), ("output-tokens", "5")]).unwrap();
    let simulator = Simulator::start(Options { defaults, ledger: false, ..Options::default() }).await.unwrap();
    let body = |text: &str| format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{text}"}}]}}"#);
    for (settings, said, expect) in [
        ([].as_slice(), "hi", "By default."),
        (&[], "[[simulate text=Directed]]", "Directed"),
        (&[("text", "Headed.")], "[[simulate text=Directed]]", "Headed."),
    ] {
        let answer = ask(&simulator, MESSAGES, settings, &body(said)).await.json();
        assert_eq!(answer["content"][0]["text"], expect);
        assert_eq!(answer["usage"]["output_tokens"], 5);
    }
    assert!(simulator.ledger().is_empty(), "without a ledger nothing is remembered");
}

#[tokio::test]
async fn a_simulator_that_shuts_down_cuts_its_streams_and_frees_its_port() {
    let simulator = start().await;
    let address = simulator.addr();
    let sent = send(&simulator, request(MESSAGES, &[("hang", "3")], r#"{"model":"m","stream":true}"#)).await.unwrap();
    soon(simulator.shutdown()).await;
    assert!(read(sent.response).await.broke_off);
    let again = Simulator::start(Options { listen: address, ..Options::default() }).await.unwrap();
    assert_eq!(stream(&again, &[]).await.status, 200);
}
