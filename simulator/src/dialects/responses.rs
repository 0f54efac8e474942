//! OpenAI Responses.

use super::{Frames, body, named_event};
use crate::{
    behaviour::ToolUse,
    reply::{CREATED, Reply, Stop, Tokens, input_json},
};
use bytes::Bytes;
use serde_json::{Value, json};

/// Notes which of the tools that are to be called take a text and no JSON: so the request says, among its tools or among those that
/// an item of the input brings along.
pub(crate) fn find_custom(request: &[u8], tools: &mut [ToolUse]) {
    if tools.is_empty() {
        return;
    }
    let request: Value = serde_json::from_slice(request).unwrap_or_default();
    let items = request.get("input").and_then(Value::as_array).into_iter().flatten();
    let mut open: Vec<&Value> = items.chain([&request]).filter_map(|holder| holder.get("tools")).collect();
    while let Some(declared) = open.pop() {
        for tool in declared.as_array().into_iter().flatten() {
            open.extend(tool.get("tools"));
            let is_custom = tool.get("type").and_then(Value::as_str) == Some("custom");
            let name = tool.get("name").and_then(Value::as_str).filter(|_| is_custom);
            tools.iter_mut().filter(|wanted| Some(&*wanted.name) == name).for_each(|wanted| wanted.is_custom = true);
        }
    }
}

/// The answer as one response.
pub(crate) fn whole(reply: &Reply) -> Bytes {
    body(&response(reply, true))
}

/// The answer as a stream of events with consecutive sequence numbers.
pub(crate) fn stream(reply: &Reply) -> Frames {
    let opening = [
        ("response.created", json!({"response": response(reply, false)})),
        ("response.in_progress", json!({"response": response(reply, false)})),
    ];
    let mut before: Events = opening.into();
    let mut index = 0;
    if let Some(thinking) = &reply.thinking {
        before.extend(reasoning_events(reply, index, thinking));
        index += 1;
    }
    let text_index = index;
    let mut behind: Events = Vec::new();
    if reply.text.is_some() {
        before.extend(text_opening(reply, text_index));
        behind.extend(text_closing(reply, text_index));
        index += 1;
    }
    for number in 0..reply.tools.len() {
        behind.extend(call_events(reply, index + number, number));
    }
    let last = if reply.stop == Stop::Length { "response.incomplete" } else { "response.completed" };
    behind.push((last, json!({"response": response(reply, true)})));
    let id = message_id(reply);
    let text = reply.pieces().map(move |piece| {
        let delta =
            json!({"item_id": id, "output_index": text_index, "content_index": 0, "delta": piece, "logprobs": []});
        ("response.output_text.delta", delta)
    });
    Box::new(
        before
            .into_iter()
            .chain(text)
            .chain(behind)
            .enumerate()
            .map(|(number, (name, data))| numbered(number, name, data)),
    )
}

