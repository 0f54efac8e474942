//! Messages to servers of tools, through all rooms, over real connections to servers that speak the protocol.

use serde_json::{Value, json};
use tollgate_policy::{
    id::McpServerId,
    mcp::{
        Access, CALL_BYTES_DEFAULT, McpAuth, McpCredential, McpServer, Pin, Pinning, TIMEOUT_DEFAULT, ToolPrice,
        ToolRule, Transport, rule_pattern,
    },
    money::NanoUsd,
    pattern::Pattern,
    rule::CallRule,
};

use std::collections::BTreeMap;

use self::fake::Fake;
use super::*;
use crate::{
    config::McpProcess,
    mcp::{Keeper, Processes},
};

mod calls;
mod fake;
mod oauth;
mod openapi;
mod rules;
mod sessions;
mod stdio;
mod traffic;

const ACCEPT: (&str, &str) = ("accept", "application/json, text/event-stream");
const JSON_BODY: (&str, &str) = ("content-type", "application/json");

/// A replica before servers of tools.
struct Tools {
    stand: Stand,
    keeping: JoinSet<()>,
    ending: CancellationToken,
    home: tempfile::TempDir,
    ids: std::cell::Cell<u64>,
}

fn server(name: &str, fake: &Fake) -> McpServer {
    blank(name, fake.url())
}

fn blank(name: &str, url: String) -> McpServer {
    let last = char::from(b'a' + name.bytes().fold(0, |sum: u8, byte| sum.wrapping_add(byte)) % 20);
    McpServer {
        id: McpServerId::from_ulid(&format!("{ULID}{last}")).unwrap(),
        name: name.into(),
        disabled: false,
        url: url.into(),
        document: None,
        allow_private: true,
        transport: Transport::StreamableHttp,
        auth: McpAuth::Nothing,
        credential: None,
        grants: 0,
        tests: 0,
        customers: vec![],
        teams: vec![],
        keys: Patterns::default(),
        tools: Patterns::default(),
        prompts: Patterns::default(),
        resources: Patterns::default(),
        prices: Arc::default(),
        timeout: TIMEOUT_DEFAULT,
        parallel_max: 0,
        arguments_bytes_max: CALL_BYTES_DEFAULT,
        result_bytes_max: CALL_BYTES_DEFAULT,
        truncate: false,
        record_arguments: false,
        pinning: Pinning::Off,
        pins: Arc::default(),
    }
}

fn access(list: &[&str]) -> Access {
    Access::parse(list).unwrap()
}

impl Tools {
    async fn new(servers: Vec<McpServer>) -> Self {
        Self::with(servers, BTreeMap::new()).await
    }

    /// With servers that run as processes.
    async fn with(servers: Vec<McpServer>, programs: BTreeMap<String, McpProcess>) -> Self {
        let tools = Self::bare(programs).await;
        tools.policy(servers).await;
        tools
    }

    async fn bare(programs: BTreeMap<String, McpProcess>) -> Self {
        let stand = Stand::new(&["sk-1"]).await;
        let (holder, known) = (Arc::clone(&stand.holder), Arc::clone(&stand.servers));
        let (home, ending, mut keeping) = (tempfile::tempdir().unwrap(), CancellationToken::new(), JoinSet::new());
        let (processes, supervisor) = Processes::new(Arc::new(programs), home.path().to_owned());
        let keeper = Keeper::new(holder, known, Arc::clone(&stand.upstream), processes);
        keeping.spawn(keeper.run(ending.clone()));
        keeping.spawn(supervisor.run(ending.clone()));
        Self { stand, keeping, ending, home, ids: std::cell::Cell::new(0) }
    }

    /// Makes these servers hold, and waits until each of them was asked, with or without success.
    async fn policy(&self, servers: Vec<McpServer>) {
        let ids: Vec<_> = servers.iter().map(|server| server.id.clone()).collect();
        self.put(servers.into_iter().map(Object::McpServer).collect());
        for id in ids {
            self.until(|| {
                let server = self.server(&id);
                server.is_some_and(|server| server.catalogue().is_some() || server.problem().is_some())
            })
            .await;
        }
    }

