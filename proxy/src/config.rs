//! What an operator sets: addresses, files, tokens and bounds. Everything about policy arrives by snapshot instead.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tollgate_settings::{Problems, Reader, Secret, SecretSource};
use tollgate_telemetry::Sampler;

mod process;

pub use self::process::{McpProcess, McpProcesses};
use crate::{spool::Durability, sync::Environment};

/// The settings of one replica. Durations in the file are written `10s`, `5m`, `24h`.
#[derive(Clone)]
pub struct Config {
    /// Where agents send; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where health, readiness and metrics are served.
    pub status_listen: SocketAddr,
    /// The control plane's fleet listener.
    pub control_plane: String,
    /// A PEM file with the fleet's authority; otherwise the join token carries it.
    pub control_plane_ca: Option<PathBuf>,
    /// The name under which operators know this replica.
    pub name: String,
    /// Where it runs.
    pub region: String,
    /// Where it keeps its identity, the policy cache and the spool.
    pub data_dir: PathBuf,
    /// Admits it to the fleet the first time.
    pub join_token: Option<Secret>,
    /// Stands for a certificate where the control plane is on the same machine.
    pub fleet_token: Option<Secret>,
    /// A PEM file with the certificate for agents, and those above it; with `tls_key`.
    pub tls_cert: Option<PathBuf>,
    /// A PEM file with its private key.
    pub tls_key: Option<PathBuf>,
    /// Where the whole fleet counts its rate limits; without one each replica counts its share.
    pub redis_url: Option<Secret>,
    /// What a lost machine may lose of the spool.
    pub spool_durability: Durability,
    /// The bound of the spool, in bytes.
    pub spool_bytes_max: u64,
    /// A policy that was not confirmed for longer makes the replica not ready.
    pub snapshot_age_max: Duration,
    /// How long open answers may take when the replica is told to end.
    pub drain_timeout: Duration,
    /// The most connections of agents.
    pub connections_max: usize,
    /// How long a connection to a provider may take to stand.
    pub upstream_connect_timeout: Duration,
    /// How long a provider may take to begin its answer.
    pub upstream_first_byte_timeout: Duration,
    /// How long a provider may be silent in the middle of its answer.
    pub upstream_silence_max: Duration,
    /// Whether HTTP/2 is offered to providers.
    pub upstream_http2: bool,
    /// The origins of web pages that may speak to `/mcp`, besides those of this machine: `https://inspector.example`, separated by commas.
    pub mcp_origins: Vec<String>,
    /// Servers of tools that run as processes of this replica: the tables `[mcp_stdio.<server>]` of the file, with `mcp_stdio_enabled`.
    pub mcp_stdio: McpProcesses,
    /// Logs as JSON rather than for people.
    pub log_json: bool,
    /// Which logs.
    pub log_filter: String,
    /// Where traces go.
    pub otlp_endpoint: Option<String>,
    /// The share of requests that are traced.
    pub trace_ratio: f64,
    /// Which requests are traced; off until telemetry was started.
    pub sampler: Sampler,
    /// Where `env://` references of credentials are looked up.
    pub environment: Environment,
}

impl Config {
    /// Reads all settings.
    ///
    /// # Errors
    /// Returns everything that is wrong, together.
    pub fn read(reader: &mut Reader) -> Result<Self, Problems> {
        Self::read_with(reader, Arc::new(|_| None))
    }

    /// Reads all settings, and looks secrets up in this environment.
    ///
    /// # Errors
    /// Returns everything that is wrong, together.
    pub fn read_with(reader: &mut Reader, environment: Environment) -> Result<Self, Problems> {
        let config = Self {
            listen: reader.or("listen", local(8080)),
            status_listen: reader.or("status_listen", local(8081)),
            control_plane: reader.or("control_plane", "http://127.0.0.1:7071".to_owned()),
            control_plane_ca: reader.optional("control_plane_ca"),
            name: reader.optional("name").unwrap_or_else(hostname),
            region: reader.or("region", "local".to_owned()),
            data_dir: reader.or("data_dir", PathBuf::from(".tollgate-proxy")),
            join_token: secret(reader, "join_token", &environment),
            fleet_token: secret(reader, "fleet_token", &environment),
            tls_cert: reader.optional("tls_cert"),
            tls_key: reader.optional("tls_key"),
            redis_url: secret(reader, "redis_url", &environment),
            spool_durability: reader.or("spool_durability", Durability::default()),
            spool_bytes_max: reader.or("spool_bytes_max", 256 * 1024 * 1024),
            snapshot_age_max: reader.or("snapshot_age_max", Duration::from_secs(24 * 3600)),
            drain_timeout: reader.or("drain_timeout", Duration::from_secs(30)),
            connections_max: reader.or("connections_max", 16_384),
            upstream_connect_timeout: reader.or("upstream_connect_timeout", Duration::from_secs(10)),
            upstream_first_byte_timeout: reader.or("upstream_first_byte_timeout", Duration::from_secs(600)),
            upstream_silence_max: reader.or("upstream_silence_max", Duration::from_secs(300)),
            upstream_http2: reader.or("upstream_http2", false),
            mcp_origins: origins(reader),
            mcp_stdio: process::read(reader, &environment),
            log_json: log_json(reader),
            log_filter: reader.or("log_filter", "info".to_owned()),
            otlp_endpoint: reader.optional("otlp_endpoint"),
            trace_ratio: reader.or("trace_ratio", 0.01),
            sampler: Sampler::off(),
            environment,
        };
        config.check(reader);
        reader.finish()?;
        Ok(config)
    }

