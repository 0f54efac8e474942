//! The rows of sign-ins that have begun. Each is found by the keyed hash of what its holder was given, and used once.

use tollgate_policy::token::KeyHash;

use super::{Row, StoreError, Txn, keys};

/// The most expired rows that one purge removes.
const PURGE_MAX: i64 = 500;

/// What has begun.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SignInKind {
    /// A browser was sent to an issuer; the hash is that of the state.
    State,
    /// A device waits; the hash is that of the device code.
    Device,
    /// A person is asked whether the device is theirs.
    Confirmation,
    /// A code waits to be exchanged.
    Code,
}

/// A sign-in that has begun.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SignIn {
    /// What it is found by.
    pub hash: KeyHash,
    /// What a person types, for a device.
    pub user_code: Option<String>,
    /// The rest, JSON.
    pub body: String,
    /// When it is over, in Unix milliseconds.
    pub expire_time: i64,
}

/// Each method fails as [`Txn::execute`] does.
impl Txn {
    /// Stores what has begun.
    pub async fn sign_in_insert(&mut self, kind: SignInKind, sign_in: &SignIn) -> Result<(), StoreError> {
        let SignIn { hash, user_code, body, expire_time } = sign_in;
        let insert = sql!(
            "INSERT INTO sign_ins (kind, hash, user_code, body, expire_time) VALUES ($1, $2, $3, $4, $5)",
            kind.word(),
            hash.as_bytes(),
            user_code.as_deref(),
            body,
            *expire_time
        );
        self.execute(insert).await?;
        Ok(())
    }

    /// Takes what has begun: nobody takes it a second time. `None` when it is over, or there never was one.
    pub async fn sign_in_take(
        &mut self,
        kind: SignInKind,
        hash: &KeyHash,
        now: i64,
    ) -> Result<Option<SignIn>, StoreError> {
        let delete =
            sql!("DELETE FROM sign_ins WHERE kind = $1 AND hash = $2 RETURNING *", kind.word(), hash.as_bytes());
        let row = self.fetch_optional(delete).await?;
        let taken = row.as_ref().map(read).transpose()?;
        Ok(taken.filter(|taken| taken.expire_time > now))
    }

    /// What has begun and is not over, with its row locked.
    pub async fn sign_in_find(
        &mut self,
        kind: SignInKind,
        hash: &KeyHash,
        now: i64,
    ) -> Result<Option<SignIn>, StoreError> {
        let mut select = sql!(
            "SELECT * FROM sign_ins WHERE kind = $1 AND hash = $2 AND expire_time > $3",
            kind.word(),
            hash.as_bytes(),
            now
        );
        select.push(self.for_update());
        self.fetch_optional(select).await?.as_ref().map(read).transpose()
    }

    /// The device that shows this code.
    pub async fn sign_in_find_user_code(&mut self, code: &str, now: i64) -> Result<Option<SignIn>, StoreError> {
        let select =
            sql!("SELECT * FROM sign_ins WHERE kind = 'device' AND user_code = $1 AND expire_time > $2", code, now);
        self.fetch_optional(select).await?.as_ref().map(read).transpose()
    }

    /// How many of a kind are not over.
    pub async fn sign_in_count(&mut self, kind: SignInKind, now: i64) -> Result<i64, StoreError> {
        let select = sql!("SELECT COUNT(*) AS n FROM sign_ins WHERE kind = $1 AND expire_time > $2", kind.word(), now);
        self.fetch_one(select).await?.int("n")
    }

    /// Replaces the body.
    pub async fn sign_in_update(&mut self, kind: SignInKind, hash: &KeyHash, body: &str) -> Result<(), StoreError> {
        let update =
            sql!("UPDATE sign_ins SET body = $1 WHERE kind = $2 AND hash = $3", body, kind.word(), hash.as_bytes());
        self.execute(update).await?;
        Ok(())
    }

    /// Removes what is over, and returns the bodies.
    pub async fn sign_in_purge(&mut self, now: i64) -> Result<Vec<String>, StoreError> {
        let delete = sql!(
            "DELETE FROM sign_ins WHERE hash IN (SELECT hash FROM sign_ins WHERE expire_time <= $1 LIMIT $2) RETURNING body",
            now,
            PURGE_MAX
        );
        self.fetch_all(delete).await?.iter().map(|row| row.text("body")).collect()
    }
}

impl SignInKind {
    const fn word(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Device => "device",
            Self::Confirmation => "confirmation",
            Self::Code => "code",
        }
    }
}

fn read(row: &Row) -> Result<SignIn, StoreError> {
    Ok(SignIn {
        hash: keys::hash(row)?,
        user_code: row.text_opt("user_code")?,
        body: row.text("body")?,
        expire_time: row.int("expire_time")?,
    })
}
