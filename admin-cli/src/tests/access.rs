//! Roles, bindings, service accounts and sessions, and what a team lets its developers do.

use serde_json::json;

use super::{fake::Fake, tollgate};

const ACCESS: &str = r#"
bindings:
  - { role: auditor, group: security-team }
  - { role: developer, user: ada, own: true }
  - { role: team-lead, service_account: ci, team: platform, expires: 2027-01-01T00:00:00Z }
roles:
  - { name: auditor, permissions: [usage.read, audit.read] }
service_accounts: [{ name: ci, display_name: Integration }]
users: [{ name: ada, team: platform }]
customers: [{ name: acme }]
teams:
  - { name: platform, customer: acme, self_service: { keys: 3, key_life: 30d, token_life: 8h, models: ["claude-*"] } }
"#;

#[tokio::test]
async fn access_of_a_file_is_applied_once_exported_and_pruned() {
    let fake = Fake::start().await;
    let applied = tollgate(&fake, &["apply", "-f", "-"], ACCESS).await;
    assert_eq!(applied.code, 0, "{}{}", applied.stdout, applied.stderr);
    assert!(applied.stdout.contains("+ binding auditor to group security-team, everywhere"), "{}", applied.stdout);
    assert_eq!(tollgate(&fake, &["apply", "-f", "-"], ACCESS).await.stdout, "nothing to do\n");
    for format in ["yaml", "json"] {
        let exported = tollgate(&fake, &["export", "-o", format], "").await.stdout;
        let again = tollgate(&fake, &["apply", "-f", "-", "--prune"], &exported).await;
        assert_eq!((again.code, again.stdout.as_str()), (0, "nothing to do\n"), "{exported}{}", again.stderr);
    }
    let later = ACCESS.replace("2027-01-01", "2028-01-01");
    let moved = tollgate(&fake, &["apply", "-f", "-"], &later).await.stdout;
    assert!(moved.contains("~ binding team-lead to service-account ci, in team platform"), "{moved}");
    assert_eq!(tollgate(&fake, &["apply", "-f", "-"], &later).await.stdout, "nothing to do\n");
    let pruned = tollgate(&fake, &["apply", "-f", "-", "--prune"], "bindings: []\nroles: []").await;
    assert!(pruned.code == 0 && pruned.stdout.contains("4 to delete"), "{}{}", pruned.stdout, pruned.stderr);
}

#[tokio::test]
async fn a_role_is_bound_and_taken_away() {
    let fake = Fake::start().await;
    let line = ["role", "create", "auditor", "--permission", "audit.read", "--permission", "usage.*", "-o", "json"];
    let role = tollgate(&fake, &line, "").await.json();
    assert_eq!((&role["permissions"], &role["system"]), (&json!(["audit.read", "usage.*"]), &json!(false)));
    let line = ["role", "update", "auditor", "--permission", "audit.read", "-o", "json"];
    assert_eq!(tollgate(&fake, &line, "").await.json()["permissions"], json!(["audit.read"]));
    tollgate(&fake, &["customer", "create", "acme"], "").await;
    let line =
        ["binding", "create", "--role", "auditor", "--group", "security", "--customer", "acme", "--expires", "30d"];
    let bound = tollgate(&fake, &[&line[..], &["-o", "json"]].concat(), "").await;
    let binding = bound.json();
    assert_eq!((&binding["subject_kind"], &binding["scope_name"]), (&json!("group"), &json!("acme")));
    assert_eq!(binding["expire_time"], "2026-03-31T12:00:00Z");
    let listed = tollgate(&fake, &["binding", "list", "--group", "security"], "").await.stdout;
    assert!(listed.contains("group/security") && listed.contains("customer/acme"), "{listed}");
    let id = binding["id"].as_str().unwrap();
    assert_eq!(tollgate(&fake, &["binding", "delete", id, "-o", "json"], "").await.json(), json!({"deleted": id}));
    let none = tollgate(&fake, &["binding", "list"], "").await;
    assert_eq!((none.stdout.as_str(), none.stderr.as_str()), ("", "no bindings\n"));
    for line in [
        &["binding", "create", "--role", "auditor"][..],
        &["binding", "create", "--role", "auditor", "--user", "a", "--group", "b"],
        &["binding", "create", "--role", "auditor", "--user", "a", "--own", "--team", "t"],
        &["role", "create", "x", "--permission", "everything"],
    ] {
        assert_eq!(tollgate(&fake, line, "").await.code, 2, "{line:?}");
    }
}

