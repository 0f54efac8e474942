//! Guardrails: typed, declared, tried, and what they found.

use serde_json::json;

use super::{fake::Fake, tollgate};

const DECLARED: &str = r##"
customers: [{ name: acme }]
teams: [{ name: platform, customer: acme }]
guardrails:
  - { name: secrets, kind: secrets, on: [request, response], action: block, keys: ["*"] }
  - name: staff
    kind: expressions
    expressions: [{ id: employee, regex: 'emp-[0-9]{6} # "x": y' }, { id: badge, regex: 'b\d+' }]
    on: [request]
    action: tokenize
    shadow: true
    teams: [platform]
    models: ["!*-mini", "claude-*"]
    allowed:
      - { fingerprint: 0A0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a, until: 2027-01-31, reason: a sample }
  - { name: projects, kind: words, words: [Project Blue, c++], action: redact, customers: [acme] }
"##;

#[tokio::test]
async fn guardrails_are_declared_exported_and_taken_back() {
    let fake = Fake::start().await;
    let applied = tollgate(&fake, &["apply", "-f", "-"], DECLARED).await;
    assert_eq!(applied.code, 0, "{}{}", applied.stdout, applied.stderr);
    assert_eq!(tollgate(&fake, &["apply", "-f", "-"], DECLARED).await.stdout, "nothing to do\n");
    let exported = tollgate(&fake, &["export"], "").await.stdout;
    let again = tollgate(&fake, &["diff", "-f", "-", "--prune"], &exported).await;
    assert_eq!(again.stdout, "nothing to do\n", "{}{exported}", again.stderr);
    let staff = tollgate(&fake, &["guardrail", "get", "staff", "-o", "json"], "").await.json();
    assert_eq!((&staff["teams"][0]["name"], &staff["shadow"]), (&json!("platform"), &json!(true)));
    assert_eq!(staff["allowed"][0]["fingerprint"], "0a".repeat(16));
    assert_eq!(staff["allowed"][0]["until"], "2027-01-31T00:00:00Z");
    // What the file does not say stays, and what it takes back goes.
    let less = "guardrails: [{ name: staff, shadow: false, models: [], allowed: [] }]";
    let changed = tollgate(&fake, &["apply", "-f", "-"], less).await;
    assert!(changed.code == 0 && changed.stdout.contains("shadow: true -> false"), "{}", changed.stdout);
    let exported = tollgate(&fake, &["export", "-o", "json"], "").await.json();
    let staff = exported["guardrails"].as_array().unwrap().iter().find(|each| each["name"] == "staff").unwrap();
    assert_eq!((&staff["shadow"], &staff["models"], &staff["allowed"]), (&json!(null), &json!(null), &json!(null)));
    assert_eq!((&staff["teams"], &staff["on"]), (&json!(["platform"]), &json!(["request"])));
    let nobody = tollgate(&fake, &["apply", "-f", "-"], "guardrails: [{ name: staff, teams: [nobody] }]").await;
    assert!(nobody.code == 1 && nobody.stderr.contains("names the team \"nobody\""), "{}", nobody.stderr);
    let bare = tollgate(&fake, &["apply", "-f", "-"], "guardrails: [{ name: new }]").await;
    assert!(bare.stderr.contains("needs kind") && bare.stderr.contains("needs action"), "{}", bare.stderr);
    let pruned = tollgate(&fake, &["apply", "-f", "-", "--prune"], "guardrails: []").await;
    assert!(pruned.code == 0 && pruned.stdout.contains("- guardrail projects"), "{}", pruned.stdout);
    assert_eq!(tollgate(&fake, &["guardrail", "list", "-o", "json"], "").await.json(), json!([]));
}

#[tokio::test]
async fn a_rule_file_lies_beside_the_file_and_is_exported_in_it() {
    let fake = Fake::start().await;
    let directory = tempfile::tempdir().unwrap();
    let rules = "[[rules]]\nid = \"employee\"\nregex = '''emp-[0-9]{6}'''\ncolour = \"red\"\n";
    std::fs::write(directory.path().join("own.toml"), rules).unwrap();
    let file = directory.path().join("tollgate.yaml");
    let text = "guardrails: [{ name: own, kind: secrets, action: detect, rule_file: own.toml }]";
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    let applied = tollgate(&fake, &["apply", "-f", file], "").await;
    assert_eq!(applied.code, 0, "{}{}", applied.stdout, applied.stderr);
    assert!(applied.stdout.contains("rules_toml: \"4 lines\""), "{}", applied.stdout);
    assert!(applied.stderr.contains("guardrail own: employee: colour ignored"), "{}", applied.stderr);
    assert_eq!(tollgate(&fake, &["diff", "-f", file], "").await.stdout, "nothing to do\n");
    let shown = tollgate(&fake, &["guardrail", "get", "own", "-o", "json"], "").await.json();
    assert_eq!(shown["rule_file"], rules);
    let exported = tollgate(&fake, &["export"], "").await.stdout;
    assert!(exported.contains("rules_toml: "), "{exported}");
    assert_eq!(tollgate(&fake, &["diff", "-f", "-"], &exported).await.stdout, "nothing to do\n");
    let gone = "guardrails: [{ name: own, rule_file: gone.toml }]";
    let gone = tollgate(&fake, &["apply", "-f", "-"], gone).await;
    assert!(gone.code == 1 && gone.stderr.contains("gone.toml"), "{}", gone.stderr);
    let cleared = tollgate(&fake, &["apply", "-f", "-"], "guardrails: [{ name: own, rules_toml: '' }]").await;
    assert_eq!(cleared.code, 0, "{}", cleared.stderr);
}

