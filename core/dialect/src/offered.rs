//! The tools that a request offers to a model, and a request without some of them. Every other byte of it stays as the client wrote it.
//!
//! A tool that the provider runs by itself goes by the name that the model knows, or else by its type. What has no name that could be read is taken
//! out wherever something is: nobody could say whether it is admitted.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    dialects::Dialect,
    error::Malformed,
    hub::Text,
    splice::{Edit, Object},
};

/// A request without the tools that are not admitted, by the names that the model is told; `None`: it has none of those.
///
/// # Errors
/// When the body is not exactly one JSON object, or has twice what offers tools: readers would take different ones.
pub fn without(
    dialect: Dialect,
    body: &[u8],
    is_admitted: impl Fn(&str) -> bool,
) -> Result<Option<Vec<u8>>, Malformed> {
    let object = Object::read(body)?;
    once(&object, &["tools", "toolConfig", "functions"])?;
    let mut edits = Vec::new();
    match dialect {
        Dialect::BedrockConverse => {
            let Some(config) = object.get("toolConfig") else { return Ok(None) };
            let inner = Object::read(config.get().as_bytes())?;
            once(&inner, &["tools"])?;
            match list(inner.get("tools"), named, &is_admitted) {
                Kept::All => return Ok(None),
                Kept::None => edits.push(Edit::Remove("toolConfig")),
                Kept::Some(tools) => {
                    let inner = inner.edited(&choice(&inner, "toolChoice", &is_admitted, tools, "tools"));
                    let inner = String::from_utf8(inner).unwrap_or_default();
                    edits.push(Edit::Set("toolConfig", inner.into()));
                }
            }
        }
        Dialect::Gemini => match list(object.get("tools"), declared, &is_admitted) {
            Kept::All => return Ok(None),
            Kept::None => edits.extend(["tools", "toolConfig", "tool_config"].map(Edit::Remove)),
            // What a model must call is a list of names; without it, it may call any that is left.
            Kept::Some(tools) => {
                edits.push(Edit::Set("tools", tools.into()));
                edits.extend(["toolConfig", "tool_config"].map(Edit::Remove));
            }
        },
        Dialect::Anthropic | Dialect::OpenAiChat | Dialect::OpenAiResponses => {
            // The older form of Chat Completions.
            match list(object.get("functions"), named, &is_admitted) {
                Kept::All => {}
                Kept::None => edits.extend(["functions", "function_call"].map(Edit::Remove)),
                Kept::Some(functions) => {
                    edits.extend(choice(&object, "function_call", &is_admitted, functions, "functions"));
                }
            }
            match list(object.get("tools"), named, &is_admitted) {
                Kept::All if edits.is_empty() => return Ok(None),
                Kept::All => {}
                Kept::None => edits.extend(["tools", "tool_choice", "parallel_tool_calls"].map(Edit::Remove)),
                Kept::Some(tools) => edits.extend(choice(&object, "tool_choice", &is_admitted, tools, "tools")),
            }
        }
    }
    Ok(Some(object.edited(&edits)))
}

fn once(object: &Object<'_>, names: &[&'static str]) -> Result<(), Malformed> {
    match names.iter().find(|name| object.count(name) > 1) {
        Some(field) => Err(Malformed::Invalid { field, expected: "there once" }),
        None => Ok(()),
    }
}

/// What is left of a list.
enum Kept {
    All,
    None,
    Some(String),
}

/// What of an element is admitted.
enum Admitted<'a> {
    Whole,
    Not,
    Part(Cow<'a, str>),
}

fn list<'a>(
    raw: Option<&'a RawValue>,
    look: impl Fn(&'a RawValue, &dyn Fn(&str) -> bool) -> Admitted<'a>,
    is_admitted: &dyn Fn(&str) -> bool,
) -> Kept {
    let Some(raw) = raw else { return Kept::All };
    let Ok(elements) = serde_json::from_str::<Vec<&'a RawValue>>(raw.get()) else { return Kept::All };
    let looked: Vec<_> = elements.into_iter().map(|element| (element, look(element, is_admitted))).collect();
    if looked.iter().all(|(_, admitted)| matches!(admitted, Admitted::Whole)) {
        return Kept::All;
    }
    let kept: Vec<&str> = looked
        .iter()
        .filter_map(|(element, admitted)| match admitted {
            Admitted::Whole => Some(element.get()),
            Admitted::Not => None,
            Admitted::Part(part) => Some(&**part),
        })
        .collect();
    if kept.is_empty() { Kept::None } else { Kept::Some(format!("[{}]", kept.join(","))) }
}

