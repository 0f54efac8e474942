//! A file that others read: a line an entry, mode 0600, rotated by its length. What counts as taken is on the disk.

use std::{
    io::{self, SeekFrom},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use tokio::{
    fs::{self, File},
    io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _},
};
use tollgate_audit::Placed;

use super::{Failure, batch::Batch, settings::FileSettings};

/// How much is read at a time from the end of a file, to find where its last whole line ends.
const BLOCK_BYTES: u64 = 64 * 1024;

/// A file, and whether it is open.
#[derive(Debug)]
pub(super) struct Output {
    settings: FileSettings,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    bytes: u64,
    inode: u64,
}

impl Output {
    /// A file that nothing is written to yet.
    pub(super) const fn new(settings: FileSettings) -> Self {
        Self { settings, open: None }
    }

    /// The line of an entry.
    pub(super) fn record(&self, host: &str, placed: &Placed<'_>) -> Vec<u8> {
        [self.settings.format.record(host, placed).unwrap_or_default(), b"\n".to_vec()].concat()
    }

    /// Writes lines through to the disk.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) async fn deliver(&mut self, batch: &Batch) -> Result<Option<i64>, Failure> {
        if !batch.records.is_empty() {
            self.append(&batch.joined()).await?;
        }
        Ok(Some(batch.through))
    }

    /// Closes it.
    pub(super) fn reset(&mut self) {
        self.open = None;
    }

    async fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let more = u64::try_from(lines.len()).unwrap_or(u64::MAX);
        let path = self.settings.path.as_path();
        let mut open = match self.open.take() {
            // Somebody else may have moved or removed it.
            Some(open) if fs::metadata(path).await.is_ok_and(|there| there.ino() == open.inode) => open,
            _ => Open::at(path).await?,
        };
        if open.bytes > 0 && open.bytes.saturating_add(more) > self.settings.bytes_max {
            rotate(path, self.settings.rotated).await?;
            open = Open::at(path).await?;
        }
        open.file.write_all(lines).await?;
        open.file.flush().await?;
        open.file.sync_data().await?;
        open.bytes += more;
        self.open = Some(open);
        Ok(())
    }
}

impl Open {
    // A line that was cut off when a process died is taken away; it is written again.
    async fn at(path: &Path) -> io::Result<Self> {
        let mut options = std::fs::OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o600);
        let mut file = fs::OpenOptions::from(options).open(path).await?;
        let there = file.metadata().await?;
        let bytes = whole_lines(&mut file, there.len()).await?;
        if bytes < there.len() {
            file.set_len(bytes).await?;
        }
        if bytes == 0 {
            File::open(directory_of(path)).await?.sync_all().await?;
        }
        Ok(Self { file, bytes, inode: there.ino() })
    }
}

async fn whole_lines(file: &mut File, length: u64) -> io::Result<u64> {
    let mut end = length;
    while end > 0 {
        let begin = end.saturating_sub(BLOCK_BYTES);
        let mut block = Vec::new();
        file.seek(SeekFrom::Start(begin)).await?;
        (&mut *file).take(end - begin).read_to_end(&mut block).await?;
        if let Some(at) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(begin + u64::try_from(at).unwrap_or_default() + 1);
        }
        end = begin;
    }
    Ok(0)
}

// `log` becomes `log.1`, that `log.2`, and so on; the last one makes room.
async fn rotate(path: &Path, kept: u32) -> io::Result<()> {
    for number in (1..=kept).rev() {
        let from = if number == 1 { path.to_owned() } else { numbered(path, number - 1) };
        match fs::rename(from, numbered(path, number)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests;
