//! What the name of a model says of what it takes. A name that is not Google's says nothing: the newest form is written then.

/// A Gemini model.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Model {
    /// The first number of its version.
    generation: Option<u32>,
    is_flash: bool,
    is_lite: bool,
    is_pro: bool,
}

impl Model {
    /// Reads a name such as `gemini-2.5-flash`, also at the end of a path.
    pub(super) fn named(name: &str) -> Self {
        let name = name.rsplit('/').next().unwrap_or(name);
        let Some(rest) = name.strip_prefix("gemini-") else { return Self::default() };
        let digits = rest.split(|letter: char| !letter.is_ascii_digit()).next().unwrap_or_default();
        Self {
            generation: digits.parse().ok(),
            is_flash: rest.contains("flash"),
            is_lite: rest.contains("lite"),
            is_pro: rest.contains("pro"),
        }
    }

    /// Generations 1 and 2: they take a budget of thinking and no level, check no seals, and take no media within a function's response.
    pub(super) fn is_before_3(self) -> bool {
        self.generation.is_some_and(|generation| generation < 3)
    }

    /// It is known to take levels of thinking.
    pub(super) fn is_3_or_later(self) -> bool {
        self.generation.is_some_and(|generation| generation >= 3)
    }

    /// It is one of those that always think.
    pub(super) const fn always_thinks(self) -> bool {
        self.is_pro
    }

    /// A budget of thinking in the range that the model takes: <https://ai.google.dev/gemini-api/docs/thinking>.
    pub(super) fn thinking_tokens(self, tokens: u64) -> u64 {
        match self {
            _ if self.generation.is_none() => tokens,
            Self { is_lite: true, .. } => tokens.clamp(512, 24_576),
            Self { is_flash: true, .. } => tokens.min(24_576),
            _ => tokens.clamp(128, 32_768),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_its_generation() {
        for (name, is_before_3, is_3_or_later) in [
            ("gemini-2.5-flash", true, false),
            ("models/gemini-1.5-pro", true, false),
            ("gemini-3-pro-preview", false, true),
            ("projects/p/locations/l/publishers/google/models/gemini-3.1-pro", false, true),
            ("gemini-flash-latest", false, false),
            ("some-model", false, false),
        ] {
            let model = Model::named(name);
            assert_eq!((model.is_before_3(), model.is_3_or_later()), (is_before_3, is_3_or_later), "{name}");
        }
    }

    #[test]
    fn a_budget_is_kept_in_the_range_of_the_model() {
        for (name, asked, given) in [
            ("gemini-2.5-flash", 31_999, 24_576),
            ("gemini-2.5-flash", 0, 0),
            ("gemini-2.5-flash-lite", 100, 512),
            ("gemini-2.5-pro", 1, 128),
            ("gemini-2.5-pro", 31_999, 31_999),
            ("some-model", 99_999, 99_999),
        ] {
            assert_eq!(Model::named(name).thinking_tokens(asked), given, "{name}");
        }
    }
}
