//! An administrative change: rows, audit entry and revision in one transaction, for a caller who was authorised.

use serde_json::Value;
use tollgate_audit::{Entry, Facts, Fields, Outcome, difference};

use crate::{
    api::authorize::Authorized,
    audit, clock,
    store::{Store, StoreError, Txn, organisation::Stamp},
};

/// A change that has begun. Dropping it leaves everything as it was, and the log without an entry.
#[derive(Debug)]
pub struct Change<'a> {
    /// The transaction.
    pub txn: Txn,
    /// The revision that the change makes.
    pub revision: i64,
    /// When, in Unix milliseconds.
    pub now: i64,
    by: &'a Authorized,
}

/// What a change did, for the log.
#[derive(Debug, Default)]
pub struct Done<'a> {
    /// To what: `key/<id>`.
    pub target: &'a str,
    /// The object as it was; `None` for a new one.
    pub before: Option<Fields>,
    /// The object as it is; `None` for one that is gone.
    pub after: Option<Fields>,
    /// Why, when the caller said so.
    pub reason: &'a str,
    /// What it is called; `None`: as the permission that the call declares.
    pub action: Option<&'static str>,
    /// What else the log is told.
    pub told: Fields,
}

impl<'a> Change<'a> {
    /// Begins a change. From here until the end no other administrative change runs, on any control plane.
    ///
    /// # Errors
    /// When the database cannot begin.
    pub async fn begin(store: &Store, by: &'a Authorized) -> Result<Self, StoreError> {
        let mut txn = store.begin().await?;
        let revision = txn.advance_revision().await?;
        Ok(Self { txn, revision, now: clock::now_ms(), by })
    }

    /// Who makes the change.
    #[must_use]
    pub const fn by(&self) -> &'a Authorized {
        self.by
    }

    /// The history of an object that this change creates.
    #[must_use]
    pub const fn created(&self) -> Stamp {
        Stamp { created: self.revision, revision: self.revision, create_time: self.now, update_time: self.now }
    }

    /// The history of an object that this change updates.
    #[must_use]
    pub const fn updated(&self, stamp: Stamp) -> Stamp {
        Stamp { revision: self.revision, update_time: self.now, ..stamp }
    }

    /// Writes the entry and commits.
    ///
    /// # Errors
    /// When the entry or the commit fails: nothing has changed then.
    pub async fn finish(mut self, done: Done<'_>) -> Result<(), StoreError> {
        let Done { target, before, after, reason, action, told } = done;
        let action = action.unwrap_or(self.by.permission());
        let mut detail = told;
        detail.insert("changed".into(), Value::Object(difference(before.as_ref(), after.as_ref())));
        detail.insert("revision".into(), Value::from(self.revision));
        detail.insert("call".into(), Value::from(self.by.call()));
        for (name, value) in [("reason", reason), ("user_agent", self.by.user_agent())] {
            if !value.is_empty() {
                detail.insert(name.into(), Value::from(value));
            }
        }
        let facts = Facts {
            initiator: self.by.principal(),
            target,
            source_address: self.by.source_address(),
            detail,
            ..Facts::default()
        };
        audit::append(&mut self.txn, Entry::new(self.now, action, Outcome::Allowed, facts)).await?;
        self.txn.commit().await
    }
}
