//! What the API refuses together, and which of the two then goes.
//!
//! Clients of this dialect know it; others ask for whatever their own provider takes. A tool that must be called wins over thinking,
//! since programs rely on it; thinking wins over how tokens are drawn.

use crate::{
    dialects::{Dialect, Quirks},
    hub::{Block, Effort, Feature, Losses, Request, Role, Text, ThinkingMode, ToolChoice, order::OrderedTurn},
};

/// Every model takes this many tokens of output.
const OUTPUT_TOKENS: u64 = 8_192;
/// What agents write at once, files included, has room in so many tokens: where the model is known to give them. Every model that
/// decides for itself how much it thinks gives them, and needs them: thinking is part of them.
const OUTPUT_TOKENS_ROOMY: u64 = 32_000;
const BUDGET_MIN: u64 = 1_024;
const TEMPERATURE_MAX: f64 = 1.0;
const TOP_P_THINKING_MIN: f64 = 0.95;
const USER_ID_BYTES_MAX: usize = 256;

/// How a request goes on, as the API takes it.
#[derive(Clone, Debug)]
pub(crate) struct Limits<'a> {
    pub(super) output_tokens_max: u64,
    pub(crate) mode: Option<ThinkingMode>,
    pub(crate) effort: Option<Effort>,
    pub(crate) temperature: Option<f64>,
    pub(crate) top_p: Option<f64>,
    pub(crate) top_k: Option<u64>,
    pub(super) stop_sequences: Vec<&'a Text<'a>>,
    pub(super) user_id: Option<&'a str>,
}

/// Finds what the API takes of a request, by itself or behind `target`. A request of this dialect is as its client wants it, but for what
/// the model lacks.
pub(crate) fn limits<'a>(
    request: &'a Request<'a>,
    turns: Option<&[OrderedTurn<'_>]>,
    quirks: &Quirks,
    target: Dialect,
    losses: &mut Losses,
) -> Limits<'a> {
    let sampling = &request.sampling;
    let mut limits = Limits {
        output_tokens_max: 0,
        mode: request.thinking.mode,
        effort: request.thinking.effort,
        temperature: sampling.temperature,
        top_p: sampling.top_p,
        top_k: sampling.top_k,
        stop_sequences: request.stop_sequences.iter().collect(),
        user_id: request.user.as_deref(),
    };
    if sampling.seed.is_some() {
        losses.meet(Feature::Seed);
    }
    if sampling.presence_penalty.or(sampling.frequency_penalty).is_some() {
        losses.meet(Feature::Penalties);
    }
    if limits.temperature.is_some_and(|temperature| temperature > TEMPERATURE_MAX) {
        losses.meet(Feature::HighTemperature);
        limits.temperature = Some(TEMPERATURE_MAX);
    }
    // A type of thinking that the hub does not know is one all the same.
    let is_own = (request.dialect, target) == (Dialect::Anthropic, Dialect::Anthropic);
    let is_said = is_own && request.rest.iter().any(|(name, _)| &**name == "thinking.type");
    if turns.is_some() && !is_said {
        limits.think(request.thinking.is_shown, quirks, losses);
    }
    limits.fit_model(quirks, losses);
    if let Some(turns) = turns {
        limits.fit_thinking(request, turns, target, losses);
        limits.fit_sampling(losses);
        limits.fit_words(losses);
    }
    let least = quirks.output_tokens_max.map_or(OUTPUT_TOKENS, |most| most.min(OUTPUT_TOKENS_ROOMY));
    let wanted = match limits.mode {
        Some(ThinkingMode::Budget(budget)) => least.saturating_add(budget),
        Some(ThinkingMode::Adaptive) => OUTPUT_TOKENS_ROOMY,
        _ if limits.effort.is_some() => OUTPUT_TOKENS_ROOMY,
        _ => least,
    };
    let most = quirks.output_tokens_max.unwrap_or(u64::MAX);
    limits.output_tokens_max = request.output_tokens_max.unwrap_or_else(|| wanted.min(most));
    limits
}

