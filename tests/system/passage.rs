//! Bytes pass unchanged in both directions, and so do the headers that belong to the two ends.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tollgate_tests::{
    client::{self, MODEL, message},
    cluster::{Cluster, PROVIDER_SECRET},
};

/// A body that no writer of JSON would write: odd spaces, odd order, escapes, unknown fields, large numbers.
fn odd_body(stream: bool) -> Vec<u8> {
    format!(
        "{{ \"metadata\":{{\"user_id\":\"\\u007b\\\"x\\\"\\u007d\"}},\n\t\"future_field\" : 1e400 ,\"max_tokens\":128,\"messages\":[{{\"content\":\"caf\\u00e9 \
         \u{1F980} 1.0 1.00\",\"role\":\"user\"}},{{\"role\":\"system\",\"content\":[]}}],\"model\":\"{MODEL}\",\"stream\":{stream}}}\r\n "
    )
    .into_bytes()
}

fn hash(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    hex::encode(sha2::Sha256::digest(bytes))
}

async fn ledger(cluster: &Cluster) -> Vec<Value> {
    let url = format!("http://{}/simulator/ledger", cluster.simulator.addr());
    let answer = client::read(cluster.http.get(url)).await.json();
    answer["entries"].as_array().cloned().unwrap_or_else(|| panic!("no entries in {answer}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_provider_gets_the_bytes_that_the_client_sent_and_the_client_those_that_it_answered() {
    let cluster = Cluster::small().await;
    let key = cluster.key("dev").await;
    for stream in [false, true] {
        let body = odd_body(stream);
        let direct = format!("http://{}/v1/messages", cluster.simulator.addr());
        let asked = |url: String, credential: &str| {
            let request = cluster.http.post(url).header("authorization", format!("Bearer {credential}"));
            let request = request.header("anthropic-version", "2023-06-01").header("content-type", "application/json");
            client::read(
                request.header("x-simulator-pings", "3").header("x-simulator-thinking", "Hm.").body(body.clone()),
            )
        };
        let through = asked(format!("{}/v1/messages", cluster.replicas[0].url), &key).await;
        let plain = asked(direct, PROVIDER_SECRET).await;
        assert_eq!((through.status, through.ended), (plain.status, true));
        assert_eq!(through.header("content-type"), plain.header("content-type"));
        let seen = ledger(&cluster).await;
        assert_eq!(seen[seen.len() - 2]["body_sha256"], hash(&body), "stream {stream}");
        assert_eq!(seen[seen.len() - 2]["body_sha256"], seen[seen.len() - 1]["body_sha256"]);
        // The simulator numbers its answers; all else is the same.
        assert_eq!(unnumbered(&through.text()), unnumbered(&plain.text()), "stream {stream}");
    }
}

fn unnumbered(answer: &str) -> String {
    let mut text = String::new();
    let mut rest = answer;
    while let Some((before, behind)) = rest.split_once("\"id\":\"msg_") {
        text.push_str(before);
        rest = behind.split_once('"').map_or("", |(_, behind)| behind);
    }
    text + rest
}

#[tokio::test(flavor = "multi_thread")]
async fn end_to_end_headers_pass_as_an_open_list_and_credentials_do_not() {
    let cluster = Cluster::small().await;
    let key = cluster.key("dev").await;
    let request =
        cluster.http.post(format!("{}/v1/messages?beta=true", cluster.replicas[0].url)).header("x-api-key", &key);
    let request = request.header("anthropic-beta", "claude-code-20250219,interleaved-thinking-2025-05-14");
    let request = request.header("anthropic-version", "2023-06-01").header("anthropic-of-the-future", "yes");
    let request = request.header("x-claude-code-session-id", "session-1").header("x-claude-code-agent-id", "agent-1");
    let request = request.header("connection", "x-private").header("x-private", "for the first hop");
    let request = request.header("x-simulator-answer-header", "anthropic-answer-of-the-future: yes");
    let answer = client::read(request.body(message("hello", false))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.header("request-id").starts_with("req_"));
    assert_eq!(answer.header("anthropic-answer-of-the-future"), "yes");
    let seen = ledger(&cluster).await.pop().unwrap();
    assert_eq!((seen["path"].as_str(), seen["query"].as_str()), (Some("/v1/messages"), Some("beta=true")));
    let headers: BTreeMap<String, Value> = serde_json::from_value(seen["headers"].clone()).unwrap();
    for (name, value) in [
        ("anthropic-beta", "claude-code-20250219,interleaved-thinking-2025-05-14"),
        ("anthropic-version", "2023-06-01"),
        ("anthropic-of-the-future", "yes"),
        ("x-claude-code-session-id", "session-1"),
        ("x-claude-code-agent-id", "agent-1"),
    ] {
        assert_eq!(headers.get(name), Some(&json!(value)), "{name}");
    }
    let names = seen["header_names"].to_string();
    assert!(!names.contains("x-private"), "a header of the first hop went further: {names}");
    assert_eq!(
        seen["credential_sha256"],
        hash(PROVIDER_SECRET.as_bytes()),
        "the provider's credential, not the key, is sent"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_counted_models_listed_and_probes_answered() {
    let cluster = Cluster::small().await;
    let key = cluster.admin.key_with(tollgate_proto::admin::v1::Key {
        name: "dev".into(),
        team: "platform".into(),
        models: vec!["claude-*".into(), "!*opus*".into()],
        ..Default::default()
    });
    let key = key.await.secret;
    cluster.admin.converged(1).await;
    let proxy = &cluster.replicas[0].url;

    let counted = cluster.http.post(format!("{proxy}/v1/messages/count_tokens?beta=true")).bearer_auth(&key);
    let counted = client::read(
        counted.body(json!({"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}).to_string()),
    )
    .await;
    assert!(counted.json()["input_tokens"].as_u64().unwrap() > 0);

    let listed = cluster.http.get(format!("{proxy}/v1/models?limit=1000")).bearer_auth(&key);
    let listed = client::read(listed.header("anthropic-version", "2023-06-01")).await.json();
    let names: Vec<&str> =
        listed["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert!(names.contains(&MODEL), "{names:?}");
    assert!(!names.iter().any(|name| name.contains("opus")), "a model that the key may not use is listed: {names:?}");
    assert_eq!(listed["has_more"], false);

    for path in ["/", "/api/hello"] {
        let answer = client::read(cluster.http.head(format!("{proxy}{path}"))).await;
        assert_eq!(answer.status, 200, "{path}");
    }
    let answer = client::send(&cluster.http, &format!("{proxy}/anthropic"), &key, message("hello", false)).await;
    assert_eq!(answer.status, 200, "the surface is served under its prefix too");
}
