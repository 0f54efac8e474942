//! Where routes send requests: by rules over what is asked and how the budget stands, within the regions of a key, within their
//! time; and what operators see of providers that do not answer.

use prost_types::Duration as Wire;
use tollgate_proto::admin::v1::{
    CreateProviderRequest, CreateRouteRequest, Credential, Key, ListProvidersRequest, Provider, Route, RouteTarget,
    RouteTier,
};
use tollgate_tests::{
    client::{self, Answer, MODEL},
    cluster::{Cluster, PROVIDER_SECRET},
    fleet::{self, total},
    until,
};

const DOLLAR: i64 = 1_000_000_000;

// A second provider, `frugal`, which is the simulator as well, in a region of its own.
async fn second(cluster: &Cluster, base_url: String, region: &str) {
    let credential = Credential { name: "one".into(), secret: PROVIDER_SECRET.into(), ..Default::default() };
    let provider = Provider {
        name: "frugal".into(),
        dialect: "anthropic".into(),
        base_url,
        allow_private: true,
        models: vec!["frugal-*".into()],
        vendor: "anthropic".into(),
        region: region.into(),
        priority: -1,
        credentials: vec![credential],
        ..Default::default()
    };
    cluster.admin.providers().create_provider(CreateProviderRequest { provider: Some(provider) }).await.unwrap();
}

async fn route(cluster: &Cluster, route: Route) {
    cluster.admin.routes().create_route(CreateRouteRequest { route: Some(route) }).await.unwrap();
    cluster.admin.converged(cluster.replicas.len()).await;
}

fn tier(provider: &str, model: &str, on: &[&str]) -> RouteTier {
    let target = RouteTarget { provider: provider.into(), model: model.into(), weight: 1 };
    RouteTier { targets: vec![target], on: on.iter().map(|word| (*word).to_owned()).collect() }
}

async fn ask(cluster: &Cluster, key: &str, model: &str, text: &str, stream: bool) -> Answer {
    let body = serde_json::json!({
        "model": model, "max_tokens": 64, "stream": stream, "messages": [{"role": "user", "content": text}],
    });
    cluster.send(key, body.to_string().into_bytes()).await
}

