//! A compiled set of rules, with what threads need beside it.

use std::sync::{Mutex, PoisonError};

use tollgate_scan::{FingerprintKey, RuleSet, Rules, Scratch};

/// So many are kept for the next text: more threads do not scan at the same time.
const SCRATCHES_MAX: usize = 64;

/// A set of rules at work.
pub(super) struct Engine {
    set: RuleSet,
    scratches: Mutex<Vec<Scratch>>,
}

impl Engine {
    /// Compiles rules.
    ///
    /// # Errors
    /// Names the first rule that does not compile, and why.
    pub(super) fn compile(rules: &Rules) -> Result<Self, String> {
        let (set, report) = RuleSet::compile(rules);
        if let Some(refused) = report.first_refused() {
            return Err(refused.to_string());
        }
        let mut scratch = Scratch::new();
        // Under any key: what it finds is forgotten.
        set.warm(&mut scratch, &FingerprintKey::new(&[0; 32]));
        Ok(Self { set, scratches: Mutex::new(vec![scratch]) })
    }

    pub(super) const fn set(&self) -> &RuleSet {
        &self.set
    }

    /// Lends a scratch for one text.
    pub(super) fn with<T>(&self, work: impl FnOnce(&RuleSet, &mut Scratch) -> T) -> T {
        let mut scratch = self.lock().pop().unwrap_or_default();
        let done = work(&self.set, &mut scratch);
        let mut scratches = self.lock();
        if scratches.len() < SCRATCHES_MAX {
            scratches.push(scratch);
        }
        done
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Scratch>> {
        self.scratches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
