//! Which entries are listed, and how one is written.

use tollgate_audit::Outcome;
use tollgate_proto::audit::v1;

use crate::{
    api::{Admin, failure::Failure, filter::Filter, page::Page, violations::Violations, wire},
    store::audit::list::{AuditFilter, Begin, Listed},
};

const FIELDS: [&str; 11] =
    ["action", "outcome", "initiator", "target", "key", "team", "replica", "request_id", "session", "since", "until"];

impl Admin {
    pub(super) async fn audit_list(&self, message: v1::ListEntriesRequest) -> Result<v1::ListEntriesResponse, Failure> {
        let v1::ListEntriesRequest { page_size, page_token, filter, after_index } = message;
        let mut violations = Violations::default();
        let list = if after_index.is_none() { "audit" } else { "audit behind" };
        let page = Page::read(list, &filter, page_size, &page_token, &mut violations);
        let begin = match (page.after.as_deref(), after_index) {
            (None, None) => Ok(Begin::Newest),
            (None, Some(index)) => Ok(Begin::Behind(index)),
            (Some(position), behind) => read_position(position, behind.is_some()).ok_or("is not one of this list"),
        };
        let begin = violations.take("page_token", begin);
        let filter = read_filter(&filter, &mut violations);
        let (filter, begin) = violations.finish(wire::both((Some(filter), begin)))?;
        let mut txn = self.store.begin_read().await?;
        let rows = txn.audit_list(&filter, begin, page.limit()).await?;
        txn.end().await?;
        let (entries, next_page_token) = page.write(&rows, written, |listed| match begin {
            Begin::Behind(_) => listed.index.to_string(),
            Begin::Newest | Begin::Before(..) => format!("{}/{}", listed.entry.time_ms(), listed.index),
        });
        Ok(v1::ListEntriesResponse { entries, next_page_token })
    }
}

fn read_position(position: &str, is_behind: bool) -> Option<Begin> {
    if is_behind {
        return Some(Begin::Behind(position.parse().ok()?));
    }
    let (time, index) = position.split_once('/')?;
    Some(Begin::Before(time.parse().ok()?, index.parse().ok()?))
}

/// Reads the terms by which entries are found.
pub(super) fn read_filter(text: &str, violations: &mut Violations) -> AuditFilter {
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
        key: terms.text("key"),
        team: terms.text("team"),
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
        outcome: if *erased { String::new() } else { entry.outcome().word().into() },
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
