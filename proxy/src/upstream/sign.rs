//! How a provider is shown its credential: in a header, in the query, or by a signature over the request.

use std::{
    borrow::Cow,
    time::{Duration, SystemTime},
};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign as sigv4},
    sign::v4,
};
use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Request, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use http_body_util::Full;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tollgate_policy::{
    provider::{Auth, Dialect},
    snapshot::Provider,
    time::UnixMillis,
};

use crate::current::Secret;

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const GOOGLE_API_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");
// What Anthropic's OAuth access tokens begin with; its API keys begin with `sk-ant-api`.
const OAUTH_PREFIX: &str = "sk-ant-oat";
// An administrator may say it outright, for a gateway behind this one.
const BEARER_PREFIX: &str = "Bearer ";
// Both ways into Bedrock sign under one name.
const BEDROCK: &str = "bedrock";
// Anthropic's own API on AWS, as the SDK of Anthropic signs for it.
const CLAUDE_ON_AWS: &str = "aws-external-anthropic";

/// What is wrong with a credential for a provider.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Unshowable {
    /// It cannot stand in a header or in a query.
    #[error("credential has characters that cannot be sent")]
    Characters,
    /// It has not the form that the provider's way of showing needs.
    #[error("credential is not of the form <access key id>:<secret access key>[:<session token>]")]
    Shape,
    /// The request cannot be signed.
    #[error("request cannot be signed")]
    Signature,
}

/// What of a secret is sent, and what must therefore never come back: without the word `Bearer`.
#[must_use]
pub(crate) fn bare(secret: &Secret) -> &str {
    secret.expose().strip_prefix(BEARER_PREFIX).unwrap_or_else(|| secret.expose()).trim()
}

/// Puts a credential on a request that is otherwise whole, as the provider's row says, or as is usual in its dialect: with Anthropic in
/// `x-api-key`, but for an OAuth access token; with Google in `x-goog-api-key`; with Bedrock by a signature where the secret is a pair of keys;
/// with the others as `authorization: Bearer`. A secret that was stored as `Bearer <token>` is shown so wherever nothing else is said.
///
/// # Errors
/// When the secret cannot be shown so.
pub(crate) fn sign(
    message: &mut Request<Full<Bytes>>,
    body: &[u8],
    provider: &Provider,
    secret: &Secret,
    now: UnixMillis,
) -> Result<(), Unshowable> {
    let token = bare(secret);
    let is_bearer = token.starts_with(OAUTH_PREFIX) || secret.expose().starts_with(BEARER_PREFIX);
    let is_pair = token.split(':').count() > 1;
    match (&provider.auth, provider.dialect) {
        (Auth::Nothing, _) => Ok(()),
        // Of the clouds, it is a token that the credential was exchanged for.
        (Auth::Bearer | Auth::Google | Auth::Entra, _) => bearer(message, token),
        (Auth::Header(name), _) => {
            let name = HeaderName::try_from(&**name).map_err(|_| Unshowable::Characters)?;
            header(message, name, HeaderValue::from_str(token))
        }
        (Auth::Query(name), _) => query(message, name, token),
        (Auth::SigV4, _) => aws(message, body, (&*provider.region, service(provider)), token, now),
        (Auth::OfDialect, _) if is_bearer => bearer(message, token),
        (Auth::OfDialect, Dialect::Anthropic) => header(message, API_KEY, HeaderValue::from_str(token)),
        (Auth::OfDialect, Dialect::Gemini) => header(message, GOOGLE_API_KEY, HeaderValue::from_str(token)),
        (Auth::OfDialect, Dialect::BedrockConverse | Dialect::BedrockInvoke) if is_pair => {
            aws(message, body, (&*provider.region, service(provider)), token, now)
        }
        (Auth::OfDialect, _) => bearer(message, token),
    }
}

fn bearer(message: &mut Request<Full<Bytes>>, token: &str) -> Result<(), Unshowable> {
    header(message, AUTHORIZATION, HeaderValue::try_from(format!("{BEARER_PREFIX}{token}")))
}

