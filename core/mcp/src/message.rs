//! One JSON-RPC 2.0 message (<https://www.jsonrpc.org/specification>), read strictly: whatever reads the same bytes after us must read the
//! same method, the same name and the same id.

use std::borrow::Cow;

use serde::de::DeserializeSeed;
use serde_json::value::RawValue;

use crate::{
    character::{hidden, shown},
    fault::{Fault, Invalid},
    id::Id,
    json::{Json, unquoted},
    members::{Collect, Members, Name},
    params::{Params, meta},
    strict,
};

/// The longest name of a method, in bytes. The longest of the protocol has 40.
pub const METHOD_BYTES_MAX: usize = 256;

/// A message, of which everything that is not decided upon stays as it was written.
#[derive(Clone, Debug)]
pub enum Message<'a> {
    /// Asks for an answer.
    Request(Request<'a>),
    /// Asks for none.
    Notification(Notification<'a>),
    /// An answer.
    Response(Response<'a>),
    /// An answer that something failed.
    Failure(Failure<'a>),
}

/// A message that asks for an answer.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// By which the answer is known.
    pub id: Id<'a>,
    /// What to do, in visible ASCII characters.
    pub method: Cow<'a, str>,
    /// With what.
    pub params: Params<'a>,
}

/// A message that asks for no answer.
#[derive(Clone, Debug)]
pub struct Notification<'a> {
    /// What has happened, in visible ASCII characters.
    pub method: Cow<'a, str>,
    /// With what.
    pub params: Params<'a>,
}

/// The answer to a request.
#[derive(Clone, Debug)]
pub struct Response<'a> {
    /// That of the request.
    pub id: Id<'a>,
    /// An object.
    pub result: &'a RawValue,
}

/// The answer to a request that failed.
#[derive(Clone, Debug)]
pub struct Failure<'a> {
    /// That of the request; none, or `null` as JSON-RPC itself has it, where the other side could not read it.
    pub id: Option<Id<'a>>,
    /// What kind of failure it is.
    pub code: i64,
    /// What is said of it.
    pub message: Cow<'a, str>,
    /// All of it: an object.
    pub error: &'a RawValue,
}

/// How the methods of notifications begin, in every revision, and no others. A `tools/call` without an id would be done by some servers.
const NOTIFICATIONS: &str = "notifications/";

/// The members that a message may have.
const MEMBERS: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];

/// What of `params` decides where a request goes and what is looked at in it. Go's `encoding/json` takes these in any letter case, and the
/// last of them.
const PARAMS: [&str; 12] = [
    "_meta",
    "name",
    "arguments",
    "uri",
    "ref",
    "argument",
    "taskId",
    "cursor",
    "notifications",
    "inputResponses",
    "requestState",
    "protocolVersion",
];

/// What within members of `params` does the same.
const DECISIVE: [(&str, &[&str]); 3] = [
    ("_meta", &meta::DECISIVE),
    ("ref", &["type", "name", "uri"]),
    (
        "notifications",
        &["toolsListChanged", "promptsListChanged", "resourcesListChanged", "resourceSubscriptions", "taskIds"],
    ),
];

/// Those of one message, unread.
#[derive(Default)]
struct Envelope<'a> {
    jsonrpc: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    method: Option<&'a RawValue>,
    params: Option<&'a RawValue>,
    result: Option<&'a RawValue>,
    error: Option<&'a RawValue>,
}

// === impl Message ===

impl<'a> Message<'a> {
    /// Reads exactly one message.
    ///
    /// # Errors
    /// Says what is wrong with it, and keeps its id if that could be read before.
    pub fn parse(body: &'a [u8]) -> Result<Self, Invalid> {
        let text = std::str::from_utf8(body)
            .map_err(|error| Invalid { id: None, fault: Fault::NotUtf8(error.valid_up_to()) })?;
        let mut members = Vec::with_capacity(4);
        let read = document(text, &mut members).and_then(|()| Envelope::of(&members)).and_then(Envelope::message);
        read.map_err(|fault| Invalid { id: first_id(&members), fault })
    }
}

/// Reads the members of the one object that a text is, and refuses what is ambiguous anywhere in it.
fn document<'a>(text: &'a str, members: &mut Vec<(Name<'a>, &'a RawValue)>) -> Result<(), Fault> {
    let mut json = serde_json::Deserializer::from_str(text);
    let read = Collect(members).deserialize(&mut json).and_then(|()| json.end());
    read.map_err(|error| match (error.classify(), text.trim_start().as_bytes().first()) {
        (serde_json::error::Category::Data, Some(b'[')) => Fault::Batch,
        (serde_json::error::Category::Data, _) => Fault::NotAnObject,
        _ => Fault::NotJson { line: error.line(), column: error.column() },
    })?;
    strict::check(text)
}

