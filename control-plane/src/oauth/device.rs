//! The device flow, RFC 8628: a command line without a browser shows a code, and its person types it where there is one. First
//! the person signs in, then they are asked whether the device is theirs.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Form,
    extract::{Query, State},
    response::IntoResponse,
};
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;
use tollgate_policy::id::UserId;

use super::{
    CLIENT_ID, OAuth,
    answers::{self, Answer, OAuthError},
    authorize::{self, SIGN_IN_COOKIE, cookie_name},
    begun::{self, Confirmation, DEVICE_LIFE_MS, Device, Purpose, Verified},
    caller::Caller,
    pages,
    token::{self, Denied},
};
use crate::{
    clock,
    sessions::Tokens,
    store::{StoreError, sign_ins::SignInKind},
};

/// The grant type of RFC 8628, 3.4.
pub const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// RFC 8628, 6.1: consonants alone, so that no code spells a word; 20^8 are 34 bits.
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
const CODE_LETTERS: usize = 8;
/// How long a device waits between two questions, in seconds, and how much longer when it does not.
const INTERVAL_S: i64 = 5;
/// A device whose clock ticks a little ahead is not slowed down for that, in milliseconds.
const INTERVAL_GRACE_MS: i64 = 500;
/// Wrong codes in the time below: of one address, and of all. 34 bits and a thousand devices leave a guesser one chance in 2,500 a year.
const GUESSES_PER_ADDRESS_MAX: u32 = 20;
const GUESSES_MAX: u32 = 200;
const GUESSES_WINDOW_MS: i64 = DEVICE_LIFE_MS;
/// Names tried before a code is found that no other device shows.
const CODES_TRIED_MAX: usize = 5;

/// How often wrong codes were typed.
#[derive(Debug, Default)]
pub struct Guesses(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    begun: i64,
    all: u32,
    // Bounded by `GUESSES_MAX`: a wrong code adds at most one.
    addresses: HashMap<String, u32>,
}

/// The fields of each of the endpoints.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Fields {
    client_id: String,
    user_code: String,
    issuer: String,
    ticket: String,
    answer: String,
}

/// `POST /oauth/device_authorization`.
pub async fn begin(State(oauth): State<Arc<OAuth>>, caller: Caller, Form(fields): Form<Fields>) -> Answer {
    if fields.client_id != CLIENT_ID {
        oauth.refuse(&caller, "device_authorization", "client_id is not tollgate-cli").await;
        return OAuthError::InvalidClient.into_response();
    }
    let (code, user_code) = match store_device(&oauth, &caller).await {
        Ok(Some(codes)) => codes,
        Ok(None) => {
            return OAuthError::TemporarilyUnavailable("too many devices wait: try again later").into_response();
        }
        Err(_) => return OAuthError::TemporarilyUnavailable("try again in a moment").into_response(),
    };
    let page = format!("{}/oauth/device", oauth.public_url);
    let body = json!({
        "device_code": code,
        "user_code": shown(&user_code),
        "verification_uri": page,
        "verification_uri_complete": format!("{page}?user_code={}", shown(&user_code)),
        "expires_in": DEVICE_LIFE_MS / 1_000,
        "interval": INTERVAL_S,
    });
    answers::private(StatusCode::OK, body)
}

/// `GET /oauth/device`: where the code is typed.
pub async fn page(Query(fields): Query<Fields>) -> Answer {
    let code = pages::escaped(&fields.user_code.chars().take(32).collect::<String>());
    let body = format!(
        "<form method=\"post\" action=\"/oauth/device\"><label>The code that your device shows \
         <input name=\"user_code\" value=\"{code}\" autocomplete=\"off\"></label> <button>Continue</button></form>"
    );
    pages::page(StatusCode::OK, "Sign a device in", &body)
}

/// `POST /oauth/device`: the code, and later whether the device is the person's.
pub async fn answer(State(oauth): State<Arc<OAuth>>, caller: Caller, Form(fields): Form<Fields>) -> Answer {
    if !caller.is_same_origin(&oauth.public_url) {
        return refused(&oauth, &caller, "the form is not of a page of this host").await;
    }
    let answered = if fields.ticket.is_empty() {
        typed(&oauth, &caller, &fields).await
    } else {
        confirmed(&oauth, &caller, &fields).await
    };
    answered.unwrap_or_else(|error| {
        tracing::error!(%error, "failed to sign a device in");
        pages::sentence(StatusCode::SERVICE_UNAVAILABLE, "Sign a device in", "Try again in a moment.")
    })
}

