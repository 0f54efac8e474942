//! Each sample of the rules that come with Tollgate, in each way of writing it, on the wire: towards a provider, and back in an answer whose every
//! character is an event of its own, so that the secret is cut at every place.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use tollgate_policy::guardrail::Action;
use tollgate_scan::{FingerprintKey, RuleSet, Rules, Scratch};

use super::{
    guardrails::{IN, OUT, guardrail},
    *,
};

#[path = "../../../../core/scan/tests/rules/encoding.rs"]
mod encoding;
#[path = "../../../../core/scan/tests/rules/template.rs"]
mod template;

const SAMPLES: &str = include_str!("../../../../core/scan/rules/samples.toml");
/// So many conversations at a time.
const PARALLEL: usize = 16;
/// A stand's spool has room for so many, since nobody takes its reports.
const CONVERSATIONS_MAX: usize = 200;

/// Each true sample, in each encoding.
fn samples() -> Vec<(String, String)> {
    let table: BTreeMap<String, BTreeMap<String, Vec<String>>> = toml::from_str(SAMPLES).unwrap();
    let found = table.into_iter().flat_map(|(rule, mut samples)| {
        samples.remove("true").unwrap_or_default().into_iter().map(move |sample| (rule.clone(), sample))
    });
    let written = found.flat_map(|(rule, sample)| {
        let text = template::expand(&sample);
        encoding::ENCODINGS.iter().map(move |(name, encode)| (format!("{rule}, {name}"), encode(&text)))
    });
    written.collect()
}

fn asked(text: &str, stream: bool) -> String {
    json!({"model": "claude-x", "max_tokens": 9, "stream": stream, "messages": [{"role": "user", "content": text}]})
        .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_sample_reaches_a_provider() {
    let stand = Stand::new(&["sk-one"]).await;
    stand.put(vec![Object::Guardrail(guardrail("secrets", IN, Action::Block))]);
    let samples = samples();
    assert!(samples.len() > 5_000, "{}", samples.len());
    let stand = &stand;
    let sending = stream::iter(&samples).map(|(name, text)| async move {
        let answer = stand.send("/v1/messages", &asked(text, false), &[]).await;
        (answer.status != 451).then(|| format!("{name}: {}", answer.status))
    });
    let passed: Vec<String> = sending.buffer_unordered(PARALLEL).filter_map(|passed| async { passed }).collect().await;
    assert!(passed.is_empty(), "{passed:#?}");
    assert!(stand.asked().is_empty(), "nothing of it was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_sample_reaches_a_client_wherever_it_is_cut() {
    let (set, key) = (RuleSet::compile(&Rules::secrets(true, None).unwrap().0).0, FingerprintKey::new(&[7; 32]));
    let mut scratch = Scratch::new();
    let begins: Vec<(String, String, usize)> = samples()
        .into_iter()
        .map(|(name, text)| {
            let scan = set.scan(&mut scratch, &key, text.as_bytes());
            let begin = scan.findings.iter().map(|finding| finding.range.start).min();
            let begin = begin.unwrap_or_else(|| panic!("{name} is not found"));
            (name, text, begin)
        })
        .collect();
    for begins in begins.chunks(CONVERSATIONS_MAX) {
        let stand = &Stand::new(&["sk-one"]).await;
        stand.put(vec![Object::Guardrail(guardrail("secrets", OUT, Action::Block))]);
        let sending = stream::iter(begins).map(|(name, text, begin)| async move {
            let answer = stand.send("/v1/messages", &asked(text, true), &[("x-script", "echo")]).await;
            let said = said(&answer.text);
            let (before, end) = said.split_once("Tollgate stopped this answer").unwrap_or((&said, ""));
            // What came before the secret may have passed, and nothing of it.
            let is_clean = !end.is_empty() && before.trim_end().len() <= *begin && text.starts_with(before.trim_end());
            (!is_clean).then(|| format!("{name}: {} of {begin} bytes passed: {}", before.len(), answer.text))
        });
        let sending = sending.buffer_unordered(PARALLEL).filter_map(|passed| async { passed });
        let passed: Vec<String> = sending.collect().await;
        assert!(passed.is_empty(), "{passed:#?}");
    }
}

// The text of a stream.
fn said(stream: &str) -> String {
    let data = stream.lines().filter_map(|line| line.strip_prefix("data: "));
    let texts = data.filter_map(|data| {
        let event: Value = serde_json::from_str(data).ok()?;
        let of_delta = event["delta"]["text"].as_str();
        of_delta.or_else(|| event["content_block"]["text"].as_str()).map(str::to_owned)
    });
    texts.collect()
}
