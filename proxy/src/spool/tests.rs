use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
};

use tempfile::TempDir;
use tollgate_audit::{
    Entry,
    seal::{CHAIN_START, Salt, commitment, link},
    tree::Hash,
};
use tollgate_proto::{convert::usage::Unidentified, usage::v1::Outcome as Wire};

use tollgate_policy::{
    id::{CustomerId, KeyId, TeamId},
    money::NanoUsd,
    time::UnixMillis,
    usage::{Attribution, Outcome, Record},
};
use tollgate_settings::Setting as _;

use super::*;
use crate::evidence::Circumstances;

const ULID: &str = "01k9zq3v5m8c4t2n7r6x0w1y9b";
const SALT: Salt = [7; 16];
const GROUP: Options = Options { durability: Durability::Group, bytes_max: BYTES_MIN };

fn attribution() -> Attribution {
    Attribution {
        key: KeyId::from_ulid(ULID).unwrap(),
        team: TeamId::from_ulid(ULID).unwrap(),
        customer: CustomerId::from_ulid(ULID).unwrap(),
        user: None,
        session: "session".into(),
        agent: Arc::default(),
        parent_agent: Arc::default(),
    }
}

fn intent(visit: u64) -> Intent {
    Intent {
        visit,
        request_id: format!("req_{visit}").into(),
        arrived: UnixMillis::new(1_700_000_000_000),
        attribution: attribution(),
        operation: "messages".into(),
        model: "claude-sonnet-4-5".into(),
        provider: None,
        credential: None,
        hold: NanoUsd::new(1_000),
        charges: Arc::default(),
        unpriced: false,
        revision: 5,
        circumstances: circumstances(),
    }
}

fn settled(visit: Option<u64>, record: Record) -> Ended {
    Ended { visit, record: v1::Record::from(&record), circumstances: circumstances() }
}

fn circumstances() -> Circumstances {
    Circumstances {
        source_address: Some([192, 0, 2, 7].into()),
        user_agent: "claude-cli/2.1.330".into(),
        ..Circumstances::default()
    }
}

fn ended(visit: u64, outcome: Outcome) -> Record {
    Record { outcome, cost: NanoUsd::new(10), ..intent(visit).presumed(0) }
}

fn open(dir: &TempDir, options: Options) -> (Spool, Recovered) {
    Spool::open(dir.path(), options).unwrap()
}

// Takes everything that is pending, acknowledging it: (incarnation, sequence, request id, outcome).
fn drain(spool: &Spool) -> Vec<(i64, i64, String, Wire)> {
    let mut drained = Vec::new();
    while let Some(pending) = spool.pending().unwrap() {
        let last = pending.first + u64::try_from(pending.records.len()).unwrap() - 1;
        let row = |record: v1::Record| {
            let outcome = record.outcome();
            (record.incarnation, record.sequence, record.request_id, outcome)
        };
        drained.extend(pending.records.into_iter().map(row));
        spool.acknowledge(pending.incarnation, last).unwrap();
    }
    drained
}

fn signed(number: u64) -> i64 {
    number.try_into().unwrap()
}

#[test]
fn intents_without_an_outcome_become_uncertain_once() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, recovered) = open(&dir, GROUP);
    assert_eq!(recovered, Recovered::default());
    let first_run = signed(spool.incarnation());
    for visit in [7, 8, 9] {
        let _ = spool.intent(&intent(visit)).unwrap();
    }
    assert_eq!(spool.depth().intents, 3);
    spool.outcomes(vec![settled(Some(8), ended(8, Outcome::Completed))]).unwrap();
    assert_eq!((spool.depth().intents, spool.depth().outcomes), (2, 1));
    drop(spool);

    let (spool, recovered) = open(&dir, GROUP);
    let second_run = signed(spool.incarnation());
    assert_eq!(recovered, Recovered { uncertain: 2, unreported: 1, unreadable: 0 });
    drop(spool);

    let (spool, recovered) = open(&dir, GROUP);
    assert_eq!(recovered, Recovered { uncertain: 0, unreported: 3, unreadable: 0 });
    spool.outcomes(vec![settled(None, ended(1, Outcome::Refused))]).unwrap();
    let third_run = signed(spool.incarnation());
    assert!(first_run < second_run && second_run < third_run);
    let expect = [
        (first_run, 1, "req_8".to_owned(), Wire::Completed),
        (second_run, 1, "req_7".to_owned(), Wire::Uncertain),
        (second_run, 2, "req_9".to_owned(), Wire::Uncertain),
        (third_run, 1, "req_1".to_owned(), Wire::Refused),
    ];
    assert_eq!(drain(&spool), expect);
    assert_eq!(spool.depth(), Depth { bytes_max: BYTES_MIN, ..Depth::default() });
    drop(spool);
    assert_eq!(open(&dir, GROUP).1, Recovered::default());
}

