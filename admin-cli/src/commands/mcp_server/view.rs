//! A server of tools as it is shown.

use serde::Serialize;
use tollgate_policy::{
    mcp::{CALL_BYTES_DEFAULT, Pinning, Transport},
    money::NanoUsd,
};
use tollgate_proto::admin::v1;

use super::health::HealthView;
use crate::{
    commands::{names::Names, some_or_all, switched, text::for_terminal},
    literals::{
        mcp::{auth_word, shown_size},
        openapi, printed,
        route::shown_wait,
    },
    output::View,
};

/// A server. Ids stand beside names, since a name may change.
#[derive(Serialize)]
pub(super) struct McpServerView {
    id: String,
    name: String,
    disabled: bool,
    url: String,
    allow_private: bool,
    transport: String,
    /// In a few words, since it may be long.
    document: String,
    auth: String,
    reference: String,
    secret_stored: bool,
    oauth: Option<ClientView>,
    customers: Vec<Owner>,
    teams: Vec<Owner>,
    keys: Vec<String>,
    tools: Vec<String>,
    prompts: Vec<String>,
    resources: Vec<String>,
    prices: Vec<PriceView>,
    timeout: String,
    parallel: i32,
    arguments_bytes: i64,
    result_bytes: i64,
    truncate: bool,
    record_arguments: bool,
    pinning: String,
    health: Option<HealthView>,
    etag: String,
    create_time: Option<String>,
    update_time: Option<String>,
}

/// The control plane as an OAuth client.
#[derive(Serialize)]
struct ClientView {
    client_id: String,
    scopes: Vec<String>,
    authorization_server: String,
    resource: String,
}

#[derive(Serialize)]
struct Owner {
    id: String,
    name: String,
}

#[derive(Serialize)]
struct PriceView {
    tools: String,
    call_usd: String,
}

impl McpServerView {
    pub(super) fn new(server: v1::McpServer, names: &Names) -> Self {
        let auth = auth_word(&server);
        let v1::McpServer {
            id,
            name,
            disabled,
            url,
            allow_private,
            transport,
            auth: _,
            // Input only; should a control plane ever return one, it is dropped here.
            secret: _,
            reference,
            customers,
            teams,
            keys,
            tools,
            prompts,
            resources,
            prices,
            timeout,
            parallel,
            arguments_bytes,
            result_bytes,
            truncate,
            record_arguments,
            pinning,
            etag,
            create_time,
            update_time,
            health,
            oauth,
            document,
            secret_stored,
        } = server;
        let client = |v1::McpOAuth { client_id, scopes, authorization_server, resource }| ClientView {
            client_id,
            scopes,
            authorization_server,
            resource,
        };
        let owners = |ids: Vec<String>| ids.into_iter().map(|id| Owner { name: names.of(&id), id }).collect();
        let price = |v1::ToolPrice { tools, call_nano_usd }| PriceView {
            tools,
            call_usd: NanoUsd::new(call_nano_usd).to_string(),
        };
        let usual = |said: String, word: &str| if said.is_empty() { word.to_owned() } else { said };
        let bytes = |said: i64| if said == 0 { i64::try_from(CALL_BYTES_DEFAULT).unwrap_or(i64::MAX) } else { said };
        Self {
            id,
            name,
            disabled,
            url,
            allow_private,
            transport: usual(transport, Transport::default().word()),
            document: if document.is_empty() {
                String::new()
            } else {
                openapi::read(&document).map(|document| openapi::summary(&document)).unwrap_or_default()
            },
            auth,
            reference,
            secret_stored,
            oauth: oauth.map(client),
            customers: owners(customers),
            teams: owners(teams),
            keys,
            tools,
            prompts,
            resources,
            prices: prices.into_iter().map(price).collect(),
            timeout: timeout.as_ref().map_or_else(|| "1m".to_owned(), shown_wait),
            parallel,
            arguments_bytes: bytes(arguments_bytes),
            result_bytes: bytes(result_bytes),
            truncate,
            record_arguments,
            pinning: usual(pinning, Pinning::default().word()),
            health: health.map(HealthView::from),
            etag,
            create_time: printed(create_time.as_ref()),
            update_time: printed(update_time.as_ref()),
        }
    }

    fn scope(&self) -> String {
        let named = |noun: &'static str, owners: &[Owner]| {
            owners.iter().map(|owner| format!("{noun}/{}", owner.name)).collect::<Vec<_>>()
        };
        let all = [named("customer", &self.customers), named("team", &self.teams)].concat();
        if all.is_empty() { "(everybody)".to_owned() } else { all.join(" ") }
    }

    // How, and where the secret lies; never what it is.
    fn auth(&self) -> String {
        match (self.auth.as_str(), self.reference.as_str()) {
            ("none", _) => "none".to_owned(),
            (word, "") if self.oauth.is_some() && !self.secret_stored => word.to_owned(),
            (word, "") => format!("{word} (stored)"),
            (word, reference) => format!("{word} {reference}"),
        }
    }
}

impl View for McpServerView {
    const PLURAL: &'static str = "servers";
    const LISTED: &'static [&'static str] =
        &["name", "url", "for", "keys", "pinning", "state", "health", "offers", "id"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        let prices = self.prices.iter().map(|PriceView { tools, call_usd }| format!("{tools}={call_usd} USD"));
        let yes = |flag: bool| if flag { "yes".to_owned() } else { String::new() };
        let told = |text: fn(&HealthView) -> String| self.health.as_ref().map(text).unwrap_or_default();
        let said = |text: fn(&ClientView) -> String| self.oauth.as_ref().map(text).unwrap_or_default();
        let fields = vec![
            ("name", self.name.clone()),
            ("url", self.url.clone()),
            ("allow_private", yes(self.allow_private)),
            ("transport", self.transport.clone()),
            ("document", self.document.clone()),
            ("auth", self.auth()),
            ("client", said(|client| client.client_id.clone())),
            ("scopes", said(|client| client.scopes.join(" "))),
            ("authorization_server", said(|client| client.authorization_server.clone())),
            ("resource", said(|client| client.resource.clone())),
            ("for", self.scope()),
            ("keys", some_or_all(&self.keys)),
            ("tools", some_or_all(&self.tools)),
            ("prompts", some_or_all(&self.prompts)),
            ("resources", some_or_all(&self.resources)),
            ("prices", prices.collect::<Vec<_>>().join("; ")),
            ("timeout", self.timeout.clone()),
            ("parallel", if self.parallel == 0 { "(any)".to_owned() } else { self.parallel.to_string() }),
            ("arguments_max", shown_size(self.arguments_bytes)),
            ("result_max", shown_size(self.result_bytes)),
            ("truncate", yes(self.truncate)),
            ("record_arguments", yes(self.record_arguments)),
            ("pinning", self.pinning.clone()),
            ("state", switched(self.disabled)),
            ("health", told(HealthView::text)),
            ("offers", told(HealthView::offers)),
            ("software", told(|health| health.software.clone())),
            ("protocol", told(|health| health.protocol.clone())),
            ("id", self.id.clone()),
            ("etag", self.etag.clone()),
            ("created", self.create_time.clone().unwrap_or_default()),
            ("updated", self.update_time.clone().unwrap_or_default()),
        ];
        // What a server calls itself, it chose.
        fields.into_iter().map(|(name, value)| (name, for_terminal(&value))).collect()
    }
}
