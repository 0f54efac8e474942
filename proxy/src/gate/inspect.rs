//! Room 5: what the request carries. It gives the only value for which money is held, and so the only one that reaches a provider.
//!
//! Guardrails look at the whole body before anything is held for it: what they stop costs nothing, and what they put in the place of a secret
//! is weighed as it leaves. What was put in is kept beside the visit, to be taken back in the answer.

use std::sync::Arc;

use tollgate_dialect::{Dialect, hub::Block, offered};
use tollgate_policy::{
    guardrail::{Asker, Direction},
    refusal::{Refusal, RefusalKind},
};
use tollgate_scan::Vault;

use super::{
    authorize::Granted,
    parse::{self, Outgoing},
    ticket::Verdict,
};
use crate::{
    guard::{Filter, Report, Screened, ToolRule, Watch, restored, screen},
    upstream::speech::Question,
};

// What every virtual key begins with.
const KEY_PREFIX: &str = "tg_";
// A larger body is looked at on a thread of its own, so that other requests are not kept waiting.
const INLINE_BYTES_MAX: usize = 64 * 1024;

/// A visit that may leave. Only [`inspect`] makes one.
pub(super) struct Cleared {
    granted: Granted,
    guarding: Guarding,
}

/// What is still to be done with the answer.
#[derive(Clone)]
pub(super) struct Guarding {
    watch: Option<Watch>,
    vault: Arc<Vault>,
    tools: Option<ToolRule>,
}

/// Looks at what is about to leave.
pub(super) async fn inspect(mut granted: Granted) -> Verdict<Cleared> {
    if carries_a_key(&granted.request) {
        return Err(granted.ticket.refuse(Refusal::new(
            RefusalKind::Malformed,
            "A Tollgate key stands in the address of the request, where logs would keep it. Send it only as \
             \"Authorization: Bearer <key>\" or \"x-api-key: <key>\".",
        )));
    }
    let tools = tools(&granted);
    if let Some(tools) = &tools
        && let Err(error) = withdraw(&mut granted, tools)
    {
        return Err(granted.ticket.refuse(Refusal::new(RefusalKind::Malformed, error.to_string())));
    }
    let (request, response) = (watch(&granted, Direction::Request), watch(&granted, Direction::Response));
    let vault = vault(&granted);
    let Some(watch) = request else {
        return Ok(Cleared { granted, guarding: Guarding { watch: response, vault: Arc::new(vault), tools } });
    };
    let (granted, vault) = look(granted, watch, vault).await?;
    Ok(Cleared { granted, guarding: Guarding { watch: response, vault: Arc::new(vault), tools } })
}

impl Cleared {
    /// Takes the visit apart, to hold money for it.
    pub(super) fn leave(self) -> (Granted, Guarding) {
        (self.granted, self.guarding)
    }
}

// === impl Guarding ===

impl Guarding {
    /// With these eyes, and what was put in the place of secrets.
    pub(super) fn new(watch: Option<Watch>, vault: Vault) -> Self {
        Self { watch, vault: Arc::new(vault), tools: None }
    }

    /// Whether the answer has to be read.
    pub(super) fn is_active(&self) -> bool {
        self.watch.is_some() || !self.vault.is_empty() || self.tools.is_some()
    }

    /// Whether an answer that cannot be read must not pass.
    pub(super) fn is_strict(&self) -> bool {
        self.watch.is_some() || self.tools.is_some()
    }

    /// What looks at a stream.
    pub(super) fn filter(&self) -> Option<Filter> {
        Filter::new(self.watch.clone(), Arc::clone(&self.vault), self.tools.clone())
    }

    /// Looks which tools an answer calls.
    ///
    /// # Errors
    /// Refuses one that calls a tool which the caller may not use, or that cannot be read.
    pub(super) fn calls(&self, dialect: Dialect, body: &[u8]) -> Result<(), Refusal> {
        let Some(tools) = &self.tools else { return Ok(()) };
        let answer = dialect.decode_answer(body).map_err(|_| ToolRule::unreadable())?;
        let denied = answer.blocks.iter().find_map(|block| match block {
            Block::ToolUse(call) if !tools.admits(&call.name) => Some(ToolRule::refusal(&call.name)),
            // What a provider runs by itself.
            Block::Other { kind, json } if kind.contains("tool_use") => {
                let value: serde_json::Value = serde_json::from_str(json.get()).unwrap_or_default();
                let name = value.get("name").and_then(serde_json::Value::as_str).unwrap_or_default();
                (!tools.admits(name)).then(|| ToolRule::refusal(name))
            }
            _ => None,
        });
        denied.map_or(Ok(()), Err)
    }

    /// Looks at an answer that is whole: what takes its place, if anything does. `nested` are its members whose text is JSON again.
    ///
    /// # Errors
    /// Refuses what must not pass.
    pub(super) fn whole(
        &self,
        body: &[u8],
        nested: &[&str],
        circumstances: &mut crate::evidence::Circumstances,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        let Screened { changed, report, blocked } =
            self.watch.as_ref().map(|watch| screen(watch, body, None)).unwrap_or_default();
        report.tell(circumstances);
        if let Some(blocked) = blocked {
            return Err(blocked.refusal());
        }
        Ok(restored(changed.as_deref().unwrap_or(body), &self.vault, nested).or(changed))
    }
}

