//! Servers of tools as the file writes them.

use prost_types::Duration;
use serde::{Serialize, Serializer, ser::SerializeMap as _};
use serde_json::Value;
use tollgate_policy::{
    mcp::{CALL_BYTES_DEFAULT, Pinning, TIMEOUT_DEFAULT, Transport},
    money::NanoUsd,
};
use tollgate_proto::admin::v1;

use super::Secret;
use crate::{
    declare::tree::Place,
    literals::{
        mcp::{auth_word, shown_size},
        route::shown_wait,
    },
};

/// How the wire says that a secret goes into a header.
const HEADER: &str = "header:";

/// A server of tools.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct McpServer {
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) allow_private: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) transport: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) document: Option<ApiDocument>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) auth: Option<Auth>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) customers: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) teams: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) keys: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tools: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) prompts: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resources: Option<Vec<String>>,
    /// In the order in which they are asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) prices: Option<Vec<Price>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timeout: Option<Timeout>,
    /// 0 for any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parallel: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) arguments_max: Option<Size>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) result_max: Option<Size>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) truncate: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) record_arguments: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pinning: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) disabled: Option<bool>,
    #[serde(skip)]
    pub(crate) place: Place,
}

/// How a server is shown its secret.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Auth {
    /// It has none.
    None,
    Bearer(Secret),
    Header {
        name: String,
        secret: Secret,
    },
    /// A token that the control plane gets.
    Client(Client),
}

/// The control plane as an OAuth client of a server.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Client {
    /// How it gets tokens: `client_credentials`, `per_user` or `token_exchange`.
    pub(crate) flow: String,
    /// Empty where it registers itself.
    pub(crate) id: String,
    /// `None` for a client without one; in a file also for one whose secret stays as it is.
    pub(crate) secret: Option<Secret>,
    pub(crate) scopes: Vec<String>,
    /// Empty where it is discovered.
    pub(crate) authorization_server: String,
    /// Empty for the URL of the server.
    pub(crate) resource: String,
}

/// What an HTTP API can.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ApiDocument {
    /// In that file, relative to the one that names it. It is read before anything is planned.
    File(String),
    /// This; nothing for a server that is no HTTP API.
    Content(Value),
}

/// What each call of some tools costs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Price {
    pub(crate) tools: String,
    pub(crate) call: NanoUsd,
}

/// How long a call may take.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Timeout(pub(crate) Duration);

/// A number of bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Size(pub(crate) i64);

// === impl McpServer ===

impl McpServer {
    /// With lists in the order in which they are compared.
    pub(crate) fn in_order(mut self) -> Self {
        let lists = [&mut self.customers, &mut self.teams, &mut self.keys, &mut self.tools, &mut self.prompts];
        for list in lists.into_iter().chain([&mut self.resources]) {
            *list = list.take().map(crate::quota::ordered);
        }
        if let Some(Auth::Client(client)) = &mut self.auth {
            client.scopes = crate::quota::ordered(std::mem::take(&mut client.scopes));
        }
        self
    }

    /// Without what is as usual.
    pub(crate) fn telling(self) -> Self {
        fn some<T>(list: Option<Vec<T>>) -> Option<Vec<T>> {
            list.filter(|list| !list.is_empty())
        }
        let on = |flag: Option<bool>| flag.filter(|flag| *flag);
        Self {
            url: self.url.filter(|url| !url.is_empty()),
            document: self.document.filter(|document| *document != ApiDocument::default()),
            allow_private: on(self.allow_private),
            transport: self.transport.filter(|word| word != Transport::default().word()),
            auth: self.auth.filter(|auth| *auth != Auth::None),
            customers: some(self.customers),
            teams: some(self.teams),
            keys: some(self.keys),
            tools: some(self.tools),
            prompts: some(self.prompts),
            resources: some(self.resources),
            prices: some(self.prices),
            timeout: self.timeout.filter(|timeout| *timeout != Timeout::default()),
            parallel: self.parallel.filter(|number| *number != 0),
            arguments_max: self.arguments_max.filter(|size| *size != Size::default()),
            result_max: self.result_max.filter(|size| *size != Size::default()),
            truncate: on(self.truncate),
            record_arguments: on(self.record_arguments),
            pinning: self.pinning.filter(|word| word != Pinning::default().word()),
            disabled: on(self.disabled),
            ..self
        }
    }

    /// The secret, where it has one.
    pub(crate) fn secret(&self) -> Option<&Secret> {
        match self.auth.as_ref()? {
            Auth::None => None,
            Auth::Bearer(secret) | Auth::Header { secret, .. } => Some(secret),
            Auth::Client(client) => client.secret.as_ref(),
        }
    }
}

// === impl Auth ===

