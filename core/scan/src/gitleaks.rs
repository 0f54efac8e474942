//! Reads rules in the form of Gitleaks' configuration (TOML), as its documentation describes it:
//! <https://github.com/gitleaks/gitleaks#configuration>. Names of fields are read in any case of letters, as Gitleaks does.
//!
//! What has no meaning for text that comes from no file and no commit is reported, and so is each field that nobody knows.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::{Table, Value};

use crate::{
    report::{Outcome, Report},
    rule::{Allow, Condition, Required, Rule, Rules, Target},
};

/// A file may extend another, and that a third, as in Gitleaks.
const EXTENDS_MAX: usize = 2;
/// The official file has 100 KB.
const FILE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What a file may extend: the texts, since this crate reads no files.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bases<'a> {
    /// What `useDefault` stands for.
    pub default: Option<&'a str>,
    /// What a `path` stands for, by that path.
    pub files: &'a [(&'a str, &'a str)],
}

/// A file could not be read at all.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It is no TOML.
    #[error("the rules are not TOML: {0}")]
    Syntax(String),
    /// It is larger than any rule file needs to be.
    #[error("the rules have {bytes} bytes, and at most {FILE_BYTES_MAX} are read")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
}

/// Reads the rules of a file, and of those that it extends.
///
/// # Errors
/// When `text`, or a text that it extends, is not TOML or too large. Everything smaller is a remark in the report.
pub fn load(text: &str, bases: Bases<'_>) -> Result<(Rules, Report), LoadError> {
    let mut report = Report::default();
    let rules = load_at(text, bases, EXTENDS_MAX, &mut report)?;
    Ok((rules, report))
}

fn load_at(text: &str, bases: Bases<'_>, extends: usize, report: &mut Report) -> Result<Rules, LoadError> {
    if text.len() > FILE_BYTES_MAX {
        return Err(LoadError::TooLarge { bytes: text.len() });
    }
    let table: Table = text.parse().map_err(|error: toml::de::Error| LoadError::Syntax(error.message().to_owned()))?;
    let File { title, extend, rules, allowlist, allowlists, description: _, minversion: _, unknown } =
        match Value::Table(lowered(table)).try_into() {
            Ok(file) => file,
            Err(error) => return Err(LoadError::Syntax(error.message().to_owned())),
        };
    remark_unknown(&unknown, None, "", report);
    let mut own = Rules { title, ..Rules::default() };
    for value in rules {
        if let Some(rule) = read_rule(value, report)
            && !is_repeated(&own, &rule.id, report)
        {
            own.rules.push(rule);
        }
    }
    for value in allowlist.into_iter().chain(allowlists) {
        own.allow.extend(read_allow(value, None, report));
    }
    match extend {
        Some(extend) => extended(own, extend, bases, extends, report),
        None => Ok(own),
    }
}

fn is_repeated(rules: &Rules, id: &str, report: &mut Report) -> bool {
    let is_repeated = rules.rules.iter().any(|rule| rule.id == id);
    if is_repeated {
        report.add(Some(id), "id", Outcome::Refused, "an earlier rule of the file has this id");
    }
    is_repeated
}

fn extended(
    own: Rules,
    extend: Extend,
    bases: Bases<'_>,
    extends: usize,
    report: &mut Report,
) -> Result<Rules, LoadError> {
    let Extend { usedefault, path, url, disabledrules, unknown } = extend;
    remark_unknown(&unknown, None, "extend.", report);
    let mut refuse = |field: &str, why: &str| report.add(None, field, Outcome::Ignored, why);
    if url.is_some() {
        refuse("extend.url", "nothing is fetched: give the text of what is extended");
    }
    if usedefault && path.is_some() {
        refuse("extend", "useDefault and path exclude each other");
        return Ok(own);
    }
    let text = match &path {
        Some(path) => bases.files.iter().find(|(name, _)| name == path).map(|(_, text)| *text),
        None if usedefault => bases.default,
        None => return Ok(own),
    };
    let Some(text) = text else {
        let field = if usedefault { "extend.useDefault" } else { "extend.path" };
        refuse(field, "no text was given for it, and no file is read");
        return Ok(own);
    };
    let Some(extends) = extends.checked_sub(1) else {
        refuse("extend", "what is extended twice extends nothing further");
        return Ok(own);
    };
    let base = load_at(text, bases, extends, report)?;
    for id in disabledrules.iter().filter(|id| base.rules.iter().all(|rule| rule.id != **id)) {
        report.add(Some(id), "extend.disabledRules", Outcome::Ignored, "no rule that is extended has this id");
    }
    Ok(own.over(&base, &disabledrules))
}

