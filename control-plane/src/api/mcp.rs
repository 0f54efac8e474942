//! McpService.
//!
//! Reading order: here, the servers; [`written`], one as it is shown, and [`fields`], as it is read; [`secret`], what it is shown; [`oauth`],
//! whose tokens it is shown; [`document`], what an HTTP API can; [`tools`], what servers offer, and who approves it; [`trial`], whether replicas
//! can use one; [`grants`], what users permitted.

mod written;
mod fields;
mod secret;
mod oauth;
mod document;
mod tools;
mod trial;
mod grants;

use tollgate_policy::{
    id::McpServerId,
    mcp::{MCP_SERVERS_MAX, Pinning},
    name::Name,
};
use tollgate_proto::admin::v1::{self, mcp_service_server::McpService};
use tonic::{Request, Response, Status};

use self::{
    fields::Draft,
    written::{fields_of, written},
};
use super::{
    Admin, authorize::Authorized, failure::Failure, filter::Filter, mask::Mask, owners, page::Page, providers,
    violations::Violations, wire,
};
use crate::{
    audit, base_url,
    change::{Change, Done},
    clock,
    mcp_oauth::ending::Ended,
    observe::{self, target},
    store::{
        Txn,
        mcp::{McpServer, McpServerFilter, grants::Ending, observations::Health},
    },
};

const CHANGEABLE: [&str; 23] = [
    "name",
    "disabled",
    "url",
    "allow_private",
    "transport",
    "auth",
    "secret",
    "customers",
    "teams",
    "keys",
    "tools",
    "prompts",
    "resources",
    "prices",
    "timeout",
    "parallel",
    "arguments_bytes",
    "result_bytes",
    "truncate",
    "record_arguments",
    "pinning",
    "oauth",
    "document",
];

#[tonic::async_trait]
impl McpService for Admin {
    async fn create_mcp_server(
        &self,
        request: Request<v1::CreateMcpServerRequest>,
    ) -> Result<Response<v1::McpServer>, Status> {
        let (by, message) = Authorized::take(request)?;
        Ok(Response::new(self.mcp_server_create(&by, message.mcp_server.unwrap_or_default()).await?))
    }

    async fn get_mcp_server(
        &self,
        request: Request<v1::GetMcpServerRequest>,
    ) -> Result<Response<v1::McpServer>, Status> {
        let (_, message) = Authorized::take(request)?;
        let mut txn = self.store.begin_read().await.map_err(Failure::from)?;
        let server = find(&mut txn, &message.mcp_server).await?;
        Ok(Response::new(shown(&mut txn, &server).await?))
    }

    async fn list_mcp_servers(
        &self,
        request: Request<v1::ListMcpServersRequest>,
    ) -> Result<Response<v1::ListMcpServersResponse>, Status> {
        let (_, message) = Authorized::take(request)?;
        Ok(Response::new(self.mcp_server_list(message).await?))
    }

    async fn update_mcp_server(
        &self,
        request: Request<v1::UpdateMcpServerRequest>,
    ) -> Result<Response<v1::McpServer>, Status> {
        let (by, message) = Authorized::take(request)?;
        Ok(Response::new(self.mcp_server_update(&by, message).await?))
    }

    async fn delete_mcp_server(&self, request: Request<v1::DeleteMcpServerRequest>) -> Result<Response<()>, Status> {
        let (by, message) = Authorized::take(request)?;
        self.mcp_server_delete(&by, &message.mcp_server, &message.etag).await?;
        Ok(Response::new(()))
    }

    async fn test_mcp_server(
        &self,
        request: Request<v1::TestMcpServerRequest>,
    ) -> Result<Response<v1::TestMcpServerResponse>, Status> {
        let (by, message) = Authorized::take(request)?;
        Ok(Response::new(self.mcp_server_test(&by, message).await?))
    }

