//! A tool as it is shown. All that a server says of it is the server's own text, and nothing of that reaches a terminal as it is.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;
use tollgate_proto::admin::v1;

use crate::{commands::text::for_terminal, literals::printed, output::View};

/// A tool.
#[derive(Serialize)]
pub(super) struct ToolView {
    pub(super) server: String,
    pub(super) name: String,
    pub(super) state: String,
    pub(super) hash: String,
    /// Absent in a list.
    #[serde(skip_serializing_if = "Value::is_null")]
    definition: Value,
    approved_hash: String,
    pub(super) difference: Vec<String>,
    pub(super) flags: Vec<String>,
    first_seen_time: Option<String>,
    decide_time: Option<String>,
    decided_by: String,
}

impl From<v1::McpTool> for ToolView {
    fn from(tool: v1::McpTool) -> Self {
        let v1::McpTool {
            server,
            name,
            state,
            hash,
            definition,
            approved_hash,
            difference,
            flags,
            first_seen_time,
            decide_time,
            decided_by,
        } = tool;
        let definition = match definition.as_str() {
            "" => Value::Null,
            text => serde_json::from_str(text).unwrap_or_else(|_| Value::from(text)),
        };
        Self {
            server,
            name,
            state,
            hash,
            definition,
            approved_hash,
            difference,
            flags,
            first_seen_time: printed(first_seen_time.as_ref()),
            decide_time: printed(decide_time.as_ref()),
            decided_by,
        }
    }
}

impl ToolView {
    /// As a person names it.
    pub(super) fn title(&self) -> String {
        for_terminal(&format!("{}.{}", self.server, self.name))
    }

    /// What a person looks at before approving: what looks suspicious, and how the definition differs from the approved one, or all of it
    /// where there is none to compare with.
    pub(super) fn shown(&self) -> String {
        let mut shown = String::new();
        let mut part = |title: &str, lines: &[String]| {
            if lines.is_empty() {
                return;
            }
            // Writing into a String cannot fail.
            let _ = writeln!(shown, "{title}:");
            for line in lines {
                let _ = writeln!(shown, "  {}", for_terminal(line));
            }
        };
        part("flags", &self.flags);
        if self.difference.is_empty() {
            part("definition", &lines(&self.definition));
        } else {
            part("difference", &self.difference);
        }
        shown
    }
}

fn lines(definition: &Value) -> Vec<String> {
    match definition {
        Value::Null => Vec::new(),
        Value::String(text) => vec![text.clone()],
        object => serde_json::to_string_pretty(object).unwrap_or_default().lines().map(str::to_owned).collect(),
    }
}

impl View for ToolView {
    const PLURAL: &'static str = "tools";
    const LISTED: &'static [&'static str] = &["server", "name", "state", "flags", "first_seen", "decided_by"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        let fields = vec![
            ("server", self.server.clone()),
            ("name", self.name.clone()),
            ("state", self.state.clone()),
            ("hash", self.hash.clone()),
            ("approved", self.approved_hash.clone()),
            ("flags", self.flags.join("; ")),
            ("first_seen", self.first_seen_time.clone().unwrap_or_default()),
            ("decided", self.decide_time.clone().unwrap_or_default()),
            ("decided_by", self.decided_by.clone()),
        ];
        fields.into_iter().map(|(name, value)| (name, for_terminal(&value))).collect()
    }
}
