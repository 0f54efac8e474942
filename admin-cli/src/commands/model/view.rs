//! How a model is shown. Amounts are decimal strings, in dollars for a million tokens.

use serde::Serialize;
use tollgate_policy::money::NanoUsd;
use tollgate_proto::admin::v1;

use crate::{literals::printed, output::View};

/// A model as it is shown.
#[derive(Serialize)]
pub(super) struct ModelView {
    id: String,
    vendor: String,
    model: String,
    display_name: String,
    aliases: Vec<String>,
    context_window: i64,
    max_output: i64,
    price: Option<PriceView>,
    origin: String,
    as_of: Option<String>,
}

/// A price as it is shown.
#[derive(Serialize)]
struct PriceView {
    #[serde(flatten)]
    rates: RatesView,
    web_search: String,
    long_context: Option<LongView>,
}

#[derive(Serialize)]
struct LongView {
    threshold: i64,
    #[serde(flatten)]
    rates: RatesView,
}

#[derive(Serialize)]
struct RatesView {
    input: String,
    output: String,
    cache_read: String,
    cache_write_5m: String,
    cache_write_1h: String,
}

fn usd(nano: i64) -> String {
    NanoUsd::new(nano).to_string()
}

impl From<v1::Model> for ModelView {
    fn from(row: v1::Model) -> Self {
        let v1::Model { id, vendor, model, display_name, aliases, context_window, max_output, price, origin, as_of } =
            row;
        let (price, as_of) = (price.map(PriceView::from), printed(as_of.as_ref()));
        Self { id, vendor, model, display_name, aliases, context_window, max_output, price, origin, as_of }
    }
}

impl From<v1::Price> for PriceView {
    fn from(price: v1::Price) -> Self {
        let v1::Price { input, output, cache_read, cache_write_5m, cache_write_1h, long_context, web_search } = price;
        let rates = RatesView::new([input, output, cache_read, cache_write_5m, cache_write_1h]);
        Self { rates, web_search: usd(web_search), long_context: long_context.map(LongView::from) }
    }
}

impl From<v1::LongContext> for LongView {
    fn from(tier: v1::LongContext) -> Self {
        let v1::LongContext { threshold, input, output, cache_read, cache_write_5m, cache_write_1h } = tier;
        Self { threshold, rates: RatesView::new([input, output, cache_read, cache_write_5m, cache_write_1h]) }
    }
}

impl RatesView {
    fn new(amounts: [i64; 5]) -> Self {
        let [input, output, cache_read, cache_write_5m, cache_write_1h] = amounts.map(usd);
        Self { input, output, cache_read, cache_write_5m, cache_write_1h }
    }

    fn text(&self) -> String {
        let Self { input, output, cache_read, cache_write_5m, cache_write_1h } = self;
        format!(
            "input {input}, output {output}, cache read {cache_read}, cache write {cache_write_5m} (5m) {cache_write_1h} (1h)"
        )
    }
}

impl View for ModelView {
    const PLURAL: &'static str = "models";
    const LISTED: &'static [&'static str] =
        &["model", "input", "output", "cache_read", "context", "max_output", "origin"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        let rate = |pick: fn(&RatesView) -> &String| self.price.as_ref().map(|price| pick(&price.rates).clone());
        let known = |tokens: i64| if tokens > 0 { tokens.to_string() } else { String::new() };
        let mut fields = vec![
            ("model", self.id.clone()),
            ("display_name", self.display_name.clone()),
            ("aliases", self.aliases.join(" ")),
            ("input", rate(|rates| &rates.input).unwrap_or_else(|| "unpriced".to_owned())),
            ("output", rate(|rates| &rates.output).unwrap_or_default()),
            ("cache_read", rate(|rates| &rates.cache_read).unwrap_or_default()),
            ("cache_write_5m", rate(|rates| &rates.cache_write_5m).unwrap_or_default()),
            ("cache_write_1h", rate(|rates| &rates.cache_write_1h).unwrap_or_default()),
        ];
        if let Some(price) = &self.price {
            fields.push(("web_search", price.web_search.clone()));
            if let Some(tier) = &price.long_context {
                fields.push(("long prompts", format!("above {} tokens: {}", tier.threshold, tier.rates.text())));
            }
        }
        fields.extend([
            ("context", known(self.context_window)),
            ("max_output", known(self.max_output)),
            ("origin", self.origin.clone()),
            ("as_of", self.as_of.clone().unwrap_or_default()),
        ]);
        fields
    }
}
