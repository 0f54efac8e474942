//! The servers of tools that agents reach through Tollgate by the Model Context Protocol (MCP), and who may use what of them.
//!
//! What a server offers is passed on where the server's own lists, the key's list ([`Access`]) and, for a tool, its approval admit it: the
//! definition that a server gives of a tool is hashed, and only hashes that were approved ([`Pin`]) reach an agent. The same three are asked
//! when something is listed and when it is called.

use std::{sync::Arc, time::Duration};

use crate::{
    id::{CredentialId, CustomerId, McpServerId, TeamId},
    money::NanoUsd,
    pattern::{Pattern, Patterns},
};

mod access;

pub use self::access::{Access, Offer, TOOL_RULES_MAX, ToolRule, Unmet, met, rule_pattern};

/// The most servers of an installation.
pub const MCP_SERVERS_MAX: usize = 500;
/// The most tools of a server that may be approved.
pub const PINS_MAX: usize = 2_000;
/// The most prices of a server.
pub const TOOL_PRICES_MAX: usize = 200;
/// The most owners that a server is for.
pub const SCOPE_MAX: usize = 1_000;
/// The longest name of a server: it stands before the name of each of its tools.
pub const SERVER_NAME_BYTES_MAX: usize = 32;
/// The longest name of a tool, in bytes.
pub const TOOL_NAME_BYTES_MAX: usize = 128;
/// The hash of a tool's definition, in bytes.
pub const PIN_BYTES: usize = 32;
/// How long a call may take where a server does not say.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_mins(1);
/// The longest that a call may take.
pub const TIMEOUT_MAX: Duration = Duration::from_hours(1);
/// The longest description of an HTTP API whose operations are tools, in bytes.
pub const DOCUMENT_BYTES_MAX: usize = 512 * 1024;
/// The most bytes of a call's arguments, and of its result, where a server does not say.
pub const CALL_BYTES_DEFAULT: u64 = 4 * 1024 * 1024;
/// The most that a server may say.
pub const CALL_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// A server of tools.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct McpServer {
    /// Its id.
    pub id: McpServerId,
    /// Its name: 1 to 32 characters of `a-z 0-9 -`, beginning with a letter.
    pub name: Arc<str>,
    /// Whether it is not called.
    pub disabled: bool,
    /// Where it is; empty for one that runs as a process of the replica.
    pub url: Arc<str>,
    /// What an HTTP API can, as OpenAPI in JSON; `None` for every other transport.
    pub document: Option<Arc<str>>,
    /// Whether a private address is permitted.
    pub allow_private: bool,
    /// How it is spoken to.
    pub transport: Transport,
    /// How it is shown a credential.
    pub auth: McpAuth,
    /// The credential; `None`: it needs none, or the control plane gets tokens for it.
    pub credential: Option<McpCredential>,
    /// How often tokens for it were taken back: those that a replica got before are no good.
    pub grants: u64,
    /// How often it was to be asked at once: it is, whenever this changes.
    pub tests: u64,
    /// The customers that it is for. Where both lists are empty: everybody.
    pub customers: Vec<CustomerId>,
    /// The teams that it is for.
    pub teams: Vec<TeamId>,
    /// The keys that it is for, by name.
    pub keys: Patterns,
    /// Which of its tools are passed on, by the names that it gives them.
    pub tools: Patterns,
    /// Which of its prompts.
    pub prompts: Patterns,
    /// Which of its resources, by their URIs.
    pub resources: Patterns,
    /// What a call costs: the first pattern that has the tool decides. Another tool costs nothing.
    pub prices: Arc<[ToolPrice]>,
    /// How long a call may take.
    pub timeout: Duration,
    /// How many calls a replica has open at it at the same time; 0: any number.
    pub parallel_max: u32,
    /// The most bytes of a call's arguments.
    pub arguments_bytes_max: u64,
    /// The most bytes of a result.
    pub result_bytes_max: u64,
    /// Whether a longer result is shortened, and not refused.
    pub truncate: bool,
    /// Whether the audit log has the arguments of calls, and not only their hash.
    pub record_arguments: bool,
    /// How a tool is approved.
    pub pinning: Pinning,
    /// The definitions that were approved, sorted by tool and hash.
    pub pins: Arc<[Pin]>,
}

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Transport {
    /// Streamable HTTP, of the revisions since 2025-03-26.
    #[default]
    StreamableHttp,
    /// HTTP with server-sent events, of the revision 2024-11-05.
    Sse,
    /// Standard input and output of a process that the configuration of a replica names, never the policy.
    Stdio,
    /// An HTTP API, of whose operations tools are made.
    OpenApi,
}

