//! Answers that are not streams: gathered, passed when they are long, and aborted when they cannot go on.

use super::*;
use crate::{
    gate::{
        fake::{self, Script},
        relay::flow::{Flow, TEE_BYTES_MAX, Tee},
        ticket::End,
    },
    visits::Visits,
};
use http_body_util::BodyExt as _;
use tollgate_policy::time::UnixMillis;

const SILENCE: Duration = Duration::from_secs(300);

#[tokio::test(start_paused = true)]
async fn an_answer_is_gathered_until_its_end_or_its_bound() {
    let mib = || Bytes::from(vec![b'x'; GATHERED_BYTES_MAX]);
    let (_, caller) = fake::world();
    let registration = Visits::default().register(caller);
    for (name, script, expect) in [
        ("empty", Script::new(), "whole 0"),
        ("one piece", Script::new().data("{}"), "whole 2"),
        ("pieces", Script::new().data("{").pending().data("}").trailers(), "whole 2"),
        ("at the bound", Script::new().data(mib()), "whole 1048576"),
        ("beyond", Script::new().data(mib()).data("xy").data("z"), "more 1048578"),
        ("broken", Script::new().data("{").fail(), "broken"),
        ("silent", Script::new().data("{").hang(), "silent"),
    ] {
        let gathered = match gather(script, &registration, SILENCE, GATHERED_BYTES_MAX).await {
            Gathered::Whole(bytes) => format!("whole {}", bytes.len()),
            Gathered::More(bytes, _) => format!("more {}", bytes.len()),
            Gathered::Broken => "broken".to_owned(),
            Gathered::Silent => "silent".to_owned(),
            Gathered::Cut(refusal) => format!("{refusal:?}"),
        };
        assert_eq!(gathered, expect, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_revoked_key_ends_the_gathering() {
    let (snapshot, caller) = fake::world();
    let visits = Visits::default();
    let registration = visits.register(caller.clone());
    let gathering = gather(Script::new().data("{").hang(), &registration, SILENCE, GATHERED_BYTES_MAX);
    let revoking = async {
        tokio::task::yield_now().await;
        visits.reconsider(&fake::revoked(&snapshot, &caller), UnixMillis::new(2))
    };
    let (gathered, cut) = tokio::join!(gathering, revoking);
    assert!(matches!(gathered, Gathered::Cut(_)) && cut == 1);
}

/// A long answer: what it was settled with, how many bytes passed, whether it ended well.
async fn flowed(script: Script, cut_after: Option<usize>) -> (End, Option<u64>, usize, bool) {
    let (ticket, mut facts) = fake::ticket();
    let (snapshot, caller) = fake::world();
    let visits = Visits::default();
    let registration = visits.register(caller.clone());
    let first = Bytes::from_static(b"{\"type\":\"message\",");
    let mut flow = Flow::new(first, script, ticket, registration, Some(Tee::default()), End::Unmetered, SILENCE);
    let (mut passed, mut well, mut frames) = (0, true, 0);
    loop {
        if cut_after == Some(frames) {
            visits.reconsider(&fake::revoked(&snapshot, &caller), UnixMillis::new(2));
        }
        match flow.frame().await {
            Some(Ok(frame)) => passed += frame.into_data().unwrap().len(),
            Some(Err(_)) => well = false,
            None => break,
        }
        frames += 1;
    }
    let settled = facts.try_recv().expect("the visit is settled");
    (settled.end, settled.metered.map(|metered| metered.counters.output), passed, well)
}

#[tokio::test(start_paused = true)]
async fn a_long_answer_passes_as_it_comes_and_is_metered_at_its_end() {
    let usage = "\"usage\":{\"input_tokens\":1,\"output_tokens\":2}}";
    let content = "\"content\":[],";
    let length = "{\"type\":\"message\",".len() + content.len() + usage.len();
    let sound = || Script::new().data(content).pending().data(usage);
    assert_eq!(flowed(sound(), None).await, (End::Completed, Some(2), length, true));
    let (end, metered, _, well) = flowed(Script::new().data(content).fail(), None).await;
    assert_eq!((end, metered, well), (End::UpstreamFailed, None, false));
    let (end, _, _, well) = flowed(Script::new().data(content).hang(), None).await;
    assert_eq!((end, well), (End::UpstreamFailed, false));
    let (end, _, _, well) = flowed(sound(), Some(1)).await;
    assert!(matches!(end, End::Cut(_)) && !well);
    let garbage = Script::new().data("nonsense");
    assert_eq!(flowed(garbage, None).await.0, End::Unmetered);
    let huge = (0..=TEE_BYTES_MAX / GATHERED_BYTES_MAX)
        .fold(Script::new(), |script, _| script.data(vec![b' '; GATHERED_BYTES_MAX]));
    assert_eq!(flowed(huge.data(usage), None).await.0, End::Unmetered, "longer than what is kept of it");
}
