//! The revisions of the protocol, and which of them two sides speak.

use std::fmt;

/// A revision, older ones first. Its word is the day on which it was made final.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Revision {
    /// The first. Spoken towards upstreams only.
    V2024_11_05,
    /// Streamable HTTP, annotations of tools; batches, which are not accepted here. Spoken towards upstreams only.
    V2025_03_26,
    /// Structured results, elicitation, the header with the revision; no batches any more.
    V2025_06_18,
    /// Tasks, elicitation by URL, sampling with tools. The last with sessions.
    V2025_11_25,
    /// Without sessions: each request says what it needs to be understood.
    V2026_07_28,
}

/// An upstream answered in a revision that is not known, or is none for sessions.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the server answered `initialize` with the revision {0:?}, which is not spoken here")]
pub struct Unspoken(pub String);

// === impl Revision ===

impl Revision {
    /// Every revision.
    pub const ALL: [Self; 5] =
        [Self::V2024_11_05, Self::V2025_03_26, Self::V2025_06_18, Self::V2025_11_25, Self::V2026_07_28];
    /// What clients are answered in, the newest first.
    pub const SERVED: [Self; 3] = [Self::V2026_07_28, Self::V2025_11_25, Self::V2025_06_18];
    /// The newest.
    pub const LATEST: Self = Self::V2026_07_28;
    /// The newest that begins with `initialize`.
    pub const LATEST_STATEFUL: Self = Self::V2025_11_25;
    /// What a request of a session is in that has no header `MCP-Protocol-Version` (2025-06-18, Transports).
    pub const WITHOUT_HEADER: Self = Self::V2025_03_26;

    /// The revision of that word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|revision| revision.word() == word)
    }

    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// Whether each request stands for itself, without `initialize` and without a session.
    #[must_use]
    pub const fn is_stateless(self) -> bool {
        matches!(self, Self::V2026_07_28)
    }

    /// Whether clients are served in it.
    #[must_use]
    pub fn is_served(self) -> bool {
        Self::SERVED.contains(&self)
    }

    /// In which revision a client's `initialize` is answered: the one that it asks for, if that is served in sessions, and otherwise the
    /// newest that is; whether it can go on is then the client's to decide (2025-11-25, Lifecycle, "Version Negotiation").
    #[must_use]
    pub fn answer_to(asked: &str) -> Self {
        Self::of_word(asked).filter(|asked| asked.is_served() && !asked.is_stateless()).unwrap_or(Self::LATEST_STATEFUL)
    }

    /// Whether we can go on with an upstream that answered `initialize` so.
    ///
    /// # Errors
    /// When the word is of no known revision, or of one without sessions.
    pub fn of_upstream(answered: &str) -> Result<Self, Unspoken> {
        let known = Self::of_word(answered).filter(|answered| !answered.is_stateless());
        known.ok_or_else(|| Unspoken(crate::character::shown(answered, WORD_SHOWN_MAX)))
    }

    /// The newest of those that a server says it supports (`supportedVersions` of `server/discover`, `data.supported` of the error
    /// -32022) which is spoken here.
    pub fn newest_of<T: AsRef<str>>(supported: impl IntoIterator<Item = T>) -> Option<Self> {
        supported.into_iter().filter_map(|word| Self::of_word(word.as_ref())).max()
    }
}

/// So many characters of an unknown word are shown.
const WORD_SHOWN_MAX: usize = 40;

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_answered_in_what_it_asks_for_or_in_the_newest_with_sessions() {
        for (asked, answer) in [
            ("2025-11-25", Revision::V2025_11_25),
            ("2025-06-18", Revision::V2025_06_18),
            ("2025-03-26", Revision::V2025_11_25),
            ("2024-11-05", Revision::V2025_11_25),
            ("2026-07-28", Revision::V2025_11_25),
            ("2027-01-01", Revision::V2025_11_25),
            ("", Revision::V2025_11_25),
        ] {
            assert_eq!(Revision::answer_to(asked), answer, "{asked}");
        }
    }

    #[test]
    fn an_upstream_may_answer_in_any_revision_with_sessions() {
        for (answered, expected) in [
            ("2024-11-05", Some(Revision::V2024_11_05)),
            ("2025-03-26", Some(Revision::V2025_03_26)),
            ("2025-11-25", Some(Revision::V2025_11_25)),
            ("2026-07-28", None),
            ("1.0", None),
        ] {
            assert_eq!(Revision::of_upstream(answered).ok(), expected, "{answered}");
        }
        assert_eq!(Revision::newest_of(["2025-11-25", "DRAFT", "2026-07-28"]), Some(Revision::V2026_07_28));
        assert_eq!(Revision::newest_of(["DRAFT"]), None);
    }

    #[test]
    fn revisions_are_ordered_as_their_words() {
        let words: Vec<&str> = Revision::ALL.iter().map(|revision| revision.word()).collect();
        assert!(words.is_sorted() && Revision::ALL.is_sorted());
        assert!(Revision::ALL.iter().all(|revision| Revision::of_word(revision.word()) == Some(*revision)));
    }
}
