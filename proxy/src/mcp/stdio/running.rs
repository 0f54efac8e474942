//! How a process is started, read, and ended, with all that it has started itself.

use std::{
    io,
    path::Path,
    pin::pin,
    process::Stdio as Pipe,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt as _, future::FusedFuture as _};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    signal::unix::{SignalKind, signal},
    sync::{OwnedSemaphorePermit, mpsc},
    task::JoinSet,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Crashes, Stdio, lock,
    process::{LINES_MAX, Process},
};
use crate::mcp::wire::Unreached;

/// How long a process may take to end once its input has, and once it was told to.
const CLOSE_MAX: Duration = Duration::from_secs(2);
const TERMINATE_MAX: Duration = Duration::from_secs(3);
/// How long the rest of what one wrote may take to be read after it has ended, where another process holds its output open.
const REST_MAX: Duration = Duration::from_millis(300);
/// What is logged of what it writes on standard error: so many bytes of a line, and so many lines in so long.
const LOG_BYTES_MAX: usize = 1_000;
const LOG_LINES_MAX: u32 = 100;
const LOG_EVERY: Duration = Duration::from_secs(10);
/// So much room for lines is kept between them, in bytes.
const KEPT_BYTES_MAX: usize = 256 * 1024;
const CLOSED: &str = "it closed its output";

/// A process that was started, and whom its supervisor has to run.
pub(super) struct Running {
    child: Child,
    pid: Pid,
    pipes: (ChildStdin, ChildStdout, ChildStderr),
    lines: mpsc::Receiver<Bytes>,
    process: Arc<Process>,
    began: Instant,
    crashes: Arc<Mutex<Crashes>>,
    gone: CancellationToken,
    _place: OwnedSemaphorePermit,
}

// === impl Running ===

impl Running {
    /// Starts a process of a server.
    ///
    /// # Errors
    /// When the system does not start it.
    pub(super) fn start(server: &Stdio, place: OwnedSemaphorePermit) -> Result<Self, Unreached> {
        let failed = |error: io::Error| Unreached::Start(error.kind().to_string());
        let program = &server.program;
        let directory = std::path::absolute(program.directory.as_ref().unwrap_or(&server.home)).map_err(failed)?;
        if program.directory.is_none() {
            make(&directory).map_err(failed)?;
        }
        let mut command = Command::new(&program.command);
        command.args(&program.arguments).env_clear().env("HOME", &directory).current_dir(&directory);
        command.envs(program.environment.iter().map(|(name, value)| (name, value.expose())));
        command.stdin(Pipe::piped()).stdout(Pipe::piped()).stderr(Pipe::piped());
        // A group of its own, so that what it starts ends with it, and what a terminal says to us is not said to it.
        command.process_group(0).kill_on_drop(true);
        let mut child = command.spawn().map_err(failed)?;
        let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(pid), (Some(stdin), Some(stdout), Some(stderr))) = (pid, pipes) else {
            return Err(Unreached::Start("it has no pipes".into()));
        };
        let (sender, lines) = mpsc::channel(LINES_MAX);
        let process = Arc::new(Process::new(Arc::clone(&server.name), sender));
        tracing::debug!(
            server = process.name(),
            pid = pid.as_raw_nonzero(),
            "process of a server of tools was started"
        );
        Ok(Self {
            child,
            pid,
            pipes: (stdin, stdout, stderr),
            lines,
            process,
            began: Instant::now(),
            crashes: Arc::clone(&server.crashes),
            gone: server.gone.clone(),
            _place: place,
        })
    }

    /// The process, for those who speak to it.
    pub(super) fn process(&self) -> Arc<Process> {
        Arc::clone(&self.process)
    }

    /// Runs until it has ended: by itself, since nobody speaks to it any more, or since it is told to.
    pub(super) async fn run(self, stop: CancellationToken) {
        let Self { mut child, pid, pipes: (stdin, stdout, stderr), lines, process, began, crashes, gone, _place } =
            self;
        let mut beside = JoinSet::new();
        let writing = beside.spawn(write(stdin, lines));
        beside.spawn(log(stderr, Arc::clone(&process)));
        let mut reading = pin!(read(stdout, &process).fuse());
        let why = tokio::select! {
            () = stop.cancelled() => Unreached::Ended,
            () = gone.cancelled() => Unreached::Ended,
            () = process.ended() => Unreached::Ended,
            () = process.idle() => Unreached::Ended,
            long = &mut reading => match long {
                Some(long) => Unreached::Long(long),
                None => Unreached::Died(timeout(REST_MAX, exited(pid)).await.unwrap_or_else(|_| CLOSED.to_owned())),
            },
            how = exited(pid) => {
                // It may have answered before.
                let _ = timeout(REST_MAX, &mut reading).await;
                Unreached::Died(how)
            }
        };
        if matches!(why, Unreached::Died(_) | Unreached::Long(_)) {
            tracing::warn!(server = process.name(), problem = %why, "process of a server of tools has ended");
            lock(&crashes).note(began.elapsed());
        }
        process.end(why);
        // Its input ends. What it still says is read, so that it does not wait for ever for somebody to read it.
        writing.abort();
        let mut ending = pin!(end(&mut child, pid));
        loop {
            tokio::select! {
                () = &mut ending => break,
                _ = &mut reading, if !reading.is_terminated() => {}
            }
        }
        tracing::debug!(server = process.name(), "process of a server of tools is gone");
    }
}

