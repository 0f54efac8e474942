//! A Redis of one test, which may kill it.

use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::*;

pub(super) struct Server {
    directory: TempDir,
    url: String,
    process: Child,
}

impl Server {
    pub(super) async fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let url = format!("redis+unix://{}/redis.socket", directory.path().display());
        let process = run(&directory);
        let server = Self { directory, url, process };
        server.ready().await;
        server
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) async fn kill(&mut self) {
        self.process.kill().await.unwrap();
        std::fs::remove_file(self.directory.path().join("redis.socket")).unwrap();
    }

    pub(super) async fn restart(&mut self) {
        self.process = run(&self.directory);
        self.ready().await;
    }

    pub(super) async fn signal(&self, signal: &str) {
        let process = self.process.id().unwrap().to_string();
        assert!(Command::new("kill").args([signal, &process]).status().await.unwrap().success());
    }

    pub(super) async fn command(&self, words: &[&str]) -> String {
        let socket = self.directory.path().join("redis.socket");
        let answer = Command::new("redis-cli").arg("-s").arg(socket).args(words).output().await.unwrap();
        String::from_utf8(answer.stdout).unwrap().trim().to_owned()
    }

    async fn ready(&self) {
        let ready = async {
            while self.command(&["PING"]).await != "PONG" {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENT, ready).await.expect("redis-server does not start");
    }
}

fn run(directory: &TempDir) -> Child {
    Command::new("redis-server")
        .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket", "redis.socket", "--dir"])
        .arg(directory.path())
        .current_dir(directory.path())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("no redis-server to test with: run `make test`")
}
