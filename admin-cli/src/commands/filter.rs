//! The filter of a list: terms `field=value` joined by ` AND `.

use crate::failure::Failure;

/// What joins two terms.
const JOINT: &str = " AND ";

/// A filter that grows term by term.
#[derive(Debug, Default)]
pub(crate) struct Filter(Vec<String>);

impl Filter {
    /// Begins with what was given as `--filter`, passed on as it is.
    pub(crate) fn new(given: Option<String>) -> Self {
        Self(given.into_iter().filter(|text| !text.is_empty()).collect())
    }

    /// Adds a term, if a value was given.
    ///
    /// # Errors
    /// A value that would be read as a further term.
    pub(crate) fn and(mut self, field: &str, value: Option<impl AsRef<str>>) -> Result<Self, Failure> {
        if let Some(value) = value.as_ref().map(AsRef::as_ref) {
            if value.contains(JOINT) || value.contains(['\n', '\r']) {
                return Err(Failure::usage(format!(
                    "the value of --{} must not contain {JOINT:?} or line breaks",
                    field.replace('_', "-")
                )));
            }
            self.0.push(format!("{field}={value}"));
        }
        Ok(self)
    }

    /// The wire form.
    pub(crate) fn text(self) -> String {
        self.0.join(JOINT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_joined_and_values_cannot_add_terms() {
        let filter = Filter::new(Some("state=active".to_owned())).and("team", Some("platform")).unwrap();
        assert_eq!(filter.and("user", None::<&str>).unwrap().text(), "state=active AND team=platform");
        assert_eq!(Filter::new(None).text(), "");
        assert_eq!(Filter::new(Some(String::new())).and("name", Some("pay*")).unwrap().text(), "name=pay*");
        assert!(Filter::default().and("team", Some("x AND state=active")).is_err());
        assert!(Filter::default().and("team", Some("x\ny")).is_err());
    }
}
