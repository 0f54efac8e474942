//! Virtual keys.

use std::collections::HashMap;

use prost_types::Timestamp;
use tollgate_policy::{
    snapshot::{AuditMode, Object},
    token::Token,
};
use tollgate_proto::admin::v1::{
    self,
    binding::{Scope, Subject},
};
use tonic::Code;

use crate::{
    matrix::session,
    roles::As,
    world::{Place, World, code, mask, over_both, violations},
};

over_both! {
    a_key_is_shown_once_and_known_by_its_hash
    every_wrong_field_of_a_key_is_named
    a_rotated_key_has_another_secret
    a_key_is_revoked_and_enabled_idempotently
    a_key_is_changed_field_by_field
    whether_a_key_requires_the_audit_log_is_kept_and_its_change_logged
    who_merely_owns_a_key_cannot_take_it_from_the_audit_log
    where_a_key_may_be_used_is_kept_checked_and_published
    who_merely_owns_a_key_cannot_say_where_it_may_be_used
    which_tools_a_key_may_use_is_kept_in_one_order_checked_and_published
    who_merely_owns_a_key_cannot_say_which_tools_it_may_use
    what_must_hold_of_arguments_is_kept_and_checked
    keys_are_listed_by_team_user_and_state
}

fn in_seconds(seconds: i64) -> Timestamp {
    let now = tollgate_control_plane::clock::now_ms() / 1_000;
    Timestamp { seconds: now + seconds, nanos: 0 }
}

async fn a_key_is_shown_once_and_known_by_its_hash(place: Place) {
    let world = World::start(&place).await;
    let provider = world.provider("p", &[("a", "sa")]).await;
    world.customer("acme").await;
    let team = world.team("platform", "acme").await;
    let user = world.user("ada").await;
    let expire_time = in_seconds(3_600);
    let asked = v1::Key {
        name: "dev".into(),
        display_name: "Dev".into(),
        team: "platform".into(),
        user: "ada".into(),
        expire_time: Some(expire_time),
        models: vec!["claude-*".into(), "!*opus*".into()],
        providers: vec!["p".into()],
        credentials: vec!["p/a".into()],
        tags: HashMap::from([("cost-center".into(), "42 ü".into())]),
        ..Default::default()
    };
    let made = world.key(asked.clone()).await.unwrap();
    let key = made.key.unwrap();
    assert_eq!((&key.team, &key.user, &key.providers), (&team.id, &user.id, &vec![provider.id.clone()]));
    assert_eq!(key.credentials, [provider.credentials[0].id.clone()]);
    assert_eq!((&key.models, &key.tags, key.expire_time), (&asked.models, &asked.tags, Some(expire_time)));
    assert_eq!(key.state, i32::from(v1::KeyState::Active));
    let token = Token::parse(&made.secret).unwrap();
    assert_eq!(key.prefix, token.public_prefix());
    assert!(key.prefix.starts_with("tg_live_") && key.id.ends_with(&key.prefix[8..]));
    let read = world.keys().get_key(v1::GetKeyRequest { key: "dev".into() }).await.unwrap().into_inner();
    assert_eq!(read, key);
    let stored = world.store.changes(0).await.unwrap().keys.remove(0);
    assert_eq!(stored.expires_ms, Some(expire_time.seconds * 1_000));
    let dump = place.dump().await;
    let secret = made.secret.rsplit('_').nth(1).unwrap();
    assert!(!contains(&dump, secret.as_bytes()));
    world.stop().await;
}

