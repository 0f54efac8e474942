//! The rows of what servers offer: tools, their definitions, and which of those were approved.

use std::collections::HashMap;

use tollgate_policy::{
    id::McpServerId,
    mcp::{PIN_BYTES, PINS_MAX, Pin, Pinning},
};

use crate::store::{Row, StoreError, TextMatch, Txn};

/// What decided a tool when nobody was asked, in the place of who did.
pub const FIRST_USE: &str = "first use";

/// A tool that was ever seen at a server.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Known {
    /// The hash of the definition that was seen last, in hexadecimal digits.
    pub hash: String,
    /// Whether the server has it.
    pub is_present: bool,
    /// Whether the next first use may approve it.
    pub is_open: bool,
    /// Whether an administrator refused it.
    pub is_blocked: bool,
    /// The hashes of the definitions that were approved, the latest last.
    pub approved: Vec<String>,
    /// The definitions that are kept.
    pub definitions: HashMap<String, Kept>,
}

/// A definition that is kept.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Kept {
    /// When it was seen last, in Unix milliseconds.
    pub last_seen: i64,
    /// Whether the log was told of it beside an approved one.
    pub is_quarantined: bool,
}

/// A definition as it was seen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Definition {
    /// The tool.
    pub tool: String,
    /// Its hash, in hexadecimal digits.
    pub hash: String,
    /// The JSON object.
    pub text: String,
    /// What looks suspicious about it.
    pub flags: Vec<String>,
}

/// A tool as an administrator sees it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listed {
    /// The server, by name.
    pub server: String,
    /// The tool.
    pub tool: String,
    /// One of [`STATES`].
    pub state: String,
    /// The hash of the definition that was seen last.
    pub hash: String,
    /// What looks suspicious about it.
    pub flags: Vec<String>,
    /// When it was first seen, in Unix milliseconds.
    pub first_seen: i64,
    /// The hash of the definition that was approved last.
    pub approved_hash: Option<String>,
    /// When it was approved or blocked.
    pub decide_time: Option<i64>,
    /// By whom.
    pub decided_by: String,
}

/// The states of a tool.
pub const STATES: [&str; 5] = ["approved", "pending", "changed", "blocked", "gone"];

/// Which tools to list.
#[derive(Clone, Debug, Default)]
pub struct ToolFilter {
    /// The server's name.
    pub server: Option<TextMatch>,
    /// The state.
    pub state: Option<&'static str>,
    /// The tool's name.
    pub tool: Option<String>,
}

/// Each method fails as [`Txn::execute`] does.
impl Txn {
    /// Every tool that was ever seen at a server, by name.
    pub async fn mcp_tools_known(&mut self, server: &McpServerId) -> Result<HashMap<String, Known>, StoreError> {
        let server = server.as_str();
        let mut known: HashMap<String, Known> = HashMap::new();
        for row in self.fetch_all(sql!("SELECT * FROM mcp_tools WHERE server = $1", server)).await? {
            let tool = Known {
                hash: row.text("hash")?,
                is_present: row.flag("present")?,
                is_open: row.flag("open")?,
                is_blocked: row.flag("blocked")?,
                ..Known::default()
            };
            known.insert(row.text("tool")?, tool);
        }
        let select = sql!("SELECT tool, hash, last_seen, quarantined FROM mcp_definitions WHERE server = $1", server);
        for row in self.fetch_all(select).await? {
            let kept = Kept { last_seen: row.int("last_seen")?, is_quarantined: row.flag("quarantined")? };
            let tool = known.entry(row.text("tool")?).or_default();
            tool.definitions.insert(row.text("hash")?, kept);
        }
        let select = sql!("SELECT tool, hash FROM mcp_pins WHERE server = $1 ORDER BY number", server);
        for row in self.fetch_all(select).await? {
            known.entry(row.text("tool")?).or_default().approved.push(row.text("hash")?);
        }
        Ok(known)
    }

    /// Notes that a server has a tool with that definition. `is_open` is of one that was not known.
    pub async fn mcp_tool_seen(
        &mut self,
        server: &McpServerId,
        definition: &Definition,
        is_open: bool,
        now: i64,
    ) -> Result<(), StoreError> {
        let Definition { tool, hash, text, flags } = definition;
        let put = sql!(
            "INSERT INTO mcp_tools (server, tool, hash, present, open, blocked, decide_time, decided_by)
             VALUES ($1, $2, $3, 1, $4, 0, NULL, '')
             ON CONFLICT (server, tool) DO UPDATE SET hash = EXCLUDED.hash, present = 1",
            server.as_str(),
            tool,
            hash,
            is_open
        );
        self.execute(put).await?;
        let put = sql!(
            "INSERT INTO mcp_definitions (server, tool, hash, definition, flags, first_seen, last_seen, quarantined)
             VALUES ($1, $2, $3, $4, $5, $6, $6, 0)
             ON CONFLICT (server, tool, hash) DO UPDATE SET last_seen = EXCLUDED.last_seen",
            server.as_str(),
            tool,
            hash,
            text,
            crate::store::statement::list(flags),
            now
        );
        self.execute(put).await.map(drop)
    }

