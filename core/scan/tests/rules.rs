//! The rule set of rules/tollgate.toml: each of its samples is found or cleared as rules/samples.toml says, however it is written.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test")]

#[path = "rules/encoding.rs"]
mod encoding;
#[path = "rules/template.rs"]
mod template;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use encoding::ENCODINGS;
use serde::Deserialize;
use template::expand;
use tollgate_scan::{
    Finding, FingerprintKey, MEMORY_BYTES_MAX, Piece, Rule, RuleSet, Rules, Scratch, Stream, gitleaks,
};

const RULES: &str = include_str!("../rules/tollgate.toml");
const SAMPLES: &str = include_str!("../rules/samples.toml");
/// Not the id of a rule: texts in which none finds anything.
const CLEARED: &str = "cleared";
const FAMILIES: [&str; 13] = [
    "cloud",
    "forge",
    "model",
    "payment",
    "chat",
    "ci",
    "secrets-manager",
    "observability",
    "saas",
    "database",
    "private-key",
    "jwt",
    "generic",
];

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Samples {
    #[serde(default, rename = "true")]
    found: Vec<String>,
    #[serde(rename = "false")]
    cleared: Vec<String>,
}

static LOADED: LazyLock<Rules> = LazyLock::new(|| {
    let (rules, report) = gitleaks::load(RULES, gitleaks::Bases::default()).unwrap();
    assert!(report.remarks().is_empty(), "{:?}", report.remarks());
    rules
});
static SET: LazyLock<RuleSet> = LazyLock::new(|| RuleSet::compile(&LOADED).0);
static TABLE: LazyLock<BTreeMap<String, Samples>> = LazyLock::new(|| toml::from_str(SAMPLES).unwrap());
static KEY: LazyLock<FingerprintKey> = LazyLock::new(|| FingerprintKey::new(&[7; 32]));

fn rules() -> impl Iterator<Item = (&'static Rule, &'static Samples)> {
    LOADED.rules.iter().map(|rule| (rule, &TABLE[&rule.id]))
}

fn name(finding: &Finding) -> &'static str {
    SET.rule(finding.rule).unwrap().id
}

fn scan(scratch: &mut Scratch, text: &str) -> Vec<Finding> {
    let scan = SET.scan(scratch, &KEY, text.as_bytes());
    assert!(!scan.is_exhausted, "{text}");
    scan.findings
}

