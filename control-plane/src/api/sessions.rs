//! SessionService: who is signed in, and the short-lived credentials of developers.

use serde_json::json;
use tollgate_audit::{Entry, Facts, Outcome};
use tollgate_policy::id::{KeyId, SessionId, UserId};
use tollgate_proto::admin::v1::{self, session_service_server::SessionService};
use tonic::{Request, Response, Status};

use super::{
    Admin,
    authorize::Authorized,
    failure::Failure,
    filter::Filter,
    keys,
    page::Page,
    teams::self_service::{TOKEN_LIFE_S, within},
    users,
    violations::Violations,
    wire,
};
use crate::{
    audit,
    change::{Change, Done},
    clock,
    principals::Identity,
    store::{
        Txn,
        keys::{Key, KeyFilter},
        sessions::{Session, SessionFilter},
    },
    tokens::Asked,
};

/// How long a credential is good when nothing else is said, in seconds: an hour.
const LIFE_DEFAULT_S: u64 = 3_600;
/// The longest reason of a revocation, in characters.
const REASON_MAX: usize = 500;

#[tonic::async_trait]
impl SessionService for Admin {
    async fn list_sessions(
        &self,
        request: Request<v1::ListSessionsRequest>,
    ) -> Result<Response<v1::ListSessionsResponse>, Status> {
        let (by, message) = Authorized::take(request)?;
        Ok(Response::new(self.session_list(&by, message).await?))
    }

    async fn revoke_session(
        &self,
        request: Request<v1::RevokeSessionRequest>,
    ) -> Result<Response<v1::Session>, Status> {
        let (by, message) = Authorized::take(request)?;
        let session = self.session_revoke(&by, message).await?;
        Ok(Response::new(written(&session)))
    }

    async fn issue_token(&self, request: Request<v1::IssueTokenRequest>) -> Result<Response<v1::IssuedToken>, Status> {
        let (by, message) = Authorized::take(request)?;
        Ok(Response::new(self.token_issue(&by, message).await?))
    }
}

impl Admin {
    async fn session_list(
        &self,
        by: &Authorized,
        message: v1::ListSessionsRequest,
    ) -> Result<v1::ListSessionsResponse, Failure> {
        let v1::ListSessionsRequest { page_size, page_token, filter } = message;
        let mut violations = Violations::default();
        let page = Page::read("sessions", &filter, page_size, &page_token, &mut violations);
        let mut terms = Filter::read(&filter, &["user"], &mut violations);
        let mut txn = self.store.begin_read().await?;
        let user = match terms.text("user") {
            Some(named) => {
                let user = users::find(&mut txn, by, &named).await.map_err(|_| "names a user that does not exist");
                violations.take("filter", user).map(|user| user.id)
            }
            None => None,
        };
        let (live_at, reach) = (Some(clock::now_ms()), by.reach());
        let filter = violations.finish(Some(SessionFilter { user, live_at, reach }))?;
        let rows = txn.session_list(&filter, page.after.as_deref(), page.limit()).await?;
        txn.end().await?;
        let (sessions, next_page_token) = page.write(&rows, written, |row| row.id.clone());
        Ok(v1::ListSessionsResponse { sessions, next_page_token })
    }

    async fn session_revoke(&self, by: &Authorized, message: v1::RevokeSessionRequest) -> Result<Session, Failure> {
        let v1::RevokeSessionRequest { session, reason } = message;
        let mut violations = Violations::default();
        let reason = wire::prose("reason", &reason, REASON_MAX, &mut violations);
        let reason = violations.finish(reason)?;
        let mut change = Change::begin(&self.store, by).await?;
        let old = find(&mut change.txn, by, &session).await?;
        if !change.txn.session_end(&old.id, change.revision).await? {
            return Ok(old);
        }
        let ended = |ended: bool| Some(wire::fields([("ended", json!(ended)), ("user", json!(old.user.as_str()))]));
        let target = format!("{}/{}", SessionId::NOUN, old.id);
        change
            .finish(Done {
                target: &target,
                before: ended(false),
                after: ended(true),
                reason: &reason,
                ..Done::default()
            })
            .await?;
        Ok(Session { ended: true, ..old })
    }

