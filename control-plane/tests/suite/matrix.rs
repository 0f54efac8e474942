//! Every role on every call, at every place: the table under review, and that the control plane does what it says.
//!
//! The table is `control-plane/tests/roles.txt`. `TOLLGATE_WRITE_TABLE=1` writes it anew.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use prost::Message;
use tollgate_control_plane::{
    keys::Minter,
    oidc::Issuers,
    sessions::{Beginning, Sessions, fresh_id},
    store::{
        mcp::grants::{McpGrant, tokens_place},
        sessions::SessionKind,
    },
};
use tollgate_policy::{
    id::{CustomerId, McpServerId, TeamId, UserId},
    rbac::{Grant, Holder, Place as Where, Scope, SystemRole},
    time::UnixMillis,
};
use tollgate_proto::{
    admin::v1::{self, binding::Scope as WireScope, binding::Subject},
    permission::{self, Row},
    usage::v1 as usage_v1,
};
use tonic::{Code, Request, Status, client::Grpc, codegen::http::uri::PathAndQuery};
use tonic_types::StatusExt as _;

use crate::{
    roles::{As, program},
    usage,
    world::{Place, World, keyring, over_both},
};

over_both! {
    each_role_may_do_what_the_table_says_and_nothing_else
}

const NOW: UnixMillis = UnixMillis::new(1);

/// Where an object is, seen by the caller: their own, another user's in their team, another team's, another customer's.
const PLACES: [&str; 4] = ["own", "team", "customer", "other"];

/// A role in a scope, as a column of the table.
struct Column {
    is_person: bool,
    title: &'static str,
    holder: Holder,
    caller: As,
}

/// What there is at one place.
#[derive(Default)]
struct Objects {
    customer: String,
    team: String,
    user: String,
    key: String,
    budget: String,
    binding: String,
    session: String,
    grant: String,
}

impl Objects {
    // Where an object of a noun is.
    fn place(&self, noun: &str) -> Where {
        let customer = Some(CustomerId::parse(&self.customer).unwrap());
        let team = Some(TeamId::parse(&self.team).unwrap());
        let user = Some(UserId::parse(&self.user).unwrap());
        match noun {
            "customer" => Where { customer, ..Where::default() },
            "team" => Where { customer, team, user: None },
            "role" => Where::default(),
            _ => Where { customer, team, user },
        }
    }
}

async fn each_role_may_do_what_the_table_says_and_nothing_else(place: Place) {
    let world = World::start(&place).await;
    let objects = objects(&world).await;
    let columns = columns(&world, &objects).await;
    let table = table(&columns, &objects);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/roles.txt");
    if asked_to_write() {
        std::fs::write(path, &table).unwrap();
    }
    let reviewed = std::fs::read_to_string(path).unwrap();
    assert!(
        table == reviewed,
        "the roles differ from {path}: review the change, then set TOLLGATE_WRITE_TABLE=1:\n{table}"
    );
    let mut asked = 0;
    for row in permission::table() {
        for column in &columns {
            let expected = cells(column, row, &objects);
            let mut seen = String::new();
            for (at, objects) in objects.iter().enumerate().take(expected.len()) {
                let (bytes, wanted) = probe(row.path, objects);
                let answer = call(&column.caller, row.path, bytes).await;
                seen.push(if is_done(&answer, &wanted) { letter(at, expected.len()) } else { '.' });
                asked += 1;
            }
            assert_eq!(seen, expected, "{} on {} ({}; {})", column.title, row.path, row.permission, PLACES.join(" "));
        }
    }
    println!("{asked} calls as {} roles", columns.len());
    world.stop().await;
}

#[expect(clippy::disallowed_methods, reason = "a test has no configuration of its own")]
fn asked_to_write() -> bool {
    std::env::var("TOLLGATE_WRITE_TABLE").is_ok()
}