// A tool of those dialects that have one an element: by its name, that of what is in it, or its type.
#[derive(Deserialize)]
struct Tool<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    function: Option<Inner<'a>>,
    #[serde(borrow)]
    custom: Option<Inner<'a>>,
    #[serde(borrow, rename = "toolSpec")]
    spec: Option<Inner<'a>>,
    #[serde(rename = "cachePoint")]
    cache_point: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Inner<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
}

fn named<'a>(raw: &'a RawValue, is_admitted: &dyn Fn(&str) -> bool) -> Admitted<'a> {
    let Ok(tool) = serde_json::from_str::<Tool<'a>>(raw.get()) else { return Admitted::Not };
    let Tool { name, kind, function, custom, spec, cache_point } = tool;
    if cache_point.is_some() && spec.is_none() {
        return Admitted::Whole;
    }
    let mut names: Vec<Text<'a>> = name.into_iter().collect();
    names.extend([function, custom, spec].into_iter().flatten().filter_map(|inner| inner.name));
    if names.is_empty() {
        names.extend(kind);
    }
    let is_whole = !names.is_empty() && names.iter().all(|name| is_admitted(name));
    if is_whole { Admitted::Whole } else { Admitted::Not }
}

// Gemini has many functions in one element, beside tools of its own.
fn declared<'a>(raw: &'a RawValue, is_admitted: &dyn Fn(&str) -> bool) -> Admitted<'a> {
    let Ok(object) = Object::read(raw.get().as_bytes()) else { return Admitted::Not };
    if once(&object, &["functionDeclarations", "function_declarations"]).is_err() {
        return Admitted::Not;
    }
    let mut edits = Vec::new();
    for member in ["functionDeclarations", "function_declarations"] {
        match list(object.get(member), named, is_admitted) {
            Kept::All => {}
            Kept::None => edits.push(Edit::Remove(member)),
            Kept::Some(functions) => edits.push(Edit::Set(member, functions.into())),
        }
    }
    // Names of tools of its own, as clients write them.
    let own = [
        "googleSearch",
        "google_search",
        "googleSearchRetrieval",
        "codeExecution",
        "code_execution",
        "urlContext",
        "url_context",
    ];
    edits.extend(own.into_iter().filter(|own| object.get(own).is_some() && !is_admitted(own)).map(Edit::Remove));
    if edits.is_empty() {
        return Admitted::Whole;
    }
    let left = object.edited(&edits);
    match (Object::read(&left), String::from_utf8(left.clone())) {
        (Ok(object), Ok(text)) if !object.is_empty() => Admitted::Part(text.into()),
        _ => Admitted::Not,
    }
}

