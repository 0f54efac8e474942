//! What requests weigh, and that no answer costs more than the weight of its request allows.

use proptest::prelude::*;
use serde_json::{Value, json};
use tollgate_dialect::{
    Weight,
    anthropic::{
        CLIENT_TOOL_TOKENS, FALLBACKS_MAX, IMAGE_TOKENS, LOOP_SAMPLES, PLAIN_PROMPT_TOKENS, PROMPT_TOKENS, USES,
        price_percent, probe,
    },
};
use tollgate_policy::{
    money::NanoUsd,
    price::{Extent, Price, Rates},
    usage::Tokens,
};

/// The base64 of the image in the requests, with its quotes.
const IMAGE_BYTES: u64 = 98;

/// A plain text that asks for 1,024 tokens.
const PLAIN: Weight = Weight {
    text_bytes: 0,
    hidden_tokens: PLAIN_PROMPT_TOKENS,
    images: 0,
    is_unresolvable: false,
    samples: 1,
    web_searches: 0,
    cache_write_5m: false,
    cache_write_1h: false,
    output_tokens: Some(1_024),
    is_fast: false,
    is_regional: false,
    is_output_hidden: false,
    is_open_to_other_models: false,
    is_open_to_any_uses: false,
};

/// The same with tools that the client runs.
const TOOLS: Weight = Weight { hidden_tokens: PROMPT_TOKENS, ..PLAIN };

/// The same with tools that the provider runs.
const LOOP: Weight = Weight { is_unresolvable: true, samples: LOOP_SAMPLES, cache_write_5m: true, ..TOOLS };

macro_rules! requests {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("requests/", $name, ".json")))),*]
    };
}

const REQUESTS: [(&str, &str); 17] = requests![
    "plain",
    "agent",
    "images",
    "image_in_tool_result",
    "document_text",
    "document_pdf",
    "document_cited",
    "document_in_tool_result_escaped",
    "web_search",
    "web_search_unlimited",
    "mcp_connector",
    "advisor",
    "fallbacks",
    "fast_in_the_us",
    "compaction",
    "cached_as_a_whole",
    "tool_defined_in_a_message",
];

/// What each request weighs, and how many of its bytes are the base64 of images.
fn expected(name: &str) -> Option<(Weight, u64)> {
    let deferred = r#""name":"mcp__docs__search","description":"Searches the manual.","input_schema":"#.len() as u64;
    Some(match name {
        "plain" => (PLAIN, 0),
        "agent" => {
            let hidden_tokens = PROMPT_TOKENS + deferred;
            (
                Weight {
                    hidden_tokens,
                    cache_write_5m: true,
                    cache_write_1h: true,
                    output_tokens: Some(128_000),
                    is_output_hidden: true,
                    ..TOOLS
                },
                0,
            )
        }
        "images" => (Weight { images: 3, hidden_tokens: PLAIN_PROMPT_TOKENS + 3 * IMAGE_TOKENS, ..PLAIN }, IMAGE_BYTES),
        "image_in_tool_result" => (
            Weight { images: 1, hidden_tokens: PROMPT_TOKENS + IMAGE_TOKENS + 2 * CLIENT_TOOL_TOKENS, ..TOOLS },
            IMAGE_BYTES,
        ),
        "document_text" => {
            (Weight { images: 1, hidden_tokens: PLAIN_PROMPT_TOKENS + IMAGE_TOKENS, ..PLAIN }, IMAGE_BYTES)
        }
        "document_pdf" | "document_cited" | "document_in_tool_result_escaped" => {
            (Weight { is_unresolvable: true, ..PLAIN }, 0)
        }
        "web_search" => (Weight { web_searches: 8, ..LOOP }, 0),
        "web_search_unlimited" => (Weight { web_searches: USES, is_open_to_any_uses: true, ..LOOP }, 0),
        "mcp_connector" | "tool_defined_in_a_message" => (LOOP, 0),
        "advisor" => (Weight { is_open_to_other_models: true, ..LOOP }, 0),
        "fallbacks" => {
            let samples = 1 + FALLBACKS_MAX;
            (Weight { samples, output_tokens: None, is_open_to_other_models: true, ..TOOLS }, 0)
        }
        "fast_in_the_us" => (Weight { is_fast: true, is_regional: true, ..TOOLS }, 0),
        "compaction" => (Weight { samples: 2, output_tokens: None, ..TOOLS }, 0),
        "cached_as_a_whole" => (Weight { cache_write_5m: true, ..PLAIN }, 0),
        _ => return None,
    })
}

