//! Work that grows faster than what is read: nesting without end, and shapes for each of whose pieces a careless reader or writer would look
//! at all the others. Each takes well below a second here, and hours where the work is quadratic.

#![expect(clippy::unwrap_used, reason = "a test")]
#![expect(clippy::disallowed_methods, reason = "what takes too long is given up, which takes a thread and a clock")]

use std::{sync::mpsc, thread, time::Duration};

use tollgate_dialect::{
    Called, Dialect, Quirks,
    hub::{Event, Forms, Losses},
};

const COUNT: usize = 100_000;
const DEPTH: usize = 200_000;
/// Far more than linear work takes on a busy machine.
const SECONDS_MAX: u64 = 60;

// Says whether the work was done in time.
fn is_timely(work: impl FnOnce() + Send + 'static) -> bool {
    let (done, doing) = mpsc::channel();
    thread::spawn(move || {
        work();
        done.send(()).unwrap();
    });
    doing.recv_timeout(Duration::from_secs(SECONDS_MAX)).is_ok()
}

// Reads a request, and writes it in every dialect.
fn translate(source: Dialect, body: &str) -> Result<usize, String> {
    let called = Called { model: Some("m".into()), stream: Some(false) };
    let request = source.decode_request(&called, body.as_bytes()).map_err(|error| error.to_string())?;
    let write = |target: Dialect| target.encode_request(&request, &Quirks::default(), &mut Losses::new(target)).len();
    Ok(Dialect::ALL.into_iter().map(write).max().unwrap())
}

fn list(item: impl Fn(usize) -> String) -> String {
    (0..COUNT).map(item).collect::<Vec<_>>().join(",")
}

