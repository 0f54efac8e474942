//! Tokens of OAuth 2 for servers of tools. The control plane gets them; a replica keeps one in memory for as long as it is good, and asks for another
//! when a server turns it away. A replica never has what tokens are got with.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use http::HeaderValue;
use sha2::{Digest as _, Sha256};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};
use tollgate_policy::id::{McpServerId, UserId};
use tollgate_proto::fleet::v1::{
    AccessToken, GetTokenRequest, GetTokenResponse, NoToken, fleet_service_client::FleetServiceClient,
    get_token_response::Outcome,
};

use super::wire::Unreached;
use crate::membership::Link;

/// How long the control plane may take: it may have to ask a server of its own.
const ASK_MAX: Duration = Duration::from_secs(15);
/// For how long it is not asked again that has no token. A person who has just signed in waits no longer.
const REFUSED_FOR: Duration = Duration::from_secs(1);
/// The longest that a token is kept, whatever is said of it.
const KEPT_MAX: Duration = Duration::from_hours(1);
/// A token is asked for anew when so much of its time has passed, so that nobody waits for it at its end.
const RENEWED_AT: f64 = 0.8;

/// Who gives tokens.
pub(crate) trait Source: fmt::Debug + Send + Sync {
    /// Asks for one.
    ///
    /// # Errors
    /// Says why it could not be asked, for the log.
    fn token(&self, request: GetTokenRequest) -> BoxFuture<'_, Result<GetTokenResponse, String>>;
}

/// What one server is shown for one user, or for all of them.
pub(crate) struct Bearer {
    source: Arc<dyn Source>,
    server: McpServerId,
    user: Option<UserId>,
    // How often tokens were taken back, by the policy that holds.
    grants: AtomicU64,
    held: Mutex<Held>,
}

#[derive(Default)]
enum Held {
    #[default]
    Nothing,
    Token(Token),
    Refused(Unreached, Instant),
}

struct Token {
    value: HeaderValue,
    grants: u64,
    renewed: Instant,
    until: Instant,
}

// === impl Bearer ===

impl Bearer {
    /// Tokens of that source. Without a user they are for all callers.
    pub(super) fn new(source: Arc<dyn Source>, server: McpServerId, user: Option<UserId>, grants: u64) -> Self {
        Self { source, server, user, grants: AtomicU64::new(grants), held: Mutex::default() }
    }

    /// Tokens that were got before so many were taken back are no good. Returns whether that was news.
    pub(super) fn taken_back(&self, grants: u64) -> bool {
        self.grants.fetch_max(grants, Ordering::Relaxed) < grants
    }

    /// What to show: the value of `authorization`. `rejected` is one that the server has turned away.
    ///
    /// # Errors
    /// Says why there is none, and what the user can do.
    pub(super) async fn show(&self, rejected: Option<&HeaderValue>) -> Result<HeaderValue, Unreached> {
        // Whoever comes meanwhile waits, and finds what was got.
        let mut held = self.held.lock().await;
        let (now, grants) = (Instant::now(), self.grants.load(Ordering::Relaxed));
        let mut old = None;
        match std::mem::take(&mut *held) {
            Held::Token(token) if token.grants >= grants && now < token.until && rejected != Some(&token.value) => {
                let value = token.value.clone();
                if now < token.renewed {
                    *held = Held::Token(token);
                    return Ok(value);
                }
                old = Some(token);
            }
            Held::Refused(why, until) if now < until => {
                *held = Held::Refused(why.clone(), until);
                return Err(why);
            }
            _ => {}
        }
        let digest =
            rejected.map(|value| Sha256::digest(value.as_bytes().strip_prefix(b"Bearer ").unwrap_or_default()));
        let request = GetTokenRequest {
            server: self.server.to_string(),
            user: self.user.as_ref().map(ToString::to_string).unwrap_or_default(),
            rejected: digest.map(|digest| digest.to_vec().into()).unwrap_or_default(),
        };
        let got = match timeout(ASK_MAX, self.source.token(request)).await {
            Ok(Ok(response)) => read(response),
            Ok(Err(problem)) => {
                tracing::warn!(server = %self.server, problem, "no token for a server of tools");
                Err(unasked())
            }
            Err(_) => Err(unasked()),
        };
        match (got, old) {
            (Ok(token), _) => {
                let value = token.value.clone();
                *held = Held::Token(token);
                Ok(value)
            }
            // It is good for a while yet, and the control plane comes back.
            (Err(Unreached::Ungranted(_)), Some(old)) => {
                let value = old.value.clone();
                *held = Held::Token(Token { renewed: (now + REFUSED_FOR).min(old.until), ..old });
                Ok(value)
            }
            (Err(why), _) => {
                *held = Held::Refused(why.clone(), Instant::now() + REFUSED_FOR);
                Err(why)
            }
        }
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bearer").field("server", &self.server).field("user", &self.user).finish_non_exhaustive()
    }
}

