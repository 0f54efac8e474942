//! Routes and presets: typed, and declared in a file.

use serde_json::json;

use super::{Fake, tollgate, tollgate_with};

const FILE: &str = r#"
routes:
  - { model: "claude-haiku-*", targets: [{ provider: openai, model: gpt-5-mini, weight: 1 }], fallbacks: [{ provider: anthropic }] }
  - name: fast
    models: [fast]
    targets: [{ provider: openai, model: gpt-5-mini, weight: 3 }, { provider: anthropic, model: claude-haiku-4-5 }]
    fallbacks:
      - { provider: anthropic, model: claude-opus-5, on: [timeout, context_length] }
      - { targets: [{ provider: openai }, { provider: anthropic, weight: 2 }] }
    teams: [platform]
    keys: [dev]
    priority: -1
    strict: true
keys:
  - { name: dev, team: platform }
teams:
  - { name: platform, customer: acme }
customers:
  - { name: acme }
providers:
  - { preset: anthropic }
  - { name: openai, preset: openai-responses, models: ["gpt-*"] }
"#;

#[tokio::test]
async fn routes_are_declared_exported_and_then_there_is_nothing_to_do() {
    let fake = Fake::start().await;
    let applied = tollgate(&fake, &["apply", "-f", "-"], FILE).await;
    assert_eq!(applied.code, 0, "{}{}", applied.stdout, applied.stderr);
    assert!(applied.stdout.contains("+ route claude-haiku\n"), "{}", applied.stdout);
    assert_eq!(tollgate(&fake, &["apply", "-f", "-"], FILE).await.stdout, "nothing to do\n");
    let exported = tollgate(&fake, &["export"], "").await.stdout;
    for format in ["yaml", "json"] {
        let exported = tollgate(&fake, &["export", "-o", format], "").await.stdout;
        let again = tollgate(&fake, &["apply", "-f", "-", "--prune"], &exported).await;
        assert_eq!(again.stdout, "nothing to do\n", "{}{exported}", again.stderr);
    }
    assert!(exported.contains("base_url: https://api.openai.com/v1") && !exported.contains("preset"), "{exported}");
    let shown = tollgate(&fake, &["export", "-o", "json"], "").await.json();
    assert_eq!(shown["routes"][1]["fallbacks"][0]["on"], json!(["timeout", "context_length"]));
    let fast = tollgate(&fake, &["route", "get", "fast", "-o", "json"], "").await.json();
    assert_eq!(fast["tiers"][1]["on"], json!(["timeout", "context_length"]));
    assert_eq!(fast["tiers"][2]["targets"][1]["provider_name"], "anthropic");
    assert_eq!((&fast["teams"][0]["name"], &fast["keys"][0]["name"]), (&json!("platform"), &json!("dev")));
    // A route is told by its name: what a file says of it changes that alone, and what it no longer has goes first.
    let other = "routes: [{ name: fast, fallbacks: [] }]";
    let changed = tollgate(&fake, &["apply", "-f", "-"], other).await;
    assert!(changed.stdout.contains("~ route fast") && changed.code == 0, "{}{}", changed.stdout, changed.stderr);
    let fast = tollgate(&fake, &["route", "get", "fast", "-o", "json"], "").await.json();
    assert_eq!((fast["tiers"].as_array().unwrap().len(), &fast["strict"]), (1, &json!(true)));
    assert_eq!(fast["tiers"][0]["targets"].as_array().unwrap().len(), 2, "the targets stay");
    let gone = tollgate(&fake, &["apply", "-f", "-", "--prune", "-o", "json"], "keys: []\nroutes: []").await.json();
    let kinds: Vec<_> = gone["plan"].as_array().unwrap().iter().map(|step| step["kind"].clone()).collect();
    assert_eq!(kinds, ["route", "route", "key"]);
}

