//! Every method of every revision: who calls it, what it names, and which revisions have it.

use std::borrow::Cow;

use crate::{
    character::{shown, visible, visible_uri},
    members::Members,
    params::Params,
    revision::Revision,
};

mod table;

pub use table::Method;

/// Who sends a message of a method.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// The client.
    ToServer,
    /// The server.
    ToClient,
    /// Either.
    Both,
}

/// What kind of thing a method names in its parameters, and so what must be authorised.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Names {
    /// Nothing.
    Nothing,
    /// A tool, in `name`.
    Tool,
    /// A prompt, in `name`.
    Prompt,
    /// A resource, in `uri`.
    Resource,
    /// A prompt or the template of a resource, in `ref`.
    Reference,
    /// Resources, in `notifications.resourceSubscriptions`.
    Subscriptions,
    /// A task, in `taskId`.
    Task,
}

/// What a message names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Target<'a> {
    /// Nothing.
    Nothing,
    /// A tool.
    Tool(Cow<'a, str>),
    /// A prompt.
    Prompt(Cow<'a, str>),
    /// A resource.
    Resource(Cow<'a, str>),
    /// The template of a resource, or a resource.
    Template(Cow<'a, str>),
    /// Resources of which changes are to be told; often none.
    Resources(Vec<Cow<'a, str>>),
    /// A task.
    Task(Cow<'a, str>),
}

/// A message does not name what its method needs named, or not so that anybody could see which it is.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unnamed {
    /// The member is missing or of another type.
    #[error("The parameter \"{0}\" must be {1}.")]
    Missing(&'static str, &'static str),
    /// The name has characters that cannot be seen, or is too long or empty.
    #[error(
        "The name \"{0}\" is not one: names have no hidden characters, no spaces at their ends, and a bounded length."
    )]
    Invisible(String),
}

/// The most resources whose changes one request asks for.
pub const SUBSCRIPTIONS_MAX: usize = 1_000;

/// So many characters of a name that is refused are told.
const NAME_SHOWN_MAX: usize = 64;

// === impl Method ===

impl Method<'_> {
    /// What a message of this method names in its parameters.
    ///
    /// # Errors
    /// When it names nothing that could be looked up. What it names need not exist.
    pub fn target<'p>(&self, params: &Params<'p>) -> Result<Target<'p>, Unnamed> {
        let text = |name| params.text(name).ok_or(Unnamed::Missing(name, "a string"));
        Ok(match self.names() {
            Names::Nothing => Target::Nothing,
            Names::Tool => Target::Tool(seen(text("name")?, visible)?),
            Names::Prompt => Target::Prompt(seen(text("name")?, visible)?),
            Names::Resource => Target::Resource(seen(text("uri")?, visible_uri)?),
            Names::Task => Target::Task(seen(text("taskId")?, visible)?),
            Names::Reference => reference(params)?,
            Names::Subscriptions => Target::Resources(subscriptions(params)?),
        })
    }

    /// Whether a revision has the method. Of an unknown method nobody knows.
    #[must_use]
    pub fn is_of(&self, revision: Revision) -> bool {
        let (since, until) = self.revisions();
        (since..=until).contains(&revision)
    }
}

fn seen<'p>(name: Cow<'p, str>, is_name: fn(&str) -> bool) -> Result<Cow<'p, str>, Unnamed> {
    if is_name(&name) { Ok(name) } else { Err(Unnamed::Invisible(shown(&name, NAME_SHOWN_MAX))) }
}

fn reference<'p>(params: &Params<'p>) -> Result<Target<'p>, Unnamed> {
    let missing = Unnamed::Missing("ref", "an object of the type \"ref/prompt\" or \"ref/resource\"");
    let reference = params.object("ref").ok_or_else(|| missing.clone())?;
    let text = |name| reference.text(name).ok_or_else(|| missing.clone());
    match &*text("type")? {
        "ref/prompt" => Ok(Target::Prompt(seen(text("name")?, visible)?)),
        "ref/resource" => Ok(Target::Template(seen(text("uri")?, visible_uri)?)),
        _ => Err(missing),
    }
}

fn subscriptions<'p>(params: &Params<'p>) -> Result<Vec<Cow<'p, str>>, Unnamed> {
    let filter: Members<'p> = params.object("notifications").ok_or(Unnamed::Missing("notifications", "an object"))?;
    if filter.get("resourceSubscriptions").is_none() {
        return Ok(Vec::new());
    }
    let missing = Unnamed::Missing("notifications.resourceSubscriptions", "a list of at most 1000 strings");
    let list = filter.list("resourceSubscriptions").filter(|list| list.len() <= SUBSCRIPTIONS_MAX);
    let list = list.ok_or_else(|| missing.clone())?;
    let text = |raw: &'p serde_json::value::RawValue| {
        seen(crate::json::unquoted(raw.get()).ok_or_else(|| missing.clone())?, visible_uri)
    };
    list.into_iter().map(text).collect()
}
