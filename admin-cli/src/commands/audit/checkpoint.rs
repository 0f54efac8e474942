//! `tollgate audit checkpoint`: the log is so long, and this is the root over it.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use tollgate_audit::{Note, checkpoint::PublicKey};
use tollgate_proto::audit::v1;

use super::{
    entry::instant,
    sink::Sink,
    trust::{KeyView, pinned, public_key},
};
use crate::{
    commands::Context,
    failure::Failure,
    output::{Answer, View},
};

/// What is said under `tollgate audit checkpoint --help`.
pub(super) const HELP: &str = "Example: tollgate audit checkpoint --file checkpoint.txt

Whoever keeps the file can tell later whether the log still begins like that: `tollgate audit verify FILE --checkpoint
checkpoint.txt`. It is a C2SP signed note in the form of tlog-checkpoint, which other witnesses read too.";

/// What is done with a checkpoint.
#[derive(Args, Debug)]
pub(crate) struct Checkpoint {
    /// Write the signed note to this file
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// A public key that may sign, in 64 hexadecimal digits [default: any]
    #[arg(long, value_name = "HEX", value_parser = public_key)]
    key: Vec<PublicKey>,
}

#[derive(Serialize)]
struct CheckpointView {
    log: String,
    size: u64,
    root: String,
    time: Option<String>,
    key: KeyView,
    checkpoint: String,
}

impl Checkpoint {
    pub(super) async fn run(self, context: &Context) -> Result<Answer, Failure> {
        let Self { file, key } = self;
        let signed = context.client.audit().sign_checkpoint(v1::SignCheckpointRequest {}).await?.into_inner();
        let v1::SignCheckpointResponse { checkpoint, public_key } = signed;
        let unsigned = |fault: &str| Failure::new("untrusted", format!("the checkpoint does not hold: {fault}"));
        let signer = PublicKey::try_from(public_key).map_err(|_| unsigned("the public key is none"))?;
        pinned(&key, &signer)?;
        let note = Note::parse(&checkpoint).map_err(|error| unsigned(&error.to_string()))?;
        if !note.is_signed_by_none_but(&signer) {
            return Err(unsigned("it is not signed by the key that the control plane names"));
        }
        if let Some(file) = &file {
            let mut sink = Sink::file(file)?;
            sink.write(checkpoint.as_bytes())?;
            sink.finish()?;
        }
        let signed = note.checkpoint();
        let view = CheckpointView {
            log: hex::encode(signed.log),
            size: signed.size,
            root: hex::encode(signed.root),
            time: instant(signed.time_ms),
            key: KeyView::from(&signer),
            checkpoint,
        };
        let answer = context.format.item(&view)?;
        Ok(match file {
            Some(file) => answer.note(format!("the signed checkpoint is in {}", file.display())),
            None => answer,
        })
    }
}

impl View for CheckpointView {
    const PLURAL: &'static str = "checkpoints";
    const LISTED: &'static [&'static str] = &["size", "root", "time"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("log", self.log.clone()),
            ("size", self.size.to_string()),
            ("root", self.root.clone()),
            ("time", self.time.clone().unwrap_or_default()),
            ("key", self.key.to_string()),
        ]
    }
}
