//! The rows of the audit log.
//!
//! Reading order: here, what is appended and sealed; [`list`], by what entries are found; [`retention`], what is taken away.

use std::borrow::Cow;

use tollgate_audit::{
    Entry, Frontier, Note,
    checkpoint::PublicKey,
    file::{Content, Stored},
    seal::{Header, LogId, Salt},
    tree::Hash,
};

use super::{Row, Statement, StoreError, Txn};
use crate::audit::checkpoints::Signed;

pub mod list;
pub mod retention;

/// An entry, sealed, with what it is found by.
#[derive(Debug)]
pub struct Line<'a> {
    /// The entry, for the columns by which it is found.
    pub entry: Cow<'a, Entry>,
    /// The replica that decided; empty for a control plane.
    pub replica: String,
    /// What is stored of it.
    pub stored: Stored<'a>,
}

/// Where the log ends.
#[derive(Clone, Debug)]
pub struct Head {
    /// The log.
    pub log: LogId,
    /// The Merkle tree over every entry.
    pub frontier: Frontier,
    /// The sequence of the newest entry of a control plane.
    pub sequence: u64,
    /// Its link.
    pub link: Hash,
    /// The keys in force.
    pub epoch: String,
    /// Entries through this index were pruned.
    pub pruned: i64,
}

/// A row, found by its index.
#[derive(Debug)]
pub struct Found {
    /// The index.
    pub index: i64,
    /// What is stored, with the columns that contradict it; or what of it is not as any control plane stores it.
    pub row: Result<(Stored<'static>, Vec<&'static str>), String>,
}

/// The columns of an erased entry that are empty with its body.
const ERASED_COLUMNS: [&str; 7] = ["outcome", "initiator", "target", "replica", "request_id", "session", "team"];
/// How many rows one statement inserts: few shapes, so that each stays prepared.
const INSERT_ROWS: [usize; 3] = [64, 8, 1];

/// The log. Each method fails as [`Txn::execute`] does.
impl Txn {
    /// Whether the log has a name and keys. Its row stays locked until the transaction ends.
    pub async fn audit_is_founded(&mut self) -> Result<bool, StoreError> {
        Ok(self.audit_head_row().await?.bytes_opt("log")?.is_some())
    }

    /// The head of the log, locked until the transaction ends.
    pub async fn audit_head(&mut self) -> Result<Head, StoreError> {
        let row = self.audit_head_row().await?;
        let frontier = Frontier::decode(&row.bytes("frontier")?);
        Ok(Head {
            log: array(&row, "log")?,
            frontier: frontier.map_err(|error| StoreError::corrupt("frontier", error))?,
            sequence: row.narrow("sequence")?,
            link: array(&row, "link")?,
            epoch: row.text("epoch")?,
            pruned: row.int("pruned")?,
        })
    }

    async fn audit_head_row(&mut self) -> Result<Row, StoreError> {
        let mut select = sql!("SELECT * FROM audit_head WHERE id = 1");
        select.push(self.for_update());
        self.fetch_one(select).await
    }

    /// Moves the head.
    pub async fn audit_move(&mut self, head: &Head) -> Result<(), StoreError> {
        let Head { log, frontier, sequence, link, epoch, pruned } = head;
        let update = sql!(
            "UPDATE audit_head SET length = $1, log = $2, frontier = $3, sequence = $4, link = $5, epoch = $6, pruned = $7 WHERE id = 1",
            signed(frontier.size()),
            log.as_slice(),
            frontier.encode(),
            signed(*sequence),
            link.as_slice(),
            epoch,
            *pruned,
        );
        self.execute(update).await.map(drop)
    }

    /// Inserts lines from that index on.
    pub async fn audit_insert(&mut self, first: i64, lines: Vec<Line<'_>>) -> Result<(), StoreError> {
        let (mut index, mut lines) = (first, lines.into_iter());
        while lines.len() > 0 {
            let rows = INSERT_ROWS.into_iter().find(|rows| *rows <= lines.len()).unwrap_or(1);
            self.execute(insert(index, lines.by_ref().take(rows))).await?;
            index += signed(u64::try_from(rows).unwrap_or(u64::MAX));
        }
        Ok(())
    }

    /// Entries behind an index that an older version wrote without a seal, at most so many.
    pub async fn audit_unsealed(&mut self, behind: i64, limit: i64) -> Result<Vec<Entry>, StoreError> {
        let select = sql!("SELECT body FROM audit_entries WHERE idx > $1 ORDER BY idx LIMIT $2", behind, limit);
        let rows = self.fetch_all(select).await?;
        rows.iter().map(|row| decode(&row.bytes("body")?)).collect()
    }

    /// Seals entries that are there, from that index on.
    pub async fn audit_seal(&mut self, first: i64, lines: Vec<Line<'_>>) -> Result<(), StoreError> {
        for (index, Line { stored, .. }) in (first..).zip(lines) {
            let Stored { header, content, mac, leaf } = stored;
            let Content::Body { salt, body } = content else { continue };
            let update = sql!(
                "UPDATE audit_entries SET header = $1, salt = $2, mac = $3, leaf = $4, body = $5 WHERE idx = $6",
                header.as_ref(),
                salt.as_slice(),
                mac.as_slice(),
                leaf.as_slice(),
                body.as_ref(),
                index,
            );
            self.execute(update).await?;
        }
        Ok(())
    }

