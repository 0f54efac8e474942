//! What is not in a file any more, bodies that were erased and entries that were pruned, and what its entries say of that.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{Fault, Finding};
use crate::tree::{Frontier, Hash};

/// What is gone.
#[derive(Debug, Default)]
pub(super) struct Gone {
    /// The entries without a body of which no entry spoke yet.
    pub(super) undeclared: BTreeSet<u64>,
    /// Whether an entry says that what is before the file's beginning was pruned.
    pub(super) pruned: bool,
}

#[derive(Deserialize)]
struct Body<D> {
    detail: D,
}

#[derive(Deserialize)]
struct Erasure {
    indexes: Vec<u64>,
}

#[derive(Deserialize)]
struct Pruning {
    to: u64,
    #[serde(with = "hex::serde")]
    root: Hash,
}

impl Gone {
    /// The body of this entry was erased.
    pub(super) fn erased(&mut self, index: u64) {
        self.undeclared.insert(index);
    }

    /// An entry speaks of bodies that were erased.
    pub(super) fn declares_erased(&mut self, body: &[u8]) -> Result<(), Fault> {
        let Body { detail: Erasure { indexes } } = read(body)?;
        // Those behind this one are not there yet, and cannot be meant.
        for index in indexes {
            self.undeclared.remove(&index);
        }
        Ok(())
    }

    /// An entry speaks of entries that were pruned: it must know what was before the file's beginning.
    pub(super) fn declares_pruned(&mut self, start: &Frontier, body: &[u8]) -> Result<(), Fault> {
        let Body { detail: Pruning { to, root } } = read(body)?;
        self.pruned |= start.size() > 0 && to == start.size() && root == start.root();
        Ok(())
    }

    /// The first thing that is gone without a word, in a file that is to be all that is left of a log.
    pub(super) fn finding(&self, start: &Frontier) -> Option<Finding> {
        if start.size() > 0 && !self.pruned {
            let what =
                format!("the file begins with entry {}, and no entry says that others were pruned", start.size() + 1);
            return Some(Finding { index: 1, fault: Fault::Truncated(what) });
        }
        self.undeclared.first().map(|index| Finding { index: *index, fault: Fault::Erased })
    }
}

fn read<'a, D: Deserialize<'a>>(body: &'a [u8]) -> Result<Body<D>, Fault> {
    serde_json::from_slice(body).map_err(|_| Fault::Body("form"))
}
