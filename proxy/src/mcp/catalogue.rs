//! What a server of tools offers, as it was told last: found out by asking, with a session of the replica's own.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};
use tollgate_mcp::{
    Definition, Edit, Id, Json, Kind, List, Members, Message, Params, Revision,
    capability::{ClientCapabilities, Implementation, Listed, ServerCapabilities},
    failure::code,
    params::meta,
    route, write,
};
use tollgate_policy::{lease::Hold, money::NanoUsd};

use super::{
    address::Address,
    wire::{Bounds, Head, Reply, Said, Unreached},
};
use crate::upstream::Upstream;

/// How long one question may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// The longest answer to one, in bytes: a page of a list.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The most pages of one list.
const PAGES_MAX: usize = 200;
/// The longest instructions that are kept, in bytes.
const INSTRUCTIONS_BYTES_MAX: usize = 64 * 1024;
/// The longest name of a server's software, in characters.
const SOFTWARE_CHARACTERS_MAX: usize = 120;

/// Who we are, towards both sides.
pub(crate) const US: Implementation<'static> =
    Implementation { name: "tollgate", title: "Tollgate", version: env!("CARGO_PKG_VERSION") };

/// The kinds of what is offered.
pub(crate) const KINDS: [Kind; 4] = [Kind::Tool, Kind::Prompt, Kind::Resource, Kind::Template];

/// What a server offers.
#[derive(Debug)]
pub(crate) struct Catalogue {
    /// The newest revision that both sides speak.
    pub(crate) revision: Revision,
    /// Whether the server keeps something by session.
    pub(crate) is_stateful: bool,
    /// What it can.
    pub(crate) capabilities: ServerCapabilities,
    /// What it says of itself to models.
    pub(crate) instructions: Option<String>,
    /// What it calls itself, and its version.
    pub(crate) software: String,
    lists: [List; 4],
    tools: HashMap<Box<str>, usize>,
}

/// How a server is spoken to in one session with it, or without one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Link {
    /// The revision.
    pub(crate) revision: Revision,
    /// The session.
    pub(crate) session: Option<Arc<str>>,
}

/// A way to a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    /// Through which connections.
    pub(crate) upstream: &'a Upstream,
    /// Where to.
    pub(crate) address: &'a Address,
}

// === impl Catalogue ===

impl Catalogue {
    /// Asks a server what it offers, over a link that stands.
    ///
    /// # Errors
    /// Says why it could not be asked.
    async fn learn(line: Line<'_>, link: &Link, told: &Told) -> Result<Self, Unreached> {
        let capabilities = told.capabilities;
        let mut lists = KINDS.map(List::new);
        for list in &mut lists {
            let is_there = match list.kind() {
                Kind::Tool => capabilities.tools.is_some(),
                Kind::Prompt => capabilities.prompts.is_some(),
                Kind::Resource | Kind::Template => capabilities.resources.is_some(),
            };
            if is_there {
                gather(line, link, list).await?;
            }
        }
        Ok(Self::of(link, told.clone(), lists))
    }

    /// What a server offers that has these tools and nothing else, and how it is spoken to.
    pub(super) fn of_tools(tools: List, software: &str) -> (Self, Link) {
        let link = Link { revision: Revision::LATEST_STATEFUL, session: None };
        let told = Told {
            capabilities: ServerCapabilities { tools: Some(Listed::default()), ..ServerCapabilities::default() },
            instructions: None,
            software: software.to_owned(),
        };
        let [_, prompts, resources, templates] = KINDS.map(List::new);
        (Self::of(&link, told, [tools, prompts, resources, templates]), link)
    }

    fn of(link: &Link, told: Told, lists: [List; 4]) -> Self {
        let Told { capabilities, instructions, software } = told;
        let [tools, ..] = &lists;
        let named = tools.definitions.iter().enumerate().map(|(at, tool)| (tool.name().into(), at));
        Self {
            revision: link.revision,
            is_stateful: link.session.is_some(),
            capabilities,
            instructions,
            software,
            tools: named.collect(),
            lists,
        }
    }

    fn told(&self) -> Told {
        let Self { capabilities, instructions, software, .. } = self;
        Told { capabilities: *capabilities, instructions: instructions.clone(), software: software.clone() }
    }

    /// A list.
    #[must_use]
    pub(crate) fn list(&self, kind: Kind) -> &[Definition] {
        let list = self.lists.iter().find(|list| list.kind() == kind);
        list.map(|list| list.definitions.as_slice()).unwrap_or_default()
    }

    /// The tool of that name.
    #[must_use]
    pub(crate) fn tool(&self, name: &str) -> Option<&Definition> {
        self.list(Kind::Tool).get(*self.tools.get(name)?)
    }

    /// Whether it offers the same as another.
    #[must_use]
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let same = |one: &[Definition], other: &[Definition]| {
            one.len() == other.len()
                && one.iter().zip(other).all(|(one, other)| one.json().as_str() == other.json().as_str())
        };
        KINDS.into_iter().all(|kind| same(self.list(kind), other.list(kind)))
            && self.revision == other.revision
            && self.capabilities == other.capabilities
    }
}

