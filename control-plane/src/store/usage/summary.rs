//! How sums are asked for: whole hours from the sums, and what is left at either end from the records themselves, so that
//! the answer is exact for any two instants and fast for any span.

use tollgate_policy::id::{CustomerId, KeyId, ProviderId, TeamId, UserId};

use super::{
    UsageFilter,
    rollup::{HOUR_MS, Sums},
};
use crate::store::{Row, Statement, StoreError, Txn};

/// What to group by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum By {
    /// The key.
    Key,
    /// The team.
    Team,
    /// The customer.
    Customer,
    /// The user.
    User,
    /// The model that was asked for.
    Model,
    /// The provider.
    Provider,
    /// The agent session.
    Session,
    /// The sub-agent.
    Agent,
    /// The day in UTC.
    Day,
}

/// One group.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SummaryRow {
    /// The id or the value; for a day, days since 1970.
    pub id: String,
    /// The name of the object, if it has one and still exists.
    pub name: String,
    /// Its sums.
    pub sums: Sums,
}

/// The most rows of a summary: about a megabyte, within what gRPC clients take.
pub const ROWS_MAX: i64 = 10_000;

/// Summaries.
impl Txn {
    /// Sums usage from `since` to before `until`, in Unix milliseconds, dearest group first, at most [`ROWS_MAX`] of them.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn usage_summarize(
        &mut self,
        by: By,
        filter: &UsageFilter,
        since: Option<i64>,
        until: Option<i64>,
    ) -> Result<Vec<SummaryRow>, StoreError> {
        let mut select = sql!(
            "SELECT sums.*, COALESCE(named.name, '') AS name FROM (SELECT id,
             CAST(SUM(requests) AS BIGINT) AS requests, CAST(SUM(refused) AS BIGINT) AS refused,
             CAST(SUM(uncertain) AS BIGINT) AS uncertain, CAST(SUM(unpriced) AS BIGINT) AS unpriced,
             CAST(SUM(input_tokens) AS BIGINT) AS input_tokens, CAST(SUM(output_tokens) AS BIGINT) AS output_tokens,
             CAST(SUM(cache_read_tokens) AS BIGINT) AS cache_read_tokens,
             CAST(SUM(cache_write_5m_tokens) AS BIGINT) AS cache_write_5m_tokens,
             CAST(SUM(cache_write_1h_tokens) AS BIGINT) AS cache_write_1h_tokens,
             CAST(SUM(web_searches) AS BIGINT) AS web_searches,
             CAST(SUM(cost_nano_usd) AS BIGINT) AS cost_nano_usd FROM ("
        );
        let spans = Spans::of(since, until);
        whole_hours(&mut select, by, filter, spans.hours);
        for edge in spans.edges.into_iter().flatten() {
            single_records(&mut select, by, filter, edge);
        }
        select.push(") parts GROUP BY id) sums LEFT JOIN ");
        select.push(by.named());
        select
            .push(" named ON named.id = sums.id ORDER BY sums.cost_nano_usd DESC, sums.requests DESC, sums.id LIMIT ");
        select.push_bind(ROWS_MAX);
        self.fetch_all(select).await?.iter().map(SummaryRow::read).collect()
    }

    /// The id of the object with this name.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn usage_id(&mut self, by: By, name: &str) -> Result<Option<String>, StoreError> {
        let mut select = sql!("SELECT named.id AS id FROM ");
        select.push(by.named());
        select.push(" named WHERE named.name = ");
        select.push_bind(name);
        self.fetch_optional(select).await?.map(|row| row.text("id")).transpose()
    }
}

fn whole_hours(select: &mut Statement, by: By, filter: &UsageFilter, (from, to): (i64, i64)) {
    select.push("SELECT ");
    select.push(by.of_hour());
    select.push(
        " AS id, requests, refused, uncertain, unpriced, input_tokens, output_tokens, cache_read_tokens,
         cache_write_5m_tokens, cache_write_1h_tokens, web_searches, cost_nano_usd FROM ",
    );
    let sessions = matches!(by, By::Session | By::Agent) || filter.session.is_some();
    select.push(if sessions { "usage_sessions" } else { "usage_hours" });
    select.push(" WHERE hour >= ");
    select.push_bind(from);
    select.push(" AND hour < ");
    select.push_bind(to);
    filter.narrow(select);
}

