//! The names of documents: letters, digits, single spaces, hyphens, parentheses and brackets, and none twice.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use crate::hub::Text;

const NAME_CHARS_MAX: usize = 200;
/// What an untitled document is called, with its number; the API's reference recommends a neutral name.
const UNTITLED: &str = "Document";

/// The names that a request has given so far.
#[derive(Debug, Default)]
pub(super) struct Names {
    given: BTreeSet<String>,
    // The last number that was put behind a name.
    numbers: BTreeMap<String, usize>,
}

/// The title behind a name; `None` where it is the name of an untitled document.
pub(super) fn title(name: Text<'_>) -> Option<Text<'_>> {
    let number = name.strip_prefix(UNTITLED).and_then(|rest| rest.strip_prefix(' '));
    let is_untitled =
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
    (!is_untitled).then_some(name)
}

// === impl Names ===

impl Names {
    /// The name of the next document.
    pub(super) fn next<'a>(&mut self, title: Option<&'a str>) -> Cow<'a, str> {
        let title = title.map(plain).filter(|name| !name.is_empty());
        let (base, before) = match &title {
            Some(name) if self.given.insert(name.to_string()) => return name.clone(),
            Some(name) => (&**name, 1),
            None => (UNTITLED, 0),
        };
        let kept: String = base.chars().take(NAME_CHARS_MAX - 12).collect();
        let number = self.numbers.entry(kept.clone()).or_insert(before);
        loop {
            *number += 1;
            let name = format!("{kept} {number}");
            if self.given.insert(name.clone()) {
                return name.into();
            }
        }
    }
}

fn plain(title: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b" -()[]".contains(&byte);
    if title.len() <= NAME_CHARS_MAX && title.bytes().all(is_plain) && !title.contains("  ") && title.trim() == title {
        return title.into();
    }
    let name = |letter: char| match letter {
        letter if letter.is_ascii() && is_plain(letter as u8) => letter,
        letter if letter.is_whitespace() => ' ',
        _ => '-',
    };
    let words: String = title.chars().map(name).collect();
    let words: Vec<&str> = words.split_whitespace().collect();
    words.join(" ").chars().take(NAME_CHARS_MAX).collect::<String>().trim_end().to_owned().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_only_what_the_api_takes_and_occurs_once() {
        let mut names = Names::default();
        let mut check = |title: Option<&str>, expected: &str| assert_eq!(names.next(title), expected, "{title:?}");
        check(None, "Document 1");
        check(Some("Report (2026) [final]"), "Report (2026) [final]");
        check(Some("Report (2026) [final]"), "Report (2026) [final] 2");
        check(Some("  a\n\tb.pdf "), "a b-pdf");
        check(Some("Übersicht"), "-bersicht");
        check(Some(""), "Document 2");
        check(Some("Document 3"), "Document 3");
        check(None, "Document 4");
        check(Some(&"x".repeat(300)), &"x".repeat(200));
    }

    #[test]
    fn an_untitled_document_stays_untitled() {
        for (name, expected) in
            [("Document 12", None), ("Document", Some("Document")), ("Document x", Some("Document x"))]
        {
            assert_eq!(title(name.into()).as_deref(), expected);
        }
    }
}
