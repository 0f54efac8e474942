//! Starts the parts, seeds them, says where they are, and ends them in order.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::Context as _;
use serde::Serialize;
use tokio::{signal::unix::SignalKind, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tollgate_simulator::Simulator;
use tollgate_telemetry::Telemetry;
use tonic::transport::Endpoint;

use crate::{
    banner::Banner,
    options::Options,
    parts::{self, Environment},
    seed::{self, Upstream},
};

/// How long the proxy may take to receive its first policy.
const READY_MAX: Duration = Duration::from_secs(30);

/// The bound addresses: what `endpoints.json` holds.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct Endpoints {
    /// Where agents send.
    pub(crate) proxy: String,
    /// The proxy's health, readiness and metrics.
    pub(crate) status: String,
    /// The admin gRPC.
    pub(crate) admin: String,
    /// The fleet gRPC.
    pub(crate) fleet: String,
    /// The control plane's health and metrics.
    pub(crate) http: String,
}

/// Runs until the process is told to end.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let environment = parts::environment();
    let fleet_token = parts::fleet_token()?;
    let plane_config = parts::control_plane(&options, &environment, &fleet_token)?;
    let telemetry = telemetry(&plane_config)?;
    let ended = ended()?;
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();

    let plane = tollgate_control_plane::app::build(plane_config).await.context("the control plane cannot start")?;
    let plane_addresses = plane.addresses();
    let mut proxy_config = parts::proxy(&options, &environment, &fleet_token, plane_addresses.fleet)?;
    proxy_config.sampler = telemetry.sampler();
    let proxy = tollgate_proxy::app::build(proxy_config).await.context("the proxy cannot start")?;
    let proxy_addresses = proxy.addresses();
    let stop_plane = CancellationToken::new();
    tasks.spawn(outcome("the control plane", plane.run(stop_plane.clone())));
    tasks.spawn(outcome("the proxy", proxy.run(stop.clone())));

    let url = |address: SocketAddr| format!("http://{address}");
    let endpoints = Endpoints {
        proxy: url(proxy_addresses.proxy),
        status: url(proxy_addresses.status),
        admin: url(plane_addresses.admin),
        fleet: url(plane_addresses.fleet),
        http: url(plane_addresses.http),
    };
    let (upstream, provider, simulator) = upstream(&options, &environment).await?;
    let administrator = std::fs::read_to_string(options.data_dir.join("admin-token"))
        .context("the administrator's token cannot be read")?;
    let channel =
        Endpoint::from_shared(endpoints.admin.clone())?.connect().await.context("the admin API does not answer")?;
    let key = seed::seed(channel, administrator.trim(), &upstream).await.context("the first objects cannot be made")?;
    ready(proxy_addresses.status).await?;
    announce(&options.data_dir, &endpoints, &provider, key.as_deref(), &notes(&environment))?;

    let result = tokio::select! {
        () = ended => Ok(()),
        Some(failed) = tasks.join_next() => failed.context("a part fell")?,
    };
    // The proxy first: its last records go to the control plane.
    stop.cancel();
    if result.is_ok() {
        let _ = tasks.join_next().await;
    }
    stop_plane.cancel();
    while tasks.join_next().await.is_some() {}
    if let Some(simulator) = simulator {
        simulator.shutdown().await;
    }
    telemetry.shutdown().await;
    result
}

async fn outcome<E: std::error::Error + Send + Sync + 'static>(
    part: &'static str,
    running: impl Future<Output = Result<(), E>>,
) -> anyhow::Result<()> {
    running.await.with_context(|| format!("{part} fell"))
}

fn telemetry(config: &tollgate_control_plane::config::Config) -> anyhow::Result<Telemetry> {
    let report = config.report.clone();
    let options = tollgate_telemetry::Options {
        service: "tollgate-standalone",
        version: env!("CARGO_PKG_VERSION"),
        json: report.json,
        filter: report.filter,
        otlp_endpoint: report.otlp_endpoint,
        trace_ratio: report.trace_ratio,
        attributes: Vec::new(),
    };
    Telemetry::start(&options).context("telemetry cannot start")
}

// The handlers stand before anything is started, so that no signal is missed.
fn ended() -> anyhow::Result<impl Future<Output = ()>> {
    let mut interrupt = tokio::signal::unix::signal(SignalKind::interrupt())?;
    let mut terminate = tokio::signal::unix::signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

// Which provider answers: an own one, Anthropic, or the simulator.
async fn upstream(
    options: &Options,
    environment: &Environment,
) -> anyhow::Result<(Upstream, String, Option<tollgate_simulator::Running>)> {
    let simulated =
        |base_url: String| Upstream { name: "simulator", base_url, secret: "simulated-credential", private: true };
    if let Some(url) = &options.upstream {
        return Ok((simulated(url.clone()), format!("{url} answers."), None));
    }
    if environment.get("ANTHROPIC_API_KEY").is_some_and(|key| !key.is_empty()) {
        let base_url = "https://api.anthropic.com".to_owned();
        let upstream = Upstream { name: "anthropic", base_url, secret: "env://ANTHROPIC_API_KEY", private: false };
        return Ok((upstream, "Anthropic answers, with ANTHROPIC_API_KEY.".to_owned(), None));
    }
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let options = tollgate_simulator::Options { listen, ..Default::default() };
    let running = Simulator::start(options).await.context("the simulator cannot start")?;
    let said = "A SIMULATOR answers: set ANTHROPIC_API_KEY and start again for the real provider.".to_owned();
    Ok((simulated(format!("http://{}", running.addr())), said, Some(running)))
}

fn notes(environment: &Environment) -> Vec<String> {
    let unused = ["OPENAI_API_KEY", "GEMINI_API_KEY"].into_iter().filter(|name| environment.contains_key(*name));
    unused.map(|name| format!("{name} is set, and not used: this version speaks the Anthropic dialect only.")).collect()
}

// Ready means that the proxy serves, not only that it listens.
async fn ready(status: SocketAddr) -> anyhow::Result<()> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let look = async {
        loop {
            let mut answer = String::new();
            let mut stream = tokio::net::TcpStream::connect(status).await?;
            stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await?;
            stream.read_to_string(&mut answer).await?;
            if answer.starts_with("HTTP/1.1 200") {
                return anyhow::Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(READY_MAX, look).await.context("the proxy received no policy")?
}

#[expect(clippy::print_stdout, reason = "the banner is what this program is started for")]
fn announce(
    data_dir: &Path,
    endpoints: &Endpoints,
    provider: &str,
    key: Option<&str>,
    notes: &[String],
) -> anyhow::Result<()> {
    let path = data_dir.join("endpoints.json");
    parts::write_private(&path, &serde_json::to_string_pretty(endpoints)?)?;
    println!("{}", Banner { endpoints, data_dir, key, provider, notes }.text());
    Ok(())
}