    async fn list_mcp_tools(
        &self,
        request: Request<v1::ListMcpToolsRequest>,
    ) -> Result<Response<v1::ListMcpToolsResponse>, Status> {
        let (_, message) = Authorized::take(request)?;
        Ok(Response::new(self.mcp_tool_list(message).await?))
    }

    async fn get_mcp_tool(&self, request: Request<v1::GetMcpToolRequest>) -> Result<Response<v1::McpTool>, Status> {
        let (_, message) = Authorized::take(request)?;
        let mut txn = self.store.begin_read().await.map_err(Failure::from)?;
        let server = find(&mut txn, &message.mcp_server).await?;
        Ok(Response::new(tools::shown(&mut txn, &server, &message.tool).await?))
    }

    async fn approve_mcp_tool(
        &self,
        request: Request<v1::ApproveMcpToolRequest>,
    ) -> Result<Response<v1::McpTool>, Status> {
        let (by, message) = Authorized::take(request)?;
        Ok(Response::new(self.mcp_tool_approve(&by, message).await?))
    }

    async fn block_mcp_tool(&self, request: Request<v1::BlockMcpToolRequest>) -> Result<Response<v1::McpTool>, Status> {
        let (by, message) = Authorized::take(request)?;
        Ok(Response::new(self.mcp_tool_block(&by, message).await?))
    }

    async fn list_mcp_grants(
        &self,
        request: Request<v1::ListMcpGrantsRequest>,
    ) -> Result<Response<v1::ListMcpGrantsResponse>, Status> {
        let (by, message) = Authorized::take(request)?;
        Ok(Response::new(self.mcp_grant_list(&by, message).await?))
    }

    async fn revoke_mcp_grant(&self, request: Request<v1::RevokeMcpGrantRequest>) -> Result<Response<()>, Status> {
        let (by, message) = Authorized::take(request)?;
        self.mcp_grant_revoke(&by, message).await?;
        Ok(Response::new(()))
    }
}

impl Admin {
    async fn mcp_server_create(&self, by: &Authorized, wire: v1::McpServer) -> Result<v1::McpServer, Failure> {
        let mut violations = Violations::default();
        violations.output_only([
            ("id", !wire.id.is_empty()),
            ("reference", !wire.reference.is_empty()),
            ("etag", !wire.etag.is_empty()),
            ("create_time", wire.create_time.is_some()),
            ("update_time", wire.update_time.is_some()),
            ("health", wire.health.is_some()),
            ("secret_stored", wire.secret_stored),
            ("left_out", !wire.left_out.is_empty()),
        ]);
        let mut secrets = providers::credentials::Secrets::default();
        let draft = Draft::read(&wire, None, (&self.minter, &mut secrets), &mut violations)?;
        let mut change = Change::begin(&self.store, by).await?;
        let owners = owners::read(&mut change.txn, &wire.customers, &wire.teams, &mut violations).await?;
        let draft = violations.finish(draft)?;
        ensure_free(&mut change.txn, &draft.name, None).await?;
        ensure_room(&mut change.txn).await?;
        let server = draft.server(wire::new_id(McpServerId::from_ulid)?, owners, change.created());
        change.txn.mcp_server_insert(&server).await?;
        secrets.store(&mut change.txn, &self.keyring).await?;
        let target = target(&server);
        let action = Some("mcp-server.create");
        change.finish(Done { target: &target, after: Some(fields_of(&server)), action, ..Done::default() }).await?;
        Ok(whole(&server, None))
    }

