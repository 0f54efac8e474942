//! A rule file is read, or refused, whatever it holds; what was compiled of it scans.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_scan::{dry_run, gitleaks};

fuzz_target!(|text: &str| {
    if let Ok((rules, _)) = gitleaks::load(text, gitleaks::Bases::default()) {
        let run = dry_run(&rules, text.as_bytes());
        assert!(run.scan.findings.iter().all(|finding| finding.range.end <= text.len()));
    }
});
