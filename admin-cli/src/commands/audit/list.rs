//! `tollgate audit list`: entries, newest first.

use clap::Args;
use tollgate_proto::audit::v1;

use super::{entry::EntryView, filters::Filters};
use crate::{
    commands::{Context, pages},
    failure::Failure,
    output::Answer,
};

/// Which entries are listed.
#[derive(Args, Debug)]
pub(crate) struct List {
    #[command(flatten)]
    filters: Filters,
    /// Stop after so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

impl List {
    pub(super) async fn run(self, context: &Context) -> Result<Answer, Failure> {
        let Self { filters, limit } = self;
        let filter = filters.text(context.now)?;
        let mut client = context.client.audit();
        let found = pages(limit, async |page_size: i32, page_token: String| {
            let request = v1::ListEntriesRequest { page_size, page_token, filter: filter.clone(), after_index: None };
            let page = client.list_entries(request).await?.into_inner();
            Ok((page.entries, page.next_page_token))
        })
        .await?;
        context.format.list(&found.into_iter().map(EntryView::from).collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::{
        arguments::Cli,
        commands::{Command, audit::AuditCommand},
    };

    #[test]
    fn flags_become_terms_of_the_filter() {
        let check = |line: &[&str], expect: &str| {
            let line = [&["tollgate", "audit", "list"], line].concat();
            let Command::Audit(AuditCommand::List(list)) = Cli::try_parse_from(line).unwrap().command else { panic!() };
            assert_eq!(list.filters.text("2026-03-01T12:00:00Z".parse().unwrap()).unwrap(), expect);
        };
        check(&[], "");
        check(&["--action", "key.*", "--outcome", "refused"], "action=key.* AND outcome=refused");
        check(
            &["--since", "24h", "--until", "2026-03-01"],
            "since=2026-02-28T12:00:00Z AND until=2026-03-01T00:00:00Z",
        );
        check(&["--filter", "replica=r", "--request-id", "req_1"], "replica=r AND request_id=req_1");
    }
}
