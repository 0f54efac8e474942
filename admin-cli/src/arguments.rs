//! The grammar of the command line that all nouns share. Each noun's own part stands beside its commands.

use std::{ffi::OsString, fmt, path::PathBuf};

use clap::{Args, Parser};
use zeroize::Zeroizing;

use crate::{
    commands::Command,
    literals::{name, reference},
    output::Format,
};

/// Governs coding agents: who may use which model, through which provider, at what cost.
#[derive(Debug, Parser)]
#[command(
    name = "tollgate",
    version,
    max_term_width = 100,
    disable_help_subcommand = true,
    after_help = "Example: tollgate key create --name payments-dev --team platform --model 'claude-*'\n\n\
                  Exit codes: 0 done, 1 failed or refused, 2 not given as it must be."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Args, Default)]
pub(crate) struct Global {
    /// The control plane [env: TOLLGATE_SERVER] [default: http://127.0.0.1:7070]
    #[arg(long, global = true, value_name = "URL", help_heading = "Connection")]
    pub(crate) server: Option<String>,
    /// The administrator's token; a file is safer, since arguments are seen by other users [env: TOLLGATE_TOKEN]
    #[arg(long, global = true, value_name = "TOKEN", help_heading = "Connection", value_parser = token)]
    pub(crate) token: Option<Zeroizing<String>>,
    /// A file that holds the token [env: TOLLGATE_TOKEN_FILE]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Connection")]
    pub(crate) token_file: Option<PathBuf>,
    /// The certificate authority of an https control plane, instead of the system's [env: TOLLGATE_CA]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Connection")]
    pub(crate) ca: Option<PathBuf>,
    /// How results are shown
    #[arg(short = 'o', long = "output-format", global = true, value_enum, default_value_t, help_heading = "Output")]
    pub(crate) format: Format,
}

/// The name of a new object, with or without `--name` before it.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct NewName {
    /// The name: 1 to 63 of a-z 0-9 . _ -
    #[arg(value_name = "NAME", value_parser = name)]
    positional: Option<String>,
    /// The name, as an option
    #[arg(long = "name", value_name = "NAME", value_parser = name)]
    option: Option<String>,
}

/// One object.
#[derive(Args, Debug)]
pub(crate) struct Named {
    /// The id or the name
    #[arg(value_parser = reference)]
    pub(crate) name: String,
}

/// Which objects are listed.
#[derive(Args, Debug, Default)]
pub(crate) struct Listing {
    /// Terms field=value joined by ' AND '
    #[arg(long)]
    pub(crate) filter: Option<String>,
    /// Stop after so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: Option<u32>,
}

/// An object that is deleted.
#[derive(Args, Debug)]
pub(crate) struct Deletion {
    /// The id or the name
    #[arg(value_parser = reference)]
    pub(crate) name: String,
    /// Delete only if this is still its etag
    #[arg(long)]
    pub(crate) etag: Option<String>,
}

/// Whether an object is switched off or on again.
#[derive(Args, Debug)]
#[group(multiple = false)]
pub(crate) struct Switch {
    /// Switch it off: its keys are refused, open streams included
    #[arg(long)]
    disable: bool,
    /// Switch it on again
    #[arg(long)]
    enable: bool,
}

// === impl NewName ===

impl NewName {
    pub(crate) fn into_name(self) -> String {
        // The group lets exactly one of the two through.
        self.positional.or(self.option).unwrap_or_default()
    }
}

// === impl Switch ===

impl Switch {
    /// The new value of `disabled`, if one was given.
    pub(crate) fn disabled(&self) -> Option<bool> {
        (self.disable || self.enable).then_some(self.disable)
    }
}

/// Whether arguments that could not be parsed ask for JSON, so that their failure is JSON too.
pub(crate) fn asks_for_json(arguments: &[OsString]) -> bool {
    let texts: Vec<_> = arguments.iter().map(|argument| argument.to_string_lossy()).collect();
    let joined = texts.iter().any(|text| matches!(text.as_ref(), "-ojson" | "-o=json" | "--output-format=json"));
    let apart = texts.iter().zip(texts.iter().skip(1));
    joined
        || apart.into_iter().any(|(flag, value)| matches!(flag.as_ref(), "-o" | "--output-format") && value == "json")
}

fn token(text: &str) -> Result<Zeroizing<String>, String> {
    if text.is_empty() { Err("must not be empty".to_owned()) } else { Ok(Zeroizing::new(text.to_owned())) }
}

/// Hides the token.
impl fmt::Debug for Global {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Global").field("server", &self.server).field("format", &self.format).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_grammar_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_explains_itself_and_shows_one_example() {
        fn check(command: &clap::Command, path: &str) {
            assert!(command.get_about().is_some(), "{path} says nothing");
            let subcommands: Vec<_> = command.get_subcommands().collect();
            if subcommands.is_empty() {
                let example = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(example.contains("Example: ") && example.contains(path), "{path} has no example: {example:?}");
            }
            for subcommand in subcommands {
                check(subcommand, &format!("{path} {}", subcommand.get_name()));
            }
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{path} {} has no help", argument.get_id());
            }
        }
        check(&Cli::command(), "tollgate");
    }

    #[test]
    fn every_example_is_accepted() {
        fn examples(command: &clap::Command, found: &mut Vec<String>) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            found.extend(help.lines().filter_map(|line| line.strip_prefix("Example: ")).map(str::to_owned));
            command.get_subcommands().for_each(|subcommand| examples(subcommand, found));
        }
        let mut found = Vec::new();
        examples(&Cli::command(), &mut found);
        assert!(found.len() > 40, "only {} examples", found.len());
        for example in found {
            // What stands between two quotes is one word.
            let line = example.split(" > ").next().unwrap().split('\'').enumerate();
            let words = line.flat_map(|(at, part)| match at % 2 {
                0 => part.split_whitespace().map(str::to_owned).collect(),
                _ => vec![part.to_owned()],
            });
            if let Err(error) = Cli::try_parse_from(words) {
                panic!("{example}: {error}");
            }
        }
    }

    // Its value would be taken for both.
    #[test]
    fn no_command_takes_an_option_that_every_command_has() {
        fn check(command: &clap::Command, taken: &[String], path: &str) {
            for argument in command.get_arguments().filter(|argument| !argument.is_global_set()) {
                assert!(!taken.contains(&argument.get_id().to_string()), "{path} {}", argument.get_id());
            }
            for subcommand in command.get_subcommands() {
                check(subcommand, taken, &format!("{path} {}", subcommand.get_name()));
            }
        }
        let command = Cli::command();
        let globals = command.get_arguments().filter(|argument| argument.is_global_set());
        let taken: Vec<_> = globals.map(|argument| argument.get_id().to_string()).collect();
        assert!(taken.contains(&"server".to_owned()), "{taken:?}");
        check(&command, &taken, "tollgate");
    }

    #[test]
    fn json_is_recognised_before_parsing() {
        let asks = |line: &str| asks_for_json(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert!(
            asks("tollgate -o json nonsense") && asks("tollgate x -ojson") && asks("tollgate x --output-format=json")
        );
        assert!(!asks("tollgate json -o table") && !asks("tollgate x"));
    }

    #[test]
    fn a_token_is_not_shown() {
        let cli = Cli::try_parse_from(["tollgate", "--token", "canary", "whoami"]).unwrap();
        assert!(!format!("{cli:?}").contains("canary"));
    }
}
