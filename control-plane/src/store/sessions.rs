//! The rows of people's sessions. Tokens are kept as keyed hashes.

use tollgate_policy::{
    id::{SessionId, UserId},
    rbac::Reach,
    token::KeyHash,
};

use super::{Row, Statement, StoreError, Txn, reach::Belonging};

/// `used_time` is this old at most, in milliseconds, before a use is written: a session is used many times a second.
const USED_MS: i64 = 60_000;
/// The most sessions that one purge removes.
const PURGE_MAX: i64 = 500;
/// The most sessions of one user that are ended at once.
const ENDED_MAX: i64 = 10_000;

/// What a session is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SessionKind {
    /// A browser, by a cookie.
    Browser,
    /// A command line, by an access and a refresh token.
    CommandLine,
}

/// A session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Session {
    /// Its id, `session-` and a ULID.
    pub id: String,
    /// Whose it is.
    pub user: UserId,
    /// The URL of the issuer where they signed in.
    pub issuer: String,
    /// What it is for.
    pub kind: SessionKind,
    /// The hash of the access token.
    pub access_hash: KeyHash,
    /// When the access token is over, in Unix milliseconds.
    pub access_expire_time: i64,
    /// The hash of the refresh token, if there is one.
    pub refresh_hash: Option<KeyHash>,
    /// When the session is over, in Unix milliseconds.
    pub expire_time: i64,
    /// When the last token that it issued is over, in Unix milliseconds.
    pub tokens_expire_time: i64,
    /// When it began, in Unix milliseconds.
    pub create_time: i64,
    /// When it was last used, in Unix milliseconds, to the minute.
    pub used_time: i64,
    /// When the issuer last said that the grant holds, in Unix milliseconds.
    pub checked_time: i64,
    /// Where it began.
    pub source_address: String,
    /// What it began with.
    pub user_agent: String,
    /// Whether it was ended.
    pub ended: bool,
    /// The revision of its end, 0 before.
    pub revision: i64,
}

/// Which sessions to list.
#[derive(Clone, Debug, Default)]
pub struct SessionFilter {
    /// Whose.
    pub user: Option<UserId>,
    /// Those that are not over at this instant and were not ended.
    pub live_at: Option<i64>,
    /// Which the caller may see.
    pub reach: Reach,
}

const SESSIONS: Belonging = Belonging {
    customer: Some("(SELECT t.customer FROM users u JOIN teams t ON t.id = u.team WHERE u.id = sessions.user_id)"),
    team: Some("(SELECT u.team FROM users u WHERE u.id = sessions.user_id)"),
    user: Some("user_id"),
};

