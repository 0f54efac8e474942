//! Lines of a file, one at a time and none longer than it may be.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use tollgate_audit::file::LINE_BYTES_MAX;

use crate::{failure::Failure, surroundings::Surroundings};

/// How much is read at once, in bytes.
const BUFFER_BYTES: usize = 256 * 1024;

/// The lines of a file or of standard input.
pub(super) struct Lines<'a> {
    source: BufReader<Box<dyn Read + 'a>>,
    line: Vec<u8>,
    name: String,
}

/// A line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Piece<'a> {
    /// A whole one, without its break.
    Whole(&'a [u8]),
    /// The last one, which has no break.
    Broken(&'a [u8]),
    /// One that is longer than any line of a log.
    TooLong,
}

impl<'a> Lines<'a> {
    /// Opens a file; `-` is standard input.
    pub(super) fn open<'s: 'a>(path: &Path, surroundings: &'a mut Surroundings<'s>) -> Result<Self, Failure> {
        if path == Path::new("-") {
            return Ok(Self::new("standard input".to_owned(), Box::new(&mut *surroundings.stdin)));
        }
        Self::of_file(path)
    }

    /// Opens a file.
    pub(super) fn of_file(path: &Path) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| Failure::unreadable(&name, &error))?;
        Ok(Self::new(name, Box::new(file)))
    }

    fn new(name: String, source: Box<dyn Read + 'a>) -> Self {
        Self { source: BufReader::with_capacity(BUFFER_BYTES, source), line: Vec::new(), name }
    }

    /// What is read, for messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The next line; `None` at the end.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn next(&mut self) -> Result<Option<Piece<'_>>, Failure> {
        self.line.clear();
        self.read().map_err(|error| Failure::unreadable(&self.name, &error))?;
        Ok(match self.line.as_slice() {
            [] => None,
            [line @ .., b'\n'] => Some(Piece::Whole(line)),
            line if line.len() > LINE_BYTES_MAX => Some(Piece::TooLong),
            line => Some(Piece::Broken(line)),
        })
    }

    fn read(&mut self) -> io::Result<()> {
        // One byte more than a line may have tells a longer one, and one is the break.
        let limit = u64::try_from(LINE_BYTES_MAX + 1).unwrap_or(u64::MAX);
        (&mut self.source).take(limit).read_until(b'\n', &mut self.line).map(drop)
    }
}

/// The failure for a file that is nothing of ours.
pub(super) fn foreign(name: &str) -> Failure {
    Failure::new("unreadable", format!("{name} is neither an exported audit log nor a proof"))
        .hint("`tollgate audit export --file FILE` writes a log, `tollgate audit prove INDEX` prints a proof")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8]) -> Vec<String> {
        let mut lines = Lines::new("test".into(), Box::new(text));
        let mut read = vec![];
        while let Some(line) = lines.next().unwrap() {
            read.push(match line {
                Piece::Whole(line) => format!("whole {}", line.len()),
                Piece::Broken(line) => format!("broken {}", line.len()),
                Piece::TooLong => "too long".to_owned(),
            });
            if read.last().is_some_and(|last| last == "too long") {
                break;
            }
        }
        read
    }

    #[test]
    fn a_line_is_as_long_as_it_may_be_and_no_longer() {
        let longest = [vec![b'x'; LINE_BYTES_MAX], vec![b'\n']].concat();
        let longer = [vec![b'x'; LINE_BYTES_MAX + 1], vec![b'\n']].concat();
        let whole = format!("whole {LINE_BYTES_MAX}");
        for (text, expect) in [
            (&b""[..], vec![]),
            (b"a\n", vec!["whole 1"]),
            (b"a\n\nbc", vec!["whole 1", "whole 0", "broken 2"]),
            (&longest, vec![whole.as_str()]),
            (&longer, vec!["too long"]),
        ] {
            assert_eq!(lines(text), expect, "{} bytes", text.len());
        }
    }
}
