//! What is explained is what the table of the dialects says, and what becomes of real requests.

use std::{collections::BTreeSet, fs};

use serde_json::Value;
use tollgate_dialect::{Called, hub::Request};

use super::*;

fn pairs() -> impl Iterator<Item = (Dialect, Dialect)> {
    let all = Dialect::ALL.into_iter().flat_map(|client| Dialect::ALL.map(|target| (client, target)));
    all.filter(|(client, target)| client != target)
}

fn explained(client: Dialect, target: Dialect, quirks: &[Quirk], model: &str) -> BTreeSet<(String, Support)> {
    let quirks = super::quirks(quirks);
    let lost = |feature: &Feature| {
        lost(feature, client, (target, &quirks, model)).map(|support| (feature.word().to_owned(), support))
    };
    Feature::ALL.iter().filter_map(lost).collect()
}

// Of these the table says that the target's dialect has them, and yet some values have no room there; or it says how they are lost,
// and it depends on the model, or is told under another name.
const VALUES: [Feature; 10] = [
    Feature::ForeignThinking,
    Feature::Video,
    Feature::CacheHour,
    Feature::MidConversationSystem,
    Feature::File,
    Feature::WebSearch,
    Feature::Citations,
    Feature::Effort,
    Feature::StopSequences,
    Feature::User,
];

#[test]
fn what_the_table_says_is_told_of_whatever_a_client_can_ask_for() {
    let mut wrong = Vec::new();
    for (client, target) in pairs() {
        for feature in &Feature::ALL {
            // A model that takes both sampling and budgets of thinking, as newer ones do not.
            let told = lost(feature, client, (target, &Quirks::default(), "anthropic.claude-sonnet-4-6"));
            let can_ask = feature.support(client) == Support::Native || is_own(feature, client);
            let table = Some(feature.support(target)).filter(|support| can_ask && *support != Support::Native);
            let is_fine = told == table || (VALUES.contains(feature) && (can_ask || told.is_none()));
            if !is_fine {
                let (client, target, feature) = (client.word(), target.word(), feature.word());
                wrong.push(format!("{client} -> {target} {feature}: {told:?}, not {table:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_quirk_of_the_provider_changes_what_is_told() {
    use Support::{Approximated, Dropped, Native};
    let (messages, chat) = (Dialect::Anthropic, Dialect::OpenAiChat);
    for (quirk, client, target, feature, expect) in [
        (Quirk::TopK, messages, chat, Feature::TopK, Native),
        (Quirk::NoParallelTools, messages, chat, Feature::ParallelTools, Dropped),
        (Quirk::NoSchemaFormat, messages, chat, Feature::SchemaFormat, Approximated),
        (Quirk::NoEffort, messages, chat, Feature::Effort, Dropped),
        (Quirk::AlwaysThinks, messages, chat, Feature::ThinkingOff, Approximated),
        (Quirk::ReasoningObject, messages, chat, Feature::ThinkingBudget, Native),
        (Quirk::EnableThinking, messages, chat, Feature::Effort, Dropped),
        (Quirk::CacheControl, messages, chat, Feature::CacheControl, Native),
        (Quirk::WebSearch, messages, chat, Feature::WebSearch, Approximated),
        (Quirk::NoSampling, chat, messages, Feature::Temperature, Dropped),
        (Quirk::NoThinkingBudget, Dialect::Gemini, messages, Feature::ThinkingBudget, Approximated),
        (Quirk::NoAdaptiveThinking, Dialect::BedrockConverse, messages, Feature::ThinkingAdaptive, Approximated),
        (Quirk::NoSystemTurns, chat, messages, Feature::MidConversationSystem, Approximated),
    ] {
        let becomes = |quirks: &[Quirk]| {
            let told = lost(&feature, client, (target, &super::quirks(quirks), "m"));
            told.unwrap_or(Native)
        };
        assert_eq!(becomes(&[quirk]), expect, "{quirk:?} {feature:?}");
        assert_ne!(becomes(&[]), expect, "{quirk:?} {feature:?} without it");
    }
}

// What real requests lose, by the code that writes them. What only one dialect has is not explained, and is told with each answer.
#[test]
fn what_a_real_request_loses_was_told() {
    let mut seen = 0;
    let mut untold = BTreeSet::new();
    for (client, target) in pairs() {
        for (name, shape) in shapes(client) {
            let Some(body) = shape.get("request").filter(|body| !body.is_null()).map(Value::to_string) else {
                continue;
            };
            let model = shape.get("model").and_then(Value::as_str);
            let called = Called { model: model.map(Into::into), stream: None };
            let Ok(request) = client.decode_request(&called, body.as_bytes()) else { continue };
            let told = explained(client, target, &[], &request.model);
            let mut losses = Losses::new(target);
            let _ = target.encode_request(&request, &Quirks::default(), &mut losses);
            seen += 1;
            for (feature, support) in losses.iter() {
                let known = Feature::ALL.contains(feature) && !depends_on_values(feature, &request);
                if known && !told.iter().any(|told| told.0 == feature.word() && told.1 >= support) {
                    untold.insert(format!(
                        "{} -> {} {name}: {}={}",
                        client.word(),
                        target.word(),
                        feature.word(),
                        support.word()
                    ));
                }
            }
        }
    }
    assert!(seen > 500 && untold.is_empty(), "{seen} {untold:#?}");
}

// A value that the target's dialect has no room for, though it has the field: told with the answer.
fn depends_on_values(feature: &Feature, request: &Request<'_>) -> bool {
    let is_sampled = request.thinking.mode.is_some() || request.sampling.temperature.is_some();
    match feature {
        Feature::Temperature | Feature::TopP | Feature::TopK => is_sampled,
        // A kind of file that is not taken, and a budget that the limit of output leaves no room for.
        Feature::DocumentBytes | Feature::ThinkingBudget => true,
        _ => false,
    }
}

fn shapes(dialect: Dialect) -> Vec<(String, Value)> {
    let directory = [env!("CARGO_MANIFEST_DIR"), "/../core/dialect/tests/shapes/", dialect.word()].concat();
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let shapes = files.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    let read = |path: std::path::PathBuf| {
        let shape = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        (path.file_stem().unwrap().to_string_lossy().into_owned(), shape)
    };
    shapes.map(read).collect()
}