    fn check(&self, reader: &mut Reader) {
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            reader.problem("tls_cert", "needs tls_key, and the other way round");
        }
        if self.spool_bytes_max < crate::spool::BYTES_MIN {
            reader.problem("spool_bytes_max", format!("must be at least {}", crate::spool::BYTES_MIN));
        }
        if self.connections_max == 0 {
            reader.problem("connections_max", "must be at least 1");
        }
        if !(0.0..=1.0).contains(&self.trace_ratio) {
            reader.problem("trace_ratio", "must be from 0 to 1");
        }
    }
}

impl fmt::Debug for Config {
    /// For the log at the start. The types of the tokens hide them; a collector's address may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("listen", &self.listen)
            .field("status_listen", &self.status_listen)
            .field("control_plane", &self.control_plane)
            .field("name", &self.name)
            .field("region", &self.region)
            .field("data_dir", &self.data_dir)
            .field("tls", &self.tls_cert.is_some())
            .field("spool_durability", &self.spool_durability)
            .field("spool_bytes_max", &self.spool_bytes_max)
            .field("snapshot_age_max", &self.snapshot_age_max)
            .field("drain_timeout", &self.drain_timeout)
            .field("connections_max", &self.connections_max)
            .field("mcp_stdio", &self.mcp_stdio)
            .field("traces", &self.otlp_endpoint.is_some())
            .finish_non_exhaustive()
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

// The machine's name, as far as the system tells it without a call; replicas of one name are told apart by their ids.
fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "replica".to_owned() } else { name.to_ascii_lowercase() }
}

fn log_json(reader: &mut Reader) -> bool {
    let format: String = reader.or("log_format", "json".to_owned());
    if !matches!(format.as_str(), "json" | "text") {
        reader.problem("log_format", "must be json or text");
    }
    format != "text"
}

fn origins(reader: &mut Reader) -> Vec<String> {
    let text: String = reader.or("mcp_origins", String::new());
    let origins = text.split(',').map(str::trim).filter(|origin| !origin.is_empty());
    let origins: Vec<String> = origins.map(str::to_ascii_lowercase).collect();
    let is_one = |origin: &String| {
        let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        host.is_some_and(|host| !host.is_empty() && !host.contains('/'))
    };
    if !origins.iter().all(is_one) {
        reader.problem("mcp_origins", "must be origins such as https://inspector.example, separated by commas");
    }
    origins
}

fn secret(reader: &mut Reader, name: &str, environment: &Environment) -> Option<Secret> {
    let source: SecretSource = reader.optional(name)?;
    let read = |path: &Path| std::fs::read_to_string(path);
    source.resolve(&|name| environment(name), &read).map_err(|problem| reader.problem(name, problem)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, Vec<String>> {
        let mut reader = Reader::new(Some(text), []);
        Config::read(&mut reader).map_err(|problems| problems.0.into_iter().map(|(name, _)| name).collect())
    }

    #[test]
    fn nothing_set_is_a_replica_of_this_machine() {
        let config = read("").unwrap();
        assert_eq!((config.listen, config.status_listen), (local(8080), local(8081)));
        assert_eq!(config.drain_timeout, Duration::from_secs(30));
        assert!(config.log_json && !config.name.is_empty());
    }

    #[test]
    fn every_mistake_is_reported_together() {
        let problems = read(
            "listen = \"nowhere\"\nspool_durability = \"perhaps\"\nlisten_adress = \"127.0.0.1:1\"\ntls_cert = \"a.pem\"\n\
             join_token = \"env://NOT_SET\"\nlog_format = \"xml\"\ntrace_ratio = 2.0\nmcp_origins = \"inspector.example\"\n",
        )
        .unwrap_err();
        for name in [
            "listen",
            "spool_durability",
            "listen_adress",
            "tls_cert",
            "join_token",
            "log_format",
            "trace_ratio",
            "mcp_origins",
        ] {
            assert!(problems.iter().any(|problem| problem == name), "{name} is not in {problems:?}");
        }
        assert_eq!(problems.len(), 8, "{problems:?}");
    }

    #[test]
    fn what_is_logged_at_the_start_holds_no_secret() {
        let config = read("fleet_token = \"canary\"\notlp_endpoint = \"http://user:canary@collector\"\n").unwrap();
        assert!(!format!("{config:?}").contains("canary"));
    }
}
