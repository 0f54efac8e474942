//! The disk cache: the policy that held last, so that a replica starts while its control plane is away.
//!
//! It keeps the signed pushes themselves, a full snapshot and the deltas behind it, and replays them at start with the same
//! checks as from the stream. Two slots take turns: the older one is replaced whole, so that a crash leaves the newer one.
//! Both are sealed under `<data-dir>/seal-key`. Literal secrets of credentials are not in a push, and so not on disk.
//!
//! Reading order: [`seal`], how a slot is encrypted; [`slot`], what is in it; then [`Cache`], which takes turns.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use tollgate_policy::time::UnixMillis;
use tollgate_proto::fleet::v1::{Push, SigningKey};
use zeroize::Zeroizing;

use self::slot::{Contents, Head};
use crate::durable;

mod seal;
mod slot;

pub(crate) use self::slot::SlotError;

/// The slots, which take turns.
const SLOTS: [&str; 2] = ["snapshot-a", "snapshot-b"];
/// The key under which the slots are sealed.
const SEAL_KEY: &str = "seal-key";
/// More deltas than this, or more bytes of them than of the full snapshot and this many, are worth a new full snapshot.
const DELTAS_MAX: usize = 512;
const DELTA_BYTES_FREE: u64 = 1 << 20;

/// One push with its payload.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    /// The head.
    pub(crate) head: Push,
    /// The payload.
    pub(crate) chunks: Vec<Bytes>,
}

/// What is kept beside the pushes.
#[derive(Clone)]
pub(crate) struct Context {
    /// Whose policy it is; one that was learned from another control plane is not used.
    pub(crate) anchor: [u8; 32],
    /// The key under which virtual keys are hashed.
    pub(crate) pepper: Zeroizing<Vec<u8>>,
    /// The keys that sign pushes.
    pub(crate) signing_keys: Vec<SigningKey>,
    /// When the control plane last said that this holds.
    pub(crate) heard: UnixMillis,
}

/// What a slot holds.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    /// What is kept beside the pushes.
    pub(crate) context: Context,
    /// A full snapshot, then deltas.
    pub(crate) pushes: Vec<Stored>,
}

/// The two slots. Every method blocks.
#[derive(Debug)]
pub(crate) struct Cache {
    dir: PathBuf,
    key: seal::Key,
    // The slot that is good, and what is in it.
    good: Option<Good>,
}

#[derive(Clone, Debug)]
struct Good {
    slot: usize,
    generation: u64,
    heads: Vec<Push>,
}

impl Cache {
    /// Opens the cache under the data directory, and makes its key when there is none.
    ///
    /// # Errors
    /// When the key cannot be read or made: there is then no cache.
    pub(crate) fn open(data_dir: &Path) -> io::Result<Self> {
        let path = data_dir.join(SEAL_KEY);
        let key = match seal::Key::read(&path)? {
            Some(key) => key,
            None => {
                durable::create_once(&path, seal::Key::random()?.as_slice())?;
                let made = seal::Key::read(&path)?;
                made.ok_or_else(|| io::Error::other("the seal key is not there after it was made"))?
            }
        };
        Ok(Self { dir: data_dir.to_owned(), key, good: None })
    }

    /// Offers what the slots hold to `take`, the newest first, until it takes one. What cannot be read is passed over with a
    /// warning; so is what `take` refuses with a reason.
    pub(crate) fn load<T>(&mut self, mut take: impl FnMut(Loaded) -> Result<T, String>) -> Option<T> {
        let mut slots: Vec<(usize, Head)> = Vec::new();
        for slot in 0..SLOTS.len() {
            match slot::read_head(&self.path(slot), &self.key) {
                Ok(Some(head)) => slots.push((slot, head)),
                Ok(None) => {}
                Err(error) => tracing::warn!(slot, %error, "snapshot on disk ignored"),
            }
        }
        slots.sort_by_key(|(_, head)| std::cmp::Reverse(head.generation()));
        for (slot, head) in slots {
            let loaded = slot::read(&self.path(slot), &self.key);
            let heads: Vec<Push> = head.pushes().to_vec();
            match loaded.map_err(|error| error.to_string()).and_then(&mut take) {
                Ok(taken) => {
                    self.good = Some(Good { slot, generation: head.generation(), heads });
                    return Some(taken);
                }
                Err(reason) => tracing::warn!(slot, reason, "snapshot on disk ignored"),
            }
        }
        None
    }

    /// Writes what came since the last time into the slot whose turn it is. `news` begins with a full snapshot, which then
    /// stands alone, or continues what the good slot holds; it may be empty, to write a new context.
    ///
    /// # Errors
    /// When nothing was written; the good slot is what it was, and `news` is still to be written.
    pub(crate) fn write(&mut self, context: &Context, news: &[Stored]) -> Result<(), SlotError> {
        let full = news.first().is_some_and(|first| first.head.base_revision == 0);
        let before = if full { None } else { self.good.clone() };
        if before.is_none() && !full {
            return Err(SlotError::NoBase);
        }
        let (slot, generation) = match &self.good {
            Some(good) => ((good.slot + 1) % SLOTS.len(), good.generation + 1),
            None => (0, 1),
        };
        let old = before.as_ref().map(|good| self.path(good.slot));
        let mut heads = before.map_or_else(Vec::new, |good| good.heads);
        heads.extend(news.iter().map(|stored| stored.head.clone()));
        let contents = Contents { head: Head::new(generation, context, heads.clone()), old, news };
        durable::replace(&self.path(slot), |file| {
            let mut file = io::BufWriter::with_capacity(seal::FRAME_BYTES_MAX, file);
            slot::write(&mut file, &self.key, &contents).map_err(io::Error::other)?;
            file.flush()
        })?;
        self.good = Some(Good { slot, generation, heads });
        Ok(())
    }

    /// How much stands behind the full snapshot, in parts of what is worth a new one; 1.0 or more: ask for one.
    pub(crate) fn wear(&self) -> f64 {
        let Some(good) = &self.good else { return 0.0 };
        let Some((base, deltas)) = good.heads.split_first() else { return 0.0 };
        let bytes: u64 = deltas.iter().map(length).sum();
        let by_bytes = ratio(bytes, length(base) + DELTA_BYTES_FREE);
        let count = u64::try_from(deltas.len()).unwrap_or(u64::MAX);
        by_bytes.max(ratio(count, u64::try_from(DELTAS_MAX).unwrap_or(u64::MAX)))
    }

    fn path(&self, slot: usize) -> PathBuf {
        self.dir.join(SLOTS.get(slot).copied().unwrap_or_default())
    }
}

/// How often the context alone is worth writing: so seldom that the disk rests, so often that `age_max` is not cut short by
/// more than an eighth.
pub(crate) fn refresh_interval(age_max: Duration) -> Duration {
    (age_max / 8).max(Duration::from_secs(5))
}

fn length(head: &Push) -> u64 {
    u64::try_from(head.payload_bytes).unwrap_or_default()
}

#[expect(clippy::cast_precision_loss, reason = "a ratio to compare with 1: the last bits do not matter")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

// The mode matters where the file was copied by hand: the key is worth what the slots are.
fn is_private(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(fs::metadata(path)?.permissions().mode() & 0o077 == 0)
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("heard", &self.heard).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
