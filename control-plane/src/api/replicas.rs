//! ReplicaService: what operators see and want of the fleet.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tollgate_policy::id::ReplicaId;
use tollgate_proto::admin::v1::{self, replica_service_server::ReplicaService};
use tonic::{Request, Response, Status};

use super::{authorize::Authorized, failure::Failure, filter::Filter, page::Page, violations::Violations, wire};
use crate::{
    authority::{Authority, AuthorityError, JOIN_TOKEN_LIFE},
    change::{Change, Done},
    clock,
    store::{
        Store, StoreError, Txn,
        replicas::{Replica, ReplicaFilter},
    },
};

/// Answers the ReplicaService.
#[derive(Debug)]
pub struct Replicas {
    store: Store,
    authority: Arc<Authority>,
}

impl Replicas {
    /// Over this database, with the authority that join tokens carry.
    #[must_use]
    pub const fn new(store: Store, authority: Arc<Authority>) -> Self {
        Self { store, authority }
    }
}

#[tonic::async_trait]
impl ReplicaService for Replicas {
    async fn list_replicas(
        &self,
        request: Request<v1::ListReplicasRequest>,
    ) -> Result<Response<v1::ListReplicasResponse>, Status> {
        let (_, message) = Authorized::take(request)?;
        Ok(Response::new(self.replica_list(message).await?))
    }

    async fn create_join_token(
        &self,
        request: Request<v1::CreateJoinTokenRequest>,
    ) -> Result<Response<v1::JoinToken>, Status> {
        let (by, message) = Authorized::take(request)?;
        Ok(Response::new(self.join_token_create(&by, &message).await?))
    }

    async fn drain_replica(&self, request: Request<v1::DrainReplicaRequest>) -> Result<Response<v1::Replica>, Status> {
        let (by, v1::DrainReplicaRequest { replica, drain }) = Authorized::take(request)?;
        Ok(Response::new(self.replica_drain(&by, &replica, drain).await?))
    }

    async fn delete_replica(&self, request: Request<v1::DeleteReplicaRequest>) -> Result<Response<()>, Status> {
        let (by, v1::DeleteReplicaRequest { replica }) = Authorized::take(request)?;
        self.replica_delete(&by, &replica).await?;
        Ok(Response::new(()))
    }
}

impl Replicas {
    async fn replica_list(&self, message: v1::ListReplicasRequest) -> Result<v1::ListReplicasResponse, Failure> {
        let v1::ListReplicasRequest { page_size, page_token, filter } = message;
        let mut violations = Violations::default();
        let page = Page::read("replicas", &filter, page_size, &page_token, &mut violations);
        let after = page.created_after(&mut violations);
        let mut terms = Filter::read(&filter, &["name", "region", "connected"], &mut violations);
        let now = clock::now_ms();
        let filter = ReplicaFilter {
            name: terms.text_match("name"),
            region: terms.text_match("region"),
            connected: terms.flag("connected", &mut violations).map(|connected| (connected, now)),
        };
        let filter = violations.finish(Some(filter))?;
        let mut txn = self.store.begin_read().await?;
        let (epoch, head) = txn.fleet().await?;
        let mut rows = txn.replica_list(&filter, after.as_ref(), page.limit()).await?;
        txn.end().await?;
        let next_page_token = page.cut(&mut rows, |row| format!("{}/{}", row.join_time, row.id));
        let replicas = rows.iter().map(|row| written(row, &epoch, head, now)).collect();
        Ok(v1::ListReplicasResponse { replicas, next_page_token })
    }