    async fn mcp_server_list(&self, message: v1::ListMcpServersRequest) -> Result<v1::ListMcpServersResponse, Failure> {
        let v1::ListMcpServersRequest { page_size, page_token, filter } = message;
        let mut violations = Violations::default();
        let page = Page::read("mcp-servers", &filter, page_size, &page_token, &mut violations);
        let after = page.created_after(&mut violations);
        let mut terms = Filter::read(&filter, &["name", "disabled"], &mut violations);
        let filter =
            McpServerFilter { name: terms.text_match("name"), disabled: terms.flag("disabled", &mut violations) };
        let filter = violations.finish(Some(filter))?;
        let mut txn = self.store.begin_read().await?;
        let rows = txn.mcp_server_list(&filter, after.as_ref(), page.limit()).await?;
        let health = txn.mcp_health(None, clock::now_ms()).await?;
        txn.end().await?;
        // A page of documents would be more than a message may hold.
        let written =
            |row: &McpServer| v1::McpServer { document: String::new(), ..written(row, health.get(row.id.as_str())) };
        let (mcp_servers, next_page_token) = page.write_created(&rows, written, |row| (row.stamp, row.id.as_str()));
        Ok(v1::ListMcpServersResponse { mcp_servers, next_page_token })
    }

    async fn mcp_server_update(
        &self,
        by: &Authorized,
        message: v1::UpdateMcpServerRequest,
    ) -> Result<v1::McpServer, Failure> {
        let wire = message.mcp_server.unwrap_or_default();
        let mut violations = Violations::default();
        let mask = Mask::read(message.update_mask.as_ref(), &CHANGEABLE, &mut violations);
        let named = wire::named(McpServerId::NOUN, &wire.id, &wire.name, &mask, &mut violations);
        let mut change = Change::begin(&self.store, by).await?;
        let old = match &named {
            Some(named) => locked(&mut change.txn, named).await?,
            None => return violations.finish(None),
        };
        wire::ensure_fresh(McpServerId::NOUN, &old.name, &wire.etag, &old.stamp)?;
        let mut secrets = providers::credentials::Secrets::default();
        let merged = fields::merged(&old, &wire, &mask);
        let draft = Draft::read(&merged, Some(&old), (&self.minter, &mut secrets), &mut violations)?;
        let asked = (wire.customers.as_slice(), wire.teams.as_slice());
        let owners = owners::merged(&mut change.txn, &old.owners, asked, &mask, &mut violations).await?;
        let new = violations.finish(draft)?.server(old.id.clone(), owners, old.stamp);
        if new == old && secrets.is_empty() {
            return shown(&mut change.txn, &old).await;
        }
        ensure_free(&mut change.txn, &new.name, Some(&old.id)).await?;
        let is_another = oauth::is_another(&old, &new);
        // Before the server is another one: those who gave the tokens are told as whom they know.
        let ended = match is_another || oauth::asks_anew(&old, &new) {
            true => self.mcp_server_end(&mut change, &old).await?,
            false => Vec::new(),
        };
        let grants = old.grants + i64::from(is_another || !ended.is_empty());
        let new = McpServer { stamp: change.updated(old.stamp), grants, ..new };
        change.txn.mcp_server_update(&new).await?;
        secrets.store(&mut change.txn, &self.keyring).await?;
        self.mcp_server_settle(&mut change, &old, &new).await?;
        let answer = shown(&mut change.txn, &new).await?;
        let (before, after) = (Some(fields_of(&old)), Some(fields_of(&new)));
        let action = Some("mcp-server.update");
        change.finish(Done { target: &target(&new), before, after, action, ..Done::default() }).await?;
        self.fleet.mcp().tell(ended);
        Ok(answer)
    }

    // What of the approvals of its tools follows from a change of a server.
    async fn mcp_server_settle(
        &self,
        change: &mut Change<'_>,
        old: &McpServer,
        new: &McpServer,
    ) -> Result<(), Failure> {
        if old.url != new.url && !base_url::has_same_origin(&old.url, &new.url) {
            change.txn.mcp_server_moved(&new.id).await?;
        } else if old.pinning != new.pinning {
            match new.pinning {
                Pinning::FirstUse => {
                    let by = (change.by().principal(), change.now);
                    let entries = observe::settle(&mut change.txn, new, by).await?;
                    if !entries.is_empty() {
                        audit::append_all(&mut change.txn, &entries).await?;
                    }
                }
                Pinning::Approval => change.txn.mcp_tools_close(&new.id).await?,
                Pinning::Off => {}
            }
        }
        Ok(())
    }

