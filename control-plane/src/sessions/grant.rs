//! Whether the issuer's grant behind a session still holds, and for which groups.

use zeroize::Zeroizing;

use super::{Sessions, grant_place};
use crate::{
    oidc::{
        SignInError,
        issuer::{Grant, Issuer, IssuerError},
    },
    store::{StoreError, sessions::Session},
};

/// Who has set out to ask an issuer has so long, in milliseconds: others go by what is known meanwhile.
const CLAIM_MS: i64 = 30_000;
/// How long an issuer that cannot be asked is given credit, in milliseconds.
const CREDIT_MS: i64 = 3_600_000;

/// How a session stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Standing {
    /// It goes on.
    Holds,
    /// It has ended.
    Ended,
    /// The issuer could not be asked for too long: it waits.
    Unreachable,
}

impl Sessions {
    /// Asks the issuer by the refresh token that it gave, if it gave one.
    pub(super) async fn check(&self, session: &Session, now: i64) -> Result<Standing, StoreError> {
        let Some(issuer) = self.issuers.at(&session.issuer) else {
            self.end(session, "system", "its issuer is not configured any more").await?;
            return Ok(Standing::Ended);
        };
        let on_credit = if now - session.checked_time < CREDIT_MS { Standing::Holds } else { Standing::Unreachable };
        let mut txn = self.store.begin().await?;
        let sealed = txn.secret_get(grant_place(&session.id)).await?;
        let subject = txn.identity_subject(&session.issuer, &session.user).await?;
        let is_ours = txn.session_claim(&session.id, now - CLAIM_MS, now).await?;
        txn.commit().await?;
        let Some((sealed, subject)) = sealed.zip(subject) else { return Ok(Standing::Holds) };
        if !is_ours {
            return Ok(on_credit);
        }
        let token = self.keyring.open(grant_place(&session.id), &sealed)?;
        let token = Zeroizing::new(String::from_utf8_lossy(&token).into_owned());
        let standing = match issuer.refresh(&token).await {
            Ok(grant) => self.take_over(session, issuer, &grant, &subject, now).await,
            Err(error) => Err(error.into()),
        };
        match standing {
            Ok(()) => Ok(Standing::Holds),
            Err(SignInError::Store(error)) => Err(error),
            Err(error) if error.is_transient() => Ok(on_credit),
            Err(error) => {
                let reason = match error {
                    SignInError::Issuer(IssuerError::Refused) => "the identity provider has ended the grant".to_owned(),
                    error => error.to_string(),
                };
                self.end(session, &format!("issuer/{}", issuer.settings().name), &reason).await?;
                Ok(Standing::Ended)
            }
        }
    }

    // The fresh refresh token is stored before anything is made of the grant: the old one may be spent.
    async fn take_over(
        &self,
        session: &Session,
        issuer: &Issuer,
        grant: &Grant,
        subject: &str,
        now: i64,
    ) -> Result<(), SignInError> {
        let mut txn = self.store.begin().await?;
        if let Some(refresh_token) = &grant.refresh_token {
            self.keep_grant(&mut txn, &session.id, refresh_token).await?;
        }
        txn.commit().await?;
        let person = self.issuers.person_again(issuer, grant, subject).await?;
        self.issuers.provision(issuer, &person).await?;
        let mut txn = self.store.begin().await?;
        txn.session_checked(&session.id, now).await?;
        txn.commit().await?;
        Ok(())
    }
}
