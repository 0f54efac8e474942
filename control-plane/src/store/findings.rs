//! What guardrails found, one finding a row: what entries of the audit log tell, so that it is found by index.

use tollgate_policy::guardrail::{Action, Direction};

use super::{Row, Statement, StoreError, Txn};

/// How many rows one statement inserts: few shapes, so that each stays prepared.
const INSERT_ROWS: [usize; 3] = [64, 8, 1];

/// A finding.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// The entry that tells it.
    pub at: FindingPlace,
    /// The guardrail, by name.
    pub guardrail: String,
    /// The rule.
    pub rule: String,
    /// Which way the text went.
    pub direction: Direction,
    /// What was done.
    pub action: Action,
    /// Whether it would have been done, and was not.
    pub shadow: bool,
    /// Which secret, in hexadecimal digits.
    pub fingerprint: String,
    /// In which part of the message it stood first.
    pub place: String,
    /// At which byte of that part.
    pub offset: i64,
    /// How often it stood there in all.
    pub count: i64,
    /// The key, by id.
    pub key: String,
    /// Its team, by id.
    pub team: String,
    /// Its customer, by id.
    pub customer: String,
    /// The session.
    pub session: String,
    /// The request id.
    pub request_id: String,
    /// The model, as the client named it.
    pub model: String,
}

/// Where a finding stands in a list, which is newest first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FindingPlace {
    /// When it was found, in Unix milliseconds.
    pub time_ms: i64,
    /// The index of the entry.
    pub index: i64,
    /// Which finding of the entry it is, from 0.
    pub number: i64,
}

/// Which findings to list. What is `None` does not matter.
#[derive(Clone, Debug, Default)]
pub struct FindingFilter {
    /// The guardrail, by name.
    pub guardrail: Option<String>,
    /// The rule.
    pub rule: Option<String>,
    /// Which way the text went.
    pub direction: Option<Direction>,
    /// Which secret.
    pub fingerprint: Option<String>,
    /// The key, by id.
    pub key: Option<String>,
    /// The team, by id.
    pub team: Option<String>,
    /// The customer, by id.
    pub customer: Option<String>,
    /// The session.
    pub session: Option<String>,
    /// Not before, in Unix milliseconds.
    pub since: Option<i64>,
    /// Before, in Unix milliseconds.
    pub until: Option<i64>,
}

/// Each method fails as [`Txn::execute`] does.
impl Txn {
    /// Stores what entries tell that are appended in the same transaction.
    pub async fn findings_insert(&mut self, findings: &[Finding]) -> Result<(), StoreError> {
        let mut left = findings;
        while !left.is_empty() {
            let rows = INSERT_ROWS.into_iter().find(|rows| *rows <= left.len()).unwrap_or(1);
            let (now, later) = left.split_at(rows);
            self.execute(insert(now)).await?;
            left = later;
        }
        Ok(())
    }

    /// The findings that match and stand behind a place, newest first, at most so many.
    pub async fn findings_list(
        &mut self,
        filter: &FindingFilter,
        behind: Option<FindingPlace>,
        limit: i64,
    ) -> Result<Vec<Finding>, StoreError> {
        let mut select = sql!("SELECT * FROM findings WHERE 1 = 1");
        filter.narrow(&mut select);
        if let Some(FindingPlace { time_ms, index, number }) = behind {
            select.push(" AND (time, idx, number) < (");
            select.push_bind(time_ms);
            select.push(", ");
            select.push_bind(index);
            select.push(", ");
            select.push_bind(number);
            select.push(")");
        }
        select.push(" ORDER BY time DESC, idx DESC, number DESC LIMIT ");
        select.push_bind(limit);
        self.fetch_all(select).await?.iter().map(Finding::read).collect()
    }

    /// Takes the findings away of entries through that index.
    pub(super) async fn findings_prune(&mut self, through: i64) -> Result<(), StoreError> {
        self.execute(sql!("DELETE FROM findings WHERE idx <= $1", through)).await.map(drop)
    }

    /// Takes the findings of an entry away.
    pub(super) async fn findings_erase(&mut self, index: i64) -> Result<(), StoreError> {
        self.execute(sql!("DELETE FROM findings WHERE idx = $1", index)).await.map(drop)
    }
}

fn insert(findings: &[Finding]) -> Statement {
    let mut statement = sql!(
        "INSERT INTO findings (idx, number, time, guardrail, rule, direction, action, shadow, fingerprint, place, byte_offset,
         occurrences, key_id, team, customer, session, request_id, model) VALUES "
    );
    for (at, finding) in findings.iter().enumerate() {
        let Finding {
            at: FindingPlace { time_ms, index, number },
            guardrail,
            rule,
            direction,
            action,
            shadow,
            fingerprint,
            place,
            offset,
            count,
            key,
            team,
            customer,
            session,
            request_id,
            model,
        } = finding;
        statement.push(if at == 0 { "(" } else { ", (" });
        statement.push_bind(*index);
        for number in [*number, *time_ms] {
            statement.push(", ");
            statement.push_bind(number);
        }
        for text in [guardrail, rule, direction.word(), action.word()] {
            statement.push(", ");
            statement.push_bind(text);
        }
        statement.push(", ");
        statement.push_bind(*shadow);
        for text in [fingerprint, place] {
            statement.push(", ");
            statement.push_bind(text);
        }
        for number in [*offset, *count] {
            statement.push(", ");
            statement.push_bind(number);
        }
        for text in [key, team, customer, session, request_id, model] {
            statement.push(", ");
            statement.push_bind(text);
        }
        statement.push(")");
    }
    statement
}

// === impl FindingFilter ===

impl FindingFilter {
    fn narrow(&self, select: &mut Statement) {
        let Self { guardrail, rule, direction, fingerprint, key, team, customer, session, since, until } = self;
        for (column, value) in [
            ("guardrail", guardrail),
            ("rule", rule),
            ("fingerprint", fingerprint),
            ("key_id", key),
            ("team", team),
            ("customer", customer),
            ("session", session),
        ] {
            select.narrow(column, value.as_ref());
        }
        select.narrow("direction", direction.map(Direction::word));
        for (clause, instant) in [(" AND time >= ", since), (" AND time < ", until)] {
            if let Some(instant) = *instant {
                select.push(clause);
                select.push_bind(instant);
            }
        }
    }
}

// === impl Finding ===

impl Finding {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            at: FindingPlace { time_ms: row.int("time")?, index: row.int("idx")?, number: row.int("number")? },
            guardrail: row.text("guardrail")?,
            rule: row.text("rule")?,
            direction: row.parsed("direction", |word| Direction::of_word(word).ok_or("not a direction"))?,
            action: row.parsed("action", |word| Action::of_word(word).ok_or("not an action"))?,
            shadow: row.flag("shadow")?,
            fingerprint: row.text("fingerprint")?,
            place: row.text("place")?,
            offset: row.int("byte_offset")?,
            count: row.int("occurrences")?,
            key: row.text("key_id")?,
            team: row.text("team")?,
            customer: row.text("customer")?,
            session: row.text("session")?,
            request_id: row.text("request_id")?,
            model: row.text("model")?,
        })
    }
}

// === impl FindingPlace ===

impl FindingPlace {
    /// As a text, for tokens.
    #[must_use]
    pub fn position(self) -> String {
        let Self { time_ms, index, number } = self;
        format!("{time_ms}/{index}/{number}")
    }

    /// Reads what [`Self::position`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/').map(|part| part.parse::<i64>().ok());
        let place = Self { time_ms: parts.next()??, index: parts.next()??, number: parts.next()?? };
        parts.next().is_none().then_some(place)
    }
}
