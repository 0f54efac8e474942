//! Which tools a model may be offered, and may call, for one caller: whatever way an agent reaches them.

use std::{fmt, sync::Arc};

use tollgate_mcp::name::from_agent;
use tollgate_policy::{
    mcp::{Access, McpServer, Offer},
    refusal::{Refusal, RefusalKind},
};

/// The tools of one caller.
#[derive(Clone)]
pub(crate) struct ToolRule {
    access: Access,
    servers: Arc<Vec<Arc<McpServer>>>,
}

impl ToolRule {
    /// The rule of a key; `None`: it admits every tool.
    pub(crate) fn of(access: &Access, servers: &Arc<Vec<Arc<McpServer>>>) -> Option<Self> {
        (!access.is_empty()).then(|| Self { access: access.clone(), servers: Arc::clone(servers) })
    }

    /// Whether a tool is admitted, by the name that its agent gives it. One of a server that policy knows is decided by the patterns for servers,
    /// any other one by those without a dot.
    #[must_use]
    pub(crate) fn admits(&self, name: &str) -> bool {
        let is_known = |server: &str| self.servers.iter().any(|known| *known.name == *server);
        match from_agent(name, is_known) {
            Some((server, tool)) => self.access.admits(Offer::Tool, server, tool),
            None => self.access.admits_own(name),
        }
    }

    /// Why an answer does not go on of which nobody can say what it calls.
    pub(crate) fn unreadable() -> Refusal {
        let sentence =
            "The model provider answered with something that cannot be read, and this key may not use every tool.";
        Refusal::new(RefusalKind::UpstreamInvalid, sentence)
    }

    /// Why an answer does not go on that calls one which is not.
    pub(crate) fn refusal(name: &str) -> Refusal {
        let name = tollgate_mcp::character::shown(name, 120);
        Refusal::new(
            RefusalKind::ToolDenied,
            format!(
                "Tollgate stopped this answer: it calls the tool \"{name}\", which this key may not use. Ask for it without, or ask your \
                 platform team for the tool."
            ),
        )
    }
}

impl fmt::Debug for ToolRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolRule").field("access", &self.access).finish_non_exhaustive()
    }
}