type Events = Vec<(&'static str, Value)>;

fn numbered(number: usize, name: &'static str, mut data: Value) -> Bytes {
    if let Some(data) = data.as_object_mut() {
        data.insert("type".to_owned(), Value::from(name));
        data.insert("sequence_number".to_owned(), Value::from(number));
    }
    named_event(name, &data.to_string())
}

fn response(reply: &Reply, is_done: bool) -> Value {
    let is_cut = reply.stop == Stop::Length;
    let status = match (is_done, is_cut) {
        (false, _) => "in_progress",
        (true, false) => "completed",
        (true, true) => "incomplete",
    };
    json!({"id": format!("resp_{}", reply.mark), "object": "response", "created_at": CREATED, "status": status,
        "error": null, "incomplete_details": (is_done && is_cut).then(|| json!({"reason": "max_output_tokens"})),
        "model": reply.model, "output": if is_done { output(reply) } else { Vec::new() },
        "parallel_tool_calls": true, "tool_choice": "auto", "tools": [], "metadata": {},
        "usage": is_done.then(|| usage(&reply.tokens))})
}

fn output(reply: &Reply) -> Vec<Value> {
    let reasoning = reply.thinking.as_ref().map(|thinking| reasoning_item(reply, thinking));
    let message = reply.text.as_ref().map(|_| message_item(reply, "completed"));
    let calls = (0..reply.tools.len()).map(|index| call_item(reply, index, true));
    reasoning.into_iter().chain(message).chain(calls).collect()
}

fn message_id(reply: &Reply) -> String {
    format!("msg_{}", reply.mark)
}

fn text_part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

fn message_item(reply: &Reply, status: &str) -> Value {
    let content = if status == "completed" { vec![text_part(reply.text())] } else { Vec::new() };
    json!({"id": message_id(reply), "type": "message", "status": status, "role": "assistant", "content": content})
}

fn reasoning_item(reply: &Reply, thinking: &str) -> Value {
    let summary = json!([{"type": "summary_text", "text": thinking}]);
    let seal = reply.include_seals.then(|| reply.seal());
    json!({"id": format!("rs_{}", reply.mark), "type": "reasoning", "summary": summary, "encrypted_content": seal})
}

/// What a call says: of a function its arguments, of a custom tool the argument `input` as it is.
fn said(tool: &ToolUse) -> String {
    if !tool.is_custom {
        return input_json(tool);
    }
    tool.input.get("input").and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn call_item(reply: &Reply, index: usize, is_done: bool) -> Value {
    let Some(tool) = reply.tools.get(index) else { return Value::Null };
    let (status, said) = if is_done { ("completed", said(tool)) } else { ("in_progress", String::new()) };
    let call_id = reply.tool_id("call_", index);
    if tool.is_custom {
        return json!({"id": reply.tool_id("ctc_", index), "type": "custom_tool_call", "status": status,
            "name": tool.name, "call_id": call_id, "input": said});
    }
    json!({"id": reply.tool_id("fc_", index), "type": "function_call", "status": status, "name": tool.name,
        "call_id": call_id, "arguments": said})
}

fn reasoning_events(reply: &Reply, index: usize, thinking: &str) -> Events {
    let id = format!("rs_{}", reply.mark);
    let open = json!({"id": id, "type": "reasoning", "summary": []});
    let place = |rest: Value| {
        let mut place = json!({"item_id": id, "output_index": index, "summary_index": 0});
        if let (Some(place), Value::Object(rest)) = (place.as_object_mut(), rest) {
            place.extend(rest);
        }
        place
    };
    let part = |text: &str| place(json!({"part": {"type": "summary_text", "text": text}}));
    vec![
        ("response.output_item.added", json!({"output_index": index, "item": open})),
        ("response.reasoning_summary_part.added", part("")),
        ("response.reasoning_summary_text.delta", place(json!({"delta": thinking}))),
        ("response.reasoning_summary_text.done", place(json!({"text": thinking}))),
        ("response.reasoning_summary_part.done", part(thinking)),
        ("response.output_item.done", json!({"output_index": index, "item": reasoning_item(reply, thinking)})),
    ]
}

fn text_opening(reply: &Reply, index: usize) -> Events {
    vec![
        ("response.output_item.added", json!({"output_index": index, "item": message_item(reply, "in_progress")})),
        (
            "response.content_part.added",
            json!({"item_id": message_id(reply), "output_index": index, "content_index": 0, "part": text_part("")}),
        ),
    ]
}

fn text_closing(reply: &Reply, index: usize) -> Events {
    let id = message_id(reply);
    let text = reply.text();
    vec![
        (
            "response.output_text.done",
            json!({"item_id": id, "output_index": index, "content_index": 0, "text": text, "logprobs": []}),
        ),
        (
            "response.content_part.done",
            json!({"item_id": id, "output_index": index, "content_index": 0, "part": text_part(text)}),
        ),
        ("response.output_item.done", json!({"output_index": index, "item": message_item(reply, "completed")})),
    ]
}

fn call_events(reply: &Reply, index: usize, number: usize) -> Events {
    let item = call_item(reply, number, true);
    let id = item.get("id").cloned();
    let opening =
        ("response.output_item.added", json!({"output_index": index, "item": call_item(reply, number, false)}));
    let [delta, done] = match item.get("input") {
        Some(input) => [
            ("response.custom_tool_call_input.delta", json!({"item_id": id, "output_index": index, "delta": input})),
            ("response.custom_tool_call_input.done", json!({"item_id": id, "output_index": index, "input": input})),
        ],
        None => {
            let arguments = item.get("arguments");
            [
                (
                    "response.function_call_arguments.delta",
                    json!({"item_id": id, "output_index": index, "delta": arguments}),
                ),
                (
                    "response.function_call_arguments.done",
                    json!({"item_id": id, "output_index": index, "arguments": arguments}),
                ),
            ]
        }
    };
    let closing = ("response.output_item.done", json!({"output_index": index, "item": item}));
    vec![opening, delta, done, closing]
}

fn usage(tokens: &Tokens) -> Value {
    let input = tokens.input_with_cache();
    let details = json!({"cached_tokens": tokens.cache_read, "cache_write_tokens": tokens.cache_write_5m + tokens.cache_write_1h});
    json!({"input_tokens": input, "input_tokens_details": details, "output_tokens": tokens.output, "output_tokens_details": {"reasoning_tokens": tokens.thinking},
        "total_tokens": input + tokens.output})
}