async fn every_wrong_field_of_a_key_is_named(place: Place) {
    let world = World::start(&place).await;
    world.provider("p", &[("a", "sa")]).await;
    world.provider("q", &[("b", "sb")]).await;
    world.customer("acme").await;
    world.team("platform", "acme").await;
    let bad = v1::Key {
        id: "key-x".into(),
        name: "key-01k9zq3v5m8c4t2n7r6x0w1y9b".into(),
        display_name: "a\nb".into(),
        team: "nobody".into(),
        user: "nobody".into(),
        state: 2,
        expire_time: Some(in_seconds(-1)),
        models: vec!["ok*".into(), "!".into()],
        providers: vec!["p".into(), "nobody".into()],
        credentials: vec!["q/b".into(), "p/none".into()],
        tags: HashMap::from([("bad name".into(), "x".into())]),
        prefix: "tg_".into(),
        etag: "r1".into(),
        create_time: Some(in_seconds(0)),
        update_time: Some(in_seconds(0)),
        ..Default::default()
    };
    let expect = [
        "create_time",
        "credentials[0]",
        "credentials[1]",
        "display_name",
        "etag",
        "expire_time",
        "id",
        "models[1]",
        "name",
        "prefix",
        "providers[1]",
        "state",
        "tags",
        "team",
        "update_time",
        "user",
    ];
    assert_eq!(violations(world.key(bad).await), expect);
    let good = v1::Key { name: "k".into(), team: "platform".into(), ..Default::default() };
    let long = "x".repeat(300);
    let many_tags = (0..33).map(|at| (format!("t{at}"), String::new())).collect();
    let many = |noun: &str| (0..65).map(|at| format!("{noun}-{at}")).collect::<Vec<_>>();
    for (key, field) in [
        (v1::Key { team: String::new(), ..good.clone() }, "team"),
        (v1::Key { tags: many_tags, ..good.clone() }, "tags"),
        (v1::Key { tags: HashMap::from([("t".into(), long)]), ..good.clone() }, "tags.t"),
        (v1::Key { expire_time: Some(Timestamp { seconds: i64::MAX, nanos: 0 }), ..good.clone() }, "expire_time"),
        (v1::Key { expire_time: Some(Timestamp { seconds: 1, nanos: -1 }), ..good.clone() }, "expire_time"),
        (v1::Key { models: vec!["x".into(); 201], ..good.clone() }, "models"),
        (v1::Key { providers: many("p"), ..good.clone() }, "providers"),
    ] {
        assert!(violations(world.key(key).await).contains(&field.to_owned()), "{field}");
    }
    assert!(world.key(good.clone()).await.is_ok());
    assert_eq!(code(world.key(good).await), Code::AlreadyExists);
    world.stop().await;
}

async fn a_rotated_key_has_another_secret(place: Place) {
    let world = World::start(&place).await;
    let made = world.any_key("k").await;
    let before = world.store.changes(0).await.unwrap().keys.remove(0);
    let rotated = world.keys().rotate_key(v1::RotateKeyRequest { key: "k".into() }).await.unwrap().into_inner();
    assert_ne!(rotated.secret, made.secret);
    let (old, new) = (made.key.unwrap(), rotated.key.unwrap());
    assert_eq!((&old.id, &old.prefix), (&new.id, &new.prefix));
    assert_ne!(old.etag, new.etag);
    let after = world.store.changes(before.stamp.revision).await.unwrap().keys.remove(0);
    assert!(!after.hash.matches(&before.hash));
    let missing = world.keys().rotate_key(v1::RotateKeyRequest { key: "none".into() }).await;
    assert_eq!(code(missing), Code::NotFound);
    world.stop().await;
}

async fn a_key_is_revoked_and_enabled_idempotently(place: Place) {
    let world = World::start(&place).await;
    world.any_key("k").await;
    let revoke = v1::RevokeKeyRequest { key: "k".into(), reason: "leaked on a slide".into() };
    let revoked = world.keys().revoke_key(revoke.clone()).await.unwrap().into_inner();
    assert_eq!(revoked.state, i32::from(v1::KeyState::Revoked));
    let revision = world.store.revision().await.unwrap();
    assert_eq!(world.keys().revoke_key(revoke).await.unwrap().into_inner(), revoked);
    assert_eq!(world.store.revision().await.unwrap(), revision, "what is revoked already is not revoked again");
    let entry = world.log("action=key.revoke").await.pop().unwrap();
    assert!(
        entry.detail.contains("leaked on a slide") && entry.detail.contains("\"before\":false"),
        "{}",
        entry.detail
    );
    // A new secret does not undo a revocation.
    let rotated = world.keys().rotate_key(v1::RotateKeyRequest { key: "k".into() }).await.unwrap().into_inner();
    assert_eq!(rotated.key.unwrap().state, i32::from(v1::KeyState::Revoked));
    for _ in 0..2 {
        let enabled = world.keys().enable_key(v1::EnableKeyRequest { key: "k".into() }).await.unwrap().into_inner();
        assert_eq!(enabled.state, i32::from(v1::KeyState::Active));
    }
    assert_eq!(world.log("action=key.enable").await.len(), 1);
    let long = v1::RevokeKeyRequest { key: "k".into(), reason: "x".repeat(501) };
    assert_eq!(violations(world.keys().revoke_key(long).await), ["reason"]);
    world.stop().await;
}

