use super::*;
use aws_smithy_eventstream::frame::{read_message_from, write_message_to};
use aws_smithy_types::{
    DateTime,
    event_stream::{Header, HeaderValue, Message},
};
use proptest::{collection::vec, prelude::*};

/// A header of which nothing is borrowed.
#[derive(Clone, Debug)]
enum Owned {
    Fixed(Value<'static>),
    Bytes(Vec<u8>),
    Text(String),
}

impl Owned {
    fn lend(&self) -> Value<'_> {
        match self {
            Self::Fixed(value) => *value,
            Self::Bytes(bytes) => Value::Bytes(bytes),
            Self::Text(text) => Value::Text(text),
        }
    }
}

fn theirs(value: Value<'_>) -> HeaderValue {
    match value {
        Value::Bool(is_true) => HeaderValue::Bool(is_true),
        Value::Byte(number) => HeaderValue::Byte(number),
        Value::Short(number) => HeaderValue::Int16(number),
        Value::Integer(number) => HeaderValue::Int32(number),
        Value::Long(number) => HeaderValue::Int64(number),
        Value::Bytes(bytes) => HeaderValue::ByteArray(bytes.to_vec().into()),
        Value::Text(text) => HeaderValue::String(text.to_owned().into()),
        Value::Timestamp(milliseconds) => HeaderValue::Timestamp(DateTime::from_millis(milliseconds)),
        Value::Uuid(bytes) => HeaderValue::Uuid(u128::from_be_bytes(bytes)),
    }
}

fn value() -> impl Strategy<Value = Owned> {
    prop_oneof![
        any::<bool>().prop_map(|value| Owned::Fixed(Value::Bool(value))),
        any::<i8>().prop_map(|value| Owned::Fixed(Value::Byte(value))),
        any::<i16>().prop_map(|value| Owned::Fixed(Value::Short(value))),
        any::<i32>().prop_map(|value| Owned::Fixed(Value::Integer(value))),
        any::<i64>().prop_map(|value| Owned::Fixed(Value::Long(value))),
        // Timestamps that both sides count in milliseconds alike.
        (0..4_000_000_000_000_i64).prop_map(|value| Owned::Fixed(Value::Timestamp(value))),
        any::<[u8; 16]>().prop_map(|value| Owned::Fixed(Value::Uuid(value))),
        // Their reader takes no empty ones.
        vec(any::<u8>(), 1..40).prop_map(Owned::Bytes),
        "[a-zé😀]{1,20}".prop_map(Owned::Text),
    ]
}

type Sent = (Vec<(String, Owned)>, Vec<u8>);

fn sent() -> impl Strategy<Value = Sent> {
    (vec(("[:a-z-]{1,20}", value()), 0..5), vec(any::<u8>(), 0..200))
}

fn written(frames: &[Sent]) -> Vec<u8> {
    let mut out = Vec::new();
    for (headers, payload) in frames {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.lend())).collect();
        write(&headers, &mut out, |out| out.extend_from_slice(payload));
    }
    out
}

// Frames and failures as texts.
fn split<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, bytes_max: usize) -> Vec<String> {
    let (mut splitter, mut found) = (Splitter::new(bytes_max), Vec::new());
    let tell = |frame: Frame<'_>| format!("{:?} {:?}", frame.headers().collect::<Vec<_>>(), frame.payload);
    for piece in pieces {
        splitter.push(piece, |frame| found.push(frame.map_or_else(|broken| format!("{broken:?}"), tell)));
    }
    found.extend(splitter.end().err().map(|broken| format!("{broken:?}")));
    found
}

proptest! {
    #[test]
    fn frames_are_read_by_their_inventor_and_his_by_us((headers, payload) in sent()) {
        let bytes = written(&[(headers.clone(), payload.clone())]);
        let message = read_message_from(bytes.as_slice()).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(message.payload().as_ref(), payload.as_slice());
        let expected: Vec<Header> =
            headers.iter().map(|(name, value)| Header::new(name.clone(), theirs(value.lend()))).collect();
        prop_assert_eq!(message.headers(), expected.as_slice());
        let mut his = Vec::new();
        write_message_to(&Message::new_from_parts(expected, payload), &mut his)
            .map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(his, bytes);
    }

    #[test]
    fn frames_come_back_however_they_are_cut(frames in vec(sent(), 1..4)) {
        let bytes = written(&frames);
        let whole = split([bytes.as_slice()], 4096);
        prop_assert_eq!(whole.len(), frames.len());
        for (found, (headers, payload)) in whole.iter().zip(&frames) {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.lend())).collect();
            prop_assert_eq!(found, &format!("{headers:?} {payload:?}"));
        }
        prop_assert_eq!(&split(bytes.chunks(1), 4096), &whole);
        for at in 0..=bytes.len() {
            let (before, behind) = bytes.split_at(at);
            prop_assert_eq!(&split([before, behind], 4096), &whole);
        }
    }

    #[test]
    fn a_byte_that_changed_is_found(frames in vec(sent(), 2..3), at in any::<prop::sample::Index>(), flip in 1..=u8::MAX) {
        let mut bytes = written(&frames);
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let found = split([bytes.as_slice()], 4096);
        let last = found.last().map(String::as_str);
        prop_assert!(matches!(last, Some("Checksum" | "Lengths" | "TooLarge")), "{found:?}");
        prop_assert!(found.len() <= frames.len());
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = split(bytes.chunks(7), 4096);
    }
}