#[test]
fn an_uncertain_record_bears_the_estimate() {
    let dir = tempfile::tempdir().unwrap();
    let _ = open(&dir, GROUP).0.intent(&intent(1)).unwrap();
    let record = open(&dir, GROUP).0.pending().unwrap().unwrap().records.remove(0);
    assert_eq!((record.cost_nano_usd, record.attempts, record.status), (1_000, 1, 0));
    assert_eq!((record.key, record.session), (format!("key-{ULID}"), "session".to_owned()));
}

#[test]
fn the_incarnation_rises_even_when_the_clock_goes_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut before = 0;
    for now_ms in [1_700_000_000_000, 1_600_000_000_000, 0, 1_700_000_000_001, 1_800_000_000_000] {
        let incarnation = Spool::open_at(dir.path(), GROUP, now_ms, String::new()).unwrap().0.incarnation();
        assert!(incarnation > before && incarnation >= now_ms, "{incarnation} after {before}");
        before = incarnation;
    }
}

#[test]
fn what_is_pending_stays_until_it_is_acknowledged() {
    for durability in [Durability::Group, Durability::Memory] {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _) = open(&dir, Options { durability, bytes_max: BYTES_MIN });
        let run = spool.incarnation();
        let records = (0..700).map(|visit| settled(None, ended(visit, Outcome::Refused))).collect();
        spool.outcomes(records).unwrap();
        let first = spool.pending().unwrap().unwrap();
        assert_eq!((first.incarnation, first.first, first.records.len()), (run, 1, BATCH_MAX));
        assert_eq!(spool.pending().unwrap().unwrap(), first);
        spool.acknowledge(run, 300).unwrap();
        spool.acknowledge(run, 300).unwrap();
        spool.acknowledge(run, 10).unwrap();
        spool.acknowledge(run + 1, 700).unwrap();
        let second = spool.pending().unwrap().unwrap();
        let sequences: Vec<i64> = second.records.iter().map(|record| record.sequence).collect();
        assert_eq!(sequences, (301..=700).collect::<Vec<i64>>(), "{durability:?}");
        // A receipt for more than there is forgets nothing of what comes.
        spool.acknowledge(run, 9_000).unwrap();
        spool.outcomes(vec![settled(None, ended(1, Outcome::Refused))]).unwrap();
        assert_eq!(drain(&spool), [(signed(run), 701, "req_1".to_owned(), Wire::Refused)]);
    }
}

#[test]
fn a_full_spool_takes_no_visit_and_counts_what_it_drops() {
    for durability in [Durability::Group, Durability::Memory] {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _) = open(&dir, Options { durability, bytes_max: BYTES_MIN });
        let run = spool.incarnation();
        let mut taken = 0;
        while !spool.is_full() {
            let visit = taken;
            match spool.intent(&intent(visit)) {
                Ok(_) => spool.outcomes(vec![settled(Some(visit), ended(visit, Outcome::Completed))]).unwrap(),
                Err(backlog) => {
                    assert_eq!(backlog, Backlog::Full);
                    break;
                }
            }
            taken += 1;
        }
        // What is left below the bound is too little for an intent; refused visits still fit until it is reached.
        while !spool.is_full() {
            spool.outcomes(vec![settled(None, ended(0, Outcome::Refused))]).unwrap();
            taken += 1;
        }
        let bytes = spool.depth().bytes;
        for visit in 0..50 {
            spool
                .outcomes(vec![
                    settled(None, ended(visit, Outcome::Refused)),
                    settled(None, ended(visit, Outcome::Refused)),
                ])
                .unwrap();
        }
        assert_eq!(spool.depth().dropped, 100);
        assert!(spool.depth().bytes < bytes + 1_000, "one gap record grows instead of a hundred");
        assert_eq!(spool.intent(&intent(9_999_999)).unwrap_err(), Backlog::Full);

        let mut last = None;
        while let Some(pending) = spool.pending().unwrap() {
            last = pending.records.last().cloned();
            spool.acknowledge(run, pending.first + u64::try_from(pending.records.len()).unwrap() - 1).unwrap();
        }
        let gap = last.unwrap();
        assert_eq!((gap.dropped, gap.sequence), (100, signed(taken) + 1), "{durability:?}");
        assert_eq!(spool.depth().bytes, 0);
        let _ = spool.intent(&intent(1)).unwrap();
    }
}

