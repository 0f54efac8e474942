//! The memory of verified credentials: by the whole text, bounded, and never the decision.

use ring::signature::{Ed25519KeyPair, KeyPair as _};
use tollgate_policy::{
    credential::{Claims, TokenKey},
    id::{CustomerId, KeyId, SessionId, TeamId, UserId},
    pattern::Patterns,
    refusal::RefusalKind,
    snapshot::{AuditMode, Customer, EndedSession, Key, Object, ObjectRef, Team, User},
    token::KeyHash,
};

use super::*;

const ULID: &str = "01k9zq3v5m8c4t2n7r6x0w1y9b";
const ISSUED: i64 = 1_800_000_000;
const NOW: UnixMillis = UnixMillis::new(ISSUED * 1_000);

fn pair() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap()
}

fn token_key() -> TokenKey {
    TokenKey::new("one", pair().public_key().as_ref().try_into().unwrap()).unwrap()
}

fn credential(expires: i64, id: &str) -> Presented {
    let claims = Claims {
        user: UserId::from_ulid(ULID).unwrap(),
        key: KeyId::from_ulid(ULID).unwrap(),
        session: SessionId::from_ulid(ULID).unwrap(),
        issued: ISSUED,
        not_before: ISSUED,
        expires,
        id: id.into(),
    };
    let input = claims.signing_input(&token_key()).unwrap();
    Presented::assemble(&input, pair().sign(input.as_bytes()).as_ref()).unwrap()
}

fn world() -> Snapshot {
    let (customer, team) = (CustomerId::from_ulid(ULID).unwrap(), TeamId::from_ulid(ULID).unwrap());
    let user = UserId::from_ulid(ULID).unwrap();
    let key = Key {
        id: KeyId::from_ulid(ULID).unwrap(),
        name: "dev".into(),
        hash: KeyHash::new([1; 32]),
        team: team.clone(),
        user: Some(user.clone()),
        revoked: false,
        expires: None,
        models: Patterns::default(),
        providers: Arc::new([]),
        credentials: Arc::new([]),
        quota: None,
        audit: AuditMode::Required,
        regions: Patterns::default(),
        tools: tollgate_policy::mcp::Access::default(),
        tool_rules: Arc::default(),
    };
    let objects = vec![
        Object::Customer(Customer { id: customer.clone(), name: "acme".into(), disabled: false, quota: None }),
        Object::Team(Team {
            id: team,
            name: "platform".into(),
            customer,
            disabled: false,
            quota: None,
            providers: Arc::new([]),
            regions: Patterns::default(),
        }),
        Object::User(User { id: user, name: "ada".into(), disabled: false, quota: None }),
        Object::Key(key),
        Object::TokenKey(token_key()),
    ];
    Snapshot::default().next(1, objects, vec![])
}

#[test]
fn row_6_two_credentials_that_share_their_first_200_characters_are_told_apart() {
    let (credentials, world) = (Credentials::default(), world());
    let (one, two) = (credential(ISSUED + 60, "01k9a"), credential(ISSUED + 3_600, "01k9b"));
    assert_eq!(one.expose().get(..200), two.expose().get(..200));
    let expires =
        |presented: &Presented| credentials.authenticate(&world, NOW, presented).unwrap().credential().unwrap().expires;
    for _ in 0..2 {
        assert_eq!((expires(&one), expires(&two)), (ISSUED + 60, ISSUED + 3_600));
    }
    assert_eq!(credentials.remembered(), 2);
    // The signature of the one under the text of the other: only the end differs from what is remembered.
    let signed = one.expose().rsplit_once('.').unwrap().0;
    let forged = Presented::parse(&format!("{signed}.{}", two.expose().rsplit_once('.').unwrap().1)).unwrap();
    assert_eq!(forged.expose().get(..300), one.expose().get(..300));
    let refusal = credentials.authenticate(&world, NOW, &forged).expect_err("forged");
    assert_eq!((refusal.kind(), credentials.remembered()), (RefusalKind::Unauthenticated, 2));
}

#[test]
fn what_is_remembered_is_decided_against_the_snapshot_every_time() {
    let (credentials, world) = (Credentials::default(), world());
    let presented = credential(ISSUED + 60, "01k9");
    assert!(credentials.authenticate(&world, NOW, &presented).is_ok());
    let session = SessionId::from_ulid(ULID).unwrap();
    let ended = EndedSession { id: session, until: UnixMillis::new((ISSUED + 60) * 1_000) };
    let put = |object: Object| world.next(2, vec![object], vec![]);
    let later = UnixMillis::new((ISSUED + 60) * 1_000);
    for (name, snapshot, now, kind) in [
        ("session ended", put(Object::EndedSession(ended)), NOW, RefusalKind::KeyRevoked),
        ("expired", world.clone(), later, RefusalKind::KeyExpired),
        (
            "signer withdrawn",
            world.next(2, vec![], vec![ObjectRef::TokenKey("one".into())]),
            NOW,
            RefusalKind::Unauthenticated,
        ),
    ] {
        let refusal = credentials.authenticate(&snapshot, now, &presented).expect_err(name);
        assert_eq!(refusal.kind(), kind, "{name}");
    }
}

#[test]
fn the_memory_is_bounded_and_the_expired_leave_it() {
    let (credentials, world) = (Credentials::default(), world());
    for (expires, now) in [(ISSUED - 1, NOW), (ISSUED + 60, UnixMillis::new((ISSUED - 61) * 1_000))] {
        assert!(credentials.authenticate(&world, now, &credential(expires, "01k9")).is_err());
    }
    assert_eq!(credentials.remembered(), 0, "what was refused is not remembered");
    let presented = credential(ISSUED + 60, "01k9");
    let verified = Arc::new(presented.verify(world.token_keys()).unwrap());
    let hash = |number: usize| {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&number.to_le_bytes());
        hash
    };
    // All in one shard.
    (0..ENTRIES_MAX).for_each(|number| credentials.remember(hash(number), Arc::clone(&verified), NOW));
    assert_eq!(credentials.remembered(), ENTRIES_MAX);
    credentials.remember(hash(ENTRIES_MAX), Arc::clone(&verified), NOW);
    assert_eq!(credentials.remembered(), 1, "all of them live: it begins anew");
    let fresh = Arc::new(credential(ISSUED + 3_600, "01k9").verify(world.token_keys()).unwrap());
    credentials.remember(hash(0), fresh, UnixMillis::new((ISSUED + 60) * 1_000));
    assert_eq!(credentials.remembered(), 1, "the expired one has left");
}
