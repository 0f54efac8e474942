//! A page of resources: RFC 7644, 3.4.2.

use serde_json::{Value, json};

/// The schema of a page.
pub const LIST_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";
/// The most resources of one page.
pub const PAGE_MAX: usize = 1_000;
/// How many resources a page has when the client does not say.
const PAGE_DEFAULT: usize = 100;

/// Which page a client asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Page {
    /// How many matches come before it.
    pub skip: usize,
    /// How many it has at most.
    pub size: usize,
}

impl Page {
    /// Reads `startIndex`, which counts from 1, and `count`. What is below the least is the least; what is above is cut.
    #[must_use]
    pub fn new(start_index: Option<i64>, count: Option<i64>) -> Self {
        let skip = start_index.map_or(0, |start| usize::try_from(start.max(1) - 1).unwrap_or(usize::MAX));
        let size = count.map_or(PAGE_DEFAULT, |count| usize::try_from(count.max(0)).unwrap_or(PAGE_MAX).min(PAGE_MAX));
        Self { skip, size }
    }

    /// Whether the match with this position, counted from 0, is on it.
    #[must_use]
    pub const fn has(&self, position: usize) -> bool {
        position >= self.skip && position - self.skip < self.size
    }

    /// The answer.
    #[must_use]
    pub fn body(&self, total: usize, resources: Vec<Value>) -> Value {
        json!({
            "schemas": [LIST_SCHEMA],
            "totalResults": total,
            "startIndex": self.skip.saturating_add(1),
            "itemsPerPage": resources.len(),
            "Resources": resources,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_counted_from_one_and_bounded() {
        for (start, count, skip, size) in [
            (None, None, 0, 100),
            (Some(-5), Some(-1), 0, 0),
            (Some(0), Some(0), 0, 0),
            (Some(11), Some(10), 10, 10),
            (Some(1), Some(5_000), 0, 1_000),
        ] {
            assert_eq!(Page::new(start, count), Page { skip, size });
        }
        let page = Page::new(Some(3), Some(2));
        assert_eq!([1, 2, 3, 4].map(|position| page.has(position)), [false, true, true, false]);
        assert_eq!(page.body(9, vec![json!(1)])["startIndex"], 3);
    }
}
