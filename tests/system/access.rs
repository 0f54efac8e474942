//! Short-lived credentials hold on every replica without a call, and end within a second, like everything of who has left.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tollgate_control_plane::{
    sessions::{Beginning, fresh_id},
    store::sessions::SessionKind,
};
use tollgate_policy::id::UserId;
use tollgate_proto::admin::v1::{
    Binding, CreateBindingRequest, CreateUserRequest, IssueTokenRequest, IssuedToken, Key, RevokeSessionRequest,
    SelfService, Team, UpdateTeamRequest, UpdateUserRequest, User, binding::Scope, binding::Subject,
};
use tollgate_tests::{
    admin::Admin,
    client::{self, message},
    cluster::{Cluster, Shape},
    database::Kind,
    until,
};

const REPLICAS: usize = 5;
/// The promise. Measured: see the README.
const PROMISE: Duration = Duration::from_secs(1);

/// A developer of the team `platform` who is signed in.
struct Developer {
    id: String,
    session: String,
    admin: Admin,
}

impl Developer {
    async fn sign_in(cluster: &Cluster, user: User) -> Self {
        let binding = Binding {
            role: "developer".into(),
            subject: Some(Subject::User(user.id.clone())),
            scope: Some(Scope::Own(true)),
            ..Default::default()
        };
        let request = CreateBindingRequest { binding: Some(binding) };
        cluster.admin.bindings().create_binding(request).await.unwrap();
        let plane = &cluster.control_planes[0];
        let (session, id) = (fresh_id(), UserId::parse(&user.id).unwrap());
        let mut txn = plane.store.begin().await.unwrap();
        let beginning = Beginning {
            id: &session,
            user: &id,
            issuer: "https://idp.example.com",
            kind: SessionKind::CommandLine,
            checked_time: i64::MAX / 2,
            source_address: "127.0.0.1",
            user_agent: "test",
        };
        let tokens = plane.people.sessions.begin(&mut txn, beginning).await.unwrap();
        txn.commit().await.unwrap();
        Self { id: user.id, session, admin: Admin::new(&plane.admin, &tokens.access) }
    }

    async fn credential(&self) -> IssuedToken {
        let request = IssueTokenRequest { key: String::new(), life: None };
        self.admin.sessions().issue_token(request).await.unwrap().into_inner()
    }
}

async fn create(cluster: &Cluster, name: &str) -> User {
    let user = User { name: name.into(), team: "platform".into(), ..Default::default() };
    cluster.admin.users().create_user(CreateUserRequest { user: Some(user) }).await.unwrap().into_inner()
}

async fn let_developers_have_keys(cluster: &Cluster) {
    let self_service = Some(SelfService { keys_max: 2, models: vec!["claude-*".into()], ..Default::default() });
    let team = Team { name: "platform".into(), self_service, ..Default::default() };
    let update_mask = Some(prost_types::FieldMask { paths: vec!["self_service".into()] });
    let request = UpdateTeamRequest { team: Some(team), update_mask };
    cluster.admin.teams().update_team(request).await.unwrap();
}

