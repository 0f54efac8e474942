//! Reasoning items and their seals.
//!
//! The API takes a reasoning item back by its id and its encrypted content together. Both are in the seal that the hub carries:
//!
//! ```text
//! <id>.<encrypted content>        neither part has a full stop
//! ```

use crate::{
    dialects::{Dialect, openai::responses::wire::ReadItem},
    hub::{Block, Signature, Text},
};

/// How the ids begin that are given to thinking which has none: they mean nothing to the API.
pub(super) const MADE_ID: &str = "rs_tollgate";
/// Ahead of thinking that its provider sealed as a whole: it must come back to the provider as such.
const REDACTED: &str = "redacted:";

/// What a seal holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Opened<'a> {
    /// The id of the item.
    pub(super) id: Option<&'a str>,
    /// Its encrypted content; empty where the API keeps it to itself.
    pub(super) encrypted: &'a str,
}

/// Opens a seal of this dialect.
pub(super) fn open(seal: &str) -> Opened<'_> {
    match seal.split_once('.') {
        Some((id, encrypted)) => Opened { id: Some(id), encrypted },
        None => Opened { id: None, encrypted: seal },
    }
}

/// Reads what a reasoning item has beside its text.
pub(super) fn read<'a>(id: Option<Text<'a>>, encrypted: Option<Text<'a>>) -> Option<Signature<'a>> {
    let id = id.filter(|id| !id.is_empty() && !id.starts_with(MADE_ID));
    let encrypted = encrypted.filter(|encrypted| !encrypted.is_empty());
    let foreign = |encrypted: &Text<'a>| Signature::read(Dialect::OpenAiResponses, encrypted.clone());
    match (id, encrypted) {
        (None, None) => None,
        (None, Some(encrypted)) => Some(foreign(&encrypted)),
        (Some(id), encrypted) => {
            let encrypted = encrypted.unwrap_or_default();
            let read = foreign(&encrypted);
            if read.dialect != Dialect::OpenAiResponses {
                return Some(read);
            }
            Some(Signature::new(Dialect::OpenAiResponses, [&*id, ".", &*encrypted].concat()))
        }
    }
}

/// Reads a reasoning item, whose text is that.
pub(super) fn block<'a>(text: Text<'a>, item: ReadItem<'a>) -> Block<'a> {
    let redacted = item.encrypted_content.as_deref().and_then(|sealed| sealed.strip_prefix(REDACTED));
    match redacted {
        Some(data) => {
            Block::RedactedThinking { data: Signature::read(Dialect::OpenAiResponses, data.to_owned().into()) }
        }
        None => Block::Thinking { text, signature: read(item.id, item.encrypted_content) },
    }
}

/// The id and the encrypted content by which a client keeps a seal.
pub(super) fn keep<'a>(seal: &'a Signature<'_>) -> (Option<&'a str>, Text<'a>) {
    match seal.for_provider(Dialect::OpenAiResponses).map(open) {
        Some(Opened { id, encrypted }) => (id, encrypted.into()),
        None => (None, Text(seal.enclose(Dialect::OpenAiResponses))),
    }
}

/// The same for thinking that is sealed as a whole.
pub(super) fn keep_redacted(seal: &Signature<'_>) -> Text<'static> {
    [REDACTED, &seal.enclose(Dialect::OpenAiResponses)].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_holds_what_a_reasoning_item_is_made_of() {
        let ours = |seal: &'static str| Some(Signature::new(Dialect::OpenAiResponses, seal));
        let theirs = || Some(Signature::new(Dialect::Anthropic, "EqQ="));
        let enveloped = "tollgate.1.anthropic.EqQ=";
        for (id, encrypted, expect) in [
            (Some("rs_1"), Some("gAAA"), ours("rs_1.gAAA")),
            (Some("rs_1"), None, ours("rs_1.")),
            (None, Some("gAAA"), ours("gAAA")),
            (Some("rs_tollgate_7"), Some("gAAA"), ours("gAAA")),
            (Some("rs_tollgate_7"), None, None),
            (Some("rs_tollgate_7"), Some(enveloped), theirs()),
            (Some("rs_1"), Some(enveloped), theirs()),
            (None, None, None),
        ] {
            let read = read(id.map(Into::into), encrypted.map(Into::into));
            assert_eq!(read, expect);
            let Some(seal) = read else { continue };
            let (kept, sealed) = keep(&seal);
            assert_eq!(&*sealed, encrypted.unwrap_or_default());
            assert_eq!(kept, id.filter(|id| *id == "rs_1" && encrypted != Some(enveloped)));
        }
    }
}
