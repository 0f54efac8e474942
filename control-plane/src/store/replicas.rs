//! Replicas, the tokens with which they join, and the beginning of a new history.

use tollgate_policy::{id::ReplicaId, name::Name};

use super::{Position, Row, Statement, StoreError, TextMatch, Txn};

/// A replica that was not heard for so long is not connected, whatever its stream says: the control plane that held the
/// stream may have died. Replicas speak every 10 s, and what they say is written within a second.
pub const SILENCE_MS_MAX: i64 = 35_000;

/// A replica.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Replica {
    /// Its id.
    pub id: ReplicaId,
    /// Its name.
    pub name: Name,
    /// Where it runs.
    pub region: String,
    /// The version of its program; empty before it first followed.
    pub version: String,
    /// The number of its run.
    pub incarnation: i64,
    /// When it joined, in Unix milliseconds.
    pub join_time: i64,
    /// Whether it is to take no requests.
    pub draining: bool,
    /// Names its open stream; empty: none.
    pub stream: String,
    /// When it was last heard, in Unix milliseconds; 0: never.
    pub seen_time: i64,
    /// The history of the revision that it acknowledged.
    pub acked_epoch: String,
    /// The revision that it acknowledged.
    pub acked_revision: i64,
    /// How long it took to apply that, in microseconds.
    pub apply_us: i64,
    /// Since when it is behind, in Unix milliseconds; 0: it is not known to be.
    pub behind_since: i64,
    /// Why it refused the last push; empty: it did not.
    pub nack_reason: String,
}

/// Which replicas to list. `None` admits every one.
#[derive(Clone, Debug, Default)]
pub struct ReplicaFilter {
    /// The name.
    pub name: Option<TextMatch>,
    /// The region.
    pub region: Option<TextMatch>,
    /// Whether it follows at this instant, in Unix milliseconds.
    pub connected: Option<(bool, i64)>,
}

/// Who opened a stream, and with what.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Opened {
    /// Names the stream.
    pub stream: String,
    /// The version of the replica's program.
    pub version: String,
    /// Where it runs.
    pub region: String,
    /// The number of its run.
    pub incarnation: i64,
}

/// What a replica acknowledged.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Acknowledged {
    /// The history.
    pub epoch: String,
    /// The revision.
    pub revision: i64,
    /// How long applying took, in microseconds.
    pub apply_us: i64,
}

/// What a replica refused.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Refused {
    /// The history.
    pub epoch: String,
    /// The revision.
    pub revision: i64,
    /// Why.
    pub reason: String,
}

// === impl Replica ===

impl Replica {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id", ReplicaId::parse)?,
            name: row.parsed("name", Name::parse)?,
            region: row.text("region")?,
            version: row.text("version")?,
            incarnation: row.int("incarnation")?,
            join_time: row.int("join_time")?,
            draining: row.flag("draining")?,
            stream: row.text("stream")?,
            seen_time: row.int("seen_time")?,
            acked_epoch: row.text("acked_epoch")?,
            acked_revision: row.int("acked_revision")?,
            apply_us: row.int("apply_us")?,
            behind_since: row.int("behind_since")?,
            nack_reason: row.text("nack_reason")?,
        })
    }

    /// Whether it follows at this instant.
    #[must_use]
    pub fn is_connected(&self, now: i64) -> bool {
        !self.stream.is_empty() && self.seen_time > now - SILENCE_MS_MAX
    }

    /// The revision that it acknowledged of this history; 0 when it has none of it.
    #[must_use]
    pub fn acknowledged(&self, epoch: &str) -> i64 {
        if self.acked_epoch == epoch { self.acked_revision } else { 0 }
    }
}

// === impl Txn ===

