//! Signing in, staying signed in, and credentials for agents.

use std::{fs, io, os::unix::fs::PermissionsExt as _, path::Path};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::{
    Ran,
    authority::{Authority, parameters},
    fake::Fake,
};
use crate::{Surroundings, run};

/// Passes on what is written.
struct Passing(mpsc::UnboundedSender<String>);

impl io::Write for Passing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.send(String::from_utf8_lossy(bytes).into_owned());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A person's home, a control plane, and where to sign in to it.
struct Scene {
    home: TempDir,
    fake: Fake,
    authority: Authority,
}

impl Scene {
    async fn begin() -> Self {
        Self { home: tempfile::tempdir().unwrap(), fake: Fake::start().await, authority: Authority::start().await }
    }

    async fn run_at(&self, now: &str, line: &[&str], stderr: &mut (dyn io::Write + Send)) -> (u8, String) {
        let home = self.home.path().to_str().unwrap().to_owned();
        let environment = [
            ("HOME", home),
            ("TOLLGATE_SERVER", self.fake.address()),
            ("TOLLGATE_LOGIN_URL", self.authority.url.clone()),
            ("BROWSER", "true".to_owned()),
        ];
        let mut stdout = Vec::new();
        let mut surroundings = Surroundings {
            environment: environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            stdin: &mut io::empty(),
            stdout: &mut stdout,
            stderr,
            now: now.parse().unwrap(),
        };
        let code = run(["tollgate"].iter().chain(line).map(Into::into), &mut surroundings).await;
        (code, String::from_utf8(stdout).unwrap())
    }

    async fn at(&self, now: &str, line: &[&str]) -> Ran {
        let mut stderr = Vec::new();
        let (code, stdout) = self.run_at(now, line, &mut stderr).await;
        Ran { code, stdout, stderr: String::from_utf8(stderr).unwrap() }
    }

    async fn tollgate(&self, line: &[&str]) -> Ran {
        self.at("2026-03-01T12:00:00Z", line).await
    }

    /// Keeps a session whose access token was good for 15 minutes.
    async fn sign_in(&self) {
        let ran = self.tollgate(&["login", "--device"]).await;
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }

    fn credentials(&self) -> Value {
        serde_json::from_str(&fs::read_to_string(self.file()).unwrap()).unwrap()
    }

    fn file(&self) -> std::path::PathBuf {
        self.home.path().join(".config/tollgate/credentials.json")
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_browser_brings_the_code_and_another_state_is_turned_away() {
    let scene = Scene::begin().await;
    let (sender, mut written) = mpsc::unbounded_channel::<String>();
    let browser = async {
        let mut text = String::new();
        while !text.contains("/oauth/authorize?") || !text.ends_with('\n') {
            text += &written.recv().await.unwrap();
        }
        let address = text.split_whitespace().find(|word| word.starts_with("http://")).unwrap().to_owned();
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let asked = parameters(address.split_once('?').unwrap().1);
        assert_eq!(asked["issuer"], "corporate");
        let redirect = client.get(&address).send().await.unwrap();
        let location = redirect.headers()["location"].to_str().unwrap().to_owned();
        let forged = format!("{}?code=forged&state=guessed", asked["redirect_uri"]);
        assert_eq!(client.get(forged).send().await.unwrap().status(), 400);
        assert_eq!(scene.authority.seen.lock().unwrap().exchanges, 0);
        assert_eq!(client.get(location).send().await.unwrap().status(), 200);
    };
    let mut stderr = Passing(sender);
    let _ = rustls::crypto::ring::default_provider().install_default();
    let login = scene.run_at("2026-03-01T12:00:00Z", &["login", "--issuer", "corporate", "-o", "json"], &mut stderr);
    let ((code, stdout), ()) = tokio::join!(login, browser);
    assert_eq!(code, 0);
    let shown: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&shown["url"], &shown["expire_time"]), (&json!(scene.authority.url), &json!("2026-03-01T12:15:00Z")));
    assert_eq!(scene.credentials()[scene.fake.address()]["access_token"], "tgu_access-1");
    assert_eq!((mode(&scene.file()), mode(scene.file().parent().unwrap())), (0o600, 0o700));
    assert_eq!(scene.tollgate(&["whoami"]).await.code, 0);
}

