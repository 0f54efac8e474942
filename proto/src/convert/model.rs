//! Models of the catalogue between the administrative API and the domain.

use std::sync::Arc;

use prost_types::Timestamp;
use tollgate_policy::{
    money::NanoUsd,
    name::Name,
    pattern::{PATTERNS_MAX, Pattern},
    price::{Price, Rates},
    snapshot::Model,
    time::UnixMillis,
};

use crate::admin::v1;

/// The dearest amount, in nano-dollars: 10,000 dollars for a million tokens, or for one search. A slip of the decimal point
/// is noticed, and no cost of a request comes near the end of the integers.
pub const AMOUNT_MAX: i64 = 10_000_000_000_000;
/// The largest context window, output or threshold, in tokens.
pub const TOKENS_MAX: i64 = 100_000_000;
/// The longest display name, in bytes.
pub const DISPLAY_NAME_BYTES_MAX: usize = 200;

/// A message that is not a model: each field that is wrong, with what it must be.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a model: {}", .0.iter().map(|(field, problem)| format!("{field} {problem}")).collect::<Vec<_>>().join("; "))]
pub struct InvalidModel(Vec<(&'static str, String)>);

impl InvalidModel {
    /// The fields, each with what it must be.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(field, problem)| (*field, problem.as_str()))
    }
}

/// Splits `vendor/model`; the model's own name may have slashes.
#[must_use]
pub fn split(id: &str) -> Option<(&str, &str)> {
    id.split_once('/').filter(|(vendor, name)| !vendor.is_empty() && !name.is_empty())
}

impl TryFrom<v1::Model> for Model {
    type Error = InvalidModel;

    /// Reads a model that is to be set. Output-only fields are not looked at.
    fn try_from(wire: v1::Model) -> Result<Self, InvalidModel> {
        let v1::Model { vendor, model, display_name, aliases, context_window, max_output, price, .. } = wire;
        let mut reader = Reader::default();
        if let Err(error) = Name::parse(&vendor) {
            reader.refuse("vendor", error);
        }
        if Pattern::parse(&model).is_err() || model.contains('*') {
            reader.refuse("model", "must be 1 to 200 visible ASCII characters without '*'");
        }
        let shown = !display_name.chars().any(char::is_control) && display_name.len() <= DISPLAY_NAME_BYTES_MAX;
        if !shown {
            reader.refuse(
                "display_name",
                format!("must be at most {DISPLAY_NAME_BYTES_MAX} bytes, none of them a control character"),
            );
        }
        let read = Self {
            display_name: if display_name.is_empty() { model.as_str().into() } else { display_name.into() },
            aliases: reader.aliases(&aliases),
            context_window: reader.tokens("context_window", context_window),
            output_max: reader.tokens("max_output", max_output),
            price: price.map(|price| reader.price(price)),
            vendor: vendor.into(),
            name: Arc::from(model),
        };
        if reader.0.is_empty() { Ok(read) } else { Err(InvalidModel(reader.0)) }
    }
}

/// Writes a model with where its row comes from and when its facts were collected.
#[must_use]
pub fn written(model: &Model, origin: &str, as_of: UnixMillis) -> v1::Model {
    let Model { vendor, name, display_name, aliases, context_window, output_max, price } = model;
    let millis = as_of.get();
    v1::Model {
        id: format!("{vendor}/{name}"),
        vendor: vendor.to_string(),
        model: name.to_string(),
        display_name: display_name.to_string(),
        aliases: aliases.iter().map(|alias| alias.as_str().to_owned()).collect(),
        context_window: signed(*context_window),
        max_output: signed(*output_max),
        price: price.as_ref().map(v1::Price::from),
        origin: origin.to_owned(),
        as_of: Some(Timestamp {
            seconds: millis.div_euclid(1_000),
            nanos: i32::try_from(millis.rem_euclid(1_000) * 1_000_000).unwrap_or_default(),
        }),
    }
}

impl From<&Price> for v1::Price {
    fn from(price: &Price) -> Self {
        let Price { rates, long_context, web_search } = price;
        let Rates { input, output, cache_read, cache_write_5m, cache_write_1h } = rates;
        Self {
            input: input.get(),
            output: output.get(),
            cache_read: cache_read.get(),
            cache_write_5m: cache_write_5m.get(),
            cache_write_1h: cache_write_1h.get(),
            long_context: long_context.as_ref().map(v1::LongContext::from),
            web_search: web_search.get(),
        }
    }
}

impl From<&(u64, Rates)> for v1::LongContext {
    fn from((threshold, rates): &(u64, Rates)) -> Self {
        let Rates { input, output, cache_read, cache_write_5m, cache_write_1h } = rates;
        Self {
            threshold: signed(*threshold),
            input: input.get(),
            output: output.get(),
            cache_read: cache_read.get(),
            cache_write_5m: cache_write_5m.get(),
            cache_write_1h: cache_write_1h.get(),
        }
    }
}

fn signed(tokens: u64) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX)
}

