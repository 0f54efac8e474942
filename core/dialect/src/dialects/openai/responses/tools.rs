//! Reads tools into functions, and keeps in [`Forms`] what they were.

use std::{collections::HashSet, sync::Arc};

use serde_json::{json, value::RawValue};

use super::decode::{Read, needed};
use crate::{
    dialects::read::{Members, each, field, is_null},
    error::DecodeError,
    hub::{Form, FormKind, Forms, Hosted, Json, Namespace, Text, Tool},
};

/// The group whose tools are called without it.
const PLAIN_NAMESPACE: &str = "functions";
/// No group has a longer name; each of its tools bears it.
const NAMESPACE_BYTES_MAX: usize = 256;
/// What a tool that finds tools is called as a function.
pub(super) const SEARCH: &str = "tool_search";
/// What a tool that runs commands is called as a function.
pub(super) const SHELL: &str = "local_shell";

/// The tools of a request.
#[derive(Debug, Default)]
pub(super) struct Tools<'a> {
    pub(super) list: Vec<Tool<'a>>,
    /// The names of the functions among them.
    names: HashSet<Text<'a>>,
    /// The others, as they came.
    hosted: HashSet<&'a str>,
    pub(super) forms: Forms,
}

/// A tool as it is read.
struct Described<'a> {
    kind: Text<'a>,
    name: Option<Text<'a>>,
    description: Option<Text<'a>>,
    parameters: Option<Json<'a>>,
    strict: Option<bool>,
    format: Option<Json<'a>>,
    execution: Option<Text<'a>>,
    tools: Option<&'a RawValue>,
    rest: Vec<(Text<'a>, Json<'a>)>,
}

/// What a tool of a group is called as a function.
pub(super) fn function_name<'a>(namespace: Option<&str>, name: Text<'a>) -> Text<'a> {
    match namespace {
        None | Some("" | PLAIN_NAMESPACE) => name,
        Some(namespace) => [namespace.trim_end_matches('_'), "__", &name].concat().into(),
    }
}

impl<'a> Tools<'a> {
    /// Reads a list of tools. One that is there already is passed over.
    pub(super) fn read(&mut self, name: &str, raw: &'a RawValue) -> Read<()> {
        each(name, raw, |raw| self.tool(raw, None)).map(|_| ())
    }

    /// Leaves only the tools which `allowed_tools` names.
    pub(super) fn allow(&mut self, names: &HashSet<Text<'a>>, kinds: &HashSet<Text<'a>>) {
        self.list.retain(|tool| match tool {
            Tool::Function { name, .. } => names.contains(name) || kinds.contains(name),
            Tool::Hosted { kind, .. } => kinds.contains(kind),
        });
    }

    fn tool(&mut self, raw: &'a RawValue, namespace: Option<&Arc<Namespace>>) -> Read<()> {
        let described = Described::read(raw)?;
        match &*described.kind {
            "namespace" if namespace.is_none() => {
                let namespace = Namespace {
                    name: needed("name", described.name)?.to_string(),
                    description: described.description.as_deref().unwrap_or_default().to_owned(),
                };
                let tools = needed("tools", described.tools)?;
                if namespace.name.len() > NAMESPACE_BYTES_MAX {
                    return Err(DecodeError::invalid("name", "shorter"));
                }
                let namespace = Arc::new(namespace);
                each("tools", tools, |raw| self.tool(raw, Some(&namespace))).map(|_| ())
            }
            "function" => self.function(described, namespace, FormKind::Function),
            "custom" => {
                let format = described.format.as_ref().map(|format| format.get().to_owned());
                self.function(described, namespace, FormKind::Freeform { format })
            }
            "tool_search" if described.execution.as_deref() == Some("client") => {
                self.function(Described { name: Some(SEARCH.into()), ..described }, None, FormKind::Search)
            }
            "local_shell" => self.function(Described { name: Some(SHELL.into()), ..described }, None, FormKind::Shell),
            _ => {
                let kind = needed("type", Some(described.kind).filter(|kind| !kind.is_empty()))?;
                let json: Json<'a> = field("", raw)?;
                if !self.hosted.insert(raw.get()) {
                    return Ok(());
                }
                self.list.push(Tool::Hosted { hosted: hosted(&kind, &json), json, kind });
                Ok(())
            }
        }
    }

    fn function(&mut self, described: Described<'a>, namespace: Option<&Arc<Namespace>>, kind: FormKind) -> Read<()> {
        let Described { kind: _, name, description, parameters, strict, format: _, execution: _, tools: _, rest } =
            described;
        let own_name = needed("name", name)?;
        let name = function_name(namespace.map(|namespace| &*namespace.name), own_name.clone());
        if !self.names.insert(name.clone()) {
            return Ok(());
        }
        let input_schema = schema(&kind, parameters);
        if kind != FormKind::Function || namespace.is_some() {
            let form = Form { name: own_name.to_string(), namespace: namespace.cloned(), kind };
            self.forms.add(name.to_string(), form);
        }
        self.list.push(Tool::Function { name, description, input_schema, strict, cache: None, rest });
        Ok(())
    }
}

