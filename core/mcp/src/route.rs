//! In which revision a request is, and whether its headers say what its body says.
//!
//! Since 2026-07-28 a request names its revision in `_meta`, and repeats that, its method, and what it calls in headers. Whoever stands
//! before us may have decided by the headers, so that a request is refused whose body says something else.

use std::borrow::Cow;

use crate::{
    character::shown,
    failure::{self, code},
    header,
    json::Json,
    message::Request,
    method::{Method, Names},
    parameter::{PREFIX, Parameters},
    params::{Params, meta},
    revision::Revision,
};

/// The header with the revision.
pub const PROTOCOL_VERSION: &str = "MCP-Protocol-Version";
/// The header with the method.
pub const METHOD: &str = "Mcp-Method";
/// The header with the name of the tool or the prompt, the URI of the resource, or the id of the task.
pub const NAME: &str = "Mcp-Name";

/// The most headers of arguments that are looked at.
pub const PARAMETERS_MAX: usize = 64;

/// The headers of a request that repeat what its body says.
#[derive(Clone, Debug, Default)]
pub struct Headers<'a> {
    version: Option<&'a str>,
    method: Option<&'a str>,
    name: Option<&'a str>,
    parameters: Vec<(&'a str, &'a str)>,
}

/// A request that is refused, with what is answered.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// The HTTP status: 400.
    pub status: u16,
    /// The code of the error.
    pub code: i64,
    /// What to do.
    pub message: String,
    data: Option<Json<'static>>,
}

// === impl Headers ===

impl<'a> Headers<'a> {
    /// Takes those out of the headers of a request that are of the protocol. Names may be in any letter case.
    ///
    /// # Errors
    /// When one of them is there twice, or has other characters than a header may have.
    pub fn read(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Self, Refused> {
        let mut read = Self::default();
        for (name, value) in headers {
            if name.eq_ignore_ascii_case(PROTOCOL_VERSION) {
                once(&mut read.version, PROTOCOL_VERSION, value)?;
            } else if name.eq_ignore_ascii_case(METHOD) {
                once(&mut read.method, METHOD, value)?;
            } else if name.eq_ignore_ascii_case(NAME) {
                once(&mut read.name, NAME, value)?;
            } else if let Some(name) = parameter_of(name) {
                if read.parameter(name).is_some() || read.parameters.len() == PARAMETERS_MAX {
                    return Err(Refused::twice(PREFIX));
                }
                read.parameters.push((name, plain(PREFIX, value)?));
            }
        }
        Ok(read)
    }

    /// In which revision a request or a notification is. An `initialize` is in the one that it asks for instead. Where neither a header
    /// nor the body names one, it is that of the session, which is at least [`Revision::WITHOUT_HEADER`].
    ///
    /// # Errors
    /// When header and body name different ones, or one that is not spoken here.
    pub fn revision(&self, params: &Params<'_>) -> Result<Revision, Refused> {
        let body = match params.meta_value(meta::PROTOCOL_VERSION) {
            Some(_) => Some(params.meta_text(meta::PROTOCOL_VERSION).ok_or_else(Refused::meta)?),
            None => None,
        };
        match (self.version, body.as_deref()) {
            (None, None) => Ok(Revision::WITHOUT_HEADER),
            (Some(said), None) => match Revision::of_word(said).ok_or_else(|| Refused::unsupported(said))? {
                revision if revision.is_stateless() => Err(Refused::meta()),
                revision => Ok(revision),
            },
            (Some(said), Some(meant)) if said == meant => {
                Revision::of_word(meant).ok_or_else(|| Refused::unsupported(meant))
            }
            (said, meant) => Err(Refused::mismatch(PROTOCOL_VERSION, said, meant)),
        }
    }

    /// Whether the headers of a request of a revision without sessions say what it says, and whether it says what it must.
    ///
    /// # Errors
    /// When they do not.
    pub fn check(&self, request: &Request<'_>) -> Result<(), Refused> {
        if request.params.meta().object(meta::CLIENT_CAPABILITIES).is_none() {
            return Err(Refused::meta());
        }
        if self.method != Some(&*request.method) {
            return Err(Refused::mismatch(METHOD, self.method, Some(&request.method)));
        }
        let Some(member) = named_in(&Method::of_name(&request.method)) else { return Ok(()) };
        // What has no name is refused by whoever looks for it.
        let Some(meant) = request.params.text(member) else { return Ok(()) };
        let said = self.name.map(header::decode).transpose()?;
        if said.as_deref() == Some(&*meant) { Ok(()) } else { Err(Refused::mismatch(NAME, self.name, Some(&meant))) }
    }

    /// The header of an argument, without its prefix.
    pub(crate) fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters.iter().find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }
}

