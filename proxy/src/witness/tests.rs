use std::{os::unix::fs::PermissionsExt as _, path::Path};

use ring::signature::{Ed25519KeyPair, KeyPair as _};
use tempfile::TempDir;
use tollgate_audit::{Checkpoint as Said, MacKey};

use super::*;

const LOG: [u8; 16] = [0xab; 16];

// What a control plane says of a log of that size: signed by the key of that seed, under a root of its own.
fn said(seed: u8, said: Said) -> Checkpoint {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let public_key: PublicKey = pair.public_key().as_ref().try_into().unwrap();
    let text = said.text(&MacKey::new(&[1; 32]).unwrap());
    let note = said.note(&text, &public_key, pair.sign(text.as_bytes()).as_ref());
    Checkpoint { note, public_key: public_key.to_vec().into() }
}

fn sized(size: u64) -> Said {
    Said {
        log: LOG,
        size,
        root: [u8::try_from(size % 251).unwrap(); 32],
        time_ms: i64::try_from(size).unwrap() * 1_000,
    }
}

fn open_at(dir: &TempDir) -> (Keeping, Counter) {
    let conflicts = Counter::default();
    (open(Some(dir.path().join(FILE_NAME)), conflicts.clone()).1.keeping, conflicts)
}

fn lines(path: &Path) -> Vec<Line> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

// The lines of a file, in short: `k` a key, a size, `!` a conflict of a size, `->` a link's sequence.
fn told(dir: &TempDir) -> String {
    let size = |text: &str| Note::parse(text).unwrap().checkpoint().size;
    let word = |line: Line| match line {
        Line::Key(_) => "k".to_owned(),
        Line::Checkpoint(text) => size(&text).to_string(),
        Line::Conflict(text) => format!("!{}", size(&text)),
        Line::Link(link) => format!("->{}", link.sequence),
    };
    lines(&dir.path().join(FILE_NAME)).into_iter().map(word).collect::<Vec<_>>().join(" ")
}

#[test]
fn what_grows_is_kept_and_what_contradicts_is_evidence() {
    let other = |size, root| Said { root: [root; 32], ..sized(size) };
    let later = |size, time_ms| Said { time_ms, ..sized(size) };
    let table: [(&str, Vec<Said>, &str, u64); 9] = [
        ("growing", vec![sized(1), sized(5), sized(9)], "k 1 5 9", 0),
        ("said again", vec![sized(5), sized(5), later(5, 9_000)], "k 5", 0),
        ("an earlier one that is known", vec![sized(5), sized(9), sized(5)], "k 5 9", 0),
        ("a late one", vec![sized(9), sized(8)], "k 9", 0),
        ("shorter than before", vec![sized(9), later(5, 10_000)], "k 9 !5", 1),
        ("far too late", vec![sized(900), sized(5)], "k 900 !5", 1),
        ("as long, and another", vec![sized(9), other(9, 77)], "k 9 !9", 1),
        ("as long as one before, and another", vec![sized(5), sized(9), other(5, 77)], "k 5 9 !5", 1),
        (
            "it goes on from the newest",
            vec![sized(9), later(5, 10_000), later(6, 11_000), sized(12)],
            "k 9 !5 !6 12",
            2,
        ),
    ];
    for (name, all, expect, conflicts) in table {
        let dir = TempDir::new().unwrap();
        let (mut keeping, counter) = open_at(&dir);
        for one in all {
            keeping.checkpoint(&said(1, one));
        }
        assert_eq!((told(&dir).as_str(), counter.get()), (expect, conflicts), "{name}");
    }
}

#[test]
fn what_was_kept_is_compared_by_the_next_run() {
    let dir = TempDir::new().unwrap();
    open_at(&dir).0.checkpoint(&said(1, sized(9)));
    let (mut keeping, conflicts) = open_at(&dir);
    keeping.checkpoint(&said(1, Said { time_ms: 10_000, ..sized(5) }));
    assert_eq!((told(&dir).as_str(), conflicts.get()), ("k 9 !5", 1));
    let mode = std::fs::metadata(dir.path().join(FILE_NAME)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn another_log_is_told_and_then_followed() {
    let dir = TempDir::new().unwrap();
    let (mut keeping, conflicts) = open_at(&dir);
    let anew = |size| Said { log: [7; 16], ..sized(size) };
    for one in [sized(9), anew(2), anew(3), sized(10), anew(1)] {
        keeping.checkpoint(&said(1, one));
    }
    // The first of the other log; its shorter one is late.
    assert_eq!((told(&dir).as_str(), conflicts.get()), ("k 9 2 3 10", 1));
}

#[test]
fn only_what_is_signed_is_kept_and_a_new_key_is_noted() {
    let dir = TempDir::new().unwrap();
    let (mut keeping, conflicts) = open_at(&dir);
    let (good, strange) = (said(1, sized(9)), said(2, sized(10)));
    let long = format!("{}— witness {}\n", good.note, "A".repeat(1_024));
    for (note, key) in [
        (good.note.as_str(), &strange.public_key[..]),
        (&good.note.replace("\n9\n", "\n8\n"), &good.public_key),
        (&good.note, &good.public_key[..31]),
        ("", &good.public_key),
        (&long, &good.public_key),
    ] {
        keeping.checkpoint(&Checkpoint { note: note.into(), public_key: key.to_vec().into() });
        assert!(!dir.path().join(FILE_NAME).exists(), "{note:?}");
    }
    keeping.checkpoint(&good);
    keeping.checkpoint(&strange);
    keeping.checkpoint(&said(1, sized(11)));
    assert_eq!((told(&dir).as_str(), conflicts.get()), ("k 9 k 10 11", 0));
}

#[test]
fn a_line_that_was_cut_off_is_left_out_and_the_file_is_whole_again() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join(FILE_NAME);
    let (mut keeping, _) = open_at(&dir);
    keeping.checkpoint(&said(1, sized(5)));
    keeping.checkpoint(&said(1, sized(9)));
    let whole = std::fs::read(&path).unwrap();
    let last = whole.iter().rposition(|byte| *byte == b'{').unwrap();
    for cut in last..whole.len() {
        std::fs::write(&path, &whole[..cut]).unwrap();
        open_at(&dir).0.checkpoint(&said(1, sized(12)));
        assert_eq!(told(&dir), "k 5 12", "cut at {cut}");
    }
}

#[test]
fn a_file_that_cannot_be_written_is_written_whole_when_it_can() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join(FILE_NAME);
    let (mut keeping, _) = open_at(&dir);
    keeping.checkpoint(&said(1, sized(5)));
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    keeping.checkpoint(&said(1, sized(9)));
    std::fs::remove_dir(&path).unwrap();
    keeping.checkpoint(&said(1, sized(12)));
    assert_eq!(told(&dir), "k 5 9 12");
}

