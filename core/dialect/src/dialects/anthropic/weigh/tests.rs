use super::*;
use crate::anthropic::probe;
use proptest::prelude::*;
use serde_json::Value;

fn weigh(fields: &str) -> Weight {
    let body = format!(r#"{{"model":"m",{fields}}}"#);
    probe(body.as_bytes()).unwrap_or_else(|error| panic!("{fields}: {error}")).weight
}

fn weigh_block(block: &str) -> Weight {
    weigh(&format!(r#""messages":[{{"role":"user","content":[{block}]}}]"#))
}

#[test]
fn what_cannot_be_sized_is_said_to_be_so() {
    let deep = format!("{}{}", r#"{"type":"tool_result","content":["#.repeat(20), "]}".repeat(20));
    for (block, is_unresolvable) in [
        (r#"{"type":"text","text":"document image base64 \u0064ocument"}"#, false),
        (r#"{"type":"tool_use","id":"t","name":"n","input":{"type":"document","source":{"type":"url"}}}"#, false),
        (r#"{"type":"document","source":{"type":"text","data":"a"}}"#, false),
        (r#"{"type":"document","source":{"type":"content","content":"a"}}"#, false),
        (
            r#"{"type":"document","source":{"type":"content","content":[{"type":"document","source":{"type":"url"}}]}}"#,
            true,
        ),
        (r#"{"type":"document","source":{"type":"url","url":"u"}}"#, true),
        (r#"{"type":"document","source":{"type":"file","file_id":"f"}}"#, true),
        (r#"{"type":"document","source":{"type":"base64","data":"JVBERi0x"}}"#, true),
        (r#"{"type":"document","source":{"type":"next_year"}}"#, true),
        (r#"{"type":"document","source":{}}"#, true),
        (r#"{"type":"document","source":null}"#, true),
        (r#"{"type":"document"}"#, true),
        // The costlier reading of what is given twice, in either order.
        (r#"{"type":"document","source":{"type":"text"},"source":{"type":"url"}}"#, true),
        (r#"{"type":"document","source":{"type":"url"},"source":{"type":"text"}}"#, true),
        (r#"{"type":"document","source":{"type":"url","type":"text"}}"#, true),
        (r#"{"type":"text","type":"document","source":{"type":"url"}}"#, true),
        (r#"{"type":"document","source":{"type":"url"},"type":"text"}"#, true),
        (r#"{"type":"text","type":"text","text":"a"}"#, false),
        // Escapes are read.
        (r#"{"\u0074ype":"docum\u0065nt","source":{"t\u0079pe":"\u0075rl"}}"#, true),
        (r#"{"type":"d\u006fcument","s\u006furce":{"type":"t\u0065xt","data":"a"}}"#, false),
        // What a search or a fetch brought home.
        (
            r#"{"type":"web_search_tool_result","content":[{"type":"web_search_result","encrypted_content":"a"}]}"#,
            false,
        ),
        (r#"{"type":"web_search_tool_result","content":{"type":"web_search_tool_result_error"}}"#, false),
        (
            r#"{"type":"web_fetch_tool_result","content":{"type":"web_fetch_result","content":{"type":"document","source":{"type":"text"}}}}"#,
            false,
        ),
        (
            r#"{"type":"web_fetch_tool_result","content":{"type":"web_fetch_result","content":{"type":"document","source":{"type":"base64"}}}}"#,
            true,
        ),
        // Sentences that are cited, and citations of an earlier answer.
        (r#"{"type":"search_result","source":"s","content":[],"citations":{"enabled":true}}"#, true),
        (r#"{"type":"search_result","source":"s","content":[],"citations":{"enabled":false}}"#, false),
        (r#"{"type":"text","text":"a","citations":[{"type":"char_location"}]}"#, false),
        (r#"{"type":"text","text":"a","citations":null}"#, false),
        // What is not known.
        (r#"{"type":"container_upload","file_id":"f"}"#, true),
        (r#"{"type":"next_year"}"#, true),
        (r#"{"type":7}"#, true),
        (r#"{"text":"a"}"#, true),
        (&deep, true),
    ] {
        assert_eq!(weigh_block(block).is_unresolvable, is_unresolvable, "{block}");
    }
    assert!(weigh(r#""container":{"skills":[{"skill_id":"pdf"}]}"#).is_unresolvable);
    assert!(!weigh(r#""container":null"#).is_unresolvable);
}

#[test]
fn only_what_is_certainly_an_image_is_taken_out_of_the_text() {
    for (block, images, taken) in [
        (r#"{"type":"image","source":{"type":"base64","data":"aaaa"}}"#, 1, 6),
        (r#"{"source":{"data":"aaaa","type":"b\u0061se64"},"type":"image"}"#, 1, 6),
        (r#"{"type":"image","source":{"type":"url","data":"aaaa"}}"#, 1, 0),
        (r#"{"type":"image","source":{"type":"base64","type":"text","data":"aaaa"}}"#, 1, 0),
        (r#"{"type":"image","source":{"type":"base64","data":"aaaa"},"source":{"type":"base64","data":"a"}}"#, 1, 0),
        (r#"{"type":"image","source":{"data":"aaaa"}}"#, 1, 0),
        (r#"{"type":"image"}"#, 1, 0),
        (r#"{"type":"text","text":"a","source":{"type":"base64","data":"aaaa"}}"#, 0, 0),
        (r#"{"type":"tool_result","content":[{"type":"image","source":{"type":"base64","data":"aaaa"}}]}"#, 1, 6),
        (
            r#"{"type":"image","source":{"type":"base64","data":"aa"}},{"type":"image","source":{"type":"base64","data":"a"}}"#,
            2,
            7,
        ),
    ] {
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":[{block}]}}]}}"#);
        let weight = weigh_block(block);
        assert_eq!(weight.hidden_tokens, PLAIN_PROMPT_TOKENS + images * IMAGE_TOKENS, "{block}");
        assert_eq!(body.len() as u64 - weight.text_bytes, taken, "{block}");
    }
}

#[test]
fn a_tool_is_weighed_by_who_runs_it() {
    let client = |tools: u64| (1, 0, PROMPT_TOKENS + tools * CLIENT_TOOL_TOKENS, false, false);
    let provider = |searches, any_uses, models| (LOOP_SAMPLES, searches, PROMPT_TOKENS, any_uses, models);
    for (tools, expect) in [
        ("", client(0)),
        (r#"{"name":"Read","input_schema":{"type":"object"}}"#, client(0)),
        (r#"{"type":"custom","name":"Read"}"#, client(0)),
        (r#"{"type":null,"name":"Read"}"#, client(0)),
        (r#"{"type":"bash_20250124"},{"type":"text_editor_20250728"},{"type":"memory_20250818"}"#, client(3)),
        (r#"{"type":"computer_20251124","name":"computer"}"#, client(1)),
        (r#"{"type":"bash_20250124x"}"#, provider(USES, true, false)),
        (r#"{"type":"bash_"}"#, provider(USES, true, false)),
        (r#"{"type":"web_search_20250305"}"#, provider(USES, true, false)),
        (r#"{"type":"web_search_20250305","max_uses":3}"#, provider(3, false, false)),
        (r#"{"type":"web_search_20250305","max_uses":3,"max_uses":9}"#, provider(9, false, false)),
        (r#"{"type":"web_search_20250305","max_uses":-1}"#, provider(USES, true, false)),
        (r#"{"type":"web_s\u0065arch_20250305","max_\u0075ses":3}"#, provider(3, false, false)),
        (r#"{"type":"custom","type":"web_search_20250305","max_uses":3}"#, provider(3, false, false)),
        (r#"{"type":"web_fetch_20260318"}"#, provider(0, false, false)),
        (r#"{"type":"code_execution_20260120"}"#, provider(0, false, false)),
        (r#"{"type":"tool_search_tool_regex_20251119"}"#, provider(0, false, false)),
        (r#"{"type":"mcp_toolset","mcp_server_name":"m"}"#, provider(0, false, false)),
        (r#"{"type":"advisor_20260301"}"#, provider(0, false, true)),
        (r#"{"type":"web_fetch_20260318","model":"m"}"#, provider(0, false, true)),
        (r#"{"type":"next_year","max_uses":2}"#, provider(2, false, false)),
        (r#"{"type":{"a":1}}"#, provider(USES, true, false)),
    ] {
        let weight = weigh(&format!(r#""tools":[{tools}]"#));
        let Weight { samples, web_searches, hidden_tokens, is_open_to_any_uses, is_open_to_other_models, .. } = weight;
        let found = (samples, web_searches, hidden_tokens, is_open_to_any_uses, is_open_to_other_models);
        assert_eq!(found, expect, "{tools}");
    }
}

#[test]
fn a_reference_repeats_the_longest_deferred_tool() {
    let tool = r#"{"name":"a","description":"0123456789","defer_loading":true}"#;
    let tools =
        format!(r#"{tool},{{"name":"b","defer_loading":true}},{{"name":"c","description":"not deferred at all"}}"#);
    let blocks = r#"{"type":"tool_result","content":[{"type":"tool_reference","tool_name":"a"}]},
        {"type":"tool_search_tool_result","content":{"type":"tool_search_tool_search_result",
         "tool_references":[{"type":"tool_reference"},{"type":"tool_reference"}]}}"#;
    let weight = weigh(&format!(r#""tools":[{tools}],"messages":[{{"content":[{blocks}]}}]"#));
    let bytes = tool.len() as u64 - 1;
    assert_eq!(weight.hidden_tokens, PROMPT_TOKENS + 3 * bytes);
    assert!(!weight.is_unresolvable);
}

#[test]
fn a_cache_is_priced_where_one_is_asked_for() {
    let marked =
        |mark: &str| format!(r#""messages":[{{"content":[{{"type":"text","text":"a","cache_control":{mark}}}]}}]"#);
    for (fields, expect) in [
        (r#""messages":[{"content":"cache_control 1h"}]"#.to_owned(), (false, false)),
        (marked("null"), (false, false)),
        (marked(r#"{"type":"ephemeral"}"#), (true, false)),
        (marked(r#"{"type":"ephemeral","ttl":null}"#), (true, false)),
        (marked(r#"{"type":"ephemeral","ttl":"5m"}"#), (true, false)),
        (marked(r#"{"type":"ephemeral","ttl":"1h"}"#), (true, true)),
        (marked(r#"{"type":"ephemeral","ttl":"\u0031h"}"#), (true, true)),
        (marked(r#"{"type":"ephemeral","ttl":"5m","ttl":"1h"}"#), (true, true)),
        (marked(r#"{"type":"ephemeral","ttl":"1d"}"#), (true, true)),
        (marked("true"), (true, true)),
        (r#""cache_\u0063ontrol":{"type":"ephemeral"}"#.to_owned(), (true, false)),
        (r#""system":[{"type":"text","text":"a","cache_control":{"ttl":"1h"}}]"#.to_owned(), (true, true)),
        (r#""tools":[{"name":"a","cache_control":{"type":"ephemeral"}}]"#.to_owned(), (true, false)),
        (r#""tools":[{"type":"web_fetch_20260318"}]"#.to_owned(), (true, false)),
    ] {
        let weight = weigh(&fields);
        assert_eq!((weight.cache_write_5m, weight.cache_write_1h), expect, "{fields}");
    }
}

#[test]
fn a_field_that_makes_a_request_dearer_counts_in_any_form_but_its_cheap_one() {
    let plain = weigh(r#""max_tokens":9"#);
    let tools = Weight { hidden_tokens: PROMPT_TOKENS, ..plain };
    let open = Weight { is_open_to_other_models: true, samples: 4, output_tokens: None, ..tools };
    for (fields, expect) in [
        (r#""speed":"fast""#, Weight { is_fast: true, ..tools }),
        (r#""speed":"next_year""#, Weight { is_fast: true, ..tools }),
        (r#""speed":"standard""#, tools),
        (r#""speed":null"#, tools),
        (r#""speed":"standard","speed":"fast""#, Weight { is_fast: true, ..tools }),
        (r#""inference_geo":"us""#, Weight { is_regional: true, ..plain }),
        (r#""inference_geo":"global""#, plain),
        (r#""service_tier":"auto""#, plain),
        (r#""thinking":{"type":"adaptive"}"#, Weight { is_output_hidden: true, ..tools }),
        (r#""thinking":"on""#, Weight { is_output_hidden: true, ..tools }),
        (r#""thinking":{"type":"disabled","x":1}"#, Weight { is_output_hidden: true, ..tools }),
        (r#""thinking":{"type":"disabled"}"#, tools),
        (r#""fallbacks":"default""#, open),
        (r#""fallbacks":[{"model":"n"}]"#, open),
        (r#""fallbacks":[]"#, tools),
        (r#""fallbacks":"off""#, tools),
        (r#""compaction":null"#, tools),
        (r#""compaction":{}"#, Weight { samples: 2, output_tokens: None, ..tools }),
        (r#""context_management":{}"#, tools),
        (r#""compaction":{"keep":1}"#, Weight { samples: 2, output_tokens: None, ..tools }),
        (r#""context_management":{"edits":[{"type":"clear_tool_uses_20250919"}]}"#, tools),
        (
            r#""context_management":{"edits":[{"type":"compact_20260112"}]}"#,
            Weight { samples: 2, output_tokens: None, ..tools },
        ),
        (r#""context_management":{"next_year":true}"#, Weight { samples: 2, output_tokens: None, ..tools }),
        (r#""mcp_servers":[]"#, tools),
        (
            r#""mcp_servers":[{}],"fallbacks":[{}],"compaction":{}"#,
            Weight { samples: 88, is_unresolvable: true, cache_write_5m: true, ..open },
        ),
        (r#""safeguards":{"a":1}"#, tools),
    ] {
        let weight = weigh(&format!(r#""max_tokens":9,{fields}"#));
        assert_eq!(Weight { text_bytes: plain.text_bytes, ..weight }, expect, "{fields}");
    }
}

#[test]
fn a_message_of_any_shape_is_passed_on_and_weighs_at_least_its_bytes() {
    for fields in [
        r#""messages":7"#,
        r#""messages":"a""#,
        r#""messages":[null,true,-1,1.5,"a",[[]],{"content":null},{"content":{}}]"#,
        r#""messages":[{"content":"half of a pair: \ud83d"}]"#,
        r#""messages":[{"content" : "half of a pair: \ud83d"}]"#,
        r#""messages":[{"content":[{"type":"tool_result","content":"\ud83d"},{"type":"text","text":"\ud83d"}]}]"#,
        r#""system":"\ud83d""#,
        r#""tools":{"a":[]}"#,
        r#""tools":"a","mcp_servers":"a","cache_control":"a""#,
    ] {
        assert_eq!(weigh(fields).text_bytes, fields.len() as u64 + 14, "{fields}");
    }
}

fn escaped(text: &str) -> String {
    text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect()
}

/// The same JSON with every letter of every name and text escaped.
fn escape_all(value: &Value) -> String {
    let list = |items: Vec<String>| items.join(" , ");
    match value {
        Value::String(text) => format!("\"{}\"", escaped(text)),
        Value::Array(items) => format!("[ {} ]", list(items.iter().map(escape_all).collect())),
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| format!("\"{}\" : {}", escaped(name), escape_all(value));
            format!("{{ {} }}", list(fields.iter().map(field).collect()))
        }
        other => other.to_string(),
    }
}

fn anything() -> impl Strategy<Value = Value> {
    const NAMES: &[&str] = &[
        "type",
        "source",
        "content",
        "data",
        "tool",
        "definition",
        "cache_control",
        "ttl",
        "citations",
        "max_uses",
        "model",
        "defer_loading",
        "messages",
        "tools",
        "speed",
        "fallbacks",
        "a",
    ];
    const TEXTS: &[&str] = &[
        "text",
        "image",
        "document",
        "tool_result",
        "tool_reference",
        "base64",
        "url",
        "1h",
        "5m",
        "web_search_20250305",
        "bash_20250124",
        "custom",
        "fast",
        "",
    ];
    let text = proptest::sample::select(TEXTS).prop_map(Value::from);
    let leaf = prop_oneof![4 => text, 1 => any::<bool>().prop_map(Value::from), 1 => any::<u32>().prop_map(Value::from),
        1 => Just(Value::Null)];
    leaf.prop_recursive(6, 60, 6, |inner| {
        let fields = proptest::collection::vec((proptest::sample::select(NAMES), inner.clone()), 0..6);
        let object =
            fields.prop_map(|fields| fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
        prop_oneof![1 => proptest::collection::vec(inner, 0..4).prop_map(Value::Array), 3 => object.prop_map(Value::Object)]
    })
}

proptest! {
    #[test]
    fn any_json_is_weighed_and_escapes_make_nothing_lighter(messages in anything(), tools in anything(), speed in anything()) {
        let fields = serde_json::json!({"model": "m", "messages": messages, "tools": tools, "speed": speed, "system": messages});
        let (short, long) = (fields.to_string(), escape_all(&fields));
        let [short, long] = [&short, &long].map(|body| probe(body.as_bytes()).map(|probe| probe.weight));
        let (short, long) = (short.unwrap(), long.unwrap());
        prop_assert!(short.text_bytes <= long.text_bytes && short.hidden_tokens <= long.hidden_tokens);
        let Weight { text_bytes, hidden_tokens, .. } = long;
        prop_assert_eq!(Weight { text_bytes, hidden_tokens, ..short }, long);
    }
}