    /// Notes that a server has a tool no longer.
    pub async fn mcp_tool_gone(&mut self, server: &McpServerId, tool: &str) -> Result<(), StoreError> {
        let update = sql!("UPDATE mcp_tools SET present = 0 WHERE server = $1 AND tool = $2", server.as_str(), tool);
        self.execute(update).await.map(drop)
    }

    /// Forgets definitions of a tool, none of which is approved.
    pub async fn mcp_definition_forget(
        &mut self,
        server: &McpServerId,
        tool: &str,
        hash: &str,
    ) -> Result<(), StoreError> {
        let delete = sql!(
            "DELETE FROM mcp_definitions WHERE server = $1 AND tool = $2 AND hash = $3",
            server.as_str(),
            tool,
            hash
        );
        self.execute(delete).await.map(drop)
    }

    /// Notes that the log was told of a definition beside an approved one.
    pub async fn mcp_definition_quarantine(
        &mut self,
        server: &McpServerId,
        tool: &str,
        hash: &str,
    ) -> Result<(), StoreError> {
        let update = sql!(
            "UPDATE mcp_definitions SET quarantined = 1 WHERE server = $1 AND tool = $2 AND hash = $3",
            server.as_str(),
            tool,
            hash
        );
        self.execute(update).await.map(drop)
    }

    /// A definition that is kept.
    pub async fn mcp_definition(
        &mut self,
        server: &McpServerId,
        tool: &str,
        hash: &str,
    ) -> Result<Option<Definition>, StoreError> {
        let select = sql!(
            "SELECT * FROM mcp_definitions WHERE server = $1 AND tool = $2 AND hash = $3",
            server.as_str(),
            tool,
            hash
        );
        self.fetch_optional(select).await?.as_ref().map(Definition::read).transpose()
    }

    /// Approves a definition that is kept, in the name of somebody or of [`FIRST_USE`].
    pub async fn mcp_pin_add(
        &mut self,
        server: &McpServerId,
        (tool, hash): (&str, &str),
        by: &str,
        now: i64,
    ) -> Result<(), StoreError> {
        let put = sql!(
            "INSERT INTO mcp_pins (server, tool, hash, number, by_first_use)
             VALUES ($1, $2, $3, (SELECT COALESCE(MAX(number), 0) + 1 FROM mcp_pins WHERE server = $1 AND tool = $2), $4)
             ON CONFLICT (server, tool, hash) DO UPDATE SET number = EXCLUDED.number, by_first_use = EXCLUDED.by_first_use",
            server.as_str(),
            tool,
            hash,
            by == FIRST_USE
        );
        self.execute(put).await?;
        self.mcp_tool_decide(server, tool, false, by, now).await
    }

    /// Takes an approval back.
    pub async fn mcp_pin_drop(&mut self, server: &McpServerId, tool: &str, hash: &str) -> Result<(), StoreError> {
        let delete =
            sql!("DELETE FROM mcp_pins WHERE server = $1 AND tool = $2 AND hash = $3", server.as_str(), tool, hash);
        self.execute(delete).await.map(drop)
    }

    /// Takes every approval of a tool back, and lets none come by first use.
    pub async fn mcp_tool_block(
        &mut self,
        server: &McpServerId,
        tool: &str,
        by: &str,
        now: i64,
    ) -> Result<(), StoreError> {
        let delete = sql!("DELETE FROM mcp_pins WHERE server = $1 AND tool = $2", server.as_str(), tool);
        self.execute(delete).await?;
        self.mcp_tool_decide(server, tool, true, by, now).await
    }

    async fn mcp_tool_decide(
        &mut self,
        server: &McpServerId,
        tool: &str,
        is_blocked: bool,
        by: &str,
        now: i64,
    ) -> Result<(), StoreError> {
        let update = sql!(
            "UPDATE mcp_tools SET open = 0, blocked = $3, decide_time = $4, decided_by = $5 WHERE server = $1 AND tool = $2",
            server.as_str(),
            tool,
            is_blocked,
            now,
            by
        );
        self.execute(update).await.map(drop)
    }

    /// Lets no tool that is known be approved by first use.
    pub async fn mcp_tools_close(&mut self, server: &McpServerId) -> Result<(), StoreError> {
        self.execute(sql!("UPDATE mcp_tools SET open = 0 WHERE server = $1", server.as_str())).await.map(drop)
    }

