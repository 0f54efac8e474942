//! The migrations, forward only, embedded, and run at each start under a lock.

use std::{borrow::Cow, time::Duration};

use sqlx::{
    Connection as _, PgConnection, SqlSafeStr as _, SqliteConnection,
    migrate::{Migration, MigrationType, Migrator},
    sqlite::SqliteConnectOptions,
};

use super::StoreError;

/// Every migration, by number. A file that has been released is never edited: the next change is the next file.
const MIGRATIONS: [(i64, &str, &str); 17] = [
    (1, "core", include_str!("../../../migrations/0001_core.sql")),
    (2, "fleet", include_str!("../../../migrations/0002_fleet.sql")),
    (3, "usage", include_str!("../../../migrations/0003_usage.sql")),
    (4, "models", include_str!("../../../migrations/0004_models.sql")),
    (5, "budgets", include_str!("../../../migrations/0005_budgets.sql")),
    (6, "access", include_str!("../../../migrations/0006_access.sql")),
    (7, "audit", include_str!("../../../migrations/0007_audit.sql")),
    (8, "retention", include_str!("../../../migrations/0008_retention.sql")),
    (9, "audit_sinks", include_str!("../../../migrations/0009_audit_sinks.sql")),
    (10, "key_audit", include_str!("../../../migrations/0010_key_audit.sql")),
    (11, "routing", include_str!("../../../migrations/0011_routing.sql")),
    (12, "rules", include_str!("../../../migrations/0012_rules.sql")),
    (13, "guardrails", include_str!("../../../migrations/0013_guardrails.sql")),
    (14, "mcp", include_str!("../../../migrations/0014_mcp.sql")),
    (15, "mcp_fields", include_str!("../../../migrations/0015_mcp_fields.sql")),
    (16, "mcp_grants", include_str!("../../../migrations/0016_mcp_grants.sql")),
    (17, "mcp_tests", include_str!("../../../migrations/0017_mcp_tests.sql")),
];

/// Pause between two attempts to open a file that a sibling is just creating.
const OPEN_PAUSE: Duration = Duration::from_millis(50);

/// Migrates in one transaction that holds SQLite's write lock from its first statement: of two processes that start
/// together, the second finds the work done.
pub(super) async fn run_sqlite(options: &SqliteConnectOptions, attempts_max: u32) -> Result<(), StoreError> {
    let mut attempt = 1;
    let mut connection = loop {
        match SqliteConnection::connect_with(options).await.map_err(StoreError::from) {
            Err(StoreError::Busy) if attempt < attempts_max => {
                attempt += 1;
                tokio::time::sleep(OPEN_PAUSE).await;
            }
            opened => break opened?,
        }
    };
    let mut txn = connection.begin_with("BEGIN IMMEDIATE").await?;
    migrator().run_direct(None, &mut *txn, false).await.map_err(StoreError::Migration)?;
    txn.commit().await?;
    connection.close().await?;
    Ok(())
}

/// Migrates under PostgreSQL's advisory lock, which the library takes, on a connection of its own: closing it frees the
/// lock whatever happened.
pub(super) async fn run_postgres(connection: &mut PgConnection) -> Result<(), StoreError> {
    migrator().run_direct(None, connection, false).await.map_err(StoreError::Migration)
}

// It is run by `run_direct`, since a future of `run` over a borrowed connection cannot be proven to be Send.
fn migrator() -> Migrator {
    let migration = |(version, name, text): (i64, &'static str, &'static str)| {
        Migration::new(version, Cow::Borrowed(name), MigrationType::Simple, text.into_sql_str(), false)
    };
    Migrator::with_migrations(MIGRATIONS.into_iter().map(migration).collect())
}
