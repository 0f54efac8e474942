//! The fields of one table, taken one by one; what is left over at the end is a mistake.

use crate::declare::tree::{Mistake, Node, Place, Value};

/// In how many letters a mistyped name may differ from the field that was meant.
const EDITS_MAX: usize = 3;

/// A table that is being read.
pub(super) struct Fields<'n, 'm> {
    path: String,
    place: Place,
    entries: Vec<(Place, &'n str, &'n Node)>,
    /// The fields that have been asked for, to name them when an unknown one is found.
    known: Vec<&'static str>,
    /// Those of them that the table has, whether or not they could be read.
    found: Vec<&'static str>,
    mistakes: &'m mut Vec<Mistake>,
}

impl<'n, 'm> Fields<'n, 'm> {
    /// Opens a node that must be a table. `path` says where it is: `keys[0]`.
    pub(super) fn open(node: &'n Node, path: &str, mistakes: &'m mut Vec<Mistake>) -> Option<Self> {
        let Value::Table(entries) = &node.value else {
            let what = if path.is_empty() { "the document" } else { path };
            let text = format!("{what}: must be a table of fields, not {}", node.value.noun());
            mistakes.push(Mistake { place: node.place, text });
            return None;
        };
        let entries = entries.iter().map(|(place, name, node)| (*place, name.as_str(), node)).collect();
        Some(Self { path: path.to_owned(), place: node.place, entries, known: Vec::new(), found: Vec::new(), mistakes })
    }

    /// Where the table begins.
    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// Takes a field; one without a value is a mistake, since it may mean none or all.
    pub(super) fn take(&mut self, name: &'static str) -> Option<(Place, &'n Node)> {
        self.known.push(name);
        let at = self.entries.iter().position(|entry| entry.1 == name)?;
        let (place, _, node) = self.entries.remove(at);
        self.found.push(name);
        if node.value == Value::Null {
            self.mistake(
                place,
                name,
                "has no value; leave it out, or write [] for an empty list and \"\" for an empty text",
            );
            return None;
        }
        Some((place, node))
    }

