//! What Claude Code sends late in a session, and what it is answered: what the speed of translation is measured with.

use serde_json::{Value, json};

/// The size of the request.
const BODY_BYTES: usize = 400 * 1024;
const TURNS: usize = 150;
const TOOLS: usize = 24;
/// The lines of a file, as Claude Code's tool shows them: with tabs, quotes and ends of lines, which JSON escapes.
const RESULT_LINES: usize = 41;
const DELTAS: usize = 2_000;

/// A request of exactly that size.
pub(crate) fn body() -> Vec<u8> {
    let write = |padding: usize| serde_json::to_vec(&conversation(padding)).unwrap_or_default();
    write(BODY_BYTES.saturating_sub(write(0).len()))
}

fn conversation(padding: usize) -> Value {
    let text = |text: &str| json!({"type": "text", "text": text});
    let schema = json!({"type": "object", "properties": {"file_path": {"type": "string", "description": "Where it is."},
        "limit": {"type": "integer", "minimum": 1}, "lines": {"type": "array", "items": {"type": "string"}}}, "required": ["file_path"]});
    let about = "Reads a file.\nThe \"path\" is absolute; lines come with their numbers.\n".repeat(20);
    let tool = |at| json!({"name": format!("tool_{at}"), "description": about, "input_schema": schema});
    let line = "    12\tlet value = \"a text in the code\";\t// and a remark about it, as long as lines are\n";
    let turn = |at: usize| {
        let id = format!("toolu_01AbCdEfGhIjKlMnOpQr{:04}", at / 2);
        if at.is_multiple_of(2) {
            let result = json!({"type": "tool_result", "content": line.repeat(RESULT_LINES), "tool_use_id": format!("toolu_01AbCdEfGhIjKlMnOpQr{:04}", (at / 2).saturating_sub(1))});
            let said = if at == 0 { text("Repair the failing test.") } else { result };
            return json!({"role": "user", "content": [said, text("<system-reminder>\nNothing changed.\n</system-reminder>")]});
        }
        json!({"role": "assistant", "content": [
            {"type": "thinking", "thinking": "I read the next file.\nIt should say why.", "signature": "EqoBCkYICRgCKkDx2kQvB0pY".repeat(12)},
            text("I read the next file."),
            {"type": "tool_use", "id": id, "name": "tool_3", "input": {"file_path": format!("/home/dev/app/src/part_{at}.rs"), "limit": 200}},
        ]})
    };
    let mut turns: Vec<Value> = (0..TURNS).map(turn).collect();
    turns.push(turn(TURNS));
    json!({
        "model": "claude-opus-5-5", "max_tokens": 64_000, "stream": true, "thinking": {"type": "adaptive"}, "output_config": {"effort": "high"},
        "system": [text("You are a coding agent."), text(&"Read before you write.\n".repeat(600)), text(&" ".repeat(padding))],
        "tools": (0..TOOLS).map(tool).collect::<Vec<_>>(), "messages": turns,
    })
}

/// Text and the arguments of a tool in small pieces: the events, and how many they are.
pub(crate) fn answer() -> (Vec<u8>, u64) {
    let mut wire = String::new();
    let mut count = 0;
    let mut event = |data: Value| {
        let kind = data.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        wire.push_str(&format!("event: {kind}\ndata: {data}\n\n"));
        count += 1;
    };
    let usage = json!({"input_tokens": 4, "cache_read_input_tokens": 90_000, "output_tokens": 1});
    event(
        json!({"type": "message_start", "message": {"id": "msg_01", "type": "message", "role": "assistant", "model": "claude-opus-5-5", "content": [], "usage": usage}}),
    );
    let blocks = [
        (json!({"type": "text", "text": ""}), "text_delta", "text", " a few \"words\"\n"),
        (
            json!({"type": "tool_use", "id": "toolu_01", "name": "Write", "input": {}}),
            "input_json_delta",
            "partial_json",
            "1,2, 3,",
        ),
    ];
    for (index, (block, kind, field, piece)) in blocks.into_iter().enumerate() {
        event(json!({"type": "content_block_start", "index": index, "content_block": block}));
        for at in 0..DELTAS / 2 {
            let piece = match (field, at) {
                ("partial_json", 0) => "{\"content\": [",
                ("partial_json", at) if at + 1 == DELTAS / 2 => "4]}",
                _ => piece,
            };
            event(json!({"type": "content_block_delta", "index": index, "delta": {"type": kind, field: piece}}));
        }
        event(json!({"type": "content_block_stop", "index": index}));
    }
    event(
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null}, "usage": {"output_tokens": 2_400}}),
    );
    event(json!({"type": "message_stop"}));
    (wire.into_bytes(), count)
}
