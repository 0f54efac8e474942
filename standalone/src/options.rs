//! What can be typed.

use std::path::PathBuf;

use clap::Parser;

/// Tollgate on this machine: a control plane and one proxy in one process, over SQLite.
///
/// With ANTHROPIC_API_KEY in the environment the real provider answers; without it a simulator does. Every setting of the
/// control plane and of the proxy can be given as TOLLGATE_<NAME> in the environment.
///
/// Example: tollgate-standalone --data-dir ~/.tollgate
#[derive(Debug, Parser)]
#[command(name = "tollgate-standalone", version)]
pub(crate) struct Options {
    /// Where everything is kept: the database, the administrator's token, the encryption key, the spool.
    #[arg(long, default_value = ".tollgate")]
    pub(crate) data_dir: PathBuf,
    /// The port of the gateway on 127.0.0.1. With 0 every listener takes a free port; <data-dir>/endpoints.json has them.
    #[arg(long, default_value_t = 8080)]
    pub(crate) port: u16,
    /// A provider of the Anthropic dialect at this address, in place of the simulator: for tests with one's own.
    #[arg(long, value_name = "URL")]
    pub(crate) upstream: Option<String>,
}
