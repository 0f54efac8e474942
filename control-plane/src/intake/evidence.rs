//! What a record says for the audit log: the entry as the replica wrote it, in the chain of its run.

use std::borrow::Cow;

use tollgate_audit::{
    Entry,
    seal::{Salt, commitment, is_action, link},
    tree::Hash,
};
use tollgate_proto::{
    convert::{
        evidence::{REFUSE, UNKNOWN},
        usage::Reported,
    },
    usage::v1,
};

use super::entry;
use crate::{
    audit::{Draft, Origin},
    store::{StoreError, usage::Chain},
};

/// The longest entry, in bytes: its detail is at most 8 KiB, and each of its facts 256 bytes, which JSON may write six times as
/// long.
const BODY_BYTES_MAX: usize = 24 * 1024;

/// An entry, and its place in the chain.
#[derive(Debug)]
pub(super) struct Evidence {
    entry: Entry,
    body: Vec<u8>,
    salt: Salt,
    previous: Hash,
}

impl Evidence {
    /// Takes it out of a record. `None`: there is none, since the record was lost, or since the replica is of a version that
    /// wrote none.
    ///
    /// # Errors
    /// Says what it must be.
    pub(super) fn read(record: &mut v1::Record) -> Result<Option<Self>, &'static str> {
        let Some(v1::Evidence { body, salt, previous }) = record.evidence.take() else { return Ok(None) };
        if body.len() > BODY_BYTES_MAX {
            return Err("must be at most 24 KiB");
        }
        let entry = Entry::decode_foreign(&body).map_err(|_| "must be an entry as it is encoded, within its limits")?;
        if !is_action(entry.action()) {
            return Err("must have an action of lower case letters, digits, hyphens, underscores and points");
        }
        // The log and the ledger must not tell two stories.
        if entry.request_id() != record.request_id {
            return Err("must be of the record's request");
        }
        // What has no row must not be told as anybody's, or as more than a refusal.
        if record.unidentified && (entry.action(), entry.initiator()) != (REFUSE, UNKNOWN) {
            return Err("must tell of a refusal of nobody");
        }
        // Whose it is stands in its seal, by the certificate with which it came.
        if !entry.replica().is_empty() {
            return Err("must leave the replica empty");
        }
        let salt = Salt::try_from(salt).map_err(|_| "must have a salt of 16 bytes")?;
        let previous = Hash::try_from(previous).map_err(|_| "must have a link of 32 bytes")?;
        Ok(Some(Self { entry, body, salt, previous }))
    }
}

/// Appends what is to be written of a record. Where the chain does not go on from where it stood, that is declared first: what
/// is missing is lost, and the log says so.
///
/// # Errors
/// Never in practice: every entry has a JSON form.
pub(super) fn draft<'a>(
    drafts: &mut Vec<Draft<'a>>,
    chain: &mut Chain,
    replica: &'a str,
    reported: &Reported,
    evidence: Option<&'a Evidence>,
    now_ms: i64,
) -> Result<(), StoreError> {
    let Some(Evidence { entry, body, salt, previous }) = evidence else {
        drafts.push(entry::here(entry::of(replica, reported)?));
        return Ok(());
    };
    let (incarnation, sequence) = (reported.incarnation(), reported.sequence());
    if sequence > chain.sequence + 1 {
        let run = i64::try_from(incarnation).unwrap_or(i64::MAX);
        drafts.push(entry::here(entry::forgotten(replica, run, chain.sequence, sequence - 1, now_ms)));
    } else if chain.link.is_some_and(|link| link != *previous) {
        // It is written as it came: whoever verifies the log must see it.
        tracing::error!(replica, incarnation, sequence, "the audit chain of a replica does not go on where it stood");
    }
    let commitment = commitment(salt, body);
    *chain = Chain { sequence, link: Some(link(incarnation, sequence, previous, &commitment)) };
    let origin =
        Origin::Replica { id: replica, incarnation, sequence, previous: *previous, salt: *salt, body: body.clone() };
    drafts.push(Draft { entry: Cow::Borrowed(entry), origin });
    Ok(())
}
