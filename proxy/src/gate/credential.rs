//! Lifts the client's credential off the headers: a virtual key, or a developer's short-lived credential for one. Behind this
//! door nobody sees it again.

use http::{
    HeaderMap, HeaderName,
    header::{AUTHORIZATION, PROXY_AUTHORIZATION},
};
use percent_encoding::percent_decode_str;
use tollgate_dialect::Dialect;
use tollgate_policy::{
    credential::{self, Presented},
    refusal::{Refusal, RefusalKind},
    token::{InvalidToken, Token},
};
use zeroize::Zeroizing;

// Where clients of the various dialects put their key.
const BARE: [HeaderName; 3] = [
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("x-goog-api-key"),
    HeaderName::from_static("api-key"),
];

// What belongs to a signature of AWS, its session token too: it is good for one hop, and AWS takes none of it unsigned.
const SIGNATURE_PREFIX: &str = "x-amz-";
const AWS_SCHEME: &str = "AWS4-HMAC-SHA256";
// Where Google's clients put a credential into the address.
const IN_QUERY: [&str; 3] = ["key", "access_token", "oauth_token"];

/// What a client presented, well-formed.
#[derive(Debug)]
pub(super) enum Lifted {
    /// A virtual key.
    Key(Token),
    /// A developer's credential for one.
    Credential(Presented),
}

/// Takes every credential out of the headers and parses the one that they agree on.
///
/// # Errors
/// Refuses when there is none, when two differ, what is not a virtual key by shape or checksum, and what begins like a
/// short-lived credential and does not have its shape.
pub(super) fn lift(headers: &mut HeaderMap) -> Result<Lifted, Refusal> {
    let presented = collect(headers);
    let is_signed = headers.get(AUTHORIZATION).is_some_and(|value| value.as_bytes().starts_with(AWS_SCHEME.as_bytes()));
    headers.remove(AUTHORIZATION);
    headers.remove(PROXY_AUTHORIZATION);
    let of_signature = |name: &&HeaderName| name.as_str().starts_with(SIGNATURE_PREFIX);
    let signature: Vec<HeaderName> = headers.keys().filter(of_signature).cloned().collect();
    for name in BARE.into_iter().chain(signature) {
        headers.remove(name);
    }
    let text = presented?;
    if text.starts_with(credential::PREFIX) {
        return Presented::parse(&text).map(Lifted::Credential).map_err(|_| {
            refused("The Tollgate credential is damaged: it is not whole. Run `tollgate token` again, and pass on all of what it prints.")
        });
    }
    Token::parse(&text).map(Lifted::Key).map_err(|invalid| {
        refused(match invalid {
            InvalidToken::Shape if is_signed => {
                "The request is signed with an AWS key, which Tollgate does not know. Set AWS_BEARER_TOKEN_BEDROCK to the key that your \
                 platform team gave you; it begins with tg_."
            }
            InvalidToken::Shape => {
                "The credential is not a Tollgate key. Set ANTHROPIC_AUTH_TOKEN (or your client's API key) to the key that your \
                 platform team gave you; it begins with tg_."
            }
            InvalidToken::Checksum => {
                "The Tollgate key is damaged: its checksum does not match, so a character was lost or changed. Copy the whole key \
                 again."
            }
        })
    })
}

fn collect(headers: &HeaderMap) -> Result<Zeroizing<String>, Refusal> {
    let mut found: Option<&str> = None;
    let bearers = headers.get_all(AUTHORIZATION).iter().map(|value| value.to_str().ok().and_then(authorized));
    let bare = BARE.into_iter().flat_map(|name| headers.get_all(name)).map(|value| value.to_str().ok().map(str::trim));
    for text in bearers.chain(bare) {
        let text = text.ok_or_else(|| {
            refused("The credential cannot be read. Send the Tollgate key as \"Authorization: Bearer <key>\" or \"x-api-key: <key>\".")
        })?;
        if found.is_some_and(|other| other != text) {
            return Err(refused(
                "Two different credentials were sent. Send one Tollgate key: unset either ANTHROPIC_API_KEY or \
                 ANTHROPIC_AUTH_TOKEN.",
            ));
        }
        found = Some(text);
    }
    found.map(|text| Zeroizing::new(text.to_owned())).ok_or_else(|| {
        refused("No credential was sent. Set ANTHROPIC_AUTH_TOKEN (or your client's API key) to your Tollgate key.")
    })
}

