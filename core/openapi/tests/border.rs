//! The border: whatever an argument is, it stays where the description puts it (agentgateway had CVE-2026-29791 here).

#![expect(clippy::unwrap_used, reason = "a test")]

use proptest::prelude::*;
use serde_json::{Value, json, value::RawValue};
use tollgate_openapi::{Api, Call};

/// One parameter of each kind that is written by a string.
const DOCUMENT: &str = include_str!("documents/border.json");

/// What has meant something to a parser somewhere, and everything else.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("..".to_owned()),
        Just(".".to_owned()),
        Just("/".to_owned()),
        Just("\\".to_owned()),
        Just("%2e%2e".to_owned()),
        Just("%2f".to_owned()),
        Just("%252e".to_owned()),
        Just("%c0%ae".to_owned()),
        Just("?".to_owned()),
        Just("#".to_owned()),
        Just("&x=1".to_owned()),
        Just(";".to_owned()),
        Just("\r\nHost: evil.example\r\n".to_owned()),
        Just("\0".to_owned()),
        Just("@evil.example".to_owned()),
        Just("https://evil.example".to_owned()),
        Just("\u{2028}".to_owned()),
        Just("\u{ff0e}".to_owned()),
        ".{0,8}",
        "[a-z0-9 ]{0,8}",
    ];
    proptest::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

fn call(api: &Api, arguments: &Value) -> Option<Call> {
    let raw = RawValue::from_string(arguments.to_string()).unwrap();
    api.call("it", &raw).ok()
}

/// What a server reads that decodes as often as it can.
fn decoded(text: &str) -> String {
    let mut text = text.to_owned();
    loop {
        let next = percent_encoding::percent_decode_str(&text).decode_utf8_lossy().into_owned();
        if next == text {
            return text;
        }
        text = next;
    }
}

fn assert_stays(call: &Call) -> Result<(), TestCaseError> {
    let target = &call.path_and_query;
    prop_assert!(target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#' && byte != b'\\'), "{target}");
    let (path, query) = target.split_once('?').unwrap();
    // The same segments, none of which leads elsewhere.
    let segments: Vec<&str> = path.split('/').collect();
    let ["", "a", one, "b", two] = segments.as_slice() else { return Err(TestCaseError::fail(path.to_owned())) };
    prop_assert!(!one.is_empty() && two.strip_suffix(".json").is_some_and(|two| !two.is_empty()), "{path}");
    for segment in &segments {
        let read = decoded(segment);
        let leads = |part: &str| matches!(part.split(';').next(), Some("." | ".."));
        prop_assert!(!read.split(['/', '\\']).any(leads), "{segment}");
        prop_assert!(!read.contains(char::is_control), "{segment}");
    }
    // The same parameters, in their order.
    let names = query.split('&').map(|pair| pair.split('=').next().unwrap_or_default());
    let mut names: Vec<&str> = names.map(|name| name.split("%5B").next().unwrap_or_default()).collect();
    names.dedup();
    prop_assert_eq!(&names, &["plain", "list", "deep", "json"]);
    prop_assert!(query.split('&').all(|pair| pair.matches('=').count() == 1));
    // The same headers, each in one line.
    let headers: Vec<&str> = call.headers.iter().map(|(name, _)| name.as_str()).collect();
    prop_assert_eq!(headers, ["x-one", "x-two"]);
    prop_assert!(call.headers.iter().all(|(_, value)| value.bytes().all(|byte| (b' '..=b'~').contains(&byte))));
    // One form of one member.
    let body = call.body.as_deref().unwrap_or_default();
    prop_assert!(body.split('&').count() == 1 && body.matches('=').count() == 1, "{body}");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_argument_leaves_its_place(
        one in hostile(), two in hostile(), plain in hostile(), key in hostile(), x_one in "[ -~]{0,12}", x_two in hostile(),
    ) {
        let api = Api::read(DOCUMENT).unwrap();
        // In the path and in headers most of these are refused: where they are not, they stay.
        let arguments = json!({
            "one": one, "two": [two], "plain": plain, "list": [plain, key], "deep": { key.clone(): plain }, "json": { key.clone(): [x_two] },
            "X-One": x_one, "X-Two": { "k": "v" }, "body": { key: plain },
        });
        if let Some(call) = call(&api, &arguments) {
            assert_stays(&call)?;
        }
        // What only queries and bodies have is never refused, but for its length.
        let arguments = json!({
            "one": "1", "two": ["2"], "plain": plain, "list": [plain], "deep": { "k": plain }, "json": { "k": two },
            "X-One": "1", "X-Two": { "k": "v" }, "body": { "k": one },
        });
        assert_stays(&call(&api, &arguments).unwrap())?;
        let arguments = json!({
            "one": "1", "two": ["2"], "plain": "", "list": [], "deep": { "k": 1 }, "json": null, "X-One": x_two, "X-Two": { x_two.clone(): x_two },
            "body": { "k": 1 },
        });
        if let Some(call) = call(&api, &arguments) {
            assert_stays(&call)?;
        }
    }

    #[test]
    fn nothing_that_is_no_argument_becomes_one(name in "[a-zA-Z_-]{1,16}", value in hostile()) {
        let api = Api::read(DOCUMENT).unwrap();
        let known = ["one", "two", "plain", "list", "deep", "json", "X-One", "X-Two", "body"];
        let mut arguments = json!({
            "one": "1", "two": ["2"], "plain": "", "list": ["3"], "deep": { "k": 1 }, "json": 1, "X-One": "1", "X-Two": { "k": "v" }, "body": { "k": 1 },
        });
        prop_assert!(call(&api, &arguments).is_some());
        if !known.contains(&name.as_str()) {
            arguments[name] = value.into();
            prop_assert!(call(&api, &arguments).is_none());
        }
    }

    #[test]
    fn no_text_makes_a_reader_panic(text in ".{0,64}", tool in hostile()) {
        let _ = Api::read(&text);
        let document = json!({ "openapi": "3.1.0", "paths": { format!("/{tool}/{{{text}}}"): { "get": { "operationId": tool,
            "parameters": [{ "name": text, "in": "path", "required": true, "schema": { "type": "string", "description": tool } }] } } } });
        if let Ok(api) = Api::read(&document.to_string()) {
            for definition in api.tools() {
                let definition: Value = serde_json::from_str(definition).unwrap();
                let name = definition["name"].as_str().unwrap();
                prop_assert!((1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)));
            }
        }
    }
}
