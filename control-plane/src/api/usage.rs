//! UsageService: questions over the ledger.

use tollgate_policy::{id, rbac::Reach, usage::Outcome};
use tollgate_proto::usage::v1::{self, usage_service_server::UsageService};
use tonic::{Request, Response, Status};

use super::{Admin, authorize::Authorized, failure::Failure, filter::Filter, page::Page, violations::Violations, wire};
use crate::store::{
    Txn,
    usage::{By, RecordFilter, RecordPosition, Stored, SummaryRow, UsageFilter},
};

const SUMMARY_FIELDS: [&str; 7] = ["key", "team", "customer", "user", "provider", "model", "session"];
const RECORD_FIELDS: [&str; 9] =
    ["key", "team", "customer", "user", "provider", "model", "session", "request_id", "outcome"];

#[tonic::async_trait]
impl UsageService for Admin {
    async fn summarize(
        &self,
        request: Request<v1::SummarizeRequest>,
    ) -> Result<Response<v1::SummarizeResponse>, Status> {
        let (by, message) = Authorized::take(request)?;
        Ok(Response::new(self.usage_summarize(&by, message).await?))
    }

    async fn list_records(
        &self,
        request: Request<v1::ListRecordsRequest>,
    ) -> Result<Response<v1::ListRecordsResponse>, Status> {
        let (by, message) = Authorized::take(request)?;
        Ok(Response::new(self.usage_records(&by, message).await?))
    }
}

impl Admin {
    async fn usage_summarize(
        &self,
        caller: &Authorized,
        message: v1::SummarizeRequest,
    ) -> Result<v1::SummarizeResponse, Failure> {
        let v1::SummarizeRequest { by, since, until, filter } = message;
        let mut violations = Violations::default();
        let by = dimension(by, &mut violations);
        let since = since.and_then(|at| wire::instant("since", &at, &mut violations));
        let until = until.and_then(|at| wire::instant("until", &at, &mut violations));
        if let (Some(since), Some(until)) = (since, until)
            && until < since
        {
            violations.add("until", "must not be before since");
        }
        let terms = Filter::read(&filter, &SUMMARY_FIELDS, &mut violations);
        let (by, terms) = violations.finish(by.map(|by| (by, terms)))?;
        let mut txn = self.store.begin_read().await?;
        let filter = resolved(&mut txn, terms, caller.reach()).await?;
        let mut rows = txn.usage_summarize(by, &filter, since, until).await?;
        txn.end().await?;
        if by == By::Day {
            rows.sort_by_cached_key(|row| row.id.parse::<i64>().unwrap_or(i64::MAX));
        }
        Ok(v1::SummarizeResponse { rows: rows.into_iter().map(|row| written(by, row)).collect() })
    }

    async fn usage_records(
        &self,
        caller: &Authorized,
        message: v1::ListRecordsRequest,
    ) -> Result<v1::ListRecordsResponse, Failure> {
        let v1::ListRecordsRequest { page_size, page_token, filter } = message;
        let mut violations = Violations::default();
        let page = Page::read("usage", &filter, page_size, &page_token, &mut violations);
        let behind = page.after.as_deref().map(|text| place(text).ok_or("is not one of this list"));
        let behind = behind.and_then(|behind| violations.take("page_token", behind));
        let mut terms = Filter::read(&filter, &RECORD_FIELDS, &mut violations);
        let request_id = terms.text("request_id");
        let of_word = |word: &str| Outcome::ALL.into_iter().find(|outcome| outcome.word() == word);
        let outcome = terms.word("outcome", of_word, &mut violations);
        let terms = violations.finish(Some(terms))?;
        let mut txn = self.store.begin_read().await?;
        let filter = RecordFilter { usage: resolved(&mut txn, terms, caller.reach()).await?, request_id, outcome };
        let mut rows = txn.usage_list(&filter, behind.as_ref(), page.limit()).await?;
        txn.end().await?;
        let next_page_token = page.cut(&mut rows, |row| place_text(&row.position()));
        Ok(v1::ListRecordsResponse { records: rows.into_iter().map(stored).collect(), next_page_token })
    }
}

