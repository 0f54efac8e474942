//! Requests and answers of nothing but what a dialect has natively, by the table of what it supports: a dialect that says of a feature
//! that it has it must bring it back.

use proptest::{collection::vec, option, prelude::*, sample::select, strategy::Union};
use serde_json::json;
use tollgate_dialect::{
    Dialect,
    hub::{
        Answer, Block, Cache, Effort, Feature, Format, Json, Media, MediaKind, Request, Role, Sampling, Signature,
        Source, Stop, Support, Text, Thinking, ThinkingMode, Tool, ToolChoice, ToolResult, ToolUse, Turn, Usage,
    },
    meter::Counters,
};

type Made<T> = BoxedStrategy<T>;

fn has(dialect: Dialect, feature: &Feature) -> bool {
    dialect.support(feature) == Support::Native
}

/// The value where the dialect has the feature, otherwise the default.
fn where_native<T: Clone + std::fmt::Debug + Default + 'static>(
    dialect: Dialect,
    feature: &Feature,
    made: impl Strategy<Value = T> + 'static,
) -> Made<T> {
    if has(dialect, feature) { made.boxed() } else { Just(T::default()).boxed() }
}

fn words() -> Made<Text<'static>> {
    // Escapes, quotes and what is not ASCII among them; never empty.
    "[a-z\"\\\\\n\té😀 ]{0,20}[a-z]".prop_map(Text::from).boxed()
}

fn name() -> Made<Text<'static>> {
    "[a-z][a-z0-9_]{0,12}".prop_map(Text::from).boxed()
}

fn base64() -> Made<Text<'static>> {
    "([A-Za-z0-9+/]{4}){1,6}".prop_map(Text::from).boxed()
}

fn object() -> Made<Json<'static>> {
    vec((name(), any::<i32>()), 0..3)
        .prop_map(|members| {
            let members = members.into_iter().map(|(name, value)| (name.to_string(), json!(value)));
            Json::of(&members.collect::<serde_json::Map<_, _>>())
        })
        .boxed()
}

fn schema() -> Made<Json<'static>> {
    name()
        .prop_map(|name| {
            let name = name.to_string();
            Json::of(&json!({"type": "object", "properties": {name.clone(): {"type": "string"}}, "required": [name]}))
        })
        .boxed()
}

fn cache(dialect: Dialect) -> Made<Option<Cache>> {
    let kinds =
        if has(dialect, &Feature::CacheHour) { vec![Cache::Default, Cache::Hour] } else { vec![Cache::Default] };
    where_native(dialect, &Feature::CacheControl, option::weighted(0.3, select(kinds)))
}

fn text(dialect: Dialect) -> Made<Block<'static>> {
    (words(), cache(dialect)).prop_map(|(text, cache)| Block::Text { text, citations: Vec::new(), cache }).boxed()
}

fn media(dialect: Dialect) -> Vec<Made<Block<'static>>> {
    let mut made: Vec<Made<Block<'static>>> = Vec::new();
    let mut add = |feature: Feature, kind: MediaKind, source: Made<Source<'static>>| {
        if has(dialect, &feature) {
            let block = move |(source, cache)| Block::Media(Box::new(Media { cache, ..Media::new(kind, source) }));
            made.push((source, cache(dialect)).prop_map(block).boxed());
        }
    };
    let bytes = |media_type: &'static str| {
        base64().prop_map(move |data| Source::Base64 { media_type: media_type.into(), data }).boxed()
    };
    let url = |end: &'static str| {
        name()
            .prop_map(move |name| Source::Url {
                url: format!("https://x.example/{}{end}", &*name).into(),
                media_type: None,
            })
            .boxed()
    };
    add(Feature::ImageBytes, MediaKind::Image, bytes("image/png"));
    add(Feature::ImageUrl, MediaKind::Image, url(".png"));
    add(Feature::DocumentBytes, MediaKind::Document, bytes("application/pdf"));
    add(Feature::DocumentUrl, MediaKind::Document, url(".pdf"));
    add(Feature::DocumentText, MediaKind::Document, words().prop_map(|text| Source::Text { text }).boxed());
    add(Feature::Audio, MediaKind::Audio, bytes("audio/wav"));
    add(Feature::Video, MediaKind::Video, bytes("video/mp4"));
    made
}

fn user_turn(dialect: Dialect) -> Made<Turn<'static>> {
    let mut kinds = media(dialect);
    kinds.push(text(dialect));
    kinds.push(text(dialect));
    vec(Union::new(kinds), 1..4).prop_map(|blocks| Turn { role: Role::User, blocks }).boxed()
}

