//! `tollgate mcp-tool`: what servers of tools offer, and the approval of it by an administrator who has seen it.

mod approve;
mod view;

use clap::{Args, Subcommand, ValueEnum};
use tollgate_proto::admin::v1;

use super::{Context, filter::Filter, mcp_server, pages};
use crate::{
    arguments::Listing,
    failure::Failure,
    literals::{mcp::tool_name, reference},
    output::{Answer, Format},
    surroundings::Surroundings,
};
use approve::Approve;
use view::ToolView;

/// What to do with tools of servers.
#[derive(Debug, Subcommand)]
pub(crate) enum McpToolCommand {
    /// List tools, by server and name
    #[command(after_help = "Example: tollgate mcp-tool list --mcp-server github --state pending")]
    List(List),
    /// Show one tool, with its definition or how that differs from the approved one
    #[command(after_help = "Example: tollgate mcp-tool get github.create_issue\n\
                      Example: tollgate mcp-tool get github create_issue -o json")]
    Get(Which),
    /// Approve the definition of a tool, after it has been shown
    #[command(after_help = "Example: tollgate mcp-tool approve github.create_issue\n\
                      Example: tollgate mcp-tool approve --all github\n\n\
                      Without --hash the definition is fetched and shown, and it alone is approved; with it, that of this hash, and nothing if the server gives \
                      another by now.")]
    Approve(Approve),
    /// Take every approval of a tool back, and let none come by first use
    #[command(after_help = "Example: tollgate mcp-tool block github.delete_repository")]
    Block(Which),
}

/// Which tools are listed.
#[derive(Args, Debug)]
pub(crate) struct List {
    /// Only tools of this server, by id or name
    #[arg(long, value_name = "SERVER", value_parser = reference)]
    mcp_server: Option<String>,
    /// Only tools in this state
    #[arg(long)]
    state: Option<State>,
    #[command(flatten)]
    listing: Listing,
}

/// One tool.
#[derive(Args, Debug)]
pub(crate) struct Which {
    /// The server by id or name, a dot, and the tool by the name that the server gives it
    #[arg(value_name = "SERVER.TOOL", value_parser = tool_name)]
    first: String,
    /// The tool, where the server stands alone before it
    #[arg(value_name = "TOOL", value_parser = tool_name)]
    second: Option<String>,
}

/// The state of a tool, to list by.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum State {
    /// Agents may get it
    Approved,
    /// It has no approved definition
    Pending,
    /// One was approved, and the server now gives another
    Changed,
    /// An administrator refused it
    Blocked,
    /// The server no longer has it
    Gone,
}

impl McpToolCommand {
    pub(crate) async fn run(self, context: &Context, surroundings: &mut Surroundings<'_>) -> Result<Answer, Failure> {
        match self {
            Self::List(List { mcp_server, state, listing }) => list(context, mcp_server, state, listing).await,
            Self::Get(which) => {
                let tool = get(context, which.parts()?).await?;
                let answer = context.format.item(&tool)?;
                let shown = if context.format == Format::Table { tool.shown() } else { String::new() };
                Ok(Answer { result: answer.result + &shown, ..answer })
            }
            Self::Approve(approve) => approve.run(context, surroundings).await,
            Self::Block(which) => {
                let (mcp_server, tool) = which.parts()?;
                let request = v1::BlockMcpToolRequest { mcp_server, tool };
                let blocked = context.client.mcp().block_mcp_tool(request).await?.into_inner();
                context.format.item(&ToolView::from(blocked))
            }
        }
    }
}

impl Which {
    /// The server and the tool. A server's name has no dot, so that the first one ends it.
    fn parts(self) -> Result<(String, String), Failure> {
        let Self { first, second } = self;
        let parts = match second {
            Some(tool) => Some((first, tool)),
            None => first.split_once('.').map(|(server, tool)| (server.to_owned(), tool.to_owned())),
        };
        let named = parts.filter(|(server, tool)| reference(server).is_ok() && !tool.is_empty());
        named.ok_or_else(|| {
            Failure::usage("a tool must be named as SERVER.TOOL or SERVER TOOL").hint("such as github.create_issue")
        })
    }
}

impl State {
    const fn text(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Pending => "pending",
            Self::Changed => "changed",
            Self::Blocked => "blocked",
            Self::Gone => "gone",
        }
    }
}

/// Lists tools.
pub(super) async fn list(
    context: &Context,
    server: Option<String>,
    state: Option<State>,
    listing: Listing,
) -> Result<Answer, Failure> {
    context.format.list(&all(context, server, state, listing).await?)
}

async fn all(
    context: &Context,
    server: Option<String>,
    state: Option<State>,
    Listing { filter, limit }: Listing,
) -> Result<Vec<ToolView>, Failure> {
    // The filter knows servers by name; and one that is not there is not one without tools.
    let server = match server {
        Some(named) => Some(mcp_server::get(context, named).await?.name),
        None => None,
    };
    let filter = Filter::new(filter).and("server", server)?.and("state", state.map(State::text))?.text();
    let mut client = context.client.mcp();
    let found = pages(limit, async |page_size: i32, page_token: String| {
        let request = v1::ListMcpToolsRequest { page_size, page_token, filter: filter.clone() };
        let page = client.list_mcp_tools(request).await?.into_inner();
        Ok((page.mcp_tools, page.next_page_token))
    });
    Ok(found.await?.into_iter().map(ToolView::from).collect())
}

async fn get(context: &Context, (mcp_server, tool): (String, String)) -> Result<ToolView, Failure> {
    let request = v1::GetMcpToolRequest { mcp_server, tool };
    Ok(ToolView::from(context.client.mcp().get_mcp_tool(request).await?.into_inner()))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::{arguments::Cli, commands::Command};

    #[test]
    fn a_tool_is_named_with_its_server_in_one_word_or_two() {
        let named = |line: &[&str]| {
            let line = [&["tollgate", "mcp-tool", "get"], line].concat();
            match Cli::try_parse_from(line).unwrap().command {
                Command::McpTool(McpToolCommand::Get(which)) => which.parts().ok(),
                other => panic!("{other:?}"),
            }
        };
        for (line, server, tool) in [
            (&["github.create_issue"][..], "github", "create_issue"),
            (&["github", "create_issue"], "github", "create_issue"),
            (&["github.issues.list"], "github", "issues.list"),
            (&["github", "issues.list"], "github", "issues.list"),
        ] {
            assert_eq!(named(line), Some((server.to_owned(), tool.to_owned())), "{line:?}");
        }
        for bad in [&["github"][..], &["github."], &[".x"], &["git hub.x"]] {
            assert_eq!(named(bad), None, "{bad:?}");
        }
    }
}
