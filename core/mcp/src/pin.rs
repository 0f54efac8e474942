//! What of a definition was approved: a hash that is another as soon as anything is that a model or a gateway goes by.

use std::{borrow::Cow, fmt};

use sha2::{Digest, Sha256};

use crate::tree::{Tree, push_members};

/// The SHA-256 of a definition in its canonical form.
///
/// The canonical form is the definition as JSON in UTF-8 without white space, in which
/// - the members `_meta` and `icons` at the top are left out;
/// - the members of each object are sorted by the bytes of their names;
/// - texts have only the escapes `\"`, `\\`, `\b`, `\t`, `\n`, `\f`, `\r`, and `\u00xx` (small letters) for other control characters below
///   U+0020;
/// - an integer in the range of an `i64` or `u64` is written as it was; any other number as JavaScript writes the floating point number of
///   64 bits that it is (`1.0` is `1`, `1e2` is `100`, `1E30` is `1e+30`);
/// - everything else is as it was, with its order and its presence: `"title": null` is another definition than one without a title.
///
/// That is RFC 8785 but for integers beyond 2^53, which keep all their digits, and for the order of names beyond the Basic Multilingual
/// Plane. For an ordinary definition `jq -cjS 'del(._meta, .icons)' | sha256sum` gives the same.
///
/// Everything that is not left out counts, also members that no revision knows: a client may show to its model, or act upon, whatever it
/// finds (`execution.taskSupport`, `x-mcp-header` and `$defs` in schemas, members of later revisions). `icons` are drawn for people, and
/// are often signed URLs that change by the hour. `_meta` is where servers put versions, times and traces, which change without meaning
/// anything, so that pinning it would quarantine good servers until nobody looks any more; since some clients do read it
/// (`anthropic/searchHint`), [`crate::flag`] looks at its texts.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Pin([u8; 32]);

/// A text is no pin.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a pin is 64 hexadecimal digits in small letters")]
pub struct InvalidPin;

/// Members at the top that do not count.
const UNPINNED: [&str; 2] = ["_meta", "icons"];

// === impl Pin ===

impl Pin {
    /// The pin of a definition that was read whole.
    pub(crate) fn of_tree(definition: &Tree<'_>) -> Self {
        Self(Sha256::digest(canonical(definition)).into())
    }

    /// Reads what [`fmt::Display`] writes.
    ///
    /// # Errors
    /// Refuses every other text.
    pub fn parse(text: &str) -> Result<Self, InvalidPin> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidPin)?;
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) { Err(InvalidPin) } else { Ok(Self(bytes)) }
    }

    /// A pin that was kept.
    #[must_use]
    pub const fn of_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// To be kept.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The canonical form of a definition.
fn canonical(definition: &Tree<'_>) -> String {
    let mut out = String::new();
    push_members(pinned(definition), &mut out);
    out
}

/// What of a definition counts.
pub(crate) fn pinned<'t, 'a>(definition: &'t Tree<'a>) -> impl Iterator<Item = &'t (Cow<'a, str>, Tree<'a>)> {
    definition.members().iter().filter(|(name, _)| !UNPINNED.contains(&&**name))
}
