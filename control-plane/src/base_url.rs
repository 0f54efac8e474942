//! The address of a provider, as an administrator may write it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Uri;

/// The longest base URL, in bytes.
pub const BASE_URL_BYTES_MAX: usize = 500;

/// Where a cloud tells a machine its own credentials, by name. Its address is a link-local one.
const METADATA_HOST: &str = "metadata.google.internal";

/// Why a text is no base URL. Each continues the sentence `base_url ..`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidBaseUrl {
    /// It is not a URL at all.
    #[error("must be a URL of the form https://host[:port][/path], at most 500 visible ASCII characters")]
    Shape,
    /// It is plain HTTP.
    #[error("must begin with https://, unless allow_private is true")]
    Plain,
    /// It has a user or a password.
    #[error("must not have a user or a password: a secret belongs in a credential")]
    UserInfo,
    /// It has a query or a fragment.
    #[error("must not have a query or a fragment")]
    Query,
    /// Its path can be read in two ways.
    #[error("must not have '.', '..' or empty segments, '\\' or '%' in its path")]
    Path,
    /// It names this machine or a private network.
    #[error("names a loopback, private or link-local address: set allow_private to permit that")]
    Private,
}

/// Reads a base URL and returns it without slashes at its end. What a name resolves to is checked by each replica when it
/// connects; an address that is written down is checked here as well.
///
/// # Errors
/// Says what is wrong.
pub fn parse(text: &str, allow_private: bool) -> Result<String, InvalidBaseUrl> {
    if text.len() > BASE_URL_BYTES_MAX || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(InvalidBaseUrl::Shape);
    }
    if text.contains(['?', '#']) {
        return Err(InvalidBaseUrl::Query);
    }
    if text.contains(['\\', '%']) {
        return Err(InvalidBaseUrl::Path);
    }
    let uri: Uri = text.parse().map_err(|_| InvalidBaseUrl::Shape)?;
    let (scheme, authority) = uri.scheme_str().zip(uri.authority()).ok_or(InvalidBaseUrl::Shape)?;
    if authority.as_str().contains('@') {
        return Err(InvalidBaseUrl::UserInfo);
    }
    match scheme {
        "https" => {}
        "http" if allow_private => {}
        "http" => return Err(InvalidBaseUrl::Plain),
        _ => return Err(InvalidBaseUrl::Shape),
    }
    // The library takes a port that is no number for none at all.
    let behind_host = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
    let port_is_good = behind_host.is_empty() || authority.port_u16().is_some_and(|port| port > 0);
    if authority.host().is_empty() || !port_is_good {
        return Err(InvalidBaseUrl::Shape);
    }
    if !allow_private && is_private(authority.host()) {
        return Err(InvalidBaseUrl::Private);
    }
    let path = uri.path().trim_end_matches('/');
    if path.split('/').skip(1).any(|segment| matches!(segment, "" | "." | "..")) {
        return Err(InvalidBaseUrl::Path);
    }
    Ok(format!("{scheme}://{}{path}", authority.as_str().to_ascii_lowercase()))
}

/// Reads the address of one place: a base URL that may have a query, and stays as it is written but for the host, which becomes lower
/// case.
///
/// # Errors
/// As [`parse`]; [`InvalidBaseUrl::Query`] for a fragment alone.
pub fn endpoint(text: &str, allow_private: bool) -> Result<String, InvalidBaseUrl> {
    let (place, query) = text.split_once('?').map_or((text, None), |(place, query)| (place, Some(query)));
    if text.len() > BASE_URL_BYTES_MAX || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(InvalidBaseUrl::Shape);
    }
    if text.contains('#') {
        return Err(InvalidBaseUrl::Query);
    }
    let base = parse(place, allow_private)?;
    let slash = if place.ends_with('/') { "/" } else { "" };
    Ok(match query {
        Some(query) => format!("{base}{slash}?{query}"),
        None => format!("{base}{slash}"),
    })
}

/// Whether two addresses that were read here are of one place: scheme, host and port.
#[must_use]
pub fn has_same_origin(one: &str, other: &str) -> bool {
    let origin = |text: &str| {
        let uri: Uri = text.parse().ok()?;
        let (scheme, authority) = (uri.scheme_str()?.to_owned(), uri.authority()?);
        let usual = if scheme == "http" { 80 } else { 443 };
        Some((authority.host().to_ascii_lowercase(), authority.port_u16().unwrap_or(usual), scheme))
    };
    origin(one).is_some_and(|origin_of_one| Some(origin_of_one) == origin(other))
}

/// Whether an address is one that is not reachable over the public internet.
#[must_use]
pub fn is_private_address(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_private_v4(address),
        IpAddr::V6(address) => is_private_v6(address),
    }
}

/// Whether a host, as it stands in a URL, names this machine or a private network.
#[must_use]
pub fn is_private(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    match bare.parse() {
        Ok(address) => is_private_address(address),
        // Resolvers read `127.1` and `2130706433` as addresses, too: a host whose last label is a number is no name.
        Err(_) => {
            let last = bare.rsplit('.').next().unwrap_or_default();
            let numeric = last.bytes().all(|byte| byte.is_ascii_digit()) || last.to_ascii_lowercase().starts_with("0x");
            let name = bare.to_ascii_lowercase();
            numeric || name == "localhost" || name.ends_with(".localhost") || name == METADATA_HOST
        }
    }
}

