//! Erasure, and the holds that keep entries from it and from pruning.

use serde_json::json;
use tollgate_audit::Fields;
use tollgate_policy::name::Name;
use tollgate_proto::audit::v1;

use super::list::read_filter;
use crate::{
    api::{Admin, authorize::Authorized, failure::Failure, violations::Violations, wire},
    audit::erasure::{self, EraseError, Erased, Erasure},
    change::{Change, Done},
    clock,
    store::audit::retention::Hold,
};

/// The longest reason, in characters.
const REASON_MAX: usize = 500;
/// The most holds: each is asked for before anything is taken away.
const HOLDS_MAX: usize = 100;
/// The noun.
const KIND: &str = "hold";

impl Admin {
    pub(super) async fn audit_erase(
        &self,
        by: &Authorized,
        message: v1::EraseEntriesRequest,
    ) -> Result<v1::EraseEntriesResponse, Failure> {
        let v1::EraseEntriesRequest { filter: written, reason } = message;
        let mut violations = Violations::default();
        if written.trim().is_empty() {
            violations.add("filter", "must say which entries are meant");
        }
        let filter = read_filter(&written, &mut violations);
        let reason = read_reason("reason", &reason, &mut violations);
        let reason = violations.finish(reason)?;
        let erasure = Erasure { filter: &filter, written: &written, reason: &reason, initiator: by.principal() };
        let Erased { erased, kept } = erasure::erase(&self.store, &erasure, clock::now_ms()).await?;
        Ok(v1::EraseEntriesResponse { erased: count(erased), kept: count(kept) })
    }

    pub(super) async fn hold_create(&self, by: &Authorized, wire: v1::Hold) -> Result<v1::Hold, Failure> {
        let v1::Hold { name, reason, since, initiator, create_time } = wire;
        let mut violations = Violations::default();
        violations.output_only([("initiator", !initiator.is_empty()), ("create_time", create_time.is_some())]);
        let name = violations.take("hold.name", Name::parse(&name));
        let reason = read_reason("hold.reason", &reason, &mut violations);
        let since = match &since {
            None => Some(0),
            Some(since) => wire::instant("hold.since", since, &mut violations),
        };
        let ((name, reason), since) = violations.finish(wire::both((wire::both((name, reason)), since)))?;
        let mut change = Change::begin(&self.store, by).await?;
        let holds = change.txn.audit_holds().await?;
        if holds.iter().any(|hold| hold.name == name.as_str()) {
            return Err(Failure::Exists { kind: KIND, field: "name", value: name.to_string() });
        }
        if holds.len() >= HOLDS_MAX {
            let sentence = format!("there are {HOLDS_MAX} holds: release one first");
            return Err(Failure::Blocked { subject: "audit/log".into(), sentence });
        }
        let initiator = by.principal().to_owned();
        let hold = Hold { name: name.to_string(), reason, since, initiator, create_time: change.now };
        change.txn.audit_hold_insert(&hold).await?;
        change.finish(Done { target: &target(&hold), after: Some(fields_of(&hold)), ..Done::default() }).await?;
        Ok(written(hold))
    }

    pub(super) async fn hold_list(&self) -> Result<v1::ListHoldsResponse, Failure> {
        let mut txn = self.store.begin_read().await?;
        let holds = txn.audit_holds().await?;
        txn.end().await?;
        Ok(v1::ListHoldsResponse { holds: holds.into_iter().map(written).collect() })
    }

    pub(super) async fn hold_release(&self, by: &Authorized, message: v1::ReleaseHoldRequest) -> Result<(), Failure> {
        let v1::ReleaseHoldRequest { name, reason } = message;
        let mut violations = Violations::default();
        let reason = wire::prose("reason", &reason, REASON_MAX, &mut violations);
        let reason = violations.finish(reason)?;
        let mut change = Change::begin(&self.store, by).await?;
        let found = change.txn.audit_holds().await?.into_iter().find(|hold| hold.name == name);
        let hold = found.ok_or(Failure::NotFound { kind: KIND, name })?;
        change.txn.audit_hold_delete(&hold.name).await?;
        let done = Done { target: &target(&hold), before: Some(fields_of(&hold)), reason: &reason, ..Done::default() };
        Ok(change.finish(done).await?)
    }
}

impl From<EraseError> for Failure {
    fn from(error: EraseError) -> Self {
        match error {
            EraseError::Store(error) => error.into(),
            EraseError::Held { ref name, .. } => {
                Self::Blocked { subject: format!("{KIND}/{name}"), sentence: format!("{error}: release it first") }
            }
        }
    }
}

fn read_reason(field: &str, reason: &str, violations: &mut Violations) -> Option<String> {
    if reason.trim().is_empty() {
        violations.add(field, "must say why");
        return None;
    }
    wire::prose(field, reason, REASON_MAX, violations)
}

fn target(hold: &Hold) -> String {
    format!("{KIND}/{}", hold.name)
}

fn fields_of(hold: &Hold) -> Fields {
    let Hold { name, reason, since, initiator: _, create_time: _ } = hold;
    let fields = [("name", json!(name)), ("reason", json!(reason)), ("since", json!(since))];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn written(hold: Hold) -> v1::Hold {
    let Hold { name, reason, since, initiator, create_time } = hold;
    let (since, create_time) = (Some(wire::timestamp(since)), Some(wire::timestamp(create_time)));
    v1::Hold { name, reason, since, initiator, create_time }
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