fn thinking(dialect: Dialect) -> Made<Vec<Block<'static>>> {
    let block = (words(), base64())
        .prop_map(move |(text, seal)| Block::Thinking { text, signature: Some(Signature::new(dialect, seal)) });
    where_native(dialect, &Feature::Thinking, vec(block, 0..2))
}

fn tool_result(dialect: Dialect, id: Text<'static>) -> Made<Block<'static>> {
    let mut kinds = vec![text(dialect)];
    if has(dialect, &Feature::ToolResultImage) {
        let image = |data| Source::Base64 { media_type: "image/png".into(), data };
        let block = move |data| Block::Media(Box::new(Media::new(MediaKind::Image, image(data))));
        kinds.push(base64().prop_map(block).boxed());
    }
    let is_error = where_native(dialect, &Feature::ToolError, any::<bool>());
    (vec(Union::new(kinds), 1..3), is_error, cache(dialect))
        .prop_map(move |(blocks, is_error, cache)| {
            Block::ToolResult(Box::new(ToolResult { tool_use_id: id.clone(), blocks, is_error, cache }))
        })
        .boxed()
}

/// The model thinks, speaks and calls tools, which answer.
fn tool_turns(dialect: Dialect, serial: usize) -> Made<Vec<Turn<'static>>> {
    let calls = vec((name(), object()), 1..3).prop_map(move |calls| {
        let call = |(at, (name, input))| ToolUse {
            id: format!("call_{serial}_{at}").into(),
            name,
            input,
            signature: None,
            cache: None,
        };
        calls.into_iter().enumerate().map(call).collect::<Vec<_>>()
    });
    (thinking(dialect), option::of(words()), calls)
        .prop_flat_map(move |(mut blocks, said, calls)| {
            let results: Vec<_> = calls.iter().map(|call| tool_result(dialect, call.id.clone())).collect();
            blocks.extend(said.map(Block::text));
            blocks.extend(calls.into_iter().map(|call| Block::ToolUse(Box::new(call))));
            results.prop_map(move |results| {
                vec![Turn { role: Role::Assistant, blocks: blocks.clone() }, Turn { role: Role::User, blocks: results }]
            })
        })
        .boxed()
}

fn conversation(dialect: Dialect) -> Made<Vec<Turn<'static>>> {
    let said = words().prop_map(|text| vec![Turn { role: Role::Assistant, blocks: vec![Block::text(text)] }]);
    let exchange = (0_usize..1000, any::<bool>()).prop_flat_map(move |(serial, calls)| {
        let model = if calls { tool_turns(dialect, serial) } else { said.clone().boxed() };
        (user_turn(dialect), model).prop_map(|(user, model)| {
            let mut turns = vec![user];
            turns.extend(model);
            turns
        })
    });
    (vec(exchange, 0..3), user_turn(dialect))
        .prop_map(|(exchanges, last)| {
            let mut turns: Vec<Turn<'static>> = exchanges.into_iter().flatten().collect();
            turns.push(last);
            turns
        })
        .boxed()
}

fn tools(dialect: Dialect) -> Made<Vec<Tool<'static>>> {
    let strict = where_native(dialect, &Feature::StrictTools, option::of(any::<bool>()));
    let tool = (option::of(words()), schema(), strict, cache(dialect));
    vec(tool, 0..3)
        .prop_map(|tools| {
            let tool = |(at, (description, input_schema, strict, cache))| Tool::Function {
                name: format!("tool_{at}").into(),
                description,
                input_schema,
                strict,
                cache,
                rest: Vec::new(),
            };
            tools.into_iter().enumerate().map(tool).collect()
        })
        .boxed()
}

fn tool_choice(dialect: Dialect) -> Made<Option<ToolChoice<'static>>> {
    let mut choices = vec![ToolChoice::Auto];
    for (feature, choice) in [
        (Feature::ToolChoiceAny, ToolChoice::Any),
        (Feature::ToolChoiceNone, ToolChoice::None),
        (Feature::ToolChoiceNamed, ToolChoice::Tool { name: "tool_0".into() }),
    ] {
        if has(dialect, &feature) {
            choices.push(choice);
        }
    }
    option::of(select(choices)).boxed()
}

fn sampling(dialect: Dialect) -> Made<Sampling> {
    // In eighths, which are the same number in every notation.
    let eighths = |most: u8| (0..=most).prop_map(|eighths| f64::from(eighths) / 8.0);
    let most = if has(dialect, &Feature::HighTemperature) { 16 } else { 8 };
    (
        where_native(dialect, &Feature::Temperature, option::of(eighths(most))),
        where_native(dialect, &Feature::TopP, option::of(eighths(8))),
        where_native(dialect, &Feature::TopK, option::of(1_u64..100)),
        where_native(dialect, &Feature::Seed, option::of(any::<i32>().prop_map(i64::from))),
        where_native(dialect, &Feature::Penalties, option::of((eighths(8), eighths(8)))),
    )
        .prop_map(|(temperature, top_p, top_k, seed, penalties)| Sampling {
            temperature,
            top_p,
            top_k,
            seed,
            presence_penalty: penalties.map(|(presence, _)| presence),
            frequency_penalty: penalties.map(|(_, frequency)| frequency),
        })
        .boxed()
}

