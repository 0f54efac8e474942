//! The path of an operation, segment by segment. A value is within one segment, and never all there is of a dot segment.

use percent_encoding::percent_decode_str;

use crate::reason::Unfit;

/// A path in which some parts are named.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Template(Vec<Vec<Part>>);

/// A part of a segment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Part {
    /// As it stands in the description.
    Literal(String),
    /// The value of the parameter of that name.
    Named(String),
}

/// So often is a segment decoded to see what servers could read in it that decode more than once.
const DECODED_MAX: usize = 4;

// === impl Template ===

impl Template {
    /// Reads a path.
    ///
    /// # Errors
    /// When it is no path, or has what would not stay one.
    pub(crate) fn read(path: &str) -> Result<Self, Unfit> {
        let rest = path.strip_prefix('/').ok_or(Unfit::Path("does not begin with a slash"))?;
        let segments: Vec<&str> = rest.split('/').collect();
        let last = segments.len() - 1;
        let segment = |(at, segment): (usize, &&str)| {
            if segment.is_empty() && at < last {
                return Err(Unfit::Path("has an empty segment"));
            }
            parts(segment)
        };
        segments.iter().enumerate().map(segment).collect::<Result<_, _>>().map(Self)
    }

    /// The names in it.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flatten().filter_map(|part| match part {
            Part::Named(name) => Some(name.as_str()),
            Part::Literal(_) => None,
        })
    }

    /// The path with values, which are percent-encoded, in it.
    ///
    /// # Errors
    /// Names the parameter whose value would not stay in its segment.
    pub(crate) fn filled<'v>(&self, value: impl Fn(&str) -> &'v str) -> Result<String, &str> {
        let mut path = String::new();
        for parts in &self.0 {
            let begin = path.len() + 1;
            path.push('/');
            let mut named = None;
            for part in parts {
                match part {
                    Part::Literal(text) => path.push_str(text),
                    Part::Named(name) => {
                        let value = value(name);
                        named = Some(name.as_str());
                        if value.is_empty() {
                            return Err(name);
                        }
                        path.push_str(value);
                    }
                }
            }
            let segment = path.get(begin..).unwrap_or_default();
            if let Some(name) = named.filter(|_| !stays(segment)) {
                return Err(name);
            }
        }
        Ok(path)
    }
}

fn parts(segment: &str) -> Result<Vec<Part>, Unfit> {
    let mut parts = Vec::new();
    let mut rest = segment;
    while let Some((literal, behind)) = rest.split_once('{') {
        let (name, after) = behind.split_once('}').ok_or(Unfit::Path("has a brace that is not closed"))?;
        if name.is_empty() || name.contains('{') {
            return Err(Unfit::Path("has braces without the name of a parameter"));
        }
        parts.push(Part::Literal(literal.to_owned()));
        parts.push(Part::Named(name.to_owned()));
        rest = after;
    }
    parts.push(Part::Literal(rest.to_owned()));
    let is_literal = |part: &Part| matches!(part, Part::Literal(text) if !text.bytes().all(is_of_a_path));
    if parts.iter().any(is_literal) {
        return Err(Unfit::Path("has characters that a path cannot have, such as a query or a space"));
    }
    if parts.len() == 1 && !segment.is_empty() && !stays(segment) {
        return Err(Unfit::Path("has a segment that leads to another path"));
    }
    parts.retain(|part| !matches!(part, Part::Literal(text) if text.is_empty()));
    Ok(parts)
}

// RFC 3986, section 3.3.
fn is_of_a_path(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%".contains(&byte)
}

/// Whether no server that decodes a segment, however often, and then looks for slashes and dots, finds another path in it. Some take a
/// backslash for a slash, and what follows a semicolon for nothing.
fn stays(segment: &str) -> bool {
    let mut text = segment.to_owned();
    for _ in 0..DECODED_MAX {
        let leads = |part: &str| matches!(part.split(';').next(), Some("." | ".."));
        if text.split(['/', '\\']).any(leads) || text.chars().any(char::is_control) {
            return false;
        }
        let Ok(decoded) = percent_decode_str(&text).decode_utf8() else { return false };
        if decoded == text {
            return true;
        }
        text = decoded.into_owned();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(path: &str, value: &str) -> Option<String> {
        Template::read(path).unwrap().filled(|_| value).ok()
    }

    #[test]
    fn a_value_stays_in_its_segment() {
        for (path, value, expect) in [
            ("/pets/{id}", "7", Some("/pets/7")),
            ("/pets/{id}/", "7", Some("/pets/7/")),
            ("/{a}.json", "x", Some("/x.json")),
            ("/{a}-{b}", "1", Some("/1-1")),
            ("/", "7", Some("/")),
            ("/files/{path}", "src%2Flib.rs", Some("/files/src%2Flib.rs")),
            ("/files/{path}", "...", Some("/files/...")),
            ("/files/{path}", "v1..v2", Some("/files/v1..v2")),
            ("/files/{path}", "100%25", Some("/files/100%25")),
            ("/pets/{id}", "", None),
            ("/pets/{id}", ".", None),
            ("/pets/{id}", "..", None),
            ("/{a}{b}", ".", None),
            ("/pets/{id}", "%2e%2e", None),
            ("/pets/{id}", "..%2Fadmin", None),
            ("/pets/{id}", "x%2F..%2F..%2Fadmin", None),
            ("/pets/{id}", "..%5Cadmin", None),
            ("/pets/{id}", "..%3Bx", None),
            ("/pets/{id}", "%252e%252e%252fadmin", None),
            ("/pets/{id}", "%25252e%25252e", None),
            ("/pets/{id}", "%25c0%25ae", None),
            ("/pets/{id}", "a%00", None),
            ("/pets/{id}", "a%0D%0Ab", None),
            ("/{a}.json", "x%2F..%2Fy", None),
        ] {
            assert_eq!(filled(path, value).as_deref(), expect, "{path} {value}");
        }
    }

    #[test]
    fn a_path_of_a_description_is_a_path() {
        for bad in [
            "pets",
            "",
            "/a//b",
            "/a?b=1",
            "/a#b",
            "/../a",
            "/%2e%2e/a",
            "/a/./b",
            "/{",
            "/{}",
            "/{a",
            "/a b",
            "/}",
            "/ä",
        ] {
            assert!(matches!(Template::read(bad), Err(Unfit::Path(_))), "{bad}");
        }
        let names: Vec<_> =
            Template::read("/{a}/x/{b}.{c}").map(|path| path.names().map(str::to_owned).collect()).unwrap();
        assert_eq!(names, ["a", "b", "c"]);
    }
}
