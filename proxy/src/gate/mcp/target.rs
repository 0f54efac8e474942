//! For which server a message is, by what it names, and whether the caller may have that. The same is asked when things are listed, so that what is
//! refused here was not in the list, and what was in the list is not refused, but for the arguments of a call.

use std::sync::Arc;

use serde_json::value::RawValue;
use tollgate_mcp::{
    Json, Method, Params, Target,
    failure::{self, code},
};
use tollgate_policy::{
    mcp::{self, Offer, Unmet},
    refusal::{Refusal, RefusalKind},
    rule::{Arguments, Call},
};

use super::{Reached, View, Visit};
use crate::{clock, gate::authorize::who};

/// A message that is for a server, and that the caller may send it.
pub(super) struct Aimed {
    /// The server.
    pub(super) reached: Reached,
    /// What it names, as the server knows it.
    pub(super) name: String,
    /// Its params, with that name.
    pub(super) params: Json<'static>,
}

/// Why a message goes nowhere.
pub(super) struct Astray {
    pub(super) kind: RefusalKind,
    pub(super) error: Json<'static>,
    pub(super) reason: String,
}

impl View {
    /// Finds the server of a message, and decides about what it names.
    ///
    /// # Errors
    /// What is answered instead.
    pub(super) fn aim(&self, method: &Method<'_>, params: &Params<'_>) -> Result<Aimed, Astray> {
        let target = method.target(params).map_err(|unnamed| malformed(&unnamed.to_string()))?;
        let (offer, said) = match &target {
            Target::Tool(name) => (Offer::Tool, name),
            Target::Prompt(name) => (Offer::Prompt, name),
            Target::Resource(uri) | Target::Template(uri) => (Offer::Resource, uri),
            Target::Nothing | Target::Resources(_) | Target::Task(_) => {
                return Err(malformed("The message does not say what it is about."));
            }
        };
        let not_offered = || self.not_offered(offer, said);
        let (reached, name) = self.holder(&target, said).ok_or_else(not_offered)?;
        if !reached.policy.admits(offer, &name, &self.caller.key().tools) {
            return Err(not_offered());
        }
        if offer == Offer::Tool {
            self.ensure_approved(&reached, &name, said)?;
        }
        let params = if self.only.is_some() { params.json().into_owned() } else { method.renamed(params, &name) };
        Ok(Aimed { reached, name, params })
    }

    /// Waits, shortly, for the server that a message is for, when nothing is known of it yet.
    pub(super) async fn settle_at(&self, method: &Method<'_>, params: &Params<'_>) {
        let Ok(target) = method.target(params) else { return };
        let said = match &target {
            Target::Tool(said) | Target::Prompt(said) | Target::Resource(said) | Target::Template(said) => said,
            Target::Nothing | Target::Resources(_) | Target::Task(_) => return,
        };
        if let Some((reached, _)) = self.holder(&target, said) {
            reached.server.settle().await;
        }
    }

    // The server that the name says, and the name behind it.
    pub(super) fn holder(&self, target: &Target<'_>, said: &str) -> Option<(Reached, String)> {
        let mut all = self.current.snapshot.mcp_servers().iter();
        if let Some(only) = &self.only {
            let policy = all.find(|policy| policy.id == only.id)?;
            return Some((self.reach(policy)?, said.to_owned()));
        }
        let (server, name) = target.at_server()?;
        let policy = all.find(|policy| *policy.name == *server)?;
        Some((self.reach(policy)?, name.to_owned()))
    }

    fn ensure_approved(&self, reached: &Reached, name: &str, said: &str) -> Result<(), Astray> {
        let Some(catalogue) = reached.server.catalogue() else {
            let server = &reached.policy.name;
            let sentence = match reached.server.problem() {
                Some(why) => why.sentence(server),
                None => format!("The MCP server \"{server}\" was not reached yet. Try again later."),
            };
            let kind = RefusalKind::UpstreamUnavailable;
            return Err(Astray { kind, error: failure::error(code::UPSTREAM, &sentence, None), reason: sentence });
        };
        let Some(definition) = catalogue.tool(name) else {
            // It may be new.
            reached.server.doubt();
            return Err(self.not_offered(Offer::Tool, said));
        };
        if reached.policy.approves(name, definition.pin().as_bytes()) {
            return Ok(());
        }
        let sentence = format!(
            "The tool \"{said}\" waits for an approval: its definition is not one that your platform team has approved. They can look at \
             it with `tollgate mcp-tool get {}.{name}`. Go on without it.",
            reached.policy.name
        );
        let error = failure::error(code::QUARANTINED, &sentence, None);
        Err(Astray { kind: RefusalKind::ToolDenied, error, reason: sentence })
    }

    // Whether there is such a thing is nobody's business who may not have it.
    fn not_offered(&self, offer: Offer, said: &str) -> Astray {
        let said = tollgate_mcp::character::shown(said, 120);
        let sentence = format!(
            "There is no {} \"{said}\" for the Tollgate key \"{}\". Take one of the list; your platform team can give the key others.",
            offer.word(),
            self.caller.key().name
        );
        let error = failure::error(code::INVALID_PARAMS, &sentence, None);
        Astray { kind: RefusalKind::ToolDenied, error, reason: sentence }
    }
}

impl Visit<'_> {
    /// Whether the rules of the caller's key hold of a call, as the client sends its arguments.
    ///
    /// # Errors
    /// Names the rule that does not hold, so that the model can send what does.
    pub(super) fn ensure_ruled(&self, aimed: &Aimed) -> Result<(), Refusal> {
        let View { current, caller, attribution, .. } = &self.view;
        let (key, server) = (caller.key(), &aimed.reached.policy.name);
        let call = || {
            let params = aimed.params.members().unwrap_or_default();
            let sent = params.get("arguments").map(RawValue::get);
            Ok(Call {
                server,
                tool: &aimed.name,
                arguments: sent.map(|sent| Arguments::read(sent.as_bytes())).transpose()?.unwrap_or_default(),
                caller: who(&current.snapshot, caller, Some(attribution)),
                region: Arc::clone(&self.gate.region),
                now_ms: clock::wall().get(),
            })
        };
        mcp::met(&key.tool_rules, server, &aimed.name, call).map_err(|unmet| {
            let why = match unmet {
                Unmet::Fails(rule) => format!("`{}` does not hold of them", rule.when.text()),
                Unmet::Undecided(rule, why) => format!("`{}` cannot be decided over them: {why}", rule.when.text()),
                Unmet::Arguments(invalid) => format!("they {invalid}"),
            };
            let sentence = format!(
                "The Tollgate key \"{}\" may not send these arguments to the tool \"{server}.{}\": {why}. Send others, or go on without it; your \
                 platform team can change the key's rules.",
                key.name, aimed.name
            );
            Refusal::new(RefusalKind::ToolDenied, sentence)
        })
    }
}

impl Astray {
    /// As a refusal.
    pub(super) fn refusal(&self) -> Refusal {
        Refusal::new(self.kind, self.reason.clone())
    }
}

fn malformed(sentence: &str) -> Astray {
    let error = failure::error(code::INVALID_PARAMS, sentence, None);
    Astray { kind: RefusalKind::Malformed, error, reason: sentence.to_owned() }
}