fn framed(headers: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write(&[], &mut out, |out| {
        out.extend_from_slice(headers);
        out.extend_from_slice(payload);
    });
    // The headers' length is put right, and both checksums with it.
    out[4..8].copy_from_slice(&u32::try_from(headers.len()).unwrap().to_be_bytes());
    let prelude = crc32fast::hash(&out[..8]).to_be_bytes();
    out[8..12].copy_from_slice(&prelude);
    let end = out.len() - 4;
    let all = crc32fast::hash(&out[..end]).to_be_bytes();
    out[end..].copy_from_slice(&all);
    out
}

#[test]
fn headers_that_cannot_be_read_are_a_failure() {
    let check =
        |headers: &[u8], expected: &str| assert_eq!(split([framed(headers, b"{}").as_slice()], 4096), [expected]);
    check(b"\x01a\x00", r#"[("a", Bool(true))] [123, 125]"#);
    check(b"\x01a", "Headers");
    check(b"\x00\x00", "Headers");
    check(b"\x02a", "Headers");
    check(b"\x01a\x0a", "Headers");
    check(b"\x01a\x07\x00\x05ab", "Headers");
    check(b"\x01a\x07\x00\x02\xff\xfe", "Headers");
    check(b"\x01a\x05\x00\x00", "Headers");
}

#[test]
fn a_frame_beyond_the_limit_is_refused_at_its_prelude() {
    let mut bytes = Vec::new();
    event("chunk", &mut bytes, |out| out.extend_from_slice(&[b'x'; 300]));
    assert_eq!(split([&bytes[..12]], 300), ["TooLarge"]);
    assert_eq!(split(bytes[..12].chunks(1), 300), ["TooLarge"]);
    assert_eq!(split([bytes.as_slice()], bytes.len()).len(), 1);
}

#[test]
fn a_stream_that_ends_in_a_frame_is_truncated() {
    let mut bytes = Vec::new();
    event("chunk", &mut bytes, |out| out.extend_from_slice(b"{}"));
    for end in 1..bytes.len() {
        assert_eq!(split([&bytes[..end]], 4096), ["Truncated"], "{end}");
    }
    assert_eq!(split([&bytes[..0]], 4096), [""; 0]);
}

#[test]
fn a_header_that_is_too_long_is_left_out() {
    let mut bytes = Vec::new();
    let (name, text) = ("n".repeat(256), "t".repeat(32_768));
    let headers = [("a", Value::Text(&text)), (&name, Value::Bool(true)), ("", Value::Byte(1)), ("b", Value::Byte(1))];
    write(&headers, &mut bytes, |_| {});
    assert_eq!(split([bytes.as_slice()], 4096), [r#"[("b", Byte(1))] []"#]);
}

#[test]
fn whole_frames_end_where_the_next_one_begins_wherever_the_bytes_are_cut() {
    let mut stream = Vec::new();
    let ends: Vec<u64> = ["{}", r#"{"a":1}"#]
        .map(|payload| {
            event("chunk", &mut stream, |out| out.extend_from_slice(payload.as_bytes()));
            stream.len() as u64
        })
        .to_vec();
    for cut in 0..=stream.len() {
        let mut splitter = Splitter::new(1 << 10);
        splitter.push(&stream[..cut], |_| {});
        let expect = ends.iter().rfind(|end| **end <= cut as u64).copied().unwrap_or_default();
        assert_eq!(splitter.boundary(), expect, "cut at {cut}");
        stream[cut..].chunks(1).for_each(|byte| splitter.push(byte, |_| {}));
        assert_eq!(splitter.boundary(), ends[1], "cut at {cut}");
    }
}
