//! Where a developer types: the real `tollgate` in a home of its own.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines},
    process::{Child, ChildStderr, Command},
    time::timeout,
};

use crate::{PATIENCE, must, process::binary};

/// A developer's machine.
#[derive(Debug)]
pub struct Laptop {
    home: TempDir,
    server: String,
    login_url: String,
}

/// A command that has ended.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code.
    pub code: Option<i32>,
    /// What it gave.
    pub stdout: String,
    /// What it said.
    pub stderr: String,
}

/// A command that waits for a person.
#[derive(Debug)]
pub struct Waiting {
    child: Child,
    said: Lines<BufReader<ChildStderr>>,
    before: String,
}

// === impl Laptop ===

impl Laptop {
    /// A machine on which nobody has signed in.
    #[must_use]
    pub fn new(server: &str, login_url: &str) -> Self {
        let home = must("home", tempfile::tempdir());
        Self { home, server: server.to_owned(), login_url: login_url.to_owned() }
    }

    /// Types a command and waits for its end.
    pub async fn run(&self, arguments: &[&str]) -> Ran {
        self.begin(arguments).end().await
    }

    /// Types a command.
    #[must_use]
    pub fn begin(&self, arguments: &[&str]) -> Waiting {
        let mut command = Command::new(binary("tollgate"));
        command.args(arguments).env_clear().env("HOME", self.home.path()).env("PATH", "/usr/bin:/bin");
        command.env("TOLLGATE_SERVER", &self.server).env("TOLLGATE_LOGIN_URL", &self.login_url).env("BROWSER", "true");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = must("tollgate", command.spawn());
        let said = BufReader::new(must("pipe", child.stderr.take().ok_or("none"))).lines();
        Waiting { child, said, before: String::new() }
    }

    /// The session that is kept for the control plane.
    #[must_use]
    pub fn session(&self) -> Value {
        self.sessions()[&self.server].take()
    }

    /// Puts a session in the place of the one that is kept.
    pub fn keep(&self, session: Value) {
        let mut all = self.sessions();
        all[&self.server] = session;
        must("credentials", fs::write(self.credentials(), all.to_string()));
    }

    /// Makes the access token that is kept look as old as a quarter of an hour does, so that the next command renews it.
    pub fn age(&self) {
        let mut session = self.session();
        session["expires"] = "2026-01-01T00:00:00Z".into();
        self.keep(session);
    }

    /// Every file below the home directory, with its mode and its text.
    #[must_use]
    pub fn files(&self) -> Vec<(String, u32, String)> {
        let mut found = Vec::new();
        collect(self.home.path(), self.home.path(), &mut found);
        found.sort();
        found
    }

    fn sessions(&self) -> Value {
        must("JSON", serde_json::from_str(&must("credentials", fs::read_to_string(self.credentials()))))
    }

    fn credentials(&self) -> PathBuf {
        self.home.path().join(".config/tollgate/credentials.json")
    }
}

fn collect(home: &Path, directory: &Path, found: &mut Vec<(String, u32, String)>) {
    for entry in must("directory", fs::read_dir(directory)) {
        let path = must("entry", entry).path();
        if path.is_dir() {
            collect(home, &path, found);
            continue;
        }
        let mode = must("file", fs::metadata(&path)).permissions().mode() & 0o777;
        let name = must("below home", path.strip_prefix(home)).display().to_string();
        found.push((name, mode, must("text", fs::read_to_string(&path))));
    }
}

// === impl Waiting ===

impl Waiting {
    /// Waits until it says a line with this in it, and returns what stands behind it, up to the next blank.
    ///
    /// # Panics
    /// When it ends without.
    pub async fn says(&mut self, before: &str) -> String {
        loop {
            let line = must("a line in time", timeout(PATIENCE, self.said.next_line()).await);
            let Some(line) = must("standard error", line) else { panic!("no {before:?} in {:?}", self.before) };
            self.before += &format!("{line}\n");
            if let Some((_, rest)) = line.split_once(before) {
                return rest.split_whitespace().next().unwrap_or_default().to_owned();
            }
        }
    }

    /// Waits for its end.
    pub async fn end(mut self) -> Ran {
        let ended = timeout(PATIENCE, async {
            let mut stdout = String::new();
            let mut pipe = must("pipe", self.child.stdout.take().ok_or("none"));
            must("standard output", pipe.read_to_string(&mut stdout).await);
            let mut stderr = self.before;
            while let Some(line) = must("standard error", self.said.next_line().await) {
                stderr += &format!("{line}\n");
            }
            Ran { code: must("end", self.child.wait().await).code(), stdout, stderr }
        });
        must("an end in time", ended.await)
    }
}
