//! An authorisation server that gives tokens to whoever has the right code and verifier.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// A running authorisation server. Dropping it ends it.
pub(super) struct Authority {
    pub(super) url: String,
    pub(super) seen: Arc<Mutex<Seen>>,
    _tasks: JoinSet<()>,
}

/// What it was asked.
#[derive(Default)]
pub(super) struct Seen {
    /// The challenge behind the code that was given.
    challenge: String,
    /// How many token pairs were given.
    given: u64,
    pub(super) refreshes: u64,
    pub(super) polls: u64,
    pub(super) exchanges: u64,
    pub(super) revoked: Vec<String>,
}

impl Authority {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Seen::default()));
        let mut tasks = JoinSet::new();
        let (at, shared) = (url.clone(), seen.clone());
        tasks.spawn(async move {
            let mut visitors = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                visitors.spawn(answer(stream, at.clone(), shared.clone()));
            }
        });
        Self { url, seen, _tasks: tasks }
    }
}

async fn answer(mut stream: TcpStream, url: String, seen: Arc<Mutex<Seen>>) {
    let Some((target, body)) = request(&mut stream).await else { return };
    let (status, location, document) = {
        let seen = &mut *seen.lock().unwrap();
        respond(&url, &target, &body, seen)
    };
    let text = document.to_string();
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n{location}\r\n", text.len());
    stream.write_all(format!("{head}{text}").as_bytes()).await.unwrap();
}

async fn request(stream: &mut TcpStream) -> Option<(String, String)> {
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length =
            head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ").map(str::to_owned));
        if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
            return Some((head.split(' ').nth(1)?.to_owned(), body.to_owned()));
        }
    }
}

pub(super) fn parameters(text: &str) -> BTreeMap<String, String> {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8().unwrap().into_owned();
    text.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect()
}

fn respond(url: &str, target: &str, body: &str, seen: &mut Seen) -> (&'static str, String, Value) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (query, form) = (parameters(query), parameters(body));
    let refused = |error: &str| ("400 Bad Request", String::new(), json!({ "error": error }));
    let given = |seen: &mut Seen| {
        seen.given += 1;
        let (access, refresh) = (format!("tgu_access-{}", seen.given), format!("tgr_{}", seen.given));
        let tokens =
            json!({"access_token": access, "refresh_token": refresh, "token_type": "Bearer", "expires_in": 900});
        ("200 OK", String::new(), tokens)
    };
    match path {
        "/.well-known/oauth-authorization-server" => {
            let at = |path: &str| format!("{url}/oauth/{path}");
            let endpoints = json!({
                "issuer": url, "authorization_endpoint": at("authorize"), "token_endpoint": at("token"),
                "device_authorization_endpoint": at("device_authorization"), "revocation_endpoint": at("revoke"),
            });
            ("200 OK", String::new(), endpoints)
        }
        "/oauth/authorize" => {
            assert_eq!(
                (query["code_challenge_method"].as_str(), query["client_id"].as_str()),
                ("S256", "tollgate-cli")
            );
            seen.challenge = query["code_challenge"].clone();
            let location = format!("location: {}?code=right&state={}\r\n", query["redirect_uri"], query["state"]);
            ("302 Found", location, Value::Null)
        }
        "/oauth/device_authorization" => {
            let device = json!({"device_code": "device", "user_code": "ABCD-EFGH", "verification_uri": format!("{url}/oauth/device"),
                "expires_in": 600, "interval": 0});
            ("200 OK", String::new(), device)
        }
        "/oauth/revoke" => {
            seen.revoked.push(form["token"].clone());
            ("200 OK", String::new(), Value::Null)
        }
        "/oauth/token" => match form["grant_type"].as_str() {
            "authorization_code" => {
                seen.exchanges += 1;
                let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(form["code_verifier"].as_bytes()));
                if form["code"] == "right" && challenge == seen.challenge {
                    given(seen)
                } else {
                    refused("invalid_grant")
                }
            }
            "refresh_token" => {
                seen.refreshes += 1;
                if form["refresh_token"] == format!("tgr_{}", seen.given) {
                    given(seen)
                } else {
                    refused("invalid_grant")
                }
            }
            _ => {
                seen.polls += 1;
                if seen.polls == 1 { refused("authorization_pending") } else { given(seen) }
            }
        },
        other => panic!("{other}"),
    }
}
