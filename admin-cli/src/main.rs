//! The `tollgate` command.

use std::{env, io, process::ExitCode};

use jiff::Timestamp;
use tollgate_cli::Surroundings;

#[expect(clippy::disallowed_methods, reason = "main is where the environment is read, once")]
fn main() -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut surroundings = Surroundings {
        environment: env::vars().collect(),
        stdin: &mut io::stdin(),
        stdout: &mut io::stdout(),
        stderr: &mut io::stderr(),
        now: Timestamp::now(),
    };
    Ok(ExitCode::from(runtime.block_on(tollgate_cli::run(env::args_os(), &mut surroundings))))
}
