//! The programs as processes of their own, so that they can be killed.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use crate::{must, until};

/// A running program. It is killed when it is dropped.
#[derive(Debug)]
pub struct Program {
    child: Mutex<Child>,
    log: PathBuf,
}

impl Program {
    /// Starts a program of this workspace with nothing in its environment but these settings. What it says goes to a file.
    ///
    /// # Panics
    /// When it was not built: run the tests with `make test`.
    #[must_use]
    pub fn start(name: &str, arguments: &[&str], settings: &[(&str, String)], log: &Path) -> Self {
        let program = binary(name);
        assert!(program.exists(), "{} was not built: run `make test`", program.display());
        let output = must("log", std::fs::OpenOptions::new().create(true).append(true).open(log));
        let mut command = Command::new(program);
        command.args(arguments).env_clear().stdin(Stdio::null());
        command.envs(settings.iter().map(|(name, value)| (format!("TOLLGATE_{name}"), value)));
        command.stdout(must("log", output.try_clone())).stderr(output);
        Self { child: Mutex::new(must("start", command.spawn())), log: log.to_owned() }
    }

    /// Ends the program at once, as a power cut would, and waits until it is gone.
    pub fn kill(&self) {
        let mut child = must("lock", self.child.lock());
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Asks the program to end, as an operator's SIGTERM does.
    pub fn terminate(&self) {
        let id = must("lock", self.child.lock()).id().to_string();
        must("kill", Command::new("kill").args(["-TERM", &id]).status());
    }

    /// Waits until the program has ended, and says whether with success.
    pub async fn ended(&self) -> bool {
        let exited = || async { must("wait", must("lock", self.child.lock()).try_wait()) };
        until("the program to end", exited).await.success()
    }

    /// What it has said so far.
    #[must_use]
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Where a program of this workspace is: beside the test's own binary, one directory up.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let test = must("the test's own path", std::env::current_exe());
    test.ancestors().nth(2).unwrap_or(Path::new(".")).join(name)
}

/// A port that was free a moment ago, and is given out once. It is below those that Linux takes for outgoing connections, so
/// that the load of another test does not take it away before a program listens.
#[must_use]
pub fn free_port() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 12_000;
    const COUNT: u32 = 20_000;
    // Two processes of tests that run beside each other begin at different places.
    let seed = std::process::id().wrapping_mul(4_001);
    let next = |_| FIRST + seed.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % COUNT;
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    must("port", (0..COUNT).map(next).flat_map(u16::try_from).find(is_free).ok_or("none is free"))
}

/// Waits until something answers 200 at this address.
pub async fn answers(http: &reqwest::Client, url: &str) {
    until(url, || async { http.get(url).send().await.ok().filter(|answer| answer.status().is_success()).map(|_| ()) })
        .await;
}