#[tokio::test]
async fn a_file_that_asks_for_what_cannot_be_names_each_mistake() {
    let fake = Fake::start().await;
    tollgate(&fake, &["apply", "-f", "-"], FILE).await;
    for (text, says) in [
        ("routes: [{ model: a, models: [b], targets: [{ provider: x }] }]", "both model and models"),
        ("routes: [{ targets: [{ provider: x }] }]", "needs a name or models"),
        ("routes: [{ model: a, targets: [] }]", "must be at least one"),
        ("routes: [{ model: a, targets: [{ model: b }] }]", "targets[0].provider: is required"),
        ("routes: [{ model: a, targets: [{ provider: x, weight: 0 }] }]", "from 1 to 1000"),
        ("routes: [{ model: a, targets: [{ provider: x, model: 'b*' }] }]", "one model"),
        (
            "routes: [{ model: a, targets: [{ provider: x }], fallbacks: [{ provider: x, on: [never] }] }]",
            "rate_limit, server_error",
        ),
        ("routes: [{ model: a, targets: [{ provider: x }], fallbacks: [{ on: [timeout] }] }]", "needs a provider"),
        (
            "routes: [{ model: a, targets: [{ provider: x }] }, { model: 'a*', targets: [{ provider: x }] }]",
            "declared already",
        ),
        ("routes: [{ model: a, targets: [{ provider: nobody }] }]", "names the provider \"nobody\""),
        ("routes: [{ model: a, targets: [{ provider: openai }], keys: [nobody] }]", "names the key \"nobody\""),
        ("routes: [{ model: new }]", "needs targets to be created"),
        ("providers: [{ name: x, dialect: openai, base_url: 'https://x' }]", "openai_chat, openai_responses"),
        ("providers: [{ preset: nobody }]", "must be one of anthropic, azure-openai"),
        ("providers: [{ preset: bedrock }]", "needs a value for region"),
        ("providers: [{ preset: groq, set: { region: r } }]", "has no placeholder region"),
        ("providers: [{ name: x, quirks: [odd] }]", "max_tokens, system_role"),
        ("providers: [{ name: x, auth: cookie }]", "must be bearer"),
    ] {
        let ran = tollgate(&fake, &["apply", "-f", "-"], text).await;
        assert!(ran.code == 1 && ran.stderr.contains(says), "{text}: {} {}", ran.code, ran.stderr);
    }
}

#[tokio::test]
async fn a_preset_is_a_provider_in_one_word() {
    let fake = Fake::start().await;
    let listed = tollgate_with(&[], &["provider", "presets", "-o", "json"], "").await.json();
    let listed = listed.as_array().unwrap();
    assert!(listed.len() >= 27, "{}", listed.len());
    let vertex = listed.iter().find(|preset| preset["name"] == "vertex").unwrap();
    assert_eq!(vertex["placeholders"], json!(["region", "project"]));
    let groq = tollgate(&fake, &["provider", "create", "--preset", "groq", "-o", "json"], "").await.json();
    assert_eq!(
        (&groq["dialect"], &groq["credentials"][0]["reference"]),
        (&json!("openai_chat"), &json!("env://GROQ_API_KEY"))
    );
    let text = "providers: [{ name: aws, preset: bedrock, region: eu-west-1, credentials: [{ name: a, secret: env://A }] }, { preset: ollama }]";
    let applied = tollgate(&fake, &["apply", "-f", "-"], text).await;
    assert_eq!(applied.code, 0, "{}{}", applied.stdout, applied.stderr);
    assert_eq!(tollgate(&fake, &["apply", "-f", "-"], text).await.stdout, "nothing to do\n");
    let aws = tollgate(&fake, &["provider", "get", "aws", "-o", "json"], "").await.json();
    assert_eq!(
        (&aws["base_url"], &aws["region"], &aws["auth"]),
        (&json!("https://bedrock-runtime.eu-west-1.amazonaws.com"), &json!("eu-west-1"), &json!("sigv4"))
    );
    // What the provider has is left alone when the file says nothing of it.
    let line = ["provider", "update", "groq", "--credential", "own=env://OWN", "--remove-credential", "primary"];
    assert_eq!(tollgate(&fake, &line, "").await.code, 0);
    assert_eq!(tollgate(&fake, &["apply", "-f", "-"], "providers: [{ preset: groq }]").await.stdout, "nothing to do\n");
}

