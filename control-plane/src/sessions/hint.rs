//! The ID token of a browser's sign-in, kept for its sign-out: an issuer is shown it to know whose session there should end.

use zeroize::Zeroizing;

use super::Sessions;
use crate::{
    seal::Place,
    store::{StoreError, Txn},
};

/// The longest that is kept, in bytes: it becomes part of a URL, of which servers take 8 KiB. Without one the issuer asks the person.
const HINT_BYTES_MAX: usize = 6 * 1024;

/// Where the ID token of a session is sealed.
#[must_use]
pub const fn hint_place(id: &str) -> Place<'_> {
    Place { purpose: "idp-id-token", id }
}

impl Sessions {
    /// Seals the ID token of a sign-in, if it is short enough to be of use.
    ///
    /// # Errors
    /// When it cannot be sealed or stored.
    pub async fn keep_hint(&self, txn: &mut Txn, id: &str, id_token: &str) -> Result<(), StoreError> {
        if id_token.len() > HINT_BYTES_MAX {
            return Ok(());
        }
        self.keep(txn, hint_place(id), id_token).await
    }

    /// The ID token of a session's sign-in, if one was kept.
    ///
    /// # Errors
    /// When it cannot be read or opened.
    pub async fn hint(&self, id: &str) -> Result<Option<Zeroizing<String>>, StoreError> {
        let place = hint_place(id);
        let mut txn = self.store.begin_read().await?;
        let sealed = txn.secret_get(place).await?;
        txn.end().await?;
        let Some(sealed) = sealed else { return Ok(None) };
        let token = self.keyring.open(place, &sealed)?;
        Ok(Some(Zeroizing::new(String::from_utf8_lossy(&token).into_owned())))
    }
}
