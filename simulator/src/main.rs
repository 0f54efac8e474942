//! `tollgate-simulator`: the command line of the simulator.

use anyhow::Context as _;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, error::ErrorKind};
use std::{io::Write as _, net::SocketAddr};
use tollgate_simulator::{Behaviour, Options, SETTINGS, Simulator};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A model provider without a model: deterministic answers with usage in every dialect, and every way to fail on request.
///
/// Speaks Anthropic Messages, OpenAI Chat Completions, Responses and Embeddings, Gemini, Bedrock (invoke and converse) and Vertex, streaming
/// or not, over HTTP/1.1 and HTTP/2. Point a gateway, a client or a load test at it.
#[derive(Parser)]
#[command(name = "tollgate-simulator", version)]
struct Arguments {
    /// Where to listen; port 0 takes a free one, which is printed.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9090")]
    listen: SocketAddr,

    /// Accept this key alone; otherwise every key that is not empty.
    #[arg(long, value_name = "KEY", env = "SIMULATOR_KEY", hide_env_values = true)]
    require_key: Option<String>,

    /// What answers are like unless a request asks otherwise, such as `--set delay=200ms --set size=4096`. May be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    set: Vec<(String, String)>,

    /// Remember no requests: a little faster, for load tests.
    #[arg(long)]
    no_ledger: bool,

    /// How many threads answer; otherwise one for each core.
    #[arg(long, value_name = "COUNT")]
    threads: Option<usize>,
}

fn main() -> anyhow::Result<()> {
    let mut command = Arguments::command().after_long_help(manual());
    let arguments = Arguments::from_arg_matches(&command.get_matches_mut())?;
    let settings = arguments.set.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let defaults = match Behaviour::default().with(settings) {
        Ok(defaults) => defaults,
        Err(problem) => command.error(ErrorKind::ValueValidation, problem).exit(),
    };
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = arguments.threads {
        runtime.worker_threads(threads.max(1));
    }
    runtime.enable_all().build().context("failed to start the runtime")?.block_on(run(arguments, defaults))
}

async fn run(arguments: Arguments, defaults: Behaviour) -> anyhow::Result<()> {
    let Arguments { listen, require_key, set: _, no_ledger, threads: _ } = arguments;
    let options = Options { listen, require_key, defaults, ledger: !no_ledger };
    let running = Simulator::start(options).await.with_context(|| format!("failed to listen on {listen}"))?;
    writeln!(std::io::stdout(), "listening on {}", running.url())?;
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    running.shutdown().await;
    Ok(())
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must read NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn manual() -> String {
    let rows: String = SETTINGS
        .iter()
        .map(|(name, example, text)| format!("  {name:<16} {text}\n{:19}for example {example}\n", ""))
        .collect();
    format!(
        "What an answer is like can be asked for by header (`x-simulator-delay: 200ms`), by a directive in the last message of the user \
         (`[[simulate tool=Bash command=\"echo hi\"]]`, where a name that is no setting becomes an argument of the tool), by a planned \
         fault, or at start by --set. A planned fault comes first, then headers, then directives.\n\n\
         Settings:\n{rows}\n\
         Tokens: input is the body's bytes / 4, output the bytes of text, thinking and tool calls / 4, both rounded up. Text beyond the \
         request's token limit is cut there.\n\n\
         The simulator itself:\n  \
         GET    /simulator/ledger   every request: hashes, header names, tokens, how it ended; never a text\n  \
         DELETE /simulator/ledger   forget them\n  \
         POST   /simulator/faults   {{\"next\": 2, \"credential\": \"…\", \"path\": \"/v1/messages\", \"model\": \"m\", \"settings\": {{\"status\": 529}}}}\n  \
         GET, DELETE /simulator/faults"
    )
}
