//! `tollgate mcp-server`: the servers of tools that agents reach, whom each is for, and how the replicas find it.

mod change;
mod client;
mod grants;
mod health;
mod trial;
mod view;

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use tollgate_policy::mcp::Transport;
use tollgate_proto::admin::v1;

use super::{
    Context, done,
    filter::Filter,
    mcp_tool,
    names::{Names, Noun},
    one, pages,
};
use crate::{
    arguments::{Deletion, Listing, Named},
    failure::Failure,
    literals::{
        mcp::{HeaderSecret, PriceArgument, SecretArgument, pinning, server_name, size, timeout, transport, url},
        pattern, reference,
    },
    output::Answer,
    surroundings::read_bounded,
};
use change::Update;
use client::ClientArguments;
use grants::{Disconnect, Grants};
use trial::Test;
use view::McpServerView;

/// What to do with servers of tools.
#[derive(Debug, Subcommand)]
pub(crate) enum McpServerCommand {
    /// Create a server of tools
    #[command(
        after_help = "Example: tollgate mcp-server create github --url https://mcp.example.com/mcp --bearer env://GITHUB_MCP_TOKEN\n\
                      Example: tollgate mcp-server create search --url https://search.example.com/mcp --header x-api-key=file:///etc/tollgate/search --team platform --tool 'search_*' --price 'search_*=0.01 USD' --timeout 30s\n\
                      Example: tollgate mcp-server create notes --url http://127.0.0.1:9000/mcp --allow-private --pinning approval\n\
                      Example: tollgate mcp-server create pets --url https://api.example.com/v1 --transport openapi --document pets.yaml\n\
                      Example: tollgate mcp-server create tracker --url https://mcp.example.com/mcp --oauth per_user --scope read --scope write\n\
                      Example: tollgate mcp-server create files --transport stdio\n\n\
                      With --pinning first_use the first definition that is seen of a tool is approved by that, and each later one by an administrator: \
                      see `tollgate mcp-tool`. approval approves none so, off all of them."
    )]
    Create(Box<Create>),
    /// Show one server, without its secret
    #[command(after_help = "Example: tollgate mcp-server get github -o yaml")]
    Get(Named),
    /// List servers
    #[command(after_help = "Example: tollgate mcp-server list --filter disabled=false")]
    List(Listing),
    /// Change a server; an option that is given more than once replaces the whole list
    #[command(
        after_help = "Example: tollgate mcp-server update github --tool '*' --tool '!delete_*' --result-max 1MiB --truncate true\n\
                      Example: tollgate mcp-server update github --disable"
    )]
    Update(Box<Update>),
    /// Delete a server, and what was approved of it
    #[command(after_help = "Example: tollgate mcp-server delete github")]
    Delete(Deletion),
    /// List the tools of a server
    #[command(after_help = "Example: tollgate mcp-server tools github")]
    Tools(Named),
    /// Let every replica ask a server at once, and show what each finds; exit code 1 when none of them can use it
    #[command(after_help = "Example: tollgate mcp-server test github --wait 5s")]
    Test(Test),
    /// List what users permitted for servers, and the tokens that the control plane got for itself
    #[command(after_help = "Example: tollgate mcp-server grants tracker --user ada")]
    Grants(Grants),
    /// End what a user permitted: the tokens are deleted, replicas drop theirs, and the authorization server is told
    #[command(after_help = "Example: tollgate mcp-server disconnect tracker --user ada --reason 'left the project'")]
    Disconnect(Disconnect),
}

/// The name of a new server, with or without `--name` before it.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct NewServerName {
    /// The name: 1 to 32 of a-z 0-9 -, beginning with a letter; it stands before the names of its tools
    #[arg(value_name = "NAME", value_parser = server_name)]
    positional: Option<String>,
    /// The name, as an option
    #[arg(long = "name", value_name = "NAME", value_parser = server_name)]
    option: Option<String>,
}

/// A new server.
#[derive(Args, Debug)]
pub(crate) struct Create {
    #[command(flatten)]
    name: NewServerName,
    /// Where it is: https://host[:port][/path][?query]; required but for stdio
    #[arg(long, value_name = "URL", value_parser = url, required_unless_present = "transport")]
    url: Option<String>,
    /// Permit a loopback or private address, and plain http
    #[arg(long)]
    allow_private: bool,
    /// Shorten a result that is too long, and do not refuse it
    #[arg(long)]
    truncate: bool,
    /// Have the arguments of calls in the audit log, and not only their hash
    #[arg(long)]
    record_arguments: bool,
    /// Create it switched off
    #[arg(long)]
    disabled: bool,
    #[command(flatten)]
    rest: Rest,
}