async fn a_key_is_changed_field_by_field(place: Place) {
    let world = World::start(&place).await;
    world.provider("p", &[("a", "sa")]).await;
    world.provider("q", &[("b", "sb")]).await;
    world.user("ada").await;
    let key = world.any_key("k").await.key.unwrap();
    let update = async |key: v1::Key, paths: &[&str]| {
        let request = v1::UpdateKeyRequest { key: Some(key), update_mask: mask(paths) };
        world.keys().update_key(request).await.map(tonic::Response::into_inner)
    };
    let asked = v1::Key {
        id: key.id.clone(),
        name: "renamed".into(),
        user: "ada".into(),
        models: vec!["claude-*".into()],
        expire_time: Some(in_seconds(60)),
        tags: HashMap::from([("a".into(), "b".into())]),
        credentials: vec!["p/a".into()],
        ..Default::default()
    };
    let changed =
        update(asked.clone(), &["name", "user", "models", "expire_time", "tags", "credentials"]).await.unwrap();
    assert_eq!((changed.name.as_str(), changed.models.len(), changed.tags.len()), ("renamed", 1, 1));
    assert_eq!((changed.credentials.len(), changed.providers.len()), (1, 0));
    // Limiting the providers would leave a credential that cannot be reached.
    let narrow = v1::Key { id: key.id.clone(), providers: vec!["q".into()], ..Default::default() };
    assert_eq!(violations(update(narrow.clone(), &["providers"]).await), ["credentials[0]"]);
    update(narrow, &["providers", "credentials"]).await.unwrap();
    let cleared =
        update(v1::Key { id: key.id.clone(), ..Default::default() }, &["expire_time", "user", "providers"]).await;
    let cleared = cleared.unwrap();
    assert_eq!((cleared.expire_time, cleared.user.as_str(), cleared.providers.len()), (None, "", 0));
    assert_eq!(cleared.models, ["claude-*"]);
    for path in ["team", "state", "prefix", "id", "secret", "hash"] {
        assert_eq!(violations(update(asked.clone(), &[path]).await), ["update_mask"], "{path}");
    }
    world.stop().await;
}

async fn whether_a_key_requires_the_audit_log_is_kept_and_its_change_logged(place: Place) {
    let world = World::start(&place).await;
    let strict = world.any_key("strict").await.key.unwrap();
    assert_eq!(strict.audit(), v1::KeyAudit::Required);
    let best_effort = v1::KeyAudit::BestEffort.into();
    let asked = v1::Key { name: "loose".into(), team: "strict-team".into(), audit: best_effort, ..Default::default() };
    let loose = world.key(asked.clone()).await.unwrap().key.unwrap();
    assert_eq!(loose.audit(), v1::KeyAudit::BestEffort);
    let read =
        async |named: &str| world.keys().get_key(v1::GetKeyRequest { key: named.into() }).await.unwrap().into_inner();
    assert_eq!((read("strict").await, read("loose").await), (strict.clone(), loose.clone()));
    let unknown = v1::Key { name: "odd".into(), audit: 9, ..asked };
    assert_eq!(violations(world.key(unknown).await), ["audit"]);
    let update = async |id: &str, audit: i32, paths: &[&str]| {
        let key = v1::Key { id: id.into(), audit, ..Default::default() };
        let request = v1::UpdateKeyRequest { key: Some(key), update_mask: mask(paths) };
        world.keys().update_key(request).await.map(tonic::Response::into_inner)
    };
    assert_eq!(violations(update(&strict.id, 9, &["audit"]).await), ["audit"]);
    // What is not in the mask stays.
    assert_eq!(update(&loose.id, 0, &["models"]).await.unwrap().audit(), v1::KeyAudit::BestEffort);
    assert_eq!(update(&strict.id, best_effort, &["audit"]).await.unwrap().audit(), v1::KeyAudit::BestEffort);
    assert_eq!(read("strict").await.audit(), v1::KeyAudit::BestEffort);
    assert_eq!(update(&strict.id, 0, &["audit"]).await.unwrap().audit(), v1::KeyAudit::Required);
    let mut changes = Vec::new();
    for entry in world.log("action=key.update").await {
        let detail: serde_json::Value = serde_json::from_str(&entry.detail).unwrap();
        changes.push(detail["changed"].clone());
    }
    let change = |before: &str, after: &str| serde_json::json!({"audit": {"before": before, "after": after}});
    let expect = [change("required", "best_effort"), change("best_effort", "required")];
    assert_eq!(changes, expect);
    let stored = world.store.changes(0).await.unwrap().keys;
    let modes: Vec<_> = stored.iter().map(|key| (key.name.as_str(), key.audit)).collect();
    assert!(modes.contains(&("strict", AuditMode::Required)) && modes.contains(&("loose", AuditMode::BestEffort)));
    world.stop().await;
}