#[tokio::test]
async fn a_service_account_has_two_tokens_whose_secrets_are_shown_once() {
    let fake = Fake::start().await;
    tollgate(&fake, &["service-account", "create", "ci"], "").await;
    let line = ["service-account", "token-create", "ci", "--life", "30d", "-o", "json"];
    let created = tollgate(&fake, &line, "").await;
    let token = created.json();
    assert_eq!((&token["name"], &token["expire_time"]), (&json!("token-1"), &json!("2026-03-31T12:00:00Z")));
    let secret = token["secret"].as_str().unwrap();
    assert!(secret.starts_with("tgs_") && created.stderr.contains("shown this once"), "{}", created.stderr);
    tollgate(&fake, &["service-account", "token-create", "ci", "--name", "second"], "").await;
    assert_eq!(tollgate(&fake, &["service-account", "token-create", "ci"], "").await.code, 1);
    let shown = tollgate(&fake, &["service-account", "get", "ci"], "").await.stdout;
    assert!(shown.contains("second tgs_0000") && !shown.contains(secret), "{shown}");
    let left = tollgate(&fake, &["service-account", "token-delete", "ci", "token-1", "-o", "json"], "").await.json();
    assert_eq!(left["tokens"].as_array().unwrap().len(), 1);
    let off = tollgate(&fake, &["service-account", "update", "ci", "--disable", "-o", "json"], "").await.json();
    assert_eq!(off["disabled"], true);
    assert_eq!(tollgate(&fake, &["service-account", "delete", "ci"], "").await.code, 0);
}

#[tokio::test]
async fn sessions_are_listed_and_revoked() {
    let fake = Fake::start().await;
    assert_eq!(tollgate(&fake, &["session", "list", "-o", "json"], "").await.json()[0]["kind"], "browser");
    let line = ["session", "revoke", "session-1", "--reason", "lost", "-o", "json"];
    assert_eq!(tollgate(&fake, &line, "").await.json()["ended"], true);
}

#[tokio::test]
async fn a_team_says_what_its_developers_may_do_for_themselves() {
    let fake = Fake::start().await;
    tollgate(&fake, &["customer", "create", "acme"], "").await;
    let line = ["team", "create", "platform", "--customer", "acme", "--self-service-keys", "3"];
    let made = tollgate(&fake, &[&line[..], &["--self-service-key-life", "30d", "-o", "json"]].concat(), "").await;
    let expect = json!({"keys": 3, "key_life": "30d", "token_life": "12h", "models": []});
    assert_eq!(made.json()["self_service"], expect, "{}", made.stderr);
    let line = ["team", "update", "platform", "--self-service-token-life", "8h", "--self-service-model", "claude-*"];
    assert_eq!(tollgate(&fake, &line, "").await.code, 0);
    let shown = tollgate(&fake, &["team", "get", "platform"], "").await.stdout;
    assert!(shown.contains("3 keys for 30d, credentials for 8h, models claude-*"), "{shown}");
    let line = ["team", "update", "platform", "--no-self-service", "-o", "json"];
    assert_eq!(tollgate(&fake, &line, "").await.json()["self_service"], json!(null));
    let line = ["team", "update", "platform", "--self-service-model", "claude-*"];
    assert_eq!(tollgate(&fake, &line, "").await.code, 2);
}
