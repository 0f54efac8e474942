use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
};

use tempfile::TempDir;
use tollgate_proto::usage::v1::Outcome as Wire;

use tollgate_policy::{
    id::{CustomerId, KeyId, TeamId},
    money::NanoUsd,
    time::UnixMillis,
    usage::{Attribution, Outcome},
};
use tollgate_settings::Setting as _;

use super::*;

const ULID: &str = "01k9zq3v5m8c4t2n7r6x0w1y9b";
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
    spool.outcomes(vec![(Some(8), ended(8, Outcome::Completed))]).unwrap();
    assert_eq!((spool.depth().intents, spool.depth().outcomes), (2, 1));
    drop(spool);

    let (spool, recovered) = open(&dir, GROUP);
    let second_run = signed(spool.incarnation());
    assert_eq!(recovered, Recovered { uncertain: 2, unreported: 1, unreadable: 0 });
    drop(spool);

    let (spool, recovered) = open(&dir, GROUP);
    assert_eq!(recovered, Recovered { uncertain: 0, unreported: 3, unreadable: 0 });
    spool.outcomes(vec![(None, ended(1, Outcome::Refused))]).unwrap();
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
        let records = (0..700).map(|visit| (None, ended(visit, Outcome::Refused))).collect();
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
        spool.outcomes(vec![(None, ended(1, Outcome::Refused))]).unwrap();
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
                Ok(_) => spool.outcomes(vec![(Some(visit), ended(visit, Outcome::Completed))]).unwrap(),
                Err(backlog) => {
                    assert_eq!(backlog, Backlog::Full);
                    break;
                }
            }
            taken += 1;
        }
        // What is left below the bound is too little for an intent; refused visits still fit until it is reached.
        while !spool.is_full() {
            spool.outcomes(vec![(None, ended(0, Outcome::Refused))]).unwrap();
            taken += 1;
        }
        let bytes = spool.depth().bytes;
        for visit in 0..50 {
            spool
                .outcomes(vec![(None, ended(visit, Outcome::Refused)), (None, ended(visit, Outcome::Refused))])
                .unwrap();
        }
        assert_eq!(spool.depth().dropped, 100);
        assert!(spool.depth().bytes < bytes + 200, "one gap record grows instead of a hundred");
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
            settling.0.outcomes(vec![(Some(visit), ended(visit, Outcome::Completed))]).unwrap();
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
    let mut ledger = Ledger::new(9, std::collections::BTreeMap::new());
    let drop_one = |ledger: &mut Ledger| {
        let mut batch = ledger::Batch::default();
        ledger.dropped(&mut batch, UnixMillis::new(5));
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
    let mut ledger = Ledger::new(9, std::collections::BTreeMap::new());
    let mut batch = ledger::Batch::default();
    ledger.ended(&mut batch, v1::Record::default());
    ledger.dropped(&mut batch, UnixMillis::new(5));
    ledger.dropped(&mut batch, UnixMillis::new(6));
    ledger.undo(&batch);
    assert_eq!((ledger.len(), ledger.hand_out(BATCH_MAX)), (0, None));
    let mut batch = ledger::Batch::default();
    ledger.dropped(&mut batch, UnixMillis::new(7));
    assert_eq!(batch.outcomes[0].sequence, 1);
}

#[test]
fn a_value_that_cannot_be_read_becomes_a_gap_and_holds_nothing_up() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = open(&dir, GROUP);
    let run = spool.incarnation();
    spool.outcomes((0..3).map(|visit| (None, ended(visit, Outcome::Refused))).collect()).unwrap();
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
        spool.outcomes(vec![(None, ended(1, Outcome::Completed))]).unwrap();
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
            spool.outcomes(vec![(Some(visit), ended(visit, Outcome::Completed))]).unwrap();
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
