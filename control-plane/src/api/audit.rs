//! AuditService: reading the log, and proving it.

use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use tollgate_audit::Outcome;
use tollgate_proto::audit::v1::{self, audit_service_server::AuditService};
use tonic::{Request, Response, Status};

use super::{Admin, authorize::Authorized, failure::Failure, filter::Filter, page::Page, violations::Violations, wire};
use crate::{
    audit::{
        self, checkpoints,
        export::{self, Export, ExportError},
    },
    clock,
    store::audit::{AuditFilter, Listed},
};

const FIELDS: [&str; 9] =
    ["action", "outcome", "initiator", "target", "replica", "request_id", "session", "since", "until"];

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
        let epoch = audit::rotate(&mut txn, by.principal(), None).await.map_err(Failure::from)?;
        txn.commit().await.map_err(Failure::from)?;
        let (epoch, public_key) = (epoch.id().to_owned(), epoch.public_key().to_vec());
        Ok(Response::new(v1::RotateKeyResponse { epoch, public_key }))
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

impl Admin {
    async fn audit_list(&self, message: v1::ListEntriesRequest) -> Result<v1::ListEntriesResponse, Failure> {
        let v1::ListEntriesRequest { page_size, page_token, filter } = message;
        let mut violations = Violations::default();
        let page = Page::read("audit", &filter, page_size, &page_token, &mut violations);
        let before = page.after.as_deref().map(|position| position.parse().map_err(|_| "is not one of this list"));
        let before = before.and_then(|before| violations.take("page_token", before));
        let filter = read_filter(&filter, &mut violations);
        let filter = violations.finish(Some(filter))?;
        let mut txn = self.store.begin_read().await?;
        let rows = txn.audit_list(&filter, before, page.limit()).await?;
        txn.end().await?;
        let (entries, next_page_token) = page.write(&rows, written, |listed| listed.index.to_string());
        Ok(v1::ListEntriesResponse { entries, next_page_token })
    }
}

fn read_filter(text: &str, violations: &mut Violations) -> AuditFilter {
    let mut terms = Filter::read(text, &FIELDS, violations);
    let mut instant = |terms: &mut Filter, field| {
        let text = terms.text(field)?;
        let parsed = text.parse::<jiff::Timestamp>();
        parsed.map_err(|_| violations.add("filter", format!("has a value of {field} that is not RFC 3339"))).ok()
    };
    let (since, until) = (instant(&mut terms, "since"), instant(&mut terms, "until"));
    AuditFilter {
        action: terms.text_match("action"),
        outcome: terms.word("outcome", Outcome::of_word, violations),
        initiator: terms.text("initiator"),
        target: terms.text("target"),
        replica: terms.text("replica"),
        request_id: terms.text("request_id"),
        session: terms.text("session"),
        since: since.map(jiff::Timestamp::as_millisecond),
        until: until.map(jiff::Timestamp::as_millisecond),
    }
}

fn written(listed: &Listed) -> v1::Entry {
    let Listed { index, entry, replica, writer, leaf, erased } = listed;
    v1::Entry {
        index: *index,
        time: Some(wire::timestamp(entry.time_ms())),
        action: entry.action().into(),
        outcome: entry.outcome().word().into(),
        initiator: entry.initiator().into(),
        target: entry.target().into(),
        replica: replica.clone(),
        request_id: entry.request_id().into(),
        session: entry.session().into(),
        detail: serde_json::Value::Object(entry.detail().clone()).to_string(),
        source_address: entry.source_address().into(),
        writer: writer.clone(),
        leaf: leaf.clone(),
        erased: *erased,
    }
}
