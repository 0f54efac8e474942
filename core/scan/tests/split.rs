//! Whatever way a text is cut, what goes on and what is found is the same; and it is what a scan of the whole finds.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use std::sync::LazyLock;

use proptest::prelude::*;
use tollgate_scan::{Finding, FingerprintKey, Piece, RuleSet, Scratch, Stream, gitleaks};

const RULES: &str = r#"
[[rules]]
id = "acme-key"
regex = '''\bACME[A-Z0-9]{8}\b'''
keywords = ["acme"]

[[rules]]
id = "assigned"
regex = '''(?i)[\w.-]{0,50}?(?:token|key)(?:[ \t\w.-]{0,20})[\s'"]{0,3}(?:=|:)[\x60'"\s=]{0,5}([a-z0-9]{10,40})(?:[\x60'"\s;]|$)'''
keywords = ["token", "key"]
entropy = 2.0
  [[rules.allowlists]]
  regexTarget = "line"
  regexes = ["harmless"]
  [[rules.allowlists]]
  stopwords = ["example"]

[[rules]]
id = "hook"
regex = '''(?:https?://)?hooks\.acme\.example/([a-z]{4}/)?[A-Z0-9]{8}'''
keywords = ["hooks.acme.example"]
secretGroup = 0

[[rules]]
id = "suffixed"
regex = '''([a-z0-9]{14}\.atlas\.[a-z0-9]{5,})'''
keywords = ["atlas"]

[[rules]]
id = "private-key"
regex = '''-----BEGIN [A-Z ]{0,20}KEY-----[\s\S]{8,}?-----END [A-Z ]{0,20}KEY-----'''
keywords = ["-----begin"]

[[rules]]
id = "digits"
regex = '''\b[0-9]{16}\b'''

[[rules]]
id = "near"
regex = '''\bid_[a-z]{6}\b'''
keywords = ["id_"]
  [[rules.required]]
  id = "acme-key"
  withinLines = 1

[[rules]]
id = "beside"
regex = '''\b(?:sgp_[a-f0-9]{6}|[a-f0-9]{12})\b'''
keywords = ["sgp_", "graph"]

[[rules]]
id = "unbounded"
regex = '''\bey[A-Za-z0-9]{6,}\.[A-Za-z0-9]{6,}\b'''
keywords = ["ey"]
"#;

/// What texts are put together from: whole and broken secrets, what is around them, and what separates them.
const WORDS: [&str; 40] = [
    "ACMEAB12CD34",
    "acme",
    "ACME",
    "AB12CD34",
    "token",
    "key = \"",
    "a1b2c3d4e5f6g7\"",
    "monkey",
    "=",
    ": ",
    "'",
    "\n",
    " ",
    ";",
    "https://hooks.acme.example/",
    "abcd/",
    "QWERTY12",
    "http",
    "abcdefgh123456.atlas.xyz12",
    "abcdefgh123456",
    ".at",
    "las.xyz12",
    "-----BEGIN ACME KEY-----",
    "\nQUJD\n",
    "-----END ACME KEY-----",
    "4929123412341234",
    "49291234",
    "id_abcdef",
    "graph ",
    "0a1b2c3d4e5f",
    "sgp_0a1b2c",
    "eyAbcdefg.Hijklmno",
    "ey",
    "harmless",
    "example",
    "# tollgate:allow",
    "\u{200b}",
    "%41",
    "\\n",
    "\\u0041",
];

static SET: LazyLock<RuleSet> = LazyLock::new(set);

fn set() -> RuleSet {
    let (rules, report) = gitleaks::load(RULES, gitleaks::Bases::default()).unwrap();
    assert!(report.remarks().is_empty(), "{report:?}");
    let (set, report) = RuleSet::compile(&rules);
    assert_eq!(report.refused().count(), 0, "{report:?}");
    set
}

#[derive(Debug, Default, PartialEq)]
struct Seen {
    findings: Vec<Finding>,
    /// What went on, with each secret replaced.
    text: Vec<u8>,
    all: Vec<u8>,
}

impl Seen {
    fn take(&mut self, piece: Piece<'_>) {
        match piece {
            Piece::Text(text) => {
                self.text.extend_from_slice(text);
                self.all.extend_from_slice(text);
            }
            Piece::Secret { findings, text } => {
                self.findings.extend_from_slice(findings);
                self.text.extend_from_slice(b"[REDACTED]");
                self.all.extend_from_slice(text);
            }
            Piece::More(text) => self.all.extend_from_slice(text),
            Piece::Overflow(_) | Piece::Exhausted => {}
        }
    }
}

fn streamed<'a>(set: &RuleSet, scratch: &mut Scratch, pieces: impl Iterator<Item = &'a [u8]>) -> Seen {
    let key = FingerprintKey::new(&[7; 32]);
    let (mut stream, mut seen) = (Stream::new(set), Seen::default());
    for piece in pieces {
        stream.push(set, scratch, &key, piece, |piece| seen.take(piece));
        assert!(stream.held() <= tollgate_scan::HELD_BYTES_MAX, "held {}", stream.held());
    }
    stream.finish(set, scratch, &key, |piece| seen.take(piece));
    seen
}

