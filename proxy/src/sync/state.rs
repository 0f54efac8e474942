//! The replica's state of the policy: a snapshot, and for each of its items the hash by which the next digest is checked.
//! A push leads from one state to the next or is refused; nothing in between is ever seen.

use std::{collections::HashMap, sync::Arc};

use sha2::{Digest as _, Sha256};
use tollgate_policy::snapshot::{Object, ObjectRef, Snapshot};
use tollgate_proto::{
    convert::fleet::{Decoder, InvalidItem},
    fleet::v1::{Item, ItemKind, ItemRef, Push},
    push::{self, Digest, ItemHash},
};

use super::{
    assembly::Whole,
    payload::{InvalidPayload, Record, Records},
    pins::{InvalidSignature, Pins},
};
use crate::guard::{Guards, Unfit};

/// A state.
#[derive(Debug)]
pub(crate) struct State {
    /// The policy.
    pub(crate) snapshot: Snapshot,
    /// Its guardrails, compiled.
    pub(crate) guards: Arc<Guards>,
    /// The head of the push that led here.
    pub(crate) head: Push,
    ledger: HashMap<ItemKey, ItemHash>,
    digest: Digest,
    keys: usize,
}

/// What a push changes beside the snapshot.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Touched {
    /// Whether providers changed, and so the places of their secrets.
    pub(crate) providers: bool,
}

/// Why a push does not lead to a state.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// It is not valid: it is answered with a Nack, and the last good state is kept.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// It does not fit what this replica has: a full snapshot is asked for.
    #[error("{0}")]
    Misfit(&'static str),
}