async fn resolved(txn: &mut Txn, mut terms: Filter, reach: Reach) -> Result<UsageFilter, Failure> {
    let whole = reach.everything;
    Ok(UsageFilter {
        key: named(txn, By::Key, terms.text("key"), whole).await?,
        team: named(txn, By::Team, terms.text("team"), whole).await?,
        customer: named(txn, By::Customer, terms.text("customer"), whole).await?,
        user: named(txn, By::User, terms.text("user"), whole).await?,
        provider: named(txn, By::Provider, terms.text("provider"), whole).await?,
        model: terms.text("model"),
        session: terms.text("session"),
        reach,
    })
}

// A name becomes an id. An id is good as it is: usage outlives its object. Who does not see everything is not told whether a
// name exists: there is no usage of it.
async fn named(txn: &mut Txn, by: By, given: Option<String>, whole: bool) -> Result<Option<String>, Failure> {
    let Some((kind, name)) = by.noun().zip(given.as_deref()) else { return Ok(given) };
    let ulid = name.strip_prefix(kind).and_then(|rest| rest.strip_prefix('-'));
    if ulid.is_some_and(|ulid| ulid.len() == id::ULID_LENGTH) {
        return Ok(given);
    }
    let found = txn.usage_id(by, name).await?;
    if found.is_none() && !whole {
        return Ok(Some(String::new()));
    }
    found.map(Some).ok_or_else(|| Failure::NotFound { kind, name: wire::shown(name) })
}

fn dimension(by: i32, violations: &mut Violations) -> Option<By> {
    let by = match v1::Dimension::try_from(by) {
        Ok(v1::Dimension::Key) => Ok(By::Key),
        Ok(v1::Dimension::Team) => Ok(By::Team),
        Ok(v1::Dimension::Customer) => Ok(By::Customer),
        Ok(v1::Dimension::User) => Ok(By::User),
        Ok(v1::Dimension::Model) => Ok(By::Model),
        Ok(v1::Dimension::Provider) => Ok(By::Provider),
        Ok(v1::Dimension::Session) => Ok(By::Session),
        Ok(v1::Dimension::Agent) => Ok(By::Agent),
        Ok(v1::Dimension::Day) => Ok(By::Day),
        Ok(v1::Dimension::Unspecified) | Err(_) => Err("must say what to group by"),
    };
    violations.take("by", by)
}

fn written(by: By, row: SummaryRow) -> v1::Summary {
    let SummaryRow { id, name, sums } = row;
    let id = if by == By::Day { date(&id) } else { id };
    v1::Summary {
        id,
        name,
        requests: signed(sums.requests),
        refused: signed(sums.refused),
        uncertain: signed(sums.uncertain),
        unpriced: signed(sums.unpriced),
        tokens: Some(totals(&sums.tokens)),
        cost_nano_usd: sums.cost_nano_usd,
    }
}

// Sums exceed what one record may hold, so they are not clamped like one.
fn totals(tokens: &tollgate_policy::usage::Tokens) -> v1::Tokens {
    v1::Tokens {
        input: signed(tokens.input),
        output: signed(tokens.output),
        cache_read: signed(tokens.cache_read),
        cache_write_5m: signed(tokens.cache_write_5m),
        cache_write_1h: signed(tokens.cache_write_1h),
        web_searches: signed(tokens.web_searches),
    }
}

// `2026-01-31`, from days since 1970.
fn date(days: &str) -> String {
    let seconds = days.parse::<i64>().ok().and_then(|days| days.checked_mul(86_400));
    let instant = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    instant.map_or_else(|| days.to_owned(), |at| at.to_zoned(jiff::tz::TimeZone::UTC).date().to_string())
}

fn stored(row: Stored) -> v1::StoredRecord {
    v1::StoredRecord { replica: row.replica, record: Some(v1::Record::from(&row.reported)) }
}

fn place_text(position: &RecordPosition) -> String {
    let RecordPosition { arrived, replica, incarnation, sequence } = position;
    format!("{arrived}/{replica}/{incarnation}/{sequence}")
}

fn place(text: &str) -> Option<RecordPosition> {
    let mut parts = text.split('/');
    let (arrived, replica, incarnation, sequence) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    Some(RecordPosition {
        arrived: arrived.parse().ok()?,
        replica: replica.to_owned(),
        incarnation: incarnation.parse().ok()?,
        sequence: sequence.parse().ok()?,
    })
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
