//! A Tollgate to test: real control planes, real replicas and the simulator, in this process or as processes of their own, over
//! SQLite or PostgreSQL, on ports that the system chooses.
//!
//! Reading order: [`database`], where state lives; [`admin`], what an administrator does; [`client`], what a developer's agent
//! does; [`cluster`], all parts in this process; [`process`], a part as a
//! process that can be killed; [`redis`] and [`postgres`], stores that can be killed; [`fleet`], a control plane and several replicas as processes;
//! [`organisation`], ten thousand people at once;
//! [`identity`], a certified OpenID provider and the browser of whoever signs in there; [`laptop`], where a developer types.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a world that cannot be made fails its test"
)]

#[path = "world/database.rs"]
pub mod database;
#[path = "world/admin.rs"]
pub mod admin;
#[path = "world/client.rs"]
pub mod client;
#[path = "world/cluster.rs"]
pub mod cluster;
#[path = "world/process.rs"]
pub mod process;
#[path = "world/redis.rs"]
pub mod redis;
#[path = "world/postgres.rs"]
pub mod postgres;
#[path = "world/fleet.rs"]
pub mod fleet;
#[path = "world/organisation.rs"]
pub mod organisation;
#[path = "world/serving.rs"]
pub mod serving;
#[path = "world/identity.rs"]
pub mod identity;
#[path = "world/laptop.rs"]
pub mod laptop;

use std::{
    fmt::Debug,
    future::Future,
    time::{Duration, Instant},
};

/// How long a test waits for what must happen. Generous: a loaded machine is slow, and a sound one never waits so long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `look` sees what it looks for.
///
/// # Panics
/// When it has not happened within [`PATIENCE`].
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The value of a result that must be one.
///
/// # Panics
/// With the error, when it is not.
pub fn must<T, E: Debug>(what: &str, result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{what}: {error:?}"))
}