    /// Forgets how replicas found a server, what was approved of it by first use, and every tool about which nobody decided: it is at
    /// another place, which has its own first use.
    pub async fn mcp_server_moved(&mut self, server: &McpServerId) -> Result<(), StoreError> {
        let server = server.as_str();
        self.execute(sql!("DELETE FROM mcp_observations WHERE server = $1", server)).await?;
        self.execute(sql!("DELETE FROM mcp_pins WHERE server = $1 AND by_first_use = 1", server)).await?;
        let delete = sql!(
            "DELETE FROM mcp_tools WHERE server = $1 AND blocked = 0 AND NOT EXISTS
             (SELECT 1 FROM mcp_pins p WHERE p.server = mcp_tools.server AND p.tool = mcp_tools.tool)",
            server
        );
        self.execute(delete).await?;
        self.execute(sql!("UPDATE mcp_tools SET present = 0 WHERE server = $1", server)).await.map(drop)
    }

    /// How many definitions of a server are approved.
    pub async fn mcp_pin_count(&mut self, server: &McpServerId) -> Result<i64, StoreError> {
        let select = sql!("SELECT COUNT(*) AS count FROM mcp_pins WHERE server = $1", server.as_str());
        self.fetch_one(select).await?.int("count")
    }

    /// What was approved of servers that changed after a revision, by server, sorted as replicas look it up.
    pub(super) async fn mcp_pins_changed(&mut self, after: i64) -> Result<HashMap<String, Vec<Pin>>, StoreError> {
        let select = sql!(
            "SELECT p.server, p.tool, p.hash FROM mcp_pins p JOIN mcp_servers s ON s.id = p.server WHERE s.revision > $1",
            after
        );
        let mut pins: HashMap<String, Vec<Pin>> = HashMap::new();
        for row in self.fetch_all(select).await? {
            let pin = Pin { tool: row.text("tool")?.into(), hash: row.parsed("hash", hash_of)? };
            pins.entry(row.text("server")?).or_default().push(pin);
        }
        pins.values_mut().for_each(|pins| pins.sort_unstable());
        Ok(pins)
    }

    /// The tools that match and stand behind a place, by the server's name and their own, at most so many.
    pub async fn mcp_tools_list(
        &mut self,
        filter: &ToolFilter,
        behind: Option<(&str, &str)>,
        limit: i64,
    ) -> Result<Vec<Listed>, StoreError> {
        let ToolFilter { server, state, tool } = filter;
        let mut select = listing();
        select.push(" WHERE 1 = 1");
        if let Some(server) = server {
            server.narrow(&mut select, "server_name");
        }
        select.narrow("state", *state);
        select.narrow("tool", tool.as_deref());
        if let Some((server, tool)) = behind {
            select.push(" AND (server_name, tool) > (");
            select.push_bind(server);
            select.push(", ");
            select.push_bind(tool);
            select.push(")");
        }
        select.push(" ORDER BY server_name, tool LIMIT ");
        select.push_bind(limit);
        self.fetch_all(select).await?.iter().map(Listed::read).collect()
    }
}

// Every tool with its state. What is asked of it stands behind.
pub(super) fn listing() -> crate::store::Statement {
    sql!(
        "SELECT * FROM (SELECT t.server, t.tool, t.hash, t.present, t.decide_time, t.decided_by, s.name AS server_name, d.flags,
         d.first_seen, (SELECT p.hash FROM mcp_pins p WHERE p.server = t.server AND p.tool = t.tool ORDER BY p.number DESC LIMIT 1)
         AS approved_hash,
         CASE WHEN t.blocked = 1 THEN 'blocked' WHEN t.present = 0 THEN 'gone'
         WHEN s.pinning = $1 OR EXISTS (SELECT 1 FROM mcp_pins p WHERE p.server = t.server AND p.tool = t.tool AND p.hash = t.hash)
         THEN 'approved'
         WHEN EXISTS (SELECT 1 FROM mcp_pins p WHERE p.server = t.server AND p.tool = t.tool) THEN 'changed'
         ELSE 'pending' END AS state
         FROM mcp_tools t JOIN mcp_servers s ON s.id = t.server
         JOIN mcp_definitions d ON d.server = t.server AND d.tool = t.tool AND d.hash = t.hash) listed",
        Pinning::Off.word()
    )
}

fn hash_of(text: &str) -> Result<[u8; PIN_BYTES], hex::FromHexError> {
    let mut bytes = [0; PIN_BYTES];
    hex::decode_to_slice(text, &mut bytes)?;
    Ok(bytes)
}

/// Whether so many approvals are as many as a replica takes.
#[must_use]
pub fn is_full(pins: i64) -> bool {
    usize::try_from(pins).is_ok_and(|pins| pins >= PINS_MAX)
}

// === impl Definition ===

impl Definition {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            tool: row.text("tool")?,
            hash: row.text("hash")?,
            text: row.text("definition")?,
            flags: row.list("flags")?,
        })
    }
}

// === impl Listed ===

impl Listed {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            server: row.text("server_name")?,
            tool: row.text("tool")?,
            state: row.text("state")?,
            hash: row.text("hash")?,
            flags: row.list("flags")?,
            first_seen: row.int("first_seen")?,
            approved_hash: row.text_opt("approved_hash")?,
            decide_time: row.int_opt("decide_time")?,
            decided_by: row.text("decided_by")?,
        })
    }
}