/// The text whole, cut once at each place, and byte by byte.
fn check(set: &RuleSet, scratch: &mut Scratch, text: &[u8]) -> Seen {
    let whole = streamed(set, scratch, std::iter::once(text));
    assert_eq!(whole.all, text);
    for cut in 1..text.len() {
        let parts = [&text[..cut], &text[cut..]];
        assert_eq!(
            streamed(set, scratch, parts.into_iter()),
            whole,
            "cut at {cut} of {:?}",
            String::from_utf8_lossy(text)
        );
    }
    let bytes = streamed(set, scratch, text.chunks(1));
    assert_eq!(bytes, whole, "byte by byte: {:?}", String::from_utf8_lossy(text));
    let scan = set.scan(scratch, &FingerprintKey::new(&[7; 32]), text);
    assert_eq!(scan.findings, whole.findings);
    whole
}

#[test]
fn a_secret_is_found_wherever_the_stream_is_cut() {
    let (set, mut scratch) = (&*SET, Scratch::new());
    let long = format!("-----BEGIN ACME KEY-----\n{}-----END ACME KEY-----", "QUJDREVGR0hJSktM\n".repeat(20));
    for (text, expect) in [
        ("nothing to see", vec![]),
        ("x ACMEAB12CD34 y", vec!["acme-key"]),
        ("xACMEAB12CD34 y", vec![]),
        ("ACMEAB12CD34", vec!["acme-key"]),
        ("my_token = \"a1b2c3d4e5f6g7\"\n", vec!["assigned"]),
        ("my_token = \"a1b2c3d4e5f6g7\" # harmless\n", vec![]),
        ("my_token = \"a1b2c3d4e5f6g7\" # tollgate:allow\n", vec![]),
        ("my_token = \"a1b2c3d4example\"\n", vec![]),
        ("see https://hooks.acme.example/abcd/QWERTY12.", vec!["hook"]),
        ("abcdefgh123456.atlas.xyz12 ", vec!["suffixed"]),
        (long.as_str(), vec!["private-key"]),
        ("card 4929123412341234 ok", vec!["digits"]),
        ("id_abcdef\nACMEAB12CD34\n", vec!["near", "acme-key"]),
        ("id_abcdef\n\n\nACMEAB12CD34\n", vec!["acme-key"]),
        ("a graph of 0a1b2c3d4e5f and", vec!["beside"]),
        ("no word 0a1b2c3d4e5f and", vec![]),
        ("eyAbcdefg.Hijklmno ", vec!["unbounded"]),
        ("AC\u{200b}MEAB12\u{200b}CD34 ", vec!["acme-key"]),
        ("say %41CMEAB12CD34 ", vec!["acme-key"]),
        ("say \\u0041CMEAB12CD34 ", vec!["acme-key"]),
        ("\\nACMEAB12CD34\\n", vec!["acme-key"]),
        ("%2541CMEAB12CD34 ", vec!["acme-key"]),
    ] {
        let seen = check(set, &mut scratch, text.as_bytes());
        let found: Vec<&str> = seen.findings.iter().map(|finding| set.rule(finding.rule).unwrap().id).collect();
        assert_eq!(found, expect, "{text:?}");
    }
}

#[test]
fn a_secret_that_is_there_with_and_without_its_escapes_is_told_without_them_wherever_the_stream_is_cut() {
    let (set, mut scratch) = (&*SET, Scratch::new());
    let key = "-----BEGIN ACME KEY-----\\nQUJDREVG\\n-----END ACME KEY-----";
    let meant = FingerprintKey::new(&[7; 32]).fingerprint(key.replace("\\n", "\n").as_bytes());
    // What is behind decides which of the two is decided first: escapes make the line of one shorter.
    for behind in ["".to_owned(), " and".to_owned(), "\\u0041".repeat(60), "\\u0041\n".to_owned()] {
        let seen = check(set, &mut scratch, [key, &behind].concat().as_bytes());
        let told: Vec<_> = seen.findings.iter().map(|finding| (finding.fingerprint, finding.is_encoded)).collect();
        assert_eq!(told, [(meant, true)], "{behind}");
    }
}

#[test]
fn nothing_of_a_secret_goes_on_before_it_is_decided() {
    let (set, mut scratch) = (&*SET, Scratch::new());
    let seen =
        check(set, &mut scratch, b"a https://hooks.acme.example/QWERTY12 and ACMEAB12CD34, card 4929123412341234.");
    assert_eq!(String::from_utf8_lossy(&seen.text), "a [REDACTED] and [REDACTED], card [REDACTED].");
}

#[test]
fn a_text_that_stands_for_little_is_not_waited_for_without_end() {
    let (set, mut scratch) = (&*SET, Scratch::new());
    for (filling, times) in
        [("\u{200b}", 30_000), ("\\u0041", 12_000), ("\\u005cu0041", 8_000), ("%2541", 18_000), ("A", 80_000)]
    {
        for start in [
            "-----BEGIN ACME KEY-----",
            "a ACM\\u0045AB12CD34",
            "my_token = \\u0022a1b2c3d4e5f6g7",
            "eyAbcdefg.H\\u0041",
        ] {
            let text = [start, &filling.repeat(times), " and ACMEAB12\\u0043D34."].concat();
            let whole = streamed(set, &mut scratch, std::iter::once(text.as_bytes()));
            assert_eq!(whole.all, text.as_bytes());
            let last = whole.findings.last().map(|finding| set.rule(finding.rule).unwrap().id);
            assert_eq!(last, Some("acme-key"), "{start} {filling}");
            for size in [1_000, 4_097] {
                assert_eq!(
                    streamed(set, &mut scratch, text.as_bytes().chunks(size)),
                    whole,
                    "{start} {filling} by {size}"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_text_is_scanned_alike_in_any_pieces(words in prop::collection::vec(prop::sample::select(WORDS.to_vec()), 1..14)) {
        check(&SET, &mut Scratch::new(), words.concat().as_bytes());
    }
}
