//! Sealed secrets: the pepper, the fleet's keys, and the credentials that are not references.

use zeroize::Zeroizing;

use super::{Row, Store, StoreError, Txn};
use crate::{
    clock,
    seal::{Keyring, Place, Sealed},
};

/// The id of a secret of which the fleet has one.
pub const FLEET: &str = "fleet";

impl Store {
    /// The fleet's one secret of this purpose, made when there is none yet. Of several control planes that start together one
    /// makes it, and all return that one.
    ///
    /// # Errors
    /// When the secret cannot be sealed, opened or stored.
    pub async fn secret_get_or_create(
        &self,
        keyring: &Keyring,
        purpose: &str,
        make: impl FnOnce() -> Zeroizing<Vec<u8>> + Send,
    ) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let place = Place { purpose, id: FLEET };
        let mut txn = self.begin().await?;
        if let Some(sealed) = txn.secret_get(place).await? {
            txn.end().await?;
            return Ok(keyring.open(place, &sealed)?);
        }
        // Two may both find nothing: the row that is there first stays, and is what both return.
        txn.secret_insert(place, &keyring.seal(place, &make())?).await?;
        let stands = txn.secret_get(place).await?.ok_or(StoreError::Missing)?;
        txn.commit().await?;
        Ok(keyring.open(place, &stands)?)
    }

    /// Wraps every secret again that is not under the current key-encryption key, and returns how many there were.
    ///
    /// # Errors
    /// When a secret was sealed under a key that the keyring does not have.
    pub async fn secrets_rewrap(&self, keyring: &Keyring) -> Result<usize, StoreError> {
        let mut txn = self.begin().await?;
        let stale = txn.fetch_all(sql!("SELECT * FROM secrets WHERE key_id <> $1", keyring.current_id())).await?;
        for row in &stale {
            let (purpose, id) = (row.text("purpose")?, row.text("id")?);
            let place = Place { purpose: &purpose, id: &id };
            let Sealed { key_id, wrapped_key, sealed: _ } = keyring.rewrap(place, &read(row)?)?;
            let update = sql!(
                "UPDATE secrets SET key_id = $1, wrapped_key = $2 WHERE purpose = $3 AND id = $4",
                key_id,
                wrapped_key,
                &purpose,
                &id
            );
            txn.execute(update).await?;
        }
        txn.commit().await?;
        Ok(stale.len())
    }
}

impl Txn {
    /// The sealed secret at that place.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn secret_get(&mut self, place: Place<'_>) -> Result<Option<Sealed>, StoreError> {
        let select = sql!("SELECT * FROM secrets WHERE purpose = $1 AND id = $2", place.purpose, place.id);
        self.fetch_optional(select).await?.as_ref().map(read).transpose()
    }

    /// Every sealed secret of a purpose, with its id.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn secret_list(&mut self, purpose: &str) -> Result<Vec<(String, Sealed)>, StoreError> {
        let rows = self.fetch_all(sql!("SELECT * FROM secrets WHERE purpose = $1 ORDER BY id", purpose)).await?;
        rows.iter().map(|row| Ok((row.text("id")?, read(row)?))).collect()
    }

    /// Stores a sealed secret unless one stands there.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn secret_insert(&mut self, place: Place<'_>, sealed: &Sealed) -> Result<(), StoreError> {
        let insert = sql!(
            "INSERT INTO secrets (purpose, id, key_id, wrapped_key, sealed, create_time) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT DO NOTHING",
            place.purpose,
            place.id,
            &sealed.key_id,
            sealed.wrapped_key.as_slice(),
            sealed.sealed.as_slice(),
            clock::now_ms(),
        );
        self.execute(insert).await?;
        Ok(())
    }

    /// Removes the secrets of a purpose that were stored before an instant and belong to no session.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn secret_purge(&mut self, purpose: &str, before: i64) -> Result<(), StoreError> {
        let delete = sql!(
            "DELETE FROM secrets WHERE purpose = $1 AND create_time < $2 AND id NOT IN (SELECT id FROM sessions)",
            purpose,
            before
        );
        self.execute(delete).await?;
        Ok(())
    }

    /// Removes a secret.
    ///
    /// # Errors
    /// As [`Txn::execute`].
    pub async fn secret_delete(&mut self, place: Place<'_>) -> Result<(), StoreError> {
        self.execute(sql!("DELETE FROM secrets WHERE purpose = $1 AND id = $2", place.purpose, place.id)).await?;
        Ok(())
    }
}

fn read(row: &Row) -> Result<Sealed, StoreError> {
    Ok(Sealed { key_id: row.text("key_id")?, wrapped_key: row.bytes("wrapped_key")?, sealed: row.bytes("sealed")? })
}