#[test]
fn a_look_at_the_depth_and_a_settlement_do_not_wait_for_each_other() {
    let dir = TempDir::new().unwrap();
    let (spool, _) = open(&dir, Options { durability: Durability::Memory, bytes_max: BYTES_MIN });
    let (done, ended_in_time) = std::sync::mpsc::channel();
    let looking = (spool.clone(), done.clone());
    let settling = (spool, done);
    std::thread::spawn(move || {
        for _ in 0..200_000 {
            let _ = looking.0.depth();
        }
        looking.1.send(()).unwrap();
    });
    std::thread::spawn(move || {
        for visit in 1..20_000 {
            let _ = settling.0.intent(&intent(visit)).unwrap();
            settling.0.outcomes(vec![settled(Some(visit), ended(visit, Outcome::Completed))]).unwrap();
            let run = settling.0.incarnation();
            settling.0.acknowledge(run, visit).unwrap();
        }
        settling.1.send(()).unwrap();
    });
    for _ in 0..2 {
        ended_in_time.recv_timeout(std::time::Duration::from_secs(60)).expect("neither holds the other up");
    }
}

#[test]
fn a_gap_that_a_report_may_carry_grows_no_more() {
    let mut ledger = Ledger::new(Chain::begin(9), std::collections::BTreeMap::new());
    let drop_one = |ledger: &mut Ledger| {
        let mut batch = ledger::Batch::default();
        ledger.dropped(&mut batch, UnixMillis::new(5), &SALT);
        let outcome = batch.outcomes.remove(0);
        (outcome.sequence, stored::decode(&outcome.value).unwrap().dropped)
    };
    assert_eq!(drop_one(&mut ledger), (1, 1));
    assert_eq!(drop_one(&mut ledger), (1, 2));
    assert_eq!(ledger.hand_out(BATCH_MAX), Some((9, 1, 1)));
    assert_eq!(drop_one(&mut ledger), (2, 1));
    assert_eq!(drop_one(&mut ledger), (2, 2));
}

#[test]
fn a_batch_that_was_not_written_gives_its_sequences_back() {
    let mut ledger = Ledger::new(Chain::begin(9), std::collections::BTreeMap::new());
    let mut batch = ledger::Batch::default();
    ledger.ended(&mut batch, v1::Record::default(), &circumstances(), &SALT);
    ledger.dropped(&mut batch, UnixMillis::new(5), &SALT);
    ledger.dropped(&mut batch, UnixMillis::new(6), &SALT);
    ledger.undo(&batch);
    assert_eq!((ledger.len(), ledger.hand_out(BATCH_MAX)), (0, None));
    let mut batch = ledger::Batch::default();
    ledger.dropped(&mut batch, UnixMillis::new(7), &SALT);
    assert_eq!(batch.outcomes[0].sequence, 1);
}

#[test]
fn a_value_that_cannot_be_read_becomes_a_gap_and_holds_nothing_up() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(&dir, GROUP);
    let run = spool.incarnation();
    spool.outcomes((0..3).map(|visit| settled(None, ended(visit, Outcome::Refused))).collect()).unwrap();
    let Store::Disk(disk, _) = &spool.shared.store else { unreachable!() };
    disk.replace(run, Numbered { sequence: 2, value: b"\xffgarbage".to_vec() }).unwrap();
    disk.put_intent(run, 77, b"\xff".to_vec()).unwrap();
    drop(spool);
    let (spool, recovered) = open(&dir, GROUP);
    assert_eq!(recovered, Recovered { uncertain: 0, unreported: 3, unreadable: 1 });
    let pending = spool.pending().unwrap().unwrap();
    let dropped: Vec<i64> = pending.records.iter().map(|record| record.dropped).collect();
    assert_eq!(dropped, [0, 1, 0]);
    assert!(spool.replace_by_gap(run, 3).unwrap());
    assert!(!spool.replace_by_gap(run, 3).unwrap());
    let dropped: Vec<i64> = spool.pending().unwrap().unwrap().records.iter().map(|record| record.dropped).collect();
    assert_eq!(dropped, [0, 1, 1]);
    drain(&spool);
    assert_eq!(spool.depth().bytes, 0);
}

#[test]
fn a_run_that_lost_a_charge_is_never_said_to_be_replayed() {
    let lose: [fn(&Spool); 2] = [
        |spool| assert!(spool.replace_by_gap(spool.incarnation(), 1).unwrap(), "the control plane refused it"),
        |spool| {
            let Store::Disk(disk, _) = &spool.shared.store else { unreachable!() };
            let garbage = Numbered { sequence: 1, value: b"\xffgarbage".to_vec() };
            disk.replace(spool.incarnation(), garbage).unwrap();
            assert_eq!(spool.pending().unwrap().unwrap().records[0].dropped, 1);
        },
    ];
    for lose in lose {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _) = open(&dir, GROUP);
        let first = spool.incarnation();
        drop(spool);
        let (spool, _) = open(&dir, GROUP);
        assert_eq!(spool.replayed(), [first], "what it borrowed and did not spend is free");
        spool.outcomes(vec![settled(None, ended(1, Outcome::Completed))]).unwrap();
        lose(&spool);
        assert!(spool.replayed().is_empty());
        drain(&spool);
        drop(spool);
        let (spool, _) = open(&dir, GROUP);
        assert!(spool.replayed().is_empty(), "neither the run that lost it nor the one before");
    }
}

