//! Where state lives: a file of SQLite, or a fresh database of the PostgreSQL that `scripts/with-services` started.

use std::path::Path;

use sqlx::{Connection, Executor, PgConnection};
use tempfile::TempDir;

/// Which database.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A file in the test's directory.
    Sqlite,
    /// A fresh database, dropped at the end of the test run with its server.
    Postgres,
}

/// The address of a fresh database.
///
/// # Panics
/// When PostgreSQL is asked for and there is none: run the tests with `make test`.
pub async fn fresh(kind: Kind, directory: &TempDir) -> String {
    match kind {
        Kind::Sqlite => sqlite(directory.path()),
        Kind::Postgres => postgres().await,
    }
}

fn sqlite(directory: &Path) -> String {
    format!("sqlite://{}", directory.join("tollgate.db").display())
}

#[expect(clippy::disallowed_methods, reason = "a test has no configuration of its own")]
async fn postgres() -> String {
    let server = std::env::var("TOLLGATE_TEST_POSTGRES_URL").expect("no PostgreSQL to test with: run `make test`");
    let name = format!("test_{}", ulid::Ulid::generate().to_string().to_lowercase());
    let mut connection = PgConnection::connect(&server).await.expect("PostgreSQL does not answer");
    let create: &'static str = Box::leak(format!("CREATE DATABASE {name}").into_boxed_str());
    connection.execute(create).await.expect("the database is created");
    server.replacen("/postgres?", &format!("/{name}?"), 1)
}
