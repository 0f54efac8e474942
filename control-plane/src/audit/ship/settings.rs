//! Where the log is shipped to, as the operator writes it down: a TOML file with a `[[sink]]` each.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use reqwest::Url;
use rustls_pki_types::ServerName;
use tollgate_audit::Format;
use tollgate_policy::name::Name;
use tollgate_settings::{Problems, Reader, Secret, SecretSource};
use toml::{Table, Value};

use super::tls::{Files, Tls};
use crate::base_url;

/// The most sinks: each reads the whole log.
const SINKS_MAX: usize = 16;
/// The longest configuration, in bytes.
const FILE_BYTES_MAX: usize = 256 * 1024;
/// The most actions of a sink.
const ACTIONS_MAX: usize = 64;
/// At this length, in bytes, a file is rotated unless the operator says otherwise.
const ROTATE_BYTES: u64 = 64 << 20;
/// Bounds of that: a batch is to fit, and a file is to be of use.
const ROTATE_BYTES_BOUNDS: [u64; 2] = [4 << 10, 1 << 40];
/// So many rotated files are kept unless the operator says otherwise.
const ROTATED: u32 = 10;
/// The most that may be kept: each is renamed at a rotation.
const ROTATED_MAX: u32 = 1_000;
/// What a sink of each kind must have, besides its name.
const REQUIRED: [(&str, &[&str]); 4] =
    [("syslog", &["address"]), ("splunk", &["url", "token"]), ("http", &["url"]), ("file", &["path"])];
/// The path of Splunk's HTTP Event Collector.
const SPLUNK_PATH: &str = "/services/collector/event";

/// A place to which the log is shipped.
#[derive(Clone, Debug)]
pub struct SinkSettings {
    /// What its cursor and its metrics are called.
    pub name: Name,
    /// Whether a new one begins at the end of the log rather than at its beginning.
    pub from_now: bool,
    /// The actions that it gets, whole or, before a `*`, their beginnings; empty: all.
    pub actions: Vec<String>,
    /// The host that records name as their sender; without it, this machine's name.
    pub host: Option<String>,
    pub(super) to: To,
}

/// What kind of place it is.
#[derive(Clone, Debug)]
pub(super) enum To {
    Syslog(SyslogSettings),
    Collector(CollectorSettings),
    File(FileSettings),
}

/// A receiver of syslog.
#[derive(Clone, Debug)]
pub(super) struct SyslogSettings {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) transport: Transport,
    /// Whether the message is a record in CEF rather than the detail in JSON.
    pub(super) is_cef: bool,
}