impl<'a> Described<'a> {
    fn read(raw: &'a RawValue) -> Read<Self> {
        let Members(members) = field("", raw)?;
        let mut tool = Self {
            kind: Text::default(),
            name: None,
            description: None,
            parameters: None,
            strict: None,
            format: None,
            execution: None,
            tools: None,
            rest: Vec::new(),
        };
        for (member, raw) in members {
            if is_null(raw) {
                continue;
            }
            match &*member {
                "type" => tool.kind = field("type", raw)?,
                "name" => tool.name = Some(field("name", raw)?),
                "description" => tool.description = Some(field("description", raw)?),
                "parameters" => tool.parameters = Some(field("parameters", raw)?),
                "strict" => tool.strict = Some(field("strict", raw)?),
                "format" => tool.format = Some(field("format", raw)?),
                "execution" => tool.execution = Some(field("execution", raw)?),
                "tools" => tool.tools = Some(raw),
                _ => tool.rest.push((member, field("", raw)?)),
            }
        }
        Ok(tool)
    }
}

/// What tells the tools of a request apart: the names of functions, and what the provider runs as it came.
pub(super) fn known<'a>(tools: &'a [Tool<'_>]) -> HashSet<&'a str> {
    let sign = |tool: &'a Tool<'_>| match tool {
        Tool::Function { name, .. } => &**name,
        Tool::Hosted { json, .. } => json.get(),
    };
    tools.iter().map(sign).collect()
}

/// What a search has found of the tools that the request has: `allowed_tools` may have left out others. `None`: it is no list of tools.
pub(super) fn found<'a>(text: &'a str, tools: &HashSet<&str>) -> Option<Json<'a>> {
    let all: Vec<&'a RawValue> = serde_json::from_str(text).ok()?;
    let mut kept = Vec::with_capacity(all.len());
    for raw in &all {
        let mut read = Tools::default();
        read.tool(raw, None).ok()?;
        if known(&read.list).is_subset(tools) {
            kept.push(*raw);
        }
    }
    if kept.len() == all.len() { Json::parse(text).ok() } else { Some(Json::of(&kept)) }
}

/// The schema of a function; that of a tool which takes no JSON is made up.
fn schema<'a>(kind: &FormKind, parameters: Option<Json<'a>>) -> Json<'a> {
    match kind {
        FormKind::Freeform { format } => freeform(format.as_deref()),
        FormKind::Shell => Json::of(&json!({
            "type": "object",
            "properties": {
                "command": {"type": "array", "items": {"type": "string"}, "description": "The program and its arguments."},
                "working_directory": {"type": "string", "description": "Where it runs."},
                "timeout_ms": {"type": "integer", "description": "The most milliseconds that it may take."},
            },
            "required": ["command"],
            "additionalProperties": false,
        })),
        FormKind::Function | FormKind::Search => {
            parameters.unwrap_or_else(|| Json::of(&json!({"type": "object", "properties": {}})))
        }
    }
}

fn freeform(format: Option<&str>) -> Json<'static> {
    #[derive(Default, serde::Deserialize)]
    #[serde(default)]
    struct Format<'a> {
        #[serde(borrow)]
        syntax: Text<'a>,
        definition: Option<Text<'a>>,
    }
    let format: Format<'_> = format.and_then(|format| serde_json::from_str(format).ok()).unwrap_or_default();
    let mut about =
        "The tool's input as one text. Put it here as it is: what is said of the tool's input means this text, \
        whose only JSON is the quoting of the argument itself."
            .to_owned();
    if let Some(definition) = format.definition {
        about.extend([" It keeps this grammar (", &*format.syntax, "):\n", &*definition]);
    }
    Json::of(&json!({
        "type": "object",
        "properties": {"input": {"type": "string", "description": about}},
        "required": ["input"],
        "additionalProperties": false,
    }))
}

// Some types end with the date of their version. A search of nothing but what the provider has kept is one that no other has.
fn hosted(kind: &str, json: &Json<'_>) -> Hosted {
    #[derive(Default, serde::Deserialize)]
    #[serde(default)]
    struct Access {
        external_web_access: Option<bool>,
    }
    let is_kept = || json.read::<Access>().unwrap_or_default().external_web_access == Some(false);
    if kind.starts_with("web_search") && !is_kept() {
        Hosted::WebSearch
    } else if kind == "code_interpreter" {
        Hosted::CodeExecution
    } else {
        Hosted::Other
    }
}

/// A tool that `tool_choice` names.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Chosen<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Text<'a>,
    pub(super) name: Option<Text<'a>>,
    pub(super) namespace: Option<Text<'a>>,
    pub(super) mode: Option<Text<'a>>,
    pub(super) tools: Option<Json<'a>>,
}

impl<'a> Chosen<'a> {
    /// Reads it.
    pub(super) fn read(raw: &'a RawValue) -> Result<Self, DecodeError> {
        field("", raw)
    }

    /// The function that it names, if it is one.
    pub(super) fn function(&self) -> Option<Text<'a>> {
        let name = self.name.clone().filter(|_| matches!(&*self.kind, "function" | "custom"))?;
        Some(function_name(self.namespace.as_deref(), name))
    }
}
