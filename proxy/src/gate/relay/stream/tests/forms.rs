//! The forms in which streams lie in their bytes: frames, in the provider's hands, in the client's, or in both; and lists.

use std::iter;

use super::*;
use crate::upstream::speech::Envelope;
use tollgate_dialect::{
    Dialect,
    bedrock::{
        frames,
        invoke::{EventsToFrames, FramesToEvents},
    },
    hub::{Event, StreamEncoder, Tally},
};

const LIST: &str = "[{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Gr\u{fc}\u{df}e, \\\"}]\"}],\"role\":\"model\"},\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":25,\"totalTokenCount\":25},\"modelVersion\":\"g\",\"responseId\":\"r\"}\n,\r\n\
{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\"}],\"role\":\"model\"},\"index\":0,\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":25,\"candidatesTokenCount\":15,\"totalTokenCount\":40},\"modelVersion\":\"g\",\"responseId\":\"r\"}\n]";

fn framed() -> Vec<u8> {
    let mut out = Vec::new();
    EventsToFrames::default().push(RECORDED.as_bytes(), &mut out);
    out
}

// What the recording says, in the stream of another dialect.
fn said_in(mut encoder: Box<dyn StreamEncoder>) -> Vec<u8> {
    let mut out = Vec::new();
    Dialect::Anthropic.stream_decoder().push(RECORDED.as_bytes(), &mut |event| encoder.push(&event, &mut out));
    out
}

/// A way of a stream: how it is passed on, and what the provider sends.
fn ways() -> Vec<(&'static str, Passage, Vec<u8>)> {
    let passage = |client_envelope, client, envelope, provider| Passage {
        client,
        client_envelope,
        provider,
        envelope,
        is_translated: client != provider,
        ..Passage::default()
    };
    let (messages, bedrock) = (Dialect::Anthropic, Some(Envelope::Bedrock));
    let list = |passage| Passage { is_list: true, ..passage };
    let gemini = passage(None, Dialect::Gemini, None, Dialect::Gemini);
    vec![
        ("frames pass", passage(bedrock, messages, bedrock, messages), framed()),
        ("events into frames", passage(bedrock, messages, None, messages), RECORDED.into()),
        ("frames into events", passage(None, messages, bedrock, messages), framed()),
        (
            "another dialect into frames",
            passage(bedrock, messages, None, Dialect::Gemini),
            said_in(Dialect::Gemini.stream_encoder()),
        ),
        (
            "frames of another dialect pass",
            passage(None, Dialect::BedrockConverse, None, Dialect::BedrockConverse),
            said_in(Dialect::BedrockConverse.stream_encoder()),
        ),
        ("a list passes", list(gemini), LIST.into()),
        ("another dialect into a list", list(passage(None, Dialect::Gemini, None, messages)), RECORDED.into()),
        ("frames of another dialect into a list", list(passage(None, Dialect::Gemini, bedrock, messages)), framed()),
    ]
}

// What a client reads: whether the form is whole, the text, and the provider's end or the error.
fn read(passage: &Passage, bytes: &[u8]) -> (String, bool, Option<String>) {
    let mut bytes = bytes.to_vec();
    if passage.is_list && !bytes.is_empty() {
        let list: Result<Vec<serde_json::Value>, _> = serde_json::from_slice(&bytes);
        assert!(list.is_ok_and(|list| !list.is_empty()), "{}", String::from_utf8_lossy(&bytes));
    }
    if passage.client == Dialect::BedrockConverse || passage.is_client_framed() {
        let mut splitter = frames::Splitter::new(1 << 20);
        splitter.push(&bytes, |frame| assert!(frame.is_ok(), "{frame:?}"));
        assert_eq!(splitter.end(), Ok(()));
    }
    if passage.is_client_framed() {
        let (mut reader, mut out) = (FramesToEvents::default(), Vec::new());
        reader.push(&bytes, &mut out);
        bytes = out;
    }
    let (mut decoder, mut tally, mut text, mut failed) =
        (passage.client.stream_decoder(), Tally::default(), String::new(), None);
    let mut see = |event: Event<'_>| {
        match &event {
            Event::Delta(tollgate_dialect::hub::Delta::Text(piece)) => text.push_str(piece),
            Event::Failed { message, .. } => failed = Some(message.to_string()),
            _ => {}
        }
        tally.see(&event);
    };
    decoder.push(&bytes, &mut see);
    decoder.end(&mut see);
    (text, tally.metered().complete, failed)
}

#[tokio::test(start_paused = true)]
async fn each_form_arrives_whole_however_it_is_cut() {
    for (name, passage, sent) in ways() {
        let expect = if passage.provider == Dialect::Gemini && passage.client == Dialect::Gemini {
            "Gr\u{fc}\u{df}e, \"}]"
        } else {
            "Hello caf\u{e9}"
        };
        let bytes = Bytes::from(sent.clone());
        let mut scripts = vec![
            Script::new().data(bytes.clone()),
            sent.iter().fold(Script::new(), |script, byte| script.data(vec![*byte]).pending().pending()),
        ];
        scripts.extend((1..bytes.len()).map(|at| Script::new().data(bytes.slice(..at)).data(bytes.slice(at..))));
        for script in scripts {
            let (got, well, end, metered) = scene_of(script, passage.clone()).bytes().await;
            assert_eq!((well, end, metered.is_final), (true, End::Completed, true), "{name}");
            assert_eq!(metered.counters.output, 15, "{name}");
            assert_eq!(metered.counters.input_total(), if expect.starts_with('H') { 32 } else { 25 }, "{name}");
            assert_eq!(read(&passage, &got), (expect.to_owned(), true, None), "{name}");
            if passage.is_plain() {
                assert_eq!(got, sent, "{name}: byte for byte");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_form_is_ended_behind_what_is_whole_and_says_why() {
    for (name, passage, sent) in ways() {
        let bytes = Bytes::from(sent);
        for cut in 0..bytes.len() {
            // Byte by byte takes as long as all cuts together, so not at each of them.
            let is_slow = cut % 32 == 0;
            let one_by_one = || {
                bytes[..cut]
                    .iter()
                    .fold(Script::new(), |script, byte| script.data(vec![*byte]).pending().pending())
                    .fail()
            };
            for script in iter::once(Script::new().data(bytes.slice(..cut)).fail()).chain(is_slow.then(one_by_one)) {
                let (got, well, end, _) = scene_of(script, passage.clone()).bytes().await;
                assert!(well, "{name}, cut at {cut}: a proper end");
                if end == End::Completed {
                    // All that matters had arrived.
                    continue;
                }
                assert_eq!(end, End::UpstreamFailed, "{name}, cut at {cut}");
                let (_, is_complete, failed) = read(&passage, &got);
                assert!(!is_complete, "{name}, cut at {cut}");
                assert!(
                    failed.is_some_and(|said| said.contains("broke off")),
                    "{name}, cut at {cut}: {}",
                    String::from_utf8_lossy(&got)
                );
            }
        }
    }
}
