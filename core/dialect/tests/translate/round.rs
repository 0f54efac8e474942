//! Round trips: what a dialect has natively comes back as it was.

use proptest::prelude::*;
use tollgate_dialect::{
    Called, Dialect, Quirks,
    hub::{Answer, Begin, Block, Delta, Event, Losses, Request, Role, Text, Turn, Usage},
};

use super::{
    arbitrary::{answer, request},
    shapes::shapes,
};

// Turns of one role that follow each other are one: not every dialect tells them apart.
fn joined(request: &Request<'_>) -> Vec<Turn<'static>> {
    let mut turns: Vec<(Role, String)> = Vec::new();
    for turn in &request.turns {
        let said = turn.blocks.iter().map(|block| format!("{block:?}\n")).collect::<String>();
        match turns.last_mut() {
            Some((role, before)) if *role == turn.role => before.push_str(&said),
            _ => turns.push((turn.role, said)),
        }
    }
    let turn = |(role, said): (Role, String)| Turn { role, blocks: vec![Block::text(said)] };
    turns.into_iter().map(turn).collect()
}

fn same(one: &Request<'_>, other: &Request<'_>) -> Result<(), TestCaseError> {
    prop_assert_eq!(joined(one), joined(other));
    prop_assert_eq!(
        format!("{:?}", Request { turns: Vec::new(), ..one.clone() }),
        format!("{:?}", Request { turns: Vec::new(), ..other.clone() })
    );
    Ok(())
}

fn called<'a>(request: &Request<'a>) -> Called<'a> {
    Called { model: Some(request.model.0.clone()), stream: Some(request.stream) }
}

fn any_dialect() -> impl Strategy<Value = Dialect> {
    proptest::sample::select(Dialect::ALL.as_slice())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_request_of_what_a_dialect_has_natively_comes_back_as_it_was(
        request in any_dialect().prop_flat_map(request),
    ) {
        let dialect = request.dialect;
        let mut losses = Losses::new(dialect);
        let body = dialect.encode_request(&request, &Quirks::default(), &mut losses);
        prop_assert!(losses.is_empty(), "{losses}");
        let back = dialect.decode_request(&called(&request), &body).map_err(|error| TestCaseError::fail(error.to_string()))?;
        same(&back, &request)?;
    }

    #[test]
    fn a_request_of_any_dialect_reaches_a_steady_form_in_every_other(
        request in any_dialect().prop_flat_map(request),
        target in any_dialect(),
    ) {
        let write = |request: &Request<'_>| {
            let mut losses = Losses::new(target);
            (target.encode_request(request, &Quirks::default(), &mut losses), losses)
        };
        let (first, _) = write(&request);
        let called = called(&request);
        let read = target.decode_request(&called, &first).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let (second, losses) = write(&read);
        prop_assert!(losses.is_empty(), "{losses}");
        prop_assert_eq!(String::from_utf8(second), String::from_utf8(first));
    }

    #[test]
    fn an_answer_of_what_a_dialect_has_natively_comes_back_as_it_was(
        (dialect, answer) in any_dialect().prop_flat_map(|dialect| (Just(dialect), answer(dialect))),
    ) {
        let body = dialect.encode_answer(&answer);
        let back = dialect.decode_answer(&body).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(format!("{back:?}"), format!("{answer:?}"));
    }

    #[test]
    fn no_bytes_make_a_decoder_fail_otherwise_than_with_a_sentence(
        dialect in any_dialect(),
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        if let Err(error) = dialect.decode_request(&Called::default(), &bytes) {
            prop_assert!(error.to_string().ends_with('.'));
        }
        let _ = dialect.decode_answer(&bytes);
        let _ = dialect.decode_error(500, &bytes);
        let mut decoder = dialect.stream_decoder();
        decoder.push(&bytes, &mut |_| {});
        decoder.end(&mut |_| {});
    }
}

// The events of an answer, its texts cut into two deltas.
fn events<'a>(answer: &'a Answer<'_>) -> Vec<Event<'a>> {
    let mut events = vec![Event::Start { id: answer.id.lend(), model: answer.model.lend(), usage: Usage::default() }];
    for block in &answer.blocks {
        let (begin, deltas) = match block {
            Block::Text { text, .. } => (Begin::Text, halves(text, Delta::Text)),
            Block::Thinking { text, signature } => {
                let mut deltas = halves(text, Delta::Thinking);
                deltas.extend(signature.clone().map(Delta::Signature));
                (Begin::Thinking, deltas)
            }
            Block::ToolUse(tool) => {
                let (id, name) = (tool.id.lend(), tool.name.lend());
                (Begin::ToolUse { id, name, signature: tool.signature.clone() }, halves(tool.input.get(), Delta::Input))
            }
            other => panic!("{other:?}"),
        };
        events.push(Event::Begin(begin));
        events.extend(deltas.into_iter().map(Event::Delta));
        events.push(Event::End);
    }
    events.push(Event::Stop { stop: answer.stop.clone().unwrap(), usage: answer.usage });
    events.push(Event::Done);
    events
}

