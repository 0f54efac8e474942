//! Counts the findings in all text files below directories, for judging how often rules are wrong:
//! `cargo run -p tollgate-scan --example alarms -- [--rules FILE] DIRECTORY..`.

#![expect(clippy::print_stdout, reason = "a tool for the command line")]
#![expect(clippy::disallowed_methods, reason = "reads the files that it is given, as the crate itself never does")]

use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use tollgate_scan::{FingerprintKey, RuleSet, Scratch, gitleaks};

const DEFAULT_RULES: &str = include_str!("../rules/tollgate.toml");
/// As Git does: a file with a zero byte in its beginning is no text.
const BINARY_BYTES: usize = 8_000;
/// How much of a finding is shown.
const SHOWN_CHARS: usize = 100;
const TEN_MB: f64 = 10_000_000.0;

struct Count {
    set: RuleSet,
    key: FingerprintKey,
    scratch: Scratch,
    bytes: usize,
    files: usize,
    findings: BTreeMap<String, usize>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let mut rules = DEFAULT_RULES.to_owned();
    if arguments.first().is_some_and(|first| first == Path::new("--rules")) {
        let given: Vec<PathBuf> = arguments.drain(..arguments.len().min(2)).collect();
        rules = fs::read_to_string(given.last().ok_or("--rules needs a file")?)?;
    }
    let (rules, report) = gitleaks::load(&rules, gitleaks::Bases { default: Some(DEFAULT_RULES), files: &[] })?;
    report.remarks().iter().for_each(|remark| println!("{remark}"));
    let mut count = Count {
        set: RuleSet::compile(&rules).0,
        key: FingerprintKey::new(&[0; 32]),
        scratch: Scratch::new(),
        bytes: 0,
        files: 0,
        findings: BTreeMap::new(),
    };
    for directory in arguments {
        count.visit(&directory)?;
    }
    count.print();
    Ok(())
}

impl Count {
    fn visit(&mut self, path: &Path) -> Result<(), Box<dyn Error>> {
        if path.is_dir() {
            let mut entries =
                fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
            entries.sort();
            return entries.iter().try_for_each(|entry| self.visit(entry));
        }
        let text = fs::read(path)?;
        if !text.iter().take(BINARY_BYTES).any(|byte| *byte == 0) {
            self.scan(path, &text);
        }
        Ok(())
    }

    fn scan(&mut self, path: &Path, text: &[u8]) {
        self.bytes = self.bytes.saturating_add(text.len());
        self.files = self.files.saturating_add(1);
        let scan = self.set.scan(&mut self.scratch, &self.key, text);
        if scan.is_exhausted {
            println!("{}: not looked at as a whole", path.display());
        }
        for finding in scan.findings {
            let Some(rule) = self.set.rule(finding.rule) else { continue };
            let before = text.get(..finding.range.start).unwrap_or_default();
            let line = before.iter().filter(|byte| **byte == b'\n').count().saturating_add(1);
            let shown = String::from_utf8_lossy(text.get(finding.range.clone()).unwrap_or_default());
            let shown: String = shown.chars().take(SHOWN_CHARS).collect();
            let encoded = if finding.is_encoded { " (encoded)" } else { "" };
            println!("{}{encoded} {}:{line} {shown:?}", rule.id, path.display());
            let count = self.findings.entry(rule.id.to_owned()).or_default();
            *count = count.saturating_add(1);
        }
    }

    fn print(&self) {
        let all: usize = self.findings.values().sum();
        for (rule, count) in &self.findings {
            println!("{count:6} {rule}");
        }
        let rate = all as f64 * TEN_MB / self.bytes.max(1) as f64;
        println!("{} files, {} bytes, {all} findings, {rate:.2} per 10 MB", self.files, self.bytes);
    }
}
