//! The sessions of people: an access token for a quarter of an hour, renewed by a refresh token that is good for one use, for as
//! long as the issuer says that the person is who they were.
//!
//! ```text
//! sign-in ──► access ──15 min──► refused        refresh ──► fresh access and refresh; the old ones are refused
//!                                               refresh a second time ──► a copy is about: the session ends
//! ```

mod grant;
mod hint;

use std::{sync::Arc, time::Duration};

use serde_json::json;
use subtle::ConstantTimeEq as _;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tollgate_audit::{Entry, Facts, Fields, Outcome};
use tollgate_policy::{id::UserId, token::KeyHash};
use zeroize::Zeroizing;

use crate::{
    audit, clock,
    keys::{ACCESS_PREFIX, Minter, REFRESH_PREFIX, random_token},
    oidc::Issuers,
    seal::{Keyring, Place, Sealed},
    store::{
        Store, StoreError, Txn,
        organisation::User,
        sessions::{Session, SessionKind},
    },
};

use self::grant::Standing;
pub use self::hint::hint_place;

/// The life of an access token, in milliseconds: a person who lost their groups or their place is out after so long.
pub const ACCESS_LIFE_MS: i64 = 15 * 60_000;
/// A use that is so long after the issuer was last asked asks it again, in milliseconds.
const CHECK_MS: i64 = 15 * 60_000;
/// A token of ours: a prefix and 64 digits.
const TOKEN_BYTES: usize = 68;
/// How often what is over is removed.
const PURGE_INTERVAL: Duration = Duration::from_secs(300);
/// What an issuer gave for a sign-in that nobody finished is kept for so long, in milliseconds.
const ORPHAN_MS: i64 = 3_600_000;
/// The longest user agent that is kept, in bytes.
const USER_AGENT_BYTES_MAX: usize = 200;

/// Knows people by the tokens of their sessions.
#[derive(Debug)]
pub struct Sessions {
    store: Store,
    keyring: Arc<Keyring>,
    minter: Arc<Minter>,
    issuers: Arc<Issuers>,
    life_ms: i64,
}

/// Somebody who is signed in.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// Their session.
    pub session: Session,
    /// Who they are.
    pub user: User,
}

/// A session that may begin: the person was verified.
#[derive(Clone, Debug)]
pub struct Beginning<'a> {
    /// Its id, under which the issuer's grant is sealed.
    pub id: &'a str,
    /// Whose it is.
    pub user: &'a UserId,
    /// The issuer's URL.
    pub issuer: &'a str,
    /// What it is for.
    pub kind: SessionKind,
    /// When the issuer verified the person, in Unix milliseconds.
    pub checked_time: i64,
    /// Where it begins.
    pub source_address: &'a str,
    /// What it begins with.
    pub user_agent: &'a str,
}

/// The tokens of a session. They are shown once.
pub struct Tokens {
    /// The access token.
    pub access: Zeroizing<String>,
    /// The refresh token; a browser has none.
    pub refresh: Option<Zeroizing<String>>,
    /// How long the access token is good for, in seconds.
    pub expires_in_s: i64,
    /// The session.
    pub session: Session,
}

/// Why a session is not renewed.
#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    /// No session has this token.
    #[error("no session has this refresh token")]
    Unknown,
    /// The token was used before: the session has ended now.
    #[error("the refresh token was used before: the session has ended")]
    Reused(String),
    /// The session was ended or is over, or its user is disabled.
    #[error("the session has ended")]
    Ended(String),
    /// The issuer could not be asked for too long.
    #[error("the identity provider could not be asked for an hour")]
    Unreachable(String),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Where the issuer's refresh token of a session is sealed.
#[must_use]
pub const fn grant_place(id: &str) -> Place<'_> {
    Place { purpose: "idp-refresh", id }
}

/// A fresh id of a session.
#[must_use]
pub fn fresh_id() -> String {
    format!("session-{}", ulid::Ulid::generate().to_string().to_lowercase())
}

/// Whether two texts are the same, in time that does not depend on where they differ.
#[must_use]
pub fn same(one: &str, two: &str) -> bool {
    one.as_bytes().ct_eq(two.as_bytes()).into()
}

// === impl Sessions ===

impl Sessions {
    /// Sessions of this database, which last for `life`.
    #[must_use]
    pub fn new(
        store: &Store,
        keyring: &Arc<Keyring>,
        minter: &Arc<Minter>,
        issuers: &Arc<Issuers>,
        life: Duration,
    ) -> Self {
        Self {
            store: store.clone(),
            keyring: Arc::clone(keyring),
            minter: Arc::clone(minter),
            issuers: Arc::clone(issuers),
            life_ms: i64::try_from(life.as_millis()).unwrap_or(i64::MAX),
        }
    }

