//! The sessions that are kept, one for each control plane, and refreshed before they expire.

use std::{collections::BTreeMap, path::Path};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    authority::{Authority, Tokens},
    private::{Hidden, Private, instant},
};
use crate::{failure::Failure, surroundings::Surroundings};

/// How long before its end an access token is refreshed: longer than a call takes.
const AHEAD: SignedDuration = SignedDuration::from_secs(60);

/// The word of a failure that only a sign-in mends.
pub(crate) const UNAUTHENTICATED: &str = "unauthenticated";

/// A session that is kept.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Saved {
    pub(crate) access_token: Hidden,
    pub(crate) refresh_token: Option<Hidden>,
    /// From when the access token is refused.
    #[serde(with = "instant")]
    pub(crate) expires: Timestamp,
    /// Where it was given, and is refreshed.
    pub(crate) url: String,
}

/// The file of sessions, `~/.config/tollgate/credentials.json`.
#[derive(Debug)]
pub(crate) struct Sessions(Private);

impl Saved {
    /// Keeps what was given just now.
    pub(crate) fn new(tokens: Tokens, url: &str, now: Timestamp) -> Self {
        let Tokens { access_token, refresh_token, expires_in } = tokens;
        let expires = now.checked_add(SignedDuration::from_secs(expires_in)).unwrap_or(Timestamp::MAX);
        Self { access_token, refresh_token, expires, url: url.to_owned() }
    }

    fn is_fresh(&self, now: Timestamp) -> bool {
        self.expires.duration_since(now) > AHEAD
    }
}

impl Sessions {
    /// The file of this user. `None` without a home directory.
    pub(crate) fn at(surroundings: &Surroundings<'_>) -> Option<Self> {
        Private::below(surroundings, "XDG_CONFIG_HOME", ".config", "credentials.json").map(Self)
    }

    /// The session for a control plane, however old.
    pub(crate) fn of(&self, server: &str) -> Result<Option<Saved>, Failure> {
        let mut all: BTreeMap<String, Saved> = self.0.read()?;
        Ok(all.remove(key(server)))
    }

    /// Keeps a session in the place of the one before, or forgets that one. Returns it.
    pub(crate) async fn replace(&self, server: &str, session: Option<Saved>) -> Result<Option<Saved>, Failure> {
        let lock = self.0.lock().await?;
        let mut all: BTreeMap<String, Saved> = self.0.read()?;
        let before = match session {
            Some(session) => all.insert(key(server).to_owned(), session),
            None => all.remove(key(server)),
        };
        self.0.write(&lock, &all)?;
        Ok(before)
    }

    /// The access token for a control plane, refreshed if it is about to expire or is the one that was `refused`. `None` when
    /// nobody is signed in.
    ///
    /// # Errors
    /// A session that ended, or an authorisation server that does not answer.
    pub(crate) async fn current(
        &self,
        server: &str,
        ca: Option<&Path>,
        now: Timestamp,
        refused: Option<&Hidden>,
    ) -> Result<Option<Hidden>, Failure> {
        let serves = |saved: &Saved| saved.is_fresh(now) && refused != Some(&saved.access_token);
        let Some(saved) = self.of(server)? else { return Ok(None) };
        if serves(&saved) {
            return Ok(Some(saved.access_token));
        }
        // A refresh token is good once, and a second use of it ends the session: one run refreshes, the others wait and read.
        let lock = self.0.lock().await?;
        let mut all: BTreeMap<String, Saved> = self.0.read()?;
        let Some(saved) = all.get(key(server)).cloned() else { return Ok(None) };
        if serves(&saved) {
            return Ok(Some(saved.access_token));
        }
        let fresh = match refreshed(&saved, ca).await {
            Ok(Some(tokens)) => Saved::new(tokens, &saved.url, now),
            Ok(None) => {
                all.remove(key(server));
                self.0.write(&lock, &all)?;
                return Err(ended(server));
            }
            // What is good for some seconds more may serve this call.
            Err(_) if saved.expires > now => return Ok(Some(saved.access_token)),
            Err(failure) => return Err(failure),
        };
        let token = fresh.access_token.clone();
        // An answer without a new refresh token leaves the old one.
        let refresh_token = fresh.refresh_token.or(saved.refresh_token);
        all.insert(key(server).to_owned(), Saved { refresh_token, ..fresh });
        self.0.write(&lock, &all)?;
        Ok(Some(token))
    }
}

/// Whoever needs a session has none.
pub(crate) fn missing(server: &str) -> Failure {
    Failure::new(UNAUTHENTICATED, format!("you are not signed in to {server}: run `tollgate login`"))
}

fn ended(server: &str) -> Failure {
    Failure::new(UNAUTHENTICATED, format!("your session at {server} has ended: run `tollgate login`"))
}

// `None` when the session ended.
async fn refreshed(saved: &Saved, ca: Option<&Path>) -> Result<Option<Tokens>, Failure> {
    let Some(refresh_token) = &saved.refresh_token else { return Ok(None) };
    let authority = Authority::discover(&saved.url, ca.filter(|_| saved.url.starts_with("https://"))).await?;
    match authority.refresh(refresh_token).await? {
        Ok(tokens) => Ok(Some(tokens)),
        Err(refused) if refused.error == "invalid_grant" => Ok(None),
        Err(refused) => Err(refused.failure("the session cannot be refreshed")),
    }
}

fn key(server: &str) -> &str {
    server.trim_end_matches('/')
}
