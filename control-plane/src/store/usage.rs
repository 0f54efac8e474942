//! The ledger: what replicas reported, how far each run is stored, and the sums by hour.
//!
//! Reading order: here, the runs and the list of records; [`insert`], how records get in; [`rollup`], how they are summed;
//! [`summary`], how sums are asked for.

use tollgate_audit::tree::Hash;
use tollgate_policy::id::{CredentialId, CustomerId, KeyId, ProviderId, TeamId, UserId};
use tollgate_policy::{
    money::NanoUsd,
    rbac::Reach,
    time::UnixMillis,
    usage::{Attribution, Outcome, Record, Tokens},
};
use tollgate_proto::convert::usage::{Gap, Reported};

use super::{Row, Statement, StoreError, Txn, reach::Belonging};

mod charges;
mod insert;
mod rollup;
mod summary;

pub use self::{
    rollup::Sums,
    summary::{By, ROWS_MAX, SummaryRow},
};

/// The word in the column of outcomes for a row that is a gap.
const GAP: &str = "gap";

/// Which usage is meant. What is `None` does not matter.
#[derive(Clone, Debug, Default)]
pub struct UsageFilter {
    /// The key, by id.
    pub key: Option<String>,
    /// The team, by id.
    pub team: Option<String>,
    /// The customer, by id.
    pub customer: Option<String>,
    /// The user, by id.
    pub user: Option<String>,
    /// The provider, by id.
    pub provider: Option<String>,
    /// The model that was asked for.
    pub model: Option<String>,
    /// The agent's session.
    pub session: Option<String>,
    /// Which the caller may see.
    pub reach: Reach,
}

const USAGE: Belonging = Belonging { customer: Some("customer"), team: Some("team"), user: Some("user_id") };

/// Which records are meant.
#[derive(Clone, Debug, Default)]
pub struct RecordFilter {
    /// Whose and of what.
    pub usage: UsageFilter,
    /// The request id.
    pub request_id: Option<String>,
    /// How they ended.
    pub outcome: Option<Outcome>,
}

/// A record as it is stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Stored {
    /// The replica that reported it, by id.
    pub replica: String,
    /// What it reported.
    pub reported: Reported,
}

/// Where a record stands in the list: the list goes by arrival, then by name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RecordPosition {
    /// When it arrived, in Unix milliseconds.
    pub arrived: i64,
    /// The replica that reported it.
    pub replica: String,
    /// The run.
    pub incarnation: i64,
    /// The sequence.
    pub sequence: i64,
}

/// Where the chain of audit entries of a run stands.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Chain {
    /// The sequence of its last entry; 0 before the first.
    pub sequence: u64,
    /// Its link; `None` where nobody knows it.
    pub link: Option<Hash>,
}

/// Usage. Each method fails as [`Txn::execute`] does.
impl Txn {
    /// The sequence up to which a run is stored, 0 for a new one. Its row stays locked until the transaction ends.
    pub async fn usage_run(&mut self, replica: &str, incarnation: i64, now_ms: i64) -> Result<i64, StoreError> {
        let lock = sql!(
            "INSERT INTO usage_runs (replica, incarnation, acknowledged, update_time) VALUES ($1, $2, 0, $3)
             ON CONFLICT (replica, incarnation) DO UPDATE SET update_time = excluded.update_time
             RETURNING acknowledged",
            replica,
            incarnation,
            now_ms,
        );
        self.fetch_one(lock).await?.int("acknowledged")
    }

    /// Where the chain of audit entries of a run stands: the sequence and the link of its last one. The caller has locked the
    /// run.
    pub async fn usage_chain(&mut self, replica: &str, incarnation: i64) -> Result<Chain, StoreError> {
        let select = sql!(
            "SELECT audit_sequence, audit_link FROM usage_runs WHERE replica = $1 AND incarnation = $2",
            replica,
            incarnation,
        );
        let row = self.fetch_one(select).await?;
        let link = row.bytes_opt("audit_link")?.map(Hash::try_from);
        let link = link.transpose().map_err(|_| StoreError::corrupt("audit_link", "is of another length"))?;
        Ok(Chain { sequence: row.narrow("audit_sequence")?, link })
    }

    /// Notes where the chain of audit entries of a run stands.
    pub async fn usage_chain_move(&mut self, replica: &str, incarnation: i64, chain: &Chain) -> Result<(), StoreError> {
        let update = sql!(
            "UPDATE usage_runs SET audit_sequence = $3, audit_link = $4 WHERE replica = $1 AND incarnation = $2",
            replica,
            incarnation,
            i64::try_from(chain.sequence).unwrap_or(i64::MAX),
            chain.link.map(Vec::from),
        );
        self.execute(update).await.map(drop)
    }

    /// Notes that a run is stored up to this sequence.
    pub async fn usage_acknowledge(&mut self, replica: &str, incarnation: i64, through: i64) -> Result<(), StoreError> {
        let update = sql!(
            "UPDATE usage_runs SET acknowledged = $3 WHERE replica = $1 AND incarnation = $2 AND acknowledged < $3",
            replica,
            incarnation,
            through,
        );
        self.execute(update).await.map(drop)
    }