// What a server says when it is greeted.
#[derive(Clone, Debug)]
struct Told {
    capabilities: ServerCapabilities,
    instructions: Option<String>,
    software: String,
}

/// Greets a server and asks what it offers. Who was spoken to before in a revision with sessions is asked for one without again, since servers are
/// renewed; but one that is known by a link that lasts is not greeted again as long as that stands.
///
/// # Errors
/// Says why it could not be asked.
pub(crate) async fn learn(
    line: Line<'_>,
    known: Option<(Link, Arc<Catalogue>)>,
) -> Result<(Catalogue, Link), Unreached> {
    if let Some(interface) = line.address.interface() {
        return interface.learn().await;
    }
    if let Some((link, catalogue)) = known {
        match Catalogue::learn(line, &link, &catalogue.told()).await {
            Err(Unreached::Ended) => {}
            learned => return Ok((learned?, link)),
        }
    }
    let (link, told) = match discover(line).await? {
        Some(told) => (Link { revision: Revision::LATEST, session: None }, told),
        None => greet(line, ClientCapabilities::default()).await?,
    };
    match Catalogue::learn(line, &link, &told).await {
        Ok(catalogue) => Ok((catalogue, link)),
        Err(why) => {
            if line.address.is_lasting() {
                // Nobody would end it.
                let head = Head { session: link.session, headers: Vec::new() };
                line.address.leave(line.upstream, &free(), &head, Instant::now()).await;
            }
            Err(why)
        }
    }
}

/// Opens a session with a server of a revision that has them, for a client that can do so much. The server may be able to do other things in
/// one than without.
///
/// # Errors
/// Says why there is none.
pub(crate) async fn open(line: Line<'_>, client: ClientCapabilities) -> Result<(Link, ServerCapabilities), Unreached> {
    greet(line, client).await.map(|(link, told)| (link, told.capabilities))
}

/// Asks one question over a link, and gives the whole message that answers it.
///
/// # Errors
/// Says why there is no answer.
pub(crate) async fn ask(
    line: Line<'_>,
    link: &Link,
    method: &str,
    params: Option<Json<'static>>,
) -> Result<Bytes, Unreached> {
    let params =
        if link.revision.is_stateless() { Some(with_meta(params, ClientCapabilities::default())) } else { params };
    question(line, link, method, params).await.map(|(message, _)| message)
}

/// Tells a server something over a link.
///
/// # Errors
/// Says why it could not be told.
pub(crate) async fn tell(line: Line<'_>, link: &Link, body: Bytes) -> Result<(), Unreached> {
    let headers = if link.revision >= Revision::V2025_06_18 {
        vec![(route::PROTOCOL_VERSION.into(), link.revision.word().to_owned())]
    } else {
        Vec::new()
    };
    let head = Head { session: link.session.clone(), headers };
    line.address.post(line.upstream, &free(), &head, body, bounds()).await.map(|_| ())
}

