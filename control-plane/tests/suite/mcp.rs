//! Servers of tools: kept, published with what was approved of them, and never with a secret. [`tools`] has what they offer.

use std::collections::HashMap;

use serde_json::json;
use tollgate_control_plane::{
    seal::{Place as Sealed, SealError},
    store::providers::CREDENTIAL,
};
use tollgate_policy::{
    mcp::{McpAuth, McpServer, Pinning, Transport},
    snapshot::Object,
};
use tollgate_proto::admin::v1;
use tonic::{Code, Response, Status};

use crate::{
    fleet::{Follower, Member},
    world::{Place, World, code, keyring, mask, over_both, violations},
};

#[path = "mcp/clients.rs"]
mod clients;
#[path = "mcp/tools.rs"]
mod tools;
#[path = "mcp/trials.rs"]
mod trials;

over_both! {
    a_server_is_kept_as_it_was_written_and_changed_by_its_mask
    every_wrong_field_of_a_server_is_named
    row_2_no_server_that_starts_a_process_can_be_expressed
    the_secret_of_a_server_is_sealed_replaced_and_taken_away
    the_secret_of_a_server_is_in_no_answer_entry_or_item
    what_a_server_names_is_not_deleted
    servers_are_listed_in_pages_and_filtered
    servers_are_published_and_withdrawn
}

pub(crate) fn server(name: &str) -> v1::McpServer {
    v1::McpServer { name: name.into(), url: "https://mcp.example/mcp".into(), ..Default::default() }
}

pub(crate) fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

pub(crate) async fn create(world: &World, server: v1::McpServer) -> Result<v1::McpServer, Status> {
    let request = v1::CreateMcpServerRequest { mcp_server: Some(server) };
    world.mcp().create_mcp_server(request).await.map(Response::into_inner)
}

pub(crate) async fn made(world: &World, server: v1::McpServer) -> v1::McpServer {
    create(world, server).await.unwrap()
}

pub(crate) async fn update(world: &World, server: v1::McpServer, paths: &[&str]) -> Result<v1::McpServer, Status> {
    let request = v1::UpdateMcpServerRequest { mcp_server: Some(server), update_mask: mask(paths) };
    world.mcp().update_mcp_server(request).await.map(Response::into_inner)
}

pub(crate) async fn get(world: &World, named: &str) -> Result<v1::McpServer, Status> {
    let request = v1::GetMcpServerRequest { mcp_server: named.into() };
    world.mcp().get_mcp_server(request).await.map(Response::into_inner)
}

pub(crate) async fn delete(world: &World, named: &str, etag: &str) -> Result<(), Status> {
    let request = v1::DeleteMcpServerRequest { mcp_server: named.into(), etag: etag.into() };
    world.mcp().delete_mcp_server(request).await.map(Response::into_inner)
}

/// The servers as a replica has them, by name.
pub(crate) async fn told(world: &World, follower: &mut Follower) -> HashMap<String, McpServer> {
    let objects = follower.objects(world.store.revision().await.unwrap()).await;
    let server = |object| if let Object::McpServer(server) = object { Some(server) } else { None };
    objects.into_iter().filter_map(server).map(|server| (server.name.to_string(), server)).collect()
}

