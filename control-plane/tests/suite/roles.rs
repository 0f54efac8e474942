//! Roles, bindings and service accounts: who may give what to whom.

use tollgate_proto::admin::v1::{
    self, binding::Scope, binding::Subject, binding_service_client::BindingServiceClient,
    key_service_client::KeyServiceClient, role_service_client::RoleServiceClient,
    service_account_service_client::ServiceAccountServiceClient, team_service_client::TeamServiceClient,
};
use tonic::{Code, Status, service::interceptor::InterceptedService};

use crate::world::{Authorised, Place, World, code, mask, over_both, violations};

over_both! {
    roles_are_made_of_permissions_that_exist
    row_4_nobody_grants_what_they_do_not_hold
    row_4_no_update_mask_reaches_a_field_of_the_system
    row_5_a_call_without_its_permission_is_refused_and_audited
    row_6_tokens_that_begin_alike_are_told_apart
    row_18_the_object_of_another_tenant_is_not_found
    the_bounds_of_a_team_are_not_its_own_administrators_to_move
    a_service_account_rotates_its_token_without_a_gap
    the_last_administrator_stays
    a_binding_ends_at_its_expiry_and_with_its_subject
}

/// The admin API as somebody else sees it.
pub(crate) struct As(Authorised);

impl As {
    pub(crate) fn token(world: &World, token: &str) -> Self {
        Self(InterceptedService::new(world.channel(), World::bearer(token)))
    }

    pub(crate) fn service(&self) -> Authorised {
        self.0.clone()
    }

    fn roles(&self) -> RoleServiceClient<Authorised> {
        RoleServiceClient::new(self.service())
    }

    fn bindings(&self) -> BindingServiceClient<Authorised> {
        BindingServiceClient::new(self.service())
    }

    fn accounts(&self) -> ServiceAccountServiceClient<Authorised> {
        ServiceAccountServiceClient::new(self.service())
    }

    fn teams(&self) -> TeamServiceClient<Authorised> {
        TeamServiceClient::new(self.service())
    }

    pub(crate) fn keys(&self) -> KeyServiceClient<Authorised> {
        KeyServiceClient::new(self.service())
    }

    async fn role(&self, name: &str, permissions: &[&str]) -> Result<v1::Role, Status> {
        let permissions = permissions.iter().map(|text| (*text).to_owned()).collect();
        let role = v1::Role { name: name.into(), permissions, ..Default::default() };
        Ok(self.roles().create_role(v1::CreateRoleRequest { role: Some(role) }).await?.into_inner())
    }

    pub(crate) async fn bind(&self, role: &str, subject: Subject, scope: Option<Scope>) -> Result<v1::Binding, Status> {
        let binding = v1::Binding { role: role.into(), subject: Some(subject), scope, ..Default::default() };
        let request = v1::CreateBindingRequest { binding: Some(binding) };
        Ok(self.bindings().create_binding(request).await?.into_inner())
    }

    async fn account(&self, name: &str) -> v1::ServiceAccount {
        let account = v1::ServiceAccount { name: name.into(), ..Default::default() };
        let request = v1::CreateServiceAccountRequest { service_account: Some(account) };
        self.accounts().create_service_account(request).await.unwrap().into_inner()
    }

    async fn account_token(&self, account: &str, name: &str) -> Result<v1::ServiceAccountTokenSecret, Status> {
        let (service_account, name) = (account.into(), name.into());
        let request = v1::CreateServiceAccountTokenRequest { service_account, name, life: None };
        Ok(self.accounts().create_service_account_token(request).await?.into_inner())
    }
}

/// A program that holds a role somewhere.
pub(crate) async fn program(world: &World, name: &str, role: &str, scope: Option<Scope>) -> As {
    As::token(world, &program_token(world, name, role, scope).await)
}

/// The token of such a program.
pub(crate) async fn program_token(world: &World, name: &str, role: &str, scope: Option<Scope>) -> String {
    let root = As::token(world, &world.token);
    root.account(name).await;
    root.bind(role, Subject::ServiceAccount(name.into()), scope).await.unwrap();
    root.account_token(name, "").await.unwrap().secret
}

async fn two_tenants(world: &World) {
    world.customer("acme").await;
    world.customer("other").await;
    world.team("platform", "acme").await;
    world.team("billing", "acme").await;
    world.team("foreign", "other").await;
}

