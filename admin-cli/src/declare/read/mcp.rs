//! Reads servers of tools.

use super::fields::Fields;
use crate::{
    declare::document::{
        STORED_PREFIX, Secret,
        mcp::{Auth, McpServer, Price, Size, Timeout},
    },
    literals::{self, mcp},
};

/// What is said of an `auth` that shows no secret, or two.
const AUTH: &str =
    "must be { bearer: SECRET } or { header: NAME, secret: SECRET }; write auth: none for a server without a secret";

pub(super) fn server(mut fields: Fields<'_, '_>) -> McpServer {
    let read = McpServer {
        place: fields.place(),
        name: fields.required("name", mcp::server_name).unwrap_or_default(),
        url: fields.parsed("url", mcp::url),
        allow_private: fields.boolean("allow_private"),
        transport: fields.parsed("transport", mcp::transport),
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
    let (alone, pair) = (fields.names(&["bearer"]), fields.names(&["header", "secret"]));
    if (alone, pair) != (1, 0) && (alone, pair) != (0, 2) {
        fields.mistake_here(AUTH);
    }
    fields.close();
    match (bearer, header, shown) {
        (Some(secret), _, _) => Auth::Bearer(secret),
        (None, Some(name), Some(secret)) => Auth::Header { name, secret },
        // What is missing has been reported.
        _ => Auth::None,
    }
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