async fn a_server_is_kept_as_it_was_written_and_changed_by_its_mask(place: Place) {
    let world = World::start(&place).await;
    let key = world.any_key("k").await.key.unwrap();
    let wanted = v1::McpServer {
        url: "https://MCP.example:8443/mcp/?x=1".into(),
        transport: "sse".into(),
        auth: "header:X-Api-Key".into(),
        secret: "env://GITHUB".into(),
        customers: texts(&["k-customer", "k-customer"]),
        teams: vec![key.team.clone()],
        keys: texts(&["dev-*"]),
        tools: texts(&["!delete_*"]),
        prompts: texts(&["*"]),
        resources: texts(&["file:*"]),
        prices: vec![v1::ToolPrice { tools: "search".into(), call_nano_usd: 7 }],
        timeout: Some(prost_types::Duration { seconds: 5, nanos: 0 }),
        parallel: 3,
        arguments_bytes: 1,
        result_bytes: 32 << 20,
        truncate: true,
        record_arguments: true,
        pinning: "approval".into(),
        ..server("github")
    };
    let made = made(&world, wanted.clone()).await;
    assert!(made.id.starts_with("mcp-server-") && made.customers[0].starts_with("customer-"), "{made:?}");
    let expect = v1::McpServer {
        id: made.id.clone(),
        url: "https://mcp.example:8443/mcp/?x=1".into(),
        auth: "header:x-api-key".into(),
        secret: String::new(),
        reference: "env://GITHUB".into(),
        customers: made.customers.clone(),
        etag: made.etag.clone(),
        create_time: made.create_time,
        update_time: made.create_time,
        health: Some(v1::McpServerHealth::default()),
        ..wanted
    };
    assert_eq!((made.customers.len(), &made), (1, &expect));
    assert_eq!(get(&world, "github").await.unwrap(), made);
    assert_eq!(get(&world, &made.id).await.unwrap(), made);
    assert_eq!(code(get(&world, "nothing").await), Code::NotFound);
    assert_eq!(code(create(&world, server("github")).await), Code::AlreadyExists);
    let usual = self::made(&world, server("usual")).await;
    let words = [&usual.transport, &usual.auth, &usual.pinning].map(String::as_str);
    assert_eq!(words, ["streamable_http", "none", "first_use"]);
    assert_eq!((usual.timeout.unwrap().seconds, usual.arguments_bytes, usual.result_bytes), (60, 4 << 20, 4 << 20));

    // What was read can be written back: nothing changes.
    let revision = world.store.revision().await.unwrap();
    let all =
        ["disabled", "url", "allow_private", "transport", "auth", "secret", "customers", "teams", "keys", "tools"];
    assert_eq!(update(&world, made.clone(), &all).await.unwrap(), made);
    let rest = [
        "oauth",
        "document",
        "prompts",
        "resources",
        "prices",
        "timeout",
        "parallel",
        "arguments_bytes",
        "result_bytes",
        "truncate",
    ];
    assert_eq!(update(&world, made.clone(), &rest).await.unwrap(), made);
    assert_eq!(update(&world, made.clone(), &["record_arguments", "pinning"]).await.unwrap(), made);
    assert_eq!(world.store.revision().await.unwrap(), revision);
    let change = v1::McpServer { id: made.id.clone(), name: "hub".into(), disabled: true, ..Default::default() };
    let changed = update(&world, change, &["name", "disabled", "tools"]).await.unwrap();
    let expect = v1::McpServer {
        name: "hub".into(),
        disabled: true,
        tools: vec![],
        etag: changed.etag.clone(),
        update_time: changed.update_time,
        ..made.clone()
    };
    assert_eq!(changed, expect);
    let stale = v1::McpServer { id: made.id.clone(), etag: made.etag.clone(), ..Default::default() };
    assert_eq!(code(update(&world, stale, &["truncate"]).await), Code::Aborted);
    let entry = world.log("action=mcp-server.update").await.pop().unwrap();
    assert_eq!(entry.target, format!("mcp-server/{}", made.id));
    let detail: serde_json::Value = serde_json::from_str(&entry.detail).unwrap();
    let changed = json!({
        "name": {"before": "github", "after": "hub"},
        "disabled": {"before": false, "after": true},
        "tools": {"before": ["!delete_*"], "after": []},
    });
    assert_eq!(detail["changed"], changed);
    assert_eq!(code(delete(&world, "hub", &made.etag).await), Code::Aborted);
    delete(&world, "hub", "").await.unwrap();
    assert_eq!(code(get(&world, &made.id).await), Code::NotFound);
    let actions = ["mcp-server.create", "mcp-server.delete"].map(|action| format!("action={action}"));
    assert_eq!((world.log(&actions[0]).await.len(), world.log(&actions[1]).await.len()), (2, 1));
    world.stop().await;
}