fn once<'a>(place: &mut Option<&'a str>, name: &str, value: &'a [u8]) -> Result<(), Refused> {
    match place.replace(plain(name, value)?) {
        None => Ok(()),
        Some(_) => Err(Refused::twice(name)),
    }
}

/// The value of a header, without the white space around it.
fn plain<'a>(name: &str, value: &'a [u8]) -> Result<&'a str, Refused> {
    let is_plain = |text: &&str| text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
    let text = std::str::from_utf8(value).ok().filter(is_plain).ok_or_else(|| Refused::characters(name))?;
    Ok(text.trim_matches([' ', '\t']))
}

/// The name of the header of an argument, without its prefix.
fn parameter_of(name: &str) -> Option<&str> {
    let (prefix, name) = name.split_at_checked(PREFIX.len())?;
    prefix.eq_ignore_ascii_case(PREFIX).then_some(name)
}

/// The headers of a request that goes to an upstream in a revision, with their values. `parameters` are those of the tool that is called.
#[must_use]
pub fn outgoing(
    revision: Revision,
    method: &str,
    params: &Params<'_>,
    parameters: Option<&Parameters>,
) -> Vec<(Cow<'static, str>, String)> {
    let mut headers = Vec::new();
    if revision >= Revision::V2025_06_18 {
        headers.push((Cow::Borrowed(PROTOCOL_VERSION), revision.word().to_owned()));
    }
    if revision.is_stateless() {
        headers.push((Cow::Borrowed(METHOD), header::encode(method).into_owned()));
        if let Some(name) = named_in(&Method::of_name(method)).and_then(|member| params.text(member)) {
            headers.push((Cow::Borrowed(NAME), header::encode(&name).into_owned()));
        }
        let arguments = params.object("arguments").unwrap_or_default();
        let repeated = parameters.map(|parameters| parameters.headers(&arguments)).unwrap_or_default();
        headers.extend(repeated.into_iter().map(|(name, value)| (Cow::Owned(name), value)));
    }
    headers
}

/// The parameter that `Mcp-Name` repeats (2026-07-28, Transports, "Standard Request Headers"; SEP-2663 for tasks).
fn named_in(method: &Method<'_>) -> Option<&'static str> {
    match method.names() {
        Names::Tool | Names::Prompt => Some("name"),
        Names::Resource => Some("uri"),
        Names::Task => Some("taskId"),
        Names::Nothing | Names::Reference | Names::Subscriptions => None,
    }
}

// === impl Refused ===

/// So many characters of a value are told.
const VALUE_SHOWN_MAX: usize = 100;

impl Refused {
    /// The error that is answered.
    #[must_use]
    pub fn error(&self) -> Json<'static> {
        failure::error(self.code, &self.message, self.data.clone())
    }

    pub(crate) fn mismatch(header: &str, said: Option<&str>, meant: Option<&str>) -> Self {
        let quoted = |value: &str| format!("'{}'", shown(value, VALUE_SHOWN_MAX));
        let said = said.map_or_else(|| "is missing".to_owned(), |said| format!("value {}", quoted(said)));
        let message = match meant {
            Some(meant) => {
                format!("Header mismatch: {header} header {said} does not match body value {}", quoted(meant))
            }
            None => format!("Header mismatch: {header} header {said} matches nothing in the body"),
        };
        Self::of(code::HEADER_MISMATCH, message)
    }

    pub(crate) fn encoding() -> Self {
        let message = "Header mismatch: a header that begins with '=?base64?' is not valid Base64 of a text";
        Self::of(code::HEADER_MISMATCH, message.to_owned())
    }

    fn characters(header: &str) -> Self {
        let message = format!("Header mismatch: {header} has other characters than visible ASCII, spaces and tabs");
        Self::of(code::HEADER_MISMATCH, message)
    }

    fn twice(header: &str) -> Self {
        Self::of(code::HEADER_MISMATCH, format!("Header mismatch: {header} is given more than once, or too many are"))
    }

    fn meta() -> Self {
        let message = format!(
            "A request of this protocol version needs \"{}\" (a string) and \"{}\" (an object) in the \"_meta\" of its \"params\".",
            meta::PROTOCOL_VERSION,
            meta::CLIENT_CAPABILITIES
        );
        Self::of(code::INVALID_PARAMS, message)
    }

    fn unsupported(word: &str) -> Self {
        let served = Revision::SERVED.map(Revision::word).join(", ");
        let message = format!("Unsupported protocol version: use one of {served}.");
        Self { data: Some(failure::unsupported_data(word)), ..Self::of(code::UNSUPPORTED_PROTOCOL_VERSION, message) }
    }

    fn of(code: i64, message: String) -> Self {
        Self { status: 400, code, message, data: None }
    }
}
