//! What a model answers.

use super::{
    request::Block,
    text::{Json, Text},
};
use crate::{dialects::Dialect, meter::Counters};

/// A whole answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer<'a> {
    /// The dialect that it was read from: only a client of the same one is told what the hub does not model.
    pub dialect: Dialect,
    /// The provider's id of the answer; empty where it has none.
    pub id: Text<'a>,
    /// The model that answered.
    pub model: Text<'a>,
    /// What it said.
    pub blocks: Vec<Block<'a>>,
    /// Why it ended.
    pub stop: Option<Stop<'a>>,
    /// What it used.
    pub usage: Usage,
}

/// Why an answer ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Stop<'a> {
    /// The model had said what it had to say.
    EndTurn,
    /// It wrote as many tokens as it may.
    MaxTokens,
    /// The conversation filled the model's context window.
    ContextWindow,
    /// It wrote one of the texts at which it stops.
    Sequence {
        /// Which; `None` where the dialect does not tell.
        text: Option<Text<'a>>,
    },
    /// It waits for the results of tools.
    ToolUse,
    /// It paused in the middle of a long turn: the same conversation, sent again, goes on.
    Pause,
    /// It, or a filter of its provider, refused to go on.
    Refusal,
    /// A word that the hub does not know.
    Other {
        /// The word.
        word: Text<'a>,
    },
}

/// What an answer used.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Usage {
    /// What is billed.
    pub counters: Counters,
    /// Tokens of output that were thinking; they are in the output already. `None` where it is not told.
    pub thinking: Option<u64>,
}

/// What a piece of text rests on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Citation<'a> {
    /// Where it stands.
    pub url: Option<Text<'a>>,
    /// What it is called.
    pub title: Option<Text<'a>>,
    /// What is cited.
    pub cited_text: Option<Text<'a>>,
    /// The citation as Anthropic's API has it, where it came from there.
    pub native: Option<Json<'a>>,
}
