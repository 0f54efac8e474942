//! Reads servers of tools.

use super::fields::Fields;
use crate::{
    declare::{
        document::{
            STORED_PREFIX, Secret,
            mcp::{ApiDocument, Auth, Client, McpServer, Price, Size, Timeout},
        },
        tree::{Node, Value},
    },
    literals::{self, mcp, openapi},
};

/// What is said of an `auth` that shows no secret, or two.
const AUTH: &str = "must be { bearer: SECRET }, { header: NAME, secret: SECRET }, or one of client_credentials, per_user and token_exchange with { client_id: .. }; write auth: none for a server without a secret";
/// How the control plane may get tokens.
const FLOWS: [&str; 3] = ["client_credentials", "per_user", "token_exchange"];

pub(super) fn server(mut fields: Fields<'_, '_>) -> McpServer {
    let read = McpServer {
        place: fields.place(),
        name: fields.required("name", mcp::server_name).unwrap_or_default(),
        url: fields.parsed("url", mcp::url),
        allow_private: fields.boolean("allow_private"),
        transport: fields.parsed("transport", mcp::transport),
        document: document(&mut fields),
        auth: fields.one_of("auth", "none", auth).map(|auth| auth.unwrap_or(Auth::None)),
        customers: fields.list("customers", literals::reference),
        teams: fields.list("teams", literals::reference),
        keys: fields.list("keys", literals::pattern),
        tools: fields.list("tools", literals::pattern),
        prompts: fields.list("prompts", literals::pattern),
        resources: fields.list("resources", literals::pattern),
        prices: fields.tables("prices", price),
        timeout: fields.parsed("timeout", mcp::timeout).map(Timeout),
        parallel: fields.integer("parallel", 0, i32::MAX.into()).and_then(|number| i32::try_from(number).ok()),
        arguments_max: fields.scalar("arguments_max", mcp::size).map(Size),
        result_max: fields.scalar("result_max", mcp::size).map(Size),
        truncate: fields.boolean("truncate"),
        record_arguments: fields.boolean("record_arguments"),
        pinning: fields.parsed("pinning", mcp::pinning),
        disabled: fields.boolean("disabled"),
    };
    fields.close();
    read
}

fn auth(mut fields: Fields<'_, '_>) -> Auth {
    let bearer = fields.parsed("bearer", secret);
    let header = fields.parsed("header", mcp::header_name);
    let shown = fields.parsed("secret", secret);
    let mut clients = Vec::new();
    for flow in FLOWS {
        clients.extend(fields.table(flow, client).map(|read| Client { flow: flow.to_owned(), ..read }));
    }
    let (alone, pair) = (fields.names(&["bearer"]), fields.names(&["header", "secret"]));
    if !matches!((alone, pair, fields.names(&FLOWS)), (1, 0, 0) | (0, 2, 0) | (0, 0, 1)) {
        fields.mistake_here(AUTH);
    }
    fields.close();
    match (bearer, header, shown, clients.pop()) {
        (Some(secret), ..) => Auth::Bearer(secret),
        (None, Some(name), Some(secret), _) => Auth::Header { name, secret },
        (.., Some(client)) => Auth::Client(client),
        // What is missing has been reported.
        _ => Auth::None,
    }
}

fn client(mut fields: Fields<'_, '_>) -> Client {
    let read = Client {
        flow: String::new(),
        id: fields.text("client_id").unwrap_or_default(),
        secret: fields.parsed("client_secret", secret),
        scopes: fields.list("scopes", mcp::scope).unwrap_or_default(),
        authorization_server: fields.parsed("authorization_server", mcp::issuer).unwrap_or_default(),
        resource: fields.text("resource").unwrap_or_default(),
    };
    fields.close();
    read
}

// The path of a file, the text of one, or what it would hold.
fn document(fields: &mut Fields<'_, '_>) -> Option<ApiDocument> {
    let (place, node) = fields.take("document")?;
    let read = match &node.value {
        Value::Text(text) if text.contains('\n') || text.starts_with('{') => {
            openapi::read(text).map(ApiDocument::Content)
        }
        Value::Text(path) if path.is_empty() => Err("must be the path of a file, relative to this one".to_owned()),
        Value::Text(path) => Ok(ApiDocument::File(path.clone())),
        Value::Table(_) => json(node).map(ApiDocument::Content),
        other => Err(format!("must be the path of a file or the document itself, not {}", other.noun())),
    };
    read.map_err(|reason| fields.mistake(place, "document", &reason)).ok()
}

// To the last digit: what is exported is read back as it was.
fn number(text: &str) -> Option<serde_json::Value> {
    let whole = text.parse::<i64>().map(Into::into).or_else(|_| text.parse::<u64>().map(Into::into));
    let part = || text.parse::<f64>().ok().and_then(serde_json::Number::from_f64);
    whole.ok().or_else(|| part().map(Into::into))
}

fn json(node: &Node) -> Result<serde_json::Value, String> {
    Ok(match &node.value {
        Value::Null => serde_json::Value::Null,
        Value::Boolean(flag) => (*flag).into(),
        // Numbers of YAML alone, such as 0x10, have no one reading in JSON.
        Value::Number(text) => number(text).ok_or_else(|| {
            format!("has the number {text} at line {}: write it as JSON does, or in quotes", node.place.line)
        })?,
        Value::Text(text) => text.as_str().into(),
        Value::List(items) => items.iter().map(json).collect::<Result<_, _>>()?,
        Value::Table(entries) => {
            let entries = entries.iter().map(|(_, name, value)| Ok((name.clone(), json(value)?)));
            serde_json::Value::Object(entries.collect::<Result<_, String>>()?)
        }
    })
}

// The control plane tells no fingerprint of these secrets, so that none can be compared.
fn secret(text: &str) -> Result<Secret, String> {
    match super::secret(text)? {
        Secret::Stored(fingerprint) if !fingerprint.is_empty() => {
            Err(format!("must be {STORED_PREFIX} alone, to keep the secret that is there"))
        }
        secret => Ok(secret),
    }
}

fn price(mut fields: Fields<'_, '_>) -> Price {
    let read = Price {
        tools: fields.required("tools", mcp::priced).unwrap_or_default(),
        call: fields.required_scalar("call", mcp::cost).unwrap_or_default(),
    };
    fields.close();
    read
}
