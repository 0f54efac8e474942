//! What a run of the command line reads and writes, passed in so that a test can stand in for a terminal.

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, Read, Write},
};

use jiff::Timestamp;

/// The most that is read from standard input or a file, in bytes: far beyond any declarative file that a person keeps.
pub(crate) const INPUT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The process as a run sees it.
pub struct Surroundings<'a> {
    /// The environment variables.
    pub environment: BTreeMap<String, String>,
    /// Standard input.
    pub stdin: &'a mut (dyn Read + Send),
    /// Standard output: results, and nothing else.
    pub stdout: &'a mut (dyn Write + Send),
    /// Standard error: messages.
    pub stderr: &'a mut (dyn Write + Send),
    /// The instant from which durations such as `24h` are counted.
    pub now: Timestamp,
}

impl Surroundings<'_> {
    /// The value of an environment variable; one that is empty counts as unset.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

/// Reads a whole text, up to [`INPUT_BYTES_MAX`].
pub(crate) fn read_bounded(source: &mut dyn Read) -> io::Result<String> {
    let mut text = String::new();
    source.take(INPUT_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > INPUT_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {INPUT_BYTES_MAX} bytes")));
    }
    Ok(text)
}

/// Shows no value of the environment, since tokens are among them.
impl fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").field("now", &self.now).finish_non_exhaustive()
    }
}