/// Each method fails as [`Txn::execute`] does.
impl Txn {
    /// Stores a new session.
    pub async fn session_insert(&mut self, session: &Session) -> Result<(), StoreError> {
        let insert = sql!(
            "INSERT INTO sessions (id, user_id, issuer, kind, access_hash, access_expire_time, refresh_hash, expire_time,
             tokens_expire_time, create_time, used_time, checked_time, claim_time, source_address, user_agent, ended, revision)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 0, $13, $14, 0, 0)",
            &session.id,
            session.user.as_str(),
            &session.issuer,
            session.kind.word(),
            session.access_hash.as_bytes(),
            session.access_expire_time,
            session.refresh_hash.as_ref().map(|hash| hash.as_bytes().to_vec()),
            session.expire_time,
            session.tokens_expire_time,
            session.create_time,
            session.used_time,
            session.checked_time,
            &session.source_address,
            &session.user_agent,
        );
        self.execute(insert).await?;
        Ok(())
    }

    /// The session with this id.
    pub async fn session_find(&mut self, id: &str) -> Result<Option<Session>, StoreError> {
        self.session_one(sql!("SELECT * FROM sessions WHERE id = $1", id)).await
    }

    /// The session whose access token has this hash.
    pub async fn session_find_access(&mut self, hash: &KeyHash) -> Result<Option<Session>, StoreError> {
        self.session_one(sql!("SELECT * FROM sessions WHERE access_hash = $1", hash.as_bytes())).await
    }

    /// The session whose refresh token has this hash.
    pub async fn session_find_refresh(&mut self, hash: &KeyHash) -> Result<Option<Session>, StoreError> {
        self.session_one(sql!("SELECT * FROM sessions WHERE refresh_hash = $1", hash.as_bytes())).await
    }

    /// The session of which this was a refresh token once.
    pub async fn session_find_spent(&mut self, hash: &KeyHash) -> Result<Option<Session>, StoreError> {
        let select = sql!(
            "SELECT s.* FROM sessions s JOIN spent_refresh_tokens t ON t.session = s.id WHERE t.hash = $1",
            hash.as_bytes()
        );
        self.session_one(select).await
    }

    /// Sessions from the newest on, behind the one with this id: ids order by creation.
    pub async fn session_list(
        &mut self,
        filter: &SessionFilter,
        after: Option<&str>,
        limit: i64,
    ) -> Result<Vec<Session>, StoreError> {
        let SessionFilter { user, live_at, reach } = filter;
        let mut select = sql!("SELECT * FROM sessions WHERE 1 = 1");
        if let Some(now) = live_at {
            select.push(" AND ended = 0 AND expire_time > ");
            select.push_bind(*now);
        }
        select.narrow("user_id", user.as_ref().map(UserId::as_str));
        SESSIONS.narrow(&mut select, reach);
        if let Some(id) = after {
            select.push(" AND id < ");
            select.push_bind(id);
        }
        select.push(" ORDER BY id DESC LIMIT ");
        select.push_bind(limit);
        self.fetch_all(select).await?.iter().map(Session::read).collect()
    }

    /// Notes a use, at most once a minute.
    pub async fn session_touch(&mut self, session: &Session, now: i64) -> Result<(), StoreError> {
        if !session.is_use_worth_noting(now) {
            return Ok(());
        }
        let update =
            sql!("UPDATE sessions SET used_time = $1 WHERE id = $2 AND used_time < $1", now, session.id.as_str());
        self.execute(update).await?;
        Ok(())
    }

    /// Replaces the tokens, if the refresh token is still this one and the session was not ended. Returns whether it was.
    pub async fn session_rotate(&mut self, spent: &KeyHash, fresh: &Session) -> Result<bool, StoreError> {
        let update = sql!(
            "UPDATE sessions SET access_hash = $1, access_expire_time = $2, refresh_hash = $3, used_time = $4
             WHERE id = $5 AND refresh_hash = $6 AND ended = 0",
            fresh.access_hash.as_bytes(),
            fresh.access_expire_time,
            fresh.refresh_hash.as_ref().map(|hash| hash.as_bytes().to_vec()),
            fresh.used_time,
            &fresh.id,
            spent.as_bytes()
        );
        if self.execute(update).await? == 0 {
            return Ok(false);
        }
        let insert =
            sql!("INSERT INTO spent_refresh_tokens (hash, session) VALUES ($1, $2)", spent.as_bytes(), &fresh.id);
        self.execute(insert).await?;
        Ok(true)
    }

    /// Takes it on to ask the issuer, unless somebody did so after `before`. Returns whether it was taken.
    pub async fn session_claim(&mut self, id: &str, before: i64, now: i64) -> Result<bool, StoreError> {
        let claim = sql!("UPDATE sessions SET claim_time = $1 WHERE id = $2 AND claim_time < $3", now, id, before);
        Ok(self.execute(claim).await? == 1)
    }

    /// Notes that the issuer said that the grant holds.
    pub async fn session_checked(&mut self, id: &str, now: i64) -> Result<(), StoreError> {
        self.execute(sql!("UPDATE sessions SET checked_time = $1 WHERE id = $2", now, id)).await?;
        Ok(())
    }

    /// Ends a session that was not ended, and returns whether it did.
    pub async fn session_end(&mut self, id: &str, revision: i64) -> Result<bool, StoreError> {
        let update = sql!("UPDATE sessions SET ended = 1, revision = $1 WHERE id = $2 AND ended = 0", revision, id);
        let ended = self.execute(update).await? == 1;
        self.session_forget(id).await?;
        Ok(ended)
    }

    /// Ends every session of a user, and returns their ids.
    pub async fn session_end_all(&mut self, user: &UserId, revision: i64) -> Result<Vec<String>, StoreError> {
        let select =
            sql!("SELECT id FROM sessions WHERE user_id = $1 AND ended = 0 LIMIT $2", user.as_str(), ENDED_MAX);
        let rows = self.fetch_all(select).await?;
        let ids = rows.iter().map(|row| row.text("id")).collect::<Result<Vec<_>, _>>()?;
        for id in &ids {
            self.session_end(id, revision).await?;
        }
        Ok(ids)
    }

    /// Notes that a credential was issued in a session, until when it holds. Returns whether the session goes on.
    pub async fn session_lends(&mut self, id: &str, until: i64) -> Result<bool, StoreError> {
        let update = sql!(
            "UPDATE sessions SET tokens_expire_time = CASE WHEN tokens_expire_time > $1 THEN tokens_expire_time ELSE $1 END
             WHERE id = $2 AND ended = 0",
            until,
            id
        );
        Ok(self.execute(update).await? == 1)
    }

    /// Removes sessions that are over, with every token that they issued. Replicas that were told of the end of one learn that
    /// they may forget it. Returns how many there were.
    pub async fn session_purge(&mut self, now: i64) -> Result<usize, StoreError> {
        let select = sql!(
            "SELECT id, CASE WHEN ended = 1 AND tokens_expire_time > 0 THEN 1 ELSE 0 END AS told FROM sessions
             WHERE expire_time <= $1 AND tokens_expire_time <= $1 AND access_expire_time <= $1 LIMIT $2",
            now,
            PURGE_MAX
        );
        let rows = self.fetch_all(select).await?;
        let told = rows.iter().map(|row| row.flag("told")).collect::<Result<Vec<_>, _>>()?;
        let revision = if told.contains(&true) { self.advance_revision().await? } else { 0 };
        for (row, told) in rows.iter().zip(told) {
            let id = row.text("id")?;
            if told {
                self.tombstone(SessionId::NOUN, &id, revision).await?;
            }
            self.session_forget(&id).await?;
            self.execute(sql!("DELETE FROM sessions WHERE id = $1", &id)).await?;
        }
        Ok(rows.len())
    }

    // What the issuer gave for it.
    async fn session_forget(&mut self, id: &str) -> Result<(), StoreError> {
        self.secret_delete(crate::sessions::grant_place(id)).await?;
        self.secret_delete(crate::sessions::hint_place(id)).await
    }

    async fn session_one(&mut self, select: Statement) -> Result<Option<Session>, StoreError> {
        self.fetch_optional(select).await?.as_ref().map(Session::read).transpose()
    }
}

