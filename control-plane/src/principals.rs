//! Who calls the admin API: the bootstrap administrator, people, and programs; each known by a token of its own kind.
//!
//! What a caller holds is read from the database at each call: what was given or taken a moment ago counts.

use std::{fmt, sync::Arc};

use tollgate_policy::{
    id::{ServiceAccountId, SessionId, UserId},
    rbac::Holder,
};

use crate::{
    administrators::{Administrators, BOOTSTRAP},
    clock,
    keys::{ACCESS_PREFIX, ADMIN_PREFIX, Minter, SERVICE_PREFIX},
    oidc::{Issuers, SignInError},
    sessions::Sessions,
    store::{Store, StoreError},
};

/// The longest token of an identity provider, in bytes: with two hundred groups it has some eight thousand.
const JWT_BYTES_MAX: usize = 16 * 1024;
/// No token of ours is longer: what is longer is not hashed.
const TOKEN_BYTES_MAX: usize = 256;

/// Knows callers by their tokens.
#[derive(Debug)]
pub struct Principals {
    store: Store,
    minter: Arc<Minter>,
    administrators: Arc<Administrators>,
    sessions: Arc<Sessions>,
    issuers: Arc<Issuers>,
}

/// Somebody who was authenticated, and what they hold.
#[derive(Clone, Debug)]
pub struct Principal {
    name: Arc<str>,
    identity: Identity,
    holder: Arc<Holder>,
}

/// What kind of caller it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Identity {
    /// The bootstrap administrator.
    Bootstrap,
    /// A person; with the session, unless it was a token of the identity provider.
    User(UserId, Option<SessionId>),
    /// A program.
    ServiceAccount(ServiceAccountId),
}

/// Why a caller is not known. What is shown is for the caller; the rest is for the log.
#[derive(Debug, thiserror::Error)]
pub enum NotKnown {
    /// No such token, or one of somebody who is disabled.
    #[error("the token is not known: it may have expired, or been replaced or revoked")]
    Token,
    /// A token of an identity provider that is not accepted: whoever sent it learns no more than of any other.
    #[error("the token is not known: it may have expired, or been replaced or revoked")]
    Bearer(#[source] SignInError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

// === impl Principals ===

impl Principals {
    /// The callers that this database knows.
    #[must_use]
    pub const fn new(
        store: Store,
        minter: Arc<Minter>,
        administrators: Arc<Administrators>,
        sessions: Arc<Sessions>,
        issuers: Arc<Issuers>,
    ) -> Self {
        Self { store, minter, administrators, sessions, issuers }
    }

    /// Finds whose token this is.
    ///
    /// # Errors
    /// When it is nobody's, or the database cannot be read.
    pub async fn authenticate(&self, token: &str) -> Result<Principal, NotKnown> {
        if is_jwt(token) {
            return self.bearer(token).await;
        }
        if token.len() > TOKEN_BYTES_MAX {
            return Err(NotKnown::Token);
        }
        if token.starts_with(ACCESS_PREFIX) {
            let signed_in = self.sessions.authenticate(token).await?.ok_or(NotKnown::Token)?;
            let session = SessionId::parse(&signed_in.session.id).ok();
            return Ok(self.person(signed_in.user.id, session).await?);
        }
        if token.starts_with(ADMIN_PREFIX) {
            let known = self.administrators.authenticate(token).await?;
            return known.then(Principal::bootstrap).ok_or(NotKnown::Token);
        }
        if token.starts_with(SERVICE_PREFIX) {
            return self.service_account(token).await?.ok_or(NotKnown::Token);
        }
        Err(NotKnown::Token)
    }

    async fn bearer(&self, jwt: &str) -> Result<Principal, NotKnown> {
        match self.issuers.bearer(jwt).await {
            Ok(user) => Ok(self.person(user, None).await?),
            Err(SignInError::Store(error)) => Err(error.into()),
            Err(error) => Err(NotKnown::Bearer(error)),
        }
    }

    async fn person(&self, user: UserId, session: Option<SessionId>) -> Result<Principal, StoreError> {
        let mut txn = self.store.begin_read().await?;
        let holder = Holder::new(Some(user.clone()), txn.grants_of_user(&user).await?);
        txn.end().await?;
        let name = format!("{}/{user}", UserId::NOUN).into();
        Ok(Principal { name, identity: Identity::User(user, session), holder: Arc::new(holder) })
    }

    async fn service_account(&self, token: &str) -> Result<Option<Principal>, StoreError> {
        let (hash, now) = (self.minter.service_hash(token), clock::now_ms());
        let mut txn = self.store.begin_read().await?;
        let Some((account, is_old)) = txn.service_account_of_token(&hash, now).await? else { return Ok(None) };
        let holder = Holder::new(None, txn.grants_of_account(&account).await?);
        txn.end().await?;
        if is_old {
            let mut txn = self.store.begin().await?;
            txn.service_account_token_used(&hash, now).await?;
            txn.commit().await?;
        }
        let name = format!("{}/{account}", ServiceAccountId::NOUN).into();
        Ok(Some(Principal { name, identity: Identity::ServiceAccount(account), holder: Arc::new(holder) }))
    }
}

// Three parts: none of our own tokens has a dot.
fn is_jwt(token: &str) -> bool {
    token.len() <= JWT_BYTES_MAX && token.split('.').count() == 3
}

// === impl NotKnown ===

impl NotKnown {
    /// What the log says beyond what the caller is told; empty when there is nothing.
    #[must_use]
    pub fn cause(&self) -> String {
        match self {
            Self::Bearer(error) => error.to_string(),
            Self::Token | Self::Store(_) => String::new(),
        }
    }
}

// === impl Principal ===

impl Principal {
    fn bootstrap() -> Self {
        Self { name: BOOTSTRAP.into(), identity: Identity::Bootstrap, holder: Arc::new(Holder::everything()) }
    }

    /// The name: `administrator/bootstrap`, `user/<id>`, `service-account/<id>`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What kind of caller it is.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What it holds.
    #[must_use]
    pub fn holder(&self) -> &Holder {
        &self.holder
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
