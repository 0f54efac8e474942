//! What the model thought: `reasoning_content`, `reasoning` and `reasoning_details` of a message or of a delta.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::wire::WireMessage;
use crate::{
    dialects::Dialect,
    hub::{Block, Signature, Text, signature::ENVELOPE},
};

const TEXT: &str = "reasoning.text";
const ENCRYPTED: &str = "reasoning.encrypted";

/// An entry of `reasoning_details`, as OpenRouter has it; in a stream, a piece of one.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WireDetail<'a> {
    #[serde(rename = "type", borrow)]
    kind: Text<'a>,
    text: Option<Text<'a>>,
    summary: Option<Text<'a>>,
    signature: Option<Text<'a>>,
    data: Option<Text<'a>>,
    format: Option<Text<'a>>,
    id: Option<Text<'a>>,
    index: Option<u64>,
}

/// An entry, read.
#[derive(Debug)]
pub(super) enum Thought<'a> {
    /// Thinking that is shown, or a piece of it.
    Shown {
        /// Which entry it belongs to.
        index: Option<u64>,
        text: Text<'a>,
        seal: Option<Signature<'a>>,
    },
    /// Thinking that is sealed as a whole.
    Sealed {
        /// The call that it led to, where the seal is that of another dialect over a call.
        id: Option<Text<'a>>,
        data: Signature<'a>,
    },
}

/// A seal, and what a vendor wants back beside it.
#[derive(Debug, Deserialize, Serialize)]
struct Packed<'a> {
    #[serde(borrow)]
    seal: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    format: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    id: Option<Text<'a>>,
}

/// An entry of `reasoning_details`, as it is written.
#[derive(Debug, Default, Serialize)]
pub(super) struct Detail<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Cow<'a, str>>,
    index: u64,
}

// === impl WireDetail ===

impl<'a> WireDetail<'a> {
    /// What it says; `None` for a kind that nobody knows and for one that says nothing.
    pub(super) fn thought(self) -> Option<Thought<'a>> {
        let Self { kind, text, summary, signature, data, format, id, index } = self;
        if let Some(data) = data.filter(|data| !data.is_empty()) {
            let is_foreign = data.starts_with(ENVELOPE);
            let call = id.clone().filter(|_| is_foreign);
            return Some(Thought::Sealed { id: call, data: packed(data, format, id) });
        }
        if &*kind == ENCRYPTED {
            return None;
        }
        let text = text.or(summary).unwrap_or_default();
        let seal = signature.filter(|seal| !seal.is_empty()).map(|seal| packed(seal, format, id));
        (!text.is_empty() || seal.is_some()).then_some(Thought::Shown { index, text, seal })
    }
}

fn packed<'a>(seal: Text<'a>, format: Option<Text<'a>>, id: Option<Text<'a>>) -> Signature<'a> {
    if seal.starts_with(ENVELOPE) || (format.is_none() && id.is_none()) {
        return Signature::read(Dialect::OpenAiChat, seal);
    }
    let packed = serde_json::to_string(&Packed { seal, format, id }).unwrap_or_default();
    Signature::new(Dialect::OpenAiChat, packed)
}

/// Takes what a message says of its thinking as blocks, ahead of all others. Seals over calls are handed out by the id of the call.
pub(super) fn take<'a>(message: &mut WireMessage<'a>) -> (Vec<Block<'a>>, Vec<(Text<'a>, Signature<'a>)>) {
    let (mut blocks, mut seals) = (Vec::new(), Vec::new());
    let mut last = None;
    let details = message.reasoning_details.take().unwrap_or_default();
    for thought in details.into_iter().filter_map(WireDetail::thought) {
        match thought {
            Thought::Shown { index, text, seal } => {
                let open = blocks.last_mut().filter(|_| last == Some(index) && (index.is_some() || text.is_empty()));
                last = Some(index);
                // Clients that gather a stream keep its pieces as entries.
                if let Some(Block::Thinking { text: before, signature: sealed @ None }) = open {
                    before.0.to_mut().push_str(&text);
                    *sealed = seal;
                } else {
                    blocks.push(Block::Thinking { text, signature: seal });
                }
            }
            Thought::Sealed { id: Some(id), data } => seals.push((id, data)),
            Thought::Sealed { id: None, data } => blocks.push(Block::RedactedThinking { data }),
        }
    }
    if blocks.is_empty() {
        let plain = message.reasoning_content.take().or(message.reasoning.take()).filter(|text| !text.is_empty());
        blocks.extend(plain.map(|text| Block::Thinking { text, signature: None }));
    }
    (blocks, seals)
}

// === impl Detail ===

