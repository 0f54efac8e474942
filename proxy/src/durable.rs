//! Small private files that are whole or absent: written beside their place, synced, then renamed into it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// Read and write for the owner, nothing for anyone else.
const PRIVATE: u32 = 0o600;

/// Replaces the file at `path` by what `write` produces. A crash leaves the old file or the new one, never a part. Blocks.
///
/// # Errors
/// When anything fails; the file at `path` is then what it was.
pub(crate) fn replace(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let beside = beside(path);
    // What a crash left behind may have any mode, so it goes first.
    remove(&beside)?;
    let mut file = create(&beside)?;
    let done = write(&mut file).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&beside, path));
    if done.is_err() {
        let _ = remove(&beside);
        return done;
    }
    sync_directory(path)
}

/// Makes the file at `path` with these bytes, unless it is there. Returns whether it was made. Blocks.
///
/// # Errors
/// When anything fails.
pub(crate) fn create_once(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    let beside = beside(path);
    remove(&beside)?;
    let mut file = create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    // A link, unlike a rename, does not replace: of two processes one wins, and both then read the same file.
    let linked = fs::hard_link(&beside, path);
    remove(&beside)?;
    match linked {
        Ok(()) => sync_directory(path).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes the file, if it is there. Blocks.
///
/// # Errors
/// When it is there and stays.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(path)
}

// The process id keeps two processes that share a directory by mistake from writing into one file.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    path.with_file_name(name)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_failed_replacement_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        replace(&path, |file| file.write_all(b"old")).unwrap();
        let failed = replace(&path, |file| {
            file.write_all(b"half")?;
            Err(io::Error::other("disk"))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, PRIVATE);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn what_is_made_once_is_not_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        assert!(create_once(&path, b"one").unwrap());
        assert!(!create_once(&path, b"two").unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
