//! Control planes, replicas and the simulator in this process, wired as `make run` wires them.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tollgate_settings::Reader;
use tollgate_simulator::{Options, Running, Simulator};

use crate::{admin::Admin, client, database, database::Kind, must};

/// The secret with which a test's replicas follow over loopback.
pub const FLEET_TOKEN: &str = "fleet-token-for-tests-0123456789abcdef";
/// The provider credential of a test.
pub const PROVIDER_SECRET: &str = "sk-ant-test-credential-of-the-provider";

/// How large a cluster is.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Where state lives.
    pub database: Kind,
    /// How many control planes share it.
    pub control_planes: usize,
    /// How many replicas follow; they are spread over the control planes.
    pub replicas: usize,
}

impl Default for Shape {
    fn default() -> Self {
        Self { database: Kind::Sqlite, control_planes: 1, replicas: 1 }
    }
}

/// A running cluster. Its parts end when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    /// The provider.
    pub simulator: Running,
    /// The administrator, at the first control plane.
    pub admin: Admin,
    /// The control planes.
    pub control_planes: Vec<ControlPlane>,
    /// The replicas.
    pub replicas: Vec<Replica>,
    /// A client.
    pub http: reqwest::Client,
    tasks: JoinSet<()>,
    directory: TempDir,
    database_url: String,
    further: Vec<(&'static str, String)>,
}

/// A control plane.
#[derive(Debug)]
pub struct ControlPlane {
    /// Its admin listener, `http://…`.
    pub admin: String,
    /// Its fleet listener, `http://…`.
    pub fleet: String,
    /// Its HTTP listener, `http://…`.
    pub http: String,
    /// Its database.
    pub store: tollgate_control_plane::store::Store,
    /// Who knows people there.
    pub people: tollgate_control_plane::app::People,
    /// Ends it.
    pub stop: CancellationToken,
}

/// A replica.
#[derive(Debug)]
pub struct Replica {
    /// Where agents send, `http://…`.
    pub url: String,
    /// Its status listener, `http://…`.
    pub status: String,
    /// Where it keeps its files.
    pub directory: PathBuf,
    /// Ends it.
    pub stop: CancellationToken,
}

impl Cluster {
    /// Starts a cluster of this shape, with a customer, a team and the simulator as provider, and waits until it serves.
    pub async fn start(shape: Shape) -> Self {
        Self::start_with(shape, &[]).await
    }

    /// The same, with further settings of the replicas.
    pub async fn start_with(shape: Shape, further: &[(&'static str, String)]) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let directory = must("directory", tempfile::tempdir());
        let database_url = database::fresh(shape.database, &directory).await;
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let simulator = must("simulator", Simulator::start(Options { listen, ..Options::default() }).await);
        let mut tasks = JoinSet::new();
        let mut control_planes = Vec::new();
        for _ in 0..shape.control_planes {
            control_planes.push(control_plane(&mut tasks, directory.path(), &database_url).await);
        }
        let token = must("token", std::fs::read_to_string(directory.path().join("admin-token")));
        let admin = Admin::new(&control_planes[0].admin, token.trim());
        admin.furnish(&format!("http://{}", simulator.addr()), PROVIDER_SECRET).await;
        let http = client::http();
        let (replicas, further) = (Vec::new(), further.to_vec());
        let mut cluster =
            Self { simulator, admin, control_planes, replicas, http, tasks, directory, database_url, further };
        for number in 0..shape.replicas {
            let plane = number % shape.control_planes;
            cluster.add_replica(&format!("replica-{number}"), plane).await;
        }
        cluster.admin.converged(shape.replicas).await;
        cluster
    }

    /// A cluster of one control plane and one replica over SQLite.
    pub async fn small() -> Self {
        Self::start(Shape::default()).await
    }

    /// Starts another replica, or one again under its old name and files.
    pub async fn add_replica(&mut self, name: &str, control_plane: usize) -> &Replica {
        let fleet = self.control_planes[control_plane].fleet.clone();
        let directory = self.directory.path().join(name);
        let replica = replica(&mut self.tasks, name, &fleet, &directory, &self.further).await;
        self.replicas.push(replica);
        self.replicas.last().unwrap_or_else(|| unreachable!("it was just pushed"))
    }

    /// Starts another control plane over the same database.
    pub async fn add_control_plane(&mut self) -> &ControlPlane {
        let plane = control_plane(&mut self.tasks, self.directory.path(), &self.database_url).await;
        self.control_planes.push(plane);
        self.control_planes.last().unwrap_or_else(|| unreachable!("it was just pushed"))
    }

    /// Sends a Messages request to the first replica.
    pub async fn send(&self, key: &str, body: Vec<u8>) -> client::Answer {
        client::send(&self.http, &self.replicas[0].url, key, body).await
    }

    /// A key of the team `platform`, which every replica knows.
    pub async fn key(&self, name: &str) -> String {
        let secret = self.admin.key(name).await.secret;
        self.admin.converged(self.replicas.len()).await;
        secret
    }

    /// The directory under which everything is kept.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The address of the database.
    #[must_use]
    pub fn database_url(&self) -> &str {
        &self.database_url
    }
}

async fn control_plane(tasks: &mut JoinSet<()>, directory: &Path, database_url: &str) -> ControlPlane {
    let settings = [
        ("DATABASE_URL", database_url.to_owned()),
        ("DATA_DIR", directory.display().to_string()),
        ("ADMIN_LISTEN", "127.0.0.1:0".into()),
        ("FLEET_LISTEN", "127.0.0.1:0".into()),
        ("HTTP_LISTEN", "127.0.0.1:0".into()),
        ("FLEET_TOKEN", FLEET_TOKEN.into()),
    ];
    let config = must("configuration", tollgate_control_plane::config::Config::read(&mut reader(settings)));
    let app = must("control plane", tollgate_control_plane::app::build(config).await);
    let addresses = app.addresses();
    let (store, people) = (app.store().clone(), app.people().clone());
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tasks.spawn(async move { must("control plane", app.run(stopped).await) });
    ControlPlane {
        admin: format!("http://{}", addresses.admin),
        fleet: format!("http://{}", addresses.fleet),
        http: format!("http://{}", addresses.http),
        store,
        people,
        stop,
    }
}

/// Starts a replica with these further settings.
pub async fn replica(
    tasks: &mut JoinSet<()>,
    name: &str,
    fleet: &str,
    directory: &Path,
    further: &[(&'static str, String)],
) -> Replica {
    let mut settings = vec![
        ("NAME", name.to_owned()),
        ("REGION", "test".into()),
        ("DATA_DIR", directory.display().to_string()),
        ("LISTEN", "127.0.0.1:0".into()),
        ("STATUS_LISTEN", "127.0.0.1:0".into()),
        ("CONTROL_PLANE", fleet.to_owned()),
        ("FLEET_TOKEN", FLEET_TOKEN.into()),
    ];
    settings.extend(further.iter().cloned());
    let config = must("configuration", tollgate_proxy::Config::read(&mut reader(settings)));
    let app = must("replica", tollgate_proxy::app::build(config).await);
    let addresses = app.addresses();
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tasks.spawn(async move { must("replica", app.run(stopped).await) });
    Replica {
        url: format!("http://{}", addresses.proxy),
        status: format!("http://{}", addresses.status),
        directory: directory.to_owned(),
        stop,
    }
}

fn reader(settings: impl IntoIterator<Item = (&'static str, String)>) -> Reader {
    Reader::new(None, settings.into_iter().map(|(name, value)| (format!("TOLLGATE_{name}"), value)))
}