/// How a server is shown a credential.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub enum McpAuth {
    /// Not at all.
    #[default]
    Nothing,
    /// `authorization: Bearer`.
    Bearer,
    /// In that header, in lower case.
    Header(Arc<str>),
    /// `authorization: Bearer`, with a token that the control plane gets for itself (RFC 6749, 4.4).
    ClientCredentials,
    /// With a token that the caller's user has permitted (RFC 6749, 4.1).
    PerUser,
    /// With a token that the control plane gets for the caller's user (RFC 8693).
    TokenExchange,
}

/// What a server is shown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct McpCredential {
    /// Its id.
    pub id: CredentialId,
    /// Where the replica finds the secret; `None`: it comes with the stream.
    pub reference: Option<Arc<str>>,
}

/// What calls of some tools cost.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ToolPrice {
    /// Which tools, by the names that the server gives them.
    pub tools: Pattern,
    /// Each call.
    pub call: NanoUsd,
}

/// How a tool's definition is approved.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Pinning {
    /// The first one that is seen under a name is approved by that; another one by an administrator.
    #[default]
    FirstUse,
    /// Each one by an administrator.
    Approval,
    /// None needs to be.
    Off,
}

/// A definition of a tool that was approved.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Pin {
    /// The tool, by the name that the server gives it.
    pub tool: Arc<str>,
    /// SHA-256 of its definition.
    pub hash: [u8; PIN_BYTES],
}

// === impl McpServer ===

impl McpServer {
    /// Whether it is for that caller, and whether the caller's key reaches it.
    #[must_use]
    pub fn is_for(&self, customer: &CustomerId, team: &TeamId, key: &str, access: &Access) -> bool {
        let is_open = self.customers.is_empty() && self.teams.is_empty();
        let is_owner = is_open || self.customers.contains(customer) || self.teams.contains(team);
        !self.disabled && is_owner && self.keys.admit(key) && access.reaches(&self.name)
    }

    /// Whether the key may use what the server offers under that name: by the server's list and by the key's. Whether a tool was approved is
    /// another question ([`Self::approves`]).
    #[must_use]
    pub fn admits(&self, offer: Offer, name: &str, access: &Access) -> bool {
        let own = match offer {
            Offer::Tool => &self.tools,
            Offer::Prompt => &self.prompts,
            Offer::Resource => &self.resources,
        };
        own.admit(name) && access.admits(offer, &self.name, name)
    }

    /// Whether that definition of a tool was approved.
    #[must_use]
    pub fn approves(&self, tool: &str, hash: &[u8; PIN_BYTES]) -> bool {
        let order = |pin: &Pin| (&*pin.tool, &pin.hash).cmp(&(tool, hash));
        self.pinning == Pinning::Off || self.pins.binary_search_by(order).is_ok()
    }

    /// What a call of that tool costs.
    #[must_use]
    pub fn price(&self, tool: &str) -> NanoUsd {
        let priced = self.prices.iter().find(|price| price.tools.matches(tool));
        priced.map_or(NanoUsd::ZERO, |price| price.call)
    }

    /// The name under which budgets, limits, records and metrics have one of its tools.
    #[must_use]
    pub fn billed_as(&self, tool: &str) -> Arc<str> {
        billed_as(&self.name, tool)
    }
}

/// The name under which budgets, limits, records and metrics have a tool, where they have a model otherwise.
#[must_use]
pub fn billed_as(server: &str, tool: &str) -> Arc<str> {
    ["mcp:", server, ".", tool].concat().into()
}

/// Whether a text is a server's name.
#[must_use]
pub fn is_server_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let begins = text.bytes().next().is_some_and(|first| first.is_ascii_lowercase());
    begins && text.len() <= SERVER_NAME_BYTES_MAX && text.bytes().all(allowed)
}