#[tokio::test]
async fn guardrails_are_typed_shown_and_tried() {
    let fake = Fake::start().await;
    let directory = tempfile::tempdir().unwrap();
    let rules = directory.path().join("own.toml");
    std::fs::write(&rules, "colour = \"red\"").unwrap();
    let line =
        ["guardrail", "create", "g", "--action", "block", "--rule-file", rules.to_str().unwrap(), "--no-builtin"];
    let made = tollgate(&fake, &[&line[..], &["--rule", "!aws-*", "--key", "*", "-o", "json"]].concat(), "").await;
    assert!(made.stderr.contains("employee: colour ignored"), "{}", made.stderr);
    let made = made.json();
    assert_eq!((&made["builtin"], &made["rule_file"]), (&json!(false), &json!("colour = \"red\"")));
    assert_eq!((&made["rules"], &made["keys"]), (&json!(["!aws-*"]), &json!(["*"])));
    let allow = format!("{}@2027-01-31=a sample", "0a".repeat(16));
    let line =
        ["guardrail", "update", "g", "--allow", &allow, "--action", "detect", "--clear", "rule_file", "--disable"];
    let shown = tollgate(&fake, &line, "").await.stdout;
    assert!(shown.contains("2027-01-31T00:00:00Z (a sample)") && shown.contains("disabled"), "{shown}");
    let tried = tollgate(&fake, &["guardrail", "test", "g", "--file", "-"], "of emp-123456").await;
    assert!(tried.stdout.contains("employee") && !tried.stdout.contains("123456"), "{}", tried.stdout);
    assert!(tried.stderr.contains("3 rules act"), "{}", tried.stderr);
    let line = ["guardrail", "test", "g", "--file", "-", "-o", "json"];
    let tried = tollgate(&fake, &line, "of emp-123456").await.json();
    assert_eq!(tried["findings"], json!([{"rule": "employee", "offset": 3, "length": 8, "action": "detect"}]));
    let deleted = tollgate(&fake, &["guardrail", "delete", "g"], "").await;
    assert!(deleted.code == 0 && deleted.stderr.contains("guardrail g deleted"), "{}", deleted.stderr);
    for bad in [
        &["guardrail", "create", "g", "--action", "shout"][..],
        &["guardrail", "create", "g", "--action", "block", "--kind", "magic"],
        &["guardrail", "create", "g", "--action", "block", "--no-builtin"],
        &["guardrail", "create", "g"],
        &["guardrail", "update", "g", "--disallow", "00"],
    ] {
        assert_eq!(tollgate(&fake, bad, "").await.code, 2, "{bad:?}");
    }
}

#[tokio::test]
async fn findings_are_asked_for_listed_and_counted() {
    let fake = Fake::start().await;
    let text = "customers: [{ name: acme }]\nteams: [{ name: t, customer: acme }]\nkeys: [{ name: dev, team: t }]";
    tollgate(&fake, &["apply", "-f", "-"], text).await;
    let key = tollgate(&fake, &["key", "get", "dev", "-o", "json"], "").await.json()["id"].clone();
    let line = ["guardrail", "findings", "--since", "2027-01-01", "--key", "dev", "--rule", "aws", "-o", "json"];
    let found = tollgate(&fake, &line, "").await.json();
    assert_eq!(found.as_array().unwrap().len(), 3, "both pages");
    assert_eq!((&found[0]["key"], &found[0]["key_name"], &found[0]["shadow"]), (&key, &json!("dev"), &json!(true)));
    let asked = format!("rule=aws AND key={} AND since=2027-01-01T00:00:00Z", key.as_str().unwrap());
    assert_eq!(found[0]["session"], asked);
    let table = tollgate(&fake, &["guardrail", "findings", "--limit", "1"], "").await.stdout;
    assert!(table.contains("block (shadow)") && table.lines().count() == 2, "{table}");
    let counts = tollgate(&fake, &["guardrail", "findings", "--by", "rule", "-o", "json"], "").await.json();
    let count = |of: &serde_json::Value| [of["findings"].clone(), of["occurrences"].clone(), of["requests"].clone()];
    assert_eq!((&counts[0]["value"], count(&counts[0])), (&json!("aws"), [json!(2), json!(4), json!(2)]));
    assert_eq!((&counts[1]["value"], count(&counts[1])), (&json!("gcp"), [json!(1), json!(2), json!(1)]));
    let by_key = tollgate(&fake, &["guardrail", "findings", "--by", "key", "-o", "json"], "").await.json();
    assert_eq!((&by_key[0]["value"], &by_key[0]["name"]), (&key, &json!("dev")));
}