async fn where_a_key_may_be_used_is_kept_checked_and_published(place: Place) {
    let world = World::start(&place).await;
    let plain = world.any_key("plain").await.key.unwrap();
    assert_eq!(plain.regions, Vec::<String>::new());
    let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let asked = v1::Key {
        name: "bound".into(),
        team: "plain-team".into(),
        regions: texts(&["eu-*", "!eu-south-*"]),
        ..Default::default()
    };
    let bound = world.key(asked.clone()).await.unwrap().key.unwrap();
    assert_eq!(bound.regions, asked.regions);
    let get = v1::GetKeyRequest { key: "bound".into() };
    assert_eq!(world.keys().get_key(get).await.unwrap().into_inner(), bound);
    let bad = v1::Key { name: "bad".into(), regions: texts(&["eu-*", "eu west", ""]), ..asked.clone() };
    assert_eq!(violations(world.key(bad).await), ["regions[1]", "regions[2]"]);
    let many = v1::Key { name: "bad".into(), regions: vec!["x".into(); 201], ..asked };
    assert_eq!(violations(world.key(many).await), ["regions"]);
    let update = async |regions: &[&str], paths: &[&str]| {
        let key = v1::Key { id: bound.id.clone(), regions: texts(regions), ..Default::default() };
        let request = v1::UpdateKeyRequest { key: Some(key), update_mask: mask(paths) };
        world.keys().update_key(request).await.map(tonic::Response::into_inner)
    };
    assert_eq!(violations(update(&["a b"], &["regions"]).await), ["regions[0]"]);
    // What is not in the mask stays.
    assert_eq!(update(&[], &["models"]).await.unwrap().regions, bound.regions);
    assert_eq!(update(&["eu-west-1"], &["regions"]).await.unwrap().regions, ["eu-west-1"]);
    let entry = world.log("action=key.update").await.pop().unwrap();
    let detail: serde_json::Value = serde_json::from_str(&entry.detail).unwrap();
    let change = serde_json::json!({"before": ["eu-*", "!eu-south-*"], "after": ["eu-west-1"]});
    assert_eq!(detail["changed"], serde_json::json!({"regions": change}));
    let told = crate::fleet::told(&world).await.into_iter();
    let regions = told.filter_map(|object| match object {
        Object::Key(key) => Some((key.name.to_string(), key.regions.texts().to_vec())),
        _ => None,
    });
    let mut regions: Vec<_> = regions.collect();
    regions.sort();
    let regions: Vec<_> = regions.iter().map(|(name, list)| format!("{name}: {}", list.join(" "))).collect();
    assert_eq!(regions, ["bound: eu-west-1", "plain: "]);
    assert_eq!(update(&[], &["regions"]).await.unwrap().regions, Vec::<String>::new());
    world.stop().await;
}

