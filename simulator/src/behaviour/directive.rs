//! Directives in a user's message: `[[simulate tool=Bash command="echo hi"]]`, so that a client that cannot send headers can be driven.
//!
//! Each word is `name=value`. A value is a bare word, a JSON string, or JSON. Behind `tool`, a name that is no setting becomes an argument
//! of the tool; `input.text=…` is the argument `text`, whatever settings there are, and `input={…}` is all of them.

use super::{Behaviour, SETTINGS, Unclear};
use serde_json::Value;

const OPEN: &str = "[[simulate";
const CLOSE: &str = "]]";

/// The body may hold a directive: worth parsing all of it.
pub(crate) fn may_stand_in(body: &[u8]) -> bool {
    memchr::memmem::find(body, OPEN.as_bytes()).is_some()
}

/// Takes what the directives in `text` ask for, in order.
pub(crate) fn apply(to: &mut Behaviour, text: &str) -> Result<(), Unclear> {
    let mut rest = text;
    while let Some((_, behind)) = rest.split_once(OPEN) {
        rest = one(to, behind)?;
    }
    Ok(())
}

/// Reads one directive and gives what stands behind it.
fn one<'a>(to: &mut Behaviour, text: &'a str) -> Result<&'a str, Unclear> {
    let mut rest = text.trim_start();
    let mut in_tool = false;
    loop {
        if let Some(behind) = rest.strip_prefix(CLOSE) {
            return Ok(behind);
        }
        let (name, behind) = rest.split_once('=').ok_or(Unclear::Directive)?;
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == ']') {
            return Err(Unclear::Directive);
        }
        let (value, behind) = value(behind)?;
        rest = behind.trim_start();
        in_tool |= name == "tool";
        let name = if name == "input" { "tool-input" } else { name };
        let argument = name.strip_prefix("input.").or((in_tool && !is_setting(name)).then_some(name));
        match (argument, to.content.tools.last_mut()) {
            (Some(argument), Some(tool)) => {
                tool.input.insert(argument.to_owned(), value);
            }
            _ => to.set(name, &as_text(&value))?,
        }
    }
}

fn is_setting(name: &str) -> bool {
    SETTINGS.iter().any(|(setting, ..)| *setting == name)
}

/// Reads a value and gives what stands behind it.
fn value(text: &str) -> Result<(Value, &str), Unclear> {
    if text.starts_with(['"', '{', '[']) {
        let mut values = serde_json::Deserializer::from_str(text).into_iter();
        let value = values.next().and_then(Result::ok).ok_or(Unclear::Directive)?;
        let behind = text.get(values.byte_offset()..).unwrap_or_default();
        return Ok((value, behind));
    }
    let end = text.find(char::is_whitespace).unwrap_or(text.len()).min(text.find(CLOSE).ok_or(Unclear::Directive)?);
    let (word, behind) = text.split_at_checked(end).ok_or(Unclear::Directive)?;
    let scalar = serde_json::from_str(word).ok().filter(|value: &Value| value.is_number() || value.is_boolean());
    Ok((scalar.unwrap_or_else(|| Value::from(word)), behind))
}

fn as_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_directive_sets_what_it_names() {
        let mut behaviour = Behaviour::default();
        let text = r#"Please. [[simulate size=10 delay=5ms text="say \"]]\" now" ]] and [[simulate tool=Bash command="echo hi" timeout=7 quiet=true]]
            [[simulate tool=Write input={"a":[1]} input.text=x file_path=/tmp/a]][[simulate]]"#;
        apply(&mut behaviour, text).unwrap();
        assert_eq!(behaviour.content.size, Some(10));
        assert_eq!(behaviour.content.text.as_deref(), Some(r#"say "]]" now"#));
        assert_eq!(behaviour.pace.delay.as_millis(), 5);
        let calls: Vec<_> =
            behaviour.content.tools.into_iter().map(|tool| (tool.name, Value::from(tool.input))).collect();
        assert_eq!(
            calls,
            [
                ("Bash".to_owned(), json!({"command": "echo hi", "timeout": 7, "quiet": true})),
                ("Write".to_owned(), json!({"a": [1], "text": "x", "file_path": "/tmp/a"})),
            ]
        );
    }

    #[test]
    fn a_broken_directive_is_refused() {
        for (text, expect) in [
            ("[[simulate size=1", Unclear::Directive),
            ("[[simulate size]]", Unclear::Directive),
            ("[[simulate text=\"x]]", Unclear::Directive),
            ("[[simulate =1]]", Unclear::Directive),
            ("[[simulate colour=red]]", Unclear::Unknown("colour".into())),
        ] {
            assert_eq!(apply(&mut Behaviour::default(), text), Err(expect), "{text}");
        }
        assert_eq!(apply(&mut Behaviour::default(), "no directive ]] here [[simu"), Ok(()));
    }
}