    async fn join_token_create(
        &self,
        by: &Authorized,
        message: &v1::CreateJoinTokenRequest,
    ) -> Result<v1::JoinToken, Failure> {
        let mut violations = Violations::default();
        let life = life(message.ttl.as_ref(), &mut violations);
        let life = violations.finish(life)?;
        let token = self.authority.join_token().map_err(|error| match error {
            AuthorityError::Seal(error) => Failure::Seal(error),
            other => Failure::Store(StoreError::corrupt("authority", other)),
        })?;
        let mut change = Change::begin(&self.store, by).await?;
        let expires = change.now + life;
        change.txn.join_token_insert(&token.hash, by.principal(), change.now, expires).await?;
        let after = Some(wire::fields([("expire_time_ms", json!(expires))]));
        change.finish(Done { target: "fleet", after, ..Done::default() }).await?;
        Ok(v1::JoinToken { token: token.text.to_string(), expire_time: Some(wire::timestamp(expires)) })
    }

    async fn replica_drain(&self, by: &Authorized, named: &str, drain: bool) -> Result<v1::Replica, Failure> {
        let mut change = Change::begin(&self.store, by).await?;
        let old = find(&mut change.txn, named).await?;
        let (epoch, head) = change.txn.fleet().await?;
        let now = change.now;
        if old.draining == drain {
            return Ok(written(&old, &epoch, head - 1, now));
        }
        change.txn.replica_drain(&old.id, drain).await?;
        let new = Replica { draining: drain, ..old.clone() };
        let fields = |replica: &Replica| Some(wire::fields([("draining", json!(replica.draining))]));
        let target = target(&new);
        let (before, after) = (fields(&old), fields(&new));
        change.finish(Done { target: &target, before, after, ..Done::default() }).await?;
        Ok(written(&new, &epoch, head, now))
    }

    async fn replica_delete(&self, by: &Authorized, named: &str) -> Result<(), Failure> {
        let mut change = Change::begin(&self.store, by).await?;
        let old = find(&mut change.txn, named).await?;
        change.txn.replica_delete(&old.id).await?;
        let before = Some(wire::fields([("name", json!(old.name.as_str())), ("region", json!(old.region))]));
        let target = target(&old);
        change.finish(Done { target: &target, before, ..Done::default() }).await?;
        Ok(())
    }
}

async fn find(txn: &mut Txn, named: &str) -> Result<Replica, Failure> {
    let missing = || Failure::NotFound { kind: ReplicaId::NOUN, name: wire::shown(named) };
    txn.replica_find(named).await?.ok_or_else(missing)
}

fn target(replica: &Replica) -> String {
    format!("{}/{}", ReplicaId::NOUN, replica.id)
}

// In milliseconds.
fn life(ttl: Option<&prost_types::Duration>, violations: &mut Violations) -> Option<i64> {
    let longest = i64::try_from(JOIN_TOKEN_LIFE.as_millis()).unwrap_or(i64::MAX);
    let Some(ttl) = ttl else { return Some(longest) };
    let millis = Duration::try_from(*ttl).ok().and_then(|ttl| i64::try_from(ttl.as_millis()).ok());
    let millis = millis.filter(|millis| (1_000..=longest).contains(millis));
    violations.take("ttl", millis.ok_or("must be between 1 second and 10 minutes"))
}

fn written(replica: &Replica, epoch: &str, head: i64, now: i64) -> v1::Replica {
    let Replica {
        id,
        name,
        region,
        version,
        incarnation,
        join_time,
        draining,
        stream: _,
        seen_time,
        acked_epoch: _,
        acked_revision: _,
        apply_us: _,
        behind_since,
        nack_reason,
    } = replica;
    let acknowledged_revision = replica.acknowledged(epoch);
    let behind = acknowledged_revision < head && *behind_since > 0;
    let lag = if behind { u64::try_from(now - behind_since).unwrap_or_default() } else { 0 };
    v1::Replica {
        id: id.to_string(),
        name: name.to_string(),
        region: region.clone(),
        version: version.clone(),
        connected: replica.is_connected(now),
        acknowledged_revision,
        head_revision: head,
        lag: prost_types::Duration::try_from(Duration::from_millis(lag)).ok(),
        last_nack: nack_reason.clone(),
        last_seen_time: (*seen_time > 0).then(|| wire::timestamp(*seen_time)),
        join_time: Some(wire::timestamp(*join_time)),
        incarnation: *incarnation,
        draining: *draining,
    }
}
