//! What an authorization server is told of a user whose token it is asked for (RFC 8693): a JWT that is signed for this exchange alone.
//!
//! It is none of the user's own tokens: those of their identity provider were given for Tollgate, and what they hold at Tollgate is
//! nobody else's. The authorization server trusts `public_url` as an issuer, whose keys are at `/.well-known/jwks.json`.

use serde_json::{Map, Value, json};
use ulid::Ulid;
use zeroize::Zeroizing;

use super::McpOAuth;
use crate::{
    store::{StoreError, organisation::User},
    tokens::TokenError,
};

/// The grant type of RFC 8693, 2.1.
pub const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// What is exchanged, and for what: RFC 8693, 3.
pub const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
/// The other of the two.
pub const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// For how long it is good, in seconds: it is shown at once.
const LIFE_S: i64 = 60;

impl McpOAuth {
    /// The JWT for this user, to be shown to this issuer.
    pub(super) async fn subject_token(
        &self,
        user: &User,
        audience: &str,
        now: i64,
    ) -> Result<Zeroizing<String>, StoreError> {
        let mut txn = self.store.begin_read().await?;
        let identity = txn.identity_latest(&user.id).await?;
        let issued = now.div_euclid(1_000);
        let mut claims = Map::new();
        let pairs = [
            ("iss", json!(self.public_url)),
            ("sub", json!(user.id.as_str())),
            ("aud", json!(audience)),
            ("iat", json!(issued)),
            ("nbf", json!(issued)),
            ("exp", json!(issued + LIFE_S)),
            ("jti", json!(Ulid::generate().to_string().to_lowercase())),
            ("preferred_username", json!(user.name.as_str())),
        ];
        claims.extend(pairs.map(|(name, value)| (name.to_owned(), value)));
        if let Some(email) = &user.email {
            claims.insert("email".into(), Value::from(email.as_str()));
        }
        if let Some((issuer, subject)) = identity {
            claims.insert("idp".into(), json!({ "iss": issuer, "sub": subject }));
        }
        let signed = self.signer.assert(&mut txn, &claims, now).await;
        txn.end().await?;
        signed.map_err(|error| match error {
            TokenError::Store(error) => error,
            TokenError::Seal(error) => error.into(),
            TokenError::Key(_) | TokenError::Claims => StoreError::corrupt("sealed", error),
        })
    }
}