// Collects what is wrong, so that all of it is told at once. What it returns counts only when nothing was.
#[derive(Default)]
struct Reader(Vec<(&'static str, String)>);

impl Reader {
    fn refuse(&mut self, field: &'static str, problem: impl ToString) {
        self.0.push((field, problem.to_string()));
    }

    fn aliases(&mut self, aliases: &[String]) -> Vec<Pattern> {
        if aliases.len() > PATTERNS_MAX {
            self.refuse("aliases", format!("must be at most {PATTERNS_MAX}"));
            return Vec::new();
        }
        let parsed: Result<_, _> = aliases.iter().map(|alias| Pattern::parse(alias)).collect();
        parsed.unwrap_or_else(|error| {
            self.refuse("aliases", error);
            Vec::new()
        })
    }

    fn tokens(&mut self, field: &'static str, count: i64) -> u64 {
        self.bounded(field, count, TOKENS_MAX, "tokens")
    }

    fn amount(&mut self, field: &'static str, amount: i64) -> NanoUsd {
        self.bounded(field, amount, AMOUNT_MAX, "nano-dollars");
        NanoUsd::new(amount)
    }

    fn bounded(&mut self, field: &'static str, value: i64, max: i64, unit: &str) -> u64 {
        if !(0..=max).contains(&value) {
            self.refuse(field, format!("must be 0 to {max} {unit}"));
        }
        value.unsigned_abs()
    }

    fn price(&mut self, wire: v1::Price) -> Price {
        let v1::Price { input, output, cache_read, cache_write_5m, cache_write_1h, long_context, web_search } = wire;
        Price {
            rates: completed(Rates {
                input: self.amount("price.input", input),
                output: self.amount("price.output", output),
                cache_read: self.amount("price.cache_read", cache_read),
                cache_write_5m: self.amount("price.cache_write_5m", cache_write_5m),
                cache_write_1h: self.amount("price.cache_write_1h", cache_write_1h),
            }),
            long_context: long_context.map(|long| self.long_context(&long)),
            web_search: self.amount("price.web_search", web_search),
        }
    }

    fn long_context(&mut self, wire: &v1::LongContext) -> (u64, Rates) {
        let v1::LongContext { threshold, input, output, cache_read, cache_write_5m, cache_write_1h } = *wire;
        if threshold == 0 {
            self.refuse("price.long_context.threshold", "must be set");
        }
        let rates = completed(Rates {
            input: self.amount("price.long_context.input", input),
            output: self.amount("price.long_context.output", output),
            cache_read: self.amount("price.long_context.cache_read", cache_read),
            cache_write_5m: self.amount("price.long_context.cache_write_5m", cache_write_5m),
            cache_write_1h: self.amount("price.long_context.cache_write_1h", cache_write_1h),
        });
        (self.tokens("price.long_context.threshold", threshold), rates)
    }
}

// Cached input that was left out costs what input costs: an amount that is forgotten makes nothing free.
fn completed(rates: Rates) -> Rates {
    let or = |amount: NanoUsd, other: NanoUsd| if amount == NanoUsd::ZERO { other } else { amount };
    let cache_write_5m = or(rates.cache_write_5m, rates.input);
    Rates {
        cache_read: or(rates.cache_read, rates.input),
        cache_write_5m,
        cache_write_1h: or(rates.cache_write_1h, cache_write_5m),
        ..rates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire() -> v1::Model {
        v1::Model {
            vendor: "anthropic".into(),
            model: "claude-x".into(),
            display_name: "Claude X".into(),
            aliases: vec!["claude-x-*".into()],
            context_window: 1_000_000,
            max_output: 128_000,
            price: Some(v1::Price {
                input: 3_000_000_000,
                output: 15_000_000_000,
                cache_read: 300_000_000,
                cache_write_5m: 3_750_000_000,
                cache_write_1h: 6_000_000_000,
                long_context: Some(v1::LongContext { threshold: 200_000, input: 6, output: 7, ..Default::default() }),
                web_search: 10_000_000,
            }),
            ..v1::Model::default()
        }
    }

    #[test]
    fn what_is_read_is_written_again() {
        let model = Model::try_from(wire()).unwrap();
        let again = written(&model, "override", UnixMillis::new(1_500));
        assert_eq!((again.id.as_str(), again.origin.as_str()), ("anthropic/claude-x", "override"));
        assert_eq!(again.as_of, Some(Timestamp { seconds: 1, nanos: 500_000_000 }));
        assert_eq!(Model::try_from(again).unwrap(), model);
        assert_eq!(
            Model::try_from(v1::Model { price: None, ..wire() }).unwrap().price,
            None,
            "unpriced stays unpriced"
        );
    }

    #[test]
    fn cached_input_that_was_left_out_costs_what_input_costs() {
        let price = v1::Price { input: 7, output: 9, ..Default::default() };
        let price = Model::try_from(v1::Model { price: Some(price), ..wire() }).unwrap().price.unwrap();
        let Rates { cache_read, cache_write_5m, cache_write_1h, .. } = price.rates;
        assert_eq!([cache_read, cache_write_5m, cache_write_1h], [NanoUsd::new(7); 3]);
        let (_, long) = Model::try_from(wire()).unwrap().price.unwrap().long_context.unwrap();
        assert_eq!((long.cache_read, long.cache_write_1h), (NanoUsd::new(6), NanoUsd::new(6)));
    }

    #[test]
    fn every_field_that_is_wrong_is_named() {
        type Change = fn(&mut v1::Model);
        let price = |model: &mut v1::Model, change: fn(&mut v1::Price)| change(model.price.as_mut().unwrap());
        let rows: [(&str, Change); 10] = [
            ("vendor", |model| model.vendor = "An/thropic".into()),
            ("model", |model| model.model.clear()),
            ("model", |model| model.model = "claude-*".into()),
            ("display_name", |model| model.display_name = "a\nb".into()),
            ("display_name", |model| model.display_name = "x".repeat(201)),
            ("aliases", |model| model.aliases.push("a b".into())),
            ("aliases", |model| model.aliases = vec!["a".into(); 201]),
            ("context_window", |model| model.context_window = -1),
            ("max_output", |model| model.max_output = TOKENS_MAX + 1),
            ("price.long_context.threshold", |model| {
                model.price.as_mut().unwrap().long_context.as_mut().unwrap().threshold = 0;
            }),
        ];
        let fields = |model: v1::Model| {
            let error = Model::try_from(model).unwrap_err();
            error.fields().map(|(field, _)| field).collect::<Vec<_>>()
        };
        for (field, change) in rows {
            let mut model = wire();
            change(&mut model);
            assert_eq!(fields(model), [field]);
        }
        let mut model = wire();
        model.vendor.clear();
        price(&mut model, |price| (price.input, price.web_search) = (-1, AMOUNT_MAX + 1));
        assert_eq!(fields(model), ["vendor", "price.input", "price.web_search"], "all at once");
    }

    #[test]
    fn an_id_is_split_at_its_first_slash() {
        assert_eq!(split("openrouter/anthropic/claude-x"), Some(("openrouter", "anthropic/claude-x")));
        for bad in ["", "claude-x", "/claude-x", "anthropic/"] {
            assert_eq!(split(bad), None, "{bad}");
        }
    }
}
