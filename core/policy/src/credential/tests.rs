//! What is verified, what is not, and what a verified credential may do.

use hmac::{Hmac, KeyInit as _, Mac as _};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use sha2::Sha256;

use super::*;
use crate::{
    decide::{Caller, authenticate_credential, readmit, reconsider},
    id::{CustomerId, TeamId},
    pattern::Patterns,
    refusal::{Refusal, RefusalKind},
    snapshot::{AuditMode, Customer, EndedSession, Key, Object, ObjectRef, Snapshot, Team, User},
    token::KeyHash,
};

const ULID: &str = "01k9zq3v5m8c4t2n7r6x0w1y9b";
const OTHER: &str = "01k9zq3v5m8c4t2n7r6x0w1y9c";
const ISSUED: i64 = 1_800_000_000;

fn pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

fn token_key(id: &str, seed: u8) -> TokenKey {
    TokenKey::new(id, pair(seed).public_key().as_ref().try_into().unwrap()).unwrap()
}

fn keys() -> Vec<Arc<TokenKey>> {
    vec![Arc::new(token_key("one", 1)), Arc::new(token_key("two", 2))]
}

fn claims() -> Claims {
    Claims {
        user: UserId::from_ulid(ULID).unwrap(),
        key: KeyId::from_ulid(ULID).unwrap(),
        session: SessionId::from_ulid(ULID).unwrap(),
        issued: ISSUED,
        not_before: ISSUED,
        expires: ISSUED + 3_600,
        id: "01k9".into(),
    }
}

fn signed(claims: &Claims) -> Presented {
    let input = claims.signing_input(&token_key("one", 1)).unwrap();
    Presented::assemble(&input, pair(1).sign(input.as_bytes()).as_ref()).unwrap()
}

// A token with this header and these claims, with the signature of the first key.
fn forged(header: &str, claims: &str) -> String {
    let input = format!("{}.{}", BASE64.encode(header), BASE64.encode(claims));
    format!("{PREFIX}{input}.{}", BASE64.encode(pair(1).sign(input.as_bytes())))
}

