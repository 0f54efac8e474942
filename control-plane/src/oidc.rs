//! Sign-in at identity providers by OpenID Connect.
//!
//! Reading order: [`settings`], the issuers as they are configured; [`outbound`], how they are asked; [`verify`], their tokens;
//! [`claims`], what those mean here; [`issuer`], one of them; [`provision`], the users that their people are.

pub mod settings;
pub mod outbound;
pub mod verify;
pub mod claims;
pub mod issuer;
pub mod provision;

use tollgate_policy::id::UserId;

use self::{
    claims::{Claims, GroupsFrom, Person, Unfit},
    issuer::{Grant, Issuer, IssuerError},
    provision::ProvisionError,
    settings::IssuerSettings,
    verify::Purpose,
};
use crate::{
    clock,
    store::{Store, StoreError},
};

/// The identity providers of this control plane.
#[derive(Debug)]
pub struct Issuers {
    store: Store,
    issuers: Vec<Issuer>,
}

/// Why somebody is not let in.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// The issuer, or what it gave.
    #[error(transparent)]
    Issuer(#[from] IssuerError),
    /// The claims do not make a person.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The issuer gave no ID token.
    #[error("the identity provider gave no id token")]
    NoToken,
    /// It speaks of another person than before.
    #[error("the identity provider speaks of another person than before")]
    Subject,
    /// No issuer of the configuration gave the token, or it takes none from automation.
    #[error("the token is of no issuer that may give one")]
    UnknownIssuer,
    /// The user is disabled.
    #[error("the user is disabled")]
    Disabled,
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

// === impl Issuers ===

impl Issuers {
    /// The issuers of a configuration. None is asked yet: one that is down does not keep the others from working.
    ///
    /// # Errors
    /// When no client can be made.
    pub fn open(settings: &[IssuerSettings], store: &Store) -> Result<Self, reqwest::Error> {
        let issuers = settings.iter().cloned().map(Issuer::new).collect::<Result<_, _>>()?;
        Ok(Self { store: store.clone(), issuers })
    }

    /// Every issuer.
    #[must_use]
    pub fn all(&self) -> &[Issuer] {
        &self.issuers
    }

    /// The issuer of that name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Issuer> {
        self.issuers.iter().find(|issuer| issuer.settings().name.as_str() == name)
    }

    /// The issuer of that URL.
    #[must_use]
    pub fn at(&self, url: &str) -> Option<&Issuer> {
        self.issuers.iter().find(|issuer| issuer.settings().url == url)
    }

    /// Whose token of an issuer this is, for automation that presents it as it is. The user is made when there is none yet,
    /// and the groups count as the token says.
    ///
    /// # Errors
    /// Says why it is refused. The caller writes the entry, since it knows what was called.
    pub async fn bearer(&self, jwt: &str) -> Result<UserId, SignInError> {
        let issuer = verify::claimed_issuer(jwt).and_then(|url| self.at(&url));
        let issuer = issuer.filter(|issuer| !issuer.settings().bearer_audiences.is_empty());
        let issuer = issuer.ok_or(SignInError::UnknownIssuer)?;
        let claims = issuer.verify(jwt, Purpose::Bearer).await?;
        // Where the groups do not fit into the token it is refused: nobody is asked at each call.
        let person = claims::read(&issuer.settings().mapping, &claims, GroupsFrom::Token)?;
        Ok(self.provision(issuer, &person).await?.id)
    }

    /// The person that a grant of a sign-in means.
    ///
    /// # Errors
    /// Says why it means none.
    pub async fn person(&self, issuer: &Issuer, grant: &Grant, nonce: &str) -> Result<Person, SignInError> {
        let raw = grant.id_token.as_deref().ok_or(SignInError::NoToken)?;
        let claims = issuer.verify(raw, Purpose::SignIn { nonce }).await?;
        read_whole(issuer, grant, &claims).await
    }

    /// The same person as an issuer describes them now.
    ///
    /// # Errors
    /// As [`Self::person`]; also when it describes somebody else.
    pub async fn person_again(&self, issuer: &Issuer, grant: &Grant, subject: &str) -> Result<Person, SignInError> {
        let person = match (&grant.id_token, &grant.access_token) {
            (Some(raw), _) => {
                let claims = issuer.verify(raw, Purpose::Refresh).await?;
                read_whole(issuer, grant, &claims).await?
            }
            (None, Some(access)) => {
                let claims = issuer.userinfo(access, subject).await?.ok_or(SignInError::Subject)?;
                claims::read(&issuer.settings().mapping, &claims, GroupsFrom::Token)?
            }
            (None, None) => return Err(SignInError::NoToken),
        };
        if person.subject == subject { Ok(person) } else { Err(SignInError::Subject) }
    }

    /// The user that a person is, made when there is none, with the groups as the issuer says.
    ///
    /// # Errors
    /// When the user is disabled, or the database refuses.
    pub async fn provision(
        &self,
        issuer: &Issuer,
        person: &Person,
    ) -> Result<crate::store::organisation::User, SignInError> {
        match provision::provision(&self.store, issuer.settings(), person, clock::now_ms()).await {
            Ok(user) => Ok(user),
            Err(ProvisionError::Disabled) => Err(SignInError::Disabled),
            Err(ProvisionError::Store(error)) => Err(error.into()),
        }
    }
}

// === impl SignInError ===

impl SignInError {
    /// Whether trying again can succeed.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Issuer(IssuerError::Unavailable(_)) | Self::Store(_))
    }
}

async fn read_whole(issuer: &Issuer, grant: &Grant, claims: &Claims) -> Result<Person, SignInError> {
    let mapping = &issuer.settings().mapping;
    if !claims::is_overage(mapping, claims)? {
        return Ok(claims::read(mapping, claims, GroupsFrom::Token)?);
    }
    let subject = claims.get("sub").and_then(serde_json::Value::as_str).unwrap_or_default();
    let answer = match &grant.access_token {
        Some(access) => issuer.userinfo(access, subject).await?,
        None => None,
    };
    let answer = answer.ok_or(Unfit::Overage)?;
    Ok(claims::read(mapping, claims, GroupsFrom::Userinfo(&answer))?)
}