async fn who_merely_owns_a_key_cannot_say_where_it_may_be_used(place: Place) {
    let world = World::start(&place).await;
    let ada = developer(&world).await;
    let create = async |regions: &[&str]| {
        let regions = regions.iter().map(|text| (*text).to_owned()).collect();
        let key =
            v1::Key { name: "mine".into(), team: "platform".into(), user: "ada".into(), regions, ..Default::default() };
        ada.keys().create_key(v1::CreateKeyRequest { key: Some(key) }).await.map(tonic::Response::into_inner)
    };
    assert_eq!(violations(create(&["us-*"]).await), ["regions"]);
    let key = create(&[]).await.unwrap().key.unwrap();
    let bound = |regions: Vec<String>| {
        let key = v1::Key { id: key.id.clone(), regions, ..Default::default() };
        v1::UpdateKeyRequest { key: Some(key), update_mask: mask(&["regions"]) }
    };
    world.keys().update_key(bound(vec!["eu-*".into()])).await.unwrap();
    assert_eq!(code(ada.keys().update_key(bound(vec![])).await), Code::PermissionDenied);
    // What they may change leaves it as it is.
    let named = v1::Key { id: key.id.clone(), display_name: "Mine".into(), ..Default::default() };
    let request = v1::UpdateKeyRequest { key: Some(named), update_mask: mask(&["display_name"]) };
    assert_eq!(ada.keys().update_key(request).await.unwrap().into_inner().regions, ["eu-*"]);
    world.stop().await;
}

// Somebody who may do nothing but manage keys of their own, in the team "platform".
async fn developer(world: &World) -> As {
    world.customer("acme").await;
    world.team("platform", "acme").await;
    let allowed = v1::SelfService { keys_max: 9, ..Default::default() };
    let team = v1::Team { name: "platform".into(), self_service: Some(allowed), ..Default::default() };
    let request = v1::UpdateTeamRequest { team: Some(team), update_mask: mask(&["self_service"]) };
    world.teams().update_team(request).await.unwrap();
    let ada = v1::User { name: "ada".into(), team: "platform".into(), ..Default::default() };
    let ada = world.users().create_user(v1::CreateUserRequest { user: Some(ada) }).await.unwrap().into_inner();
    let (subject, own) = (Subject::User(ada.id.clone()), Scope::Own(true));
    As::token(world, &world.token).bind("developer", subject, Some(own)).await.unwrap();
    As::token(world, &session(world, &ada.id).await.1)
}

async fn who_merely_owns_a_key_cannot_take_it_from_the_audit_log(place: Place) {
    let world = World::start(&place).await;
    let ada = developer(&world).await;
    let create = async |audit: v1::KeyAudit| {
        let key = v1::Key {
            name: "mine".into(),
            team: "platform".into(),
            user: "ada".into(),
            audit: audit.into(),
            ..Default::default()
        };
        ada.keys().create_key(v1::CreateKeyRequest { key: Some(key) }).await.map(tonic::Response::into_inner)
    };
    assert_eq!(violations(create(v1::KeyAudit::BestEffort).await), ["audit"]);
    let key = create(v1::KeyAudit::Required).await.unwrap().key.unwrap();
    let loose = v1::Key { id: key.id, audit: v1::KeyAudit::BestEffort.into(), ..Default::default() };
    let request = v1::UpdateKeyRequest { key: Some(loose), update_mask: mask(&["audit"]) };
    assert_eq!(code(ada.keys().update_key(request).await), Code::PermissionDenied);
    world.stop().await;
}