    /// Gives entries of before there was a column for the team theirs, at most so many; `false`: there is none left.
    pub async fn audit_fill_teams(&mut self, limit: i64) -> Result<bool, StoreError> {
        let select = sql!("SELECT idx, body FROM audit_entries WHERE team IS NULL LIMIT $1", limit);
        let rows = self.fetch_all(select).await?;
        for row in &rows {
            let entry = Entry::decode(&row.bytes("body")?).ok();
            let team = entry.as_ref().map(team).unwrap_or_default();
            self.execute(sql!("UPDATE audit_entries SET team = $1 WHERE idx = $2", team, row.int("idx")?)).await?;
        }
        Ok(!rows.is_empty())
    }

    /// The rows between two indexes, both included, as they are.
    pub async fn audit_range(&mut self, first: i64, last: i64) -> Result<Vec<Found>, StoreError> {
        let select = sql!("SELECT * FROM audit_entries WHERE idx BETWEEN $1 AND $2 ORDER BY idx", first, last);
        let rows = self.fetch_all(select).await?;
        rows.iter().map(|row| Ok(Found { index: row.int("idx")?, row: found(row) })).collect()
    }

    /// The leaves behind an index, in their order.
    pub async fn audit_leaves(&mut self, behind: i64, through: i64) -> Result<Vec<Hash>, StoreError> {
        let select = sql!("SELECT leaf FROM audit_entries WHERE idx > $1 AND idx <= $2 ORDER BY idx", behind, through);
        self.fetch_all(select).await?.iter().map(|row| array(row, "leaf")).collect()
    }

    /// The newest checkpoint before an index, with its tree and size.
    pub async fn audit_start(&mut self, index: i64) -> Result<Option<(Frontier, i64)>, StoreError> {
        let select =
            sql!("SELECT size, frontier FROM audit_checkpoints WHERE size < $1 ORDER BY size DESC LIMIT 1", index);
        let Some(row) = self.fetch_optional(select).await? else { return Ok(None) };
        let frontier = Frontier::decode(&row.bytes("frontier")?);
        Ok(Some((frontier.map_err(|error| StoreError::corrupt("frontier", error))?, row.int("size")?)))
    }

    /// The key that signed the first checkpoint behind a size.
    pub async fn audit_key_behind(&mut self, size: i64) -> Result<Option<PublicKey>, StoreError> {
        let select = sql!("SELECT public_key FROM audit_checkpoints WHERE size > $1 ORDER BY size LIMIT 1", size);
        self.fetch_optional(select).await?.map(|row| array(&row, "public_key")).transpose()
    }

    /// The checkpoints between two sizes, both included, with their sizes.
    pub async fn audit_checkpoints(&mut self, first: i64, last: i64) -> Result<Vec<(i64, String)>, StoreError> {
        let select =
            sql!("SELECT size, note FROM audit_checkpoints WHERE size BETWEEN $1 AND $2 ORDER BY size", first, last);
        self.fetch_all(select).await?.iter().map(|row| Ok((row.int("size")?, row.text("note")?))).collect()
    }

    /// The checkpoint of that size, if it was signed.
    pub async fn audit_checkpoint_at(&mut self, size: i64) -> Result<Option<Signed>, StoreError> {
        let select = sql!("SELECT note, public_key FROM audit_checkpoints WHERE size = $1", size);
        let Some(row) = self.fetch_optional(select).await? else { return Ok(None) };
        let text = row.text("note")?;
        let note = Note::parse(&text).map_err(|error| StoreError::corrupt("note", error))?;
        Ok(Some(Signed { checkpoint: *note.checkpoint(), note: text.into(), public_key: array(&row, "public_key")? }))
    }

    /// Stores a checkpoint with the tree that it signs.
    pub async fn audit_checkpoint_insert(&mut self, made: &Signed, frontier: &Frontier) -> Result<(), StoreError> {
        let insert = sql!(
            "INSERT INTO audit_checkpoints (size, time, note, frontier, public_key) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT DO NOTHING",
            signed(made.checkpoint.size),
            made.checkpoint.time_ms,
            &*made.note,
            frontier.encode(),
            made.public_key.as_slice(),
        );
        self.execute(insert).await.map(drop)
    }

    /// Notes from which index on the keys of an epoch seal.
    pub async fn audit_epoch_insert(
        &mut self,
        id: &str,
        public_key: &PublicKey,
        first: i64,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let insert = sql!(
            "INSERT INTO audit_epochs (id, public_key, first_index, create_time) VALUES ($1, $2, $3, $4)",
            id,
            public_key.as_slice(),
            first,
            now_ms,
        );
        self.execute(insert).await.map(drop)
    }