async fn every_wrong_field_of_a_server_is_named(place: Place) {
    let world = World::start(&place).await;
    let revision = world.store.revision().await.unwrap();
    assert_eq!(violations(create(&world, v1::McpServer::default()).await), ["name", "url"]);
    let bad = v1::McpServer {
        id: "mcp-server-x".into(),
        reference: "env://X".into(),
        auth: "basic".into(),
        customers: texts(&["nobody"]),
        teams: texts(&["nobody"]),
        keys: texts(&[""]),
        tools: texts(&["ok", "a b"]),
        prompts: texts(&[""]),
        resources: texts(&[""]),
        prices: vec![
            v1::ToolPrice { tools: "a b".into(), call_nano_usd: 1 },
            v1::ToolPrice { tools: "a".into(), call_nano_usd: -1 },
        ],
        timeout: Some(prost_types::Duration { seconds: 3_601, nanos: 0 }),
        parallel: -1,
        arguments_bytes: -1,
        result_bytes: (32 << 20) + 1,
        pinning: "never".into(),
        ..server("Git")
    };
    let expect = [
        "arguments_bytes",
        "auth",
        "customers[0]",
        "id",
        "keys[0]",
        "name",
        "parallel",
        "pinning",
        "prices[0].tools",
        "prices[1].call_nano_usd",
        "prompts[0]",
        "reference",
        "resources[0]",
        "result_bytes",
        "teams[0]",
        "timeout",
        "tools[1]",
    ];
    assert_eq!(violations(create(&world, bad).await), expect);
    let id = "key-01k9zq3v5m8c4t2n7r6x0w1y9b";
    let long = "a".repeat(33);
    for name in ["2x", "a_b", "a.b", "", id, &long] {
        assert_eq!(violations(create(&world, server(name)).await), ["name"], "{name}");
    }
    let at = |url: &str, allow_private| v1::McpServer { url: url.into(), allow_private, ..server("a") };
    for (url, allow_private) in [
        ("http://mcp.example/mcp", false),
        ("https://127.0.0.1/mcp", false),
        ("https://169.254.169.254/latest", false),
        ("https://metadata.google.internal/", false),
        ("https://u:p@mcp.example/", true),
        ("https://mcp.example/#x", true),
    ] {
        assert_eq!(violations(create(&world, at(url, allow_private)).await), ["url"], "{url}");
    }
    for (auth, secret, expect) in [
        ("none", "s", "secret"),
        ("bearer", "", "secret"),
        ("header:x-key", "", "secret"),
        ("bearer", "Bearer s", "secret"),
        ("bearer", "vault://x", "secret"),
        ("bearer", " s", "secret"),
        ("bearer", "ü", "secret"),
        ("header:host", "s", "auth"),
        ("header:mcp-session-id", "s", "auth"),
    ] {
        let one = v1::McpServer { auth: auth.into(), secret: secret.into(), ..server("a") };
        assert_eq!(violations(create(&world, one).await), [expect], "{auth} {secret}");
    }
    let many = v1::McpServer { prices: vec![v1::ToolPrice::default(); 201], ..server("a") };
    assert_eq!(violations(create(&world, many).await), ["prices"]);
    assert_eq!(world.store.revision().await.unwrap(), revision);

    // Taking the permission away does not leave a private address behind.
    let local = made(&world, at("http://127.0.0.1:9/mcp", true)).await;
    let closed = v1::McpServer { id: local.id, ..Default::default() };
    assert_eq!(violations(update(&world, closed, &["allow_private"]).await), ["url"]);
    world.stop().await;
}

