//! The short-lived credentials that are kept, so that a helper which is called before each request costs no call.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::private::{Hidden, Private, instant};
use crate::{failure::Failure, surroundings::Surroundings};

/// The least that must be left of a credential: a request that begins with it must arrive.
const LEFT_MIN: SignedDuration = SignedDuration::from_secs(60);
/// The most credentials that are kept.
const KEPT_MAX: usize = 64;

/// For whom and what a credential was issued.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Purpose {
    pub(crate) server: String,
    /// Who asked: the session that is kept, or the hash of a token that was given.
    pub(crate) holder: String,
    /// As it was typed; empty for the only key.
    pub(crate) key: String,
    /// The life that was asked for, in seconds; 0 for what is usual.
    pub(crate) life: i64,
}

/// A credential that is kept.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Kept {
    #[serde(flatten)]
    pub(crate) purpose: Purpose,
    pub(crate) token: Hidden,
    #[serde(with = "instant")]
    pub(crate) issued: Timestamp,
    #[serde(with = "instant")]
    pub(crate) expires: Timestamp,
    /// The key's id.
    pub(crate) key_id: String,
    /// The session's id.
    pub(crate) session: String,
}

/// The file of credentials, `~/.cache/tollgate/tokens.json`.
#[derive(Debug)]
pub(crate) struct Cache(Private);

/// Whom the session that is kept stands for.
pub(crate) const SESSION: &str = "session";

/// Stands for a token that was given, and does not tell it.
pub(crate) fn holder(token: &str) -> String {
    let digest = Sha256::digest(token.as_bytes());
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

impl Kept {
    /// Whether enough is left of it: a fifth of its life, and not less than a minute.
    fn is_good(&self, now: Timestamp) -> bool {
        let life = self.expires.duration_since(self.issued);
        self.expires.duration_since(now) > (life / 5).max(LEFT_MIN)
    }
}

impl Cache {
    /// The file of this user. `None` without a home directory.
    pub(crate) fn at(surroundings: &Surroundings<'_>) -> Option<Self> {
        Private::below(surroundings, "XDG_CACHE_HOME", ".cache", "tokens.json").map(Self)
    }

    /// A credential for the purpose of which enough is left. A file that cannot be read holds none.
    pub(crate) fn get(&self, purpose: &Purpose, now: Timestamp) -> Option<Kept> {
        let all: Vec<Kept> = self.0.read().ok()?;
        all.into_iter().find(|kept| kept.purpose == *purpose && kept.is_good(now))
    }

    /// Keeps a credential.
    pub(crate) async fn put(&self, kept: Kept, now: Timestamp) -> Result<(), Failure> {
        self.change(|all| {
            all.retain(|other| other.purpose != kept.purpose && other.expires > now);
            all.insert(0, kept);
            all.truncate(KEPT_MAX);
        })
        .await
    }

    /// Forgets what the session at a control plane was given.
    pub(crate) async fn forget(&self, server: &str) -> Result<(), Failure> {
        self.change(|all| all.retain(|kept| kept.purpose.server != server || kept.purpose.holder != SESSION)).await
    }

    async fn change(&self, change: impl FnOnce(&mut Vec<Kept>)) -> Result<(), Failure> {
        let lock = self.0.lock().await?;
        // What cannot be read is written anew.
        let mut all: Vec<Kept> = self.0.read().unwrap_or_default();
        change(&mut all);
        self.0.write(&lock, &all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_of_its_life_and_a_minute_must_be_left() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let check = |life: i64, now: i64, expect: bool| {
            let purpose = Purpose { server: String::new(), holder: String::new(), key: String::new(), life: 0 };
            let (token, key_id, session) = (Hidden::new("t".to_owned()), String::new(), String::new());
            let kept = Kept { purpose, token, issued: at(0), expires: at(life), key_id, session };
            assert_eq!(kept.is_good(at(now)), expect, "{life} {now}");
        };
        check(3_600, 0, true);
        check(3_600, 2_879, true);
        check(3_600, 2_880, false);
        check(120, 59, true);
        check(120, 60, false);
        check(120, 500, false);
    }
}