/// Asks a person who has signed in whether the device is theirs.
pub(super) async fn confirmation_page(
    oauth: &OAuth,
    confirmation: &Confirmation,
    ticket: &str,
) -> Result<Answer, StoreError> {
    let mut txn = oauth.store.begin_read().await?;
    let waiting = txn.sign_in_find_user_code(&confirmation.user_code, clock::now_ms()).await?;
    let user = txn.user_find(&confirmation.verified.user).await?;
    txn.end().await?;
    let (Some(waiting), Some(user)) = (waiting, user) else {
        return Ok(pages::sentence(StatusCode::BAD_REQUEST, "Sign a device in", "The code is over. Begin again."));
    };
    let device: Device = begun::read(&waiting.body)?;
    let body = format!(
        "<p>You are {}. A device at {} ({}) shows the code <strong>{}</strong> and wants to act for you.</p>\
         <p>Go on only if you began this yourself, just now, on a device in front of you.</p>\
         <form method=\"post\" action=\"/oauth/device\">{}\
         <button name=\"answer\" value=\"yes\">It is mine: sign it in</button> \
         <button name=\"answer\" value=\"no\">It is not mine</button></form>",
        pages::escaped(user.name.as_str()),
        pages::escaped(&device.source_address),
        pages::escaped(&device.user_agent.chars().take(100).collect::<String>()),
        shown(&confirmation.user_code),
        pages::hidden("ticket", ticket),
    );
    Ok(pages::page(StatusCode::OK, "Is this device yours?", &body))
}

/// A device that asks whether its person has answered.
pub(super) async fn poll(oauth: &OAuth, caller: &Caller, code: &str) -> Result<Tokens, Denied> {
    let (hash, now) = (oauth.minter.sign_in_hash(code), clock::now_ms());
    let mut txn = oauth.store.begin().await?;
    let Some(waiting) = txn.sign_in_find(SignInKind::Device, &hash, now).await? else {
        return Err(Denied::new(OAuthError::ExpiredToken, "the device code was used, is over, or was made up"));
    };
    let device: Device = begun::read(&waiting.body)?;
    let is_early = now - device.asked < device.interval * 1_000 - INTERVAL_GRACE_MS;
    if device.verified.is_none() && !device.is_denied {
        let interval = if is_early { device.interval + INTERVAL_S } else { device.interval };
        let body = begun::body(&Device { asked: now, interval, ..device })?;
        txn.sign_in_update(SignInKind::Device, &hash, &body).await?;
        txn.commit().await?;
        let error = if is_early { OAuthError::SlowDown } else { OAuthError::AuthorizationPending };
        return Err(Denied::new(error, ""));
    }
    txn.sign_in_take(SignInKind::Device, &hash, now).await?;
    txn.commit().await?;
    match device.verified {
        Some(verified) => token::begin(oauth, caller, &verified).await,
        None => Err(Denied::new(
            OAuthError::AccessDenied("the person said that the device is not theirs"),
            "the person said that the device is not theirs",
        )),
    }
}

