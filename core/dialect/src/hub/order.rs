//! A conversation in the order that strict providers demand.
//!
//! Anthropic, Bedrock's Converse and Gemini refuse what OpenAI and others take. Strict is: the user begins; user and model alternate;
//! the results of a turn's calls stand first in the user turn right behind it, one for each call, and for nothing else;
//! instructions in the middle follow a user turn, and the model follows them; no text is blank.
//!
//! Everything that was said is kept: turns of one role are joined, results move up to their calls, a result without its call becomes
//! what the user said. What is missing is said to be missing.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    ops::Deref,
};

use super::{
    request::{Block, Role, ToolResult, ToolUse, Turn},
    text::Text,
};

/// Where a conversation does not begin with the user, or nothing is left of it.
pub(crate) const OPENING: &str = "(The conversation begins in the middle.)";
/// What a tool answered that did not.
pub(crate) const NO_RESULT: &str = "The tool gave no result.";

/// A conversation in strict order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ordered<'a> {
    /// Instructions that stood ahead of everything else.
    pub system: Vec<Placed<'a>>,
    /// The turns.
    pub turns: Vec<OrderedTurn<'a>>,
}

/// A turn of it.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderedTurn<'a> {
    /// Who speaks.
    pub role: Role,
    /// What is said; never empty.
    pub blocks: Vec<Placed<'a>>,
}

/// A block, as the client gave it or made here.
#[derive(Clone, Debug, PartialEq)]
pub enum Placed<'a> {
    /// The client's.
    Given(&'a Block<'a>),
    /// Another in its place.
    Made(Block<'a>),
}

/// Puts turns into strict order.
#[must_use]
pub fn ordered<'a>(turns: &'a [Turn<'a>]) -> Ordered<'a> {
    let mut results = Results::of(turns);
    let mut ordered = Ordered::default();
    let turns: Vec<&Turn<'_>> = turns.iter().filter(|turn| !turn.blocks.iter().all(is_blank)).collect();
    let mut rest = turns.as_slice();
    while !rest.is_empty() {
        let said = rest.iter().take_while(|turn| turn.role == Role::Assistant).count();
        let (model, behind) = rest.split_at(said);
        let asked = behind.iter().take_while(|turn| turn.role != Role::Assistant).count();
        let (others, behind) = behind.split_at(asked);
        rest = behind;
        let (blocks, answers) = results.answered(model);
        ordered.model_turn(blocks);
        ordered.other_turns(others, answers, &mut results);
    }
    if ordered.turns.is_empty() {
        ordered.turns.push(OrderedTurn::text(Role::User, OPENING));
    }
    ordered.trim_prefill();
    ordered
}

/// The results that no call has claimed, by the id that they name, in their order.
struct Results<'a> {
    waiting: HashMap<&'a str, VecDeque<&'a Block<'a>>>,
    // The ids of calls so far, each with the last number that was put behind it: each must be another.
    ids: HashMap<String, u64>,
    placed: HashSet<*const Block<'a>>,
}

// === impl Ordered ===

impl<'a> Ordered<'a> {
    fn model_turn(&mut self, blocks: Vec<Placed<'a>>) {
        if blocks.is_empty() {
            return;
        }
        match self.turns.last_mut() {
            None => self.turns.push(OrderedTurn::text(Role::User, OPENING)),
            // What stood between came to nothing.
            Some(last) if last.role == Role::Assistant => return last.blocks.extend(blocks),
            Some(_) => {}
        }
        self.turns.push(OrderedTurn { role: Role::Assistant, blocks });
    }

    // What stands between two turns of the model: what the user said, and instructions.
    fn other_turns(&mut self, others: &[&'a Turn<'a>], answers: Vec<Placed<'a>>, results: &mut Results<'a>) {
        let (mut user, mut system) = (answers, Vec::new());
        for turn in others {
            let blocks = turn.blocks.iter().filter(|block| !is_blank(block));
            match turn.role {
                Role::System if self.turns.is_empty() && user.is_empty() => {
                    self.system.extend(blocks.map(Placed::Given))
                }
                Role::System => system.extend(blocks.map(Placed::Given)),
                Role::User | Role::Assistant => blocks.for_each(|block| results.said(block, &mut user)),
            }
        }
        if user.is_empty() {
            // Instructions follow the user only; without them, the user says them.
            user = std::mem::take(&mut system);
        }
        for (role, blocks) in [(Role::User, user), (Role::System, system)] {
            if !blocks.is_empty() {
                self.turns.push(OrderedTurn { role, blocks });
            }
        }
    }

