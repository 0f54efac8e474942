//! What stands for a secret.
/// Whether a secret is nothing but placeholders.
pub(crate) fn is_all(_secret: &[u8]) -> bool { false }
