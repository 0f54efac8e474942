//! How the replicas find a server of tools.

use serde::Serialize;
use tollgate_proto::admin::v1;

use crate::literals::printed;

/// How the replicas find a server.
#[derive(Default, Serialize)]
pub(super) struct HealthView {
    pub(super) replicas: i32,
    pub(super) failing: i32,
    problem: String,
    pub(super) protocol: String,
    pub(super) software: String,
    pub(super) observe_time: Option<String>,
    tools: i32,
    pub(super) pending: i32,
}

impl From<v1::McpServerHealth> for HealthView {
    fn from(health: v1::McpServerHealth) -> Self {
        let v1::McpServerHealth { replicas, failing, problem, protocol, software, observe_time, tools, pending } =
            health;
        let observe_time = printed(observe_time.as_ref());
        Self { replicas, failing, problem, protocol, software, observe_time, tools, pending }
    }
}

impl HealthView {
    /// `ok`, `failing 2/3 (connection refused)`, or `unknown` where none has told.
    pub(super) fn text(&self) -> String {
        let Self { replicas, failing, problem, .. } = self;
        match (*replicas, *failing) {
            (0, _) => "unknown".to_owned(),
            (_, 0) => "ok".to_owned(),
            _ if problem.is_empty() => format!("failing {failing}/{replicas}"),
            _ => format!("failing {failing}/{replicas} ({problem})"),
        }
    }

    /// `12 tools, 3 pending`; nothing where none has told.
    pub(super) fn offers(&self) -> String {
        match (self.replicas, self.pending) {
            (0, _) => String::new(),
            (_, 0) => format!("{} tools", self.tools),
            (_, pending) => format!("{} tools, {pending} pending", self.tools),
        }
    }
}