async fn roles_are_made_of_permissions_that_exist(place: Place) {
    let world = World::start(&place).await;
    let root = As::token(&world, &world.token);
    let role = root.role("qa", &["key.*", "usage.read"]).await.unwrap();
    assert!(role.id.starts_with("role-") && !role.system);
    for wrong in [&["key.destroy"][..], &["*.read"], &["KEY.READ"], &[""], &[]] {
        assert_eq!(violations(root.role("wrong", wrong).await), ["permissions"], "{wrong:?}");
    }
    assert_eq!(code(root.role("qa", &["key.read"]).await), Code::AlreadyExists);
    assert_eq!(code(root.role("admin", &["key.read"]).await), Code::AlreadyExists, "a system role has its name");
    let list = root.roles().list_roles(v1::ListRolesRequest::default()).await.unwrap().into_inner().roles;
    let names: Vec<_> = list.iter().map(|role| role.name.as_str()).collect();
    assert_eq!(names, ["admin", "viewer", "developer", "team-lead", "qa"]);
    for named in ["admin", "viewer"] {
        let request = v1::DeleteRoleRequest { role: named.into(), etag: String::new() };
        assert_eq!(code(root.roles().delete_role(request).await), Code::FailedPrecondition, "{named}");
    }
    let changed = v1::Role { name: "qa".into(), permissions: vec!["usage.read".into()], ..Default::default() };
    let stale = v1::Role { etag: "r1".into(), ..changed.clone() };
    let request = |role| v1::UpdateRoleRequest { role: Some(role), update_mask: mask(&["permissions"]) };
    assert_eq!(code(root.roles().update_role(request(stale)).await), Code::Aborted);
    let updated = root.roles().update_role(request(changed)).await.unwrap().into_inner();
    assert_eq!(updated.permissions, ["usage.read"]);
    root.bind("qa", Subject::Group("testers".into()), None).await.unwrap();
    assert_eq!(code(root.bind("qa", Subject::Group("testers".into()), None).await), Code::AlreadyExists);
    let request = v1::DeleteRoleRequest { role: "qa".into(), etag: String::new() };
    assert_eq!(code(root.roles().delete_role(request).await), Code::FailedPrecondition, "it is bound");
    world.stop().await;
}

async fn row_4_nobody_grants_what_they_do_not_hold(place: Place) {
    let world = World::start(&place).await;
    two_tenants(&world).await;
    let root = As::token(&world, &world.token);
    root.role("granter", &["binding.*", "role.*", "key.*", "service-account.*"]).await.unwrap();
    root.role("keys", &["key.read"]).await.unwrap();
    let everywhere = program(&world, "everywhere", "granter", None).await;
    let in_team = program(&world, "in-team", "granter", Some(Scope::Team("platform".into()))).await;
    let group = |name: &str| Subject::Group(name.to_owned());
    let team = |name: &str| Some(Scope::Team(name.to_owned()));
    for (who, role, scope, expect) in [
        (&everywhere, "keys", None, Ok(())),
        (&everywhere, "admin", None, Err(Code::PermissionDenied)),
        (&everywhere, "viewer", None, Err(Code::PermissionDenied)),
        (&everywhere, "developer", Some(Scope::Own(true)), Err(Code::PermissionDenied)),
        (&in_team, "keys", team("platform"), Ok(())),
        (&in_team, "keys", team("billing"), Err(Code::InvalidArgument)),
        (&in_team, "keys", Some(Scope::Customer("acme".into())), Err(Code::InvalidArgument)),
        (&in_team, "keys", None, Err(Code::PermissionDenied)),
        (&in_team, "keys", Some(Scope::Own(true)), Err(Code::PermissionDenied)),
        (&in_team, "team-lead", team("platform"), Err(Code::PermissionDenied)),
    ] {
        let answer = who.bind(role, group("somebody"), scope.clone()).await;
        assert_eq!(answer.map(|_| ()).map_err(|status| status.code()), expect, "{role} {scope:?}");
    }
    // A role with more than its maker holds everywhere, and one that grows after it was bound.
    assert_eq!(code(everywhere.role("more", &["usage.read"]).await), Code::PermissionDenied);
    assert_eq!(code(everywhere.role("more", &["*"]).await), Code::PermissionDenied);
    everywhere.role("less", &["key.*"]).await.unwrap();
    let grown = v1::Role { name: "less".into(), permissions: vec!["*".into()], ..Default::default() };
    let request = v1::UpdateRoleRequest { role: Some(grown), update_mask: mask(&["permissions"]) };
    assert_eq!(code(everywhere.roles().update_role(request).await), Code::PermissionDenied);
    // Nobody edits their own role, nor gives themselves one.
    let own = v1::Role { name: "granter".into(), permissions: vec!["key.*".into()], ..Default::default() };
    let request = v1::UpdateRoleRequest { role: Some(own), update_mask: mask(&["permissions"]) };
    assert_eq!(code(everywhere.roles().update_role(request).await), Code::PermissionDenied);
    let itself = Subject::ServiceAccount("everywhere".into());
    assert_eq!(code(everywhere.bind("keys", itself, None).await), Code::PermissionDenied);
    // Whose token one takes, that one becomes.
    root.account("powerful").await;
    root.bind("admin", Subject::ServiceAccount("powerful".into()), None).await.unwrap();
    assert_eq!(code(everywhere.account_token("powerful", "").await), Code::PermissionDenied);
    root.account("weak").await;
    assert!(everywhere.account_token("weak", "").await.is_ok());
    world.stop().await;
}