/// What a new server and a changed one take.
#[derive(Args, Debug)]
pub(crate) struct Rest {
    /// How it is spoken to: streamable_http; sse (of the revision 2024-11-05); openapi, an HTTP API; stdio, a process that replicas run as their own configuration says [default: streamable_http]
    #[arg(long, value_parser = transport)]
    transport: Option<String>,
    /// The OpenAPI document of an HTTP API, in JSON or YAML
    #[arg(long, value_name = "FILE")]
    document: Option<PathBuf>,
    /// The secret that it is shown as authorization: Bearer, as env://VARIABLE, file:///path or a literal; a literal is seen by other users of this machine
    #[arg(long, value_name = "SECRET", conflicts_with = "header")]
    bearer: Option<SecretArgument>,
    /// The secret that it is shown in a header of its own, as with --bearer
    #[arg(long, value_name = "NAME=SECRET")]
    header: Option<HeaderSecret>,
    #[command(flatten)]
    client: ClientArguments,
    /// Only for the keys of this customer, by id or name [may be repeated; no customer and no team: for everybody]
    #[arg(long = "customer", value_name = "CUSTOMER", value_parser = reference)]
    customers: Vec<String>,
    /// Only for the keys of this team, by id or name [may be repeated]
    #[arg(long = "team", value_name = "TEAM", value_parser = reference)]
    teams: Vec<String>,
    /// Only for keys of such names [may be repeated; none: all]
    #[arg(long = "key", value_name = "PATTERN", value_parser = pattern)]
    keys: Vec<String>,
    /// Only these tools, by the names that the server gives them; a leading '!' leaves out [may be repeated; none: all]
    #[arg(long = "tool", value_name = "PATTERN", value_parser = pattern)]
    tools: Vec<String>,
    /// Only these prompts [may be repeated; none: all]
    #[arg(long = "prompt", value_name = "PATTERN", value_parser = pattern)]
    prompts: Vec<String>,
    /// Only these resources, by their URIs [may be repeated; none: all]
    #[arg(long = "resource", value_name = "PATTERN", value_parser = pattern)]
    resources: Vec<String>,
    /// What each call of such tools costs, such as 'search_*=0.01 USD'; the first that has the tool decides [may be repeated]
    #[arg(long = "price", value_name = "PATTERN=AMOUNT")]
    prices: Vec<PriceArgument>,
    /// How long a call may take, at most 1h [default: 1m]
    #[arg(long, value_name = "DURATION", value_parser = timeout)]
    timeout: Option<prost_types::Duration>,
    /// How many calls each replica has open at it at the same time; 0: any number [default: 0]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    parallel: Option<i32>,
    /// How long the arguments of a call may be, at most 32MiB [default: 4MiB]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    arguments_max: Option<i64>,
    /// How long a result may be, at most 32MiB [default: 4MiB]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    result_max: Option<i64>,
    /// How its tools are approved: first_use, approval, off [default: first_use]
    #[arg(long, value_parser = pinning)]
    pinning: Option<String>,
}

impl McpServerCommand {
    pub(crate) async fn run(self, context: &Context) -> Result<Answer, Failure> {
        let mut client = context.client.mcp();
        let server = match self {
            Self::Create(create) => {
                let request = v1::CreateMcpServerRequest { mcp_server: Some(create.server()?) };
                client.create_mcp_server(request).await?.into_inner()
            }
            Self::Get(Named { name }) => get(context, name).await?,
            Self::List(Listing { filter, limit }) => {
                let found = all(context, limit, Filter::new(filter).text()).await?;
                return context.format.list(&views(context, found).await);
            }
            Self::Update(update) => {
                let (named, wanted, said, update_mask) = update.change()?;
                let v1::McpServer { id, oauth, .. } = get(context, named).await?;
                // The wire has a client as a whole: what is not said of it stays.
                let oauth = said.map(|said| said.over(oauth.unwrap_or_default()));
                let wanted = v1::McpServer { id, oauth, ..wanted };
                let request = v1::UpdateMcpServerRequest { mcp_server: Some(wanted), update_mask: Some(update_mask) };
                client.update_mcp_server(request).await?.into_inner()
            }
            Self::Delete(Deletion { name, etag }) => {
                let request = v1::DeleteMcpServerRequest { mcp_server: name.clone(), etag: etag.unwrap_or_default() };
                client.delete_mcp_server(request).await?;
                return done(context.format, "deleted", "mcp-server", &name);
            }
            Self::Tools(Named { name }) => return mcp_tool::list(context, Some(name), None, Listing::default()).await,
            Self::Grants(grants) => return grants.list(context).await,
            Self::Disconnect(disconnect) => return disconnect.run(context).await,
            Self::Test(test) => return test.run(context).await,
        };
        one(context, views(context, vec![server]).await)
    }
}

