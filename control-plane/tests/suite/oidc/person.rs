//! A person with a browser, at the front door of a control plane.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::{Client, Response, Url, redirect};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::fake::{Fake, header};
use crate::world::World;

const CLI: &str = "http://127.0.0.1:9/callback";
const VERIFIER: &str = "0123456789012345678901234567890123456789012345678901";

/// A browser, and the command line that sent it.
pub(crate) struct Person {
    client: Client,
    base: String,
    pub(crate) cookie: String,
}

impl Person {
    pub(crate) fn new(world: &World) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().redirect(redirect::Policy::none()).build().unwrap();
        Self { client, base: format!("http://{}", world.http), cookie: String::new() }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Response {
        let url = format!("{}{path}", self.base);
        let answer = self.client.get(url).header("cookie", &self.cookie).send().await.unwrap();
        self.keep(answer)
    }

    pub(crate) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Response {
        self.post_from(path, fields, &self.base.clone()).await
    }

    pub(crate) async fn post_from(&mut self, path: &str, fields: &[(&str, &str)], origin: &str) -> Response {
        let body: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let request = self.client.post(format!("{}{path}", self.base)).header("cookie", &self.cookie);
        let request = request.header("origin", origin).header("content-type", "application/x-www-form-urlencoded");
        let answer = request.body(body.join("&")).send().await.unwrap();
        self.keep(answer)
    }

    fn keep(&mut self, answer: Response) -> Response {
        for line in answer.headers().get_all("set-cookie") {
            let pair = line.to_str().unwrap().split(';').next().unwrap();
            let name = pair.split('=').next().unwrap();
            let kept: Vec<_> = self
                .cookie
                .split("; ")
                .filter(|old| !old.is_empty() && !old.starts_with(&format!("{name}=")))
                .collect();
            self.cookie = [kept, vec![pair]].concat().join("; ");
        }
        answer
    }

    /// Begins at the command line.
    pub(crate) async fn ask(&mut self, issuer: &str) -> Response {
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
        let path = format!(
            "/oauth/authorize?response_type=code&client_id=tollgate-cli&redirect_uri={}&state=mine&code_challenge={challenge}\
             &code_challenge_method=S256&issuer={issuer}",
            encoded(CLI)
        );
        self.get(&path).await
    }

    /// The same; returns state and nonce as the issuer sees them.
    pub(crate) async fn begin(&mut self, issuer: &str) -> (String, String) {
        let asked = location(&self.ask(issuer).await);
        assert!(
            asked.contains_key("code_challenge") && asked["redirect_uri"].ends_with("/oauth/callback"),
            "{asked:?}"
        );
        (asked["state"].clone(), asked["nonce"].clone())
    }

    pub(crate) async fn come_back(&mut self, state: &str) -> Response {
        self.get(&format!("/oauth/callback?state={state}&code=idp-code")).await
    }

    pub(crate) async fn exchange(&mut self, code: &str) -> Response {
        let fields = [
            ("grant_type", "authorization_code"),
            ("client_id", "tollgate-cli"),
            ("code", code),
            ("redirect_uri", CLI),
            ("code_verifier", VERIFIER),
        ];
        self.post("/oauth/token", &fields).await
    }

    pub(crate) async fn refresh(&mut self, token: &str) -> Response {
        let fields = [("grant_type", "refresh_token"), ("client_id", "tollgate-cli"), ("refresh_token", token)];
        self.post("/oauth/token", &fields).await
    }

    pub(crate) async fn sign_in(
        &mut self,
        fake: &Fake,
        issuer: &str,
        change: impl FnOnce(&mut Map<String, Value>),
    ) -> Value {
        let (state, nonce) = self.begin(issuer).await;
        let mut claims = fake.claims(&nonce);
        change(claims.as_object_mut().unwrap());
        fake.give(&fake.sign(&header(), &claims));
        let back = location(&self.come_back(&state).await);
        assert_eq!(back["state"], "mine");
        let answer = self.exchange(&back["code"]).await;
        assert_eq!(answer.status(), 200);
        answer.json().await.unwrap()
    }

    /// Signs the browser itself in, as subject-1, and returns its cookie.
    pub(crate) async fn log_in(&mut self, fake: &Fake) -> String {
        let begun = location(&self.get("/login?next=/logout").await);
        fake.give(&fake.sign(&header(), &fake.claims(&begun["nonce"])));
        assert_eq!(self.come_back(&begun["state"]).await.headers()["location"], "/logout");
        self.session_cookie().to_owned()
    }

    pub(crate) fn session_cookie(&self) -> &str {
        self.cookie.split("; ").find_map(|pair| pair.strip_prefix("tollgate=")).unwrap_or_default()
    }

    /// The form of the page that signs out.
    pub(crate) async fn log_out(&mut self) -> Response {
        let page = self.get("/logout").await.text().await.unwrap();
        let form_token = page.split("value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        self.post("/logout", &[("form_token", &form_token)]).await
    }

    pub(crate) async fn is_signed_in(&mut self) -> bool {
        !self.get("/logout").await.text().await.unwrap().contains("not signed in")
    }
}

pub(crate) fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

pub(crate) fn location(answer: &Response) -> std::collections::HashMap<String, String> {
    let location = answer.headers().get("location").unwrap_or_else(|| panic!("{answer:?}")).to_str().unwrap();
    Url::parse(location).unwrap().query_pairs().into_owned().collect()
}

pub(crate) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}"))
}
