//! `tollgate audit tail`: the newest entries, and each new one as it comes.

use std::time::Duration;

use clap::Args;
use tollgate_proto::audit::v1;

use super::{entry::EntryView, filters::Filters, forth::Forth, sink::Sink};
use crate::{
    commands::{Context, pages, text},
    failure::Failure,
    output::{Answer, Format},
    surroundings::Surroundings,
};

/// What is said under `tollgate audit tail --help`.
pub(super) const HELP: &str = "Example: tollgate audit tail --follow --outcome refused

One line an entry, oldest first; with -o json a JSON document a line. With --follow it goes on until it is interrupted (Ctrl-C) or
its reader leaves; a control plane that is away for a while is waited for, and no entry is missed or shown twice.";

/// How often is looked for new entries.
const INTERVAL: Duration = Duration::from_secs(1);

/// What is shown.
#[derive(Args, Debug)]
pub(crate) struct Tail {
    #[command(flatten)]
    filters: Filters,
    /// Begin with so many of the newest
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// Go on with each new entry
    #[arg(short = 'f', long)]
    follow: bool,
}

impl Tail {
    pub(super) async fn run(self, context: &Context, surroundings: &mut Surroundings<'_>) -> Result<Answer, Failure> {
        let Self { filters, limit, follow } = self;
        let filter = filters.text(context.now)?;
        let mut sink = Sink::open(None, surroundings.stdout)?;
        let mut newest = pages(Some(limit), async |page_size: i32, page_token: String| {
            let request = v1::ListEntriesRequest { page_size, page_token, filter: filter.clone(), after_index: None };
            let page = context.client.audit().list_entries(request).await?.into_inner();
            Ok((page.entries, page.next_page_token))
        })
        .await?;
        newest.reverse();
        let mut seen = 0;
        show(context.format, newest, &mut seen, &mut sink)?;
        if follow {
            let following = async {
                while sink.is_open() {
                    tokio::time::sleep(INTERVAL).await;
                    match Box::pin(newer(context, &filter, &mut seen, &mut sink)).await {
                        // It comes back, and what it wrote meanwhile is behind what was shown.
                        Err(failure) if matches!(failure.code, "unavailable" | "deadline_exceeded") => {}
                        other => other?,
                    }
                }
                Ok::<(), Failure>(())
            };
            tokio::select! {
                ended = following => ended?,
                // Where signals cannot be heard, one ends the process, as it does without this.
                Ok(()) = tokio::signal::ctrl_c() => {}
            }
        }
        Ok(Answer::raw(""))
    }
}

// Indexes are given in the order in which entries are committed: what is not there yet will be behind all that is.
async fn newer(context: &Context, filter: &str, seen: &mut i64, sink: &mut Sink<'_>) -> Result<(), Failure> {
    let mut forth = Forth::new(filter.to_owned(), *seen);
    // A log that grows as fast as it is read has no end, and its reader may leave.
    while sink.is_open() {
        let entries = forth.next(context).await?;
        if entries.is_empty() {
            break;
        }
        show(context.format, entries, seen, sink)?;
    }
    Ok(())
}

fn show(format: Format, entries: Vec<v1::Entry>, seen: &mut i64, sink: &mut Sink<'_>) -> Result<(), Failure> {
    for entry in entries {
        let index = entry.index;
        let view = EntryView::from(entry);
        let line = match format {
            Format::Table => view.line(),
            Format::Json => text::json_line(&view)?,
            // A document a line of YAML is one of JSON.
            Format::Yaml => format!("--- {}", text::json_line(&view)?),
        };
        sink.write(line.as_bytes())?;
        sink.write(b"\n")?;
        *seen = index.max(*seen);
    }
    sink.flush()
}