async fn row_2_no_server_that_starts_a_process_can_be_expressed(place: Place) {
    let world = World::start(&place).await;
    for url in [
        "stdio:npx",
        "stdio://npx/-y/server",
        "npx -y @modelcontextprotocol/server-filesystem /",
        "/bin/sh",
        "file:///bin/sh",
        "unix:///run/mcp.sock",
        "command://sh",
        "javascript:1",
        "ws://mcp.example/",
        "",
    ] {
        for allow_private in [false, true] {
            let refused = create(&world, v1::McpServer { url: url.into(), allow_private, ..server("a") }).await;
            let said = refused.as_ref().unwrap_err().message().to_owned();
            assert!(said.contains("a server that runs as a process is in the configuration of a replica"), "{said}");
            assert_eq!(violations(refused), ["url"], "{url}");
        }
    }
    for transport in ["STDIO", "process", "command", "streamable_http,stdio"] {
        let refused = create(&world, v1::McpServer { transport: transport.into(), ..server("a") }).await;
        let said = refused.as_ref().unwrap_err().message().to_owned();
        assert!(said.contains("must be streamable_http, sse, openapi or stdio"), "{said}");
        assert_eq!(violations(refused), ["transport"], "{transport}");
    }
    // One that replicas run is named here, and what runs is not.
    let stdio = |url: &str| v1::McpServer { transport: "stdio".into(), url: url.into(), ..server("a") };
    for url in ["npx -y server /", "/bin/sh", "https://mcp.example/mcp"] {
        let refused = create(&world, stdio(url)).await;
        let said = refused.as_ref().unwrap_err().message().to_owned();
        assert!(said.contains("in the configuration of each replica, and cannot be said here"), "{said}");
        assert_eq!(violations(refused), ["url"], "{url}");
    }
    for (auth, secret) in [("bearer", "s"), ("per_user", "")] {
        let one = v1::McpServer { auth: auth.into(), secret: secret.into(), ..stdio("") };
        assert_eq!(violations(create(&world, one).await), ["auth"], "{auth}");
    }
    let local = made(&world, v1::McpServer { name: "local".into(), ..stdio("") }).await;
    assert_eq!((local.transport.as_str(), local.url.as_str(), local.auth.as_str()), ("stdio", "", "none"));
    // Nor does a change lead there.
    made(&world, server("a")).await;
    assert_eq!(violations(update(&world, stdio("npx"), &["transport"]).await), ["url"]);
    assert_eq!(violations(update(&world, stdio("npx"), &["transport", "url"]).await), ["url"]);
    assert_eq!(violations(update(&world, stdio("npx"), &["url"]).await), ["url"]);
    assert_eq!(update(&world, stdio(""), &["transport", "url"]).await.unwrap().transport, "stdio");
    let back = v1::McpServer { name: "local".into(), transport: "sse".into(), ..Default::default() };
    assert_eq!(violations(update(&world, back, &["transport"]).await), ["url"]);
    assert_eq!(Transport::ALL.map(Transport::word), ["streamable_http", "sse", "stdio", "openapi"]);
    world.stop().await;
}

// The secret that is sealed for the one server that there is.
async fn opened(world: &World) -> Option<String> {
    let mut txn = world.store.begin_read().await.unwrap();
    let sealed = txn.secret_list(CREDENTIAL).await.unwrap();
    txn.end().await.unwrap();
    let (id, sealed) = sealed.into_iter().next()?;
    let open: Result<_, SealError> = keyring().open(Sealed { purpose: CREDENTIAL, id: &id }, &sealed);
    Some(String::from_utf8(open.unwrap().to_vec()).unwrap())
}

