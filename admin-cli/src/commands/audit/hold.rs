//! `tollgate audit hold`: what keeps entries from being pruned and erased.

use clap::Subcommand;
use serde::Serialize;
use tollgate_proto::audit::v1;

use crate::{
    arguments::NewName,
    commands::{Context, done},
    failure::Failure,
    literals::{Moment, printed, to_wire},
    output::{Answer, View},
};

/// What to do with holds.
#[derive(Debug, Subcommand)]
pub(crate) enum HoldCommand {
    /// Keep entries from being pruned and erased
    #[command(
        after_help = "Example: tollgate audit hold create matter-17 --reason 'litigation' --since 2026-01-01\n\n\
                      It holds what was written from that moment on, and everything without one, until it is released."
    )]
    Create {
        #[command(flatten)]
        name: NewName,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// From this moment on: a duration back, an instant in RFC 3339, or a day [default: everything]
        #[arg(long, value_name = "WHEN")]
        since: Option<Moment>,
    },
    /// List holds
    #[command(after_help = "Example: tollgate audit hold list")]
    List,
    /// Release a hold
    #[command(after_help = "Example: tollgate audit hold release matter-17 --reason 'closed'")]
    Release {
        /// The name
        #[arg(value_name = "NAME")]
        name: String,
        /// Why
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        reason: String,
    },
}

#[derive(Serialize)]
struct HoldView {
    name: String,
    reason: String,
    since: Option<String>,
    initiator: String,
    create_time: Option<String>,
}

impl HoldCommand {
    pub(super) async fn run(self, context: &Context) -> Result<Answer, Failure> {
        let mut client = context.client.audit();
        match self {
            Self::Create { name, reason, since } => {
                let since = since.map(|moment| moment.before(context.now)).transpose();
                let since = since.map_err(|reason| Failure::usage(format!("--since {reason}")))?;
                let hold =
                    v1::Hold { name: name.into_name(), reason, since: since.map(to_wire), ..v1::Hold::default() };
                let placed = client.create_hold(v1::CreateHoldRequest { hold: Some(hold) }).await?.into_inner();
                context.format.item(&HoldView::from(placed))
            }
            Self::List => {
                let v1::ListHoldsResponse { holds } = client.list_holds(v1::ListHoldsRequest {}).await?.into_inner();
                context.format.list(&holds.into_iter().map(HoldView::from).collect::<Vec<_>>())
            }
            Self::Release { name, reason } => {
                client.release_hold(v1::ReleaseHoldRequest { name: name.clone(), reason }).await?;
                done(context.format, "released", "hold", &name)
            }
        }
    }
}

impl From<v1::Hold> for HoldView {
    fn from(hold: v1::Hold) -> Self {
        let v1::Hold { name, reason, since, initiator, create_time } = hold;
        Self { name, reason, since: printed(since.as_ref()), initiator, create_time: printed(create_time.as_ref()) }
    }
}

impl View for HoldView {
    const PLURAL: &'static str = "holds";
    const LISTED: &'static [&'static str] = &["name", "since", "initiator", "reason"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("name", self.name.clone()),
            ("reason", self.reason.clone()),
            ("since", self.since.clone().unwrap_or_default()),
            ("initiator", self.initiator.clone()),
            ("create time", self.create_time.clone().unwrap_or_default()),
        ]
    }
}
