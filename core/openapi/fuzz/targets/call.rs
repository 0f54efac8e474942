//! Arguments go where the document puts them, or nowhere: the same segments, the same parameters and the same headers, whatever they are.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;
use tollgate_openapi::Api;

static API: LazyLock<Api> = LazyLock::new(|| Api::read(include_str!("../../tests/documents/border.json")).unwrap());

fuzz_target!(|text: &str| {
    let Ok(arguments) = RawValue::from_string(text.trim().to_owned()) else { return };
    let Ok(call) = API.call("it", &arguments) else { return };
    let target = &call.path_and_query;
    assert!(target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#' && byte != b'\\'), "{target}");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let segments: Vec<&str> = path.split('/').collect();
    let ["", "a", one, "b", two] = segments.as_slice() else { panic!("{path}") };
    assert!(![".", "..", ""].contains(one) && two.ends_with(".json"), "{path}");
    let names = ["plain=", "list=", "deep%5B", "json="];
    assert!(query.split('&').all(|pair| pair.is_empty() || names.iter().any(|name| pair.starts_with(name))), "{query}");
    for (name, value) in &call.headers {
        assert!(["x-one", "x-two"].contains(&name.as_str()) && value.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    }
});
