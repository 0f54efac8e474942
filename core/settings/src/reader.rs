//! Looks values up, and remembers everything that is wrong with them.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fmt,
};

use toml::{Table, Value};

use crate::setting::Setting;

/// What the name of each variable begins with.
pub const PREFIX: &str = "TOLLGATE_";

// Two texts that differ by more edits than this are not called a misspelling of each other.
const EDITS_MAX: usize = 3;

// Deeper tables are no configuration, and flattening recurses.
const DEPTH_MAX: usize = 8;

/// Looks settings up in a file's text and in the environment, which wins. Its Debug shows names and no values.
pub struct Reader {
    // The file as it stands, for what has no place in a flat map.
    document: Table,
    // Flattened name to text, or to `None` where the file has an array or a date.
    file: BTreeMap<String, Option<String>>,
    // Lower-case name without the prefix to text.
    environment: BTreeMap<String, String>,
    known: BTreeSet<String>,
    allowed: BTreeSet<String>,
    problems: Vec<(String, String)>,
}

/// Everything that is wrong with a configuration: the setting's name, and what is wrong with it. It holds no values.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problems(pub Vec<(String, String)>);

// === impl Reader ===

impl Reader {
    /// A reader over a file's text, if there is one, and the environment. A variable that is set and empty counts as unset.
    pub fn new(file_text: Option<&str>, environment: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut reader = Self {
            document: Table::new(),
            file: BTreeMap::new(),
            environment: environment.into_iter().filter_map(ours).collect(),
            known: BTreeSet::new(),
            allowed: BTreeSet::new(),
            problems: Vec::new(),
        };
        if let Some(text) = file_text {
            match text.parse::<Table>() {
                Ok(table) => {
                    reader.document = table.clone();
                    reader.flatten("", table, 0);
                }
                Err(error) => reader.unreadable(text, &error),
            }
        }
        reader
    }