// What the pure decision says, one letter a place: o(wn), t(eam), c(ustomer), x for another customer; `-` for a call that
// concerns no place.
fn cells(column: &Column, row: &Row, objects: &[Objects]) -> String {
    let held = |place: &Where| column.holder.holds(NOW, row.permission, place);
    if row.permission == permission::PUBLIC {
        return "-".into();
    }
    if !row.owned || row.permission.starts_with("model.") {
        let held = match row.owned {
            true => column.holder.holds_somewhere(NOW, row.permission),
            false => column.holder.holds_everywhere(NOW, row.permission),
        };
        return if held { "-".into() } else { ".".into() };
    }
    if row.path.ends_with("/IssueToken") && !column.is_person {
        return "....".into();
    }
    let noun = noun(row);
    let cell = |(at, objects): (usize, &Objects)| if held(&objects.place(noun)) { letter(at, 4) } else { '.' };
    objects.iter().enumerate().map(cell).collect()
}

// The noun that decides where a call is: a new object is where it will belong.
fn noun(row: &Row) -> &'static str {
    match row.path.rsplit('/').next().unwrap() {
        "CreateTeam" => "customer",
        "CreateUser" | "CreateBinding" => "team",
        method if method.contains("Customer") => "customer",
        method if method.contains("Team") => "team",
        "IssueToken" => "session",
        _ => "key",
    }
}

fn letter(at: usize, places: usize) -> char {
    if places == 1 { '-' } else { ['o', 't', 'c', 'x'][at] }
}

fn table(columns: &[Column], objects: &[Objects]) -> String {
    let mut text = String::from(
        "# What each role may do. o: what is one's own; t: of one's team; c: of one's customer; x: of another customer; -: a call\n\
         # that concerns no place; a dot: refused. Written by the tests, and asserted by them, call by call.\n\n",
    );
    let titles: Vec<_> = columns.iter().map(|column| column.title).collect();
    writeln!(text, "{:<62}{:<26}{}", "call", "permission", titles.join("  ")).unwrap();
    for row in permission::table() {
        let cells = columns.iter().map(|column| format!("{:<1$}", cells(column, row, objects), column.title.len()));
        let cells = cells.collect::<Vec<_>>().join("  ");
        let path = row.path.strip_prefix("/tollgate.").unwrap();
        writeln!(text, "{}", format!("{path:<62}{:<26}{cells}", row.permission).trim_end()).unwrap();
    }
    text
}

async fn objects(world: &World) -> Vec<Objects> {
    let root = As::token(world, &world.token);
    let mut all = Vec::new();
    let granted = crate::mcp::server("granted");
    let granted = crate::mcp::made(world, v1::McpServer { auth: "per_user".into(), ..granted }).await;
    for customer in ["acme", "foreign"] {
        world.customer(customer).await;
    }
    for (team, customer) in [("platform", "acme"), ("billing", "acme"), ("away", "foreign")] {
        world.team(team, customer).await;
    }
    let allowed = v1::SelfService { keys_max: 100, ..Default::default() };
    let team = v1::Team { name: "platform".into(), self_service: Some(allowed), ..Default::default() };
    let request = v1::UpdateTeamRequest { team: Some(team), update_mask: crate::world::mask(&["self_service"]) };
    world.teams().update_team(request).await.unwrap();
    for (place, team) in PLACES.into_iter().zip(["platform", "platform", "billing", "away"]) {
        let user = v1::User { name: format!("user-{place}"), team: team.into(), ..Default::default() };
        let user = world.users().create_user(v1::CreateUserRequest { user: Some(user) }).await.unwrap().into_inner();
        let budget = v1::Budget { limit_nano_usd: 1_000_000, window: "1d".into(), ..Default::default() };
        let key = v1::Key {
            name: format!("key-{place}"),
            team: team.into(),
            user: user.id.clone(),
            budgets: vec![budget],
            ..Default::default()
        };
        let key = world.key(key).await.unwrap().key.unwrap();
        let request = v1::GetTeamRequest { team: team.into() };
        let team = world.teams().get_team(request).await.unwrap().into_inner();
        let (subject, scope) = match place {
            "own" => (Subject::User(user.id.clone()), WireScope::Own(true)),
            _ => (Subject::Group(format!("group-{place}")), WireScope::Team(team.id.clone())),
        };
        let binding = root.bind("developer", subject, Some(scope)).await.unwrap();
        let (session, _) = session(world, &user.id).await;
        let grant = grant(world, &granted.id, &user.id).await;
        all.push(Objects {
            customer: team.customer,
            team: team.id,
            user: user.id,
            budget: key.budgets[0].id.clone(),
            key: key.id,
            binding: binding.id,
            session,
            grant,
        });
    }
    let records = all.iter().enumerate().map(|(at, objects)| usage_v1::Record {
        key: objects.key.clone(),
        team: objects.team.clone(),
        customer: objects.customer.clone(),
        user: objects.user.clone(),
        ..usage::record(1, i64::try_from(at).unwrap() + 1)
    });
    usage::report(&world.store, &usage::replica(1), 1, records.collect()).await.unwrap();
    all
}

