//! What a file may say, and where its mistakes are found.

use super::*;

fn mistakes(text: &str) -> Vec<String> {
    let found = read(text).map(|_| Vec::new()).unwrap_or_else(|mistakes| mistakes);
    found.into_iter().map(|Mistake { place, text }| format!("{}:{}: {text}", place.line, place.column)).collect()
}

const WHOLE: &str = r#"
providers:
  - name: anthropic
    dialect: anthropic
    base_url: https://api.anthropic.com
    credentials: [{ name: primary, secret: env://ANTHROPIC_API_KEY, weight: 1 }]
  - { name: local, dialect: anthropic, base_url: "http://127.0.0.1:9", allow_private: true, priority: -1, disabled: true }
customers:
  - { name: acme }
teams:
  - { name: platform, customer: acme, display_name: Platform }
users:
  - { name: ada, email: ada@example.com, team: platform }
keys:
  - name: payments-dev
    team: platform
    user: ada
    models: ["claude-*", "!claude-opus-*"]
    providers: [anthropic]
    credentials: [primary]
    expires: 2026-12-31
    tags: { cost-centre: 4711, env: dev }
models:
  - { model: anthropic/claude-x, input: 3, output: 15, cache_read: 0.3, long_context: { threshold: 200_000, input: "6" } }
"#;

#[test]
fn a_whole_file_is_read() {
    let document = read(WHOLE).unwrap();
    assert_eq!((document.providers.len(), document.teams.len(), document.users.len()), (2, 1, 1));
    let provider = &document.providers[0];
    assert_eq!(
        provider.credentials.as_ref().unwrap()[0].secret,
        Secret::Reference("env://ANTHROPIC_API_KEY".to_owned())
    );
    assert_eq!((provider.allow_private, document.providers[1].allow_private), (None, Some(true)));
    let key = &document.keys[0];
    assert_eq!(key.expires, Some(Expires::At("2026-12-31T00:00:00Z".parse().unwrap())));
    assert_eq!(key.tags.as_ref().unwrap()["cost-centre"], "4711");
    assert_eq!(key.revoked, None);
    let model = &document.models[0];
    assert_eq!(model.rates.cache_read.unwrap().0.to_string(), "0.3");
    let Some(Tier::Above(tier)) = &model.long_context else { panic!("{:?}", model.long_context) };
    assert_eq!((tier.threshold, tier.rates.input.unwrap().0.to_string().as_str()), (200_000, "6"));
    assert_eq!(document.sections.len(), 6);
}

#[test]
fn json_and_several_documents_are_files_too() {
    let json = r#"{"customers": [{"name": "acme", "disabled": false}], "teams": []}"#;
    let document = read(json).unwrap();
    assert_eq!((document.customers[0].disabled, document.sections.len()), (Some(false), 2));
    let document = read("customers: [{ name: a }]\n---\ncustomers: [{ name: b }]\n").unwrap();
    assert_eq!((document.customers.len(), document.sections.len()), (2, 1));
    assert_eq!(read("").unwrap(), Document::default());
}

#[test]
fn three_mistakes_are_reported_together() {
    let text = "customers:\n  - { name: Acme }\nteams:\n  - name: platform\n    custmer: acme\nkeys:\n  - { name: k, team: platform, models: claude }\n";
    assert_eq!(
        mistakes(text),
        [
            "2:13: customers[0].name: must be 1 to 63 characters of a-z, 0-9, '.', '_' and '-', beginning with a letter or a digit",
            "5:5: teams[0].custmer: there is no such field, did you mean customer? There are name, customer, display_name, disabled, budgets, limits, session_limit, self_service, providers, regions",
            "7:40: keys[0].models: must be a list, not a text",
        ]
    );
}

#[test]
fn each_field_says_what_it_must_be() {
    let check = |text: &str, expect: &str| {
        let found = mistakes(text);
        assert!(found.len() == 1 && found[0].contains(expect), "{text}: {found:?}");
    };
    check("keys: [{ name: k, expires: 30d }]", "a duration would mean another instant");
    check("keys: [{ name: k, expires: soon }]", "must be an instant");
    check("keys: [{ name: k, audit: best-effort }]", "must be required or best_effort");
    check("keys: [{ name: k, models: [\"a b\"] }]", "keys[0].models[0]: pattern");
    check("keys: [{ name: k, regions: [\"eu west\"] }]", "keys[0].regions[0]: pattern");
    check("teams: [{ name: t, regions: eu }]", "teams[0].regions: must be a list");
    check("routes: [{ name: r, rule: 'modell == \"a\"' }]", "routes[0].rule: knows nothing of \"modell\"");
    check("routes: [{ name: r, balance: speed }]", "routes[0].balance: must be weight or latency");
    check("routes: [{ name: r, first_byte_timeout: 2h }]", "routes[0].first_byte_timeout: must be 100ms to 1h");
    check(
        "routes: [{ name: r, hedge_after: 1ms }]",
        "routes[0].hedge_after: must be 100ms to 10m, such as 2s, or none",
    );
    check("routes: [{ name: r, deadline: 10ms }]", "routes[0].deadline: must be 1s to 24h, such as 10m, or none");
    check("guardrails: [{ name: g, kind: magic }]", "guardrails[0].kind: must be one of secrets, expressions, words");
    check("guardrails: [{ name: g, action: shout }]", "guardrails[0].action: must be one of detect");
    check("guardrails: [{ name: g, on: [up] }]", "guardrails[0].on[0]: must be one of request, response");
    check("guardrails: [{ name: g, rule_file: a, rules_toml: b }]", "guardrails[0]: has both rule_file and rules_toml");
    check("guardrails: [{ name: g, rule_file: '' }]", "must be a path, relative to this file");
    check(
        "guardrails: [{ name: g, allowed: [{ fingerprint: '00', reason: r }] }]",
        "allowed[0].fingerprint: must be 32",
    );
    check("guardrails: [{ name: g, expressions: [{ id: a }] }]", "expressions[0].regex: is required");
    check("keys: [{ name: k, tools: ['prompt:'] }]", "keys[0].tools[0]: pattern");
    check("mcp_servers: [{ name: Git }]", "mcp_servers[0].name: must be 1 to 32");
    check("mcp_servers: [{ name: s, url: 'https://u:p@x' }]", "mcp_servers[0].url: must be https://");
    check("mcp_servers: [{ name: s, transport: pipe }]", "must be one of streamable_http, sse, stdio, openapi");
    check("mcp_servers: [{ name: s, document: '' }]", "mcp_servers[0].document: must be the path of a file");
    check("mcp_servers: [{ name: s, document: [a] }]", "mcp_servers[0].document: must be the path of a file");
    check("mcp_servers: [{ name: s, document: '{a' }]", "mcp_servers[0].document: is neither JSON nor YAML");
    check("mcp_servers: [{ name: s, document: { x: [.inf] } }]", "is not a finite number");
    check("mcp_servers: [{ name: s, auth: { per_user: { scopes: [a b] } } }]", "auth.per_user.scopes[0]: must be one");
    check("mcp_servers: [{ name: s, auth: { per_user: x } }]", "auth.per_user: must be a table of fields");
    check(
        "mcp_servers: [{ name: s, auth: { per_user: { authorization_server: login } } }]",
        "auth.per_user.authorization_server: must be https://",
    );
    check("keys: [{ name: k, tool_rules: [{ tools: Bash, when: 'true' }] }]", "tool_rules[0].tools: must be a pattern");
    check("keys: [{ name: k, tool_rules: [{ tools: a.b }] }]", "keys[0].tool_rules[0].when: is required");
    check(
        "keys: [{ name: k, tool_rules: [{ tools: a.b, when: repo == 1 }] }]",
        "keys[0].tool_rules[0].when: knows nothing of \"repo\"",
    );
    check("mcp_servers: [{ name: s, auth: bearer }]", "mcp_servers[0].auth: must be a table of fields");
    for auth in [
        "{}",
        "{ header: x-key }",
        "{ secret: x }",
        "{ bearer: x, header: x-key, secret: y }",
        "{ bearer: x, per_user: {} }",
    ] {
        check(
            &format!("mcp_servers: [{{ name: s, auth: {auth} }}]"),
            "mcp_servers[0].auth: must be { bearer: SECRET }",
        );
    }
    check("mcp_servers: [{ name: s, auth: { header: host, secret: x } }]", "auth.header: must be the name of a header");
    check("mcp_servers: [{ name: s, auth: { bearer: 'stored://ab' } }]", "auth.bearer: must be stored:// alone");
    check("mcp_servers: [{ name: s, prices: [{ tools: '!x', call: 1 }] }]", "prices[0].tools: must say which tools");
    check("mcp_servers: [{ name: s, prices: [{ tools: x, call: free }] }]", "prices[0].call: must be an amount");
    check("mcp_servers: [{ name: s, timeout: 2h }]", "timeout: must be at most 1h");
    check("mcp_servers: [{ name: s, parallel: -1 }]", "parallel: must be a whole number");
    check("mcp_servers: [{ name: s, result_max: 33MiB }]", "result_max: must be a size of at most 32MiB");
    check("mcp_servers: [{ name: s, pinning: never }]", "pinning: must be one of first_use, approval, off");
    check("mcp_servers: [{ name: s }, { name: s }]", "the mcp-server \"s\" is declared already");
    check("keys: [{ name: k, models: [1] }]", "keys[0].models[0]: must be a text, not a number");
    check("keys: [{ name: k, models: }]", "has no value");
    check("keys: [{ name: k, revoked: yes please }]", "must be true or false");
    check("keys: [{ name: k, tags: [a] }]", "must be a table of names and values");
    check("keys: [{ name: k, tags: { a: [] } }]", "tags.a: must be a text");
    check("keys: [{ team: t }]", "1:8: keys[0].name: is required");
    check("keys: [k]", "keys[0]: must be a table");
    check("keys: k", "keys: must be a list");
    check("[]", "the document: must be a table");
    check("providers: [{ name: p, base_url: 'ftp://x' }]", "must be https://");
    check("providers: [{ name: p, credentials: [{ name: c }] }]", "credentials[0].secret: is required");
    check("providers: [{ name: p, credentials: [{ name: c, secret: '' }] }]", "stored://");
    check("providers: [{ name: p, credentials: [{ name: c, secret: x, weight: 0 }] }]", "from 1 to 1000");
    check(
        "providers: [{ name: p, credentials: [{ name: c, secret: x }, { name: c, secret: y }] }]",
        "two credentials \"c\"",
    );
    check("providers: [{ name: p, priority: high }]", "must be a whole number");
    check("models: [{ model: claude-x }]", "must be vendor/model");
    check("models: [{ model: a/b, input: -1 }]", "must be a decimal number of dollars");
    check("models: [{ model: a/b, input: 0.1234567891 }]", "must be a decimal number of dollars");
    check("models: [{ model: a/b, long_context: { input: 1 } }]", "long_context.threshold: is required");
    check("customers: [{ name: a }, { name: a }]", "declared already, at line 1");
    check("customers: [{ name: a, name: b }]", "duplicate");
}

#[test]
fn a_literal_secret_is_not_shown() {
    let document = read("providers: [{ name: p, credentials: [{ name: c, secret: canary }] }]").unwrap();
    assert!(!format!("{document:?}").contains("canary"));
    assert!(!serde_json::to_string(&document).unwrap().contains("canary"));
}

#[test]
fn a_mistake_beside_a_secret_does_not_quote_it() {
    let found =
        mistakes("providers: [{ name: p, credentials: [{ name: c, secret: canary, secret: canary }] }]").join("\n");
    assert!(!found.is_empty() && !found.contains("canary"), "{found}");
    let found = mistakes("providers: [{ name: p, credentials: [{ name: c, secrt: canary }] }]").join("\n");
    assert!(!found.is_empty() && !found.contains("canary"), "{found}");
}