    /// The records that match, newest first, behind a position, at most so many.
    pub async fn usage_list(
        &mut self,
        filter: &RecordFilter,
        behind: Option<&RecordPosition>,
        limit: i64,
    ) -> Result<Vec<Stored>, StoreError> {
        let RecordFilter { usage, request_id, outcome } = filter;
        let mut select = sql!("SELECT * FROM usage_records WHERE 1 = 1");
        usage.narrow(&mut select);
        narrow(&mut select, " AND request_id = ", request_id.as_deref());
        narrow(&mut select, " AND outcome = ", outcome.map(Outcome::word));
        if let Some(RecordPosition { arrived, replica, incarnation, sequence }) = behind {
            select.push(" AND (arrived, replica, incarnation, sequence) < (");
            select.push_bind(*arrived);
            select.push(", ");
            select.push_bind(replica);
            select.push(", ");
            select.push_bind(*incarnation);
            select.push(", ");
            select.push_bind(*sequence);
            select.push(")");
        }
        select.push(" ORDER BY arrived DESC, replica DESC, incarnation DESC, sequence DESC LIMIT ");
        select.push_bind(limit);
        self.fetch_all(select).await?.iter().map(Stored::read).collect()
    }
}

// === impl UsageFilter ===

impl UsageFilter {
    fn narrow(&self, select: &mut Statement) {
        let Self { key, team, customer, user, provider, model, session, reach } = self;
        narrow(select, " AND key_id = ", key.as_deref());
        narrow(select, " AND team = ", team.as_deref());
        narrow(select, " AND customer = ", customer.as_deref());
        narrow(select, " AND user_id = ", user.as_deref());
        narrow(select, " AND provider = ", provider.as_deref());
        narrow(select, " AND model = ", model.as_deref());
        narrow(select, " AND session = ", session.as_deref());
        USAGE.narrow(select, reach);
    }
}

fn narrow(select: &mut Statement, clause: &'static str, value: Option<&str>) {
    if let Some(value) = value {
        select.push(clause);
        select.push_bind(value);
    }
}

// === impl Stored ===

impl Stored {
    /// Where it stands in the list.
    #[must_use]
    pub fn position(&self) -> RecordPosition {
        RecordPosition {
            arrived: self.reported.arrived().get(),
            replica: self.replica.clone(),
            incarnation: signed(self.reported.incarnation()),
            sequence: signed(self.reported.sequence()),
        }
    }

    fn read(row: &Row) -> Result<Self, StoreError> {
        let reported = match count(row, "dropped")? {
            0 => Reported::Visit(record(row)?),
            dropped => Reported::Gap(Gap {
                incarnation: count(row, "incarnation")?,
                sequence: count(row, "sequence")?,
                from: UnixMillis::new(row.int("arrived")?),
                duration_ms: count(row, "duration_ms")?,
                dropped,
            }),
        };
        Ok(Self { replica: row.text("replica")?, reported })
    }
}

fn record(row: &Row) -> Result<Record, StoreError> {
    Ok(Record {
        incarnation: count(row, "incarnation")?,
        sequence: count(row, "sequence")?,
        request_id: row.text("request_id")?.into(),
        arrived: UnixMillis::new(row.int("arrived")?),
        duration_ms: count(row, "duration_ms")?,
        first_byte_ms: count(row, "first_byte_ms")?,
        outcome: row.parsed("outcome", outcome_of_word)?,
        refusal: row.text("refusal")?.into(),
        status: narrowed("status", row.int("status")?)?,
        attribution: Attribution {
            key: row.parsed("key_id", KeyId::parse)?,
            team: row.parsed("team", TeamId::parse)?,
            customer: row.parsed("customer", CustomerId::parse)?,
            user: unless_empty(row, "user_id", UserId::parse)?,
            session: row.text("session")?.into(),
            agent: row.text("agent")?.into(),
            parent_agent: row.text("parent_agent")?.into(),
        },
        operation: row.text("operation")?.into(),
        model: row.text("model")?.into(),
        answered_model: row.text("answered_model")?.into(),
        provider: unless_empty(row, "provider", ProviderId::parse)?,
        credential: unless_empty(row, "credential", CredentialId::parse)?,
        streamed: row.flag("streamed")?,
        tokens: tokens(row)?,
        cost: NanoUsd::new(row.int("cost_nano_usd")?),
        unpriced: row.flag("unpriced")?,
        revision: count(row, "revision")?,
        upstream_request_id: row.text("upstream_request_id")?.into(),
        attempts: narrowed("attempts", row.int("attempts")?)?,
        charges: row.parsed("charges", charges::read)?,
        held_incarnation: Some(count(row, "held_incarnation")?).filter(|run| *run > 0),
    })
}

fn tokens(row: &Row) -> Result<Tokens, StoreError> {
    Ok(Tokens {
        input: count(row, "input_tokens")?,
        output: count(row, "output_tokens")?,
        cache_read: count(row, "cache_read_tokens")?,
        cache_write_5m: count(row, "cache_write_5m_tokens")?,
        cache_write_1h: count(row, "cache_write_1h_tokens")?,
        web_searches: count(row, "web_searches")?,
    })
}

fn count(row: &Row, column: &'static str) -> Result<u64, StoreError> {
    narrowed(column, row.int(column)?)
}

fn outcome_of_word(word: &str) -> Result<Outcome, &'static str> {
    Outcome::ALL.into_iter().find(|outcome| outcome.word() == word).ok_or("is not an outcome")
}

fn unless_empty<T, E: std::fmt::Display>(
    row: &Row,
    column: &'static str,
    parse: fn(&str) -> Result<T, E>,
) -> Result<Option<T>, StoreError> {
    row.parsed(column, |text| if text.is_empty() { Ok(None) } else { parse(text).map(Some) })
}

fn narrowed<T: TryFrom<i64>>(column: &'static str, value: i64) -> Result<T, StoreError> {
    T::try_from(value).map_err(|_| StoreError::corrupt(column, "is out of range"))
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
