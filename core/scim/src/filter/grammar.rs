//! Reads a filter: a descent over `or`, `and`, `not` and one comparison, within bounds.

use serde_json::Value;

use super::{Comparison, Filter};
use crate::{Problem, path::AttributePath, problem::shown};

/// The longest filter, in bytes: a request line has no room for more.
pub const FILTER_BYTES_MAX: usize = 4096;
/// The deepest nesting of groups: a person writes three.
const DEPTH_MAX: usize = 16;
/// The most comparisons of one filter: each costs a look at every resource.
const COMPARISONS_MAX: usize = 64;

/// Reads a filter.
///
/// # Errors
/// [`Problem::InvalidFilter`], which says where.
pub fn parse(text: &str) -> Result<Filter, Problem> {
    if text.len() > FILTER_BYTES_MAX {
        return Err(Problem::InvalidFilter(format!("a filter may have {FILTER_BYTES_MAX} bytes")));
    }
    let mut reader = Reader { text, at: 0, depth: 0, comparisons: 0 };
    let filter = reader.either()?;
    if reader.rest().is_empty() { Ok(filter) } else { Err(reader.wrong("'and', 'or' or the end")) }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    comparisons: usize,
}

impl<'a> Reader<'a> {
    fn either(&mut self) -> Result<Filter, Problem> {
        let mut left = self.both()?;
        while self.take_word("or") {
            left = Filter::Or(Box::new(left), Box::new(self.both()?));
        }
        Ok(left)
    }

    fn both(&mut self) -> Result<Filter, Problem> {
        let mut left = self.one()?;
        while self.take_word("and") {
            left = Filter::And(Box::new(left), Box::new(self.one()?));
        }
        Ok(left)
    }

    fn one(&mut self) -> Result<Filter, Problem> {
        if self.take("(") {
            return self.inner(")");
        }
        let before = self.at;
        if self.take_word("not") {
            if self.take("(") {
                return Ok(Filter::Not(Box::new(self.inner(")")?)));
            }
            // An attribute may be called so.
            self.at = before;
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Filter, Problem> {
        self.comparisons += 1;
        if self.comparisons > COMPARISONS_MAX {
            return Err(Problem::InvalidFilter(format!("a filter may have {COMPARISONS_MAX} comparisons")));
        }
        let name = self.run(|byte| byte.is_ascii_alphanumeric() || b":._-$".contains(&byte));
        if name.is_empty() {
            return Err(self.wrong("an attribute"));
        }
        let path = AttributePath::parse(name).map_err(|problem| Problem::InvalidFilter(problem.to_string()))?;
        if path.name.is_empty() {
            return Err(self.wrong("an attribute of the extension"));
        }
        if self.take("[") {
            return Ok(Filter::Values(path, Box::new(self.inner("]")?)));
        }
        let word = self.run(|byte| byte.is_ascii_alphabetic());
        if word.eq_ignore_ascii_case("pr") {
            return Ok(Filter::Present(path));
        }
        let how = comparison(word).ok_or_else(|| self.wrong("one of eq ne co sw ew gt ge lt le pr"))?;
        Ok(Filter::Compare(path, how, self.value()?))
    }

    fn inner(&mut self, end: &str) -> Result<Filter, Problem> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Problem::InvalidFilter(format!("a filter may be nested {DEPTH_MAX} deep")));
        }
        let filter = self.either()?;
        self.depth -= 1;
        if self.take(end) { Ok(filter) } else { Err(self.wrong(end)) }
    }

    // A JSON value without members: what the grammar calls compValue.
    fn value(&mut self) -> Result<Value, Problem> {
        let rest = self.rest();
        if rest.starts_with('"') {
            let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
            let Some(Ok(text)) = values.next() else { return Err(self.wrong("a text in quotes")) };
            self.at += values.byte_offset();
            return Ok(text);
        }
        let before = self.at;
        let word = self.run(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        // Some clients write False.
        serde_json::from_str(&word.to_ascii_lowercase()).map_err(|_| {
            self.at = before;
            self.wrong("a text in quotes, a number, true, false or null")
        })
    }

    // What is left, from the next visible character on.
    fn rest(&mut self) -> &'a str {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let visible = rest.trim_start();
        self.at += rest.len() - visible.len();
        visible
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    // A word ends where no letter follows.
    fn take_word(&mut self, word: &str) -> bool {
        let rest = self.rest();
        let head = rest.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word));
        let ends =
            rest.get(word.len()..).unwrap_or_default().bytes().next().is_some_and(|next| next == b' ' || next == b'(');
        if head && ends {
            self.at += word.len();
        }
        head && ends
    }

    fn run(&mut self, belongs: impl Fn(u8) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.bytes().take_while(|byte| belongs(*byte)).count();
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    fn wrong(&mut self, expected: &str) -> Problem {
        let rest = shown(self.rest());
        Problem::InvalidFilter(format!("the filter needs {expected} at byte {}, and has {rest:?}", self.at))
    }
}

fn comparison(word: &str) -> Option<Comparison> {
    Some(match word.to_ascii_lowercase().as_str() {
        "eq" => Comparison::Equal,
        "ne" => Comparison::NotEqual,
        "co" => Comparison::Contains,
        "sw" => Comparison::Begins,
        "ew" => Comparison::Ends,
        "gt" => Comparison::Greater,
        "ge" => Comparison::AtLeast,
        "lt" => Comparison::Less,
        "le" => Comparison::AtMost,
        _ => return None,
    })
}