fn header<E>(
    message: &mut Request<Full<Bytes>>,
    name: HeaderName,
    value: Result<HeaderValue, E>,
) -> Result<(), Unshowable> {
    let mut value = value.map_err(|_| Unshowable::Characters)?;
    value.set_sensitive(true);
    message.headers_mut().insert(name, value);
    Ok(())
}

fn query(message: &mut Request<Full<Bytes>>, name: &str, token: &str) -> Result<(), Unshowable> {
    let mut parts = message.uri().clone().into_parts();
    let path = parts.path_and_query.as_ref().map_or("/", http::uri::PathAndQuery::as_str);
    let joint = if path.contains('?') { '&' } else { '?' };
    let value = utf8_percent_encode(token, NON_ALPHANUMERIC);
    parts.path_and_query = Some(format!("{path}{joint}{name}={value}").parse().map_err(|_| Unshowable::Characters)?);
    *message.uri_mut() = Uri::from_parts(parts).map_err(|_| Unshowable::Characters)?;
    Ok(())
}

// Under which name AWS knows what is called.
fn service(provider: &Provider) -> &'static str {
    if provider.dialect == Dialect::Anthropic { CLAUDE_ON_AWS } else { BEDROCK }
}

// AWS Signature Version 4, over the address, the type and the body, for a service in a region.
fn aws(
    message: &mut Request<Full<Bytes>>,
    body: &[u8],
    (region, service): (&str, &str),
    token: &str,
    now: UnixMillis,
) -> Result<(), Unshowable> {
    let mut parts = token.splitn(3, ':');
    let (Some(id), Some(secret)) = (parts.next(), parts.next()) else { return Err(Unshowable::Shape) };
    let session = parts.next().map(str::to_owned);
    let identity = Credentials::new(id, secret, session, None, "tollgate").into();
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(now.get()).unwrap_or_default());
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(service)
        .time(time)
        .settings(SigningSettings::default())
        .build()
        .map_err(|_| Unshowable::Signature)?
        .into();
    let uri = message.uri().to_string();
    let kind = message.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(Cow::from);
    let headers: Vec<(&str, &str)> = kind.as_deref().map(|kind| (CONTENT_TYPE.as_str(), kind)).into_iter().collect();
    let signable =
        SignableRequest::new(message.method().as_str(), &uri, headers.into_iter(), SignableBody::Bytes(body))
            .map_err(|_| Unshowable::Signature)?;
    let (instructions, _) = sigv4(signable, &params).map_err(|_| Unshowable::Signature)?.into_parts();
    instructions.apply_to_request_http1x(message);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate_policy::{id::ProviderId, pattern::Patterns};

    const NOW: UnixMillis = UnixMillis::new(1_440_938_160_000);

    fn provider(dialect: Dialect, auth: &str) -> Provider {
        Provider {
            id: ProviderId::from_ulid("01k9zq3v5m8c4t2n7r6x0w1y9b").unwrap(),
            name: "one".into(),
            dialect,
            base_url: "https://provider.example".into(),
            allow_private: false,
            models: Patterns::default(),
            vendor: "anthropic".into(),
            disabled: false,
            priority: 0,
            credentials: vec![],
            auth: Auth::parse(auth).unwrap(),
            region: "us-east-1".into(),
            quirks: [].into(),
        }
    }

    fn signed(dialect: Dialect, auth: &str, secret: &str, uri: &str) -> Result<Request<Full<Bytes>>, Unshowable> {
        let mut message = Request::post(uri).header(CONTENT_TYPE, "application/json").body(Full::default()).unwrap();
        let secret = Secret::new(secret.to_owned());
        sign(&mut message, b"{}", &provider(dialect, auth), &secret, NOW).map(|()| message)
    }

    #[test]
    fn a_credential_is_shown_in_the_way_of_its_kind() {
        for (dialect, auth, secret, name, value) in [
            (Dialect::Anthropic, "", "sk-ant-api03-abc", "x-api-key", "sk-ant-api03-abc"),
            (Dialect::Anthropic, "", "sk-ant-oat01-abc", "authorization", "Bearer sk-ant-oat01-abc"),
            (Dialect::Anthropic, "", "Bearer corp-abc", "authorization", "Bearer corp-abc"),
            (Dialect::Anthropic, "bearer", "abc", "authorization", "Bearer abc"),
            (Dialect::OpenAiChat, "", "sk-abc", "authorization", "Bearer sk-abc"),
            (Dialect::OpenAiChat, "header:api-key", "abc", "api-key", "abc"),
            (Dialect::Gemini, "", "abc", "x-goog-api-key", "abc"),
            (Dialect::BedrockConverse, "", "abc", "authorization", "Bearer abc"),
        ] {
            let message = signed(dialect, auth, secret, "https://provider.example/v1").unwrap();
            assert_eq!(message.headers().len(), 2, "{auth} {secret}");
            assert_eq!(message.headers()[name], value);
            assert!(!format!("{message:?}").contains("abc"), "a sensitive header is not printed");
        }
        let open = signed(Dialect::OpenAiChat, "none", "unused", "http://127.0.0.1/v1").unwrap();
        assert_eq!(open.headers().len(), 1);
        let two = signed(Dialect::Anthropic, "", "two\nlines", "https://provider.example/");
        assert_eq!(two.err(), Some(Unshowable::Characters));
    }

    #[test]
    fn a_credential_in_the_query_stands_behind_what_is_there() {
        for (uri, expect) in [
            ("https://provider.example/v1", "https://provider.example/v1?key=a%2Bb"),
            ("https://provider.example/v1?alt=sse", "https://provider.example/v1?alt=sse&key=a%2Bb"),
        ] {
            assert_eq!(signed(Dialect::Gemini, "query:key", "a+b", uri).unwrap().uri(), expect);
        }
    }

    // The secret and the instant of AWS's published example; the signature was computed with botocore.
    #[test]
    fn a_request_is_signed_as_aws_signs_it() {
        let secret = "AKIDEXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        let uri = "https://bedrock-runtime.us-east-1.amazonaws.com/model/amazon.nova-pro-v1%3A0/converse";
        let message = signed(Dialect::BedrockConverse, "sigv4", secret, uri).unwrap();
        assert_eq!(message.headers()["x-amz-date"], "20150830T123600Z");
        assert_eq!(
            message.headers()["authorization"],
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/bedrock/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date, Signature=0d8b9dd7ef1354ac6b4283983fdce821fc580518c81e771127427a339dc27b75"
        );
        let session = signed(Dialect::BedrockConverse, "", &format!("{secret}:token"), uri).unwrap();
        assert_eq!(session.headers()["x-amz-security-token"], "token");
        assert_eq!(signed(Dialect::BedrockConverse, "sigv4", "alone", uri).err(), Some(Unshowable::Shape));
    }

    #[test]
    fn each_published_vector_has_its_published_signature() {
        let lines = include_str!("sign/vectors.txt").lines().filter(|line| !line.starts_with('#'));
        let vectors: Vec<Vec<&str>> = lines.map(|line| line.split(" | ").collect()).collect();
        assert_eq!(vectors.len(), 18);
        for vector in vectors {
            let [name, method, address, kind, body, session, scope, now, signature] = vector[..] else {
                panic!("{vector:?}")
            };
            let given = |text: &'static str| Some(text).filter(|text| *text != "-");
            let (region, service) = scope.split_once('/').unwrap();
            let body = given(body).unwrap_or_default();
            let mut message = Request::builder().method(method).uri(address).body(Full::default()).unwrap();
            if let Some(kind) = given(kind) {
                message.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            }
            let secret = "AKIDEXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
            let secret = given(session).map_or(secret.to_owned(), |session| format!("{secret}:{session}"));
            let now = UnixMillis::new(now.parse().unwrap());
            aws(&mut message, body.as_bytes(), (region, service), &secret, now).unwrap();
            let found = message.headers()["authorization"].to_str().unwrap();
            assert_eq!(found.split_once("Signature=").unwrap().1, signature, "{name}: {found}");
        }
    }
}
