//! Anthropic Messages by itself: what of a conversation is kept when it is read and written again, and what becomes of what other
//! dialects allow and this API refuses.

#![expect(clippy::unwrap_used, reason = "a test")]
#![expect(clippy::disallowed_methods, reason = "shapes are read from disk")]

mod anthropic {
    pub(crate) mod faithful;
    pub(crate) mod stream;
}
