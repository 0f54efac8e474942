//! Provisioning over SCIM: what identity providers send, what it does, and a compliance tester that we did not write.

use std::{path::Path, process::Stdio, time::Instant};

use reqwest::{Client, Method, StatusCode, header::HeaderMap};
use serde_json::{Value, json};
use tollgate_control_plane::store::{
    organisation::{Stamp, User},
    quotas::Quota,
    scim::{Provisioned, groups::Group},
};
use tollgate_policy::{id::UserId, name::Name};
use tollgate_proto::admin::v1::{self, binding::Scope};

use crate::{
    roles::program_token,
    world::{Place, World, config, over_both},
};

over_both! {
    a_compliance_tester_finds_nothing_wrong
    a_call_without_a_good_token_is_refused_and_audited
    a_program_that_may_not_provision_is_refused_and_audited
    a_user_joins_changes_and_leaves
    a_user_who_is_deactivated_loses_sessions_with_a_new_revision
    a_user_whose_keys_are_remembered_stays_disabled
    two_users_cannot_have_the_same_name_or_address
    a_version_guards_against_a_lost_change
    users_are_found_by_filters
    groups_have_members_that_come_and_go
    a_large_group_is_provisioned_in_few_statements
    what_is_no_request_is_refused
    an_external_id_is_the_subject_of_the_issuer
    ten_thousand_users_are_loaded
}

const PATCH: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

struct Idp {
    client: Client,
    base: String,
    token: String,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Idp {
    fn of(world: &World) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self { client: Client::new(), base: format!("http://{}/scim/v2", world.http), token: world.token.clone() }
    }

    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Option<Value>) -> Answer {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        request = request.header("content-type", "application/scim+json");
        if !self.token.is_empty() {
            request = request.bearer_auth(&self.token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        let text = answer.text().await.unwrap();
        let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() };
        Answer { status, headers, body }
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.send(Method::GET, path, &[], None).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
        answer.body
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, &[], Some(body)).await
    }

    async fn patch(&self, path: &str, operations: Value) -> Answer {
        let body = json!({"schemas": [PATCH], "Operations": operations});
        self.send(Method::PATCH, path, &[], Some(body)).await
    }

    async fn user(&self, user_name: &str) -> String {
        let answer = self.post("/Users", json!({"userName": user_name, "active": true})).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
        answer.body["id"].as_str().unwrap().to_owned()
    }

    // The user names that a filter finds.
    async fn found(&self, kind: &str, filter: &str, name: &str) -> Vec<String> {
        let url = reqwest::Url::parse_with_params("http://x/", [("filter", filter)]).unwrap();
        let list = self.get(&format!("/{kind}?{}", url.query().unwrap())).await;
        let found = list["Resources"].as_array().unwrap().iter();
        let found: Vec<_> = found.map(|one| one[name].as_str().unwrap().to_owned()).collect();
        assert_eq!(list["totalResults"], found.len());
        found
    }
}

fn refused(answer: &Answer, status: u16, kind: Option<&str>) {
    assert_eq!(answer.status.as_u16(), status, "{}", answer.body);
    assert_eq!(answer.body["status"], status.to_string(), "{}", answer.body);
    assert_eq!(answer.body.get("scimType").and_then(Value::as_str), kind, "{}", answer.body);
    assert_eq!(answer.headers["content-type"], "application/scim+json");
}

async fn a_compliance_tester_finds_nothing_wrong(place: Place) {
    let world = World::start(&place).await;
    let idp = Idp::of(&world);
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/scim/run");
    let ran = tokio::process::Command::new(program).args([&idp.base, &idp.token]).stdin(Stdio::null()).output().await;
    let ran = ran.expect("tests/scim/run needs bash and python3: run scripts/install python");
    let (said, wrong) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    println!("{said}");
    assert!(ran.status.success(), "the SCIM tester is not content, or could not run:\n{said}\n{wrong}");
    world.stop().await;
}

