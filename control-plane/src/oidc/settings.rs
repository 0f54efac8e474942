//! The identity providers that people sign in at, as the operator writes them down: a TOML file with an `[[issuer]]` each.

use std::{fs, path::Path};

use tollgate_policy::name::Name;
use tollgate_settings::{Secret, SecretSource, Setting as _};
use toml::{Table, Value};

use crate::base_url;

/// The most issuers: each is a party that may say who somebody is.
const ISSUERS_MAX: usize = 32;
/// The longest configuration, in bytes.
const FILE_BYTES_MAX: usize = 256 * 1024;
/// What is asked for unless the operator says otherwise. `offline_access` is what a refresh token of the issuer costs.
const SCOPES: [&str; 4] = ["openid", "profile", "email", "offline_access"];

/// An identity provider.
#[derive(Clone, Debug)]
pub struct IssuerSettings {
    /// What people and the audit log call it.
    pub name: Name,
    /// The issuer, exactly as its tokens name it.
    pub url: String,
    /// The client that Tollgate is there.
    pub client_id: String,
    /// The client's secret.
    pub client_secret: Secret,
    /// The audiences of tokens that automation may present as they are; empty: none are accepted.
    pub bearer_audiences: Vec<String>,
    /// The algorithms of its signatures. What a token says of itself chooses among them and adds none.
    pub algorithms: Vec<Algorithm>,
    /// What is asked for.
    pub scopes: Vec<String>,
    /// Permits plain HTTP, this machine, and private networks.
    pub allow_private: bool,
    /// What its claims mean.
    pub mapping: Mapping,
}

/// What the claims of an issuer mean here.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Mapping {
    /// Where the groups are, as a JSON pointer (RFC 6901).
    pub groups_claim: String,
    /// What is put before each group.
    pub group_prefix: String,
    /// The prefixes of the other issuers: no group of this one may begin with one of them.
    pub foreign_prefixes: Vec<String>,
    /// Domains of which a verified address is required; empty: none is required.
    pub email_domains: Vec<String>,
    /// What other claims say of a person.
    pub rules: Vec<Rule>,
}

/// A claim that puts people into a group or a team.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rule {
    /// Where the claim is, as a JSON pointer.
    pub claim: String,
    /// What it must be, or contain.
    pub equals: String,
    /// The group, before the prefix.
    pub group: Option<String>,
    /// The team of a person who is new.
    pub team: Option<String>,
}

/// An algorithm of signatures: of asymmetric keys alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// The same with SHA-384.
    Rs384,
    /// The same with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// ECDSA over P-256.
    Es256,
    /// ECDSA over P-384.
    Es384,
}

/// What is wrong, and where: `issuer[0].url`.
pub type Problem = (String, String);

/// Reads the file.
///
/// # Errors
/// Every problem together. None repeats a value, which may be a secret in the wrong place.
pub fn read_file(path: &Path) -> Result<Vec<IssuerSettings>, Vec<Problem>> {
    let failed = |reason: String| vec![(path.display().to_string(), reason)];
    let text = fs::read_to_string(path).map_err(|error| failed(format!("cannot be read: {error}")))?;
    read(&text, &resolve)
}

