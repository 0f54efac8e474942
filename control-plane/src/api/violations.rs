//! Everything that is wrong with a request, collected before it is refused.

use std::fmt;

use super::failure::Failure;

/// The most violations that one answer names, so that it fits gRPC's default limit of 8 KiB for metadata.
const VIOLATIONS_MAX: usize = 20;
/// The longest description, in bytes, for the same reason.
const DESCRIPTION_BYTES_MAX: usize = 200;
/// How many the message itself repeats, for the same reason.
const MESSAGE_VIOLATIONS_MAX: usize = 5;

/// The fields that are wrong, each with what is wrong with it.
#[derive(Debug, Default)]
pub struct Violations(Vec<(String, String)>);

impl Violations {
    /// Notes that a field is wrong. The description continues the sentence that the field begins: `must not be empty`.
    pub fn add(&mut self, field: impl Into<String>, description: impl fmt::Display) {
        if self.0.len() < VIOLATIONS_MAX {
            let mut description = description.to_string();
            description.truncate(description.floor_char_boundary(DESCRIPTION_BYTES_MAX));
            self.0.push((field.into(), description));
        }
    }

    /// Takes what was parsed, or notes why it was not.
    pub fn take<T, E: fmt::Display>(&mut self, field: &str, parsed: Result<T, E>) -> Option<T> {
        parsed.map_err(|error| self.add(field, error)).ok()
    }

    /// Notes that each of these fields is output only, if it was set.
    pub fn output_only<const N: usize>(&mut self, fields: [(&str, bool); N]) {
        for (field, set) in fields {
            if set {
                self.add(field, "is output only and must not be set");
            }
        }
    }

    /// The fields and their descriptions.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(field, description)| (field.as_str(), description.as_str()))
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Goes on with what was parsed, if nothing is wrong.
    ///
    /// # Errors
    /// All violations together.
    pub fn finish<T>(self, parsed: Option<T>) -> Result<T, Failure> {
        match parsed {
            Some(parsed) if self.is_empty() => Ok(parsed),
            _ => Err(Failure::Invalid(self)),
        }
    }
}

/// As many as fit; the details have them all.
impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (field, description)) in self.iter().take(MESSAGE_VIOLATIONS_MAX).enumerate() {
            write!(f, "{}{field} {description}", if at == 0 { "" } else { "; " })?;
        }
        match self.0.len().checked_sub(MESSAGE_VIOLATIONS_MAX) {
            None | Some(0) => Ok(()),
            Some(more) => write!(f, "; and {more} more"),
        }
    }
}
