//! Checkpoints that somebody kept, and what they say of the log: which of them its keys signed, and whether it is as it was then.
//!
//! A checkpoint may be signed by a key that the file announces behind the entries that it is over. It is compared where these end,
//! and what it says counts as soon as its key is known; a file that ends before that says nothing against its log.

use std::collections::BTreeMap;

use super::{Fault, Finding};
use crate::{
    checkpoint::{Note, PublicKey},
    file::Head,
    tree::Frontier,
};

/// Signed checkpoints, as they were brought along.
#[derive(Debug, Default)]
pub(super) struct Witnesses {
    // Those over more entries than were read.
    ahead: BTreeMap<u64, Vec<Note>>,
    // Those over what was read that no known key signed, and whether they have its root.
    unsigned: Vec<(Note, bool)>,
    // Where the file begins: keys that signed up to there may be unknown in it.
    start: u64,
    // The size of the longest one that holds: behind it begins what another one contradicts.
    held: u64,
    /// How many hold.
    pub(super) witnessed: u64,
    /// How many are about what is before the file's beginning.
    pub(super) older: u64,
}

impl Witnesses {
    /// Takes one for the file that begins so.
    pub(super) fn expect(&mut self, note: Note, head: &Head) -> Result<(), Finding> {
        (self.start, self.held) = (head.start.size(), head.start.size());
        if note.checkpoint().log != head.log {
            return Err(Finding { index: 0, fault: Fault::Witness("the witness saw another log".into()) });
        }
        let size = note.checkpoint().size;
        if size < self.start {
            self.older += 1;
        } else {
            self.ahead.entry(size).or_default().push(note);
        }
        Ok(())
    }

    /// Compares those of this size with the tree.
    pub(super) fn compare(&mut self, tree: &Frontier, keys: Keys<'_>) -> Result<(), Finding> {
        let Some(notes) = self.ahead.remove(&tree.size()) else { return Ok(()) };
        let root = tree.root();
        notes.into_iter().try_for_each(|note| {
            let same = note.checkpoint().root == root;
            self.judge(note, same, keys)
        })
    }

    /// Judges those again that no known key had signed: there are more keys now.
    pub(super) fn judge_again(&mut self, keys: Keys<'_>) -> Result<(), Finding> {
        let unsigned = std::mem::take(&mut self.unsigned);
        unsigned.into_iter().try_for_each(|(note, same)| self.judge(note, same, keys))
    }

    /// Whether the log was longer, of that size or another, when one of its keys signed what was kept.
    pub(super) fn longer(&self, keys: Keys<'_>) -> Option<u64> {
        let signed = self.ahead.iter().rev().find(|(_, notes)| notes.iter().any(|note| keys.signed(note)));
        signed.map(|(size, _)| *size)
    }

    /// The first that no key of the log signed, where the file knows all of them.
    pub(super) fn foreign(&mut self, size: u64) -> Option<Finding> {
        let fault = Fault::ForeignWitness;
        let sizes = self.unsigned.iter().map(|(note, _)| note.checkpoint().size);
        // The key that signed over what is before the file may be one that no later file names.
        let (older, foreign): (Vec<_>, Vec<_>) = sizes.partition(|size| *size > 0 && *size == self.start);
        self.older += u64::try_from(older.len()).unwrap_or(u64::MAX);
        if let Some(of) = foreign.first() {
            return Some(Finding { index: (*of).max(1), fault });
        }
        (!self.ahead.is_empty()).then_some(Finding { index: size + 1, fault })
    }

    fn judge(&mut self, note: Note, same: bool, keys: Keys<'_>) -> Result<(), Finding> {
        let size = note.checkpoint().size;
        if !keys.signed(&note) {
            self.unsigned.push((note, same));
        } else if same {
            self.witnessed += 1;
            self.held = self.held.max(size);
        } else {
            let fault = Fault::Witness(format!("this entry, or one behind it up to {size}, was another"));
            return Err(Finding { index: (self.held + 1).min(size.max(1)), fault });
        }
        Ok(())
    }
}

/// The keys whose signature counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keys<'a> {
    /// Those of whoever asks.
    pub(super) pinned: &'a [PublicKey],
    /// Those that signed in the file.
    pub(super) of_file: &'a [PublicKey],
}

impl Keys<'_> {
    fn signed(self, note: &Note) -> bool {
        // The newest first: mostly there is one.
        let all = self.of_file.iter().rev().chain(self.pinned);
        all.into_iter().any(|key| note.is_signed_by(key))
    }
}
