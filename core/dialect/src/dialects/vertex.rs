//! Google Vertex: `rawPredict` and `streamRawPredict` of Anthropic's models carry bodies of Messages
//! (<https://docs.anthropic.com/en/api/claude-on-vertex-ai>). The model stands in the path, a version in the body; headers, whole answers
//! and streams are those of Messages.

use super::envelope::{Enveloped, wrap};
use crate::{
    error::Malformed,
    splice::{Edit, Object, quoted},
};

/// What `anthropic_version` says.
pub const VERSION: &str = "vertex-2023-10-16";
/// The model in the path where tokens are counted: the real one stays in the body.
pub const COUNT_TOKENS: &str = "count-tokens";

/// Makes a body of Messages ready for Vertex. `stream` stays in the body.
///
/// # Errors
/// When the body is not a JSON object with a `model`, or its `stream` is no truth value.
pub fn from_messages(body: &[u8]) -> Result<Enveloped, Malformed> {
    wrap(body, VERSION, |_| Ok(Vec::new()))
}

/// Makes a body of Messages that counts tokens ready for Vertex, at the path of [`COUNT_TOKENS`].
///
/// # Errors
/// As [`from_messages`].
pub fn from_count_tokens(body: &[u8]) -> Result<Enveloped, Malformed> {
    let object = Object::read(body)?;
    let enveloped = from_messages(body)?;
    let edits = [Edit::Set("anthropic_version", quoted(VERSION)), Edit::Remove("tags")];
    Ok(Enveloped { body: object.edited(&edits), ..enveloped })
}

/// Makes a body of Vertex one of Messages: with the model of the path, where that is none of [`COUNT_TOKENS`], and with `stream` where
/// the path asks for one. The version tells it from the bodies of other makers' models.
///
/// # Errors
/// When the body is not a JSON object with an `anthropic_version`.
pub fn to_messages(body: &[u8], model: &str, is_stream: bool) -> Result<Vec<u8>, Malformed> {
    let object = Object::read(body)?;
    object.get("anthropic_version").ok_or(Malformed::Missing("anthropic_version"))?;
    let mut edits = vec![Edit::Remove("anthropic_version")];
    if is_stream {
        edits.push(Edit::Set("stream", "true".into()));
    }
    if model != COUNT_TOKENS {
        edits.push(Edit::Set("model", quoted(model)));
    }
    Ok(object.edited(&edits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_of_messages_goes_to_vertex_and_comes_back() {
        let messages = r#"{"model":"claude-sonnet-5-5","max_tokens":16, "tags":["a"],"messages":[{"role":"user","content":"\u00e9"}],"stream":true}"#;
        let vertex = r#"{"anthropic_version":"vertex-2023-10-16","max_tokens":16,"messages":[{"role":"user","content":"\u00e9"}],"stream":true}"#;
        let enveloped = from_messages(messages.as_bytes()).unwrap();
        assert_eq!((&*enveloped.model, enveloped.is_stream), ("claude-sonnet-5-5", true));
        assert_eq!(String::from_utf8(enveloped.body).unwrap(), vertex);
        let back = to_messages(vertex.as_bytes(), "claude-haiku-4-5@20251001", true).unwrap();
        let expected = r#"{"model":"claude-haiku-4-5@20251001","max_tokens":16,"messages":[{"role":"user","content":"\u00e9"}],"stream":true}"#;
        assert_eq!(String::from_utf8(back).unwrap(), expected);
    }

    #[test]
    fn the_path_asks_for_a_stream_where_the_body_does_not() {
        let check = |fields: &str, is_stream, expected: &str| {
            let body = format!(r#"{{"anthropic_version":"vertex-2023-10-16"{fields}}}"#);
            assert_eq!(String::from_utf8(to_messages(body.as_bytes(), "m", is_stream).unwrap()).unwrap(), expected);
        };
        check("", true, r#"{"stream":true,"model":"m"}"#);
        check(r#","stream":false,"a":1"#, true, r#"{"model":"m","stream":true,"a":1}"#);
        check(r#","stream":false,"a":1"#, false, r#"{"model":"m","stream":false,"a":1}"#);
    }

    #[test]
    fn tokens_are_counted_for_the_model_in_the_body() {
        let enveloped = from_count_tokens(br#"{"model":"m","messages":[],"tags":1}"#).unwrap();
        let expected = r#"{"anthropic_version":"vertex-2023-10-16","model":"m","messages":[]}"#;
        assert_eq!((String::from_utf8(enveloped.body).unwrap().as_str(), &*enveloped.model), (expected, "m"));
        let back = to_messages(expected.as_bytes(), COUNT_TOKENS, false).unwrap();
        assert_eq!(back, br#"{"model":"m","messages":[]}"#);
    }

    #[test]
    fn what_decides_must_be_what_it_is() {
        assert_eq!(from_messages(br#"{"a":1}"#), Err(Malformed::Missing("model")));
        assert_eq!(from_messages(br#"{"model":7}"#), Err(Malformed::Invalid { field: "model", expected: "a text" }));
        let wrong = Malformed::Invalid { field: "stream", expected: "true or false" };
        assert_eq!(from_messages(br#"{"model":"m","stream":"yes"}"#), Err(wrong));
        assert_eq!(to_messages(b"[]", "m", false), Err(Malformed::NotAnObject));
        assert_eq!(to_messages(b"{}", "m", false), Err(Malformed::Missing("anthropic_version")));
    }
}
