//! A provider that answers garbage, cuts the stream in each place, hangs, or redirects: the dialect's error, settled once.

use std::collections::HashSet;

use futures_util::{StreamExt as _, stream};
use tollgate_proto::usage::v1::Outcome;
use tollgate_tests::{
    client::{self, simulate},
    cluster::Cluster,
};

/// The names of the events of a stream, each of which must be whole.
fn events(text: &str) -> Vec<String> {
    assert!(text.is_empty() || text.ends_with("\n\n"), "the stream ends inside an event: {text:?}");
    let named = |event: &str| {
        let name = event.lines().find_map(|line| line.strip_prefix("event: ")).unwrap_or_default().to_owned();
        let data: String = event.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        assert!(serde_json::from_str::<serde_json::Value>(&data).is_ok(), "an event with half its data: {event:?}");
        name
    };
    text.split("\n\n").filter(|event| !event.is_empty()).map(named).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_cut_at_any_byte_ends_with_whole_events_and_is_settled_once() {
    let cluster = Cluster::small().await;
    let key = cluster.key("dev").await;
    let proxy = &cluster.replicas[0].url;
    let whole = simulate(&cluster.http, proxy, &key, true, &[("events", "4")]).await;
    assert_eq!(events(&whole.text()).last().map(String::as_str), Some("message_stop"));
    let length = whole.body.len();
    let cuts: Vec<(usize, &str)> = (0..length).map(|at| (at, if at % 2 == 0 { "fin" } else { "rst" })).collect();
    let answers = stream::iter(cuts.iter().map(|(at, how)| {
        let (http, key) = (cluster.http.clone(), key.clone());
        async move {
            let at_text = at.to_string();
            let settings = [("events", "4"), ("cut-bytes", at_text.as_str()), ("cut-with", how)];
            (*at, simulate(&http, proxy, &key, true, &settings).await)
        }
    }));
    let answers: Vec<_> = answers.buffer_unordered(16).collect().await;
    let mut ids = HashSet::new();
    for (at, answer) in &answers {
        assert!(ids.insert(answer.header("request-id").to_owned()));
        // A reset can take the head with it: then the answer is an error as a whole.
        if answer.status != 200 {
            assert!(answer.status.is_server_error() && !answer.sentence().is_empty(), "cut at {at}: {}", answer.text());
            continue;
        }
        assert!(answer.ended, "cut at {at}: the client sees no end");
        let events = events(&answer.text());
        assert!(events.last().is_some_and(|last| last == "error" || last == "message_stop"), "cut at {at}: {events:?}");
    }
    // All are settled: as failed, or as complete where only the last line end was missing.
    let mut settled: Vec<_> = Vec::new();
    let total = i64::try_from(length).unwrap() + 1;
    tollgate_tests::until("each visit to be settled", || async {
        let rows = cluster.admin.summary(tollgate_proto::usage::v1::Dimension::Key).await;
        (rows.iter().map(|row| row.requests).sum::<i64>() >= total).then_some(())
    })
    .await;
    let mut page_token = String::new();
    loop {
        let request =
            tollgate_proto::usage::v1::ListRecordsRequest { page_size: 1_000, page_token, ..Default::default() };
        let page = cluster.admin.usage().list_records(request).await.unwrap().into_inner();
        settled.extend(page.records.into_iter().filter_map(|stored| stored.record));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let settled_ids: HashSet<_> = settled.iter().map(|record| record.request_id.clone()).collect();
    assert_eq!(settled.len(), settled_ids.len(), "a visit was settled twice");
    assert!(ids.is_subset(&settled_ids), "a visit was not settled");
    for record in settled.iter().filter(|record| record.outcome() == Outcome::Completed) {
        assert!(record.cost_nano_usd > 0, "{record:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_drips_byte_by_byte_is_metered_like_a_whole_one() {
    let cluster = Cluster::small().await;
    let key = cluster.key("dev").await;
    let settings = [
        ("events", "5"),
        ("cache-read", "20000"),
        ("cache-write-5m", "500"),
        ("cache-write-1h", "30"),
        ("web-searches", "2"),
    ];
    let whole = simulate(&cluster.http, &cluster.replicas[0].url, &key, true, &settings).await;
    let drip = [&settings[..], &[("drip", "1")]].concat();
    let dripped = simulate(&cluster.http, &cluster.replicas[0].url, &key, true, &drip).await;
    assert_eq!(events(&whole.text()), events(&dripped.text()));
    let records = cluster.admin.records_at_least(2, "").await;
    let [one, two] = [0, 1].map(|at| records[at].record.clone().unwrap());
    assert_eq!(one.tokens, two.tokens);
    assert_eq!(one.cost_nano_usd, two.cost_nano_usd);
    let tokens = one.tokens.unwrap();
    assert_eq!(
        (tokens.cache_read, tokens.cache_write_5m, tokens.cache_write_1h, tokens.web_searches),
        (20_000, 500, 30, 2)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_provider_gets_wrong_is_told_in_the_dialect_and_costs_nothing_unless_it_may_have_answered() {
    let cluster = Cluster::small().await;
    let key = cluster.key("dev").await;
    let proxy = &cluster.replicas[0].url;
    let rows: [(&str, &[(&str, &str)], u16, &str); 6] = [
        ("a redirect", &[("redirect", "http://127.0.0.1:1/")], 502, "redirect"),
        ("no head", &[("cut", "head")], 502, "provider"),
        (
            "its own error",
            &[("status", "400"), ("error-type", "invalid_request_error"), ("error-message", "prompt is too long")],
            400,
            "prompt is too long",
        ),
        (
            "overloaded",
            &[("status", "529"), ("error-type", "overloaded_error"), ("error-message", "No capacity.")],
            529,
            "No capacity.",
        ),
        ("limited", &[("status", "429"), ("retry-after", "7"), ("error-message", "Slow down.")], 429, "Slow down."),
        ("unauthorised", &[("status", "401"), ("error-message", "invalid x-api-key")], 401, ""),
    ];
    for (what, settings, status, says) in rows {
        let answer = simulate(&cluster.http, proxy, &key, false, settings).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
        assert!(answer.text().contains(says), "{what}: {}", answer.text());
        if status == 429 {
            assert_eq!(answer.header("retry-after"), "7", "{what}");
        }
    }
    let records = cluster.admin.records_at_least(rows.len(), "").await;
    let mut uncertain = 0;
    for record in records.into_iter().map(|stored| stored.record.unwrap()) {
        match record.outcome() {
            // The one without a head: it may have been answered, and is charged at what it held.
            Outcome::Uncertain => uncertain += usize::from(record.status == 502 && record.cost_nano_usd > 0),
            outcome => assert_eq!((outcome, record.cost_nano_usd), (Outcome::UpstreamFailed, 0), "{record:?}"),
        }
    }
    assert_eq!(uncertain, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_with_a_good_status_ends_properly_and_is_not_settled_as_complete() {
    let cluster = Cluster::small().await;
    let key = cluster.key("dev").await;
    for (body, stream) in [("garbage", false), ("html", false), ("empty", false), ("garbage", true)] {
        let answer = simulate(&cluster.http, &cluster.replicas[0].url, &key, stream, &[("body", body)]).await;
        assert!(answer.ended, "{body}");
    }
    let records = cluster.admin.records_at_least(4, "").await;
    for stored in records {
        let record = stored.record.unwrap();
        assert_ne!(
            record.outcome(),
            Outcome::Completed,
            "an answer without usage is not settled as complete: {record:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_one_credential_is_answered_by_another_before_the_first_byte() {
    let cluster = Cluster::small().await;
    let key = cluster.key("dev").await;
    let address = format!("http://{}", cluster.simulator.addr());
    // Whatever is sent under the first credential fails; the second one answers.
    let bad = cluster.admin.provider("first", &address, &[("bad", "sk-bad"), ("good", "sk-good")]).await;
    let mask = prost_types::FieldMask { paths: vec!["priority".into()] };
    let provider = tollgate_proto::admin::v1::Provider { id: bad.id.clone(), priority: -1, ..Default::default() };
    let update = tollgate_proto::admin::v1::UpdateProviderRequest { provider: Some(provider), update_mask: Some(mask) };
    cluster.admin.providers().update_provider(update).await.unwrap();
    cluster.admin.converged(1).await;
    let hash = hex::encode(<sha2::Sha256 as sha2::Digest>::digest("sk-bad"));
    let fault = serde_json::json!({"credential_sha256": hash, "next": 100, "settings": {"status": "529"}});
    let planned = cluster.http.post(format!("{address}/simulator/faults")).body(fault.to_string());
    assert!(client::read(planned).await.status.is_success());
    for _ in 0..20 {
        let answer = simulate(&cluster.http, &cluster.replicas[0].url, &key, false, &[]).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let records = cluster.admin.records_at_least(20, "outcome=completed").await;
    let attempts: i32 = records.iter().map(|stored| stored.record.as_ref().unwrap().attempts).sum();
    assert!(attempts <= 24, "a credential that failed rests: {attempts} attempts for 20 visits");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_cancels_the_provider_and_is_settled_with_what_was_metered() {
    let cluster = Cluster::small().await;
    let key = cluster.key("dev").await;
    let settings = [("events", "1000"), ("spacing", "20ms"), ("input-tokens", "1000")];
    let mut response =
        client::shaped(&cluster.http, &cluster.replicas[0].url, &key, true, &settings).send().await.unwrap();
    let first = response.chunk().await.unwrap();
    assert!(first.is_some());
    let left = std::time::Instant::now();
    drop(response);
    tollgate_tests::until("the provider to be cancelled", || async {
        let url = format!("http://{}/simulator/ledger", cluster.simulator.addr());
        let ledger = client::read(cluster.http.get(url)).await.json();
        let last = ledger["entries"].as_array()?.last()?.clone();
        (last["state"] == "aborted").then_some(())
    })
    .await;
    assert!(left.elapsed() < std::time::Duration::from_secs(1), "cancelled after {:?}", left.elapsed());
    let record = cluster.admin.records_at_least(1, "outcome=client_gone").await.remove(0).record.unwrap();
    assert_eq!(record.tokens.unwrap().input, 1_000);
    assert!(record.cost_nano_usd > 0);
}