// The model that the simulator was last asked for.
async fn asked_last(cluster: &Cluster) -> String {
    let ledger = format!("http://{}/simulator/ledger", cluster.simulator.addr());
    let ledger = client::read(cluster.http.get(ledger)).await.json();
    ledger["entries"].as_array().unwrap().last().unwrap()["model"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_little_left_is_sent_to_the_frugal_model() {
    let cluster = Cluster::small().await;
    fleet::price(&cluster.admin).await;
    second(&cluster, format!("http://{}", cluster.simulator.addr()), "").await;
    let budgets = vec![total(10 * DOLLAR)];
    let key = Key { name: "dev".into(), team: "platform".into(), budgets, ..Default::default() };
    let key = cluster.admin.key_with(key).await.secret;
    let tiers = vec![tier("simulator", "claude-haiku-4-5", &[])];
    let rule = "budget.used >= 0.9 && caller.key == 'dev' && region == 'test'".into();
    route(&cluster, Route { name: "frugal".into(), models: vec![MODEL.into()], rule, tiers, ..Default::default() })
        .await;
    let answer = ask(&cluster, &key, MODEL, "hi", false).await;
    assert_eq!((answer.status.as_u16(), asked_last(&cluster).await.as_str()), (200, MODEL), "{}", answer.text());
    // Nine and a half dollars are spent elsewhere.
    let budget = fleet::budgets(&cluster.admin).await[0].budget.clone().unwrap().id;
    fleet::refund(&cluster.admin, &budget, -95 * DOLLAR / 10).await;
    // The replica hears of it with what it next borrows or gives back.
    until("the budget to be known as used", || async {
        let answer = ask(&cluster, &key, MODEL, "hi", false).await;
        assert_eq!(answer.status.as_u16(), 200, "{}", answer.text());
        (asked_last(&cluster).await == "claude-haiku-4-5").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_cannot_be_decided_is_refused_when_it_is_written() {
    let cluster = Cluster::small().await;
    let written = |rule: &str| {
        let tiers = vec![tier("simulator", "", &[])];
        let route =
            Route { models: vec!["*".into()], name: "r".into(), rule: rule.into(), tiers, ..Default::default() };
        let mut routes = cluster.admin.routes();
        async move { routes.create_route(CreateRouteRequest { route: Some(route) }).await }
    };
    for (rule, says) in [
        ("request.model ==", "line 1"),
        ("colour == 'red'", "knows nothing of"),
        ("headers['x-team'] == 'a'", "without asking whether it was sent"),
        ("request.max_tokens", "neither true nor false"),
    ] {
        let status = written(rule).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::InvalidArgument, "{rule}");
        assert!(status.message().contains(says), "{rule}: {}", status.message());
    }
    written("'x-team' in headers && headers['x-team'] == 'a'").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_data_of_a_key_stays_in_its_regions() {
    let cluster = Cluster::small().await;
    second(&cluster, format!("http://{}", cluster.simulator.addr()), "test-a").await;
    let keyed = async |name: &str, regions: &[&str]| {
        let regions = regions.iter().map(|region| (*region).to_owned()).collect();
        let key = Key { name: name.into(), team: "platform".into(), regions, ..Default::default() };
        cluster.admin.key_with(key).await.secret
    };
    // The replicas run in `test`; the cluster's own provider says of no region that it is there.
    let (near, far) = (keyed("near", &["test*"]).await, keyed("far", &["eu-*"]).await);
    cluster.admin.converged(1).await;
    let served = until("the provider to be used", || async {
        let answer = ask(&cluster, &near, "frugal-x", "hi", false).await;
        (answer.status.as_u16() == 200).then_some(answer)
    });
    served.await;
    let elsewhere = ask(&cluster, &near, MODEL, "hi", false).await;
    assert_eq!(elsewhere.status.as_u16(), 451, "{}", elsewhere.text());
    assert!(elsewhere.sentence().contains("No provider"), "{}", elsewhere.sentence());
    let before = asked_last(&cluster).await;
    let refused = ask(&cluster, &far, "frugal-y", "hi", false).await;
    assert_eq!(refused.status.as_u16(), 451);
    assert!(refused.sentence().contains("its data stays in eu-*"), "{}", refused.sentence());
    assert_eq!(asked_last(&cluster).await, before, "and nothing was sent");
    let entries = until("the refusal to be in the log", || async {
        let entries = cluster.admin.entries("").await;
        entries.iter().any(|entry| entry.detail.contains("region_denied")).then_some(())
    });
    entries.await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_a_stream_in_good_form() {
    let cluster = Cluster::small().await;
    let key = cluster.key("dev").await;
    let tiers = vec![tier("simulator", "claude-sonnet-5-5", &[])];
    let deadline = Some(Wire { seconds: 1, nanos: 0 });
    route(
        &cluster,
        Route { name: "brief".into(), models: vec!["brief".into()], tiers, deadline, ..Default::default() },
    )
    .await;
    let endless = "[[simulate events=4000 spacing=50ms]]";
    let answer = ask(&cluster, &key, "brief", endless, true).await;
    assert_eq!((answer.status.as_u16(), answer.ended), (200, true));
    let text = answer.text();
    assert!(text.contains("event: content_block_delta") && text.contains("event: error"), "{text}");
    assert!(text.contains("longer than the route"), "{text}");
    let quick = ask(&cluster, &key, "brief", "hi", true).await;
    assert!(quick.text().contains("message_stop"), "{}", quick.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_that_is_too_long_goes_to_the_provider_that_takes_it() {
    let cluster = Cluster::small().await;
    let key = cluster.key("dev").await;
    second(&cluster, format!("http://{}", cluster.simulator.addr()), "").await;
    let tiers = vec![tier("simulator", "", &[]), tier("frugal", "frugal-long", &["context_length"])];
    route(&cluster, Route { name: "long".into(), models: vec!["claude-*".into()], tiers, ..Default::default() }).await;
    let fault = serde_json::json!({"next": 1, "path": "/v1/messages", "settings": {
        "status": 400, "error-message": "prompt is too long: 250000 tokens > 200000 maximum",
    }});
    until("the provider to be used", || async {
        let faults = format!("http://{}/simulator/faults", cluster.simulator.addr());
        let planned = cluster.http.post(faults).json(&fault).send().await.unwrap();
        assert!(planned.status().is_success(), "{}", planned.text().await.unwrap());
        let answer = ask(&cluster, &key, "claude-sonnet-5-5", "hi", true).await;
        (answer.status.as_u16() == 200 && asked_last(&cluster).await == "frugal-long").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_which_provider_does_not_answer() {
    let cluster = Cluster::small().await;
    let key = cluster.key("dev").await;
    // Nobody listens there.
    second(&cluster, "http://127.0.0.1:9".into(), "").await;
    cluster.admin.converged(1).await;
    let health = async || {
        let providers = cluster.admin.providers().list_providers(ListProvidersRequest::default()).await.unwrap();
        let providers = providers.into_inner().providers;
        let frugal = providers.into_iter().find(|provider| provider.name == "frugal").unwrap();
        (frugal.health.unwrap_or_default(), frugal.credentials[0].health.clone().unwrap_or_default())
    };
    // What a replica leaves alone is told every ten seconds; it fails all the while.
    let (provider, credential) = until("the failing provider to be told of", || async {
        let answer = ask(&cluster, &key, "frugal-x", "hi", false).await;
        // The cluster's own provider answers in its place.
        assert_eq!(answer.status.as_u16(), 200, "{}", answer.text());
        let (provider, credential) = health().await;
        (credential.resting == 1 && provider.resting == 1).then_some((provider, credential))
    })
    .await;
    assert_eq!((provider.replicas, provider.cause.as_str()), (1, "unreachable"));
    assert_eq!((credential.replicas, credential.cause.as_str()), (1, "unreachable"));
    assert!(provider.until.is_some());
}
