//! People sign in at a certified OpenID provider, which `scripts/install idp` fetches: nothing here plays its part.

use std::{net::SocketAddr, path::Path, process::Stdio};

use reqwest::{Client, Response, Url, redirect};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};
use tollgate_proto::admin::v1;

use crate::{
    oidc::{Person, groups, issuers, location, start_at, text, user},
    world::{Place, mask, over_both},
};

over_both! {
    a_person_signs_in_at_a_certified_provider
}

struct Provider {
    url: String,
    child: Child,
    // A provider that cannot print any more stops.
    _lines: Lines<BufReader<ChildStdout>>,
}

impl Provider {
    async fn start(callback: &str) -> Self {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/idp");
        let script = directory.join("idp.mjs");
        assert!(script.exists(), "the provider is not installed: run `make test`, or `scripts/install idp`");
        let mut node = Command::new("node");
        node.arg(script).arg(callback).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = node.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = lines.next_line().await.unwrap().unwrap();
        Self { url, child, _lines: lines }
    }

    async fn groups(&self, name: &str, groups: &str) {
        let told = Client::new().post(format!("{}/control/groups", self.url)).body(format!("{name} {groups}"));
        assert_eq!(told.send().await.unwrap().status(), 200);
    }

    fn settings(&self) -> String {
        format!(
            "[[issuer]]\nname = 'certified'\nurl = '{}'\nclient_id = 'tollgate'\n\
             client_secret = 'a secret: with/odd+characters'\nallow_private = true",
            self.url
        )
    }
}

/// Follows the provider's redirects and fills its forms in, until it sends the browser back to us.
async fn at_provider(cookies: &mut Vec<String>, first: &str, base: &str, name: &str) -> String {
    let client = Client::builder().redirect(redirect::Policy::none()).build().unwrap();
    let (mut url, mut form): (Url, Option<String>) = (first.parse().unwrap(), None);
    for _ in 0..20 {
        let request = match form.take() {
            Some(form) => {
                client.post(url.clone()).header("content-type", "application/x-www-form-urlencoded").body(form)
            }
            None => client.get(url.clone()),
        };
        let answer: Response = request.header("cookie", cookies.join("; ")).send().await.unwrap();
        for line in answer.headers().get_all("set-cookie") {
            let pair = line.to_str().unwrap().split(';').next().unwrap().to_owned();
            let prefix = format!("{}=", pair.split('=').next().unwrap());
            cookies.retain(|old| !old.starts_with(&prefix));
            cookies.push(pair);
        }
        if let Some(next) = answer.headers().get("location") {
            url = url.join(next.to_str().unwrap()).unwrap();
            if url.as_str().starts_with(base) {
                return url.to_string();
            }
            continue;
        }
        let page = answer.text().await.unwrap();
        let between = |before: &str| page.split(before).nth(1).and_then(|rest| rest.split('"').next());
        let action = between("action=\"").unwrap_or_else(|| panic!("no form at {url}: {page}")).to_owned();
        let prompt = between("name=\"prompt\" value=\"").unwrap_or("login").to_owned();
        url = url.join(&action).unwrap();
        form = Some(format!("prompt={prompt}&login={name}&password=anything"));
    }
    panic!("the provider does not come to an end")
}

async fn a_person_signs_in_at_a_certified_provider(place: Place) {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let provider = Provider::start(&format!("http://{free}/oauth/callback")).await;
    let world = start_at(&place, issuers(&provider.settings()), free).await;
    let mut person = Person::new(&world);
    provider.groups("grace", "dev,ops").await;
    let mut cookies = Vec::new();

    let tokens = sign_in(&mut person, &mut cookies, free).await;
    let grace = user(&world, "grace").await;
    assert_eq!(grace.email, "grace@corp.example");
    assert_eq!(groups(&world, &provider.url, &grace).await, ["dev", "ops"]);

    provider.groups("grace", "ops").await;
    let renewed: Value = person.refresh(text(&tokens, "refresh_token")).await.json().await.unwrap();
    assert_eq!(groups(&world, &provider.url, &grace).await, ["ops"]);
    let again: Value = person.refresh(text(&renewed, "refresh_token")).await.json().await.unwrap();
    assert!(again["access_token"].is_string(), "the provider's rotated refresh token is kept: {again}");

    let device = person.post("/oauth/device_authorization", &[("client_id", "tollgate-cli")]).await;
    let device: Value = device.json().await.unwrap();
    let page = person.post("/oauth/device", &[("user_code", text(&device, "user_code"))]).await.text().await.unwrap();
    let link = page.split("href=\"").nth(1).unwrap().split('"').next().unwrap().replace("&amp;", "&");
    let back = at_provider(&mut cookies, &link, &format!("http://{free}/"), "grace").await;
    let page = person.get(back.strip_prefix(&format!("http://{free}")).unwrap()).await.text().await.unwrap();
    let ticket = page.split("value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    person.post("/oauth/device", &[("ticket", &ticket), ("answer", "yes")]).await;
    let poll = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("client_id", "tollgate-cli"),
        ("device_code", text(&device, "device_code")),
    ];
    assert_eq!(person.post("/oauth/token", &poll).await.status(), 200);

    let tokens = sign_in(&mut person, &mut cookies, free).await;
    let disabled = v1::User { id: grace.id.clone(), disabled: true, ..Default::default() };
    let request = v1::UpdateUserRequest { user: Some(disabled), update_mask: mask(&["disabled"]) };
    world.users().update_user(request).await.unwrap();
    assert_eq!(person.refresh(text(&tokens, "refresh_token")).await.status(), 400);
    let refused = world.log("action=session.refuse").await;
    assert_eq!(refused.len(), 1);
    world.stop().await;
    let mut child = provider.child;
    child.kill().await.unwrap();
}

async fn sign_in(person: &mut Person, cookies: &mut Vec<String>, free: SocketAddr) -> Value {
    let asked = person.ask("").await;
    let first = asked.headers()["location"].to_str().unwrap().to_owned();
    let back = at_provider(cookies, &first, &format!("http://{free}/"), "grace").await;
    let back = person.get(back.strip_prefix(&format!("http://{free}")).unwrap()).await;
    let code = location(&back)["code"].clone();
    let answer = person.exchange(&code).await;
    assert_eq!(answer.status(), 200);
    answer.json().await.unwrap()
}
