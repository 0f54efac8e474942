//! A control plane that keeps its objects in memory and speaks the wire. It knows the rules that the command line relies on:
//! ids and names, etags, masks, pages, and that a credential stays while a key names it.

mod access;
mod audit_log;
mod guardrails;
mod keys;
mod mcp;
mod quota;
mod routes;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::{net::TcpListener, task::JoinSet};
use tokio_stream::wrappers::TcpListenerStream;
use tollgate_proto::{
    admin::v1::{self, *},
    audit::v1 as audit,
    usage::v1 as usage,
};
use tonic::{
    Code, Request, Response, Status,
    transport::{Identity, Server, ServerTlsConfig},
};
use tonic_types::{ErrorDetails, StatusExt as _};

/// The token that it takes.
pub(super) const TOKEN: &str = "administrator-token";

/// A running control plane. Dropping it ends it.
pub(super) struct Fake {
    address: String,
    plane: Plane,
    _tasks: JoinSet<()>,
}

#[derive(Clone, Default)]
struct Plane(Arc<Mutex<World>>);

#[derive(Default)]
struct World {
    customers: Vec<Customer>,
    teams: Vec<Team>,
    users: Vec<User>,
    keys: Vec<Key>,
    providers: Vec<Provider>,
    routes: Vec<Route>,
    guardrails: Vec<Guardrail>,
    mcp_servers: Vec<McpServer>,
    mcp_tools: Vec<McpTool>,
    mcp_grants: Vec<McpGrant>,
    models: Vec<Model>,
    roles: Vec<Role>,
    bindings: Vec<Binding>,
    service_accounts: Vec<ServiceAccount>,
    /// How many short-lived credentials were given.
    issued: u64,
    literals: BTreeMap<String, String>,
    counter: u64,
    refused_key: Option<String>,
    /// What was spent of a budget.
    settled: BTreeMap<String, i64>,
    /// The corrections that were made under a name.
    corrections: BTreeSet<String>,
    /// The audit log.
    log: audit_log::Log,
    /// Whether what proxy-1 had borrowed was released.
    released: bool,
}

impl Fake {
    pub(super) async fn start() -> Self {
        Self::serve("http", Server::builder()).await
    }

    /// Speaks https with this certificate and key.
    pub(super) async fn start_secure(certificate: &str, key: &str) -> Self {
        let tls = ServerTlsConfig::new().identity(Identity::from_pem(certificate, key));
        Self::serve("https", Server::builder().tls_config(tls).unwrap()).await
    }

    async fn serve(scheme: &str, mut server: Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("{scheme}://{}", listener.local_addr().unwrap());
        let plane = Plane::default();
        let program = ["admin", "viewer", "developer", "team-lead"].map(|name| Role {
            id: name.to_owned(),
            name: name.to_owned(),
            system: true,
            ..Default::default()
        });
        plane.world().roles.extend(program);
        let router = server
            .add_service(customer_service_server::CustomerServiceServer::with_interceptor(plane.clone(), authorize))
            .add_service(team_service_server::TeamServiceServer::with_interceptor(plane.clone(), authorize))
            .add_service(user_service_server::UserServiceServer::with_interceptor(plane.clone(), authorize))
            .add_service(key_service_server::KeyServiceServer::with_interceptor(plane.clone(), authorize))
            .add_service(provider_service_server::ProviderServiceServer::with_interceptor(plane.clone(), authorize))
            .add_service(route_service_server::RouteServiceServer::with_interceptor(plane.clone(), authorize))
            .add_service(guardrail_service_server::GuardrailServiceServer::with_interceptor(plane.clone(), authorize))
            .add_service(mcp_service_server::McpServiceServer::with_interceptor(plane.clone(), authorize))
            .add_service(model_service_server::ModelServiceServer::with_interceptor(plane.clone(), authorize))
            .add_service(budget_service_server::BudgetServiceServer::with_interceptor(plane.clone(), authorize))
            .add_service(role_service_server::RoleServiceServer::with_interceptor(plane.clone(), authorize))
            .add_service(binding_service_server::BindingServiceServer::with_interceptor(plane.clone(), authorize))
            .add_service(service_account_service_server::ServiceAccountServiceServer::with_interceptor(
                plane.clone(),
                authorize,
            ))
            .add_service(session_service_server::SessionServiceServer::with_interceptor(plane.clone(), authorize))
            .add_service(replica_service_server::ReplicaServiceServer::with_interceptor(plane.clone(), authorize))
            .add_service(identity_service_server::IdentityServiceServer::with_interceptor(plane.clone(), authorize))
            .add_service(audit::audit_service_server::AuditServiceServer::with_interceptor(plane.clone(), authorize))
            .add_service(usage::usage_service_server::UsageServiceServer::with_interceptor(plane.clone(), authorize));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { router.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap() });
        Self { address, plane, _tasks: tasks }
    }

    pub(super) fn address(&self) -> String {
        self.address.clone()
    }

    /// Refuses to create the key of this name.
    pub(super) fn refuse_key(&self, name: &str) {
        self.plane.world().refused_key = Some(name.to_owned());
    }

    pub(super) fn seed_customers(&self, count: usize) {
        let customers = (0..count).map(|at| Customer {
            id: format!("customer-{at}"),
            name: format!("c{at}"),
            ..Default::default()
        });
        self.plane.world().customers.extend(customers);
    }
}

