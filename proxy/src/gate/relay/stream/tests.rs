//! A recorded stream, cut in every place and in every way.

use super::*;
use crate::{
    gate::{
        fake::{self, Script},
        ticket::{Facts, Passage},
    },
    visits::Visits,
};
use tokio::{sync::mpsc::Receiver, time::Instant};
use tollgate_dialect::Metered;
use tollgate_policy::{decide::Caller, refusal::RefusalKind, snapshot::Snapshot, time::UnixMillis};

mod forms;

const RECORDED: &str = "event: message_start\n\
data: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"model\":\"claude-sonnet-4-5\",\"usage\":{\"input_tokens\":25,\"cache_read_input_tokens\":7,\"output_tokens\":1}}}\n\
\n\
event: content_block_start\n\
data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\
\n\
event: ping\n\
data: {\"type\": \"ping\"}\n\
\n\
: a comment\n\
\n\
event: content_block_delta\n\
data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hello caf\u{e9}\"}}\r\n\
\r\n\
event: message_delta\n\
data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":15}}\n\
\n\
event: message_stop\n\
data: {\"type\":\"message_stop\"}\n\
\n";

const SILENCE: Duration = Duration::from_secs(300);

/// An open stream, and everything that can happen to it from outside.
struct Scene {
    stream: Stream<Script>,
    facts: Receiver<Facts>,
    visits: Visits,
    snapshot: Snapshot,
    caller: Caller,
}

fn scene(script: Script) -> Scene {
    scene_of(script, Passage::default())
}

fn scene_of(script: Script, passage: Passage) -> Scene {
    let (mut ticket, facts) = fake::ticket();
    ticket.passage = passage;
    let (snapshot, caller) = fake::world();
    let visits = Visits::default();
    let registration = visits.register(caller.clone());
    Scene {
        stream: Stream::new(script, ticket, registration, SILENCE, Arc::default(), fake::spool(), None),
        facts,
        visits,
        snapshot,
        caller,
    }
}

impl Scene {
    fn revoke(&self) {
        assert_eq!(self.visits.reconsider(&fake::revoked(&self.snapshot, &self.caller), UnixMillis::new(2)), 1);
    }

    /// Reads to the end: the text, whether it ended well, how the visit was settled.
    async fn end(self) -> (String, bool, End, Metered) {
        let (bytes, well, end, metered) = self.bytes().await;
        (String::from_utf8(bytes).expect("characters are whole"), well, end, metered)
    }

    async fn bytes(self) -> (Vec<u8>, bool, End, Metered) {
        let Self { stream, mut facts, .. } = self;
        let (frames, well) = fake::read(stream).await;
        let settled = facts.try_recv().expect("the visit is settled");
        assert!(facts.try_recv().is_err(), "and only once");
        (frames.concat(), well, settled.end, settled.metered.expect("it is metered"))
    }
}

/// The part of the recording that consists of whole events when it is cut at a byte.
fn whole_until(cut: usize) -> &'static str {
    let mut end = 0;
    for at in 0..=cut {
        if !RECORDED.is_char_boundary(at) {
            continue;
        }
        let before = &RECORDED[..at];
        if before.ends_with("\n\n") || before.ends_with("\r\n\r\n") || before.ends_with("\n\r") {
            end = at;
        }
    }
    &RECORDED[..end]
}

