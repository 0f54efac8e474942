//! Bad input: each gets the dialect's error with one clear sentence, is settled once, and reaches no provider.

use tollgate_proto::admin::v1::{Key, UpdateKeyRequest};
use tollgate_tests::{
    client::{self, Answer, MODEL, message},
    cluster::Cluster,
    until,
};

/// What a refusal must look like to Claude Code: the envelope, one sentence, and no invitation to try again.
fn assert_refused(what: &str, answer: &Answer, status: u16, kind: &str, says: &str) {
    let body = answer.json();
    assert_eq!(answer.status, status, "{what}: {body}");
    assert_eq!(body["type"], "error", "{what}");
    assert_eq!(body["error"]["type"], kind, "{what}: {body}");
    assert!(answer.sentence().contains(says), "{what}: {:?} does not say {says:?}", answer.sentence());
    assert!(answer.header("request-id").starts_with("req_"), "{what}");
    assert_eq!(body["request_id"], answer.header("request-id"), "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_bad_credential_gets_one_sentence_and_is_not_tried_again() {
    let cluster = Cluster::small().await;
    let good = cluster.key("good").await;
    let expired = cluster.admin.key("expired").await;
    let mask = prost_types::FieldMask { paths: vec!["expire_time".into()] };
    let soon = std::time::SystemTime::now() + std::time::Duration::from_millis(1_500);
    let key = Key { id: expired.key.unwrap().id, expire_time: Some(soon.into()), ..Default::default() };
    cluster.admin.keys().update_key(UpdateKeyRequest { key: Some(key), update_mask: Some(mask) }).await.unwrap();
    let revoked = cluster.key("revoked").await;
    cluster.admin.revoke("revoked").await;
    cluster.admin.converged(1).await;
    let url = format!("{}/v1/messages", cluster.replicas[0].url);
    let expired = expired.secret;
    until("the key to expire", || async {
        (client::send(&cluster.http, &cluster.replicas[0].url, &expired, message("hello", false)).await.status == 401)
            .then_some(())
    })
    .await;

    let broken = format!("{}x", &good[..good.len() - 1]);
    let rows: [(&str, Vec<(&str, &str)>, &str); 7] = [
        ("no credential", vec![], "key"),
        ("junk", vec![("x-api-key", "sk-ant-api03-abc")], "Tollgate key"),
        ("a wrong checksum", vec![("x-api-key", &broken)], "checksum"),
        ("revoked", vec![("x-api-key", &revoked)], "was revoked"),
        ("expired", vec![("x-api-key", &expired)], "has expired"),
        ("two that differ", vec![("x-api-key", &good), ("authorization", "Bearer other")], "differ"),
        ("basic", vec![("authorization", "Basic Zm9vOmJhcg==")], "Bearer"),
    ];
    for (what, headers, says) in rows {
        let request = cluster.http.post(&url).body(message("hello", false));
        let request = headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        let answer = client::read(request).await;
        assert_refused(what, &answer, 401, "authentication_error", says);
        assert_eq!(answer.header("x-should-retry"), "false", "{what}");
        assert!(!answer.text().contains(&good), "{what}: the answer repeats the key");
    }
    let both = cluster.http.post(&url).bearer_auth(&good).header("x-api-key", &good).body(message("hello", false));
    assert_eq!(client::read(both).await.status, 200, "the same key twice is one key");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_bad_request_gets_the_error_of_the_dialect() {
    let cluster = Cluster::small().await;
    let key = cluster.admin.key_with(Key {
        name: "dev".into(),
        team: "platform".into(),
        models: vec!["claude-*".into(), "!*opus*".into()],
        ..Default::default()
    });
    let key = key.await.secret;
    cluster.admin.converged(1).await;
    let proxy = &cluster.replicas[0].url;
    let messages = |body: Vec<u8>| cluster.http.post(format!("{proxy}/v1/messages")).bearer_auth(&key).body(body);
    let text = |text: String| messages(text.into_bytes());
    let model = |name: &str| text(format!("{{\"model\":\"{name}\",\"max_tokens\":1,\"messages\":[]}}"));
    let deep = format!("{{\"model\":\"{MODEL}\",\"messages\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let rows = [
        ("no JSON", text("{\"model\":".into()), 400, "invalid_request_error", "JSON"),
        ("not an object", text("[]".into()), 400, "invalid_request_error", ""),
        ("no model", text("{\"messages\":[]}".into()), 400, "invalid_request_error", "model"),
        ("a model that is no text", text("{\"model\":7}".into()), 400, "invalid_request_error", "model"),
        (
            "two models",
            text(format!("{{\"model\":\"{MODEL}\",\"model\":\"claude-opus-5-5\"}}")),
            400,
            "invalid_request_error",
            "model",
        ),
        ("no UTF-8", messages(b"{\"model\":\"\xff\"}".to_vec()), 400, "invalid_request_error", ""),
        ("a denied model", model("claude-opus-5-5"), 451, "permission_error", "not allowed"),
        ("another vendor's model", model("gpt-5"), 451, "permission_error", "not allowed"),
        (
            "an unknown route",
            cluster.http.get(format!("{proxy}/v1/secrets")).bearer_auth(&key),
            404,
            "not_found_error",
            "",
        ),
        (
            "a wrong method",
            cluster.http.get(format!("{proxy}/v1/messages")).bearer_auth(&key),
            405,
            "invalid_request_error",
            "",
        ),
        (
            "a compressed body",
            messages(vec![1]).header("content-encoding", "gzip"),
            415,
            "invalid_request_error",
            "content-encoding",
        ),
        ("33 MiB", messages(vec![b' '; 33 * 1024 * 1024]), 413, "request_too_large", "32"),
    ];
    for (what, request, status, kind, says) in rows {
        assert_refused(what, &client::read(request).await, status, kind, says);
    }
    let answer = client::read(text(deep)).await;
    assert!(
        answer.status == 200 || answer.status == 400,
        "deep nesting is passed on or refused, and nothing falls: {}",
        answer.status
    );
    let denied = cluster.admin.records_at_least(2, "outcome=refused").await;
    assert!(denied.iter().any(|stored| stored.record.as_ref().unwrap().refusal == "model_denied"));
    assert!(denied.iter().all(|stored| stored.record.as_ref().unwrap().cost_nano_usd == 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_is_read_in_one_way_only() {
    let cluster = Cluster::small().await;
    let key = cluster.key("dev").await;
    let address = cluster.replicas[0].url.trim_start_matches("http://").to_owned();
    for path in [
        "/v1/models/..%2F..%2Fmessages",
        "/v1//messages",
        "/v1/./messages",
        "/v1/../v1/messages",
        "/v1/messages%00",
        "/v1%2Fmessages",
        "/v1/messages/",
        "/V1/messages",
        "/v1\\messages",
        "//v1/messages",
        "/anthropic/anthropic/v1/messages",
    ] {
        let status = raw(&address, path, &key).await;
        assert!((400..=404).contains(&status), "{path} answered {status}");
    }
    assert_eq!(raw(&address, "/v1/messages", &key).await, 200, "the plain path is served");
}

/// Sends a request whose path no client library would send.
async fn raw(address: &str, path: &str, key: &str) -> u16 {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let body = String::from_utf8(message("hello", false)).unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\nx-api-key: {key}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{path}: {answer:?}"))
}