    /// Whose access token this is. After a quarter of an hour without, the issuer is asked whether the grant still holds.
    ///
    /// # Errors
    /// When the database cannot be read or written.
    pub async fn authenticate(&self, token: &str) -> Result<Option<SignedIn>, StoreError> {
        if token.len() != TOKEN_BYTES || !token.starts_with(ACCESS_PREFIX) {
            return Ok(None);
        }
        let (hash, now) = (self.minter.access_hash(token), clock::now_ms());
        let mut txn = self.store.begin_read().await?;
        let session = txn.session_find_access(&hash).await?.filter(|session| session.access_hash.matches(&hash));
        let user = match &session {
            Some(session) => txn.user_find(session.user.as_str()).await?,
            None => None,
        };
        txn.end().await?;
        let Some((session, user)) = session.zip(user) else { return Ok(None) };
        let is_live = !session.ended && session.access_expire_time > now && session.expire_time > now;
        if !is_live || user.disabled {
            return Ok(None);
        }
        if now - session.checked_time >= CHECK_MS && self.check(&session, now).await? != Standing::Holds {
            return Ok(None);
        }
        if session.is_use_worth_noting(now) {
            let mut txn = self.store.begin().await?;
            txn.session_touch(&session, now).await?;
            txn.commit().await?;
        }
        Ok(Some(SignedIn { session, user }))
    }

    /// Begins a session in the caller's transaction.
    ///
    /// # Errors
    /// When the database refuses, or there is no randomness.
    pub async fn begin(&self, txn: &mut Txn, beginning: Beginning<'_>) -> Result<Tokens, StoreError> {
        let now = clock::now_ms();
        let Beginning { id, user, issuer, kind, checked_time, source_address, user_agent } = beginning;
        let expire_time = now.saturating_add(self.life_ms);
        let access = random_token(ACCESS_PREFIX)?;
        let (refresh, access_expire_time) = match kind {
            SessionKind::CommandLine => (Some(random_token(REFRESH_PREFIX)?), expire_time.min(now + ACCESS_LIFE_MS)),
            // A browser cannot renew: the cookie lives as long as the session, and the issuer is asked behind it.
            SessionKind::Browser => (None, expire_time),
        };
        let session = Session {
            id: id.to_owned(),
            user: user.clone(),
            issuer: issuer.to_owned(),
            kind,
            access_hash: self.minter.access_hash(&access),
            access_expire_time,
            refresh_hash: refresh.as_ref().map(|token| self.minter.refresh_hash(token)),
            expire_time,
            tokens_expire_time: 0,
            create_time: now,
            used_time: now,
            checked_time,
            source_address: source_address.to_owned(),
            user_agent: shortened(user_agent),
            ended: false,
            revision: 0,
        };
        txn.session_insert(&session).await?;
        let initiator = format!("{}/{user}", UserId::NOUN);
        audit::append(txn, entry("session.create", &initiator, &session, "", now)).await?;
        Ok(Tokens { access, refresh, expires_in_s: (access_expire_time - now) / 1_000, session })
    }

    /// Renews a session by its refresh token, which is spent by that, after the issuer was asked.
    ///
    /// # Errors
    /// Says why not. A token that was spent before ends the session.
    pub async fn renew(&self, token: &str, source_address: &str) -> Result<Tokens, RenewError> {
        if token.len() != TOKEN_BYTES || !token.starts_with(REFRESH_PREFIX) {
            return Err(RenewError::Unknown);
        }
        let (hash, now) = (self.minter.refresh_hash(token), clock::now_ms());
        let mut txn = self.store.begin_read().await?;
        let session = txn.session_find_refresh(&hash).await?.filter(|session| session.refresh_hash == Some(hash));
        let user = match &session {
            Some(session) => txn.user_find(session.user.as_str()).await?,
            None => None,
        };
        txn.end().await?;
        let Some(session) = session else { return Err(self.reused(&hash, source_address).await?) };
        let is_disabled = user.is_none_or(|user| user.disabled);
        if session.ended || session.expire_time <= now || is_disabled {
            return Err(RenewError::Ended(session.id));
        }
        match self.check(&session, now).await? {
            Standing::Holds => {}
            Standing::Ended => return Err(RenewError::Ended(session.id)),
            Standing::Unreachable => return Err(RenewError::Unreachable(session.id)),
        }
        let (access, refresh) = (random_token(ACCESS_PREFIX), random_token(REFRESH_PREFIX));
        let (access, refresh) = (access.map_err(StoreError::from)?, refresh.map_err(StoreError::from)?);
        let access_expire_time = session.expire_time.min(now + ACCESS_LIFE_MS);
        let fresh = Session {
            access_hash: self.minter.access_hash(&access),
            access_expire_time,
            refresh_hash: Some(self.minter.refresh_hash(&refresh)),
            used_time: now,
            ..session
        };
        let mut txn = self.store.begin().await?;
        if !txn.session_rotate(&hash, &fresh).await? {
            txn.end().await?;
            return Err(self.reused(&hash, source_address).await?);
        }
        txn.commit().await?;
        let expires_in_s = (access_expire_time - now) / 1_000;
        Ok(Tokens { access, refresh: Some(refresh), expires_in_s, session: fresh })
    }