impl Source for Link {
    fn token(&self, request: GetTokenRequest) -> BoxFuture<'_, Result<GetTokenResponse, String>> {
        Box::pin(async move {
            if !self.is_member() {
                return Err("not a member of the fleet yet".into());
            }
            let mut client = FleetServiceClient::new(self.channel());
            let response = client.get_token(self.request(request)).await;
            response.map(tonic::Response::into_inner).map_err(|status| status.message().to_owned())
        })
    }
}

fn unasked() -> Unreached {
    Unreached::Ungranted("the control plane could not be asked for a token".into())
}

fn read(response: GetTokenResponse) -> Result<Token, Unreached> {
    match response.outcome {
        Some(Outcome::Token(AccessToken { token, left_ms, grants })) => {
            let unusable = || Unreached::Ungranted("its token is none that a header can have".into());
            let mut value = HeaderValue::try_from(["Bearer ", &token].concat()).map_err(|_| unusable())?;
            value.set_sensitive(true);
            let left = Duration::from_millis(u64::try_from(left_ms).unwrap_or_default()).min(KEPT_MAX);
            let now = Instant::now();
            Ok(Token { value, grants, renewed: now + left.mul_f64(RENEWED_AT), until: now + left })
        }
        Some(Outcome::None(NoToken { consent: true, reason, connect_url })) => {
            Err(Unreached::Consent { reason, url: connect_url })
        }
        Some(Outcome::None(NoToken { reason, .. })) => Err(Unreached::Ungranted(reason)),
        None => Err(unasked()),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::{HashMap, VecDeque};

    use super::*;

    const ULID: &str = "01k9zq3v5m8c4t2n7r6x0w1y9b";

    /// Gives what it was told to, to each user the next of theirs, and remembers what it was asked.
    #[derive(Debug, Default)]
    pub(crate) struct Given {
        answers: std::sync::Mutex<HashMap<String, VecDeque<GetTokenResponse>>>,
        pub(crate) asked: std::sync::Mutex<Vec<GetTokenRequest>>,
    }

    impl Given {
        /// Gives that to a user from now on; empty: where nobody is named.
        pub(crate) fn give(&self, user: &str, outcome: Outcome) {
            self.answers.lock().unwrap().remove(user);
            self.then(user, outcome);
        }

        /// And after what was to be given next, that.
        fn then(&self, user: &str, outcome: Outcome) {
            let answer = GetTokenResponse { outcome: Some(outcome) };
            self.answers.lock().unwrap().entry(user.to_owned()).or_default().push_back(answer);
        }
    }

    impl Source for Given {
        fn token(&self, request: GetTokenRequest) -> BoxFuture<'_, Result<GetTokenResponse, String>> {
            let mut answers = self.answers.lock().unwrap();
            let of_user = answers.entry(request.user.clone()).or_default();
            let answer = if of_user.len() > 1 { of_user.pop_front() } else { of_user.front().cloned() };
            self.asked.lock().unwrap().push(request);
            Box::pin(async move { answer.ok_or_else(|| "nothing to give".to_owned()) })
        }
    }

    /// A token that is good for so many milliseconds.
    pub(crate) fn token(token: &str, left_ms: i64, grants: u64) -> Outcome {
        Outcome::Token(AccessToken { token: token.into(), left_ms, grants })
    }

    /// That a user has to sign in.
    pub(crate) fn consent(url: &str) -> Outcome {
        Outcome::None(NoToken { consent: true, reason: "sign in first".into(), connect_url: url.into() })
    }

    fn bearer(given: &Arc<Given>) -> Bearer {
        let server = McpServerId::from_ulid(ULID).unwrap();
        Bearer::new(Arc::clone(given) as Arc<dyn Source>, server, None, 0)
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_asked_for_once_and_again_before_its_end() {
        let given = Arc::new(Given::default());
        given.give("", token("one", 60_000, 0));
        given.then("", token("two", 60_000, 0));
        let bearer = bearer(&given);
        for _ in 0..3 {
            assert_eq!(bearer.show(None).await.unwrap(), "Bearer one");
        }
        tokio::time::advance(Duration::from_secs(47)).await;
        assert_eq!(bearer.show(None).await.unwrap(), "Bearer one");
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(bearer.show(None).await.unwrap(), "Bearer two");
        assert_eq!(given.asked.lock().unwrap().len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_server_turned_away_is_not_shown_again() {
        let given = Arc::new(Given::default());
        given.give("", token("one", 60_000, 0));
        given.then("", token("two", 60_000, 0));
        let bearer = bearer(&given);
        let first = bearer.show(None).await.unwrap();
        assert_eq!(bearer.show(Some(&first)).await.unwrap(), "Bearer two");
        // Somebody else was turned away with the old one, too: the new one is there already.
        assert_eq!(bearer.show(Some(&first)).await.unwrap(), "Bearer two");
        let asked = given.asked.lock().unwrap();
        let rejected: Vec<_> = asked.iter().map(|request| request.rejected.to_vec()).collect();
        assert_eq!(rejected, [vec![], Sha256::digest(b"one").to_vec()]);
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_that_were_taken_back_are_gone() {
        let given = Arc::new(Given::default());
        given.give("", token("one", 60_000, 3));
        given.then("", consent("https://tollgate.example/mcp/connect/github"));
        let bearer = bearer(&given);
        bearer.taken_back(3);
        assert_eq!(bearer.show(None).await.unwrap(), "Bearer one");
        bearer.taken_back(4);
        let why = bearer.show(None).await.unwrap_err();
        assert!(matches!(&why, Unreached::Consent { url, .. } if url.ends_with("/github")), "{why}");
        assert_eq!(bearer.show(None).await.unwrap_err(), why, "without asking");
        assert_eq!(given.asked.lock().unwrap().len(), 2);
        tokio::time::advance(Duration::from_secs(2)).await;
        bearer.show(None).await.unwrap_err();
        assert_eq!(given.asked.lock().unwrap().len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_lives_on_when_nobody_can_be_asked() {
        let given = Arc::new(Given::default());
        given.give("", token("one", 60_000, 0));
        given.then("", Outcome::None(NoToken { reason: "not now".into(), ..NoToken::default() }));
        let bearer = bearer(&given);
        bearer.show(None).await.unwrap();
        tokio::time::advance(Duration::from_secs(50)).await;
        assert_eq!(bearer.show(None).await.unwrap(), "Bearer one");
        tokio::time::advance(Duration::from_secs(11)).await;
        assert_eq!(bearer.show(None).await.unwrap_err(), Unreached::Ungranted("not now".into()));
    }

    #[tokio::test]
    async fn what_is_no_header_is_not_shown() {
        let given = Arc::new(Given::default());
        given.give("", token("a\r\nx-evil: 1", 60_000, 0));
        assert!(matches!(bearer(&given).show(None).await, Err(Unreached::Ungranted(_))));
    }
}
