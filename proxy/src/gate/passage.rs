//! Which headers pass. Both directions are open lists: what is not named here passes as it came, so that a client and a
//! provider may agree on headers that did not exist when this was written.
//!
//! Taken off a request: hop-by-hop headers (RFC 9110, section 7.6.1) and those that `Connection` names; `Host` and
//! `Content-Length`, which belong to the new message; `Expect`, which was answered here; `Cookie`, which can only be meant
//! for another origin, since `Set-Cookie` never passes the other way; what claims to say who forwarded the request; and the
//! credential, which [`credential`](super::credential) has lifted off. `Accept-Encoding` becomes `identity`, since the
//! meter reads the answer.
//!
//! Taken off an answer: hop-by-hop headers; `Set-Cookie`; what speaks for the provider's origin, which is not ours; its
//! rate limits, which are the organisation's and not the caller's; and any value that contains the provider's secret.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{ACCEPT_ENCODING, CONNECTION, TRANSFER_ENCODING},
};
use memchr::memmem;

const HOP_BY_HOP: [&str; 7] =
    ["connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings"];
const HOP_BY_HOP_PREFIX: &str = "proxy-";
const NOT_SENT: [&str; 7] = ["host", "content-length", "expect", "cookie", "forwarded", "via", "x-real-ip"];
const NOT_SENT_PREFIX: &str = "x-forwarded-";
const NOT_RETURNED: [&str; 7] =
    ["set-cookie", "set-cookie2", "alt-svc", "strict-transport-security", "clear-site-data", "nel", "report-to"];
const NOT_RETURNED_PREFIX: &str = "anthropic-ratelimit-unified-";

/// Leaves on a request what the provider shall see, except the credential, which is added when it is sent.
pub(super) fn outbound(headers: &mut HeaderMap) {
    let named = named_by_connection(headers);
    retain(headers, |name, _| {
        let text = name.as_str();
        let ends_here = is_hop_by_hop(text) || named.contains(name);
        !(ends_here || NOT_SENT.contains(&text) || text.starts_with(NOT_SENT_PREFIX))
    });
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
}

/// Leaves on an answer what the client shall see.
pub(super) fn inbound(headers: &mut HeaderMap, secret: &str) {
    let named = named_by_connection(headers);
    retain(headers, |name, value| {
        let text = name.as_str();
        let ends_here = is_hop_by_hop(text) || named.contains(name);
        let speaks_for_another = NOT_RETURNED.contains(&text) || text.starts_with(NOT_RETURNED_PREFIX);
        !(ends_here || speaks_for_another || contains(value, secret))
    });
}

/// Whether a request says in two ways how long its body is: the sign of somebody who wants two readers to disagree.
pub(super) fn is_framed_twice(headers: &HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(http::header::CONTENT_LENGTH)
}

fn is_hop_by_hop(name: &str) -> bool {
    HOP_BY_HOP.contains(&name) || name.starts_with(HOP_BY_HOP_PREFIX)
}

fn contains(value: &HeaderValue, secret: &str) -> bool {
    !secret.is_empty() && value.len() >= secret.len() && memmem::find(value.as_bytes(), secret.as_bytes()).is_some()
}

fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let options = values.flat_map(|value| value.split(',')).map(str::trim);
    // The two everyday options are no headers that need a look.
    let headers =
        options.filter(|option| !["keep-alive", "close"].iter().any(|usual| option.eq_ignore_ascii_case(usual)));
    headers.filter_map(|option| option.parse().ok()).collect()
}

// `HeaderMap` has no `retain`.
fn retain(headers: &mut HeaderMap, keep: impl Fn(&HeaderName, &HeaderValue) -> bool) {
    let gone: Vec<HeaderName> =
        headers.iter().filter(|(name, value)| !keep(name, value)).map(|(name, _)| name.clone()).collect();
    for name in gone {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(text: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').unwrap();
            headers.append(name.parse::<HeaderName>().unwrap(), value.trim().parse().unwrap());
        }
        headers
    }

    fn check(pass: impl Fn(&mut HeaderMap), before: &str, after: &str) {
        let mut passed = headers(before);
        pass(&mut passed);
        assert_eq!(passed, headers(after));
    }

    #[test]
    fn a_request_keeps_what_it_does_not_owe_to_this_hop() {
        let kept = "
            accept: application/json
            anthropic-version: 2023-06-01
            anthropic-beta: one-2025-01-01,two-2026-02-02
            anthropic-beta: three-2027-03-03
            anthropic-workspace-id: wrk_1
            anthropic-something-new: x
            content-type: application/json
            user-agent: claude-cli/2.1.330 (external, sdk-cli)
            x-app: cli
            x-claude-code-session-id: 5b1e
            x-stainless-retry-count: 0
            traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00
            x-unheard-of: kept
            prefer: a, b";
        let dropped = "
            host: gateway.example
            content-length: 12
            connection: keep-alive, x-hop, TE
            keep-alive: timeout=5
            x-hop: 1
            te: trailers
            trailer: x-checksum
            transfer-encoding: chunked
            upgrade: h2c
            http2-settings: AAMAAABk
            proxy-authorization: Basic eA==
            proxy-connection: keep-alive
            accept-encoding: gzip, br
            expect: 100-continue
            cookie: a=b
            forwarded: for=1.2.3.4
            via: 1.1 corp
            x-real-ip: 10.0.0.1
            x-forwarded-for: 10.0.0.1
            x-forwarded-host: internal
            x-forwarded-anything: y";
        check(outbound, &format!("{kept}{dropped}"), &format!("{kept}\naccept-encoding: identity"));
    }

    #[test]
    fn an_answer_keeps_what_the_provider_said_to_the_client() {
        let kept = "
            content-type: text/event-stream; charset=utf-8
            cache-control: no-cache
            retry-after: 7
            x-should-retry: true
            content-encoding: gzip
            cf-ray: 8a
            x-almost: sk-ant-secre
            anthropic-ratelimit-requests-remaining: 12
            anthropic-organization-id: org_1";
        let dropped = "
            connection: close, x-hop
            x-hop: 1
            transfer-encoding: chunked
            set-cookie: a=b
            set-cookie: c=d
            alt-svc: h3=\":443\"
            strict-transport-security: max-age=1
            anthropic-ratelimit-unified-status: allowed
            anthropic-ratelimit-unified-5h-reset: 1
            proxy-status: x
            x-echo: Bearer sk-ant-secret
            x-echo: harmless
            x-debug: sk-ant-secret";
        check(|headers| inbound(headers, "sk-ant-secret"), &format!("{kept}{dropped}"), kept);
    }

    #[test]
    fn a_body_has_one_length() {
        assert!(is_framed_twice(&headers("transfer-encoding: chunked\ncontent-length: 3")));
        assert!(!is_framed_twice(&headers("content-length: 3")));
        assert!(!is_framed_twice(&headers("transfer-encoding: chunked")));
    }
}
