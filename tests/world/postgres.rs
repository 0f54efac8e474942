//! A PostgreSQL of a test's own, which can be killed and started again over what it has written.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Mutex,
};

use sqlx::{Connection as _, PgConnection};

use crate::{must, until};

/// The user whom PostgreSQL runs as where the tests run as root, which it refuses.
const USERS: [&str; 2] = ["postgres", "nobody"];

/// A running server, on a socket in a directory. It is killed when it is dropped.
#[derive(Debug)]
pub struct Postgres {
    /// The address of its database.
    pub url: String,
    directory: PathBuf,
    // Before each command.
    run_as: Vec<String>,
    child: Mutex<Option<Child>>,
}

impl Postgres {
    /// Makes one in a directory, and starts it.
    pub async fn start(directory: &Path) -> Self {
        let directory = directory.join("postgres");
        must("directory", std::fs::create_dir(&directory));
        let run_as = run_as();
        if let Some(user) = run_as.iter().find_map(|word| word.strip_prefix("--reuid=")) {
            // The directory above belongs to whoever runs the tests.
            if let Some(above) = directory.parent() {
                must("permissions", std::fs::set_permissions(above, std::fs::Permissions::from_mode(0o711)));
            }
            assert!(must("chown", Command::new("chown").arg(user).arg(&directory).status()).success());
        }
        let url = format!("postgres://tollgate@localhost/postgres?host={}", directory.display());
        let server = Self { url, directory, run_as, child: Mutex::new(None) };
        let data = server.data();
        let mut make = server.command("initdb");
        make.args(["--no-sync", "--auth=trust", "--username=tollgate", "--encoding=UTF8", "--locale=C", "-D"])
            .arg(data);
        let made = must("initdb", make.output());
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        server.restart().await;
        server
    }

    /// Starts it again, and waits until it answers. It does not start before the workers of the one before have ended.
    pub async fn restart(&self) {
        let answers = || async {
            {
                let mut child = must("lock", self.child.lock());
                let runs = child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)));
                if !runs {
                    *child = Some(self.begin());
                }
            }
            PgConnection::connect(&self.url).await.ok()
        };
        drop(until("PostgreSQL to answer", answers).await);
    }

    /// Ends it at once, its workers included, and waits until it is gone.
    pub fn kill(&self) {
        let Some(mut child) = must("lock", self.child.lock()).take() else { return };
        let _ = child.kill();
        let _ = child.wait();
    }

    fn begin(&self) -> Child {
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data());
        let socket = format!("unix_socket_directories={}", self.directory.display());
        // What was committed survives the end of the process; that of the machine is not tested here.
        for setting in ["listen_addresses=", &socket, "fsync=off", "max_connections=60"] {
            command.args(["-c", setting]);
        }
        must("postgres", command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn())
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn command(&self, program: &str) -> Command {
        let program = programs().join(program);
        let mut command = match self.run_as.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.current_dir(&self.directory);
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}

fn run_as() -> Vec<String> {
    let said = |program: &str, arguments: &[&str]| {
        let output = must(program, Command::new(program).args(arguments).output());
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success().then_some(text)
    };
    if said("id", &["-u"]).as_deref() != Some("0") {
        return vec![];
    }
    let user = USERS.into_iter().find(|user| said("id", &["-u", user]).is_some()).unwrap_or(USERS[1]);
    let group = said("id", &["-gn", user]).unwrap_or_else(|| user.to_owned());
    ["setpriv".to_owned(), format!("--reuid={user}"), format!("--regid={group}"), "--clear-groups".to_owned()].into()
}

// Where the distribution keeps the newest server's programs.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found = versions.map(|version| version.path().join("bin")).filter(|path| path.join("initdb").exists());
    found.max().unwrap_or_else(|| panic!("no PostgreSQL to test with: run `make test`"))
}
