//! Where something stands in a JSON document, for people: `inputSchema.properties.path.enum[2]`.

use std::fmt;

use crate::character::shown;

/// The way from the top of a document to a place in it.
#[derive(Debug, Default)]
pub(crate) struct Path(Vec<Step>);

#[derive(Debug)]
enum Step {
    Member(String),
    Element(usize),
}

/// So many characters of a member's name are shown.
const NAME_SHOWN_MAX: usize = 64;

/// So many steps are shown; what lies deeper is cut.
const STEPS_SHOWN_MAX: usize = 24;

// === impl Path ===

impl Path {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Goes into a member, and back.
    pub(crate) fn within<T>(&mut self, name: &str, inside: impl FnOnce(&mut Self) -> T) -> T {
        self.0.push(Step::Member(name.to_owned()));
        let result = inside(self);
        self.0.pop();
        result
    }

    /// Goes into an element, and back.
    pub(crate) fn within_list<T>(&mut self, index: usize, inside: impl FnOnce(&mut Self) -> T) -> T {
        self.0.push(Step::Element(index));
        let result = inside(self);
        self.0.pop();
        result
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                _ if at == STEPS_SHOWN_MAX => return f.write_str("…"),
                Step::Element(index) => write!(f, "[{index}]")?,
                Step::Member(name) if is_plain(name) => {
                    f.write_str(if at > 0 { "." } else { "" })?;
                    f.write_str(name)?;
                }
                Step::Member(name) => write!(f, "[\"{}\"]", shown(name, NAME_SHOWN_MAX))?,
            }
        }
        Ok(())
    }
}

/// Whether a name can stand between dots.
fn is_plain(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-$".contains(&byte);
    (1..=NAME_SHOWN_MAX).contains(&name.len()) && name.bytes().all(allowed)
}