    /// A server of the policy that holds, as it is to whoever is no user.
    fn server(&self, id: &McpServerId) -> Option<Arc<crate::mcp::Server>> {
        let current = self.stand.holder.load().unwrap();
        let policy = current.snapshot.mcp_servers().iter().find(|policy| policy.id == *id)?;
        self.stand.servers.get(policy, None)
    }

    fn put(&self, objects: Vec<Object>) {
        let current = self.stand.holder.load().unwrap();
        let revision = current.snapshot.revision() + 1;
        self.stand.hold(current.snapshot.next(revision, objects, vec![]));
    }

    /// Gives the key these tools.
    fn allow(&self, list: &[&str]) {
        self.put(vec![Object::Key(Key { tools: access(list), ..self.key() })]);
    }

    /// Gives the key these rules: a pattern, and what must hold.
    fn rule(&self, rules: &[(&str, &str)]) {
        let rule = |(tools, when): &(&str, &str)| ToolRule {
            tools: rule_pattern(tools).unwrap(),
            when: CallRule::parse(when).unwrap(),
        };
        self.put(vec![Object::Key(Key { tool_rules: rules.iter().map(rule).collect(), ..self.key() })]);
    }

    fn key(&self) -> Key {
        let current = self.stand.holder.load().unwrap();
        let key = current.snapshot.key_by_id(&KeyId::from_ulid(&format!("{ULID}k")).unwrap()).unwrap();
        Key::clone(key)
    }

    async fn until(&self, holds: impl Fn() -> bool) {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn message(&self, method: &str, params: Value) -> Value {
        self.ids.set(self.ids.get() + 1);
        json!({"jsonrpc": "2.0", "id": self.ids.get(), "method": method, "params": params})
    }

    async fn post(&self, path: &str, body: &Value, headers: &[(&str, &str)]) -> Answered {
        let all: Vec<(&str, &str)> = [ACCEPT, JSON_BODY].into_iter().chain(headers.iter().copied()).collect();
        self.stand.send(path, &body.to_string(), &all).await
    }

    /// Begins a session, and gives its id.
    async fn initialize(&self, path: &str, capabilities: Value) -> String {
        let info = json!({"name": "test", "version": "1"});
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": info});
        let answer = self.post(path, &self.message("initialize", params), &[]).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.headers.get("mcp-session-id").unwrap().to_str().unwrap().to_owned()
    }

    /// Asks in a session. The answer is the last message, whether it came alone or in a stream.
    async fn ask(&self, path: &str, session: &str, method: &str, params: Value) -> Value {
        let headers = [("mcp-session-id", session), ("mcp-protocol-version", "2025-11-25")];
        last(&self.post(path, &self.message(method, params), &headers).await)
    }

    /// Asks as 2026-07-28 has it.
    async fn alone(&self, path: &str, method: &str, mut params: Value) -> Value {
        last(&self.post_alone(path, method, &mut params).await)
    }

    async fn post_alone(&self, path: &str, method: &str, params: &mut Value) -> Answered {
        params["_meta"]["io.modelcontextprotocol/protocolVersion"] = "2026-07-28".into();
        params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
        let name = ["name", "uri"].into_iter().find_map(|member| params[member].as_str().map(str::to_owned));
        let mut headers = vec![("mcp-protocol-version", "2026-07-28"), ("mcp-method", method)];
        headers.extend(name.as_deref().map(|name| ("mcp-name", name)));
        self.post(path, &self.message(method, params.clone()), &headers).await
    }

    async fn records(self) -> Vec<Record> {
        drop(self.keeping);
        self.stand.records().await
    }
}

fn messages(answer: &Answered) -> Vec<Value> {
    if answer.headers.get("content-type").is_some_and(|value| value == "application/json") {
        return vec![serde_json::from_str(&answer.text).unwrap()];
    }
    let data = answer.text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap()).collect()
}

fn last(answer: &Answered) -> Value {
    messages(answer).pop().unwrap_or_else(|| panic!("{} {}", answer.status, answer.text))
}

fn names(list: &Value, kind: &str, member: &str) -> Vec<String> {
    let list = list["result"][kind].as_array().unwrap_or_else(|| panic!("{list}"));
    list.iter().map(|one| one[member].as_str().unwrap().to_owned()).collect()
}

fn entry(record: &Record) -> Value {
    serde_json::from_slice(&record.evidence.as_ref().unwrap().body).unwrap()
}