async fn a_call_without_a_good_token_is_refused_and_audited(place: Place) {
    let world = World::start(&place).await;
    let mut idp = Idp::of(&world);
    for token in ["", "x", "tga_0000"] {
        idp.token = token.into();
        for path in ["/Users", "/ServiceProviderConfig", "/nothing"] {
            let answer = idp.send(Method::GET, path, &[], None).await;
            refused(&answer, 401, None);
            assert_eq!(answer.headers["www-authenticate"], "Bearer");
        }
    }
    let log = world.log("").await;
    let refusals: Vec<_> = log.iter().filter(|entry| entry.action == "scim.provision").collect();
    assert_eq!(refusals.len(), 9, "each has an entry");
    assert!(refusals.iter().all(|entry| entry.initiator == "unknown"));
    world.stop().await;
}

async fn a_program_that_may_not_provision_is_refused_and_audited(place: Place) {
    let world = World::start(&place).await;
    let mut idp = Idp::of(&world);
    world.customer("acme").await;
    let id = idp.user("kept@example.com").await;
    let viewer = program_token(&world, "reader", "viewer", None).await;
    // To provision is for everywhere: who may do everything in one place may not.
    let somewhere = program_token(&world, "somewhere", "admin", Some(Scope::Customer("acme".into()))).await;
    let provisioner = program_token(&world, "provisioner", "admin", None).await;
    let path = format!("/Users/{id}");
    let before = world.store.revision().await.unwrap();
    for token in [&viewer, &somewhere] {
        idp.token.clone_from(token);
        for (method, path) in
            [(Method::GET, "/Users"), (Method::POST, "/Users"), (Method::PATCH, &path), (Method::DELETE, &path)]
        {
            let body = (method == Method::POST).then(|| json!({"userName": "new@example.com"}));
            let answer = idp.send(method, path, &[], body).await;
            refused(&answer, 403, None);
            assert_eq!(answer.body["schemas"], json!(["urn:ietf:params:scim:api:messages:2.0:Error"]));
            let detail = answer.body["detail"].as_str().unwrap();
            assert!(detail.contains("this needs the permission scim.provision"), "{detail}");
        }
    }
    assert_eq!(world.store.revision().await.unwrap(), before, "nothing was changed");
    let entries = world.log("outcome=refused").await;
    assert_eq!(entries.len(), 8, "each has an entry");
    for entry in entries {
        assert_eq!((entry.action.as_str(), entry.target.as_str()), ("scim.provision", "/scim/v2"));
        assert!(entry.initiator.starts_with("service-account/service-account-"), "{entry:?}");
        let detail: Value = serde_json::from_str(&entry.detail).unwrap();
        assert_eq!(detail["status"], 403);
        assert!(detail["call"].as_str().unwrap().contains("/Users"), "{detail}");
        assert!(!entry.source_address.is_empty());
    }
    idp.token = provisioner;
    assert_eq!(idp.get(&path).await["userName"], "kept@example.com");
    world.stop().await;
}

async fn a_user_joins_changes_and_leaves(place: Place) {
    let world = World::start(&place).await;
    let idp = Idp::of(&world);
    let sent = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "USERNAME": "Alice@Example.com", "externalId": "00u1",
        "name": {"givenName": "Alice", "familyName": "A"}, "emails": [{"value": "alice@example.com", "primary": true}],
        "password": "canary", "favourite": {"colour": "blue"}, "active": true,
    });
    let created = idp.post("/Users", sent).await;
    assert_eq!(created.status, StatusCode::CREATED);
    let id = created.body["id"].as_str().unwrap();
    let path = format!("/Users/{id}");
    assert_eq!(created.headers["location"], format!("{}{path}", idp.base));
    assert_eq!(created.headers["etag"].to_str().unwrap(), created.body["meta"]["version"].as_str().unwrap());
    assert_eq!(created.body["favourite"]["colour"], "blue");
    assert_eq!(idp.get(&path).await, created.body);
    assert!(!place.dump().await.windows(6).any(|window| window == b"canary"), "no password is kept");
    let user = world.users().get_user(v1::GetUserRequest { user: "alice".into() }).await.unwrap().into_inner();
    assert_eq!((user.email.as_str(), user.display_name.as_str()), ("alice@example.com", "Alice A"));

    let replaced = json!({"userName": "alice.b@example.com", "displayName": "Alice B", "externalId": "00u1"});
    let replaced = idp.send(Method::PUT, &path, &[], Some(replaced)).await;
    assert_eq!((replaced.status, &replaced.body["active"]), (StatusCode::OK, &json!(true)), "{}", replaced.body);
    assert!(replaced.body.get("favourite").is_none());
    let changed = idp.patch(&path, json!([{"op": "Replace", "path": "displayName", "value": "Alice C"}])).await;
    assert_eq!(changed.body["displayName"], "Alice C");
    let user = world.users().get_user(v1::GetUserRequest { user: id.into() }).await.unwrap().into_inner();
    assert_eq!((user.name.as_str(), user.display_name.as_str(), user.email.as_str()), ("alice", "Alice C", ""));
    let before = world.store.revision().await.unwrap();
    idp.patch(&path, json!([{"op": "replace", "path": "displayName", "value": "Alice C"}])).await;
    assert_eq!(world.store.revision().await.unwrap(), before, "what changes nothing makes no revision");

    let gone = idp.send(Method::DELETE, &path, &[], None).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    refused(&idp.send(Method::GET, &path, &[], None).await, 404, None);
    refused(&idp.send(Method::DELETE, &path, &[], None).await, 404, None);
    assert!(world.users().get_user(v1::GetUserRequest { user: id.into() }).await.is_err());
    let log = world.log("").await;
    let own: Vec<_> = log.iter().filter(|entry| entry.target == format!("user/{id}")).collect();
    assert_eq!(own.len(), 4);
    assert!(own.iter().all(|entry| entry.action == "scim.provision" && entry.initiator == "administrator/bootstrap"));
    world.stop().await;
}