    // What the model shall go on with must not end in white space.
    fn trim_prefill(&mut self) {
        let Some(OrderedTurn { role: Role::Assistant, blocks }) = self.turns.last_mut() else { return };
        let Some(last) = blocks.last_mut() else { return };
        if let Block::Text { text, citations, cache } = &**last
            && text.ends_with(char::is_whitespace)
        {
            let text = text.trim_end().to_owned().into();
            *last = Placed::Made(Block::Text { text, citations: citations.clone(), cache: *cache });
        }
    }
}

// === impl OrderedTurn ===

impl<'a> OrderedTurn<'a> {
    /// The blocks, whoever made them.
    #[must_use]
    pub fn given(&'a self) -> Vec<&'a Block<'a>> {
        self.blocks.iter().map(|block| &**block).collect()
    }

    fn text(role: Role, text: &'static str) -> Self {
        Self { role, blocks: vec![Placed::Made(Block::text(text))] }
    }
}

// === impl Placed ===

impl<'a> Deref for Placed<'a> {
    type Target = Block<'a>;

    fn deref(&self) -> &Block<'a> {
        match self {
            Self::Given(block) => block,
            Self::Made(block) => block,
        }
    }
}

// === impl Results ===

impl<'a> Results<'a> {
    fn of(turns: &'a [Turn<'a>]) -> Self {
        let mut waiting: HashMap<&str, VecDeque<_>> = HashMap::new();
        for block in turns.iter().flat_map(|turn| &turn.blocks) {
            if let Block::ToolResult(result) = block {
                waiting.entry(&*result.tool_use_id).or_default().push_back(block);
            }
        }
        Self { waiting, ids: HashMap::new(), placed: HashSet::new() }
    }

    // What the model said, and a result for each of its calls. The second call of one id gets another, and so does its result.
    fn answered(&mut self, model: &[&'a Turn<'a>]) -> (Vec<Placed<'a>>, Vec<Placed<'a>>) {
        let (mut said, mut answers) = (Vec::new(), Vec::new());
        for block in model.iter().flat_map(|turn| &turn.blocks).filter(|block| !is_blank(block)) {
            let Block::ToolUse(call) = block else {
                said.push(Placed::Given(block));
                continue;
            };
            let id = self.id(&call.id);
            let found = self.waiting.get_mut(&*call.id).and_then(VecDeque::pop_front);
            self.placed.extend(found.map(std::ptr::from_ref));
            said.push(match &id {
                None => Placed::Given(block),
                Some(id) => {
                    Placed::Made(Block::ToolUse(Box::new(ToolUse { id: id.clone().into(), ..(**call).clone() })))
                }
            });
            answers.push(match (found, id) {
                (Some(found), None) => Placed::Given(found),
                (found, id) => {
                    let id = id.map_or_else(|| call.id.clone(), Into::into);
                    Placed::Made(Block::ToolResult(Box::new(result(found, id))))
                }
            });
        }
        (said, answers)
    }

    // Another id, where this one is taken.
    fn id(&mut self, id: &str) -> Option<String> {
        let Some(last) = self.ids.get(id).copied() else {
            self.ids.insert(id.to_owned(), 1);
            return None;
        };
        let mut serials = (last + 1..).map(|serial| (serial, format!("{id}_{serial}")));
        let (serial, other) = serials.find(|(_, other)| !self.ids.contains_key(other))?;
        self.ids.insert(id.to_owned(), serial);
        self.ids.insert(other.clone(), 1);
        Some(other)
    }

    fn said(&self, block: &'a Block<'a>, user: &mut Vec<Placed<'a>>) {
        match block {
            Block::ToolResult(_) if self.placed.contains(&std::ptr::from_ref(block)) => {}
            Block::ToolResult(result) => {
                user.extend(result.blocks.iter().filter(|block| !is_blank(block)).map(Placed::Given));
            }
            block => user.push(Placed::Given(block)),
        }
    }
}

