//! Files that only their owner may read: replaced as a whole, under a lock that other runs of this program respect.

use std::{
    fmt,
    fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use zeroize::Zeroizing;

use crate::{
    failure::Failure,
    surroundings::{Surroundings, read_bounded},
};

/// How long another run may hold the lock: it refreshes a session meanwhile, which has its own timeouts.
const LOCK_PATIENCE: Duration = Duration::from_secs(60);
/// How often the lock is tried.
const LOCK_INTERVAL: Duration = Duration::from_millis(20);

/// A text that is never shown.
#[derive(Clone, Eq, PartialEq)]
pub(crate) struct Hidden(Zeroizing<String>);

/// One private file, in JSON.
#[derive(Clone, Debug)]
pub(super) struct Private {
    path: PathBuf,
}

/// As long as it lives, no other run changes the file.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

// === impl Private ===

impl Private {
    /// The file of this name in the directory that a variable names, or else in one below the home directory. `None` without a home.
    pub(super) fn below(surroundings: &Surroundings<'_>, variable: &str, home: &str, name: &str) -> Option<Self> {
        let base = surroundings.variable(variable).map(PathBuf::from);
        let base = base.or_else(|| surroundings.variable("HOME").map(|path| Path::new(path).join(home)))?;
        Some(Self { path: base.join("tollgate").join(name) })
    }

    /// What the file holds. One that is not there holds nothing.
    pub(super) fn read<T: Default + DeserializeOwned>(&self) -> Result<T, Failure> {
        let text = match File::open(&self.path).and_then(|mut file| read_bounded(&mut file)) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(T::default()),
            Err(error) => return Err(Failure::unreadable(&self.path.display().to_string(), &error)),
        };
        // The parser's own text would quote what it stumbled over, and that may be a token.
        serde_json::from_str(&text).map_err(|error| {
            let place = format!("{}:{}", self.path.display(), error.line());
            Failure::new("unreadable", format!("{place} is not as this program wrote it"))
                .hint("delete the file, then sign in again: tollgate login")
        })
    }

    /// Replaces the file, so that whoever reads it sees the old one or the new one.
    pub(super) fn write<T: Serialize>(&self, _lock: &Lock, value: &T) -> Result<(), Failure> {
        let replaced = || -> io::Result<()> {
            let text = Zeroizing::new(serde_json::to_string_pretty(value)? + "\n");
            let fresh = self.beside("new");
            match fs::remove_file(&fresh) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&fresh, &self.path)
        };
        replaced().map_err(|error| self.unwritable(&error))
    }

    /// Waits until no other run changes the file.
    pub(super) async fn lock(&self) -> Result<Lock, Failure> {
        let file = self.lock_file().map_err(|error| self.unwritable(&error))?;
        let taken = async {
            loop {
                match file.try_lock() {
                    Ok(()) => return Ok(()),
                    Err(TryLockError::WouldBlock) => tokio::time::sleep(LOCK_INTERVAL).await,
                    Err(TryLockError::Error(error)) => return Err(self.unwritable(&error)),
                }
            }
        };
        let taken = tokio::time::timeout(LOCK_PATIENCE, taken).await;
        taken.map_err(|_| {
            let text = format!("another command holds {} for too long", self.beside("lock").display());
            Failure::new("locked", text).hint("see whether a `tollgate` hangs, and end it")
        })??;
        Ok(Lock { _file: file })
    }

    fn lock_file(&self) -> io::Result<File> {
        if let Some(directory) = self.path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
            if fs::metadata(directory)?.permissions().mode() & 0o077 != 0 {
                fs::set_permissions(directory, Permissions::from_mode(0o700))?;
            }
        }
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(self.beside("lock"))
    }

    fn beside(&self, ending: &str) -> PathBuf {
        self.path.with_extension(ending)
    }

    fn unwritable(&self, error: &io::Error) -> Failure {
        Failure::new("unwritable", format!("cannot write {}: {error}", self.path.display()))
    }
}

// === impl Hidden ===

impl Hidden {
    pub(crate) fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself.
    pub(crate) fn expose(&self) -> &Zeroizing<String> {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// For private files, and for nothing else.
impl Serialize for Hidden {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// An instant in a private file, in RFC 3339.
pub(super) mod instant {
    use jiff::Timestamp;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(in crate::sign_in) fn serialize<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(at)
    }

    pub(in crate::sign_in) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(|_| D::Error::custom("not an instant"))
    }
}