/// How messages travel.
#[derive(Clone, Debug)]
pub(super) enum Transport {
    /// RFC 5426.
    Udp,
    /// RFC 6587, with octet counting.
    Tcp,
    /// RFC 5425.
    Tls(Tls, ServerName<'static>),
}

/// A collector over HTTP.
#[derive(Clone, Debug)]
pub(super) struct CollectorSettings {
    pub(super) url: Address,
    /// The value of the authorization header.
    pub(super) authorization: Option<Secret>,
    pub(super) tls: Option<Tls>,
    pub(super) format: Format,
    /// Whether each record stands in an event of Splunk.
    pub(super) is_splunk: bool,
}

/// The address of a collector. Its Debug shows no more than where that is, since the rest may be a secret.
#[derive(Clone)]
pub(super) struct Address(pub(super) Url);

/// A file.
#[derive(Clone, Debug)]
pub(super) struct FileSettings {
    pub(super) path: PathBuf,
    pub(super) format: Format,
    /// At this length it is rotated.
    pub(super) bytes_max: u64,
    /// So many rotated ones are kept.
    pub(super) rotated: u32,
}

/// What is wrong, and where: `sink[0].url`.
pub type Problem = (String, String);

/// Reads the file.
///
/// # Errors
/// Every problem together. None repeats a value, which may be a secret in the wrong place.
pub fn read_file(path: &Path) -> Result<Vec<SinkSettings>, Vec<Problem>> {
    let failed = |reason: String| vec![(path.display().to_string(), reason)];
    let text = fs::read_to_string(path).map_err(|error| failed(format!("cannot be read: {error}")))?;
    read(&text)
}

/// Reads the text of the file, and the files and variables that it names.
///
/// # Errors
/// As [`read_file`].
pub fn read(text: &str) -> Result<Vec<SinkSettings>, Vec<Problem>> {
    let failed = |reason: &str| Err(vec![("file".to_owned(), reason.to_owned())]);
    if text.len() > FILE_BYTES_MAX {
        return failed("is longer than 256 KiB");
    }
    // The parser's own report quotes the line, which may hold a secret.
    let Ok(mut table) = text.parse::<Table>() else { return failed("is not TOML") };
    let listed = table.remove("sink");
    let mut problems: Vec<Problem> = table.keys().map(|key| (key.clone(), "is no setting here".to_owned())).collect();
    let tables = match listed {
        Some(Value::Array(tables)) if (1..=SINKS_MAX).contains(&tables.len()) => tables,
        _ => {
            problems.push(("sink".to_owned(), "must be 1 to 16 tables, each begun by [[sink]]".to_owned()));
            Vec::new()
        }
    };
    let mut sinks: Vec<SinkSettings> = Vec::new();
    for (at, value) in tables.into_iter().enumerate() {
        match value {
            Value::Table(table) => match read_sink(table) {
                Ok(sink) => {
                    let rule =
                        together(&sinks, &sink).map(|(name, rule)| (format!("sink[{at}].{name}"), rule.to_owned()));
                    problems.extend(rule);
                    sinks.push(sink);
                }
                Err(Problems(found)) => {
                    problems.extend(found.into_iter().map(|(name, problem)| (format!("sink[{at}].{name}"), problem)));
                }
            },
            _ => problems.push((format!("sink[{at}]"), "must be a table".to_owned())),
        }
    }
    if problems.is_empty() { Ok(sinks) } else { Err(problems) }
}

// Two sinks of one name would move one cursor, and of one file rotate each other's.
fn together(others: &[SinkSettings], sink: &SinkSettings) -> Option<(&'static str, &'static str)> {
    let path = |sink: &SinkSettings| match &sink.to {
        To::File(file) => Some(file.path.clone()),
        To::Syslog(_) | To::Collector(_) => None,
    };
    if others.iter().any(|other| other.name == sink.name) {
        return Some(("name", "is that of another sink"));
    }
    let same = path(sink).is_some() && others.iter().any(|other| path(other) == path(sink));
    same.then_some(("path", "is that of another sink"))
}

fn read_sink(mut table: Table) -> Result<SinkSettings, Problems> {
    let listed = table.remove("actions");
    let reader = &mut Reader::new(Some(&table.to_string()), []);
    let kind: Option<String> = reader.optional("kind");
    let needed = REQUIRED.iter().find(|(word, _)| kind.as_deref() == Some(word)).map_or(&[][..], |(_, needed)| needed);
    for name in ["name", "kind"].iter().chain(needed).filter(|name| !table.contains_key(**name)) {
        reader.problem(name, "is missing");
    }
    let name: Option<String> = reader.optional("name");
    let name = name.and_then(|text| Name::parse(&text).map_err(|rule| reader.problem("name", rule.to_string())).ok());
    let from_now = word(reader, "from", &[("start", false), ("now", true)]).unwrap_or(false);
    let host = reader.optional("host");
    let actions = actions(reader, listed);
    let to = match kind.as_deref() {
        Some("syslog") => read_syslog(reader).map(To::Syslog),
        Some("splunk") => read_collector(reader, true).map(To::Collector),
        Some("http") => read_collector(reader, false).map(To::Collector),
        Some("file") => read_output(reader).map(To::File),
        Some(_) => {
            reader.problem("kind", "must be syslog, splunk, http or file");
            None
        }
        None => None,
    };
    // Without a kind nobody knows which of the other settings there are.
    if !REQUIRED.iter().any(|(word, _)| kind.as_deref() == Some(word)) {
        reader.allow(table.keys().map(String::as_str));
    }
    reader.finish()?;
    match (name, to) {
        (Some(name), Some(to)) => Ok(SinkSettings { name, from_now, actions, host, to }),
        _ => Err(Problems(vec![("kind".to_owned(), "cannot be read".to_owned())])),
    }
}

fn read_syslog(reader: &mut Reader) -> Option<SyslogSettings> {
    let authority = reader.optional("address").and_then(|text: String| {
        let parsed = text.parse::<http::uri::Authority>().ok();
        let parsed =
            parsed.filter(|authority| authority.port_u16().is_some_and(|port| port > 0) && !text.contains('@'));
        if parsed.is_none() {
            reader.problem("address", "must be a host and a port, such as siem.example:6514");
        }
        parsed
    });
    let host = authority.as_ref().map(|authority| authority.host().trim_matches(['[', ']']).to_owned());
    let is_cef = word(reader, "message", &[("json", false), ("cef", true)]).unwrap_or(false);
    let transport = match word(reader, "transport", &[("udp", 0), ("tcp", 1), ("tls", 2)]).unwrap_or(2) {
        0 => Some(Transport::Udp),
        1 => Some(Transport::Tcp),
        _ => {
            let server = reader.optional::<String>("tls_server_name").or_else(|| host.clone());
            let server = server.and_then(|server| {
                let parsed = ServerName::try_from(server);
                parsed.map_err(|_| reader.problem("tls_server_name", "must be a host name or an IP address")).ok()
            });
            tls(reader).zip(server).map(|(tls, server)| Transport::Tls(tls, server))
        }
    };
    let port = authority?.port_u16()?;
    Some(SyslogSettings { host: host?, port, transport: transport?, is_cef })
}

fn read_collector(reader: &mut Reader, is_splunk: bool) -> Option<CollectorSettings> {
    let plaintext = reader.or("plaintext", false);
    let url = reader.optional("url").and_then(|source| {
        let url = secret(&source).and_then(|url| address(url.expose(), plaintext).map_err(str::to_owned));
        url.map_err(|problem| reader.problem("url", problem)).ok()
    });
    let scheme = if is_splunk { "Splunk" } else { "Bearer" };
    let authorization = reader.optional("token").and_then(|source| {
        let token = secret(&source).and_then(|token| {
            let is_visible = token.expose().bytes().all(|byte| byte.is_ascii_graphic());
            if is_visible { Ok(token) } else { Err("must be visible ASCII".to_owned()) }
        });
        let token = token.map_err(|problem| reader.problem("token", problem)).ok()?;
        Some(Secret::new(format!("{scheme} {}", token.expose())))
    });
    let format = word(reader, "format", &[("json", Format::Json), ("ocsf", Format::Ocsf)]).unwrap_or(Format::Json);
    // Whether there are others is not known without it.
    let Some(mut url) = url else {
        reader.allow(["tls_ca", "tls_cert", "tls_key"]);
        return None;
    };
    let tls = if url.scheme() == "https" { Some(tls(reader)?) } else { None };
    if is_splunk && url.path() == "/" {
        url.set_path(SPLUNK_PATH);
    }
    Some(CollectorSettings { url: Address(url), authorization, tls, format, is_splunk })
}

// As for the webhook; and since a token and the whole log go there, in plain text to this machine only, unless that is said.
fn address(text: &str, plaintext: bool) -> Result<Url, &'static str> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let url = url.ok_or("must be a URL that begins with http:// or https://")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not have a user or a password: a secret belongs in token");
    }
    let host = url.host_str().ok_or("must have a host")?;
    let bare = host.trim_matches(['[', ']']);
    let is_here = base_url::is_private(host)
        && bare.parse::<std::net::IpAddr>().map_or(bare == "localhost", |address| address.is_loopback());
    if url.scheme() == "http" && !is_here && !plaintext {
        return Err("must begin with https://, or plaintext = true must say that others may read the log on its way");
    }
    Ok(url)
}