fn result<'a>(found: Option<&Block<'a>>, tool_use_id: Text<'a>) -> ToolResult<'a> {
    match found {
        Some(Block::ToolResult(found)) => ToolResult { tool_use_id, ..(**found).clone() },
        _ => ToolResult { tool_use_id, blocks: vec![Block::text(NO_RESULT)], is_error: true, cache: None },
    }
}

fn is_blank(block: &Block<'_>) -> bool {
    matches!(block, Block::Text { text, .. } if text.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Json;
    use proptest::prelude::*;

    /// `u:hello` is a text of the user, `a` of the model, `s` of the system; `a!1` calls, `u=1` answers; blocks of a turn are joined by `+`.
    fn turn(text: &str) -> Turn<'_> {
        let role = match &text[..1] {
            "u" => Role::User,
            "a" => Role::Assistant,
            _ => Role::System,
        };
        let block = |block: &str| match block.split_at(1) {
            ("!", id) => Block::ToolUse(Box::new(ToolUse {
                id: id.to_owned().into(),
                name: "f".into(),
                input: Json::empty_object(),
                signature: None,
                cache: None,
            })),
            ("=", id) => Block::ToolResult(Box::new(ToolResult {
                tool_use_id: id.to_owned().into(),
                blocks: vec![Block::text(format!("r{id}"))],
                is_error: false,
                cache: None,
            })),
            (_, text) => Block::text(text.to_owned()),
        };
        Turn { role, blocks: text[1..].split('+').map(block).collect() }
    }

    fn show(ordered: &Ordered<'_>) -> String {
        let block = |block: &Placed<'_>| match &**block {
            Block::Text { text, .. } if &**text == OPENING => ":…".to_owned(),
            Block::Text { text, .. } => format!(":{}", &**text),
            Block::ToolUse(call) => format!("!{}", &*call.id),
            Block::ToolResult(result) if result.is_error => format!("?{}", &*result.tool_use_id),
            Block::ToolResult(result) => format!("={}", &*result.tool_use_id),
            _ => String::new(),
        };
        let blocks = |blocks: &[Placed<'_>]| blocks.iter().map(block).collect::<Vec<_>>().join("+");
        let turn = |turn: &OrderedTurn<'_>| {
            let role = match turn.role {
                Role::User => "u",
                Role::Assistant => "a",
                Role::System => "s",
            };
            format!("{role}{}", blocks(&turn.blocks))
        };
        let turns = ordered.turns.iter().map(turn).collect::<Vec<_>>().join(" ");
        if ordered.system.is_empty() { turns } else { format!("[{}] {turns}", blocks(&ordered.system)) }
    }

    #[test]
    fn a_conversation_comes_into_the_order_of_strict_providers() {
        for (given, expect) in [
            // As it should be.
            ("u:hi", "u:hi"),
            ("u:hi a:yes u:go", "u:hi a:yes u:go"),
            ("u:hi a:so+!1+!2 u=1+=2+:now", "u:hi a:so+!1+!2 u=1+=2+:now"),
            ("u:hi s:rule a:yes u:go s:rule", "u:hi s:rule a:yes u:go s:rule"),
            // One role twice, and blanks.
            ("u:a u:b a:c a:d u:e", "u:a+:b a:c+:d u:e"),
            ("u:a a: u:b+: a:c u:", "u:a+:b a:c"),
            ("u: a:x u: a:y u:z", "u:… a:x+:y u:z"),
            // Results that are late, apart, reversed, early, twice, missing, or of nothing.
            ("u:hi a!1 u:wait u=1", "u:hi a!1 u=1+:wait"),
            ("u:hi a!1+!2 u=2 u=1", "u:hi a!1+!2 u=1+=2"),
            ("u:hi a!1 a!2 u=1 a:so u=2 u:go", "u:hi a!1+!2 u=1+=2 a:so u:go"),
            ("u:hi a!1 u:never", "u:hi a!1 u?1+:never"),
            ("u:hi a:so+!1", "u:hi a:so+!1 u?1"),
            ("u:hi a!1 u=1+=1 a:x u:y", "u:hi a!1 u=1+:r1 a:x u:y"),
            ("u:hi+=9 a:x u:y", "u:hi+:r9 a:x u:y"),
            // An id twice.
            ("u:hi a!1 u=1 a!1 u=1 a!1 u=1", "u:hi a!1 u=1 a!1_2 u=1_2 a!1_3 u=1_3"),
            // Instructions where they may not stand.
            ("s:rule u:hi", "[:rule] u:hi"),
            ("s:one s:two u:hi s:three u:so a:x u:y", "[:one+:two] u:hi+:so s:three a:x u:y"),
            ("u:hi a!1 s:rule u=1", "u:hi a!1 u=1 s:rule"),
            ("u:hi a:x s:rule u:go", "u:hi a:x u:go s:rule"),
            ("u:hi a:x s:rule a:y u:z", "u:hi a:x u:rule a:y u:z"),
            ("u:hi a:x s:rule", "u:hi a:x u:rule"),
            ("s:rule a:x", "[:rule] u:… a:x"),
            ("s:rule", "[:rule] u:…"),
            // What the model shall go on with.
            ("u:hi a:so ", "u:hi a:so"),
            ("a:x", "u:… a:x"),
        ] {
            let turns: Vec<Turn<'_>> = given.split(' ').filter(|turn| !turn.is_empty()).map(turn).collect();
            assert_eq!(show(&ordered(&turns)), expect, "{given}");
        }
        assert_eq!(show(&ordered(&[])), "u:…");
        let open = [turn("u:hi"), Turn { role: Role::Assistant, blocks: vec![Block::text("so \n")] }];
        assert_eq!(show(&ordered(&open)), "u:hi a:so");
    }

    proptest! {
        #[test]
        fn whatever_is_given_comes_into_strict_order(
            words in proptest::collection::vec("[uas](:[xy]?|![12]|=[12])(\\+(:[xy]?|![12]|=[12])){0,2}", 0..9),
        ) {
            // Users do not call tools, and models do not answer for them.
            let given: Vec<Turn<'_>> = words.iter().map(|word| turn(word)).map(|mut turn| {
                let role = turn.role;
                turn.blocks.retain(|block| match block {
                    Block::ToolUse(_) => role == Role::Assistant,
                    Block::ToolResult(_) => role == Role::User,
                    _ => true,
                });
                turn
            }).collect();
            let ordered = ordered(&given);
            let turns = &ordered.turns;
            prop_assert_eq!(turns[0].role, Role::User);
            let mut calls: Vec<String> = Vec::new();
            for (at, turn) in turns.iter().enumerate() {
                prop_assert!(!turn.blocks.is_empty() && !turn.blocks.iter().any(|block| is_blank(block)));
                let before = at.checked_sub(1).map(|before| turns[before].role);
                match turn.role {
                    Role::User => prop_assert!(matches!(before, None | Some(Role::Assistant))),
                    Role::System => prop_assert_eq!(before, Some(Role::User)),
                    Role::Assistant => prop_assert!(matches!(before, Some(Role::User | Role::System))),
                }
                let results: Vec<String> = turn.blocks.iter().map_while(|block| match &**block {
                    Block::ToolResult(result) => Some(result.tool_use_id.to_string()),
                    _ => None,
                }).collect();
                prop_assert_eq!(&results, &calls, "the results stand first, one for each call");
                let others = turn.blocks.iter().skip(results.len());
                prop_assert!(!others.clone().any(|block| matches!(&**block, Block::ToolResult(_))));
                calls = others.filter_map(|block| match &**block {
                    Block::ToolUse(call) => Some(call.id.to_string()),
                    _ => None,
                }).collect();
            }
            prop_assert!(calls.is_empty());
            // Nothing that was said is lost.
            let texts = |turns: &[Turn<'_>]| turns.iter().flat_map(|turn| &turn.blocks).filter(|block| {
                matches!(block, Block::Text { .. }) && !is_blank(block)
            }).count();
            let shown = show(&ordered);
            prop_assert!(shown.matches(":x").count() + shown.matches(":y").count() >= texts(&given));
        }
    }
}