// === impl Transport ===

impl Transport {
    /// Every transport.
    pub const ALL: [Self; 4] = [Self::StreamableHttp, Self::Sse, Self::Stdio, Self::OpenApi];

    /// The word for it in configuration.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::StreamableHttp => "streamable_http",
            Self::Sse => "sse",
            Self::Stdio => "stdio",
            Self::OpenApi => "openapi",
        }
    }

    /// The transport of that word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|transport| transport.word() == word)
    }
}

// === impl Pinning ===

impl Pinning {
    /// Every way.
    pub const ALL: [Self; 3] = [Self::FirstUse, Self::Approval, Self::Off];

    /// The word for it in configuration.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::FirstUse => "first_use",
            Self::Approval => "approval",
            Self::Off => "off",
        }
    }

    /// The way of that word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|pinning| pinning.word() == word)
    }
}

// === impl McpAuth ===

impl McpAuth {
    /// Parses `none`, `bearer`, `header:<name>`, `client_credentials`, `per_user` or `token_exchange`; empty is `none`. Names of headers become lower case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_token = |name: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            !name.is_empty() && name.len() <= crate::provider::AUTH_NAME_BYTES_MAX && name.bytes().all(allowed)
        };
        // Of those, some say how the message is framed or spoken, and are ours.
        let is_ours = |name: &str| {
            let reserved = [
                "accept",
                "connection",
                "content-length",
                "content-type",
                "host",
                "te",
                "trailer",
                "transfer-encoding",
                "upgrade",
            ];
            reserved.contains(&name) || name.starts_with("mcp-")
        };
        match text {
            "" | "none" => Some(Self::Nothing),
            "bearer" => Some(Self::Bearer),
            "client_credentials" => Some(Self::ClientCredentials),
            "per_user" => Some(Self::PerUser),
            "token_exchange" => Some(Self::TokenExchange),
            _ => {
                let name = text.strip_prefix("header:")?.to_ascii_lowercase();
                (is_token(&name) && !is_ours(&name)).then(|| Self::Header(name.into()))
            }
        }
    }

    /// The text that [`Self::parse`] reads.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Nothing => "none".into(),
            Self::Bearer => "bearer".into(),
            Self::Header(name) => ["header:", name].concat(),
            Self::ClientCredentials => "client_credentials".into(),
            Self::PerUser => "per_user".into(),
            Self::TokenExchange => "token_exchange".into(),
        }
    }

    /// Whether it is shown a secret of an administrator's.
    #[must_use]
    pub const fn has_secret(&self) -> bool {
        matches!(self, Self::Bearer | Self::Header(_))
    }

    /// Whether the control plane gets tokens for it by OAuth 2.
    #[must_use]
    pub const fn is_oauth(&self) -> bool {
        matches!(self, Self::ClientCredentials | Self::PerUser | Self::TokenExchange)
    }

    /// Whether each user is somebody else to it.
    #[must_use]
    pub const fn is_per_user(&self) -> bool {
        matches!(self, Self::PerUser | Self::TokenExchange)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ULID: &str = "01k9zq3v5m8c4t2n7r6x0w1y9b";

    fn server() -> McpServer {
        McpServer {
            id: McpServerId::from_ulid(ULID).unwrap(),
            name: "github".into(),
            disabled: false,
            url: "https://mcp.example/mcp".into(),
            document: None,
            allow_private: false,
            transport: Transport::StreamableHttp,
            auth: McpAuth::Nothing,
            credential: None,
            grants: 0,
            tests: 0,
            customers: vec![],
            teams: vec![],
            keys: Patterns::default(),
            tools: Patterns::default(),
            prompts: Patterns::default(),
            resources: Patterns::default(),
            prices: Arc::default(),
            timeout: TIMEOUT_DEFAULT,
            parallel_max: 0,
            arguments_bytes_max: CALL_BYTES_DEFAULT,
            result_bytes_max: CALL_BYTES_DEFAULT,
            truncate: false,
            record_arguments: false,
            pinning: Pinning::FirstUse,
            pins: Arc::default(),
        }
    }

    fn access(list: &[&str]) -> Access {
        Access::parse(list).unwrap()
    }

    #[test]
    fn what_is_offered_is_admitted_by_both_lists() {
        let one = McpServer { tools: Patterns::parse(&["!*_secret"]).unwrap(), ..server() };
        for (list, offer, name, expect) in [
            (&["github.*", "!github.delete_*"][..], Offer::Tool, "create_issue", true),
            (&["github.*", "!github.delete_*"], Offer::Tool, "delete_repository", false),
            (&["github.*"], Offer::Tool, "read_secret", false),
            (&["github.*"], Offer::Prompt, "review", true),
            (&["github.*"], Offer::Resource, "file:///readme", true),
            (&["github.*", "prompt:github.triage"], Offer::Prompt, "review", false),
            (&["github.*", "!resource:github.file:*"], Offer::Resource, "file:///readme", false),
            (&["jira.*"], Offer::Prompt, "review", false),
            (&["Github.*"], Offer::Tool, "create_issue", false),
        ] {
            assert_eq!(one.admits(offer, name, &access(list)), expect, "{list:?} {name}");
        }
        let list = ["github.*", "!github.x", "prompt:a.*", "!prompt:a.b", "resource:*"];
        assert_eq!(access(&list).texts(), list);
        assert!(Access::parse(&["!"]).is_err() && Access::parse(&["prompt:"]).is_err());
    }

    #[test]
    fn a_server_is_for_its_scope() {
        let (customer, team) = (CustomerId::from_ulid(ULID).unwrap(), TeamId::from_ulid(ULID).unwrap());
        let other = TeamId::from_ulid("01k9zq3v5m8c4t2n7r6x0w1y9c").unwrap();
        let is_for = |one: McpServer| one.is_for(&customer, &team, "dev", &Access::default());
        assert!(is_for(server()));
        assert!(is_for(McpServer { teams: vec![other.clone()], customers: vec![customer.clone()], ..server() }));
        assert!(!is_for(McpServer { teams: vec![other], ..server() }));
        assert!(!is_for(McpServer { keys: Patterns::parse(&["prod-*"]).unwrap(), ..server() }));
        assert!(!is_for(McpServer { disabled: true, ..server() }));
    }

    #[test]
    fn a_definition_passes_that_was_approved() {
        let pin = |tool: &str, first| Pin { tool: tool.into(), hash: [first; PIN_BYTES] };
        let pins = |pinning| McpServer { pinning, pins: [pin("a", 1), pin("a", 2), pin("b", 1)].into(), ..server() };
        for (tool, first, expect) in [("a", 1, true), ("a", 2, true), ("a", 3, false), ("b", 2, false), ("c", 1, false)]
        {
            assert_eq!(pins(Pinning::Approval).approves(tool, &[first; PIN_BYTES]), expect, "{tool} {first}");
            assert!(pins(Pinning::Off).approves(tool, &[first; PIN_BYTES]));
        }
        let price = |tools: &str, call| ToolPrice { tools: Pattern::parse(tools).unwrap(), call: NanoUsd::new(call) };
        let priced = McpServer { prices: [price("search", 5), price("s*", 2)].into(), ..server() };
        assert_eq!(["search", "scan", "read"].map(|tool| priced.price(tool).get()), [5, 2, 0]);
        assert_eq!(&*priced.billed_as("search"), "mcp:github.search");
    }

    #[test]
    fn words_are_read_back() {
        assert!(Transport::ALL.into_iter().all(|one| Transport::of_word(one.word()) == Some(one)));
        assert!(Pinning::ALL.into_iter().all(|one| Pinning::of_word(one.word()) == Some(one)));
        for text in ["none", "bearer", "header:x-api-key", "client_credentials", "per_user", "token_exchange"] {
            assert_eq!(McpAuth::parse(text).unwrap().text(), text);
        }
        assert_eq!(McpAuth::parse("header:X-Key"), Some(McpAuth::Header("x-key".into())));
        for bad in ["basic", "header:", "header:Host", "header:mcp-session-id", "header:a b"] {
            assert_eq!(McpAuth::parse(bad), None, "{bad}");
        }
        assert!(
            is_server_name("github-2") && !is_server_name("Git") && !is_server_name("2x") && !is_server_name("a_b")
        );
    }
}