// RFC 9110, section 11.1: the scheme's case does not matter.
fn authorized(value: &str) -> Option<&str> {
    let (scheme, rest) = value.trim().split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim());
    }
    scheme.eq_ignore_ascii_case(AWS_SCHEME).then(|| signed_by(rest))?
}

// The access key id of an AWS signature, `Credential=<id>/<date>/<region>/<service>/aws4_request, ..`, in which older SDKs of AWS present
// the key. It stands there in clear, as a bearer token does: of the signature there is nothing that could be checked, since the secret
// beside that id is nobody's.
fn signed_by(parameters: &str) -> Option<&str> {
    let mut named = parameters.split(',').filter_map(|parameter| parameter.trim().strip_prefix("Credential="));
    let (Some(scope), None) = (named.next(), named.next()) else { return None };
    scope.split_once('/').map(|(id, _)| id)
}

/// Refuses a credential in the address of a request in Gemini's dialect, where Google reads one: beside the key that is lifted off the
/// headers, it would reach the provider. Its name may be encoded.
///
/// # Errors
/// Says where the key belongs.
pub(super) fn none_in_query(dialect: Dialect, query: Option<&str>) -> Result<(), Refusal> {
    let is_one = |pair: &str| {
        let name = pair.split('=').next().unwrap_or_default();
        percent_decode_str(name).decode_utf8().is_ok_and(|name| IN_QUERY.contains(&name.trim_start_matches('$')))
    };
    if dialect != Dialect::Gemini || !query.is_some_and(|query| query.split('&').any(is_one)) {
        return Ok(());
    }
    Err(Refusal::new(
        RefusalKind::Malformed,
        "A key stands in the address of the request, where logs would keep it. Send the Tollgate key only as \"x-goog-api-key: <key>\" or \
         \"Authorization: Bearer <key>\".",
    ))
}

