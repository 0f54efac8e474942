//! `tollgate audit erase`: takes what entries say out of the log.

use clap::Args;
use serde::Serialize;
use tollgate_proto::audit::v1;

use super::filters::Filters;
use crate::{
    commands::Context,
    failure::Failure,
    output::{Answer, View},
};

/// What is said under `tollgate audit erase --help`.
pub(super) const HELP: &str = "Example: tollgate audit erase --initiator user/01jqz --reason 'request of the person, ticket 4711'

What the entries say is gone for good; their places in the log, their times and actions stay, and the log still verifies. An entry
says how many were erased, by whom and why. Archives, files that were exported and what was shipped elsewhere are not touched,
and neither are entries of a hold. There is no way back: `tollgate audit list` with the same flags shows what is meant.";

/// What is erased.
#[derive(Args, Debug)]
pub(crate) struct Erase {
    #[command(flatten)]
    filters: Filters,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

#[derive(Serialize)]
struct ErasedView {
    erased: i64,
    kept: i64,
}

impl Erase {
    pub(super) async fn run(self, context: &Context) -> Result<Answer, Failure> {
        let Self { filters, reason } = self;
        let filter = filters.text(context.now)?;
        if filter.is_empty() {
            return Err(Failure::usage("which entries? Say it with --initiator, --key, --session or another filter"));
        }
        let erased = context.client.audit().erase_entries(v1::EraseEntriesRequest { filter, reason }).await?;
        let v1::EraseEntriesResponse { erased, kept } = erased.into_inner();
        let answer = context.format.item(&ErasedView { erased, kept })?;
        Ok(match kept {
            0 => answer,
            kept => answer.note(format!("{kept} entries stay as they are: the log could not be verified without them")),
        })
    }
}

impl View for ErasedView {
    const PLURAL: &'static str = "erasures";
    const LISTED: &'static [&'static str] = &["erased", "kept"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![("erased", self.erased.to_string()), ("kept", self.kept.to_string())]
    }
}