    /// How many entries were pruned.
    pub async fn audit_pruned(&mut self) -> Result<i64, StoreError> {
        self.fetch_one(sql!("SELECT pruned FROM audit_head WHERE id = 1")).await?.int("pruned")
    }

    /// How many entries there are.
    pub async fn audit_length(&mut self) -> Result<i64, StoreError> {
        self.fetch_one(sql!("SELECT length FROM audit_head WHERE id = 1")).await?.int("length")
    }
}

// === impl Head ===

impl Head {
    /// How many entries there are.
    #[must_use]
    pub fn size(&self) -> i64 {
        signed(self.frontier.size())
    }
}

fn insert<'a>(first: i64, lines: impl Iterator<Item = Line<'a>>) -> Statement {
    let mut statement = sql!(
        "INSERT INTO audit_entries (idx, time, action, outcome, initiator, target, replica, request_id, session, team, header, salt, mac, leaf, body) VALUES "
    );
    for (index, Line { entry, replica, stored }) in (first..).zip(lines) {
        statement.push(if index == first { "(" } else { ", (" });
        statement.push_bind(index);
        statement.push(", ");
        statement.push_bind(entry.time_ms());
        for (_, text) in columns(&entry, &replica) {
            statement.push(", ");
            statement.push_bind(text);
        }
        let Stored { header, content, mac, leaf } = stored;
        let (salt, body) = match content {
            Content::Body { salt, body } => (salt.to_vec(), body.into_owned()),
            Content::Erased(_) => (vec![], vec![]),
        };
        for bytes in [header.into_owned(), salt, mac.to_vec(), leaf.to_vec(), body] {
            statement.push(", ");
            statement.push_bind(bytes);
        }
        statement.push(")");
    }
    statement
}

// The columns by which an entry is found, besides its time.
fn columns<'a>(entry: &'a Entry, replica: &'a str) -> [(&'static str, &'a str); 8] {
    [
        ("action", entry.action()),
        ("outcome", entry.outcome().word()),
        ("initiator", entry.initiator()),
        ("target", entry.target()),
        ("replica", replica),
        ("request_id", entry.request_id()),
        ("session", entry.session()),
        ("team", team(entry)),
    ]
}

// The id of the caller's team, which a replica writes.
fn team(entry: &Entry) -> &str {
    entry.detail().get("team").and_then(serde_json::Value::as_str).unwrap_or_default()
}

// What a row holds, and which of its columns contradict that. The error says what is no entry.
pub(super) fn found(row: &Row) -> Result<(Stored<'static>, Vec<&'static str>), String> {
    let unreadable = |error: StoreError| error.to_string();
    let header = row.bytes("header").map_err(unreadable)?;
    let body = row.bytes("body").map_err(unreadable)?;
    let content = match row.bytes_opt("commitment").map_err(unreadable)? {
        Some(_) if !row.bytes("salt").map_err(unreadable)?.is_empty() => {
            return Err("column salt beside a commitment".into());
        }
        Some(commitment) if body.is_empty() => {
            Content::Erased(Hash::try_from(commitment).map_err(|_| "column commitment".to_owned())?)
        }
        Some(_) => return Err("column commitment beside a body".into()),
        None => {
            let salt: Salt = array(row, "salt").map_err(unreadable)?;
            Content::Body { salt, body: Cow::Owned(body) }
        }
    };
    let mac = array(row, "mac").map_err(unreadable)?;
    let leaf = array(row, "leaf").map_err(unreadable)?;
    let differs = differs(row, &header, &content).map_err(unreadable)?;
    Ok((Stored { header: Cow::Owned(header), content, mac, leaf }, differs))
}

fn differs(row: &Row, header: &[u8], content: &Content<'_>) -> Result<Vec<&'static str>, StoreError> {
    let Ok(header) = Header::decode(header) else { return Ok(vec!["header"]) };
    let mut differs = Vec::new();
    if row.int("idx")? != signed(header.index) {
        differs.push("idx");
    }
    if row.int("time")? != header.time_ms {
        differs.push("time");
    }
    // Of an erased entry the action is all that is left to find it by.
    let Content::Body { body, .. } = content else {
        for (column, text) in ERASED_COLUMNS.map(|column| (column, "")).into_iter().chain([("action", header.action)]) {
            if row.text(column)? != text {
                differs.push(column);
            }
        }
        return Ok(differs);
    };
    let Ok(entry) = Entry::decode(body) else { return Ok(vec!["body"]) };
    let replica = if header.writer == tollgate_audit::seal::CONTROL_PLANE { entry.replica() } else { header.writer };
    for (column, text) in columns(&entry, replica) {
        if row.text(column)? != text {
            differs.push(column);
        }
    }
    Ok(differs)
}

fn decode(body: &[u8]) -> Result<Entry, StoreError> {
    Entry::decode(body).map_err(|error| StoreError::corrupt("body", error))
}

fn array<const LENGTH: usize>(row: &Row, column: &'static str) -> Result<[u8; LENGTH], StoreError> {
    let bytes = row.bytes(column)?;
    bytes.try_into().map_err(|_| StoreError::corrupt(column, "is of another length"))
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
