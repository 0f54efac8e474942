//! An API: its operations as tools, and what of it is none.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, value::RawValue};

use crate::{
    argument::InvalidArguments,
    call::Call,
    definition::TOOL_BYTES_MAX,
    document::{Document, InvalidDocument, pointer, shown},
    name,
    operation::{Draft, Entry, METHODS, Operation},
    reason::{LeftOut, Unfit},
    schema::{Detail, Stop},
};

/// The most operations of a document.
pub const OPERATIONS_MAX: usize = 2_000;
/// The most bytes of all definitions together: they are told to the control plane in one message, to be approved.
pub const TOOLS_BYTES_MAX: usize = 2 * 1024 * 1024;

/// So many definitions may turn out too long before the rest of them is written at the lowest detail: each costs as much work as a long one.
const MISSES_MAX: usize = 500;

/// An API.
#[derive(Clone, Debug)]
pub struct Api {
    title: String,
    tools: Vec<Tool>,
    by_name: HashMap<Box<str>, usize>,
    left_out: Vec<LeftOut>,
}

#[derive(Clone, Debug)]
struct Tool {
    definition: String,
    operation: Operation,
}

// An operation with its name, and how it is told apart where that cannot be.
struct Named<'d> {
    name: String,
    is_own: bool,
    what: String,
    draft: Draft<'d>,
}

// === impl Api ===

impl Api {
    /// Reads a description: OpenAPI 3.0 or 3.1, as JSON.
    ///
    /// # Errors
    /// Says where it is not what it should be, and what to do. What is wrong with one operation leaves that one out.
    pub fn read(text: &str) -> Result<Self, InvalidDocument> {
        let document = Document::read(text)?;
        let mut left_out = webhooks(&document);
        let mut drafts = Vec::new();
        for entry in entries(&document, &mut left_out)? {
            match Draft::read(&document, entry, &mut left_out) {
                Ok(draft) => drafts.push((entry.what(), draft)),
                Err(why) => left_out.push(LeftOut { what: entry.what(), why }),
            }
        }
        let named = named(drafts, &mut left_out);
        let tools = defined(&document, named, &mut left_out)?;
        if tools.is_empty() {
            let why = left_out.first().map_or_else(|| "there are no operations".to_owned(), ToString::to_string);
            return Err(InvalidDocument::Empty(format!("none of its operations can be a tool ({why})")));
        }
        let by_name = tools.iter().enumerate().map(|(at, (name, _))| (name.as_str().into(), at)).collect();
        let tools = tools.into_iter().map(|(_, tool)| tool).collect();
        Ok(Self { title: title(&document), tools, by_name, left_out })
    }

    /// What it calls itself, and its version; at most 120 characters.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The definition of each tool, as JSON, in the order of paths.
    pub fn tools(&self) -> impl ExactSizeIterator<Item = &str> {
        self.tools.iter().map(|tool| tool.definition.as_str())
    }

    /// What is no tool, or is not part of one.
    #[must_use]
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// The request that calls a tool with these arguments, an object in JSON.
    ///
    /// # Errors
    /// Says which argument is missing, unknown, of the wrong type, or would leave its place.
    pub fn call(&self, tool: &str, arguments: &RawValue) -> Result<Call, InvalidArguments> {
        let found = self.by_name.get(tool).and_then(|at| self.tools.get(*at));
        found.ok_or_else(|| InvalidArguments::Tool(shown(tool)))?.operation.call(arguments)
    }
}

fn title(document: &Document) -> String {
    const CHARACTERS_MAX: usize = 120;
    let info = document.root().get("info");
    let part = |name| info.and_then(|info| info.get(name)).and_then(Value::as_str).unwrap_or_default();
    let whole = format!("{} {}", part("title").trim(), part("version").trim());
    whole.trim().chars().filter(|letter| !letter.is_control()).take(CHARACTERS_MAX).collect()
}

fn webhooks(document: &Document) -> Vec<LeftOut> {
    let webhooks = document.root().get("webhooks").and_then(Value::as_object).into_iter().flatten();
    webhooks.map(|(name, _)| LeftOut { what: format!("webhook {:?}", shown(name)), why: Unfit::Reverse }).collect()
}

