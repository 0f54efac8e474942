//! Secrets: where one is kept, and the thing itself. Neither is ever printed.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use crate::setting::Setting;

/// A secret text, wiped from memory when it is dropped.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(Zeroizing<String>);

/// Where a secret is kept: `env://NAME`, `file:///path`, or the secret itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SecretSource {
    /// In the environment, under this name.
    Env(String),
    /// In this file, without regard to line breaks at its end.
    File(PathBuf),
    /// Written down in the configuration.
    Literal(Secret),
}

// === impl Secret ===

impl Secret {
    /// Takes a secret.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

// === impl SecretSource ===

impl SecretSource {
    /// Fetches the secret by the two functions that the caller passes.
    ///
    /// # Errors
    /// Returns a sentence that names the source, never the secret, when the source is missing, unreadable or empty.
    pub fn resolve(
        &self,
        env: &dyn Fn(&str) -> Option<String>,
        read: &dyn Fn(&Path) -> io::Result<String>,
    ) -> Result<Secret, String> {
        match self {
            Self::Env(name) => match env(name) {
                None => Err(format!("the environment variable {name} is not set")),
                Some(text) if text.is_empty() => Err(format!("the environment variable {name} is empty")),
                Some(text) => Ok(Secret::new(text)),
            },
            Self::File(path) => {
                let text = read(path).map(Zeroizing::new);
                let text = text.map_err(|error| format!("the file {} cannot be read: {error}", path.display()))?;
                match text.trim_end_matches(['\r', '\n']) {
                    "" => Err(format!("the file {} is empty", path.display())),
                    text => Ok(Secret::new(text)),
                }
            }
            Self::Literal(secret) => Ok(secret.clone()),
        }
    }
}

impl Setting for SecretSource {
    fn parse(text: &str) -> Result<Self, &'static str> {
        if let Some(name) = text.strip_prefix("env://") {
            let named = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            return if named { Ok(Self::Env(name.to_owned())) } else { Err("must name a variable, as in env://NAME") };
        }
        if let Some(path) = text.strip_prefix("file://") {
            // `file://host/path` would name another machine; people who write it mean a relative path.
            return if path.starts_with('/') {
                Ok(Self::File(PathBuf::from(path)))
            } else {
                Err("must have three slashes and an absolute path, as in file:///run/secrets/name")
            };
        }
        if text.is_empty() { Err("must not be empty") } else { Ok(Self::Literal(Secret::new(text))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_comes_from_the_environment_a_file_or_the_text_itself() {
        let env = |name: &str| match name {
            "SET" => Some("from-env".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let read = |path: &Path| match path.to_str() {
            Some("/run/secret") => Ok("from-file\r\n".to_owned()),
            Some("/run/empty") => Ok("\n".to_owned()),
            _ => Err(io::Error::from(io::ErrorKind::NotFound)),
        };
        for (text, expect) in [
            ("env://SET", Ok("from-env")),
            ("file:///run/secret", Ok("from-file")),
            ("plain", Ok("plain")),
            ("env://EMPTY", Err("the environment variable EMPTY is empty")),
            ("env://UNSET", Err("the environment variable UNSET is not set")),
            ("file:///run/empty", Err("the file /run/empty is empty")),
            ("file:///run/missing", Err("the file /run/missing cannot be read: entity not found")),
        ] {
            let secret = SecretSource::parse(text).unwrap().resolve(&env, &read);
            assert_eq!(secret.as_ref().map(Secret::expose), expect.map_err(str::to_owned).as_ref().copied(), "{text}");
        }
        for bad in ["", "env://", "env://A B", "file://", "file://relative"] {
            assert!(SecretSource::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        assert_eq!(format!("{:?}", SecretSource::parse("sk-canary").unwrap()), "Literal(***)");
        assert_eq!(format!("{:?}", Secret::new("sk-canary")), "***");
    }
}
