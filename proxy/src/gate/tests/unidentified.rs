//! Requests that are refused before their key is accepted: whoever was told an id finds it in the log, or a count that it is in.

use tollgate_audit::Entry;

use super::*;
use crate::gate::settle::VISITS_MAX;

fn id(answer: &Answered) -> String {
    answer.headers["request-id"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn each_refusal_without_a_key_has_its_entry_and_a_probe_has_none() {
    let stand = Stand::new(&["sk-one"]).await;
    let other = Token::mint("live", &KeyId::from_ulid(&format!("{ULID}k")).unwrap(), &[8; 32]).unwrap();
    let mut expect = Vec::new();
    for (path, name, value, status, refusal, operation, revision) in [
        ("/v1/messages", "x-api-key", other.expose(), 401, "unauthenticated", "messages", 1),
        ("/v1/messages", "x-api-key", "no key at all", 401, "unauthenticated", "messages", 0),
        ("/v1/nothing", "x-other", "", 404, "unknown_route", "unknown", 0),
        ("/v1/models", "x-other", "", 405, "method_not_allowed", "unknown", 0),
        ("/v1/messages", "content-encoding", "gzip", 415, "malformed", "messages", 0),
    ] {
        let answer = stand.send(path, BODY, &[(name, value), ("user-agent", "curl/8")]).await;
        assert_eq!(answer.status, status, "{path} {name}: {}", answer.text);
        expect.push((id(&answer), i32::from(status), refusal, operation, revision));
    }
    let client = Client::builder(TokioExecutor::new()).build_http();
    let probe = Request::head(format!("http://{}/", stand.address)).body(Full::<Bytes>::default()).unwrap();
    assert!(client.request(probe).await.unwrap().headers().contains_key("request-id"));
    stand.holder.set_draining(true);
    let answer = stand.send("/v1/messages", BODY, &[("user-agent", "curl/8")]).await;
    expect.push((id(&answer), 503, "not_ready", "messages", 0));
    stand.holder.set_draining(false);
    assert_eq!(stand.script("").await.status, 200);

    let records = stand.records().await;
    let (visit, refused) = records.split_last().unwrap();
    assert!(!visit.unidentified && visit.status == 200);
    let told: Vec<_> = refused
        .iter()
        .map(|record| {
            let Record { request_id, status, refusal, operation, revision, .. } = record;
            (request_id.clone(), *status, refusal.as_str(), operation.as_str(), *revision)
        })
        .collect();
    assert_eq!(told, expect);
    for record in refused {
        assert!(record.unidentified, "{record:?}");
        let entry = Entry::decode(&record.evidence.as_ref().unwrap().body).unwrap();
        assert_eq!((entry.action(), entry.initiator()), ("request.refuse", "unknown"));
        assert_eq!((entry.request_id(), entry.source_address()), (record.request_id.as_str(), "127.0.0.1"));
        assert_eq!(entry.detail()["user_agent"], "curl/8");
        let has_reason = entry.detail().contains_key("reason");
        assert_eq!(has_reason, record.refusal != "malformed", "what is wrong with a request is told in its own words");
        assert!(!format!("{entry:?}").contains(other.expose()));
    }
}

#[tokio::test]
async fn whoever_is_turned_away_at_the_door_is_counted() {
    let stand = Stand::new(&["sk-one"]).await;
    let door = stand.door.clone().unwrap();
    let places: Vec<_> = std::iter::from_fn(|| door.place()).take(VISITS_MAX + 1).collect();
    assert_eq!(places.len(), VISITS_MAX);
    let answer = stand.script("").await;
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert!(!id(&answer).is_empty());
    // No visit ends, and yet it is written.
    stand.spool.arrived().await;
    let records = stand.spool.pending().unwrap().unwrap().records;
    let counted: Vec<_> = records.iter().map(|record| (record.dropped, record.evidence.is_some())).collect();
    assert_eq!(counted, [(1, true)]);
}
