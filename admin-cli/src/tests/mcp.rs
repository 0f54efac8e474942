//! Servers of tools: typed, declared, tried, and what is approved of them.

use serde_json::json;
use tollgate_proto::admin::v1::{McpGrant, McpServerHealth, McpTool};

use super::{fake::Fake, tollgate};

const DECLARED: &str = r#"
customers: [{ name: acme }]
teams: [{ name: platform, customer: acme }]
keys: [{ name: dev, team: platform, tools: ["github.*", "!github.delete_*"] }]
mcp_servers:
  - { name: github, url: https://MCP.example.com/mcp, auth: { bearer: env://GITHUB_MCP_TOKEN } }
  - name: search
    url: http://127.0.0.1:9/mcp?x=1
    allow_private: true
    transport: sse
    auth: { header: X-Api-Key, secret: canary }
    customers: [acme]
    teams: [platform]
    keys: ["dev-*"]
    tools: ["search_*", "!search_all"]
    prompts: ["*"]
    resources: ["file:*"]
    prices: [{ tools: search_web, call: 0.02 USD }, { tools: "search_*", call: 0.01 }]
    timeout: 1500ms
    parallel: 4
    arguments_max: 512KiB
    result_max: 1048576
    truncate: true
    record_arguments: true
    pinning: approval
    disabled: true
  - { name: open, url: https://open.example.com, auth: none }
"#;

#[tokio::test]
async fn servers_are_declared_exported_and_taken_back() {
    let fake = Fake::start().await;
    let applied = tollgate(&fake, &["apply", "-f", "-"], DECLARED).await;
    assert_eq!(applied.code, 0, "{}{}", applied.stdout, applied.stderr);
    assert!(applied.stdout.contains("+ mcp-server search") && !applied.stdout.contains("canary"), "{}", applied.stdout);
    assert_eq!(tollgate(&fake, &["apply", "-f", "-"], DECLARED).await.stdout, "nothing to do\n");
    for format in ["yaml", "json"] {
        let exported = tollgate(&fake, &["export", "-o", format], "").await.stdout;
        assert!(exported.contains("env://GITHUB_MCP_TOKEN") && !exported.contains("canary"), "{exported}");
        let again = tollgate(&fake, &["apply", "-f", "-", "--prune"], &exported).await;
        assert_eq!((again.code, again.stdout.as_str()), (0, "nothing to do\n"), "{exported}{}", again.stderr);
    }
    let exported = tollgate(&fake, &["export", "-o", "json"], "").await.json();
    let servers = exported["mcp_servers"].as_array().unwrap();
    let named = |name: &str| servers.iter().find(|each| each["name"] == name).unwrap();
    let expect =
        json!({"name": "github", "url": "https://mcp.example.com/mcp", "auth": {"bearer": "env://GITHUB_MCP_TOKEN"}});
    assert_eq!(named("github"), &expect);
    assert_eq!(named("open"), &json!({"name": "open", "url": "https://open.example.com"}));
    let search = named("search");
    assert_eq!(search["auth"], json!({"header": "x-api-key", "secret": "stored://"}));
    assert_eq!(
        search["prices"],
        json!([{"tools": "search_web", "call": "0.02 USD"}, {"tools": "search_*", "call": "0.01 USD"}])
    );
    assert_eq!((&search["timeout"], &search["result_max"]), (&json!("1500ms"), &json!("1MiB")));
    assert_eq!(exported["keys"][0]["tools"], json!(["!github.delete_*", "github.*"]));
    // What the file does not say stays, the secret too, and what it takes back goes.
    let less = "mcp_servers: [{ name: search, result_max: 4MiB, arguments_max: 1MiB, tools: [], disabled: false }]\nkeys: [{ name: dev, tools: [] }]";
    let changed = tollgate(&fake, &["apply", "-f", "-"], less).await;
    assert!(
        changed.code == 0 && changed.stdout.contains("disabled: true -> false"),
        "{}{}",
        changed.stdout,
        changed.stderr
    );
    assert_eq!(tollgate(&fake, &["diff", "-f", "-"], less).await.stdout, "nothing to do\n");
    let shown = tollgate(&fake, &["mcp-server", "get", "search", "-o", "json"], "").await.json();
    assert_eq!((&shown["auth"], &shown["reference"]), (&json!("header:x-api-key"), &json!("")));
    assert_eq!((&shown["arguments_bytes"], &shown["result_bytes"]), (&json!(1 << 20), &json!(4 << 20)));
    assert_eq!((&shown["tools"], &shown["teams"][0]["name"]), (&json!([]), &json!("platform")));
    let pruned = tollgate(&fake, &["apply", "-f", "-", "--prune"], "mcp_servers: []").await;
    assert!(pruned.code == 0 && pruned.stdout.contains("- mcp-server github"), "{}", pruned.stdout);
    assert_eq!(tollgate(&fake, &["mcp-server", "list", "-o", "json"], "").await.json(), json!([]));
}

const CLIENTS: &str = r#"
mcp_servers:
  - { name: files, transport: stdio }
  - name: pets
    url: https://api.example.com/v1
    transport: openapi
    document: { openapi: 3.0.3, info: { title: Pets, version: "1.0" }, paths: { /pets: { get: { responses: { 200: { description: ok } } } } } }
  - name: tracker
    url: https://mcp.example.com/mcp
    auth: { per_user: { scopes: [write, read], authorization_server: https://login.example.com/ } }
  - { name: search, url: https://search.example.com, auth: { client_credentials: { client_id: gate, client_secret: env://SEARCH } } }
  - { name: wiki, url: https://wiki.example.com, auth: { token_exchange: { client_id: gate, client_secret: canary, resource: "api://wiki" } } }
customers: [{ name: acme }]
teams: [{ name: platform, customer: acme }]
keys: [{ name: dev, team: platform, tool_rules: [{ tools: github.*, when: 'arguments.repo.startsWith("acme/")' }] }]
"#;

#[tokio::test]
async fn clients_processes_apis_and_rules_are_declared_exported_and_taken_back() {
    let fake = Fake::start().await;
    let applied = tollgate(&fake, &["apply", "-f", "-"], CLIENTS).await;
    assert_eq!(applied.code, 0, "{}{}", applied.stdout, applied.stderr);
    assert!(applied.stdout.contains("Pets 1.0, 1 operation, "), "{}", applied.stdout);
    let again = tollgate(&fake, &["apply", "-f", "-"], CLIENTS).await.stdout;
    assert!(again.ends_with("nothing to do\n") && !again.contains("canary"), "{again}");
    for format in ["yaml", "json"] {
        let exported = tollgate(&fake, &["export", "-o", format], "").await.stdout;
        assert!(!exported.contains("canary"), "{exported}");
        let again = tollgate(&fake, &["apply", "-f", "-", "--prune"], &exported).await;
        assert_eq!((again.code, again.stdout.as_str()), (0, "nothing to do\n"), "{exported}{}", again.stderr);
    }
    let exported = tollgate(&fake, &["export", "-o", "json"], "").await.json();
    let servers = exported["mcp_servers"].as_array().unwrap();
    let named = |name: &str| servers.iter().find(|each| each["name"] == name).unwrap();
    assert_eq!(named("files"), &json!({"name": "files", "transport": "stdio"}));
    assert_eq!(named("pets")["document"]["paths"]["/pets"]["get"]["responses"]["200"]["description"], "ok");
    let auth = json!({"per_user": {"scopes": ["read", "write"], "authorization_server": "https://login.example.com/"}});
    assert_eq!(named("tracker")["auth"], auth);
    assert_eq!(
        named("search")["auth"],
        json!({"client_credentials": {"client_id": "gate", "client_secret": "env://SEARCH"}})
    );
    assert_eq!(named("wiki")["auth"]["token_exchange"]["client_secret"], "stored://");
    let rules = json!([{"tools": "github.*", "when": "arguments.repo.startsWith(\"acme/\")"}]);
    assert_eq!(exported["keys"][0]["tool_rules"], rules);
    // A transport takes with it what only it has; the secret of a client that the file does not name stays.
    let other = "mcp_servers: [{ name: pets, transport: sse }, { name: wiki, auth: { token_exchange: { client_id: new } } }, { name: tracker, auth: none }]\nkeys: [{ name: dev, tool_rules: [] }]";
    let applied = tollgate(&fake, &["apply", "-f", "-"], other).await;
    assert_eq!((applied.code, applied.stdout.ends_with("applied: 4 changes\n")), (0, true), "{}", applied.stdout);
    assert_eq!(tollgate(&fake, &["apply", "-f", "-"], other).await.stdout, "nothing to do\n");
    let shown = tollgate(&fake, &["mcp-server", "get", "wiki"], "").await.stdout;
    assert!(shown.contains("token_exchange (stored)") && shown.contains("new"), "{shown}");
    // A secret that a server is shown does not become a client's.
    let kept = "mcp_servers: [{ name: wiki, auth: { bearer: 'stored://' } }]";
    assert!(tollgate(&fake, &["diff", "-f", "-"], kept).await.stderr.contains("has no secret that could stay"));
    for bare in
        ["{ name: new, transport: openapi, url: 'https://x' }", "{ name: new, transport: openapi, document: { a: 1 } }"]
    {
        let refused = tollgate(&fake, &["apply", "-f", "-"], &format!("mcp_servers: [{bare}]")).await;
        assert!(refused.code == 1 && refused.stderr.contains("needs "), "{}", refused.stderr);
    }
}

#[tokio::test]
async fn clients_processes_and_apis_are_typed() {
    let fake = Fake::start().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "openapi: 3.1.0\ninfo: { title: Pets, version: v1 }\n").unwrap();
    let path = file.path().to_str().unwrap();
    let run = async |line: &[&str]| tollgate(&fake, &[&["mcp-server"], line].concat(), "").await;
    let made =
        run(&["create", "pets", "--url", "https://x", "--transport", "openapi", "--document", path, "-o", "json"])
            .await;
    assert_eq!(
        (made.code, &made.json()["document"]),
        (0, &json!("Pets v1, 0 operations, 58 bytes")),
        "{}",
        made.stderr
    );
    assert_eq!(run(&["create", "files", "--transport", "stdio"]).await.code, 0);
    let bare = run(&["create", "bare"]).await;
    assert!(bare.code != 0 && bare.stderr.contains("--url"), "{}", bare.stderr);
    let line = [
        "create",
        "wiki",
        "--url",
        "https://w",
        "--oauth",
        "per_user",
        "--client-id",
        "a",
        "--client-secret",
        "canary",
    ];
    let made = run(&[&line[..], &["--scope", "r", "--scope", "w", "-o", "json"]].concat()).await.json();
    assert_eq!((&made["auth"], &made["secret_stored"]), (&json!("per_user"), &json!(true)));
    assert_eq!(
        made["oauth"],
        json!({"client_id": "a", "scopes": ["r", "w"], "authorization_server": "", "resource": ""})
    );
    // What is not said of a client stays.
    let line =
        ["update", "wiki", "--authorization-server", "https://login.example/", "--clear", "scopes", "-o", "json"];
    let oauth =
        json!({"client_id": "a", "scopes": [], "authorization_server": "https://login.example/", "resource": ""});
    assert_eq!(run(&line).await.json()["oauth"], oauth);
    let shown = run(&["get", "wiki"]).await.stdout;
    assert!(shown.contains("per_user (stored)") && !shown.contains("canary"), "{shown}");
}

#[tokio::test]
async fn a_secret_of_a_server_is_compared_replaced_kept_and_taken_away() {
    let fake = Fake::start().await;
    let with = |auth: &str| format!("mcp_servers: [{{ name: s, url: 'https://x.example', auth: {auth} }}]");
    for (auth, says) in [
        ("{ bearer: canary }", "applied: 1 change\n"),
        ("{ bearer: canary }", "nothing to do\n"),
        ("{ bearer: 'stored://' }", "nothing to do\n"),
        ("{ bearer: another }", "applied: 1 change\n"),
        ("{ header: x-key, secret: 'stored://' }", "applied: 1 change\n"),
        ("{ header: x-key, secret: 'file:///k' }", "applied: 1 change\n"),
        ("{ header: x-key, secret: 'file:///k' }", "nothing to do\n"),
        ("none", "applied: 1 change\n"),
        ("none", "nothing to do\n"),
    ] {
        let applied = tollgate(&fake, &["apply", "-f", "-"], &with(auth)).await;
        assert!(applied.code == 0 && applied.stdout.ends_with(says), "{auth}: {}{}", applied.stdout, applied.stderr);
        assert!(!applied.stdout.contains("canary") && !applied.stdout.contains("another"), "{}", applied.stdout);
    }
    for (auth, says) in
        [("{ bearer: 'stored://' }", "has no secret that could stay"), ("{ bearer: 'stored://aa' }", "alone")]
    {
        let refused = tollgate(&fake, &["apply", "-f", "-"], &with(auth)).await;
        assert!(refused.code == 1 && refused.stderr.contains(says), "{auth}: {}", refused.stderr);
    }
    tollgate(&fake, &["apply", "-f", "-"], &with("{ bearer: 'env://X' }")).await;
    let refused = tollgate(&fake, &["apply", "-f", "-"], &with("{ bearer: 'stored://' }")).await;
    assert!(refused.stderr.contains("has the reference env://X and no stored secret"), "{}", refused.stderr);
    // Whether a literal is the one that is there, only the control plane knows.
    tollgate(&fake, &["apply", "-f", "-"], &with("{ bearer: canary }")).await;
    let diff = tollgate(&fake, &["diff", "-f", "-"], &with("{ bearer: canary }")).await;
    assert!(diff.code == 0 && diff.stdout.contains("? mcp-server s"), "{}", diff.stdout);
    let bare = tollgate(&fake, &["apply", "-f", "-"], "mcp_servers: [{ name: new, teams: [nobody] }]").await;
    assert!(bare.stderr.contains("names the team \"nobody\""), "{}", bare.stderr);
    let bare = tollgate(&fake, &["apply", "-f", "-"], "mcp_servers: [{ name: new }]").await;
    assert!(bare.stderr.contains("needs url"), "{}", bare.stderr);
}

#[tokio::test]
async fn a_server_is_typed_shown_changed_and_tried() {
    let fake = Fake::start().await;
    let line = ["mcp-server", "create", "github", "--url", "https://mcp.example.com/mcp", "--bearer", "canary"];
    let more = ["--tool", "!delete_*", "--price", "search_*=0.01 USD", "--timeout", "30s", "--result-max", "1MiB"];
    let made = tollgate(&fake, &[&line[..], &more, &["--truncate", "--parallel", "3"]].concat(), "").await;
    assert_eq!(made.code, 0, "{}", made.stderr);
    for says in ["bearer (stored)", "search_*=0.01 USD", "30s", "1MiB", "4MiB", "first_use", "(everybody)"] {
        assert!(made.stdout.contains(says) && !made.stdout.contains("canary"), "{says}: {}", made.stdout);
    }
    let line = ["mcp-server", "update", "github", "--header", "X-Key=env://X", "--clear", "tools", "--disable"];
    let changed = tollgate(&fake, &[&line[..], &["-o", "json"]].concat(), "").await.json();
    assert_eq!((&changed["auth"], &changed["reference"]), (&json!("header:x-key"), &json!("env://X")));
    assert_eq!(
        (&changed["tools"], &changed["disabled"], &changed["truncate"]),
        (&json!([]), &json!(true), &json!(true))
    );
    assert_eq!(changed["prices"], json!([{"tools": "search_*", "call_usd": "0.01"}]));
    let tried = tollgate(&fake, &["mcp-server", "test", "github"], "").await;
    assert!(tried.code == 1 && tried.stderr.contains("--enable"), "{}", tried.stderr);
    tollgate(&fake, &["mcp-server", "update", "github", "--enable"], "").await;
    let tried = tollgate(&fake, &["mcp-server", "test", "github", "--wait", "2s"], "").await;
    assert!(tried.code == 1 && tried.stderr.contains("no replica follows"), "{}", tried.stderr);
    let health = McpServerHealth { replicas: 2, tools: 5, software: "git\u{1b}hub 1".into(), ..Default::default() };
    fake.observe("github", McpServerHealth { pending: 3, ..health.clone() });
    let tried = tollgate(&fake, &["mcp-server", "test", "github", "-o", "json"], "").await;
    assert_eq!((tried.code, &tried.json()["usable"], &tried.json()["pending"]), (0, &json!(true), &json!(3)));
    fake.observe("github", McpServerHealth { failing: 2, problem: "401".into(), ..health });
    let tried = tollgate(&fake, &["mcp-server", "test", "github"], "").await;
    assert!(
        tried.code == 1 && tried.stdout.contains("replica-1: 401") && tried.stdout.contains("\\u{1b}"),
        "{}",
        tried.stdout
    );
    assert!(
        tried.stderr.contains("reaches https://mcp.example.com/mcp and finds the secret at env://X"),
        "{}",
        tried.stderr
    );
    let listed = tollgate(&fake, &["mcp-server", "list"], "").await.stdout;
    assert!(listed.contains("failing 2/2") && listed.contains("5 tools"), "{listed}");
    let deleted = tollgate(&fake, &["mcp-server", "delete", "github"], "").await;
    assert!(deleted.code == 0 && deleted.stderr.contains("mcp-server github deleted"), "{}", deleted.stderr);
    let gone = tollgate(&fake, &["mcp-server", "test", "github"], "").await;
    assert!(gone.code == 1 && gone.stderr.contains("`tollgate mcp-server list`"), "{}", gone.stderr);
    for bad in [
        &["mcp-server", "create", "Git", "--url", "https://x"][..],
        &["mcp-server", "create", "g", "--url", "stdio:ls"],
        &["mcp-server", "create", "g"],
        &["mcp-server", "create", "g", "--url", "https://x", "--bearer", "a", "--header", "x-key=b"],
        &["mcp-server", "create", "g", "--url", "https://x", "--pinning", "never"],
        &["mcp-server", "create", "g", "--url", "https://x", "--parallel", "-1"],
        &["mcp-server", "update", "g"],
        &["mcp-server", "test", "g", "--wait", "1m"],
    ] {
        assert_eq!(tollgate(&fake, bad, "").await.code, 2, "{bad:?}");
    }
}

#[tokio::test]
async fn what_users_permitted_is_listed_and_ended() {
    let fake = Fake::start().await;
    for server in ["tracker", "wiki"] {
        let line = ["mcp-server", "create", server, "--url", "https://mcp.example.com/mcp", "--oauth", "per_user"];
        assert_eq!(tollgate(&fake, &line, "").await.code, 0);
    }
    let mut ids = Vec::new();
    for user in ["ada", "bob"] {
        let made = tollgate(&fake, &["user", "create", user, "-o", "json"], "").await.json();
        ids.push(made["id"].as_str().unwrap().to_owned());
    }
    for (server, user, problem) in
        [("tracker", &ids[0], ""), ("tracker", &ids[1], "gone\u{1b}[31m"), ("wiki", &ids[0], "")]
    {
        let state = if problem.is_empty() { "good" } else { "broken" };
        fake.permit(McpGrant {
            server: server.into(),
            user: user.clone(),
            state: state.into(),
            problem: problem.into(),
            scopes: vec!["read".into()],
            renewable: true,
            ..McpGrant::default()
        });
    }
    let run = async |line: &[&str]| tollgate(&fake, &[&["mcp-server"], line].concat(), "").await;
    let shown = run(&["grants"]).await.stdout;
    for says in ["tracker", "wiki", "ada", "bob", "good", "broken: gone\\u{1b}[31m", "read"] {
        assert!(shown.contains(says), "{says}: {shown}");
    }
    let users = |listed: serde_json::Value| {
        let name = |grant: &serde_json::Value| grant["user_name"].as_str().unwrap().to_owned();
        listed.as_array().unwrap().iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(users(run(&["grants", "tracker", "-o", "json"]).await.json()), ["ada", "bob"]);
    let ended = run(&["disconnect", "tracker", "--user", "ada", "--reason", "left"]).await;
    assert!(ended.code == 0 && ended.stderr.contains("mcp-server tracker disconnected"), "{}", ended.stderr);
    assert_eq!(users(run(&["grants", "--user", "ada", "-o", "json"]).await.json()), ["ada"]);
    assert_eq!(users(run(&["grants", "tracker", "-o", "json"]).await.json()), ["bob"]);
    assert_eq!(run(&["disconnect", "nothing", "--reason", "left"]).await.code, 1);
    assert_eq!(run(&["disconnect"]).await.code, 2);
}

async fn offering() -> Fake {
    let fake = Fake::start().await;
    tollgate(&fake, &["mcp-server", "create", "github", "--url", "https://x.example"], "").await;
    tollgate(&fake, &["mcp-server", "create", "other", "--url", "https://y.example"], "").await;
    let tool = |server: &str, name: &str, state: &str, hash: &str| McpTool {
        server: server.into(),
        name: name.into(),
        state: state.into(),
        hash: hash.repeat(32),
        definition: format!("{{\"name\":\"{name}\",\"description\":\"Reads\\u202e it\"}}"),
        ..Default::default()
    };
    fake.offer(tool("github", "create_issue", "pending", "01"));
    fake.offer(McpTool {
        flags: vec!["hidden characters in description".into()],
        ..tool("github", "issues.list", "pending", "02")
    });
    fake.offer(McpTool {
        approved_hash: "0f".repeat(32),
        difference: vec!["- description: old".into(), "+ description: \u{e0041}new".into()],
        flags: vec!["instructions in description".into()],
        ..tool("github", "search", "changed", "03")
    });
    fake.offer(tool("other", "read", "pending", "04"));
    fake
}

#[tokio::test]
async fn a_tool_is_listed_looked_at_and_blocked() {
    let fake = offering().await;
    let names = |listed: serde_json::Value| {
        listed.as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let id = tollgate(&fake, &["mcp-server", "get", "github", "-o", "json"], "").await.json()["id"].clone();
    for (line, expect) in [
        (&["mcp-tool", "list"][..], &["create_issue", "issues.list", "search", "read"][..]),
        (&["mcp-tool", "list", "--mcp-server", id.as_str().unwrap()], &["create_issue", "issues.list", "search"]),
        (&["mcp-tool", "list", "--mcp-server", "github", "--state", "pending"], &["create_issue", "issues.list"]),
        (&["mcp-server", "tools", "other"], &["read"]),
    ] {
        assert_eq!(names(tollgate(&fake, &[line, &["-o", "json"]].concat(), "").await.json()), expect, "{line:?}");
    }
    let table = tollgate(&fake, &["mcp-server", "tools", "github"], "").await.stdout;
    assert!(table.contains("changed") && table.contains("hidden characters in description"), "{table}");
    assert_eq!(tollgate(&fake, &["mcp-tool", "list", "--mcp-server", "nobody"], "").await.code, 1);
    let shown = tollgate(&fake, &["mcp-tool", "get", "github.create_issue"], "").await.stdout;
    assert!(shown.contains("definition:\n  {") && shown.contains("Reads\\u{202e} it"), "{shown}");
    let shown = tollgate(&fake, &["mcp-tool", "get", "github", "search"], "").await.stdout;
    assert!(shown.contains("flags:\n  instructions in description\n") && !shown.contains("definition:"), "{shown}");
    assert!(shown.contains("difference:\n  - description: old\n  + description: \\u{e0041}new\n"), "{shown}");
    let document = tollgate(&fake, &["mcp-tool", "get", "github.issues.list", "-o", "json"], "").await.json();
    assert_eq!((&document["definition"]["name"], &document["hash"]), (&json!("issues.list"), &json!("02".repeat(32))));
    let blocked = tollgate(&fake, &["mcp-tool", "block", "github.search", "-o", "json"], "").await.json();
    assert_eq!((&blocked["state"], &blocked["approved_hash"]), (&json!("blocked"), &json!("")));
    assert_eq!(tollgate(&fake, &["mcp-tool", "get", "github"], "").await.code, 2);
}

#[tokio::test]
async fn what_is_approved_is_what_was_shown() {
    let fake = offering().await;
    let approved = tollgate(&fake, &["mcp-tool", "approve", "github.search"], "").await;
    assert_eq!(approved.code, 0, "{}", approved.stderr);
    let (shown, after) = approved.stdout.split_once("new\n").unwrap();
    assert!(shown.contains("+ description") && after.contains("approved"), "{}", approved.stdout);
    assert!(approved.stderr.contains("mcp-tool github.search approved"), "{}", approved.stderr);
    let tool = tollgate(&fake, &["mcp-tool", "get", "github.search", "-o", "json"], "").await.json();
    assert_eq!((&tool["state"], &tool["approved_hash"]), (&json!("approved"), &json!("03".repeat(32))));
    let first = tollgate(&fake, &["mcp-tool", "approve", "other", "read"], "").await;
    assert!(first.stdout.contains("definition:") && first.stdout.contains("Reads\\u{202e}"), "{}", first.stdout);
    let other = "0f".repeat(32);
    let line = ["mcp-tool", "approve", "github.create_issue", "--hash", &other];
    let refused = tollgate(&fake, &line, "").await;
    assert!(refused.code == 1 && refused.stderr.contains("another definition"), "{}", refused.stderr);
    let right = "01".repeat(32);
    let line = ["mcp-tool", "approve", "github.create_issue", "--hash", &right, "-o", "json"];
    let document = tollgate(&fake, &line, "").await;
    assert_eq!((&document.json()["state"], &document.json()["approved_difference"]), (&json!("approved"), &json!([])));
    fake.offer(McpTool { server: "github".into(), name: "lost".into(), state: "gone".into(), ..Default::default() });
    let gone = tollgate(&fake, &["mcp-tool", "approve", "github.lost"], "").await;
    assert!(gone.code == 1 && gone.stderr.contains("gives no definition of github.lost"), "{}", gone.stderr);
}

#[tokio::test]
async fn what_waits_is_approved_at_once_after_it_was_listed() {
    let fake = offering().await;
    let all = tollgate(&fake, &["mcp-tool", "approve", "--all", "github"], "").await;
    assert_eq!(all.code, 0, "{}", all.stderr);
    let (listed, after) = all.stdout.split_once("approved: ").unwrap();
    assert!(
        listed.contains("create_issue") && listed.contains("issues.list") && !listed.contains("search"),
        "{listed}"
    );
    assert_eq!(after, "2 tools\n");
    assert!(all.stderr.contains("look at github.issues.list: hidden characters in description"), "{}", all.stderr);
    let left = tollgate(&fake, &["mcp-tool", "list", "--state", "pending", "-o", "json"], "").await.json();
    assert_eq!((left.as_array().unwrap().len(), &left[0]["server"]), (1, &json!("other")));
    let other = tollgate(&fake, &["mcp-tool", "approve", "--all", "other", "-o", "json"], "").await;
    assert_eq!(other.json()[0]["state"], "approved");
    let none = tollgate(&fake, &["mcp-tool", "approve", "--all", "other", "-o", "json"], "").await;
    assert_eq!((none.code, none.json()), (0, json!([])));
    for bad in [&["mcp-tool", "approve"][..], &["mcp-tool", "approve", "github.x", "--all", "github"]] {
        assert_eq!(tollgate(&fake, bad, "").await.code, 2, "{bad:?}");
    }
}

#[tokio::test]
async fn a_key_is_given_its_tools() {
    let fake = Fake::start().await;
    tollgate(&fake, &["customer", "create", "acme"], "").await;
    tollgate(&fake, &["team", "create", "platform", "--customer", "acme"], "").await;
    let line = ["key", "create", "dev", "--team", "platform", "--tool", "github.*", "--tool", "!github.delete_*"];
    assert_eq!(tollgate(&fake, &line, "").await.code, 0);
    let shown = tollgate(&fake, &["key", "get", "dev"], "").await.stdout;
    assert!(shown.contains("github.* !github.delete_*"), "{shown}");
    let line = ["key", "update", "dev", "--tool", "prompt:github.triage", "-o", "json"];
    assert_eq!(tollgate(&fake, &line, "").await.json()["tools"], json!(["prompt:github.triage"]));
    let cleared = tollgate(&fake, &["key", "update", "dev", "--clear", "tools", "-o", "json"], "").await.json();
    assert_eq!(cleared["tools"], json!([]));
    assert_eq!(tollgate(&fake, &["key", "update", "dev", "--tool", "prompt:"], "").await.code, 2);
}
