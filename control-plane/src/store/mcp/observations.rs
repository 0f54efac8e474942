//! The rows of how replicas find servers.

use std::collections::HashMap;

use tollgate_policy::id::McpServerId;

use super::tools::listing;
use crate::store::{Row, StoreError, Txn, replicas::SILENCE_MS_MAX};

/// So long a replica's word about a server counts: it tells it once an hour at least.
const TOLD_MS_MAX: i64 = 2 * 3_600_000;

/// How a replica found a server.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// The replica.
    pub replica: &'a str,
    /// Why it cannot be used.
    pub problem: &'a str,
    /// The revision of the protocol.
    pub protocol: &'a str,
    /// What it calls itself.
    pub software: &'a str,
    /// When, in Unix milliseconds.
    pub time: i64,
    /// How often it was to be tested when it was asked.
    pub tests: i64,
}

/// What one replica that follows has found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Finding {
    /// The replica, by name.
    pub replica: String,
    /// Where it runs.
    pub region: String,
    /// How often the server was to be tested when it was asked; 0: it has told of no test.
    pub tests: i64,
    /// Why it cannot be used.
    pub problem: String,
    /// The revision of the protocol.
    pub protocol: String,
    /// What it calls itself.
    pub software: String,
    /// When it was told, in Unix milliseconds.
    pub time: Option<i64>,
}

/// How replicas find a server.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Health {
    /// How many replicas told of it lately.
    pub replicas: i64,
    /// How many of them cannot use it.
    pub failing: i64,
    /// Why the last of those cannot.
    pub problem: String,
    /// The revision of the protocol.
    pub protocol: String,
    /// What it calls itself.
    pub software: String,
    /// When it was last told of, in Unix milliseconds.
    pub observe_time: Option<i64>,
    /// How many tools it has.
    pub tools: i64,
    /// How many of them wait for an approval.
    pub pending: i64,
}

impl Finding {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            replica: row.text("name")?,
            region: row.text("region")?,
            tests: row.int_opt("tests")?.unwrap_or_default(),
            problem: row.text_opt("problem")?.unwrap_or_default(),
            protocol: row.text_opt("protocol")?.unwrap_or_default(),
            software: row.text_opt("software")?.unwrap_or_default(),
            time: row.int_opt("time")?,
        })
    }
}

impl Txn {
    /// Lets a server be tested. Returns how often it was.
    pub async fn mcp_server_test(&mut self, id: &McpServerId, revision: i64) -> Result<i64, StoreError> {
        let update = sql!(
            "UPDATE mcp_servers SET tests = tests + 1, revision = $1 WHERE id = $2 RETURNING tests",
            revision,
            id.as_str()
        );
        self.fetch_one(update).await?.int("tests")
    }

    /// What each replica that follows at this instant has found at a server, by its name.
    pub async fn mcp_findings(&mut self, server: &McpServerId, now: i64) -> Result<Vec<Finding>, StoreError> {
        let select = sql!(
            "SELECT r.name, r.region, o.tests, o.problem, o.protocol, o.software, o.time FROM replicas r
             LEFT JOIN mcp_observations o ON o.replica = r.id AND o.server = $1
             WHERE r.stream <> '' AND r.seen_time > $2 ORDER BY r.name",
            server.as_str(),
            now - SILENCE_MS_MAX
        );
        self.fetch_all(select).await?.iter().map(Finding::read).collect()
    }

    /// Notes how a replica found a server.
    pub async fn mcp_observed(&mut self, server: &McpServerId, found: &Found<'_>) -> Result<(), StoreError> {
        let Found { replica, problem, protocol, software, time, tests } = *found;
        let put = sql!(
            "INSERT INTO mcp_observations (server, replica, problem, protocol, software, time, tests)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (server, replica) DO UPDATE SET problem = EXCLUDED.problem, protocol = EXCLUDED.protocol,
             software = EXCLUDED.software, time = EXCLUDED.time, tests = EXCLUDED.tests",
            server.as_str(),
            replica,
            problem,
            protocol,
            software,
            time,
            tests
        );
        self.execute(put).await.map(drop)
    }

    /// How replicas find servers, by server: that one, or all of them.
    pub async fn mcp_health(
        &mut self,
        server: Option<&McpServerId>,
        now: i64,
    ) -> Result<HashMap<String, Health>, StoreError> {
        let mut select = sql!("SELECT * FROM mcp_observations WHERE time > $1", now - TOLD_MS_MAX);
        select.narrow("server", server.map(McpServerId::as_str));
        select.push(" ORDER BY time, replica");
        let mut all: HashMap<String, Health> = HashMap::new();
        for row in self.fetch_all(select).await? {
            let health = all.entry(row.text("server")?).or_default();
            health.replicas += 1;
            health.observe_time = Some(row.int("time")?);
            let (problem, protocol, software) = (row.text("problem")?, row.text("protocol")?, row.text("software")?);
            if !problem.is_empty() {
                health.failing += 1;
                health.problem = problem;
            }
            // Whoever did not reach it has nothing to say of what it is.
            if !protocol.is_empty() {
                (health.protocol, health.software) = (protocol, software);
            }
        }
        let mut select = listing();
        select.push(" WHERE 1 = 1");
        select.narrow("server", server.map(McpServerId::as_str));
        let mut select = select.enclosed(
            "SELECT server, COUNT(*) AS tools, CAST(SUM(CASE WHEN state IN ('pending', 'changed') THEN 1 ELSE 0 END) AS BIGINT)
             AS pending FROM (",
            ") counted WHERE present = 1",
        );
        select.push(" GROUP BY server");
        for row in self.fetch_all(select).await? {
            let health = all.entry(row.text("server")?).or_default();
            (health.tools, health.pending) = (row.int("tools")?, row.int("pending")?);
        }
        Ok(all)
    }
}
