//! The command line of `tollgate-control-plane`.

use std::{
    env, fs,
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::Context as _;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tollgate_settings::Reader;
use tollgate_telemetry::{Options, Telemetry};

use crate::{app, config::Config};

/// Tollgate's control plane: the admin API, the fleet's policy, usage and the audit log.
#[derive(Debug, Parser)]
#[command(name = "tollgate-control-plane", version)]
pub struct Command {
    /// The configuration file, TOML. Each value may also be set as TOLLGATE_<NAME>, which wins.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Checks the configuration, says what is wrong with it, and exits.
    #[arg(long)]
    check_config: bool,
    /// Replaces the bootstrap administrator's token, writes it to `admin-token` in the data directory, and exits. The old
    /// token is refused from then on. Run it beside the database, with the same configuration.
    #[arg(long, conflicts_with = "check_config")]
    reset_admin_token: bool,
}

impl Command {
    /// Does what was asked, and serves until the process is told to stop.
    ///
    /// # Errors
    /// Everything that ends a process, with its causes.
    pub async fn run(self) -> anyhow::Result<()> {
        let config = self.read_config()?;
        if self.check_config {
            writeln!(io::stdout(), "the configuration is good")?;
            return Ok(());
        }
        let telemetry = Telemetry::start(&Options {
            service: "tollgate-control-plane",
            version: env!("CARGO_PKG_VERSION"),
            json: config.report.json,
            filter: config.report.filter.clone(),
            otlp_endpoint: config.report.otlp_endpoint.clone(),
            trace_ratio: config.report.trace_ratio,
            attributes: Vec::new(),
        })?;
        tracing::info!(?config, "starting");
        let outcome = if self.reset_admin_token { reset(&config).await } else { serve(config).await };
        telemetry.shutdown().await;
        outcome
    }

    #[expect(clippy::disallowed_methods, reason = "the one place where the process reads its environment")]
    fn read_config(&self) -> anyhow::Result<Config> {
        let text = self.config.as_ref().map(|path| {
            fs::read_to_string(path).with_context(|| format!("cannot read the configuration file {}", path.display()))
        });
        // Tests and tools keep variables of their own beside ours.
        let mut reader = Reader::new(text.transpose()?.as_deref(), env::vars());
        reader.allow(["test_postgres_url", "server", "token"]);
        Config::read(&mut reader).map_err(|problems| anyhow::anyhow!("the configuration is wrong:\n{problems}"))
    }
}

async fn reset(config: &Config) -> anyhow::Result<()> {
    let path = app::reset_admin_token(config).await?;
    writeln!(io::stdout(), "the new token is in {}", path.display())?;
    Ok(())
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let shutdown = CancellationToken::new();
    let told = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        shutdown.cancel();
        std::future::pending::<()>().await;
    };
    let app = app::build(config).await?;
    tokio::select! {
        outcome = app.run(shutdown.clone()) => Ok(outcome?),
        () = told => Ok(()),
    }
}
