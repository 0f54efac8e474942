//! Servers that are HTTP APIs, and servers for which the control plane gets tokens: kept, published, and never with the secret of a client.

use serde_json::json;
use tollgate_policy::mcp::{McpAuth, Transport};
use tollgate_proto::admin::v1;

use super::{create, delete, get, made, opened, server, texts, told, update};
use crate::{
    fleet::Member,
    world::{Place, World, over_both, violations},
};

over_both! {
    an_http_api_has_a_document_and_nothing_else_does
    a_client_is_kept_as_it_was_written
    every_wrong_field_of_a_client_is_named
    the_secret_of_a_client_reaches_no_replica
    the_secret_of_a_client_is_never_what_a_server_is_shown
    a_change_of_whose_tokens_are_meant_takes_them_back
}

const PETS: &str =
    "openapi: 3.0.3\ninfo: { title: Pets, version: '1' }\npaths: { /pets: { get: { responses: { 200: {} } } } }\n";

fn client(auth: &str, id: &str) -> v1::McpServer {
    let oauth = v1::McpOAuth { client_id: id.into(), ..Default::default() };
    v1::McpServer { auth: auth.into(), oauth: Some(oauth), ..server("a") }
}

async fn an_http_api_has_a_document_and_nothing_else_does(place: Place) {
    let world = World::start(&place).await;
    let api = v1::McpServer { transport: "openapi".into(), document: PETS.into(), ..server("pets") };
    let first = made(&world, v1::McpServer { url: "https://API.example/v1/".into(), ..api.clone() }).await;
    let json = r#"{"info":{"title":"Pets","version":"1"},"openapi":"3.0.3","paths":{"/pets":{"get":{"responses":{"200":{}}}}}}"#;
    assert_eq!((first.document.as_str(), first.url.as_str()), (json, "https://api.example/v1"));
    assert_eq!(get(&world, "pets").await.unwrap(), first);
    let list = world.mcp().list_mcp_servers(v1::ListMcpServersRequest::default()).await.unwrap().into_inner();
    assert_eq!(list.mcp_servers, [v1::McpServer { document: String::new(), ..first.clone() }]);
    let member = Member::join(&world, "reader").await;
    let mut follower = member.follow().await;
    let published = told(&world, &mut follower).await.remove("pets").unwrap();
    assert_eq!((published.document.as_deref(), published.transport), (Some(json), Transport::OpenApi));
    // Another spelling is no change, another document is one, and the log has its hash.
    let revision = world.store.revision().await.unwrap();
    let change =
        |document: &str| v1::McpServer { id: first.id.clone(), document: document.into(), ..Default::default() };
    update(&world, change(&json.replace(',', " , ")), &["document"]).await.unwrap();
    assert_eq!(world.store.revision().await.unwrap(), revision);
    update(&world, change(r#"{"openapi":"3.1.0"}"#), &["document"]).await.unwrap();
    let entry = world.log("action=mcp-server.update").await.pop().unwrap();
    let detail: serde_json::Value = serde_json::from_str(&entry.detail).unwrap();
    assert_eq!(detail["changed"]["document"]["after"]["bytes"], json!(19));
    assert!(!entry.detail.contains("Pets") && !entry.detail.contains("openapi"), "{}", entry.detail);
    for (transport, document, url) in [
        ("openapi", "", "https://api.example"),
        ("openapi", "swagger: '2.0'", "https://api.example"),
        ("openapi", "{", "https://api.example"),
        ("sse", PETS, "https://api.example"),
        ("", PETS, "https://api.example"),
        ("stdio", PETS, ""),
    ] {
        let one =
            v1::McpServer { transport: transport.into(), document: document.into(), url: url.into(), ..server("b") };
        assert_eq!(violations(create(&world, one).await), ["document"], "{transport} {document}");
    }
    let asked = v1::McpServer { name: "b".into(), url: "https://api.example/?x=1".into(), ..api };
    assert_eq!(violations(create(&world, asked).await), ["url"]);
    assert_eq!(violations(update(&world, change(""), &["document"]).await), ["document"]);
    let plain = v1::McpServer { id: first.id.clone(), transport: "sse".into(), ..Default::default() };
    assert_eq!(violations(update(&world, plain.clone(), &["transport"]).await), ["document"]);
    assert_eq!(update(&world, plain, &["transport", "document"]).await.unwrap().document, "");
    assert_eq!(told(&world, &mut follower).await["pets"].document, None);
    world.stop().await;
}

async fn a_client_is_kept_as_it_was_written(place: Place) {
    let world = World::start(&place).await;
    let oauth = v1::McpOAuth {
        client_id: "gate".into(),
        scopes: texts(&["write", "read", "write"]),
        authorization_server: "https://Login.example/tenant/".into(),
        resource: "api://tracker".into(),
    };
    let wanted = v1::McpServer { secret: "env://CLIENT".into(), oauth: Some(oauth.clone()), ..client("per_user", "") };
    let first = made(&world, wanted).await;
    let kept = v1::McpOAuth {
        scopes: texts(&["write", "read"]),
        authorization_server: "https://login.example/tenant/".into(),
        ..oauth
    };
    assert_eq!((first.oauth.as_ref(), first.reference.as_str()), (Some(&kept), "env://CLIENT"));
    assert_eq!(get(&world, "a").await.unwrap(), first);
    let revision = world.store.revision().await.unwrap();
    assert_eq!(update(&world, first.clone(), &["auth", "oauth", "secret"]).await.unwrap(), first);
    assert_eq!(world.store.revision().await.unwrap(), revision);
    // Where nothing is said, the control plane finds out, and registers.
    let bare = made(&world, v1::McpServer { auth: "per_user".into(), ..server("bare") }).await;
    assert_eq!((bare.oauth, bare.secret_stored), (Some(v1::McpOAuth::default()), false));
    let public = v1::McpServer { name: "public".into(), ..client("token_exchange", "gate") };
    assert_eq!(made(&world, public).await.oauth.unwrap().client_id, "gate");
    // A client goes with the auth that had a use for it.
    let none = v1::McpServer { id: first.id.clone(), auth: "none".into(), ..Default::default() };
    let changed = update(&world, none, &["auth"]).await.unwrap();
    assert_eq!((changed.oauth, changed.reference.as_str(), changed.auth.as_str()), (None, "", "none"));
    assert_eq!(world.store.revision().await.unwrap(), revision + 3);
    world.stop().await;
}

async fn every_wrong_field_of_a_client_is_named(place: Place) {
    let world = World::start(&place).await;
    for (auth, id, secret, expect) in [
        ("client_credentials", "", "s", &["oauth.client_id"][..]),
        ("client_credentials", "gate", "", &["secret"]),
        ("token_exchange", "", "", &["oauth.client_id"]),
        ("per_user", "", "s", &["oauth.client_id"]),
        ("per_user", " gate", "", &["oauth.client_id"]),
        ("per_user", "gäte", "", &["oauth.client_id"]),
        ("bearer", "gate", "s", &["oauth"]),
        ("none", "gate", "", &["oauth"]),
        ("header:x-key", "gate", "s", &["oauth"]),
    ] {
        let one = v1::McpServer { secret: secret.into(), ..client(auth, id) };
        assert_eq!(violations(create(&world, one).await), expect, "{auth} {id}");
    }
    let with = |oauth| v1::McpServer { auth: "per_user".into(), oauth: Some(oauth), ..server("a") };
    let scopes = |scopes: &[&str]| v1::McpOAuth { scopes: texts(scopes), ..Default::default() };
    let bad = scopes(&["ok", "a b", "", "a\"b", "a\\b", "ü"]);
    let expect = [1, 2, 3, 4, 5].map(|at| format!("oauth.scopes[{at}]"));
    assert_eq!(violations(create(&world, with(bad)).await), expect);
    assert_eq!(violations(create(&world, with(scopes(&["a"; 51]))).await), ["oauth.scopes"]);
    for issuer in [
        "login.example",
        "http://login.example",
        "https://login.example/?x=1",
        "https://login.example/#x",
        "https://u:p@login.example/",
        "https://169.254.169.254/",
    ] {
        let oauth = v1::McpOAuth { authorization_server: issuer.into(), ..Default::default() };
        assert_eq!(violations(create(&world, with(oauth)).await), ["oauth.authorization_server"], "{issuer}");
    }
    for resource in ["tracker", "https://x/#y", "a b:c", ":x", "api:"] {
        let oauth = v1::McpOAuth { resource: resource.into(), ..Default::default() };
        assert_eq!(violations(create(&world, with(oauth)).await), ["oauth.resource"], "{resource}");
    }
    let local = v1::McpOAuth { authorization_server: "http://127.0.0.1:9/".into(), ..Default::default() };
    made(&world, v1::McpServer { allow_private: true, ..with(local) }).await;
    world.stop().await;
}

async fn the_secret_of_a_client_reaches_no_replica(place: Place) {
    const CANARY: &str = "canary-77b1f0c2aa";
    let world = World::start(&place).await;
    let member = Member::join(&world, "reader").await;
    let mut follower = member.follow().await;
    let names = ["client_credentials", "per_user", "token_exchange"].map(|auth| (auth, auth.replace('_', "-")));
    for (auth, name) in &names {
        made(&world, v1::McpServer { name: name.clone(), secret: CANARY.into(), ..client(auth, "gate") }).await;
        let referred =
            v1::McpServer { name: format!("{name}-2"), secret: "env://CANARY".into(), ..client(auth, "gate") };
        made(&world, referred).await;
    }
    // Beside one that replicas do get.
    made(&world, v1::McpServer { secret: "shown".into(), ..server("shown") }).await;
    let servers = told(&world, &mut follower).await;
    assert_eq!(servers.len(), 7);
    for (auth, name) in &names {
        for name in [name.clone(), format!("{name}-2")] {
            assert_eq!((servers[&name].auth.text().as_str(), &servers[&name].credential), (*auth, &None));
        }
    }
    assert!(!format!("{servers:?}").contains("CANARY") && !format!("{servers:?}").contains(CANARY));
    let secrets: Vec<_> = follower.secrets.values().map(|secret| secret.to_vec()).collect();
    assert_eq!(secrets, [b"shown".to_vec()]);
    let mut txn = world.store.begin_read().await.unwrap();
    assert_eq!(txn.mcp_literals().await.unwrap().len(), 1);
    txn.end().await.unwrap();
    let log: Vec<_> = world.log("").await.into_iter().map(|entry| entry.detail).collect();
    assert!(!log.concat().contains(CANARY), "{log:?}");
    let dump = place.dump().await;
    assert!(!dump.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()));
    world.stop().await;
}

async fn the_secret_of_a_client_is_never_what_a_server_is_shown(place: Place) {
    let world = World::start(&place).await;
    let member = Member::join(&world, "reader").await;
    let mut follower = member.follow().await;
    let first =
        made(&world, v1::McpServer { secret: "client-secret".into(), ..client("client_credentials", "gate") }).await;
    assert_eq!((first.secret_stored, opened(&world).await.as_deref()), (true, Some("client-secret")));
    let change = |auth: &str, secret: &str| v1::McpServer {
        id: first.id.clone(),
        auth: auth.into(),
        secret: secret.into(),
        oauth: Some(v1::McpOAuth { client_id: "gate".into(), ..Default::default() }),
        ..Default::default()
    };
    // Another flow goes on with it.
    assert!(update(&world, change("token_exchange", ""), &["auth"]).await.unwrap().secret_stored);
    assert_eq!(opened(&world).await.as_deref(), Some("client-secret"));
    assert_eq!(violations(update(&world, change("bearer", ""), &["auth"]).await), ["secret"]);
    let shown = update(&world, change("bearer", "token"), &["auth", "secret"]).await.unwrap();
    assert_eq!((shown.oauth, opened(&world).await.as_deref()), (None, Some("token")));
    assert_eq!(told(&world, &mut follower).await["a"].auth, McpAuth::Bearer);
    assert_eq!(follower.secrets.values().map(|secret| secret.to_vec()).collect::<Vec<_>>(), [b"token".to_vec()]);
    // Nor the other way round: a token is not sent to an authorization server.
    let fields = ["auth", "oauth"];
    assert_eq!(violations(update(&world, change("client_credentials", ""), &fields).await), ["secret"]);
    let public = update(&world, change("per_user", ""), &fields).await.unwrap();
    assert_eq!((public.secret_stored, opened(&world).await), (false, None));
    assert_eq!(told(&world, &mut follower).await["a"].credential, None);
    let kept = update(&world, change("", "late"), &["secret"]).await.unwrap();
    assert_eq!((kept.auth.as_str(), kept.secret_stored), ("per_user", true));
    delete(&world, "a", "").await.unwrap();
    assert_eq!(opened(&world).await, None);
    world.stop().await;
}

async fn a_change_of_whose_tokens_are_meant_takes_them_back(place: Place) {
    let world = World::start(&place).await;
    let member = Member::join(&world, "reader").await;
    let mut follower = member.follow().await;
    let first = made(&world, client("per_user", "gate")).await;
    let named = |server: v1::McpServer| v1::McpServer { id: first.id.clone(), ..server };
    let oauth = |id: &str, issuer: &str, scope: &str| {
        let scopes = texts(&[scope]);
        let oauth =
            v1::McpOAuth { client_id: id.into(), authorization_server: issuer.into(), scopes, ..Default::default() };
        v1::McpServer { oauth: Some(oauth), ..Default::default() }
    };
    let url = |url: &str| v1::McpServer { url: url.into(), ..Default::default() };
    let auth = |auth: &str| v1::McpServer { auth: auth.into(), ..Default::default() };
    for (change, field, expect) in [
        (oauth("gate", "", "read"), "oauth", 0),
        (url("https://mcp.example/other"), "url", 0),
        (url("https://other.example/mcp"), "url", 1),
        (oauth("other", "", "read"), "oauth", 2),
        (oauth("other", "https://login.example", "read"), "oauth", 3),
        (oauth("other", "https://login.example", "write"), "oauth", 3),
        (auth("token_exchange"), "auth", 4),
        (auth("none"), "auth", 5),
        (url("https://third.example/mcp"), "url", 5),
    ] {
        update(&world, named(change), &[field]).await.unwrap();
        assert_eq!(told(&world, &mut follower).await["a"].grants, expect, "{field} {expect}");
    }
    world.stop().await;
}