impl Limits<'_> {
    // Elsewhere who says how hard the model tries, or wants to see what it thinks, means that it thinks.
    fn think(&mut self, is_shown: Option<bool>, quirks: &Quirks, losses: &mut Losses) {
        let is_meant = self.effort.map_or(is_shown == Some(true), |effort| effort > Effort::Minimal);
        if self.mode.is_none() && is_meant {
            self.mode = Some(ThinkingMode::Adaptive);
        }
        if self.mode == Some(ThinkingMode::Adaptive) && quirks.lacks_adaptive_thinking {
            losses.approximate(Feature::ThinkingAdaptive);
            self.mode = Some(ThinkingMode::Budget(self.effort.unwrap_or(Effort::Medium).budget()));
        }
    }

    fn fit_model(&mut self, quirks: &Quirks, losses: &mut Losses) {
        if quirks.lacks_sampling {
            self.drop_temperature(losses);
            self.drop_top_p(losses);
            self.drop_top_k(losses);
        }
        if quirks.lacks_effort && self.effort.take().is_some() {
            losses.drop(Feature::Effort);
        }
        if let Some(ThinkingMode::Budget(budget)) = self.mode
            && quirks.lacks_thinking_budget
        {
            losses.approximate(Feature::ThinkingBudget);
            self.mode = Some(ThinkingMode::Adaptive);
            self.effort = self.effort.or_else(|| (!quirks.lacks_effort).then(|| Effort::of_budget(budget)));
        }
        if self.effort == Some(Effort::Minimal) {
            losses.approximate(Feature::Effort);
        }
    }

    fn fit_thinking(&mut self, request: &Request<'_>, turns: &[OrderedTurn<'_>], target: Dialect, losses: &mut Losses) {
        let feature = match self.mode {
            Some(ThinkingMode::Budget(_)) => Feature::ThinkingBudget,
            Some(ThinkingMode::Adaptive) => Feature::ThinkingAdaptive,
            None | Some(ThinkingMode::Off) => return,
        };
        let is_forced = matches!(request.tool_choice, Some(ToolChoice::Any | ToolChoice::Tool { .. }));
        let mode = match self.mode {
            _ if is_forced => None,
            Some(ThinkingMode::Budget(_)) if is_unthought_loop(turns, target) => None,
            Some(ThinkingMode::Budget(budget)) => {
                let most = request.output_tokens_max.map_or(u64::MAX, |most| most.saturating_sub(1));
                (most >= BUDGET_MIN).then(|| ThinkingMode::Budget(budget.clamp(BUDGET_MIN, most)))
            }
            mode => mode,
        };
        match mode {
            // It was not asked for by itself.
            None if request.thinking.mode.is_none() => {}
            None => losses.drop(feature),
            mode if mode != self.mode => losses.approximate(feature),
            _ => {}
        }
        self.mode = mode;
    }

    fn fit_sampling(&mut self, losses: &mut Losses) {
        if matches!(self.mode, Some(ThinkingMode::Budget(_) | ThinkingMode::Adaptive)) {
            if self.temperature.is_some_and(|temperature| temperature < TEMPERATURE_MAX) {
                self.drop_temperature(losses);
            }
            if self.top_p.is_some_and(|top_p| top_p < TOP_P_THINKING_MIN) {
                self.drop_top_p(losses);
            }
            self.drop_top_k(losses);
        }
        // Models take one of the two.
        if self.temperature.is_some() {
            self.drop_top_p(losses);
        }
    }

    fn fit_words(&mut self, losses: &mut Losses) {
        let before = self.stop_sequences.len();
        self.stop_sequences.retain(|text| !text.trim().is_empty());
        if self.stop_sequences.len() < before {
            losses.drop(Feature::StopSequences);
        }
        if self.user_id.take_if(|user| names_somebody(user)).is_some() {
            losses.drop(Feature::User);
        }
    }

    fn drop_temperature(&mut self, losses: &mut Losses) {
        if self.temperature.take().is_some() {
            losses.drop(Feature::Temperature);
        }
    }

    fn drop_top_p(&mut self, losses: &mut Losses) {
        if self.top_p.take().is_some() {
            losses.drop(Feature::TopP);
        }
    }

    fn drop_top_k(&mut self, losses: &mut Losses) {
        if self.top_k.take().is_some() {
            losses.drop(Feature::TopK);
        }
    }
}

// The model waits for the results of calls that it made without thinking: it cannot begin to think in the middle of that turn.
fn is_unthought_loop(turns: &[OrderedTurn<'_>], target: Dialect) -> bool {
    let waits = turns.last().is_some_and(|last| {
        last.role == Role::User && last.blocks.first().is_some_and(|block| matches!(&**block, Block::ToolResult(_)))
    });
    let model = turns.iter().rev().find(|turn| turn.role == Role::Assistant);
    let seal = model.and_then(|turn| turn.blocks.first()).and_then(|block| match &**block {
        Block::Thinking { signature, .. } => signature.as_ref(),
        Block::RedactedThinking { data } => Some(data),
        Block::ToolUse(call) => call.signature.as_ref(),
        _ => None,
    });
    waits && seal.is_none_or(|seal| seal.for_provider(target).is_none())
}

// The API wants an id that says nothing, and refuses addresses and telephone numbers.
fn names_somebody(user: &str) -> bool {
    let is_number = user.bytes().filter(u8::is_ascii_digit).count() >= 7
        && user.bytes().all(|byte| byte.is_ascii_digit() || b"+-() ".contains(&byte));
    user.contains('@') || is_number || user.len() > USER_ID_BYTES_MAX
}
