//! What a call of a tool costs, how fast a caller may call, and the note in the spool that it went: as a request for a model, whose name is
//! `mcp:<server>.<tool>` in budgets, limits and records.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tollgate_policy::{
    decide,
    lease::Hold,
    mcp::{McpServer, billed_as},
    money::NanoUsd,
};

use super::Visit;
use crate::{
    evidence::{self, ToolCall},
    gate::{
        fund::{Owed, Turned, Worst},
        pace, reserve,
    },
};

/// The longest arguments that the audit log has, in bytes.
const RECORDED_BYTES_MAX: usize = 4 * 1024;

impl Visit<'_> {
    /// Notes which call it is, for the audit log and for budgets.
    pub(super) fn describe(&mut self, server: &str, tool: &str, tool_use_id: &str, session: String) {
        self.ticket.model = billed_as(server, tool);
        self.ticket.circumstances.tool = Some(Arc::new(ToolCall {
            server: server.into(),
            name: tool.into(),
            tool_use_id: tool_use_id.into(),
            session: session.into(),
            ..ToolCall::default()
        }));
    }

    /// Notes with which arguments it leaves.
    pub(super) fn describe_arguments(&mut self, policy: &McpServer, arguments: &[u8]) {
        let Some(call) = &self.ticket.circumstances.tool else { return };
        let recorded = if policy.record_arguments {
            evidence::bounded(arguments, RECORDED_BYTES_MAX).as_ref().into()
        } else {
            Box::default()
        };
        let hash = Sha256::digest(arguments).into();
        let call = ToolCall { arguments_sha256: hash, arguments: recorded, ..ToolCall::clone(call) };
        self.ticket.circumstances.tool = Some(Arc::new(call));
    }

    /// Takes the call from every rate limit, holds what it costs in every budget, and notes it; or nothing of that.
    ///
    /// # Errors
    /// Says what refuses, and when to try again.
    pub(super) async fn reserve(&mut self, policy: &McpServer, tool: &str) -> Result<(), Turned> {
        let (gate, ticket) = (self.gate, &mut self.ticket);
        let owners = decide::quotas(&self.view.current.snapshot, &self.view.caller);
        if owners.iter().any(|owner| !owner.quota.limits.is_empty()) {
            let permit = gate.rates.admit(&owners, &ticket.model, 0).await.map_err(|limited| pace::slow(&limited))?;
            ticket.circumstances.limits = permit.counted();
            ticket.permit = Some(permit);
        }
        let cost = policy.price(tool);
        let owed = Owed::of(&self.view.current.snapshot, &self.view.caller, &ticket.model, None);
        let hold = if cost > NanoUsd::ZERO {
            let funded = owed.hold(&gate.funds, Worst { whole: cost, first: None }).await?;
            ticket.circumstances.charges = owed.charges(&funded.hold);
            funded.hold
        } else {
            Hold::unbudgeted(NanoUsd::ZERO)
        };
        ticket.take_on(hold);
        ticket.flat = Some(cost);
        reserve::note(gate, ticket, (None, None), false, self.view.caller.key().audit).await
    }
}
