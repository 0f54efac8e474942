//! `tollgate model`: the catalogue of models, and their prices.

use clap::{Args, Subcommand};
use tollgate_policy::money::NanoUsd;
use tollgate_proto::admin::v1;
use tonic::Code;

mod view;

use super::{Context, done, filter::Filter, pages};
use crate::{
    arguments::Listing,
    failure::Failure,
    literals::{dollars, model, pattern},
    output::Answer,
};
use view::ModelView;

/// What to do with models.
#[derive(Debug, Subcommand)]
pub(crate) enum ModelCommand {
    /// Show one model and its prices
    #[command(after_help = "Example: tollgate model get anthropic/claude-sonnet-4-5")]
    Get(Named),
    /// List models
    #[command(after_help = "Example: tollgate model list --vendor anthropic")]
    List {
        /// Only models of this vendor
        #[arg(long)]
        vendor: Option<String>,
        /// Only models whose price was set here
        #[arg(long)]
        overridden: bool,
        #[command(flatten)]
        listing: Listing,
    },
    /// Set a model's price, in dollars for a million tokens; what is not given stays as it is
    #[command(after_help = "Example: tollgate model price anthropic/claude-x --input 3 --output 15 --cache-read 0.3")]
    Price(Box<Price>),
    /// Remove what was set here; the catalogue's price holds again
    #[command(after_help = "Example: tollgate model reset anthropic/claude-x")]
    Reset(Named),
}

/// A model.
#[derive(Args, Debug)]
pub(crate) struct Named {
    /// The model: vendor/model
    #[arg(value_parser = model)]
    model: String,
}

/// A price that is set. Amounts are decimal dollars and never pass through a float.
#[derive(Args, Debug)]
pub(crate) struct Price {
    /// The model: vendor/model
    #[arg(value_parser = model)]
    model: String,
    #[command(flatten)]
    rates: Rates,
    /// One web search by the provider's own tool, in dollars
    #[arg(long, value_name = "DOLLARS", value_parser = dollars)]
    web_search: Option<NanoUsd>,
    #[command(flatten)]
    long: LongRates,
    /// The context window in tokens
    #[arg(long, value_name = "TOKENS", help_heading = "Facts", value_parser = clap::value_parser!(i64).range(0..))]
    context_window: Option<i64>,
    /// The most tokens that an answer can have
    #[arg(long, value_name = "TOKENS", help_heading = "Facts", value_parser = clap::value_parser!(i64).range(0..))]
    max_output: Option<i64>,
    /// What people read
    #[arg(long, value_name = "TEXT", help_heading = "Facts")]
    display_name: Option<String>,
    /// A further name that means this model; '*' stands for any run of characters [may be repeated; replaces the list]
    #[arg(long = "alias", value_name = "PATTERN", help_heading = "Facts", value_parser = pattern)]
    aliases: Vec<String>,
}

/// The prices of one tier, each for a million tokens.
#[derive(Args, Debug)]
pub(crate) struct Rates {
    /// Input tokens that no cache served
    #[arg(long, value_name = "DOLLARS", value_parser = dollars)]
    input: Option<NanoUsd>,
    /// Output tokens, hidden reasoning included
    #[arg(long, value_name = "DOLLARS", value_parser = dollars)]
    output: Option<NanoUsd>,
    /// Input tokens read from a cache
    #[arg(long, value_name = "DOLLARS", value_parser = dollars)]
    cache_read: Option<NanoUsd>,
    /// Input tokens written to a cache that lives five minutes
    #[arg(long, value_name = "DOLLARS", value_parser = dollars)]
    cache_write_5m: Option<NanoUsd>,
    /// Input tokens written to a cache that lives an hour
    #[arg(long, value_name = "DOLLARS", value_parser = dollars)]
    cache_write_1h: Option<NanoUsd>,
}

/// The dearer tier for long prompts.
#[derive(Args, Debug)]
#[command(next_help_heading = "Long prompts")]
pub(crate) struct LongRates {
    /// The tier holds when the input, cached tokens included, exceeds so many tokens; 0 removes the tier
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(i64).range(0..))]
    long_threshold: Option<i64>,
    /// As --input
    #[arg(long, value_name = "DOLLARS", value_parser = dollars)]
    long_input: Option<NanoUsd>,
    /// As --output
    #[arg(long, value_name = "DOLLARS", value_parser = dollars)]
    long_output: Option<NanoUsd>,
    /// As --cache-read
    #[arg(long, value_name = "DOLLARS", value_parser = dollars)]
    long_cache_read: Option<NanoUsd>,
    /// As --cache-write-5m
    #[arg(long, value_name = "DOLLARS", value_parser = dollars)]
    long_cache_write_5m: Option<NanoUsd>,
    /// As --cache-write-1h
    #[arg(long, value_name = "DOLLARS", value_parser = dollars)]
    long_cache_write_1h: Option<NanoUsd>,
}

