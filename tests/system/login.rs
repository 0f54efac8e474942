//! A developer signs in with the real `tollgate` at a real control plane, which asks a certified identity provider; works through a
//! real replica; and is out within a second.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::{Row as _, SqlitePool};
use tollgate_proto::admin::v1::{
    Binding, CreateBindingRequest, SelfService, Team, UpdateTeamRequest, binding::Scope, binding::Subject,
};
use tollgate_tests::{
    client::{self, Answer, message},
    database::Kind,
    fleet::Fleet,
    identity::{Browser, Identity},
    laptop::{Laptop, Waiting},
    until,
};

/// The promise. Measured: see the README.
const PROMISE: Duration = Duration::from_secs(1);

/// A fleet at which Ada can sign in, her laptop and her browser.
struct Scene {
    fleet: Fleet,
    identity: Identity,
    laptop: Laptop,
    browser: Browser,
}

impl Scene {
    async fn begin(kind: Kind) -> Self {
        let mut fleet = Fleet::start(kind, 1).await;
        let login_url = fleet.control_plane.http_url();
        let identity = Identity::start(&format!("{login_url}/oauth/callback")).await;
        identity.groups("ada", "engineering").await;
        let file = fleet.directory.path().join("oidc.toml");
        std::fs::write(&file, identity.settings()).unwrap();
        fleet.control_plane.end().await;
        fleet.control_plane.set("OIDC_CONFIG", file.to_str().unwrap());
        fleet.control_plane.restart(&fleet.http).await;
        let self_service = Some(SelfService { keys_max: 2, models: vec!["claude-*".into()], ..Default::default() });
        let team = Team { name: "platform".into(), self_service, ..Default::default() };
        let update_mask = Some(prost_types::FieldMask { paths: vec!["self_service".into()] });
        fleet.admin.teams().update_team(UpdateTeamRequest { team: Some(team), update_mask }).await.unwrap();
        let binding = Binding {
            role: "developer".into(),
            subject: Some(Subject::Group("engineering".into())),
            scope: Some(Scope::Own(true)),
            ..Default::default()
        };
        fleet.admin.bindings().create_binding(CreateBindingRequest { binding: Some(binding) }).await.unwrap();
        let laptop = Laptop::new(&fleet.control_plane.url, &login_url);
        Self { fleet, identity, laptop, browser: Browser::new("ada") }
    }

    async fn sign_in(&mut self) {
        let mut login = self.laptop.begin(&["login"]);
        login.says("sign in at:").await;
        let address = login.says("  ").await;
        let page = self.browser.open(&address).await;
        assert!(page.status == 200 && page.text.contains("You are signed in"), "{page:?}");
        let ran = login.end().await;
        assert!(ran.code == Some(0) && ran.stderr.contains("signed in to"), "{ran:?}");
    }

    /// What `tollgate token` prints, when the replica has heard of its key.
    async fn credential(&self) -> String {
        let ran = self.laptop.run(&["token"]).await;
        assert!(ran.code == Some(0) && ran.stderr.is_empty(), "{ran:?}");
        self.fleet.admin.converged(1).await;
        ran.stdout.trim_end().to_owned()
    }

    async fn ask(&self, credential: &str) -> Answer {
        client::send(&self.fleet.http, &self.fleet.replicas[0].url, credential, message("hello", false)).await
    }

    async fn ends(&self, credential: &str, began: Instant) -> Duration {
        let refused = || async { (self.ask(credential).await.status == 401).then(|| began.elapsed()) };
        until("the replica to refuse the credential", refused).await
    }

    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> (u16, Value) {
        let url = format!("{}{path}", self.fleet.control_plane.http_url());
        let body = reqwest::Url::parse_with_params("http://form.invalid", fields).unwrap();
        let request = self.fleet.http.post(url).header("content-type", "application/x-www-form-urlencoded");
        let answer = client::read(request.body(body.query().unwrap().to_owned())).await;
        (answer.status.as_u16(), answer.json())
    }

    async fn fails(&self, line: &[&str], sentence: &str) {
        let ran = self.laptop.run(line).await;
        assert!(ran.code == Some(1) && ran.stdout.is_empty() && ran.stderr.contains(sentence), "{line:?} {ran:?}");
    }

