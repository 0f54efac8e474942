//! Plans servers of tools. Their secrets cannot be read, so what is there is told by its reference.

use serde_json::Value;
use tollgate_policy::mcp::Transport;
use tollgate_proto::admin::v1;

use super::{Action, Call, Change, Drafting, Write, delete, differences};
use crate::{
    declare::{
        document::{
            Kind, Secret,
            mcp::{ApiDocument, Auth, McpServer, Price},
        },
        tree::Mistake,
    },
    literals::openapi,
};

/// The field of a file that is several fields of the wire.
const AUTH: &str = "auth";
const DOCUMENT: &str = "document";
/// The transport of a server that runs as a process.
const STDIO: &str = Transport::Stdio.word();
/// The transport of an HTTP API.
const OPENAPI: &str = Transport::OpenApi.word();

impl Drafting<'_> {
    pub(super) fn mcp_servers(&mut self) {
        for declared in &self.document.mcp_servers {
            let existing = self.state.mcp_servers.get(&declared.name);
            let held = existing.map(|existing| &existing.value);
            let declared = &implied(declared, held);
            let changes = differences(held, declared);
            let about = (Kind::McpServer, declared.name.as_str(), declared.place);
            let transport = declared.transport.as_deref();
            let lacks = |field: bool, transport: bool| existing.is_none() && field && transport;
            self.required(lacks(declared.url.is_none(), transport != Some(STDIO)), "url", about);
            self.required(lacks(declared.document.is_none(), transport == Some(OPENAPI)), "document", about);
            let mistake = unkept(declared, held).map(|text| Mistake { place: declared.place, text });
            self.mistakes.extend(mistake);
            let is_compared = held.is_some_and(|held| only_compares(declared, held, &changes));
            let write = self.write(existing, &changes, |id, etag| server(declared, id, etag));
            let write = write.map(|write| match write {
                Write::Update(server, mask) => {
                    let mask = masked(mask, &server);
                    Write::Update(server, mask)
                }
                other => other,
            });
            let at = self.plan.steps.len();
            let changes = changes.into_iter().map(summarized).collect();
            self.step(Kind::McpServer, &declared.name, changes, write.map(Call::McpServer));
            if let Some(step) = self.plan.steps.get_mut(at).filter(|_| is_compared) {
                step.action = Action::Compare;
            }
        }
    }

    /// Takes away what the file does not name; before teams and customers, which servers refer to.
    pub(super) fn prune_mcp_servers(&mut self) {
        let (state, document) = (self.state, self.document);
        if !document.sections.contains(&Kind::McpServer) {
            return;
        }
        let named = |name: &String| document.mcp_servers.iter().any(|each| each.name == *name);
        for (name, existing) in state.mcp_servers.iter().filter(|held| !named(held.0)) {
            self.delete(Kind::McpServer, name, Some(Call::McpServer(delete(existing))));
        }
    }
}

// What follows from what the file says, and from what is there: an address or a document goes with a transport that has none, and what a
// file does not say of the secret of a client leaves it as it is.
fn implied(declared: &McpServer, held: Option<&McpServer>) -> McpServer {
    let mut server = declared.clone();
    let Some(held) = held else { return server };
    if let Some(transport) = server.transport.as_deref() {
        if transport == STDIO && server.url.is_none() {
            server.url = Some(String::new());
        }
        if transport != OPENAPI && server.document.is_none() {
            server.document = Some(ApiDocument::default());
        }
    }
    if let (Some(Auth::Client(client)), Some(Auth::Client(other))) = (&mut server.auth, &held.auth)
        && client.secret.is_none()
    {
        client.secret.clone_from(&other.secret);
    }
    server
}

// A document is too long to be shown.
fn summarized(change: Change) -> Change {
    if change.field != DOCUMENT {
        return change;
    }
    let shown = |document: &Value| match openapi::summary(document) {
        text if text.is_empty() => Value::Null,
        text => text.into(),
    };
    Change { from: shown(&change.from), to: shown(&change.to), ..change }
}

