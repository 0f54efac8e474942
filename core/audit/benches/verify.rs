//! Measures how many entries of an exported log are verified in a second: those that a replica writes of a visit, and short ones of
//! the control plane, for whoever has the public key alone and for whoever has the HMAC key too. Beside it the floor: SHA-256 over
//! the same bytes, without looking at what they say.
//!
//! `cargo bench -p tollgate-audit --bench verify`. It also prints how long a line and a body are, in bytes.
#![expect(clippy::print_stdout, clippy::indexing_slicing, reason = "it prints figures, of documents that it makes")]

use std::{borrow::Cow, collections::HashMap, hint::black_box};

use criterion::{Criterion, Throughput};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tollgate_audit::{
    Checkpoint, Entry, Facts, Frontier, Header, MacKey, Outcome, Trust, Verifier,
    checkpoint::PublicKey,
    file::{Content, Head, InvalidLine, seal, write_checkpoint, write_end},
    seal::{CHAIN_START, CONTROL_PLANE},
    tree::Hash,
};

type Failure = Box<dyn std::error::Error>;
/// What is written, whether replicas do, and an entry of it by its index.
type Kind = (&'static str, bool, fn(u64) -> Entry);

const LOG: [u8; 16] = [0xa1; 16];
const ENTRIES: u64 = 4_000;
/// As control planes do.
const BETWEEN_CHECKPOINTS: u64 = 1_000;
const REPLICAS: u64 = 4;
const ULID: &str = "01k9zq3v5m8c4t2n7r6x0w1y9b";

fn main() -> Result<(), Failure> {
    let mut criterion = Criterion::default().configure_from_args();
    let mac_key = MacKey::new(&[7; 32])?;
    let kinds: [Kind; 3] = [
        ("visits", true, |index| visit(index, false)),
        ("visits with every circumstance", true, |index| visit(index, true)),
        ("administrative", false, change),
    ];
    for (name, of_replicas, entry) in kinds {
        let log = Log::write(of_replicas, entry, &mac_key)?;
        println!("{name}: a line of {} bytes, a body of {}", log.bytes / ENTRIES, log.body_bytes / ENTRIES);
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(ENTRIES));
        for (with, mac_keys) in [("public key", vec![]), ("HMAC key too", vec![mac_key.clone()])] {
            let trust = Trust { public_keys: vec![log.public_key], mac_keys, ..Trust::default() };
            assert_eq!(verified(&log.lines, trust.clone())?, ENTRIES);
            group.bench_function(with, |bencher| {
                bencher.iter(|| verified(black_box(&log.lines), trust.clone()).is_ok())
            });
        }
        group
            .bench_function("floor: the hashes alone", |bencher| bencher.iter(|| hashed(black_box(&log.hashed), None)));
        let keyed = Some(&mac_key);
        group.bench_function("floor: with the MACs", |bencher| bencher.iter(|| hashed(black_box(&log.hashed), keyed)));
        group.finish();
    }
    criterion.final_summary();
    Ok(())
}

fn verified(lines: &[Vec<u8>], trust: Trust) -> Result<u64, Failure> {
    let (first, rest) = lines.split_first().ok_or("no lines")?;
    let mut verifier = Verifier::begin(first, trust)?;
    for line in rest {
        verifier.line(line)?;
    }
    Ok(verifier.finish()?.entries)
}

/// What has to be hashed of an entry.
struct Hashed {
    body: Vec<u8>,
    header: Vec<u8>,
}

// Four hashes are due for each entry, however it is read: its body's, its leaf's, its link's, and on average one node's.
fn hashed(all: &[Hashed], mac_key: Option<&MacKey>) -> Hash {
    let mut before = Hash::default();
    for Hashed { body, header } in all {
        let commitment: Hash = Sha256::digest(body).into();
        let mac = mac_key.map_or(before, |key| key.mac(&[header, &commitment]));
        let leaf =
            Sha256::new_with_prefix([0]).chain_update(header).chain_update(commitment).chain_update(mac).finalize();
        let link = Sha256::new_with_prefix([2; 17]).chain_update(before).chain_update(commitment).finalize();
        before = Sha256::new_with_prefix([1]).chain_update(leaf).chain_update(link).finalize().into();
    }
    before
}

/// An exported log, its lines without their breaks.
struct Log {
    lines: Vec<Vec<u8>>,
    hashed: Vec<Hashed>,
    public_key: PublicKey,
    bytes: u64,
    body_bytes: u64,
}

