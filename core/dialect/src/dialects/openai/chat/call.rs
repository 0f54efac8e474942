//! Calls of tools: their ids, and arguments that come as a text.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    dialects::{Dialect, read::field},
    error::DecodeError,
    hub::{Block, Json, Signature, Text, ToolUse, spelling::mark},
};

/// The API takes no longer id of a call.
const ID_BYTES_MAX: usize = 40;
/// The type of a call whose argument is no JSON.
const CUSTOM: &str = "custom";
/// What the type of another call begins with in the hub, where parts of a content have types too.
const OTHER_CALL: &str = "tool_calls.";
/// The API takes no longer id of a user, and some vendors no other letters than these.
const USER_BYTES_MAX: usize = 64;

/// A call, as it arrives; in a stream, a piece of one.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WireCall<'a> {
    pub(super) index: Option<u64>,
    #[serde(borrow)]
    pub(super) id: Option<Text<'a>>,
    #[serde(rename = "type")]
    pub(super) kind: Option<Text<'a>>,
    pub(super) function: Option<WireFunction<'a>>,
    pub(super) extra_content: Option<Extra<'a>>,
}

/// `function` of a call.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WireFunction<'a> {
    #[serde(borrow)]
    pub(super) name: Option<Text<'a>>,
    /// A text that should be JSON; some vendors send the object itself.
    pub(super) arguments: Option<Json<'a>>,
}

/// What Google adds to a call.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Extra<'a> {
    #[serde(borrow)]
    google: Option<Google<'a>>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Google<'a> {
    #[serde(borrow)]
    thought_signature: Option<Text<'a>>,
}

// === impl Extra ===

impl<'a> Extra<'a> {
    /// Bears a seal.
    pub(super) fn bearing(seal: &'a str) -> Self {
        Self { google: Some(Google { thought_signature: Some(seal.into()) }) }
    }

    /// The seal.
    pub(super) fn seal(self) -> Option<Signature<'a>> {
        self.google?.thought_signature.map(|seal| Signature::read(Dialect::OpenAiChat, seal))
    }
}

/// Reads a call. One without an id is given the `id`.
pub(super) fn call<'a>(raw: &'a RawValue, id: impl FnOnce() -> String) -> Result<Block<'a>, DecodeError> {
    let WireCall { index: _, id: given, kind, function, extra_content } = field("", raw)?;
    // Tools whose argument is no JSON: only this dialect and Responses have them.
    if let (Some(kind), None) = (kind, &function) {
        let kind = if &*kind == CUSTOM { kind } else { [OTHER_CALL, &*kind].concat().into() };
        return Ok(Block::Other { kind, json: field("", raw)? });
    }
    let WireFunction { name, arguments } = function.ok_or_else(|| DecodeError::invalid("function", "there"))?;
    Ok(Block::ToolUse(Box::new(ToolUse {
        id: given.filter(|id| !id.is_empty()).unwrap_or_else(|| id().into()),
        name: name.ok_or_else(|| DecodeError::invalid("function.name", "there"))?,
        input: input(arguments)?,
        signature: extra_content.and_then(Extra::seal),
        cache: None,
    })))
}

/// Reads a call in the form that was before there were tools.
pub(super) fn called_before<'a>(raw: &'a RawValue, id: String) -> Result<Block<'a>, DecodeError> {
    let WireFunction { name, arguments } = field("", raw)?;
    let name = name.ok_or_else(|| DecodeError::invalid("name", "there"))?;
    Ok(Block::ToolUse(Box::new(ToolUse {
        id: id.into(),
        name,
        input: input(arguments)?,
        signature: None,
        cache: None,
    })))
}

/// Whether it is the call of a tool whose argument is no JSON.
pub(super) fn is_custom(kind: &str) -> bool {
    kind == CUSTOM || kind.starts_with(OTHER_CALL)
}

/// The id of such a call.
pub(super) fn custom_id<'a>(json: &'a Json<'_>) -> Option<Text<'a>> {
    json.read::<WireCall<'a>>()?.id
}

/// The arguments as a JSON object. Models write what is none; then the object holds the text, so that the conversation can go on with
/// whoever wants an object.
fn input(arguments: Option<Json<'_>>) -> Result<Json<'_>, DecodeError> {
    #[derive(Serialize)]
    struct Invalid<'a> {
        invalid_arguments: &'a str,
    }
    let Some(raw) = arguments.as_ref().and_then(Json::raw) else { return Ok(Json::empty_object()) };
    if !raw.get().starts_with('"') {
        return if raw.get() == "null" { Ok(Json::empty_object()) } else { field("", raw) };
    }
    let text: Text<'_> = field("function.arguments", raw)?;
    if text.trim().is_empty() {
        return Ok(Json::empty_object());
    }
    let is_object = text.trim_start().starts_with('{');
    match Json::from_text(text.clone()) {
        Ok(json) if is_object => Ok(json),
        _ => Ok(Json::of(&Invalid { invalid_arguments: &text })),
    }
}

/// The id of a call that came without one: its place decides it, so that it is the same whenever the conversation is read.
pub(super) fn id_of_place(answer: &str, place: usize) -> String {
    format!("call_{:016x}", mark(&[answer.as_bytes(), &place.to_be_bytes()]))
}

/// The id as the API takes it: a longer one is replaced, in the call and in its result alike.
pub(super) fn short_id(id: &str) -> Text<'_> {
    if id.len() <= ID_BYTES_MAX { id.into() } else { id_of_place(id, 0).into() }
}

/// The user as the API and its vendors take it, and whether that is still the same text.
pub(in crate::dialects::openai) fn short_user(user: &str) -> (Text<'_>, bool) {
    let is_plain = user.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if user.len() <= USER_BYTES_MAX && is_plain {
        return (user.into(), true);
    }
    (format!("user_{:016x}", mark(&[user.as_bytes()])).into(), false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_become_an_object_whatever_a_model_wrote() {
        for (arguments, expect) in [
            (r#""{\"a\": 1}""#, r#"{"a": 1}"#),
            (r#""""#, "{}"),
            (r#"" \n""#, "{}"),
            ("null", "{}"),
            (r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#""{\"a\": ""#, r#"{"invalid_arguments":"{\"a\": "}"#),
            (r#""[1]""#, r#"{"invalid_arguments":"[1]"}"#),
            (r#""{} {}""#, r#"{"invalid_arguments":"{} {}"}"#),
            (r#""ls -l""#, r#"{"invalid_arguments":"ls -l"}"#),
        ] {
            let body = format!(r#"{{"id":"c","function":{{"name":"f","arguments":{arguments}}}}}"#);
            let raw: &RawValue = serde_json::from_str(&body).unwrap();
            let Ok(Block::ToolUse(tool)) = call(raw, String::new) else { panic!("{body}") };
            assert_eq!(tool.input.get(), expect);
        }
    }

    #[test]
    fn ids_that_the_api_does_not_take_are_replaced_by_the_same_each_time() {
        assert_eq!(&*short_id("toolu_01"), "toolu_01");
        let long = "fc_".repeat(20);
        assert_eq!(short_id(&long), short_id(&long));
        assert!(short_id(&long).len() <= ID_BYTES_MAX);
        assert_ne!(id_of_place("a", 0), id_of_place("a", 1));
        assert_ne!(id_of_place("a", 0), id_of_place("b", 0));
        assert_eq!(short_user("dev-17"), ("dev-17".into(), true));
        let (user, is_same) = short_user(r#"{"device_id":"ab"}"#);
        assert!(!is_same && user.len() <= USER_BYTES_MAX && user.starts_with("user_"));
    }
}
