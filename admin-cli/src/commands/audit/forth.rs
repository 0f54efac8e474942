//! Entries oldest first, page by page, from an index on: none is missed and none comes twice, whatever is written meanwhile.

use tollgate_proto::audit::v1;

use crate::{commands::Context, failure::Failure};

/// How many entries are asked for at once: the most that the control plane gives.
const PAGE_SIZE: i32 = 1_000;

/// The entries of a filter behind an index.
#[derive(Debug)]
pub(super) struct Forth {
    filter: String,
    behind: i64,
}

impl Forth {
    /// Goes on behind that index.
    pub(super) const fn new(filter: String, behind: i64) -> Self {
        Self { filter, behind }
    }

    /// The next entries; empty when there are no more for now.
    pub(super) async fn next(&mut self, context: &Context) -> Result<Vec<v1::Entry>, Failure> {
        let mut page_token = String::new();
        let entries = loop {
            let request = v1::ListEntriesRequest {
                page_size: PAGE_SIZE,
                filter: self.filter.clone(),
                after_index: Some(self.behind),
                page_token,
            };
            let page = context.client.audit().list_entries(request).await?.into_inner();
            // A page without entries is not the last one where free text is looked for.
            if !page.entries.is_empty() || page.next_page_token.is_empty() {
                break page.entries;
            }
            page_token = page.next_page_token;
        };
        let Some(last) = entries.last() else { return Ok(entries) };
        if last.index <= self.behind {
            return Err(Failure::new("internal", "the control plane repeats a page of its list"));
        }
        self.behind = last.index;
        Ok(entries)
    }
}