// === impl SessionKind ===

impl SessionKind {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Browser => "browser",
            Self::CommandLine => "command-line",
        }
    }

    fn of_word(word: &str) -> Result<Self, &'static str> {
        match word {
            "browser" => Ok(Self::Browser),
            "command-line" => Ok(Self::CommandLine),
            _ => Err("not a kind of session"),
        }
    }
}

// === impl Session ===

impl Session {
    /// Whether [`Txn::session_touch`] would write.
    #[must_use]
    pub const fn is_use_worth_noting(&self, now: i64) -> bool {
        now - self.used_time >= USED_MS
    }

    pub(super) fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.text("id")?,
            user: row.parsed("user_id", UserId::parse)?,
            issuer: row.text("issuer")?,
            kind: row.parsed("kind", SessionKind::of_word)?,
            access_hash: hash("access_hash", row.bytes("access_hash")?)?,
            access_expire_time: row.int("access_expire_time")?,
            refresh_hash: row.bytes_opt("refresh_hash")?.map(|bytes| hash("refresh_hash", bytes)).transpose()?,
            expire_time: row.int("expire_time")?,
            tokens_expire_time: row.int("tokens_expire_time")?,
            create_time: row.int("create_time")?,
            used_time: row.int("used_time")?,
            checked_time: row.int("checked_time")?,
            source_address: row.text("source_address")?,
            user_agent: row.text("user_agent")?,
            ended: row.flag("ended")?,
            revision: row.int("revision")?,
        })
    }
}

fn hash(column: &'static str, bytes: Vec<u8>) -> Result<KeyHash, StoreError> {
    let bytes = bytes.try_into().map_err(|_| StoreError::corrupt(column, "not 32 bytes"))?;
    Ok(KeyHash::new(bytes))
}
