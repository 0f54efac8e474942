//! What a developer's agent does, over HTTP.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::must;

/// The model that tests ask for; it has a price in the catalogue.
pub const MODEL: &str = "claude-sonnet-5-5";

/// An HTTP client that follows no redirects and waits as long as a test does.
#[must_use]
pub fn http() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder =
        reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(Duration::from_secs(60));
    must("client", builder.no_proxy().build())
}

/// The body of a Messages request with this text.
#[must_use]
pub fn message(text: &str, stream: bool) -> Vec<u8> {
    json!({
        "model": MODEL,
        "max_tokens": 256,
        "stream": stream,
        "messages": [{"role": "user", "content": text}],
    })
    .to_string()
    .into_bytes()
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, as far as it came.
    pub body: Vec<u8>,
    /// Whether the body came to a proper end.
    pub ended: bool,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The sentence of an error in Anthropic's envelope.
    #[must_use]
    pub fn sentence(&self) -> String {
        self.json()["error"]["message"].as_str().unwrap_or_default().to_owned()
    }

    /// A header as text; empty when it is missing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// Sends a Messages request under a key and reads the whole answer.
pub async fn send(http: &reqwest::Client, proxy: &str, key: &str, body: Vec<u8>) -> Answer {
    let request = http.post(format!("{proxy}/v1/messages")).bearer_auth(key).header("anthropic-version", "2023-06-01");
    read(request.header("content-type", "application/json").body(body)).await
}

/// Sends a Messages request whose answer the simulator shapes by these settings (`simulator/README.md`).
pub async fn simulate(
    http: &reqwest::Client,
    proxy: &str,
    key: &str,
    stream: bool,
    settings: &[(&str, &str)],
) -> Answer {
    read(shaped(http, proxy, key, stream, settings)).await
}

/// A Messages request whose answer the simulator shapes by these settings, not yet sent.
pub fn shaped(
    http: &reqwest::Client,
    proxy: &str,
    key: &str,
    stream: bool,
    settings: &[(&str, &str)],
) -> reqwest::RequestBuilder {
    let request = http.post(format!("{proxy}/v1/messages")).bearer_auth(key).header("anthropic-version", "2023-06-01");
    let request = request.header("content-type", "application/json").body(message("Say hello.", stream));
    settings.iter().fold(request, |request, (name, value)| request.header(format!("x-simulator-{name}"), *value))
}

/// Sends a request and reads the whole answer.
///
/// # Panics
/// When not even a head comes back.
pub async fn read(request: reqwest::RequestBuilder) -> Answer {
    let mut response = must("an answer", request.send().await);
    let (status, headers, mut body) = (response.status(), response.headers().clone(), Vec::new());
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Answer { status, headers, body, ended: true },
            Err(_) => return Answer { status, headers, body, ended: false },
        }
    }
}
