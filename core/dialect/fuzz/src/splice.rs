//! Changes of members of a body, and the envelopes that are made by them.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;
use tollgate_dialect::{
    bedrock::invoke,
    splice::{Edit, Object, quoted},
    vertex,
};

use crate::{dialect::is_json, input::Input};

const NAMES: [&str; 6] = ["model", "stream", "a", "anthropic_version", "", "\u{e9}\""];

struct Members<'a>(Vec<(String, &'a str)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    members.push((name, value.get()));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// Changes a member of a body.
///
/// # Panics
/// When another byte changes.
pub fn check(bytes: &[u8]) {
    let Some(input) = Input::read(bytes) else { return };
    let Ok(object) = Object::read(input.body) else {
        assert!(serde_json::from_slice::<Members<'_>>(input.body).is_err());
        return;
    };
    assert_eq!(object.edited(&[]), input.body);
    let name = NAMES[usize::from(input.kind) % NAMES.len()];
    let edit = if input.has(0) { Edit::Set(name, "[7]".into()) } else { Edit::Remove(name) };
    let edited = object.edited(std::slice::from_ref(&edit));
    let Members(before) = serde_json::from_slice(input.body).expect("it was read");
    let Members(after) = serde_json::from_slice(&edited).expect("an edited object is one");
    let count = before.iter().filter(|(found, _)| found == name).count();
    let mut expected = before.clone();
    match edit {
        Edit::Remove(_) => expected.retain(|(found, _)| found != name),
        Edit::Set(..) if count == 0 => expected.insert(0, (name.to_owned(), "[7]")),
        Edit::Set(..) => {
            expected.iter_mut().filter(|(found, _)| found == name).for_each(|(_, value)| *value = "[7]");
        }
    }
    assert_eq!(after, expected);
    if let (Edit::Set(..), Some((_, value)), 1) = (&edit, before.iter().find(|(found, _)| found == name), count) {
        let start = value.as_ptr() as usize - input.body.as_ptr() as usize;
        let plain = [&input.body[..start], b"[7]", &input.body[start + value.len()..]].concat();
        assert_eq!(edited, plain, "another byte changed");
    } else if count == 0 && matches!(edit, Edit::Remove(_)) {
        assert_eq!(edited, input.body);
    }
    envelopes(&input);
}

fn envelopes(input: &Input<'_>) {
    let made = [
        invoke::from_messages(input.body, ["a, b", "c"]).map(|enveloped| enveloped.body),
        vertex::from_messages(input.body).map(|enveloped| enveloped.body),
        vertex::from_count_tokens(input.body).map(|enveloped| enveloped.body),
        invoke::to_messages(input.body, "m:0", input.has(1)).map(|opened| opened.body),
        vertex::to_messages(input.body, "m@1", input.has(1)),
    ];
    for body in made.into_iter().flatten() {
        assert!(is_json(&body), "{}", String::from_utf8_lossy(&body));
    }
    if let Ok(enveloped) = vertex::from_messages(input.body) {
        let back = vertex::to_messages(&enveloped.body, &enveloped.model, enveloped.is_stream).expect("an object");
        let Members(members) = serde_json::from_slice(&back).expect("an object");
        let model = members.iter().find(|(name, _)| name == "model").map(|(_, model)| *model);
        assert_eq!(model, Some(&*quoted(&enveloped.model)).filter(|_| enveloped.model != vertex::COUNT_TOKENS));
    }
}
