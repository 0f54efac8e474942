//! Servers of tools, as a snapshot has them.

use std::{sync::Arc, time::Duration};

use http::Uri;
use tollgate_policy::{
    id::{CredentialId, CustomerId, McpServerId, TeamId},
    mcp::{
        CALL_BYTES_DEFAULT, CALL_BYTES_MAX, DOCUMENT_BYTES_MAX, McpAuth, McpCredential, McpServer, PIN_BYTES, PINS_MAX,
        Pin, Pinning, SCOPE_MAX, TIMEOUT_DEFAULT, TIMEOUT_MAX, TOOL_NAME_BYTES_MAX, TOOL_PRICES_MAX, ToolPrice,
        Transport, is_server_name,
    },
    pattern::Pattern,
};

use super::{Field, LOCATION_BYTES_MAX, amount, parsed, patterns, problem, unsigned};
use crate::fleet::v1;

impl From<&McpServer> for v1::McpServerItem {
    fn from(server: &McpServer) -> Self {
        let McpServer {
            id: _,
            name,
            disabled,
            url,
            document,
            allow_private,
            transport,
            auth,
            credential,
            grants,
            tests,
            customers,
            teams,
            keys,
            tools,
            prompts,
            resources,
            prices,
            timeout,
            parallel_max,
            arguments_bytes_max,
            result_bytes_max,
            truncate,
            record_arguments,
            pinning,
            pins,
        } = server;
        let (id, reference) = match credential {
            Some(McpCredential { id, reference }) => (id.to_string(), reference.as_deref().unwrap_or_default()),
            None => (String::new(), ""),
        };
        Self {
            name: name.to_string(),
            disabled: *disabled,
            url: url.to_string(),
            allow_private: *allow_private,
            transport: if *transport == Transport::default() { String::new() } else { transport.word().to_owned() },
            auth: if *auth == McpAuth::Nothing { String::new() } else { auth.text() },
            credential: id,
            reference: reference.to_owned(),
            customers: customers.iter().map(ToString::to_string).collect(),
            teams: teams.iter().map(ToString::to_string).collect(),
            keys: keys.texts(),
            tools: tools.texts(),
            prompts: prompts.texts(),
            resources: resources.texts(),
            prices: prices.iter().map(v1::McpPriceItem::from).collect(),
            timeout_ms: if *timeout == TIMEOUT_DEFAULT {
                0
            } else {
                i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX)
            },
            parallel: i32::try_from(*parallel_max).unwrap_or(i32::MAX),
            arguments_bytes: bytes(*arguments_bytes_max),
            result_bytes: bytes(*result_bytes_max),
            truncate: *truncate,
            record_arguments: *record_arguments,
            pinning: if *pinning == Pinning::default() { String::new() } else { pinning.word().to_owned() },
            pins: pins.iter().map(v1::PinItem::from).collect(),
            document: document.as_ref().map(|document| document.as_bytes().to_vec().into()).unwrap_or_default(),
            grants: *grants,
            tests: *tests,
        }
    }
}

impl From<&ToolPrice> for v1::McpPriceItem {
    fn from(price: &ToolPrice) -> Self {
        let ToolPrice { tools, call } = price;
        Self { tools: tools.as_str().to_owned(), call: call.get() }
    }
}

impl From<&Pin> for v1::PinItem {
    fn from(pin: &Pin) -> Self {
        let Pin { tool, hash } = pin;
        Self { tool: tool.to_string(), hash: hash.to_vec().into() }
    }
}