fn header(kid: &str) -> String {
    format!(r#"{{"alg":"EdDSA","kid":"{kid}","typ":"at+jwt"}}"#)
}

fn json() -> String {
    format!(
        r#"{{"iss":"tollgate","aud":"tollgate-proxy","sub":"user-{ULID}","key":"key-{ULID}","sid":"session-{ULID}","iat":{ISSUED},"nbf":{ISSUED},"exp":{},"jti":"01k9"}}"#,
        ISSUED + 3_600
    )
}

fn verify(text: &str) -> Result<Claims, String> {
    let presented = Presented::parse(text).map_err(|error| error.to_string())?;
    presented.verify(&keys()).map(|verified| verified.claims().clone()).map_err(|error| error.to_string())
}

#[test]
fn what_is_signed_comes_back_and_its_form_is_fixed() {
    let presented = signed(&claims());
    assert_eq!(verify(presented.expose()), Ok(claims()));
    assert_eq!(presented.expose(), forged(&header("one"), &json()));
    assert!(presented.expose().len() <= BYTES_MAX / 2 + 64, "{}", presented.expose().len());
    assert_eq!(format!("{presented:?}"), "tgt_***");
    let long = Claims { id: "x".repeat(BYTES_MAX).into(), ..claims() };
    assert_eq!(long.signing_input(&token_key("one", 1)), Err(Malformed));
    for id in ["", "A", "a\"", "a b", &"x".repeat(65)] {
        assert_eq!(TokenKey::new(id, [0; 32]), Err(InvalidTokenKey), "{id}");
    }
}

#[test]
fn a_header_is_that_of_a_known_key_to_the_byte() {
    for other in [
        r#"{"alg":"none","kid":"one","typ":"at+jwt"}"#,
        r#"{"alg":"HS256","kid":"one","typ":"at+jwt"}"#,
        r#"{"alg":"eddsa","kid":"one","typ":"at+jwt"}"#,
        r#"{"alg": "EdDSA","kid":"one","typ":"at+jwt"}"#,
        r#"{"kid":"one","alg":"EdDSA","typ":"at+jwt"}"#,
        r#"{"alg":"EdDSA","kid":"one","typ":"JWT"}"#,
        r#"{"alg":"EdDSA","kid":"one","typ":"at+jwt","jwk":{}}"#,
        r#"{"alg":"EdDSA","kid":"three","typ":"at+jwt"}"#,
    ] {
        assert_eq!(verify(&forged(other, &json())), Err(Unverified::Header.to_string()), "{other}");
    }
    let two = forged(&header("two"), &json());
    assert_eq!(verify(&two), Err(Unverified::Signature.to_string()), "signed by one, in the name of two");
}

#[test]
fn a_public_key_is_no_secret_to_sign_with() {
    for alg in ["HS256", "EdDSA"] {
        let head = header("one").replace("EdDSA", alg);
        let input = format!("{}.{}", BASE64.encode(head), BASE64.encode(json()));
        let mut mac = Hmac::<Sha256>::new_from_slice(token_key("one", 1).public_key()).unwrap();
        mac.update(input.as_bytes());
        let mac = mac.finalize().into_bytes();
        assert!(verify(&format!("{PREFIX}{input}.{}", BASE64.encode(mac))).is_err(), "{alg}: 32 bytes");
        let padded = [mac.as_slice(), mac.as_slice()].concat();
        assert!(verify(&format!("{PREFIX}{input}.{}", BASE64.encode(padded))).is_err(), "{alg}: 64 bytes");
    }
}

#[test]
fn row_19_each_claim_is_there_and_has_its_type() {
    let without = |claim: &str| {
        let mut value: serde_json::Value = serde_json::from_str(&json()).unwrap();
        value.as_object_mut().unwrap().remove(claim).unwrap();
        value.to_string()
    };
    let with = |claim: &str, json_value: &str| {
        let mut value: serde_json::Value = serde_json::from_str(&json()).unwrap();
        value[claim] = serde_json::from_str(json_value).unwrap();
        value.to_string()
    };
    let mut bad: Vec<String> =
        ["iss", "aud", "sub", "key", "sid", "iat", "nbf", "exp", "jti"].iter().map(|claim| without(claim)).collect();
    for (claim, value) in [
        ("iss", "\"other\""),
        ("aud", "\"tollgate\""),
        ("aud", "[\"tollgate-proxy\"]"),
        ("sub", "7"),
        ("sub", "\"ada\""),
        ("key", "\"user-01k9zq3v5m8c4t2n7r6x0w1y9b\""),
        ("sid", "null"),
        ("exp", "\"1800003600\""),
        ("exp", "1800003600.5"),
        ("exp", "1e99"),
        ("exp", "true"),
        ("nbf", "null"),
        ("iat", "[]"),
        ("jti", "\"\""),
    ] {
        bad.push(with(claim, value));
    }
    bad.push(json().replace(r#""exp":"#, r#""exp":1800000001,"exp":"#));
    bad.push(r#"["tollgate","tollgate-proxy"]"#.to_owned());
    bad.push(String::from("{}"));
    for text in bad {
        assert_eq!(verify(&forged(&header("one"), &text)), Err(Unverified::Claims.to_string()), "{text}");
    }
    assert_eq!(verify(&forged(&header("one"), &with("scope", "\"x\""))), Ok(claims()), "others are ignored");
}

#[test]
fn junk_does_not_have_the_shape() {
    let good = signed(&claims()).expose().to_owned();
    let (signed_part, signature) = good.rsplit_once('.').unwrap();
    for junk in [
        String::new(),
        PREFIX.to_owned(),
        good.replacen("tgt_", "tgu_", 1),
        good[PREFIX.len()..].to_owned(),
        format!("{good}="),
        format!("{good}.{signature}"),
        format!("{signed_part}."),
        signed_part.to_owned(),
        good.replacen('.', "..", 1),
        format!("{good} "),
        format!("{PREFIX}{}", "x".repeat(BYTES_MAX)),
    ] {
        assert_eq!(verify(&junk), Err(Malformed.to_string()), "{junk}");
    }
}

#[test]
fn a_credential_that_is_cut_or_changed_anywhere_is_none() {
    let good = signed(&claims()).expose().to_owned();
    for end in 0..good.len() {
        assert!(verify(&good[..end]).is_err(), "cut at {end}");
    }
    for at in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        assert!(verify(&String::from_utf8(bytes).unwrap()).is_err(), "changed at {at}");
    }
    let other = signed(&Claims { expires: ISSUED + 7_200, ..claims() });
    let (one, two) = (good.rsplit_once('.').unwrap(), other.expose().rsplit_once('.').unwrap());
    assert_eq!(verify(&format!("{}.{}", one.0, two.1)), Err(Unverified::Signature.to_string()));
    assert_eq!(verify(&format!("{}.{}", two.0, one.1)), Err(Unverified::Signature.to_string()));
}

// The order of the base point, little endian (RFC 8032, section 5.1).
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

#[test]
fn a_signature_has_one_form() {
    let input = claims().signing_input(&token_key("one", 1)).unwrap();
    let mut signature: Vec<u8> = pair(1).sign(input.as_bytes()).as_ref().to_vec();
    let text = |signature: &[u8]| Presented::assemble(&input, signature).unwrap().expose().to_owned();
    assert_eq!(verify(&text(&signature)), Ok(claims()));
    let mut carry = 0;
    for (byte, more) in signature[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(more) + carry;
        (*byte, carry) = (sum.to_le_bytes()[0], sum >> 8);
    }
    assert_eq!(verify(&text(&signature)), Err(Unverified::Signature.to_string()), "the same scalar, written longer");
}

#[test]
fn nothing_is_verified_under_a_key_that_anybody_signs_for() {
    // Of the neutral point every multiple is itself, so that it satisfies the equation for each message, with the scalar 0.
    let mut neutral = [0; PUBLIC_KEY_BYTES];
    neutral[0] = 1;
    let weak = Arc::new(TokenKey::new("weak", neutral).unwrap());
    let input = claims().signing_input(&weak).unwrap();
    let forged = Presented::assemble(&input, &[neutral, [0; 32]].concat()).unwrap();
    assert_eq!(forged.verify(&[weak]), Err(Unverified::Signature));
    // Bytes that encode no point at all.
    let none = Arc::new(TokenKey::new("none", [2; PUBLIC_KEY_BYTES]).unwrap());
    let input = claims().signing_input(&none).unwrap();
    let presented = Presented::assemble(&input, pair(1).sign(input.as_bytes()).as_ref()).unwrap();
    assert_eq!(presented.verify(&[none]), Err(Unverified::Signature));
}

#[test]
fn a_credential_holds_from_a_minute_before_its_beginning_to_its_end() {
    let at = |seconds: i64, millis: i64| UnixMillis::new(seconds * 1_000 + millis);
    let end = ISSUED + 3_600;
    for (now, expect) in [
        (at(ISSUED, 0), Ok(())),
        (at(ISSUED - 60, 0), Ok(())),
        (at(ISSUED - 60, -1), Err(Untimely::Early)),
        (at(end, -1), Ok(())),
        (at(end, 0), Err(Untimely::Expired)),
        (at(i64::MAX / 1_000, 0), Err(Untimely::Expired)),
    ] {
        assert_eq!(claims().check(now), expect, "{now:?}");
    }
    for (issued, expires, expect) in [
        (ISSUED, ISSUED + LIFE_SECONDS_MAX, Ok(())),
        (ISSUED, ISSUED + LIFE_SECONDS_MAX + 1, Err(Untimely::Long)),
        (ISSUED + 7_200, ISSUED + 3_600, Err(Untimely::Long)),
        (i64::MIN, i64::MAX, Err(Untimely::Long)),
    ] {
        assert_eq!(Claims { issued, expires, ..claims() }.check(at(ISSUED, 0)), expect, "{issued} {expires}");
    }
}

fn world() -> Snapshot {
    let (customer, team) = (CustomerId::from_ulid(ULID).unwrap(), TeamId::from_ulid(ULID).unwrap());
    Snapshot::default().next(
        1,
        vec![
            Object::Customer(Customer { id: customer.clone(), name: "acme".into(), disabled: false, quota: None }),
            Object::Team(Team {
                id: team,
                name: "platform".into(),
                customer,
                disabled: false,
                quota: None,
                providers: [].into(),
                regions: Patterns::default(),
            }),
            Object::User(User { id: claims().user, name: "ada".into(), disabled: false, quota: None }),
            Object::Key(key()),
            Object::TokenKey(token_key("one", 1)),
            Object::TokenKey(token_key("two", 2)),
        ],
        vec![],
    )
}

fn key() -> Key {
    Key {
        id: claims().key,
        name: "dev".into(),
        hash: KeyHash::new([1; 32]),
        team: TeamId::from_ulid(ULID).unwrap(),
        user: Some(claims().user),
        revoked: false,
        expires: None,
        models: Patterns::default(),
        providers: Arc::new([]),
        credentials: Arc::new([]),
        quota: None,
        audit: AuditMode::Required,
        regions: Patterns::default(),
        tools: crate::mcp::Access::default(),
        tool_rules: std::sync::Arc::default(),
    }
}

fn admitted(snapshot: &Snapshot, seconds: i64) -> Result<Caller, Refusal> {
    let verified = Arc::new(signed(&claims()).verify(snapshot.token_keys()).unwrap());
    authenticate_credential(snapshot, UnixMillis::new(seconds * 1_000), &verified)
}

#[test]
fn a_credential_acts_as_its_users_own_key_while_everything_above_it_stands() {
    let world = world();
    let caller = admitted(&world, ISSUED).unwrap();
    assert_eq!((caller.key(), caller.credential()), (&key(), Some(&claims())));
    let attribution = caller.attribution("".into(), "".into(), "".into());
    assert_eq!((attribution.key, attribution.user), (claims().key, Some(claims().user)));
    let put = |object: Object| world.next(2, vec![object], vec![]);
    let gone = |object: ObjectRef| world.next(2, vec![], vec![object]);
    let user = User { id: claims().user, name: "ada".into(), disabled: true, quota: None };
    let ended = EndedSession { id: claims().session, until: UnixMillis::new(0) };
    let other = Some(UserId::from_ulid(OTHER).unwrap());
    let team = world.team(&key().team).unwrap().clone();
    let customer = world.customer(&team.customer).unwrap().clone();
    for (name, snapshot, kind, words) in [
        ("session", put(Object::EndedSession(ended)), RefusalKind::KeyRevoked, "tollgate login"),
        ("user off", put(Object::User(user)), RefusalKind::OwnerDisabled, "user"),
        ("user gone", gone(ObjectRef::User(claims().user)), RefusalKind::OwnerDisabled, "user"),
        ("key gone", gone(ObjectRef::Key(key().id)), RefusalKind::KeyRevoked, "tollgate token"),
        ("key of another", put(Object::Key(Key { user: other, ..key() })), RefusalKind::KeyRevoked, "not yours"),
        ("key of nobody", put(Object::Key(Key { user: None, ..key() })), RefusalKind::KeyRevoked, "not yours"),
        ("key revoked", put(Object::Key(Key { revoked: true, ..key() })), RefusalKind::KeyRevoked, "revoked"),
        (
            "key expired",
            put(Object::Key(Key { expires: Some(UnixMillis::new(1)), ..key() })),
            RefusalKind::KeyExpired,
            "expired",
        ),
        ("team off", put(Object::Team(Team { disabled: true, ..team })), RefusalKind::OwnerDisabled, "team"),
        (
            "customer off",
            put(Object::Customer(Customer { disabled: true, ..customer })),
            RefusalKind::OwnerDisabled,
            "customer",
        ),
        ("signer gone", gone(ObjectRef::TokenKey("one".into())), RefusalKind::Unauthenticated, "tollgate token"),
        ("signer replaced", put(Object::TokenKey(token_key("one", 3))), RefusalKind::Unauthenticated, "tollgate token"),
    ] {
        let refusal = reconsider(&snapshot, UnixMillis::new(ISSUED * 1_000), &caller).expect_err(name);
        assert_eq!(refusal.kind(), kind, "{name}");
        assert!(refusal.public().contains(words), "{name}: {}", refusal.public());
    }
}

#[test]
fn a_key_that_is_rotated_or_changed_keeps_its_credentials() {
    let world = world();
    let caller = admitted(&world, ISSUED).unwrap();
    let changed = Key { hash: KeyHash::new([2; 32]), models: Patterns::parse(&["claude-*"]).unwrap(), ..key() };
    let next = world.next(2, vec![Object::Key(changed.clone())], vec![ObjectRef::TokenKey("two".into())]);
    let again = readmit(&next, UnixMillis::new(ISSUED * 1_000), &caller).unwrap();
    assert_eq!((again.key(), again.credential()), (&changed, Some(&claims())));
    let forgotten = world
        .next(2, vec![Object::EndedSession(EndedSession { id: claims().session, until: UnixMillis::new(1) })], vec![])
        .next(3, vec![], vec![ObjectRef::EndedSession(claims().session)]);
    assert!(reconsider(&forgotten, UnixMillis::new(ISSUED * 1_000), &caller).is_ok());
    for (seconds, kind, words) in [
        (ISSUED + 3_600, RefusalKind::KeyExpired, "Run `tollgate token` again"),
        (ISSUED - 61, RefusalKind::Unauthenticated, "not hold yet"),
    ] {
        let refusal = admitted(&world, seconds).expect_err("refused");
        assert_eq!(refusal.kind(), kind);
        assert!(refusal.public().contains(words), "{}", refusal.public());
    }
}
