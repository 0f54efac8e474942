//! The fields of a server of tools, from the wire to the domain.

use std::time::Duration;

use tollgate_policy::{
    id::McpServerId,
    mcp::{
        CALL_BYTES_DEFAULT, CALL_BYTES_MAX, McpAuth, Pinning, SERVER_NAME_BYTES_MAX, TIMEOUT_DEFAULT, TIMEOUT_MAX,
        TOOL_PRICES_MAX, Transport, is_server_name,
    },
    money::NanoUsd,
    name::Name,
    pattern::Pattern,
};
use tollgate_proto::admin::v1;

use super::{
    super::{failure::Failure, mask::Mask, providers::credentials::Secrets, violations::Violations, wire},
    document, oauth, secret,
    written::written,
};
use crate::{
    base_url::{self, BASE_URL_BYTES_MAX, InvalidBaseUrl},
    keys::Minter,
    store::{
        guardrails::Owners,
        mcp::{McpServer, OAuth, Priced, ServerCredential},
        organisation::Stamp,
    },
};

/// A server without whom it is for, which only the database knows.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) name: Name,
    disabled: bool,
    url: String,
    document: Option<String>,
    allow_private: bool,
    transport: Transport,
    auth: McpAuth,
    credential: Option<ServerCredential>,
    oauth: Option<OAuth>,
    grants: i64,
    keys: Vec<String>,
    tools: Vec<String>,
    prompts: Vec<String>,
    resources: Vec<String>,
    prices: Vec<Priced>,
    timeout_ms: i64,
    parallel: i32,
    arguments_bytes: i64,
    result_bytes: i64,
    truncate: bool,
    record_arguments: bool,
    pinning: Pinning,
}

// === impl Draft ===

impl Draft {
    /// Reads a whole server. `old` is what it was; a new secret is put among those to seal.
    pub(super) fn read(
        wire: &v1::McpServer,
        old: Option<&McpServer>,
        sealing: (&Minter, &mut Secrets),
        violations: &mut Violations,
    ) -> Result<Option<Self>, Failure> {
        let name = name(&wire.name, violations);
        let transport = word(
            ("transport", &wire.transport),
            Transport::of_word,
            "must be streamable_http, sse, openapi or stdio",
            violations,
        );
        // What is wrong with the rest is told as it is for what is usual.
        let spoken = transport.unwrap_or_default();
        let url = url((&wire.url, spoken), wire.allow_private, violations);
        let document = document(&wire.document, spoken, violations);
        let held = old.and_then(|old| Some((&old.auth, old.credential.as_ref()?)));
        let shown = secret::read((&wire.auth, &wire.secret), held, sealing, violations)?;
        let oauth = shown.as_ref().and_then(|(auth, credential)| {
            if spoken == Transport::Stdio && *auth != McpAuth::Nothing {
                violations
                    .add("auth", "must be none for stdio: a process is given its secrets by the replica that runs it");
            }
            oauth::read(wire.oauth.as_ref(), (auth, credential.is_some()), wire.allow_private, violations)
        });
        let mut patterns = |field, list: &[String]| wire::patterns(field, list, violations);
        let keys = patterns("keys", &wire.keys);
        let tools = patterns("tools", &wire.tools);
        let prompts = patterns("prompts", &wire.prompts);
        let resources = patterns("resources", &wire.resources);
        let prices = prices(&wire.prices, violations);
        let timeout_ms = timeout(wire.timeout.as_ref(), violations);
        let parallel = violations.take(
            "parallel",
            Some(wire.parallel).filter(|calls| *calls >= 0).ok_or("must be 0 or more; 0 is any number"),
        );
        let arguments_bytes = bytes("arguments_bytes", wire.arguments_bytes, violations);
        let result_bytes = bytes("result_bytes", wire.result_bytes, violations);
        let pinning =
            word(("pinning", &wire.pinning), Pinning::of_word, "must be first_use, approval or off", violations);
        let read = || {
            let (auth, credential) = shown?;
            Some(Self {
                name: name?,
                disabled: wire.disabled,
                url: url?,
                document: document?,
                allow_private: wire.allow_private,
                transport: transport?,
                auth,
                credential,
                oauth: oauth?,
                grants: old.map(|old| old.grants).unwrap_or_default(),
                keys: keys?,
                tools: tools?,
                prompts: prompts?,
                resources: resources?,
                prices: prices?,
                timeout_ms: timeout_ms?,
                parallel: parallel?,
                arguments_bytes: arguments_bytes?,
                result_bytes: result_bytes?,
                truncate: wire.truncate,
                record_arguments: wire.record_arguments,
                pinning: pinning?,
            })
        };
        Ok(read())
    }

    /// The server.
    pub(super) fn server(self, id: McpServerId, owners: Owners, stamp: Stamp) -> McpServer {
        let Self {
            name,
            disabled,
            url,
            document,
            allow_private,
            transport,
            auth,
            credential,
            oauth,
            grants,
            keys,
            tools,
            prompts,
            resources,
            prices,
            timeout_ms,
            parallel,
            arguments_bytes,
            result_bytes,
            truncate,
            record_arguments,
            pinning,
        } = self;
        McpServer {
            id,
            name,
            disabled,
            url,
            document,
            allow_private,
            transport,
            auth,
            credential,
            oauth,
            grants,
            owners,
            keys,
            tools,
            prompts,
            resources,
            prices,
            timeout_ms,
            parallel,
            arguments_bytes,
            result_bytes,
            truncate,
            record_arguments,
            pinning,
            stamp,
        }
    }
}