async fn row_4_no_update_mask_reaches_a_field_of_the_system(place: Place) {
    let world = World::start(&place).await;
    let root = As::token(&world, &world.token);
    root.role("qa", &["key.read"]).await.unwrap();
    for path in ["system", "id", "etag", "create_time", "*", "permissions.x", "bindings"] {
        let role = v1::Role { name: "qa".into(), system: true, ..Default::default() };
        let request = v1::UpdateRoleRequest { role: Some(role), update_mask: mask(&[path]) };
        assert_eq!(code(root.roles().update_role(request).await), Code::InvalidArgument, "{path}");
    }
    root.account("ci").await;
    for path in ["tokens", "id", "role", "bindings", "permissions"] {
        let account = v1::ServiceAccount { name: "ci".into(), ..Default::default() };
        let request = v1::UpdateServiceAccountRequest { service_account: Some(account), update_mask: mask(&[path]) };
        assert_eq!(code(root.accounts().update_service_account(request).await), Code::InvalidArgument, "{path}");
    }
    world.stop().await;
}

async fn row_5_a_call_without_its_permission_is_refused_and_audited(place: Place) {
    let world = World::start(&place).await;
    let viewer = program(&world, "reader", "viewer", None).await;
    let customer = v1::Customer { name: "acme".into(), ..Default::default() };
    let mut customers = v1::customer_service_client::CustomerServiceClient::new(viewer.service());
    let answer = customers.create_customer(v1::CreateCustomerRequest { customer: Some(customer) }).await;
    let status = answer.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().contains("customer.create"), "{status:?}");
    let nobody = As::token(&world, &format!("tgs_{}", "0".repeat(64)));
    assert_eq!(code(nobody.roles().list_roles(v1::ListRolesRequest::default()).await), Code::Unauthenticated);
    let refused = world.log("outcome=refused").await;
    let shown: Vec<_> = refused.iter().map(|entry| (entry.action.as_str(), entry.initiator.as_str())).collect();
    let [(first, reader), second] = shown[..] else { panic!("{shown:?}") };
    assert_eq!((first, second), ("call.authorize", ("call.authenticate", "unknown")));
    assert!(reader.starts_with("service-account/service-account-"), "{reader}");
    world.stop().await;
}

async fn row_6_tokens_that_begin_alike_are_told_apart(place: Place) {
    let world = World::start(&place).await;
    let root = As::token(&world, &world.token);
    root.account("ci").await;
    root.bind("viewer", Subject::ServiceAccount("ci".into()), None).await.unwrap();
    let good = root.account_token("ci", "").await.unwrap().secret;
    assert!(good.starts_with("tgs_") && good.len() == 4 + 64);
    for cut in [20, 40, good.len() - 1] {
        let alike = format!("{}{}", &good[..cut], "f".repeat(good.len() - cut));
        let expect = alike == good;
        let list = As::token(&world, &alike).roles().list_roles(v1::ListRolesRequest::default()).await;
        assert_eq!(list.is_ok(), expect, "the first {cut} characters are the same");
    }
    assert!(As::token(&world, &good).roles().list_roles(v1::ListRolesRequest::default()).await.is_ok());
    let dump = place.dump().await;
    assert!(!dump.windows(64).any(|window| window == &good.as_bytes()[4..]), "no token is stored");
    world.stop().await;
}