fn assert_ends_with_error(text: &str, cut: usize, says: &str) {
    let whole = whole_until(cut);
    let event = text.strip_prefix(whole).unwrap_or_else(|| panic!("cut at {cut}: {text:?} lacks {whole:?}"));
    let data = event.strip_prefix("event: error\ndata: ").and_then(|rest| rest.strip_suffix("\n\n"));
    let data = data.unwrap_or_else(|| panic!("cut at {cut}: {event:?} is not one error event"));
    let json: serde_json::Value = serde_json::from_str(data).unwrap();
    assert_eq!(json["request_id"], "req_1");
    assert!(json["error"]["message"].as_str().unwrap().contains(says), "cut at {cut}: {json}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_passes_as_it_came_however_it_arrives() {
    let bytes = Bytes::from_static(RECORDED.as_bytes());
    let one_by_one = || RECORDED.bytes().fold(Script::new(), |script, byte| script.data(vec![byte]));
    let with_pauses =
        || RECORDED.bytes().fold(Script::new(), |script, byte| script.data(vec![byte]).pending().pending());
    let halves = |at: usize| Script::new().data(bytes.slice(..at)).pending().pending().data(bytes.slice(at..));
    let mut scripts = vec![
        Script::new().data(bytes.clone()),
        Script::new().data(bytes.clone()).trailers(),
        one_by_one(),
        with_pauses(),
    ];
    scripts.extend((1..bytes.len()).map(halves));
    for script in scripts {
        let (text, well, end, metered) = scene(script).end().await;
        assert_eq!(text, RECORDED);
        assert!(well && end == End::Completed);
        let counters = metered.counters;
        assert_eq!((counters.input, counters.cache_read, counters.output), (25, 7, 15));
        assert_eq!(metered.model.as_deref(), Some("claude-sonnet-4-5"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_breaks_off_at_any_byte_leaves_whole_events_and_an_error() {
    let bytes = Bytes::from_static(RECORDED.as_bytes());
    for cut in 0..bytes.len() {
        for script in [
            Script::new().data(bytes.slice(..cut)).fail(),
            bytes[..cut].iter().fold(Script::new(), |script, byte| script.data(vec![*byte]).pending().pending()).fail(),
        ] {
            let (text, well, end, metered) = scene(script).end().await;
            assert!(well, "cut at {cut}: a proper end");
            assert_eq!(end, End::UpstreamFailed, "cut at {cut}");
            assert_ends_with_error(&text, cut, "broke off");
            assert!(!metered.complete);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_revoked_key_cuts_its_stream_behind_the_last_whole_event() {
    let bytes = Bytes::from_static(RECORDED.as_bytes());
    for cut in 0..bytes.len() {
        let mut scene = scene(Script::new().data(bytes.slice(..cut)).hang());
        let mut seen = Vec::new();
        // Until nothing more comes.
        while let Ok(Some(Ok(frame))) =
            tokio::time::timeout(Duration::from_secs(1), http_body_util::BodyExt::frame(&mut scene.stream)).await
        {
            seen.extend_from_slice(&frame.into_data().unwrap());
        }
        scene.revoke();
        let (rest, well, end, _) = scene.end().await;
        seen.extend_from_slice(rest.as_bytes());
        assert!(well, "cut at {cut}");
        assert_eq!(end, End::Cut(RefusalKind::KeyRevoked), "cut at {cut}");
        assert_ends_with_error(&String::from_utf8(seen).unwrap(), cut, "was revoked");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_early_but_properly_passes_whole_and_counts_as_failed() {
    let bytes = Bytes::from_static(RECORDED.as_bytes());
    for cut in 0..bytes.len() {
        if !RECORDED.is_char_boundary(cut) {
            continue;
        }
        let (text, well, end, _) = scene(Script::new().data(bytes.slice(..cut))).end().await;
        assert_eq!((text.as_str(), well, end), (&RECORDED[..cut], true, End::UpstreamFailed), "cut at {cut}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_is_settled_with_what_was_metered() {
    let bytes = Bytes::from_static(RECORDED.as_bytes());
    let mut scene = scene(Script::new().data(bytes.slice(..RECORDED.find("event: ping").unwrap())).hang());
    assert!(http_body_util::BodyExt::frame(&mut scene.stream).await.is_some());
    assert!(scene.facts.try_recv().is_err(), "the visit is open");
    drop(scene.stream);
    let settled = scene.facts.try_recv().unwrap();
    assert_eq!(settled.end, End::Dropped);
    assert_eq!(settled.metered.unwrap().counters.input, 25);
    assert_eq!(scene.visits.open(), 0, "and nothing is left in the register");
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_falls_silent_is_given_up_and_one_that_pings_is_not() {
    let begun = Instant::now();
    let ping = "event: ping\ndata: {}\n\n";
    let slow = (0..10).fold(Script::new(), |script, _| script.data(ping).after(SILENCE - Duration::from_secs(1)));
    let (text, well, end, _) = scene(slow.data(ping).hang()).end().await;
    assert_eq!(text.matches("event: ping").count(), 11);
    assert!(text.contains("fell silent") && well && end == End::UpstreamFailed);
    assert_eq!(begun.elapsed().as_secs(), 11 * SILENCE.as_secs() - 10);
}

#[tokio::test(start_paused = true)]
async fn what_the_provider_does_behind_the_end_of_its_answer_does_not_matter() {
    for script in [Script::new().data(RECORDED).fail(), Script::new().data(RECORDED).hang()] {
        let (text, well, end, _) = scene(script).end().await;
        assert_eq!((text.as_str(), well, end), (RECORDED, true, End::Completed));
    }
}

#[tokio::test(start_paused = true)]
async fn events_that_are_ready_together_leave_together() {
    let event = "event: ping\ndata: {}\n\n";
    let burst = |script: Script| (0..50).fold(script, |script, _| script.data(event).pending());
    let Scene { stream, .. } = scene(burst(Script::new()).after(Duration::from_secs(1)).data(event));
    let (frames, _) = fake::read(stream).await;
    assert_eq!(frames.len(), 2, "one write for the burst, one for what came later");
    assert_eq!(frames[0].len(), 50 * event.len());
}

#[tokio::test(start_paused = true)]
async fn an_event_too_large_to_be_held_passes_and_a_cut_in_its_middle_aborts() {
    let piece = "x".repeat(64 * 1024);
    let large = (0..40).fold(Script::new().data("event: huge\ndata: "), |script, _| script.data(piece.clone()));
    let (text, well, end, _) = scene(large.data("\n\n").data(RECORDED)).end().await;
    assert!(text.ends_with(RECORDED) && well && end == End::Completed);
    assert_eq!(text.len(), "event: huge\ndata: ".len() + 40 * piece.len() + 2 + RECORDED.len());

    let large = (0..40).fold(Script::new().data("event: huge\ndata: "), |script, _| script.data(piece.clone()));
    let (_, well, end, _) = scene(large.fail()).end().await;
    assert!(!well && end == End::UpstreamFailed);
}