fn tools(granted: &Granted) -> Option<ToolRule> {
    let rule = || ToolRule::of(&granted.caller.key().tools, granted.current.snapshot.mcp_servers());
    (granted.ticket.operation.question() == Some(Question::Answer)).then(rule).flatten()
}

// Takes the tools out of a request that the caller may not use: the model does not know of them.
fn withdraw(granted: &mut Granted, tools: &ToolRule) -> Result<(), tollgate_dialect::DecodeError> {
    let request = &mut granted.request;
    let Some(left) = offered::without(request.dialect, &request.body, |name| tools.admits(name))? else {
        return Ok(());
    };
    granted.weight = parse::weigh(&request.call, &left)?;
    request.body = left.into();
    // The same body as it came from a cloud's client.
    if let Some(enclosed) = &mut request.enclosed
        && let Some(left) = offered::without(request.dialect, &enclosed.body, |name| tools.admits(name))?
    {
        enclosed.body = left.into();
    }
    Ok(())
}

fn watch(granted: &Granted, direction: Direction) -> Option<Watch> {
    let attribution = granted.ticket.attribution.as_ref()?;
    let asker = Asker {
        customer: &attribution.customer,
        team: &attribution.team,
        key: &granted.caller.key().name,
        model: &granted.ticket.model,
    };
    granted.current.guards.watch(&granted.current.guard_keys, direction, asker)
}

// What is put in the place of secrets is the same in each turn of a session, on every replica.
fn vault(granted: &Granted) -> Vault {
    let session = granted.ticket.attribution.as_ref().map(|attribution| &*attribution.session).unwrap_or_default();
    Vault::new(granted.current.guard_keys.session(&granted.caller.key().id, session))
}

async fn look(mut granted: Granted, watch: Watch, vault: Vault) -> Verdict<(Granted, Vault)> {
    let (body, vault) = match seen(&watch, granted.request.body.clone(), vault).await {
        Ok(seen) => seen,
        Err(fault) => return Err(granted.ticket.refuse(fault)),
    };
    let Screened { changed, report, blocked } = body;
    Report::tell(report, &mut granted.ticket.circumstances);
    if let Some(blocked) = blocked {
        return Err(granted.ticket.refuse(blocked.refusal()));
    }
    let Some(changed) = changed else { return Ok((granted, vault)) };
    match parse::weigh(&granted.request.call, &changed) {
        Ok(weight) => granted.weight = weight,
        Err(error) => return Err(granted.ticket.refuse(Refusal::new(RefusalKind::Malformed, error.to_string()))),
    }
    granted.request.body = changed.into();
    // The same body as it came from a cloud's client: it may go to the same cloud as it is.
    let Some(enclosed) = granted.request.enclosed.as_ref().map(|enclosed| enclosed.body.clone()) else {
        return Ok((granted, vault));
    };
    let (again, vault) = match seen(&watch, enclosed, vault).await {
        Ok(seen) => seen,
        Err(fault) => return Err(granted.ticket.refuse(fault)),
    };
    if let (Some(enclosed), Some(changed)) = (&mut granted.request.enclosed, again.changed) {
        enclosed.body = changed.into();
    }
    Ok((granted, vault))
}

/// Looks at a document on its way out.
///
/// # Errors
/// When the look itself failed.
pub(super) async fn seen(watch: &Watch, body: bytes::Bytes, mut vault: Vault) -> Result<(Screened, Vault), Refusal> {
    if body.len() <= INLINE_BYTES_MAX {
        let screened = screen(watch, &body, Some(&mut vault));
        return Ok((screened, vault));
    }
    let watch = watch.clone();
    let work = move || {
        let screened = screen(&watch, &body, Some(&mut vault));
        (screened, vault)
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "a guardrail failed");
        Refusal::new(
            RefusalKind::NotReady,
            "This Tollgate replica could not look at the request. Try again in a few seconds.",
        )
    })
}

// `?key=tg_live_..` is what some clients do with keys.
fn carries_a_key(request: &Outgoing) -> bool {
    let value = |pair: &str| pair.split_once('=').is_some_and(|(_, value)| value.starts_with(KEY_PREFIX));
    request.uri.query().is_some_and(|query| query.contains(KEY_PREFIX) && query.split('&').any(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::route::Operation;
    use bytes::Bytes;
    use http::HeaderMap;

    #[test]
    fn a_key_in_the_address_does_not_leave() {
        for (uri, expect) in [
            ("/v1/messages", false),
            ("/v1/messages?beta=true", false),
            ("/v1/messages?note=about_tg_keys", false),
            ("/v1/messages?beta=true&key=tg_live_01k9", true),
        ] {
            let request = Outgoing {
                headers: HeaderMap::new(),
                uri: uri.parse().unwrap(),
                body: Bytes::new(),
                dialect: tollgate_dialect::Dialect::Anthropic,
                call: Operation::Messages.into(),
                enclosed: None,
            };
            assert_eq!(carries_a_key(&request), expect, "{uri}");
        }
    }
}
