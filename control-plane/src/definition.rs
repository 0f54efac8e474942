//! A tool's definition: its hash, what looks suspicious about it, and how it differs from another. All of that is `core/mcp`'s.

use serde_json::value::RawValue;
use tollgate_mcp::{
    Json, Kind, difference,
    flag::{self, Flag, FlagKind},
    list::DEFINITION_BYTES_MAX,
};

use crate::store::mcp::tools::Definition;

/// The most flags of a definition that are kept.
const FLAGS_MAX: usize = 20;
/// The longest, in bytes: a path within a schema has no bound of its own.
const FLAG_BYTES_MAX: usize = 300;

/// Reads a definition as its server wrote it; `None` for one that no agent is offered.
///
/// # Errors
/// The field that is wrong, and what is wrong with it.
pub(crate) fn read(name: &str, bytes: &[u8]) -> Result<Option<Definition>, (&'static str, String)> {
    if bytes.len() > DEFINITION_BYTES_MAX {
        return Err(("definition", format!("must be at most {DEFINITION_BYTES_MAX} bytes")));
    }
    let raw: &RawValue =
        serde_json::from_slice(bytes).map_err(|error| ("definition", format!("must be JSON: {error}")))?;
    let Ok(definition) = tollgate_mcp::Definition::read(Kind::Tool, raw) else { return Ok(None) };
    if definition.name() != name {
        return Err(("name", "must be that of the definition".to_owned()));
    }
    let mut flags: Vec<String> = Vec::new();
    for text in flag::flags(&definition).iter().map(told) {
        if flags.len() < FLAGS_MAX && !flags.contains(&text) {
            flags.push(text);
        }
    }
    let text = definition.json().as_str().to_owned();
    Ok(Some(Definition { tool: name.to_owned(), hash: definition.pin().to_string(), text, flags }))
}

/// Flags those of a whole list whose names a person could take for another's.
pub(crate) fn flag_look_alikes(list: &mut [Definition]) {
    let names: Vec<String> = list.iter().map(|definition| definition.tool.clone()).collect();
    for (at, flag) in flag::look_alikes(names.iter().map(String::as_str)) {
        if let Some(definition) = list.get_mut(at) {
            definition.flags.insert(0, told(&flag));
        }
    }
}

/// How a definition differs from one that was approved, in lines.
pub(crate) fn difference(approved: &str, found: &str) -> Vec<String> {
    let raw = |text: &'_ str| serde_json::from_str::<Box<RawValue>>(text).ok();
    match (raw(approved), raw(found)) {
        (Some(approved), Some(found)) => difference::difference(&Json::from(&*approved), &Json::from(&*found)),
        _ => Vec::new(),
    }
}

fn told(flag: &Flag) -> String {
    let Flag { kind, place, shown } = flag;
    let mut text = match kind {
        FlagKind::Hidden(_) => format!("hidden characters in {place}"),
        FlagKind::Instruction(_) => format!("instructions in {place}"),
        FlagKind::Padding => format!("white space that hides what follows in {place}"),
        FlagKind::LookAlike => format!("a name that looks like {shown}"),
    };
    text.truncate(text.floor_char_boundary(FLAG_BYTES_MAX));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_has_a_hash_and_flags() {
        let json = r#"{"name":"add","description":"Adds.<IMPORTANT> x</IMPORTANT>","inputSchema":{"properties":{"a":{"description":"\u200b"}}}}"#;
        let read = read("add", json.as_bytes()).unwrap().unwrap();
        assert_eq!((read.hash.len(), read.text.as_str()), (64, json));
        let expect = ["instructions in description", "hidden characters in inputSchema.properties.a.description"];
        assert_eq!(read.flags, expect);
    }

    #[test]
    fn what_is_no_definition_is_refused_and_what_is_offered_to_nobody_left_out() {
        let long = format!(r#"{{"name":"a","x":"{}"}}"#, "x".repeat(DEFINITION_BYTES_MAX));
        for (bytes, expect) in [
            (&b"{"[..], "definition"),
            (b"\xff", "definition"),
            (long.as_bytes(), "definition"),
            (br#"{"name":"b"}"#, "name"),
        ] {
            assert_eq!(read("a", bytes).unwrap_err().0, expect);
        }
        for json in ["[]", "{}", r#"{"name":"a b"}"#] {
            assert_eq!(read("a", json.as_bytes()), Ok(None), "{json}");
        }
    }

    #[test]
    fn a_difference_is_told_in_lines() {
        assert_eq!(difference(r#"{"a":1}"#, r#"{"a":2}"#), ["a: 1 -> 2"]);
        let mut list: Vec<Definition> = ["read", "reаd"]
            .map(|tool| Definition { tool: tool.into(), hash: String::new(), text: String::new(), flags: vec![] })
            .into();
        flag_look_alikes(&mut list);
        assert_eq!(list[1].flags.len(), 1);
    }
}
