//! Whatever way a text is cut, what goes on and what is found is the same. The first byte says how long the pieces are.
#![no_main]

use std::{cell::RefCell, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use tollgate_scan::{Finding, FingerprintKey, HELD_BYTES_MAX, Piece, RULES, RuleSet, Scratch, Stream, gitleaks};

static SET: LazyLock<RuleSet> = LazyLock::new(|| {
    let (rules, _) = gitleaks::load(RULES, gitleaks::Bases::default()).expect("our own rules load");
    RuleSet::compile(&rules).0
});

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::new());
}

fn streamed(scratch: &mut Scratch, text: &[u8], piece: usize) -> (Vec<Finding>, Vec<u8>, Vec<u8>) {
    let key = FingerprintKey::new(&[7; 32]);
    let (mut stream, mut findings, mut passed, mut all) = (Stream::new(&SET), Vec::new(), Vec::new(), Vec::new());
    let mut take = |piece: Piece<'_>| match piece {
        Piece::Text(text) => {
            passed.extend_from_slice(text);
            all.extend_from_slice(text);
        }
        Piece::Secret { findings: found, text } => {
            findings.extend_from_slice(found);
            passed.push(0);
            all.extend_from_slice(text);
        }
        Piece::More(text) => all.extend_from_slice(text),
        Piece::Overflow(_) | Piece::Exhausted => {}
    };
    for piece in text.chunks(piece.max(1)) {
        stream.push(&SET, scratch, &key, piece, &mut take);
        assert!(stream.held() <= HELD_BYTES_MAX);
    }
    stream.finish(&SET, scratch, &key, &mut take);
    (findings, passed, all)
}

// The rules are compiled ahead: the first input has no more time than any other.
fuzz_target!(init: LazyLock::force(&SET), |data: &[u8]| {
    let Some((piece, text)) = data.split_first() else { return };
    SCRATCH.with_borrow_mut(|scratch| {
        let whole = streamed(scratch, text, text.len());
        assert_eq!(whole.2, text);
        assert_eq!(streamed(scratch, text, usize::from(*piece)), whole);
    });
});