pub(super) fn read(id: &str, body: v1::McpServerItem) -> Field<McpServer> {
    let v1::McpServerItem {
        name,
        disabled,
        url,
        allow_private,
        transport,
        auth,
        credential,
        reference,
        customers,
        teams,
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
        pins,
        document,
        grants,
        tests,
    } = body;
    if customers.len() + teams.len() > SCOPE_MAX {
        return Err(problem("teams", "has too many owners, together with customers"));
    }
    if !is_server_name(&name) {
        return Err(problem("name", "must be 1 to 32 of a-z, 0-9 and '-', beginning with a letter"));
    }
    let auth = auth_of(&auth)?;
    let credential = credential_of(&credential, &reference)?;
    if auth.has_secret() != credential.is_some() {
        return Err(problem("credential", "must be there where it is shown, and nowhere else"));
    }
    let transport = default_or("transport", &transport, Transport::of_word)?;
    Ok(McpServer {
        id: parsed("id", id, McpServerId::parse)?,
        name: name.into(),
        disabled,
        url: url_of(&url, transport)?,
        document: document_of(&document, transport)?,
        allow_private,
        transport,
        auth,
        credential,
        grants,
        tests,
        customers: customers.iter().map(|id| parsed("customers", id, CustomerId::parse)).collect::<Field<_>>()?,
        teams: teams.iter().map(|id| parsed("teams", id, TeamId::parse)).collect::<Field<_>>()?,
        keys: patterns("keys", &keys)?,
        tools: patterns("tools", &tools)?,
        prompts: patterns("prompts", &prompts)?,
        resources: patterns("resources", &resources)?,
        prices: prices_of(prices)?,
        timeout: timeout_of(timeout_ms)?,
        parallel_max: u32::try_from(parallel).map_err(|_| problem("parallel", "is negative"))?,
        arguments_bytes_max: bytes_of("arguments_bytes", arguments_bytes)?,
        result_bytes_max: bytes_of("result_bytes", result_bytes)?,
        truncate,
        record_arguments,
        pinning: default_or("pinning", &pinning, Pinning::of_word)?,
        pins: pins_of(pins)?,
    })
}

fn bytes(number: u64) -> i64 {
    if number == CALL_BYTES_DEFAULT { 0 } else { i64::try_from(number).unwrap_or(i64::MAX) }
}

fn bytes_of(field: &'static str, number: i64) -> Field<u64> {
    match unsigned(field, number)? {
        0 => Ok(CALL_BYTES_DEFAULT),
        number if number <= CALL_BYTES_MAX && number != CALL_BYTES_DEFAULT => Ok(number),
        _ => Err(problem(field, "is more than 32 MiB, or is what is usual")),
    }
}

fn timeout_of(millis: i64) -> Field<Duration> {
    match Duration::from_millis(unsigned("timeout_ms", millis)?) {
        Duration::ZERO => Ok(TIMEOUT_DEFAULT),
        timeout if timeout <= TIMEOUT_MAX && timeout != TIMEOUT_DEFAULT => Ok(timeout),
        _ => Err(problem("timeout_ms", "is more than an hour, or is what is usual")),
    }
}

// What is usual has one encoding: none.
fn default_or<T: Default + PartialEq>(field: &'static str, word: &str, of_word: fn(&str) -> Option<T>) -> Field<T> {
    match word {
        "" => Ok(T::default()),
        _ => of_word(word)
            .filter(|value| *value != T::default())
            .ok_or_else(|| problem(field, "is not known to this version, or is what is usual")),
    }
}

fn auth_of(text: &str) -> Field<McpAuth> {
    let is_canonical = |auth: &McpAuth| *auth != McpAuth::Nothing && auth.text() == text;
    match text {
        "" => Ok(McpAuth::Nothing),
        _ => McpAuth::parse(text).filter(is_canonical).ok_or_else(|| problem("auth", "is not known to this version")),
    }
}

fn credential_of(id: &str, reference: &str) -> Field<Option<McpCredential>> {
    let is_visible = reference.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if reference.len() > LOCATION_BYTES_MAX || !is_visible {
        return Err(problem("reference", "is too long or has control characters"));
    }
    match (id, reference) {
        ("", "") => Ok(None),
        _ => Ok(Some(McpCredential {
            id: parsed("credential", id, CredentialId::parse)?,
            reference: (!reference.is_empty()).then(|| reference.into()),
        })),
    }
}

