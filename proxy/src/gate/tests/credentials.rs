//! Developers' short-lived credentials, through all rooms.

use ring::signature::{Ed25519KeyPair, KeyPair as _};
use tollgate_policy::{
    credential::{Claims, Presented, TokenKey},
    id::{SessionId, UserId},
    snapshot::{EndedSession, User},
};

use super::*;

fn user(last: char) -> UserId {
    UserId::from_ulid(&format!("{ULID}{last}")).unwrap()
}

fn pair() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap()
}

fn token_key(id: &str) -> TokenKey {
    TokenKey::new(id, pair().public_key().as_ref().try_into().unwrap()).unwrap()
}

fn claims() -> Claims {
    let now = clock::wall().get() / 1_000;
    Claims {
        user: user('v'),
        key: KeyId::from_ulid(&format!("{ULID}k")).unwrap(),
        session: SessionId::from_ulid(&format!("{ULID}s")).unwrap(),
        issued: now,
        not_before: now,
        expires: now + 900,
        id: "01k9".into(),
    }
}

fn signed(claims: &Claims, kid: &str) -> String {
    let input = claims.signing_input(&token_key(kid)).unwrap();
    Presented::assemble(&input, pair().sign(input.as_bytes()).as_ref()).unwrap().expose().to_owned()
}

impl Stand {
    // Puts objects into the policy, and returns how many visits were cut.
    pub(super) fn put(&self, objects: Vec<Object>) -> usize {
        let current = self.holder.load().unwrap();
        let snapshot = current.snapshot.next(current.snapshot.revision() + 1, objects, vec![]);
        self.hold(snapshot)
    }

    // A stand whose key is the user's, and which knows who signs credentials.
    async fn with_credentials() -> Self {
        let stand = Self::new(&["sk-one"]).await;
        let key = stand.holder.load().unwrap().snapshot.key_by_id(&claims().key).unwrap().as_ref().clone();
        stand.put(vec![
            Object::User(User { id: user('v'), name: "ada".into(), disabled: false, quota: None }),
            Object::User(User { id: user('w'), name: "bob".into(), disabled: false, quota: None }),
            Object::Key(Key { user: Some(user('v')), ..key }),
            Object::TokenKey(token_key("one")),
        ]);
        stand
    }
}

#[tokio::test]
async fn a_credential_acts_as_the_key_and_never_reaches_the_provider() {
    let stand = Stand::with_credentials().await;
    let credential = signed(&claims(), "one");
    for header in ["x-api-key", "authorization"] {
        let value = if header == "authorization" { format!("Bearer {credential}") } else { credential.clone() };
        let mut request = Request::post(format!("http://{}/v1/messages", stand.address)).header(header, value);
        request = request.header("content-type", "application/json");
        let client = Client::builder(TokioExecutor::new()).build_http();
        let answer = client.request(request.body(Full::new(Bytes::from(BODY))).unwrap()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{header}");
    }
    for seen in stand.asked() {
        assert_eq!(seen.headers["x-api-key"], "sk-one");
        assert!(!seen.headers.values().any(|value| value.as_bytes().windows(4).any(|part| part == b"tgt_")));
    }
    let records = stand.records().await;
    assert_eq!(records.len(), 2);
    assert!(records.iter().all(|record| record.key == claims().key.as_str() && record.user == user('v').as_str()));
}

#[tokio::test]
async fn what_is_not_a_good_credential_is_refused_and_says_what_to_do() {
    let stand = Stand::with_credentials().await;
    let now = claims().issued;
    let good = signed(&claims(), "one");
    let other_signature = signed(&Claims { expires: now + 60, ..claims() }, "one");
    let spliced = format!("{}.{}", good.rsplit_once('.').unwrap().0, other_signature.rsplit_once('.').unwrap().1);
    for (name, credential, words) in [
        ("other kid", signed(&claims(), "two"), "tollgate token"),
        ("truncated", good[..good.len() - 1].to_owned(), "tollgate token"),
        ("signature of another", spliced, "tollgate token"),
        ("expired", signed(&Claims { issued: now - 60, expires: now - 1, ..claims() }, "one"), "has expired"),
        ("early", signed(&Claims { not_before: now + 120, ..claims() }, "one"), "not hold yet"),
        ("too long", signed(&Claims { expires: now + 13 * 3_600, ..claims() }, "one"), "tollgate token"),
        ("key of another", signed(&Claims { user: user('w'), ..claims() }, "one"), "not yours"),
    ] {
        let answer = stand.send("/v1/messages", BODY, &[("x-api-key", &credential)]).await;
        assert_eq!(answer.status, 401, "{name}: {}", answer.text);
        assert!(answer.text.contains(words), "{name}: {}", answer.text);
        assert!(!answer.text.contains("tgt_") && answer.headers["x-should-retry"] == "false", "{name}");
    }
    assert!(stand.asked().is_empty());
}

#[tokio::test]
async fn an_ended_session_and_a_disabled_user_cut_what_is_open() {
    let ended = Object::EndedSession(EndedSession { id: claims().session, until: UnixMillis::new(1) });
    let disabled = Object::User(User { id: user('v'), name: "ada".into(), disabled: true, quota: None });
    for (object, words) in [(ended, "tollgate login"), (disabled, "disabled")] {
        let stand = Stand::with_credentials().await;
        let credential = signed(&claims(), "one");
        let headers = [("x-script", "hang"), ("x-api-key", credential.as_str())];
        let waiting = stand.send("/v1/messages", BODY, &headers);
        let cutting = async {
            while stand.asked().is_empty() {
                tokio::task::yield_now().await;
            }
            stand.put(vec![object])
        };
        let (answer, cut) = tokio::join!(waiting, cutting);
        assert_eq!(cut, 1, "{words}");
        assert!((400..500).contains(&answer.status) && answer.text.contains(words), "{words}: {}", answer.text);
        let again = stand.send("/v1/messages", BODY, &[("x-api-key", &credential)]).await;
        assert!(again.text.contains(words), "it is remembered, and decided all the same: {}", again.text);
        assert_eq!(stand.asked().len(), 1);
    }
}
