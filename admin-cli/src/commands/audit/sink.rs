//! Where an export goes: to a file that is whole or not there, or to standard output.

use std::{
    ffi::OsString,
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use crate::failure::Failure;

/// What is added to the name of a file that is not whole yet.
const PARTIAL: &str = ".partial";

/// Takes an export piece by piece.
pub(super) enum Sink<'a> {
    /// A file.
    File {
        /// Where it will be.
        path: PathBuf,
        /// Where it is until then.
        partial: PathBuf,
        /// Its end.
        file: BufWriter<File>,
    },
    /// Standard output; whether its reader is still there.
    Output(&'a mut (dyn Write + Send), bool),
}

impl<'a> Sink<'a> {
    /// Writes to a file, under another name until it is whole.
    pub(super) fn file(path: &Path) -> Result<Self, Failure> {
        let mut partial = OsString::from(path);
        partial.push(PARTIAL);
        let partial = PathBuf::from(partial);
        // Who did what is not for every user of the machine.
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial);
        let file = BufWriter::new(file.map_err(|error| unwritable(&partial, &error))?);
        Ok(Self::File { path: path.to_owned(), partial, file })
    }

    /// Writes to the file, or to standard output without one.
    pub(super) fn open(path: Option<&Path>, output: &'a mut (dyn Write + Send)) -> Result<Self, Failure> {
        path.map_or(Ok(Self::Output(output, true)), Self::file)
    }

    /// Adds these bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match self {
            Self::File { partial, file, .. } => file.write_all(bytes).map_err(|error| unwritable(partial, &error)),
            Self::Output(output, open) => {
                if *open {
                    *open = still_open(output.write_all(bytes))?;
                }
                Ok(())
            }
        }
    }

    /// Passes on what was written.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        if let Self::Output(output, open) = self
            && *open
        {
            *open = still_open(output.flush())?;
        }
        Ok(())
    }

    /// Whether somebody reads what is written. A reader that closed the pipe has seen enough.
    pub(super) const fn is_open(&self) -> bool {
        match self {
            Self::File { .. } => true,
            Self::Output(_, open) => *open,
        }
    }

    /// Ends: the file is on the disk under its name.
    pub(super) fn finish(mut self) -> Result<(), Failure> {
        self.flush()?;
        let Self::File { path, partial, file } = self else { return Ok(()) };
        let kept = file.into_inner().map_err(io::IntoInnerError::into_error).and_then(|file| file.sync_all());
        kept.and_then(|()| std::fs::rename(&partial, &path)).map_err(|error| unwritable(&path, &error))
    }

    /// What is left of an export that broke off, for a message.
    pub(super) fn left(&self) -> String {
        match self {
            Self::File { partial, .. } => format!("what came before it is in {}", partial.display()),
            Self::Output(..) => "what was written before it is not whole".to_owned(),
        }
    }
}

fn still_open(result: io::Result<()>) -> Result<bool, Failure> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::new("unwritable", format!("cannot write the result: {error}"))),
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::new("unwritable", format!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_its_name_when_it_is_whole_and_not_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        std::fs::write(&path, "old").unwrap();
        let mut sink = Sink::file(&path).unwrap();
        sink.write(b"new").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
        sink.finish().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        assert_eq!(Sink::file(&directory.path().join("no/such")).err().unwrap().code, "unwritable");
    }

    #[test]
    fn a_reader_that_left_is_no_failure() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut closed = Closed;
        let mut sink = Sink::open(None, &mut closed).unwrap();
        assert!(sink.is_open());
        sink.write(b"x").unwrap();
        assert!(!sink.is_open());
        sink.finish().unwrap();
    }
}