async fn grant(world: &World, server: &str, user: &str) -> String {
    let (server, user) = (McpServerId::parse(server).unwrap(), UserId::parse(user).unwrap());
    let grant = McpGrant::permitted(&server, &user, 1);
    let sealed = keyring().seal(tokens_place(&grant.id), br#"{"access":"a","refresh":null}"#).unwrap();
    let mut txn = world.store.begin().await.unwrap();
    txn.mcp_grant_insert(&grant, &sealed).await.unwrap();
    txn.commit().await.unwrap();
    grant.id
}

pub(crate) async fn session(world: &World, user: &str) -> (String, String) {
    let keyring = keyring();
    let minter = Arc::new(Minter::open(&world.store, &keyring, "live").await.unwrap());
    let issuers = Arc::new(Issuers::open(&[], &world.store).unwrap());
    let sessions = Sessions::new(&world.store, &keyring, &minter, &issuers, Duration::from_secs(3_600));
    let (id, user) = (fresh_id(), UserId::parse(user).unwrap());
    let mut txn = world.store.begin().await.unwrap();
    let beginning = Beginning {
        id: &id,
        user: &user,
        issuer: "https://idp.example.com",
        kind: SessionKind::CommandLine,
        checked_time: i64::MAX / 2,
        source_address: "",
        user_agent: "",
    };
    let tokens = sessions.begin(&mut txn, beginning).await.unwrap();
    txn.commit().await.unwrap();
    (id, tokens.access.to_string())
}

async fn columns(world: &World, objects: &[Objects]) -> Vec<Column> {
    let (customer, team) = (objects[0].customer.clone(), objects[0].team.clone());
    let (_, token) = session(world, &objects[0].user).await;
    let in_customer = || Scope::Customer(CustomerId::parse(&customer).unwrap());
    let in_team = || Scope::Team(TeamId::parse(&team).unwrap());
    let holder = |role: &str, scope: Scope, user: Option<&str>| {
        let permissions = SystemRole::named(role).unwrap().permissions();
        let grant = Grant { role: role.into(), permissions, scope, expires: None };
        Holder::new(user.map(|user| UserId::parse(user).unwrap()), vec![grant])
    };
    let wire = |scope: &Scope| match scope {
        Scope::Everything | Scope::Own => None,
        Scope::Customer(customer) => Some(WireScope::Customer(customer.to_string())),
        Scope::Team(team) => Some(WireScope::Team(team.to_string())),
    };
    let mut columns = Vec::new();
    for (title, role, scope) in [
        ("admin", "admin", Scope::Everything),
        ("admin@customer", "admin", in_customer()),
        ("admin@team", "admin", in_team()),
        ("viewer", "viewer", Scope::Everything),
        ("viewer@customer", "viewer", in_customer()),
        ("team-lead@team", "team-lead", in_team()),
    ] {
        let caller = program(world, &title.replace('@', "-"), role, wire(&scope)).await;
        columns.push(Column { is_person: false, title, holder: holder(role, scope, None), caller });
    }
    let holder = holder("developer", Scope::Own, Some(&objects[0].user));
    columns.push(Column { is_person: true, title: "developer@own", holder, caller: As::token(world, &token) });
    columns.push(Column { is_person: true, title: "nobody", holder: Holder::default(), caller: nobody(world).await });
    columns
}

// Somebody who is signed in and holds nothing.
async fn nobody(world: &World) -> As {
    let user = world.user("nobody").await;
    As::token(world, &session(world, &user.id).await.1)
}

/// How an answer tells that a call was done.
enum Wanted {
    /// It was not refused for want of a permission.
    Permitted,
    /// The object was found.
    Found,
    /// The page has the object.
    Listed(String),
    /// None of these fields was refused: the object may be where it was asked to be.
    Placed(&'static [&'static str]),
}

