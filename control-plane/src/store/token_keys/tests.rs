//! Which sessions replicas are told of, and until when.

use tollgate_policy::snapshot::{Object, ObjectRef, Snapshot};

use super::*;
use crate::{seal::keyring_for_tests, store::Store};

fn user() -> UserId {
    UserId::from_ulid("01k9zq3v5m8c4t2n7r6x0w1y9b").unwrap()
}

async fn session(store: &Store, last: char, ended: bool, tokens_expire_time: i64, revision: i64) {
    let mut txn = store.begin().await.unwrap();
    let insert = sql!(
        "INSERT INTO sessions (id, user_id, issuer, kind, access_hash, access_expire_time, expire_time, tokens_expire_time,
         create_time, used_time, checked_time, source_address, user_agent, ended, revision)
         VALUES ($1, $2, '', 'browser', $3, 0, 0, $4, 0, 0, 0, '', '', $5, $6)",
        format!("session-01k9zq3v5m8c4t2n7r6x0w1y9{last}"),
        user().as_str(),
        vec![u8::try_from(last).unwrap()],
        tokens_expire_time,
        ended,
        revision
    );
    txn.execute(insert).await.unwrap();
    txn.commit().await.unwrap();
}

#[tokio::test]
async fn ended_sessions_that_issued_credentials_are_told_of_until_they_are_gone() {
    let directory = tempfile::tempdir().unwrap();
    let store =
        Store::open(&format!("sqlite://{}", directory.path().join("tollgate.db").display()), keyring_for_tests())
            .await
            .unwrap();
    let mut txn = store.begin().await.unwrap();
    txn.advance_revision().await.unwrap();
    let insert = sql!(
        "INSERT INTO users (id, name, email, display_name, team, disabled, create_time, update_time, created, revision)
         VALUES ($1, 'ada', NULL, '', NULL, 0, 0, 0, 0, 1)",
        user().as_str()
    );
    txn.execute(insert).await.unwrap();
    txn.commit().await.unwrap();
    session(&store, 'a', true, 7_000, 5).await;
    session(&store, 'b', true, 0, 6).await;
    session(&store, 'c', false, 7_000, 0).await;
    session(&store, 'd', true, 8_000, 9).await;
    let ended = |last: char, until: i64| EndedSession {
        id: SessionId::parse(&format!("session-01k9zq3v5m8c4t2n7r6x0w1y9{last}")).unwrap(),
        until: UnixMillis::new(until),
    };
    assert_eq!(store.changes(0).await.unwrap().ended_sessions, [ended('a', 7_000), ended('d', 8_000)]);
    assert_eq!(store.changes(5).await.unwrap().ended_sessions, [ended('d', 8_000)]);
    let mut txn = store.begin().await.unwrap();
    let revision = txn.advance_revision().await.unwrap();
    txn.user_delete(&user(), revision).await.unwrap();
    txn.commit().await.unwrap();
    let changes = store.changes(revision - 1).await.unwrap();
    for last in ['a', 'd'] {
        assert!(changes.tombstones.contains(&ObjectRef::EndedSession(ended(last, 0).id)), "{last}");
    }
    assert!(store.changes(0).await.unwrap().ended_sessions.is_empty());
    let snapshot = Snapshot::default().next(1, vec![Object::EndedSession(ended('a', 7_000))], vec![]);
    assert!(!snapshot.next(2, vec![], changes.tombstones).has_ended(&ended('a', 0).id));
}
