//! The file: lines of JSON that are appended, and now and then written anew with what is still kept.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use super::book::{Book, Line};
use crate::durable;

/// The file is written anew before it would grow beyond this, in bytes. What a book keeps at most takes less, mostly a tenth.
pub(super) const FILE_BYTES_MAX: u64 = 4 << 20;
/// Read and write for the owner, nothing for anyone else.
const PRIVATE: u32 = 0o600;

/// Where a book is kept.
#[derive(Debug)]
pub(super) struct Store {
    // `None`: in memory alone.
    path: Option<PathBuf>,
    pub(super) bytes_max: u64,
    // `None`: the file is not what it should be, and has to be written anew.
    bytes: Option<u64>,
    failing: bool,
}

impl Store {
    /// Reads what is there. Blocks.
    pub(super) fn open(path: Option<PathBuf>) -> (Self, Book) {
        let mut book = Book::default();
        let mut store = Self { path, bytes_max: FILE_BYTES_MAX, bytes: None, failing: false };
        let Some(path) = &store.path else { return (store, book) };
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return (store, book),
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "what was witnessed of the audit log cannot be read");
                // It is evidence, if only for somebody who can read it.
                store.path = None;
                return (store, book);
            }
        };
        let mut unreadable = 0;
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            // A line without its break was being written when the replica died.
            match line.strip_suffix(b"\n").and_then(|line| serde_json::from_slice(line).ok()) {
                Some(line) => book.add(line),
                None => unreadable += 1,
            }
        }
        if unreadable > 0 {
            tracing::warn!(path = %path.display(), unreadable, "lines of what was witnessed cannot be read");
        } else {
            store.bytes = Some(text.len() as u64);
        }
        (store, book)
    }

    /// Appends a line, durably. Returns whether it is there: else the file has to be written anew. Blocks.
    pub(super) fn append(&mut self, line: &Line) -> io::Result<bool> {
        let (Some(path), Some(bytes)) = (&self.path, self.bytes) else { return Ok(false) };
        let encoded = encoded(line)?;
        let after = bytes.saturating_add(encoded.len() as u64);
        if after > self.bytes_max {
            return Ok(false);
        }
        self.bytes = None;
        append(path, &encoded)?;
        self.bytes = Some(after);
        Ok(true)
    }

    /// Ends an append: where the line is not there, everything that is kept is written anew. Blocks.
    pub(super) fn settle(&mut self, written: io::Result<bool>, book: &Book) {
        let Some(path) = &self.path else { return };
        let done = match written {
            Ok(true) => Ok(()),
            Ok(false) => replace(path, book).map(|bytes| self.bytes = Some(bytes)),
            Err(error) => Err(error),
        };
        match done {
            Ok(()) => self.failing = false,
            Err(error) if !std::mem::replace(&mut self.failing, true) => {
                tracing::error!(path = %path.display(), %error, "what is witnessed of the audit log cannot be written");
            }
            Err(_) => {}
        }
    }
}

fn append(path: &Path, line: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).mode(PRIVATE).open(path)?;
    file.write_all(line)?;
    file.sync_data()
}

fn replace(path: &Path, book: &Book) -> io::Result<u64> {
    let lines: Vec<u8> = book.lines().map(|line| encoded(&line)).collect::<Result<Vec<_>, _>>()?.concat();
    durable::replace(path, |file: &mut File| file.write_all(&lines))?;
    Ok(lines.len() as u64)
}

fn encoded(line: &Line) -> io::Result<Vec<u8>> {
    let mut encoded = serde_json::to_vec(line)?;
    encoded.push(b'\n');
    Ok(encoded)
}
