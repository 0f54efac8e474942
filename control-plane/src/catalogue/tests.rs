//! The committed catalogue is whole and right; the rules of the form hold.

use std::collections::HashSet;

use tollgate_policy::{
    name::Name,
    snapshot::{Object, Snapshot},
    usage::Tokens,
};
use tollgate_proto::convert::model::written;

use super::*;

const MILLION: u64 = 1_000_000;

fn snapshot() -> Snapshot {
    let objects = Catalogue::embedded().unwrap().models.into_iter().map(Object::Model).collect();
    Snapshot::default().next(1, objects, vec![])
}

#[test]
fn the_catalogue_has_a_thousand_models_of_twenty_vendors_with_limits_and_prices() {
    let Catalogue { version, as_of, models } = Catalogue::embedded().unwrap();
    assert!(version / 100 >= 20_261_123 && as_of.get() >= 1_795_392_000_000, "version {version} as of {as_of:?}");
    let vendors: HashSet<_> = models.iter().map(|model| &*model.vendor).collect();
    let whole = models.iter().filter(|model| model.price.is_some() && model.context_window > 0 && model.output_max > 0);
    assert!(whole.count() >= 1_000 && vendors.len() >= 20, "{} models of {} vendors", models.len(), vendors.len());
}

#[test]
fn every_row_keeps_its_bounds_and_stands_once() {
    let mut seen = HashSet::new();
    for model in Catalogue::embedded().unwrap().models {
        let name = format!("{}/{}", model.vendor, model.name);
        assert!(Name::parse(&model.vendor).is_ok(), "{name}");
        assert!(Pattern::parse(&model.name).is_ok() && !model.name.contains('*'), "{name}");
        let price = model.price.as_ref().unwrap();
        let tiers = [Some(price.rates), price.long_context.map(|(_, rates)| rates)];
        for rates in tiers.into_iter().flatten() {
            let Rates { input, output, cache_read, cache_write_5m, cache_write_1h } = rates;
            for amount in [input, output, cache_read, cache_write_5m, cache_write_1h, price.web_search] {
                assert!((0..=10_000_000_000_000).contains(&amount.get()), "{name}: {amount}");
            }
        }
        assert!(seen.insert(name.clone()), "{name} stands twice");
    }
}

#[test]
fn every_row_is_one_that_an_administrator_could_set() {
    for model in Catalogue::embedded().unwrap().models {
        let wire = written(&model, "catalogue", UnixMillis::new(0));
        assert_eq!(Model::try_from(wire).as_ref(), Ok(&model));
    }
}

#[test]
fn the_facts_of_a_model_survive_the_database() {
    for model in Catalogue::embedded().unwrap().models {
        let text = serde_json::to_string(&Facts::of(&model)).unwrap();
        let facts: Facts = serde_json::from_str(&text).unwrap();
        assert_eq!(facts.model(Arc::clone(&model.vendor), Arc::clone(&model.name)).unwrap(), model);
    }
}

// The prices that Anthropic publishes, in dollars for a million tokens: input, output, cache read, write 5m, write 1h.
#[test]
fn claude_costs_what_anthropic_publishes() {
    let snapshot = snapshot();
    for (asked, model, dollars) in [
        ("claude-opus-5-5", "claude-opus-5-5", ["4", "20", "0.2", "5", "8"]),
        ("claude-opus-4-8", "claude-opus-4-8", ["5", "25", "0.5", "6.25", "10"]),
        ("claude-opus-4-7-20260416", "claude-opus-4-7", ["5", "25", "0.5", "6.25", "10"]),
        ("claude-opus-4-20250514", "claude-opus-4-0", ["15", "75", "1.5", "18.75", "30"]),
        ("claude-sonnet-5-5", "claude-sonnet-5-5", ["2", "10", "0.1", "2.5", "4"]),
        ("claude-sonnet-4-6", "claude-sonnet-4-6", ["3", "15", "0.3", "3.75", "6"]),
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5", ["3", "15", "0.3", "3.75", "6"]),
        ("claude-haiku-4-5-20251001", "claude-haiku-4-5", ["1", "5", "0.1", "1.25", "2"]),
        ("claude-haiku-5-5-20260901", "claude-haiku-5-5", ["0.1", "0.5", "0.01", "0.125", "0.2"]),
    ] {
        let found = snapshot.models().find("anthropic", asked).unwrap();
        assert_eq!(&*found.name, model, "{asked}");
        let Rates { input, output, cache_read, cache_write_5m, cache_write_1h } = found.price.unwrap().rates;
        let rates = [input, output, cache_read, cache_write_5m, cache_write_1h].map(|amount| amount.to_string());
        assert_eq!(rates, dollars, "{asked}");
        assert_eq!(found.price.unwrap().web_search.to_string(), "0.01", "{asked}");
    }
    assert!(snapshot.models().find("anthropic", "claude-unheard-of-9").is_none(), "an unknown model has no price");
}

#[test]
fn a_long_prompt_to_haiku_5_5_costs_the_dearer_tier() {
    let snapshot = snapshot();
    let price = snapshot.models().find("anthropic", "claude-haiku-5-5").unwrap().price.unwrap();
    for (input, dollars) in [(100_000, "0.01"), (100_001, "0.0500005"), (MILLION, "0.5")] {
        assert_eq!(price.cost(&Tokens { input, ..Tokens::default() }).to_string(), dollars, "{input} tokens");
    }
}

#[test]
fn cached_input_without_a_price_of_its_own_costs_what_input_costs() {
    let text = r#"{"format": 1, "version": 2026112301, "as_of": "2026-11-23", "models": [
        {"vendor": "v", "model": "m", "display_name": "M", "aliases": ["m-*"], "context_window": 1, "max_output": 2,
         "price": {"input": 7, "output": 9, "cache_write_5m": 8}}]}"#;
    let catalogue = Catalogue::parse(text).unwrap();
    let price = catalogue.models[0].price.unwrap();
    let [read, write_5m, write_1h] = [price.rates.cache_read, price.rates.cache_write_5m, price.rates.cache_write_1h];
    assert_eq!([read.get(), write_5m.get(), write_1h.get()], [7, 8, 8]);
    assert_eq!(catalogue.as_of.get(), 1_795_392_000_000);
}

#[test]
fn a_catalogue_of_another_form_is_refused() {
    for text in [
        r#"{"format": 2, "version": 1, "as_of": "2026-11-23", "models": []}"#,
        r#"{"format": 1, "version": 1, "as_of": "soon", "models": []}"#,
        r#"{"format": 1, "version": 1, "as_of": "2026-11-23", "models": [{"vendor": "v"}]}"#,
        "",
    ] {
        assert!(Catalogue::parse(text).is_err(), "{text}");
    }
}