// A request that shows whether the caller may do it, and changes nothing that the others look at.
fn probe(path: &str, at: &Objects) -> (Vec<u8>, Wanted) {
    let fresh = |path: &str| crate::world::mask(&[path]);
    let stale = || "r0".to_owned();
    let method = path.rsplit('/').next().unwrap();
    let (customer, team, user, key) = (at.customer.clone(), at.team.clone(), at.user.clone(), at.key.clone());
    match method {
        "GetCustomer" => (v1::GetCustomerRequest { customer }.encode_to_vec(), Wanted::Found),
        "ListCustomers" => (Vec::new(), Wanted::Listed(customer)),
        "UpdateCustomer" => {
            let customer = v1::Customer { id: customer, etag: stale(), ..Default::default() };
            let request = v1::UpdateCustomerRequest { customer: Some(customer), update_mask: fresh("display_name") };
            (request.encode_to_vec(), Wanted::Found)
        }
        "CreateTeam" => {
            let team = v1::Team { customer, ..Default::default() };
            (v1::CreateTeamRequest { team: Some(team) }.encode_to_vec(), Wanted::Placed(&["customer"]))
        }
        "GetTeam" => (v1::GetTeamRequest { team }.encode_to_vec(), Wanted::Found),
        "ListTeams" => (Vec::new(), Wanted::Listed(team)),
        "UpdateTeam" => {
            let team = v1::Team { id: team, etag: stale(), ..Default::default() };
            let request = v1::UpdateTeamRequest { team: Some(team), update_mask: fresh("display_name") };
            (request.encode_to_vec(), Wanted::Found)
        }
        "DeleteTeam" => (v1::DeleteTeamRequest { team, etag: stale() }.encode_to_vec(), Wanted::Found),
        "CreateUser" => {
            let user = v1::User { team, ..Default::default() };
            (v1::CreateUserRequest { user: Some(user) }.encode_to_vec(), Wanted::Placed(&["team"]))
        }
        "GetUser" => (v1::GetUserRequest { user }.encode_to_vec(), Wanted::Found),
        "ListUsers" => (Vec::new(), Wanted::Listed(user)),
        "UpdateUser" => {
            let user = v1::User { id: user, etag: stale(), ..Default::default() };
            let request = v1::UpdateUserRequest { user: Some(user), update_mask: fresh("display_name") };
            (request.encode_to_vec(), Wanted::Found)
        }
        "DeleteUser" => (v1::DeleteUserRequest { user, etag: stale() }.encode_to_vec(), Wanted::Found),
        "CreateKey" => {
            let key = v1::Key { team, user, ..Default::default() };
            (v1::CreateKeyRequest { key: Some(key) }.encode_to_vec(), Wanted::Placed(&["team", "user"]))
        }
        "GetKey" => (v1::GetKeyRequest { key }.encode_to_vec(), Wanted::Found),
        "ListKeys" => (Vec::new(), Wanted::Listed(key)),
        "UpdateKey" => {
            let key = v1::Key { id: key, etag: stale(), ..Default::default() };
            let request = v1::UpdateKeyRequest { key: Some(key), update_mask: fresh("display_name") };
            (request.encode_to_vec(), Wanted::Found)
        }
        "DeleteKey" => (v1::DeleteKeyRequest { key, etag: stale() }.encode_to_vec(), Wanted::Found),
        "RotateKey" => (v1::RotateKeyRequest { key }.encode_to_vec(), Wanted::Found),
        "RevokeKey" => (v1::RevokeKeyRequest { key, reason: String::new() }.encode_to_vec(), Wanted::Found),
        "EnableKey" => (v1::EnableKeyRequest { key }.encode_to_vec(), Wanted::Found),
        "GetBudget" => (v1::GetBudgetRequest { budget: at.budget.clone() }.encode_to_vec(), Wanted::Found),
        "ListBudgets" => (Vec::new(), Wanted::Listed(at.budget.clone())),
        "Summarize" => {
            let by = usage_v1::Dimension::Key.into();
            (usage_v1::SummarizeRequest { by, ..Default::default() }.encode_to_vec(), Wanted::Listed(key))
        }
        "ListRecords" => (Vec::new(), Wanted::Listed(key)),
        "CreateBinding" => {
            let binding = v1::Binding {
                subject: Some(Subject::Group("somebody".into())),
                scope: Some(WireScope::Team(team)),
                ..Default::default()
            };
            (v1::CreateBindingRequest { binding: Some(binding) }.encode_to_vec(), Wanted::Placed(&["team"]))
        }
        "GetBinding" => (v1::GetBindingRequest { binding: at.binding.clone() }.encode_to_vec(), Wanted::Found),
        "ListBindings" => (Vec::new(), Wanted::Listed(at.binding.clone())),
        "DeleteBinding" => {
            let request = v1::DeleteBindingRequest { binding: at.binding.clone(), etag: stale() };
            (request.encode_to_vec(), Wanted::Found)
        }
        "ListSessions" => (Vec::new(), Wanted::Listed(at.session.clone())),
        "RevokeSession" => {
            let request = v1::RevokeSessionRequest { session: at.session.clone(), reason: String::new() };
            (request.encode_to_vec(), Wanted::Found)
        }
        "ListMcpGrants" => (Vec::new(), Wanted::Listed(at.grant.clone())),
        // To end what has ended changes nothing.
        "RevokeMcpGrant" => {
            let request = v1::RevokeMcpGrantRequest { mcp_server: "granted".into(), user, reason: String::new() };
            (request.encode_to_vec(), Wanted::Found)
        }
        "IssueToken" => (v1::IssueTokenRequest { key, life: None }.encode_to_vec(), Wanted::Found),
        _ => (Vec::new(), Wanted::Permitted),
    }
}