impl<'a> Detail<'a> {
    /// A piece of thinking that is shown.
    pub(super) fn text(text: &'a str, index: u64) -> Self {
        Self { kind: TEXT, text: Some(text), index, ..Self::default() }
    }

    /// The same, sealed.
    pub(super) fn signed(self, seal: Cow<'a, str>) -> Self {
        let (seal, format, id) = unpacked(seal);
        Self { signature: Some(seal), format, id, ..self }
    }

    /// The seal of thinking whose text has gone ahead.
    pub(super) fn seal(seal: Cow<'a, str>, index: u64) -> Self {
        Self { kind: TEXT, index, ..Self::default() }.signed(seal)
    }

    /// Thinking that is sealed as a whole.
    pub(super) fn encrypted(data: Cow<'a, str>, index: u64) -> Self {
        let (data, format, id) = unpacked(data);
        Self { kind: ENCRYPTED, data: Some(data), format, id, index, ..Self::default() }
    }

    /// A seal over a call.
    pub(super) fn of_call(data: Cow<'a, str>, call: &'a str, index: u64) -> Self {
        Self { id: Some(call.into()), ..Self::encrypted(data, index) }
    }
}

type Unpacked<'a> = (Cow<'a, str>, Option<Cow<'a, str>>, Option<Cow<'a, str>>);

fn unpacked(seal: Cow<'_, str>) -> Unpacked<'_> {
    if !is_packed(&seal) {
        return (seal, None, None);
    }
    match serde_json::from_str::<Packed<'_>>(&seal) {
        Ok(Packed { seal, format, id }) => {
            let owned = |text: Text<'_>| Cow::Owned(text.0.into_owned());
            (owned(seal), format.map(owned), id.map(owned))
        }
        Err(_) => (seal, None, None),
    }
}

/// Whether a seal came with more than itself, as `reasoning_details` have it.
pub(super) fn is_packed(seal: &str) -> bool {
    seal.starts_with('{')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(message: &str) -> Vec<Block<'_>> {
        take(&mut serde_json::from_str(message).unwrap()).0
    }

    #[test]
    fn thinking_of_each_vendor_is_read() {
        let shown = |text: &'static str, seal: Option<&'static str>| Block::Thinking {
            text: text.into(),
            signature: seal.map(|seal| Signature::new(Dialect::OpenAiChat, seal)),
        };
        for (message, expect) in [
            (r#"{"reasoning_content":"a"}"#, vec![shown("a", None)]),
            (r#"{"reasoning":"a","reasoning_details":[]}"#, vec![shown("a", None)]),
            (r#"{"reasoning_content":""}"#, vec![]),
            (
                r#"{"reasoning":"ab","reasoning_details":[{"type":"reasoning.text","text":"ab","signature":"s","index":0}]}"#,
                vec![shown("ab", Some("s"))],
            ),
            (
                r#"{"reasoning_details":[{"type":"reasoning.text","text":"a","index":0},{"type":"reasoning.text","text":"b","index":0},
                    {"type":"reasoning.text","signature":"s","index":0},{"type":"reasoning.text","text":"c","index":1}]}"#,
                vec![shown("ab", Some("s")), shown("c", None)],
            ),
            (r#"{"reasoning_details":[{"type":"reasoning.summary","summary":"a"}]}"#, vec![shown("a", None)]),
            (
                r#"{"reasoning_details":[{"type":"reasoning.unknown"},{"type":"reasoning.encrypted","data":""}]}"#,
                vec![],
            ),
        ] {
            assert_eq!(read(message), expect, "{message}");
        }
    }

    #[test]
    fn what_a_vendor_wants_back_beside_the_seal_comes_back() {
        let entry =
            r#"{"type":"reasoning.encrypted","data":"d\"","format":"openai-responses-v1","id":"rs_1","index":0}"#;
        let message = format!(r#"{{"reasoning_details":[{entry}]}}"#);
        let blocks = read(&message);
        let [Block::RedactedThinking { data }] = blocks.as_slice() else { panic!("{blocks:?}") };
        let written = Detail::encrypted(data.for_provider(Dialect::OpenAiChat).unwrap().into(), 0);
        assert_eq!(serde_json::to_string(&written).unwrap(), entry);
    }

    #[test]
    fn a_seal_of_another_dialect_over_a_call_is_told_by_its_id() {
        let message =
            r#"{"reasoning_details":[{"type":"reasoning.encrypted","data":"tollgate.1.anthropic.c2Vh","id":"c1"}]}"#;
        let (blocks, seals) = take(&mut serde_json::from_str(message).unwrap());
        assert!(blocks.is_empty());
        assert_eq!(seals, [("c1".into(), Signature::new(Dialect::Anthropic, "c2Vh"))]);
    }
}