async fn row_18_the_object_of_another_tenant_is_not_found(place: Place) {
    let world = World::start(&place).await;
    two_tenants(&world).await;
    let key = |name: &str, team: &str| v1::Key { name: name.into(), team: team.into(), ..Default::default() };
    world.key(key("ours", "platform")).await.unwrap();
    let theirs = world.key(key("theirs", "foreign")).await.unwrap().key.unwrap();
    let lead = program(&world, "lead", "team-lead", Some(Scope::Team("platform".into()))).await;
    assert!(lead.keys().get_key(v1::GetKeyRequest { key: "ours".into() }).await.is_ok());
    for named in ["theirs", theirs.id.as_str(), "nothing", "key-01k9zq3v5m8c4t2n7r6x0w1y9b"] {
        let status = lead.keys().get_key(v1::GetKeyRequest { key: named.into() }).await.unwrap_err();
        assert_eq!(status.code(), Code::NotFound, "{named}");
        let known = format!("no key has the id or name '{named}'");
        assert_eq!(status.message(), known, "the answer is that of what does not exist");
        let revoked = lead.keys().revoke_key(v1::RevokeKeyRequest { key: named.into(), reason: String::new() }).await;
        assert_eq!(code(revoked), Code::NotFound, "{named}");
    }
    let list = lead.keys().list_keys(v1::ListKeysRequest::default()).await.unwrap().into_inner().keys;
    assert_eq!(list.iter().map(|key| key.name.as_str()).collect::<Vec<_>>(), ["ours"]);
    for team in ["foreign", "nothing"] {
        let request = v1::CreateKeyRequest { key: Some(key("new", team)) };
        assert_eq!(violations(lead.keys().create_key(request).await), ["team"], "{team}");
        let request = v1::ListKeysRequest { filter: format!("team={team}"), ..Default::default() };
        assert_eq!(violations(lead.keys().list_keys(request).await), ["filter"], "{team}");
        let request = v1::GetTeamRequest { team: team.into() };
        assert_eq!(code(lead.teams().get_team(request).await), Code::NotFound, "{team}");
    }
    let request = v1::CreateKeyRequest { key: Some(key("new", "platform")) };
    assert!(lead.keys().create_key(request).await.is_ok());
    world.stop().await;
}

async fn the_bounds_of_a_team_are_not_its_own_administrators_to_move(place: Place) {
    let world = World::start(&place).await;
    two_tenants(&world).await;
    let own = program(&world, "own", "admin", Some(Scope::Team("platform".into()))).await;
    let over = program(&world, "over", "admin", Some(Scope::Customer("acme".into()))).await;
    let update = async |who: &As, path: &str| {
        let (regions, display_name) = (vec!["eu-*".to_owned()], "Platform".to_owned());
        let team = v1::Team { name: "platform".into(), regions, display_name, ..Default::default() };
        let request = v1::UpdateTeamRequest { team: Some(team), update_mask: mask(&[path]) };
        who.teams().update_team(request).await.map(|_| ()).map_err(|status| status.code())
    };
    for (path, expect) in
        [("regions", Err(Code::PermissionDenied)), ("providers", Err(Code::PermissionDenied)), ("display_name", Ok(()))]
    {
        assert_eq!(update(&own, path).await, expect, "{path}");
    }
    assert_eq!(update(&over, "regions").await, Ok(()));
}

