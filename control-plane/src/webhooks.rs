//! Delivers alerts to the webhook, signed in the form of Standard Webhooks (<https://www.standardwebhooks.com>):
//!
//! ```text
//! webhook-id: msg_..                 the same however often an alert is sent, so that the receiver can tell
//! webhook-timestamp: 1764100000      when this attempt was made, in Unix seconds
//! webhook-signature: v1,<base64 of HMAC-SHA256 of "id.timestamp.body">
//! ```
//!
//! An alert waits in the database until the receiver answers 2xx. Of several control planes one takes it for an attempt, by
//! moving the instant ahead at which it is due.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::future::join_all;
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::{Client, Url, redirect};
use serde_json::{Map, json};
use sha2::Sha256;
use tokio::{sync::Notify, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tollgate_audit::{Entry, Facts, Outcome};
use tollgate_settings::Secret;
use zeroize::Zeroizing;

use crate::{
    audit, clock,
    config::Config,
    store::{Store, StoreError, deliveries::Delivery},
};

/// How often is looked for alerts that are due: those of other control planes, and those that are tried again.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Alerts that are sent at a time.
const DELIVERIES_MAX: i64 = 16;
/// How long the receiver may take.
const ATTEMPT_MAX: Duration = Duration::from_secs(10);
/// For so long an alert that is being sent is not due to others, in milliseconds: an attempt, and the writing of its end.
const CLAIM_MS: i64 = 60_000;
/// The pause after the first failure, in milliseconds; it doubles, and up to a quarter of it is added by chance.
const PAUSE_MS_FIRST: i64 = 5_000;
/// The longest pause, in milliseconds.
const PAUSE_MS_MAX: i64 = 3_600_000;
/// An alert that was not delivered for so long is given up, in milliseconds: three days.
const LIFE_MS: i64 = 3 * 24 * 3_600_000;
/// The shortest secret, in bytes, as Standard Webhooks has it.
const SECRET_BYTES_MIN: usize = 24;
/// How a secret begins whose rest is base64.
const SECRET_PREFIX: &str = "whsec_";

/// Delivers alerts.
#[derive(Debug)]
pub struct Webhooks {
    store: Store,
    receiver: Receiver,
    due: Arc<Notify>,
}

struct Receiver {
    client: Client,
    url: Url,
    key: Zeroizing<Vec<u8>>,
}

/// Why alerts cannot be delivered.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// A setting is wrong.
    #[error("{name} {problem}")]
    Setting {
        /// Which one.
        name: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The HTTP client.
    #[error("failed to make the client of the webhook")]
    Client(#[from] reqwest::Error),
}

/// Reads where alerts are delivered.
///
/// # Errors
/// Continues the sentence that the setting begins.
pub fn address(url: &Secret) -> Result<Url, &'static str> {
    let url = Url::parse(url.expose()).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    url.ok_or("must be a URL that begins with http:// or https://")
}

/// Reads the key that signs alerts.
///
/// # Errors
/// As [`address`].
pub fn signing_key(secret: &Secret) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    let key = match secret.expose().strip_prefix(SECRET_PREFIX) {
        Some(text) => STANDARD.decode(text).map_err(|_| "must have base64 behind whsec_")?,
        None => secret.expose().as_bytes().to_vec(),
    };
    if key.len() < SECRET_BYTES_MIN {
        return Err("must be at least 24 bytes");
    }
    Ok(Zeroizing::new(key))
}

// === impl Webhooks ===

impl Webhooks {
    /// The webhook of a configuration, if it has one, and what wakes it.
    ///
    /// # Errors
    /// When a setting is wrong or no client can be made.
    pub fn open(config: &Config, store: &Store) -> Result<Option<Self>, WebhookError> {
        let (Some(url), Some(secret)) = (&config.webhook_url, &config.webhook_secret) else { return Ok(None) };
        let url = address(url).map_err(|problem| WebhookError::Setting { name: "webhook_url", problem })?;
        let key = signing_key(secret).map_err(|problem| WebhookError::Setting { name: "webhook_secret", problem })?;
        // Another part may have installed the same provider: what counts is that there is one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().redirect(redirect::Policy::none()).timeout(ATTEMPT_MAX).build()?;
        let receiver = Receiver { client, url, key };
        Ok(Some(Self { store: store.clone(), receiver, due: Arc::default() }))
    }

    /// Is to be notified when an alert was stored.
    #[must_use]
    pub fn due(&self) -> Arc<Notify> {
        Arc::clone(&self.due)
    }