#[test]
fn each_request_has_its_weight() {
    for (name, body) in REQUESTS {
        let found = probe(body.as_bytes()).unwrap().weight;
        let (weight, image_bytes) = expected(name).unwrap();
        let shown = body.len() as u64 - image_bytes;
        let exactly = Weight { text_bytes: shown, ..weight };
        // The only number that depends on how the definition of a deferred tool is written down.
        let hidden_tokens = if name == "agent" { found.hidden_tokens } else { weight.hidden_tokens };
        assert_eq!(found, Weight { hidden_tokens, ..exactly }, "{name}");
        assert!((weight.hidden_tokens..weight.hidden_tokens + 100).contains(&hidden_tokens), "{name}: {hidden_tokens}");
    }
}

#[test]
fn a_faster_or_regional_service_costs_its_percentage() {
    for (model, is_fast, is_regional, percent) in [
        ("claude-opus-5-5", false, false, 100),
        ("claude-opus-5-5", true, false, 200),
        ("claude-opus-5-5-20260922", true, false, 200),
        ("claude-opus-5", true, false, 200),
        ("claude-opus-5", false, true, 110),
        ("claude-opus-4-8", true, true, 220),
        ("claude-opus-5-6", true, false, 600),
        ("claude-opus-5-5-2026092x", true, false, 600),
        ("our-alias", true, true, 660),
    ] {
        assert_eq!(price_percent(&Weight { is_fast, is_regional, ..Weight::default() }, model), percent, "{model}");
    }
}

/// A part of a request, and the most tokens that the provider may count for it; none: as many as the window has.
type Part = (Value, Option<u64>);

/// A letter is a token at worst; eight more stand for the marks around a block.
fn text() -> impl Strategy<Value = Part> {
    "[a-z\"\\\\\n\u{1f600}]{0,80}".prop_map(|text| (json!({"type": "text", "text": text}), Some(text.len() as u64 + 8)))
}

fn media() -> impl Strategy<Value = Part> {
    let image = |source: Value| (json!({"type": "image", "source": source}), Some(4_784 + 8));
    prop_oneof![
        "[A-Za-z0-9+/]{4,400}"
            .prop_map(move |data| image(json!({"type": "base64", "media_type": "image/png", "data": data}))),
        Just(image(json!({"type": "url", "url": "u"}))),
        "[a-z]{0,80}".prop_map(|text| {
            (json!({"type": "document", "source": {"type": "text", "data": text}}), Some(text.len() as u64 + 8))
        }),
        Just((json!({"type": "document", "source": {"type": "file", "file_id": "f"}}), None)),
        Just((json!({"type": "a_block_of_next_year"}), None)),
    ]
}

fn block() -> impl Strategy<Value = Part> {
    let cached = |(mut block, tokens): Part, ttl: &Option<&str>| {
        let mark = ttl.map(|ttl| ("cache_control".to_owned(), json!({"type": "ephemeral", "ttl": ttl})));
        block.as_object_mut().into_iter().for_each(|block| block.extend(mark.clone()));
        (block, tokens)
    };
    let plain = prop_oneof![4 => text(), 1 => media()];
    let nested = proptest::collection::vec(prop_oneof![4 => text(), 1 => media()], 0..4).prop_map(|parts| {
        let (blocks, tokens): (Vec<Value>, Vec<Option<u64>>) = parts.into_iter().unzip();
        let tokens = tokens.into_iter().sum::<Option<u64>>().map(|sum| sum + 16);
        (json!({"type": "tool_result", "tool_use_id": "t", "content": blocks}), tokens)
    });
    let ttl = proptest::option::weighted(0.2, prop_oneof![Just("5m"), Just("1h")]);
    (prop_oneof![plain, nested], ttl).prop_map(move |(part, ttl)| cached(part, &ttl))
}