#[test]
fn runs_of_which_there_are_too_many_are_named_in_turn() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(&dir, GROUP);
    let Store::Disk(disk, _) = &spool.shared.store else { unreachable!() };
    let runs: Vec<u64> = (1..=300).collect();
    disk.keep_earlier(&runs).unwrap();
    drop(spool);
    let (spool, _) = open(&dir, GROUP);
    let named = spool.replayed();
    assert_eq!(named, runs[..REPLAYED_MAX]);
    spool.released(&named).unwrap();
    assert_eq!(spool.replayed().len(), runs.len() + 1 - REPLAYED_MAX, "with the run before");
}

#[tokio::test]
async fn a_strict_intent_waits_for_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(&dir, Options { durability: Durability::Strict, bytes_max: BYTES_MIN });
    for visit in 0..20 {
        let ticketed = spool.intent(&intent(visit)).unwrap();
        spool.durable(ticketed).await.unwrap();
    }
    assert_eq!(spool.depth().intents, 20);
}

#[test]
fn a_directory_that_is_in_use_or_newer_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(
        Spool::open(dir.path(), Options { bytes_max: BYTES_MIN - 1, ..GROUP }),
        Err(SpoolError::TooSmall)
    ));
    let (spool, _) = open(&dir, GROUP);
    assert!(matches!(Spool::open(dir.path(), GROUP), Err(SpoolError::Store { .. })));
    drop(spool);
    {
        let database = fjall::Database::builder(dir.path()).open().unwrap();
        let meta = database.keyspace("meta", fjall::KeyspaceCreateOptions::default).unwrap();
        meta.insert("layout", 2_u64.to_be_bytes()).unwrap();
    }
    assert!(matches!(Spool::open(dir.path(), GROUP), Err(SpoolError::Newer { .. })));
}

#[test]
fn durability_is_one_of_three_words() {
    for (text, expect) in [
        ("strict", Ok(Durability::Strict)),
        ("group", Ok(Durability::Group)),
        ("memory", Ok(Durability::Memory)),
        ("Group", Err("must be strict, group or memory")),
    ] {
        assert_eq!(Durability::parse(text), expect);
    }
}

// The directory in which a child of this test writes until it is killed.
const CHILD_DIR: &str = "TOLLGATE_SPOOL_TEST_DIR";
const WRITES_BEFORE_KILL: usize = 400;

