//! By what entries are found, and in which order they are listed.
//!
//! A list is newest first by time, or behind an index, oldest first. Each way of the filter is a range of one index, from which
//! as many entries are taken as a page has, so that a page costs the same however long the log is: what two ways give
//! (entries by a key and entries about it) is put together behind that.

use tollgate_audit::{Entry, Facts, Outcome, seal::Header};

use super::decode;
pub use crate::store::statement::TextMatch;
use crate::store::{Row, Statement, StoreError, Txn};

/// An entry as it is listed.
#[derive(Debug)]
pub struct Listed {
    /// The index.
    pub index: i64,
    /// What it says; of an erased one, time and action.
    pub entry: Entry,
    /// The replica that decided; empty for a control plane.
    pub replica: String,
    /// Who wrote it.
    pub writer: String,
    /// The leaf's hash.
    pub leaf: Vec<u8>,
    /// Whether the body was erased.
    pub erased: bool,
}

/// Which entries to list. What is `None` does not matter.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// The action, or its beginning.
    pub action: Option<TextMatch>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Who did it.
    pub initiator: Option<String>,
    /// What it was done to.
    pub target: Option<String>,
    /// The key that did it or to which it was done, by id.
    pub key: Option<String>,
    /// The team of the caller, by id.
    pub team: Option<String>,
    /// The replica that decided.
    pub replica: Option<String>,
    /// The request id.
    pub request_id: Option<String>,
    /// The session.
    pub session: Option<String>,
    /// Not before, in Unix milliseconds.
    pub since: Option<i64>,
    /// Before, in Unix milliseconds.
    pub until: Option<i64>,
}

/// Where a page begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Begin {
    /// Newest first, with the newest.
    Newest,
    /// Newest first, before the entry of this instant and index.
    Before(i64, i64),
    /// Oldest first, behind this index.
    Behind(i64),
}

// A column with the value that it has in this way.
type Way = (&'static str, String);

/// The list. Each method fails as [`Txn::execute`] does.
impl Txn {
    /// The entries that match, at most so many.
    pub async fn audit_list(
        &mut self,
        filter: &AuditFilter,
        begin: Begin,
        limit: i64,
    ) -> Result<Vec<Listed>, StoreError> {
        let actions = match &filter.action {
            None => vec![],
            Some(TextMatch::Whole(action)) => vec![action.clone()],
            Some(prefix) => self.audit_actions().await?.into_iter().filter(|action| prefix.matches(action)).collect(),
        };
        if filter.action.is_some() && actions.is_empty() {
            return Ok(vec![]);
        }
        let mut select = Statement::new("SELECT * FROM audit_entries WHERE idx IN (");
        for (at, way) in filter.ways(&actions).into_iter().enumerate() {
            select.push(if at == 0 { "SELECT idx FROM (" } else { " UNION SELECT idx FROM (" });
            select.push("SELECT idx FROM audit_entries WHERE 1 = 1");
            filter.narrow(&mut select, &way);
            begin.narrow(&mut select);
            begin.order(&mut select, limit);
            select.push(") AS way");
        }
        select.push(")");
        begin.order(&mut select, limit);
        self.fetch_all(select).await?.iter().map(listed).collect()
    }

    // Every action that the log has: a probe of the index for each.
    async fn audit_actions(&mut self) -> Result<Vec<String>, StoreError> {
        let select = sql!(
            "WITH RECURSIVE actions (action) AS (
                 SELECT MIN(action) FROM audit_entries
                 UNION ALL
                 SELECT (SELECT MIN(action) FROM audit_entries WHERE action > actions.action)
                 FROM actions WHERE actions.action IS NOT NULL
             ) SELECT action FROM actions WHERE action IS NOT NULL"
        );
        self.fetch_all(select).await?.iter().map(|row| row.text("action")).collect()
    }
}

// === impl AuditFilter ===

impl AuditFilter {
    // One way for each action, times one for each place in which the key stands.
    fn ways(&self, actions: &[String]) -> Vec<Vec<Way>> {
        let actions = actions.iter().map(|action| vec![("action", action.clone())]);
        let actions: Vec<Vec<Way>> = if actions.len() == 0 { vec![vec![]] } else { actions.collect() };
        let Some(key) = &self.key else { return actions };
        let named = format!("key/{key}");
        let places = ["initiator", "target"].map(|column| (column, named.clone()));
        actions
            .iter()
            .flat_map(|way| places.iter().map(|place| [way.as_slice(), std::slice::from_ref(place)].concat()))
            .collect()
    }

    fn narrow(&self, select: &mut Statement, way: &[Way]) {
        let Self { action: _, outcome, initiator, target, key: _, team, replica, request_id, session, since, until } =
            self;
        for (column, value) in way {
            select.narrow(column, Some(value));
        }
        select.narrow("outcome", outcome.map(Outcome::word));
        select.narrow("initiator", initiator.as_ref());
        select.narrow("target", target.as_ref());
        select.narrow("team", team.as_ref());
        select.narrow("replica", replica.as_ref());
        select.narrow("request_id", request_id.as_ref());
        select.narrow("session", session.as_ref());
        for (clause, instant) in [(" AND time >= ", since), (" AND time < ", until)] {
            if let Some(instant) = *instant {
                select.push(clause);
                select.push_bind(instant);
            }
        }
    }
}

// === impl Begin ===

impl Begin {
    /// Where a list that began here goes on behind an entry.
    #[must_use]
    pub const fn behind(self, listed: &Listed) -> Self {
        match self {
            Self::Newest | Self::Before(..) => Self::Before(listed.entry.time_ms(), listed.index),
            Self::Behind(_) => Self::Behind(listed.index),
        }
    }

    /// As a text, for tokens.
    #[must_use]
    pub fn position(self) -> String {
        match self {
            Self::Newest => String::new(),
            Self::Before(time, index) => format!("{time}/{index}"),
            Self::Behind(index) => index.to_string(),
        }
    }

    fn narrow(self, select: &mut Statement) {
        match self {
            Self::Newest => {}
            Self::Before(time, index) => {
                select.push(" AND (time, idx) < (");
                select.push_bind(time);
                select.push(", ");
                select.push_bind(index);
                select.push(")");
            }
            Self::Behind(index) => {
                select.push(" AND idx > ");
                select.push_bind(index);
            }
        }
    }

    fn order(self, select: &mut Statement, limit: i64) {
        select.push(match self {
            Self::Newest | Self::Before(..) => " ORDER BY time DESC, idx DESC LIMIT ",
            Self::Behind(_) => " ORDER BY idx LIMIT ",
        });
        select.push_bind(limit);
    }
}

fn listed(row: &Row) -> Result<Listed, StoreError> {
    let header = row.bytes("header")?;
    let header = Header::decode(&header).map_err(|error| StoreError::corrupt("header", error))?;
    let body = row.bytes("body")?;
    let erased = body.is_empty();
    // How an erased one ended is not known any more; nobody is told the outcome that stands here.
    let entry = if erased {
        Entry::new(header.time_ms, header.action, Outcome::Allowed, Facts::default())
    } else {
        decode(&body)?
    };
    let writer = header.writer.to_owned();
    Ok(Listed {
        index: row.int("idx")?,
        entry,
        replica: row.text("replica")?,
        writer,
        leaf: row.bytes("leaf")?,
        erased,
    })
}
