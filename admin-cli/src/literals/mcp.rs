//! What is typed of servers of tools: names, addresses, secrets, prices, sizes, and which tools a key may use.

use std::{fmt, str::FromStr, time::Duration};

use http::Uri;
use tollgate_policy::{
    mcp::{
        Access, CALL_BYTES_MAX, McpAuth, PIN_BYTES, Pinning, SERVER_NAME_BYTES_MAX, TIMEOUT_MAX, TOOL_NAME_BYTES_MAX,
        Transport, is_server_name, rule_pattern,
    },
    money::NanoUsd,
    pattern::Pattern,
    rule::CallRule,
};
use tollgate_proto::admin::v1;
use zeroize::Zeroizing;

use super::{is_reference, route};

/// The digits of a definition's hash.
const HASH_DIGITS: usize = 2 * PIN_BYTES;
/// The shortest time that a call may be given.
const TIMEOUT_MIN: Duration = Duration::from_millis(1);
/// How long replicas may be given to test a server.
const PATIENCE_MIN: Duration = Duration::from_secs(1);
const PATIENCE_MAX: Duration = Duration::from_secs(20);
/// The units of a size, the largest first.
const UNITS: [(&str, i64); 3] = [("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
/// What is said of a price that is none.
const PRICE: &str = "must be PATTERN=AMOUNT, such as 'search_*=0.01 USD'";

/// What is said of a rule that is none.
const RULE: &str = "must be PATTERN: CONDITION, such as 'github.create_issue: arguments.repo.startsWith(\"acme/\")'";

/// A secret, or where each replica finds it.
#[derive(Clone, Eq, PartialEq)]
pub(crate) struct SecretArgument(Zeroizing<String>);

/// A secret that goes into a header, `NAME=SECRET`; the name in lower case.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct HeaderSecret {
    pub(crate) name: String,
    pub(crate) secret: SecretArgument,
}

/// What each call of some tools costs, `PATTERN=AMOUNT`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct PriceArgument {
    pub(crate) tools: String,
    pub(crate) call: NanoUsd,
}

/// What must hold of the arguments of calls of some tools, `PATTERN: CEL`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct RuleArgument {
    pub(crate) tools: String,
    pub(crate) when: String,
}

/// Parses the name of a new server.
pub(crate) fn server_name(text: &str) -> Result<String, String> {
    if is_server_name(text) {
        return Ok(text.to_owned());
    }
    Err(format!("must be 1 to {SERVER_NAME_BYTES_MAX} characters of a-z, 0-9 and '-', beginning with a letter"))
}

/// Parses the name of a tool, as its server gives it.
pub(crate) fn tool_name(text: &str) -> Result<String, String> {
    if (1..=TOOL_NAME_BYTES_MAX).contains(&text.len()) {
        return Ok(text.to_owned());
    }
    Err(format!("must be the name of a tool, of at most {TOOL_NAME_BYTES_MAX} bytes"))
}

/// Parses an address into one spelling of its scheme and host, so that another one is no difference.
pub(crate) fn url(text: &str) -> Result<String, String> {
    let parts = text.parse::<Uri>().ok().filter(|_| !text.contains('#')).and_then(|uri| {
        let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?;
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
        let rest = uri.path_and_query().map(|rest| rest.as_str()).filter(|rest| *rest != "/").unwrap_or_default();
        Some(format!("{scheme}://{}{rest}", authority.as_str().to_ascii_lowercase()))
    });
    parts.ok_or_else(|| "must be https://host[:port][/path][?query], without user and fragment".to_owned())
}

/// Parses how a server is spoken to.
pub(crate) fn transport(text: &str) -> Result<String, String> {
    let words = || Transport::ALL.map(Transport::word).join(", ");
    Transport::of_word(text).map(|_| text.to_owned()).ok_or_else(|| format!("must be one of {}", words()))
}

