//! Requests, answers, streams and errors of one dialect.

use serde::de::IgnoredAny;
use tollgate_dialect::{
    CacheForm, Called, Dialect, Quirks, ThinkingForm,
    bedrock::frames,
    hub::{Answer, Block, Forms, Json, Losses, Request, Sampling, Stop, Tool, ToolUse},
};

use crate::{input::Input, stream};

/// Reads an input as what its first byte says.
///
/// # Panics
/// When the dialect does not keep its promises.
pub fn check(dialect: Dialect, bytes: &[u8]) {
    let Some(input) = Input::read(bytes) else { return };
    match input.kind % 5 {
        0 => request(dialect, &input),
        1 => answer(dialect, &input),
        2 if dialect == Dialect::BedrockConverse => stream::check(dialect, &input, &framed(input.body)),
        2 | 3 => stream::check(dialect, &input, input.body),
        _ => error(dialect, &input),
    }
}

/// Lines of a type and a payload as frames with the right checksums, which no chance finds. `!` before the type makes an exception.
fn framed(lines: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let end = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
        let (kind, payload) = line.split_at(end);
        let kind = String::from_utf8_lossy(kind);
        let write = |out: &mut Vec<u8>| out.extend_from_slice(payload);
        match kind.strip_prefix('!') {
            Some(kind) => frames::exception(kind, &mut out, write),
            None => frames::event(&kind, &mut out, write),
        }
    }
    out
}

pub(crate) fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
}

/// Ids and names are spelled, texts are escaped: a small multiple bounds what is written.
fn check_written(source: Dialect, target: Dialect, body: &[u8], written: &[u8]) {
    assert!(is_json(written), "{source:?} to {target:?} is no JSON: {}", String::from_utf8_lossy(written));
    assert!(written.len() <= 16 * body.len() + 4_096, "{source:?} to {target:?}: {} of {}", written.len(), body.len());
}

fn request(dialect: Dialect, input: &Input<'_>) {
    let called = Called { model: input.has(0).then(|| "m".into()), stream: input.has(1).then(|| input.has(2)) };
    let request = match dialect.decode_request(&called, input.body) {
        Ok(request) => request,
        Err(error) => return assert!(error.to_string().ends_with('.'), "{error}"),
    };
    let quirks = if input.has(3) { quirks(input.seed) } else { Quirks::default() };
    for target in Dialect::ALL {
        let mut losses = Losses::new(target);
        let written = target.encode_request(&request, &quirks, &mut losses);
        check_written(dialect, target, input.body, &written);
        let called = Called { model: Some(request.model.0.clone()), stream: Some(request.stream) };
        let back = target.decode_request(&called, &written);
        let back = back.unwrap_or_else(|error| panic!("{dialect:?} to {target:?}: {error} {}", shown(&written)));
        if target == dialect && quirks == Quirks::default() && is_exact(&request.sampling) {
            let again = target.encode_request(&back, &quirks, &mut losses);
            assert_eq!(shown(&again), shown(&written), "{dialect:?} is not steady");
        }
    }
    answer_to(dialect, &request);
}

/// Whether these numbers come back. Of one with 17 digits, serde_json may read the last one wrong, which is nothing to a temperature.
fn is_exact(sampling: &Sampling) -> bool {
    let Sampling { temperature, top_p, presence_penalty, frequency_penalty, .. } = sampling;
    let is_same = |number: &f64| {
        serde_json::to_string(number).is_ok_and(|text| serde_json::from_str(&text).ok() == Some(*number))
    };
    [temperature, top_p, presence_penalty, frequency_penalty].into_iter().flatten().all(is_same)
}

// What the tools of the request become in an answer that calls each of them.
fn answer_to(dialect: Dialect, request: &Request<'_>) {
    let call = |tool: &Tool<'_>| match tool {
        Tool::Function { name, .. } => Some(Block::ToolUse(Box::new(ToolUse {
            id: "call_1".into(),
            name: name.to_string().into(),
            input: Json::of(&serde_json::json!({"input": "x", "b": [1]})),
            signature: None,
            cache: None,
        }))),
        Tool::Hosted { .. } => None,
    };
    let blocks: Vec<Block<'_>> = request.tools.iter().filter_map(call).collect();
    let answer = Answer { dialect, model: "m".into(), blocks, stop: Some(Stop::ToolUse), ..Answer::default() };
    let written = dialect.encode_answer_in(&request.forms, &answer);
    assert!(is_json(&written), "{}", shown(&written));
    dialect.decode_answer(&written).unwrap_or_else(|error| panic!("{dialect:?}: {error} {}", shown(&written)));
}

fn answer(dialect: Dialect, input: &Input<'_>) {
    let answer = match dialect.decode_answer(input.body) {
        Ok(answer) => answer,
        Err(error) => return assert!(error.to_string().ends_with('.'), "{error}"),
    };
    for target in Dialect::ALL {
        let written = target.encode_answer_in(&Forms::default(), &answer);
        check_written(dialect, target, input.body, &written);
        let back = target.decode_answer(&written);
        let back = back.unwrap_or_else(|error| panic!("{dialect:?} to {target:?}: {error} {}", shown(&written)));
        if target == dialect {
            // Ids of items that the hub does not model may be others.
            let again = target.encode_answer(&back);
            let again = target.decode_answer(&again).map(|again| format!("{again:?}"));
            assert_eq!(again.ok(), Some(format!("{back:?}")), "{dialect:?} is not steady");
        }
    }
}

fn error(dialect: Dialect, input: &Input<'_>) {
    let failure = dialect.decode_error(input.seed, input.body);
    assert!(failure.message.len() <= input.body.len() + 512);
    let sentence = failure.sentence();
    assert!(!sentence.is_empty());
    for target in Dialect::ALL {
        let written = target.encode_error(failure.class, &sentence, "req_1");
        assert!(is_json(&written), "{target:?}: {}", shown(&written));
        let back = target.decode_error(input.seed, &written);
        assert!(!back.message.is_empty(), "{target:?}: {}", shown(&written));
    }
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const fn quirks(seed: u16) -> Quirks {
    const fn has(seed: u16, bit: u16) -> bool {
        seed >> bit & 1 == 1
    }
    Quirks {
        has_max_tokens: has(seed, 0),
        has_system_role: has(seed, 1),
        takes_reasoning_content: has(seed, 2),
        lacks_parallel_tools: has(seed, 3),
        lacks_stream_options: has(seed, 4),
        lacks_schema_format: has(seed, 5),
        lacks_effort: has(seed, 6),
        cannot_stop_thinking: has(seed, 7),
        joins_texts: has(seed, 8),
        takes_web_search: has(seed, 9),
        lacks_sampling: has(seed, 10),
        lacks_thinking_budget: has(seed, 11),
        lacks_adaptive_thinking: has(seed, 12),
        lacks_system_turns: has(seed, 13),
        takes_top_k: has(seed, 14),
        output_tokens_max: if has(seed, 15) { Some(4_096) } else { None },
        thinking_form: match seed % 4 {
            0 => ThinkingForm::Effort,
            1 => ThinkingForm::Reasoning,
            2 => ThinkingForm::Thinking,
            _ => ThinkingForm::Enable,
        },
        cache_form: match seed % 3 {
            0 => CacheForm::None,
            1 => CacheForm::Control,
            _ => CacheForm::Breakpoint,
        },
    }
}