async fn which_tools_a_key_may_use_is_kept_in_one_order_checked_and_published(place: Place) {
    let world = World::start(&place).await;
    let plain = world.any_key("plain").await.key.unwrap();
    assert_eq!(plain.tools, Vec::<String>::new());
    let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let asked = v1::Key {
        name: "bound".into(),
        team: "plain-team".into(),
        tools: texts(&["!WebFetch", "resource:github.file:*", "github.*", "!prompt:github.x", "prompt:github.*"]),
        ..Default::default()
    };
    let bound = world.key(asked.clone()).await.unwrap().key.unwrap();
    let kept = ["github.*", "!WebFetch", "prompt:github.*", "!prompt:github.x", "resource:github.file:*"];
    assert_eq!(bound.tools, kept);
    let get = v1::GetKeyRequest { key: "bound".into() };
    assert_eq!(world.keys().get_key(get).await.unwrap().into_inner(), bound);
    let bad = v1::Key { name: "bad".into(), tools: texts(&["a.*", "a b", "!prompt:", "resource:"]), ..asked.clone() };
    let refused = world.key(bad).await;
    assert_eq!(violations(refused), ["tools[1]"]);
    let bad = v1::Key { name: "bad".into(), tools: texts(&["a.*", "!prompt:", "resource:"]), ..asked.clone() };
    assert_eq!(violations(world.key(bad).await), ["tools[1]", "tools[2]"]);
    let many = v1::Key { name: "bad".into(), tools: vec!["x".into(); 201], ..asked };
    assert_eq!(violations(world.key(many).await), ["tools"]);
    let update = async |tools: &[&str], paths: &[&str]| {
        let key = v1::Key { id: bound.id.clone(), tools: texts(tools), ..Default::default() };
        let request = v1::UpdateKeyRequest { key: Some(key), update_mask: mask(paths) };
        world.keys().update_key(request).await.map(tonic::Response::into_inner)
    };
    assert_eq!(violations(update(&["a b"], &["tools"]).await), ["tools[0]"]);
    // What is not in the mask stays, and so does what is only in another order.
    assert_eq!(update(&[], &["models"]).await.unwrap(), bound);
    assert_eq!(
        update(&["prompt:github.*", "!prompt:github.x", kept[0], kept[1], kept[4]], &["tools"]).await.unwrap(),
        bound
    );
    assert_eq!(update(&["!jira.*"], &["tools"]).await.unwrap().tools, ["!jira.*"]);
    let entry = world.log("action=key.update").await.pop().unwrap();
    let detail: serde_json::Value = serde_json::from_str(&entry.detail).unwrap();
    assert_eq!(detail["changed"], serde_json::json!({"tools": {"before": kept, "after": ["!jira.*"]}}));
    let told = crate::fleet::told(&world).await.into_iter();
    let tools = told.filter_map(|object| match object {
        Object::Key(key) => Some(format!("{}: {}", key.name, key.tools.texts().join(" "))),
        _ => None,
    });
    let mut tools: Vec<_> = tools.collect();
    tools.sort();
    assert_eq!(tools, ["bound: !jira.*", "plain: "]);
    assert_eq!(update(&[], &["tools"]).await.unwrap().tools, Vec::<String>::new());
    world.stop().await;
}

async fn who_merely_owns_a_key_cannot_say_which_tools_it_may_use(place: Place) {
    let world = World::start(&place).await;
    let ada = developer(&world).await;
    let create = async |tools: &[&str]| {
        let tools = tools.iter().map(|text| (*text).to_owned()).collect();
        let key =
            v1::Key { name: "mine".into(), team: "platform".into(), user: "ada".into(), tools, ..Default::default() };
        ada.keys().create_key(v1::CreateKeyRequest { key: Some(key) }).await.map(tonic::Response::into_inner)
    };
    assert_eq!(violations(create(&["*"]).await), ["tools"]);
    let key = create(&[]).await.unwrap().key.unwrap();
    let bound = |tools: Vec<String>| {
        let key = v1::Key { id: key.id.clone(), tools, ..Default::default() };
        v1::UpdateKeyRequest { key: Some(key), update_mask: mask(&["tools"]) }
    };
    world.keys().update_key(bound(vec!["github.*".into()])).await.unwrap();
    assert_eq!(code(ada.keys().update_key(bound(vec![])).await), Code::PermissionDenied);
    // What they may change leaves it as it is.
    let named = v1::Key { id: key.id.clone(), display_name: "Mine".into(), ..Default::default() };
    let request = v1::UpdateKeyRequest { key: Some(named), update_mask: mask(&["display_name"]) };
    assert_eq!(ada.keys().update_key(request).await.unwrap().into_inner().tools, ["github.*"]);
    world.stop().await;
}

