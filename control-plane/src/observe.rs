//! What replicas find at servers of tools, and what follows of it: the first use of a tool approves its definition where that is asked
//! for, and another definition beside an approved one is put into quarantine, which the log tells.
//!
//! Replicas observe at the same time, and may be given different answers. The row of the server is locked, so that one decision is made of
//! it; the state of a tool is about what was seen last.
//!
//! Reading order: [`read`], an observation within its bounds; [`verdict`], what a definition that was seen means; then [`take`].

use serde_json::{Map, Value, json};
use tollgate_audit::{Entry, Facts, Outcome};
use tollgate_policy::{id::ReplicaId, mcp::Pinning};

use self::{
    read::Observation,
    verdict::{Verdict, verdict},
};
use crate::{
    api::wire::fields,
    audit, clock, definition,
    store::{
        Store, StoreError, Txn,
        mcp::{
            McpServer,
            observations::Found,
            tools::{Definition, FIRST_USE, Known, is_full},
        },
    },
};

pub(crate) mod read;
mod verdict;

/// The most tools of a server that are remembered, those that it no longer has included: a server cannot fill the database with names. One
/// beyond them is as one that nobody approves.
const TOOLS_KNOWN_MAX: usize = 4_000;
/// The most definitions of a tool that are remembered beside the approved ones: a server cannot fill the database with versions.
const DEFINITIONS_MAX: usize = 8;
/// How seldom it is written down that a definition is still there.
const SEEN_AGAIN_MS: i64 = 10 * 60_000;
/// The most lines of a difference, and the most flags, that an entry of the log has room for.
const TOLD_MAX: usize = 20;
/// The longest of them, in bytes.
const TOLD_BYTES_MAX: usize = 200;

/// Takes what a replica finds. What concerns no server that there is, or another place than where it is now, is left out.
pub(crate) async fn take(store: &Store, replica: &ReplicaId, found: &Observation) -> Result<(), StoreError> {
    let mut txn = store.begin().await?;
    match round(&mut txn, replica, found, None).await? {
        Some(()) => txn.commit().await,
        // An approval takes a revision, whose row is locked before that of an object: everything is looked at again.
        None => {
            txn.end().await?;
            let mut txn = store.begin().await?;
            let revision = txn.advance_revision().await?;
            round(&mut txn, replica, found, Some(revision)).await?;
            txn.commit().await
        }
    }
}

// `None`: something is to be approved, and there is no revision for it.
async fn round(
    txn: &mut Txn,
    replica: &ReplicaId,
    found: &Observation,
    revision: Option<i64>,
) -> Result<Option<()>, StoreError> {
    let Some(server) = txn.mcp_server_lock(&found.server).await?.filter(|server| server.url == found.url) else {
        return Ok(Some(()));
    };
    let known = txn.mcp_tools_known(&server.id).await?;
    let mut pins = known.values().map(|tool| tool.approved.len()).sum::<usize>();
    let mut names = known.len();
    let mut plan = Vec::new();
    for seen in &found.tools {
        let tool = known.get(&seen.tool);
        if tool.is_none() && names >= TOOLS_KNOWN_MAX {
            continue;
        }
        names += usize::from(tool.is_none());
        let verdict = verdict(server.pinning, tool, &seen.hash, is_full(i64::try_from(pins).unwrap_or(i64::MAX)));
        pins += usize::from(verdict == Verdict::Approve);
        plan.push((seen, tool, verdict));
    }
    let approves = plan.iter().any(|(_, _, verdict)| *verdict == Verdict::Approve);
    if approves && revision.is_none() {
        return Ok(None);
    }
    let now = clock::now_ms();
    let mut entries = Vec::new();
    for (seen, tool, verdict) in plan {
        entries.extend(note(txn, &server, (seen, tool, verdict), (replica, now)).await?);
    }
    if found.complete {
        let is_missing = |name: &str| !found.tools.iter().any(|seen| seen.tool == name);
        let mut gone: Vec<&String> =
            known.iter().filter(|(name, tool)| tool.is_present && is_missing(name)).map(|(name, _)| name).collect();
        gone.sort_unstable();
        for name in &gone {
            txn.mcp_tool_gone(&server.id, name).await?;
        }
        // One entry for all of them: a server that comes and goes does not fill the log.
        if !gone.is_empty() {
            let (count, names) = (gone.len(), gone.into_iter().cloned().collect::<Vec<_>>());
            let detail =
                fields([("server", json!(server.name.as_str())), ("tools", told(&names)), ("count", json!(count))]);
            entries.push(entry("mcp-tool.withdraw", &server, detail, (replica, now)));
        }
    }
    let Observation { problem, protocol, software, tests, .. } = found;
    let found = Found { replica: replica.as_str(), problem, protocol, software, time: now, tests: *tests };
    txn.mcp_observed(&server.id, &found).await?;
    if let Some(revision) = revision.filter(|_| approves) {
        txn.mcp_server_touch(&server.id, revision).await?;
    }
    if !entries.is_empty() {
        audit::append_all(txn, &entries).await?;
    }
    Ok(Some(()))
}

