use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn context() -> Context {
    Context {
        anchor: [3; 32],
        pepper: Zeroizing::new(b"a pepper that must not be on disk".to_vec()),
        signing_keys: vec![SigningKey { id: "k".into(), public_key: vec![7; 32].into() }],
        heard: UnixMillis::new(1_000),
    }
}

fn stored(base: i64, revision: i64, length: usize) -> Stored {
    let payload = vec![u8::try_from(revision).unwrap(); length];
    let head = Push { base_revision: base, revision, payload_bytes: i64::try_from(length).unwrap(), ..Push::default() };
    Stored { head, chunks: payload.chunks(500_000).map(Bytes::copy_from_slice).collect() }
}

fn revisions(loaded: &Loaded) -> Vec<i64> {
    for stored in &loaded.pushes {
        let expect = u8::try_from(stored.head.revision).unwrap();
        assert!(stored.chunks.iter().flatten().all(|byte| *byte == expect), "payload of {expect}");
        let length: usize = stored.chunks.iter().map(Bytes::len).sum();
        assert_eq!(i64::try_from(length).unwrap(), stored.head.payload_bytes);
    }
    loaded.pushes.iter().map(|stored| stored.head.revision).collect()
}

fn load(dir: &Path) -> Option<Vec<i64>> {
    Cache::open(dir).unwrap().load(|loaded| Ok(revisions(&loaded)))
}

#[test]
fn what_was_written_is_read_and_the_slots_take_turns() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(load(dir.path()), None);
    let mut cache = Cache::open(dir.path()).unwrap();
    assert!(matches!(cache.write(&context(), &[stored(1, 2, 10)]), Err(SlotError::NoBase)));
    // Longer than a frame, and exactly as long as two.
    let base = stored(0, 3, 2 * seal::FRAME_BYTES_MAX);
    cache.write(&context(), &[base, stored(3, 4, 10)]).unwrap();
    assert_eq!(load(dir.path()), Some(vec![3, 4]));
    cache.write(&context(), &[stored(4, 5, 10), stored(5, 9, 1)]).unwrap();
    assert_eq!(load(dir.path()), Some(vec![3, 4, 5, 9]));
    cache.write(&context(), &[]).unwrap();
    assert_eq!(load(dir.path()), Some(vec![3, 4, 5, 9]));
    cache.write(&context(), &[stored(0, 10, 100)]).unwrap();
    assert_eq!(load(dir.path()), Some(vec![10]));

    // The newest slot is damaged: the one before it counts, and the next write goes over the damaged one.
    let newest = dir.path().join(SLOTS[1]);
    fs::write(&newest, b"damaged").unwrap();
    let mut cache = Cache::open(dir.path()).unwrap();
    assert_eq!(cache.load(|loaded| Ok(revisions(&loaded))), Some(vec![3, 4, 5, 9]));
    cache.write(&context(), &[stored(9, 11, 10)]).unwrap();
    assert_eq!(load(dir.path()), Some(vec![3, 4, 5, 9, 11]));
    for file in [SEAL_KEY, SLOTS[0], SLOTS[1]] {
        assert_eq!(fs::metadata(dir.path().join(file)).unwrap().permissions().mode() & 0o777, 0o600, "{file}");
    }
}

#[test]
fn what_is_not_taken_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let mut cache = Cache::open(dir.path()).unwrap();
    cache.write(&context(), &[stored(0, 1, 10)]).unwrap();
    cache.write(&context(), &[stored(1, 2, 10)]).unwrap();
    let refuse_newer = |loaded: Loaded| match revisions(&loaded).as_slice() {
        [1, 2] => Err("not this one".to_owned()),
        other => Ok(other.to_vec()),
    };
    assert_eq!(Cache::open(dir.path()).unwrap().load(refuse_newer), Some(vec![1]));
}

#[test]
fn a_changed_byte_or_a_missing_end_makes_a_slot_unreadable() {
    let dir = tempfile::tempdir().unwrap();
    let mut cache = Cache::open(dir.path()).unwrap();
    cache.write(&context(), &[stored(0, 3, 200), stored(3, 4, 30)]).unwrap();
    let path = dir.path().join(SLOTS[0]);
    let good = fs::read(&path).unwrap();
    assert_eq!(load(dir.path()), Some(vec![3, 4]));
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        fs::write(&path, bad).unwrap();
        assert_eq!(load(dir.path()), None, "flipped at {at}");
        fs::write(&path, &good[..at]).unwrap();
        assert_eq!(load(dir.path()), None, "cut at {at}");
    }
    for longer in [1, 20, 2_000] {
        fs::write(&path, [good.as_slice(), &vec![0; longer]].concat()).unwrap();
        assert_eq!(load(dir.path()), None, "longer by {longer}");
    }
    fs::write(&path, &good).unwrap();
    assert_eq!(load(dir.path()), Some(vec![3, 4]));
}

#[test]
fn another_key_opens_nothing_and_one_of_another_length_is_told() {
    let dir = tempfile::tempdir().unwrap();
    Cache::open(dir.path()).unwrap().write(&context(), &[stored(0, 3, 10)]).unwrap();
    let slot = fs::read(dir.path().join(SLOTS[0])).unwrap();
    assert!(memchr::memmem::find(&slot, b"a pepper").is_none());
    fs::write(dir.path().join(SEAL_KEY), [1; 32]).unwrap();
    assert_eq!(load(dir.path()), None);
    fs::write(dir.path().join(SEAL_KEY), [1; 31]).unwrap();
    assert!(Cache::open(dir.path()).unwrap_err().to_string().contains("32 bytes"));
}

#[test]
fn a_failed_write_leaves_what_was_good() {
    let dir = tempfile::tempdir().unwrap();
    let mut cache = Cache::open(dir.path()).unwrap();
    cache.write(&context(), &[stored(0, 3, 10)]).unwrap();
    // The slot from which the next write copies is gone.
    let (path, aside) = (dir.path().join(SLOTS[0]), dir.path().join("aside"));
    fs::rename(&path, &aside).unwrap();
    assert!(cache.write(&context(), &[stored(3, 4, 10)]).is_err());
    fs::rename(&aside, &path).unwrap();
    cache.write(&context(), &[stored(3, 4, 10)]).unwrap();
    assert_eq!(load(dir.path()), Some(vec![3, 4]));
}

#[test]
fn a_worn_cache_asks_for_a_new_base() {
    let dir = tempfile::tempdir().unwrap();
    let mut cache = Cache::open(dir.path()).unwrap();
    assert!(cache.wear() < 0.01);
    cache.write(&context(), &[stored(0, 1, 10)]).unwrap();
    assert!(cache.wear() < 0.01);
    cache.write(&context(), &[stored(1, 2, 600_000)]).unwrap();
    assert!((0.5..0.6).contains(&cache.wear()), "{}", cache.wear());
    let many: Vec<Stored> = (0..DELTAS_MAX).map(|_| stored(2, 3, 1)).collect();
    cache.write(&context(), &many).unwrap();
    assert!(cache.wear() >= 1.0);
}
