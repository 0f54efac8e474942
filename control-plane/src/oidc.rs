//! Sign-in at identity providers by OpenID Connect.
//!
//! Reading order: [`settings`], the issuers as they are configured; [`outbound`], how they are asked; [`verify`], their tokens;
//! [`claims`], what those mean here; [`issuer`], one of them.

pub mod settings;
pub mod outbound;
pub mod verify;
pub mod claims;
pub mod issuer;
