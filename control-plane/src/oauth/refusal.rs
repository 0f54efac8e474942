//! What the log says of those who are not let in.

use serde_json::json;
use tollgate_audit::{Facts, Fields, Outcome};

use super::{OAuth, caller::Caller};

/// A refusal. None of it is a token or a code.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Refusal<'a> {
    /// What was asked: `callback`, `token`.
    pub(super) step: &'a str,
    /// Why not.
    pub(super) reason: &'a str,
    /// The issuer's name, where it is known.
    pub(super) issuer: &'a str,
    /// `user/<id>` or `session/<id>`, where it is known.
    pub(super) target: &'a str,
    /// Where the caller is.
    pub(super) source_address: &'a str,
    /// Whether it was not so much refused as failed.
    pub(super) is_failure: bool,
}

// === impl OAuth ===

impl OAuth {
    /// Writes a refusal down of which no more is known than this.
    pub(super) async fn refuse(&self, caller: &Caller, step: &str, reason: &str) {
        let source_address = &caller.source_address;
        self.write(Refusal { step, reason, source_address, ..Refusal::default() }).await;
    }

    /// Writes a refusal down.
    pub(super) async fn write(&self, refusal: Refusal<'_>) {
        let Refusal { step, reason, issuer, target, source_address, is_failure } = refusal;
        tracing::info!(step, reason, issuer, "refused a sign-in");
        let detail = Fields::from_iter([("step".to_owned(), json!(step)), ("reason".to_owned(), json!(reason))]);
        let initiator = if issuer.is_empty() { "anonymous".to_owned() } else { format!("issuer/{issuer}") };
        let facts = Facts { initiator: &initiator, target, source_address, detail, ..Facts::default() };
        let outcome = if is_failure { Outcome::Failed } else { Outcome::Refused };
        self.refusals.write("session.refuse", outcome, facts).await;
    }
}
