//! What servers offer, and who approves it.

use serde_json::json;
use tollgate_policy::mcp::{PINS_MAX, Pinning};
use tollgate_proto::admin::v1;

use super::{
    super::{Admin, authorize::Authorized, failure::Failure, filter::Filter, page::Page, violations::Violations, wire},
    locked,
};
use crate::{
    change::{Change, Done},
    definition,
    observe::{self, target},
    store::{
        TextMatch, Txn,
        mcp::{
            McpServer,
            tools::{Definition, Known, Listed, STATES, ToolFilter, is_full},
        },
    },
};

/// What the log and errors call a tool.
const NOUN: &str = "mcp-tool";
/// The most definitions of one tool that are approved at a time: a server may give older ones while it is rolled out.
const APPROVED_MAX: usize = 4;

impl Admin {
    pub(super) async fn mcp_tool_list(
        &self,
        message: v1::ListMcpToolsRequest,
    ) -> Result<v1::ListMcpToolsResponse, Failure> {
        let v1::ListMcpToolsRequest { page_size, page_token, filter } = message;
        let mut violations = Violations::default();
        let page = Page::read("mcp-tools", &filter, page_size, &page_token, &mut violations);
        let behind = page.after.as_deref().map(|text| text.split_once('/').ok_or("is not one of this list"));
        let behind = behind.and_then(|behind| violations.take("page_token", behind));
        let mut terms = Filter::read(&filter, &["server", "state"], &mut violations);
        let state = |word: &str| STATES.into_iter().find(|state| *state == word);
        let filter = ToolFilter {
            server: terms.text_match("server"),
            state: terms.word("state", state, &mut violations),
            tool: None,
        };
        let filter = violations.finish(Some(filter))?;
        let mut txn = self.store.begin_read().await?;
        let rows = txn.mcp_tools_list(&filter, behind, page.limit()).await?;
        txn.end().await?;
        let (mcp_tools, next_page_token) = page.write(&rows, written, |row| format!("{}/{}", row.server, row.tool));
        Ok(v1::ListMcpToolsResponse { mcp_tools, next_page_token })
    }

    pub(super) async fn mcp_tool_approve(
        &self,
        by: &Authorized,
        message: v1::ApproveMcpToolRequest,
    ) -> Result<v1::McpTool, Failure> {
        let v1::ApproveMcpToolRequest { mcp_server, tool, hash } = message;
        let mut violations = Violations::default();
        let hash = hash.to_ascii_lowercase();
        let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        let refusal =
            "must be the hash of the definition that was looked at, 64 hexadecimal digits, as GetMcpTool gives it";
        let hash = violations.take("hash", is_hash.then_some(hash).ok_or(refusal));
        let hash = violations.finish(hash)?;
        let mut change = Change::begin(&self.store, by).await?;
        let server = locked(&mut change.txn, &mcp_server).await?;
        let mut all = change.txn.mcp_tools_known(&server.id).await?;
        let known = all.remove(&tool).ok_or_else(|| missing(&tool))?;
        ensure_current(&server, &tool, &known, &hash)?;
        if !known.is_blocked && known.approved.last() == Some(&hash) {
            return shown(&mut change.txn, &server, &tool).await;
        }
        make_room(&mut change.txn, &server, (&tool, &known), &hash).await?;
        let by_whom = by.principal().to_owned();
        change.txn.mcp_pin_add(&server.id, (&tool, &hash), &by_whom, change.now).await?;
        change.txn.mcp_server_touch(&server.id, change.revision).await?;
        let mut told = told(&mut change.txn, &server, (&tool, &known)).await?;
        if let Some(before) = known.approved.last() {
            told.insert("approved_hash".into(), json!(before));
        }
        let answer = shown(&mut change.txn, &server, &tool).await?;
        let target = target(&server);
        change.finish(Done { target: &target, action: Some("mcp-tool.approve"), told, ..Done::default() }).await?;
        Ok(answer)
    }

