//! A document is read, or refused, whatever it holds; each tool of what was read has a definition within its bound, and is called or says why not.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, value::RawValue};
use tollgate_openapi::{Api, TARGET_BYTES_MAX, TOOL_BYTES_MAX};

fuzz_target!(|text: &str| {
    let Ok(api) = Api::read(text) else { return };
    for definition in api.tools() {
        assert!(definition.len() <= TOOL_BYTES_MAX);
        let definition: Value = serde_json::from_str(definition).unwrap();
        let name = definition["name"].as_str().unwrap();
        assert!((1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)));
        // Each argument as a text that would lead elsewhere.
        let arguments = definition["inputSchema"]["properties"].as_object().unwrap().keys();
        let arguments: serde_json::Map<_, _> = arguments.map(|name| (name.clone(), "../x?y#z".into())).collect();
        let arguments = RawValue::from_string(Value::Object(arguments).to_string()).unwrap();
        if let Ok(call) = api.call(name, &arguments) {
            let path = call.path_and_query.split('?').next().unwrap_or_default();
            assert!(!path.split('/').any(|segment| [".", ".."].contains(&segment)), "{path}");
        }
        let none = RawValue::from_string("{}".to_owned()).unwrap();
        if let Ok(call) = api.call(name, &none) {
            assert!(call.path_and_query.starts_with('/') && call.path_and_query.len() <= TARGET_BYTES_MAX);
        }
    }
});
