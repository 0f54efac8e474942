//! The audit log of the fake control plane: sealed like a real one, with what a test wants to be wrong with it.

use tokio_stream::wrappers::ReceiverStream;
use tollgate_proto::audit::v1::{self as audit, audit_service_server::AuditService};
use tonic::{Request, Response, Status};

use super::{Fake, Plane};
use crate::tests::sealed::Sealed;

/// The most entries of a page, so that a few entries are several pages.
const PAGE: usize = 3;

/// The log, and what it does.
pub(super) struct Log {
    sealed: Sealed,
    cut: bool,
    forged: bool,
    /// How many entries come with each list that is asked for.
    growth: usize,
    holds: Vec<audit::Hold>,
}

impl Default for Log {
    fn default() -> Self {
        Self { sealed: Sealed::new(), cut: false, forged: false, growth: 0, holds: vec![] }
    }
}

impl Fake {
    /// Appends so many entries.
    pub(in crate::tests) fn audit(&self, action: &str, count: usize) {
        let mut world = self.plane.world();
        (0..count).for_each(|_| world.log.sealed.write(action));
    }

    /// Exports break off before the end.
    pub(in crate::tests) fn cut_exports(&self) {
        self.plane.world().log.cut = true;
    }

    /// Proofs are of another entry than they say, checkpoints of another key.
    pub(in crate::tests) fn forge_proofs(&self) {
        self.plane.world().log.forged = true;
    }

    /// So many entries come with each list that is asked for.
    pub(in crate::tests) fn grow_while_listed(&self, count: usize) {
        self.plane.world().log.growth = count;
    }

    pub(in crate::tests) fn audit_key(&self) -> String {
        hex::encode(self.plane.world().log.sealed.public_key())
    }
}

#[tonic::async_trait]
impl AuditService for Plane {
    async fn list_entries(
        &self,
        request: Request<audit::ListEntriesRequest>,
    ) -> Result<Response<audit::ListEntriesResponse>, Status> {
        let audit::ListEntriesRequest { page_size, page_token, filter, after_index } = request.into_inner();
        let mut world = self.world();
        let log = &mut world.log;
        (0..log.growth).for_each(|_| log.sealed.write("key.update"));
        let before = page_token.parse().unwrap_or(i64::MAX);
        let terms: Vec<_> = filter.split(" AND ").filter_map(|term| term.split_once('=')).collect();
        let fits = |entry: &audit::Entry| {
            terms.iter().all(|(field, value)| match *field {
                "action" => entry.action.starts_with(value.trim_end_matches('*')),
                "request_id" => entry.request_id == *value,
                other => panic!("the fake does not filter by {other}"),
            })
        };
        let size = PAGE.min(usize::try_from(page_size).unwrap());
        let mut entries: Vec<_> =
            log.sealed.listed().into_iter().filter(|entry| entry.index < before && fits(entry)).collect();
        if let Some(behind) = after_index {
            entries.retain(|entry| entry.index > behind);
            entries.reverse();
        }
        let more = entries.len() > size;
        entries.truncate(size);
        let next_page_token = entries.last().filter(|_| more).map(|last| last.index.to_string()).unwrap_or_default();
        Ok(Response::new(audit::ListEntriesResponse { entries, next_page_token }))
    }

    type ExportEntriesStream = ReceiverStream<Result<audit::ExportEntriesResponse, Status>>;

    async fn export_entries(
        &self,
        _: Request<audit::ExportEntriesRequest>,
    ) -> Result<Response<Self::ExportEntriesStream>, Status> {
        let (mut text, cut) = {
            let log = &mut self.world().log;
            log.sealed.checkpoint();
            (log.sealed.export(), log.cut)
        };
        if cut {
            text.truncate(text.trim_end().rfind('\n').unwrap() + 1);
        }
        // In pieces that are no lines, as nothing says that they must be.
        let pieces: Vec<_> = text.as_bytes().chunks(97).map(<[u8]>::to_vec).collect();
        let (sender, receiver) = tokio::sync::mpsc::channel(pieces.len());
        for lines in pieces {
            sender.try_send(Ok(audit::ExportEntriesResponse { lines })).unwrap();
        }
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn prove_entry(
        &self,
        request: Request<audit::ProveEntryRequest>,
    ) -> Result<Response<audit::ProveEntryResponse>, Status> {
        let log = &mut self.world().log;
        let index = request.into_inner().index.unsigned_abs();
        let Some(path) = log.sealed.path(index) else {
            return Err(Status::not_found("there is no entry of that index"));
        };
        let path = path.into_iter().map(Into::into).collect();
        let line = log.sealed.line(if log.forged { index % 2 + 1 } else { index }).into_bytes();
        let (checkpoint, public_key) = (log.sealed.checkpoint(), log.sealed.public_key().to_vec());
        Ok(Response::new(audit::ProveEntryResponse { line, path, checkpoint, public_key }))
    }

    async fn sign_checkpoint(
        &self,
        _: Request<audit::SignCheckpointRequest>,
    ) -> Result<Response<audit::SignCheckpointResponse>, Status> {
        let log = &mut self.world().log;
        let public_key = if log.forged { vec![9; 32] } else { log.sealed.public_key().to_vec() };
        Ok(Response::new(audit::SignCheckpointResponse { checkpoint: log.sealed.checkpoint(), public_key }))
    }

    async fn erase_entries(
        &self,
        request: Request<audit::EraseEntriesRequest>,
    ) -> Result<Response<audit::EraseEntriesResponse>, Status> {
        let audit::EraseEntriesRequest { filter, reason } = request.into_inner();
        assert!(!filter.is_empty() && !reason.is_empty());
        Ok(Response::new(audit::EraseEntriesResponse { erased: 12, kept: 2 }))
    }

    async fn create_hold(&self, request: Request<audit::CreateHoldRequest>) -> Result<Response<audit::Hold>, Status> {
        let hold = request.into_inner().hold.unwrap();
        let hold = audit::Hold { initiator: "administrator/bootstrap".to_owned(), ..hold };
        self.world().log.holds.push(hold.clone());
        Ok(Response::new(hold))
    }

    async fn list_holds(
        &self,
        _: Request<audit::ListHoldsRequest>,
    ) -> Result<Response<audit::ListHoldsResponse>, Status> {
        Ok(Response::new(audit::ListHoldsResponse { holds: self.world().log.holds.clone() }))
    }

    async fn release_hold(&self, request: Request<audit::ReleaseHoldRequest>) -> Result<Response<()>, Status> {
        let name = request.into_inner().name;
        let holds = &mut self.world().log.holds;
        let before = holds.len();
        holds.retain(|hold| hold.name != name);
        if holds.len() == before { Err(Status::not_found("no hold has that name")) } else { Ok(Response::new(())) }
    }

    async fn rotate_key(
        &self,
        _: Request<audit::RotateKeyRequest>,
    ) -> Result<Response<audit::RotateKeyResponse>, Status> {
        Ok(Response::new(audit::RotateKeyResponse { epoch: "0123456789abcdef".to_owned(), public_key: vec![8; 32] }))
    }
}
