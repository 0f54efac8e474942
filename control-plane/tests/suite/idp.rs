//! People sign in at a certified OpenID provider, which `scripts/install idp` fetches: nothing here plays its part.

use std::{collections::HashMap, net::SocketAddr, path::Path, process::Stdio};

use reqwest::{Client, Response, Url, redirect};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};
use tollgate_control_plane::store::Statement;
use tollgate_proto::admin::v1::{self, binding::Subject, customer_service_client::CustomerServiceClient};
use tonic::Code;

use crate::{
    oidc::{Person, groups, issuers, location, start_at, text, user},
    roles::As,
    world::{Place, World, code, mask, over_both},
};

over_both! {
    a_person_signs_in_at_a_certified_provider
    a_person_signs_out_at_a_certified_provider
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

/// Follows the provider's redirects and fills its forms in, until it sends the browser back to us. Returns where, and what the
/// forms asked for.
async fn at_provider(cookies: &mut Vec<String>, first: &str, base: &str, name: &str) -> (String, Vec<&'static str>) {
    let client = Client::builder().redirect(redirect::Policy::none()).build().unwrap();
    let (mut url, mut form): (Url, Option<String>) = (first.parse().unwrap(), None);
    let mut asked = Vec::new();
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
                return (url.to_string(), asked);
            }
            continue;
        }
        let page = answer.text().await.unwrap();
        let between = |before: &str| page.split(before).nth(1).and_then(|rest| rest.split('"').next());
        let action = between("action=\"").unwrap_or_else(|| panic!("no form at {url}: {page}")).to_owned();
        url = url.join(&action).unwrap();
        let (what, filled) = match (between("name=\"xsrf\" value=\""), between("name=\"prompt\" value=\"")) {
            (Some(xsrf), _) => ("logout", format!("xsrf={xsrf}&logout=yes")),
            (None, Some("consent")) => ("consent", "prompt=consent".to_owned()),
            (None, _) => ("login", format!("prompt=login&login={name}&password=anything")),
        };
        asked.push(what);
        form = Some(filled);
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
    let (back, _) = at_provider(&mut cookies, &link, &format!("http://{free}/"), "grace").await;
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

async fn a_person_signs_out_at_a_certified_provider(place: Place) {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let provider = Provider::start(&format!("http://{free}/oauth/callback")).await;
    let world = start_at(&place, issuers(&provider.settings()), free).await;
    let base = format!("http://{free}/");
    let mut person = Person::new(&world);
    provider.groups("grace", "dev").await;
    As::token(&world, &world.token).bind("viewer", Subject::Group("dev".into()), None).await.unwrap();
    let mut cookies = Vec::new();

    // The command line: by either token, both are dead.
    for which in ["access_token", "refresh_token"] {
        let tokens = sign_in(&mut person, &mut cookies, free).await;
        list(&world, text(&tokens, "access_token")).await.unwrap();
        assert_eq!(person.post("/oauth/revoke", &[("token", text(&tokens, which))]).await.status(), 200);
        assert_eq!(code(list(&world, text(&tokens, "access_token")).await), Code::Unauthenticated, "{which}");
        assert_eq!(person.refresh(text(&tokens, "refresh_token")).await.status(), 400, "{which}");
    }

    // The browser: here at once, and there by a link to where the provider ends its own session.
    let asked = log_in(&mut person, &mut cookies, &base).await;
    assert!(!asked.contains(&"login"), "the provider still knows the browser: {asked:?}");
    let cookie = person.session_cookie().to_owned();
    list(&world, &cookie).await.unwrap();
    let answer = person.log_out().await;
    assert_eq!(answer.status(), 200);
    assert_eq!(person.session_cookie(), "", "the cookie is taken back");
    assert_eq!(code(list(&world, &cookie).await), Code::Unauthenticated, "and is dead where it was kept");
    let page = answer.text().await.unwrap();
    let link = page.split("href=\"").nth(1).unwrap().split('"').next().unwrap().replace("&amp;", "&");
    let fields: HashMap<_, _> = Url::parse(&link).unwrap().query_pairs().into_owned().collect();
    assert!(link.starts_with(&format!("{}/session/end?", provider.url)), "{link}");
    assert_eq!(fields["post_logout_redirect_uri"], format!("{base}logout"));
    assert_eq!(fields["id_token_hint"].split('.').count(), 3);
    let (back, asked) = at_provider(&mut cookies, &link, &base, "grace").await;
    assert_eq!((back.as_str(), asked.as_slice()), (fields["post_logout_redirect_uri"].as_str(), &["logout"][..]));
    let asked = log_in(&mut person, &mut cookies, &base).await;
    assert_eq!(asked.first(), Some(&"login"), "the provider does not know the browser any more");

    let grace = user(&world, "grace").await;
    let ended = world.log("action=session.end").await;
    assert_eq!(ended.len(), 3);
    assert!(ended.iter().all(|entry| entry.initiator == format!("user/{}", grace.id)), "{ended:?}");
    assert!(ended.iter().all(|entry| entry.detail.contains("signed out")), "{ended:?}");
    let mut txn = world.store.begin_read().await.unwrap();
    let select = "SELECT COUNT(*) AS kept FROM secrets WHERE purpose = 'idp-id-token' OR purpose = 'idp-refresh'";
    let kept = txn.fetch_one(Statement::new(select)).await.unwrap().int("kept").unwrap();
    txn.end().await.unwrap();
    assert_eq!(kept, 2, "of the session that goes on, and of no other");
    world.stop().await;
    let mut child = provider.child;
    child.kill().await.unwrap();
}

async fn list(world: &World, token: &str) -> Result<(), tonic::Status> {
    let mut customers = CustomerServiceClient::new(As::token(world, token).service());
    customers.list_customers(v1::ListCustomersRequest::default()).await.map(drop)
}

async fn log_in(person: &mut Person, cookies: &mut Vec<String>, base: &str) -> Vec<&'static str> {
    let begun = person.get("/login?next=/logout").await;
    let first = begun.headers()["location"].to_str().unwrap().to_owned();
    let (back, asked) = at_provider(cookies, &first, base, "grace").await;
    let back = person.get(&format!("/{}", back.strip_prefix(base).unwrap())).await;
    assert_eq!(back.headers()["location"], "/logout");
    asked
}

async fn sign_in(person: &mut Person, cookies: &mut Vec<String>, free: SocketAddr) -> Value {
    let asked = person.ask("").await;
    let first = asked.headers()["location"].to_str().unwrap().to_owned();
    let (back, _) = at_provider(cookies, &first, &format!("http://{free}/"), "grace").await;
    let back = person.get(back.strip_prefix(&format!("http://{free}")).unwrap()).await;
    let code = location(&back)["code"].clone();
    let answer = person.exchange(&code).await;
    assert_eq!(answer.status(), 200);
    answer.json().await.unwrap()
}
