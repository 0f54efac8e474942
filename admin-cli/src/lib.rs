//! The `tollgate` command line: what administrators and automation type.
//!
//! Reading order: what a run reads and writes ([`surroundings`]); what people type ([`arguments`], [`literals`], [`quota`], [`access`]); which control
//! plane and whose token ([`sign_in`], [`settings`], [`client`]); how results and failures are shown ([`output`], [`failure`]); one file a
//! noun ([`commands`]); and the declarative file, from text to plan to calls ([`declare`]).

mod surroundings;
mod arguments;
mod literals;
mod quota;
mod access;
mod sign_in;
mod settings;
mod client;
mod output;
mod failure;
mod commands;
mod declare;

use std::ffi::OsString;

use clap::Parser as _;

use crate::{
    arguments::Cli,
    failure::{Exit, Failure, written},
    output::{Answer, Format},
};

pub use crate::surroundings::Surroundings;

/// Runs one command: results go to standard output, messages to standard error. Returns the exit code: 0 done, 1 failed or
/// refused, 2 not given as it must be.
///
/// `arguments` begin with the program's name. The environment is read from `surroundings` and nowhere else.
pub async fn run(arguments: impl IntoIterator<Item = OsString>, surroundings: &mut Surroundings<'_>) -> u8 {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let (format, outcome) = match Cli::try_parse_from(&arguments) {
        Ok(cli) => (cli.global.format, Box::pin(commands::run(cli, surroundings)).await),
        Err(error) => {
            let format = if arguments::asks_for_json(&arguments) { Format::Json } else { Format::Table };
            (format, explained(&error, format))
        }
    };
    match outcome.and_then(|answer| deliver(answer, surroundings)) {
        Ok(exit) => exit.code(),
        Err(failure) => refuse(&failure, format, surroundings).code(),
    }
}

// Help and the version arrive as errors too. clap's own text is the best there is for people.
fn explained(error: &clap::Error, format: Format) -> Result<Answer, Failure> {
    let text = error.render().to_string();
    if !error.use_stderr() {
        return Ok(Answer::raw(text));
    }
    if format == Format::Json {
        return Err(Failure::usage(text.trim().trim_start_matches("error: ")));
    }
    Ok(Answer { result: String::new(), notes: vec![text.trim_end().to_owned()], exit: Exit::Usage })
}

fn deliver(answer: Answer, surroundings: &mut Surroundings<'_>) -> Result<Exit, Failure> {
    written(surroundings.stdout.write_all(answer.result.as_bytes()).and_then(|()| surroundings.stdout.flush()))?;
    for note in answer.notes {
        written(writeln!(surroundings.stderr, "{note}"))?;
    }
    Ok(answer.exit)
}

fn refuse(failure: &Failure, format: Format, surroundings: &mut Surroundings<'_>) -> Exit {
    let partial = failure.partial.as_deref().unwrap_or_default();
    // When neither stream can be written there is nobody left to tell; the exit code still says it.
    let _ = surroundings.stdout.write_all(partial.as_bytes()).and_then(|()| surroundings.stdout.flush());
    let _ = surroundings.stderr.write_all(failure.render(format).as_bytes());
    failure.exit
}

#[cfg(test)]
mod tests;
