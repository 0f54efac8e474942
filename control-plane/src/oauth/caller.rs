//! Who asks, as far as a request shows it.

use std::{convert::Infallible, net::SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use http::{HeaderMap, header, request::Parts};

/// The longest value of a cookie of ours, in bytes.
const COOKIE_BYTES_MAX: usize = 128;

/// The circumstances of a request.
#[derive(Debug)]
pub struct Caller {
    /// Where it comes from, without the port. No header is believed: whoever asks writes them.
    pub source_address: String,
    /// What it says it is.
    pub user_agent: String,
    headers: HeaderMap,
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let address = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        Ok(Self {
            source_address: address.map(|ConnectInfo(address)| address.ip().to_string()).unwrap_or_default(),
            user_agent: text(&parts.headers, header::USER_AGENT.as_str()).unwrap_or_default().to_owned(),
            headers: parts.headers.clone(),
        })
    }
}

// === impl Caller ===

impl Caller {
    /// The value of a cookie.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let lines = self.headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(known, value)| *known == name && value.len() <= COOKIE_BYTES_MAX).map(|(_, value)| value)
    }

    /// Whether a page of this origin sent it. A request that does not say so was not sent by a browser of today.
    #[must_use]
    pub fn is_same_origin(&self, public_url: &str) -> bool {
        let by_fetch = text(&self.headers, "sec-fetch-site");
        let by_origin = text(&self.headers, header::ORIGIN.as_str());
        match (by_fetch, by_origin) {
            (Some(site), _) if site != "same-origin" => false,
            (_, Some(origin)) => origin == origin_of(public_url),
            (Some(_), None) => true,
            (None, None) => false,
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn origin_of(url: &str) -> &str {
    let behind_scheme = url.find("://").map_or(0, |at| at + 3);
    let end = url.get(behind_scheme..).and_then(|rest| rest.find('/')).map_or(url.len(), |at| behind_scheme + at);
    url.get(..end).unwrap_or(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_taken_from_a_page_of_this_origin_only() {
        let url = "https://tollgate.example:8443/x";
        for (headers, expect) in [
            (vec![], false),
            (vec![("origin", "https://tollgate.example:8443")], true),
            (vec![("origin", "https://tollgate.example")], false),
            (vec![("origin", "null")], false),
            (vec![("sec-fetch-site", "same-origin")], true),
            (vec![("sec-fetch-site", "same-site"), ("origin", "https://tollgate.example:8443")], false),
            (vec![("sec-fetch-site", "cross-site")], false),
            (vec![("sec-fetch-site", "same-origin"), ("origin", "https://evil.example")], false),
        ] {
            let pairs = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            let headers: HeaderMap =
                pairs.collect::<Vec<(http::HeaderName, http::HeaderValue)>>().into_iter().collect();
            let caller = Caller { source_address: String::new(), user_agent: String::new(), headers };
            assert_eq!(caller.is_same_origin(url), expect, "{caller:?}");
        }
    }
}
