//! The beginning of a log, and the change of its keys.

use std::{borrow::Cow, sync::Arc};

use serde_json::json;
use tollgate_audit::{
    Entry, Facts, Fields, Frontier, MacKey, Outcome, checkpoint::key_name, seal::CHAIN_START, verify::NEW_KEY,
};

use super::{Draft, Origin, append, checkpoints, epochs::Epoch, line, salts};
use crate::{
    clock,
    seal::SealError,
    store::{Store, StoreError, Txn, audit::Head},
};

/// How many entries of an older version are sealed at a time.
const PAGE: i64 = 500;

/// Makes the log's name and its first keys where there are none, and seals what an older version had written. Of several
/// control planes that start together one does it.
///
/// # Errors
/// When the database refuses, or there is no randomness.
pub(crate) async fn found(store: &Store) -> Result<(), StoreError> {
    let mut txn = store.begin().await?;
    if txn.audit_is_founded().await? {
        while txn.audit_fill_teams(PAGE).await? {}
        return txn.commit().await;
    }
    let epochs = txn.epochs();
    let epoch = epochs.make(&mut txn, None).await?;
    txn.audit_epoch_insert(epoch.id(), epoch.public_key(), 1, clock::now_ms()).await?;
    let mut log = [0; 16];
    getrandom::fill(&mut log).map_err(|_| SealError::Randomness)?;
    let mut head = Head {
        log,
        frontier: Frontier::default(),
        sequence: 0,
        link: CHAIN_START,
        epoch: epoch.id().to_owned(),
        pruned: 0,
    };
    loop {
        let older = txn.audit_unsealed(head.size(), PAGE).await?;
        if older.is_empty() {
            break;
        }
        let first = head.size() + 1;
        let mut lines = Vec::with_capacity(older.len());
        for (entry, salt) in older.into_iter().zip(salts(usize::try_from(PAGE).unwrap_or_default())?) {
            let draft = Draft { entry: Cow::Owned(entry), origin: Origin::Here };
            lines.push(line(&mut head, epoch.mac_key(), draft, salt)?);
        }
        txn.audit_seal(first, lines).await?;
    }
    while txn.audit_fill_teams(PAGE).await? {}
    txn.audit_move(&head).await?;
    txn.commit().await
}

/// Begins a new epoch where another HMAC key is configured than the one in force. Of several control planes that start together one
/// does it.
///
/// # Errors
/// As [`rotate`]; and when the key sealed an epoch that has ended.
pub(crate) async fn adopt(store: &Store, mac_key: &[u8]) -> Result<(), StoreError> {
    let named = MacKey::new(mac_key).map_err(|error| StoreError::corrupt("audit_hmac_key", error))?;
    let mut txn = store.begin().await?;
    txn.epochs().set_configured();
    if txn.audit_head().await?.epoch == hex::encode(named.id()) {
        return txn.end().await;
    }
    rotate(&mut txn, "system", Some(mac_key)).await?;
    txn.commit().await
}

/// Begins a new epoch: new keys, each announced by an entry under the old ones and taken up by an entry under itself. The old
/// signing key signs the announcement, so that whoever trusts it trusts the new one. Returns the new epoch.
///
/// # Errors
/// When the database refuses, or there is no randomness.
pub async fn rotate(txn: &mut Txn, initiator: &str, mac_key: Option<&[u8]>) -> Result<Arc<Epoch>, StoreError> {
    let now = clock::now_ms();
    let epochs = txn.epochs();
    let head = txn.audit_head().await?;
    let epoch = epochs.make(txn, mac_key).await?;
    let entry = |action| {
        let mut detail = Fields::new();
        detail.insert("from_epoch".into(), json!(head.epoch));
        detail.insert("epoch".into(), json!(epoch.id()));
        detail.insert("public_key".into(), json!(hex::encode(epoch.public_key())));
        detail.insert("key_name".into(), json!(key_name(epoch.public_key())));
        let facts = Facts { initiator, target: "audit/log", detail, ..Facts::default() };
        Entry::new(now, action, Outcome::Allowed, facts)
    };
    append(txn, entry(NEW_KEY)).await?;
    checkpoints::sign(txn, now).await?;
    let head = txn.audit_head().await?;
    let next = i64::try_from(head.frontier.size() + 1).unwrap_or(i64::MAX);
    txn.audit_epoch_insert(epoch.id(), epoch.public_key(), next, now).await?;
    txn.audit_move(&Head { epoch: epoch.id().to_owned(), ..head }).await?;
    append(txn, entry("audit.use_key")).await?;
    Ok(epoch)
}
