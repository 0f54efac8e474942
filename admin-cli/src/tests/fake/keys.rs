//! The keys of the control plane that tests talk to.

use tollgate_proto::admin::v1::*;
use tonic::{Request, Response, Status};

use super::{Plane, World, found, page};

impl Plane {
    fn key<T>(&self, named: &str, change: impl FnOnce(&mut World, &mut Key) -> Result<T, Status>) -> Result<T, Status> {
        let world = &mut *self.world();
        let at = found("key", named, world.keys.iter().position(|key| key.id == named || key.name == named))?;
        let held = world.keys[at].clone();
        let mut key = held.clone();
        let outcome = change(world, &mut key)?;
        if key != held {
            key.etag = world.next("etag");
        }
        world.keys[at] = key;
        Ok(outcome)
    }
}

#[tonic::async_trait]
impl key_service_server::KeyService for Plane {
    async fn create_key(&self, request: Request<CreateKeyRequest>) -> Result<Response<KeySecret>, Status> {
        let world = &mut *self.world();
        let mut key = request.into_inner().key.unwrap();
        if world.refused_key.as_ref() == Some(&key.name) {
            return Err(Status::internal("the database failed"));
        }
        key.team = world.team(&key.team)?;
        world.referred(&mut key)?;
        world.budgets(&mut key.budgets, &[])?;
        (key.id, key.etag, key.state) = (world.next("key"), world.next("etag"), KeyState::Active.into());
        world.keys.push(key.clone());
        Ok(Response::new(KeySecret { secret: world.next("tg_live"), key: Some(key) }))
    }

    async fn get_key(&self, request: Request<GetKeyRequest>) -> Result<Response<Key>, Status> {
        self.key(&request.into_inner().key, |_, key| Ok(Response::new(key.clone())))
    }

    async fn list_keys(&self, request: Request<ListKeysRequest>) -> Result<Response<ListKeysResponse>, Status> {
        let request = request.into_inner();
        let revoked = request.filter.contains("state=revoked");
        let keep = |key: &Key| !revoked || key.state() == KeyState::Revoked;
        let (keys, next_page_token) = page(&self.world().keys, request.page_size, &request.page_token, keep);
        Ok(Response::new(ListKeysResponse { keys, next_page_token }))
    }

    async fn update_key(&self, request: Request<UpdateKeyRequest>) -> Result<Response<Key>, Status> {
        let request = request.into_inner();
        let wanted = request.key.unwrap();
        let paths = request.update_mask.unwrap().paths;
        assert!(!paths.is_empty());
        self.key(&wanted.id.clone(), |world, key| {
            if !wanted.etag.is_empty() && wanted.etag != key.etag {
                return Err(Status::aborted("changed since it was read"));
            }
            let mut wanted = wanted;
            world.referred(&mut wanted)?;
            world.budgets(&mut wanted.budgets, &key.budgets)?;
            for path in &paths {
                match path.as_str() {
                    "name" => key.name = wanted.name.clone(),
                    "display_name" => key.display_name = wanted.display_name.clone(),
                    "user" => key.user = wanted.user.clone(),
                    "expire_time" => key.expire_time = wanted.expire_time,
                    "models" => key.models = wanted.models.clone(),
                    "providers" => key.providers = wanted.providers.clone(),
                    "credentials" => key.credentials = wanted.credentials.clone(),
                    "regions" => key.regions = wanted.regions.clone(),
                    "tools" => key.tools = wanted.tools.clone(),
                    "tool_rules" => key.tool_rules = wanted.tool_rules.clone(),
                    "tags" => key.tags = wanted.tags.clone(),
                    "budgets" => key.budgets = wanted.budgets.clone(),
                    "limits" => key.limits = wanted.limits.clone(),
                    "audit" => key.audit = wanted.audit,
                    "session_limit" => key.session_limit = wanted.session_limit,
                    other => return Err(Status::invalid_argument(format!("{other} cannot be changed"))),
                }
            }
            Ok(Response::new(key.clone()))
        })
    }

    async fn delete_key(&self, request: Request<DeleteKeyRequest>) -> Result<Response<()>, Status> {
        let named = request.into_inner().key;
        self.world().keys.retain(|key| key.id != named && key.name != named);
        Ok(Response::new(()))
    }

    async fn rotate_key(&self, request: Request<RotateKeyRequest>) -> Result<Response<KeySecret>, Status> {
        self.key(&request.into_inner().key, |world, key| {
            Ok(Response::new(KeySecret { secret: world.next("tg_live"), key: Some(key.clone()) }))
        })
    }

    async fn revoke_key(&self, request: Request<RevokeKeyRequest>) -> Result<Response<Key>, Status> {
        self.key(&request.into_inner().key, |_, key| {
            key.set_state(KeyState::Revoked);
            Ok(Response::new(key.clone()))
        })
    }

    async fn enable_key(&self, request: Request<EnableKeyRequest>) -> Result<Response<Key>, Status> {
        self.key(&request.into_inner().key, |_, key| {
            key.set_state(KeyState::Active);
            Ok(Response::new(key.clone()))
        })
    }
}