// Opens a stream on each replica, does something, and returns when each stream has ended and how.
async fn cut(cluster: &Cluster, secret: &str, done: impl Future<Output = ()>) -> Vec<(Duration, String)> {
    let mut streams = Vec::new();
    for replica in &cluster.replicas {
        let settings = [("events", "3000"), ("spacing", "20ms")];
        let mut response = client::shaped(&cluster.http, &replica.url, secret, true, &settings).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let first = response.chunk().await.unwrap().unwrap();
        streams.push((response, first.to_vec()));
    }
    done.await;
    let began = Instant::now();
    join_all(streams.into_iter().map(|(mut response, mut text)| async move {
        while let Some(chunk) = response.chunk().await.expect("the stream ends properly") {
            text.extend_from_slice(&chunk);
        }
        let text = String::from_utf8(text).unwrap();
        (began.elapsed(), text.trim_end().rsplit("\n\n").next().unwrap().to_owned())
    }))
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_holds_on_every_replica_and_ends_with_its_session_within_a_second() {
    let cluster = Cluster::start(Shape { database: Kind::Sqlite, control_planes: 1, replicas: REPLICAS }).await;
    let_developers_have_keys(&cluster).await;
    let ada = Developer::sign_in(&cluster, create(&cluster, "ada").await).await;
    let first = ada.credential().await;
    assert!(first.token.starts_with("tgt_") && first.session == ada.session);
    cluster.admin.converged(REPLICAS).await;
    // The key that was made for it takes the team's rules; a second credential is for the same one.
    let second = ada.credential().await;
    assert_eq!(second.key, first.key);
    for (credential, replica) in [&first.token, &second.token].into_iter().cycle().zip(&cluster.replicas) {
        let answer = client::send(&cluster.http, &replica.url, credential, message("hello", false)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let records = cluster.admin.records_at_least(REPLICAS, &format!("user={}", ada.id)).await;
    assert!(records.iter().all(|stored| stored.record.as_ref().unwrap().key == first.key), "attributed to the key");
    let ends = cut(&cluster, &first.token, async {
        let request = RevokeSessionRequest { session: ada.session.clone(), reason: "a lost laptop".into() };
        cluster.admin.sessions().revoke_session(request).await.unwrap();
    })
    .await;
    for (elapsed, last) in &ends {
        assert!(*elapsed < PROMISE && last.starts_with("event: error"), "{elapsed:?}: {last}");
    }
    println!("streams of an ended session: cut after {:?}", ends.iter().map(|end| end.0).max().unwrap());
    for (credential, replica) in [&first.token, &second.token].into_iter().cycle().zip(&cluster.replicas) {
        let answer = client::send(&cluster.http, &replica.url, credential, message("hello", false)).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-should-retry")), (401, "false"));
    }
    let request = IssueTokenRequest { key: String::new(), life: None };
    assert!(ada.admin.sessions().issue_token(request).await.is_err(), "nothing more is issued");
    let issued = cluster.admin.entries("action=session.issue").await;
    assert!(issued.len() == 2 && !format!("{issued:?}").contains("tgt_"), "{issued:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_the_identity_provider_deactivates_loses_keys_credentials_and_streams_within_a_second() {
    let cluster = Cluster::start(Shape { database: Kind::Postgres, control_planes: 1, replicas: REPLICAS }).await;
    let_developers_have_keys(&cluster).await;
    let root = std::fs::read_to_string(cluster.directory().join("admin-token")).unwrap();
    let users = format!("{}/scim/v2/Users", cluster.control_planes[0].http);
    let body = r#"{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"ada@acme.com"}"#;
    let request = cluster.http.post(&users).bearer_auth(root.trim()).header("content-type", "application/scim+json");
    let created: serde_json::Value = request.body(body).send().await.unwrap().json().await.unwrap();
    let (id, team) = (created["id"].as_str().unwrap().to_owned(), "platform".to_owned());
    let update_mask = Some(prost_types::FieldMask { paths: vec!["team".into()] });
    let request = UpdateUserRequest { user: Some(User { id, team, ..Default::default() }), update_mask };
    let user = cluster.admin.users().update_user(request).await.unwrap().into_inner();
    let ada = Developer::sign_in(&cluster, user).await;
    let key = Key { name: "long".into(), team: "platform".into(), user: ada.id.clone(), ..Default::default() };
    let long_lived = cluster.admin.key_with(key).await.secret;
    let credential = ada.credential().await.token;
    cluster.admin.converged(REPLICAS).await;
    let scim = format!("{users}/{}", ada.id);
    let patch = async |active: bool| {
        let body = format!(
            r#"{{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{{"op":"replace","path":"active","value":{active}}}]}}"#
        );
        let request = cluster.http.patch(&scim).bearer_auth(root.trim()).body(body);
        request.header("content-type", "application/scim+json").send().await.unwrap().status().as_u16()
    };
    let status = async |secret: &str| {
        let url = &cluster.replicas[0].url;
        client::send(&cluster.http, url, secret, message("hello", false)).await.status.as_u16()
    };
    for secret in [&credential, &long_lived] {
        let ends = cut(&cluster, secret, async { assert_eq!(patch(false).await, 200) }).await;
        for (elapsed, last) in &ends {
            assert!(*elapsed < PROMISE && last.starts_with("event: error"), "{elapsed:?}: {last}");
        }
        println!("streams of a deactivated user: cut after {:?}", ends.iter().map(|end| end.0).max().unwrap());
        for secret in [&credential, &long_lived] {
            assert_eq!(status(secret).await, 401);
        }
        let request = IssueTokenRequest { key: "long".into(), life: None };
        assert!(ada.admin.sessions().issue_token(request).await.is_err(), "nothing more is issued");
        assert_eq!(patch(true).await, 200);
        until("the key to serve again", || async { (status(&long_lived).await == 200).then_some(()) }).await;
        assert_eq!(status(&credential).await, 401, "its session ended with its user, and does not come back");
    }
}