/// Parses how the control plane gets tokens.
pub(crate) fn flow(text: &str) -> Result<String, String> {
    let is_flow = McpAuth::parse(text).is_some_and(|auth| auth.is_oauth());
    let refusal = || "must be one of client_credentials, per_user, token_exchange".to_owned();
    is_flow.then(|| text.to_owned()).ok_or_else(refusal)
}

/// Parses a scope (RFC 6749, 3.3).
pub(crate) fn scope(text: &str) -> Result<String, String> {
    let is_token = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\');
    if is_token && !text.is_empty() { Ok(text.to_owned()) } else { Err("must be one scope, without spaces".to_owned()) }
}

/// Parses the URL of an authorization server into one spelling, but for a slash at its end, which belongs to it.
pub(crate) fn issuer(text: &str) -> Result<String, String> {
    let parsed = url(text).ok().filter(|_| !text.contains('?'));
    let slash = if text.ends_with('/') { "/" } else { "" };
    let one = |parsed: String| format!("{}{slash}", parsed.trim_end_matches('/'));
    parsed.map(one).ok_or_else(|| "must be https://host[:port][/path], without a query".to_owned())
}

/// Parses how a tool is approved.
pub(crate) fn pinning(text: &str) -> Result<String, String> {
    let words = || Pinning::ALL.map(Pinning::word).join(", ");
    Pinning::of_word(text).map(|_| text.to_owned()).ok_or_else(|| format!("must be one of {}", words()))
}

/// Parses the name of a header for a secret, into lower case.
pub(crate) fn header_name(text: &str) -> Result<String, String> {
    match McpAuth::parse(&format!("header:{text}")) {
        Some(McpAuth::Header(name)) => Ok(name.to_string()),
        _ => Err("must be the name of a header, such as x-api-key, that says nothing else in HTTP or MCP".to_owned()),
    }
}

/// Parses a pattern of what a key may use of servers, with or without a leading `!`.
pub(crate) fn access(text: &str) -> Result<String, String> {
    Access::parse(&[text]).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// Parses the pattern of the tools that a rule over arguments is for.
pub(crate) fn ruled(text: &str) -> Result<String, String> {
    let refusal = || "must be a pattern over SERVER.TOOL, such as github.create_*, without a leading '!'".to_owned();
    rule_pattern(text).map(|_| text.to_owned()).ok_or_else(refusal)
}

/// Parses a rule over arguments, and says what is wrong with it.
pub(crate) fn call_rule(text: &str) -> Result<String, String> {
    CallRule::parse(text).map(|rule| rule.text().to_owned()).map_err(|invalid| invalid.to_string())
}

/// Parses a pattern of the tools that a price is for; one that denies is none.
pub(crate) fn priced(text: &str) -> Result<String, String> {
    if text.starts_with('!') {
        return Err("must say which tools it is for, and not which it is not".to_owned());
    }
    Pattern::parse(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// Parses what a call costs, with or without `USD` behind it; nothing is a price too.
pub(crate) fn cost(text: &str) -> Result<NanoUsd, String> {
    let digits = text.trim();
    let digits = digits.strip_suffix("USD").map_or(digits, str::trim_end);
    NanoUsd::parse_dollars(digits).map_err(|_| "must be an amount of dollars, such as '0.01 USD'".to_owned())
}

/// Parses how long a call may take.
pub(crate) fn timeout(text: &str) -> Result<prost_types::Duration, String> {
    route::wait(text, TIMEOUT_MIN, TIMEOUT_MAX).ok_or_else(|| "must be at most 1h, such as 30s".to_owned())
}

/// Parses how long replicas have to tell what they find.
pub(crate) fn patience(text: &str) -> Result<prost_types::Duration, String> {
    route::wait(text, PATIENCE_MIN, PATIENCE_MAX).ok_or_else(|| "must be between 1s and 20s".to_owned())
}

/// Parses a number of bytes.
pub(crate) fn size(text: &str) -> Result<i64, String> {
    let named = UNITS.iter().find_map(|(word, unit)| Some((text.strip_suffix(word)?.trim_end(), *unit)));
    let (digits, unit) = named.unwrap_or((text, 1));
    let is_plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let bytes = digits.parse::<i64>().ok().filter(|_| is_plain).and_then(|number| number.checked_mul(unit));
    let bytes = bytes.filter(|bytes| u64::try_from(*bytes).is_ok_and(|bytes| (1..=CALL_BYTES_MAX).contains(&bytes)));
    bytes.ok_or_else(|| "must be a size of at most 32MiB, such as 512KiB or 1MiB".to_owned())
}

/// A number of bytes as it is typed, in the largest unit that divides it.
pub(crate) fn shown_size(bytes: i64) -> String {
    let fits = UNITS.into_iter().find(|(_, unit)| bytes != 0 && bytes % unit == 0);
    let (word, unit) = fits.unwrap_or(("B", 1));
    format!("{}{word}", bytes / unit)
}

/// Parses the hash of a definition, into its one spelling.
pub(crate) fn hash(text: &str) -> Result<String, String> {
    if text.len() == HASH_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(text.to_ascii_lowercase());
    }
    Err(format!("must be {HASH_DIGITS} hexadecimal digits, as `tollgate mcp-tool get` tells them"))
}

/// How a server of the wire is shown its secret: the word, also where it is the usual one.
pub(crate) fn auth_word(server: &v1::McpServer) -> String {
    match server.auth.as_str() {
        "" if server.reference.is_empty() => McpAuth::Nothing.text(),
        "" => McpAuth::Bearer.text(),
        said => said.to_owned(),
    }
}

// === impl RuleArgument ===

impl FromStr for RuleArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A pattern has no spaces, so that the first colon before one ends it.
        let (tools, when) = text.split_once(": ").ok_or(RULE)?;
        Ok(Self { tools: ruled(tools.trim())?, when: call_rule(when)? })
    }
}