fn first_id(members: &[(Name<'_>, &RawValue)]) -> Option<Id<'static>> {
    let (_, raw) = members.iter().find(|(name, _)| name.0 == "id")?;
    Id::read(raw.get()).map(Id::into_owned)
}

// === impl Envelope ===

impl<'a> Envelope<'a> {
    fn of(members: &[(Name<'a>, &'a RawValue)]) -> Result<Self, Fault> {
        let mut envelope = Self::default();
        for (name, value) in members {
            let place = match &*name.0 {
                "jsonrpc" => &mut envelope.jsonrpc,
                "id" => &mut envelope.id,
                "method" => &mut envelope.method,
                "params" => &mut envelope.params,
                "result" => &mut envelope.result,
                "error" => &mut envelope.error,
                other => {
                    let unknown = || Fault::Unknown(shown(other, strict::NAME_SHOWN_MAX));
                    return Err(misspelled(other, &MEMBERS).map_or_else(unknown, Fault::Spelling));
                }
            };
            *place = Some(value);
        }
        Ok(envelope)
    }

    fn message(self) -> Result<Message<'a>, Fault> {
        let Self { jsonrpc, id, method, params, result, error } = self;
        if jsonrpc.and_then(|raw| unquoted(raw.get())).as_deref() != Some("2.0") {
            return Err(Fault::Version);
        }
        match (method, result, error) {
            (Some(method), None, None) => asking(id, method, params),
            (None, Some(result), None) if params.is_none() => {
                let id = Id::read(id.ok_or(Fault::NoId)?.get()).ok_or(Fault::Id)?;
                is_object(result).then_some(Message::Response(Response { id, result })).ok_or(Fault::Result)
            }
            (None, None, Some(error)) if params.is_none() => failed(id, error),
            (None, None, None) => Err(Fault::NoKind),
            _ => Err(Fault::Mixed),
        }
    }
}

fn asking<'a>(
    id: Option<&'a RawValue>,
    method: &'a RawValue,
    params: Option<&'a RawValue>,
) -> Result<Message<'a>, Fault> {
    let id = id.map(|id| Id::read(id.get()).ok_or(Fault::Id)).transpose()?;
    let is_name = |text: &Cow<'_, str>| {
        (1..=METHOD_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let method = unquoted(method.get()).filter(is_name).ok_or(Fault::Method)?;
    let params = params.map(|raw| Members::read(raw).ok_or(Fault::Params)).transpose()?;
    let params = Params::from(params);
    if let Some(meant) = misspelled_in(&params, &PARAMS).or_else(|| misspelled_within(&params)) {
        return Err(Fault::Spelling(meant));
    }
    match (id, method.starts_with(NOTIFICATIONS)) {
        (Some(id), false) => Ok(Message::Request(Request { id, method, params })),
        (None, true) => Ok(Message::Notification(Notification { method, params })),
        (Some(_), true) => Err(Fault::Answered),
        (None, false) => Err(Fault::Unanswered),
    }
}

fn failed<'a>(id: Option<&'a RawValue>, error: &'a RawValue) -> Result<Message<'a>, Fault> {
    let id = id.filter(|raw| raw.get() != "null");
    let id = id.map(|raw| Id::read(raw.get()).ok_or(Fault::Id)).transpose()?;
    let members = Members::read(error).ok_or(Fault::Error)?;
    let code = members.get("code").and_then(|raw| raw.get().parse().ok()).ok_or(Fault::Error)?;
    let message = members.text("message").ok_or(Fault::Error)?;
    Ok(Message::Failure(Failure { id, code, message, error }))
}

fn misspelled_in(members: &Members<'_>, known: &[&'static str]) -> Option<&'static str> {
    members.iter().find_map(|(name, _)| misspelled(name, known))
}

/// The same, in those members of the parameters that decide by what they have in them.
fn misspelled_within(params: &Members<'_>) -> Option<&'static str> {
    DECISIVE.iter().find_map(|(name, known)| misspelled_in(&params.object(name)?, known))
}

/// Which of the known names a lenient reader could take one for that is another: by the case of its letters, where `ſ` and the sign for
/// kelvin count as what they become, or by characters that end or vanish in it (CVE-2026-27896, GHSA-q382-vc8q-7jhj).
fn misspelled(name: &str, known: &[&'static str]) -> Option<&'static str> {
    let folded = |c: char| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    };
    // Of most names only the case can be another.
    let is_visible = name.bytes().all(|byte| byte.is_ascii_graphic());
    let read = |member: &str| {
        if is_visible {
            return name.eq_ignore_ascii_case(member);
        }
        let name = name.chars().filter(|c| hidden(*c).is_none() && !c.is_whitespace()).map(folded);
        name.eq(member.chars().map(folded))
    };
    known.iter().find(|member| name != **member && read(member)).copied()
}

fn is_object(raw: &RawValue) -> bool {
    raw.get().starts_with('{')
}

// === impl Request, Notification, Response, Failure ===

impl Request<'_> {
    /// The message, with its parts as they are.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        crate::write::request(&self.id, &self.method, self.params.given().as_ref())
    }
}

impl Notification<'_> {
    /// The message, with its parts as they are.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        crate::write::notification(&self.method, self.params.given().as_ref())
    }
}

impl Response<'_> {
    /// The message, with its parts as they are.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        crate::write::response(&self.id, &Json::from(self.result))
    }
}

impl Failure<'_> {
    /// The message, with its parts as they are.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        crate::write::failure(self.id.as_ref(), &Json::from(self.error))
    }
}