    async fn mcp_server_delete(&self, by: &Authorized, named: &str, etag: &str) -> Result<(), Failure> {
        let mut change = Change::begin(&self.store, by).await?;
        let server = locked(&mut change.txn, named).await?;
        wire::ensure_fresh(McpServerId::NOUN, &server.name, etag, &server.stamp)?;
        let ended = self.mcp_server_end(&mut change, &server).await?;
        if let Some(credential) = &server.credential {
            change.txn.secret_delete(providers::credentials::place(&credential.id)).await?;
        }
        change.txn.mcp_server_delete(&server.id, change.revision).await?;
        let target = target(&server);
        let action = Some("mcp-server.delete");
        change.finish(Done { target: &target, before: Some(fields_of(&server)), action, ..Done::default() }).await?;
        self.fleet.mcp().tell(ended);
        Ok(())
    }

    // Every token that was got for a server, and the client that was registered for it.
    async fn mcp_server_end(&self, change: &mut Change<'_>, server: &McpServer) -> Result<Vec<Ended>, Failure> {
        let ended = self.fleet.mcp().end(&mut change.txn, Ending::Server(&server.id), change.revision).await?;
        self.fleet.mcp().forget(&mut change.txn, server).await?;
        Ok(ended)
    }
}

/// Refuses to delete an object that a server names: without it the server would be for others, or for everybody. `named` is the object as
/// people read it, `subject` as the log does.
pub(super) async fn ensure_unnamed(txn: &mut Txn, id: &str, named: &str, subject: &str) -> Result<(), Failure> {
    let servers = txn.mcp_servers_naming(id).await?;
    if servers.is_empty() {
        return Ok(());
    }
    let these = if servers.len() == 1 { "this server" } else { "these servers" };
    let sentence =
        format!("{named} is named by {}: take it out of {these} first", wire::quoted("MCP server", &servers));
    Err(Failure::Blocked { subject: subject.to_owned(), sentence })
}

async fn shown(txn: &mut Txn, server: &McpServer) -> Result<v1::McpServer, Failure> {
    let health = txn.mcp_health(Some(&server.id), clock::now_ms()).await?;
    Ok(whole(server, health.get(server.id.as_str())))
}

// With what of its document is no tool.
fn whole(server: &McpServer, health: Option<&Health>) -> v1::McpServer {
    let left_out = server.document.as_deref().map(document::left_out).unwrap_or_default();
    v1::McpServer { left_out, ..written(server, health) }
}

async fn find(txn: &mut Txn, named: &str) -> Result<McpServer, Failure> {
    txn.mcp_server_find(named).await?.ok_or_else(|| missing(named))
}

// As it is when no replica observes it at the same time.
async fn locked(txn: &mut Txn, named: &str) -> Result<McpServer, Failure> {
    let found = find(txn, named).await?;
    txn.mcp_server_lock(&found.id).await?.ok_or_else(|| missing(named))
}

fn missing(named: &str) -> Failure {
    Failure::NotFound { kind: McpServerId::NOUN, name: wire::shown(named) }
}

async fn ensure_free(txn: &mut Txn, name: &Name, own: Option<&McpServerId>) -> Result<(), Failure> {
    match txn.mcp_server_find(name.as_str()).await? {
        Some(other) if Some(&other.id) != own => Err(wire::taken(McpServerId::NOUN, name)),
        _ => Ok(()),
    }
}

async fn ensure_room(txn: &mut Txn) -> Result<(), Failure> {
    if txn.mcp_server_count().await? < i64::try_from(MCP_SERVERS_MAX).unwrap_or(i64::MAX) {
        return Ok(());
    }
    let sentence = format!("there are {MCP_SERVERS_MAX} servers of tools, which is the most: delete one first");
    Err(Failure::Blocked { subject: McpServerId::NOUN.to_owned(), sentence })
}
