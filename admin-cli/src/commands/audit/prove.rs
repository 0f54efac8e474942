//! `tollgate audit prove`: a document by which whoever has the public key sees that an entry is in the log.

use std::path::PathBuf;

use clap::Args;
use tollgate_audit::{
    Trust,
    checkpoint::PublicKey,
    file::{Head, Line},
    tree::{Hash, Tree},
};
use tollgate_proto::audit::v1;

use super::{
    lines::{Lines, foreign},
    proof::{Proof, Wrong},
    trust::{KeyView, pinned, public_key, unreadable},
    verify::{self, Verified, tampered},
};
use crate::{
    commands::Context,
    failure::Failure,
    output::{Answer, Format},
    surroundings::Surroundings,
};

/// What is said under `tollgate audit prove --help`.
pub(super) const HELP: &str = "Example: tollgate audit prove 42 > proof.json

Prints a JSON document, which was checked before. Whoever has the public key checks it with
`tollgate audit verify proof.json --key HEX`, without a server. With --file the proof is made from an export, without a server too.";

/// The most entries of an export in which one is proved: their leaves take 512 MiB.
const LEAVES_MAX: usize = 1 << 24;

/// Which entry is proved.
#[derive(Args, Debug)]
pub(crate) struct Prove {
    /// The position of the entry in the log
    #[arg(value_name = "INDEX", value_parser = clap::value_parser!(u64).range(1..=i64::MAX.unsigned_abs()))]
    index: u64,
    /// Prove it from this export, in the format jsonl, and ask no server; - is standard input
    #[arg(long, value_name = "EXPORT")]
    file: Option<PathBuf>,
    /// A public key that may sign, in 64 hexadecimal digits [default: any]
    #[arg(long, value_name = "HEX", value_parser = public_key)]
    key: Vec<PublicKey>,
}

impl Prove {
    pub(super) const fn is_offline(&self) -> bool {
        self.file.is_some()
    }

    pub(super) async fn run(self, context: &Context) -> Result<Answer, Failure> {
        let Self { index, file: _, key } = self;
        let index_wire = i64::try_from(index).unwrap_or(i64::MAX);
        let request = v1::ProveEntryRequest { index: index_wire };
        let proved = context.client.audit().prove_entry(request).await?.into_inner();
        let v1::ProveEntryResponse { line, path, checkpoint, public_key } = proved;
        let signer = PublicKey::try_from(public_key).map_err(|_| unproved(index, "the public key is none"))?;
        pinned(&key, &signer)?;
        let path = path.into_iter().map(Hash::try_from).collect::<Result<Vec<_>, _>>();
        let path = path.map_err(|_| unproved(index, "the path is not one of hashes"))?;
        let proof = Proof::new(&line, &path, &checkpoint, &signer);
        let proof = proof.map_err(|Wrong { fault, .. }| unproved(index, &fault))?;
        if proof.index != index {
            return Err(unproved(index, "it is of another entry"));
        }
        shown(&proof, &signer, context.format)
    }

    pub(super) fn run_offline(self, format: Format, surroundings: &mut Surroundings<'_>) -> Result<Answer, Failure> {
        let Self { index, file, key } = self;
        let mut lines = Lines::open(&file.unwrap_or_default(), surroundings).map_err(unreadable)?;
        let name = lines.name().to_owned();
        let (mut leaves, mut found) = (Vec::new(), None);
        let (mut head, mut end) = (None, None);
        let trust = Trust { public_keys: key, partial: true, ..Trust::default() };
        let verified = verify::verified(&mut lines, trust, |line| {
            if head.is_none() {
                head = Head::read(line).ok();
                return Ok(());
            }
            let log = head.as_ref().map(|head| head.log).unwrap_or_default();
            match Line::read(log, line) {
                Ok(Line::Entry(entry)) => {
                    if entry.header.index == index {
                        found = Some(line.to_vec());
                    }
                    leaves.push(entry.leaf);
                }
                Ok(Line::End(note)) => end = Some(note),
                _ => {}
            }
            if leaves.len() > LEAVES_MAX {
                return Err(Failure::new("unreadable", format!("the export has more than {LEAVES_MAX} entries"))
                    .hint("export from a later entry on: `tollgate audit export --from-index N`"));
            }
            Ok(())
        });
        let report = match verified.map_err(unreadable)? {
            Verified::Log(report) => report,
            Verified::Tampered(finding) => return tampered(format, name, finding.index, &finding.fault.to_string()),
            Verified::Proof(_) => return Err(unreadable(foreign(&name))),
        };
        let (Some(line), Some(head), Some(end)) = (found, head, end) else {
            let (first, last) = (report.first, report.checkpoint.size);
            return Err(Failure::new(
                "not_found",
                format!("{name} has the entries {first} to {last}, and not {index}"),
            ));
        };
        let path = Tree { start: &head.start, leaves: &leaves }.inclusion(index - 1).unwrap_or_default();
        // The one of the keys that signed the end.
        let proofs = report.keys.iter().map(|signer| (signer, Proof::new(&line, &path, &end, signer)));
        let (mut held, mut failed) = (None, "no key signed its end".to_owned());
        for (signer, proof) in proofs {
            match proof {
                Ok(proof) => held = Some((signer, proof)),
                Err(Wrong { fault, .. }) => failed = fault,
            }
        }
        let (signer, proof) = held.ok_or_else(|| unproved(index, &failed))?;
        shown(&proof, signer, format)
    }
}

fn shown(proof: &Proof, signer: &PublicKey, format: Format) -> Result<Answer, Failure> {
    let note = format!("entry {} is in the log, signed by the key {}", proof.index, KeyView::from(signer));
    Ok(proof.answer(format)?.note(note))
}

fn unproved(index: u64, fault: &str) -> Failure {
    Failure::new("unproved", format!("the proof of entry {index} does not hold: {fault}"))
        .hint("export the log and run `tollgate audit verify` on it")
}
