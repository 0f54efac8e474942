//! Bindings, service accounts and sessions of the control plane that tests talk to.

use prost_types::Timestamp;
use tollgate_proto::admin::v1::*;
use tonic::{Request, Response, Status};

use super::{Plane, World, found, page};

impl World {
    fn role(&self, named: &str) -> Result<String, Status> {
        let role = self.roles.iter().find(|each| each.id == named || each.name == named);
        found("role", named, role.map(|each| each.name.clone()))
    }

    fn service_account(&self, named: &str) -> Result<String, Status> {
        let account = self.service_accounts.iter().find(|each| each.id == named || each.name == named);
        found("service-account", named, account.map(|each| each.id.clone()))
    }
}

#[tonic::async_trait]
impl binding_service_server::BindingService for Plane {
    async fn create_binding(&self, request: Request<CreateBindingRequest>) -> Result<Response<Binding>, Status> {
        let world = &mut *self.world();
        let mut binding = request.into_inner().binding.unwrap();
        binding.role = world.role(&binding.role)?;
        binding.subject = Some(match binding.subject.take().unwrap() {
            binding::Subject::User(user) => binding::Subject::User(world.user(&user)?),
            binding::Subject::ServiceAccount(account) => {
                binding::Subject::ServiceAccount(world.service_account(&account)?)
            }
            group => group,
        });
        binding.scope = match binding.scope.take() {
            Some(binding::Scope::Customer(customer)) => Some(binding::Scope::Customer(world.customer(&customer)?)),
            Some(binding::Scope::Team(team)) => Some(binding::Scope::Team(world.team(&team)?)),
            other => other,
        };
        let same = |held: &&Binding| {
            (&held.role, &held.subject, &held.scope) == (&binding.role, &binding.subject, &binding.scope)
        };
        if world.bindings.iter().any(|held| same(&held)) {
            return Err(Status::already_exists("the role is bound so already"));
        }
        (binding.id, binding.etag) = (world.next("binding"), world.next("etag"));
        world.bindings.push(binding.clone());
        Ok(Response::new(binding))
    }

    async fn get_binding(&self, request: Request<GetBindingRequest>) -> Result<Response<Binding>, Status> {
        let id = request.into_inner().binding;
        found("binding", &id, self.world().bindings.iter().find(|each| each.id == id).cloned()).map(Response::new)
    }

    async fn list_bindings(
        &self,
        request: Request<ListBindingsRequest>,
    ) -> Result<Response<ListBindingsResponse>, Status> {
        let request = request.into_inner();
        let keep = |binding: &Binding| match request.filter.strip_prefix("group=") {
            Some(group) => binding.subject == Some(binding::Subject::Group(group.to_owned())),
            None => true,
        };
        let (bindings, next_page_token) = page(&self.world().bindings, request.page_size, &request.page_token, keep);
        Ok(Response::new(ListBindingsResponse { bindings, next_page_token }))
    }

    async fn delete_binding(&self, request: Request<DeleteBindingRequest>) -> Result<Response<()>, Status> {
        let id = request.into_inner().binding;
        self.world().bindings.retain(|each| each.id != id);
        Ok(Response::new(()))
    }
}

impl Plane {
    fn account<T>(
        &self,
        named: &str,
        change: impl FnOnce(&mut World, &mut ServiceAccount) -> Result<T, Status>,
    ) -> Result<T, Status> {
        let world = &mut *self.world();
        let id = world.service_account(named)?;
        let at = world.service_accounts.iter().position(|each| each.id == id).unwrap();
        let mut account = world.service_accounts[at].clone();
        let outcome = change(world, &mut account)?;
        world.service_accounts[at] = account;
        Ok(outcome)
    }
}

#[tonic::async_trait]
impl service_account_service_server::ServiceAccountService for Plane {
    async fn create_service_account(
        &self,
        request: Request<CreateServiceAccountRequest>,
    ) -> Result<Response<ServiceAccount>, Status> {
        let world = &mut *self.world();
        let mut account = request.into_inner().service_account.unwrap();
        (account.id, account.etag) = (world.next("service-account"), world.next("etag"));
        world.service_accounts.push(account.clone());
        Ok(Response::new(account))
    }

    async fn get_service_account(
        &self,
        request: Request<GetServiceAccountRequest>,
    ) -> Result<Response<ServiceAccount>, Status> {
        self.account(&request.into_inner().service_account, |_, account| Ok(Response::new(account.clone())))
    }

