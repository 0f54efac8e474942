//! AuditService: reading the log, proving it, and taking away from it.
//!
//! Reading order: here, export, proofs and keys; [`list`], which entries; [`retention`], erasure and holds.

use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use tollgate_proto::audit::v1::{self, audit_service_server::AuditService};
use tonic::{Request, Response, Status};

use super::{Admin, authorize::Authorized, failure::Failure};
use crate::{
    audit::{
        self, checkpoints,
        export::{self, Export, ExportError},
    },
    clock,
};

mod list;
mod retention;

#[tonic::async_trait]
impl AuditService for Admin {
    async fn list_entries(
        &self,
        request: Request<v1::ListEntriesRequest>,
    ) -> Result<Response<v1::ListEntriesResponse>, Status> {
        let (_, message) = Authorized::take(request)?;
        Ok(Response::new(self.audit_list(message).await?))
    }

    type ExportEntriesStream = BoxStream<'static, Result<v1::ExportEntriesResponse, Status>>;

    async fn export_entries(
        &self,
        request: Request<v1::ExportEntriesRequest>,
    ) -> Result<Response<Self::ExportEntriesStream>, Status> {
        let (_, v1::ExportEntriesRequest { from_index }) = Authorized::take(request)?;
        let (export, head) = Export::begin(&self.store, from_index.max(1)).await.map_err(refused)?;
        // A page is read when the one before was taken: a slow reader holds nothing.
        let pages = stream::try_unfold(export, async |mut export| {
            let lines = export.page().await.map_err(refused)?;
            Ok((!lines.is_empty()).then_some((v1::ExportEntriesResponse { lines }, export)))
        });
        let head = stream::once(std::future::ready(Ok(v1::ExportEntriesResponse { lines: head })));
        Ok(Response::new(head.chain(pages).boxed()))
    }

    async fn prove_entry(
        &self,
        request: Request<v1::ProveEntryRequest>,
    ) -> Result<Response<v1::ProveEntryResponse>, Status> {
        let (_, v1::ProveEntryRequest { index }) = Authorized::take(request)?;
        let export::Proof { line, path, end } = export::prove(&self.store, index).await.map_err(refused)?;
        let path = path.into_iter().map(Into::into).collect();
        let (checkpoint, public_key) = (end.note.to_string(), end.public_key.to_vec());
        Ok(Response::new(v1::ProveEntryResponse { line, path, checkpoint, public_key }))
    }

    async fn sign_checkpoint(
        &self,
        request: Request<v1::SignCheckpointRequest>,
    ) -> Result<Response<v1::SignCheckpointResponse>, Status> {
        let (_, v1::SignCheckpointRequest {}) = Authorized::take(request)?;
        let mut txn = self.store.begin().await.map_err(Failure::from)?;
        let signed = checkpoints::sign(&mut txn, clock::now_ms()).await.map_err(Failure::from)?;
        txn.commit().await.map_err(Failure::from)?;
        let signed = signed.ok_or_else(|| refused(ExportError::Empty))?;
        let (checkpoint, public_key) = (signed.note.to_string(), signed.public_key.to_vec());
        Ok(Response::new(v1::SignCheckpointResponse { checkpoint, public_key }))
    }

    async fn rotate_key(
        &self,
        request: Request<v1::RotateKeyRequest>,
    ) -> Result<Response<v1::RotateKeyResponse>, Status> {
        let (by, v1::RotateKeyRequest {}) = Authorized::take(request)?;
        let mut txn = self.store.begin().await.map_err(Failure::from)?;
        if txn.epochs().is_configured() {
            let sentence = "the HMAC key is configured: set another audit_hmac_key and start the control planes again";
            return Err(Failure::Blocked { subject: "audit/log".into(), sentence: sentence.into() }.into());
        }
        let epoch = audit::rotate(&mut txn, by.principal(), None).await.map_err(Failure::from)?;
        txn.commit().await.map_err(Failure::from)?;
        let (epoch, public_key) = (epoch.id().to_owned(), epoch.public_key().to_vec());
        Ok(Response::new(v1::RotateKeyResponse { epoch, public_key }))
    }

    async fn erase_entries(
        &self,
        request: Request<v1::EraseEntriesRequest>,
    ) -> Result<Response<v1::EraseEntriesResponse>, Status> {
        let (by, message) = Authorized::take(request)?;
        Ok(Response::new(self.audit_erase(&by, message).await?))
    }

    async fn create_hold(&self, request: Request<v1::CreateHoldRequest>) -> Result<Response<v1::Hold>, Status> {
        let (by, message) = Authorized::take(request)?;
        Ok(Response::new(self.hold_create(&by, message.hold.unwrap_or_default()).await?))
    }

    async fn list_holds(
        &self,
        request: Request<v1::ListHoldsRequest>,
    ) -> Result<Response<v1::ListHoldsResponse>, Status> {
        let (_, v1::ListHoldsRequest {}) = Authorized::take(request)?;
        Ok(Response::new(self.hold_list().await?))
    }

    async fn release_hold(&self, request: Request<v1::ReleaseHoldRequest>) -> Result<Response<()>, Status> {
        let (by, message) = Authorized::take(request)?;
        self.hold_release(&by, message).await?;
        Ok(Response::new(()))
    }
}

fn refused(error: ExportError) -> Status {
    match error {
        ExportError::Store(error) => Failure::from(error).into(),
        ExportError::Line(_) => Status::data_loss(error.to_string()),
        ExportError::Empty => Status::failed_precondition(error.to_string()),
        ExportError::Missing => Status::not_found(error.to_string()),
    }
}
