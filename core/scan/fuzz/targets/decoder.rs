//! A secret is found through up to three encodings, whatever stands around it on each of them; and no bytes ask for more than the bounds.
#![no_main]

use std::{cell::RefCell, sync::LazyLock};

use base64::{Engine as _, engine::general_purpose};
use libfuzzer_sys::fuzz_target;
use tollgate_scan::{FingerprintKey, HELD_BYTES_MAX, Piece, RULES, RuleSet, Scratch, Stream, gitleaks};

/// In two halves, so that no scanner of a forge takes it for a credential.
const SECRET: &str = concat!("AKIA", "Q3EGUXWZ5NRB2TYA");
const RULE: &str = "aws-access-key-id";
/// The scanner takes off so many encodings.
const DEPTH_MAX: usize = 3;
/// How much stands around what is encoded, and how much within: a run of base64 or hex is decoded in segments of 3,584 bytes, and what is
/// encoded within one is only whole where all of it fits.
const AROUND_BYTES_MAX: usize = 200;
const WITHIN_BYTES_MAX: usize = 8;

static SET: LazyLock<RuleSet> = LazyLock::new(|| {
    let (rules, _) = gitleaks::load(RULES, gitleaks::Bases::default()).expect("our own rules load");
    RuleSet::compile(&rules).0
});

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::new());
}

/// The bytes that decide. When there are none left, all is nought.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// Printable text without what says that a secret is meant to be there.
    fn text(&mut self, bytes_max: usize) -> String {
        let size = usize::from(self.byte()).min(bytes_max).min(self.0.len());
        let (text, rest) = self.0.split_at(size);
        self.0 = rest;
        let printable = |byte: &u8| if *byte == b'\n' { '\n' } else { char::from(b' ' + byte % 95) };
        text.iter().map(printable).collect::<String>().replace(":allow", "")
    }

    /// What no run of an encoding and no word goes on over.
    fn between(&mut self) -> char {
        [' ', '\n', '"', ';', '|'][usize::from(self.byte()) % 5]
    }

    /// Writes a text in another form. `mask` says which characters are escaped where not all need be.
    fn encoded(&mut self, text: &str) -> String {
        let (kind, mask) = (self.byte(), u64::from(self.byte()) | 1);
        // An escape within is only whole if it is escaped as such.
        let is_escaped = |at: usize, char: char| matches!(char, '%' | '\\') || mask >> (at % 8) & 1 == 1;
        let escaped = |escape: &dyn Fn(char) -> String| {
            let one = |(at, char)| if is_escaped(at, char) { escape(char) } else { char.to_string() };
            text.chars().enumerate().map(one).collect::<String>()
        };
        match kind % 8 {
            0 => general_purpose::STANDARD.encode(text),
            1 => general_purpose::STANDARD_NO_PAD.encode(text),
            2 => general_purpose::URL_SAFE.encode(text),
            3 => general_purpose::URL_SAFE_NO_PAD.encode(text),
            4 => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
            5 => text.bytes().map(|byte| format!("{byte:02X}")).collect(),
            6 => escaped(&|char| format!("%{:02X}", u32::from(char))),
            _ => escaped(&|char| format!("\\u{:04x}", u32::from(char))),
        }
    }
}

/// The rules that match, and whether the scanner gave up.
fn found(scratch: &mut Scratch, text: &[u8], piece: usize) -> (Vec<&'static str>, bool) {
    let key = FingerprintKey::new(&[7; 32]);
    let (mut stream, mut found, mut is_exhausted, mut passed) = (Stream::new(&SET), Vec::new(), false, 0);
    let mut take = |piece: Piece<'_>| match piece {
        Piece::Secret { findings, text: secret } => {
            passed += secret.len();
            assert!(findings.iter().all(|finding| finding.range.end <= text.len()));
            found.extend(findings.iter().filter_map(|finding| SET.rule(finding.rule)).map(|rule| rule.id));
        }
        Piece::Text(text) | Piece::More(text) => passed += text.len(),
        Piece::Exhausted => is_exhausted = true,
        Piece::Overflow(_) => {}
    };
    for piece in text.chunks(piece.max(1)) {
        stream.push(&SET, scratch, &key, piece, &mut take);
        assert!(stream.held() <= HELD_BYTES_MAX);
    }
    stream.finish(&SET, scratch, &key, &mut take);
    assert_eq!(passed, text.len());
    (found, is_exhausted)
}

// The rules are compiled ahead: the first input has no more time than any other.
fuzz_target!(init: LazyLock::force(&SET), |data: &[u8]| {
    SCRATCH.with_borrow_mut(|scratch| {
        let mut input = Input(data);
        let (depth, piece) = (usize::from(input.byte()) % (DEPTH_MAX + 1), usize::from(input.byte()));
        // Whatever it is, it is taken, and by pieces as in one.
        assert_eq!(found(scratch, input.0, piece), found(scratch, input.0, input.0.len()));
        let mut text = SECRET.to_owned();
        for level in 0..=depth {
            let bytes_max = if level < depth { WITHIN_BYTES_MAX } else { AROUND_BYTES_MAX };
            let (before, between) = (input.text(bytes_max), input.between());
            text = format!("{before}{between}{text}{}{}", input.between(), input.text(bytes_max));
            if level < depth {
                text = input.encoded(&text);
            }
        }
        let (rules, is_exhausted) = found(scratch, text.as_bytes(), piece);
        assert!(is_exhausted || rules.contains(&RULE), "{depth} deep: {text:?} holds {rules:?}");
    });
});
