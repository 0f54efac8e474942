//! The wall clock, read in one place. Durations are measured by tokio's clock, which tests can pause.

use std::time::{SystemTime, UNIX_EPOCH};

use tollgate_policy::time::UnixMillis;

/// Now. Before 1970 it is 1970.
#[must_use]
pub fn wall() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis::new(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
