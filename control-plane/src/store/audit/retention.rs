//! What is taken away from the log: the rows of entries whose time has come, and bodies that are erased. Holds keep both.

use tollgate_audit::{Frontier, Note, file::Content, tree::Hash};

use super::{ERASED_COLUMNS, Found, Head, Signed, array, signed};
use crate::store::{Row, StoreError, Txn};

/// A reason for which nothing is taken away, until it is released.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hold {
    /// What it is called: the matter, the case.
    pub name: String,
    /// Why.
    pub reason: String,
    /// It holds what was written from then on, in Unix milliseconds.
    pub since: i64,
    /// Who placed it.
    pub initiator: String,
    /// When, in Unix milliseconds.
    pub create_time: i64,
}

/// A checkpoint behind which a file may begin or end.
#[derive(Clone, Debug)]
pub struct Cut {
    /// The checkpoint.
    pub signed: Signed,
    /// The tree that it signs.
    pub frontier: Frontier,
}

/// Each method fails as [`Txn::execute`] does.
impl Txn {
    /// Places a hold.
    pub async fn audit_hold_insert(&mut self, hold: &Hold) -> Result<(), StoreError> {
        let Hold { name, reason, since, initiator, create_time } = hold;
        let insert = sql!(
            "INSERT INTO audit_holds (name, reason, since, initiator, create_time) VALUES ($1, $2, $3, $4, $5)",
            name,
            reason,
            *since,
            initiator,
            *create_time,
        );
        self.execute(insert).await.map(drop)
    }

    /// Releases a hold; `false`: there is none of that name.
    pub async fn audit_hold_delete(&mut self, name: &str) -> Result<bool, StoreError> {
        Ok(self.execute(sql!("DELETE FROM audit_holds WHERE name = $1", name)).await? == 1)
    }

    /// Every hold, by name.
    pub async fn audit_holds(&mut self) -> Result<Vec<Hold>, StoreError> {
        let rows = self.fetch_all(sql!("SELECT * FROM audit_holds ORDER BY name")).await?;
        rows.iter().map(Hold::read).collect()
    }

    /// The newest checkpoint that is older than an instant and not longer than a size.
    pub async fn audit_cut_before(&mut self, time: i64, size: i64) -> Result<Option<Cut>, StoreError> {
        let select = sql!(
            "SELECT * FROM audit_checkpoints WHERE time < $1 AND size <= $2 ORDER BY size DESC LIMIT 1",
            time,
            size
        );
        self.fetch_optional(select).await?.as_ref().map(Cut::read).transpose()
    }

    /// The first checkpoint behind a size that is older than an instant.
    pub async fn audit_cut_behind(&mut self, time: i64, size: i64) -> Result<Option<Cut>, StoreError> {
        let select =
            sql!("SELECT * FROM audit_checkpoints WHERE time < $1 AND size > $2 ORDER BY size LIMIT 1", time, size);
        self.fetch_optional(select).await?.as_ref().map(Cut::read).transpose()
    }

    /// The size of the newest checkpoint that is older than an instant; 0 when there is none. What is behind it was written
    /// later, or about then.
    pub async fn audit_size_at(&mut self, time: i64) -> Result<i64, StoreError> {
        let select = sql!("SELECT COALESCE(MAX(size), 0) AS size FROM audit_checkpoints WHERE time < $1", time);
        self.fetch_one(select).await?.int("size")
    }

    /// Takes the entries away that are pruned by this head, and the checkpoints before the last of them. That one stays.
    pub async fn audit_prune(&mut self, head: &Head) -> Result<u64, StoreError> {
        let pruned = self.execute(sql!("DELETE FROM audit_entries WHERE idx <= $1", head.pruned)).await?;
        self.findings_prune(head.pruned).await?;
        self.execute(sql!("DELETE FROM audit_checkpoints WHERE size < $1", head.pruned)).await?;
        Ok(pruned)
    }

    /// Takes the body of an entry away, and what repeats it. What it was stays committed to.
    pub async fn audit_erase(&mut self, found: &Found) -> Result<bool, StoreError> {
        let Ok((stored, _)) = &found.row else { return Ok(false) };
        let Content::Body { .. } = stored.content else { return Ok(false) };
        let commitment: Hash = stored.content.commitment();
        let mut update = sql!("UPDATE audit_entries SET commitment = $1", commitment.as_slice());
        for column in ERASED_COLUMNS {
            update.push(", ");
            update.push(column);
            update.push(" = ''");
        }
        for column in [", salt = ", ", body = "] {
            update.push(column);
            update.push_bind(Vec::new());
        }
        update.push(" WHERE idx = ");
        update.push_bind(found.index);
        self.findings_erase(found.index).await?;
        Ok(self.execute(update).await? == 1)
    }
}

// === impl Hold ===

impl Hold {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            name: row.text("name")?,
            reason: row.text("reason")?,
            since: row.int("since")?,
            initiator: row.text("initiator")?,
            create_time: row.int("create_time")?,
        })
    }
}

// === impl Cut ===

impl Cut {
    /// How many entries are before it.
    #[must_use]
    pub fn size(&self) -> i64 {
        signed(self.signed.checkpoint.size)
    }

    fn read(row: &Row) -> Result<Self, StoreError> {
        let text = row.text("note")?;
        let note = Note::parse(&text).map_err(|error| StoreError::corrupt("note", error))?;
        let frontier = Frontier::decode(&row.bytes("frontier")?);
        let frontier = frontier.map_err(|error| StoreError::corrupt("frontier", error))?;
        let public_key = array(row, "public_key")?;
        Ok(Self { signed: Signed { checkpoint: *note.checkpoint(), note: text.into(), public_key }, frontier })
    }
}
