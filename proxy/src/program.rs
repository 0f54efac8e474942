//! The program around a replica: its arguments, its telemetry, its end.

use std::{
    collections::HashMap,
    fs,
    io::{self, Write as _},
    path::PathBuf,
    sync::Arc,
};

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tollgate_settings::Reader;
use tollgate_telemetry::{Options, Telemetry};

use crate::{app, config::Config};

const HELP: &str = "\
One replica of the Tollgate proxy: it enforces the policy of its control plane on every request of a coding agent.

Usage: tollgate-proxy [--config FILE] [--mcp-stdio] [--check-config]

Options:
  --config FILE   read settings from this TOML file
  --mcp-stdio     start the servers of tools that the file names as processes (mcp_stdio_enabled)
  --check-config  report everything that is wrong with the settings, and exit
  --version       print the version
  --help          print this help

Every setting NAME of the file can also be given as TOLLGATE_NAME in the environment, which wins.
To join a fleet, set control_plane and join_token (tollgate replica join-token prints one).
";

/// What was asked for on the command line.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Invocation {
    config: Option<PathBuf>,
    check: bool,
    mcp_stdio: bool,
    print: Option<&'static str>,
}

/// Does what the command line asks for.
///
/// # Errors
/// When the arguments or the settings are wrong, and when the replica cannot be built or fails.
pub async fn run(arguments: impl Iterator<Item = String>, variables: HashMap<String, String>) -> anyhow::Result<()> {
    let invocation = Invocation::parse(arguments)?;
    if let Some(text) = invocation.print {
        return Ok(io::stdout().write_all(text.as_bytes())?);
    }
    let mut config = configure(&invocation, variables)?;
    if invocation.check {
        return Ok(io::stdout().write_all(b"the settings are in order\n")?);
    }
    let telemetry = Telemetry::start(&telemetry(&config))?;
    config.sampler = telemetry.sampler();
    let data_dir = config.data_dir.clone();
    let shutdown = CancellationToken::new();
    let ending = shutdown.clone().drop_guard();
    let app = app::build(config).await?;
    app.addresses().write(&data_dir).context("endpoints.json cannot be written")?;
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let told = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("replica was told to end");
        drop(ending);
    };
    let (ran, ()) = tokio::join!(app.run(shutdown.clone()), async {
        tokio::select! {
            () = told => {}
            () = shutdown.cancelled() => {}
        }
    });
    telemetry.shutdown().await;
    Ok(ran?)
}

impl Invocation {
    /// Reads the arguments.
    ///
    /// # Errors
    /// Names the argument that is not understood.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let mut invocation = Self::default();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--config" => invocation.config = Some(arguments.next().context("--config needs a file")?.into()),
                "--mcp-stdio" => invocation.mcp_stdio = true,
                "--check-config" => invocation.check = true,
                "--help" | "-h" => invocation.print = Some(HELP),
                "--version" | "-V" => {
                    invocation.print = Some(concat!("tollgate-proxy ", env!("CARGO_PKG_VERSION"), "\n"))
                }
                other => match other.strip_prefix("--config=") {
                    Some(file) => invocation.config = Some(file.into()),
                    None => anyhow::bail!("unknown argument {other:?}; --help lists those there are"),
                },
            }
        }
        Ok(invocation)
    }
}

fn configure(invocation: &Invocation, mut variables: HashMap<String, String>) -> anyhow::Result<Config> {
    if invocation.mcp_stdio {
        variables.insert("TOLLGATE_MCP_STDIO_ENABLED".to_owned(), "true".to_owned());
    }
    let text = invocation.config.as_ref().map(|file| {
        fs::read_to_string(file).with_context(|| format!("the settings in {} cannot be read", file.display()))
    });
    let mut reader = Reader::new(text.transpose()?.as_deref(), variables.clone());
    let environment = Arc::new(move |name: &str| variables.get(name).cloned());
    Config::read_with(&mut reader, environment)
        .map_err(|problems| anyhow::anyhow!("the settings are wrong:\n{problems}"))
}

fn telemetry(config: &Config) -> Options {
    Options {
        service: "tollgate-proxy",
        version: env!("CARGO_PKG_VERSION"),
        json: config.log_json,
        filter: config.log_filter.clone(),
        otlp_endpoint: config.otlp_endpoint.clone(),
        trace_ratio: config.trace_ratio,
        attributes: vec![("service.instance.id", config.name.clone()), ("cloud.region", config.region.clone())],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Invocation, String> {
        Invocation::parse(arguments.iter().map(|argument| (*argument).to_owned())).map_err(|error| error.to_string())
    }

    #[test]
    fn arguments_are_few_and_an_unknown_one_is_named() {
        let with = |config: &str| Invocation { config: Some(config.into()), ..Invocation::default() };
        assert_eq!(parsed(&[]), Ok(Invocation::default()));
        assert_eq!(parsed(&["--config", "a.toml"]), Ok(with("a.toml")));
        assert_eq!(parsed(&["--config=a.toml", "--check-config"]), Ok(Invocation { check: true, ..with("a.toml") }));
        assert!(parsed(&["--config"]).is_err());
        assert!(parsed(&["--confg", "a.toml"]).unwrap_err().contains("--confg"));
    }
}
