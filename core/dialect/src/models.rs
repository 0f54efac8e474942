//! The models that a list of models names.

/// One model of a list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ListedModel<'a> {
    /// What a request names.
    pub id: &'a str,
    /// What people read; the id where it is absent.
    pub display_name: Option<&'a str>,
    /// Who offers it, such as `anthropic`.
    pub owned_by: Option<&'a str>,
    /// How many tokens of input it takes.
    pub max_input_tokens: Option<u64>,
    /// How many tokens of output it gives at most.
    pub max_output_tokens: Option<u64>,
}

impl<'a> ListedModel<'a> {
    /// A model of which only the name is known.
    #[must_use]
    pub const fn named(id: &'a str) -> Self {
        Self { id, display_name: None, owned_by: None, max_input_tokens: None, max_output_tokens: None }
    }
}
