//! AuditService: reading the log.

use tollgate_audit::{Entry, Outcome};
use tollgate_proto::audit::v1::{self, audit_service_server::AuditService};
use tonic::{Request, Response, Status};

use super::{Admin, authorize::Authorized, failure::Failure, filter::Filter, page::Page, violations::Violations, wire};
use crate::store::audit::AuditFilter;

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
        let (entries, next_page_token) = page.write(&rows, written, |(index, _)| index.to_string());
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

fn written((index, entry): &(i64, Entry)) -> v1::Entry {
    v1::Entry {
        index: *index,
        time: Some(wire::timestamp(entry.time_ms())),
        action: entry.action().into(),
        outcome: entry.outcome().word().into(),
        initiator: entry.initiator().into(),
        target: entry.target().into(),
        replica: entry.replica().into(),
        request_id: entry.request_id().into(),
        session: entry.session().into(),
        detail: serde_json::Value::Object(entry.detail().clone()).to_string(),
        source_address: entry.source_address().into(),
    }
}