// Closing its input has told it to end (Model Context Protocol, "stdio", "Shutdown"); then it is told by signals, and what it has started with it.
async fn end(child: &mut Child, pid: Pid) {
    if timeout(CLOSE_MAX, exited(pid)).await.is_err() {
        let _ = kill_process_group(pid, Signal::TERM);
        let _ = timeout(TERMINATE_MAX, exited(pid)).await;
    }
    // Whoever is left of its group. The number is nobody else's until it is waited for.
    let _ = kill_process_group(pid, Signal::KILL);
    if let Err(error) = child.wait().await {
        tracing::warn!(%error, "process of a server of tools was not waited for");
    }
}

// Waits until a process has ended, and leaves it to be waited for. Says how it ended.
async fn exited(pid: Pid) -> String {
    let Ok(mut children) = signal(SignalKind::child()) else { return std::future::pending().await };
    loop {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(WaitId::Pid(pid), options) {
            Ok(Some(status)) => {
                return match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => format!("exit status {code}"),
                    (None, Some(signal)) => format!("signal {signal}"),
                    (None, None) => "it is gone".to_owned(),
                };
            }
            Ok(None) => {}
            Err(error) => return error.kind().to_string(),
        }
        if children.recv().await.is_none() {
            return std::future::pending().await;
        }
    }
}

async fn write(mut stdin: ChildStdin, mut lines: mpsc::Receiver<Bytes>) {
    while let Some(line) = lines.recv().await {
        // Whoever closes its input is noticed by what it does not answer, or by its end.
        if stdin.write_all(&line).await.is_err() || stdin.flush().await.is_err() {
            return;
        }
    }
}

// Reads what it says. Returns the bound when a line is longer; nothing when there is nothing more.
async fn read(stdout: ChildStdout, process: &Process) -> Option<usize> {
    let mut lines = Lines::new(stdout);
    while let Ok(Some(is_whole)) = lines.next(|| process.bytes_max()).await {
        if !is_whole {
            return Some(process.bytes_max());
        }
        let line = lines.line.trim_ascii();
        if !line.is_empty()
            && let Some(back) = process.take(line)
        {
            process.write_back(&back);
        }
    }
    None
}

// What it says on standard error is for whoever looks for a fault; it is no sign of one.
async fn log(stderr: ChildStderr, process: Arc<Process>) {
    let mut lines = Lines::new(stderr);
    let (mut since, mut count) = (Instant::now(), 0_u32);
    while let Ok(Some(_)) = lines.next(|| LOG_BYTES_MAX).await {
        if since.elapsed() >= LOG_EVERY {
            if let Some(dropped) = count.checked_sub(LOG_LINES_MAX).filter(|dropped| *dropped > 0) {
                tracing::debug!(server = process.name(), dropped, "lines on standard error were not logged");
            }
            (since, count) = (Instant::now(), 0);
        }
        count = count.saturating_add(1);
        if count <= LOG_LINES_MAX {
            let line = String::from_utf8_lossy(lines.line.trim_ascii());
            tracing::debug!(server = process.name(), line = &*line, "standard error of a process");
        }
    }
}

// A directory is nobody else's business, as the replica's own is.
fn make(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// Lines of a stream, each bounded.
struct Lines<R> {
    reader: BufReader<R>,
    line: Vec<u8>,
    // Within the rest of one that was too long.
    is_skipping: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    fn new(stream: R) -> Self {
        Self { reader: BufReader::new(stream), line: Vec::new(), is_skipping: false }
    }

    // Puts the next line into `line`. `false`: it is longer than it may be, and `line` has its beginning; `None`: there are no more.
    async fn next(&mut self, bytes_max: impl Fn() -> usize) -> io::Result<Option<bool>> {
        if self.line.capacity() > KEPT_BYTES_MAX {
            self.line = Vec::new();
        }
        self.line.clear();
        loop {
            let chunk = self.reader.fill_buf().await?;
            if chunk.is_empty() {
                return Ok((!self.line.is_empty()).then_some(true));
            }
            let end = memchr::memchr(b'\n', chunk);
            let piece = chunk.get(..end.unwrap_or(chunk.len())).unwrap_or_default();
            let (room, length) = (bytes_max().saturating_sub(self.line.len()), piece.len());
            if !self.is_skipping {
                self.line.extend_from_slice(piece.get(..length.min(room)).unwrap_or_default());
            }
            self.reader.consume(end.map_or(length, |end| end + 1));
            let (was_skipping, is_long) = (self.is_skipping, length > room);
            self.is_skipping = end.is_none() && (was_skipping || is_long);
            match end {
                _ if is_long && !was_skipping => return Ok(Some(false)),
                Some(_) if !was_skipping => return Ok(Some(true)),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(text: &[u8], piece: usize) -> Vec<(String, bool)> {
        let (mut writer, reader) = tokio::io::duplex(piece);
        let mut sending = JoinSet::new();
        let text = text.to_vec();
        sending.spawn(async move { writer.write_all(&text).await.unwrap() });
        let (mut lines, mut read) = (Lines::new(reader), Vec::new());
        while let Some(is_whole) = lines.next(|| 5).await.unwrap() {
            read.push((String::from_utf8(lines.line.clone()).unwrap(), is_whole));
        }
        read
    }

    #[tokio::test]
    async fn lines_are_bounded_wherever_they_are_cut() {
        for piece in 1..20 {
            let read = lines(b"one\n\n12345\n123456789\ntwo\nlast", piece).await;
            let expect = [("one", true), ("", true), ("12345", true), ("12345", false), ("two", true), ("last", true)]
                .map(|(line, is_whole)| (line.to_owned(), is_whole));
            assert_eq!(read, expect, "{piece}");
        }
    }
}
