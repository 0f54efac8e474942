//! The two configurations that follow from the options and the environment.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use anyhow::Context as _;
use tollgate_settings::{Problems, Reader};

use crate::options::Options;

/// What only the control plane looks up.
const CONTROL_PLANE: [&str; 8] = [
    "database_url",
    "admin_listen",
    "admin_plaintext",
    "fleet_listen",
    "http_listen",
    "environment",
    "encryption_key",
    "encryption_key_previous",
];
/// What only the proxy looks up.
const PROXY: [&str; 18] = [
    "listen",
    "status_listen",
    "control_plane",
    "control_plane_ca",
    "name",
    "region",
    "join_token",
    "spool_durability",
    "spool_bytes_max",
    "snapshot_age_max",
    "drain_timeout",
    "connections_max",
    "upstream_connect_timeout",
    "upstream_first_byte_timeout",
    "upstream_silence_max",
    "upstream_http2",
    "mcp_origins",
    "mcp_stdio_enabled",
];
/// What the command line reads from the same environment.
const COMMAND_LINE: [&str; 5] = ["server", "token", "token_file", "config", "ca"];

/// The environment of the process, read once.
pub(crate) type Environment = BTreeMap<String, String>;

/// Reads the environment.
#[expect(clippy::disallowed_methods, reason = "this is where the configuration is read, once")]
pub(crate) fn environment() -> Environment {
    std::env::vars().collect()
}

/// The configuration of the control plane.
pub(crate) fn control_plane(
    options: &Options,
    environment: &Environment,
    fleet_token: &str,
) -> anyhow::Result<tollgate_control_plane::config::Config> {
    let port = |fixed: u16| format!("127.0.0.1:{}", if options.port == 0 { 0 } else { fixed });
    let own = [("DATA_DIR", options.data_dir.display().to_string()), ("FLEET_TOKEN", fleet_token.to_owned())];
    let defaults = [
        ("ADMIN_LISTEN", port(7070)),
        ("FLEET_LISTEN", port(7071)),
        ("HTTP_LISTEN", port(7072)),
        ("LOG_FORMAT", "text".to_owned()),
        ("LOG_FILTER", "warn".to_owned()),
    ];
    let mut reader = reader(environment, own, defaults);
    reader.allow(PROXY.into_iter().chain(COMMAND_LINE));
    tollgate_control_plane::config::Config::read(&mut reader).map_err(said)
}

/// The configuration of the proxy, which follows the control plane at this address.
pub(crate) fn proxy(
    options: &Options,
    environment: &Environment,
    fleet_token: &str,
    fleet: std::net::SocketAddr,
) -> anyhow::Result<tollgate_proxy::Config> {
    let port = |fixed: u16| format!("127.0.0.1:{}", if options.port == 0 { 0 } else { fixed });
    let own = [
        ("DATA_DIR", options.data_dir.join("proxy").display().to_string()),
        ("FLEET_TOKEN", fleet_token.to_owned()),
        ("CONTROL_PLANE", format!("http://{fleet}")),
    ];
    let defaults = [
        ("NAME", "standalone".to_owned()),
        ("LISTEN", port(options.port)),
        ("STATUS_LISTEN", port(8081)),
        ("LOG_FORMAT", "text".to_owned()),
        ("LOG_FILTER", "warn".to_owned()),
    ];
    let mut reader = reader(environment, own, defaults);
    reader.allow(CONTROL_PLANE.into_iter().chain(["tls_cert", "tls_key"]).chain(COMMAND_LINE));
    let variables = environment.clone();
    tollgate_proxy::Config::read_with(&mut reader, Arc::new(move |name| variables.get(name).cloned())).map_err(said)
}

/// A secret that only this process knows, with which its proxy follows its control plane.
pub(crate) fn fleet_token() -> anyhow::Result<String> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).context("the system gives no random bytes")?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Writes a file that only its owner may read.
pub(crate) fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("failed to write {}", path.display()))
}

// What is ours stands before the environment, and the environment before the defaults.
fn reader<const O: usize, const D: usize>(
    environment: &Environment,
    own: [(&str, String); O],
    defaults: [(&str, String); D],
) -> Reader {
    let named = |(name, value): (&str, String)| (format!("TOLLGATE_{name}"), value);
    let mut settings: Environment = defaults.into_iter().map(named).collect();
    settings.extend(environment.clone());
    settings.extend(own.into_iter().map(named));
    Reader::new(None, settings)
}

fn said(problems: Problems) -> anyhow::Error {
    anyhow::anyhow!("the configuration has these problems:\n{problems}")
}
