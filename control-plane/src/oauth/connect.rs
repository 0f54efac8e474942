//! Where people permit Tollgate to have tokens of theirs for servers of tools, and end it.
//!
//! What comes back from an authorization server counts for the browser session that was sent there, and for no other: a link that
//! somebody else began leads to nobody's grant.

use std::sync::Arc;

use axum::{
    Form,
    extract::{Path, Query, State},
    response::{IntoResponse, Redirect},
};
use http::{HeaderValue, StatusCode, Uri, header};
use serde::Deserialize;
use tollgate_policy::mcp::is_server_name;

use super::{OAuth, answers::Answer, begun, browser, caller::Caller, pages, refusal::Refusal};
use crate::{
    clock,
    keys::random_token,
    mcp_oauth::{
        CONNECT,
        consent::{self, Begun, NotConnected, Person},
        fault::Fault,
    },
    oidc::issuer::form,
    sessions::{SignedIn, same},
    store::{
        StoreError,
        mcp::{McpServer, consents::McpConsent, grants::McpGrant},
    },
};

/// How long a user may take at an authorization server, in milliseconds.
const LIFE_MS: i64 = begun::STATE_LIFE_MS;
/// The most that one user has under way: each is a row.
const WAITING_MAX: i64 = 100;
const TITLE: &str = "Connect a server of tools";

/// `POST /mcp/connect/<server>`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Fields {
    form_token: String,
    action: String,
}

/// `GET /mcp/callback`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Parameters {
    state: String,
    code: String,
    error: String,
    iss: Option<String>,
}

// What is remembered of a browser that was sent away.
#[derive(Deserialize, serde::Serialize)]
struct Remembered {
    // The hash of the session's cookie: no other browser comes back for it.
    binding: String,
    begun: Begun,
}

/// What a server asks for, whether it is permitted, and the form that changes that.
pub async fn page(State(oauth): State<Arc<OAuth>>, caller: Caller, Path(name): Path<String>) -> Answer {
    if !is_server_name(&name) {
        return unknown(&oauth, &caller, "no server has such a name").await;
    }
    let path = format!("{CONNECT}{name}");
    let shown = async {
        let Some((cookie, SignedIn { user, .. })) = browser::signed_in(&oauth, &caller).await? else {
            return Ok(Redirect::to(&format!("/login?{}", form([("next", path.as_str())].iter()))).into_response());
        };
        let Some((server, grant)) = oauth.mcp.offered(&name, &user).await? else {
            return Ok(unknown(&oauth, &caller, "the server is not there for the user").await);
        };
        let asked = asked(&oauth, &server).await;
        let token = oauth.minter.form_token(&cookie);
        let body = body(&server, user.name.as_str(), grant.as_ref(), &asked, &token);
        Ok::<_, StoreError>(pages::page(StatusCode::OK, TITLE, &body))
    };
    shown.await.unwrap_or_else(|error| unavailable(&error))
}

/// Sends the browser to the authorization server, or ends what was permitted.
pub async fn answer(
    State(oauth): State<Arc<OAuth>>,
    caller: Caller,
    Path(name): Path<String>,
    Form(fields): Form<Fields>,
) -> Answer {
    if !is_server_name(&name) {
        return unknown(&oauth, &caller, "no server has such a name").await;
    }
    let answered = async {
        let Some((cookie, SignedIn { user, .. })) = browser::signed_in(&oauth, &caller).await? else {
            return Ok(Redirect::to(&format!("{CONNECT}{name}")).into_response());
        };
        if !caller.is_same_origin(&oauth.public_url) || !same(&fields.form_token, &oauth.minter.form_token(&cookie)) {
            oauth.refuse(&caller, "mcp-connect", "the form is not of a page of this host").await;
            return Ok(pages::sentence(StatusCode::FORBIDDEN, TITLE, "Open this page again and try once more."));
        }
        let Some((server, _)) = oauth.mcp.offered(&name, &user).await? else {
            return Ok(unknown(&oauth, &caller, "the server is not there for the user").await);
        };
        let person = Person { user: &user, source_address: &caller.source_address };
        match fields.action.as_str() {
            "disconnect" => {
                oauth.mcp.disconnect(person, &server).await?;
                Ok(Redirect::to(&format!("{CONNECT}{name}")).into_response())
            }
            "connect" => Ok(send(&oauth, &caller, person, &cookie, &server).await),
            _ => Ok(pages::sentence(
                StatusCode::BAD_REQUEST,
                TITLE,
                "Open this page again and choose one of its buttons.",
            )),
        }
    };
    answered.await.unwrap_or_else(|error: StoreError| unavailable(&error))
}