async fn what_must_hold_of_arguments_is_kept_and_checked(place: Place) {
    let world = World::start(&place).await;
    let plain = world.any_key("plain").await.key.unwrap();
    let rule = |tools: &str, when: &str| v1::ToolRule { tools: tools.into(), when: when.into() };
    let asked = |name: &str, tool_rules: Vec<v1::ToolRule>| v1::Key {
        name: name.into(),
        team: "plain-team".into(),
        tool_rules,
        ..Default::default()
    };
    let rules = vec![rule("github.create_*", " arguments.repo.startsWith('acme/') "), rule("*", "caller.team != 'x'")];
    let bound = world.key(asked("bound", rules)).await.unwrap().key.unwrap();
    let kept = [rule("github.create_*", "arguments.repo.startsWith('acme/')"), rule("*", "caller.team != 'x'")];
    assert_eq!(bound.tool_rules, kept);
    let get = v1::GetKeyRequest { key: "bound".into() };
    assert_eq!(world.keys().get_key(get).await.unwrap().into_inner(), bound);
    let bad = vec![
        rule("a.b", "true"),
        rule("!a.b", "true"),
        rule("Bash", "true"),
        rule("prompt:a.b", "true"),
        rule("a b.c", "true"),
        rule("", "true"),
        rule("a.b", ""),
        rule("a.b", "repo == 'a'"),
        rule("a.b", "request.model == 'a'"),
        rule("a.b", "arguments.repo"),
        rule("a.b", "arguments.a.all(x, x in arguments.b)"),
        rule("a.b", "tool.name > 3"),
    ];
    let expect = (1..=5).map(|at| format!("tool_rules[{at}].tools"));
    let mut expect: Vec<_> = expect.chain([6, 7, 8, 10, 11].map(|at| format!("tool_rules[{at}].when"))).collect();
    expect.sort();
    assert_eq!(violations(world.key(asked("bad", bad)).await), expect);
    assert_eq!(violations(world.key(asked("bad", vec![rule("a.b", "true"); 51])).await), ["tool_rules"]);
    let update = async |tool_rules: Vec<v1::ToolRule>, paths: &[&str]| {
        let key = v1::Key { id: bound.id.clone(), tool_rules, ..Default::default() };
        let request = v1::UpdateKeyRequest { key: Some(key), update_mask: mask(paths) };
        world.keys().update_key(request).await.map(tonic::Response::into_inner)
    };
    assert_eq!(violations(update(vec![rule("a", "true")], &["tool_rules"]).await), ["tool_rules[0].tools"]);
    assert_eq!(update(vec![], &["models"]).await.unwrap(), bound);
    assert_eq!(update(vec![], &["tool_rules"]).await.unwrap().tool_rules, []);
    let entry = world.log("action=key.update").await.pop().unwrap();
    let detail: serde_json::Value = serde_json::from_str(&entry.detail).unwrap();
    assert_eq!(detail["changed"]["tool_rules"]["before"][0]["tools"], "github.create_*");
    // Who merely owns a key has no say.
    let ada = developer(&world).await;
    let mine = |tool_rules| v1::Key {
        name: "mine".into(),
        team: "platform".into(),
        user: "ada".into(),
        tool_rules,
        ..Default::default()
    };
    let create = async |key| ada.keys().create_key(v1::CreateKeyRequest { key: Some(key) }).await;
    assert_eq!(violations(create(mine(vec![rule("a.b", "true")])).await), ["tool_rules"]);
    let key = create(mine(vec![])).await.unwrap().into_inner().key.unwrap();
    let change = v1::UpdateKeyRequest {
        key: Some(v1::Key { id: key.id, ..Default::default() }),
        update_mask: mask(&["tool_rules"]),
    };
    assert_eq!(code(ada.keys().update_key(change).await), Code::PermissionDenied);
    assert_eq!(plain.tool_rules, []);
    world.stop().await;
}

async fn keys_are_listed_by_team_user_and_state(place: Place) {
    let world = World::start(&place).await;
    world.any_key("one").await;
    world.any_key("two").await;
    world.user("ada").await;
    let key = v1::Key { name: "three".into(), team: "one-team".into(), user: "ada".into(), ..Default::default() };
    world.key(key).await.unwrap();
    let revoke = v1::RevokeKeyRequest { key: "two".into(), ..Default::default() };
    world.keys().revoke_key(revoke).await.unwrap();
    let list = async |filter: &str| {
        let request = v1::ListKeysRequest { filter: filter.into(), ..Default::default() };
        let keys = world.keys().list_keys(request).await?.into_inner().keys;
        Ok::<Vec<String>, tonic::Status>(keys.into_iter().map(|key| key.name).collect())
    };
    for (filter, expect) in [
        ("team=one-team", vec!["one", "three"]),
        ("user=ada", vec!["three"]),
        ("state=revoked", vec!["two"]),
        ("state=active AND name=t*", vec!["three"]),
    ] {
        assert_eq!(list(filter).await.unwrap(), expect, "{filter}");
    }
    assert_eq!(violations(list("state=asleep AND team=none AND user=none").await), ["filter", "filter", "filter"]);
    world.stop().await;
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}
