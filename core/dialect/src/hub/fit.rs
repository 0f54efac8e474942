//! What a client's request leaves open to the answer: names of tools that the provider would refuse, an id, a model.
//!
//! Providers take names of 64 letters, digits, `_` and `-`; some clients have others. Such a name goes to the provider shortened,
//! always alike, and comes back as the client wrote it. Where a provider gives an answer no id, the client is told one made of its request.
//! The model is always the one that it asked for: Claude Code gives back no thinking that another one did.

use std::collections::BTreeMap;

use super::{
    answer::Answer,
    event::{Begin, Event, StreamEncoder},
    request::{Block, Request, Tool, ToolChoice},
    spelling::{mark, shortened},
    text::{Json, Text},
};
use crate::dialects::Dialect;

/// The longest name that every provider takes.
const NAME_BYTES_MAX: usize = 64;
/// So much of the end of a request tells it apart from others.
const TOLD_BYTES: usize = 4_096;

/// What is known of a request when its answer is written.
#[derive(Clone, Default)]
pub struct Fit {
    // The names as the client has them, by what the provider is told.
    names: BTreeMap<String, String>,
    model: String,
    number: u64,
}

/// Tells a client whatever its provider does not.
pub(crate) struct Fitting {
    fit: Fit,
    dialect: Dialect,
    inner: Box<dyn StreamEncoder>,
}

// Two requests that say the same are the same, whatever bytes they came in.
impl PartialEq for Fit {
    fn eq(&self, other: &Self) -> bool {
        self.names == other.names
    }
}

impl Eq for Fit {}

impl std::fmt::Debug for Fit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Fit").field(&self.names).finish()
    }
}

/// The name as every provider takes it.
fn fitted(name: &str) -> std::borrow::Cow<'_, str> {
    shortened(name, "_-", NAME_BYTES_MAX)
}

/// The request with names that every provider takes; `None` where they are already such.
pub(crate) fn named<'a>(request: &Request<'a>) -> Option<Request<'a>> {
    let is_other = |name: &Text<'_>| *fitted(name) != **name;
    let has_other = |tool: &Tool<'_>| matches!(tool, Tool::Function { name, .. } if is_other(name));
    let calls_other = |block: &Block<'_>| matches!(block, Block::ToolUse(call) if is_other(&call.name));
    let blocks = || request.turns.iter().flat_map(|turn| &turn.blocks);
    if !request.tools.iter().any(has_other) && !blocks().any(calls_other) {
        return None;
    }
    let mut named = request.clone();
    let rename = |name: &mut Text<'a>| *name = fitted(name).into_owned().into();
    for tool in &mut named.tools {
        if let Tool::Function { name, .. } = tool {
            rename(name);
        }
    }
    if let Some(ToolChoice::Tool { name }) = &mut named.tool_choice {
        rename(name);
    }
    for block in named.turns.iter_mut().flat_map(|turn| &mut turn.blocks) {
        if let Block::ToolUse(call) = block {
            rename(&mut call.name);
        }
    }
    Some(named)
}

/// A schema that says that arguments are an object, as most APIs want to be told. Only the names of the schema's members are looked at.
pub(crate) fn object_schema<'a>(schema: &'a Json<'a>) -> Json<'a> {
    #[derive(serde::Deserialize)]
    struct Typed {
        #[serde(rename = "type")]
        kind: Option<serde::de::IgnoredAny>,
    }
    let members = schema.get().trim().strip_prefix('{').map(str::trim_start);
    let Some(members) = members.filter(|_| schema.read::<Typed>().is_some_and(|typed| typed.kind.is_none())) else {
        return schema.lend();
    };
    let members = if members == "}" { r#""properties":{}}"# } else { members };
    serde_json::value::RawValue::from_string([r#"{"type":"object","#, members].concat())
        .map_or_else(|_| schema.lend(), |raw| Json::of(&raw))
}

// === impl Fit ===

impl Fit {
    /// What there is to know of a request that came in this body.
    pub(crate) fn of(request: &Request<'_>, body: &[u8]) -> Self {
        let name = |tool: &Tool<'_>| match tool {
            Tool::Function { name, .. } if *fitted(name) != **name => {
                Some((fitted(name).into_owned(), name.to_string()))
            }
            _ => None,
        };
        let end = body.get(body.len().saturating_sub(TOLD_BYTES)..).unwrap_or(body);
        Self {
            names: request.tools.iter().filter_map(name).collect(),
            model: request.model.to_string(),
            number: mark(&[end, &body.len().to_be_bytes()]),
        }
    }

    // As the client named it; where it named none, as the provider does.
    fn model<'a>(&'a self, named: &'a Text<'_>) -> Text<'a> {
        if self.model.is_empty() { named.lend() } else { self.model.as_str().into() }
    }

    fn id(&self, dialect: Dialect, id: &str) -> Option<Text<'static>> {
        let prefix = match dialect {
            Dialect::Anthropic => "msg_",
            Dialect::OpenAiChat => "chatcmpl-",
            Dialect::OpenAiResponses => "resp_",
            // They need none.
            Dialect::Gemini | Dialect::BedrockConverse => return None,
        };
        id.is_empty().then(|| format!("{prefix}{:016x}", self.number).into())
    }

    /// An answer with what its provider did not tell, and with the client's names.
    pub(crate) fn answer<'a>(&'a self, dialect: Dialect, answer: &'a Answer<'a>) -> Option<Answer<'a>> {
        let id = self.id(dialect, &answer.id);
        let is_other =
            |block: &Block<'_>| matches!(block, Block::ToolUse(call) if self.names.contains_key(&*call.name));
        let has_other = !self.names.is_empty() && answer.blocks.iter().any(is_other);
        if id.is_none() && *self.model(&answer.model) == *answer.model && !has_other {
            return None;
        }
        let mut told = answer.clone();
        told.id = id.unwrap_or(told.id);
        told.model = self.model(&answer.model);
        for block in &mut told.blocks {
            if let Block::ToolUse(call) = block
                && let Some(name) = self.names.get(&*call.name)
            {
                call.name = name.as_str().into();
            }
        }
        Some(told)
    }
}

