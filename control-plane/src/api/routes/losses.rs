//! What a request may lose on its way to a target of another dialect, feature by feature.
//!
//! The same code is asked that a replica writes requests with: for each feature that a client of the dialect can ask for, requests
//! that do ([`probe`]) are written in the target's dialect, with the provider's quirks and for the target's model. What only one
//! dialect has (a field, a block) is not among them: each answer tells what was lost of these.

mod probe;

use tollgate_dialect::{
    CacheForm, Dialect, Quirks, ThinkingForm,
    hub::{Feature, Losses, Request, Support, Text},
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

// What becomes of a feature, at worst; `None`: it arrives, or a client of that dialect cannot ask for it.
fn lost(feature: &Feature, client: Dialect, (target, quirks, model): (Dialect, &Quirks, &str)) -> Option<Support> {
    let is_asked_for = feature.support(client) == Support::Native || is_own(feature, client);
    let requests = if is_asked_for { probe::of(feature, client) } else { Vec::new() };
    let becomes = |request: Request<'_>| {
        let mut losses = Losses::new(target);
        let _ = target.encode_request(&Request { model: Text::from(model), ..request }, quirks, &mut losses);
        losses.iter().filter(|(lost, _)| *lost == feature).map(|(_, support)| support).max()
    };
    requests.into_iter().filter_map(becomes).max()
}

// What a client of that dialect can ask of the provider for whom it was made, and the hub's table does not have as the dialect's: it is
// in the hands of that provider, or some who speak the dialect have it.
const fn is_own(feature: &Feature, client: Dialect) -> bool {
    match feature {
        // A conversation that another provider began, and what a provider does by itself.
        Feature::ForeignThinking | Feature::HostedTool | Feature::WebSearch => true,
        Feature::File => !matches!(client, Dialect::BedrockConverse),
        Feature::Citations | Feature::TopK | Feature::CacheControl => {
            matches!(client, Dialect::OpenAiChat | Dialect::OpenAiResponses)
        }
        Feature::CacheHour | Feature::Video => matches!(client, Dialect::OpenAiChat),
        Feature::Audio => matches!(client, Dialect::OpenAiResponses),
        // A tool that comes later is told of in the middle.
        Feature::MidConversationSystem => matches!(client, Dialect::BedrockConverse),
        _ => false,
    }
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