    /// Ends a session, and returns whether it had not ended before.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn end(&self, session: &Session, initiator: &str, reason: &str) -> Result<bool, StoreError> {
        let mut txn = self.store.begin().await?;
        let revision = txn.advance_revision().await?;
        if !txn.session_end(&session.id, revision).await? {
            txn.end().await?;
            return Ok(false);
        }
        audit::append(&mut txn, entry("session.end", initiator, session, reason, clock::now_ms())).await?;
        txn.commit().await?;
        Ok(true)
    }

    /// Ends every session of a user, in the transaction that took the revision, and returns their ids. The caller's entry
    /// tells of it.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn end_all(txn: &mut Txn, user: &UserId, revision: i64) -> Result<Vec<String>, StoreError> {
        txn.session_end_all(user, revision).await
    }

    /// The session that has this access or refresh token, whatever has become of it.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn find(&self, token: &str) -> Result<Option<Session>, StoreError> {
        let mut txn = self.store.begin_read().await?;
        let found = match token.get(..ACCESS_PREFIX.len()) {
            _ if token.len() != TOKEN_BYTES => None,
            Some(ACCESS_PREFIX) => txn.session_find_access(&self.minter.access_hash(token)).await?,
            Some(REFRESH_PREFIX) => txn.session_find_refresh(&self.minter.refresh_hash(token)).await?,
            _ => None,
        };
        txn.end().await?;
        Ok(found)
    }

    /// Seals what the issuer gave to ask it again with.
    ///
    /// # Errors
    /// When it cannot be sealed or stored.
    pub async fn keep_grant(&self, txn: &mut Txn, id: &str, refresh_token: &str) -> Result<(), StoreError> {
        self.keep(txn, grant_place(id), refresh_token).await
    }

    /// Removes what is over, until `stop` is cancelled.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut tick = tokio::time::interval(PURGE_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
            }
            if let Err(error) = self.purge().await {
                tracing::warn!(%error, "failed to remove sessions that are over");
            }
        }
    }

    async fn keep(&self, txn: &mut Txn, place: Place<'_>, secret: &str) -> Result<(), StoreError> {
        let sealed: Sealed = self.keyring.seal(place, secret.as_bytes())?;
        txn.secret_delete(place).await?;
        txn.secret_insert(place, &sealed).await
    }

    async fn purge(&self) -> Result<(), StoreError> {
        let now = clock::now_ms();
        let mut txn = self.store.begin().await?;
        txn.session_purge(now).await?;
        txn.sign_in_purge(now).await?;
        txn.mcp_consent_purge(now).await?;
        for place in [grant_place(""), hint_place("")] {
            txn.secret_purge(place.purpose, now - ORPHAN_MS).await?;
        }
        txn.commit().await
    }

    async fn reused(&self, hash: &KeyHash, source_address: &str) -> Result<RenewError, StoreError> {
        let mut txn = self.store.begin_read().await?;
        let session = txn.session_find_spent(hash).await?;
        txn.end().await?;
        let Some(session) = session else { return Ok(RenewError::Unknown) };
        tracing::warn!(session = session.id, source_address, "a refresh token was used a second time");
        self.end(&session, "system", "a refresh token was used a second time").await?;
        Ok(RenewError::Reused(session.id))
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokens({})", self.session.id)
    }
}

fn entry(action: &str, initiator: &str, session: &Session, reason: &str, now: i64) -> Entry {
    let mut detail = Fields::new();
    let user = format!("{}/{}", UserId::NOUN, session.user);
    for (name, value) in [
        ("user", user.as_str()),
        ("issuer", &session.issuer),
        ("kind", session.kind.word()),
        ("user_agent", &session.user_agent),
        ("reason", reason),
    ] {
        if !value.is_empty() {
            detail.insert(name.into(), json!(value));
        }
    }
    let target = format!("session/{}", session.id);
    let facts =
        Facts { initiator, target: &target, source_address: &session.source_address, detail, ..Facts::default() };
    Entry::new(now, action, Outcome::Allowed, facts)
}

fn shortened(user_agent: &str) -> String {
    let end = user_agent.floor_char_boundary(USER_AGENT_BYTES_MAX);
    user_agent.get(..end).unwrap_or_default().chars().filter(|character| !character.is_control()).collect()
}
