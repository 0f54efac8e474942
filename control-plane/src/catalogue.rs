//! The model catalogue that ships with the program: data with a version, a date and its sources, written by
//! `scripts/catalogue.py`.
//!
//! [`import`] brings it into the database, once for each version. [`Facts`] is the form of a row, in the file and in the database. Where a price leaves out a rate, the rules that the
//! script states hold: cached input costs what input costs, an hour's cache what five minutes' does, a search nothing.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tollgate_audit::{Entry, Outcome};
use tollgate_policy::{
    money::NanoUsd,
    pattern::{InvalidPattern, Pattern},
    price::{Price, Rates},
    snapshot::Model,
    time::UnixMillis,
};

use crate::{
    audit,
    store::{Store, StoreError, models::Imported},
};

/// The file, embedded.
const EMBEDDED: &str = include_str!("../data/catalogue.json");
/// The form of the file that this program reads.
const FORMAT: u32 = 1;

/// The catalogue.
#[derive(Clone, Debug)]
pub struct Catalogue {
    /// `YYYYMMDD` and two digits; a higher one replaces a lower one in a database.
    pub version: i64,
    /// When the facts were collected.
    pub as_of: UnixMillis,
    /// The models, by vendor and name.
    pub models: Vec<Model>,
}

/// A catalogue that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// It is not the JSON that the script writes.
    #[error("the model catalogue cannot be read")]
    Json(#[from] serde_json::Error),
    /// It is of another form.
    #[error("the model catalogue has format {0}, and this program reads {FORMAT}")]
    Format(u32),
    /// Its date is not one.
    #[error("the model catalogue has no date")]
    Date(#[from] jiff::Error),
    /// An alias is not a pattern.
    #[error("the model catalogue has an alias that is none")]
    Alias(#[from] InvalidPattern),
}

/// What is known of a model, as it stands in the file and in the database.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Facts {
    display_name: Arc<str>,
    aliases: Vec<Arc<str>>,
    context_window: u64,
    max_output: u64,
    price: Option<PriceFacts>,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
struct PriceFacts {
    input: i64,
    output: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_read: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_write_5m: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_write_1h: Option<i64>,
    #[serde(default)]
    web_search: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    long_context: Option<LongContextFacts>,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
struct LongContextFacts {
    threshold: u64,
    input: i64,
    output: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_read: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_write_5m: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_write_1h: Option<i64>,
}

#[derive(Deserialize)]
struct File {
    format: u32,
    version: i64,
    as_of: String,
    models: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    vendor: Arc<str>,
    model: Arc<str>,
    #[serde(flatten)]
    facts: Facts,
}

/// Imports the catalogue when it is newer than the one that the database has, in one transaction with its audit entry.
/// Of several control planes that start together one imports: the lock of the fleet's row orders them. Call it at start.
///
/// # Errors
/// When the database refuses; nothing is changed then.
pub async fn import(store: &Store, catalogue: &Catalogue, now: UnixMillis) -> Result<Imported, StoreError> {
    let mut read = store.begin_read().await?;
    let (known, _) = read.catalogue_version().await?;
    read.end().await?;
    if known >= catalogue.version {
        return Ok(Imported::default());
    }
    let mut txn = store.begin().await?;
    let revision = txn.advance_revision().await?;
    if txn.catalogue_version().await?.0 >= catalogue.version {
        txn.end().await?;
        return Ok(Imported::default());
    }
    let imported = txn.catalogue_replace(revision, catalogue).await?;
    let Imported { changed, gone } = imported;
    let mut detail = Map::new();
    detail.insert("changed".into(), Value::from(changed));
    detail.insert("gone".into(), Value::from(gone));
    let target = format!("catalogue/{}", catalogue.version);
    let facts = tollgate_audit::Facts { initiator: "system", target: &target, detail, ..Default::default() };
    audit::append(&mut txn, Entry::new(now.get(), "catalogue.import", Outcome::Allowed, facts)).await?;
    txn.commit().await?;
    tracing::info!(version = catalogue.version, revision, changed, gone, "model catalogue imported");
    Ok(imported)
}

// === impl Catalogue ===

impl Catalogue {
    /// The catalogue of this program.
    ///
    /// # Errors
    /// Not for the file that was committed: a test reads it.
    pub fn embedded() -> Result<Self, CatalogueError> {
        Self::parse(EMBEDDED)
    }

    /// Reads a catalogue.
    ///
    /// # Errors
    /// When the text is not what the script writes.
    pub fn parse(text: &str) -> Result<Self, CatalogueError> {
        let File { format, version, as_of, models } = serde_json::from_str(text)?;
        if format != FORMAT {
            return Err(CatalogueError::Format(format));
        }
        let as_of: jiff::civil::Date = as_of.parse()?;
        let as_of = as_of.to_zoned(jiff::tz::TimeZone::UTC)?.timestamp().as_millisecond();
        let models = models.into_iter().map(|line| Ok(line.facts.model(line.vendor, line.model)?));
        let models = models.collect::<Result<_, CatalogueError>>()?;
        Ok(Self { version, as_of: UnixMillis::new(as_of), models })
    }
}

// === impl Facts ===

impl Facts {
    /// The facts of a model, every rate written out.
    #[must_use]
    pub fn of(model: &Model) -> Self {
        Self {
            display_name: Arc::clone(&model.display_name),
            aliases: model.aliases.iter().map(|alias| alias.as_str().into()).collect(),
            context_window: model.context_window,
            max_output: model.output_max,
            price: model.price.as_ref().map(PriceFacts::of),
        }
    }

    /// The model of that vendor and name.
    ///
    /// # Errors
    /// When an alias is not a pattern.
    pub fn model(self, vendor: Arc<str>, name: Arc<str>) -> Result<Model, InvalidPattern> {
        let Self { display_name, aliases, context_window, max_output, price } = self;
        Ok(Model {
            vendor,
            name,
            display_name,
            aliases: aliases.iter().map(|alias| Pattern::parse(alias)).collect::<Result<_, _>>()?,
            context_window,
            output_max: max_output,
            price: price.map(PriceFacts::price),
        })
    }
}

// === impl PriceFacts ===

impl PriceFacts {
    fn of(price: &Price) -> Self {
        let Price { rates, long_context, web_search } = price;
        Self {
            input: rates.input.get(),
            output: rates.output.get(),
            cache_read: Some(rates.cache_read.get()),
            cache_write_5m: Some(rates.cache_write_5m.get()),
            cache_write_1h: Some(rates.cache_write_1h.get()),
            web_search: web_search.get(),
            long_context: long_context.map(|(threshold, rates)| LongContextFacts {
                threshold,
                input: rates.input.get(),
                output: rates.output.get(),
                cache_read: Some(rates.cache_read.get()),
                cache_write_5m: Some(rates.cache_write_5m.get()),
                cache_write_1h: Some(rates.cache_write_1h.get()),
            }),
        }
    }

    fn price(self) -> Price {
        let Self { input, output, cache_read, cache_write_5m, cache_write_1h, web_search, long_context } = self;
        Price {
            rates: rates(input, output, cache_read, cache_write_5m, cache_write_1h),
            long_context: long_context.map(LongContextFacts::tier),
            web_search: NanoUsd::new(web_search),
        }
    }
}

impl LongContextFacts {
    fn tier(self) -> (u64, Rates) {
        let Self { threshold, input, output, cache_read, cache_write_5m, cache_write_1h } = self;
        (threshold, rates(input, output, cache_read, cache_write_5m, cache_write_1h))
    }
}

fn rates(input: i64, output: i64, read: Option<i64>, write_5m: Option<i64>, write_1h: Option<i64>) -> Rates {
    let write_5m = write_5m.unwrap_or(input);
    Rates {
        input: NanoUsd::new(input),
        output: NanoUsd::new(output),
        cache_read: NanoUsd::new(read.unwrap_or(input)),
        cache_write_5m: NanoUsd::new(write_5m),
        cache_write_1h: NanoUsd::new(write_1h.unwrap_or(write_5m)),
    }
}

#[cfg(test)]
mod tests;