    /// A text, whatever it holds.
    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        self.parsed(name, |text| Ok::<_, String>(text.to_owned()))
    }

    /// A text that is parsed.
    pub(super) fn parsed<T, E: ToString>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let (_, node) = self.take(name)?;
        self.text_of(node, name, parse)
    }

    /// A text that must be there.
    pub(super) fn required<T, E: ToString>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        self.demand(name);
        self.parsed(name, parse)
    }

    /// A number or a text, parsed from the characters that were written.
    pub(super) fn scalar<T, E: ToString>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let (_, node) = self.take(name)?;
        let (Value::Number(text) | Value::Text(text)) = &node.value else {
            self.mistake(node.place, name, &format!("must be a number, not {}", node.value.noun()));
            return None;
        };
        parse(text).map_err(|reason| self.mistake(node.place, name, &reason.to_string())).ok()
    }

    /// A number or a text that must be there, as [`Fields::scalar`].
    pub(super) fn required_scalar<T, E: ToString>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        self.demand(name);
        self.scalar(name, parse)
    }

    /// True or false.
    pub(super) fn boolean(&mut self, name: &'static str) -> Option<bool> {
        let (_, node) = self.take(name)?;
        if let Value::Boolean(value) = node.value {
            return Some(value);
        }
        self.mistake(node.place, name, &format!("must be true or false, not {}", node.value.noun()));
        None
    }

    /// A whole number within bounds.
    pub(super) fn integer(&mut self, name: &'static str, least: i64, most: i64) -> Option<i64> {
        let bounds = if most == i64::MAX { format!("of at least {least}") } else { format!("from {least} to {most}") };
        let parse = |text: &str| {
            let number = text.replace('_', "").parse::<i64>().ok().filter(|number| (least..=most).contains(number));
            number.ok_or_else(|| format!("must be a whole number {bounds}"))
        };
        let (_, node) = self.take(name)?;
        let Value::Number(text) = &node.value else {
            self.mistake(node.place, name, &format!("must be a whole number {bounds}, not {}", node.value.noun()));
            return None;
        };
        parse(text).map_err(|reason| self.mistake(node.place, name, &reason)).ok()
    }

    /// A whole number that must be there.
    pub(super) fn required_integer(&mut self, name: &'static str, least: i64, most: i64) -> Option<i64> {
        self.demand(name);
        self.integer(name, least, most)
    }

    /// A list of texts, each parsed.
    pub(super) fn list<T, E: ToString>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Vec<T>> {
        let (_, node) = self.take(name)?;
        let Value::List(items) = &node.value else {
            self.mistake(node.place, name, &format!("must be a list, not {}", node.value.noun()));
            return None;
        };
        let read = items.iter().enumerate().map(|(at, item)| self.text_of(item, &format!("{name}[{at}]"), &parse));
        Some(read.collect::<Vec<_>>().into_iter().flatten().collect())
    }

    /// A list of numbers or texts that is not empty, each parsed from the characters that were written.
    pub(super) fn scalars<T, E: ToString>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Vec<T>> {
        let (_, node) = self.take(name)?;
        let items = match &node.value {
            Value::List(items) if !items.is_empty() => items,
            Value::List(_) => {
                self.mistake(node.place, name, "must not be empty; leave it out for what is usual");
                return None;
            }
            other => {
                self.mistake(node.place, name, &format!("must be a list, not {}", other.noun()));
                return None;
            }
        };
        let mut found = Vec::new();
        for (at, item) in items.iter().enumerate() {
            let read = match &item.value {
                Value::Number(text) | Value::Text(text) => parse(text).map_err(|reason| reason.to_string()),
                other => Err(format!("must be a number, not {}", other.noun())),
            };
            match read {
                Ok(value) => found.push(value),
                Err(reason) => self.mistake(item.place, &format!("{name}[{at}]"), &reason),
            }
        }
        Some(found)
    }

    /// A list of tables, each read.
    pub(super) fn tables<T>(&mut self, name: &'static str, read: fn(Fields<'_, '_>) -> T) -> Option<Vec<T>> {
        let (_, node) = self.take(name)?;
        let Value::List(items) = &node.value else {
            self.mistake(node.place, name, &format!("must be a list, not {}", node.value.noun()));
            return None;
        };
        let mut found = Vec::new();
        for (at, item) in items.iter().enumerate() {
            let path = self.path_of(&format!("{name}[{at}]"));
            found.extend(Fields::open(item, &path, self.mistakes).map(read));
        }
        Some(found)
    }

    /// A table.
    pub(super) fn table<T>(&mut self, name: &'static str, read: fn(Fields<'_, '_>) -> T) -> Option<T> {
        let (_, node) = self.take(name)?;
        let path = self.path_of(name);
        Fields::open(node, &path, self.mistakes).map(read)
    }

    /// A table, or a word in its place, which reads as `None`.
    pub(super) fn one_of<T>(
        &mut self,
        name: &'static str,
        word: &str,
        read: fn(Fields<'_, '_>) -> T,
    ) -> Option<Option<T>> {
        let (_, node) = self.take(name)?;
        if node.value == Value::Text(word.to_owned()) {
            return Some(None);
        }
        let path = self.path_of(name);
        Fields::open(node, &path, self.mistakes).map(read).map(Some)
    }

    /// Reports a mistake in a field.
    pub(super) fn mistake(&mut self, place: Place, field: &str, reason: &str) {
        let text = format!("{}: {reason}", self.path_of(field));
        self.mistakes.push(Mistake { place, text });
    }

    /// Reports a mistake in the table itself.
    pub(super) fn mistake_here(&mut self, reason: &str) {
        let text = format!("{}: {reason}", self.path);
        self.mistakes.push(Mistake { place: self.place, text });
    }

    /// How many of these fields, which have been asked for, the table has.
    pub(super) fn names(&self, names: &[&str]) -> usize {
        self.found.iter().filter(|found| names.contains(found)).count()
    }

    /// Reports what nobody asked for.
    pub(super) fn close(mut self) {
        let known = self.known.join(", ");
        for (place, name, _) in std::mem::take(&mut self.entries) {
            let meant = self.nearest(name).map(|meant| format!(", did you mean {meant}?")).unwrap_or_default();
            let joint = if meant.is_empty() { "; there" } else { " There" };
            self.mistake(place, name, &format!("there is no such field{meant}{joint} are {known}"));
        }
    }

    fn nearest(&self, name: &str) -> Option<&'static str> {
        let likeness = self.known.iter().map(|known| (strsim::damerau_levenshtein(known, name), *known)).min();
        // Half of a short name may differ and still be nearest: that is no likeness.
        likeness.filter(|(edits, _)| *edits <= EDITS_MAX && edits * 2 < name.len()).map(|(_, known)| known)
    }

    fn demand(&mut self, name: &'static str) {
        if !self.entries.iter().any(|entry| entry.1 == name) {
            self.mistake(self.place, name, "is required");
        }
    }

    fn text_of<T, E: ToString>(&mut self, node: &Node, field: &str, parse: impl Fn(&str) -> Result<T, E>) -> Option<T> {
        let Value::Text(text) = &node.value else {
            self.mistake(node.place, field, &format!("must be a text, not {}; put it in quotes", node.value.noun()));
            return None;
        };
        parse(text).map_err(|reason| self.mistake(node.place, field, &reason.to_string())).ok()
    }

    fn path_of(&self, field: &str) -> String {
        if self.path.is_empty() { field.to_owned() } else { format!("{}.{field}", self.path) }
    }
}