fn authorize(request: Request<()>) -> Result<Request<()>, Status> {
    match request.metadata().get("authorization") {
        Some(value) if value.as_bytes() == format!("Bearer {TOKEN}").as_bytes() => Ok(request),
        Some(value) if value.as_bytes().starts_with(b"Bearer tgu_access-") => Ok(request),
        _ => Err(Status::unauthenticated("a token is missing or not known")),
    }
}

impl Plane {
    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }
}

impl World {
    fn next(&mut self, noun: &str) -> String {
        self.counter += 1;
        format!("{noun}-{:026}", self.counter)
    }

    // As the control plane does: a reference is kept as an id.
    fn customer(&self, named: &str) -> Result<String, Status> {
        found(
            "customer",
            named,
            self.customers.iter().find(|each| each.id == named || each.name == named).map(|each| each.id.clone()),
        )
    }

    fn team(&self, named: &str) -> Result<String, Status> {
        found(
            "team",
            named,
            self.teams.iter().find(|each| each.id == named || each.name == named).map(|each| each.id.clone()),
        )
    }

    fn optional(&self, named: &str, find: fn(&Self, &str) -> Result<String, Status>) -> Result<String, Status> {
        if named.is_empty() { Ok(String::new()) } else { find(self, named) }
    }

    fn user(&self, named: &str) -> Result<String, Status> {
        found(
            "user",
            named,
            self.users.iter().find(|each| each.id == named || each.name == named).map(|each| each.id.clone()),
        )
    }

    fn provider(&self, named: &str) -> Result<String, Status> {
        found(
            "provider",
            named,
            self.providers.iter().find(|each| each.id == named || each.name == named).map(|each| each.id.clone()),
        )
    }

    fn credential(&self, named: &str) -> Result<String, Status> {
        let all =
            self.providers.iter().flat_map(|provider| provider.credentials.iter().map(move |each| (provider, each)));
        let mut all =
            all.filter(|(provider, each)| each.id == named || format!("{}/{}", provider.name, each.name) == named);
        found("credential", named, all.next().map(|found| found.1.id.clone()))
    }

    fn referred(&self, key: &mut Key) -> Result<(), Status> {
        key.user = self.optional(&key.user, Self::user)?;
        key.providers = key.providers.iter().map(|named| self.provider(named)).collect::<Result<_, _>>()?;
        key.credentials = key.credentials.iter().map(|named| self.credential(named)).collect::<Result<_, _>>()?;
        Ok(())
    }

