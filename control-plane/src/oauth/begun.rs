//! What waits in the database between two steps of a sign-in. Each is found by a secret that its holder was given, and is good
//! for one use.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use super::OAuth;
use crate::{
    clock,
    keys::random_token,
    store::{
        StoreError, Txn,
        sign_ins::{SignIn, SignInKind},
    },
};

/// How long a sign-in at an issuer may take, in milliseconds.
pub const STATE_LIFE_MS: i64 = 10 * 60_000;
/// How long a code may take to be exchanged, in milliseconds: the command line is waiting for it.
pub const CODE_LIFE_MS: i64 = 60_000;
/// How long a device waits for its person, in milliseconds.
pub const DEVICE_LIFE_MS: i64 = 10 * 60_000;
/// The most of each kind that wait at a time: anybody can begin one.
const WAITING_MAX: i64 = 10_000;

/// What a browser was sent to an issuer for.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Purpose {
    /// A command line that waits on loopback.
    Code(CodeRequest),
    /// A browser session, and where it goes on.
    Browser {
        /// A path here.
        next: String,
    },
    /// A device that waits elsewhere.
    Device {
        /// What the person typed.
        user_code: String,
    },
}

/// What a command line asked for.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct CodeRequest {
    /// Where it waits.
    pub redirect_uri: String,
    /// What it wants back.
    pub state: String,
    /// Its PKCE challenge, by S256.
    pub code_challenge: String,
}

/// A browser that is at an issuer.
#[derive(Clone, Deserialize, Serialize)]
pub struct State {
    /// The issuer's URL.
    pub issuer: String,
    /// What the ID token must contain.
    pub nonce: String,
    /// The PKCE verifier of the issuer's code.
    pub verifier: String,
    /// The hash of the browser's cookie: nobody else comes back for it.
    pub binding: String,
    /// What for.
    pub purpose: Purpose,
}

/// A person whom an issuer has verified.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Verified {
    /// The user's id.
    pub user: String,
    /// The issuer's URL.
    pub issuer: String,
    /// The id of the session to be, under which the issuer's grant is sealed.
    pub session: String,
    /// When, in Unix milliseconds.
    pub time: i64,
}

/// A code that waits to be exchanged.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Code {
    /// What was asked for.
    pub request: CodeRequest,
    /// For whom it is.
    pub verified: Verified,
}

/// A device that waits.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Device {
    /// What it says it is.
    pub user_agent: String,
    /// Where it is.
    pub source_address: String,
    /// When it last asked, in Unix milliseconds.
    pub asked: i64,
    /// How long it must wait before it asks again, in seconds.
    pub interval: i64,
    /// Whether the person said no.
    pub is_denied: bool,
    /// Who said yes.
    pub verified: Option<Verified>,
}

/// A person who is asked whether a device is theirs.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Confirmation {
    /// Which device.
    pub user_code: String,
    /// The hash of the browser's cookie.
    pub binding: String,
    /// Who is asked.
    pub verified: Verified,
}

/// A kind of what waits.
pub trait Begun: Serialize + DeserializeOwned {
    /// Which kind.
    const KIND: SignInKind;
    /// How long it waits, in milliseconds.
    const LIFE_MS: i64;
}

macro_rules! begun {
    ($($type:ty = $kind:ident, $life:expr;)*) => {$(
        impl Begun for $type {
            const KIND: SignInKind = SignInKind::$kind;
            const LIFE_MS: i64 = $life;
        }
    )*};
}

begun! {
    State = State, STATE_LIFE_MS;
    Code = Code, CODE_LIFE_MS;
    Device = Device, DEVICE_LIFE_MS;
    Confirmation = Confirmation, STATE_LIFE_MS;
}

// === impl OAuth ===

impl OAuth {
    /// Stores what has begun, and returns the secret by which it is found. `None` when too many wait.
    pub(super) async fn put<T: Begun>(
        &self,
        txn: &mut Txn,
        begun: &T,
        user_code: Option<&str>,
    ) -> Result<Option<Zeroizing<String>>, StoreError> {
        let now = clock::now_ms();
        if txn.sign_in_count(T::KIND, now).await? >= WAITING_MAX {
            return Ok(None);
        }
        let secret = random_token("")?;
        let sign_in = SignIn {
            hash: self.minter.sign_in_hash(&secret),
            user_code: user_code.map(str::to_owned),
            body: body(begun)?,
            expire_time: now + T::LIFE_MS,
        };
        txn.sign_in_insert(T::KIND, &sign_in).await?;
        Ok(Some(secret))
    }

    /// Takes what has begun, once and for all.
    pub(super) async fn take<T: Begun>(&self, secret: &str) -> Result<Option<T>, StoreError> {
        let mut txn = self.store.begin().await?;
        let taken = txn.sign_in_take(T::KIND, &self.minter.sign_in_hash(secret), clock::now_ms()).await?;
        txn.commit().await?;
        taken.map(|taken| read(&taken.body)).transpose()
    }

    /// The hash of a browser's cookie.
    pub(super) fn binding(&self, cookie: &str) -> String {
        hex::encode(self.minter.sign_in_hash(cookie).as_bytes())
    }
}

/// The JSON of what has begun.
pub(super) fn body<T: Serialize>(begun: &T) -> Result<String, StoreError> {
    serde_json::to_string(begun).map_err(|error| StoreError::corrupt("body", error))
}

/// Reads it.
pub(super) fn read<T: DeserializeOwned>(body: &str) -> Result<T, StoreError> {
    serde_json::from_str(body).map_err(|error| StoreError::corrupt("body", error))
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("issuer", &self.issuer).field("purpose", &self.purpose).finish_non_exhaustive()
    }
}