async fn a_service_account_rotates_its_token_without_a_gap(place: Place) {
    let world = World::start(&place).await;
    let root = As::token(&world, &world.token);
    root.account("ci").await;
    root.bind("viewer", Subject::ServiceAccount("ci".into()), None).await.unwrap();
    let first = root.account_token("ci", "").await.unwrap();
    let second = root.account_token("ci", "next").await.unwrap();
    assert_eq!(first.token.unwrap().name, "token-1");
    assert_eq!(code(root.account_token("ci", "third").await), Code::FailedPrecondition, "two at a time");
    let works = async |secret: &str| {
        As::token(&world, secret).roles().list_roles(v1::ListRolesRequest::default()).await.is_ok()
    };
    assert!(works(&first.secret).await && works(&second.secret).await);
    let shown = v1::GetServiceAccountRequest { service_account: "ci".into() };
    let shown = root.accounts().get_service_account(shown).await.unwrap().into_inner();
    assert!(shown.tokens.iter().all(|token| token.used_time.is_some()), "{shown:?}");
    let delete = v1::DeleteServiceAccountTokenRequest { service_account: "ci".into(), name: "token-1".into() };
    root.accounts().delete_service_account_token(delete.clone()).await.unwrap();
    root.accounts().delete_service_account_token(delete).await.unwrap();
    assert!(!works(&first.secret).await && works(&second.secret).await);
    let disabled = v1::ServiceAccount { name: "ci".into(), disabled: true, ..Default::default() };
    let request = v1::UpdateServiceAccountRequest { service_account: Some(disabled), update_mask: mask(&["disabled"]) };
    root.accounts().update_service_account(request).await.unwrap();
    assert!(!works(&second.secret).await, "a disabled account's tokens are refused");
    world.stop().await;
}

async fn the_last_administrator_stays(place: Place) {
    let world = World::start(&place).await;
    let root = As::token(&world, &world.token);
    let one = program(&world, "one", "admin", None).await;
    let list = async |who: &As, role: &str| {
        let request = v1::ListBindingsRequest { filter: format!("role={role}"), ..Default::default() };
        who.bindings().list_bindings(request).await.unwrap().into_inner().bindings
    };
    let own = list(&one, "admin").await.remove(0);
    let delete = |id: &str| v1::DeleteBindingRequest { binding: id.into(), etag: String::new() };
    assert_eq!(code(one.bindings().delete_binding(delete(&own.id)).await), Code::FailedPrecondition);
    let disabled = v1::ServiceAccount { name: "one".into(), disabled: true, ..Default::default() };
    let request = v1::UpdateServiceAccountRequest { service_account: Some(disabled), update_mask: mask(&["disabled"]) };
    assert_eq!(code(one.accounts().update_service_account(request).await), Code::FailedPrecondition);
    let gone = v1::DeleteServiceAccountRequest { service_account: "one".into(), etag: String::new() };
    assert_eq!(code(one.accounts().delete_service_account(gone).await), Code::FailedPrecondition);
    program(&world, "two", "admin", None).await;
    one.bindings().delete_binding(delete(&own.id)).await.unwrap();
    let other = list(&root, "admin").await.remove(0);
    root.bindings().delete_binding(delete(&other.id)).await.unwrap();
    assert!(list(&root, "admin").await.is_empty(), "the bootstrap administrator can sign in without a binding");
    world.stop().await;
}

async fn a_binding_ends_at_its_expiry_and_with_its_subject(place: Place) {
    let world = World::start(&place).await;
    let root = As::token(&world, &world.token);
    root.account("contractor").await;
    let binding = |expire_time| v1::Binding {
        role: "viewer".into(),
        subject: Some(Subject::ServiceAccount("contractor".into())),
        expire_time,
        ..Default::default()
    };
    let create = async |expire_time| {
        root.bindings().create_binding(v1::CreateBindingRequest { binding: Some(binding(expire_time)) }).await
    };
    let at = |seconds: i64| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        Some(prost_types::Timestamp { seconds: i64::try_from(now).unwrap() + seconds, nanos: 0 })
    };
    assert_eq!(violations(create(at(-60)).await), ["expire_time"]);
    create(at(2)).await.unwrap();
    let token = root.account_token("contractor", "").await.unwrap().secret;
    let works = async || As::token(&world, &token).roles().list_roles(v1::ListRolesRequest::default()).await.is_ok();
    assert!(works().await);
    let began = std::time::Instant::now();
    while works().await {
        assert!(began.elapsed().as_secs() < 30, "the binding does not end");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let gone = v1::DeleteServiceAccountRequest { service_account: "contractor".into(), etag: String::new() };
    root.accounts().delete_service_account(gone).await.unwrap();
    let left = root.bindings().list_bindings(v1::ListBindingsRequest::default()).await.unwrap().into_inner().bindings;
    assert!(left.is_empty(), "{left:?}");
    world.stop().await;
}
