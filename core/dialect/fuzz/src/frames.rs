//! The frames of Bedrock.

use aws_smithy_eventstream::frame::read_message_from;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use tollgate_dialect::bedrock::{
    frames::{self, Splitter, Value},
    invoke::{EventsToFrames, FramesToEvents},
};

use crate::input::Input;

const BYTES_MAX: usize = 16 * 1024;

/// Splits bytes into frames, whole and in pieces, beside the inventor's reader; and translates the streams of InvokeModel.
///
/// # Panics
/// When they differ.
pub fn check(bytes: &[u8]) {
    let Some(input) = Input::read(bytes) else { return };
    match input.kind % 4 {
        0 => split(&input, input.body),
        1 => split(&input, &repaired(input.body, input.has(0))),
        2 => from_frames(&input, &chunks(input.body)),
        _ => from_events(&input),
    }
}

fn told(pieces: &[&[u8]]) -> Vec<String> {
    let (mut splitter, mut found) = (Splitter::new(BYTES_MAX), Vec::new());
    for piece in pieces {
        splitter.push(piece, |frame| found.push(format!("{frame:?}")));
    }
    found.extend(splitter.end().err().map(|broken| format!("{broken:?}")));
    found
}

fn split(input: &Input<'_>, wire: &[u8]) {
    let whole = told(&[wire]);
    assert_eq!(told(&input.pieces(wire)), whole);
    let (mut splitter, mut written) = (Splitter::new(BYTES_MAX), Vec::new());
    let mut theirs = wire;
    splitter.push(wire, |frame| {
        let Ok(frame) = frame else { return };
        let headers: Vec<(&str, Value<'_>)> = frame.headers().collect();
        frames::write(&headers, &mut written, |out| out.extend_from_slice(frame.payload));
        // Their reader takes no empty names and values, and no times that it cannot hold.
        if let Ok(message) = read_message_from(&mut theirs) {
            assert_eq!(&message.payload()[..], frame.payload);
            let names: Vec<&str> = message.headers().iter().map(|header| header.name().as_str()).collect();
            assert_eq!(names, headers.iter().map(|(name, _)| *name).collect::<Vec<_>>());
        }
    });
    assert!(wire.starts_with(&written), "what was read is not written as it was");
    // Whatever they read, we read; but a header without a name is none.
    let (mut theirs, mut count) = (wire, 0);
    while let Ok(message) = read_message_from(&mut theirs)
        && wire.len() <= BYTES_MAX
        && message.headers().iter().all(|header| !header.name().as_str().is_empty())
    {
        count += 1;
    }
    let ours = whole.iter().filter(|frame| frame.starts_with("Ok(")).count();
    assert!(ours >= count, "they read {count} frames, we {ours}: {whole:?}");
}

// Bytes whose lengths and checksums are made to fit, which no chance does.
fn repaired(bytes: &[u8], fits: bool) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let mut rest = bytes.as_mut_slice();
    while rest.len() >= 16 {
        let number = |at: usize| u32::from_be_bytes([rest[at], rest[at + 1], rest[at + 2], rest[at + 3]]) as usize;
        let total = 16 + number(0).saturating_sub(16) % (rest.len() - 15);
        let headers = if fits { number(4) % (total - 15) } else { number(4) };
        rest[..4].copy_from_slice(&(total as u32).to_be_bytes());
        rest[4..8].copy_from_slice(&(headers as u32).to_be_bytes());
        let checksum = crc32fast::hash(&rest[..8]);
        rest[8..12].copy_from_slice(&checksum.to_be_bytes());
        let checksum = crc32fast::hash(&rest[..total - 4]);
        rest[total - 4..total].copy_from_slice(&checksum.to_be_bytes());
        rest = &mut rest[total..];
    }
    bytes
}

// Lines as the events of Messages that InvokeModel puts into frames. One after `!` is an exception, one after `?` is not in base64.
fn chunks(lines: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match line {
            [b'!', payload @ ..] => {
                frames::exception("throttlingException", &mut out, |out| out.extend_from_slice(payload));
            }
            [b'?', payload @ ..] => frames::event("chunk", &mut out, |out| out.extend_from_slice(payload)),
            line => {
                let payload = format!(r#"{{"bytes":"{}"}}"#, STANDARD.encode(line));
                frames::event("chunk", &mut out, |out| out.extend_from_slice(payload.as_bytes()));
            }
        }
    }
    out
}

fn events(pieces: &[&[u8]]) -> Vec<u8> {
    let (mut reader, mut out) = (FramesToEvents::default(), Vec::new());
    pieces.iter().for_each(|piece| reader.push(piece, &mut out));
    reader.end(&mut out);
    out
}

fn from_frames(input: &Input<'_>, wire: &[u8]) {
    let whole = events(&[wire]);
    assert_eq!(events(&input.pieces(wire)), whole);
    assert!(whole.is_empty() || whole.ends_with(b"\n\n"), "it ends in the middle of an event");
}

fn framed(pieces: &[&[u8]]) -> Vec<u8> {
    let (mut writer, mut out) = (EventsToFrames::default(), Vec::new());
    pieces.iter().for_each(|piece| writer.push(piece, &mut out));
    out
}

fn from_events(input: &Input<'_>) {
    let whole = framed(&[input.body]);
    assert_eq!(framed(&input.pieces(input.body)), whole);
    let mut splitter = Splitter::new(usize::MAX);
    splitter.push(&whole, |frame| assert!(frame.is_ok()));
    assert_eq!(splitter.end(), Ok(()));
}
