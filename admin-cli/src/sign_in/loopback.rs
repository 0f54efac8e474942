//! Signing in by a browser on this machine: the code flow with PKCE (RFC 7636), which ends at a listener of this program
//! (RFC 8252).

use std::{collections::BTreeMap, net::Ipv4Addr, process::Stdio, time::Duration};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use percent_encoding::percent_decode_str;
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    process::Command,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::authority::{Authority, CLIENT_ID, Refused, Tokens};
use crate::{
    failure::{Failure, written},
    surroundings::Surroundings,
};

/// How long a person may take.
const PATIENCE: Duration = Duration::from_secs(5 * 60);
/// How long a visitor may take to say what it wants.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest head of a request: a code and a state are some hundred bytes, a browser's headers a few thousand.
const REQUEST_BYTES_MAX: usize = 16 * 1024;
/// The most visitors at once: browsers open some connections ahead.
const VISITORS_MAX: usize = 16;

/// A listener that awaits the browser.
struct Loopback {
    listener: TcpListener,
    redirect_uri: String,
}

/// What this run alone knows.
struct Proof {
    state: String,
    verifier: String,
}

/// Signs in.
pub(crate) async fn sign_in(
    authority: &Authority,
    issuer: Option<&str>,
    surroundings: &mut Surroundings<'_>,
) -> Result<Tokens, Failure> {
    let loopback = Loopback::bind().await?;
    let proof = Proof { state: random()?, verifier: random()? };
    let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(proof.verifier.as_bytes()));
    let mut parameters = vec![
        ("response_type", "code"),
        ("client_id", CLIENT_ID),
        ("redirect_uri", loopback.redirect_uri.as_str()),
        ("code_challenge", challenge.as_str()),
        ("code_challenge_method", "S256"),
        ("state", proof.state.as_str()),
    ];
    parameters.extend(issuer.map(|issuer| ("issuer", issuer)));
    let address = authority.authorize_url(&parameters);
    written(writeln!(surroundings.stderr, "sign in at:\n  {address}").and_then(|()| surroundings.stderr.flush()))?;
    // Whether a browser opens or not, the address stands there.
    open(&address, surroundings);
    let code = loopback.code(&proof.state).await?;
    let parameters = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", loopback.redirect_uri.as_str()),
        ("client_id", CLIENT_ID),
        ("code_verifier", proof.verifier.as_str()),
    ];
    authority.token(&parameters).await?.map_err(|refused| refused.failure("the sign-in was refused"))
}

// 32 bytes: more than anybody guesses, and 43 characters, the shortest verifier that RFC 7636 allows.
fn random() -> Result<String, Failure> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(|_| Failure::new("internal", "the system has no random numbers to give"))?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

fn open(address: &str, surroundings: &Surroundings<'_>) {
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    // BROWSER is a list, each entry a command with or without a place for the address.
    let chosen = surroundings.variable("BROWSER").and_then(|list| list.split(':').find(|entry| !entry.is_empty()));
    let mut words = chosen.unwrap_or(opener).split_whitespace();
    let Some(program) = words.next() else { return };
    let arguments: Vec<&str> = words.filter(|word| *word != "%s").chain([address]).collect();
    let spawned =
        Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    drop(spawned);
}

// === impl Loopback ===

impl Loopback {
    async fn bind() -> Result<Self, Failure> {
        let bound = async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let redirect_uri = format!("http://{}/callback", listener.local_addr()?);
            Ok(Self { listener, redirect_uri })
        };
        bound.await.map_err(unheard)
    }

    /// Awaits the browser that brings the code under the right state. Whoever else comes is turned away.
    async fn code(&self, state: &str) -> Result<String, Failure> {
        let mut visitors = JoinSet::new();
        let end = sleep(PATIENCE);
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => {
                    return Err(Failure::new("deadline_exceeded", "nobody signed in within 5 minutes")
                        .hint("on a machine without a browser: tollgate login --device"));
                }
                visitor = self.listener.accept(), if visitors.len() < VISITORS_MAX => {
                    let (stream, _) = visitor.map_err(unheard)?;
                    let state = state.to_owned();
                    visitors.spawn(async move { timeout(REQUEST_TIMEOUT, received(stream, &state)).await.ok().flatten() });
                }
                Some(visit) = visitors.join_next() => {
                    if let Ok(Some(outcome)) = visit {
                        return outcome.map_err(|refused| refused.failure("the sign-in was refused"));
                    }
                }
            }
        }
    }
}

fn unheard(error: std::io::Error) -> Failure {
    Failure::new("unavailable", format!("cannot listen for the browser on 127.0.0.1: {error}"))
        .hint("sign in on another device: tollgate login --device")
}

// What a visitor brought; `None` for one that is not the browser with the answer.
async fn received(mut stream: TcpStream, state: &str) -> Option<Result<String, Refused>> {
    let target = target(&mut stream).await?;
    let outcome = outcome(&target, state);
    let (status, text) = match &outcome {
        Some(Ok(_)) => ("200 OK", "You are signed in. Close this window and go back to the terminal."),
        Some(Err(_)) => ("200 OK", "The sign-in was refused. The terminal says why."),
        None => ("400 Bad Request", "This is not the answer to the sign-in that was begun."),
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\ncache-control: no-store\r\n\
         referrer-policy: no-referrer\r\nx-content-type-options: nosniff\r\nconnection: close\r\n\r\n{text}",
        text.len()
    );
    // The code is there, whether or not the browser waits for its page.
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
    outcome
}

async fn target(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        if head.len() > REQUEST_BYTES_MAX || stream.read_buf(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    let head = String::from_utf8(head).ok()?;
    let mut words = head.lines().next()?.split(' ');
    let target = (words.next()? == "GET").then(|| words.next())??;
    Some(target.to_owned())
}

fn outcome(target: &str, state: &str) -> Option<Result<String, Refused>> {
    let query = target.strip_prefix("/callback?")?;
    let mut parameters: BTreeMap<String, String> = query.split('&').filter_map(parameter).collect();
    if parameters.get("state").map(String::as_str) != Some(state) {
        return None;
    }
    match (parameters.remove("error"), parameters.remove("code")) {
        (Some(error), _) => {
            let error_description = parameters.remove("error_description").unwrap_or_default();
            Some(Err(Refused { error, error_description }))
        }
        (None, code) => code.filter(|code| !code.is_empty()).map(Ok),
    }
}

fn parameter(pair: &str) -> Option<(String, String)> {
    let (name, value) = pair.split_once('=')?;
    let decoded = |text: &str| Some(percent_decode_str(&text.replace('+', " ")).decode_utf8().ok()?.into_owned());
    Some((decoded(name)?, decoded(value)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_under_its_state_alone() {
        let check = |target: &str, expect: Option<Result<&str, &str>>| {
            let found = outcome(target, "right").map(|found| found.map_err(|refused| refused.error_description));
            assert_eq!(found.as_ref().map(|found| found.as_deref().map_err(String::as_str)), expect, "{target}");
        };
        check("/callback?code=a%2Fb&state=right", Some(Ok("a/b")));
        check("/callback?error=access_denied&error_description=not+you&state=right", Some(Err("not you")));
        check("/callback?code=a&state=wrong", None);
        check("/callback?code=a", None);
        check("/callback?code=&state=right", None);
        check("/favicon.ico?code=a&state=right", None);
    }
}