// The tools that are left; and what the model must call, unless it is one that is gone.
fn choice<'e>(
    object: &Object<'_>,
    member: &'e str,
    is_admitted: &dyn Fn(&str) -> bool,
    tools: String,
    list: &'e str,
) -> Vec<Edit<'e>> {
    let mut edits = vec![Edit::Set(list, tools.into())];
    let names_gone = object.get(member).is_some_and(|choice| {
        #[derive(Deserialize)]
        struct Choice<'a> {
            #[serde(borrow)]
            name: Option<Text<'a>>,
            #[serde(borrow)]
            function: Option<Inner<'a>>,
            #[serde(borrow)]
            custom: Option<Inner<'a>>,
            #[serde(borrow)]
            tool: Option<Inner<'a>>,
            tools: Option<serde::de::IgnoredAny>,
        }
        match serde_json::from_str::<Choice<'_>>(choice.get()) {
            Ok(Choice { name, function, custom, tool, tools }) => {
                let inner = [function, custom, tool].into_iter().flatten().filter_map(|inner| inner.name);
                tools.is_some() || name.into_iter().chain(inner).any(|name| !is_admitted(&name))
            }
            // A word, such as `auto`.
            Err(_) => choice.get().starts_with('{'),
        }
    });
    if names_gone {
        edits.push(Edit::Remove(member));
    }
    edits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(dialect: Dialect, body: &str, expect: Option<&str>) {
        let left = without(dialect, body.as_bytes(), |name| !name.starts_with("bad")).unwrap();
        let left = left.map(|left| String::from_utf8(left).unwrap());
        assert_eq!(left.as_deref(), expect, "{body}");
    }

    #[test]
    fn a_request_goes_on_without_the_tools_that_are_not_admitted() {
        use Dialect::{Anthropic, BedrockConverse, Gemini, OpenAiChat, OpenAiResponses};
        let all = [Anthropic, OpenAiChat, OpenAiResponses, Gemini, BedrockConverse];
        for dialect in all {
            check(dialect, r#"{"model":"m"}"#, None);
            check(dialect, r#"{"tools":[],"toolConfig":{"tools":[]}}"#, None);
        }
        for (dialect, body, expect) in [
            (
                Anthropic,
                r#"{ "tools": [{"name":"a", "x":1},{"name":"bad"},{"type":"web_search_20250305","name":"web_search"}], "max_tokens": 9 }"#,
                r#"{ "tools": [{"name":"a", "x":1},{"type":"web_search_20250305","name":"web_search"}], "max_tokens": 9 }"#,
            ),
            (Anthropic, r#"{"tools":[{"name":"bad"}],"tool_choice":{"type":"any"},"model":"m"}"#, r#"{"model":"m"}"#),
            (
                Anthropic,
                r#"{"tools":[{"name":"a"},{"name":"bad"}],"tool_choice":{"type":"tool","name":"bad"}}"#,
                r#"{"tools":[{"name":"a"}]}"#,
            ),
            (
                Anthropic,
                r#"{"tools":[{"name":"a"},{"name":"bad"}],"tool_choice":{"type":"tool","name":"a"}}"#,
                r#"{"tools":[{"name":"a"}],"tool_choice":{"type":"tool","name":"a"}}"#,
            ),
            // What two readers read differently, and what has no name.
            (Anthropic, r#"{"tools":[{"name":"a"},{"name":"a","name":"bad"}]}"#, r#"{"tools":[{"name":"a"}]}"#),
            (Anthropic, r#"{"tools":[{"name":"a"},{"n\u0061me":"bad"},{}]}"#, r#"{"tools":[{"name":"a"}]}"#),
            (
                OpenAiChat,
                r#"{"tools":[{"type":"function","function":{"name":"bad"}},{"type":"function","function":{"name":"a"}}],"tool_choice":"auto"}"#,
                r#"{"tools":[{"type":"function","function":{"name":"a"}}],"tool_choice":"auto"}"#,
            ),
            (OpenAiChat, r#"{"functions":[{"name":"bad"}],"function_call":"auto","model":"m"}"#, r#"{"model":"m"}"#),
            (
                OpenAiChat,
                r#"{"functions":[{"name":"bad"},{"name":"a"}],"function_call":{"name":"bad"}}"#,
                r#"{"functions":[{"name":"a"}]}"#,
            ),
            (
                Gemini,
                r#"{"tools":[{"functionDeclarations":[{"name":"bad"}],"functionDeclarations":[{"name":"a"}]},{"googleSearch":{}}]}"#,
                r#"{"tools":[{"googleSearch":{}}]}"#,
            ),
            (
                OpenAiResponses,
                r#"{"tools":[{"type":"bad_hosted"},{"type":"custom","name":"a"}],"tool_choice":{"type":"function","name":"bad"}}"#,
                r#"{"tools":[{"type":"custom","name":"a"}]}"#,
            ),
            (
                Gemini,
                r#"{"tools":[{"functionDeclarations":[{"name":"bad"},{"name":"a"}]},{"function_declarations":[{"name":"bad"}]}]}"#,
                r#"{"tools":[{"functionDeclarations":[{"name":"a"}]}]}"#,
            ),
            (
                BedrockConverse,
                r#"{"toolConfig":{"tools":[{"toolSpec":{"name":"bad"}},{"toolSpec":{"name":"a"}},{"cachePoint":{"type":"default"}}],"toolChoice":{"tool":{"name":"bad"}}}}"#,
                r#"{"toolConfig":{"tools":[{"toolSpec":{"name":"a"}},{"cachePoint":{"type":"default"}}]}}"#,
            ),
        ] {
            check(dialect, body, Some(expect));
        }
    }

    #[test]
    fn what_two_readers_would_read_differently_is_refused() {
        for (dialect, body) in [
            (Dialect::Anthropic, r#"{"tools":[{"name":"bad"}],"tools":[{"name":"a"}]}"#),
            (Dialect::OpenAiChat, r#"{"functions":[{"name":"bad"}],"f\u0075nctions":[]}"#),
            (Dialect::BedrockConverse, r#"{"toolConfig":{"tools":[],"tools":[{"toolSpec":{"name":"bad"}}]}}"#),
        ] {
            assert!(without(dialect, body.as_bytes(), |_| true).is_err(), "{body}");
        }
    }
}