/// Reads the text of the file; `resolve` fetches a secret.
///
/// # Errors
/// As [`read_file`].
pub fn read(
    text: &str,
    resolve: &dyn Fn(&SecretSource) -> Result<Secret, String>,
) -> Result<Vec<IssuerSettings>, Vec<Problem>> {
    let failed = |reason: &str| Err(vec![("file".to_owned(), reason.to_owned())]);
    if text.len() > FILE_BYTES_MAX {
        return failed("is longer than 256 KiB");
    }
    // The parser's own report quotes the line, which may hold a secret.
    let Ok(mut table) = text.parse::<Table>() else { return failed("is not TOML") };
    let listed = table.remove("issuer");
    let mut problems: Vec<Problem> = table.keys().map(|key| (key.clone(), "is no setting here".to_owned())).collect();
    let tables = match listed {
        Some(Value::Array(tables)) if (1..=ISSUERS_MAX).contains(&tables.len()) => tables,
        _ => {
            problems.push(("issuer".to_owned(), "must be 1 to 32 tables, each begun by [[issuer]]".to_owned()));
            Vec::new()
        }
    };
    let mut issuers = Vec::new();
    for (at, value) in tables.into_iter().enumerate() {
        let Value::Table(table) = value else { continue };
        let mut fields = Fields { path: format!("issuer[{at}]"), table, problems: &mut problems };
        let issuer = read_issuer(&mut fields, resolve);
        fields.finish();
        issuers.extend(issuer);
    }
    check_together(&issuers, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(with_foreign_prefixes(issuers))
}

fn read_issuer(
    fields: &mut Fields<'_>,
    resolve: &dyn Fn(&SecretSource) -> Result<Secret, String>,
) -> Option<IssuerSettings> {
    let allow_private = fields.flag("allow_private");
    let name = fields.required("name").and_then(|text| fields.checked("name", Name::parse(&text)));
    let url = fields.required("url").and_then(|url| {
        let parsed = base_url::parse(&url, allow_private);
        // Issuers are compared letter by letter: what is kept is what was written, not what was normalised.
        fields.checked("url", parsed.map_err(|error| error.to_string().replace("base_url", "url")))?;
        Some(url)
    });
    let client_id = fields.required("client_id");
    let client_secret = fields.required("client_secret").and_then(|text| {
        let secret = SecretSource::parse(&text).map_err(str::to_owned).and_then(|source| resolve(&source));
        fields.checked("client_secret", secret)
    });
    let algorithms = fields.texts("algorithms", &["RS256", "ES256"]);
    let algorithms = algorithms.iter().filter_map(|word| {
        let parsed = Algorithm::of_word(word).ok_or("must be of RS256, RS384, RS512, PS256, ES256 and ES384");
        fields.checked("algorithms", parsed)
    });
    let algorithms: Vec<_> = algorithms.collect();
    let scopes = fields.texts("scopes", &SCOPES);
    if !scopes.iter().any(|scope| scope == "openid") {
        fields.problem("scopes", "must contain openid");
    }
    let mapping = Mapping {
        groups_claim: fields.pointer("groups_claim").unwrap_or_else(|| "/groups".to_owned()),
        group_prefix: fields.optional("group_prefix").unwrap_or_default(),
        foreign_prefixes: Vec::new(),
        email_domains: fields.texts("email_domains", &[]).iter().map(|domain| domain.to_ascii_lowercase()).collect(),
        rules: fields.rules(),
    };
    let bearer_audiences = fields.texts("bearer_audiences", &[]);
    Some(IssuerSettings {
        name: name?,
        url: url?,
        client_id: client_id?,
        client_secret: client_secret?,
        bearer_audiences,
        algorithms,
        scopes,
        allow_private,
        mapping,
    })
}

// Were one prefix the beginning of another, one issuer could name the groups of the other.
fn check_together(issuers: &[IssuerSettings], problems: &mut Vec<Problem>) {
    for (at, issuer) in issuers.iter().enumerate() {
        let path = format!("issuer[{at}]");
        for other in issuers.iter().take(at) {
            if issuer.name == other.name {
                problems.push((format!("{path}.name"), "is that of another issuer".to_owned()));
            }
            if issuer.url.trim_end_matches('/') == other.url.trim_end_matches('/') {
                problems.push((format!("{path}.url"), "is that of another issuer".to_owned()));
            }
            let (one, two) = (&issuer.mapping.group_prefix, &other.mapping.group_prefix);
            let overlap = one.starts_with(two.as_str()) || two.starts_with(one.as_str());
            if one == two || (overlap && !one.is_empty() && !two.is_empty()) {
                let rule = "must not be, or begin with, that of another issuer; at most one may be empty";
                problems.push((format!("{path}.group_prefix"), rule.to_owned()));
            }
        }
    }
}

fn with_foreign_prefixes(mut issuers: Vec<IssuerSettings>) -> Vec<IssuerSettings> {
    let prefixes: Vec<_> = issuers.iter().map(|issuer| issuer.mapping.group_prefix.clone()).collect();
    for (at, issuer) in issuers.iter_mut().enumerate() {
        let others = prefixes.iter().enumerate().filter(|(other, prefix)| *other != at && !prefix.is_empty());
        issuer.mapping.foreign_prefixes = others.map(|(_, prefix)| prefix.clone()).collect();
    }
    issuers
}

#[expect(clippy::disallowed_methods, reason = "an env:// reference names a variable that no setting knows in advance")]
fn resolve(source: &SecretSource) -> Result<Secret, String> {
    source.resolve(&|variable| std::env::var(variable).ok(), &|path: &Path| fs::read_to_string(path))
}

// === impl Algorithm ===

impl Algorithm {
    const ALL: [(Self, &str); 6] = [
        (Self::Rs256, "RS256"),
        (Self::Rs384, "RS384"),
        (Self::Rs512, "RS512"),
        (Self::Ps256, "PS256"),
        (Self::Es256, "ES256"),
        (Self::Es384, "ES384"),
    ];

    /// The algorithm of that name in the registry of RFC 7518.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, known)| *known == word).map(|(algorithm, _)| algorithm)
    }
}