fn messages(messages: &str) -> String {
    format!(r#"{{"model":"m","messages":[{{"role":"user","content":"x"}},{messages}]}}"#)
}

fn anthropic_calls(id: impl Fn(usize) -> String, result: impl Fn(usize) -> String) -> String {
    let calls = list(|at| format!(r#"{{"type":"tool_use","id":"{}","name":"f","input":{{}}}}"#, id(at)));
    let results = list(|at| format!(r#"{{"type":"tool_result","tool_use_id":"{}","content":"r"}}"#, result(at)));
    messages(&format!(r#"{{"role":"assistant","content":[{calls}]}},{{"role":"user","content":[{results}]}}"#))
}

#[test]
fn what_is_repeated_without_end_is_read_and_written_in_linear_work() {
    let backwards = |at: usize| COUNT - 1 - at;
    let chat_call =
        |at: usize| format!(r#"{{"id":"c{at}","type":"function","function":{{"name":"f","arguments":"{{}}"}}}}"#);
    let chat_seal = |at: usize| format!(r#"{{"type":"reasoning.encrypted","data":"x","id":"c{at}"}}"#);
    let chat_result = |at: usize| format!(r#"{{"role":"tool","tool_call_id":"c{at}","content":"r"}}"#);
    let tool = |at: usize| format!(r#"{{"type":"function","name":"f{at}"}}"#);
    let responses = |input: &str, tools: &str| format!(r#"{{"model":"m","input":[{input}],"tools":[{tools}]}}"#);
    for (about, source, body) in [
        ("calls of one id", Dialect::Anthropic, anthropic_calls(|_| "c".into(), |_| "c".into())),
        (
            "results backwards",
            Dialect::Anthropic,
            anthropic_calls(|at| format!("c{at}"), |at| format!("c{}", backwards(at))),
        ),
        (
            "documents of one title",
            Dialect::Anthropic,
            messages(&format!(
                r#"{{"role":"user","content":[{}]}}"#,
                list(|_| {
                    r#"{"type":"document","title":"t","source":{"type":"text","media_type":"text/plain","data":"x"}}"#
                        .into()
                })
            )),
        ),
        ("names that nobody takes", Dialect::Anthropic, {
            let tools = list(|at| format!(r#"{{"name":"f.{at}","input_schema":{{}}}}"#));
            format!(r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}],"tools":[{tools}]}}"#)
        }),
        ("unknown fields", Dialect::Anthropic, {
            let fields = list(|at| format!(r#""f{at}":1"#));
            format!(r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}],{fields}}}"#)
        }),
        (
            "seals and results backwards",
            Dialect::OpenAiChat,
            messages(&format!(
                r#"{{"role":"assistant","tool_calls":[{}],"reasoning_details":[{}]}},{}"#,
                list(chat_call),
                list(|at| chat_seal(backwards(at))),
                list(|at| chat_result(backwards(at)))
            )),
        ),
        ("tools of one list", Dialect::OpenAiResponses, responses(r#"{"role":"user","content":"x"}"#, &list(tool))),
        ("tools that are allowed", Dialect::OpenAiResponses, {
            let body = responses(r#"{"role":"user","content":"x"}"#, &list(tool));
            let body = body.strip_suffix('}').unwrap();
            format!(
                r#"{body},"tool_choice":{{"type":"allowed_tools","mode":"auto","tools":[{}]}}}}"#,
                list(|at| tool(backwards(at)))
            )
        }),
        ("tools of a group with much to say", Dialect::OpenAiResponses, {
            let about = "x".repeat(COUNT * 20);
            let group =
                format!(r#"{{"type":"namespace","name":"n","description":"{about}","tools":[{}]}}"#, list(tool));
            responses(r#"{"role":"user","content":"x"}"#, &group)
        }),
        ("a summary in many parts", Dialect::OpenAiResponses, {
            let parts = list(|_| r#"{"type":"summary_text","text":"twelve bytes"}"#.into());
            responses(&format!(r#"{{"type":"reasoning","id":"r","summary":[{parts}],"encrypted_content":"x"}}"#), "")
        }),
        ("calls without ids", Dialect::Gemini, {
            let calls = list(|_| r#"{"functionCall":{"name":"f","args":{}}}"#.into());
            let results = list(|_| r#"{"functionResponse":{"name":"f","response":{"output":"r"}}}"#.into());
            format!(
                r#"{{"contents":[{{"role":"user","parts":[{{"text":"x"}}]}},{{"role":"model","parts":[{calls}]}},{{"role":"user","parts":[{results}]}}]}}"#
            )
        }),
    ] {
        let is_timely = is_timely(move || assert!(translate(source, &body).unwrap() < 16 * body.len()));
        assert!(is_timely, "{about}: not done after {SECONDS_MAX} s");
    }
}

#[test]
fn what_is_nested_without_end_is_refused_or_left_unread() {
    let nested = |open: &str, end: &str, close: &str| format!("{}{end}{}", open.repeat(DEPTH), close.repeat(DEPTH));
    let deep = nested("[", "", "]");
    let said = |content: &str| messages(&format!(r#"{{"role":"user","content":{content}}}"#));
    for (is_read, source, body) in [
        (
            false,
            Dialect::Anthropic,
            said(&nested(r#"[{"type":"tool_result","tool_use_id":"x","content":"#, "[]", "}]")),
        ),
        (
            false,
            Dialect::Anthropic,
            said(&nested(r#"[{"type":"document","source":{"type":"content","content":"#, "[]", "}}]")),
        ),
        (true, Dialect::Anthropic, said(&format!(r#"[{{"type":"later","content":{deep}}}]"#))),
        (
            true,
            Dialect::Anthropic,
            format!(
                r#"{{"model":"m","messages":[],"tools":[{{"name":"f","input_schema":{}}}],"later":{deep}}}"#,
                nested(r#"{"items":"#, "{}", "}")
            ),
        ),
        (
            true,
            Dialect::BedrockConverse,
            format!(
                r#"{{"messages":[{{"role":"user","content":{}}}]}}"#,
                nested(r#"[{"toolResult":{"toolUseId":"x","content":"#, "[]", "}}]")
            ),
        ),
        (
            true,
            Dialect::OpenAiResponses,
            format!(
                r#"{{"model":"m","input":"x","tools":{}}}"#,
                nested(r#"[{"type":"namespace","name":"n","tools":"#, "[]", "}]")
            ),
        ),
        (
            true,
            Dialect::Gemini,
            format!(
                r#"{{"contents":[],"tools":[{{"functionDeclarations":[{{"name":"f","parameters":{}}}]}}]}}"#,
                nested(r#"{"items":"#, "{}", "}")
            ),
        ),
    ] {
        let is_timely = is_timely(move || assert_eq!(translate(source, &body).is_ok(), is_read, "{:.60}", body));
        assert!(is_timely);
    }
}

#[test]
fn the_arguments_of_a_streamed_call_cost_the_same_for_each_piece() {
    let event = |data: &str| format!("data: {data}\n\n");
    let mut wire = event(r#"{"type":"message_start","message":{"id":"m","model":"m"}}"#);
    wire += &event(
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"c","name":"f","input":{}}}"#,
    );
    let piece = |text: &str| {
        event(&format!(
            r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"input_json_delta","partial_json":"{text}"}}}}"#
        ))
    };
    wire += &piece(r#"{\"content\":\""#);
    wire += &piece("twelve bytes").repeat(COUNT);
    wire += &piece(r#"\"}"#);
    wire += &event(r#"{"type":"content_block_stop","index":0}"#);
    wire += &event(r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":1}}"#);
    wire += &event(r#"{"type":"message_stop"}"#);
    for target in Dialect::ALL {
        let wire = wire.clone();
        assert!(is_timely(move || {
            let theirs = streamed(Dialect::Anthropic, target, wire.as_bytes());
            let back = streamed(target, Dialect::Anthropic, &theirs);
            assert!(theirs.len() < 8 * wire.len() && String::from_utf8_lossy(&back).contains("message_stop"));
        }));
    }
}

// As pieces of a network's size come.
fn streamed(source: Dialect, target: Dialect, wire: &[u8]) -> Vec<u8> {
    let (mut decoder, mut out) = (source.stream_decoder(), Vec::new());
    let mut encoder = target.stream_encoder_in(Forms::default());
    let mut sink = |event: Event<'_>| encoder.push(&event, &mut out);
    wire.chunks(1_400).for_each(|piece| decoder.push(piece, &mut sink));
    decoder.end(&mut sink);
    out
}
