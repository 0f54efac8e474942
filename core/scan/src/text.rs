//! Scans a text that is there as a whole.

use crate::{
    finding::{Finding, FingerprintKey, RuleIndex},
    set::{RuleSet, Scratch},
    stream::{Piece, Stream, TEXT_MATCH_BYTES_MAX},
};

/// What a text holds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Scan {
    /// The secrets, by where they begin.
    pub findings: Vec<Finding>,
    /// Rules whose match was alive for 16 KiB, and then given up.
    pub cut: Vec<RuleIndex>,
    /// The text asked for more work than is spent on one, and not all of it was looked at.
    pub is_exhausted: bool,
}

// === impl RuleSet ===

impl RuleSet {
    /// Finds the secrets in a text.
    #[must_use]
    pub fn scan(&self, scratch: &mut Scratch, key: &FingerprintKey, text: &[u8]) -> Scan {
        let mut scan = Scan::default();
        let mut stream = Stream::with_match_max(self, TEXT_MATCH_BYTES_MAX);
        let mut take = |piece: Piece<'_>| match piece {
            Piece::Text(_) => {}
            Piece::Secret { findings, .. } => scan.findings.extend_from_slice(findings),
            Piece::More(bytes) => {
                if let Some(last) = scan.findings.iter_mut().rev().find(|finding| finding.is_open) {
                    last.range.end = last.range.end.saturating_add(bytes.len());
                }
            }
            Piece::Overflow(rule) => scan.cut.push(rule),
            Piece::Exhausted => scan.is_exhausted = true,
        };
        stream.push(self, scratch, key, text, &mut take);
        stream.finish(self, scratch, key, &mut take);
        scan
    }

    /// Lets a thread's scratch visit what texts usually visit, so that its first request does not pay for it.
    pub fn warm(&self, scratch: &mut Scratch, key: &FingerprintKey) {
        let mut text = Vec::new();
        for word in self.keywords.words() {
            for form in ["{}", " \"{}\": \"", "_{}_id = 'abc123", "let my_{}: &str = env(\"{}\");\n", "{}.example/{} "]
            {
                text.extend_from_slice(form.replace("{}", word).as_bytes());
            }
        }
        let _ = self.scan(scratch, key, &text);
    }
}
