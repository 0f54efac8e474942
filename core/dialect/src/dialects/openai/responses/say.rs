//! Writes what a model says, of a request as much as of an answer.

use serde_json::{Map, Value, json};

use super::{
    freeform::unwrap,
    seal,
    wire::{Annotation, Arguments, Entry, Item, Part, Piece},
};
use crate::hub::{Block, Citation, Form, FormKind, Forms, Json, Signature, Text};

/// Ids that the API takes back have no more characters.
const ID_CHARS_MAX: usize = 64;
/// Items of this API that the hub does not model: no other dialect has their names.
const OWN_ITEMS: [&str; 12] = [
    "web_search_call",
    "file_search_call",
    "computer_call",
    "code_interpreter_call",
    "image_generation_call",
    "tool_search_call",
    "tool_search_output",
    "shell_call",
    "apply_patch_call",
    "mcp_call",
    "mcp_list_tools",
    "compaction",
];

/// Whether an item that the hub does not model is one of this API.
pub(super) fn is_own(kind: &str) -> bool {
    OWN_ITEMS.contains(&kind)
}

/// The id of an item of an answer.
pub(super) fn made_id(prefix: &str, answer: &str, index: u64) -> Text<'static> {
    let end = format!("_{index}");
    let room = ID_CHARS_MAX.saturating_sub(prefix.len() + 1 + end.len());
    let answer = answer.get(..answer.floor_char_boundary(room)).unwrap_or_default();
    [prefix, "_", answer, &end].concat().into()
}

/// How the id of the call of a tool in that form begins.
pub(super) fn call_prefix(form: Option<&Form>) -> &'static str {
    match form.map(|form| &form.kind) {
        None | Some(FormKind::Function) => "fc",
        Some(FormKind::Freeform { .. }) => "ctc",
        Some(FormKind::Search) => "tsc",
        Some(FormKind::Shell) => "lsh",
    }
}

/// Writes the call of a tool with those arguments, in the form that it has for the client.
pub(super) fn call<'a>(form: Option<&'a Form>, call_id: &'a str, name: &'a str, arguments: &'a str) -> Item<'a> {
    let named = form.map_or(name, |form| &form.name);
    let item = |kind| Item { kind, call_id: Some(call_id.into()), ..Item::default() };
    let namespace = form.and_then(|form| form.namespace.as_ref()).map(|namespace| Text::from(&*namespace.name));
    match form.map(|form| &form.kind) {
        None | Some(FormKind::Function) => Item {
            name: Some(named.into()),
            namespace,
            arguments: Some(Arguments::Text(arguments.into())),
            ..item("function_call")
        },
        Some(FormKind::Freeform { .. }) => {
            Item { name: Some(named.into()), namespace, input: Some(unwrap(arguments)), ..item("custom_tool_call") }
        }
        Some(FormKind::Search) => Item {
            arguments: Some(Arguments::Object(Json::parse(arguments).unwrap_or_else(|_| Json::empty_object()))),
            execution: Some("client"),
            ..item("tool_search_call")
        },
        Some(FormKind::Shell) => Item { action: Some(action(arguments)), ..item("local_shell_call") },
    }
}

// What a command needs beside what the model says of it.
fn action(arguments: &str) -> Json<'_> {
    let mut action: Map<String, Value> = serde_json::from_str(arguments).unwrap_or_default();
    let needs = [("type", json!("exec")), ("command", json!([])), ("env", json!({}))];
    let whole = Json::parse(arguments).ok().filter(|_| needs.iter().all(|(name, _)| action.contains_key(*name)));
    whole.unwrap_or_else(|| {
        for (name, value) in needs {
            action.entry(name).or_insert(value);
        }
        Json::of(&action)
    })
}

/// Writes a text of the model.
pub(super) fn text<'a>(text: &'a str, annotations: Vec<Annotation<'a>>) -> Part<'a> {
    Part { kind: "output_text", text: Some(text.into()), annotations: Some(annotations), ..Part::default() }
}

/// Writes what a text rests on; `None` where it is no page on the web. Since nobody tells which of the text's characters rest on it,
/// it is all of them, up to `end`.
pub(super) fn annotation<'a>(citation: &'a Citation<'a>, end: usize) -> Option<Annotation<'a>> {
    Some(Annotation {
        kind: "url_citation",
        start_index: 0,
        end_index: end,
        url: citation.url.as_ref()?.lend(),
        title: citation.title.as_ref().map(Text::lend).unwrap_or_default(),
    })
}

/// Writes thinking.
pub(super) fn reasoning<'a>(text: &'a str, id: Option<Text<'a>>, encrypted: Option<Text<'a>>) -> Item<'a> {
    let summary = Part { kind: "summary_text", text: Some(text.into()), ..Part::default() };
    Item {
        kind: "reasoning",
        id,
        summary: Some(if text.is_empty() { Vec::new() } else { vec![summary] }),
        encrypted_content: encrypted,
        ..Item::default()
    }
}

/// Writes a message of the model.
pub(super) fn message<'a>(part: Part<'a>) -> Item<'a> {
    let content = Some(vec![Piece::Part(Box::new(part))]);
    Item { kind: "message", role: Some("assistant"), content, ..Item::default() }
}

/// Writes a block of an answer: none where its dialect alone has it, two where a call bears a seal.
pub(super) fn answer<'a>(forms: &'a Forms, answer: &str, index: u64, block: &'a Block<'a>) -> Vec<Entry<'a>> {
    let made = |prefix: &str| Some(made_id(prefix, answer, index));
    let item = match block {
        Block::Text { text: said, .. } if said.is_empty() => return Vec::new(),
        Block::Text { text: said, citations, .. } => {
            let end = said.chars().count();
            let annotations = citations.iter().filter_map(|citation| annotation(citation, end)).collect();
            Item { id: made("msg"), status: Some(COMPLETED), ..message(text(said, annotations)) }
        }
        Block::Thinking { text, signature } => sealed(text, signature.as_ref(), made(seal::MADE_ID)),
        Block::RedactedThinking { data } => reasoning("", made(seal::MADE_ID), Some(seal::keep_redacted(data))),
        Block::ToolUse(tool) => {
            let form = forms.get(&tool.name);
            let item = call(form, &tool.id, &tool.name, tool.input.get());
            let item = Item { id: made(call_prefix(form)), status: Some(COMPLETED), ..item };
            // A call has no place for a seal here: thinking without text goes ahead of it and bears the seal.
            let seal = tool.signature.as_ref().map(|seal| sealed("", Some(seal), made(seal::MADE_ID)));
            return seal.into_iter().chain([item]).map(|item| Entry::Item(Box::new(item))).collect();
        }
        Block::Other { kind, json } if is_own(kind) => return vec![Entry::Own(json.lend())],
        Block::Other { .. } | Block::Media(_) | Block::ToolResult(_) => return Vec::new(),
    };
    vec![Entry::Item(Box::new(item))]
}

/// The status of what is said.
pub(super) const COMPLETED: &str = "completed";

/// Writes thinking with its seal, for a client to keep.
pub(super) fn sealed<'a>(text: &'a str, seal: Option<&'a Signature<'_>>, made: Option<Text<'a>>) -> Item<'a> {
    let (id, encrypted) = seal.map(seal::keep).unzip();
    reasoning(text, id.flatten().map(Into::into).or(made), encrypted.filter(|encrypted| !encrypted.is_empty()))
}