async fn sign_in(world: &World, user: &str) {
    let mut txn = world.store.begin().await.unwrap();
    let insert = tollgate_control_plane::store::Statement::new(
        "INSERT INTO sessions (id, user_id, issuer, kind, access_hash, access_expire_time, refresh_hash, expire_time,
         tokens_expire_time, create_time, used_time, checked_time, source_address, user_agent, ended, revision)
         VALUES ('session-1', $1, '', 'browser', $2, 0, NULL, 0, 0, 0, 0, 0, '', '', 0, 0)",
    );
    txn.execute(insert.bind(user).bind(&b"hash"[..])).await.unwrap();
    txn.commit().await.unwrap();
}

async fn session(world: &World) -> (i64, i64) {
    let mut txn = world.store.begin_read().await.unwrap();
    let select = tollgate_control_plane::store::Statement::new("SELECT ended, revision FROM sessions");
    let row = txn.fetch_one(select).await.unwrap();
    (row.int("ended").unwrap(), row.int("revision").unwrap())
}

async fn a_user_who_is_deactivated_loses_sessions_with_a_new_revision(place: Place) {
    let world = World::start(&place).await;
    let idp = Idp::of(&world);
    let id = idp.user("leaver@example.com").await;
    sign_in(&world, &id).await;
    assert_eq!(session(&world).await, (0, 0));
    // What Entra sends.
    let mut revisions = world.store.changed();
    let before = *revisions.borrow_and_update();
    let answer =
        idp.patch(&format!("/Users/{id}"), json!([{"op": "Replace", "path": "active", "value": "False"}])).await;
    assert_eq!((answer.status, &answer.body["active"]), (StatusCode::OK, &json!(false)));
    let revision = *revisions.borrow_and_update();
    assert_eq!(revision, before + 1);
    assert_eq!(session(&world).await, (1, revision));
    let mut txn = world.store.begin_read().await.unwrap();
    let user = txn.user_find(&id).await.unwrap().unwrap();
    assert!(user.disabled && user.stamp.revision == revision, "what replicas are sent next says disabled");
    txn.end().await.unwrap();
    // What Okta sends.
    let answer = idp.patch(&format!("/Users/{id}"), json!([{"op": "replace", "value": {"active": true}}])).await;
    assert_eq!(answer.body["active"], true);
    assert_eq!(session(&world).await.0, 1, "a session that has ended stays so");
    let answer = idp.patch(&format!("/Users/{id}"), json!([{"op": "remove", "path": "active"}])).await;
    assert_eq!((answer.status, answer.body.get("active")), (StatusCode::OK, None));
    let user = world.users().get_user(v1::GetUserRequest { user: id.clone() }).await.unwrap().into_inner();
    assert!(user.disabled, "who is not said to be active is not");
    world.stop().await;
}