// What the API can, which is looked into where tools are made of it.
fn document_of(bytes: &[u8], transport: Transport) -> Field<Option<Arc<str>>> {
    if (transport == Transport::OpenApi) == bytes.is_empty() {
        return Err(problem("document", "must be there for openapi, and for no other transport"));
    }
    if bytes.len() > DOCUMENT_BYTES_MAX {
        return Err(problem("document", "is longer than 512 KiB"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| problem("document", "is no text"))?;
    Ok((!text.is_empty()).then(|| text.into()))
}

fn url_of(text: &str, transport: Transport) -> Field<Arc<str>> {
    // What runs here is somewhere that only the replica knows.
    if transport == Transport::Stdio {
        return if text.is_empty() { Ok(text.into()) } else { Err(problem("url", "must be empty for stdio")) };
    }
    let is_shaped = |uri: &Uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
    };
    if text.len() <= LOCATION_BYTES_MAX && !text.contains('#') && text.parse::<Uri>().is_ok_and(|uri| is_shaped(&uri)) {
        Ok(text.into())
    } else {
        Err(problem("url", "must be http or https with a host, without user or fragment"))
    }
}

fn prices_of(list: Vec<v1::McpPriceItem>) -> Field<Arc<[ToolPrice]>> {
    if list.len() > TOOL_PRICES_MAX {
        return Err(problem("prices", "has too many entries"));
    }
    let read = |v1::McpPriceItem { tools, call }| {
        let tools = Pattern::parse(&tools).map_err(|error| problem("prices.tools", error))?;
        Ok(ToolPrice { tools, call: amount(call)? })
    };
    list.into_iter().map(read).collect()
}

fn pins_of(list: Vec<v1::PinItem>) -> Field<Arc<[Pin]>> {
    if list.len() > PINS_MAX {
        return Err(problem("pins", "has too many entries"));
    }
    let read = |v1::PinItem { tool, hash }| {
        let hash: [u8; PIN_BYTES] = (&*hash).try_into().map_err(|_| problem("pins.hash", "is not of 32 bytes"))?;
        match tool.len() {
            1..=TOOL_NAME_BYTES_MAX => Ok(Pin { tool: tool.into(), hash }),
            _ => Err(problem("pins.tool", "must have 1 to 128 bytes")),
        }
    };
    let list: Arc<[Pin]> = list.into_iter().map(read).collect::<Field<_>>()?;
    // The proof that a lookup finds what is there.
    if list.is_sorted_by(|one, next| one < next) {
        Ok(list)
    } else {
        Err(problem("pins", "is not in ascending order, each once"))
    }
}

#[cfg(test)]
mod tests {
    use tollgate_policy::{money::NanoUsd, pattern::Patterns};

    use super::*;

    const ULID: &str = "01k9zq3v5m8c4t2n7r6x0w1y9b";

    fn server() -> McpServer {
        let patterns = |list: &[&str]| Patterns::parse(list).unwrap();
        let pin = |tool: &str, first| Pin { tool: tool.into(), hash: [first; PIN_BYTES] };
        McpServer {
            id: McpServerId::from_ulid(ULID).unwrap(),
            name: "github".into(),
            disabled: true,
            url: "https://mcp.example/mcp?x=1".into(),
            document: None,
            allow_private: true,
            transport: Transport::Sse,
            auth: McpAuth::Header("x-key".into()),
            credential: Some(McpCredential {
                id: CredentialId::from_ulid(ULID).unwrap(),
                reference: Some("env://GITHUB".into()),
            }),
            grants: 3,
            tests: 2,
            customers: vec![CustomerId::from_ulid(ULID).unwrap()],
            teams: vec![TeamId::from_ulid(ULID).unwrap()],
            keys: patterns(&["dev-*"]),
            tools: patterns(&["!delete_*"]),
            prompts: patterns(&["*"]),
            resources: patterns(&["file:*"]),
            prices: [ToolPrice { tools: Pattern::parse("search").unwrap(), call: NanoUsd::new(7) }].into(),
            timeout: Duration::from_secs(5),
            parallel_max: 3,
            arguments_bytes_max: 1,
            result_bytes_max: CALL_BYTES_MAX,
            truncate: true,
            record_arguments: true,
            pinning: Pinning::Approval,
            pins: [pin("a", 1), pin("a", 2), pin("b", 1)].into(),
        }
    }

    fn plain() -> McpServer {
        McpServer {
            transport: Transport::StreamableHttp,
            auth: McpAuth::Nothing,
            credential: None,
            timeout: TIMEOUT_DEFAULT,
            arguments_bytes_max: CALL_BYTES_DEFAULT,
            result_bytes_max: CALL_BYTES_DEFAULT,
            pinning: Pinning::FirstUse,
            ..server()
        }
    }

    #[test]
    fn a_server_comes_back_as_it_was_sent() {
        let (auth, credential) = (McpAuth::PerUser, None);
        let made = McpServer {
            transport: Transport::OpenApi,
            document: Some("{}".into()),
            auth: auth.clone(),
            credential: credential.clone(),
            ..server()
        };
        let local = McpServer { transport: Transport::Stdio, url: "".into(), auth, credential, ..server() };
        for one in [server(), plain(), made, local] {
            let wire = v1::McpServerItem::from(&one);
            assert_eq!(read(one.id.as_str(), wire).map_err(|problem| problem.text), Ok(one));
        }
        let usual = v1::McpServerItem::from(&plain());
        assert_eq!((&*usual.transport, &*usual.auth, &*usual.pinning, usual.timeout_ms), ("", "", "", 0));
    }

    #[test]
    fn an_item_that_is_no_server_is_refused_with_its_field() {
        type Change = fn(&mut v1::McpServerItem);
        let changes: [(Change, &str); 24] = [
            (|wire| wire.name = "Git".into(), "name"),
            (|wire| wire.url = "stdio:ls".into(), "url"),
            (|wire| wire.url = "https://u:p@host/".into(), "url"),
            (|wire| wire.transport = "pipe".into(), "transport"),
            (|wire| wire.transport = "stdio".into(), "url"),
            (|wire| wire.transport = "openapi".into(), "document"),
            (|wire| wire.document = vec![b'{'].into(), "document"),
            (|wire| wire.transport = "streamable_http".into(), "transport"),
            (|wire| wire.auth = "Bearer".into(), "auth"),
            (|wire| wire.auth = "none".into(), "auth"),
            (|wire| wire.auth.clear(), "credential"),
            (|wire| wire.auth = "per_user".into(), "credential"),
            (|wire| wire.credential.clear(), "credential"),
            (|wire| wire.reference = "env://\n".into(), "reference"),
            (|wire| wire.customers = vec!["c".into(); SCOPE_MAX], "teams"),
            (|wire| wire.tools.push(String::new()), "tools"),
            (|wire| wire.prices[0].call = -1, "price"),
            (|wire| wire.timeout_ms = 60_000, "timeout_ms"),
            (|wire| wire.timeout_ms = 3_600_001, "timeout_ms"),
            (|wire| wire.parallel = -1, "parallel"),
            (|wire| wire.result_bytes = i64::MAX, "result_bytes"),
            (|wire| wire.pinning = "never".into(), "pinning"),
            (|wire| wire.pins.reverse(), "pins"),
            (|wire| wire.pins[0].hash = vec![1].into(), "pins.hash"),
        ];
        for (change, field) in changes {
            let one = server();
            let mut wire = v1::McpServerItem::from(&one);
            change(&mut wire);
            assert_eq!(read(one.id.as_str(), wire).err().map(|problem| problem.field), Some(field));
        }
    }
}
