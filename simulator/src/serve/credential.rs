//! Where each vendor's clients put their credential.

use http::{HeaderMap, header, request::Parts};

const OWN_HEADERS: &[&str] = &["x-api-key", "x-goog-api-key", "api-key"];

/// The credential: of `authorization`, of the vendors' own headers, or of Gemini's query.
pub(super) fn find(parts: &Parts) -> Option<&str> {
    from_authorization(&parts.headers)
        .or_else(|| from_own_header(&parts.headers))
        .or_else(|| {
            let pairs = parts.uri.query()?.split('&');
            pairs.into_iter().find_map(|pair| pair.strip_prefix("key="))
        })
        .filter(|credential| !credential.is_empty())
}

/// The token behind `Bearer`; of a signature, which key made it.
fn from_authorization(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim());
    }
    let (_, named) = rest.split_once("Credential=")?;
    named.split(['/', ',']).next()
}

fn from_own_header(headers: &HeaderMap) -> Option<&str> {
    OWN_HEADERS.iter().find_map(|name| headers.get(*name)).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    #[test]
    fn a_credential_is_found_where_each_client_puts_it() {
        for (name, value, path, expect) in [
            ("authorization", "Bearer k", "/", Some("k")),
            ("authorization", "bearer  k", "/", Some("k")),
            (
                "authorization",
                "AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-east-1/bedrock/aws4_request, Signature=x",
                "/",
                Some("AKIA"),
            ),
            ("authorization", "Basic x", "/", None),
            ("x-api-key", "k", "/", Some("k")),
            ("x-goog-api-key", "k", "/", Some("k")),
            ("api-key", "k", "/", Some("k")),
            ("x-api-key", "", "/", None),
            ("accept", "x", "/v1beta/models?alt=sse&key=k", Some("k")),
            ("accept", "x", "/", None),
        ] {
            let (parts, ()) = Request::get(path).header(name, value).body(()).unwrap().into_parts();
            assert_eq!(find(&parts), expect, "{name}: {value}");
        }
    }
}