    async fn begin_device(&self) -> (Waiting, String) {
        let mut login = self.laptop.begin(&["login", "--device"]);
        let code = login.says("with the code ").await;
        (login, code)
    }

    /// Types the code of a device, signs in, and says whether the device is theirs.
    async fn confirm(&mut self, code: &str, answer: &str) -> String {
        let url = format!("{}/oauth/device", self.fleet.control_plane.http_url());
        let page = self.browser.submit(&url, &[("user_code", code)]).await;
        let page = self.browser.open(&page.after("href=\"").unwrap_or_else(|| panic!("{page:?}"))).await;
        assert!(page.text.contains(code) && page.text.contains("You are ada"), "{page:?}");
        let ticket = page.after("name=\"ticket\" value=\"").unwrap_or_else(|| panic!("{page:?}"));
        self.browser.submit(&url, &[("ticket", &ticket), ("answer", answer)]).await.text
    }

    /// Makes the session look as it does a quarter of an hour on: the next command renews it, and the provider is asked. Of one
    /// session it is asked at most once in half a minute, and this test does not wait for so long.
    async fn later(&self) {
        self.laptop.age();
        sqlx::query("UPDATE sessions SET claim_time = 0").execute(&self.database()).await.unwrap();
    }

    fn database(&self) -> SqlitePool {
        let file = self.fleet.directory.path().join("tollgate.db");
        SqlitePool::connect_lazy(&format!("sqlite://{}", file.display())).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_developer_signs_in_by_a_browser_works_and_is_out_within_a_second_of_signing_out() {
    let mut scene = Scene::begin(Kind::Postgres).await;
    scene.fails(&["token"], "you are not signed in").await;
    scene.sign_in().await;
    let ran = scene.laptop.run(&["whoami", "-o", "json"]).await;
    assert!(ran.code == Some(0) && ran.stdout.contains("\"user\": \"ada\""), "{ran:?}");
    let credential = scene.credential().await;
    assert!(credential.starts_with("tgt_"), "{credential}");
    assert_eq!(scene.credential().await, credential, "it is kept");
    let answer = scene.ask(&credential).await;
    assert_eq!(answer.status, 200, "{}", answer.text());

    // Nothing is kept but what the README names, and nobody else may read it.
    let files = scene.laptop.files();
    let kept: Vec<_> = files.iter().map(|(name, mode, _)| (name.as_str(), *mode)).collect();
    let expect = [
        (".cache/tollgate/tokens.json", 0o600),
        (".cache/tollgate/tokens.lock", 0o600),
        (".config/tollgate/credentials.json", 0o600),
        (".config/tollgate/credentials.lock", 0o600),
    ];
    assert_eq!(kept, expect);
    let session = scene.laptop.session();
    let names: Vec<_> = session.as_object().unwrap().keys().collect();
    assert_eq!(names, ["access_token", "expires", "refresh_token", "url"]);
    let tokens: Value = serde_json::from_str(&files[0].2).unwrap();
    let names: Vec<_> = tokens[0].as_object().unwrap().keys().collect();
    assert_eq!(names, ["expires", "holder", "issued", "key", "key_id", "life", "server", "session", "token"]);
    assert_eq!((tokens.as_array().unwrap().len(), &tokens[0]["holder"]), (1, &json!("session")));

    let began = Instant::now();
    assert_eq!(scene.laptop.run(&["logout"]).await.code, Some(0));
    let elapsed = scene.ends(&credential, began).await;
    println!("a credential after `tollgate logout`: refused {elapsed:?} after the command was typed");
    assert!(elapsed < PROMISE, "{elapsed:?}");
    let refused = scene.ask(&credential).await;
    assert_eq!((refused.sentence().contains("session"), refused.header("x-should-retry")), (true, "false"));
    for (name, _, text) in scene.laptop.files() {
        let secrets = ["tgu_", "tgr_", "tgt_"];
        assert!(secrets.iter().all(|secret| !text.contains(secret)), "{name} still holds a token: {text}");
    }
    scene.fails(&["token"], "you are not signed in").await;

    // Whoever copied the file before has nothing of it.
    scene.laptop.keep(session.clone());
    scene.fails(&["whoami"], "tollgate login").await;
    scene.laptop.age();
    let refresh_token = session["refresh_token"].as_str().unwrap();
    scene.fails(&["token"], "has ended: run `tollgate login`").await;
    let fields = [("grant_type", "refresh_token"), ("client_id", "tollgate-cli"), ("refresh_token", refresh_token)];
    let (status, body) = scene.post("/oauth/token", &fields).await;
    assert_eq!((status, &body["error"]), (400, &json!("invalid_grant")), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_waits_for_its_person_who_confirms_denies_or_is_too_late() {
    let mut scene = Scene::begin(Kind::Sqlite).await;
    let database = scene.database();
    let (login, code) = scene.begin_device().await;
    // Asked once and told to wait, it goes on asking.
    let asked = || async {
        let row = sqlx::query("SELECT body FROM sign_ins WHERE kind = 'device'").fetch_one(&database).await.unwrap();
        let body: Value = serde_json::from_str(row.get(0)).unwrap();
        (body["asked"].as_i64().unwrap() > 0).then_some(())
    };
    until("the command to ask", asked).await;
    assert!(scene.confirm(&code, "yes").await.contains("signed in"));
    let ran = login.end().await;
    assert!(ran.code == Some(0) && ran.stderr.contains("signed in to"), "{ran:?}");
    let credential = scene.credential().await;
    assert_eq!(scene.ask(&credential).await.status, 200);

    let (login, code) = scene.begin_device().await;
    assert!(scene.confirm(&code, "no").await.contains("turned away"));
    let ran = login.end().await;
    let sentence = "the sign-in was refused: the person said that the device is not theirs";
    assert!(ran.code == Some(1) && ran.stderr.contains(sentence), "{ran:?}");

    let (login, _) = scene.begin_device().await;
    sqlx::query("UPDATE sign_ins SET expire_time = 0 WHERE kind = 'device'").execute(&database).await.unwrap();
    let ran = login.end().await;
    assert!(ran.code == Some(1) && ran.stderr.contains("the code was not confirmed in time"), "{ran:?}");
    assert!(ran.stderr.contains("tollgate login --device"), "{ran:?}");
    assert_eq!(scene.laptop.run(&["whoami"]).await.code, Some(0), "the session from before is still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_asks_too_often_is_told_to_slow_down() {
    let scene = Scene::begin(Kind::Sqlite).await;
    let (status, begun) = scene.post("/oauth/device_authorization", &[("client_id", "tollgate-cli")]).await;
    assert_eq!((status, &begun["interval"]), (200, &json!(5)), "{begun}");
    let poll = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("client_id", "tollgate-cli"),
        ("device_code", begun["device_code"].as_str().unwrap()),
    ];
    for expect in ["authorization_pending", "slow_down", "slow_down"] {
        let (status, body) = scene.post("/oauth/token", &poll).await;
        assert_eq!((status, &body["error"]), (400, &json!(expect)), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_the_identity_provider_takes_a_group_from_or_disables_gets_no_further_credential() {
    let mut scene = Scene::begin(Kind::Sqlite).await;
    scene.sign_in().await;
    let credential = scene.credential().await;
    assert_eq!(scene.ask(&credential).await.status, 200);

    scene.identity.groups("ada", "guests").await;
    scene.later().await;
    scene.fails(&["token", "--fresh"], "session.issue").await;
    scene.identity.groups("ada", "engineering").await;
    scene.later().await;
    let ran = scene.laptop.run(&["token", "--fresh"]).await;
    assert!(ran.code == Some(0) && ran.stdout.starts_with("tgt_"), "{ran:?}");

    // The credential that is kept is not handed out any more either, once the session was to be renewed.
    scene.identity.disable("ada").await;
    scene.later().await;
    let began = Instant::now();
    scene.fails(&["token"], "has ended: run `tollgate login`").await;
    let elapsed = scene.ends(&credential, began).await;
    println!("a credential of somebody who was disabled: refused {elapsed:?} after `tollgate token` was typed");
    assert!(elapsed < PROMISE, "{elapsed:?}");
    for (name, _, text) in scene.laptop.files() {
        assert!(!text.contains("tgt_") && !text.contains("tgr_"), "{name} still holds a token: {text}");
    }
}
