//! Entries oldest first, out of a list that is newest first, without holding more than two pages of them.
//!
//! The log only grows, and the token of a page names the entry before which it begins. So the way back is walked for the tokens, and
//! the way forth for the entries. The first page has no token, and is kept.

use std::mem;

use tollgate_proto::audit::v1;

use crate::{commands::Context, failure::Failure};

/// How many entries are asked for at once: the most that the control plane gives.
const PAGE_SIZE: i32 = 1_000;

/// The entries behind an index.
#[derive(Debug)]
pub(super) struct Walk {
    filter: String,
    behind: i64,
    // From the newest to the oldest.
    tokens: Vec<String>,
    oldest: Vec<v1::Entry>,
    newest: Vec<v1::Entry>,
}

impl Walk {
    /// Walks back from the newest entry of the filter to the last one that is not behind the index.
    pub(super) async fn back(context: &Context, filter: &str, behind: i64) -> Result<Self, Failure> {
        let (newest, mut token) = page(context, filter, behind, String::new()).await?;
        let mut walk = Self { filter: filter.to_owned(), behind, tokens: vec![], oldest: vec![], newest };
        while let Some(asked) = token {
            if walk.tokens.last() == Some(&asked) {
                return Err(Failure::new("internal", "the control plane repeats a page of its list"));
            }
            (walk.oldest, token) = page(context, filter, behind, asked.clone()).await?;
            walk.tokens.push(asked);
        }
        // The last page is not asked for again.
        walk.tokens.pop();
        Ok(walk)
    }

    /// The next entries, oldest first; `None` at the end.
    pub(super) async fn next(&mut self, context: &Context) -> Result<Option<Vec<v1::Entry>>, Failure> {
        let mut entries = mem::take(&mut self.oldest);
        if entries.is_empty() {
            entries = match self.tokens.pop() {
                Some(token) => page(context, &self.filter, self.behind, token).await?.0,
                None => mem::take(&mut self.newest),
            };
        }
        entries.reverse();
        Ok(if entries.is_empty() { None } else { Some(entries) })
    }
}

// A page, and the token of the next one where that can have something.
async fn page(
    context: &Context,
    filter: &str,
    behind: i64,
    page_token: String,
) -> Result<(Vec<v1::Entry>, Option<String>), Failure> {
    let request = v1::ListEntriesRequest { page_size: PAGE_SIZE, page_token, filter: filter.to_owned() };
    let page = context.client.audit().list_entries(request).await?.into_inner();
    let v1::ListEntriesResponse { mut entries, next_page_token } = page;
    let read = entries.len();
    entries.retain(|entry| entry.index > behind);
    let more = !next_page_token.is_empty() && !entries.is_empty() && entries.len() == read;
    Ok((entries, more.then_some(next_page_token)))
}
