//! Whole conversations: a command line, a control plane that speaks the wire, and what came out.

mod access;
mod audit;
mod authority;
mod fake;
mod guardrails;
mod mcp;
mod routes;
pub(crate) mod sealed;
mod sign_in;

use std::{collections::BTreeMap, ffi::OsString, io};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{Surroundings, run};
use fake::Fake;

/// What a run left behind.
struct Ran {
    code: u8,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {:?} {:?}", self.stdout, self.stderr))
    }
}

async fn tollgate(fake: &Fake, line: &[&str], stdin: &str) -> Ran {
    tollgate_with(&[("TOLLGATE_SERVER", &fake.address()), ("TOLLGATE_TOKEN", fake::TOKEN)], line, stdin).await
}

async fn tollgate_with(environment: &[(&str, &str)], line: &[&str], stdin: &str) -> Ran {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let mut surroundings = Surroundings {
        environment: environment.iter().map(|row| (row.0.to_owned(), row.1.to_owned())).collect::<BTreeMap<_, _>>(),
        stdin: &mut io::Cursor::new(stdin.to_owned()),
        stdout: &mut stdout,
        stderr: &mut stderr,
        now: "2026-03-01T12:00:00Z".parse::<Timestamp>().unwrap(),
    };
    let arguments = ["tollgate"].iter().chain(line).map(OsString::from);
    let code = run(arguments, &mut surroundings).await;
    Ran { code, stdout: String::from_utf8(stdout).unwrap(), stderr: String::from_utf8(stderr).unwrap() }
}

const FILE: &str = r#"
keys:
  - { name: payments-dev, team: platform, models: ["claude-*"], providers: [anthropic], credentials: [primary], expires: 2026-12-31, audit: best_effort }
teams:
  - { name: platform, customer: acme }
customers:
  - { name: acme, display_name: Acme }