async fn a_user_whose_keys_are_remembered_stays_disabled(place: Place) {
    let world = World::start(&place).await;
    let idp = Idp::of(&world);
    let sent = json!({"userName": "kept", "emails": [{"value": "kept@example.com"}]});
    let id = idp.post("/Users", sent.clone()).await.body["id"].as_str().unwrap().to_owned();
    idp.post("/Groups", json!({"displayName": "staff", "members": [{"value": id}]})).await;
    sign_in(&world, &id).await;
    world.customer("acme").await;
    world.team("dev", "acme").await;
    let key = v1::Key { name: "k".into(), team: "dev".into(), user: id.clone(), ..Default::default() };
    world.key(key).await.unwrap();
    let gone = idp.send(Method::DELETE, &format!("/Users/{id}"), &[], None).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    let user = world.users().get_user(v1::GetUserRequest { user: id.clone() }).await.unwrap().into_inner();
    assert!(user.disabled && user.email.is_empty());
    assert_eq!(session(&world).await.0, 1);
    assert!(idp.get("/Groups").await["Resources"][0].get("members").is_none());
    assert!(idp.found("Users", "userName pr", "userName").await.is_empty());
    // Whoever comes back is somebody new: the old keys stay dead.
    let again = idp.post("/Users", sent).await;
    assert_eq!(again.status, StatusCode::CREATED, "{}", again.body);
    assert_ne!(again.body["id"], id.as_str());
    world.stop().await;
}

async fn two_users_cannot_have_the_same_name_or_address(place: Place) {
    let world = World::start(&place).await;
    let idp = Idp::of(&world);
    world.user("bob").await;
    let sent = json!({"userName": "bob@one.example", "emails": [{"value": "bob@example.com"}]});
    let id = idp.post("/Users", sent).await.body["id"].as_str().unwrap().to_owned();
    let user = world.users().get_user(v1::GetUserRequest { user: id.clone() }).await.unwrap().into_inner();
    assert_eq!(user.name, "bob-2", "a name that is taken gets a number");
    refused(&idp.post("/Users", json!({"userName": "BOB@one.example"})).await, 409, Some("uniqueness"));
    let twin = json!({"userName": "twin", "emails": [{"value": "bob@example.com"}]});
    refused(&idp.post("/Users", twin).await, 409, Some("uniqueness"));
    let other = idp.user("bob@two.example").await;
    let rename = json!([{"op": "replace", "path": "userName", "value": "bob@ONE.example"}]);
    refused(&idp.patch(&format!("/Users/{other}"), rename).await, 409, Some("uniqueness"));
    idp.post("/Groups", json!({"displayName": "a"})).await;
    refused(&idp.post("/Groups", json!({"displayName": "a"})).await, 409, Some("uniqueness"));
    world.stop().await;
}

async fn a_version_guards_against_a_lost_change(place: Place) {
    let world = World::start(&place).await;
    let idp = Idp::of(&world);
    let id = idp.user("a").await;
    let group = idp.post("/Groups", json!({"displayName": "g"})).await.body["id"].as_str().unwrap().to_owned();
    for path in [format!("/Users/{id}"), format!("/Groups/{group}")] {
        let old = idp.get(&path).await["meta"]["version"].as_str().unwrap().to_owned();
        let known = idp.send(Method::GET, &path, &[("if-none-match", &old)], None).await;
        assert_eq!(known.status, StatusCode::NOT_MODIFIED);
        let body = json!({"Operations": [{"op": "replace", "path": "externalId", "value": "e1"}]});
        let first = idp.send(Method::PATCH, &path, &[("if-match", &old)], Some(body.clone())).await;
        assert_eq!(first.status, StatusCode::OK, "{}", first.body);
        let body = json!({"Operations": [{"op": "replace", "path": "externalId", "value": "e2"}]});
        refused(&idp.send(Method::PATCH, &path, &[("if-match", &old)], Some(body)).await, 412, None);
        refused(&idp.send(Method::DELETE, &path, &[("if-match", &old)], None).await, 412, None);
        let fresh = first.headers["etag"].to_str().unwrap();
        let gone = idp.send(Method::DELETE, &path, &[("if-match", fresh)], None).await;
        assert_eq!(gone.status, StatusCode::NO_CONTENT);
    }
    world.stop().await;
}