#[test]
fn a_killed_process_loses_nothing_that_it_was_told() {
    if let Some(dir) = std::env::var_os(CHILD_DIR) {
        write_until_killed(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "spool::tests::a_killed_process_loses_nothing_that_it_was_told"])
        .env(CHILD_DIR, dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut told = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
        told.extend(line.strip_prefix("told ").map(str::to_owned));
        if told.len() == WRITES_BEFORE_KILL {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(told.len() >= WRITES_BEFORE_KILL);

    let (spool, recovered) = open(&dir, GROUP);
    assert!(recovered.uncertain > 0 && recovered.unreported > 0, "{recovered:?}");
    let drained = drain(&spool);
    let mut outcomes = HashMap::new();
    for (_, _, request_id, outcome) in &drained {
        assert_eq!(outcomes.insert(request_id.as_str(), *outcome), None, "{request_id} is there twice");
    }
    for line in &told {
        let (what, request_id) = line.split_once(' ').unwrap();
        let outcome = outcomes.get(request_id).copied();
        match what {
            "ended" => assert_eq!(outcome, Some(Wire::Completed), "{request_id}"),
            _ => assert!(outcome.is_some(), "{request_id} was lost"),
        }
    }
}

fn write_until_killed(dir: &Path) -> ! {
    let (spool, _) = Spool::open(dir, Options { bytes_max: u64::MAX, ..GROUP }).unwrap();
    let tell = |what: &str, visit: u64| {
        let mut out = std::io::stdout().lock();
        out.write_all(format!("told {what} req_{visit}\n").as_bytes()).unwrap();
        out.flush().unwrap();
    };
    for visit in 0.. {
        let _ = spool.intent(&intent(visit)).unwrap();
        tell("began", visit);
        // Every third visit stays open.
        if visit % 3 != 0 {
            spool.outcomes(vec![settled(Some(visit), ended(visit, Outcome::Completed))]).unwrap();
            tell("ended", visit);
        }
    }
    unreachable!()
}

#[test]
fn a_run_is_replayed_once_all_of_it_was_reported_and_nothing_can_have_been_lost() {
    for (durability, before, after, is_replayed) in [
        (Durability::Group, "boot-1", "boot-1", true),
        (Durability::Group, "boot-1", "boot-2", false),
        (Durability::Group, "", "", false),
        (Durability::Strict, "boot-1", "boot-2", true),
    ] {
        let (dir, options) = (TempDir::new().unwrap(), Options { durability, ..GROUP });
        let at = |boot: &str| Spool::open_at(dir.path(), options, 1, boot.to_owned()).unwrap();
        let (first, _) = at(before);
        let run = first.incarnation();
        let _ = first.intent(&intent(1)).unwrap();
        drop(first);
        let (spool, recovered) = at(after);
        assert_eq!(recovered.uncertain, 1);
        assert_eq!(spool.replayed(), [0; 0], "not before it was reported");
        let held = spool.pending().unwrap().unwrap().records[0].held_incarnation;
        assert_eq!(u64::try_from(held), Ok(run), "the cost is paid from what its own run had borrowed");
        drain(&spool);
        let expect: &[u64] = if is_replayed { &[run] } else { &[] };
        assert_eq!(spool.replayed(), expect, "{durability:?} {before} {after}");
        drop(spool);
        let (third, _) = at(after);
        assert!(third.replayed().contains(&run) == is_replayed, "it is named until somebody knows");
        third.released(&third.replayed()).unwrap();
        assert_eq!(third.replayed(), [0; 0]);
    }
}

#[test]
fn a_record_that_was_given_up_leaves_no_run_to_be_replayed() {
    let dir = TempDir::new().unwrap();
    let at = || Spool::open_at(dir.path(), GROUP, 1, "boot".to_owned()).unwrap().0;
    let first = at();
    let _ = first.intent(&intent(1)).unwrap();
    drop(first);
    let spool = at();
    spool.replace_by_gap(spool.incarnation(), 1).unwrap();
    drain(&spool);
    assert_eq!(spool.replayed(), [0; 0]);
}

// The link of a record, by what the contract says of it and not by what made it.
fn link_of(record: &v1::Record) -> (Hash, Hash) {
    let v1::Evidence { body, salt, previous } = record.evidence.as_ref().expect("it has evidence");
    let previous: Hash = previous.as_slice().try_into().unwrap();
    let commitment = commitment(&salt.as_slice().try_into().unwrap(), body);
    let (incarnation, sequence) = (record.incarnation.try_into().unwrap(), record.sequence.try_into().unwrap());
    (previous, link(incarnation, sequence, &previous, &commitment))
}

fn entry_of(record: &v1::Record) -> Entry {
    Entry::decode(&record.evidence.as_ref().unwrap().body).unwrap()
}

// What a control plane remembers: of each run, the newest sequence and its link.
#[derive(Default)]
struct Chains(HashMap<i64, (i64, Hash)>);

impl Chains {
    // Follows the chain of each record's run, from its beginning.
    fn take(&mut self, records: &[v1::Record]) {
        for record in records {
            let (sequence, before) = self.0.get(&record.incarnation).copied().unwrap_or((0, CHAIN_START));
            assert_eq!(record.sequence, sequence + 1);
            let (previous, link) = link_of(record);
            assert_eq!(previous, before, "record {} of run {}", record.sequence, record.incarnation);
            self.0.insert(record.incarnation, (record.sequence, link));
        }
    }
}

#[test]
fn the_records_of_a_batch_are_one_chain_and_bear_their_entries() {
    for durability in [Durability::Group, Durability::Memory] {
        let dir = TempDir::new().unwrap();
        let (spool, _) = open(&dir, Options { durability, bytes_max: BYTES_MIN });
        for visit in 1..=3 {
            let _ = spool.intent(&intent(visit)).unwrap();
        }
        spool.outcomes((1..=3).map(|visit| settled(Some(visit), ended(visit, Outcome::Completed))).collect()).unwrap();
        spool.outcomes(vec![settled(None, ended(4, Outcome::Refused))]).unwrap();
        let records = spool.pending().unwrap().unwrap().records;
        Chains::default().take(&records);
        let salts: std::collections::HashSet<_> =
            records.iter().map(|record| record.evidence.clone().unwrap().salt).collect();
        assert_eq!(salts.len(), 4, "each has a salt of its own");
        let told: Vec<_> = records.iter().map(|record| entry_of(record).action().to_owned()).collect();
        assert_eq!(told, ["request.admit", "request.admit", "request.admit", "request.refuse"]);
        let entry = entry_of(&records[3]);
        assert_eq!((entry.request_id(), entry.source_address(), entry.replica()), ("req_4", "192.0.2.7", ""));
        assert_eq!((entry.detail()["sequence"].clone(), entry.time_ms()), (4.into(), 1_700_000_000_000));
    }
}

#[test]
fn a_gap_that_grows_keeps_its_place_in_the_chain() {
    let mut ledger = Ledger::new(Chain::begin(9), std::collections::BTreeMap::new());
    let mut stored = std::collections::BTreeMap::new();
    let mut write = |ledger: &mut Ledger, step: &dyn Fn(&mut Ledger, &mut ledger::Batch)| {
        let mut batch = ledger::Batch::default();
        step(ledger, &mut batch);
        stored.extend(batch.outcomes.into_iter().map(|outcome| (outcome.sequence, outcome.value)));
        stored.values().map(|value| stored::decode(value).unwrap()).collect::<Vec<_>>()
    };
    let end = |ledger: &mut Ledger, batch: &mut ledger::Batch| {
        ledger.ended(batch, v1::Record::default(), &circumstances(), &[1; 16]);
    };
    let drop_at = |ledger: &mut Ledger, batch: &mut ledger::Batch, arrived: i64, salt: u8| {
        ledger.dropped(batch, UnixMillis::new(arrived), &[salt; 16]);
    };
    let before = write(&mut ledger, &|ledger, batch| {
        end(ledger, batch);
        drop_at(ledger, batch, 5, 2);
    });
    let after = write(&mut ledger, &|ledger, batch| {
        drop_at(ledger, batch, 9, 3);
        drop_at(ledger, batch, 12, 4);
        end(ledger, batch);
    });
    assert_eq!((before.len(), after.len()), (2, 3));
    let (old, new) = (before[1].evidence.clone().unwrap(), after[1].evidence.clone().unwrap());
    assert_eq!((&old.salt, &old.previous), (&new.salt, &new.previous));
    assert_eq!((entry_of(&before[1]).detail()["dropped"].clone(), after[1].dropped), (1.into(), 3));
    assert_eq!(entry_of(&after[1]).detail()["dropped"], 3);
    Chains::default().take(&after);
}

#[test]
fn a_batch_that_was_not_written_leaves_the_chain_as_it_was() {
    let end = |ledger: &mut Ledger| {
        let mut batch = ledger::Batch::default();
        ledger.ended(&mut batch, v1::Record::default(), &circumstances(), &SALT);
        batch
    };
    let drop_one = |ledger: &mut Ledger| {
        let mut batch = ledger::Batch::default();
        ledger.dropped(&mut batch, UnixMillis::new(5), &SALT);
        batch
    };
    let mut ledger = Ledger::new(Chain::begin(9), std::collections::BTreeMap::new());
    let (first, gap) = (end(&mut ledger), drop_one(&mut ledger));
    for fail in [end, drop_one] {
        let mut lost = fail(&mut ledger);
        ledger.dropped(&mut lost, UnixMillis::new(6), &SALT);
        ledger.ended(&mut lost, v1::Record::default(), &circumstances(), &SALT);
        ledger.undo(&lost);
    }
    let (grown, last) = (drop_one(&mut ledger), end(&mut ledger));
    let written = [first, grown, last].map(|batch| stored::decode(&batch.outcomes[0].value).unwrap());
    Chains::default().take(&written);
    assert_eq!((gap.outcomes[0].sequence, written[1].dropped), (2, 2));
}

#[test]
fn a_new_run_begins_a_new_chain_and_older_records_keep_their_evidence() {
    let dir = TempDir::new().unwrap();
    let (spool, _) = open(&dir, GROUP);
    for visit in 1..=3 {
        let _ = spool.intent(&intent(visit)).unwrap();
    }
    spool.outcomes(vec![settled(Some(1), ended(1, Outcome::Completed))]).unwrap();
    let before = spool.pending().unwrap().unwrap();
    drop(spool);
    let (spool, recovered) = open(&dir, GROUP);
    assert_eq!(recovered.uncertain, 2);
    spool.outcomes(vec![settled(None, ended(9, Outcome::Refused))]).unwrap();
    assert_eq!(spool.pending().unwrap().unwrap(), before);
    let mut chains = Chains::default();
    chains.take(&before.records);
    spool.acknowledge(before.incarnation, 1).unwrap();
    let records = spool.pending().unwrap().unwrap().records;
    chains.take(&records);
    let told = records.iter().map(|record| {
        let entry = entry_of(record);
        (entry.action().to_owned(), entry.source_address().to_owned(), entry.detail().get("user_agent").cloned())
    });
    let agent = Some("claude-cli/2.1.330".into());
    let row = |action: &str| (action.to_owned(), "192.0.2.7".to_owned(), agent.clone());
    assert_eq!(
        told.collect::<Vec<_>>(),
        [row("request.uncertain"), row("request.uncertain"), row("request.refuse")],
        "what was known when it was sent is told, although nobody knows how it ended"
    );
}

#[test]
fn what_was_lost_has_no_evidence() {
    let dir = TempDir::new().unwrap();
    let (spool, _) = open(&dir, GROUP);
    let run = spool.incarnation();
    spool.outcomes((0..3).map(|visit| settled(None, ended(visit, Outcome::Refused))).collect()).unwrap();
    let Store::Disk(disk, _) = &spool.shared.store else { unreachable!() };
    disk.replace(run, Numbered { sequence: 2, value: b"\xffgarbage".to_vec() }).unwrap();
    spool.replace_by_gap(run, 1).unwrap();
    let records = spool.pending().unwrap().unwrap().records;
    let has = records.iter().map(|record| record.evidence.is_some()).collect::<Vec<_>>();
    assert_eq!(has, [false, false, true]);
    disk.put_intent(run, 77, b"\xff".to_vec()).unwrap();
    drop(spool);
    let (spool, _) = open(&dir, GROUP);
    spool.acknowledge(run, 3).unwrap();
    let records = spool.pending().unwrap().unwrap().records;
    assert_eq!(entry_of(&records[0]).action(), "usage.drop", "what this run numbers has some, be it a gap");
}

#[test]
fn a_report_fits_into_a_message() {
    let record = |bytes: usize| v1::Record { request_id: "x".repeat(bytes), ..v1::Record::default() };
    let check = |bytes: &[usize], most: usize, expect: usize| {
        let records = bytes.iter().map(|bytes| record(*bytes)).collect();
        assert_eq!(stored::within(records, most).len(), expect, "{bytes:?} in {most}");
    };
    check(&[100, 100, 100], 1_000, 3);
    check(&[100, 100, 100], 220, 2);
    check(&[100, 500, 1], 220, 1);
    check(&[500, 1], 220, 1);
}

// Whatever happens to a spool, what it hands out is one chain a run, and is handed out again as it was.
#[test]
fn every_link_holds_whatever_happens() {
    for (seed, durability) in
        [(1, Durability::Group), (2, Durability::Group), (3, Durability::Memory), (4, Durability::Memory)]
    {
        let options = Options { durability, bytes_max: BYTES_MIN };
        let dir = TempDir::new().unwrap();
        let (mut spool, _) = open(&dir, options);
        let (mut random, mut visit) = (Random(seed), 0);
        let (mut chains, mut seen) = (Chains::default(), HashMap::new());
        let mut counted = [0; 3];
        for _ in 0..400 {
            match random.below(8) {
                // Open visits, some of which stay open.
                0 => {
                    visit += 1;
                    let _ = spool.intent(&intent(visit));
                }
                1 if random.below(4) == 0 && durability != Durability::Memory => {
                    drop(spool);
                    spool = open(&dir, options).0;
                }
                // A flood, so that records are dropped.
                2 | 4 => spool
                    .outcomes((0..random.below(400)).map(|_| settled(None, ended(0, Outcome::Refused))).collect())
                    .unwrap(),
                3 => {
                    let Some(pending) = spool.pending().unwrap() else { continue };
                    for record in &pending.records {
                        let key = (record.incarnation, record.sequence);
                        assert_eq!(
                            seen.entry(key).or_insert_with(|| record.clone()),
                            record,
                            "as it was handed out before"
                        );
                    }
                    let through = pending.first + random.below(pending.records.len() as u64 + 1);
                    let taken = usize::try_from(through - pending.first).unwrap();
                    chains.take(&pending.records[..taken]);
                    counted[0] += taken;
                    counted[1] += pending.records[..taken].iter().filter(|record| record.dropped > 1).count();
                    counted[2] += usize::from(chains.0.len() > 1);
                    if taken > 0 {
                        spool.acknowledge(pending.incarnation, through - 1).unwrap();
                    }
                }
                _ => {
                    visit += 1;
                    let known = spool.intent(&intent(visit)).is_ok().then_some(visit);
                    spool.outcomes(vec![settled(known, ended(visit, Outcome::Completed))]).unwrap();
                }
            }
        }
        let [records, gaps, runs] = counted;
        assert!(records > 500 && gaps > 0, "{records} records, {gaps} gaps");
        assert!(runs > 0 || durability == Durability::Memory);
    }
}

struct Random(u64);

impl Random {
    // Marsaglia's xorshift.
    fn below(&mut self, most: u64) -> u64 {
        for shift in [13, -7, 17] {
            self.0 ^= if shift > 0 { self.0 << shift } else { self.0 >> -shift };
        }
        self.0 % most.max(1)
    }
}

#[test]
fn what_a_failed_write_lost_is_counted_in_the_next_gap_that_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(&dir, GROUP);
    let _ = spool.intent(&intent(1)).unwrap();
    let at = |millis| UnixMillis::new(millis);
    {
        let mut ledger = lock(&spool.shared.ledger);
        spool.shared.unwritten(&mut ledger, &[at(5_000), at(4_000), at(9_000)], &SpoolError::TooSmall);
        // One that fails again forgets none of them, and takes no sequence.
        let mut batch = ledger::Batch::default();
        ledger.catch_up(&mut batch, &SALT);
        assert!(!ledger.has_missed());
        ledger.undo(&batch);
        assert!(ledger.has_missed() && ledger.len() == 0);
        spool.shared.unwritten(&mut ledger, &[at(9_500)], &SpoolError::TooSmall);
    }
    assert_eq!((spool.depth().dropped, spool.is_full()), (4, true));
    assert_eq!(spool.intent(&intent(2)).unwrap_err(), Backlog::Failed);
    spool.count_missed().unwrap();
    spool.outcomes(vec![settled(Some(1), ended(1, Outcome::Completed))]).unwrap();
    spool.count_missed().unwrap();
    spool.outcomes(vec![settled(None, ended(2, Outcome::Refused))]).unwrap();
    let records = spool.pending().unwrap().unwrap().records;
    let counted: Vec<_> = records.iter().map(|record| (record.dropped, record.sequence)).collect();
    assert_eq!(counted, [(4, 1), (0, 2), (0, 3)], "once");
    assert_eq!((records[0].arrived_ms, records[0].duration_ms), (5_000, 4_500));
    assert_eq!(spool.depth().dropped, 4);
}

fn unidentified(request_id: &str) -> Ended {
    let visit = Unidentified {
        incarnation: 0,
        sequence: 0,
        request_id: request_id.into(),
        arrived: UnixMillis::new(1_700_000_000_000),
        duration_ms: 1,
        refusal: "unauthenticated".into(),
        status: 401,
        operation: "messages".into(),
        revision: 5,
    };
    Ended { visit: None, record: v1::Record::from(&visit), circumstances: circumstances() }
}

#[tokio::test]
async fn what_is_missed_is_counted_in_one_gap_of_the_chain() {
    for durability in [Durability::Group, Durability::Memory] {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _) = open(&dir, Options { durability, bytes_max: BYTES_MIN });
        spool.count_missed().unwrap();
        assert_eq!(spool.depth().outcomes, 0, "nothing was missed");
        spool.outcomes(vec![unidentified("req_1")]).unwrap();
        // Whoever waits is woken by the first.
        let mut waiting = tokio::task::JoinSet::new();
        waiting.spawn({
            let spool = spool.clone();
            async move { spool.missed().await }
        });
        tokio::task::yield_now().await;
        [7_000, 5_000, 9_000].into_iter().for_each(|arrived| spool.miss(UnixMillis::new(arrived)));
        waiting.join_all().await;
        spool.missed().await;
        spool.outcomes(vec![unidentified("req_2")]).unwrap();
        assert_eq!(spool.depth().outcomes, 2, "others do not count them");
        spool.count_missed().unwrap();
        spool.count_missed().unwrap();
        let records = spool.pending().unwrap().unwrap().records;
        Chains::default().take(&records);
        let told = records.iter().map(|record| (record.dropped, record.unidentified)).collect::<Vec<_>>();
        assert_eq!(told, [(0, true), (0, true), (3, false)], "{durability:?}");
        assert_eq!((records[2].arrived_ms, records[2].duration_ms), (7_000, 2_000));
        assert_eq!(entry_of(&records[1]).initiator(), "unknown");
        assert_eq!(entry_of(&records[2]).detail()["dropped"], 3);
        let bytes: u64 = records.iter().map(|record| weight(stored::encode(record).len())).sum();
        assert_eq!(spool.depth().bytes, bytes);
    }
}

#[test]
fn whoever_has_no_key_leaves_room_for_those_who_have() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(&dir, Options { durability: Durability::Memory, bytes_max: BYTES_MIN });
    while spool.has_room_for_unidentified() {
        spool.outcomes(vec![unidentified("req_1")]).unwrap();
    }
    let Depth { bytes, bytes_max, .. } = spool.depth();
    assert!((45..=51).contains(&(bytes * 100 / bytes_max)), "{bytes} of {bytes_max}");
    let _ = spool.intent(&intent(1)).unwrap();
}

#[test]
fn a_visit_of_nobody_that_is_given_up_costs_no_run_its_leases() {
    for (record, replayed) in [(unidentified("req_1"), true), (settled(None, ended(1, Outcome::Refused)), false)] {
        let dir = TempDir::new().unwrap();
        let at = || Spool::open_at(dir.path(), GROUP, 1, "boot".to_owned()).unwrap().0;
        let first = at();
        first.outcomes(vec![record]).unwrap();
        assert!(first.replace_by_gap(first.incarnation(), 1).unwrap());
        let run = first.incarnation();
        drop(first);
        let spool = at();
        drain(&spool);
        assert_eq!(spool.replayed().contains(&run), replayed);
    }
}
