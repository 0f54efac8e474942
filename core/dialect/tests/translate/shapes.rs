//! The shapes on disk.

use std::{fs, path::PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::value::RawValue;
use tollgate_dialect::{Called, Dialect};

/// Where the files are.
pub(crate) fn root() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests"].iter().collect()
}

/// A conversation in one dialect.
#[derive(Deserialize)]
pub(crate) struct Shape {
    /// The model, where the path names it.
    #[serde(default)]
    pub(crate) model: Option<String>,
    /// Whether the path asks for a stream.
    #[serde(default)]
    pub(crate) stream: Option<bool>,
    /// The request's body.
    #[serde(default)]
    pub(crate) request: Option<Box<RawValue>>,
    /// The answer's body.
    #[serde(default)]
    pub(crate) answer: Option<Box<RawValue>>,
}

impl Shape {
    /// What stands in the path.
    pub(crate) fn called(&self) -> Called<'_> {
        Called { model: self.model.as_deref().map(Into::into), stream: self.stream }
    }
}

/// The shapes of a dialect, by name.
pub(crate) fn shapes(dialect: Dialect) -> Vec<(String, Shape)> {
    let read = |(name, bytes): (String, Vec<u8>)| {
        let shape = serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{} {name}: {error}", dialect.word()));
        (name, shape)
    };
    files(dialect, "json").into_iter().map(read).collect()
}

/// The streams of a dialect, by name.
pub(crate) fn streams(dialect: Dialect) -> Vec<(String, Vec<u8>)> {
    let decoded = |(name, bytes): (String, Vec<u8>)| {
        let text: String = String::from_utf8(bytes).unwrap().split_whitespace().collect();
        (name, STANDARD.decode(text).unwrap())
    };
    let mut streams = files(dialect, "stream");
    streams.extend(files(dialect, "frames").into_iter().map(decoded));
    streams
}

fn files(dialect: Dialect, extension: &str) -> Vec<(String, Vec<u8>)> {
    let Ok(directory) = fs::read_dir(root().join("shapes").join(dialect.word())) else { return Vec::new() };
    let mut files: Vec<PathBuf> = directory.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|found| found == extension));
    files.sort();
    let read = |path: PathBuf| (path.file_stem().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap());
    files.into_iter().map(read).collect()
}
