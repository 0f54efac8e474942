//! How records get in: many rows a statement, each row once.

use std::collections::HashSet;

use tollgate_policy::usage::{Attribution, Record, Tokens};
use tollgate_proto::convert::usage::{Gap, Reported};

use super::{GAP, count, signed};
use crate::store::{Statement, StoreError, Txn};

/// How many rows one statement inserts: few shapes, so that each stays prepared, and fewer values than either database takes.
const INSERT_ROWS: [usize; 3] = [100, 10, 1];

/// What has a row.
#[derive(Clone, Copy, Debug)]
enum Line<'a> {
    Visit(&'a Record),
    Gap(&'a Gap),
}

/// The rows of records.
impl Txn {
    /// Stores records of a replica, each unless it is there already. Returns the sequences of those that were not. All are of
    /// one run. A visit of nobody has no row.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn usage_insert(&mut self, replica: &str, records: &[Reported]) -> Result<HashSet<u64>, StoreError> {
        let mut inserted = HashSet::with_capacity(records.len());
        let lines: Vec<_> = records.iter().filter_map(Line::of).collect();
        let mut rest = lines.as_slice();
        while !rest.is_empty() {
            let rows = INSERT_ROWS.into_iter().find(|rows| *rows <= rest.len()).unwrap_or(1);
            let (now, later) = rest.split_at_checked(rows).unwrap_or((rest, &[]));
            for row in self.fetch_all(statement(replica, now)).await? {
                inserted.insert(count(&row, "sequence")?);
            }
            rest = later;
        }
        Ok(inserted)
    }
}

impl<'a> Line<'a> {
    const fn of(reported: &'a Reported) -> Option<Self> {
        match reported {
            Reported::Visit(record) => Some(Self::Visit(record)),
            Reported::Gap(gap) => Some(Self::Gap(gap)),
            Reported::Unidentified(_) => None,
        }
    }
}

fn statement(replica: &str, lines: &[Line<'_>]) -> Statement {
    let mut insert = sql!(
        "INSERT INTO usage_records (replica, incarnation, sequence, arrived, duration_ms, dropped, request_id,
         first_byte_ms, outcome, refusal, status, key_id, team, customer, user_id, session, agent, parent_agent, operation,
         model, answered_model, provider, credential, streamed, input_tokens, output_tokens, cache_read_tokens,
         cache_write_5m_tokens, cache_write_1h_tokens, web_searches, cost_nano_usd, unpriced, revision,
         upstream_request_id, attempts, charges, held_incarnation) VALUES "
    );
    for (at, line) in lines.iter().enumerate() {
        insert.push(if at == 0 { "(" } else { ", (" });
        insert.push_bind(replica);
        match line {
            Line::Visit(record) => visit(&mut insert, record),
            Line::Gap(gap) => blank(&mut insert, gap),
        }
        insert.push(")");
    }
    insert.push(" ON CONFLICT (replica, incarnation, sequence) DO NOTHING RETURNING sequence");
    insert
}

fn visit(insert: &mut Statement, record: &Record) {
    let Record {
        incarnation,
        sequence,
        request_id,
        arrived,
        duration_ms,
        first_byte_ms,
        outcome,
        refusal,
        status,
        attribution: Attribution { key, team, customer, user, session, agent, parent_agent },
        operation,
        model,
        answered_model,
        provider,
        credential,
        streamed,
        tokens: Tokens { input, output, cache_read, cache_write_5m, cache_write_1h, web_searches },
        cost,
        unpriced,
        revision,
        upstream_request_id,
        attempts,
        charges,
        held_incarnation,
    } = record;
    numbers(insert, [signed(*incarnation), signed(*sequence), arrived.get(), signed(*duration_ms), 0]);
    texts(insert, [request_id.as_ref()]);
    numbers(insert, [signed(*first_byte_ms)]);
    texts(insert, [outcome.word(), refusal.as_ref()]);
    numbers(insert, [i64::from(*status)]);
    let user = user.as_ref().map(|id| id.as_str()).unwrap_or_default();
    let provider = provider.as_ref().map(|id| id.as_str()).unwrap_or_default();
    let credential = credential.as_ref().map(|id| id.as_str()).unwrap_or_default();
    texts(insert, [key.as_str(), team.as_str(), customer.as_str(), user, session, agent, parent_agent]);
    texts(insert, [operation.as_ref(), model.as_ref(), answered_model.as_ref(), provider, credential]);
    numbers(insert, [i64::from(*streamed)]);
    numbers(insert, [*input, *output, *cache_read, *cache_write_5m, *cache_write_1h, *web_searches].map(signed));
    numbers(insert, [cost.get(), i64::from(*unpriced), signed(*revision)]);
    texts(insert, [upstream_request_id.as_ref()]);
    numbers(insert, [i64::from(*attempts)]);
    texts(insert, [super::charges::written(charges).as_ref()]);
    numbers(insert, [held_incarnation.map_or(0, signed)]);
}

fn blank(insert: &mut Statement, gap: &Gap) {
    let Gap { incarnation, sequence, from, duration_ms, dropped } = *gap;
    numbers(insert, [signed(incarnation), signed(sequence), from.get(), signed(duration_ms), signed(dropped)]);
    texts(insert, [""]);
    numbers(insert, [0]);
    texts(insert, [GAP, ""]);
    numbers(insert, [0]);
    texts(insert, [""; 12]);
    numbers(insert, [0; 10]);
    texts(insert, [""]);
    numbers(insert, [0]);
    texts(insert, [super::charges::NONE]);
    numbers(insert, [0]);
}

fn numbers<const N: usize>(insert: &mut Statement, values: [i64; N]) {
    for value in values {
        insert.push(", ");
        insert.push_bind(value);
    }
}

fn texts<const N: usize>(insert: &mut Statement, values: [&str; N]) {
    for value in values {
        insert.push(", ");
        insert.push_bind(value);
    }
}
