//! Which entries are listed, and how one is written.

use prost::Message as _;
use serde_json::Value;
use tollgate_audit::{Entry, Outcome};
use tollgate_proto::audit::v1;

use crate::{
    api::{Admin, failure::Failure, filter::Filter, page::Page, violations::Violations, wire},
    store::{
        StoreError, Txn,
        audit::list::{AuditFilter, Begin, Listed},
    },
};

const FIELDS: [&str; 11] =
    ["action", "outcome", "initiator", "target", "key", "team", "replica", "request_id", "session", "since", "until"];

/// The field of free text, of lists alone.
const TEXT: &str = "text";
/// How many entries are read at once where free text is looked for.
const WINDOW: i64 = 1_000;
/// How often, for one page.
const WINDOWS_MAX: usize = 20;

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
        let mut terms = Filter::read(&filter, &[FIELDS.as_slice(), &[TEXT]].concat(), &mut violations);
        let text = terms.text(TEXT);
        let filter = narrowed(&mut terms, &mut violations);
        let (filter, begin) = violations.finish(wire::both((Some(filter), begin)))?;
        let mut txn = self.store.begin_read().await?;
        let (entries, next_page_token) = match &text {
            None => {
                let rows = txn.audit_list(&filter, begin, page.limit()).await?;
                page.write(&rows, written, |listed| begin.behind(listed).position())
            }
            Some(text) => search(&mut txn, &page, &filter, begin, &Needle::new(text)).await?,
        };
        txn.end().await?;
        Ok(v1::ListEntriesResponse { entries, next_page_token })
    }
}

// No index knows the words of a body. So many entries of the rest of the filter are read, and a page may end before it is full:
// its token goes on where it stood.
async fn search(
    txn: &mut Txn,
    page: &Page,
    filter: &AuditFilter,
    begin: Begin,
    needle: &Needle,
) -> Result<(Vec<v1::Entry>, String), StoreError> {
    let (mut found, mut bytes, mut at) = (Vec::new(), 0, begin);
    for _ in 0..WINDOWS_MAX {
        let rows = txn.audit_list(filter, at, WINDOW).await?;
        for listed in rows.iter().filter(|listed| needle.is_in(&listed.entry)) {
            let entry = written(listed);
            if page.is_full(found.len(), bytes + entry.encoded_len()) {
                return Ok((found, page.token(&at.position())));
            }
            bytes += entry.encoded_len();
            found.push(entry);
            at = begin.behind(listed);
        }
        match rows.last() {
            Some(last) if i64::try_from(rows.len()) == Ok(WINDOW) => at = begin.behind(last),
            _ => return Ok((found, String::new())),
        }
    }
    Ok((found, page.token(&at.position())))
}

// A text as an encoded entry has it, in any case.
struct Needle(String);

impl Needle {
    fn new(text: &str) -> Self {
        let encoded = Value::from(text).to_string();
        Self(encoded.trim_matches('"').to_lowercase())
    }

    fn is_in(&self, entry: &Entry) -> bool {
        let encoded = entry.encode().unwrap_or_default();
        String::from_utf8_lossy(&encoded).to_lowercase().contains(&self.0)
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
    narrowed(&mut terms, violations)
}

fn narrowed(terms: &mut Filter, violations: &mut Violations) -> AuditFilter {
    let mut instant = |terms: &mut Filter, field| {
        let text = terms.text(field)?;
        let parsed = text.parse::<jiff::Timestamp>();
        parsed.map_err(|_| violations.add("filter", format!("has a value of {field} that is not RFC 3339"))).ok()
    };
    let (since, until) = (instant(terms, "since"), instant(terms, "until"));
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
