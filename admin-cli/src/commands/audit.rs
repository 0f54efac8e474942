//! `tollgate audit`: who did what, and the proof of it.
//!
//! Reading order: [`filters`] and [`entry`], which entries and how one is shown; [`list`], [`tail`] and [`explain`], for people who look
//! for something; [`export`], the log as a file; [`trust`] and [`witness`], what a file is compared with; [`verify`], whether a file is
//! sound; [`proof`] and [`prove`], a single entry; [`checkpoint`] and [`rotate`], which sign; [`hold`] and [`erase`], what stays
//! and what goes.

mod filters;
mod entry;
mod lines;
mod forth;
mod list;
mod tail;
mod explain;
mod sink;
mod record;
mod export;
mod trust;
mod witness;
mod verify;
mod proof;
mod prove;
mod checkpoint;
mod rotate;
mod hold;
mod erase;

use clap::Subcommand;

use super::Context;
use crate::{
    failure::Failure,
    output::{Answer, Format},
    surroundings::Surroundings,
};

/// What to do with the audit log.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// List entries, newest first
    #[command(after_help = "Example: tollgate audit list --action 'key.*' --since 24h")]
    List(Box<list::List>),
    /// Show the newest entries, and with --follow each new one as it comes
    #[command(after_help = tail::HELP)]
    Tail(Box<tail::Tail>),
    /// Tell what decided a request
    #[command(after_help = "Example: tollgate audit explain req_01jqz")]
    Explain(explain::Explain),
    /// Write the log as a file that proves itself, or in the form that another system reads
    #[command(after_help = export::HELP)]
    Export(Box<export::Export>),
    /// Check an exported log or a proof, without a server: exit code 0 sound, 1 tampered, 2 unreadable
    #[command(after_help = verify::HELP)]
    Verify(verify::Verify),
    /// Prove that an entry is in the log
    #[command(after_help = prove::HELP)]
    Prove(prove::Prove),
    /// Sign the log as it is now: its length, and the root over it
    #[command(after_help = checkpoint::HELP)]
    Checkpoint(checkpoint::Checkpoint),
    /// Seal and sign with new keys from now on
    #[command(after_help = "Example: tollgate audit rotate-key")]
    RotateKey,
    /// Keep entries from being pruned and erased
    #[command(subcommand)]
    Hold(hold::HoldCommand),
    /// Take what entries say out of the log, for good
    #[command(after_help = erase::HELP)]
    Erase(Box<erase::Erase>),
}

impl AuditCommand {
    /// Whether it reads files alone, so that neither a control plane nor a token is needed.
    pub(crate) const fn is_offline(&self) -> bool {
        match self {
            Self::Verify(_) => true,
            Self::Prove(prove) => prove.is_offline(),
            _ => false,
        }
    }

    /// Runs a command that [`Self::is_offline`].
    pub(crate) fn run_offline(self, format: Format, surroundings: &mut Surroundings<'_>) -> Result<Answer, Failure> {
        match self {
            Self::Verify(verify) => verify.run(format, surroundings),
            Self::Prove(prove) => prove.run_offline(format, surroundings),
            _ => Err(Failure::new("internal", "this command needs a connection")),
        }
    }

    /// Runs any other command.
    pub(crate) async fn run(self, context: &Context, surroundings: &mut Surroundings<'_>) -> Result<Answer, Failure> {
        match self {
            Self::List(list) => list.run(context).await,
            Self::Tail(tail) => tail.run(context, surroundings).await,
            Self::Explain(explain) => explain.run(context).await,
            Self::Export(export) => export.run(context, surroundings).await,
            Self::Prove(prove) => prove.run(context).await,
            Self::Checkpoint(checkpoint) => checkpoint.run(context).await,
            Self::RotateKey => rotate::run(context).await,
            Self::Hold(hold) => hold.run(context).await,
            Self::Erase(erase) => erase.run(context).await,
            Self::Verify(verify) => verify.run(context.format, surroundings),
        }
    }
}