impl RuleArgument {
    /// For the wire.
    pub(crate) fn into_wire(self) -> v1::ToolRule {
        let Self { tools, when } = self;
        v1::ToolRule { tools, when }
    }
}

// === impl SecretArgument ===

impl FromStr for SecretArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("must not be empty; best is a reference: env://NAME or file:///path".to_owned());
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }
}

impl SecretArgument {
    /// For the wire.
    pub(crate) fn into_wire(self) -> String {
        self.0.to_string()
    }
}

/// Shows where the secret lies, never a literal.
impl fmt::Debug for SecretArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if is_reference(&self.0) { &self.0 } else { "***" })
    }
}

// === impl HeaderSecret ===

impl FromStr for HeaderSecret {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, secret) = text.split_once('=').ok_or("must be NAME=SECRET, such as x-api-key=env://SEARCH_KEY")?;
        Ok(Self { name: header_name(name)?, secret: secret.parse()? })
    }
}

// === impl PriceArgument ===

impl FromStr for PriceArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (tools, call) = text.rsplit_once('=').ok_or(PRICE)?;
        Ok(Self { tools: priced(tools)?, call: cost(call).map_err(|_| PRICE)? })
    }
}

impl PriceArgument {
    /// For the wire.
    pub(crate) fn into_wire(self) -> v1::ToolPrice {
        let Self { tools, call } = self;
        v1::ToolPrice { tools, call_nano_usd: call.get() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_number_and_a_unit() {
        for (text, bytes, shown) in [
            ("1MiB", 1 << 20, "1MiB"),
            ("512 KiB", 512 << 10, "512KiB"),
            ("1024KiB", 1 << 20, "1MiB"),
            ("100", 100, "100B"),
            ("1025B", 1_025, "1025B"),
            ("32MiB", 32 << 20, "32MiB"),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
            assert_eq!(shown_size(bytes), shown);
        }
        for bad in ["", "0", "33MiB", "1MB", "MiB", "-1", "+1", "1.5MiB", "9223372036854775807MiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_price_is_of_tools_and_may_be_nothing() {
        for (text, tools, nano) in
            [("search_*=0.01 USD", "search_*", 10_000_000), ("a=b=2", "a=b", 2_000_000_000), ("*=0 USD", "*", 0)]
        {
            assert_eq!(text.parse(), Ok(PriceArgument { tools: tools.into(), call: NanoUsd::new(nano) }), "{text}");
        }
        for bad in ["", "search", "=1 USD", "!x=1 USD", "x=", "x=free", "x=-1 USD"] {
            assert!(bad.parse::<PriceArgument>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_rule_is_a_pattern_and_a_condition() {
        for (text, tools, when) in [
            ("github.create_issue: arguments.repo == 'a: b'", "github.create_issue", "arguments.repo == 'a: b'"),
            ("a.b:c:  true ", "a.b:c", "true"),
            ("*: tool.server == 'a'", "*", "tool.server == 'a'"),
        ] {
            assert_eq!(text.parse(), Ok(RuleArgument { tools: tools.into(), when: when.into() }), "{text}");
        }
        for bad in
            ["", "a.b", "a.b:true", "Bash: true", "!a.b: true", "prompt:a.b: true", "a.b: repo == 1", "a b: true"]
        {
            assert!(bad.parse::<RuleArgument>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_has_one_spelling() {
        for (text, expect) in [
            ("https://MCP.example.com/Mcp?X=1", "https://mcp.example.com/Mcp?X=1"),
            ("https://x/", "https://x"),
            ("http://127.0.0.1:9/a/", "http://127.0.0.1:9/a/"),
        ] {
            assert_eq!(url(text).as_deref(), Ok(expect), "{text}");
        }
        for bad in ["", "x", "ftp://x", "https://u:p@x/", "https://x/#a", "/path", "stdio:ls"] {
            assert!(url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_secret_is_not_shown() {
        let header: HeaderSecret = "X-Api-Key=canary=1".parse().unwrap();
        assert_eq!((header.name.as_str(), format!("{header:?}").contains("canary")), ("x-api-key", false));
        assert_eq!(header.secret.into_wire(), "canary=1");
        assert!(format!("{:?}", "env://X".parse::<SecretArgument>().unwrap()).contains("env://X"));
        for bad in ["x-api-key", "x-api-key=", "host=env://X", "mcp-session-id=env://X", "a b=x"] {
            assert!(bad.parse::<HeaderSecret>().is_err(), "{bad}");
        }
    }

    #[test]
    fn names_words_and_patterns_say_what_they_must_be() {
        assert!(
            server_name("github-2").is_ok() && server_name("Git").is_err() && server_name(&"a".repeat(33)).is_err()
        );
        assert!(tool_name("a.b").is_ok() && tool_name("").is_err() && tool_name(&"a".repeat(129)).is_err());
        assert!(transport("stdio").is_ok() && flow("per_user").is_ok() && flow("bearer").is_err());
        assert_eq!(transport("pipe"), Err("must be one of streamable_http, sse, stdio, openapi".to_owned()));
        assert!(scope("repo:read").is_ok() && scope("a b").is_err() && scope("").is_err() && scope("a\"").is_err());
        assert_eq!(issuer("https://Login.example/t/"), Ok("https://login.example/t/".to_owned()));
        assert!(issuer("https://login.example/?x=1").is_err() && issuer("login.example").is_err());
        assert_eq!(pinning("never"), Err("must be one of first_use, approval, off".to_owned()));
        for good in ["github.*", "!github.delete_*", "prompt:a.b", "!resource:a.file:*", "!WebFetch"] {
            assert!(access(good).is_ok(), "{good}");
        }
        for bad in ["", "!", "prompt:", "!resource:", "a b"] {
            assert!(access(bad).is_err(), "{bad}");
        }
        assert_eq!(hash(&"0A".repeat(32)), Ok("0a".repeat(32)));
        assert!(hash("0a").is_err() && hash(&"0g".repeat(32)).is_err());
        assert!(timeout("30s").is_ok() && timeout("1h").is_ok() && timeout("61m").is_err() && timeout("0s").is_err());
    }
}