fn entries<'d>(document: &'d Document, left_out: &mut Vec<LeftOut>) -> Result<Vec<Entry<'d>>, InvalidDocument> {
    let malformed = |names: &[&str], expected| InvalidDocument::Malformed { at: pointer(names), expected };
    let paths = document.root().get("paths");
    let Some(Value::Object(paths)) = paths else {
        return Err(malformed(&["paths"], "an object whose members are the paths of the API"));
    };
    let mut entries = Vec::new();
    for (path, item) in paths.iter().filter(|(path, _)| !path.starts_with("x-")) {
        if !item.is_object() {
            return Err(malformed(&["paths", path], "an object whose members are operations"));
        }
        let item = match document.resolved(item) {
            Ok(item) => item,
            Err(why) => {
                left_out.push(LeftOut { what: shown(path), why });
                continue;
            }
        };
        for (member, method) in METHODS {
            let Some(value) = item.get(member) else { continue };
            if entries.len() == OPERATIONS_MAX {
                return Err(InvalidDocument::Operations(OPERATIONS_MAX));
            }
            entries.push(Entry { method, path, item, value });
        }
    }
    Ok(entries)
}

// Gives each a name of its own. Of two that give themselves the same one, neither has it, so that no name comes to mean another operation by
// the order in which they stand: both are called by method and path.
fn named<'d>(drafts: Vec<(String, Draft<'d>)>, left_out: &mut Vec<LeftOut>) -> Vec<Named<'d>> {
    let own = |draft: &Draft<'_>| draft.id.and_then(name::of_operation_id);
    let mut times: HashMap<String, usize> = HashMap::new();
    for (_, draft) in &drafts {
        if let Some(own) = own(draft) {
            *times.entry(own).or_default() += 1;
        }
    }
    let named = |(what, draft): (String, Draft<'d>)| match own(&draft).filter(|own| times.get(own) == Some(&1)) {
        Some(name) => Named { name, is_own: true, what, draft },
        None => {
            let name = name::of_path(draft.operation.method, draft.path);
            Named { name, is_own: false, what, draft }
        }
    };
    let named: Vec<Named<'_>> = drafts.into_iter().map(named).collect();
    let mut taken: HashSet<String> = named.iter().filter(|one| one.is_own).map(|one| one.name.clone()).collect();
    let mut times: HashMap<String, usize> = HashMap::new();
    for one in named.iter().filter(|one| !one.is_own) {
        *times.entry(one.name.clone()).or_default() += 1;
    }
    taken.extend(times.into_iter().filter(|(_, times)| *times > 1).map(|(name, _)| name));
    let (clear, unclear): (Vec<_>, Vec<_>) =
        named.into_iter().partition(|one| one.is_own || !taken.contains(&one.name));
    left_out.extend(unclear.into_iter().map(|one| LeftOut { what: one.what, why: Unfit::Name(one.name) }));
    clear
}

// Writes the definitions: with as much of the schemas as all of them together have room for.
fn defined(
    document: &Document,
    named: Vec<Named<'_>>,
    left_out: &mut Vec<LeftOut>,
) -> Result<Vec<(String, Tool)>, InvalidDocument> {
    let count = named.len();
    for level in 0..Detail::LEVELS.len() {
        let levels = Detail::LEVELS.get(level..).unwrap_or_default();
        let Some(definitions) = at(document, &named, levels) else { continue };
        let mut tools = Vec::new();
        for (one, definition) in named.into_iter().zip(definitions) {
            match definition {
                Ok(definition) => tools.push((one.name, Tool { definition, operation: one.draft.operation })),
                Err(why) => left_out.push(LeftOut { what: one.what, why }),
            }
        }
        return Ok(tools);
    }
    Err(InvalidDocument::Tools(count, TOOLS_BYTES_MAX))
}

// Each at the first of these levels at which it has room; `None`: all together have none.
fn at(document: &Document, named: &[Named<'_>], levels: &[Detail]) -> Option<Vec<Result<String, Unfit>>> {
    let (mut definitions, mut bytes, mut misses) = (Vec::new(), 0, 0);
    for one in named {
        let mut definition = Err(Unfit::Long(TOOL_BYTES_MAX));
        for level in levels.get(if misses < MISSES_MAX { 0 } else { levels.len() - 1 }..).unwrap_or_default() {
            definition = match one.draft.definition(document, &one.name, *level) {
                Ok(text) => Ok(text),
                Err(Stop::Unfit(why)) => Err(why),
                Err(Stop::Full) => {
                    misses += 1;
                    continue;
                }
            };
            break;
        }
        bytes += definition.as_ref().map_or(0, String::len);
        if bytes > TOOLS_BYTES_MAX {
            return None;
        }
        definitions.push(definition);
    }
    Some(definitions)
}