/// The params of a request in a revision without sessions: with who we are, and what the client can.
#[must_use]
pub(crate) fn with_meta(params: Option<Json<'static>>, client: ClientCapabilities) -> Json<'static> {
    let params = params.unwrap_or_else(Json::empty_object);
    let (revision, us, client) = (Json::text(Revision::LATEST.word()), US.json(), client.json(Revision::LATEST));
    Params::from(params.members()).with_meta(&[
        Edit::Set(meta::PROTOCOL_VERSION, revision),
        Edit::Set(meta::CLIENT_INFO, us),
        Edit::Set(meta::CLIENT_CAPABILITIES, client),
    ])
}

/// What costs nothing is held by nothing.
pub(crate) fn free() -> Hold {
    Hold::unbudgeted(NanoUsd::ZERO)
}

// Whether the server speaks a revision without sessions. Those that do not answer in many ways that they know nothing of it.
async fn discover(line: Line<'_>) -> Result<Option<Told>, Unreached> {
    let link = Link { revision: Revision::LATEST, session: None };
    let message = match ask(line, &link, "server/discover", None).await {
        Ok(message) => message,
        Err(error) if error.is_no_answer() => return Err(error),
        Err(_) => return Ok(None),
    };
    match Message::parse(&message) {
        Ok(Message::Response(response)) => {
            let result = Members::read(response.result).unwrap_or_default();
            let supported = result.list("supportedVersions").unwrap_or_default();
            let speaks = supported.iter().any(|raw| raw.get().trim_matches('"') == Revision::LATEST.word());
            Ok(speaks.then(|| {
                Told::of(
                    &result,
                    &result.object("_meta").and_then(|meta| meta.object(meta::SERVER_INFO)).unwrap_or_default(),
                )
            }))
        }
        Ok(Message::Failure(failure)) if failure.code == code::UNSUPPORTED_PROTOCOL_VERSION => Ok(None),
        _ => Ok(None),
    }
}

async fn greet(line: Line<'_>, client: ClientCapabilities) -> Result<(Link, Told), Unreached> {
    let asked = Revision::LATEST_STATEFUL;
    let params = Json::object([
        ("protocolVersion", Json::text(asked.word())),
        ("capabilities", client.json(asked)),
        ("clientInfo", US.json()),
    ]);
    // The first message bears neither a session nor a revision in its headers.
    let unknown = Link { revision: Revision::V2024_11_05, session: None };
    let (message, session) = question(line, &unknown, "initialize", Some(params)).await?;
    let response = match Message::parse(&message).map_err(|_| Unreached::Garbage)? {
        Message::Response(response) => response,
        Message::Failure(failure) => return Err(Unreached::Refused(failure.code)),
        Message::Request(_) | Message::Notification(_) => return Err(Unreached::Garbage),
    };
    let result = Members::read(response.result).ok_or(Unreached::Garbage)?;
    let answered = result.text("protocolVersion").ok_or(Unreached::Garbage)?;
    let revision = Revision::of_upstream(&answered).map_err(|unspoken| Unreached::Revision(unspoken.to_string()))?;
    let link = Link { revision, session };
    tell(line, &link, write::notification("notifications/initialized", None).into()).await?;
    let told = Told::of(&result, &result.object("serverInfo").unwrap_or_default());
    Ok((link, told))
}

async fn gather(line: Line<'_>, link: &Link, list: &mut List) -> Result<(), Unreached> {
    let method = match list.kind() {
        Kind::Tool => "tools/list",
        Kind::Prompt => "prompts/list",
        Kind::Resource => "resources/list",
        Kind::Template => "resources/templates/list",
    };
    let mut cursor: Option<String> = None;
    for _ in 0..PAGES_MAX {
        let params = cursor.as_deref().map(|cursor| Json::object([("cursor", Json::text(cursor))]));
        let message = ask(line, link, method, params).await?;
        let next = match Message::parse(&message).map_err(|_| Unreached::Garbage)? {
            Message::Response(response) => list.add(response.result).map_err(|_| Unreached::Garbage)?,
            // Servers declare resources and have no templates of them.
            Message::Failure(failure) if failure.code == code::METHOD_NOT_FOUND => return Ok(()),
            Message::Failure(failure) => return Err(Unreached::Refused(failure.code)),
            Message::Request(_) | Message::Notification(_) => return Err(Unreached::Garbage),
        };
        match next {
            // The same page again would be the same page for ever.
            Some(next) if Some(&next) != cursor.as_ref() => cursor = Some(next),
            _ => return Ok(()),
        }
    }
    Ok(())
}

async fn question(
    line: Line<'_>,
    link: &Link,
    method: &str,
    params: Option<Json<'static>>,
) -> Result<(Bytes, Option<Arc<str>>), Unreached> {
    // A session with a server is used by many: ids are texts that no client's are like.
    let id = Id::of_text(&format!("tollgate-{}", ulid::Ulid::generate().to_string().to_ascii_lowercase()));
    let members = Params::from(params.as_ref().and_then(Json::members));
    let head = Head { session: link.session.clone(), headers: route::outgoing(link.revision, method, &members, None) };
    let body = Bytes::from(write::request(&id, method, params.as_ref()));
    let bounds = bounds();
    let Reply { session, said } = line.address.post(line.upstream, &free(), &head, body, bounds).await?;
    let message = match said {
        Said::Nothing => return Err(Unreached::Garbage),
        Said::Whole(message) => message,
        Said::Events(mut events) => loop {
            let next = timeout_at(bounds.until, events.next()).await.map_err(|_| Unreached::Late)??;
            let message = next.ok_or(Unreached::Broken)?;
            if answers(&message, &id) {
                break message;
            }
        },
    };
    Ok((message, session))
}

/// Whether a message answers the request of that id. An error without an id is about the only one that there is.
#[must_use]
pub(crate) fn answers(message: &[u8], id: &Id<'_>) -> bool {
    match Message::parse(message) {
        Ok(Message::Response(response)) => response.id == *id,
        Ok(Message::Failure(failure)) => failure.id.is_none_or(|other| other == *id),
        _ => false,
    }
}

fn bounds() -> Bounds {
    Bounds { until: Instant::now() + ANSWER_MAX, bytes_max: ANSWER_BYTES_MAX }
}

// === impl Told ===

impl Told {
    fn of(result: &Members<'_>, info: &Members<'_>) -> Self {
        let part = |name| info.text(name).unwrap_or_default();
        let software = format!("{} {}", part("name"), part("version"));
        let visible = software.trim().chars().filter(|letter| !letter.is_control());
        let instructions = result.text("instructions").filter(|text| text.len() <= INSTRUCTIONS_BYTES_MAX);
        Self {
            capabilities: ServerCapabilities::of_result(result),
            instructions: instructions.map(Into::into),
            software: visible.take(SOFTWARE_CHARACTERS_MAX).collect(),
        }
    }
}