/// Takes what the authorization server gave.
pub async fn callback(
    State(oauth): State<Arc<OAuth>>,
    caller: Caller,
    uri: Uri,
    Query(parameters): Query<Parameters>,
) -> Answer {
    match arrive(&oauth, &caller, uri.path(), &parameters).await {
        Ok(Ok(server)) => {
            let sentence = format!(
                "{} is connected. Go back to your agent and try again what it was about to do.",
                pages::escaped(server.name.as_str())
            );
            let link = pages::link(&format!("{CONNECT}{}", server.name), "See, or end, this connection");
            pages::page(StatusCode::OK, "Connected", &format!("<p>{sentence}</p>{link}"))
        }
        Ok(Err(error)) => not_connected(&oauth, &caller, "mcp-callback", &error).await,
        Err(reason) => {
            oauth.refuse(&caller, "mcp-callback", reason).await;
            let sentence = "This does not belong to this browser, was used before, or took too long: open the link again that your agent shows.";
            pages::sentence(StatusCode::FORBIDDEN, "Not connected", sentence)
        }
    }
}

async fn arrive(
    oauth: &OAuth,
    caller: &Caller,
    path: &str,
    parameters: &Parameters,
) -> Result<Result<McpServer, NotConnected>, &'static str> {
    let found = async {
        let mut txn = oauth.store.begin().await?;
        let hash = oauth.minter.sign_in_hash(&parameters.state);
        let taken = txn.mcp_consent_take(&hash, clock::now_ms()).await?;
        txn.commit().await?;
        let Some(taken) = taken else { return Ok(None) };
        let remembered: Remembered = begun::read(&taken.body)?;
        Ok::<_, StoreError>(Some((taken, remembered, browser::signed_in(oauth, caller).await?)))
    };
    let (taken, Remembered { binding, begun }, signed_in) = match found.await {
        Ok(Some(found)) => found,
        Ok(None) => return Err("the state is not one that waits: it was used, is over, or was made up"),
        Err(error) => return Ok(Err(error.into())),
    };
    let Some((cookie, SignedIn { user, .. })) = signed_in else { return Err("nobody is signed in at this browser") };
    if user.id != taken.user || !same(&oauth.binding(&cookie), &binding) {
        return Err("it began in another browser, or by another user");
    }
    let person = Person { user: &user, source_address: &caller.source_address };
    let answer =
        consent::Answer { code: &parameters.code, error: &parameters.error, iss: parameters.iss.as_deref(), path };
    Ok(oauth.mcp.accept(person, &taken.server, &begun, answer).await)
}

async fn send(oauth: &OAuth, caller: &Caller, person: Person<'_>, cookie: &str, server: &McpServer) -> Answer {
    let sent = async {
        let state = random_token("").map_err(StoreError::from)?;
        let (url, begun) = oauth.mcp.begin(server, &state).await?;
        let consent = McpConsent {
            hash: oauth.minter.sign_in_hash(&state),
            server: server.id.clone(),
            user: person.user.id.clone(),
            body: begun::body(&Remembered { binding: oauth.binding(cookie), begun })?,
            expire_time: clock::now_ms() + LIFE_MS,
        };
        let mut txn = oauth.store.begin().await?;
        if txn.mcp_consent_count(&person.user.id, clock::now_ms()).await? >= WAITING_MAX {
            let sentence = "you have begun too often: try again in ten minutes";
            return Err(Fault::Unavailable(sentence.to_owned()).into());
        }
        txn.mcp_consent_insert(&consent).await?;
        txn.commit().await?;
        Ok::<_, NotConnected>(url)
    };
    match sent.await {
        Ok(url) => leading(&url),
        Err(error) => not_connected(oauth, caller, "mcp-connect", &error).await,
    }
}

// The policy of our pages lets a form lead to this host alone, and to follow its answer elsewhere counts as that in some browsers. So a page
// leads on, at once where the browser does so.
fn leading(url: &str) -> Answer {
    let host = url.parse::<Uri>().ok().and_then(|uri| uri.authority().map(ToString::to_string)).unwrap_or_default();
    let mut answer = pages::page(StatusCode::OK, TITLE, &pages::link(url, &format!("Continue at {host}")));
    if let Ok(value) = HeaderValue::from_str(&format!("0; url={url}")) {
        answer.headers_mut().insert(header::REFRESH, value);
    }
    answer
}