impl ModelCommand {
    pub(crate) async fn run(self, context: &Context) -> Result<Answer, Failure> {
        let mut client = context.client.models();
        let model = match self {
            Self::Get(Named { model }) => client.get_model(v1::GetModelRequest { model }).await?.into_inner(),
            Self::List { vendor, overridden, listing } => {
                let origin = overridden.then_some("override");
                let filter = Filter::new(listing.filter).and("vendor", vendor)?.and("origin", origin)?;
                let found = all(context, listing.limit, filter.text()).await?;
                return context.format.list(&found.into_iter().map(ModelView::from).collect::<Vec<_>>());
            }
            Self::Price(price) => {
                let current = match client.get_model(v1::GetModelRequest { model: price.model.clone() }).await {
                    Ok(found) => Some(found.into_inner()),
                    Err(status) if status.code() == Code::NotFound => None,
                    Err(status) => return Err(status.into()),
                };
                let model = Some(price.applied_to(current)?);
                client.set_model(v1::SetModelRequest { model }).await?.into_inner()
            }
            Self::Reset(Named { model }) => {
                client.reset_model(v1::ResetModelRequest { model: model.clone() }).await?;
                return done(context.format, "reset", "model", &model);
            }
        };
        context.format.item(&ModelView::from(model))
    }
}

impl Price {
    /// The whole row: what holds now, with what was given in its place.
    fn applied_to(self, current: Option<v1::Model>) -> Result<v1::Model, Failure> {
        let Self { model: id, rates, web_search, long, context_window, max_output, display_name, aliases } = self;
        let priced = current.as_ref().and_then(|model| model.price);
        if priced.is_none() && (rates.input.is_none() || rates.output.is_none()) {
            return Err(Failure::usage(format!("{id} has no price yet: give --input and --output")));
        }
        let mut model = current.unwrap_or_default();
        let (vendor, name) = id.split_once('/').unwrap_or_default();
        let mut price = priced.unwrap_or_default();
        let Rates { input, output, cache_read, cache_write_5m, cache_write_1h } = rates;
        put(&mut price.input, input);
        put(&mut price.output, output);
        put(&mut price.cache_read, cache_read);
        put(&mut price.cache_write_5m, cache_write_5m);
        put(&mut price.cache_write_1h, cache_write_1h);
        put(&mut price.web_search, web_search);
        price.long_context = long.applied_to(price.long_context)?;
        context_window.into_iter().for_each(|tokens| model.context_window = tokens);
        max_output.into_iter().for_each(|tokens| model.max_output = tokens);
        display_name.into_iter().for_each(|text| model.display_name = text);
        if !aliases.is_empty() {
            model.aliases = aliases;
        }
        let v1::Model { display_name, aliases, context_window, max_output, .. } = model;
        let (vendor, model) = (vendor.to_owned(), name.to_owned());
        // The rest is the control plane's to say.
        let output_only = v1::Model::default();
        Ok(v1::Model {
            vendor,
            model,
            display_name,
            aliases,
            context_window,
            max_output,
            price: Some(price),
            ..output_only
        })
    }
}

impl LongRates {
    fn applied_to(self, current: Option<v1::LongContext>) -> Result<Option<v1::LongContext>, Failure> {
        let Self { long_threshold, long_input, long_output, long_cache_read, long_cache_write_5m, long_cache_write_1h } =
            self;
        let given = [long_input, long_output, long_cache_read, long_cache_write_5m, long_cache_write_1h];
        let any = given.iter().any(Option::is_some);
        if long_threshold == Some(0) {
            return if any {
                Err(Failure::usage("--long-threshold 0 removes the tier, so it has no prices"))
            } else {
                Ok(None)
            };
        }
        if long_threshold.is_none() && !any {
            return Ok(current);
        }
        let complete = current.is_some() || (long_threshold.is_some() && long_input.is_some() && long_output.is_some());
        if !complete {
            return Err(Failure::usage(
                "a tier for long prompts needs --long-threshold, --long-input and --long-output",
            ));
        }
        let mut tier = current.unwrap_or_default();
        long_threshold.into_iter().for_each(|tokens| tier.threshold = tokens);
        put(&mut tier.input, long_input);
        put(&mut tier.output, long_output);
        put(&mut tier.cache_read, long_cache_read);
        put(&mut tier.cache_write_5m, long_cache_write_5m);
        put(&mut tier.cache_write_1h, long_cache_write_1h);
        Ok(Some(tier))
    }
}