// RFC 6890: what is not reachable over the public internet.
fn is_private_v4(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_multicast()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 198 && (18..20).contains(&b))
        || (a == 192 && b == 0 && address.octets()[2] == 0)
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    let embedded = match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => true,
        [0, 0, 0, 0, 0, 0, ..] => return true,
        _ => false,
    };
    if embedded {
        let [.., a, b, c, d] = address.octets();
        return is_private_v4(Ipv4Addr::new(a, b, c, d));
    }
    address.is_multicast() || address.is_unique_local() || address.is_unicast_link_local()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_is_one_public_https_address() {
        use InvalidBaseUrl::{Path, Plain, Private, Query, Shape, UserInfo};
        for (text, expect) in [
            ("https://api.anthropic.com", Ok("https://api.anthropic.com")),
            ("https://api.anthropic.com/", Ok("https://api.anthropic.com")),
            ("https://API.Anthropic.com:8443/Proxy/v2//", Ok("https://api.anthropic.com:8443/Proxy/v2")),
            ("https://8.8.8.8", Ok("https://8.8.8.8")),
            ("https://[2606:4700::1111]/x", Ok("https://[2606:4700::1111]/x")),
            ("", Err(Shape)),
            ("api.anthropic.com", Err(Shape)),
            ("ftp://host", Err(Shape)),
            ("https://", Err(Shape)),
            ("https://host:", Err(Shape)),
            ("https://host:0", Err(Shape)),
            ("https://host:99999", Err(Shape)),
            ("https://ho st", Err(Shape)),
            ("https://hóst", Err(Shape)),
            ("http://host", Err(Plain)),
            ("https://user:password@host", Err(UserInfo)),
            ("https://user@host", Err(UserInfo)),
            ("https://host?x=1", Err(Query)),
            ("https://host/#x", Err(Query)),
            ("https://host/a/../b", Err(Path)),
            ("https://host/%2e%2e/b", Err(Path)),
            ("https://host//b", Err(Path)),
            ("https://host\\@evil", Err(Path)),
            ("https://localhost", Err(Private)),
            ("https://x.localhost.", Err(Private)),
            ("https://metadata.google.internal", Err(Private)),
            ("https://127.0.0.1", Err(Private)),
            ("https://127.1", Err(Private)),
            ("https://2130706433", Err(Private)),
            ("https://0x7f.1", Err(Private)),
            ("https://10.1.2.3", Err(Private)),
            ("https://169.254.169.254", Err(Private)),
            ("https://100.64.0.1", Err(Private)),
            ("https://[::1]", Err(Private)),
            ("https://[::ffff:10.0.0.1]", Err(Private)),
            ("https://[fd00::1]", Err(Private)),
            ("https://[fe80::1]", Err(Private)),
        ] {
            assert_eq!(parse(text, false), expect.map(str::to_owned), "{text}");
        }
        for text in ["http://localhost:9", "https://127.0.0.1", "http://[::1]:80", "https://10.0.0.1/v1"] {
            assert_eq!(parse(text, true), Ok(text.to_owned()), "{text}");
        }
        assert_eq!(parse("http://u@localhost", true), Err(UserInfo));
        assert_eq!(parse(&format!("https://h/{}", "x".repeat(500)), false), Err(Shape));
    }

    #[test]
    fn an_endpoint_keeps_its_path_and_its_query() {
        use InvalidBaseUrl::{Path, Plain, Private, Query, Shape, UserInfo};
        for (text, expect) in [
            ("https://MCP.example/mcp", Ok("https://mcp.example/mcp")),
            ("https://mcp.example/MCP/", Ok("https://mcp.example/MCP/")),
            ("https://mcp.example", Ok("https://mcp.example")),
            ("https://mcp.example:8443/x?team=A%20b&y=/../", Ok("https://mcp.example:8443/x?team=A%20b&y=/../")),
            ("https://mcp.example/?", Ok("https://mcp.example/?")),
            ("https://mcp.example/x#y", Err(Query)),
            ("https://mcp.example/x?a#y", Err(Query)),
            ("https://mcp.example/x?a b", Err(Shape)),
            ("https://mcp.example/../x", Err(Path)),
            ("https://u:p@mcp.example/", Err(UserInfo)),
            ("http://mcp.example/", Err(Plain)),
            ("https://169.254.169.254/mcp", Err(Private)),
            ("https://localhost/mcp", Err(Private)),
            ("stdio:npx", Err(Shape)),
            ("file:///bin/sh", Err(Shape)),
            ("npx -y server", Err(Shape)),
        ] {
            assert_eq!(endpoint(text, false), expect.map(str::to_owned), "{text}");
        }
        assert_eq!(endpoint("http://127.0.0.1:9/mcp", true), Ok("http://127.0.0.1:9/mcp".to_owned()));
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        for (one, other, expect) in [
            ("https://a/x", "https://a:443/y?z", true),
            ("https://a", "http://a", false),
            ("https://a", "https://b", false),
            ("https://a:1", "https://a:2", false),
            ("http://a:80", "http://a", true),
        ] {
            assert_eq!(has_same_origin(one, other), expect, "{one} {other}");
        }
    }
}