async fn the_secret_of_a_server_is_sealed_replaced_and_taken_away(place: Place) {
    let world = World::start(&place).await;
    let held = made(&world, v1::McpServer { secret: "secret-one".into(), ..server("a") }).await;
    assert_eq!((held.auth.as_str(), opened(&world).await.as_deref()), ("bearer", Some("secret-one")));
    let member = Member::join(&world, "reader").await;
    let mut follower = member.follow().await;
    let credential = |servers: &HashMap<String, McpServer>| servers["a"].credential.clone().unwrap();
    let first = credential(&told(&world, &mut follower).await);
    assert_eq!(follower.secrets.get(first.id.as_str()).map(Vec::as_slice), Some(&b"secret-one"[..]));

    let revision = world.store.revision().await.unwrap();
    let change = |secret: &str, auth: &str| v1::McpServer {
        id: held.id.clone(),
        secret: secret.into(),
        auth: auth.into(),
        ..Default::default()
    };
    for same in ["", "secret-one"] {
        update(&world, change(same, ""), &["secret"]).await.unwrap();
    }
    assert_eq!(world.store.revision().await.unwrap(), revision, "the same again is no change");
    update(&world, change("secret-two", ""), &["secret"]).await.unwrap();
    assert_eq!(opened(&world).await.as_deref(), Some("secret-two"));
    assert_eq!(credential(&told(&world, &mut follower).await), first, "the credential keeps its id");
    assert_eq!(follower.secrets.get(first.id.as_str()).map(Vec::as_slice), Some(&b"secret-two"[..]));

    // A reference has nothing sealed.
    let referred = update(&world, change("env://TOKEN", "header:x-key"), &["secret", "auth"]).await.unwrap();
    assert_eq!((referred.reference.as_str(), opened(&world).await), ("env://TOKEN", None));
    let servers = told(&world, &mut follower).await;
    assert_eq!(credential(&servers).reference.as_deref(), Some("env://TOKEN"));
    assert_eq!(servers["a"].auth, McpAuth::Header("x-key".into()));
    assert_eq!(violations(update(&world, change("s", "none"), &["secret", "auth"]).await), ["secret"]);

    // It goes with `none`, comes back as is usual, and goes with its server.
    let bare = update(&world, change("", "none"), &["auth"]).await.unwrap();
    assert_eq!((bare.auth.as_str(), bare.reference.as_str()), ("none", ""));
    assert_eq!(told(&world, &mut follower).await["a"].credential, None);
    assert_eq!(violations(update(&world, change("", "bearer"), &["auth"]).await), ["secret"]);
    assert_eq!(
        update(&world, change("Token three", "header:authorization"), &["secret", "auth"]).await.unwrap().auth,
        "header:authorization"
    );
    assert_eq!(opened(&world).await.as_deref(), Some("Token three"));
    update(&world, change("", "none"), &["auth"]).await.unwrap();
    assert_eq!(opened(&world).await, None);
    assert_eq!(update(&world, change("secret-four", ""), &["secret"]).await.unwrap().auth, "bearer");
    delete(&world, "a", "").await.unwrap();
    assert_eq!(opened(&world).await, None);
    world.stop().await;
}

async fn the_secret_of_a_server_is_in_no_answer_entry_or_item(place: Place) {
    const CANARY: &str = "canary-3f1c9e7a5b";
    let world = World::start(&place).await;
    let made = made(&world, v1::McpServer { secret: CANARY.into(), ..server("a") }).await;
    let again = v1::McpServer { id: made.id.clone(), secret: format!("{CANARY}-two"), ..Default::default() };
    let changed = update(&world, again, &["secret"]).await.unwrap();
    let read = get(&world, "a").await.unwrap();
    assert!([&made, &changed, &read].iter().all(|answer| !format!("{answer:?}").contains(CANARY)));
    let log: Vec<_> = world.log("").await.into_iter().map(|entry| entry.detail).collect();
    assert!(log.iter().any(|detail| detail.contains("fingerprint")) && !log.concat().contains(CANARY), "{log:?}");
    let member = Member::join(&world, "reader").await;
    let mut follower = member.follow().await;
    let servers = told(&world, &mut follower).await;
    assert!(!format!("{servers:?}").contains(CANARY));
    assert_eq!(follower.secrets.len(), 1, "it comes beside the items");
    delete(&world, "a", "").await.unwrap();
    let dump = place.dump().await;
    assert!(!dump.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()));
    world.stop().await;
}

