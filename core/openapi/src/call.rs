//! A call of a tool as one request.

use std::collections::HashMap;

use serde_json::value::RawValue;

use crate::{
    argument::{InvalidArguments, Members, check, primitive, type_of},
    body::{Body, Format},
    document::shown,
    encode::{Given, Pairs, encoded, header},
    operation::{BODY, Operation},
    parameter::{Parameter, Place, Style},
    shape::{Shape, Types},
};

/// The longest path and query together, in bytes: what servers commonly take.
pub const TARGET_BYTES_MAX: usize = 8 * 1024;

/// So many of a tool's arguments are told to whoever has named another.
const KNOWN_MAX: usize = 30;

/// A request, without where its API is and without what it is shown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Call {
    /// `GET`, `POST` and so on.
    pub method: &'static str,
    /// Behind the URL of the API: begins with a slash.
    pub path_and_query: String,
    /// Names in lower case, none twice, and none of those that the gateway itself writes.
    pub headers: Vec<(String, String)>,
    /// The body; `None`: there is none.
    pub body: Option<String>,
    /// The media type of the body.
    pub content_type: Option<String>,
}

// === impl Operation ===

impl Operation {
    /// Puts arguments into their places.
    ///
    /// # Errors
    /// Names the first argument that is missing, of the wrong type, or cannot be in its place.
    pub(crate) fn call(&self, arguments: &RawValue) -> Result<Call, InvalidArguments> {
        let members = Members::read(arguments).ok_or(InvalidArguments::Unreadable)?;
        for (name, _) in members.iter() {
            let is_body = name == BODY && self.body.is_some();
            if !is_body && !self.parameters.iter().any(|parameter| parameter.argument == name) {
                return Err(InvalidArguments::Unknown(shown(name), self.known()));
            }
        }
        let (mut path, mut query, mut headers) = (HashMap::new(), Pairs::default(), Vec::new());
        for parameter in &self.parameters {
            let Some(raw) = given(&members, parameter)? else { continue };
            let Parameter { argument, name, place, style, shape, .. } = parameter;
            check(argument, raw, shape)?;
            let given = Given { argument, raw, shape };
            match place {
                Place::Query => query.add(name, *style, given)?,
                Place::Path => {
                    path.insert(name.as_str(), single(*style, given, encoded)?);
                }
                Place::Header => {
                    headers.push((name.to_ascii_lowercase(), header(argument, single(*style, given, str::to_owned)?)?));
                }
            }
        }
        let mut target = self.path(&path)?;
        let query = query.into_text();
        if !query.is_empty() {
            target.extend(["?", &query]);
        }
        if target.len() > TARGET_BYTES_MAX {
            return Err(InvalidArguments::Long(TARGET_BYTES_MAX));
        }
        let body = self.body.as_ref().map(|body| body.written(&members)).transpose()?.flatten();
        let content_type = self.body.as_ref().filter(|_| body.is_some()).map(|body| body.media.clone());
        Ok(Call { method: self.method, path_and_query: target, headers, body, content_type })
    }

    fn path(&self, values: &HashMap<&str, String>) -> Result<String, InvalidArguments> {
        let filled = self.template.filled(|name| values.get(name).map(String::as_str).unwrap_or_default());
        filled.map_err(|name| {
            let is_it = |parameter: &&Parameter| parameter.place == Place::Path && parameter.name == name;
            let argument = self.parameters.iter().find(is_it).map_or(name, |parameter| &parameter.argument);
            InvalidArguments::Path(argument.to_owned())
        })
    }

    // What there is, for whoever has named something else.
    fn known(&self) -> String {
        let parameters = self.parameters.iter().map(|parameter| parameter.argument.as_str());
        let names: Vec<&str> = parameters.chain(self.body.as_ref().map(|_| BODY)).take(KNOWN_MAX).collect();
        if names.is_empty() { "it takes none".into() } else { format!("it takes {}", names.join(", ")) }
    }
}

// === impl Body ===

impl Body {
    fn written(&self, members: &Members<'_>) -> Result<Option<String>, InvalidArguments> {
        let given = members.get(BODY);
        // Null is a body only where it may be one.
        let given = given.filter(|raw| type_of(raw) != Types::NONE || self.shape.types.is_nullable() && self.is_json());
        let Some(raw) = given else {
            return if self.is_required { Err(InvalidArguments::Missing(BODY.into())) } else { Ok(None) };
        };
        check(BODY, raw, &self.shape)?;
        let object = if type_of(raw) == Types::OBJECT { Members::read(raw) } else { None };
        if type_of(raw) == Types::OBJECT {
            let object = object.as_ref().ok_or(InvalidArguments::Unreadable)?;
            let missing = self.shape.required.iter().find(|name| object.get(name).is_none());
            if let Some(name) = missing {
                return Err(InvalidArguments::Member(BODY.into(), name.clone(), "is missing, which must be given"));
            }
        }
        match &self.format {
            Format::Json => Ok(Some(raw.get().to_owned())),
            Format::Text => {
                let text = primitive(raw, Types::PRIMITIVE).ok_or(InvalidArguments::Unreadable)?;
                Ok(Some(text.into_owned()))
            }
            Format::Form(styles) => {
                let (mut pairs, any) = (Pairs::default(), Shape::any());
                for (name, raw) in object.iter().flat_map(Members::iter).filter(|(_, raw)| type_of(raw) != Types::NONE)
                {
                    let by_type =
                        if type_of(raw) == Types::OBJECT { Style::Json } else { Style::Form { explode: true } };
                    let style = styles.get(name).copied().unwrap_or(by_type);
                    pairs.add(name, style, Given { argument: BODY, raw, shape: &any })?;
                }
                Ok(Some(pairs.into_text()))
            }
        }
    }

    const fn is_json(&self) -> bool {
        matches!(self.format, Format::Json)
    }
}

fn given<'a>(members: &Members<'a>, parameter: &Parameter) -> Result<Option<&'a RawValue>, InvalidArguments> {
    // Models write null for what they do not give.
    match members.get(&parameter.argument).filter(|raw| type_of(raw) != Types::NONE) {
        None if parameter.is_required => Err(InvalidArguments::Missing(parameter.argument.clone())),
        given => Ok(given),
    }
}

fn single(style: Style, given: Given<'_>, write: impl Fn(&str) -> String) -> Result<String, InvalidArguments> {
    match style {
        Style::Json => Ok(write(given.raw.get())),
        Style::Simple { explode } => given.simple(explode, write),
        Style::Form { .. } | Style::Delimited(_) | Style::DeepObject => given.simple(false, write),
    }
}
