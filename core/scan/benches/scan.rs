//! Measures what scanning costs, with the rules that come with Tollgate: a body like those of Claude Code late in a session (400 KB), cold
//! and when all but its last block was scanned before, and the events of a stream.
//!
//! `cargo bench -p tollgate-scan --bench scan`. The goals are 4 ms of CPU cold, 0.3 ms for the next turn and 5 µs for an event. What is
//! measured is the time that the process had a processor, where Linux tells it: others on the machine do not count.
#![expect(clippy::print_stdout, reason = "it prints how large things are")]
#![expect(clippy::disallowed_methods, reason = "a clock is read, as the crate itself never does")]

use std::{
    fs,
    hint::black_box,
    time::{Duration, Instant},
};

use criterion::{
    Criterion, Throughput,
    measurement::{Measurement, ValueFormatter, WallTime},
};
use tollgate_scan::{FingerprintKey, Hasher, Memo, RULES, RuleSet, Scratch, Stream, gitleaks};

const BLOCKS: usize = 150;
const LINES: usize = 32;
const EVENTS: usize = 1_000;

/// The time of a processor.
struct CpuTime(Instant);

impl CpuTime {
    fn now(&self) -> Duration {
        let told = fs::read_to_string("/proc/self/schedstat").ok();
        let nanoseconds = told.as_deref().and_then(|told| told.split_whitespace().next()?.parse().ok());
        nanoseconds.map_or_else(|| self.0.elapsed(), Duration::from_nanos)
    }
}

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        self.now()
    }

    fn end(&self, start: Duration) -> Duration {
        self.now().saturating_sub(start)
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

fn main() {
    let mut criterion = Criterion::default().with_measurement(CpuTime(Instant::now())).configure_from_args();
    let Ok((rules, _)) = gitleaks::load(RULES, gitleaks::Bases::default()) else { return };
    let (set, _) = RuleSet::compile(&rules);
    let (mut scratch, key) = (Scratch::new(), FingerprintKey::new(&[7; 32]));
    set.warm(&mut scratch, &key);
    println!("{} rules: {} bytes compiled, {} bytes a thread", set.len(), set.memory(), scratch.memory());
    body(&mut criterion, &set, &mut scratch, &key);
    stream(&mut criterion, &set, &mut scratch, &key);
    criterion.bench_function("compile", |bencher| bencher.iter(|| RuleSet::compile(black_box(&rules))));
    criterion.final_summary();
}

fn body(criterion: &mut Criterion<CpuTime>, set: &RuleSet, scratch: &mut Scratch, key: &FingerprintKey) {
    let blocks = blocks();
    let bytes: usize = blocks.iter().map(String::len).sum();
    let mut group = criterion.benchmark_group("body");
    group.throughput(Throughput::Bytes(bytes as u64));
    group.bench_function("cold", |bencher| {
        bencher.iter(|| {
            let found = blocks.iter().map(|block| set.scan(scratch, key, black_box(block.as_bytes())).findings.len());
            found.sum::<usize>()
        });
    });
    let (hasher, mut memo) = (Hasher::new(&[9; 16]), Memo::new(10_000));
    for block in blocks.iter().skip(1) {
        memo.insert(hasher.hash(set.version(), block.as_bytes()), set.scan(scratch, key, block.as_bytes()));
    }
    group.bench_function("next turn", |bencher| {
        bencher.iter(|| {
            let found =
                blocks.iter().map(|block| match memo.get(hasher.hash(set.version(), black_box(block.as_bytes()))) {
                    Some(scan) => scan.findings.len(),
                    None => set.scan(scratch, key, block.as_bytes()).findings.len(),
                });
            found.sum::<usize>()
        });
    });
    group.finish();
}

fn stream(criterion: &mut Criterion<CpuTime>, set: &RuleSet, scratch: &mut Scratch, key: &FingerprintKey) {
    let mut group = criterion.benchmark_group("stream");
    group.throughput(Throughput::Elements(EVENTS as u64));
    let pieces = [
        " I read",
        " the next",
        " file and",
        " its tests.",
        "\nlet value",
        " = config",
        ".token",
        "_count();",
        " It",
        " says why.",
    ];
    group.bench_function("events", |bencher| {
        bencher.iter(|| {
            let (mut stream, mut out) = (Stream::new(set), 0_usize);
            for piece in pieces.iter().cycle().take(EVENTS) {
                stream.push(set, scratch, key, black_box(piece.as_bytes()), |_| out += 1);
            }
            stream.finish(set, scratch, key, |_| out += 1);
            out
        });
    });
    group.finish();
}

/// What tools returned, as Claude Code sends it: numbered lines of programs, with texts, escapes and long names in them.
fn blocks() -> Vec<String> {
    let line = |block: usize, line: usize| match line % 4 {
        0 => format!("{line:>6}\tlet value_{block} = \"a text in the code\\n\"; // and a remark about it\n"),
        1 => format!(
            "{line:>6}\tpub(crate) fn authorization_header_of_request(&self, key: &ApiKey) -> Option<Token> {{\n"
        ),
        2 => format!(
            "{line:>6}\t    self.entries.get(key).map(|entry| entry.value_{block}.clone()).unwrap_or_default()\n"
        ),
        _ => format!("{line:>6}\t}}  # see https://docs.example.com/path/to/some/page?query=%20text&other={block}\n"),
    };
    (0..BLOCKS).map(|block| (0..LINES).map(|at| line(block, at)).collect()).collect()
}