async fn what_a_server_names_is_not_deleted(place: Place) {
    let world = World::start(&place).await;
    world.customer("acme").await;
    let team = world.team("t", "acme").await;
    let other = world.customer("other").await;
    made(&world, v1::McpServer { customers: texts(&["other"]), teams: texts(&["t"]), ..server("a") }).await;
    let refused =
        world.teams().delete_team(v1::DeleteTeamRequest { team: team.id.clone(), ..Default::default() }).await;
    let status = refused.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("team 't' is named by the MCP server 'a'"), "{}", status.message());
    let request = |id: &str| v1::DeleteCustomerRequest { customer: id.into(), ..Default::default() };
    assert_eq!(code(world.customers().delete_customer(request(&other.id)).await), Code::FailedPrecondition);
    let free = v1::McpServer { name: "a".into(), ..Default::default() };
    update(&world, free, &["customers", "teams"]).await.unwrap();
    world.customers().delete_customer(request(&other.id)).await.unwrap();
    world.teams().delete_team(v1::DeleteTeamRequest { team: team.id, ..Default::default() }).await.unwrap();
    world.stop().await;
}

async fn servers_are_listed_in_pages_and_filtered(place: Place) {
    let world = World::start(&place).await;
    let list = async |filter: &str, page_size: i32, page_token: String| {
        let request = v1::ListMcpServersRequest { page_size, page_token, filter: filter.into() };
        world.mcp().list_mcp_servers(request).await.map(|page| {
            let v1::ListMcpServersResponse { mcp_servers, next_page_token } = page.into_inner();
            (mcp_servers.into_iter().map(|each| each.name).collect::<Vec<_>>(), next_page_token)
        })
    };
    for name in ["b", "a", "c"] {
        made(&world, v1::McpServer { disabled: name == "a", ..server(name) }).await;
    }
    let (first, token) = list("", 2, String::new()).await.unwrap();
    assert_eq!(first, ["b", "a"]);
    assert_eq!(list("", 2, token).await.unwrap(), (texts(&["c"]), String::new()));
    for (filter, expect) in [("disabled=true", &["a"][..]), ("name=c", &["c"]), ("disabled=false", &["b", "c"])] {
        assert_eq!(list(filter, 0, String::new()).await.unwrap().0, expect, "{filter}");
    }
    assert_eq!(violations(list("url=x", 0, String::new()).await), ["filter"]);
    world.stop().await;
}

async fn servers_are_published_and_withdrawn(place: Place) {
    let world = World::start(&place).await;
    world.customer("acme").await;
    let team = world.team("t", "acme").await;
    let wanted = v1::McpServer {
        teams: texts(&["t"]),
        prices: vec![v1::ToolPrice { tools: "s*".into(), call_nano_usd: 5 }],
        pinning: "off".into(),
        transport: "sse".into(),
        ..server("github")
    };
    let first = made(&world, wanted).await;
    made(&world, server("plain")).await;
    let member = Member::join(&world, "reader").await;
    let mut follower = member.follow().await;
    let servers = told(&world, &mut follower).await;
    let github = &servers["github"];
    assert_eq!((github.id.as_str(), &*github.url), (first.id.as_str(), "https://mcp.example/mcp"));
    assert_eq!((github.pinning, github.transport), (Pinning::Off, Transport::Sse));
    assert_eq!((github.teams[0].as_str(), github.price("search").get()), (team.id.as_str(), 5));
    assert_eq!((servers["plain"].pinning, servers.len()), (Pinning::FirstUse, 2));
    update(&world, v1::McpServer { name: "plain".into(), disabled: true, ..Default::default() }, &["disabled"])
        .await
        .unwrap();
    assert!(told(&world, &mut follower).await["plain"].disabled);
    delete(&world, "github", "").await.unwrap();
    assert_eq!(told(&world, &mut follower).await.into_keys().collect::<Vec<_>>(), ["plain"]);
    world.stop().await;
}