/// The fields of one table that nobody has asked for yet.
struct Fields<'a> {
    path: String,
    table: Table,
    problems: &'a mut Vec<Problem>,
}

// === impl Fields ===

impl Fields<'_> {
    fn problem(&mut self, name: &str, text: impl Into<String>) {
        self.problems.push((format!("{}.{name}", self.path), text.into()));
    }

    fn checked<T, E: ToString>(&mut self, name: &str, parsed: Result<T, E>) -> Option<T> {
        parsed.map_err(|error| self.problem(name, error.to_string())).ok()
    }

    fn required(&mut self, name: &str) -> Option<String> {
        if !self.table.contains_key(name) {
            self.problem(name, "is missing");
        }
        self.optional(name).filter(|text| !text.is_empty())
    }

    fn optional(&mut self, name: &str) -> Option<String> {
        match self.table.remove(name)? {
            Value::String(text) if !text.is_empty() || name == "group_prefix" => Some(text),
            Value::String(_) => {
                self.problem(name, "must not be empty");
                None
            }
            _ => {
                self.problem(name, "must be text");
                None
            }
        }
    }

    fn flag(&mut self, name: &str) -> bool {
        match self.table.remove(name) {
            None => false,
            Some(Value::Boolean(flag)) => flag,
            Some(_) => {
                self.problem(name, "must be true or false");
                false
            }
        }
    }

    fn pointer(&mut self, name: &str) -> Option<String> {
        let pointer = self.optional(name)?;
        if !pointer.starts_with('/') {
            self.problem(name, "must be a JSON pointer, such as /groups");
        }
        Some(pointer)
    }

    fn texts(&mut self, name: &str, default: &[&str]) -> Vec<String> {
        let listed = match self.table.remove(name) {
            None => return default.iter().map(|text| (*text).to_owned()).collect(),
            Some(Value::Array(values)) => values,
            Some(_) => vec![Value::Boolean(false)],
        };
        let texts: Vec<String> =
            listed.iter().filter_map(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned).collect();
        let may_be_empty = default.is_empty();
        if texts.len() != listed.len() || (texts.is_empty() && !may_be_empty) {
            self.problem(name, "must be a list of texts");
        }
        texts
    }

    fn rules(&mut self) -> Vec<Rule> {
        let Some(value) = self.table.remove("rules") else { return Vec::new() };
        let Value::Array(values) = value else {
            self.problem("rules", "must be a list of tables");
            return Vec::new();
        };
        let mut rules = Vec::new();
        for (at, value) in values.into_iter().enumerate() {
            let path = format!("{}.rules[{at}]", self.path);
            let Value::Table(table) = value else {
                self.problems.push((path, "must be a table".to_owned()));
                continue;
            };
            let mut fields = Fields { path, table, problems: &mut *self.problems };
            rules.extend(fields.rule());
            fields.finish();
        }
        rules
    }

    fn rule(&mut self) -> Option<Rule> {
        if !self.table.contains_key("claim") {
            self.problem("claim", "is missing");
        }
        let (claim, equals) = (self.pointer("claim"), self.required("equals"));
        let (group, team) = (self.optional("group"), self.optional("team"));
        if group.is_none() && team.is_none() {
            self.problem("group", "or team must be set");
        }
        Some(Rule { claim: claim?, equals: equals?, group, team })
    }

    fn finish(self) {
        let Self { path, table, problems } = self;
        problems.extend(table.keys().map(|key| (format!("{path}.{key}"), "is no setting here".to_owned())));
    }
}

#[cfg(test)]
mod tests;