    async fn token_issue(&self, by: &Authorized, message: v1::IssueTokenRequest) -> Result<v1::IssuedToken, Failure> {
        let v1::IssueTokenRequest { key, life } = message;
        let Identity::User(user, Some(session)) = by.identity() else {
            let sentence = "credentials are for people who are signed in: run `tollgate login` first";
            return Err(Failure::Denied(sentence.into()));
        };
        let mut violations = Violations::default();
        let life_s = life
            .map(|life| violations.take("life", within(&life, TOKEN_LIFE_S).ok_or("must be 15 minutes to 12 hours")));
        let life_s = violations.finish(life_s.map_or(Some(None), |life| life.map(Some)))?;
        let key = self.own_key(by, user, &key).await?;
        let mut txn = self.store.begin().await?;
        let team = txn.team_find(key.team.as_str()).await?;
        let most = team.and_then(|team| team.self_service).map_or(TOKEN_LIFE_S.1, |allowed| allowed.token_life_max_s);
        if let Some(asked) = life_s.filter(|asked| *asked > most) {
            let mut violations = Violations::default();
            violations.add("life", format!("is {asked} s, and the team allows {most} s"));
            return violations.finish(None);
        }
        let life_s = i64::try_from(life_s.unwrap_or(LIFE_DEFAULT_S).min(most)).unwrap_or(i64::MAX);
        let now = clock::now_ms();
        let asked = Asked { user: user.clone(), key: key.id.clone(), session: session.clone(), life_s };
        let issued = self.signer.issue(&mut txn, &asked, now).await?;
        // A session that ended in between gives nothing: whoever ends it later knows how long its credentials live.
        if !txn.session_lends(session.as_str(), issued.expire_time).await? {
            return Err(Failure::Denied("the session has ended: run `tollgate login` again".into()));
        }
        let target = keys::target(&key);
        let detail = wire::fields([
            ("credential", json!(issued.id)),
            ("expire_time_ms", json!(issued.expire_time)),
            ("session", json!(session.as_str())),
        ]);
        let facts = Facts {
            initiator: by.principal(),
            target: &target,
            source_address: by.source_address(),
            detail,
            ..Facts::default()
        };
        audit::append(&mut txn, Entry::new(now, by.permission(), Outcome::Allowed, facts)).await?;
        txn.commit().await?;
        Ok(v1::IssuedToken {
            token: issued.credential.expose().to_owned(),
            expire_time: Some(wire::timestamp(issued.expire_time)),
            key: key.id.to_string(),
            session: session.to_string(),
        })
    }

    // The key of the caller's that is named, or their only one; where they have none, a new one in their team.
    async fn own_key(&self, by: &Authorized, user: &UserId, named: &str) -> Result<Key, Failure> {
        let mut txn = self.store.begin_read().await?;
        let missing = || Failure::NotFound { kind: KeyId::NOUN, name: wire::shown(named) };
        if !named.is_empty() {
            let key = keys::find(&mut txn, by, named).await?;
            return if key.user.as_ref() == Some(user) { usable(key) } else { Err(missing()) };
        }
        let filter =
            KeyFilter { user: Some(user.clone()), revoked: Some(false), reach: by.reach(), ..KeyFilter::default() };
        let mut keys = txn.key_list(&filter, None, 2).await?;
        let owner = txn.user_find(user.as_str()).await?.ok_or_else(missing)?;
        txn.end().await?;
        match (keys.len(), owner.team) {
            (0, Some(team)) => {
                let sentence = "you have no key, and may not create one: ask your platform team";
                let creating = by.also("key.create").ok_or_else(|| Failure::Denied(sentence.into()))?;
                let tail: String = user.ulid().chars().rev().take(6).collect();
                let (name, team) = (format!("{}.{tail}", owner.name), team.to_string());
                let wire = v1::Key { name, team, user: user.to_string(), ..v1::Key::default() };
                Ok(self.key_create(&creating, wire).await?.0)
            }
            (0, None) => Err(Failure::Denied(
                "you have no key, and no team in which to create one: ask your platform team".into(),
            )),
            (1, _) => keys.pop().ok_or_else(missing).and_then(usable),
            _ => {
                let mut violations = Violations::default();
                violations.add("key", "is required, since you have several: name one by id or name");
                violations.finish(None)
            }
        }
    }
}

fn usable(key: Key) -> Result<Key, Failure> {
    if key.revoked {
        let sentence = format!("key '{}' is revoked: name another one", key.name);
        return Err(Failure::Blocked { subject: keys::target(&key), sentence });
    }
    Ok(key)
}

async fn find(txn: &mut Txn, by: &Authorized, named: &str) -> Result<Session, Failure> {
    let missing = || Failure::NotFound { kind: SessionId::NOUN, name: wire::shown(named) };
    let session = txn.session_find(named).await?.ok_or_else(missing)?;
    let team = txn.user_find(session.user.as_str()).await?.and_then(|user| user.team);
    let place = txn.place_of_user(&session.user, team.as_ref()).await?;
    if by.reaches(&place) { Ok(session) } else { Err(missing()) }
}

fn written(session: &Session) -> v1::Session {
    v1::Session {
        id: session.id.clone(),
        user: session.user.to_string(),
        issuer: session.issuer.clone(),
        kind: session.kind.word().to_owned(),
        create_time: Some(wire::timestamp(session.create_time)),
        used_time: Some(wire::timestamp(session.used_time)),
        expire_time: Some(wire::timestamp(session.expire_time)),
        ended: session.ended,
        source_address: session.source_address.clone(),
        user_agent: session.user_agent.clone(),
    }
}
