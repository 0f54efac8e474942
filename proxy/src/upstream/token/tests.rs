//! Tokens from a cloud of our own, which speaks the wire.

use std::{
    convert::Infallible,
    sync::atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use tokio::{net::TcpListener, task::JoinSet};
use tollgate_policy::{id::ProviderId, pattern::Patterns, provider::Dialect};

use super::*;

const KEY: &str = include_str!("key.pem");
const NOW: UnixMillis = UnixMillis::new(1_700_000_000_000);

/// A cloud that gives a token with the number of the request, and remembers what it was asked.
struct Cloud {
    url: String,
    asked: Arc<Mutex<Vec<(String, String)>>>,
    _tasks: JoinSet<()>,
}

impl Cloud {
    async fn start(status: u16) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
        let (seen, count) = (Arc::clone(&asked), Arc::new(AtomicUsize::new(0)));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, count) = (Arc::clone(&seen), Arc::clone(&count));
                let service = service_fn(move |request: Request<Incoming>| {
                    let (seen, count) = (Arc::clone(&seen), Arc::clone(&count));
                    async move {
                        let path = request.uri().path().to_owned();
                        let body = request.into_body().collect().await.unwrap().to_bytes();
                        seen.lock().unwrap().push((path, String::from_utf8_lossy(&body).into_owned()));
                        let number = count.fetch_add(1, Ordering::Relaxed);
                        let text =
                            format!(r#"{{"access_token":"token-{number}","expires_in":3600,"token_type":"Bearer"}}"#);
                        let answer = Response::builder().status(status).body(Full::new(Bytes::from(text))).unwrap();
                        Ok::<_, Infallible>(answer)
                    }
                });
                connections.spawn(async move {
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { url, asked, _tasks: tasks }
    }

    fn account(&self) -> Secret {
        let account = json!({
            "type": "service_account", "client_email": "gate@acme.example", "private_key": KEY, "token_uri": format!("{}/token", self.url),
        });
        Secret::new(account.to_string())
    }
}

fn provider(auth: Auth, allow_private: bool) -> Provider {
    Provider {
        id: ProviderId::from_ulid("01k9zq3v5m8c4t2n7r6x0w1y9b").unwrap(),
        name: "cloud".into(),
        dialect: Dialect::Gemini,
        base_url: "https://cloud.example".into(),
        allow_private,
        models: Patterns::default(),
        vendor: "google".into(),
        disabled: false,
        priority: 0,
        credentials: vec![],
        auth,
        region: "".into(),
        quirks: [].into(),
    }
}

fn credential() -> CredentialId {
    CredentialId::from_ulid("01k9zq3v5m8c4t2n7r6x0w1y9c").unwrap()
}

#[tokio::test]
async fn a_service_account_is_exchanged_for_a_token_once() {
    let cloud = Cloud::start(200).await;
    let (tokens, provider, secret) = (Tokens::default(), provider(Auth::Google, true), cloud.account());
    for _ in 0..2 {
        let shown = tokens.shown(&provider, &credential(), &secret, NOW).await.unwrap();
        assert_eq!(shown.expose(), "token-0");
    }
    let asked = cloud.asked.lock().unwrap().clone();
    let [(path, body)] = asked.as_slice() else { panic!("{asked:?}") };
    assert_eq!(path, "/token");
    let assertion =
        body.split("assertion=").nth(1).unwrap().replace("%2E", ".").replace("%2D", "-").replace("%5F", "_");
    let parts: Vec<&str> = assertion.split('.').collect();
    let claims: serde_json::Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    assert_eq!(
        (&claims["iss"], &claims["iat"], &claims["exp"]),
        (&json!("gate@acme.example"), &json!(1_700_000_000), &json!(1_700_003_600))
    );
    assert_eq!(claims["aud"], format!("{}/token", cloud.url));
    let key = PrivatePkcs8KeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
    let pair = RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).unwrap();
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public().as_ref());
    let signed = format!("{}.{}", parts[0], parts[1]);
    public.verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(parts[2]).unwrap()).unwrap();
}

#[tokio::test]
async fn a_rotated_secret_has_another_token_and_a_static_one_none() {
    let cloud = Cloud::start(200).await;
    let (tokens, google) = (Tokens::default(), provider(Auth::Google, true));
    let first = tokens.shown(&google, &credential(), &cloud.account(), NOW).await.unwrap();
    let rotated = Secret::new(cloud.account().expose().replace("gate@", "other@"));
    let second = tokens.shown(&google, &credential(), &rotated, NOW).await.unwrap();
    assert_eq!((first.expose(), second.expose()), ("token-0", "token-1"));
    let plain =
        tokens.shown(&provider(Auth::Bearer, true), &credential(), &Secret::new("sk".into()), NOW).await.unwrap();
    assert_eq!(plain.expose(), "sk");
}

#[tokio::test]
async fn the_machine_and_an_application_are_asked_for_as_their_clouds_say() {
    let cloud = Cloud::start(200).await;
    let tokens = Tokens::default();
    assert_eq!(tokens.of_machine(&cloud.url).await.unwrap().access_token, "token-0");
    assert_eq!(tokens.entra(&cloud.url, "acme.example:app:s:e&cret").await.unwrap().access_token, "token-1");
    let asked = cloud.asked.lock().unwrap().clone();
    assert_eq!(asked[0].0, "/computeMetadata/v1/instance/service-accounts/default/token");
    assert_eq!(asked[1].0, "/acme.example/oauth2/v2.0/token");
    assert!(asked[1].1.contains("client_id=app&client_secret=s%3Ae%26cret&scope="), "{}", asked[1].1);
}

#[tokio::test]
async fn what_gives_no_token_says_why_and_never_the_secret() {
    let cloud = Cloud::start(403).await;
    let tokens = Tokens::default();
    let https_only = provider(Auth::Google, false);
    for (provider, secret, expect) in [
        (provider(Auth::Google, true), cloud.account(), "token refused with status 403"),
        (https_only, cloud.account(), "credential is not of an account whose `token_uri` is https"),
        (
            provider(Auth::Google, true),
            Secret::new("hunter2".into()),
            "credential is not the JSON key of a service account, or `metadata`",
        ),
        (
            provider(Auth::Entra, true),
            Secret::new("hunter2".into()),
            "credential is not of the form <tenant>:<client id>:<client secret>",
        ),
        (
            provider(Auth::Entra, true),
            Secret::new("a/b:c:hunter2".into()),
            "credential is not of a tenant that is an id or a domain",
        ),
    ] {
        let error = tokens.shown(&provider, &credential(), &secret, NOW).await.err().unwrap().to_string();
        assert_eq!(error, expect);
    }
}