fn halves<'a>(text: &'a str, delta: fn(Text<'a>) -> Delta<'a>) -> Vec<Delta<'a>> {
    let (first, second) = text.split_at(text.floor_char_boundary(text.len() / 2));
    [first, second].into_iter().filter(|half| !half.is_empty()).map(|half| delta(half.into())).collect()
}

// What events come to, in a form in which the cuts of deltas and the usage ahead of the end do not show.
#[derive(Default)]
struct Gathered {
    said: Vec<String>,
    open: String,
    input: String,
}

impl Gathered {
    fn take(&mut self, event: &Event<'_>) {
        match event {
            Event::Start { id, model, .. } => self.said.push(format!("{id:?} {model:?}")),
            Event::Begin(begin) => self.open = format!("{begin:?} "),
            Event::Delta(Delta::Text(text) | Delta::Thinking(text)) => self.open.push_str(text),
            Event::Delta(Delta::Input(text)) => self.input.push_str(text),
            Event::Delta(delta) => self.open.push_str(&format!("{delta:?}")),
            Event::End => {
                let input = std::mem::take(&mut self.input);
                if self.open.starts_with("ToolUse") {
                    let input: serde_json::Value =
                        serde_json::from_str(if input.is_empty() { "{}" } else { &input }).unwrap();
                    self.open.push_str(&input.to_string());
                }
                self.said.push(std::mem::take(&mut self.open));
            }
            Event::Ping => {}
            Event::Stop { .. } | Event::Done | Event::Failed { .. } => self.said.push(format!("{event:?}")),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_streamed_answer_of_what_a_dialect_has_natively_comes_back_as_it_was(
        (dialect, answer) in any_dialect().prop_flat_map(|dialect| (Just(dialect), answer(dialect))),
    ) {
        let (mut encoder, mut out, mut sent) = (dialect.stream_encoder(), Vec::new(), Gathered::default());
        for event in events(&answer) {
            sent.take(&event);
            encoder.push(&event, &mut out);
        }
        let (mut decoder, mut back) = (dialect.stream_decoder(), Gathered::default());
        decoder.push(&out, &mut |event| back.take(&event));
        decoder.end(&mut |event| back.take(&event));
        prop_assert_eq!(back.said, sent.said, "{}", String::from_utf8_lossy(&out));
    }
}

#[test]
fn a_field_that_is_named_like_one_within_an_object_is_refused() {
    for (dialect, object) in [
        (Dialect::Anthropic, "thinking"),
        (Dialect::Anthropic, "output_config"),
        (Dialect::OpenAiResponses, "reasoning"),
        (Dialect::OpenAiResponses, "text"),
        (Dialect::Gemini, "generationConfig"),
        (Dialect::BedrockConverse, "additionalModelRequestFields"),
    ] {
        let called = Called { model: Some("m".into()), stream: None };
        let body = format!(r#"{{"model":"m","messages":[],"input":"a","contents":[],"{object}.x":1}}"#);
        let error = dialect.decode_request(&called, body.as_bytes()).unwrap_err().to_string();
        assert_eq!(error, format!("`{object}` must be an object: no field of a request has a dot in its name."));
    }
}

// Real conversations: written in their own dialect again, they say the same, with all that the hub does not model.
#[test]
fn each_shape_comes_back_in_its_own_dialect_as_it_was() {
    for dialect in Dialect::ALL {
        for (name, shape) in shapes(dialect) {
            let called = shape.called();
            if let Some(raw) = &shape.request {
                let request = dialect.decode_request(&called, raw.get().as_bytes()).unwrap();
                let mut losses = Losses::new(dialect);
                let body = dialect.encode_request(&request, &Quirks::default(), &mut losses);
                assert!(losses.is_empty(), "{} {name}: {losses}", dialect.word());
                let back = dialect.decode_request(&called, &body).unwrap();
                assert_eq!(format!("{back:#?}"), format!("{request:#?}"), "{} {name}", dialect.word());
            }
            if let Some(raw) = &shape.answer {
                let answer: Answer<'_> = dialect.decode_answer(raw.get().as_bytes()).unwrap();
                let body = dialect.encode_answer(&answer);
                let back = dialect.decode_answer(&body).unwrap();
                assert_eq!(format!("{back:#?}"), format!("{answer:#?}"), "{} {name}", dialect.word());
            }
        }
    }
}