    fn credentials(&mut self, given: Vec<Credential>, held: &[Credential]) -> Result<Vec<Credential>, Status> {
        let mut all = Vec::new();
        for mut credential in given {
            let old = held.iter().find(|each| each.name == credential.name);
            credential.id = old.map(|old| old.id.clone()).unwrap_or_else(|| self.next("credential"));
            let secret = std::mem::take(&mut credential.secret);
            match (secret.as_str(), old) {
                ("", Some(old)) => {
                    (credential.reference, credential.fingerprint) = (old.reference.clone(), old.fingerprint.clone())
                }
                ("", None) => return Err(Status::invalid_argument("a new credential needs a secret")),
                (reference, _) if reference.contains("://") => credential.reference = reference.to_owned(),
                (literal, _) => {
                    // A fingerprint is all that is said of it; this one tells two test secrets apart and hides both.
                    credential.fingerprint = format!(
                        "{:012x}",
                        literal.bytes().fold(7_u64, |sum, byte| sum * 31 % 0xffff_ffff + u64::from(byte))
                    );
                    self.literals.insert(credential.id.clone(), literal.to_owned());
                }
            }
            all.push(credential);
        }
        let gone = |held: &&Credential| !all.iter().any(|each: &Credential| each.id == held.id);
        if let Some(named) =
            held.iter().filter(gone).find(|held| self.keys.iter().any(|key| key.credentials.contains(&held.id)))
        {
            return Err(Status::failed_precondition(format!("a key names the credential {}", named.name)));
        }
        Ok(all)
    }
}

fn found<T>(noun: &str, named: &str, object: Option<T>) -> Result<T, Status> {
    object.ok_or_else(|| {
        Status::with_error_details(Code::NotFound, "not found", ErrorDetails::with_resource_info(noun, named, "", ""))
    })
}

fn page<T: Clone>(all: &[T], size: i32, token: &str, keep: impl Fn(&T) -> bool) -> (Vec<T>, String) {
    let kept: Vec<T> = all.iter().filter(|each| keep(each)).cloned().collect();
    let from: usize = token.parse().unwrap_or(0);
    let to = (from + usize::try_from(size).unwrap()).min(kept.len());
    let next = if to < kept.len() { to.to_string() } else { String::new() };
    (kept[from..to].to_vec(), next)
}

/// The shape that nouns share.
macro_rules! noun {
    ($service:path, $noun:literal, $type:ident, $field:ident, $all:ident,
     $create:ident $CreateRequest:ident, $get:ident $GetRequest:ident, $list:ident $ListRequest:ident $ListResponse:ident,
     $update:ident $UpdateRequest:ident, $delete:ident $DeleteRequest:ident,
     new $new:expr, changed [$($path:literal => $part:ident),*], settle $settle:expr) => {
        #[tonic::async_trait]
        impl $service for Plane {
            async fn $create(&self, request: Request<$CreateRequest>) -> Result<Response<$type>, Status> {
                let world = &mut *self.world();
                let mut object = request.into_inner().$field.unwrap();
                if world.$all.iter().any(|each| each.name == object.name) {
                    return Err(Status::already_exists(concat!("a ", $noun, " of this name exists")));
                }
                assert!(object.id.is_empty() && object.etag.is_empty());
                let new: fn(&mut World, &mut $type) -> Result<(), Status> = $new;
                new(world, &mut object)?;
                (object.id, object.etag) = (world.next($noun), world.next("etag"));
                world.$all.push(object.clone());
                Ok(Response::new(object))
            }

            async fn $get(&self, request: Request<$GetRequest>) -> Result<Response<$type>, Status> {
                let named = request.into_inner().$field;
                let object = self.world().$all.iter().find(|each| each.id == named || each.name == named).cloned();
                found($noun, &named, object).map(Response::new)
            }

            async fn $list(&self, request: Request<$ListRequest>) -> Result<Response<$ListResponse>, Status> {
                let request = request.into_inner();
                let ($all, next_page_token) = page(&self.world().$all, request.page_size, &request.page_token, |_| true);
                Ok(Response::new($ListResponse { $all, next_page_token }))
            }

            async fn $update(&self, request: Request<$UpdateRequest>) -> Result<Response<$type>, Status> {
                let world = &mut *self.world();
                let request = request.into_inner();
                let wanted = request.$field.unwrap();
                let held = world.$all.iter().find(|each| each.id == wanted.id).cloned();
                let held = found($noun, &wanted.id, held)?;
                if !wanted.etag.is_empty() && wanted.etag != held.etag {
                    return Err(Status::aborted("changed since it was read"));
                }
                let mut object = held.clone();
                let paths = request.update_mask.unwrap().paths;
                assert!(!paths.is_empty());
                for path in paths {
                    match path.as_str() {
                        $($path => object.$part = wanted.$part.clone(),)*
                        other => return Err(Status::invalid_argument(format!("{other} cannot be changed"))),
                    }
                }
                let settle: fn(&mut World, &mut $type, &$type) -> Result<(), Status> = $settle;
                settle(world, &mut object, &held)?;
                if object != held {
                    object.etag = world.next("etag");
                }
                let slot = world.$all.iter_mut().find(|each| each.id == held.id).unwrap();
                *slot = object.clone();
                Ok(Response::new(object))
            }

            async fn $delete(&self, request: Request<$DeleteRequest>) -> Result<Response<()>, Status> {
                let named = request.into_inner().$field;
                self.world().$all.retain(|each| each.id != named && each.name != named);
                Ok(Response::new(()))
            }
        }
    };
}

