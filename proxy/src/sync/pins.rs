//! Which keys may sign pushes. The first Welcome over an authenticated connection pins them; after that a new key is taken
//! only when it was announced beside the one before it.

use ring::signature::{ED25519, UnparsedPublicKey};
use tollgate_proto::{
    fleet::v1::{Push, SigningKey},
    push,
};

/// The longest name of a signing key, in bytes.
const KEY_ID_BYTES_MAX: usize = 128;

/// The keys whose signatures count.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Pins {
    // The first signs now, the second will.
    keys: Vec<SigningKey>,
}

/// Signing keys that are not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum InvalidKeys {
    #[error("the control plane names no signing key, too many, or one that is not of 32 bytes")]
    Shape,
    #[error(
        "the control plane signs with a key that was not announced; if it was set up anew, remove this replica's snapshot \
         files and let it join again"
    )]
    Unannounced,
}

/// A push whose signature does not count.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum InvalidSignature {
    #[error("is signed with a key that is not pinned")]
    UnknownKey,
    #[error("has a signature that is not valid")]
    Broken,
}

impl Pins {
    /// Pins what a Welcome says, knowing nothing before.
    pub(crate) fn first(keys: &[SigningKey]) -> Result<Self, InvalidKeys> {
        let shaped = |key: &SigningKey| {
            let SigningKey { id, public_key } = key;
            (1..=KEY_ID_BYTES_MAX).contains(&id.len()) && public_key.len() == push::HASH_BYTES
        };
        let distinct = match keys {
            [one, other] => one.id != other.id,
            _ => keys.len() == 1,
        };
        if distinct && keys.len() <= push::SIGNING_KEYS_MAX && keys.iter().all(shaped) {
            Ok(Self { keys: keys.to_vec() })
        } else {
            Err(InvalidKeys::Shape)
        }
    }

    /// Pins what a later Welcome says. Its current key must be one of those that are pinned.
    pub(crate) fn next(&self, keys: &[SigningKey]) -> Result<Self, InvalidKeys> {
        let next = Self::first(keys)?;
        let announced = next.keys.first().is_some_and(|current| self.keys.contains(current));
        if announced { Ok(next) } else { Err(InvalidKeys::Unannounced) }
    }

    /// Whether the head of the push was signed with a pinned key.
    pub(crate) fn verify(&self, head: &Push) -> Result<(), InvalidSignature> {
        let key = self.keys.iter().find(|key| key.id == head.signing_key).ok_or(InvalidSignature::UnknownKey)?;
        UnparsedPublicKey::new(&ED25519, &key.public_key)
            .verify(&push::signed_bytes(head), &head.signature)
            .map_err(|_| InvalidSignature::Broken)
    }

    /// The keys, for the disk cache.
    pub(crate) fn keys(&self) -> &[SigningKey] {
        &self.keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: &str, byte: u8) -> SigningKey {
        SigningKey { id: id.into(), public_key: vec![byte; 32].into() }
    }

    #[test]
    fn only_an_announced_key_follows() {
        let pins = Pins::first(&[key("a", 1), key("b", 2)]).unwrap();
        for (keys, expect) in [
            (vec![key("a", 1), key("b", 2)], Ok(())),
            (vec![key("a", 1), key("c", 3)], Ok(())),
            (vec![key("a", 1)], Ok(())),
            (vec![key("b", 2), key("c", 3)], Ok(())),
            (vec![key("c", 3), key("a", 1)], Err(InvalidKeys::Unannounced)),
            (vec![key("a", 9)], Err(InvalidKeys::Unannounced)),
            (vec![], Err(InvalidKeys::Shape)),
            (vec![key("a", 1), key("a", 2)], Err(InvalidKeys::Shape)),
            (vec![key("a", 1), key("b", 2), key("c", 3)], Err(InvalidKeys::Shape)),
            (vec![key("", 1)], Err(InvalidKeys::Shape)),
            (vec![SigningKey { id: "a".into(), public_key: vec![1; 31].into() }], Err(InvalidKeys::Shape)),
        ] {
            assert_eq!(pins.next(&keys).map(|_| ()), expect, "{keys:?}");
        }
    }
}
