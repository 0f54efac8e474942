//! What becomes of each shape in each other dialect.

use std::{fs, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tollgate_dialect::{
    Dialect, Quirks,
    hub::{Event, Forms, Losses},
};

use super::shapes::{Shape, root, shapes, streams};

fn check(path: &Path, found: &str, wrong: &mut Vec<String>) {
    if std::env::var_os("TOLLGATE_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, found).unwrap();
        return;
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    if expected != found {
        wrong.push(format!("{}\nexpected:\n{expected}\nfound:\n{found}", path.display()));
    }
}

fn none_wrong(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} golden files differ, the first: {}", wrong.len(), wrong[0]);
}

fn pretty(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(body)))
}

fn translated(shape: &Shape, source: Dialect, target: Dialect) -> Value {
    let mut found = serde_json::Map::new();
    let mut forms = Forms::default();
    if let Some(raw) = &shape.request {
        let called = shape.called();
        let request = source.decode_request(&called, raw.get().as_bytes()).unwrap_or_else(|error| panic!("{error}"));
        let mut losses = Losses::new(target);
        let body = target.encode_request(&request, &Quirks::default(), &mut losses);
        found.insert("request".into(), pretty(&body));
        found.insert("losses".into(), json!(losses.to_string()));
        forms = request.forms;
    }
    if let Some(raw) = &shape.answer {
        let answer = source.decode_answer(raw.get().as_bytes()).unwrap_or_else(|error| panic!("{error}"));
        found.insert("answer".into(), pretty(&target.encode_answer_in(&forms, &answer)));
    }
    found.into()
}

#[test]
fn each_conversation_becomes_what_its_golden_file_says() {
    let mut wrong = Vec::new();
    for source in Dialect::ALL {
        for (name, shape) in shapes(source) {
            for target in Dialect::ALL.into_iter().filter(|target| *target != source) {
                let pair = format!("{}-{}", source.word(), target.word());
                let path = root().join("golden").join(pair).join(format!("{name}.json"));
                let found = serde_json::to_string_pretty(&translated(&shape, source, target)).unwrap() + "\n";
                check(&path, &found, &mut wrong);
            }
        }
    }
    none_wrong(&wrong);
}

// The bytes that the target's client gets when the source's provider sends these pieces.
fn streamed<'a>(source: Dialect, target: Dialect, pieces: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let (mut decoder, mut encoder, mut out) =
        (source.stream_decoder(), target.stream_encoder_in(Forms::default()), Vec::new());
    let mut sink = |event: Event<'_>| encoder.push(&event, &mut out);
    pieces.for_each(|piece| decoder.push(piece, &mut sink));
    decoder.end(&mut sink);
    out
}

#[test]
fn each_stream_becomes_what_its_golden_file_says_however_it_is_cut() {
    let mut wrong = Vec::new();
    for source in Dialect::ALL {
        for (name, stream) in streams(source) {
            for target in Dialect::ALL {
                let whole = streamed(source, target, [stream.as_slice()].into_iter());
                let single = streamed(source, target, stream.chunks(1));
                assert_eq!(single, whole, "{} {name} byte by byte", source.word());
                for at in 0..=stream.len() {
                    let (before, behind) = stream.split_at(at);
                    let cut = streamed(source, target, [before, behind].into_iter());
                    assert_eq!(cut, whole, "{} {name} cut at {at}", source.word());
                }
                if target == source {
                    continue;
                }
                let pair = format!("{}-{}", source.word(), target.word());
                let path = root().join("golden").join(pair).join(format!("{name}.stream"));
                // Binary frames are kept in base64, one line.
                let found = String::from_utf8(whole).unwrap_or_else(|error| STANDARD.encode(error.into_bytes()) + "\n");
                check(&path, &found, &mut wrong);
            }
        }
    }
    none_wrong(&wrong);
}

// What a stream says, whole: what its deltas come to, block by block.
#[test]
fn a_stream_that_dies_at_any_byte_never_ends_as_if_it_were_whole() {
    for source in Dialect::ALL {
        for (name, stream) in streams(source) {
            let mut events = Vec::new();
            let mut decoder = source.stream_decoder();
            decoder.push(&stream, &mut |event| events.push(format!("{event:?}")));
            decoder.end(&mut |event| events.push(format!("{event:?}")));
            if events.last().is_none_or(|last| last != "Done") {
                continue;
            }
            for end in 0..stream.len() {
                let (mut decoder, mut seen) = (source.stream_decoder(), Vec::new());
                decoder.push(&stream[..end], &mut |event| seen.push(format!("{event:?}")));
                decoder.end(&mut |event| seen.push(format!("{event:?}")));
                let is_prefix = seen.iter().zip(&events).all(|(seen, event)| seen == event);
                let failed = seen.last().is_some_and(|last| last.starts_with("Failed"));
                assert!(is_prefix || failed, "{} {name} up to {end}: {seen:?}", source.word());
                // Only what lies behind the last word of the answer may be missing.
                assert!(seen.len() < events.len() || events == seen, "{} {name} up to {end}", source.word());
            }
        }
    }
}