#[tokio::test]
async fn a_device_is_polled_until_the_code_was_confirmed() {
    let scene = Scene::begin().await;
    let ran = scene.tollgate(&["login", "--device"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{}", ran.stderr);
    assert!(ran.stderr.contains("ABCD-EFGH") && ran.stderr.contains("signed in to"), "{}", ran.stderr);
    assert_eq!(scene.authority.seen.lock().unwrap().polls, 2);
}

#[tokio::test]
async fn two_runs_at_once_refresh_once() {
    let scene = Scene::begin().await;
    scene.sign_in().await;
    let late = "2026-03-01T12:14:30Z";
    let (one, other) = tokio::join!(scene.at(late, &["whoami"]), scene.at(late, &["check"]));
    assert_eq!((one.code, other.code), (0, 0), "{}{}", one.stderr, other.stderr);
    assert_eq!(scene.authority.seen.lock().unwrap().refreshes, 1);
    let kept = &scene.credentials()[scene.fake.address()];
    assert_eq!((&kept["refresh_token"], &kept["expires"]), (&json!("tgr_2"), &json!("2026-03-01T12:29:30Z")));
}

#[tokio::test]
async fn a_session_that_ended_is_forgotten_and_said() {
    let scene = Scene::begin().await;
    scene.sign_in().await;
    let text = fs::read_to_string(scene.file()).unwrap().replace("tgr_1", "tgr_used");
    fs::write(scene.file(), text).unwrap();
    let ran = scene.at("2026-03-01T13:00:00Z", &["whoami"]).await;
    assert!(ran.code == 1 && ran.stderr.contains("has ended: run `tollgate login`"), "{}", ran.stderr);
    assert_eq!(scene.credentials(), json!({}));
}

#[tokio::test]
async fn a_credential_is_kept_while_enough_is_left_of_it() {
    let scene = Scene::begin().await;
    let ran = scene.tollgate(&["token"]).await;
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.lines().count()), (1, "", 1), "{}", ran.stderr);
    assert!(ran.stderr.contains("not signed in") && ran.stderr.contains("tollgate login"), "{}", ran.stderr);
    scene.sign_in().await;
    for (now, line, expect) in [
        ("2026-03-01T12:00:00Z", &["token"][..], "tgt_1\n"),
        ("2026-03-01T12:47:00Z", &["token"], "tgt_1\n"),
        ("2026-03-01T12:01:00Z", &["token", "--key", "laptop"], "tgt_2\n"),
        ("2026-03-01T12:02:00Z", &["token", "--fresh"], "tgt_3\n"),
        ("2026-03-01T12:49:00Z", &["token"], "tgt_4\n"),
    ] {
        let ran = scene.at(now, line).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (0, expect), "{now} {}", ran.stderr);
    }
    assert_eq!(mode(&scene.home.path().join(".cache/tollgate/tokens.json")), 0o600);
    assert_eq!(scene.tollgate(&["token", "--fresh", "-o", "json"]).await.json()["session"], "session-1");
}

#[tokio::test]
async fn who_signs_out_has_neither_session_nor_credential() {
    let scene = Scene::begin().await;
    scene.sign_in().await;
    assert_eq!(scene.tollgate(&["token"]).await.code, 0);
    let ran = scene.tollgate(&["logout", "-o", "json"]).await;
    assert_eq!((ran.code, ran.json()), (0, json!({"ended": scene.fake.address()})), "{}", ran.stderr);
    assert_eq!(scene.authority.seen.lock().unwrap().revoked, ["tgr_1"]);
    for line in [["token"], ["logout"]] {
        assert_eq!(scene.tollgate(&line).await.code, 1);
    }
    assert!(scene.tollgate(&["whoami"]).await.stderr.contains("tollgate login"));
}

#[tokio::test]
async fn a_credential_that_is_kept_is_given_while_the_session_may_live_and_not_after_it_ended() {
    let scene = Scene::begin().await;
    scene.sign_in().await;
    assert_eq!(scene.tollgate(&["token"]).await.stdout, "tgt_1\n");
    let (kept, late) = (fs::read_to_string(scene.file()).unwrap(), "2026-03-01T12:20:00Z");
    // Nobody listens at port 1: the control plane is away, and replicas go on taking the credential.
    fs::write(scene.file(), kept.replace(&scene.authority.url, "http://127.0.0.1:1")).unwrap();
    let ran = scene.at(late, &["token"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "tgt_1\n"), "{}", ran.stderr);
    let ran = scene.at(late, &["token", "--fresh"]).await;
    assert!(ran.code == 1 && ran.stderr.contains("no authorisation server answers"), "{}", ran.stderr);
    fs::write(scene.file(), kept.replace("tgr_1", "tgr_used")).unwrap();
    let ran = scene.at(late, &["token"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{}", ran.stderr);
    assert!(ran.stderr.contains("has ended: run `tollgate login`"), "{}", ran.stderr);
    let cached = fs::read_to_string(scene.home.path().join(".cache/tollgate/tokens.json")).unwrap();
    assert!(!cached.contains("tgt_1"), "{cached}");
}

#[tokio::test]
async fn a_credential_that_is_kept_is_not_given_again_after_the_session_was_ended_elsewhere() {
    let scene = Scene::begin().await;
    scene.sign_in().await;
    assert_eq!(scene.tollgate(&["token"]).await.stdout, "tgt_1\n");
    let kept = fs::read_to_string(scene.file()).unwrap();
    // By the clock the access token is good. The control plane knows it no longer, and the refresh token is asked in its place.
    fs::write(scene.file(), kept.replace("tgu_access-1", "tgu_gone")).unwrap();
    let ran = scene.tollgate(&["token"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "tgt_1\n"), "{}", ran.stderr);
    assert_eq!(scene.credentials()[scene.fake.address()]["access_token"], "tgu_access-2");
    fs::write(scene.file(), kept.replace("tgu_access-1", "tgu_gone").replace("tgr_1", "tgr_used")).unwrap();
    let ran = scene.tollgate(&["token"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{}", ran.stderr);
    assert!(ran.stderr.contains("has ended: run `tollgate login`"), "{}", ran.stderr);
    assert_eq!(scene.credentials(), json!({}));
}