noun!(customer_service_server::CustomerService, "customer", Customer, customer, customers,
    create_customer CreateCustomerRequest, get_customer GetCustomerRequest, list_customers ListCustomersRequest ListCustomersResponse,
    update_customer UpdateCustomerRequest, delete_customer DeleteCustomerRequest,
    new |world, customer| world.budgets(&mut customer.budgets, &[]),
    changed ["name" => name, "display_name" => display_name, "disabled" => disabled,
        "budgets" => budgets, "limits" => limits, "session_limit" => session_limit],
    settle |world, customer, held| world.budgets(&mut customer.budgets, &held.budgets));

noun!(team_service_server::TeamService, "team", Team, team, teams,
create_team CreateTeamRequest, get_team GetTeamRequest, list_teams ListTeamsRequest ListTeamsResponse,
update_team UpdateTeamRequest, delete_team DeleteTeamRequest,
new |world, team| {
    team.customer = world.customer(&team.customer)?;
    team.providers = team.providers.iter().map(|named| world.provider(named)).collect::<Result<_, _>>()?;
    world.budgets(&mut team.budgets, &[])
},
changed ["name" => name, "display_name" => display_name, "disabled" => disabled,
    "budgets" => budgets, "limits" => limits, "session_limit" => session_limit, "self_service" => self_service,
    "providers" => providers, "regions" => regions],
settle |world, team, held| {
    team.providers = team.providers.iter().map(|named| world.provider(named)).collect::<Result<_, _>>()?;
    world.budgets(&mut team.budgets, &held.budgets)
});

noun!(role_service_server::RoleService, "role", Role, role, roles,
    create_role CreateRoleRequest, get_role GetRoleRequest, list_roles ListRolesRequest ListRolesResponse,
    update_role UpdateRoleRequest, delete_role DeleteRoleRequest,
    new |_, _| Ok(()),
    changed ["name" => name, "display_name" => display_name, "permissions" => permissions],
    settle |_, _, _| Ok(()));

noun!(user_service_server::UserService, "user", User, user, users,
create_user CreateUserRequest, get_user GetUserRequest, list_users ListUsersRequest ListUsersResponse,
update_user UpdateUserRequest, delete_user DeleteUserRequest,
new |world, user| { user.team = world.optional(&user.team, World::team)?; world.budgets(&mut user.budgets, &[]) },
changed ["name" => name, "email" => email, "display_name" => display_name, "team" => team, "disabled" => disabled,
    "budgets" => budgets, "limits" => limits, "session_limit" => session_limit],
settle |world, user, held| {
    user.team = world.optional(&user.team, World::team)?;
    world.budgets(&mut user.budgets, &held.budgets)
});

noun!(provider_service_server::ProviderService, "provider", Provider, provider, providers,
create_provider CreateProviderRequest, get_provider GetProviderRequest, list_providers ListProvidersRequest ListProvidersResponse,
update_provider UpdateProviderRequest, delete_provider DeleteProviderRequest,
new |world, provider| { provider.credentials = world.credentials(std::mem::take(&mut provider.credentials), &[])?; Ok(()) },
changed ["name" => name, "base_url" => base_url, "allow_private" => allow_private, "models" => models, "vendor" => vendor,
    "disabled" => disabled, "priority" => priority, "credentials" => credentials, "auth" => auth, "region" => region, "quirks" => quirks],
settle |world, provider, held| {
    if provider.credentials != held.credentials {
        provider.credentials = world.credentials(std::mem::take(&mut provider.credentials), &held.credentials)?;
    }
    Ok(())
});

