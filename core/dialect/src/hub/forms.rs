//! The forms in which a client's dialect has its tools, where they are more than functions with a JSON schema.
//!
//! The hub has every tool that the client runs as a function, since that is what each dialect can say. The model then calls a function,
//! and the client must be told of a call in the form that it knows: whoever writes the answer looks it up here, by the function's name.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    fit::Fit,
    support::{Feature, Losses},
};

/// The forms of a request's tools, by the names that the hub has for them. It borrows nothing, so that it lives as long as the answer.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Forms {
    forms: BTreeMap<String, Form>,
    pub(crate) fit: Fit,
}

/// What a function is in the client's dialect.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Form {
    /// Its name there.
    pub name: String,
    /// The group of tools in which it stands.
    pub namespace: Option<Arc<Namespace>>,
    /// How it is called.
    pub kind: FormKind,
}

/// A group of tools.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    /// What its tools are for.
    pub description: String,
}

/// How a tool is called in the client's dialect.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FormKind {
    /// With JSON: only its name is another.
    Function,
    /// With a text of any form; for the hub, that is the only member, `input`, of its arguments.
    Freeform {
        /// The JSON of the grammar that the text keeps, where there is one.
        format: Option<String>,
    },
    /// It finds further tools.
    Search,
    /// It runs a command.
    Shell,
}

// === impl Forms ===

impl Forms {
    /// Notes the form of a function.
    pub fn add(&mut self, function: String, form: Form) {
        self.forms.insert(function, form);
    }

    /// The form of a function; `None`: it is a function for the client, too.
    #[must_use]
    pub fn get(&self, function: &str) -> Option<&Form> {
        self.forms.get(function)
    }

    /// Says that the tools are sent in another form.
    pub(crate) fn approximate(&self, losses: &mut Losses) {
        for form in self.forms.values() {
            let word = match form.kind {
                FormKind::Function => "namespace_tool",
                FormKind::Freeform { .. } => "custom_tool",
                FormKind::Search => "tool_search",
                FormKind::Shell => "local_shell",
            };
            losses.approximate(Feature::Field(word.to_owned()));
        }
    }
}
