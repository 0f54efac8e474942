//! What a request may lose on its way to a target of another dialect, feature by feature.
//!
//! The same code is asked that a replica writes requests with: for each feature a request that asks for it ([`probe`]) is written in
//! the target's dialect, with the provider's quirks and for the target's model. What it loses is told, unless the client's own dialect
//! could not have asked for it.

mod probe;

use tollgate_dialect::{
    CacheForm, Dialect, Quirks, ThinkingForm,
    hub::{Feature, Losses, Support, Text},
};
use tollgate_policy::{
    provider::{Dialect as Spoken, Quirk},
    snapshot::Provider,
};
use tollgate_proto::admin::v1;

/// What may be lost on the way to this model of a provider; empty where the client's bytes pass.
pub(super) fn of(client: Spoken, provider: &Provider, model: &str) -> Vec<v1::Loss> {
    let (Some(client), Some(target)) = (dialect(client), dialect(provider.dialect)) else { return Vec::new() };
    if client == target {
        return Vec::new();
    }
    let quirks = quirks(&provider.quirks);
    let loss = |feature: &Feature| {
        let lost = lost(feature, client, (target, &quirks, model))?;
        Some(v1::Loss { feature: feature.word().to_owned(), becomes: lost.word().to_owned() })
    };
    Feature::ALL.iter().filter_map(loss).collect()
}

// What becomes of a feature; `None`: it arrives, or a client of that dialect cannot ask for it.
fn lost(feature: &Feature, client: Dialect, (target, quirks, model): (Dialect, &Quirks, &str)) -> Option<Support> {
    let mut request = probe::of(feature, client)?;
    becomes(feature, &request, client, &Quirks::default()).is_none().then_some(())?;
    request.model = Text::from(model);
    becomes(feature, &request, target, quirks)
}

fn becomes(
    feature: &Feature,
    request: &tollgate_dialect::hub::Request<'_>,
    dialect: Dialect,
    quirks: &Quirks,
) -> Option<Support> {
    let mut losses = Losses::new(dialect);
    let _ = dialect.encode_request(request, quirks, &mut losses);
    // The worse of two, where a feature is lost in two ways.
    losses.iter().filter(|(lost, _)| *lost == feature).map(|(_, support)| support).max()
}

// What a provider that speaks this is sent; `None`: this version does not know it.
fn dialect(spoken: Spoken) -> Option<Dialect> {
    match spoken {
        Spoken::BedrockInvoke | Spoken::VertexAnthropic => Some(Dialect::Anthropic),
        _ => Dialect::from_word(spoken.word()),
    }
}

fn quirks(list: &[Quirk]) -> Quirks {
    let mut quirks = Quirks::default();
    for quirk in list {
        match quirk {
            Quirk::MaxTokens => quirks.has_max_tokens = true,
            Quirk::SystemRole => quirks.has_system_role = true,
            Quirk::ReasoningContent => quirks.takes_reasoning_content = true,
            Quirk::NoParallelTools => quirks.lacks_parallel_tools = true,
            Quirk::NoStreamOptions => quirks.lacks_stream_options = true,
            Quirk::NoSchemaFormat => quirks.lacks_schema_format = true,
            Quirk::NoEffort => quirks.lacks_effort = true,
            Quirk::TopK => quirks.takes_top_k = true,
            Quirk::AlwaysThinks => quirks.cannot_stop_thinking = true,
            Quirk::ReasoningObject => quirks.thinking_form = ThinkingForm::Reasoning,
            Quirk::ThinkingObject => quirks.thinking_form = ThinkingForm::Thinking,
            Quirk::EnableThinking => quirks.thinking_form = ThinkingForm::Enable,
            Quirk::JoinedTexts => quirks.joins_texts = true,
            Quirk::CacheControl => quirks.cache_form = CacheForm::Control,
            Quirk::CacheBreakpoint => quirks.cache_form = CacheForm::Breakpoint,
            Quirk::WebSearch => quirks.takes_web_search = true,
            Quirk::NoSampling => quirks.lacks_sampling = true,
            Quirk::NoThinkingBudget => quirks.lacks_thinking_budget = true,
            Quirk::NoSystemTurns => quirks.lacks_system_turns = true,
            Quirk::NoAdaptiveThinking => quirks.lacks_adaptive_thinking = true,
        }
    }
    quirks
}

#[cfg(test)]
mod tests;
