//! A certified OpenID provider as a process (`tests/idp`), as an identity provider and as an authorisation server, and the browser of whoever signs in
//! there.

use std::{collections::BTreeMap, path::Path, process::Stdio};

use reqwest::{Method, Url, header::HeaderMap};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::{client, must};

/// The most pages between the first and the last of a sign-in.
const PAGES_MAX: usize = 30;

/// The provider. It ends when it is dropped.
#[derive(Debug)]
pub struct Identity {
    /// Its issuer URL.
    pub url: String,
    script: Script,
}

/// An authorisation server for servers of tools as a process (`tests/idp`). It ends when it is dropped.
#[derive(Debug)]
pub struct Authorization {
    /// Its issuer URL.
    pub url: String,
    script: Script,
}

// A script of Node that prints where it listens. A process that cannot print any more stops.
#[derive(Debug)]
struct Script {
    http: reqwest::Client,
    _child: Child,
    _lines: Lines<BufReader<ChildStdout>>,
}

/// A person at a browser, who signs in under one name wherever they are asked.
#[derive(Debug)]
pub struct Browser {
    name: String,
    http: reqwest::Client,
    // By name alone, as of one host: browsers do not tell ports apart.
    cookies: BTreeMap<String, String>,
}

/// What a browser shows in the end.
#[derive(Debug)]
pub struct Page {
    /// Where it is.
    pub url: Url,
    /// The status with which it came.
    pub status: u16,
    /// Its source.
    pub text: String,
}

// === impl Identity ===

impl Identity {
    /// Starts the provider for a Tollgate that is called back there.
    ///
    /// # Panics
    /// When it is not installed: run the tests with `make test`.
    pub async fn start(callback: &str) -> Self {
        let (url, script) = Script::start("idp.mjs", &[callback]).await;
        Self { url, script }
    }

    /// The issuer in the control plane's configuration: the group `engineering` brings people into the team `platform`.
    #[must_use]
    pub fn settings(&self) -> String {
        format!(
            "[[issuer]]\nname = 'certified'\nurl = '{}'\nclient_id = 'tollgate'\nallow_private = true\n\
             client_secret = 'a secret: with/odd+characters'\ngroups_claim = '/groups'\n\
             rules = [{{ claim = '/groups', equals = 'engineering', team = 'platform' }}]\n",
            self.url
        )
    }

    /// Puts a person into these groups and no others.
    pub async fn groups(&self, name: &str, groups: &str) {
        self.control("groups", format!("{name} {groups}")).await;
    }

    /// Knows a person no longer.
    pub async fn disable(&self, name: &str) {
        self.control("disable", name.to_owned()).await;
    }

    async fn control(&self, what: &str, body: String) {
        self.script.control(&self.url, what, body).await;
    }
}

// === impl Authorization ===

impl Authorization {
    /// Starts it.
    ///
    /// # Panics
    /// When it is not installed: run the tests with `make test`.
    pub async fn start() -> Self {
        let (url, script) = Script::start("authorization.mjs", &[]).await;
        Self { url, script }
    }

    /// Takes back whatever a person has permitted there.
    pub async fn forget(&self, name: &str) {
        self.script.control(&self.url, "forget", name.to_owned()).await;
    }

    /// Exchanges what that issuer signs.
    pub async fn trust(&self, issuer: &str) {
        self.script.control(&self.url, "trust", issuer.to_owned()).await;
    }

    /// How many tokens it has given for a kind of grant.
    pub async fn count(&self, grant_type: &str) -> u64 {
        let counted = self.script.control(&self.url, "count", String::new()).await;
        counted.json()[grant_type].as_u64().unwrap_or_default()
    }
}

// === impl Script ===

impl Script {
    async fn start(name: &str, arguments: &[&str]) -> (String, Self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/idp").join(name);
        assert!(script.exists(), "{name} is not installed: run `make test`, or `scripts/install idp`");
        let mut node = Command::new("node");
        node.arg(script).args(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = must("node", node.spawn());
        let mut lines = BufReader::new(must("pipe", child.stdout.take().ok_or("none"))).lines();
        let url = must("its address", must("a line", lines.next_line().await).ok_or("it ended"));
        (url, Self { http: client::http(), _child: child, _lines: lines })
    }

    async fn control(&self, url: &str, what: &str, body: String) -> client::Answer {
        let answer = client::read(self.http.post(format!("{url}/control/{what}")).body(body)).await;
        assert!(answer.status.is_success(), "{what}: {}", answer.text());
        answer
    }
}

// === impl Browser ===

impl Browser {
    /// A browser without any history.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), http: client::http(), cookies: BTreeMap::new() }
    }

    /// Opens an address and goes on, through redirects and the provider's forms, until there is nothing more to do.
    pub async fn open(&mut self, url: &str) -> Page {
        self.go(Method::GET, must("url", url.parse()), &[]).await
    }

    /// Sends a form of a page.
    pub async fn submit(&mut self, url: &str, fields: &[(&str, &str)]) -> Page {
        self.go(Method::POST, must("url", url.parse()), fields).await
    }

    async fn go(&mut self, mut method: Method, mut url: Url, fields: &[(&str, &str)]) -> Page {
        let mut form = encoded(fields);
        for _ in 0..PAGES_MAX {
            let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let mut request = self.http.request(method.clone(), url.clone()).header("cookie", cookies.join("; "));
            if method == Method::POST {
                request = request.header("origin", url.origin().ascii_serialization());
                request = request.header("content-type", "application/x-www-form-urlencoded").body(form.clone());
            }
            let answer = client::read(request).await;
            self.keep(&answer.headers);
            if !answer.header("location").is_empty() {
                (method, url) = (Method::GET, must("location", url.join(answer.header("location"))));
                continue;
            }
            let page = Page { status: answer.status.as_u16(), text: answer.text(), url: url.clone() };
            let Some(prompt) = page.after("name=\"prompt\" value=\"") else { return page };
            let action = page.after("action=\"").unwrap_or_default();
            form = encoded(&[("prompt", &prompt), ("login", &self.name), ("password", "anything")]);
            (method, url) = (Method::POST, must("action", url.join(&action)));
        }
        panic!("the sign-in does not come to an end: {url}")
    }

    fn keep(&mut self, headers: &HeaderMap) {
        for line in headers.get_all("set-cookie").iter().filter_map(|line| line.to_str().ok()) {
            let pair = line.split(';').next().unwrap_or_default();
            let Some((name, value)) = pair.split_once('=') else { continue };
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
    }
}

// === impl Page ===

impl Page {
    /// What stands in the page between this and the next quotation mark.
    #[must_use]
    pub fn after(&self, before: &str) -> Option<String> {
        let text = self.text.split(before).nth(1)?.split('"').next()?;
        Some(text.replace("&amp;", "&"))
    }
}

fn encoded(fields: &[(&str, &str)]) -> String {
    let url = must("form", Url::parse_with_params("http://form.invalid", fields));
    url.query().unwrap_or_default().to_owned()
}