#[tokio::test]
async fn a_route_is_typed_shown_and_explained() {
    let fake = Fake::start().await;
    tollgate(&fake, &["apply", "-f", "-"], FILE).await;
    let line = [
        "route",
        "create",
        "--model",
        "slow",
        "--to",
        "anthropic/claude-opus-5",
        "--fallback",
        "openai@timeout",
        "--customer",
        "acme",
    ];
    let made = tollgate(&fake, &line, "").await;
    assert_eq!(made.code, 0, "{}", made.stderr);
    for shown in ["slow", "anthropic/claude-opus-5", "openai@timeout", "customer/acme", "enabled"] {
        assert!(made.stdout.contains(shown), "{shown}: {}", made.stdout);
    }
    let updated =
        tollgate(&fake, &["route", "update", "slow", "--disable", "--clear", "fallbacks", "-o", "json"], "").await;
    let updated = updated.json();
    assert_eq!((updated["tiers"].as_array().unwrap().len(), &updated["disabled"]), (1, &json!(true)));
    let explained = tollgate(&fake, &["route", "explain", "--key", "dev", "--model", "fast"], "").await;
    assert!(
        explained.stdout.contains("claude-opus-5") && explained.stderr.contains("route fast"),
        "{}",
        explained.stdout
    );
    let explained = tollgate(&fake, &["route", "explain", "--key", "dev", "--model", "none", "-o", "json"], "").await;
    assert_eq!((explained.code, &explained.json()["refusal"]), (0, &json!("No provider serves it.")));
    assert_eq!(
        tollgate(&fake, &["route", "explain", "--key", "dev", "--model", "m", "--dialect", "openai"], "").await.code,
        2
    );
    assert_eq!(tollgate(&fake, &["route", "delete", "slow"], "").await.code, 0);
    let none = tollgate(&fake, &["route", "get", "slow"], "").await;
    assert!(none.code == 1 && none.stderr.contains("tollgate route list"), "{}", none.stderr);
}

const GOVERNED: &str = r#"
providers:
  - { preset: anthropic }
  - { preset: groq }
customers: [{ name: acme }]
teams:
  - { name: platform, customer: acme, providers: [groq, anthropic], regions: ["eu-*", "!eu-south-*"] }
keys:
  - { name: dev, team: platform, regions: [eu-west-1] }
routes:
  - name: thrifty
    models: ["claude-*"]
    targets: [{ provider: groq, model: small }]
    rule: "budget.used > 0.9 && 'x-team' in headers"
    balance: latency
    first_byte_timeout: 1500ms
    hedge_after: 700ms
    deadline: 10m
"#;

#[tokio::test]
async fn rules_waits_and_regions_are_declared_exported_and_taken_back() {
    let fake = Fake::start().await;
    let applied = tollgate(&fake, &["apply", "-f", "-"], GOVERNED).await;
    assert_eq!(applied.code, 0, "{}{}", applied.stdout, applied.stderr);
    assert_eq!(tollgate(&fake, &["apply", "-f", "-"], GOVERNED).await.stdout, "nothing to do\n");
    let exported = tollgate(&fake, &["export"], "").await.stdout;
    let again = tollgate(&fake, &["diff", "-f", "-", "--prune"], &exported).await;
    assert_eq!(again.stdout, "nothing to do\n", "{}{exported}", again.stderr);
    let route = tollgate(&fake, &["route", "get", "thrifty", "-o", "json"], "").await.json();
    assert_eq!(route["rule"], "budget.used > 0.9 && 'x-team' in headers");
    assert_eq!(
        (&route["balance"], &route["first_byte_timeout"], &route["deadline"]),
        (&json!("latency"), &json!("1500ms"), &json!("10m"))
    );
    let team = tollgate(&fake, &["team", "get", "platform", "-o", "json"], "").await.json();
    assert_eq!(
        (&team["provider_names"], &team["regions"]),
        (&json!(["anthropic", "groq"]), &json!(["!eu-south-*", "eu-*"]))
    );
    let key = tollgate(&fake, &["key", "get", "dev", "-o", "json"], "").await.json();
    assert_eq!(key["regions"], json!(["eu-west-1"]));
    // What the file does not say stays, and what it takes back goes.
    let less = "teams: [{ name: platform, regions: [] }]\nkeys: [{ name: dev, display_name: D }]\nroutes: [{ name: thrifty, rule: '', balance: weight, deadline: none }]";
    let changed = tollgate(&fake, &["apply", "-f", "-"], less).await;
    assert!(
        changed.code == 0 && changed.stdout.contains("deadline: \"10m\" -> \"none\""),
        "{}{}",
        changed.stdout,
        changed.stderr
    );
    let exported = tollgate(&fake, &["export", "-o", "json"], "").await.json();
    let route = &exported["routes"][0];
    assert_eq!((&route["rule"], &route["balance"], &route["deadline"]), (&json!(null), &json!(null), &json!(null)));
    assert_eq!((&route["first_byte_timeout"], &route["hedge_after"]), (&json!("1500ms"), &json!("700ms")));
    assert_eq!(
        (&exported["teams"][0]["regions"], &exported["teams"][0]["providers"]),
        (&json!(null), &json!(["anthropic", "groq"]))
    );
    assert_eq!(exported["keys"][0]["regions"], json!(["eu-west-1"]));
    let nobody = tollgate(&fake, &["apply", "-f", "-"], "teams: [{ name: platform, providers: [nobody] }]").await;
    assert!(nobody.code == 1 && nobody.stderr.contains("names the provider \"nobody\""), "{}", nobody.stderr);
}