impl Txn {
    /// The replica with this id or name.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn replica_find(&mut self, named: &str) -> Result<Option<Replica>, StoreError> {
        let select = sql!("SELECT * FROM replicas WHERE id = $1 OR name = $1", named);
        self.fetch_optional(select).await?.as_ref().map(Replica::read).transpose()
    }

    /// At most `count` replicas behind the position, oldest first.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn replica_list(
        &mut self,
        filter: &ReplicaFilter,
        after: Option<&Position>,
        count: i64,
    ) -> Result<Vec<Replica>, StoreError> {
        let ReplicaFilter { name, region, connected } = filter;
        let mut list = Statement::new("SELECT * FROM replicas WHERE 1 = 1");
        for (column, text) in [("name", name), ("region", region)] {
            if let Some(text) = text {
                text.narrow(&mut list, column);
            }
        }
        if let Some((connected, now)) = connected {
            list.push(if *connected { " AND (" } else { " AND NOT (" });
            list.push("stream <> '' AND seen_time > ");
            list.push_bind(now - SILENCE_MS_MAX);
            list.push(")");
        }
        if let Some(Position { created, id }) = after {
            list.push(" AND (join_time, id) > (");
            list.push_bind(*created);
            list.push(", ");
            list.push_bind(id.as_str());
            list.push(")");
        }
        list.push(" ORDER BY join_time, id LIMIT ");
        list.push_bind(count);
        self.fetch_all(list).await?.iter().map(Replica::read).collect()
    }

    /// Stores a replica that joins, unless its name is known. Tells whether it is new.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn replica_insert(
        &mut self,
        id: &ReplicaId,
        name: &Name,
        region: &str,
        now: i64,
    ) -> Result<bool, StoreError> {
        let insert = sql!(
            "INSERT INTO replicas (id, name, region, version, incarnation, join_time, draining, stream, seen_time,
                 acked_epoch, acked_revision, acked_time, apply_us, behind_since, nack_epoch, nack_revision, nack_reason)
             VALUES ($1, $2, $3, '', 0, $4, 0, '', 0, '', 0, 0, 0, 0, '', 0, '') ON CONFLICT (name) DO NOTHING",
            id.as_str(),
            name.as_str(),
            region,
            now,
        );
        Ok(self.execute(insert).await? == 1)
    }

    /// Forgets a replica.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn replica_delete(&mut self, id: &ReplicaId) -> Result<(), StoreError> {
        self.execute(sql!("DELETE FROM replicas WHERE id = $1", id.as_str())).await?;
        Ok(())
    }

    /// Has a replica take no requests, or take them again.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn replica_drain(&mut self, id: &ReplicaId, drain: bool) -> Result<(), StoreError> {
        self.execute(sql!("UPDATE replicas SET draining = $1 WHERE id = $2", drain, id.as_str())).await?;
        Ok(())
    }

    /// Notes that a replica follows. The newest stream is the one that counts. What an earlier run left alone is forgotten, as
    /// the replica has.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn replica_opened(&mut self, id: &ReplicaId, opened: &Opened, now: i64) -> Result<(), StoreError> {
        let Opened { stream, version, region, incarnation } = opened;
        let update = sql!(
            "UPDATE replicas SET stream = $1, version = $2, region = $3, incarnation = $4, seen_time = $5,
                 resting = CASE WHEN incarnation = $4 THEN resting ELSE '[]' END
             WHERE id = $6",
            stream,
            version,
            region,
            *incarnation,
            now,
            id.as_str(),
        );
        self.execute(update).await?;
        Ok(())
    }

    /// Notes when a replica was last heard.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn replica_seen(&mut self, id: &ReplicaId, seen: i64) -> Result<(), StoreError> {
        let update = sql!("UPDATE replicas SET seen_time = $1 WHERE id = $2 AND seen_time < $1", seen, id.as_str());
        self.execute(update).await?;
        Ok(())
    }

    /// Notes that a stream ended, unless the replica has opened another one.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn replica_closed(&mut self, id: &ReplicaId, stream: &str) -> Result<(), StoreError> {
        let update = sql!("UPDATE replicas SET stream = '' WHERE id = $1 AND stream = $2", id.as_str(), stream);
        self.execute(update).await?;
        Ok(())
    }

    /// Notes what a replica acknowledged. With the newest revision it is no longer behind. Tells whether it has not
    /// acknowledged that before: who follows anew says again what it has.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn replica_acknowledged(
        &mut self,
        id: &ReplicaId,
        acknowledged: &Acknowledged,
        now: i64,
    ) -> Result<bool, StoreError> {
        let Acknowledged { epoch, revision, apply_us } = acknowledged;
        let select = sql!(
            "SELECT 1 FROM replicas WHERE id = $1 AND acked_epoch = $2 AND acked_revision = $3",
            id.as_str(),
            epoch,
            *revision
        );
        let known = self.fetch_optional(select).await?.is_some();
        let update = sql!(
            "UPDATE replicas SET acked_epoch = $1, acked_revision = $2, acked_time = $3, apply_us = $4,
                 behind_since = CASE WHEN $2 >= (SELECT revision FROM fleet WHERE id = 1) THEN 0 ELSE behind_since END,
                 nack_reason = CASE WHEN nack_epoch = $1 AND nack_revision > $2 THEN nack_reason ELSE '' END
             WHERE id = $5",
            epoch,
            *revision,
            now,
            *apply_us,
            id.as_str(),
        );
        Ok(self.execute(update).await? == 1 && !known)
    }

    /// Notes what a replica refused. Tells whether that is news: each revision is refused once.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn replica_refused(&mut self, id: &ReplicaId, refused: &Refused) -> Result<bool, StoreError> {
        let Refused { epoch, revision, reason } = refused;
        let update = sql!(
            "UPDATE replicas SET nack_epoch = $1, nack_revision = $2, nack_reason = $3
             WHERE id = $4 AND NOT (nack_epoch = $1 AND nack_revision = $2 AND nack_reason <> '')",
            epoch,
            *revision,
            reason,
            id.as_str(),
        );
        Ok(self.execute(update).await? == 1)
    }

    /// Notes since when replicas are behind, for those that newly are.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn replica_behind(&mut self, now: i64) -> Result<(), StoreError> {
        let update = sql!(
            "UPDATE replicas SET behind_since = $1 WHERE behind_since = 0 AND EXISTS
                 (SELECT 1 FROM fleet WHERE revision > acked_revision OR epoch <> acked_epoch)",
            now,
        );
        self.execute(update).await?;
        Ok(())
    }

    /// Every replica, by id, with whether it is to take no requests.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn replica_wishes(&mut self) -> Result<Vec<(ReplicaId, bool)>, StoreError> {
        let rows = self.fetch_all(sql!("SELECT id, draining FROM replicas")).await?;
        rows.iter().map(|row| Ok((row.parsed("id", ReplicaId::parse)?, row.flag("draining")?))).collect()
    }

    /// The replicas that may serve requests: those that were heard since an instant, by id.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn replica_serving(&mut self, since: i64) -> Result<Vec<ReplicaId>, StoreError> {
        let select = sql!("SELECT id FROM replicas WHERE seen_time >= $1 OR join_time >= $1 ORDER BY id", since);
        self.fetch_all(select).await?.iter().map(|row| row.parsed("id", ReplicaId::parse)).collect()
    }

    /// How many replicas follow at this instant, and how many of them have not acknowledged the newest revision.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn replica_counts(&mut self, now: i64) -> Result<(i64, i64), StoreError> {
        let select = sql!(
            "SELECT COUNT(*) AS connected,
                 COUNT(CASE WHEN revision > acked_revision OR epoch <> acked_epoch THEN 1 END) AS behind
             FROM replicas, fleet WHERE stream <> '' AND seen_time > $1",
            now - SILENCE_MS_MAX,
        );
        let row = self.fetch_one(select).await?;
        Ok((row.int("connected")?, row.int("behind")?))
    }

    /// The name and the reason of each replica that refused the last push, at most `count`.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn replica_refusals(&mut self, count: i64) -> Result<Vec<(String, String)>, StoreError> {
        let select =
            sql!("SELECT name, nack_reason FROM replicas WHERE nack_reason <> '' ORDER BY name LIMIT $1", count);
        let rows = self.fetch_all(select).await?;
        rows.iter().map(|row| Ok((row.text("name")?, row.text("nack_reason")?))).collect()
    }

    /// Stores a join token, and removes those that have expired.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn join_token_insert(
        &mut self,
        hash: &[u8; 32],
        principal: &str,
        now: i64,
        expires: i64,
    ) -> Result<(), StoreError> {
        self.execute(sql!("DELETE FROM join_tokens WHERE expire_time <= $1", now)).await?;
        let insert = sql!(
            "INSERT INTO join_tokens (hash, principal, create_time, expire_time) VALUES ($1, $2, $3, $4)",
            hash,
            principal,
            now,
            expires,
        );
        self.execute(insert).await?;
        Ok(())
    }

    /// Who created the join token with this hash, if it is good at this instant.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn join_token_find(&mut self, hash: &[u8; 32], now: i64) -> Result<Option<String>, StoreError> {
        let select = sql!("SELECT principal FROM join_tokens WHERE hash = $1 AND expire_time > $2", hash, now);
        self.fetch_optional(select).await?.map(|row| row.text("principal")).transpose()
    }

    /// Begins a new history, if `old` is the present one. Tells whether it did.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn epoch_renew(&mut self, old: &str) -> Result<bool, StoreError> {
        let update = sql!("UPDATE fleet SET epoch = $1 WHERE id = 1 AND epoch = $2", super::epoch(), old);
        Ok(self.execute(update).await? == 1)
    }

    /// Replaces a sealed secret.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn secret_replace(
        &mut self,
        place: crate::seal::Place<'_>,
        sealed: &crate::seal::Sealed,
    ) -> Result<(), StoreError> {
        self.secret_delete(place).await?;
        self.secret_insert(place, sealed).await
    }
}
