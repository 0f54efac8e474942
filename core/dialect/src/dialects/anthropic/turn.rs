//! What a request adds to its conversation: the last message, told apart from others by a number.

use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// A last message that is longer is compared as it stands, ids included.
const MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// The fields that differ between two messages that say the same.
const IDS: [&str; 3] = ["tool_use_id", "id", "cache_control"];

#[derive(Deserialize)]
struct Conversation<'a> {
    #[serde(borrow, default)]
    messages: Vec<&'a RawValue>,
}

/// A number for what the last message of a request says, whoever said it and under whatever ids: the same for an agent that asks the
/// same again, and for one whose tool gives it the same result again. None where there is no message.
#[must_use]
pub fn last_turn(body: &[u8]) -> Option<u64> {
    let conversation: Conversation<'_> = serde_json::from_slice(body).ok()?;
    let last = conversation.messages.last()?.get();
    let mut hasher = DefaultHasher::new();
    match serde_json::from_str::<Value>(last) {
        Ok(mut message) if last.len() <= MESSAGE_BYTES_MAX => {
            strip(&mut message);
            message.to_string().hash(&mut hasher);
        }
        _ => last.hash(&mut hasher),
    }
    Some(hasher.finish())
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            IDS.iter().for_each(|id| drop(fields.remove(*id)));
            fields.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(last: &str) -> Option<u64> {
        last_turn(format!(r#"{{"model":"m","messages":[{{"role":"user","content":"a"}},{last}]}}"#).as_bytes())
    }

    #[test]
    fn a_turn_is_the_same_when_it_says_the_same() {
        let result = |id: &str, text: &str| {
            turn(&format!(
                r#"{{"role":"user","content":[{{"type":"tool_result","tool_use_id":"{id}","content":"{text}"}}]}}"#
            ))
        };
        assert_eq!(result("one", "no such file"), result("two", "no such file"));
        assert_ne!(result("one", "no such file"), result("one", "3 files"));
        assert_ne!(turn(r#"{"role":"user","content":"b"}"#), turn(r#"{"role":"user","content":"c"}"#));
        assert_eq!(last_turn(br#"{"model":"m","messages":[]}"#), None);
        assert_eq!(last_turn(b"nothing"), None);
    }
}
