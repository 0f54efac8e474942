//! HTTP APIs whose operations are tools: what they offer comes from a document of the policy, and a call is one request, of which
//! [`tollgate_openapi`] decides what goes where. What comes back is put into the form of a tool's result in `answer`.
//!
//! Towards the rest of a replica such an API is a server of 2025-11-25 without sessions. Nothing is sent to it but calls.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method, Request, Uri,
    header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, USER_AGENT},
    uri::PathAndQuery,
};
use http_body_util::Full;
use serde_json::value::RawValue;
use tokio::sync::OnceCell;
use tollgate_mcp::{Json, Kind, List, Message};
use tollgate_openapi::{Api, Call};
use tollgate_policy::{lease::Hold, mcp::McpServer};

use super::{
    catalogue::{Catalogue, Link},
    wire::{Bounds, Reply, Said, Unreached, Web},
};
use crate::upstream::Upstream;

mod answer;

/// What an API may answer with, in the order in which a model can use it.
const ACCEPTED: HeaderValue = HeaderValue::from_static("application/json, text/*;q=0.9, image/*;q=0.8, */*;q=0.5");

/// A document that is read once, for whoever is spoken to by it.
pub(crate) struct Interface {
    document: Arc<str>,
    api: OnceCell<Result<(Api, List), Unreached>>,
}

// === impl Interface ===

impl Interface {
    /// That of a policy, not read yet; `None`: it has none.
    pub(super) fn of(policy: &McpServer) -> Option<Arc<Self>> {
        let document = Arc::clone(policy.document.as_ref()?);
        Some(Arc::new(Self { document, api: OnceCell::new() }))
    }

    /// What the API offers.
    ///
    /// # Errors
    /// When the document cannot be read.
    pub(super) async fn learn(&self) -> Result<(Catalogue, Link), Unreached> {
        let (api, tools) = self.read().await?;
        Ok(Catalogue::of_tools(tools.clone(), api.title()))
    }

    async fn read(&self) -> Result<&(Api, List), Unreached> {
        let reading = || async {
            let document = Arc::clone(&self.document);
            // A long document takes longer than other requests should wait.
            let read = tokio::task::spawn_blocking(move || read(&document)).await;
            read.unwrap_or_else(|_| Err(Unreached::Document("it could not be read".into())))
        };
        self.api.get_or_init(reading).await.as_ref().map_err(Clone::clone)
    }
}

impl fmt::Debug for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interface").field("is_read", &self.api.initialized()).finish_non_exhaustive()
    }
}

fn read(document: &str) -> Result<(Api, List), Unreached> {
    let api = Api::read(document).map_err(|invalid| Unreached::Document(invalid.to_string()))?;
    let unfit = || Unreached::Document("its tools are no list".into());
    let raw = |tool: &str| RawValue::from_string(tool.to_owned()).map_err(|_| unfit());
    let tools: Vec<Box<RawValue>> = api.tools().map(raw).collect::<Result<_, _>>()?;
    let page = Json::object([("tools", Json::list(tools.iter().map(|tool| Json::from(&**tool))))]);
    let mut list = List::new(Kind::Tool);
    list.add(&raw(page.as_str())?).map_err(|_| unfit())?;
    Ok((api, list))
}

/// Makes a call, and gives its result as the message that a server of tools would have sent. Whatever is no call goes nowhere.
///
/// # Errors
/// Says why there is no result: of arguments that have no place in a request, before anything was sent.
pub(super) async fn exchange(
    address: &Web,
    interface: &Interface,
    upstream: &Upstream,
    hold: &Hold,
    message: &[u8],
    bounds: Bounds,
) -> Result<Reply, Unreached> {
    let nothing = Reply { session: None, said: Said::Nothing };
    let Ok(Message::Request(asked)) = Message::parse(message) else { return Ok(nothing) };
    if asked.method != "tools/call" {
        return Ok(nothing);
    }
    let (api, _) = interface.read().await?;
    let name = asked.params.text("name").unwrap_or_default();
    let arguments = asked.params.get("arguments");
    let none = Json::empty_object();
    let none: Box<RawValue> = serde_json::from_str(none.as_str()).map_err(|_| Unreached::Garbage)?;
    let call = api.call(&name, arguments.unwrap_or(&none));
    let call = call.map_err(|invalid| Unreached::Arguments(invalid.to_string()))?;
    let request = request(address.uri(), call).ok_or(Unreached::Garbage)?;
    let response = address.deliver(upstream, hold, request, bounds.until).await?;
    let said = answer::of(response, &asked.id, address.has_shown(), bounds).await?;
    Ok(Reply { said: Said::Whole(said), ..nothing })
}

// The request of a call, behind the URL that policy has for the API. `None`: it is none, which nothing that was encoded can be.
fn request(base: &Uri, call: Call) -> Option<Request<Full<Bytes>>> {
    let Call { method, path_and_query, headers, body, content_type } = call;
    let target = [base.path().trim_end_matches('/'), &path_and_query].concat();
    let uri = Uri::builder().scheme(base.scheme()?.clone()).authority(base.authority()?.clone());
    let uri = uri.path_and_query(PathAndQuery::try_from(target).ok()?).build().ok()?;
    let mut request = Request::new(Full::from(body.unwrap_or_default()));
    (*request.method_mut(), *request.uri_mut()) = (Method::from_bytes(method.as_bytes()).ok()?, uri);
    let all = request.headers_mut();
    for (name, value) in headers {
        all.insert(HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::try_from(value).ok()?);
    }
    // Ours come last, and what the API is shown after them: nothing that an argument said stays beside them.
    all.insert(ACCEPT, ACCEPTED);
    all.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    all.insert(USER_AGENT, HeaderValue::from_static(concat!("tollgate/", env!("CARGO_PKG_VERSION"))));
    if let Some(media) = content_type {
        all.insert(CONTENT_TYPE, HeaderValue::try_from(media).ok()?);
    }
    Some(request)
}