providers:
  - name: anthropic
    dialect: anthropic
    base_url: http://127.0.0.1:9
    allow_private: true
    credentials: [{ name: primary, secret: env://KEY, weight: 2 }, { name: spare, secret: canary }]
models:
  - { model: anthropic/claude-x, input: 3, output: 15, cache_read: 0.3 }
"#;

#[tokio::test]
async fn a_key_is_created_and_its_secret_printed_once() {
    let fake = Fake::start().await;
    assert_eq!(tollgate(&fake, &["customer", "create", "acme"], "").await.code, 0);
    assert_eq!(tollgate(&fake, &["team", "create", "--name", "platform", "--customer", "acme"], "").await.code, 0);
    let line =
        ["key", "create", "--name", "payments-dev", "--team", "platform", "--model", "claude-*", "--expires", "30d"];
    let created = tollgate(&fake, &[&line[..], &["-o", "json"]].concat(), "").await;
    assert_eq!(created.code, 0, "{}", created.stderr);
    let key = created.json();
    assert_eq!(
        (&key["name"], &key["team_name"], &key["expire_time"]),
        (&json!("payments-dev"), &json!("platform"), &json!("2026-03-31T12:00:00Z"))
    );
    assert!(key["secret"].as_str().unwrap().starts_with("tg_") && key["id"].as_str().unwrap().starts_with("key-"));
    let shown = tollgate(&fake, &["key", "get", "payments-dev", "-o", "json"], "").await;
    assert!(!shown.stdout.contains(key["secret"].as_str().unwrap()) && shown.json()["models"] == json!(["claude-*"]));
    let rotated = tollgate(&fake, &["key", "rotate", "payments-dev", "-o", "json"], "").await.json();
    assert_ne!(rotated["secret"], key["secret"]);
    let revoked =
        tollgate(&fake, &["-o", "json", "key", "revoke", "payments-dev", "--reason", "leaked"], "").await.json();
    assert_eq!(revoked["state"], "revoked");
    let listed = tollgate(&fake, &["key", "list", "--state", "revoked"], "").await;
    assert!(listed.stdout.contains("payments-dev") && listed.stdout.contains("revoked"), "{}", listed.stdout);
    let updated =
        tollgate(&fake, &["key", "update", "payments-dev", "--clear", "models", "-o", "json"], "").await.json();
    assert_eq!(updated["models"], json!([]));
    assert_eq!(
        tollgate(&fake, &["key", "delete", "payments-dev", "-o", "json"], "").await.json(),
        json!({"deleted": "payments-dev"})
    );
}

#[tokio::test]
async fn a_key_goes_on_without_the_audit_log_only_when_it_is_said() {
    let fake = Fake::start().await;
    tollgate(&fake, &["customer", "create", "acme"], "").await;
    tollgate(&fake, &["team", "create", "platform", "--customer", "acme"], "").await;
    for (name, flag, expect) in [
        ("plain", &[][..], "required"),
        ("strict", &["--audit", "required"], "required"),
        ("loose", &["--audit", "best-effort"], "best_effort"),
    ] {
        let line = [&["key", "create", name, "--team", "platform"], flag].concat();
        assert_eq!(tollgate(&fake, &line, "").await.code, 0, "{name}");
        let shown = tollgate(&fake, &["key", "get", name, "-o", "json"], "").await.json();
        assert_eq!(shown["audit"], expect, "{name}");
    }
    let exported = tollgate(&fake, &["export"], "").await.stdout;
    let updated = tollgate(&fake, &["key", "update", "loose", "--audit", "required"], "").await;
    assert_eq!(updated.code, 0, "{}", updated.stderr);
    let shown = tollgate(&fake, &["key", "get", "loose"], "").await.stdout;
    assert!(shown.contains("required") && !shown.contains("best_effort"), "{shown}");
    let diff = tollgate(&fake, &["diff", "-f", "-"], &exported).await.stdout;
    assert!(diff.contains(r#"audit: "required" -> "best_effort""#), "{diff}");
    assert_eq!(tollgate(&fake, &["apply", "-f", "-"], &exported).await.code, 0);
    let shown = tollgate(&fake, &["key", "get", "loose", "-o", "json"], "").await.json();
    assert_eq!(shown["audit"], "best_effort");
    // A file that says nothing of it leaves it as it is.
    let silent = "keys: [{ name: loose, display_name: Loose }]";
    assert_eq!(tollgate(&fake, &["apply", "-f", "-"], silent).await.code, 0);
    let shown = tollgate(&fake, &["key", "get", "loose", "-o", "json"], "").await.json();
    assert_eq!((&shown["audit"], &shown["display_name"]), (&json!("best_effort"), &json!("Loose")));
}

#[tokio::test]
async fn a_file_is_applied_once_and_then_there_is_nothing_to_do() {
    let fake = Fake::start().await;
    let dry = tollgate(&fake, &["apply", "-f", "-", "--dry-run"], FILE).await;
    assert!(
        dry.code == 0 && dry.stdout.contains("+ team platform") && dry.stdout.contains("plan: 5 to create"),
        "{}",
        dry.stdout
    );
    assert_eq!(tollgate(&fake, &["diff", "-f", "-"], FILE).await.code, 1);
    let applied = tollgate(&fake, &["apply", "-f", "-", "-o", "json"], FILE).await;
    assert_eq!(applied.code, 0, "{}", applied.stderr);
    let report = applied.json();
    assert_eq!((&report["applied"], &report["secrets"][0]["name"]), (&json!(5), &json!("payments-dev")));
    assert!(report["secrets"][0]["secret"].as_str().unwrap().starts_with("tg_") && !applied.stdout.contains("canary"));
    let again = tollgate(&fake, &["apply", "-f", "-"], FILE).await;
    assert_eq!((again.code, again.stdout.as_str()), (0, "nothing to do\n"), "{}", again.stderr);
    assert_eq!(tollgate(&fake, &["diff", "-f", "-"], FILE).await.code, 0);
    let changed = FILE.replace("canary", "another");
    assert_eq!(tollgate(&fake, &["apply", "-f", "-"], &changed).await.stdout, "applied: 1 change\n");
    assert_eq!(tollgate(&fake, &["apply", "-f", "-"], &changed).await.stdout, "nothing to do\n");
}

#[tokio::test]
async fn an_export_applied_is_nothing_to_do_and_holds_no_secret() {
    let fake = Fake::start().await;
    tollgate(&fake, &["apply", "-f", "-"], FILE).await;
    for format in ["yaml", "json"] {
        let exported = tollgate(&fake, &["export", "-o", format], "").await;
        assert!(exported.code == 0 && !exported.stdout.contains("canary"), "{}", exported.stdout);
        let applied = tollgate(&fake, &["apply", "-f", "-", "--prune"], &exported.stdout).await;
        assert_eq!((applied.code, applied.stdout.as_str()), (0, "nothing to do\n"), "{}", applied.stderr);
    }
}

#[tokio::test]
async fn a_credential_moves_to_another_key_and_ends_in_one_apply() {
    let fake = Fake::start().await;
    tollgate(&fake, &["apply", "-f", "-"], FILE).await;
    let moved = FILE.replace("{ name: primary, secret: env://KEY, weight: 2 }", "{ name: fresh, secret: env://NEW }");
    let moved = moved.replace("credentials: [primary]", "credentials: [fresh]");
    let applied = tollgate(&fake, &["apply", "-f", "-"], &moved).await;
    assert_eq!(applied.code, 0, "{}{}", applied.stdout, applied.stderr);
    assert_eq!(tollgate(&fake, &["apply", "-f", "-"], &moved).await.stdout, "nothing to do\n");
    let providers = tollgate(&fake, &["provider", "list", "-o", "json"], "").await.json();
    assert_eq!(providers[0]["credentials"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_file_with_mistakes_changes_nothing_and_calls_nobody() {
    let text = "customers: [{ name: Acme }]\nteams: [{ name: t, custmer: x }]\nmcp_server: []\n";
    let ran = tollgate_with(&[("TOLLGATE_SERVER", "http://127.0.0.1:1")], &["apply", "-f", "-"], text).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    for line in [
        "standard input:1:21: customers[0].name",
        "standard input:2:20: teams[0].custmer",
        "standard input:3:1: mcp_server: there is no such field, did you mean mcp_servers?",
    ] {
        assert!(ran.stderr.contains(line), "{line}: {}", ran.stderr);
    }
    let ran = tollgate_with(&[], &["apply", "-f", "-", "-o", "json"], text).await;
    let error: Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!(error["error"]["violations"].as_array().unwrap().len(), 3);
    assert_eq!(tollgate_with(&[], &["diff", "-f", "-"], text).await.code, 2);
}

#[tokio::test]
async fn what_was_created_before_a_failure_is_printed() {
    let fake = Fake::start().await;
    tollgate(&fake, &["apply", "-f", "-"], FILE).await;
    fake.refuse_key("second");
    let text = "keys: [{ name: first, team: platform }, { name: second, team: platform }]";
    let ran = tollgate(&fake, &["apply", "-f", "-", "-o", "json"], text).await;
    assert_eq!((ran.code, ran.json()["secrets"][0]["name"].clone()), (1, json!("first")));
    let error: Value = serde_json::from_str(&ran.stderr).unwrap();
    assert!(error["error"]["message"].as_str().unwrap().contains("step 2 of 2, key second"), "{}", ran.stderr);
}

#[tokio::test]
async fn a_failure_says_what_to_do() {
    let fake = Fake::start().await;
    let check = |ran: Ran, code: u8, says: &str| {
        assert!(ran.code == code && ran.stderr.contains(says) && ran.stdout.is_empty(), "{} {}", ran.code, ran.stderr)
    };
    check(tollgate(&fake, &["key", "get", "nothing"], "").await, 1, "there is no key \"nothing\"");
    check(
        tollgate(&fake, &["team", "create", "t", "--customer", "nobody"], "").await,
        1,
        "there is no customer \"nobody\"",
    );
    let address = fake.address();
    check(tollgate_with(&[("TOLLGATE_SERVER", &address)], &["whoami"], "").await, 1, "TOLLGATE_TOKEN_FILE");
    check(tollgate_with(&[("TOLLGATE_SERVER", "http://127.0.0.1:1")], &["whoami"], "").await, 1, "http://127.0.0.1:1");
    check(tollgate_with(&[("TOLLGATE_SERVER", "127.0.0.1:1")], &["whoami"], "").await, 2, "must be a URL");
    check(tollgate(&fake, &["key", "nonsense"], "").await, 2, "unrecognized subcommand");
    check(tollgate(&fake, &["key", "create", "-o", "json"], "").await, 2, "\"code\": \"usage\"");
    check(tollgate(&fake, &["customer", "update", "acme"], "").await, 2, "nothing to change");
}

#[tokio::test]
async fn a_report_has_the_rows_that_automation_reads() {
    let fake = Fake::start().await;
    let ran = tollgate(&fake, &["usage", "report", "--by", "key", "--since", "24h", "-o", "json"], "").await;
    let row = &ran.json()[0];
    for (field, value) in [
        ("requests", json!(2)),
        ("input_tokens", json!(100)),
        ("output_tokens", json!(20)),
        ("cache_read_tokens", json!(30)),
        ("cache_write_tokens", json!(9)),
        ("cost_usd", json!("0.0105")),
    ] {
        assert_eq!(row[field], value, "{field}");
    }
    let table = tollgate(&fake, &["usage", "report", "--by", "key"], "").await;
    assert!(
        table.stdout.contains("COST USD") && table.stderr.contains("total: 2 requests, 0.0105 USD"),
        "{}{}",
        table.stdout,
        table.stderr
    );
}

#[tokio::test]
async fn a_price_is_set_in_dollars_and_reset() {
    let fake = Fake::start().await;
    let line =
        ["model", "price", "anthropic/claude-x", "--input", "3", "--output", "15", "--cache-read", "0.3", "-o", "json"];
    let model = tollgate(&fake, &line, "").await.json();
    assert_eq!(
        (&model["price"]["input"], &model["price"]["cache_read"], &model["origin"]),
        (&json!("3"), &json!("0.3"), &json!("override"))
    );
    assert_eq!(tollgate(&fake, &["model", "reset", "anthropic/claude-x"], "").await.code, 0);
    assert_eq!(tollgate(&fake, &["model", "get", "anthropic/claude-x"], "").await.code, 1);
}

#[tokio::test]
async fn the_rest_of_the_nouns_answer() {
    let fake = Fake::start().await;
    tollgate(&fake, &["apply", "-f", "-"], FILE).await;
    assert_eq!(tollgate(&fake, &["whoami", "-o", "json"], "").await.json()["principal"], "administrator/bootstrap");
    let check = tollgate(&fake, &["check"], "").await;
    assert!(
        check.stdout.contains("sqlite") && check.stderr.contains("warning: look here"),
        "{}{}",
        check.stdout,
        check.stderr
    );
    assert_eq!(tollgate(&fake, &["replica", "list", "-o", "json"], "").await.json()[0]["name"], "proxy-1");
    assert_eq!(tollgate(&fake, &["replica", "join-token", "-o", "json"], "").await.json()["token"], "join");
    fake.audit("key.create", 1);
    assert_eq!(
        tollgate(&fake, &["audit", "list", "--action", "key.*", "-o", "json"], "").await.json()[0]["action"],
        "key.create"
    );
    assert_eq!(
        tollgate(&fake, &["user", "create", "ada", "--team", "platform", "-o", "json"], "").await.json()["team_name"],
        "platform"
    );
    let provider = tollgate(&fake, &["provider", "get", "anthropic"], "").await;
    assert!(
        provider.stdout.contains("primary=env://KEY,weight=2") && !provider.stdout.contains("canary"),
        "{}",
        provider.stdout
    );
    assert_eq!(tollgate(&fake, &["customer", "list", "-o", "yaml"], "").await.stdout.lines().count(), 10);
}

#[tokio::test]
async fn what_needs_no_control_plane_calls_none() {
    let version = tollgate_with(&[], &["version"], "").await;
    assert_eq!((version.code, version.stdout), (0, format!("tollgate {}\n", env!("CARGO_PKG_VERSION"))));
    assert_eq!(tollgate_with(&[], &["version", "-o", "json"], "").await.json()["version"], env!("CARGO_PKG_VERSION"));
    for shell in ["bash", "zsh", "fish"] {
        let script = tollgate_with(&[], &["completions", shell], "").await;
        assert!(script.code == 0 && script.stdout.contains("payments") | script.stdout.contains("tollgate"), "{shell}");
    }
    let help = tollgate_with(&[], &["key", "create", "--help"], "").await;
    assert!(help.code == 0 && help.stdout.contains("Example: ") && help.stderr.is_empty());
}

#[tokio::test]
async fn https_is_spoken_to_whom_the_named_authority_vouches_for() {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let authority = directory.path().join("ca.pem");
    std::fs::write(&authority, cert.pem()).unwrap();
    let fake = Fake::start_secure(&cert.pem(), &signing_key.serialize_pem()).await;
    let trusted = tollgate(&fake, &["whoami", "--ca", authority.to_str().unwrap()], "").await;
    assert_eq!(trusted.code, 0, "{}", trusted.stderr);
    let stranger = tollgate(&fake, &["whoami"], "").await;
    assert!(stranger.code == 1 && stranger.stderr.contains(&fake.address()), "{}", stranger.stderr);
}

#[tokio::test]
async fn a_list_is_followed_over_its_pages() {
    let fake = Fake::start().await;
    fake.seed_customers(2_345);
    let listed = tollgate(&fake, &["customer", "list", "-o", "json"], "").await.json();
    assert_eq!(listed.as_array().unwrap().len(), 2_345);
    let some = tollgate(&fake, &["customer", "list", "-o", "json", "--limit", "7"], "").await.json();
    assert_eq!(some.as_array().unwrap().len(), 7);
}

const GOVERNED: &str = r#"
customers: [{ name: acme, budgets: [{ limit: 5000 USD, window: 1M }] }]
teams:
  - name: platform
    customer: acme
    budgets: [{ limit: 1000 USD, window: 1M, align: calendar, time_zone: Europe/Berlin }]
    limits: [{ requests: 600, per: 1m }, { tokens: 2000000, per: 1h }, { parallel: 10 }]
users: [{ name: ada, team: platform, session_limit: { dollars: 5 USD, requests: 500, repeats: 20, pause: 10m } }]
providers: [{ name: anthropic, dialect: anthropic, base_url: https://api.anthropic.com }]
keys:
  - name: payments-dev
    team: platform
    budgets: [{ limit: 500 USD, window: 1M }, { limit: 100 USD, window: 1d, provider: anthropic, grace: 5 USD/10m }]
"#;

#[tokio::test]
async fn a_key_is_created_with_budgets_and_limits_that_an_update_replaces() {
    let fake = Fake::start().await;
    tollgate(&fake, &["customer", "create", "acme", "--budget", "5000 USD/1M"], "").await;
    tollgate(&fake, &["team", "create", "platform", "--customer", "acme"], "").await;
    let line = ["key", "create", "dev", "--team", "platform", "--budget", "500 USD/1M", "--limit", "600 requests/1m"];
    let created =
        tollgate(&fake, &[&line[..], &["--session-limit", "5 USD,pause=10m", "-o", "json"]].concat(), "").await;
    assert_eq!(created.code, 0, "{}", created.stderr);
    let key = created.json();
    let expect = json!([{
        "id": key["budgets"][0]["id"], "limit_usd": "500", "window": "1M", "alignment": "rolling", "time_zone": "", "models": [],
        "provider": "", "provider_name": "", "enforcement": "hard", "holding": "auto", "thresholds": [50, 80, 100],
        "grace_usd": null, "grace": null, "contact": ""
    }]);
    assert_eq!(key["budgets"], expect);
    assert_eq!(key["limits"], json!([{"measure": "requests", "amount": 600, "per_seconds": 60, "models": []}]));
    assert_eq!(key["session_limit"], json!({"cost_usd": "5", "requests": null, "repeats": null, "pause_seconds": 600}));
    let update = ["key", "update", "dev", "--budget", "600 USD/1M", "--budget", "100 USD/1d,soft"];
    let updated =
        tollgate(&fake, &[&update[..], &["--clear", "session_limit", "-o", "json"]].concat(), "").await.json();
    assert_eq!((&updated["budgets"][0]["id"], &updated["budgets"][0]["limit_usd"]), (&expect[0]["id"], &json!("600")));
    assert_eq!((&updated["limits"][0]["amount"], &updated["session_limit"]), (&json!(600), &Value::Null));
    let shown = tollgate(&fake, &["key", "get", "dev"], "").await.stdout;
    assert!(shown.contains("600 USD/1M; 100 USD/1d,soft") && shown.contains("600 requests/1m"), "{shown}");
    for (noun, name, says) in [("customer", "acme", "5000 USD/1M"), ("key", "dev", "600 USD/1M")] {
        assert!(tollgate(&fake, &[noun, "list"], "").await.stdout.contains(says), "{noun}");
        let cleared = tollgate(&fake, &[noun, "update", name, "--clear", "budgets", "-o", "json"], "").await.json();
        assert_eq!(cleared["budgets"], json!([]), "{noun}");
    }
}

#[tokio::test]
async fn budgets_of_a_file_are_applied_exported_and_then_nothing_is_to_do() {
    let fake = Fake::start().await;
    let applied = tollgate(&fake, &["apply", "-f", "-"], GOVERNED).await;
    assert_eq!(applied.code, 0, "{}{}", applied.stdout, applied.stderr);
    assert_eq!(tollgate(&fake, &["diff", "-f", "-"], GOVERNED).await.stdout, "nothing to do\n");
    let exported = tollgate(&fake, &["export"], "").await.stdout;
    let diff = tollgate(&fake, &["diff", "-f", "-", "--prune"], &exported).await;
    assert_eq!((diff.code, diff.stdout.as_str()), (0, "nothing to do\n"), "{exported}");
    let alone = "keys: [{ name: payments-dev, budgets: [{ limit: 100 USD, window: 1d, provider: anthropic, grace: 5 USD/10m }] }]";
    let dry = tollgate(&fake, &["diff", "-f", "-"], alone).await;
    assert!(dry.code == 1 && dry.stdout.contains("1 to update"), "{}{}", dry.stdout, dry.stderr);
}

#[tokio::test]
async fn a_budget_is_shown_corrected_and_freed_of_a_dead_replica() {
    let fake = Fake::start().await;
    tollgate(&fake, &["apply", "-f", "-"], GOVERNED).await;
    let listed = tollgate(&fake, &["budget", "list", "--key", "payments-dev", "-o", "json"], "").await.json();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert_eq!((&listed[1]["provider_name"], &listed[1]["grace"]), (&json!("anthropic"), &json!("10m")));
    let table = tollgate(&fake, &["budget", "list", "--team", "platform"], "").await.stdout;
    let mut lines = table.lines().map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()));
    let header: Vec<_> = lines.next().unwrap().collect();
    let columns =
        ["OWNER", "WINDOW", "LIMIT", "SETTLED", "LEASED", "FREE", "USED %", "RESETS AT", "BURN/H", "EMPTY AT", "ID"];
    assert_eq!(header, columns);
    let row: Vec<_> = lines.next().unwrap().collect();
    assert_eq!(row[..10], ["team/platform", "1M@Europe/Berlin", "1000", "0", "2.5", "997.5", "0", "never", "0", "-"]);
    let id = listed[0]["id"].as_str().unwrap();
    let line = ["budget", "adjust", id, "--reason", "a failed run", "--request-id", "case-1", "-o", "json"];
    for (amount, expect) in [(&["--amount", "20"][..], "20"), (&["--amount", "20"], "20")] {
        let adjusted = tollgate(&fake, &[&line[..], amount].concat(), "").await;
        assert_eq!(adjusted.json()["settled_usd"], expect, "{}", adjusted.stderr);
    }
    let refund = ["budget", "adjust", id, "--reason", "a failed run", "--amount", "-12.50", "-o", "json"];
    assert_eq!(tollgate(&fake, &refund, "").await.json()["settled_usd"], "7.5");
    assert_eq!(tollgate(&fake, &["budget", "get", id, "-o", "json"], "").await.json()["free_usd"], "490");
    let leases = tollgate(&fake, &["budget", "leases", "--budget", id, "-o", "json"], "").await.json();
    assert_eq!((&leases[0]["replica_name"], &leases[0]["outstanding_usd"]), (&json!("proxy-1"), &json!("2.5")));
    let release = ["budget", "release", "proxy-1", "--reason", "disk lost", "-o", "json"];
    assert_eq!(
        tollgate(&fake, &release, "").await.json(),
        json!({"replica": "proxy-1", "leases": 4, "released_usd": "10"})
    );
    let none = tollgate(&fake, &["budget", "leases", "--replica", "proxy-1"], "").await;
    assert_eq!((none.stdout.as_str(), none.stderr.as_str()), ("", "no leases\n"));
    let missing = tollgate(&fake, &["budget", "get", "budget-x"], "").await;
    assert!(missing.code == 1 && missing.stderr.contains("tollgate budget list"), "{}", missing.stderr);
}