impl Create {
    fn server(self) -> Result<v1::McpServer, Failure> {
        let Self { name, url, allow_private, truncate, record_arguments, disabled, rest } = self;
        let (auth, secret) = rest.auth().unwrap_or_default();
        let Rest {
            transport,
            bearer: _,
            header: _,
            document,
            client,
            customers,
            teams,
            keys,
            tools,
            prompts,
            resources,
            prices,
            timeout,
            parallel,
            arguments_max,
            result_max,
            pinning,
        } = rest;
        Ok(v1::McpServer {
            // The grammar lets exactly one of the two through.
            name: name.positional.or(name.option).unwrap_or_default(),
            disabled,
            url: url.unwrap_or_default(),
            allow_private,
            transport: transport.unwrap_or_default(),
            document: document.as_deref().map(document_text).transpose()?.unwrap_or_default(),
            oauth: client.is_said().then(|| client.over(v1::McpOAuth::default())),
            auth,
            secret,
            customers,
            teams,
            keys,
            tools,
            prompts,
            resources,
            prices: prices.into_iter().map(PriceArgument::into_wire).collect(),
            timeout,
            parallel: parallel.unwrap_or_default(),
            arguments_bytes: arguments_max.unwrap_or_default(),
            result_bytes: result_max.unwrap_or_default(),
            truncate,
            record_arguments,
            pinning: pinning.unwrap_or_default(),
            ..v1::McpServer::default()
        })
    }
}

impl Rest {
    /// How a secret is shown, and the secret, if one was given.
    fn auth(&self) -> Option<(String, String)> {
        match (&self.bearer, &self.header, &self.client.oauth) {
            (Some(secret), ..) => Some(("bearer".to_owned(), secret.clone().into_wire())),
            (None, Some(HeaderSecret { name, secret }), _) => {
                Some((format!("header:{name}"), secret.clone().into_wire()))
            }
            (None, None, Some(flow)) => {
                let secret = self.client.client_secret.clone().map(SecretArgument::into_wire);
                Some((flow.clone(), secret.unwrap_or_default()))
            }
            (None, None, None) => None,
        }
    }
}

/// Reads an OpenAPI document, which the control plane checks.
fn document_text(path: &Path) -> Result<String, Failure> {
    let read = File::open(path).and_then(|mut file| read_bounded(&mut file));
    read.map_err(|error| Failure::unreadable(&path.display().to_string(), &error))
}

/// Every server, with its document, which a list leaves out.
pub(crate) async fn whole(context: &Context) -> Result<Vec<v1::McpServer>, Failure> {
    let mut servers = all(context, None, String::new()).await?;
    for server in servers.iter_mut().filter(|server| server.transport == Transport::OpenApi.word()) {
        *server = get(context, server.id.clone()).await?;
    }
    Ok(servers)
}

/// One server, by id or name.
pub(crate) async fn get(context: &Context, named: String) -> Result<v1::McpServer, Failure> {
    let request = v1::GetMcpServerRequest { mcp_server: named };
    Ok(context.client.mcp().get_mcp_server(request).await?.into_inner())
}

/// Follows the list of servers.
pub(crate) async fn all(context: &Context, limit: Option<u32>, filter: String) -> Result<Vec<v1::McpServer>, Failure> {
    let mut client = context.client.mcp();
    pages(limit, async |page_size: i32, page_token: String| {
        let request = v1::ListMcpServersRequest { page_size, page_token, filter: filter.clone() };
        let page = client.list_mcp_servers(request).await?.into_inner();
        Ok((page.mcp_servers, page.next_page_token))
    })
    .await
}

async fn views(context: &Context, servers: Vec<v1::McpServer>) -> Vec<McpServerView> {
    let mut names = Names::default();
    for (noun, ids) in [
        (Noun::Customer, servers.iter().flat_map(|each| &each.customers).collect::<Vec<_>>()),
        (Noun::Team, servers.iter().flat_map(|each| &each.teams).collect()),
    ] {
        names.learn(context, noun, ids.into_iter().map(String::as_str)).await;
    }
    servers.into_iter().map(|server| McpServerView::new(server, &names)).collect()
}