    pub(super) async fn mcp_tool_block(
        &self,
        by: &Authorized,
        message: v1::BlockMcpToolRequest,
    ) -> Result<v1::McpTool, Failure> {
        let v1::BlockMcpToolRequest { mcp_server, tool } = message;
        let mut change = Change::begin(&self.store, by).await?;
        let server = locked(&mut change.txn, &mcp_server).await?;
        let mut all = change.txn.mcp_tools_known(&server.id).await?;
        let known = all.remove(&tool).ok_or_else(|| missing(&tool))?;
        if server.pinning == Pinning::Off {
            let sentence = format!(
                "no tool of '{}' needs an approval, since its pinning is off: add '!{tool}' to its tools, or set its pinning to approval",
                server.name
            );
            return Err(Failure::Blocked { subject: target(&server), sentence });
        }
        if known.is_blocked {
            return shown(&mut change.txn, &server, &tool).await;
        }
        let by_whom = by.principal().to_owned();
        change.txn.mcp_tool_block(&server.id, &tool, &by_whom, change.now).await?;
        change.txn.mcp_server_touch(&server.id, change.revision).await?;
        let mut told = told(&mut change.txn, &server, (&tool, &known)).await?;
        told.insert("approved_hashes".into(), json!(known.approved));
        let answer = shown(&mut change.txn, &server, &tool).await?;
        let target = target(&server);
        change.finish(Done { target: &target, action: Some("mcp-tool.block"), told, ..Done::default() }).await?;
        Ok(answer)
    }
}

/// One tool, with its definition and how that differs from the one that was approved last.
pub(super) async fn shown(txn: &mut Txn, server: &McpServer, tool: &str) -> Result<v1::McpTool, Failure> {
    let filter = ToolFilter {
        server: Some(TextMatch::Whole(server.name.to_string())),
        tool: Some(tool.to_owned()),
        ..ToolFilter::default()
    };
    let listed = txn.mcp_tools_list(&filter, None, 1).await?.pop().ok_or_else(|| missing(tool))?;
    let current = txn.mcp_definition(&server.id, tool, &listed.hash).await?.map(|kept| kept.text).unwrap_or_default();
    let approved = match listed.approved_hash.as_deref().filter(|approved| *approved != listed.hash) {
        Some(hash) => txn.mcp_definition(&server.id, tool, hash).await?,
        None => None,
    };
    let difference = approved.map(|approved| definition::difference(&approved.text, &current)).unwrap_or_default();
    Ok(v1::McpTool { definition: current, difference, ..written(&listed) })
}

// Only what is there now is approved: of whatever else, nobody looked at what an agent would get.
fn ensure_current(server: &McpServer, tool: &str, known: &Known, hash: &str) -> Result<(), Failure> {
    let sentence = if !known.is_present {
        format!("server '{}' no longer has the tool '{tool}': approve it when it is there again", server.name)
    } else if known.hash != hash {
        format!(
            "tool '{tool}' of server '{}' has another definition by now, {}: look at it again, and approve that hash",
            server.name, known.hash
        )
    } else {
        return Ok(());
    };
    Err(Failure::Blocked { subject: target(server), sentence })
}

// The oldest approvals of a tool go for a new one.
async fn make_room(
    txn: &mut Txn,
    server: &McpServer,
    (tool, known): (&str, &Known),
    hash: &str,
) -> Result<(), Failure> {
    let others: Vec<&String> = known.approved.iter().filter(|approved| *approved != hash).collect();
    let is_new = others.len() == known.approved.len();
    let is_full = is_new && is_full(txn.mcp_pin_count(&server.id).await?);
    if is_full && others.is_empty() {
        let sentence = format!(
            "{PINS_MAX} definitions of tools of '{}' are approved, which is the most: block tools that are no longer used first",
            server.name
        );
        return Err(Failure::Blocked { subject: target(server), sentence });
    }
    let many = (others.len() + 1).saturating_sub(APPROVED_MAX).max(usize::from(is_full));
    for gone in others.into_iter().take(many) {
        txn.mcp_pin_drop(&server.id, tool, gone).await?;
    }
    Ok(())
}

async fn told(
    txn: &mut Txn,
    server: &McpServer,
    (tool, known): (&str, &Known),
) -> Result<tollgate_audit::Fields, Failure> {
    let kept = txn.mcp_definition(&server.id, tool, &known.hash).await?;
    let bare = || Definition { tool: tool.to_owned(), hash: known.hash.clone(), text: String::new(), flags: vec![] };
    Ok(observe::detail(server, &kept.unwrap_or_else(bare)))
}

fn missing(tool: &str) -> Failure {
    Failure::NotFound { kind: NOUN, name: wire::shown(tool) }
}

fn written(row: &Listed) -> v1::McpTool {
    let Listed { server, tool, state, hash, flags, first_seen, approved_hash, decide_time, decided_by } = row;
    v1::McpTool {
        server: server.clone(),
        name: tool.clone(),
        state: state.clone(),
        hash: hash.clone(),
        definition: String::new(),
        approved_hash: approved_hash.clone().unwrap_or_default(),
        difference: Vec::new(),
        flags: flags.clone(),
        first_seen_time: Some(wire::timestamp(*first_seen)),
        decide_time: decide_time.map(wire::timestamp),
        decided_by: decided_by.clone(),
    }
}