impl Log {
    fn write(of_replicas: bool, entry: fn(u64) -> Entry, mac_key: &MacKey) -> Result<Self, Failure> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).map_err(|_| "no key pair")?;
        let public_key = PublicKey::try_from(pair.public_key().as_ref())?;
        let head = Head { log: LOG, start: Frontier::default(), key: public_key };
        let mut log = Self { lines: vec![head.write()?], hashed: vec![], public_key, bytes: 0, body_bytes: 0 };
        let (mut tree, mut chains) = (Frontier::default(), HashMap::<String, (u64, Hash)>::new());
        for index in 1..=ENTRIES {
            let entry = entry(index);
            let writer = if of_replicas { format!("{}-{ULID}", index % REPLICAS) } else { CONTROL_PLANE.to_owned() };
            let chain = chains.entry(writer.clone()).or_insert((0, CHAIN_START));
            let header = Header {
                log: LOG,
                index,
                writer: &writer,
                incarnation: 3,
                sequence: chain.0 + 1,
                previous: chain.1,
                time_ms: entry.time_ms(),
                action: entry.action(),
                key: mac_key.id(),
            };
            let (salt, body) = ([5; 16], entry.encode()?);
            let content = Content::Body { salt, body: Cow::Borrowed(&body) };
            let (stored, commitment) = seal(&header, content, mac_key)?;
            *chain = (header.sequence, header.link(&commitment));
            tree.push(stored.leaf);
            let line = stored.write(&[])?;
            log.bytes += u64::try_from(line.len())?;
            log.body_bytes += u64::try_from(body.len())?;
            log.lines.push(line);
            log.hashed.push(Hashed { body: [salt.as_slice(), &body].concat(), header: header.encode()? });
            if index % BETWEEN_CHECKPOINTS == 0 {
                log.checkpoint(&tree, &pair, mac_key, index == ENTRIES)?;
            }
        }
        log.lines.iter_mut().for_each(|line| line.truncate(line.len().saturating_sub(1)));
        Ok(log)
    }

    fn checkpoint(
        &mut self,
        tree: &Frontier,
        pair: &Ed25519KeyPair,
        mac_key: &MacKey,
        is_last: bool,
    ) -> Result<(), InvalidLine> {
        let checkpoint = Checkpoint { log: LOG, size: tree.size(), root: tree.root(), time_ms: 1_764_000_000_000 };
        let text = checkpoint.text(mac_key);
        let note = checkpoint.note(&text, &self.public_key, pair.sign(text.as_bytes()).as_ref());
        self.lines.push(if is_last { write_end(&note) } else { write_checkpoint(&note) }?);
        Ok(())
    }
}

// As of an agent's request under a budget; with every circumstance also under two rate limits and the limit of its session, of a
// model with a price for long contexts.
fn visit(index: u64, every: bool) -> Entry {
    let rates = json!({
        "input": 3_000_000_000_u64, "output": 15_000_000_000_u64, "cache_read": 300_000_000,
        "cache_write_5m": 3_750_000_000_u64, "cache_write_1h": 6_000_000_000_u64,
    });
    let mut price = rates.clone();
    (price["vendor"], price["model"]) = (json!("anthropic"), json!("claude-sonnet-4-5"));
    let mut detail = json!({
        "status": 200, "cost_nano_usd": 45_000_000 + index, "duration_ms": 12_000, "attempts": 1, "revision": 12,
        "incarnation": 3, "sequence": index, "input_tokens": 12, "output_tokens": 900, "cache_read_tokens": 80_000,
        "cache_write_5m_tokens": 2_000, "operation": "messages", "team": ULID, "customer": ULID, "user": ULID,
        "provider": ULID, "credential": ULID, "answered_model": "claude-sonnet-4-5-20250929",
        "upstream_request_id": "req_011CVxyzxyzxyzxyzxyzxyzx", "streamed": true,
        "budgets": [{"budget": ULID, "window_ms": 1_700_000_000_000_u64}], "held_nano_usd": 1_000_000,
        "user_agent": "claude-cli/2.1.330 (external, sdk-cli)",
    });
    if every {
        price["long_context"] = rates;
        price["long_context"]["threshold"] = json!(200_000);
        let limit = |measure, amount| json!({"owner": ULID, "measure": measure, "amount": amount, "span_ms": 60_000});
        detail["limits"] = json!([limit("requests", 600), limit("tokens", 2_000_000)]);
        detail["in_session_limit"] = json!(true);
    }
    detail["price"] = price;
    let (initiator, request_id) = (format!("key/{ULID}"), format!("req_{ULID}"));
    let facts = Facts {
        initiator: &initiator,
        target: "model/claude-sonnet-4-5",
        request_id: &request_id,
        session: "3f0c1f0e-6a9f-4a6e-9d5f-1d2b3c4d5e6f",
        source_address: "192.0.2.7",
        detail: detail.as_object().cloned().unwrap_or_default(),
        ..Facts::default()
    };
    Entry::new(1_764_000_000_000 + index.cast_signed(), "request.admit", Outcome::Allowed, facts)
}

fn change(index: u64) -> Entry {
    let detail = json!({"name": "ci", "changed": {"disabled": {"before": false, "after": true}}});
    let target = format!("key/{ULID}");
    let facts = Facts {
        initiator: "administrator/bootstrap",
        target: &target,
        request_id: "req_1",
        source_address: "192.0.2.7",
        detail: detail.as_object().cloned().unwrap_or_default(),
        ..Facts::default()
    };
    Entry::new(1_764_000_000_000 + index.cast_signed(), "key.update", Outcome::Allowed, facts)
}
