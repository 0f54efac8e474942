//! `tollgate login` and `logout`: the session of a person at a control plane.

use clap::Args;
use serde::Serialize;

use crate::{
    failure::Failure,
    output::{Answer, Format, bare_table},
    settings::{Settings, is_loopback},
    sign_in::{
        authority::Authority,
        device, loopback,
        sessions::{Saved, Sessions, missing},
        tokens::Cache,
    },
    surroundings::Surroundings,
};

/// What is said under `tollgate login --help`.
pub(crate) const LOGIN_HELP: &str = "Example: tollgate login --issuer corporate

The session is kept in ~/.config/tollgate/credentials.json, which only you may read, and is used by every command that is
given no token.";

/// How to sign in.
#[derive(Args, Debug)]
pub(crate) struct Login {
    /// The control plane's HTTP address [env: TOLLGATE_LOGIN_URL] [default: the server's host with port 7072]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The identity provider, by its name in the control plane's configuration [default: the only one, or a choice]
    #[arg(long, value_name = "NAME")]
    issuer: Option<String>,
    /// Sign in on another device: a code is shown to type there
    #[arg(long)]
    device: bool,
}

/// Who signed in where, for programs.
#[derive(Serialize)]
struct LoginView<'a> {
    server: &'a str,
    url: &'a str,
    expire_time: String,
}

impl Login {
    pub(crate) async fn run(
        self,
        settings: &Settings,
        format: Format,
        surroundings: &mut Surroundings<'_>,
    ) -> Result<Answer, Failure> {
        let Self { url, issuer, device } = self;
        let sessions = Sessions::at(surroundings).ok_or_else(homeless)?;
        let url = match url {
            Some(url) => url,
            None => settings.login_url(surroundings)?,
        };
        let url = url.trim_end_matches('/');
        let authority = Authority::discover(url, settings.ca_of(url)).await?;
        let tokens = if device {
            Box::pin(device::sign_in(&authority, issuer.as_deref(), surroundings)).await?
        } else {
            Box::pin(loopback::sign_in(&authority, issuer.as_deref(), surroundings)).await?
        };
        let saved = Saved::new(tokens, url, surroundings.now);
        let expire_time = saved.expires.to_string();
        sessions.replace(&settings.server, Some(saved)).await?;
        // What an earlier session was given is not this one's.
        if let Some(cache) = Cache::at(surroundings) {
            cache.forget(&settings.server).await?;
        }
        let note = format!("signed in to {}", settings.server);
        let mut answer = match format {
            Format::Table => Answer::raw(""),
            Format::Json | Format::Yaml => {
                format.document(&LoginView { server: &settings.server, url, expire_time }, bare_table)?
            }
        };
        if url.starts_with("http://") && !is_loopback(url) {
            answer = answer.note(format!("warning: the session came from {url} without encryption; use https"));
        }
        Ok(answer.note(note))
    }
}

/// Ends the session and forgets it.
pub(crate) async fn logout(
    settings: &Settings,
    format: Format,
    surroundings: &Surroundings<'_>,
) -> Result<Answer, Failure> {
    let sessions = Sessions::at(surroundings).ok_or_else(homeless)?;
    if sessions.of(&settings.server)?.is_none() {
        return Err(missing(&settings.server));
    }
    let before = sessions.replace(&settings.server, None).await?;
    if let Some(cache) = Cache::at(surroundings) {
        cache.forget(&settings.server).await?;
    }
    let answer = super::done(format, "ended", "session at", &settings.server)?;
    let Some(Saved { access_token, refresh_token, url, .. }) = before else { return Ok(answer) };
    let ended = async {
        let authority = Authority::discover(&url, settings.ca_of(&url)).await?;
        authority.revoke(refresh_token.as_ref().unwrap_or(&access_token)).await
    };
    // It is forgotten here in any case; where it lives on, somebody should know.
    Ok(match Box::pin(ended).await {
        Ok(()) => answer,
        Err(Failure { message, .. }) => {
            answer.note(format!("warning: the session was forgotten here and may live on there: {message}"))
        }
    })
}

fn homeless() -> Failure {
    Failure::usage("there is no place to keep a session: neither HOME nor XDG_CONFIG_HOME is set")
}