#[test]
fn every_rule_compiles_without_a_remark_and_within_the_bounds() {
    let (set, report) = RuleSet::compile(&LOADED);
    assert!(report.remarks().is_empty(), "{:#?}", report.remarks().iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(set.len(), LOADED.rules.len());
    assert!(set.memory() < MEMORY_BYTES_MAX / 2, "{} bytes", set.memory());
}

#[test]
fn there_are_rules_for_each_family_and_each_rule_says_what_it_is() {
    let ids: BTreeSet<&str> = LOADED.rules.iter().map(|rule| rule.id.as_str()).collect();
    assert!(ids.len() >= 220, "{} rules", ids.len());
    assert_eq!(ids.len(), LOADED.rules.len());
    for family in FAMILIES {
        assert!(LOADED.rules.iter().any(|rule| rule.tags.iter().any(|tag| tag == family)), "{family}");
    }
    for rule in &LOADED.rules {
        assert!(rule.tags.first().is_some_and(|tag| FAMILIES.contains(&tag.as_str())), "{}", rule.id);
        assert!(!rule.description.is_empty() && !rule.keywords.is_empty() && rule.entropy > 0.0, "{}", rule.id);
        assert!(
            rule.keywords.iter().all(|keyword| !keyword.is_empty() && *keyword == keyword.to_lowercase()),
            "{}",
            rule.id
        );
    }
}

#[test]
fn each_rule_has_two_samples_of_either_kind_and_its_keywords_are_in_all_true_ones() {
    let ids: BTreeSet<&str> = LOADED.rules.iter().map(|rule| rule.id.as_str()).collect();
    let named: BTreeSet<&str> = TABLE.keys().map(String::as_str).filter(|name| *name != CLEARED).collect();
    assert_eq!(ids, named);
    for (rule, samples) in rules() {
        assert!(samples.found.len() >= 2 && samples.cleared.len() >= 2, "{}", rule.id);
        for sample in &samples.found {
            let text = expand(sample).to_lowercase();
            assert!(rule.keywords.iter().any(|keyword| text.contains(keyword)), "{}: {sample}", rule.id);
        }
    }
}

#[test]
fn each_true_sample_is_found_in_each_encoding() {
    let mut scratch = Scratch::new();
    let mut missed = Vec::new();
    for (rule, samples) in rules() {
        for sample in &samples.found {
            let text = expand(sample);
            for (encoding, encode) in ENCODINGS {
                let encoded = encode(&text);
                if !scan(&mut scratch, &encoded).iter().any(|finding| name(finding) == rule.id) {
                    missed.push(format!("{} in {encoding}: {sample}", rule.id));
                }
            }
        }
    }
    assert!(missed.is_empty(), "{} missed:\n{}", missed.len(), missed.join("\n"));
}

#[test]
fn each_false_sample_is_cleared_by_its_rule_in_each_encoding() {
    let mut scratch = Scratch::new();
    let mut wrong = Vec::new();
    for (id, samples) in TABLE.iter() {
        for sample in &samples.cleared {
            let text = expand(sample);
            for (encoding, encode) in ENCODINGS {
                let findings = scan(&mut scratch, &encode(&text));
                let found = findings.iter().map(name).find(|found| id == CLEARED || found == id);
                wrong.extend(found.map(|found| format!("{found} in {encoding}: {sample}")));
            }
        }
    }
    assert!(wrong.is_empty(), "{} not cleared:\n{}", wrong.len(), wrong.join("\n"));
}

/// What a client sees of a stream, and what was found in it. Secrets are left out.
#[derive(Debug, Default, Eq, PartialEq)]
struct Seen {
    text: Vec<u8>,
    found: Vec<(&'static str, std::ops::Range<usize>)>,
}

fn stream<'a>(scratch: &mut Scratch, pieces: impl IntoIterator<Item = &'a [u8]>) -> Seen {
    let mut seen = Seen::default();
    let mut take = |piece: Piece<'_>| match piece {
        Piece::Text(text) => seen.text.extend_from_slice(text),
        Piece::Secret { findings, .. } => {
            seen.found.extend(findings.iter().map(|finding| (name(finding), finding.range.clone())));
        }
        Piece::More(_) => {}
        Piece::Overflow(_) | Piece::Exhausted => panic!("more than a stream takes"),
    };
    let mut stream = Stream::new(&SET);
    for piece in pieces {
        stream.push(&SET, scratch, &KEY, piece, &mut take);
    }
    stream.finish(&SET, scratch, &KEY, &mut take);
    seen
}

#[test]
fn a_stream_cut_at_any_byte_lets_the_same_through() {
    let mut scratch = Scratch::new();
    for (rule, samples) in rules() {
        for sample in &samples.found {
            let text = expand(sample);
            let whole = stream(&mut scratch, [text.as_bytes()]);
            assert!(whole.found.iter().any(|(found, _)| *found == rule.id), "{}: {sample}", rule.id);
            for at in 0..=text.len() {
                let (head, tail) = text.as_bytes().split_at(at);
                assert_eq!(stream(&mut scratch, [head, tail]), whole, "{} cut at {at}: {sample}", rule.id);
            }
            assert_eq!(stream(&mut scratch, text.as_bytes().chunks(1)), whole, "{} byte by byte: {sample}", rule.id);
        }
    }
}

#[test]
fn an_encoded_stream_cut_anywhere_lets_nothing_of_a_secret_through() {
    let mut scratch = Scratch::new();
    for (rule, samples) in rules() {
        let text = expand(&samples.found[0]);
        for (encoding, encode) in ENCODINGS {
            let encoded = encode(&text);
            let whole = stream(&mut scratch, [encoded.as_bytes()]);
            assert!(whole.found.iter().any(|(found, _)| *found == rule.id), "{} in {encoding}", rule.id);
            // Each place of a short text, and a prime apart in a longer one.
            let step = if encoded.len() > 300 { 31 } else { 3 };
            for at in (0..=encoded.len()).step_by(step) {
                let (head, tail) = encoded.as_bytes().split_at(at);
                assert_eq!(stream(&mut scratch, [head, tail]), whole, "{} in {encoding} cut at {at}", rule.id);
            }
            assert_eq!(
                stream(&mut scratch, encoded.as_bytes().chunks(1)),
                whole,
                "{} in {encoding} byte by byte",
                rule.id
            );
        }
    }
}

#[test]
fn the_files_of_the_rules_hold_nothing_that_looks_like_a_credential() {
    let mut scratch = Scratch::new();
    for text in [RULES, SAMPLES] {
        let found = scan(&mut scratch, text);
        assert!(
            found.is_empty(),
            "{:?}",
            found.iter().map(|found| (name(found), &text[found.range.clone()])).collect::<Vec<_>>()
        );
    }
}
