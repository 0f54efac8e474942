//! IdentityService: who the caller is, and whether the control plane is sound.

use tollgate_proto::admin::v1::{self, identity_service_server::IdentityService};
use tonic::{Request, Response, Status};

use super::{Admin, authorize::Authorized, failure::Failure};
use crate::clock;

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Replicas that refused a push are named up to this many; one cause usually makes all of them refuse.
const REFUSALS_SHOWN: i64 = 10;

#[tonic::async_trait]
impl IdentityService for Admin {
    async fn who_am_i(&self, request: Request<v1::WhoAmIRequest>) -> Result<Response<v1::WhoAmIResponse>, Status> {
        let (by, v1::WhoAmIRequest {}) = Authorized::take(request)?;
        Ok(Response::new(v1::WhoAmIResponse {
            principal: by.principal().to_owned(),
            permissions: permissions(&by),
            version: VERSION.to_owned(),
        }))
    }

    async fn check(&self, request: Request<v1::CheckRequest>) -> Result<Response<v1::CheckResponse>, Status> {
        let (_, v1::CheckRequest {}) = Authorized::take(request)?;
        Ok(Response::new(self.checked().await?))
    }
}

// What the caller holds somewhere: `*` for all of it everywhere.
fn permissions(by: &Authorized) -> Vec<String> {
    let mut held: Vec<String> =
        by.holder().grants(by.now()).flat_map(|grant| grant.permissions.iter().map(str::to_owned)).collect();
    held.sort_unstable();
    held.dedup();
    held
}

impl Admin {
    async fn checked(&self) -> Result<v1::CheckResponse, Failure> {
        let mut txn = self.store.begin_read().await?;
        let (_, revision) = txn.fleet().await?;
        let (connected, behind) = txn.replica_counts(clock::now_ms()).await?;
        let refusals = txn.replica_refusals(REFUSALS_SHOWN).await?;
        let idle = txn.idle_providers().await?;
        txn.end().await?;
        let mut warnings = self.fleet.warnings();
        if connected == 0 {
            warnings.push("No replica is connected: what is changed now reaches no proxy.".into());
        }
        if behind > 0 {
            warnings
                .push(format!("{behind} of {connected} connected replicas have not acknowledged revision {revision}."));
        }
        let refusal = |(name, reason)| {
            format!("Replica '{name}' refused the last push and keeps the policy before it: {reason}.")
        };
        warnings.extend(refusals.into_iter().map(refusal));
        warnings.extend(idle.into_iter().map(|name| format!("Provider '{name}' has no enabled credential.")));
        Ok(v1::CheckResponse {
            version: VERSION.to_owned(),
            database: self.store.kind().to_owned(),
            revision,
            replicas_connected: i32::try_from(connected).unwrap_or(i32::MAX),
            replicas_behind: i32::try_from(behind).unwrap_or(i32::MAX),
            warnings,
        })
    }
}
