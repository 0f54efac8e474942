//! Shapes that were damaged on their way: whatever comes, a decoder says so, and holds no more than it got.

use proptest::{collection::vec, prelude::*, sample::select};
use tollgate_dialect::{Called, Dialect, Quirks, hub::Losses};

use super::shapes::{shapes, streams};

/// One thing that happens to bytes.
#[derive(Clone, Debug)]
enum Damage {
    /// One byte becomes another.
    Flip(usize, u8),
    /// Some bytes go.
    Cut(usize, usize),
    /// Some bytes come twice.
    Repeat(usize, usize),
    /// A word of the wire comes in between.
    Splice(usize, &'static str),
}

/// What decoders look for, where they do not expect it.
const WORDS: [&str; 16] = [
    "null",
    "{}",
    "[]",
    "\"\"",
    "-1",
    "1e999",
    "18446744073709551616",
    "true",
    "{\"type\":",
    "\\ud800",
    "\n\n",
    "data: ",
    "\r",
    "}",
    "\u{0}",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
];

fn damages() -> impl Strategy<Value = Vec<Damage>> {
    let at = any::<usize>();
    vec(
        prop_oneof![
            (at, any::<u8>()).prop_map(|(at, byte)| Damage::Flip(at, byte)),
            (at, 0_usize..200).prop_map(|(at, size)| Damage::Cut(at, size)),
            (at, 0_usize..200).prop_map(|(at, size)| Damage::Repeat(at, size)),
            (at, select(WORDS.as_slice())).prop_map(|(at, word)| Damage::Splice(at, word)),
        ],
        0..4,
    )
}

fn damaged(mut bytes: Vec<u8>, damages: &[Damage]) -> Vec<u8> {
    for damage in damages {
        let size = bytes.len();
        let place = |at: usize| if size == 0 { 0 } else { at % size };
        match *damage {
            Damage::Flip(at, byte) => {
                if let Some(found) = bytes.get_mut(place(at)) {
                    *found = byte;
                }
            }
            Damage::Cut(at, size) => {
                let (from, to) = (place(at), (place(at) + size).min(bytes.len()));
                bytes.drain(from..to);
            }
            Damage::Repeat(at, size) => {
                let piece = bytes[place(at)..(place(at) + size).min(bytes.len())].to_vec();
                bytes.splice(place(at)..place(at), piece);
            }
            Damage::Splice(at, word) => {
                bytes.splice(place(at)..place(at), word.bytes());
            }
        }
    }
    bytes
}

/// A body of a dialect: a request, an answer or a stream of it.
fn bodies() -> impl Strategy<Value = (Dialect, Vec<u8>)> {
    let mut bodies = Vec::new();
    for dialect in Dialect::ALL {
        for (_, shape) in shapes(dialect) {
            let raw = [shape.request, shape.answer].into_iter().flatten();
            bodies.extend(raw.map(|raw| (dialect, raw.get().as_bytes().to_vec())));
        }
        bodies.extend(streams(dialect).into_iter().map(|(_, stream)| (dialect, stream)));
    }
    select(bodies)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_damaged_body_is_read_or_refused(
        (dialect, body) in bodies(),
        damages in damages(),
        target in select(Dialect::ALL.as_slice()),
    ) {
        let bytes = damaged(body, &damages);
        let called = Called { model: Some("m".into()), stream: None };
        match dialect.decode_request(&called, &bytes) {
            // What was read can be written in every dialect, and is JSON there.
            Ok(request) => {
                let written = target.encode_request(&request, &Quirks::default(), &mut Losses::new(target));
                prop_assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&written).is_ok());
                // Ids and names are spelled, texts are escaped: a small multiple bounds it.
                prop_assert!(written.len() <= 16 * bytes.len() + 4_096, "{} of {}", written.len(), bytes.len());
            }
            Err(error) => prop_assert!(error.to_string().ends_with('.')),
        }
        if let Ok(answer) = dialect.decode_answer(&bytes) {
            let written = target.encode_answer(&answer);
            prop_assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&written).is_ok());
            prop_assert!(written.len() <= 16 * bytes.len() + 4_096);
        }
        prop_assert!(dialect.decode_error(400, &bytes).message.len() <= bytes.len() + 512);
    }

    #[test]
    fn a_damaged_stream_keeps_the_order_of_events_and_ends_once(
        (dialect, body) in bodies(),
        damages in damages(),
        size in 1_usize..64,
        target in select(Dialect::ALL.as_slice()),
    ) {
        use tollgate_dialect::hub::Event;
        let bytes = damaged(body, &damages);
        let (mut decoder, mut encoder, mut out) = (dialect.stream_decoder(), target.stream_encoder(), Vec::new());
        let (mut started, mut open, mut stopped, mut over, mut wrong, mut failures) = (false, false, false, false, None, 0);
        let mut sink = |event: Event<'_>| {
            let is_in_place = match &event {
                Event::Start { .. } => !std::mem::replace(&mut started, true),
                Event::Begin(_) => started && !stopped && !std::mem::replace(&mut open, true),
                Event::Delta(_) => open,
                Event::End => std::mem::take(&mut open),
                Event::Stop { .. } => started && !open && !std::mem::replace(&mut stopped, true),
                Event::Done => stopped && !std::mem::replace(&mut over, true),
                Event::Ping => true,
                Event::Failed { .. } => {
                    failures += 1;
                    true
                }
            };
            let is_late = failures > 1 || (failures == 1 && !matches!(event, Event::Failed { .. }));
            if (!is_in_place || is_late) && wrong.is_none() {
                wrong = Some(format!("{event:?}"));
            }
            encoder.push(&event, &mut out);
        };
        bytes.chunks(size).for_each(|piece| decoder.push(piece, &mut sink));
        decoder.end(&mut sink);
        prop_assert_eq!(wrong, None);
        prop_assert!(out.len() <= 64 * bytes.len() + 8_192, "{} of {}", out.len(), bytes.len());
    }
}