// Why the secret that is there cannot stay, where the file wants it to.
fn unkept(declared: &McpServer, held: Option<&McpServer>) -> Option<String> {
    let Some(Secret::Stored(_)) = declared.secret() else { return None };
    let name = &declared.name;
    // What a server is shown is never a client's.
    let is_client = |server: &McpServer| matches!(server.auth, Some(Auth::Client(_)));
    match held.filter(|held| is_client(held) == is_client(declared)).and_then(McpServer::secret) {
        Some(Secret::Stored(_)) => None,
        Some(other) => Some(format!(
            "the mcp-server {name:?} has the reference {} and no stored secret that could stay",
            other.shown()
        )),
        None => Some(format!(
            "the mcp-server {name:?} has no secret that could stay: write env://NAME, file:///path or the secret"
        )),
    }
}

// Whether nothing changes but a literal that takes the place of a literal, and may be the same.
fn only_compares(declared: &McpServer, held: &McpServer, changes: &[Change]) -> bool {
    let words = |server: &McpServer| server.auth.as_ref().map(Auth::word);
    let are_literal = matches!((declared.secret(), held.secret()), (Some(Secret::Literal(_)), Some(Secret::Stored(_))));
    let is_alone = matches!(changes, [only] if only.field == AUTH);
    are_literal && is_alone && words(declared) == words(held)
}

fn masked(mask: Vec<String>, server: &v1::McpServer) -> Vec<String> {
    let auth = [(AUTH, true), ("secret", !server.secret.is_empty()), ("oauth", server.oauth.is_some())];
    let wire = |field: String| match field.as_str() {
        "arguments_max" => vec!["arguments_bytes".to_owned()],
        "result_max" => vec!["result_bytes".to_owned()],
        AUTH => auth.into_iter().filter(|field| field.1).map(|field| field.0.to_owned()).collect(),
        _ => vec![field],
    };
    mask.into_iter().flat_map(wire).collect()
}

fn server(declared: &McpServer, id: &str, etag: &str) -> v1::McpServer {
    let secret = match declared.secret() {
        Some(Secret::Reference(reference)) => reference.clone(),
        Some(Secret::Literal(literal)) => literal.to_string(),
        Some(Secret::Stored(_)) | None => String::new(),
    };
    let McpServer {
        name,
        url,
        allow_private,
        transport,
        document,
        auth,
        customers,
        teams,
        keys,
        tools,
        prompts,
        resources,
        prices,
        timeout,
        parallel,
        arguments_max,
        result_max,
        truncate,
        record_arguments,
        pinning,
        disabled,
        place: _,
    } = declared.clone();
    v1::McpServer {
        id: id.to_owned(),
        name,
        disabled: disabled.unwrap_or_default(),
        url: url.unwrap_or_default(),
        allow_private: allow_private.unwrap_or_default(),
        transport: transport.unwrap_or_default(),
        auth: auth.as_ref().map(Auth::word).unwrap_or_default(),
        secret,
        reference: String::new(),
        customers: customers.unwrap_or_default(),
        teams: teams.unwrap_or_default(),
        keys: keys.unwrap_or_default(),
        tools: tools.unwrap_or_default(),
        prompts: prompts.unwrap_or_default(),
        resources: resources.unwrap_or_default(),
        prices: prices.unwrap_or_default().into_iter().map(Price::into_wire).collect(),
        timeout: timeout.map(|timeout| timeout.0),
        parallel: parallel.unwrap_or_default(),
        arguments_bytes: arguments_max.map(|size| size.0).unwrap_or_default(),
        result_bytes: result_max.map(|size| size.0).unwrap_or_default(),
        truncate: truncate.unwrap_or_default(),
        record_arguments: record_arguments.unwrap_or_default(),
        pinning: pinning.unwrap_or_default(),
        etag: etag.to_owned(),
        create_time: None,
        update_time: None,
        health: None,
        oauth: auth.as_ref().and_then(Auth::client),
        document: document.map(ApiDocument::into_wire).unwrap_or_default(),
        secret_stored: false,
        left_out: Vec::new(),
    }
}