#[tokio::test]
async fn rules_waits_and_regions_are_typed_and_shown() {
    let fake = Fake::start().await;
    tollgate(&fake, &["apply", "-f", "-"], GOVERNED).await;
    let line =
        ["team", "create", "other", "--customer", "acme", "--provider", "groq", "--region", "us-*", "-o", "json"];
    let made = tollgate(&fake, &line, "").await.json();
    assert_eq!((&made["provider_names"], &made["regions"]), (&json!(["groq"]), &json!(["us-*"])));
    let line = ["team", "update", "other", "--clear", "providers", "--region", "eu-*"];
    let shown = tollgate(&fake, &line, "").await;
    assert!(
        shown.code == 0 && shown.stdout.contains("(all)") && shown.stdout.contains("eu-*"),
        "{}{}",
        shown.stdout,
        shown.stderr
    );
    for both in [
        ["--clear", "regions", "--region", "x"],
        ["--clear", "providers", "--provider", "x"],
        ["--clear", "budgets", "--budget", "5 USD"],
    ] {
        assert_eq!(tollgate(&fake, &[&["team", "update", "other"][..], &both].concat(), "").await.code, 2, "{both:?}");
    }
    let made = tollgate(&fake, &["key", "create", "k", "--team", "other", "--region", "eu-*"], "").await;
    assert_eq!(made.code, 0, "{}", made.stderr);
    let updated = tollgate(&fake, &["key", "update", "k", "--clear", "regions", "-o", "json"], "").await.json();
    assert_eq!(updated["regions"], json!([]));
    let line = [
        "route",
        "update",
        "thrifty",
        "--rule",
        "region == 'eu'",
        "--clear",
        "first_byte_timeout",
        "--clear",
        "hedge_after",
        "--deadline",
        "90s",
    ];
    let shown = tollgate(&fake, &line, "").await.stdout;
    assert!(
        shown.contains("region == 'eu'")
            && shown.contains("90s")
            && !shown.contains("1500ms")
            && !shown.contains("700ms"),
        "{shown}"
    );
    let bad = tollgate(&fake, &["route", "update", "thrifty", "--rule", "colour == 'red'"], "").await;
    assert!(bad.code == 2 && bad.stderr.contains("knows nothing of \"colour\""), "{}", bad.stderr);
}

#[tokio::test]
async fn what_may_be_lost_on_the_way_is_told_in_groups() {
    let fake = Fake::start().await;
    tollgate(&fake, &["apply", "-f", "-"], GOVERNED).await;
    let line = ["route", "update", "thrifty", "--model", "m", "--fallback", "anthropic/claude-opus-5"];
    assert_eq!(tollgate(&fake, &line, "").await.code, 0);
    let line = ["route", "explain", "--key", "dev", "--model", "m", "--budget-used", "0.95"];
    let table = tollgate(&fake, &line, "").await.stdout;
    let lost = "\nlost on the way to anthropic/small (tier 0), where a request asks for it:\n  approximated: image_url\n  dropped: top_k, cache_control\n";
    assert!(table.ends_with(lost) && table.contains("claude-opus-5"), "{table}");
    let explained = tollgate(&fake, &[&line[..], &["-o", "json"]].concat(), "").await.json();
    assert_eq!(explained["targets"][0]["losses"][0], json!({"feature": "image_url", "becomes": "approximated"}));
    assert_eq!(explained["targets"][1]["losses"], json!([]));
    let spared = ["route", "explain", "--key", "dev", "--model", "m", "--budget-used", "0.5", "-o", "json"];
    assert_eq!(tollgate(&fake, &spared, "").await.json()["refusal"], "No provider serves it.");
}