/// A push that is not valid.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Invalid {
    #[error("the push {0}")]
    Signature(#[from] InvalidSignature),
    #[error("the push leads to revision {to}, below {from}, which this replica has")]
    Rollback { from: i64, to: i64 },
    #[error(transparent)]
    Payload(#[from] InvalidPayload),
    #[error(transparent)]
    Item(#[from] InvalidItem),
    #[error("{0} {1:?} is named twice")]
    Twice(&'static str, String),
    #[error("a full snapshot deletes {0:?}")]
    DeleteInFull(String),
    #[error(transparent)]
    Guardrail(#[from] Unfit),
    #[error("two keys have the same hash")]
    SharedHash,
    #[error("the items do not add up to the digest that is signed with them")]
    Digest,
}

// A kind and an id, as the first half of their SHA-256: 128 bits that nobody finds two of, in a fixed length.
type ItemKey = [u8; 16];

// What a push does, collected before anything is changed.
#[derive(Debug, Default)]
struct Plan {
    hashes: HashMap<ItemKey, Option<ItemHash>>,
    upserts: Vec<Object>,
    deletes: Vec<ObjectRef>,
    touched: Touched,
}

impl State {
    /// Applies a push to `state`. When it is refused, `state` is what it was.
    ///
    /// # Errors
    /// Says whether the push is invalid, or does not fit what this replica has.
    pub(crate) fn apply(state: &mut Option<Self>, pins: &Pins, whole: Whole) -> Result<Touched, Refused> {
        let Whole { head, chunks } = whole;
        admit(state.as_ref(), pins, &head)?;
        let announced = u64::try_from(head.payload_raw_bytes).unwrap_or_default();
        let records = Records::new(chunks, announced).map_err(Invalid::from)?;
        match state {
            // A full snapshot stands alone. What was before stays until it is known to be good.
            _ if head.base_revision == 0 => {
                let guards = state.as_ref().map(|before| Arc::clone(&before.guards)).unwrap_or_default();
                *state = Some(Self::full(head, records, &guards)?);
                Ok(Touched { providers: true })
            }
            Some(state) => state.delta(head, records),
            None => Err(Refused::Misfit("has nothing that the delta could build on")),
        }
    }

    /// The revision.
    pub(crate) const fn revision(&self) -> i64 {
        self.head.revision
    }

    fn full(head: Push, mut records: Records, before: &Guards) -> Result<Self, Invalid> {
        let revision = u64::try_from(head.revision).unwrap_or_default();
        let (mut snapshot, mut digest, mut keys) = (Snapshot::empty(revision), Digest::default(), 0);
        let mut ledger = HashMap::new();
        let mut decoder = Decoder::default();
        while let Some(record) = records.next()? {
            let item = match record {
                Record::Upsert(item) => item,
                Record::Delete(gone) => return Err(Invalid::DeleteInFull(gone.id)),
            };
            snapshot.add(decoder.object(&item)?);
            let hash = hash(&item);
            keys += usize::from(is_key(item.kind));
            digest.add(&hash);
            if ledger.insert(item_key(item.kind, &item.id), hash).is_some() {
                return Err(Invalid::Twice(noun(item.kind), item.id));
            }
        }
        if head.digest != digest.to_bytes().as_slice() {
            return Err(Invalid::Digest);
        }
        if snapshot.key_count() != keys {
            return Err(Invalid::SharedHash);
        }
        let guards = Arc::new(before.next(snapshot.guardrails())?);
        Ok(Self { snapshot, guards, head, ledger, digest, keys })
    }

    fn delta(&mut self, head: Push, records: Records) -> Result<Touched, Refused> {
        let Plan { hashes, upserts, deletes, touched } = plan(records)?;
        let mut digest = self.digest;
        for (key, hash) in &hashes {
            self.ledger.get(key).into_iter().for_each(|old| digest.remove(old));
            hash.iter().for_each(|new| digest.add(new));
        }
        if head.digest != digest.to_bytes().as_slice() {
            return Err(Refused::Misfit("has another state than the digest says"));
        }
        let added = upserts.iter().filter(|object| self.is_new_key(object)).count();
        let gone = deletes.iter().filter(|gone| self.is_known_key(gone)).count();
        let keys = self.keys + added - gone;
        let revision = u64::try_from(head.revision).unwrap_or_default();
        let snapshot = self.snapshot.next(revision, upserts, deletes);
        if snapshot.key_count() != keys {
            return Err(Invalid::SharedHash.into());
        }
        let guards = if self.guards.are_of(snapshot.guardrails()) {
            Arc::clone(&self.guards)
        } else {
            Arc::new(self.guards.next(snapshot.guardrails()).map_err(Invalid::from)?)
        };
        // Nothing fails from here on.
        for (key, hash) in hashes {
            match hash {
                Some(hash) => self.ledger.insert(key, hash),
                None => self.ledger.remove(&key),
            };
        }
        (self.snapshot, self.guards, self.head, self.digest, self.keys) = (snapshot, guards, head, digest, keys);
        Ok(touched)
    }

    fn is_new_key(&self, object: &Object) -> bool {
        matches!(object, Object::Key(key) if self.snapshot.key_by_id(&key.id).is_none())
    }

    fn is_known_key(&self, gone: &ObjectRef) -> bool {
        matches!(gone, ObjectRef::Key(id) if self.snapshot.key_by_id(id).is_some())
    }
}

// Whether the push is from whom it should be, and leads forward from here.
fn admit(before: Option<&State>, pins: &Pins, head: &Push) -> Result<(), Refused> {
    pins.verify(head).map_err(Invalid::from)?;
    let Some(before) = before else { return Ok(()) };
    if head.epoch != before.head.epoch {
        // A new history begins with everything. Its revisions count from wherever the backup stood.
        let full = head.base_revision == 0;
        return if full { Ok(()) } else { Err(Refused::Misfit("has another epoch")) };
    }
    let from = before.revision();
    if head.revision < from {
        return Err(Invalid::Rollback { from, to: head.revision }.into());
    }
    // A delta holds all that changed since its base, so it fits whoever has the base or more.
    if head.base_revision > from {
        return Err(Refused::Misfit("has an older revision than the delta builds on"));
    }
    Ok(())
}

fn plan(mut records: Records) -> Result<Plan, Invalid> {
    let (mut plan, mut decoder) = (Plan::default(), Decoder::default());
    while let Some(record) = records.next()? {
        let (kind, id, hash) = match record {
            Record::Upsert(item) => {
                plan.upserts.push(decoder.object(&item)?);
                let hash = hash(&item);
                (item.kind, item.id, Some(hash))
            }
            Record::Delete(gone) => {
                plan.deletes.push(ObjectRef::try_from(&gone)?);
                let ItemRef { kind, id } = gone;
                (kind, id, None)
            }
        };
        plan.touched.providers |= kind == i32::from(ItemKind::Provider);
        if plan.hashes.insert(item_key(kind, &id), hash).is_some() {
            return Err(Invalid::Twice(noun(kind), id));
        }
    }
    Ok(plan)
}

fn hash(item: &Item) -> ItemHash {
    push::item_hash(item.kind(), &item.id, &item.body)
}

fn item_key(kind: i32, id: &str) -> ItemKey {
    let mut hash = Sha256::new();
    hash.update(kind.to_be_bytes());
    hash.update(id.as_bytes());
    let whole: [u8; 32] = hash.finalize().into();
    whole.first_chunk().copied().unwrap_or_default()
}

fn is_key(kind: i32) -> bool {
    kind == i32::from(ItemKind::Key)
}

fn noun(kind: i32) -> &'static str {
    ItemKind::try_from(kind).map_or("ITEM", |kind| kind.as_str_name())
}
