//! Translation between dialects: golden files for each pair, streams cut at every byte, and round trips.
//!
//! A *shape* is a conversation as a client or a provider of one dialect sends it, in `shapes/<dialect>/<name>.json` with a
//! `request`, an `answer` or both, and as a stream in `shapes/<dialect>/<name>.stream` (bytes of a binary stream in base64, with
//! `.frames`). What becomes of it in each other dialect stands in `golden/<dialect>-<other>/`. With `TOLLGATE_BLESS=1` in the
//! environment the golden files are written anew: read the difference before you commit it.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]
#![expect(clippy::disallowed_methods, reason = "golden files are read, and written anew on demand")]

mod translate {
    pub(crate) mod golden;
    pub(crate) mod arbitrary;
    pub(crate) mod round;
    pub(crate) mod shapes;
    pub(crate) mod mutated;
    pub(crate) mod chat;
    pub(crate) mod gemini;
    pub(crate) mod agents;
}