    /// Delivers until `stop` is cancelled. An attempt that is cut short is made again by whoever finds it due.
    pub async fn run(self, stop: CancellationToken) {
        let mut poll = tokio::time::interval(POLL_INTERVAL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.due.notified() => {}
                _ = poll.tick() => {}
            }
            let turn = tokio::select! {
                () = stop.cancelled() => return,
                turn = self.turn() => turn,
            };
            if let (Err(error), false) = (&turn, failing) {
                tracing::error!(%error, "failed to deliver alerts");
            }
            failing = turn.is_err();
        }
    }

    async fn turn(&self) -> Result<(), StoreError> {
        loop {
            let claimed = self.claim().await?;
            if claimed.is_empty() {
                return Ok(());
            }
            let ended = join_all(claimed.iter().map(|delivery| self.deliver(delivery))).await;
            ended.into_iter().collect::<Result<(), _>>()?;
        }
    }

    async fn claim(&self) -> Result<Vec<Delivery>, StoreError> {
        let now = clock::now_ms();
        let mut txn = self.store.begin_read().await?;
        let due = txn.deliveries_due(now, DELIVERIES_MAX).await?;
        txn.end().await?;
        if due.is_empty() {
            return Ok(due);
        }
        let mut claimed = Vec::with_capacity(due.len());
        let mut txn = self.store.begin().await?;
        for delivery in due {
            if txn.delivery_claim(&delivery, now + CLAIM_MS).await? {
                claimed.push(Delivery { attempts: delivery.attempts + 1, ..delivery });
            }
        }
        txn.commit().await?;
        Ok(claimed)
    }

    async fn deliver(&self, delivery: &Delivery) -> Result<(), StoreError> {
        let failure = self.receiver.send(delivery, clock::now_ms() / 1_000).await.err();
        let now = clock::now_ms();
        let mut txn = self.store.begin().await?;
        match failure {
            None => drop(txn.delivery_delete(&delivery.id).await?),
            Some(reason) if now - delivery.create_time >= LIFE_MS => {
                if txn.delivery_delete(&delivery.id).await? {
                    tracing::error!(id = delivery.id, reason, "gave an alert up");
                    audit::append(&mut txn, given_up(delivery, &reason, now)).await?;
                }
            }
            Some(reason) => {
                tracing::warn!(id = delivery.id, attempts = delivery.attempts, reason, "an alert was not delivered");
                txn.delivery_postpone(&delivery.id, now + pause(delivery.attempts)).await?;
            }
        }
        txn.commit().await
    }
}

fn given_up(delivery: &Delivery, reason: &str, now: i64) -> Entry {
    let Delivery { id, attempts, body, .. } = delivery;
    let alert: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    let detail: Map<_, _> =
        [("id", json!(id)), ("attempts", json!(attempts)), ("reason", json!(reason)), ("alert", alert)]
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
    let facts = Facts { initiator: "system", target: "fleet", detail, ..Facts::default() };
    Entry::new(now, "webhook.drop", Outcome::Failed, facts)
}

fn pause(attempts: i64) -> i64 {
    let doubled = PAUSE_MS_FIRST << (attempts - 1).clamp(0, 10);
    let longest = doubled.min(PAUSE_MS_MAX);
    let chance = i64::from(getrandom::u32().unwrap_or_default());
    (longest + chance % (longest / 4)).min(PAUSE_MS_MAX)
}

// === impl Receiver ===

impl Receiver {
    // Why an attempt failed, for the log: never the URL, which may be secret.
    async fn send(&self, Delivery { id, body, .. }: &Delivery, timestamp: i64) -> Result<(), String> {
        let signature = signature(&self.key, id, timestamp, body).ok_or("the secret is not a key")?;
        let request = self
            .client
            .post(self.url.clone())
            .header("content-type", "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(body.clone());
        let answer = request.send().await.map_err(|error| error.without_url().to_string())?;
        let status = answer.status();
        if status.is_success() { Ok(()) } else { Err(format!("the receiver answered {status}")) }
    }
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Receiver(***)")
    }
}

fn signature(key: &[u8], id: &str, timestamp: i64, body: &str) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
    Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    // The example of the specification.
    #[test]
    fn an_alert_is_signed_as_standard_webhooks_says() {
        let key = signing_key(&Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")).unwrap();
        let signed = signature(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signed.as_deref(), Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
    }

    #[test]
    fn pauses_grow_to_an_hour() {
        for (attempts, least, most) in [(1, 5_000, 6_250), (2, 10_000, 12_500), (8, 640_000, 800_000)] {
            assert!((least..most).contains(&pause(attempts)), "{attempts}");
        }
        assert_eq!((pause(11), pause(99)), (PAUSE_MS_MAX, PAUSE_MS_MAX));
    }
}