async fn users_are_found_by_filters(place: Place) {
    let world = World::start(&place).await;
    let idp = Idp::of(&world);
    let mut ids = Vec::new();
    for (name, active) in [("a", true), ("b", false), ("c", true)] {
        let sent = json!({"userName": format!("{name}@x"), "externalId": name, "active": active, "title": "Dr",
                          "emails": [{"value": format!("{name}@x"), "type": "work"}, {"value": format!("{name}@home"), "type": "home"}]});
        ids.push(idp.post("/Users", sent).await.body["id"].as_str().unwrap().to_owned());
    }
    idp.post("/Groups", json!({"displayName": "g", "members": [{"value": ids[1]}]})).await;
    let by_id = format!("id eq \"{}\"", ids[0]);
    for (filter, expect) in [
        (r#"userName eq "A@X""#, &["a@x"][..]),
        (r#"externalId eq "b""#, &["b@x"]),
        (r#"externalId eq "B""#, &[]),
        (&*by_id, &["a@x"]),
        ("active eq false", &["b@x"]),
        (r#"active eq "True" and title eq "dr""#, &["a@x", "c@x"]),
        (r#"emails.value eq "c@home""#, &["c@x"]),
        (r#"emails[type eq "work" and value eq "c@home"]"#, &[]),
        (r#"userName co "x" and not (userName sw "a")"#, &["b@x", "c@x"]),
        (r#"groups.display eq "g""#, &["b@x"]),
        (r#"meta.created gt "2020-01-01T00:00:00Z""#, &["a@x", "b@x", "c@x"]),
    ] {
        assert_eq!(idp.found("Users", filter, "userName").await, expect, "{filter}");
    }
    let page = idp.get("/Users?startIndex=2&count=1&attributes=userName").await;
    assert_eq!((&page["totalResults"], &page["startIndex"], &page["itemsPerPage"]), (&json!(3), &json!(2), &json!(1)));
    let only = json!({"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "id": ids[1], "userName": "b@x"});
    assert_eq!(page["Resources"], json!([only]));
    let searched = idp.post("/.search", json!({"startIndex": 3, "count": 5, "attributes": ["displayName"]})).await;
    assert_eq!((&searched.body["totalResults"], &searched.body["itemsPerPage"]), (&json!(4), &json!(2)));
    refused(&idp.send(Method::GET, "/Users?filter=userName", &[], None).await, 400, Some("invalidFilter"));
    world.stop().await;
}

async fn groups_have_members_that_come_and_go(place: Place) {
    let world = World::start(&place).await;
    let idp = Idp::of(&world);
    let (a, b) = (idp.user("a").await, idp.user("b").await);
    let created =
        idp.post("/Groups", json!({"displayName": "dev", "externalId": "e", "members": [{"value": a}]})).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.body);
    let path = format!("/Groups/{}", created.body["id"].as_str().unwrap());
    let members = async || {
        let group = idp.get(&path).await;
        let members = group.get("members").and_then(Value::as_array).cloned().unwrap_or_default();
        members.iter().map(|member| member["value"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let by_value = format!("members[value eq \"{b}\"]");
    for (operation, expect) in [
        (json!({"op": "Add", "path": "members", "value": [{"value": b}]}), vec![&a, &b]),
        (json!({"op": "Add", "path": "members", "value": [{"value": b}]}), vec![&a, &b]),
        (json!({"op": "Remove", "path": by_value}), vec![&a]),
        (json!({"op": "Remove", "path": "members", "value": [{"value": a}]}), vec![]),
        (json!({"op": "replace", "value": {"displayName": "dev", "members": [{"value": b}]}}), vec![&b]),
        (json!({"op": "remove", "path": "members"}), vec![]),
        (json!({"op": "add", "path": "members", "value": [{"value": a}, {"value": b}]}), vec![&a, &b]),
        (json!({"op": "replace", "path": "displayName", "value": "developers"}), vec![&a, &b]),
    ] {
        let answer = idp.patch(&path, json!([operation])).await;
        assert_eq!(answer.status, StatusCode::OK, "{operation}: {}", answer.body);
        let mut expect: Vec<_> = expect.into_iter().cloned().collect();
        expect.sort();
        assert_eq!(members().await, expect, "{operation}");
    }
    assert_eq!(idp.get(&format!("/Users/{a}")).await["groups"][0]["display"], "developers");
    let unknown = json!([{"op": "add", "path": "members", "value": [{"value": "user-nobody"}]}]);
    refused(&idp.patch(&path, unknown).await, 400, Some("invalidValue"));
    let by_member = format!("members eq \"{a}\"");
    assert_eq!(idp.found("Groups", &by_member, "displayName").await, ["developers"]);
    assert_eq!(idp.found("Groups", r#"displayName eq "developers""#, "displayName").await, ["developers"]);
    assert!(idp.found("Groups", r#"members.value eq "x""#, "displayName").await.is_empty());
    assert!(idp.get(&format!("{path}?excludedAttributes=members")).await.get("members").is_none());
    let kept = json!({"displayName": "developers"});
    idp.send(Method::PUT, &path, &[], Some(kept)).await;
    assert_eq!(members().await.len(), 2, "a group that says nothing of its members keeps them");
    idp.send(Method::PUT, &path, &[], Some(json!({"displayName": "developers", "members": []}))).await;
    assert!(members().await.is_empty());
    assert_eq!(idp.send(Method::DELETE, &path, &[], None).await.status, StatusCode::NO_CONTENT);
    refused(&idp.send(Method::GET, &path, &[], None).await, 404, None);
    world.stop().await;
}

async fn what_is_no_request_is_refused(place: Place) {
    let world = World::start(&place).await;
    let idp = Idp::of(&world);
    refused(&idp.post("/Users", json!({"displayName": "nobody"})).await, 400, Some("invalidValue"));
    refused(&idp.post("/Users", json!([1])).await, 400, Some("invalidSyntax"));
    refused(&idp.send(Method::PUT, "/Users", &[], None).await, 405, None);
    refused(&idp.send(Method::GET, "/nothing", &[], None).await, 404, None);
    refused(&idp.send(Method::GET, "/Schemas?filter=a", &[], None).await, 403, None);
    let large = json!({"userName": "a", "title": "x".repeat(1024 * 1024)});
    refused(&idp.post("/Users", large).await, 413, None);
    let stuffed = json!({"userName": "a", "title": "x".repeat(65 * 1024)});
    refused(&idp.post("/Users", stuffed).await, 400, Some("invalidValue"));
    let text =
        idp.client.post(format!("{}/Users", idp.base)).bearer_auth(&idp.token).header("content-type", "text/xml");
    assert_eq!(text.body("<x/>").send().await.unwrap().status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    world.stop().await;
}

async fn an_external_id_is_the_subject_of_the_issuer(place: Place) {
    let mut config = config(&place, "data");
    config.scim_issuer = Some("https://idp.example".into());
    let world = World::start_from(config).await;
    let idp = Idp::of(&world);
    let known = async |subject: &str| {
        let mut txn = world.store.begin_read().await.unwrap();
        let known = txn.scim_identity("https://idp.example", subject).await.unwrap();
        txn.end().await.unwrap();
        known
    };
    let created = idp.post("/Users", json!({"userName": "a", "externalId": "s1"})).await;
    let id = created.body["id"].as_str().unwrap().to_owned();
    assert_eq!(known("s1").await.as_deref(), Some(id.as_str()));
    refused(&idp.post("/Users", json!({"userName": "b", "externalId": "s1"})).await, 409, Some("uniqueness"));
    idp.patch(&format!("/Users/{id}"), json!([{"op": "replace", "path": "externalId", "value": "s2"}])).await;
    assert_eq!((known("s1").await, known("s2").await.as_deref()), (None, Some(id.as_str())));
    // Somebody who signed in before is provisioned as who they are.
    let early = world.user("early").await;
    let mut txn = world.store.begin().await.unwrap();
    let user = UserId::parse(&early.id).unwrap();
    txn.scim_identity_insert("https://idp.example", "s3", &user, 1).await.unwrap();
    txn.commit().await.unwrap();
    let adopted =
        idp.post("/Users", json!({"userName": "early@example.com", "externalId": "s3", "active": false})).await;
    assert_eq!((adopted.status, &adopted.body["id"]), (StatusCode::CREATED, &json!(early.id)), "{}", adopted.body);
    let user = world.users().get_user(v1::GetUserRequest { user: early.id }).await.unwrap().into_inner();
    assert!(user.disabled && user.name == "early");
    world.stop().await;
}

// Rows as a long provisioning leaves them, without its 10,000 commits.
async fn provision(world: &World, users: usize, groups: usize) -> Vec<String> {
    let mut txn = world.store.begin().await.unwrap();
    let revision = txn.advance_revision().await.unwrap();
    let stamp = Stamp { created: revision, revision, create_time: 1, update_time: 1 };
    let mut ids = Vec::new();
    for number in 0..users {
        let id = UserId::from_ulid(&ulid::Ulid::generate().to_string()).unwrap();
        let (name, user_name) = (Name::parse(&format!("user.{number}")).unwrap(), format!("user.{number}@example.com"));
        let user = User {
            id: id.clone(),
            name: name.clone(),
            email: Some(user_name.clone()),
            display_name: String::new(),
            team: None,
            disabled: false,
            quota: Quota::default(),
            stamp,
        };
        txn.user_insert(&user).await.unwrap();
        let attributes =
            json!({"userName": user_name, "externalId": number.to_string(), "emails": [{"value": user_name}]});
        let user = Provisioned {
            id,
            name,
            email: Some(user_name.clone()),
            display_name: String::new(),
            disabled: false,
            stamp,
            external_id: number.to_string(),
            attributes: attributes.to_string(),
        };
        txn.scim_user_insert(&user, &user_name).await.unwrap();
        ids.push(user.id.to_string());
    }
    for number in 0..groups {
        let name = format!("group {number}");
        let group = Group { id: format!("group-{number}"), name: name.clone(), external_id: String::new(), stamp };
        txn.scim_group_insert(&group).await.unwrap();
        let members: Vec<_> = ids.iter().skip(number % 10).step_by(10).cloned().collect();
        txn.scim_members_add(&name, &members).await.unwrap();
    }
    txn.commit().await.unwrap();
    ids
}

async fn a_large_group_is_provisioned_in_few_statements(place: Place) {
    let world = World::start(&place).await;
    let ids = provision(&world, 5_000, 0).await;
    let idp = Idp::of(&world);
    let members: Vec<_> = ids.iter().map(|id| json!({"value": id})).collect();
    let begun = Instant::now();
    let created =
        idp.post("/Groups?excludedAttributes=members", json!({"displayName": "all", "members": members})).await;
    println!("a group of {} members: {:?}", ids.len(), begun.elapsed());
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.body);
    let path = format!("/Groups/{}", created.body["id"].as_str().unwrap());
    assert_eq!(idp.get(&path).await["members"].as_array().unwrap().len(), 5_000);
    let half = json!([{"op": "replace", "path": "members", "value": &members[..2_500]}]);
    assert_eq!(idp.patch(&path, half).await.body["members"].as_array().unwrap().len(), 2_500);
    world.stop().await;
}

async fn ten_thousand_users_are_loaded(place: Place) {
    let world = World::start(&place).await;
    let begun = Instant::now();
    provision(&world, 10_000, 200).await;
    println!("10,000 users and 200 groups written: {:?}", begun.elapsed());
    world.stop().await;
    let begun = Instant::now();
    let world = World::start(&place).await;
    println!("a control plane over them starts: {:?}", begun.elapsed());
    let idp = Idp::of(&world);
    let begun = Instant::now();
    let list = idp.get("/Users?count=1000&startIndex=9001").await;
    assert_eq!((&list["totalResults"], &list["itemsPerPage"]), (&json!(10_000), &json!(1_000)));
    println!("the last page of 1,000 users with 20 groups each: {:?}", begun.elapsed());
    let begun = Instant::now();
    assert_eq!(idp.found("Users", r#"userName eq "USER.9999@example.com""#, "userName").await.len(), 1);
    println!("one user by name: {:?}", begun.elapsed());
    let begun = Instant::now();
    assert_eq!(idp.found("Users", r#"emails.value eq "user.9999@example.com""#, "userName").await.len(), 1);
    println!("one user by address, which looks at all: {:?}", begun.elapsed());
    let begun = Instant::now();
    assert_eq!(idp.get("/Groups?count=200&excludedAttributes=members").await["totalResults"], 200);
    println!("200 groups without their members: {:?}", begun.elapsed());
    world.stop().await;
}
