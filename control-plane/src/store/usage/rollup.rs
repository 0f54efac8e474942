//! How records are summed: by hour, in memory first, so that a batch touches few rows.

use std::collections::BTreeMap;

use tollgate_policy::usage::{Attribution, Outcome, Record, Tokens};

use super::{count, signed};
use crate::store::{Row, Statement, StoreError, Txn};

/// Milliseconds in an hour.
pub(super) const HOUR_MS: i64 = 3_600_000;

/// How many rows one statement adds to: few shapes, so that each stays prepared.
const UPSERT_ROWS: [usize; 3] = [50, 8, 1];

/// What is summed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Sums {
    /// Visits that reached a provider.
    pub requests: u64,
    /// Visits that policy refused.
    pub refused: u64,
    /// Visits whose end is uncertain.
    pub uncertain: u64,
    /// Visits of an unpriced model.
    pub unpriced: u64,
    /// The counters.
    pub tokens: Tokens,
    /// The cost in nano-dollars.
    pub cost_nano_usd: i64,
}

// The order of the maps is the order in which rows are locked, the same in every control plane.
type Hour<'a> = (i64, [&'a str; 6]);
type Session<'a> = (i64, [&'a str; 8]);

/// The sums by hour.
impl Txn {
    /// Adds records to the sums. Each record must be added once.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn usage_sum<'a>(&mut self, records: impl Iterator<Item = &'a Record>) -> Result<(), StoreError> {
        let mut hours: BTreeMap<Hour<'_>, Sums> = BTreeMap::new();
        let mut sessions: BTreeMap<Session<'_>, Sums> = BTreeMap::new();
        for record in records {
            let Attribution { key, team, customer, user, session, agent, parent_agent: _ } = &record.attribution;
            let user = user.as_ref().map(|id| id.as_str()).unwrap_or_default();
            let provider = record.provider.as_ref().map(|id| id.as_str()).unwrap_or_default();
            let (key, team, customer) = (key.as_str(), team.as_str(), customer.as_str());
            let hour = record.arrived.get().div_euclid(HOUR_MS);
            hours.entry((hour, [key, team, customer, user, &record.model, provider])).or_default().add(record);
            let whose = [session, agent, key, team, customer, user, &record.model, provider];
            sessions.entry((hour, whose)).or_default().add(record);
        }
        self.upsert(hours, HOURS).await?;
        self.upsert(sessions, SESSIONS).await
    }

    async fn upsert<const N: usize>(
        &mut self,
        sums: BTreeMap<(i64, [&str; N]), Sums>,
        table: Table,
    ) -> Result<(), StoreError> {
        let mut sums = sums.into_iter();
        while sums.len() > 0 {
            let rows = UPSERT_ROWS.into_iter().find(|rows| *rows <= sums.len()).unwrap_or(1);
            let mut upsert = Statement::new(table.insert);
            for at in 0..rows {
                let Some(((hour, names), sums)) = sums.next() else { break };
                upsert.push(if at == 0 { "(" } else { ", (" });
                upsert.push_bind(hour);
                for name in names {
                    upsert.push(", ");
                    upsert.push_bind(name);
                }
                for number in sums.columns() {
                    upsert.push(", ");
                    upsert.push_bind(number);
                }
                upsert.push(")");
            }
            upsert.push(table.conflict);
            self.execute(upsert).await?;
        }
        Ok(())
    }
}

// === impl Sums ===

impl Sums {
    /// Adds a record.
    pub fn add(&mut self, record: &Record) {
        let reached = u64::from(record.attempts > 0);
        self.requests += reached;
        self.refused += u64::from(record.outcome == Outcome::Refused);
        self.uncertain += u64::from(record.outcome == Outcome::Uncertain);
        self.unpriced += reached * u64::from(record.unpriced);
        let Tokens { input, output, cache_read, cache_write_5m, cache_write_1h, web_searches } = record.tokens;
        self.tokens.input += input;
        self.tokens.output += output;
        self.tokens.cache_read += cache_read;
        self.tokens.cache_write_5m += cache_write_5m;
        self.tokens.cache_write_1h += cache_write_1h;
        self.tokens.web_searches += web_searches;
        self.cost_nano_usd = self.cost_nano_usd.saturating_add(record.cost.get());
    }

    pub(super) fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            requests: count(row, "requests")?,
            refused: count(row, "refused")?,
            uncertain: count(row, "uncertain")?,
            unpriced: count(row, "unpriced")?,
            tokens: super::tokens(row)?,
            cost_nano_usd: row.int("cost_nano_usd")?,
        })
    }

    fn columns(&self) -> [i64; 11] {
        let Self { requests, refused, uncertain, unpriced, tokens, cost_nano_usd } = *self;
        let Tokens { input, output, cache_read, cache_write_5m, cache_write_1h, web_searches } = tokens;
        let [requests, refused, uncertain, unpriced] = [requests, refused, uncertain, unpriced].map(signed);
        let [input, output, read] = [input, output, cache_read].map(signed);
        let [five, hour, web] = [cache_write_5m, cache_write_1h, web_searches].map(signed);
        [requests, refused, uncertain, unpriced, input, output, read, five, hour, web, cost_nano_usd]
    }
}

/// A table of sums.
#[derive(Clone, Copy)]
struct Table {
    insert: &'static str,
    conflict: &'static str,
}

macro_rules! table {
    ($name:literal, $columns:literal) => {
        Table {
            insert: concat!(
                "INSERT INTO ",
                $name,
                " (",
                $columns,
                ", requests, refused, uncertain, unpriced, input_tokens,
                 output_tokens, cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens, web_searches,
                 cost_nano_usd) VALUES "
            ),
            conflict: concat!(
                " ON CONFLICT (",
                $columns,
                ") DO UPDATE SET
                 requests = ",
                $name,
                ".requests + excluded.requests,
                 refused = ",
                $name,
                ".refused + excluded.refused,
                 uncertain = ",
                $name,
                ".uncertain + excluded.uncertain,
                 unpriced = ",
                $name,
                ".unpriced + excluded.unpriced,
                 input_tokens = ",
                $name,
                ".input_tokens + excluded.input_tokens,
                 output_tokens = ",
                $name,
                ".output_tokens + excluded.output_tokens,
                 cache_read_tokens = ",
                $name,
                ".cache_read_tokens + excluded.cache_read_tokens,
                 cache_write_5m_tokens = ",
                $name,
                ".cache_write_5m_tokens + excluded.cache_write_5m_tokens,
                 cache_write_1h_tokens = ",
                $name,
                ".cache_write_1h_tokens + excluded.cache_write_1h_tokens,
                 web_searches = ",
                $name,
                ".web_searches + excluded.web_searches,
                 cost_nano_usd = ",
                $name,
                ".cost_nano_usd + excluded.cost_nano_usd"
            ),
        }
    };
}

const HOURS: Table = table!("usage_hours", "hour, key_id, team, customer, user_id, model, provider");
const SESSIONS: Table =
    table!("usage_sessions", "hour, session, agent, key_id, team, customer, user_id, model, provider");
