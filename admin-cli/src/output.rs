//! How results are shown: a table for people, JSON or YAML for programs.

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::failure::{Exit, Failure};

/// The format of results on standard output.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(crate) enum Format {
    /// Columns for people.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
}

/// What a command that succeeded says.
#[derive(Debug)]
pub(crate) struct Answer {
    /// For standard output.
    pub(crate) result: String,
    /// For standard error, one a line.
    pub(crate) notes: Vec<String>,
    /// Failed only for what asks a question: `diff`, which finds differences, and `mcp-server test`.
    pub(crate) exit: Exit,
}

/// An object as it is shown: JSON and YAML by `Serialize`, tables by its fields.
pub(crate) trait View: Serialize {
    /// What several of it are called.
    const PLURAL: &'static str;
    /// The fields that a list shows.
    const LISTED: &'static [&'static str];
    /// Every field, with its value as people read it; an empty one is left out where one object is shown.
    fn fields(&self) -> Vec<(&'static str, String)>;
}

// === impl Answer ===

impl Answer {
    /// A result that is printed as it is.
    pub(crate) fn raw(result: impl Into<String>) -> Self {
        Self { result: result.into(), notes: Vec::new(), exit: Exit::Done }
    }

    /// Adds a message for people.
    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }
}

// === impl Format ===

impl Format {
    /// Shows one object.
    pub(crate) fn item<V: View>(self, view: &V) -> Result<Answer, Failure> {
        self.document(view, || {
            let mut table = bare_table();
            for (name, value) in view.fields().into_iter().filter(|(_, value)| !value.is_empty()) {
                table.add_row([name.to_owned(), value]);
            }
            table
        })
    }

    /// Shows several objects.
    pub(crate) fn list<V: View>(self, views: &[V]) -> Result<Answer, Failure> {
        let answer = self.document(views, || {
            let mut table = bare_table();
            if !views.is_empty() {
                table.set_header(V::LISTED.iter().map(|name| name.replace('_', " ").to_uppercase()));
            }
            for view in views {
                let fields = view.fields();
                let cell = |name: &&str| {
                    fields.iter().find(|field| field.0 == *name).map(|field| field.1.clone()).unwrap_or_default()
                };
                table.add_row(V::LISTED.iter().map(cell));
            }
            table
        })?;
        let empty = views.is_empty() && self == Self::Table;
        Ok(if empty { answer.note(format!("no {}", V::PLURAL)) } else { answer })
    }

    /// Shows a value of which the table is made apart.
    pub(crate) fn document<T: Serialize + ?Sized>(
        self,
        value: &T,
        table: impl FnOnce() -> Table,
    ) -> Result<Answer, Failure> {
        let result = match self {
            Self::Table => {
                let mut table = table();
                // Nothing before the first column and two spaces behind each, so that lines begin where `cut` expects.
                for column in table.column_iter_mut() {
                    column.set_padding((0, 2));
                }
                if table.is_empty() { String::new() } else { table.trim_fmt() + "\n" }
            }
            Self::Json => serde_json::to_string_pretty(value).map_err(unprintable)? + "\n",
            Self::Yaml => yaml(value)?,
        };
        Ok(Answer::raw(result))
    }
}

/// Prints YAML: plain block style, one line an entry, so that a reviewer's diff is readable.
pub(crate) fn yaml<T: Serialize + ?Sized>(value: &T) -> Result<String, Failure> {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(&value, options).map_err(unprintable)
}

/// A table without lines, for eyes and for `awk`.
pub(crate) fn bare_table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table
}

fn unprintable(error: impl std::fmt::Display) -> Failure {
    Failure::new("internal", format!("cannot print the result: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Dog {
        name: &'static str,
        age: Option<u8>,
    }

    impl View for Dog {
        const PLURAL: &'static str = "dogs";
        const LISTED: &'static [&'static str] = &["name"];
        fn fields(&self) -> Vec<(&'static str, String)> {
            vec![("name", self.name.to_owned()), ("age", self.age.map(|age| age.to_string()).unwrap_or_default())]
        }
    }

    #[test]
    fn one_object_shows_its_fields_and_a_list_its_columns() {
        let dogs = [Dog { name: "rex", age: Some(3) }, Dog { name: "fido", age: None }];
        let lines = |text: String| {
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join("|")).collect::<Vec<_>>()
        };
        assert_eq!(lines(Format::Table.list(&dogs).unwrap().result), ["NAME", "rex", "fido"]);
        assert!(Format::Table.list(&dogs).unwrap().result.starts_with("NAME\n"));
        assert_eq!(lines(Format::Table.item(&dogs[0]).unwrap().result), ["name|rex", "age|3"]);
        assert_eq!(lines(Format::Table.item(&dogs[1]).unwrap().result), ["name|fido"]);
    }

    #[test]
    fn an_empty_list_is_a_message_to_people_and_a_document_to_programs() {
        let none: [Dog; 0] = [];
        let table = Format::Table.list(&none).unwrap();
        assert_eq!((table.result.as_str(), table.notes.as_slice()), ("", ["no dogs".to_owned()].as_slice()));
        assert_eq!(Format::Json.list(&none).unwrap().result, "[]\n");
        assert_eq!(Format::Json.list(&none).unwrap().notes.len(), 0);
    }

    #[test]
    fn documents_keep_the_order_of_fields() {
        let rex = Dog { name: "rex", age: Some(3) };
        assert_eq!(Format::Json.item(&rex).unwrap().result, "{\n  \"name\": \"rex\",\n  \"age\": 3\n}\n");
        assert_eq!(Format::Yaml.item(&rex).unwrap().result, "name: rex\nage: 3\n");
    }
}
