//! Servers that speak the transport of 2024-11-05: answers come on a stream that is opened first, and messages go to an address which that stream names.
//!
//! Such a server knows a client by its stream, and no other replica could go on with one. So each request has a stream of its own: it is opened, the
//! server is greeted, the request is sent, and the stream ends with its answer. That takes three messages more a call, and keeps replicas without memory.

use bytes::Bytes;
use http::{Uri, uri::PathAndQuery};
use tokio::time::timeout_at;
use tollgate_mcp::{Id, Json, Message, Revision, write};
use tollgate_policy::lease::Hold;

use super::{
    catalogue::{US, answers},
    events::Events,
    wire::{Bounds, Head, Reply, Said, Unreached, Web},
};
use crate::upstream::Upstream;

/// The id of our own greeting on a stream.
const GREETING: &str = "tollgate-greeting";

/// Sends a message. What asks for no answer is about a stream that has ended, and is not sent.
///
/// # Errors
/// Says why nothing of the protocol came back.
pub(super) async fn exchange(
    address: &Web,
    upstream: &Upstream,
    hold: &Hold,
    body: Bytes,
    bounds: Bounds,
) -> Result<Reply, Unreached> {
    let nothing = Reply { session: None, said: Said::Nothing };
    let method = match Message::parse(&body) {
        Ok(Message::Request(request)) => request.method.into_owned(),
        _ => return Ok(nothing),
    };
    let events = address.listen(upstream, hold, &Head::default(), bounds).await?;
    let mut events = events.ok_or(Unreached::Garbage)?;
    let named = timeout_at(bounds.until, events.endpoint()).await.map_err(|_| Unreached::Late)??;
    let to = address.at(endpoint(address.uri(), &named).ok_or(Unreached::Garbage)?);
    if method != "initialize" {
        greet(&to, upstream, hold, &mut events, bounds).await?;
    }
    to.say(upstream, hold, body, bounds).await?;
    Ok(Reply { said: Said::Events(events), ..nothing })
}

async fn greet(
    to: &Web,
    upstream: &Upstream,
    hold: &Hold,
    events: &mut Events,
    bounds: Bounds,
) -> Result<(), Unreached> {
    let id = Id::of_text(GREETING);
    let params = Json::object([
        ("protocolVersion", Json::text(Revision::V2024_11_05.word())),
        ("capabilities", Json::empty_object()),
        ("clientInfo", US.json()),
    ]);
    to.say(upstream, hold, write::request(&id, "initialize", Some(&params)).into(), bounds).await?;
    loop {
        let next = timeout_at(bounds.until, events.next()).await.map_err(|_| Unreached::Late)??;
        if answers(&next.ok_or(Unreached::Broken)?, &id) {
            break;
        }
    }
    to.say(upstream, hold, write::notification("notifications/initialized", None).into(), bounds).await
}

// Where messages go, which may be told relative to where the stream is; at the same server, since what it is shown goes there too.
fn endpoint(stream: &Uri, named: &str) -> Option<Uri> {
    let named = named.trim();
    let whole = match named.parse::<Uri>() {
        Ok(uri) if uri.scheme().is_some() => uri,
        _ => {
            let path = match named.strip_prefix('/') {
                Some(rest) if !rest.starts_with('/') => named.to_owned(),
                Some(_) => return None,
                None => {
                    let folder = stream.path().rsplit_once('/').map_or("", |(folder, _)| folder);
                    [folder, "/", named].concat()
                }
            };
            let path = PathAndQuery::try_from(path).ok()?;
            let base = Uri::builder().scheme(stream.scheme()?.clone()).authority(stream.authority()?.clone());
            base.path_and_query(path).build().ok()?
        }
    };
    let is_same = whole.scheme() == stream.scheme() && whole.authority() == stream.authority();
    is_same.then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_go_to_the_server_that_named_the_address() {
        let stream: Uri = "https://tools.example/a/sse?x=1".parse().unwrap();
        for (named, expect) in [
            ("/messages?session=1", Some("https://tools.example/messages?session=1")),
            ("messages", Some("https://tools.example/a/messages")),
            ("https://tools.example/m", Some("https://tools.example/m")),
            ("https://evil.example/m", None),
            ("http://tools.example/m", None),
            ("//evil.example/m", None),
            ("https://tools.example:8443/m", None),
            ("https://tools.example@evil.example/m", None),
        ] {
            assert_eq!(endpoint(&stream, named).map(|uri| uri.to_string()).as_deref(), expect, "{named}");
        }
    }
}
