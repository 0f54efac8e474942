//! `tollgate replica`: the proxies of the fleet, and how far they follow.

use clap::Subcommand;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tollgate_proto::admin::v1;

use super::{Context, done, filter::Filter, pages};
use crate::{
    arguments::{Listing, Named},
    failure::Failure,
    literals::{duration, from_wire, printed},
    output::{Answer, View},
};

/// What to do with replicas.
#[derive(Debug, Subcommand)]
pub(crate) enum ReplicaCommand {
    /// List replicas, with the revision that each has and how far it lags
    #[command(after_help = "Example: tollgate replica list -o json")]
    List(Listing),
    /// Make a token that admits replicas to the fleet until it expires
    #[command(after_help = "Example: tollgate replica join-token --ttl 5m")]
    JoinToken {
        /// How long it is good [default and most: 10m]
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        ttl: Option<SignedDuration>,
    },
    /// Tell a replica to finish its streams and take no more requests
    #[command(after_help = "Example: tollgate replica drain proxy-1")]
    Drain(Named),
    /// Tell a replica to take requests again
    #[command(after_help = "Example: tollgate replica undrain proxy-1")]
    Undrain(Named),
    /// Forget a replica and refuse its certificate from now on
    #[command(after_help = "Example: tollgate replica delete proxy-1")]
    Delete(Named),
}

/// A replica as it is shown.
#[derive(Serialize)]
struct ReplicaView {
    id: String,
    name: String,
    region: String,
    version: String,
    connected: bool,
    draining: bool,
    acknowledged_revision: i64,
    head_revision: i64,
    lag_ms: i64,
    last_nack: String,
    last_seen_time: Option<String>,
    join_time: Option<String>,
    incarnation: i64,
    #[serde(skip)]
    seen: String,
}

/// A join token as it is shown.
#[derive(Serialize)]
struct JoinTokenView {
    token: String,
    expire_time: Option<String>,
}

impl ReplicaCommand {
    pub(crate) async fn run(self, context: &Context) -> Result<Answer, Failure> {
        let mut client = context.client.replicas();
        match self {
            Self::List(Listing { filter, limit }) => {
                let found = all(context, limit, Filter::new(filter).text()).await?;
                let views: Vec<_> = found.into_iter().map(|replica| ReplicaView::new(replica, context.now)).collect();
                context.format.list(&views)
            }
            Self::JoinToken { ttl } => {
                let ttl = ttl.map(|ttl| prost_types::Duration { seconds: ttl.as_secs(), nanos: ttl.subsec_nanos() });
                let v1::JoinToken { token, expire_time } =
                    client.create_join_token(v1::CreateJoinTokenRequest { ttl }).await?.into_inner();
                let view = JoinTokenView { token, expire_time: printed(expire_time.as_ref()) };
                Ok(context
                    .format
                    .item(&view)?
                    .note("give it to a replica as TOLLGATE_JOIN_TOKEN; it is shown this once"))
            }
            Self::Drain(Named { name }) => drain(context, name, true).await,
            Self::Undrain(Named { name }) => drain(context, name, false).await,
            Self::Delete(Named { name }) => {
                client.delete_replica(v1::DeleteReplicaRequest { replica: name.clone() }).await?;
                done(context.format, "deleted", "replica", &name)
            }
        }
    }
}

async fn drain(context: &Context, replica: String, drain: bool) -> Result<Answer, Failure> {
    let request = v1::DrainReplicaRequest { replica, drain };
    let replica = context.client.replicas().drain_replica(request).await?.into_inner();
    context.format.item(&ReplicaView::new(replica, context.now))
}

/// Follows the list of replicas.
async fn all(context: &Context, limit: Option<u32>, filter: String) -> Result<Vec<v1::Replica>, Failure> {
    let mut client = context.client.replicas();
    pages(limit, async |page_size: i32, page_token: String| {
        let request = v1::ListReplicasRequest { page_size, page_token, filter: filter.clone() };
        let page = client.list_replicas(request).await?.into_inner();
        Ok((page.replicas, page.next_page_token))
    })
    .await
}

impl ReplicaView {
    fn new(replica: v1::Replica, now: Timestamp) -> Self {
        let v1::Replica {
            id,
            name,
            region,
            version,
            connected,
            acknowledged_revision,
            head_revision,
            lag,
            last_nack,
            last_seen_time,
            join_time,
            incarnation,
            draining,
        } = replica;
        let seen = from_wire(last_seen_time.as_ref()).map(|at| ago(now, at)).unwrap_or_default();
        Self {
            id,
            name,
            region,
            version,
            connected,
            draining,
            acknowledged_revision,
            head_revision,
            lag_ms: lag
                .map_or(0, |lag| lag.seconds.saturating_mul(1_000).saturating_add(i64::from(lag.nanos) / 1_000_000)),
            last_nack,
            last_seen_time: printed(last_seen_time.as_ref()),
            join_time: printed(join_time.as_ref()),
            incarnation,
            seen,
        }
    }

    fn state(&self) -> &'static str {
        match (self.connected, self.draining) {
            (_, true) => "draining",
            (true, false) => "connected",
            (false, false) => "away",
        }
    }
}

// Clocks differ by a little: what lies ahead is now.
fn ago(now: Timestamp, at: Timestamp) -> String {
    let seconds = now.duration_since(at).as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds}s ago"),
        60..3_600 => format!("{}m ago", seconds / 60),
        3_600..86_400 => format!("{}h ago", seconds / 3_600),
        _ => format!("{}d ago", seconds / 86_400),
    }
}

impl View for ReplicaView {
    const PLURAL: &'static str = "replicas";
    const LISTED: &'static [&'static str] =
        &["name", "region", "version", "state", "revision", "head", "lag", "last_seen", "nack", "id"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("name", self.name.clone()),
            ("region", self.region.clone()),
            ("version", self.version.clone()),
            ("state", self.state().to_owned()),
            ("revision", self.acknowledged_revision.to_string()),
            ("head", self.head_revision.to_string()),
            ("lag", format!("{}ms", self.lag_ms)),
            ("last_seen", self.seen.clone()),
            ("nack", self.last_nack.clone()),
            ("incarnation", self.incarnation.to_string()),
            ("joined", self.join_time.clone().unwrap_or_default()),
            ("id", self.id.clone()),
        ]
    }
}

impl View for JoinTokenView {
    const PLURAL: &'static str = "join tokens";
    const LISTED: &'static [&'static str] = &["token", "expires"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![("token", self.token.clone()), ("expires", self.expire_time.clone().unwrap_or_default())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_shows_its_state_its_lag_and_when_it_was_seen() {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let check = |seen: &str, connected, draining, expect: [&str; 3]| {
            let replica = v1::Replica {
                connected,
                draining,
                lag: Some(prost_types::Duration { seconds: 1, nanos: 250_000_000 }),
                last_seen_time: Some(crate::literals::to_wire(seen.parse().unwrap())),
                ..v1::Replica::default()
            };
            let fields = ReplicaView::new(replica, now).fields();
            let field = |name| fields.iter().find(|field| field.0 == name).unwrap().1.clone();
            assert_eq!([field("state"), field("lag"), field("last_seen")], expect);
        };
        check("2026-03-01T11:59:58Z", true, false, ["connected", "1250ms", "2s ago"]);
        check("2026-03-01T12:00:03Z", true, true, ["draining", "1250ms", "0s ago"]);
        check("2026-02-27T12:00:00Z", false, false, ["away", "1250ms", "2d ago"]);
    }
}