// What a record adds must be what `Sums::add` adds.
fn single_records(select: &mut Statement, by: By, filter: &UsageFilter, (from, to): (i64, i64)) {
    select.push(" UNION ALL SELECT ");
    select.push(by.of_record());
    select.push(
        " AS id, CASE WHEN attempts > 0 THEN 1 ELSE 0 END AS requests,
         CASE WHEN outcome = 'refused' THEN 1 ELSE 0 END AS refused,
         CASE WHEN outcome = 'uncertain' THEN 1 ELSE 0 END AS uncertain,
         CASE WHEN attempts > 0 THEN unpriced ELSE 0 END AS unpriced, input_tokens, output_tokens, cache_read_tokens,
         cache_write_5m_tokens, cache_write_1h_tokens, web_searches, cost_nano_usd
         FROM usage_records WHERE dropped = 0 AND arrived >= ",
    );
    select.push_bind(from);
    select.push(" AND arrived < ");
    select.push_bind(to);
    filter.narrow(select);
}

/// The whole hours between two instants, and what is left at either end, in milliseconds.
#[derive(Debug, Eq, PartialEq)]
struct Spans {
    hours: (i64, i64),
    edges: [Option<(i64, i64)>; 2],
}

impl Spans {
    fn of(since: Option<i64>, until: Option<i64>) -> Self {
        let (since, until) = (since.unwrap_or(i64::MIN), until.unwrap_or(i64::MAX));
        // Neither end of the range of numbers is an instant that a record may bear.
        let first = if since == i64::MIN { since } else { since.saturating_add(HOUR_MS - 1).div_euclid(HOUR_MS) };
        let last = if until == i64::MAX { until } else { until.div_euclid(HOUR_MS) };
        let edge = |from: i64, to: i64| (from < to).then_some((from, to));
        if first >= last {
            return Self { hours: (0, 0), edges: [edge(since, until), None] };
        }
        let head = if since == i64::MIN { None } else { edge(since, first.saturating_mul(HOUR_MS)) };
        let tail = if until == i64::MAX { None } else { edge(last.saturating_mul(HOUR_MS), until) };
        Self { hours: (first, last), edges: [head, tail] }
    }
}

// === impl By ===

impl By {
    /// The noun of the objects that have ids and names; `None` for mere values.
    #[must_use]
    pub const fn noun(self) -> Option<&'static str> {
        match self {
            Self::Key => Some(KeyId::NOUN),
            Self::Team => Some(TeamId::NOUN),
            Self::Customer => Some(CustomerId::NOUN),
            Self::User => Some(UserId::NOUN),
            Self::Provider => Some(ProviderId::NOUN),
            Self::Model | Self::Session | Self::Agent | Self::Day => None,
        }
    }

    const fn of_hour(self) -> &'static str {
        match self {
            Self::Day => "CAST(hour / 24 AS TEXT)",
            _ => self.column(),
        }
    }

    const fn of_record(self) -> &'static str {
        match self {
            Self::Day => "CAST(arrived / 86400000 AS TEXT)",
            _ => self.column(),
        }
    }

    const fn column(self) -> &'static str {
        match self {
            Self::Key => "key_id",
            Self::Team => "team",
            Self::Customer => "customer",
            Self::User => "user_id",
            Self::Model => "model",
            Self::Provider => "provider",
            Self::Session => "session",
            Self::Agent => "agent",
            Self::Day => "hour",
        }
    }

    // Where names are; for what has none, a table in which the id is not found.
    const fn named(self) -> &'static str {
        match self {
            Self::Key => "keys",
            Self::Team => "teams",
            Self::User => "users",
            Self::Provider => "providers",
            Self::Customer => "customers",
            Self::Model | Self::Session | Self::Agent | Self::Day => "(SELECT '' AS id, '' AS name)",
        }
    }
}

// === impl SummaryRow ===

impl SummaryRow {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self { id: row.text("id")?, name: row.text("name")?, sums: Sums::read(row)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_whole_hours_and_what_is_left() {
        const H: i64 = HOUR_MS;
        for (since, until, hours, edges) in [
            (None, None, (i64::MIN, i64::MAX), [None, None]),
            (Some(2 * H), Some(5 * H), (2, 5), [None, None]),
            (Some(2 * H + 1), Some(5 * H + 7), (3, 5), [Some((2 * H + 1, 3 * H)), Some((5 * H, 5 * H + 7))]),
            (Some(2 * H + 1), None, (3, i64::MAX), [Some((2 * H + 1, 3 * H)), None]),
            (None, Some(5 * H + 7), (i64::MIN, 5), [None, Some((5 * H, 5 * H + 7))]),
            (Some(2 * H + 1), Some(2 * H + 9), (0, 0), [Some((2 * H + 1, 2 * H + 9)), None]),
            (Some(2 * H + 1), Some(3 * H + 9), (0, 0), [Some((2 * H + 1, 3 * H + 9)), None]),
            (Some(5 * H), Some(2 * H), (0, 0), [None, None]),
            (Some(0), Some(0), (0, 0), [None, None]),
        ] {
            assert_eq!(Spans::of(since, until), Spans { hours, edges }, "{since:?} {until:?}");
        }
    }
}
