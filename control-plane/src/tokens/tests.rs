//! Credentials are issued with the key that replicas have, and keys are rotated and withdrawn.

use tempfile::TempDir;
use tollgate_policy::snapshot::ObjectRef;
use zeroize::Zeroizing;

use super::*;
use crate::seal::keyring_for_tests;

const ULID: &str = "01k9zq3v5m8c4t2n7r6x0w1y9b";
const NOW: i64 = 1_800_000_000_500;

async fn opened() -> (TempDir, Store, Signer) {
    let directory = tempfile::tempdir().unwrap();
    let store =
        Store::open(&format!("sqlite://{}", directory.path().join("tollgate.db").display()), keyring_for_tests())
            .await
            .unwrap();
    let mut key = Zeroizing::new([1; 32]);
    key[0] = 2;
    let signer = Signer::open(&store, Arc::new(Keyring::new(key, None)), NOW).await.unwrap();
    (directory, store, signer)
}

fn asked(life_s: i64) -> Asked {
    Asked {
        user: UserId::from_ulid(ULID).unwrap(),
        key: KeyId::from_ulid(ULID).unwrap(),
        session: SessionId::from_ulid(ULID).unwrap(),
        life_s,
    }
}

async fn issued(store: &Store, signer: &Signer, life_s: i64, now_ms: i64) -> Result<Issued, TokenError> {
    let mut txn = store.begin().await.unwrap();
    let issued = signer.issue(&mut txn, &asked(life_s), now_ms).await;
    txn.commit().await.unwrap();
    issued
}

// Who of the keys that replicas are sent verifies it.
async fn verified(store: &Store, issued: &Issued) -> Option<(Claims, String)> {
    let keys: Vec<Arc<TokenKey>> = store.changes(0).await.unwrap().token_keys.into_iter().map(Arc::new).collect();
    let verified = issued.credential.verify(&keys).ok()?;
    let by = keys.iter().find(|key| verified.was_signed_by(key)).unwrap();
    Some((verified.claims().clone(), by.id().to_owned()))
}

#[tokio::test]
async fn a_credential_is_verified_with_the_keys_of_the_snapshot() {
    let (_directory, store, signer) = opened().await;
    let one = issued(&store, &signer, 900, NOW).await.unwrap();
    let (claims, _) = verified(&store, &one).await.unwrap();
    assert_eq!((claims.issued, claims.not_before, claims.expires), (1_800_000_000, 1_800_000_000, 1_800_000_900));
    assert_eq!((claims.key, claims.user, claims.session), (asked(1).key, asked(1).user, asked(1).session));
    assert_eq!((one.expire_time, &*claims.id), (1_800_000_900_000, one.id.as_str()));
    let (long, other) =
        (issued(&store, &signer, i64::MAX, NOW).await.unwrap(), issued(&store, &signer, 900, NOW).await.unwrap());
    assert_eq!(long.expire_time, (1_800_000_000 + LIFE_SECONDS_MAX) * 1_000);
    assert!(other.id != one.id && other.credential.expose() != one.credential.expose());
    for life_s in [0, -1, i64::MIN] {
        assert!(matches!(issued(&store, &signer, life_s, NOW).await, Err(TokenError::Claims)), "{life_s}");
    }
    let again = Signer::open(&store, Arc::clone(&signer.keyring), NOW).await.unwrap();
    assert!(verified(&store, &issued(&store, &again, 900, NOW).await.unwrap()).await.is_some());
    assert_eq!((store.revision().await.unwrap(), store.changes(0).await.unwrap().token_keys.len()), (1, 1));
}

#[tokio::test]
async fn a_rotation_keeps_what_was_issued_and_a_second_one_ends_it() {
    let (_directory, store, signer) = opened().await;
    let first = issued(&store, &signer, 900, NOW).await.unwrap();
    let (_, old) = verified(&store, &first).await.unwrap();
    let new = signer.rotate(NOW + SETTLED_MS).await.unwrap();
    assert_eq!(store.changes(0).await.unwrap().token_keys.len(), 2);
    for (later, by) in [(0, &old), (SETTLED_MS - 1, &old), (SETTLED_MS, &new)] {
        let issued = issued(&store, &signer, 900, NOW + SETTLED_MS + later).await.unwrap();
        assert_eq!(&verified(&store, &issued).await.unwrap().1, by, "{later} ms after the rotation");
    }
    assert!(verified(&store, &first).await.is_some());
    let before = store.revision().await.unwrap();
    signer.rotate(NOW + 2 * SETTLED_MS).await.unwrap();
    let changes = store.changes(before).await.unwrap();
    assert_eq!(changes.tombstones, [ObjectRef::TokenKey(old.as_str().into())]);
    assert_eq!((changes.token_keys.len(), store.changes(0).await.unwrap().token_keys.len()), (1, 2));
    assert!(verified(&store, &first).await.is_none());
    let mut txn = store.begin_read().await.unwrap();
    assert_eq!(txn.secret_list(PURPOSE).await.unwrap().len(), 2, "the private key is gone as well");
    txn.end().await.unwrap();
}