#[test]
fn the_file_keeps_its_bound_and_the_first_the_newest_and_some_between() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join(FILE_NAME);
    let (mut store, mut book) = Store::open(Some(path.clone()));
    // A quarter, so that a quarter of the writes fills it.
    store.bytes_max /= 4;
    let link =
        |sequence| ChainLink { writer: "replica-1".into(), incarnation: sequence % 100, sequence, link: [3; 32] };
    let mut most = 0;
    let mut write = |line: Line| {
        let written = store.append(&line);
        book.add(line);
        store.settle(written, &book);
        most = most.max(std::fs::metadata(&path).unwrap().len());
    };
    (1..=100).for_each(|sequence| write(Line::Link(link(sequence))));
    for size in 1..=1_500 {
        // Signed by none, at which a book does not look: a thousand signatures take long.
        let text = sized(size).note(&sized(size).text(&MacKey::new(&[1; 32]).unwrap()), &[1; 32], &[0; 400]);
        if size % 10 == 0 {
            write(Line::Conflict(text.clone()));
        }
        write(Line::Checkpoint(text));
    }
    let bound = file::FILE_BYTES_MAX / 4;
    assert!(most <= bound && most > bound / 2, "{most} bytes");
    assert!(std::fs::metadata(&path).unwrap().len() < most, "it was written anew");
    let (_, read) = Store::open(Some(path));
    let sizes: Vec<u64> = read
        .lines()
        .filter_map(|line| match line {
            Line::Checkpoint(text) => Some(Note::parse(&text).unwrap().checkpoint().size),
            _ => None,
        })
        .collect();
    assert_eq!((sizes.first(), sizes.last()), (Some(&1), Some(&1_500)));
    assert!(sizes.is_sorted() && sizes.len() > 200 && sizes.len() <= 512, "{}", sizes.len());
    for part in [2..500, 500..1_000, 1_000..1_500] {
        assert!(sizes.iter().any(|size| part.contains(size)), "none in {part:?}");
    }
    let links = read.lines().filter(|line| matches!(line, Line::Link(_))).count();
    assert_eq!(links, book::LINKS_MAX);
}

#[tokio::test(start_paused = true)]
async fn links_are_kept_once_the_writer_is_known_and_not_one_by_one() {
    let dir = TempDir::new().unwrap();
    let (witness, watch) = open(Some(dir.path().join(FILE_NAME)), Counter::default());
    let ((), ()) = tokio::join!(watch.run(), async {
        witness.acknowledged(7, 10, [1; 32]);
        tokio::time::sleep(LINKS_INTERVAL * 3).await;
        assert!(!dir.path().join(FILE_NAME).exists());
        witness.writer("replica-1");
        for sequence in 11..40 {
            witness.acknowledged(7, sequence, [2; 32]);
        }
        tokio::time::sleep(LINKS_INTERVAL / 2).await;
        for sequence in 40..60 {
            witness.acknowledged(7, sequence, [3; 32]);
        }
        witness.acknowledged(8, 1, [4; 32]);
        // Nobody is left who sees anything: the rest is kept at once.
        drop(witness);
    });
    let kept: Vec<_> = lines(&dir.path().join(FILE_NAME))
        .into_iter()
        .filter_map(|line| match line {
            Line::Link(ChainLink { writer, incarnation, sequence, link }) => {
                Some((writer, incarnation, sequence, link[0]))
            }
            _ => None,
        })
        .collect();
    let row = |incarnation, sequence, link| ("replica-1".to_owned(), incarnation, sequence, link);
    assert_eq!(kept, [row(7, 39, 2), row(7, 59, 3), row(8, 1, 4)]);
}

#[tokio::test]
async fn without_a_file_it_is_compared_all_the_same() {
    let conflicts = Counter::default();
    let (witness, watch) = open(None, conflicts.clone());
    witness.checkpoint(said(1, sized(9)));
    witness.checkpoint(said(1, Said { time_ms: 10_000, ..sized(5) }));
    drop(witness);
    watch.run().await;
    assert_eq!(conflicts.get(), 1);
}
