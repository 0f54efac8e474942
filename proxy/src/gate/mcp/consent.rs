//! Servers at which a user has to sign in first. Until that is done they have one tool, which says where: an agent that is asked for something that
//! such a server does can tell its user.

use http::{Response, StatusCode};
use serde_json::value::RawValue;
use tollgate_mcp::{Definition, Id, Json, Kind, List, Method, Params, Revision, Target, failure, write};
use tollgate_policy::refusal::RefusalKind;

use super::{Body, Reached, Speech, View, Visit};
use crate::{
    evidence::{self, REASON_BYTES_MAX},
    mcp::Unreached,
};

/// The name of the tool.
pub(super) const CONNECT: &str = "connect";

impl View {
    /// The server of a call at which the user has to sign in before anything is known of it, what is called there, and why.
    pub(super) fn unsigned(&self, params: &Params<'_>) -> Option<(Reached, String, Unreached)> {
        let target = Method::CallTool.target(params).ok()?;
        let Target::Tool(said) = &target else { return None };
        let (reached, name) = self.holder(&target, said)?;
        let why = reached.consent()?;
        Some((reached, name, why))
    }
}

impl Reached {
    // That the user has to sign in before anything is known of the server.
    fn consent(&self) -> Option<Unreached> {
        let is_consent = |why: &Unreached| matches!(why, Unreached::Consent { .. });
        self.server.problem().filter(is_consent).filter(|_| self.server.catalogue().is_none())
    }

    /// The tool that says so.
    pub(super) fn connect_tool(&self) -> Option<Definition> {
        self.consent()?;
        let name = &self.policy.name;
        let description = format!(
            "Gives the address at which the user signs in at the MCP server \"{name}\". Its tools are there afterwards: call this when the user \
             asks for something that they are for."
        );
        let tool = Json::object([
            ("name", Json::text(CONNECT)),
            ("description", Json::text(&description)),
            ("inputSchema", Json::object([("type", Json::text("object"))])),
            ("annotations", Json::object([("readOnlyHint", Json::from(true))])),
        ]);
        let page = Json::object([("tools", Json::list([tool]))]);
        let mut list = List::new(Kind::Tool);
        list.add(&RawValue::from_string(page.as_str().to_owned()).ok()?).ok()?;
        list.definitions.pop()
    }
}

impl Visit<'_> {
    /// What the tool says.
    pub(super) fn connect(self, id: &Id<'_>, revision: Revision, server: &str, url: &str) -> Response<Body> {
        let sentence =
            format!("Ask the user to open {url} and to sign in there. The tools of \"{server}\" are in the list then.");
        self.result(id, &failure::tool_said(revision, &sentence))
    }

    /// Tells a call that the user has to sign in first: the client, where it can show an address, or else the model.
    pub(super) fn must_sign_in(
        mut self,
        id: &Id<'_>,
        speech: &Speech,
        server: &str,
        why: &Unreached,
    ) -> Response<Body> {
        let sentence = why.sentence(server);
        self.ticket.circumstances.reason = evidence::bounded(sentence.as_bytes(), REASON_BYTES_MAX);
        let revision = speech.revision();
        let body = match why {
            Unreached::Consent { url, .. } if revision == Revision::V2025_11_25 && speech.client().url => {
                write::failure(Some(id), &failure::url_required(&sentence, url, &self.ticket.request_id))
            }
            _ => write::response(id, &failure::tool_failed(revision, &sentence)),
        };
        self.close(RefusalKind::UpstreamUnavailable, StatusCode::OK, body)
    }
}
