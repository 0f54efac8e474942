//! Files that hold a secret: mode 0600, whole or not there at all, and durable before anybody relies on them.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// Writes the file, in the place of one that may be there.
///
/// # Errors
/// What the file system says; the file is then as it was.
pub fn replace(path: &Path, secret: &str) -> io::Result<()> {
    place(path, secret, |fresh| fs::rename(fresh, path))
}

/// Writes the file unless there is one: of several that try at once, one writes.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] when there is one; otherwise what the file system says.
pub fn create(path: &Path, secret: &str) -> io::Result<()> {
    place(path, secret, |fresh| {
        let linked = fs::hard_link(fresh, path);
        fs::remove_file(fresh).and(linked)
    })
}

fn place(path: &Path, secret: &str, put: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let fresh = fresh_beside(path);
    let placed = write(&fresh, secret).and_then(|()| put(&fresh));
    if placed.is_err() {
        // What is left of the attempt holds a secret that nobody needs; it may be gone already.
        let _ = fs::remove_file(&fresh);
    }
    placed.and_then(|()| File::open(directory_of(path))?.sync_all())
}

fn write(path: &Path, secret: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(secret.as_bytes())?;
    file.sync_all()
}

fn fresh_beside(path: &Path) -> PathBuf {
    path.with_extension(format!("{}.new", ulid::Ulid::generate()))
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_private_file_is_made_once_and_replaced_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        create(&path, "one").unwrap();
        assert_eq!(create(&path, "two").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        replace(&path, "three").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "three");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside it");
        assert!(replace(&directory.path().join("no/such"), "x").is_err());
    }
}