    /// Leaves these names to other readers: they are not unknown, wherever they stand. Names are in lower case and without
    /// the prefix.
    pub fn allow<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        self.allowed.extend(names.into_iter().map(str::to_owned));
    }

    /// Looks up what must be there. `None` when it is missing or wrong, which is noted.
    pub fn required<T: Setting>(&mut self, name: &str) -> Option<T> {
        if self.text(name).is_none() && !self.file.contains_key(name) {
            self.problem(name, format!("is missing: set {name} in the file, or {} in the environment", variable(name)));
        }
        self.optional(name)
    }

    /// Looks up what may be there. `None` when it is not there, or is wrong, which is noted.
    pub fn optional<T: Setting>(&mut self, name: &str) -> Option<T> {
        self.known.insert(name.to_owned());
        let parsed = match self.text(name) {
            Some(text) => T::parse(text),
            None if self.file.contains_key(name) => Err("must be a single value"),
            None => return None,
        };
        parsed.map_err(|rule| self.problem(name, self.located(name, rule))).ok()
    }

    /// Looks up what has a default. The default, too, when it is wrong, which is noted.
    pub fn or<T: Setting>(&mut self, name: &str, default: T) -> T {
        self.optional(name).unwrap_or(default)
    }

    /// The tables within a table whose names are the operator's own, such as `[servers.one]` and `[servers.two]` within `servers`: each with a reader of
    /// its own. Only the file has them, the environment does not. What such a reader finds is told by [`Self::adopt`].
    pub fn tables(&mut self, name: &str) -> Vec<(String, Self)> {
        let Some(Value::Table(table)) = self.document.get(name) else { return Vec::new() };
        let below: Vec<(String, Table)> =
            table.iter().filter_map(|(key, value)| Some((key.clone(), value.as_table()?.clone()))).collect();
        let reader = |table: Table| {
            let mut reader = Self::new(None, []);
            reader.document = table.clone();
            reader.flatten("", table, 0);
            reader
        };
        for (key, table) in &below {
            for flat in flat_names(&format!("{name}_{key}"), table, 1) {
                self.file.remove(&flat);
            }
        }
        below.into_iter().map(|(key, table)| (key, reader(table))).collect()
    }

    /// Ends the lookups of a table's own reader, and notes its problems as this one's.
    pub fn adopt(&mut self, table: &str, mut reader: Self) {
        let problems = reader.finish().err().map(|problems| problems.0).unwrap_or_default();
        self.problems.extend(problems.into_iter().map(|(name, text)| (format!("{table}.{name}"), text)));
    }

    /// Looks a list of texts up; empty when there is none, or when it is wrong, which is noted. Only the file has lists.
    pub fn list(&mut self, name: &str) -> Vec<String> {
        self.known.insert(name.to_owned());
        let texts = match self.document.get(name) {
            None => return Vec::new(),
            Some(Value::Array(list)) => list.iter().map(|value| value.as_str().map(str::to_owned)).collect(),
            Some(_) => None,
        };
        texts.unwrap_or_else(|| {
            self.problem(name, "must be a list of texts, such as [\"one\", \"two\"]");
            Vec::new()
        })
    }

    /// Looks a table of texts up, whose names are the operator's own; empty when there is none, or when it is wrong, which is noted.
    pub fn texts(&mut self, name: &str) -> BTreeMap<String, String> {
        self.known.insert(name.to_owned());
        let table = match self.document.get(name) {
            None => return BTreeMap::new(),
            Some(Value::Table(table)) => table.clone(),
            Some(_) => {
                self.problem(name, "must be a table of texts, such as { ONE = \"1\" }");
                return BTreeMap::new();
            }
        };
        self.known.extend(flat_names(name, &table, 1));
        let mut texts = BTreeMap::new();
        for (key, value) in table {
            match value {
                Value::String(text) => _ = texts.insert(key, text),
                _ => self.problem(&format!("{name}.{key}"), "must be a text"),
            }
        }
        texts
    }

    /// Notes what is wrong with a setting, or with several together.
    pub fn problem(&mut self, name: &str, text: impl Into<String>) {
        self.problems.push((name.to_owned(), text.into()));
    }

    /// Ends the lookups.
    ///
    /// # Errors
    /// Returns every problem, and every name in the file or the environment that was neither looked up nor allowed.
    pub fn finish(&mut self) -> Result<(), Problems> {
        let unknown = |name: &&String| !self.known.contains(*name) && !self.allowed.contains(*name);
        let keys: Vec<_> =
            self.file.keys().filter(unknown).map(|name| (name.clone(), self.advice(name, "setting"))).collect();
        let variables = self.environment.iter().filter(|(name, _)| unknown(name));
        let variables: Vec<_> = variables
            .filter(|(name, value)| !is_service_link(name, value))
            .map(|(name, _)| (variable(name), self.advice(name, "variable")))
            .collect();
        self.problems.extend(keys);
        self.problems.extend(variables);
        match std::mem::take(&mut self.problems) {
            problems if problems.is_empty() => Ok(()),
            problems => Err(Problems(problems)),
        }
    }

    fn text(&self, name: &str) -> Option<&str> {
        match self.environment.get(name) {
            Some(text) => Some(text),
            None => self.file.get(name)?.as_deref(),
        }
    }

    fn located(&self, name: &str, rule: &str) -> String {
        if self.environment.contains_key(name) { format!("{rule} (in {})", variable(name)) } else { rule.to_owned() }
    }

    fn advice(&self, name: &str, noun: &str) -> String {
        let nearest = self.known.iter().map(|known| (strsim::damerau_levenshtein(known, name), known)).min();
        match nearest {
            // Half of a short name may differ and still be nearest: that is no likeness.
            Some((edits, known)) if edits <= EDITS_MAX && edits * 2 < name.len() => {
                let known = if noun == "variable" { variable(known) } else { known.clone() };
                format!("is not a known {noun}; did you mean {known}?")
            }
            _ => format!("is not a known {noun}"),
        }
    }

    fn flatten(&mut self, above: &str, table: Table, depth: usize) {
        for (key, value) in table {
            let name = if above.is_empty() { key } else { format!("{above}_{key}") };
            let text = match value {
                Value::Table(below) if depth < DEPTH_MAX => {
                    self.flatten(&name, below, depth + 1);
                    continue;
                }
                Value::String(text) => Some(text),
                Value::Integer(number) => Some(number.to_string()),
                Value::Float(number) => Some(number.to_string()),
                Value::Boolean(flag) => Some(flag.to_string()),
                Value::Datetime(_) | Value::Array(_) | Value::Table(_) => None,
            };
            if self.file.insert(name.clone(), text).is_some() {
                self.problem(&name, "is given twice, once with an underscore and once as a table's key");
            }
        }
    }

    // The parser's own report quotes the line, which may hold a secret.
    fn unreadable(&mut self, text: &str, error: &toml::de::Error) {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        self.problem("file", format!("is not TOML at line {line}: {}", error.message()));
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |set: Vec<&String>| set.into_iter().cloned().collect::<Vec<_>>();
        f.debug_struct("Reader")
            .field("file", &names(self.file.keys().collect()))
            .field("environment", &names(self.environment.keys().collect()))
            .field("problems", &self.problems)
            .finish_non_exhaustive()
    }
}

// The names under which a table is in the flat map.
fn flat_names(above: &str, table: &Table, depth: usize) -> Vec<String> {
    let names = table.iter().flat_map(|(key, value)| {
        let name = format!("{above}_{key}");
        match value {
            Value::Table(below) if depth < DEPTH_MAX => flat_names(&name, below, depth + 1),
            _ => vec![name],
        }
    });
    names.collect()
}

fn ours((name, value): (String, String)) -> Option<(String, String)> {
    let name = name.strip_prefix(PREFIX)?.to_ascii_lowercase();
    (!value.is_empty()).then_some((name, value))
}

fn variable(name: &str) -> String {
    format!("{PREFIX}{}", name.to_ascii_uppercase())
}

// Kubernetes puts the address of every service into the environment of every pod: a service named `tollgate-proxy` gives
// TOLLGATE_PROXY_SERVICE_HOST, TOLLGATE_PROXY_SERVICE_PORT_HTTP, TOLLGATE_PROXY_PORT=tcp://.. and TOLLGATE_PROXY_PORT_80_TCP_ADDR.
fn is_service_link(name: &str, value: &str) -> bool {
    let numbered = |rest: &str| rest.bytes().next().is_some_and(|byte| byte.is_ascii_digit());
    name == "service_host"
        || name == "service_port"
        || name.ends_with("_service_host")
        || name.ends_with("_service_port")
        || name.contains("service_port_")
        || name.split("port_").skip(1).any(numbered)
        || (name.ends_with("port") && ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme)))
}

// === impl Problems ===

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, text)) in self.0.iter().enumerate() {
            let end_of_line = if at == 0 { "" } else { "\n" };
            write!(f, "{end_of_line}{name}: {text}")?;
        }
        Ok(())
    }
}

impl Error for Problems {}

#[cfg(test)]
mod tests;
