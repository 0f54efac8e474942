//! What is wrong with a log, and where.

use crate::file::InvalidLine;

/// What is wrong, and where: the first index at which something does not fit.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("entry {index}: {fault}")]
pub struct Finding {
    /// The index.
    pub index: u64,
    /// What.
    pub fault: Fault,
}

/// What is wrong.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Fault {
    /// The line is not one.
    #[error("the line cannot be read: {0}")]
    Line(#[from] InvalidLine),
    /// Another index stands where this one must.
    #[error("entry {0} stands in its place: entries are missing, repeated or swapped")]
    Order(u64),
    /// The body does not say what the header says.
    #[error("its body is of another {0}")]
    Body(&'static str),
    /// The hash is not that of its content.
    #[error("its content is not what its leaf hash covers")]
    Leaf,
    /// The MAC is wrong.
    #[error("its MAC is not that of the key that it names")]
    Mac,
    /// The writer's chain is broken.
    #[error("the chain of {0} is broken: {1}")]
    Chain(String, &'static str),
    /// The stored row says something else than the signed body.
    #[error("the stored row differs from the signed entry: {0}")]
    Row(String),
    /// The tree does not have the root that was signed: one entry since the checkpoint before is not what it was.
    #[error("this entry, or one behind it up to {0}, is not what the checkpoint over them signs")]
    Root(u64),
    /// A checkpoint is not one, or stands in the wrong place.
    #[error("the checkpoint behind it {0}")]
    Checkpoint(&'static str),
    /// The log was longer once.
    #[error("it is missing: {0}")]
    Truncated(String),
    /// It was otherwise once.
    #[error("the log was not like this when it was witnessed: {0}")]
    Witness(String),
    /// Its body was erased, and nothing in the file says so.
    #[error("its body was erased, and no entry behind it says by whom and why")]
    Erased,
    /// What somebody kept was not made by this log.
    #[error("the witness is signed by a key that is not the log's")]
    ForeignWitness,
}
