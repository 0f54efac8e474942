//! `tollgate token`: a short-lived credential for a coding agent, from the one that is kept while enough is left of it.

use clap::Args;
use jiff::Timestamp;
use prost_types::Duration;
use serde::Serialize;
use tollgate_proto::admin::v1;

use crate::{
    client::Client,
    failure::Failure,
    literals::{from_wire, life, reference},
    output::{Answer, Format, bare_table},
    settings::Settings,
    sign_in::{
        private::Hidden,
        sessions::{Sessions, UNAUTHENTICATED, missing},
        tokens::{self, Cache, Kept, Purpose},
    },
    surroundings::Surroundings,
};

/// How long the question whether a session still stands may take: an agent waits for it, and replicas answer it too.
const QUESTION_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(2);

/// What is said under `tollgate token --help`.
pub(crate) const TOKEN_HELP: &str = "Example: tollgate token --key laptop --life 8h

It prints the credential and nothing else, so it fits where a program asks a command for its key, such as the setting
apiKeyHelper of Claude Code: {\"apiKeyHelper\": \"tollgate token\"}

It is kept in ~/.cache/tollgate/tokens.json, which only you may read, and printed again while enough is left of it and the
session has not ended.";

/// Which credential.
#[derive(Args, Debug)]
pub(crate) struct Token {
    /// One of your own keys, by id or name [default: the only one]
    #[arg(long, value_parser = reference)]
    key: Option<String>,
    /// How long the credential is good: 15 minutes to 12 hours [default: an hour, or what the team allows]
    #[arg(long, value_name = "DURATION", value_parser = life)]
    life: Option<Duration>,
    /// Ask for a new one, whatever is left of the one before
    #[arg(long)]
    fresh: bool,
}

/// A credential for programs.
#[derive(Serialize)]
struct TokenView<'a> {
    token: &'a str,
    expire_time: String,
    key: &'a str,
    session: &'a str,
}

impl Token {
    pub(crate) async fn run(
        self,
        mut settings: Settings,
        format: Format,
        surroundings: &Surroundings<'_>,
    ) -> Result<Answer, Failure> {
        let Self { key, life, fresh } = self;
        // The bootstrap administrator, whose token the data directory holds, is nobody who could have a credential.
        settings.token = settings.token.filter(|_| !settings.implicit);
        let sessions = Sessions::at(surroundings);
        let session = match (&settings.token, &sessions) {
            (None, Some(sessions)) => sessions.of(&settings.server)?,
            _ => None,
        };
        let holder = match (&settings.token, &session) {
            (Some(token), _) => tokens::holder(token),
            (None, Some(_)) => tokens::SESSION.to_owned(),
            (None, None) => return Err(missing(&settings.server)),
        };
        let (server, key) = (settings.server.clone(), key.unwrap_or_default());
        let purpose = Purpose { server, holder, key, life: life.map_or(0, |life| life.seconds) };
        let cache = Cache::at(surroundings);
        let kept = cache.as_ref().filter(|_| !fresh).and_then(|cache| cache.get(&purpose, surroundings.now));
        let mut away = None;
        if let (Some(_), Some(sessions)) = (session, sessions) {
            match Box::pin(admitted(&sessions, &mut settings, kept.is_some(), surroundings.now)).await {
                Ok(()) => {}
                // What an ended session was given is refused everywhere: handing it out would hide why.
                Err(failure) if failure.code == UNAUTHENTICATED => {
                    if let Some(cache) = cache {
                        cache.forget(&settings.server).await?;
                    }
                    return Err(failure);
                }
                Err(failure) => away = Some(failure),
            }
        }
        if let Some(kept) = kept {
            return shown(format, &kept);
        }
        // While the control plane is away, replicas go on taking what is kept, and nothing new is given.
        if let Some(failure) = away {
            return Err(failure);
        }
        let issued = Box::pin(issued(&settings, purpose, life, surroundings.now)).await;
        let issued = issued.map_err(|failure| failure.at(&settings.server))?;
        let mut answer = shown(format, &issued)?;
        if let Some(cache) = cache
            && let Err(failure) = cache.put(issued, surroundings.now).await
        {
            answer = answer.note(format!("warning: the credential is not kept for the next call: {}", failure.message));
        }
        Ok(answer)
    }
}

/// Takes the access token of a session that still stands, as far as somebody can be asked.
///
/// A kept credential of a session that was ended meanwhile looks as good as any, and a program that is refused with it calls this
/// command again: without a question it would get the same one, and retry.
async fn admitted(sessions: &Sessions, settings: &mut Settings, is_kept: bool, now: Timestamp) -> Result<(), Failure> {
    let (server, ca) = (settings.server.clone(), settings.ca.clone());
    let current = async |refused: Option<&Hidden>| {
        let token = sessions.current(&server, ca.as_deref(), now, refused).await?;
        token.ok_or_else(|| missing(&server))
    };
    let token = current(None).await?;
    settings.token = Some(token.expose().clone());
    if is_kept && is_refused(settings).await {
        settings.token = Some(current(Some(&token)).await?.expose().clone());
    }
    Ok(())
}

/// Whether the control plane answers, and knows the access token no longer.
async fn is_refused(settings: &Settings) -> bool {
    let asked = async {
        let client = Client::connect(settings).await?;
        client.identity().who_am_i(v1::WhoAmIRequest {}).await.map_err(Failure::from)
    };
    let answer = tokio::time::timeout(QUESTION_TIMEOUT, asked).await;
    matches!(answer, Ok(Err(failure)) if failure.code == UNAUTHENTICATED)
}

async fn issued(
    settings: &Settings,
    purpose: Purpose,
    life: Option<Duration>,
    now: Timestamp,
) -> Result<Kept, Failure> {
    let client = Client::connect(settings).await?;
    let request = v1::IssueTokenRequest { key: purpose.key.clone(), life };
    let v1::IssuedToken { token, expire_time, key, session } =
        client.sessions().issue_token(request).await?.into_inner();
    let expires = from_wire(expire_time.as_ref());
    let expires = expires.ok_or_else(|| Failure::new("internal", "the control plane says no end of the credential"))?;
    Ok(Kept { purpose, token: Hidden::new(token), issued: now, expires, key_id: key, session })
}

fn shown(format: Format, kept: &Kept) -> Result<Answer, Failure> {
    let token = kept.token.expose().as_str();
    match format {
        Format::Table => Ok(Answer::raw(format!("{token}\n"))),
        Format::Json | Format::Yaml => {
            let Kept { key_id: key, session, expires, .. } = kept;
            format.document(&TokenView { token, expire_time: expires.to_string(), key, session }, bare_table)
        }
    }
}