// === impl Fitting ===

impl Fitting {
    pub(crate) fn new(fit: Fit, dialect: Dialect, inner: Box<dyn StreamEncoder>) -> Self {
        Self { fit, dialect, inner }
    }
}

impl StreamEncoder for Fitting {
    fn push(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        let fit = &self.fit;
        match event {
            Event::Start { id, model, usage } => {
                let id = fit.id(self.dialect, id).unwrap_or(id.lend());
                let model = fit.model(model);
                self.inner.push(&Event::Start { id, model, usage: *usage }, out);
            }
            Event::Begin(Begin::ToolUse { id, name, signature }) if fit.names.contains_key(&**name) => {
                let name = fit.names.get(&**name).map_or(name.lend(), |name| name.as_str().into());
                let begin = Begin::ToolUse { id: id.lend(), name, signature: signature.clone() };
                self.inner.push(&Event::Begin(begin), out);
            }
            event => self.inner.push(event, out),
        }
    }

    fn hide_usage(&mut self) {
        self.inner.hide_usage();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        dialects::{Called, Quirks},
        hub::Losses,
    };
    use serde_json::{Value, json};

    #[test]
    fn a_name_that_providers_refuse_goes_there_shortened_and_comes_back_as_it_was() {
        let long = format!("mcp__{}__search", "a_server_with_a_long_name".repeat(3));
        for name in [long.as_str(), "tracker.search"] {
            let body = json!({"model": "m", "max_tokens": 9, "tools": [{"name": name, "input_schema": {"type": "object"}}],
                "tool_choice": {"type": "tool", "name": name}, "messages": [{"role": "user", "content": "a"},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": name, "input": {}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "b"}]}]});
            let body = serde_json::to_vec(&body).unwrap();
            let request = Dialect::Anthropic.decode_request(&Called::default(), &body).unwrap();
            for target in [Dialect::OpenAiChat, Dialect::OpenAiResponses, Dialect::Gemini, Dialect::BedrockConverse] {
                let sent = target.encode_request(&request, &Quirks::default(), &mut Losses::new(target));
                let sent = String::from_utf8(sent).unwrap();
                let short = fitted(name);
                assert!(short.len() <= NAME_BYTES_MAX && !sent.contains(name), "{sent}");
                assert!(sent.matches(&*short).count() >= 3, "{sent}");
                let call = Begin::ToolUse { id: "c".into(), name: short.clone().into_owned().into(), signature: None };
                let mut out = Vec::new();
                Dialect::Anthropic.stream_encoder_in(request.forms.clone()).push(&Event::Begin(call), &mut out);
                assert!(
                    String::from_utf8(out)
                        .unwrap()
                        .contains(&format!(r#""name":"{}"#, name.split('.').next().unwrap()))
                );
            }
        }
    }

    #[test]
    fn an_answer_without_id_and_model_is_told_with_both_the_same_in_a_stream() {
        let body = br#"{"model":"mine","messages":[{"role":"user","content":"a"}]}"#;
        let request = Dialect::OpenAiChat.decode_request(&Called::default(), body).unwrap();
        let whole = Dialect::OpenAiChat.encode_answer_in(&request.forms, &Answer::default());
        let whole: Value = serde_json::from_slice(&whole).unwrap();
        let id = whole["id"].as_str().unwrap();
        assert!(id.starts_with("chatcmpl-") && id.len() > 20 && whole["model"] == "mine", "{whole}");
        let mut out = Vec::new();
        let start = Event::Start { id: "".into(), model: "".into(), usage: crate::hub::Usage::default() };
        Dialect::OpenAiChat.stream_encoder_in(request.forms.clone()).push(&start, &mut out);
        assert!(String::from_utf8(out).unwrap().contains(id));
        // Whatever the provider's model is called.
        let theirs = Answer { model: "theirs".into(), ..Answer::default() };
        let whole = Dialect::OpenAiChat.encode_answer_in(&request.forms, &theirs);
        assert_eq!(serde_json::from_slice::<Value>(&whole).unwrap()["model"], "mine");
        let mut out = Vec::new();
        let start = Event::Start { id: "i".into(), model: "theirs".into(), usage: crate::hub::Usage::default() };
        Dialect::OpenAiChat.stream_encoder_in(request.forms.clone()).push(&start, &mut out);
        assert!(String::from_utf8(out).unwrap().contains(r#""model":"mine""#));
        let other = br#"{"model":"mine","messages":[{"role":"user","content":"b"}]}"#;
        let other = Dialect::OpenAiChat.decode_request(&Called::default(), other).unwrap();
        let other = Dialect::OpenAiChat.encode_answer_in(&other.forms, &Answer::default());
        assert!(!String::from_utf8(other).unwrap().contains(id));
    }
}