// Writes down one definition that was seen, and what it means.
async fn note(
    txn: &mut Txn,
    server: &McpServer,
    (seen, tool, verdict): (&Definition, Option<&Known>, Verdict),
    (replica, now): (&ReplicaId, i64),
) -> Result<Option<Entry>, StoreError> {
    let kept = tool.and_then(|tool| tool.definitions.get(&seen.hash));
    let is_same = tool.is_some_and(|tool| tool.is_present && tool.hash == seen.hash);
    if !is_same || kept.is_none_or(|kept| now - kept.last_seen >= SEEN_AGAIN_MS) {
        txn.mcp_tool_seen(&server.id, seen, verdict == Verdict::Open, now).await?;
    }
    if let Some(tool) = tool.filter(|_| kept.is_none()) {
        forget(txn, server, &seen.tool, tool).await?;
    }
    match verdict {
        Verdict::Approve => {
            txn.mcp_pin_add(&server.id, (&seen.tool, &seen.hash), FIRST_USE, now).await?;
            let detail = detail(server, seen);
            Ok(Some(entry("mcp-tool.approve", server, detail, (replica, now))))
        }
        Verdict::Quarantine if kept.is_none_or(|kept| !kept.is_quarantined) => {
            txn.mcp_definition_quarantine(&server.id, &seen.tool, &seen.hash).await?;
            let mut detail = detail(server, seen);
            if let Some(hash) = tool.and_then(|tool| tool.approved.last()) {
                detail.insert("approved_hash".into(), json!(hash));
                if let Some(approved) = txn.mcp_definition(&server.id, &seen.tool, hash).await? {
                    let difference = definition::difference(&approved.text, &seen.text);
                    detail.insert("difference".into(), told(&difference));
                }
            }
            tracing::warn!(server = %server.name, tool = seen.tool, hash = seen.hash, "a tool that was approved has another definition");
            Ok(Some(entry("mcp-tool.quarantine", server, detail, (replica, now))))
        }
        Verdict::Quarantine | Verdict::Open | Verdict::Leave => Ok(None),
    }
}

// Makes room for one more definition of a tool: those go that were not seen for the longest time, and were not approved.
async fn forget(txn: &mut Txn, server: &McpServer, name: &str, tool: &Known) -> Result<(), StoreError> {
    let mut loose: Vec<_> = tool.definitions.iter().filter(|(hash, _)| !tool.approved.contains(hash)).collect();
    loose.sort_unstable_by_key(|(hash, kept)| (kept.last_seen, *hash));
    let many = (loose.len() + 1).saturating_sub(DEFINITIONS_MAX);
    for (hash, _) in loose.into_iter().take(many) {
        txn.mcp_definition_forget(&server.id, name, hash).await?;
    }
    Ok(())
}

/// Approves what servers have, of whose tools none needed an approval until now: from here on, their next definition does.
pub(crate) async fn settle(
    txn: &mut Txn,
    server: &McpServer,
    (by, now): (&str, i64),
) -> Result<Vec<Entry>, StoreError> {
    let mut entries = Vec::new();
    let known = txn.mcp_tools_known(&server.id).await?;
    let mut pins = known.values().map(|tool| tool.approved.len()).sum::<usize>();
    let mut open: Vec<_> = known.into_iter().filter(|(_, tool)| tool.is_open && tool.is_present).collect();
    open.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    for (name, tool) in open {
        let is_full = is_full(i64::try_from(pins).unwrap_or(i64::MAX));
        if verdict(server.pinning, Some(&tool), &tool.hash, is_full) != Verdict::Approve {
            continue;
        }
        let Some(seen) = txn.mcp_definition(&server.id, &name, &tool.hash).await? else { continue };
        pins += 1;
        txn.mcp_pin_add(&server.id, (&name, &tool.hash), FIRST_USE, now).await?;
        let target = target(server);
        let facts = Facts { initiator: by, target: &target, detail: detail(server, &seen), ..Facts::default() };
        entries.push(Entry::new(now, "mcp-tool.approve", Outcome::Allowed, facts));
    }
    Ok(entries)
}

/// What the log calls a server.
pub(crate) fn target(server: &McpServer) -> String {
    format!("{}/{}", tollgate_policy::id::McpServerId::NOUN, server.id)
}

/// What the log is told of a definition.
pub(crate) fn detail(server: &McpServer, seen: &Definition) -> Map<String, Value> {
    fields([
        ("server", json!(server.name.as_str())),
        ("tool", json!(seen.tool)),
        ("hash", json!(seen.hash)),
        ("flags", told(&seen.flags)),
    ])
}

/// Lines, as many and as long as an entry has room for.
pub(crate) fn told(lines: &[String]) -> Value {
    let cut = |line: &String| Value::from(line.get(..line.floor_char_boundary(TOLD_BYTES_MAX)).unwrap_or_default());
    lines.iter().take(TOLD_MAX).map(cut).collect()
}

fn entry(action: &str, server: &McpServer, detail: Map<String, Value>, (replica, now): (&ReplicaId, i64)) -> Entry {
    let target = target(server);
    let facts = Facts { initiator: "system", target: &target, replica: replica.as_str(), detail, ..Facts::default() };
    Entry::new(now, action, Outcome::Allowed, facts)
}