fn thought(dialect: Dialect) -> Made<Thinking> {
    let mut modes = vec![None];
    for (feature, mode) in [
        (Feature::ThinkingBudget, ThinkingMode::Budget(2_048)),
        (Feature::ThinkingAdaptive, ThinkingMode::Adaptive),
        (Feature::ThinkingOff, ThinkingMode::Off),
    ] {
        if has(dialect, &feature) {
            modes.push(Some(mode));
        }
    }
    let effort =
        where_native(dialect, &Feature::Effort, option::of(select(vec![Effort::Low, Effort::Medium, Effort::High])));
    (select(modes), effort).prop_map(|(mode, effort)| Thinking { mode, effort, is_shown: None }).boxed()
}

fn format(dialect: Dialect) -> Made<Format<'static>> {
    let mut formats: Vec<Made<Format<'static>>> = vec![Just(Format::Text).boxed()];
    if has(dialect, &Feature::JsonFormat) {
        formats.push(Just(Format::Json).boxed());
    }
    if has(dialect, &Feature::SchemaFormat) {
        let format = |schema| Format::Schema { name: None, description: None, schema, strict: None };
        formats.push(schema().prop_map(format).boxed());
    }
    Union::new(formats).boxed()
}

/// A request of nothing but what the dialect has natively.
pub(crate) fn request(dialect: Dialect) -> Made<Request<'static>> {
    let system = vec(text(dialect), 0..3);
    let stops = where_native(dialect, &Feature::StopSequences, vec(name(), 0..3));
    let asked = (system, conversation(dialect), tools(dialect), tool_choice(dialect));
    let how = (sampling(dialect), thought(dialect), format(dialect), stops);
    let rest = (
        1_u64..100_000,
        any::<bool>(),
        where_native(dialect, &Feature::User, option::of(name())),
        where_native(dialect, &Feature::ParallelTools, option::of(any::<bool>())),
    );
    (asked, how, rest)
        .prop_map(move |((system, turns, tools, tool_choice), (sampling, thinking, format, stop_sequences), rest)| {
            let (most, stream, user, parallel_tools) = rest;
            let has_tools = !tools.is_empty();
            Request {
                dialect,
                model: "some-model".into(),
                system,
                turns,
                tools,
                tool_choice: tool_choice.filter(|_| has_tools),
                parallel_tools: parallel_tools.filter(|_| has_tools),
                output_tokens_max: Some(most),
                sampling,
                stop_sequences,
                thinking,
                format,
                stream,
                user,
                ..Request::default()
            }
        })
        .prop_map(move |request| consistent(dialect, request))
        .boxed()
}

// What a dialect cannot tell apart is made the same.
fn consistent(dialect: Dialect, mut request: Request<'static>) -> Request<'static> {
    if dialect == Dialect::Anthropic {
        // Whether several tools may be called is part of the choice.
        if request.parallel_tools.is_some() && request.tool_choice.is_none() {
            request.tool_choice = Some(ToolChoice::Auto);
        }
        if request.tool_choice == Some(ToolChoice::None) {
            request.parallel_tools = None;
        }
        // The schema has no name.
    }
    if dialect == Dialect::OpenAiResponses && request.thinking.mode == Some(ThinkingMode::Off) {
        // Not to think is the least of the efforts.
        request.thinking.effort = None;
    }
    request
}

/// An answer of nothing but what the dialect has natively.
pub(crate) fn answer(dialect: Dialect) -> Made<Answer<'static>> {
    let calls = vec((name(), object()), 0..3);
    let usage = (0_u64..1_000_000, 0_u64..1_000_000, 0_u64..1_000_000);
    (name(), thinking(dialect), option::of(words()), calls, usage)
        .prop_map(move |(id, mut blocks, said, calls, (input, output, cache_read))| {
            blocks.extend(said.map(Block::text));
            let stop = if calls.is_empty() { Stop::EndTurn } else { Stop::ToolUse };
            blocks.extend(calls.into_iter().enumerate().map(|(at, (name, input))| {
                let id = format!("call_{at}").into();
                Block::ToolUse(Box::new(ToolUse { id, name, input, signature: None, cache: None }))
            }));
            let counters = Counters { input, output, cache_read, ..Counters::default() };
            let usage = Usage { counters, thinking: None };
            Answer { id, model: "some-model".into(), blocks, stop: Some(stop), usage }
        })
        .boxed()
}