// Whether the caller was let do it. What else is wrong with a request does not matter.
fn is_done(answer: &Result<Vec<u8>, Status>, wanted: &Wanted) -> bool {
    let code = answer.as_ref().err().map(Status::code);
    assert!(!matches!(code, Some(Code::Unauthenticated | Code::Internal | Code::Unavailable)), "{answer:?}");
    if code == Some(Code::PermissionDenied) {
        return false;
    }
    match wanted {
        Wanted::Permitted => true,
        Wanted::Found => code != Some(Code::NotFound),
        Wanted::Listed(id) => {
            answer.as_ref().is_ok_and(|bytes| bytes.windows(id.len()).any(|window| window == id.as_bytes()))
        }
        Wanted::Placed(fields) => {
            let details = answer.as_ref().err().map(|status| status.get_error_details());
            let refused = details.and_then(|details| details.bad_request().cloned()).map(|bad| bad.field_violations);
            refused.unwrap_or_default().iter().all(|violation| !fields.contains(&violation.field.as_str()))
        }
    }
}

async fn call(caller: &As, path: &'static str, bytes: Vec<u8>) -> Result<Vec<u8>, Status> {
    let mut grpc = Grpc::new(caller.service());
    grpc.ready().await.unwrap();
    let answer = grpc.unary(Request::new(bytes), PathAndQuery::from_static(path), crate::world::Raw).await?;
    Ok(answer.into_inner())
}