// Where, and for what, the user will be asked; or why not.
async fn asked(oauth: &OAuth, server: &McpServer) -> Result<String, String> {
    match oauth.mcp.offer(server).await {
        Ok(offer) => {
            let scopes: String =
                offer.scopes.iter().map(|scope| format!("<li><code>{}</code></li>", pages::escaped(scope))).collect();
            let host = pages::escaped(&offer.host);
            let what = if scopes.is_empty() {
                "it will tell you for what".to_owned()
            } else {
                format!("Tollgate will ask for:</p><ul>{scopes}</ul><p>It may show you more of what that means")
            };
            Ok(format!("<p>You will be asked at <b>{host}</b>; {what}.</p>"))
        }
        Err(fault) => {
            Err(format!("<p>It cannot be connected at this moment: {}.</p>", pages::escaped(&fault.to_string())))
        }
    }
}

fn body(
    server: &McpServer,
    user: &str,
    grant: Option<&McpGrant>,
    asked: &Result<String, String>,
    form_token: &str,
) -> String {
    let name = pages::escaped(server.name.as_str());
    let place = pages::escaped(server.url.split('?').next().unwrap_or_default());
    let standing = match grant {
        None => "It is not connected.".to_owned(),
        Some(grant) if grant.problem.is_empty() && grant.scopes.is_empty() => "It is connected.".to_owned(),
        Some(grant) if grant.problem.is_empty() => {
            format!("It is connected, for: <code>{}</code>.", pages::escaped(&grant.scopes))
        }
        Some(grant) => format!("Its connection has ended: {}.", pages::escaped(&grant.problem)),
    };
    let (text, may_connect) = match asked {
        Ok(text) => (text, true),
        Err(text) => (text, false),
    };
    let button = |action: &str, label: &str| format!("<button name=\"action\" value=\"{action}\">{label}</button> ");
    let connect = if may_connect { button("connect", "Connect") } else { String::new() };
    let disconnect = if grant.is_some() { button("disconnect", "Disconnect") } else { String::new() };
    let hidden = pages::hidden("form_token", form_token);
    format!(
        "<p>You are {}. The server of tools <b>{name}</b> ({place}) wants to know whose account your agents act for.</p>\n\
         <p>Once it is connected, agents that use your keys reach it as you. They see no token: Tollgate keeps it, sealed, and shows it \
         to that server alone. You can end that here at any time.</p>\n<p>{standing}</p>\n{text}\n\
         <form method=\"post\" action=\"{CONNECT}{name}\">{hidden}{connect}{disconnect}</form>",
        pages::escaped(user)
    )
}

// The same for a server that is not there, that nobody connects, and that is others'.
async fn unknown(oauth: &OAuth, caller: &Caller, reason: &str) -> Answer {
    oauth.refuse(caller, "mcp-connect", reason).await;
    pages::sentence(StatusCode::NOT_FOUND, TITLE, "No server of tools of this name can be connected by you.")
}

async fn not_connected(oauth: &OAuth, caller: &Caller, step: &str, error: &NotConnected) -> Answer {
    let reason = error.to_string();
    let is_failure = matches!(error, NotConnected::Fault(Fault::Unavailable(_)) | NotConnected::Store(_));
    let source_address = &caller.source_address;
    oauth.write(Refusal { step, reason: &reason, source_address, is_failure, ..Refusal::default() }).await;
    let status = match error {
        NotConnected::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
        NotConnected::Fault(_) => StatusCode::BAD_GATEWAY,
        NotConnected::Unknown => StatusCode::NOT_FOUND,
        NotConnected::MixedUp | NotConnected::Denied(_) => StatusCode::FORBIDDEN,
    };
    let shown = if matches!(error, NotConnected::Store(_)) { "try again in a moment" } else { &reason };
    pages::sentence(status, "Not connected", &format!("This did not work: {shown}."))
}

fn unavailable(error: &StoreError) -> Answer {
    tracing::error!(%error, "failed to connect a server of tools");
    pages::sentence(StatusCode::SERVICE_UNAVAILABLE, TITLE, "Try again in a moment.")
}
