//! A server of tools over standard input and output: this test program itself, started once more. What its harness prints before is what servers
//! should not write there, and some do.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, Write as _},
};

use serde_json::{Value, json};

/// The variable that makes the program be one, and of which kind.
pub(super) const KIND: &str = "FAKE_MCP_KIND";

/// Serves until its input ends, if it was started to do so.
pub(super) fn serve_if_asked() {
    let Some(kind) = std::env::var_os(KIND) else { return };
    Server { kind: kind.into_string().unwrap(), calls: 0, next: 7, offspring: Vec::new() }.serve();
    std::process::exit(0);
}

struct Server {
    kind: String,
    calls: u64,
    next: u64,
    offspring: Vec<std::process::Child>,
}

impl Server {
    fn serve(&mut self) {
        note("start");
        while let Some(message) = read() {
            if message["method"] == "notifications/cancelled" {
                note("cancelled");
            }
            if message.get("id").is_some() && message.get("method").is_some() {
                self.answer(&message);
            }
        }
        if self.kind == "stubborn" {
            loop {
                std::thread::park();
            }
        }
    }

    fn answer(&mut self, message: &Value) {
        let (is_modern, id) = (self.kind == "modern", &message["id"]);
        let result = match message["method"].as_str().unwrap() {
            "server/discover" if is_modern => json!({
                "resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {"listChanged": true}}, "ttlMs": 0,
                "cacheScope": "private",
            }),
            "server/discover" if self.kind == "rude" => std::process::exit(3),
            "initialize" if !is_modern => json!({
                "protocolVersion": "2025-11-25", "capabilities": {"tools": {"listChanged": true}, "logging": {}},
                "serverInfo": {"name": "fake", "version": "1"},
            }),
            "tools/list" => {
                let names = [
                    "echo",
                    "pid",
                    "surroundings",
                    "ask",
                    "hang",
                    "crash",
                    "long",
                    "endless",
                    "garbage",
                    "offspring",
                    "grow",
                ];
                let grown = std::path::Path::new("grown").exists().then_some("grown");
                let tool = |name: &str| json!({"name": name, "inputSchema": {"type": "object"}});
                json!({"tools": names.into_iter().chain(grown).map(tool).collect::<Vec<_>>(), "ttlMs": 0, "cacheScope": "private"})
            }
            "subscriptions/listen" => {
                let meta = json!({"io.modelcontextprotocol/subscriptionId": id});
                return write(&json!({"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged",
                                     "params": {"notifications": {"toolsListChanged": true}, "_meta": meta}}));
            }
            "tools/call" => match self.called(id, &message["params"]) {
                Some(text) => json!({"content": [{"type": "text", "text": text}], "resultType": "complete"}),
                None => return,
            },
            _ => return write(&json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32_601, "message": "unknown"}})),
        };
        write(&json!({"jsonrpc": "2.0", "id": id, "result": result}));
    }

    fn called(&mut self, id: &Value, params: &Value) -> Option<String> {
        self.calls += 1;
        let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress",
                              "params": {"progressToken": params["_meta"]["progressToken"], "progress": 1}});
        match params["name"].as_str().unwrap() {
            "echo" => {
                if !params["_meta"]["progressToken"].is_null() {
                    write(&progress);
                }
                Some(params["arguments"]["message"].as_str().unwrap_or_default().to_owned())
            }
            "pid" => Some(format!("{} {}", std::process::id(), self.calls)),
            "surroundings" => {
                let all: BTreeMap<String, String> = std::env::vars_os()
                    .map(|(name, value)| (name.into_string().unwrap(), value.into_string().unwrap()))
                    .collect();
                Some(json!({"environment": all, "directory": std::env::current_dir().unwrap()}).to_string())
            }
            "ask" => {
                write(&progress);
                let number = self.next;
                self.next += 1;
                write(
                    &json!({"jsonrpc": "2.0", "id": number, "method": "elicitation/create", "params": {"message": "Who?", "requestedSchema": {}}}),
                );
                loop {
                    let answer = read()?;
                    if answer["id"] == number && answer.get("method").is_none() {
                        return Some(answer.to_string());
                    }
                }
            }
            "hang" => {
                note("hang");
                write(
                    &json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": id}}),
                );
                None
            }
            "crash" => std::process::exit(7),
            "long" => Some("x".repeat(1024 * 1024)),
            "endless" => Some("x".repeat(20 * 1024 * 1024)),
            "garbage" => {
                write(&json!(["no", "message", "canary"]));
                Some("after it".to_owned())
            }
            "offspring" => {
                let child = std::process::Command::new("/bin/sleep").arg("1000").spawn().unwrap();
                let id = child.id();
                self.offspring.push(child);
                Some(id.to_string())
            }
            "grow" => {
                std::fs::write("grown", "").unwrap();
                write(&json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}));
                Some("grown".to_owned())
            }
            other => Some(format!("no {other}")),
        }
    }
}

// For the test, in a file of its directory.
fn note(what: &str) {
    let mut notes = std::fs::OpenOptions::new().create(true).append(true).open(what).unwrap();
    notes.write_all(b".").unwrap();
}

fn read() -> Option<Value> {
    let mut line = String::new();
    let length = std::io::stdin().lock().read_line(&mut line).unwrap();
    (length > 0).then(|| serde_json::from_str(&line).unwrap())
}

// Not what the harness captures.
fn write(message: &Value) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{message}\n").as_bytes()).and_then(|()| out.flush()).unwrap();
}
