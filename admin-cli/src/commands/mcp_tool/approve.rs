//! The approval of what an administrator has seen.

use clap::Args;
use serde::Serialize;
use tollgate_proto::admin::v1;

use super::{State, Which, all, get, view::ToolView};
use crate::{
    arguments::Listing,
    commands::Context,
    failure::{Failure, written},
    literals::{
        mcp::{hash, tool_name},
        reference,
    },
    output::{Answer, Format},
    surroundings::Surroundings,
};

/// What is approved.
#[derive(Args, Debug)]
pub(crate) struct Approve {
    /// The server by id or name, a dot, and the tool by the name that the server gives it
    #[arg(value_name = "SERVER.TOOL", value_parser = tool_name, required_unless_present = "all")]
    first: Option<String>,
    /// The tool, where the server stands alone before it
    #[arg(value_name = "TOOL", value_parser = tool_name)]
    second: Option<String>,
    /// The definition that was looked at, by its hash; it is not shown again
    #[arg(long, value_name = "HASH", value_parser = hash)]
    hash: Option<String>,
    /// Approve each tool of this server, by id or name, that has no approved definition yet, after listing them
    #[arg(long, value_name = "SERVER", value_parser = reference, conflicts_with_all = ["first", "second", "hash"])]
    all: Option<String>,
}

/// A tool after its approval, for programs.
#[derive(Serialize)]
struct ApprovedView {
    #[serde(flatten)]
    tool: ToolView,
    /// How it differed from what was approved before.
    approved_difference: Vec<String>,
}

impl Approve {
    pub(super) async fn run(self, context: &Context, surroundings: &mut Surroundings<'_>) -> Result<Answer, Failure> {
        match self {
            Self { all: Some(server), .. } => every(context, surroundings, server).await,
            // The grammar lets through what names a tool.
            Self { first, second, hash, all: None } => {
                let which = Which { first: first.unwrap_or_default(), second };
                one(context, surroundings, which.parts()?, hash).await
            }
        }
    }
}

async fn one(
    context: &Context,
    surroundings: &mut Surroundings<'_>,
    named: (String, String),
    hash: Option<String>,
) -> Result<Answer, Failure> {
    let (hash, difference) = match hash {
        Some(hash) => (hash, Vec::new()),
        None => {
            let seen = get(context, named.clone()).await?;
            if seen.hash.is_empty() {
                let message = format!("the server gives no definition of {} that could be approved", seen.title());
                return Err(Failure::new("failed_precondition", message));
            }
            if context.format == Format::Table {
                // People see what they approve before it is done.
                say(surroundings, &seen.shown())?;
            }
            (seen.hash, seen.difference)
        }
    };
    let tool = approved(context, named, hash).await?;
    let title = tool.title();
    match context.format {
        Format::Table => Ok(context.format.item(&tool)?.note(format!("mcp-tool {title} approved"))),
        Format::Json | Format::Yaml => {
            let view = ApprovedView { tool, approved_difference: difference };
            context.format.document(&view, crate::output::bare_table)
        }
    }
}

async fn every(context: &Context, surroundings: &mut Surroundings<'_>, server: String) -> Result<Answer, Failure> {
    let pending = all(context, Some(server.clone()), Some(State::Pending), Listing::default()).await?;
    if context.format == Format::Table {
        say(surroundings, &context.format.list(&pending)?.result)?;
    }
    let flagged = pending.iter().filter(|tool| !tool.flags.is_empty()).map(|tool| {
        let (title, flags) = (tool.title(), crate::commands::text::for_terminal(&tool.flags.join("; ")));
        format!("look at {title}: {flags}; `tollgate mcp-tool block {title}` takes its approval back")
    });
    let flagged: Vec<_> = flagged.collect();
    let mut done = Vec::new();
    for tool in &pending {
        match approved(context, (tool.server.clone(), tool.name.clone()), tool.hash.clone()).await {
            Ok(tool) => done.push(tool),
            Err(failure) => {
                let partial = Some(outcome(context, &done)?.result);
                let message = format!("{}: {}", tool.title(), failure.message);
                return Err(Failure { partial, message, ..failure });
            }
        }
    }
    let answer = outcome(context, &done)?;
    Ok(flagged.into_iter().fold(answer, Answer::note))
}

// People have seen the list already.
fn outcome(context: &Context, done: &[ToolView]) -> Result<Answer, Failure> {
    match (context.format, done.len()) {
        (Format::Table, 0) => Ok(Answer::raw("").note("no tool was approved: none has waited for it")),
        (Format::Table, count) => {
            Ok(Answer::raw(format!("approved: {count} tool{}\n", if count == 1 { "" } else { "s" })))
        }
        _ => context.format.list(done),
    }
}

async fn approved(context: &Context, (mcp_server, tool): (String, String), hash: String) -> Result<ToolView, Failure> {
    let request = v1::ApproveMcpToolRequest { mcp_server, tool, hash };
    Ok(ToolView::from(context.client.mcp().approve_mcp_tool(request).await?.into_inner()))
}

fn say(surroundings: &mut Surroundings<'_>, text: &str) -> Result<(), Failure> {
    written(surroundings.stdout.write_all(text.as_bytes()).and_then(|()| surroundings.stdout.flush()))
}