fn read_rule(value: Value, report: &mut Report) -> Option<Rule> {
    let name = value.get("id").and_then(Value::as_str).unwrap_or_default().trim().to_owned();
    if name.is_empty() {
        report.add(Some(""), "id", Outcome::Refused, "a rule without an id cannot be named");
        return None;
    }
    let table: RuleTable = match value.try_into() {
        Ok(table) => table,
        Err(error) => {
            report.add(Some(&name), "rule", Outcome::Refused, error.message());
            return None;
        }
    };
    let RuleTable { id: _, description, path, regex, secretgroup, entropy, keywords, tags, .. } = table;
    remark_unknown(&table.unknown, Some(&name), "", report);
    if path.is_some() {
        let why = if regex.is_empty() {
            "the rule looks for names of files alone, and texts of agents come without one: it is left out"
        } else {
            "texts of agents come from no file: the rule holds for every text"
        };
        report.add(Some(&name), "path", Outcome::Ignored, why);
        if regex.is_empty() {
            return None;
        }
    }
    let lists = table.allowlist.into_iter().chain(table.allowlists);
    let allow = lists.filter_map(|list| read_allow(list, Some(&name), report)).collect();
    let required = table.required.into_iter().filter_map(|value| read_required(value, &name, report)).collect();
    Some(Rule {
        id: name,
        description,
        regex,
        secret_group: secretgroup,
        entropy,
        keywords,
        tags,
        allow,
        required,
        skip_report: table.skipreport,
    })
}

fn read_required(value: Value, rule: &str, report: &mut Report) -> Option<Required> {
    let RequiredTable { id, withinlines, withincolumns, unknown } = match value.try_into() {
        Ok(table) => table,
        Err(error) => {
            let error: toml::de::Error = error;
            report.add(Some(rule), "required", Outcome::Refused, error.message());
            return None;
        }
    };
    remark_unknown(&unknown, Some(rule), "required.", report);
    Some(Required { rule: id, within_lines: withinlines, within_columns: withincolumns })
}

fn read_allow(value: Value, rule: Option<&str>, report: &mut Report) -> Option<Allow> {
    let field = if rule.is_some() { "allowlists" } else { "allowlist" };
    let table: AllowTable = match value.try_into() {
        Ok(table) => table,
        Err(error) => {
            report.add(rule, field, Outcome::Ignored, error.message());
            return None;
        }
    };
    let AllowTable { description: _, condition, regextarget, regexes, stopwords, paths, commits, targetrules, unknown } =
        table;
    remark_unknown(&unknown, rule, "allowlists.", report);
    for (name, values) in [("paths", &paths), ("commits", &commits)] {
        if !values.is_empty() {
            let why = "texts of agents come from no file and no commit: nothing is allowed by it";
            report.add(rule, &format!("{field}.{name}"), Outcome::Ignored, why);
        }
    }
    let mut unknown_word = |name: &str| {
        report.add(rule, &format!("{field}.{name}"), Outcome::Ignored, "its value is not known: the list is left out");
        None
    };
    let condition = match condition.to_ascii_uppercase().as_str() {
        "" | "OR" | "||" => Condition::Any,
        "AND" | "&&" => Condition::All,
        _ => return unknown_word("condition"),
    };
    let target = match regextarget.as_str() {
        "" | "secret" => Target::Secret,
        "match" => Target::Match,
        "line" => Target::Line,
        _ => return unknown_word("regexTarget"),
    };
    let is_out_of_reach = condition == Condition::All && !(paths.is_empty() && commits.is_empty());
    if is_out_of_reach || (regexes.is_empty() && stopwords.is_empty()) {
        return None;
    }
    Some(Allow { condition, target, regexes, stop_words: stopwords, rules: targetrules })
}

fn remark_unknown(unknown: &BTreeMap<String, Value>, rule: Option<&str>, prefix: &str, report: &mut Report) {
    for name in unknown.keys() {
        report.add(rule, &format!("{prefix}{name}"), Outcome::Ignored, "the field is not known");
    }
}

/// The same table with the names of all fields in lower case.
fn lowered(table: Table) -> Table {
    fn value(from: Value) -> Value {
        match from {
            Value::Table(table) => Value::Table(lowered(table)),
            Value::Array(items) => Value::Array(items.into_iter().map(value).collect()),
            other => other,
        }
    }
    table.into_iter().map(|(name, from)| (name.to_ascii_lowercase(), value(from))).collect()
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct File {
    title: String,
    description: String,
    minversion: String,
    extend: Option<Extend>,
    rules: Vec<Value>,
    allowlist: Option<Value>,
    allowlists: Vec<Value>,
    #[serde(flatten)]
    unknown: BTreeMap<String, Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Extend {
    usedefault: bool,
    path: Option<String>,
    url: Option<String>,
    disabledrules: Vec<String>,
    #[serde(flatten)]
    unknown: BTreeMap<String, Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RuleTable {
    id: String,
    description: String,
    path: Option<String>,
    regex: String,
    secretgroup: usize,
    entropy: f64,
    keywords: Vec<String>,
    tags: Vec<String>,
    allowlist: Option<Value>,
    allowlists: Vec<Value>,
    required: Vec<Value>,
    skipreport: bool,
    #[serde(flatten)]
    unknown: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct RequiredTable {
    id: String,
    withinlines: Option<usize>,
    withincolumns: Option<usize>,
    #[serde(flatten)]
    unknown: BTreeMap<String, Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AllowTable {
    description: String,
    condition: String,
    regextarget: String,
    regexes: Vec<String>,
    stopwords: Vec<String>,
    paths: Vec<String>,
    commits: Vec<String>,
    targetrules: Vec<String>,
    #[serde(flatten)]
    unknown: BTreeMap<String, Value>,
}