#[tonic::async_trait]
impl model_service_server::ModelService for Plane {
    async fn get_model(&self, request: Request<GetModelRequest>) -> Result<Response<Model>, Status> {
        let id = request.into_inner().model;
        found("model", &id, self.world().models.iter().find(|model| model.id == id).cloned()).map(Response::new)
    }

    async fn list_models(&self, request: Request<ListModelsRequest>) -> Result<Response<ListModelsResponse>, Status> {
        let request = request.into_inner();
        let (models, next_page_token) = page(&self.world().models, request.page_size, &request.page_token, |_| true);
        Ok(Response::new(ListModelsResponse { models, next_page_token }))
    }

    async fn set_model(&self, request: Request<SetModelRequest>) -> Result<Response<Model>, Status> {
        let model = tollgate_policy::snapshot::Model::try_from(request.into_inner().model.unwrap()).unwrap();
        let row =
            tollgate_proto::convert::model::written(&model, "override", tollgate_policy::time::UnixMillis::default());
        let models = &mut self.world().models;
        models.retain(|each| each.id != row.id);
        models.push(row.clone());
        Ok(Response::new(row))
    }

    async fn reset_model(&self, request: Request<ResetModelRequest>) -> Result<Response<()>, Status> {
        let id = request.into_inner().model;
        self.world().models.retain(|model| model.id != id);
        Ok(Response::new(()))
    }
}

#[tonic::async_trait]
impl replica_service_server::ReplicaService for Plane {
    async fn list_replicas(&self, _: Request<ListReplicasRequest>) -> Result<Response<ListReplicasResponse>, Status> {
        let replicas = vec![Replica { name: "proxy-1".to_owned(), connected: true, ..Replica::default() }];
        Ok(Response::new(ListReplicasResponse { replicas, next_page_token: String::new() }))
    }

    async fn create_join_token(&self, _: Request<CreateJoinTokenRequest>) -> Result<Response<JoinToken>, Status> {
        Ok(Response::new(JoinToken { token: "join".to_owned(), expire_time: None }))
    }

    async fn drain_replica(&self, request: Request<DrainReplicaRequest>) -> Result<Response<Replica>, Status> {
        Ok(Response::new(Replica { draining: request.into_inner().drain, ..Replica::default() }))
    }

    async fn delete_replica(&self, _: Request<DeleteReplicaRequest>) -> Result<Response<()>, Status> {
        Ok(Response::new(()))
    }
}

#[tonic::async_trait]
impl identity_service_server::IdentityService for Plane {
    async fn who_am_i(&self, _: Request<WhoAmIRequest>) -> Result<Response<WhoAmIResponse>, Status> {
        let (principal, permissions) = ("administrator/bootstrap".to_owned(), vec!["*".to_owned()]);
        Ok(Response::new(WhoAmIResponse { principal, permissions, version: "1".to_owned() }))
    }

    async fn check(&self, _: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let warnings = vec!["look here".to_owned()];
        Ok(Response::new(CheckResponse { database: "sqlite".to_owned(), warnings, ..v1::CheckResponse::default() }))
    }
}

#[tonic::async_trait]
impl usage::usage_service_server::UsageService for Plane {
    async fn summarize(
        &self,
        _: Request<usage::SummarizeRequest>,
    ) -> Result<Response<usage::SummarizeResponse>, Status> {
        let tokens = usage::Tokens {
            input: 100,
            output: 20,
            cache_read: 30,
            cache_write_5m: 4,
            cache_write_1h: 5,
            web_searches: 0,
        };
        let row = usage::Summary {
            requests: 2,
            tokens: Some(tokens),
            cost_nano_usd: 10_500_000,
            ..usage::Summary::default()
        };
        Ok(Response::new(usage::SummarizeResponse { rows: vec![row] }))
    }

    async fn list_records(
        &self,
        _: Request<usage::ListRecordsRequest>,
    ) -> Result<Response<usage::ListRecordsResponse>, Status> {
        Ok(Response::new(usage::ListRecordsResponse::default()))
    }
}