fn put(amount: &mut i64, given: Option<NanoUsd>) {
    if let Some(given) = given {
        *amount = given.get();
    }
}

/// Follows the list of models.
pub(crate) async fn all(context: &Context, limit: Option<u32>, filter: String) -> Result<Vec<v1::Model>, Failure> {
    let mut client = context.client.models();
    pages(limit, async |page_size: i32, page_token: String| {
        let request = v1::ListModelsRequest { page_size, page_token, filter: filter.clone() };
        let page = client.list_models(request).await?.into_inner();
        Ok((page.models, page.next_page_token))
    })
    .await
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::{arguments::Cli, commands::Command};

    fn priced(line: &[&str], current: Option<v1::Model>) -> Result<v1::Model, Failure> {
        let line = [&["tollgate", "model", "price", "anthropic/claude-x"], line].concat();
        let Command::Model(ModelCommand::Price(price)) = Cli::try_parse_from(line).unwrap().command else { panic!() };
        price.applied_to(current)
    }

    fn current() -> v1::Model {
        let long_context =
            Some(v1::LongContext { threshold: 200_000, input: 6, output: 7, ..v1::LongContext::default() });
        let price = v1::Price { input: 1, output: 2, cache_read: 3, long_context, ..v1::Price::default() };
        v1::Model {
            id: "anthropic/claude-x".to_owned(),
            display_name: "X".to_owned(),
            context_window: 10,
            price: Some(price),
            origin: "catalogue".to_owned(),
            ..v1::Model::default()
        }
    }

    #[test]
    fn dollars_become_nano_dollars_exactly() {
        let model =
            priced(&["--input", "3", "--output", "15", "--cache-read", "0.3", "--web-search", "0.01"], None).unwrap();
        let price = model.price.unwrap();
        assert_eq!((price.input, price.output, price.cache_read), (3_000_000_000, 15_000_000_000, 300_000_000));
        assert_eq!((price.web_search, price.cache_write_1h, price.long_context), (10_000_000, 0, None));
        assert_eq!((model.vendor.as_str(), model.model.as_str()), ("anthropic", "claude-x"));
    }

    #[test]
    fn what_is_not_given_stays_as_it_is() {
        let model = priced(&["--output", "1"], Some(current())).unwrap();
        let price = model.price.unwrap();
        assert_eq!((price.input, price.output, price.cache_read), (1, 1_000_000_000, 3));
        assert_eq!((model.display_name.as_str(), model.context_window), ("X", 10));
        assert_eq!(price.long_context.unwrap().threshold, 200_000);
        assert_eq!((model.id.as_str(), model.origin.as_str()), ("", ""));
    }

    #[test]
    fn a_tier_for_long_prompts_is_set_changed_and_removed() {
        let tier = |line: &[&str], current| priced(line, current).map(|model| model.price.unwrap().long_context);
        let changed = tier(&["--long-input", "0.000000009"], Some(current())).unwrap().unwrap();
        assert_eq!((changed.threshold, changed.input, changed.output), (200_000, 9, 7));
        assert_eq!(tier(&["--long-threshold", "0"], Some(current())).unwrap(), None);
        let new = ["--input", "1", "--output", "1", "--long-threshold", "5", "--long-input", "2", "--long-output", "3"];
        assert_eq!(tier(&new, None).unwrap().unwrap().threshold, 5);
        assert_eq!(tier(&["--input", "1", "--output", "1", "--long-input", "2"], None).unwrap_err().code, "usage");
        assert_eq!(tier(&["--long-threshold", "0", "--long-input", "2"], Some(current())).unwrap_err().code, "usage");
    }

    #[test]
    fn a_first_price_names_input_and_output() {
        assert_eq!(priced(&["--input", "3"], None).unwrap_err().code, "usage");
        let unpriced = v1::Model { price: None, ..current() };
        assert_eq!(priced(&["--cache-read", "3"], Some(unpriced)).unwrap_err().code, "usage");
    }
}