/// A server as it was, with its masked fields as they are to be.
pub(super) fn merged(old: &McpServer, new: &v1::McpServer, mask: &Mask) -> v1::McpServer {
    let mut merged = written(old, None);
    // A secret that is written where there was none is shown as is usual.
    if old.auth == McpAuth::Nothing && mask.has("secret") && !new.secret.is_empty() {
        merged.auth.clear();
    }
    // A client goes with the auth that had a use for it.
    if mask.has("auth") && !McpAuth::parse(&new.auth).is_some_and(|auth| auth.is_oauth()) {
        merged.oauth = None;
    }
    macro_rules! take {
        ($($field:ident)*) => {
            $(if mask.has(stringify!($field)) {
                merged.$field.clone_from(&new.$field);
            })*
        };
    }
    take! {
        name disabled url allow_private transport auth secret keys tools prompts resources prices timeout parallel arguments_bytes
        result_bytes truncate record_arguments pinning oauth document
    }
    merged
}

fn name(text: &str, violations: &mut Violations) -> Option<Name> {
    let name = Name::parse(text).ok().filter(|name| is_server_name(name.as_str()));
    let refusal = || {
        format!(
            "must be 1 to {SERVER_NAME_BYTES_MAX} characters of a-z, 0-9 and '-', beginning with a letter, and not as an id: it stands before the names of its tools"
        )
    };
    violations.take("name", name.ok_or_else(refusal))
}

fn url((text, transport): (&str, Transport), allow_private: bool, violations: &mut Violations) -> Option<String> {
    if transport == Transport::Stdio {
        let refusal = "must be empty for stdio: which command runs for a server is in the configuration of each replica, and cannot be said here";
        return violations.take("url", text.is_empty().then(String::new).ok_or(refusal));
    }
    let refused = |error| match error {
        InvalidBaseUrl::Shape => format!(
            "must be https://host[:port][/path][?query], of at most {BASE_URL_BYTES_MAX} visible ASCII characters: a server that runs as a process is in the configuration of a replica"
        ),
        InvalidBaseUrl::UserInfo => "must not have a user or a password: a secret belongs in the field secret".into(),
        InvalidBaseUrl::Query if transport != Transport::OpenApi => "must not have a fragment".into(),
        other => other.to_string(),
    };
    // The paths of an HTTP API follow.
    let read = if transport == Transport::OpenApi { base_url::parse } else { base_url::endpoint };
    violations.take("url", read(text, allow_private).map_err(refused))
}

fn document(text: &str, transport: Transport, violations: &mut Violations) -> Option<Option<String>> {
    let read = match (transport, text) {
        (Transport::OpenApi, "") => Err("is required for openapi: the OpenAPI document of the HTTP API".to_owned()),
        (Transport::OpenApi, text) => document::read(text).map(Some),
        (_, "") => Ok(None),
        _ => Err("must be empty but for the transport openapi".to_owned()),
    };
    violations.take("document", read)
}

// Empty is what is usual.
fn word<T: Default>(
    (field, word): (&str, &str),
    of_word: fn(&str) -> Option<T>,
    refusal: &str,
    violations: &mut Violations,
) -> Option<T> {
    match word {
        "" => Some(T::default()),
        word => violations.take(field, of_word(word).ok_or(refusal)),
    }
}

fn prices(list: &[v1::ToolPrice], violations: &mut Violations) -> Option<Vec<Priced>> {
    if list.len() > TOOL_PRICES_MAX {
        violations.add("prices", format!("must be at most {TOOL_PRICES_MAX}"));
        return None;
    }
    let mut read = Vec::with_capacity(list.len());
    for (at, v1::ToolPrice { tools, call_nano_usd }) in list.iter().enumerate() {
        let pattern = Pattern::parse(tools).map_err(|_| "must be a pattern of 1 to 200 visible characters");
        let pattern = violations.take(&format!("prices[{at}].tools"), pattern);
        let call = Some(*call_nano_usd).filter(|call| *call >= 0).ok_or("must be 0 or more");
        let call = violations.take(&format!("prices[{at}].call_nano_usd"), call);
        let priced = pattern.zip(call);
        read.extend(priced.map(|(tools, call)| Priced { tools: tools.as_str().to_owned(), call: NanoUsd::new(call) }));
    }
    (read.len() == list.len()).then_some(read)
}

fn timeout(wire: Option<&prost_types::Duration>, violations: &mut Violations) -> Option<i64> {
    let duration = wire.map_or(Some(TIMEOUT_DEFAULT), |wire| Duration::try_from(*wire).ok());
    let bounded = duration.filter(|duration| (Duration::from_millis(1)..=TIMEOUT_MAX).contains(duration));
    let whole = bounded.filter(|duration| duration.subsec_nanos() % 1_000_000 == 0);
    let millis = whole.and_then(|duration| i64::try_from(duration.as_millis()).ok());
    violations.take("timeout", millis.ok_or("must be whole milliseconds, 1 ms to an hour; leave it out for a minute"))
}

fn bytes(field: &str, number: i64, violations: &mut Violations) -> Option<i64> {
    let most = i64::try_from(CALL_BYTES_MAX).unwrap_or(i64::MAX);
    match number {
        0 => i64::try_from(CALL_BYTES_DEFAULT).ok(),
        number => {
            let bounded = Some(number).filter(|number| (1..=most).contains(number));
            violations.take(field, bounded.ok_or_else(|| format!("must be 1 to {most}, or 0 for 4 MiB")))
        }
    }
}