fn refused(sentence: &'static str) -> Refusal {
    Refusal::new(RefusalKind::Unauthenticated, sentence)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate_policy::id::KeyId;

    fn key(random: u8) -> String {
        let id = KeyId::from_ulid("01k9zq3v5m8c4t2n7r6x0w1y9b").unwrap();
        Token::mint("live", &id, &[random; 32]).unwrap().expose().to_owned()
    }

    fn lifted(pairs: &[(&'static str, String)]) -> (Result<String, String>, HeaderMap) {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let token = lift(&mut headers).map(|lifted| match lifted {
            Lifted::Key(token) => token.expose().to_owned(),
            Lifted::Credential(presented) => presented.expose().to_owned(),
        });
        (token.map_err(|refusal| refusal.public().to_owned()), headers)
    }

    fn signature(id: &str) -> String {
        format!(
            "AWS4-HMAC-SHA256 Credential={id}/20260101/us-east-1/bedrock/aws4_request, SignedHeaders=host;x-amz-date, Signature=ab"
        )
    }

    // The shape of a short-lived credential; nobody has signed it.
    fn credential() -> String {
        format!("tgt_{}.{}.{}", "a".repeat(60), "b".repeat(300), "c".repeat(86))
    }

    #[test]
    fn a_key_is_taken_from_each_header_that_clients_use() {
        [key(1), credential()].into_iter().for_each(taken_from_each_header);
    }

    fn taken_from_each_header(one: String) {
        let bearer = format!("Bearer {one}");
        let signed = format!(
            "AWS4-HMAC-SHA256 Credential={one}/20150830/us-east-1/bedrock/aws4_request, SignedHeaders=host;x-amz-date, Signature=5d67"
        );
        for pairs in [
            vec![("authorization", signed.clone()), ("x-amz-date", "20150830T123600Z".into())],
            vec![
                ("authorization", signed.replacen("AWS4", "aws4", 1).replace(", ", ",")),
                ("x-amz-security-token", "t".into()),
                ("x-amz-content-sha256", "e3b0".into()),
            ],
            vec![("authorization", signed), ("x-api-key", one.clone())],
            vec![("authorization", bearer.clone())],
            vec![("authorization", format!("bearer  {one} "))],
            vec![("x-api-key", one.clone())],
            vec![("x-goog-api-key", one.clone())],
            vec![("api-key", one.clone())],
            vec![("authorization", signature(&one)), ("x-amz-date", "20260101T000000Z".into())],
            vec![("authorization", signature(&one)), ("x-amz-security-token", "theirs".into())],
            vec![
                ("authorization", signature(&one)),
                ("x-amz-content-sha256", "e3b0".into()),
                ("x-api-key", one.clone()),
            ],
            vec![("authorization", bearer.clone()), ("x-api-key", one.clone())],
            vec![("x-api-key", one.clone()), ("x-api-key", one.clone())],
        ] {
            let (token, headers) = lifted(&pairs);
            assert_eq!(token, Ok(one.clone()), "{pairs:?}");
            assert!(headers.is_empty(), "nothing of it stays: {headers:?}");
        }
    }

    #[test]
    fn no_credential_stands_in_the_address_where_google_reads_one() {
        for (dialect, query, expect) in [
            (Dialect::Gemini, None, true),
            (Dialect::Gemini, Some("alt=sse&keys=1&monkey=2"), true),
            (Dialect::Gemini, Some("alt=sse&key=x"), false),
            (Dialect::Gemini, Some("key"), false),
            (Dialect::Gemini, Some("k%65y=x"), false),
            (Dialect::Gemini, Some("%24access_token=x"), false),
            (Dialect::Anthropic, Some("key=x"), true),
        ] {
            assert_eq!(none_in_query(dialect, query).is_ok(), expect, "{query:?}");
        }
    }

    #[test]
    fn anything_else_is_refused_and_lifted_off_all_the_same() {
        let (one, two) = (key(1), key(2));
        let damaged = one.replace("tg_live_0", "tg_live_1");
        for (pairs, words) in [
            (vec![], "No credential"),
            (vec![("authorization", format!("Bearer {one}")), ("x-api-key", two.clone())], "Two different"),
            (vec![("x-api-key", one.clone()), ("x-api-key", two.clone())], "Two different"),
            (vec![("authorization", "Basic dXNlcjpwYXNz".into())], "cannot be read"),
            (vec![("authorization", "AWS4-HMAC-SHA256 SignedHeaders=host, Signature=5d67".into())], "cannot be read"),
            (
                vec![("authorization", "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/r/s/t".into())],
                "which Tollgate does not know",
            ),
            (vec![("authorization", one.clone())], "cannot be read"),
            (vec![("authorization", format!("{}, Credential={two}/x", signature(&one)))], "cannot be read"),
            (vec![("authorization", format!("AWS4-HMAC-SHA256 Credential={one}"))], "cannot be read"),
            (vec![("authorization", "AWS4-HMAC-SHA256 Signature=ab".into())], "cannot be read"),
            (vec![("authorization", signature("AKIAIOSFODNN7EXAMPLE"))], "AWS_BEARER_TOKEN_BEDROCK"),
            (vec![("authorization", signature(&one)), ("x-api-key", two.clone())], "Two different"),
            (vec![("x-api-key", "caf\u{e9}".into())], "cannot be read"),
            (vec![("x-api-key", "sk-ant-api03-whatever".into())], "not a Tollgate key"),
            (vec![("x-api-key", String::new())], "not a Tollgate key"),
            (vec![("x-api-key", damaged)], "damaged"),
            (vec![("x-api-key", one.clone()), ("api-key", credential())], "Two different"),
            (vec![("x-api-key", credential().replacen('.', "", 1))], "tollgate token"),
            (vec![("x-api-key", credential().replacen('a', &"a".repeat(1_024), 1))], "tollgate token"),
            (vec![("x-api-key", credential().replacen("tgt_", "tgu_", 1))], "not a Tollgate key"),
        ] {
            let (token, headers) = lifted(&pairs);
            let sentence = token.expect_err("refused");
            assert!(sentence.contains(words), "{pairs:?}: {sentence}");
            assert!(headers.is_empty(), "{headers:?}");
            assert!(!sentence.contains(&one), "the sentence repeats no credential");
        }
    }
}