fn tool() -> impl Strategy<Value = Part> {
    prop_oneof![
        4 => "[a-z]{0,80}".prop_map(|text| (json!({"name": "t", "description": text}), Some(text.len() as u64 + 16))),
        1 => Just((json!({"type": "bash_20250124", "name": "bash"}), Some(325))),
        1 => Just((json!({"type": "web_search_20250305", "name": "web_search", "max_uses": 3}), None)),
    ]
}

fn price() -> Price {
    let rates = Rates {
        input: NanoUsd::new(4_000_000_003),
        output: NanoUsd::new(20_000_000_007),
        cache_read: NanoUsd::new(400_000_001),
        cache_write_5m: NanoUsd::new(5_000_000_009),
        cache_write_1h: NanoUsd::new(8_000_000_001),
    };
    let long = Rates { input: NanoUsd::new(7_000_000_001), ..rates };
    Price { rates, long_context: Some((2_000, long)), web_search: NanoUsd::new(10_000_000) }
}

fn extent(weight: &Weight, context_window: u64) -> Extent {
    Extent {
        body_bytes: weight.text_bytes,
        hidden_tokens: weight.hidden_tokens,
        is_unresolvable: weight.is_unresolvable,
        samples: weight.samples,
        web_searches: weight.web_searches,
        cache_write_5m: weight.cache_write_5m,
        cache_write_1h: weight.cache_write_1h,
        context_window,
        output_tokens_max: weight.output_tokens.unwrap_or_default(),
    }
}

proptest! {
    #[test]
    fn no_answer_costs_more_than_its_request_is_bounded_by(
        blocks in proptest::collection::vec(block(), 0..8),
        tools in proptest::collection::vec(tool(), 0..3),
        max_tokens in 1..5_000_u64,
        speed in prop_oneof![Just(None), Just(Some("fast"))],
        runs in 1..=LOOP_SAMPLES,
        shares in proptest::array::uniform3(0..=100_u64),
    ) {
        const WINDOW: u64 = 1_000_000;
        let messages: Vec<Value> = blocks.iter().map(|part| json!({"role": "user", "content": [part.0]})).collect();
        let mut body = json!({"model": "claude-opus-5-5", "max_tokens": max_tokens, "messages": messages});
        let prompt = if tools.is_empty() { 0 } else { 804 };
        if !tools.is_empty() {
            body["tools"] = tools.iter().map(|part| part.0.clone()).collect();
        }
        if let Some(speed) = speed {
            body["speed"] = json!(speed);
        }
        let loops = tools.iter().any(|part| part.1.is_none());
        let text = body.to_string();
        let weight = probe(text.as_bytes()).unwrap().weight;

        let known = blocks.iter().chain(&tools).map(|part| part.1).sum::<Option<u64>>();
        let once = known.map_or(WINDOW, |sum| sum + prompt + 8 * messages.len() as u64).min(WINDOW);
        let runs = if loops { runs } else { 1 };
        let input = once * runs;
        let is_cached = text.contains("cache_control") || loops;
        let cache_write = if is_cached { input * shares[0] / 300 } else { 0 };
        let is_hour = text.contains("1h") && shares[2] > 50;
        let cache_read = input * shares[1] / 300;
        let tokens = Tokens {
            input: input - cache_write - cache_read,
            output: max_tokens * runs,
            cache_read,
            cache_write_5m: if is_hour { 0 } else { cache_write },
            cache_write_1h: if is_hour { cache_write } else { 0 },
            web_searches: 3 * tools.iter().filter(|part| part.1.is_none()).count() as u64,
        };
        let price = price().at_percent(price_percent(&weight, "claude-opus-5-5"));
        prop_assert_eq!(speed.is_some(), price != self::price());
        for window in [0, WINDOW] {
            prop_assert!(price.cost(&tokens) <= price.bound(&extent(&weight, window)), "{}", text);
        }
    }
}
