//! What servers offer: lists of definitions, read strictly, and written again with the names of several servers.

use std::{collections::HashSet, ops::Range};

use serde_json::{Value, value::RawValue};

use crate::{
    character::{shown, visible, visible_uri},
    json::{Json, unquoted},
    members::Members,
    name::{InvalidName, ServerName, ToolName},
    parameter::{InvalidParameter, Parameters},
    pin::Pin,
};

mod page;

pub use page::{Caching, Offer, Omitted, Page, Scope, page};

/// The most definitions of one kind that a server may offer, over all pages.
pub const DEFINITIONS_MAX: usize = 10_000;

/// The longest definition, in bytes: a model reads it in each turn, so that none of use comes near.
pub const DEFINITION_BYTES_MAX: usize = 64 * 1_024;

/// The longest cursor, in bytes.
pub const CURSOR_BYTES_MAX: usize = 4_096;

/// What a list is of.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// `tools/list`.
    Tool,
    /// `prompts/list`.
    Prompt,
    /// `resources/list`.
    Resource,
    /// `resources/templates/list`.
    Template,
}

/// One definition, as its server wrote it.
#[derive(Clone, Debug)]
pub struct Definition {
    kind: Kind,
    name: Box<str>,
    json: Box<str>,
    /// Where the name stands in it, with its quotation marks.
    place: Range<usize>,
    pin: Pin,
    parameters: Parameters,
}

/// The definitions of a server, page by page.
#[derive(Clone, Debug)]
pub struct List {
    kind: Kind,
    /// In the order in which the server has them, each name once.
    pub definitions: Vec<Definition>,
    /// What the server listed and is not offered.
    pub dropped: Vec<Dropped>,
    names: HashSet<Box<str>>,
}

/// A definition that is not offered to anybody.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Dropped {
    /// Its name, with what is hidden made visible; empty where it has none.
    pub name: String,
    /// Why.
    pub why: Unfit,
}

/// Why a definition is not offered.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unfit {
    /// Another of that name came before.
    #[error("the server lists the name twice: the first counts")]
    Duplicate,
    /// It has no name, or not one that can be.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// It is longer than 64 KiB.
    #[error("the definition is {0} bytes long, and at most 65536 are accepted")]
    Long(usize),
    /// It is no object, or has what is no text or no number to every reader.
    #[error("the definition is no object that every reader reads alike")]
    Unreadable,
    /// What it says of headers is not as 2026-07-28 has it.
    #[error(transparent)]
    Parameter(#[from] InvalidParameter),
}

/// A result is no page of a list.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidList {
    /// There is no list in it.
    #[error("the server's result has no list \"{0}\"")]
    Missing(&'static str),
    /// The server offers too many.
    #[error("the server lists more than 10000 definitions")]
    TooMany,
    /// The cursor to the next page is no text, or too long.
    #[error("the server's \"nextCursor\" is no string of at most 4096 bytes")]
    Cursor,
}

// === impl Kind ===

impl Kind {
    /// The member of a result that is the list.
    #[must_use]
    pub const fn member(self) -> &'static str {
        match self {
            Self::Tool => "tools",
            Self::Prompt => "prompts",
            Self::Resource => "resources",
            Self::Template => "resourceTemplates",
        }
    }

    /// The member of a definition by which it is called.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Tool | Self::Prompt => "name",
            Self::Resource => "uri",
            Self::Template => "uriTemplate",
        }
    }

    /// A name beside those of other servers.
    pub(crate) fn join(self, server: &ServerName, name: &str) -> Result<String, InvalidName> {
        match self {
            Self::Tool => server.tool(ToolName::parse(name)?),
            Self::Prompt => server.prompt(name),
            Self::Resource | Self::Template => server.uri(name),
        }
    }

    fn check(self, name: &str) -> Result<(), InvalidName> {
        match self {
            Self::Tool => ToolName::parse(name).map(|_| ()),
            Self::Prompt if visible(name) => Ok(()),
            Self::Prompt => Err(InvalidName::Prompt),
            Self::Resource | Self::Template if visible_uri(name) => Ok(()),
            Self::Resource | Self::Template => Err(InvalidName::Uri),
        }
    }
}

// === impl List ===

impl List {
    /// A list that is still empty.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        Self { kind, definitions: Vec::new(), dropped: Vec::new(), names: HashSet::new() }
    }

    /// What it is of.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Adds what a result lists, and gives the cursor to the next page. The result is of a message that [`crate::Message::parse`] read.
    ///
    /// # Errors
    /// When the result is no page of such a list, or the server lists too many. What is wrong with single definitions is only told.
    pub fn add(&mut self, result: &RawValue) -> Result<Option<String>, InvalidList> {
        let result = Members::read(result).unwrap_or_default();
        let elements = result.list(self.kind.member()).ok_or(InvalidList::Missing(self.kind.member()))?;
        if elements.len() + self.definitions.len() + self.dropped.len() > DEFINITIONS_MAX {
            return Err(InvalidList::TooMany);
        }
        for element in elements {
            match Definition::read(self.kind, element) {
                Ok(definition) if self.names.insert(definition.name.clone()) => self.definitions.push(definition),
                Ok(definition) => {
                    self.dropped.push(Dropped { name: definition.name.into(), why: Unfit::Duplicate });
                }
                Err(dropped) => self.dropped.push(dropped),
            }
        }
        let cursor = result.get("nextCursor").filter(|raw| raw.get() != "null");
        cursor.map(|raw| cursor_of(raw).ok_or(InvalidList::Cursor)).transpose()
    }
}

fn cursor_of(raw: &RawValue) -> Option<String> {
    unquoted(raw.get()).filter(|text| text.len() <= CURSOR_BYTES_MAX).map(Into::into)
}

// === impl Definition ===

impl Definition {
    /// Reads one definition.
    ///
    /// # Errors
    /// Says why it cannot be offered, and under which name it was listed.
    pub fn read(kind: Kind, raw: &RawValue) -> Result<Self, Dropped> {
        let json = raw.get();
        let dropped = |name: &str, why| Dropped { name: shown(name, NAME_SHOWN_MAX), why };
        let members = Members::read(raw).ok_or_else(|| dropped("", Unfit::Unreadable))?;
        let name = members.text(kind.key()).unwrap_or_default();
        kind.check(&name).map_err(|invalid| dropped(&name, invalid.into()))?;
        if json.len() > DEFINITION_BYTES_MAX {
            return Err(dropped(&name, Unfit::Long(json.len())));
        }
        let value: Value = serde_json::from_str(json).map_err(|_| dropped(&name, Unfit::Unreadable))?;
        let parameters = match kind {
            Kind::Tool => Parameters::of_tool(&value).map_err(|invalid| dropped(&name, invalid.into()))?,
            _ => Parameters::default(),
        };
        let place = members.place(kind.key()).unwrap_or_default();
        Ok(Self { kind, name: (&*name).into(), json: json.into(), place, pin: Pin::of_value(&value), parameters })
    }

    /// What it defines.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// By which name, or URI, or template, its server knows it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// As its server wrote it.
    #[must_use]
    pub fn json(&self) -> Json<'_> {
        Json::read(&self.json)
    }

    /// What was approved, when this was approved.
    #[must_use]
    pub const fn pin(&self) -> Pin {
        self.pin
    }

    /// Which of a tool's arguments are repeated in headers.
    #[must_use]
    pub const fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Read whole.
    pub(crate) fn value(&self) -> Value {
        // It was read before.
        serde_json::from_str(&self.json).unwrap_or_default()
    }
}

/// So many characters of a name that is dropped are kept.
const NAME_SHOWN_MAX: usize = 200;
