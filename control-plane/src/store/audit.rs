//! The rows of the audit log.

use tollgate_audit::{Entry, Outcome};

pub use super::statement::TextMatch;
use super::{Row, Statement, StoreError, Txn};

/// An entry and its encoded bytes.
#[derive(Debug)]
pub struct Line<'a> {
    /// The entry, for the columns by which it is found.
    pub entry: &'a Entry,
    /// Its bytes, which are the truth.
    pub body: Vec<u8>,
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

/// How many rows one statement inserts: few shapes, so that each stays prepared.
const INSERT_ROWS: [usize; 3] = [64, 8, 1];

impl Txn {
    /// Takes so many indexes and returns the first.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn audit_take(&mut self, count: usize) -> Result<i64, StoreError> {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let take = sql!("UPDATE audit_head SET length = length + $1 WHERE id = 1 RETURNING length", count);
        Ok(self.fetch_one(take).await?.int("length")? - count + 1)
    }

    /// Inserts lines from that index on.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn audit_insert(&mut self, first: i64, lines: Vec<Line<'_>>) -> Result<(), StoreError> {
        let (mut index, mut lines) = (first, lines.into_iter());
        while lines.len() > 0 {
            let rows = INSERT_ROWS.into_iter().find(|rows| *rows <= lines.len()).unwrap_or(1);
            self.execute(insert(index, lines.by_ref().take(rows))).await?;
            index += i64::try_from(rows).unwrap_or(i64::MAX);
        }
        Ok(())
    }

    /// The entries below `before` that match, newest first, at most so many.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn audit_list(
        &mut self,
        filter: &AuditFilter,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<(i64, Entry)>, StoreError> {
        let mut select = sql!("SELECT idx, body FROM audit_entries WHERE idx < $1", before.unwrap_or(i64::MAX));
        filter.narrow(&mut select);
        select.push(" ORDER BY idx DESC LIMIT ");
        select.push_bind(limit);
        self.fetch_all(select).await?.iter().map(read).collect()
    }

    /// How many entries there are.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn audit_length(&mut self) -> Result<i64, StoreError> {
        self.fetch_one(sql!("SELECT length FROM audit_head WHERE id = 1")).await?.int("length")
    }
}

// === impl AuditFilter ===

impl AuditFilter {
    fn narrow(&self, select: &mut Statement) {
        let Self { action, outcome, initiator, target, replica, request_id, session, since, until } = self;
        if let Some(action) = action {
            action.narrow(select, "action");
        }
        let outcome = outcome.map(|outcome| outcome.word().to_owned());
        for (clause, value) in [
            (" AND outcome = ", outcome.as_ref()),
            (" AND initiator = ", initiator.as_ref()),
            (" AND target = ", target.as_ref()),
            (" AND replica = ", replica.as_ref()),
            (" AND request_id = ", request_id.as_ref()),
            (" AND session = ", session.as_ref()),
        ] {
            if let Some(value) = value {
                select.push(clause);
                select.push_bind(value);
            }
        }
        for (clause, instant) in [(" AND time >= ", since), (" AND time < ", until)] {
            if let Some(instant) = *instant {
                select.push(clause);
                select.push_bind(instant);
            }
        }
    }
}

fn insert<'a>(first: i64, lines: impl Iterator<Item = Line<'a>>) -> Statement {
    let mut statement = sql!(
        "INSERT INTO audit_entries (idx, time, action, outcome, initiator, target, replica, request_id, session, body) VALUES "
    );
    for (index, Line { entry, body }) in (first..).zip(lines) {
        statement.push(if index == first { "(" } else { ", (" });
        statement.push_bind(index);
        statement.push(", ");
        statement.push_bind(entry.time_ms());
        for text in [
            entry.action(),
            entry.outcome().word(),
            entry.initiator(),
            entry.target(),
            entry.replica(),
            entry.request_id(),
            entry.session(),
        ] {
            statement.push(", ");
            statement.push_bind(text);
        }
        statement.push(", ");
        statement.push_bind(body);
        statement.push(")");
    }
    statement
}

fn read(row: &Row) -> Result<(i64, Entry), StoreError> {
    let entry = Entry::decode(&row.bytes("body")?).map_err(|error| StoreError::corrupt("body", error))?;
    Ok((row.int("idx")?, entry))
}
