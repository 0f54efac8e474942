//! Streams that are not quite as the API's reference has them, and what clients of this dialect are told.

use tollgate_dialect::{
    Dialect,
    hub::{Begin, Delta, Event, Stop, Usage},
};

const START: &str = r#"{"type":"message_start","message":{"id":"m","model":"x"}}"#;
const TEXT: &str = r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
const MORE: &str = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}"#;
const END: &str = r#"{"type":"content_block_stop","index":0}"#;
const STOP: &str = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":3}}"#;
const DONE: &str = r#"{"type":"message_stop"}"#;

fn events(wire: &[&str]) -> String {
    let stream: String = wire.iter().map(|data| format!("data: {data}\n\n")).collect();
    let (mut decoder, mut seen) = (Dialect::Anthropic.stream_decoder(), Vec::new());
    let mut sink = |event: Event<'_>| {
        seen.push(match event {
            Event::Start { .. } => "start".to_owned(),
            Event::Begin(Begin::ToolUse { name, .. }) => format!("call {}", &*name),
            Event::Begin(Begin::Other { kind, .. }) => format!("other {}", &*kind),
            Event::Begin(begin) => format!("{begin:?}").to_lowercase(),
            Event::Delta(Delta::Text(text) | Delta::Thinking(text) | Delta::Input(text)) => format!("+{}", &*text),
            Event::Delta(Delta::Other(json)) => format!("~{}", json.get().len()),
            Event::Delta(delta) => format!("{delta:?}"),
            Event::End => "end".to_owned(),
            Event::Stop { stop, .. } => format!("stop {stop:?}").to_lowercase(),
            Event::Done => "done".to_owned(),
            Event::Ping => "ping".to_owned(),
            Event::Failed { .. } => "failed".to_owned(),
        });
    };
    decoder.push(stream.as_bytes(), &mut sink);
    decoder.end(&mut sink);
    seen.join(", ")
}

#[test]
fn blocks_end_before_the_next_begins_whatever_a_vendor_sends() {
    let whole = "start, text, +a, end, stop endturn, done";
    let call = |input: &str| {
        let block = r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"f","input":I}}"#;
        block.replace('I', input)
    };
    let piece =
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"a\":1}"}}"#;
    let other = r#"{"type":"content_block_start","index":0,"content_block":{"type":"server_tool_use","id":"s","name":"f","input":{}}}"#;
    let bare = r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking"}}"#;
    for (wire, expect) in [
        (&[START, TEXT, MORE, END, STOP, DONE] as &[&str], whole),
        (&[START, TEXT, MORE, STOP, DONE], whole),
        (&[START, TEXT, MORE, END, END, STOP, STOP, DONE, MORE], whole),
        (&[START, TEXT, MORE, TEXT, MORE, END, STOP, DONE], "start, text, +a, end, text, +a, end, stop endturn, done"),
        (&[START, bare, END, STOP, DONE], "start, thinking, end, stop endturn, done"),
        (&[START, &call("{ }"), piece, END], "start, call f, +{\"a\":1}, end"),
        (&[START, &call("null"), piece, END], "start, call f, +{\"a\":1}, end"),
        (&[START, &call("{\"b\":2}"), END], "start, call f, +{\"b\":2}, end"),
        (&[START, other, piece, END, TEXT, MORE, END], "start, other server_tool_use, ~54, end, text, +a, end"),
        // What cannot be an answer.
        (&[TEXT], "failed"),
        (&[START, MORE], "start, failed"),
        (&[START, START], "start, failed"),
        (&[START, TEXT, MORE, END, DONE], "start, text, +a, end, failed"),
        (&[START, STOP, TEXT], "start, stop endturn, failed"),
        // More of a block whose start was lost.
        (&[START, bare, piece], "start, thinking, failed"),
        (&[START, TEXT, piece], "start, text, failed"),
        (&[START, &call("{}"), MORE], "start, call f, failed"),
        (&[START, TEXT, &MORE.replace("text_delta", "new_delta"), END], "start, text, ~31, end"),
    ] {
        assert_eq!(events(wire), expect, "{wire:?}");
    }
}

fn written(events: &[Event<'_>]) -> String {
    let (mut encoder, mut out) = (Dialect::Anthropic.stream_encoder(), Vec::new());
    events.iter().for_each(|event| encoder.push(event, &mut out));
    String::from_utf8(out).unwrap()
}

#[test]
fn a_client_is_told_to_run_tools_when_there_are_some_and_only_then() {
    let call = [Event::Begin(Begin::ToolUse { id: "t".into(), name: "f".into(), signature: None }), Event::End];
    let stop = |stop| Event::Stop { stop, usage: Usage::default() };
    for (blocks, said, expect) in [
        (&call as &[Event<'_>], Stop::EndTurn, "tool_use"),
        (&call, Stop::ToolUse, "tool_use"),
        (&call, Stop::MaxTokens, "max_tokens"),
        (&[], Stop::ToolUse, "end_turn"),
        (&[], Stop::EndTurn, "end_turn"),
    ] {
        let mut events = blocks.to_vec();
        events.push(stop(said));
        let out = written(&events);
        assert!(out.contains(&format!("\"stop_reason\":\"{expect}\"")), "{out}");
    }
}
