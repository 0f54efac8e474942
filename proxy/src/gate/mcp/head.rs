//! What the head of a request to servers of tools must be like. A page in a browser that was made to speak to this replica (DNS rebinding) is known by
//! its origin; without a key it would get nothing either.

use http::{
    HeaderMap, HeaderValue, Method,
    header::{ACCEPT, CONTENT_TYPE, ORIGIN},
};
use tollgate_policy::refusal::{Refusal, RefusalKind};

use crate::{gate::fund::Turned, refuse::Detail};

/// Checks the head of a request.
///
/// # Errors
/// Says what to send instead.
pub(super) fn check(
    method: &Method,
    host: Option<&HeaderValue>,
    headers: &HeaderMap,
    origins: &[String],
) -> Result<(), Turned> {
    if let Some(origin) = headers.get(ORIGIN)
        && !is_allowed(origin, host, origins)
    {
        let sentence = "Web pages of this origin may not speak to MCP servers through Tollgate. If they should, let your platform team add it to \
                        `mcp_origins` of the replica.";
        return Err((Refusal::new(RefusalKind::Malformed, sentence), Detail::Origin));
    }
    if *method != Method::POST {
        return Ok(());
    }
    if !headers.get(CONTENT_TYPE).is_some_and(is_json) {
        let sentence = "The body must be one JSON-RPC message: send it with content-type: application/json.";
        return Err((Refusal::new(RefusalKind::Malformed, sentence), Detail::Encoding));
    }
    if !takes(headers, "application/json") {
        let sentence =
            "Answers are application/json or text/event-stream: send accept: application/json, text/event-stream.";
        return Err((Refusal::new(RefusalKind::Malformed, sentence), Detail::None));
    }
    Ok(())
}

/// Whether the client takes a stream of events.
#[must_use]
pub(super) fn takes_events(headers: &HeaderMap) -> bool {
    takes(headers, "text/event-stream")
}

// Who does not say what they take, take anything.
fn takes(headers: &HeaderMap, media: &str) -> bool {
    let mut accepted = headers.get_all(ACCEPT).iter().peekable();
    if accepted.peek().is_none() {
        return true;
    }
    let group = media.split('/').next().unwrap_or_default();
    let is_it = |range: &str| {
        let range = range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        range == media || range == "*/*" || range.strip_suffix("/*") == Some(group)
    };
    accepted.filter_map(|value| value.to_str().ok()).any(|value| value.split(',').any(is_it))
}

// Charsets other than UTF-8 would be read differently behind us.
fn is_json(value: &HeaderValue) -> bool {
    let Ok(text) = value.to_str() else { return false };
    let mut parts = text.split(';').map(|part| part.trim().to_ascii_lowercase());
    let media = parts.next().unwrap_or_default();
    let is_utf8 = |parameter: String| match parameter.strip_prefix("charset=") {
        Some(charset) => charset.trim_matches('"') == "utf-8",
        None => true,
    };
    media == "application/json" && parts.all(is_utf8)
}

// Pages of this machine that were loaded from the very host that they speak to, and those that an operator has named.
fn is_allowed(origin: &HeaderValue, host: Option<&HeaderValue>, origins: &[String]) -> bool {
    let Ok(origin) = origin.to_str().map(str::to_ascii_lowercase) else { return false };
    if origins.contains(&origin) {
        return true;
    }
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    let Some(authority) = authority else { return false };
    let is_same = host.and_then(|host| host.to_str().ok()).is_some_and(|host| host.eq_ignore_ascii_case(authority));
    is_same && is_of_this_machine(authority)
}

fn is_of_this_machine(authority: &str) -> bool {
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let host = authority.rsplit_once(':').filter(|(_, port)| is_port(port)).map_or(authority, |(host, _)| host);
    matches!(host, "localhost" | "127.0.0.1" | "[::1]")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    // SECURITY row 16: DNS rebinding.
    #[test]
    fn a_page_of_another_origin_does_not_speak_to_servers() {
        let allowed = ["https://inspector.example".to_owned()];
        for (host, origin, expect) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080", true),
            ("localhost:8080", "http://localhost:8080", true),
            ("[::1]:8080", "http://[::1]:8080", true),
            ("gateway.example", "https://inspector.example", true),
            ("gateway.example", "HTTPS://INSPECTOR.EXAMPLE", true),
            ("localhost:8080", "http://localhost:3000", false),
            ("evil.example:8080", "http://evil.example:8080", false),
            ("127.0.0.1:8080", "http://evil.example", false),
            ("127.0.0.1:8080", "null", false),
            ("127.0.0.1:8080", "http://127.0.0.1.evil.example", false),
            ("localhost.evil.example", "http://localhost.evil.example", false),
            ("localhost.", "http://localhost.", false),
            ("a@127.0.0.1", "http://a@127.0.0.1", false),
            ("127.0.0.1:8080", "file://", false),
        ] {
            let host_sent = HeaderValue::from_str(host).unwrap();
            let sent = headers(&[("origin", origin)]);
            assert_eq!(check(&Method::GET, Some(&host_sent), &sent, &allowed).is_ok(), expect, "{host} {origin}");
        }
        assert!(check(&Method::GET, None, &headers(&[]), &allowed).is_ok(), "no browser");
    }

    #[test]
    fn a_message_is_json_and_says_so() {
        for (content_type, accept, expect) in [
            ("application/json", "application/json, text/event-stream", true),
            ("Application/JSON; Charset=UTF-8", "text/event-stream, application/json;q=0.9", true),
            ("application/json", "*/*", true),
            ("application/json", "application/*", true),
            ("application/json; charset=utf-16", "*/*", false),
            ("text/plain", "*/*", false),
            ("application/json", "text/event-stream", false),
            ("application/json", "text/html", false),
        ] {
            let sent = headers(&[("content-type", content_type), ("accept", accept)]);
            assert_eq!(check(&Method::POST, None, &sent, &[]).is_ok(), expect, "{content_type} {accept}");
        }
        assert!(check(&Method::POST, None, &headers(&[("content-type", "application/json")]), &[]).is_ok());
        assert!(check(&Method::POST, None, &headers(&[]), &[]).is_err());
        assert!(takes_events(&headers(&[])) && !takes_events(&headers(&[("accept", "application/json")])));
    }
}
