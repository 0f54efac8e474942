//! A small audit log, sealed and signed as control planes do it.

use std::borrow::Cow;

use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::json;
use tollgate_audit::{
    Checkpoint, Entry, Facts, Frontier, Header, MacKey, Outcome,
    checkpoint::PublicKey,
    file::{Content, Head, Stored, seal, write_checkpoint, write_end},
    seal::{CHAIN_START, CONTROL_PLANE},
    tree::{Hash, Tree},
};
use tollgate_proto::audit::v1;

/// The HMAC key.
pub(crate) const MAC_KEY: [u8; 32] = [5; 32];
const LOG: [u8; 16] = [0xa1; 16];

/// The log.
pub(crate) struct Sealed {
    tree: Frontier,
    link: Hash,
    pair: Ed25519KeyPair,
    rows: Vec<(Stored<'static>, Entry)>,
    notes: Vec<(u64, String)>,
}

impl Sealed {
    pub(crate) fn new() -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap();
        Self { tree: Frontier::default(), link: CHAIN_START, pair, rows: vec![], notes: vec![] }
    }

    /// Appends an entry of that action, of the request `req_<index>`.
    pub(crate) fn write(&mut self, action: &str) {
        let index = self.tree.size() + 1;
        let time_ms = 1_764_000_000_000 + i64::try_from(index).unwrap();
        let request_id = format!("req_{index}");
        let detail = json!({"revision": 9, "attempts": 0, "refusal": "model_not_allowed"});
        let detail = detail.as_object().unwrap().clone();
        let facts = Facts { initiator: "key/1", request_id: &request_id, detail, ..Facts::default() };
        let entry = Entry::new(time_ms, action, Outcome::Refused, facts);
        let key = self.mac_key();
        let header = Header {
            log: LOG,
            index,
            writer: CONTROL_PLANE,
            incarnation: 1,
            sequence: index,
            previous: self.link,
            time_ms,
            action,
            key: key.id(),
        };
        let content = Content::Body { salt: [7; 16], body: Cow::Owned(entry.encode().unwrap()) };
        let (stored, commitment) = seal(&header, content, &key).unwrap();
        self.link = header.link(&commitment);
        self.tree.push(stored.leaf);
        self.rows.push((stored, entry));
    }

    /// Signs the log as it is.
    pub(crate) fn checkpoint(&mut self) -> String {
        let checkpoint =
            Checkpoint { log: LOG, size: self.tree.size(), root: self.tree.root(), time_ms: 1_764_000_099_000 };
        let text = checkpoint.text(&self.mac_key());
        let note = checkpoint.note(&text, &self.public_key(), self.pair.sign(text.as_bytes()).as_ref());
        if self.notes.last().is_none_or(|(size, _)| *size < checkpoint.size) {
            self.notes.push((checkpoint.size, note.clone()));
        }
        note
    }

    /// The file, which ends with the last checkpoint: that must be over all entries.
    pub(crate) fn export(&self) -> String {
        let head = Head { log: LOG, start: Frontier::default(), key: self.public_key() };
        let mut lines = head.write().unwrap();
        for (row, size) in self.rows.iter().zip(1..) {
            lines.extend(row.0.write(&[]).unwrap());
            for (_, note) in self.notes.iter().filter(|(of, _)| *of == size && size < self.tree.size()) {
                lines.extend(write_checkpoint(note).unwrap());
            }
        }
        let end = self.notes.last().filter(|(size, _)| *size == self.tree.size());
        lines.extend(write_end(&end.unwrap().1).unwrap());
        String::from_utf8(lines).unwrap()
    }

    /// The line of an entry.
    pub(crate) fn line(&self, index: u64) -> String {
        let row = &self.rows[usize::try_from(index - 1).unwrap()].0;
        String::from_utf8(row.write(&[]).unwrap()).unwrap().trim_end().to_owned()
    }

    pub(crate) fn leaves(&self) -> Vec<Hash> {
        self.rows.iter().map(|(row, _)| row.leaf).collect()
    }

    pub(crate) fn path(&self, index: u64) -> Option<Vec<Hash>> {
        Tree { start: &Frontier::default(), leaves: &self.leaves() }.inclusion(index - 1)
    }

    pub(crate) fn public_key(&self) -> PublicKey {
        self.pair.public_key().as_ref().try_into().unwrap()
    }

    pub(crate) fn mac_key(&self) -> MacKey {
        MacKey::new(&MAC_KEY).unwrap()
    }

    /// The entries, newest first.
    pub(crate) fn listed(&self) -> Vec<v1::Entry> {
        let rows = self.rows.iter().zip(1..);
        let entries = rows.map(|((row, entry), index)| v1::Entry {
            index,
            time: Some(prost_types::Timestamp { seconds: entry.time_ms() / 1_000, nanos: 0 }),
            action: entry.action().to_owned(),
            outcome: entry.outcome().word().to_owned(),
            initiator: entry.initiator().to_owned(),
            request_id: entry.request_id().to_owned(),
            detail: serde_json::to_string(entry.detail()).unwrap(),
            writer: CONTROL_PLANE.to_owned(),
            leaf: row.leaf.to_vec(),
            ..v1::Entry::default()
        });
        let mut entries: Vec<_> = entries.collect();
        entries.reverse();
        entries
    }
}
