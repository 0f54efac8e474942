//! A Redis of a test's own, which can be killed, and the one that all tests share.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    sync::Mutex,
};

use crate::{must, until};

/// The address of the Redis that all tests share. Owners have ids of their own, so no two tests count in one bucket.
///
/// # Panics
/// Without one: run the tests with `make test`.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "a test has no configuration of its own")]
pub fn shared() -> String {
    std::env::var("TOLLGATE_TEST_REDIS_URL").expect("no Redis to test with: run `make test`")
}

/// A running Redis, on a socket in a directory. It is killed when it is dropped.
#[derive(Debug)]
pub struct Redis {
    /// Its address, as replicas are given it.
    pub url: String,
    child: Mutex<Child>,
}

impl Redis {
    /// Starts one, and waits until it listens.
    pub async fn start(directory: &Path) -> Self {
        let socket = directory.join("redis.socket");
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--appendonly", "no"]);
        command.arg("--unixsocket").arg(&socket).arg("--dir").arg(directory);
        let child = must("redis-server", command.stdin(Stdio::null()).stdout(Stdio::null()).spawn());
        let listens = || async { std::os::unix::net::UnixStream::connect(&socket).ok() };
        drop(until("Redis to listen", listens).await);
        Self { url: format!("redis+unix://{}", socket.display()), child: Mutex::new(child) }
    }

    /// Ends it at once, and waits until it is gone.
    pub fn kill(&self) {
        let mut child = must("lock", self.child.lock());
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}