async fn store_device(oauth: &OAuth, caller: &Caller) -> Result<Option<(String, String)>, StoreError> {
    let device = Device {
        user_agent: caller.user_agent.chars().take(200).collect(),
        source_address: caller.source_address.clone(),
        interval: INTERVAL_S,
        ..Device::default()
    };
    for _ in 0..CODES_TRIED_MAX {
        let user_code = user_code()?;
        let mut txn = oauth.store.begin().await?;
        match oauth.put(&mut txn, &device, Some(&user_code)).await {
            Ok(Some(code)) => {
                txn.commit().await?;
                return Ok(Some((code.to_string(), user_code)));
            }
            Ok(None) => return Ok(None),
            Err(StoreError::Taken { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

async fn typed(oauth: &OAuth, caller: &Caller, fields: &Fields) -> Result<Answer, StoreError> {
    let code = normalised(&fields.user_code);
    let now = clock::now_ms();
    if oauth.guesses.are_too_many(&caller.source_address, now) {
        return Ok(refused(oauth, caller, "too many wrong codes").await);
    }
    let mut txn = oauth.store.begin_read().await?;
    let waiting = txn.sign_in_find_user_code(&code, now).await?;
    txn.end().await?;
    if waiting.is_none() {
        oauth.guesses.count(&caller.source_address, now);
        return Ok(refused(oauth, caller, "no device shows this code").await);
    }
    let purpose = || Purpose::Device { user_code: code.clone() };
    let all = oauth.issuers.all().iter();
    let chosen = all.filter(|issuer| fields.issuer.is_empty() || fields.issuer == issuer.settings().name.as_str());
    let (mut links, mut cookies) = (String::new(), Vec::new());
    for issuer in chosen {
        match authorize::way(oauth, caller, issuer, purpose()).await {
            // A link and no redirect: the page's policy lets a form lead nowhere else.
            Ok((url, cookie)) => {
                links.push_str(&pages::link(&url, &format!("Continue at {}", issuer.settings().name)));
                cookies.push(cookie);
            }
            Err(error) => drop(authorize::not_sent_page(oauth, caller, issuer, &error).await),
        }
    }
    let page = pages::page(StatusCode::OK, "Sign in to go on", &links);
    Ok(cookies.iter().take(1).fold(page, |page, cookie| authorize::with_cookie(page, cookie)))
}

async fn confirmed(oauth: &OAuth, caller: &Caller, fields: &Fields) -> Result<Answer, StoreError> {
    let Some(confirmation) = oauth.take::<Confirmation>(&fields.ticket).await? else {
        return Ok(refused(oauth, caller, "the form was used, is over, or was made up").await);
    };
    let cookie = caller.cookie(&cookie_name(oauth, SIGN_IN_COOKIE)).map(|cookie| oauth.binding(cookie));
    if cookie.as_deref() != Some(confirmation.binding.as_str()) {
        return Ok(refused(oauth, caller, "the sign-in began in another browser").await);
    }
    let says_yes = fields.answer == "yes";
    if !decide(oauth, &confirmation.user_code, says_yes.then_some(confirmation.verified)).await? {
        return Ok(refused(oauth, caller, "no device shows this code").await);
    }
    let sentence =
        if says_yes { "The device is signed in. You can close this page." } else { "The device was turned away." };
    Ok(pages::sentence(StatusCode::OK, "Thank you", sentence))
}

// One answer counts: the first.
async fn decide(oauth: &OAuth, user_code: &str, verified: Option<Verified>) -> Result<bool, StoreError> {
    if let Some(verified) = &verified {
        UserId::parse(&verified.user).map_err(|error| StoreError::corrupt("body", error))?;
    }
    let now = clock::now_ms();
    let mut txn = oauth.store.begin().await?;
    let Some(waiting) = txn.sign_in_find_user_code(user_code, now).await? else { return Ok(false) };
    let Some(waiting) = txn.sign_in_find(SignInKind::Device, &waiting.hash, now).await? else { return Ok(false) };
    let device: Device = begun::read(&waiting.body)?;
    if device.verified.is_some() || device.is_denied {
        return Ok(false);
    }
    let body = begun::body(&Device { is_denied: verified.is_none(), verified, ..device })?;
    txn.sign_in_update(SignInKind::Device, &waiting.hash, &body).await?;
    txn.commit().await?;
    Ok(true)
}

async fn refused(oauth: &OAuth, caller: &Caller, reason: &str) -> Answer {
    oauth.refuse(caller, "device", reason).await;
    let sentence =
        "This does not work: check the code, and begin again on the device if it took longer than ten minutes.";
    pages::sentence(StatusCode::BAD_REQUEST, "Sign a device in", sentence)
}

// Bytes beyond the last whole multiple of 20 are thrown away: every letter is equally likely.
fn user_code() -> Result<String, StoreError> {
    let mut code = String::with_capacity(CODE_LETTERS);
    while code.len() < CODE_LETTERS {
        let random = crate::seal::random_key()?;
        let fair = random.iter().filter(|byte| **byte < 240);
        let letters = fair.filter_map(|byte| LETTERS.get(usize::from(byte % 20)));
        code.extend(letters.take(CODE_LETTERS - code.len()).map(|letter| char::from(*letter)));
    }
    Ok(code)
}

// In two groups, as people read.
fn shown(code: &str) -> String {
    let (first, second) = code.split_at_checked(CODE_LETTERS / 2).unwrap_or((code, ""));
    format!("{first}-{second}")
}

fn normalised(typed: &str) -> String {
    let letters = typed.chars().filter(char::is_ascii_alphabetic).take(CODE_LETTERS + 1);
    letters.map(|letter| letter.to_ascii_uppercase()).collect()
}

// === impl Guesses ===

impl Guesses {
    fn are_too_many(&self, address: &str, now: i64) -> bool {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now - window.begun >= GUESSES_WINDOW_MS {
            *window = Window { begun: now, ..Window::default() };
        }
        let of_address = window.addresses.get(address).copied().unwrap_or_default();
        window.all >= GUESSES_MAX || of_address >= GUESSES_PER_ADDRESS_MAX
    }

    fn count(&self, address: &str, now: i64) {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now - window.begun >= GUESSES_WINDOW_MS {
            *window = Window { begun: now, ..Window::default() };
        }
        window.all += 1;
        *window.addresses.entry(address.to_owned()).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_eight_consonants_however_it_is_typed() {
        let code = user_code().unwrap();
        assert!(code.len() == 8 && code.bytes().all(|byte| LETTERS.contains(&byte)), "{code}");
        assert_eq!(shown("WDJBMJHT"), "WDJB-MJHT");
        for typed in ["WDJB-MJHT", "wdjbmjht", " wdjb mjht "] {
            assert_eq!(normalised(typed), "WDJBMJHT");
        }
        assert_ne!(normalised("WDJB-MJHTX"), "WDJBMJHT");
    }

    #[test]
    fn guesses_are_few() {
        let guesses = Guesses::default();
        for _ in 0..GUESSES_PER_ADDRESS_MAX {
            assert!(!guesses.are_too_many("a", 1_000_000));
            guesses.count("a", 1_000_000);
        }
        assert!(guesses.are_too_many("a", 1_000_000));
        assert!(!guesses.are_too_many("b", 1_000_000));
        assert!(!guesses.are_too_many("a", 1_000_000 + GUESSES_WINDOW_MS));
    }
}
