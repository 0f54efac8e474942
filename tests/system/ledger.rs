//! What a request cost is in the ledger: to the nano-dollar, under everybody who answers for it.

use std::collections::HashMap;

use tollgate_proto::{
    admin::v1::{Key, Model, Price, SetModelRequest},
    usage::v1::{Dimension, Outcome},
};
use tollgate_tests::{
    client::{self, MODEL, message, simulate},
    cluster::{Cluster, Shape},
    database::Kind,
    until,
};

const SETTINGS: [(&str, &str); 6] = [
    ("input-tokens", "1000"),
    ("output-tokens", "50"),
    ("cache-read", "20000"),
    ("cache-write-5m", "500"),
    ("cache-write-1h", "300"),
    ("web-searches", "2"),
];
/// Dollars per million tokens times tokens: 1000 x 3 + 50 x 15 + 20000 x 0.3 + 500 x 3.75 + 300 x 6, and two searches at a cent.
const COST_NANO_USD: i64 = 3_000_000 + 750_000 + 6_000_000 + 1_875_000 + 1_800_000 + 20_000_000;

async fn price(cluster: &Cluster) {
    let price = Price {
        input: 3_000_000_000,
        output: 15_000_000_000,
        cache_read: 300_000_000,
        cache_write_5m: 3_750_000_000,
        cache_write_1h: 6_000_000_000,
        web_search: 10_000_000,
        long_context: None,
    };
    let model = Model { vendor: "anthropic".into(), model: MODEL.into(), price: Some(price), ..Default::default() };
    cluster.admin.models().set_model(SetModelRequest { model: Some(model) }).await.unwrap();
}

async fn counted_by_everything(kind: Kind) {
    let cluster = Cluster::start(Shape { database: kind, ..Shape::default() }).await;
    price(&cluster).await;
    let key = cluster.key("dev").await;
    for stream in [false, true, true] {
        let request = client::shaped(&cluster.http, &cluster.replicas[0].url, &key, stream, &SETTINGS);
        let request =
            request.header("x-claude-code-session-id", "session-1").header("x-claude-code-agent-id", "agent-1");
        let answer = client::read(request.header("x-claude-code-parent-agent-id", "agent-0")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let records = cluster.admin.records_at_least(3, "session=session-1").await;
    for stored in &records {
        let record = stored.record.clone().unwrap();
        assert_eq!(
            (record.outcome(), record.cost_nano_usd, record.unpriced),
            (Outcome::Completed, COST_NANO_USD, false)
        );
        assert_eq!((record.agent.as_str(), record.parent_agent.as_str()), ("agent-1", "agent-0"));
        assert!(record.arrived_ms > 0 && !record.upstream_request_id.is_empty() && record.attempts == 1);
    }
    for (by, name) in [
        (Dimension::Key, "dev"),
        (Dimension::Team, "platform"),
        (Dimension::Customer, "acme"),
        (Dimension::Provider, "simulator"),
    ] {
        let rows = cluster.admin.summary(by).await;
        let row = rows
            .iter()
            .find(|row| row.name == name)
            .unwrap_or_else(|| panic!("{by:?}: no row named {name} in {rows:?}"));
        assert_eq!((row.requests, row.cost_nano_usd), (3, 3 * COST_NANO_USD), "{by:?}");
        assert_eq!(row.tokens.unwrap().cache_read, 60_000, "{by:?}");
    }
    for (by, id) in [(Dimension::Model, MODEL), (Dimension::Session, "session-1"), (Dimension::Agent, "agent-1")] {
        let rows = cluster.admin.summary(by).await;
        let row = rows.iter().find(|row| row.id == id).unwrap_or_else(|| panic!("{by:?}: no row {id} in {rows:?}"));
        assert_eq!((row.requests, row.cost_nano_usd), (3, 3 * COST_NANO_USD), "{by:?}");
    }
    let days = cluster.admin.summary(Dimension::Day).await;
    assert_eq!(days.iter().map(|row| row.cost_nano_usd).sum::<i64>(), 3 * COST_NANO_USD);
    let admitted = cluster.admin.entries("action=request.*").await;
    assert_eq!(admitted.len(), 3, "each visit has one entry in the log: {admitted:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_counted_by_everything_it_belongs_to_over_sqlite() {
    counted_by_everything(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_counted_by_everything_it_belongs_to_over_postgresql() {
    counted_by_everything(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_without_a_price_is_unpriced_and_says_so() {
    let cluster = Cluster::small().await;
    let key = cluster.key("dev").await;
    let body = message("hello", false);
    let body = String::from_utf8(body).unwrap().replace(MODEL, "a-model-that-nobody-knows").into_bytes();
    assert_eq!(cluster.send(&key, body).await.status, 200);
    let record = cluster.admin.records_at_least(1, "").await.remove(0).record.unwrap();
    assert!(record.unpriced && record.cost_nano_usd == 0);
    assert_eq!(cluster.admin.summary(Dimension::Key).await[0].unpriced, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_over_several_replicas_and_control_planes_adds_up() {
    let cluster = Cluster::start(Shape { database: Kind::Postgres, control_planes: 2, replicas: 4 }).await;
    price(&cluster).await;
    let mut keys = Vec::new();
    for name in ["one", "two", "three"] {
        let key = Key { name: name.into(), team: "platform".into(), ..Default::default() };
        keys.push(cluster.admin.key_with(key).await.secret);
    }
    cluster.admin.converged(4).await;
    let mut sent = HashMap::new();
    for turn in 0..120 {
        let (key, replica) = (turn % 3, turn % 4);
        let answer =
            simulate(&cluster.http, &cluster.replicas[replica].url, &keys[key], turn % 2 == 0, &SETTINGS).await;
        assert_eq!(answer.status, 200);
        *sent.entry(["one", "two", "three"][key]).or_insert(0) += 1;
    }
    until("every record", || async {
        let rows = cluster.admin.summary(Dimension::Key).await;
        (rows.iter().map(|row| row.requests).sum::<i64>() == 120).then_some(())
    })
    .await;
    for row in cluster.admin.summary(Dimension::Key).await {
        assert_eq!(
            (row.requests, row.cost_nano_usd),
            (sent[row.name.as_str()], sent[row.name.as_str()] * COST_NANO_USD)
        );
    }
}