impl Auth {
    /// What the wire has. A secret that no reference stands for is one that the control plane stores.
    pub(crate) fn held(server: &v1::McpServer) -> Self {
        let secret = || match server.reference.as_str() {
            "" => Secret::Stored(String::new()),
            reference => Secret::Reference(reference.to_owned()),
        };
        let word = auth_word(server);
        match word.strip_prefix(HEADER) {
            Some(name) => Self::Header { name: name.to_owned(), secret: secret() },
            None if word == "bearer" => Self::Bearer(secret()),
            None if word == "none" => Self::None,
            None => {
                let v1::McpOAuth { client_id, scopes, authorization_server, resource } =
                    server.oauth.clone().unwrap_or_default();
                let has_secret = server.secret_stored || !server.reference.is_empty();
                let secret = has_secret.then(secret);
                Self::Client(Client { flow: word, id: client_id, secret, scopes, authorization_server, resource })
            }
        }
    }

    /// How, as the wire says it.
    pub(crate) fn word(&self) -> String {
        match self {
            Self::None => "none".to_owned(),
            Self::Bearer(_) => "bearer".to_owned(),
            Self::Header { name, .. } => format!("{HEADER}{name}"),
            Self::Client(client) => client.flow.clone(),
        }
    }

    /// The client, as the wire has it.
    pub(crate) fn client(&self) -> Option<v1::McpOAuth> {
        let Self::Client(Client { flow: _, id, secret: _, scopes, authorization_server, resource }) = self.clone()
        else {
            return None;
        };
        Some(v1::McpOAuth { client_id: id, scopes, authorization_server, resource })
    }
}

impl Serialize for Auth {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = match self {
            Self::None => return serializer.serialize_str("none"),
            Self::Bearer(_) | Self::Header { .. } | Self::Client(_) => serializer.serialize_map(None)?,
        };
        match self {
            Self::None => {}
            Self::Bearer(secret) => fields.serialize_entry("bearer", secret)?,
            Self::Header { name, secret } => {
                fields.serialize_entry("header", name)?;
                fields.serialize_entry("secret", secret)?;
            }
            Self::Client(client) => fields.serialize_entry(&client.flow, client)?,
        }
        fields.end()
    }
}

// === impl Client ===

/// Without what is as usual.
impl Serialize for Client {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { flow: _, id, secret, scopes, authorization_server, resource } = self;
        let mut fields = serializer.serialize_map(None)?;
        if !id.is_empty() {
            fields.serialize_entry("client_id", id)?;
        }
        if let Some(secret) = secret {
            fields.serialize_entry("client_secret", secret)?;
        }
        if !scopes.is_empty() {
            fields.serialize_entry("scopes", scopes)?;
        }
        for (name, text) in [("authorization_server", authorization_server), ("resource", resource)] {
            if !text.is_empty() {
                fields.serialize_entry(name, text)?;
            }
        }
        fields.end()
    }
}

// === impl ApiDocument ===

impl ApiDocument {
    /// What the wire has.
    pub(crate) fn held(json: &str) -> Self {
        match json {
            "" => Self::default(),
            _ => Self::Content(serde_json::from_str(json).unwrap_or_else(|_| Value::from(json))),
        }
    }

    /// For the wire.
    pub(crate) fn into_wire(self) -> String {
        match self {
            Self::Content(Value::Null) => String::new(),
            Self::Content(content) => content.to_string(),
            Self::File(path) => path,
        }
    }
}

impl Default for ApiDocument {
    fn default() -> Self {
        Self::Content(Value::Null)
    }
}

impl Serialize for ApiDocument {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::File(path) => serializer.serialize_str(path),
            Self::Content(content) => content.serialize(serializer),
        }
    }
}

// === impl Price ===

impl Price {
    /// What the wire has.
    pub(crate) fn held(wire: v1::ToolPrice) -> Self {
        let v1::ToolPrice { tools, call_nano_usd } = wire;
        Self { tools, call: NanoUsd::new(call_nano_usd) }
    }

    /// For the wire.
    pub(crate) fn into_wire(self) -> v1::ToolPrice {
        let Self { tools, call } = self;
        v1::ToolPrice { tools, call_nano_usd: call.get() }
    }
}

impl Serialize for Price {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { tools, call } = self;
        let mut fields = serializer.serialize_map(Some(2))?;
        fields.serialize_entry("tools", tools)?;
        fields.serialize_entry("call", &format!("{call} USD"))?;
        fields.end()
    }
}

// === impl Timeout ===

impl Default for Timeout {
    fn default() -> Self {
        let seconds = i64::try_from(TIMEOUT_DEFAULT.as_secs()).unwrap_or(i64::MAX);
        Self(Duration { seconds, nanos: 0 })
    }
}

impl Serialize for Timeout {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&shown_wait(&self.0))
    }
}

// === impl Size ===

impl Size {
    /// What the wire has, whose 0 is what is usual.
    pub(crate) fn held(bytes: i64) -> Self {
        if bytes == 0 { Self::default() } else { Self(bytes) }
    }
}

impl Default for Size {
    fn default() -> Self {
        Self(i64::try_from(CALL_BYTES_DEFAULT).unwrap_or(i64::MAX))
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&shown_size(self.0))
    }
}