    async fn list_service_accounts(
        &self,
        request: Request<ListServiceAccountsRequest>,
    ) -> Result<Response<ListServiceAccountsResponse>, Status> {
        let ListServiceAccountsRequest { page_size, page_token, filter: _ } = request.into_inner();
        let (service_accounts, next_page_token) =
            page(&self.world().service_accounts, page_size, &page_token, |_| true);
        Ok(Response::new(ListServiceAccountsResponse { service_accounts, next_page_token }))
    }

    async fn update_service_account(
        &self,
        request: Request<UpdateServiceAccountRequest>,
    ) -> Result<Response<ServiceAccount>, Status> {
        let UpdateServiceAccountRequest { service_account, update_mask } = request.into_inner();
        let wanted = service_account.unwrap();
        self.account(&wanted.id.clone(), |_, account| {
            for path in update_mask.unwrap().paths {
                match path.as_str() {
                    "name" => account.name = wanted.name.clone(),
                    "display_name" => account.display_name = wanted.display_name.clone(),
                    "disabled" => account.disabled = wanted.disabled,
                    other => return Err(Status::invalid_argument(format!("{other} cannot be changed"))),
                }
            }
            Ok(Response::new(account.clone()))
        })
    }

    async fn delete_service_account(
        &self,
        request: Request<DeleteServiceAccountRequest>,
    ) -> Result<Response<()>, Status> {
        let named = request.into_inner().service_account;
        self.world().service_accounts.retain(|each| each.id != named && each.name != named);
        Ok(Response::new(()))
    }

    async fn create_service_account_token(
        &self,
        request: Request<CreateServiceAccountTokenRequest>,
    ) -> Result<Response<ServiceAccountTokenSecret>, Status> {
        let CreateServiceAccountTokenRequest { service_account, name, life } = request.into_inner();
        self.account(&service_account, |world, account| {
            if account.tokens.len() == 2 {
                return Err(Status::failed_precondition("the account has two tokens: delete one"));
            }
            let name = if name.is_empty() { format!("token-{}", account.tokens.len() + 1) } else { name };
            let seconds = 1_772_366_400 + life.map_or(90 * 86_400, |life| life.seconds);
            let expire_time = Some(Timestamp { seconds, nanos: 0 });
            let token = ServiceAccountToken { name, expire_time, prefix: "tgs_0000".into(), ..Default::default() };
            account.tokens.push(token.clone());
            let (service_account, token) = (Some(account.clone()), Some(token));
            Ok(Response::new(ServiceAccountTokenSecret { service_account, token, secret: world.next("tgs_secret") }))
        })
    }

    async fn delete_service_account_token(
        &self,
        request: Request<DeleteServiceAccountTokenRequest>,
    ) -> Result<Response<ServiceAccount>, Status> {
        let DeleteServiceAccountTokenRequest { service_account, name } = request.into_inner();
        self.account(&service_account, |_, account| {
            account.tokens.retain(|token| token.name != name);
            Ok(Response::new(account.clone()))
        })
    }
}

#[tonic::async_trait]
impl session_service_server::SessionService for Plane {
    async fn list_sessions(&self, _: Request<ListSessionsRequest>) -> Result<Response<ListSessionsResponse>, Status> {
        let session =
            Session { id: "session-1".into(), user: "user-1".into(), kind: "browser".into(), ..Default::default() };
        Ok(Response::new(ListSessionsResponse { sessions: vec![session], next_page_token: String::new() }))
    }

    async fn revoke_session(&self, request: Request<RevokeSessionRequest>) -> Result<Response<Session>, Status> {
        let RevokeSessionRequest { session, reason } = request.into_inner();
        assert_eq!(reason, "lost");
        Ok(Response::new(Session { id: session, ended: true, ..Default::default() }))
    }

    async fn issue_token(&self, request: Request<IssueTokenRequest>) -> Result<Response<IssuedToken>, Status> {
        let world = &mut *self.world();
        world.issued += 1;
        let IssueTokenRequest { key, life } = request.into_inner();
        let seconds = 1_772_366_400 + life.map_or(3_600, |life| life.seconds);
        let expire_time = Some(Timestamp { seconds, nanos: 0 });
        let token = format!("tgt_{}", world.issued);
        Ok(Response::new(IssuedToken { token, expire_time, key, session: "session-1".into() }))
    }
}
