//! `tollgate completions`: a script that lets a shell complete commands.

use clap::{Args, CommandFactory as _, ValueEnum};
use clap_complete::{Shell, generate};

use crate::{arguments::Cli, output::Answer};

/// For which shell.
#[derive(Args, Debug)]
pub(crate) struct Completions {
    /// The shell
    shell: Supported,
}

/// The shells that are tested.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Supported {
    Bash,
    Zsh,
    Fish,
}

impl Completions {
    pub(crate) fn run(self) -> Answer {
        let shell = match self.shell {
            Supported::Bash => Shell::Bash,
            Supported::Zsh => Shell::Zsh,
            Supported::Fish => Shell::Fish,
        };
        let mut script = Vec::new();
        generate(shell, &mut Cli::command(), "tollgate", &mut script);
        Answer::raw(String::from_utf8_lossy(&script).into_owned())
    }
}