fn read_output(reader: &mut Reader) -> Option<FileSettings> {
    let path = reader.optional("path");
    let format = [Format::Json, Format::Syslog, Format::Cef, Format::Ocsf].map(|format| (format.word(), format));
    let format = word(reader, "format", &format).unwrap_or(Format::Json);
    let bytes_max = reader.or("bytes_max", ROTATE_BYTES);
    let [least, most] = ROTATE_BYTES_BOUNDS;
    if !(least..=most).contains(&bytes_max) {
        reader.problem("bytes_max", "must be from 4096 to 1099511627776");
    }
    let rotated = reader.or("rotated", ROTATED);
    if !(1..=ROTATED_MAX).contains(&rotated) {
        reader.problem("rotated", "must be from 1 to 1000");
    }
    Some(FileSettings { path: path?, format, bytes_max, rotated })
}

fn tls(reader: &mut Reader) -> Option<Tls> {
    let files =
        Files { ca: reader.optional("tls_ca"), cert: reader.optional("tls_cert"), key: reader.optional("tls_key") };
    Tls::read(&files).map_err(|(name, problem)| reader.problem(name, problem)).ok()
}

fn word<T: Copy>(reader: &mut Reader, name: &str, words: &[(&str, T)]) -> Option<T> {
    let text: String = reader.optional(name)?;
    let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    if found.is_none() {
        let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        reader.problem(name, format!("must be one of {}", words.join(", ")));
    }
    found
}

fn actions(reader: &mut Reader, listed: Option<Value>) -> Vec<String> {
    let listed = match listed {
        None => return Vec::new(),
        Some(Value::Array(values)) => values,
        Some(_) => Vec::new(),
    };
    let is_pattern = |text: &&str| {
        let stem = text.strip_suffix('*').unwrap_or(text);
        !text.is_empty()
            && stem.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte))
    };
    let actions: Vec<_> = listed.iter().filter_map(Value::as_str).filter(is_pattern).map(str::to_owned).collect();
    if actions.len() != listed.len() || !(1..=ACTIONS_MAX).contains(&actions.len()) {
        reader.problem("actions", "must be a list of 1 to 64 actions, such as \"key.create\" or \"request.*\"");
    }
    actions
}

#[expect(clippy::disallowed_methods, reason = "an env:// reference names a variable that no setting knows in advance")]
fn secret(source: &SecretSource) -> Result<Secret, String> {
    source.resolve(&|variable| std::env::var(variable).ok(), &|path: &Path| fs::read_to_string(path))
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}/***", self.0.scheme(), self.0.host_str().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;
