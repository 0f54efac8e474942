//! What the name of one of Anthropic's models says of what it takes: <https://platform.claude.com/docs/en/about-claude/models/migration-guide>.
//! Clouds put something before and behind the name, and some write the version ahead of the family.

use crate::dialects::Quirks;

/// A model of Anthropic.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Model {
    /// Its version: of 4.6 these two numbers.
    version: (u32, u32),
    is_opus: bool,
}

impl Model {
    /// Reads a name such as `claude-opus-4-6`, `claude-3.5-sonnet` or `us.anthropic.claude-sonnet-4-20250514-v1:0`.
    fn named(name: &str) -> Option<Self> {
        let (_, rest) = name.split_once("claude-")?;
        let number = |word: &str| word.parse().ok().filter(|number| *number < 100 && word.len() < 3);
        let mut words = rest.split(['-', '.', '@', ':', '/']);
        let major = words.find_map(number)?;
        Some(Self { version: (major, words.next().and_then(number).unwrap_or(0)), is_opus: rest.contains("opus") })
    }
}

/// The quirks with those of the model; a name that does not say its version adds none.
pub(crate) fn quirks_of(model: &str, quirks: &Quirks) -> Quirks {
    let Some(Model { version, is_opus }) = Model::named(model) else { return *quirks };
    Quirks {
        lacks_sampling: quirks.lacks_sampling || version >= (4, 7),
        lacks_thinking_budget: quirks.lacks_thinking_budget || version >= (4, 7),
        lacks_adaptive_thinking: quirks.lacks_adaptive_thinking || version < (4, 6),
        // Of that version Opus alone has it.
        lacks_effort: quirks.lacks_effort || version < (4, 5) || version == (4, 5) && !is_opus,
        lacks_system_turns: quirks.lacks_system_turns || version < (4, 8),
        ..*quirks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_its_version_and_so_what_the_model_takes() {
        for (name, sampling, adaptive, effort, system) in [
            ("claude-3-5-sonnet-20241022", true, false, false, false),
            ("claude-sonnet-4-20250514", true, false, false, false),
            ("us.anthropic.claude-haiku-4-5-20251001-v1:0", true, false, false, false),
            ("claude-opus-4-5@20251101", true, false, true, false),
            ("anthropic/claude-opus-4.6", true, true, true, false),
            ("claude-4.7-opus", false, true, true, false),
            ("claude-opus-4-8", false, true, true, true),
            ("claude-sonnet-5", false, true, true, true),
            ("global.anthropic.claude-opus-5-5-v1:0", false, true, true, true),
        ] {
            let quirks = quirks_of(name, &Quirks::default());
            let found = (!quirks.lacks_sampling, !quirks.lacks_adaptive_thinking, !quirks.lacks_effort);
            assert_eq!((found, !quirks.lacks_system_turns), ((sampling, adaptive, effort), system), "{name}");
            assert_eq!(quirks.lacks_thinking_budget, quirks.lacks_sampling, "{name}");
        }
        for name in ["gpt-5", "claude-latest", "my-profile", "claude-20250514", "nova-4-5"] {
            assert_eq!(quirks_of(name, &Quirks::default()), Quirks::default(), "{name}");
        }
        let told = Quirks { lacks_effort: true, has_max_tokens: true, ..Quirks::default() };
        assert!(quirks_of("claude-opus-5-5", &told).lacks_effort && quirks_of("claude-opus-5-5", &told).has_max_tokens);
    }
}
