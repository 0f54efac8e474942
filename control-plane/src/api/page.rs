//! Pages of a list. A page token names the last object of the page before and is bound to the list and its filter.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use super::violations::Violations;
use crate::store::{Position, organisation::Stamp};

/// How many objects a page has when the caller does not say.
const SIZE_DEFAULT: i32 = 100;
/// How many objects a page has at most.
const SIZE_MAX: i32 = 1_000;
/// How long the rows of a page are together at most, in bytes: below the 4 MiB that gRPC clients accept, with room for the
/// longest row.
const PAGE_BYTES_MAX: usize = 3 << 20;
/// The longest position in a token, in bytes.
const POSITION_BYTES_MAX: usize = 512;
const VERSION: u8 = 1;
const BINDING_BYTES: usize = 12;

/// Which page was asked for.
#[derive(Debug)]
pub struct Page {
    /// How many objects, 1 to 1,000.
    pub size: usize,
    /// The position behind which it begins; `None` for the first page.
    pub after: Option<String>,
    list: &'static str,
    filter: String,
}

impl Page {
    /// Reads what was asked of `list`, a name that no other list has.
    pub fn read(list: &'static str, filter: &str, size: i32, token: &str, violations: &mut Violations) -> Self {
        let size = match size {
            0 => SIZE_DEFAULT,
            1.. => size.min(SIZE_MAX),
            _ => {
                violations.add("page_size", "must not be negative");
                SIZE_DEFAULT
            }
        };
        let after = if token.is_empty() { None } else { Some(position(list, filter, token)) };
        let after = after.and_then(|position| {
            let refusal = "is not one that this list with this filter returned: begin again with an empty one";
            violations.take("page_token", position.ok_or(refusal))
        });
        Self { size: usize::try_from(size).unwrap_or(1), after, list, filter: filter.to_owned() }
    }

    /// One row more than the page has, to see whether another page follows.
    #[must_use]
    pub fn limit(&self) -> i64 {
        i64::try_from(self.size).unwrap_or(i64::MAX).saturating_add(1)
    }

    /// The position as one in the order of creation; `None` for the first page.
    pub fn created_after(&self, violations: &mut Violations) -> Option<Position> {
        let (created, id) = self.after.as_deref()?.split_once('/').unwrap_or_default();
        let created = violations.take("page_token", created.parse().map_err(|_| "is not one of this list"))?;
        Some(Position { created, id: id.to_owned() })
    }

    /// Cuts the row that was read too many, and returns the token of the next page: empty on the last one.
    pub fn cut<T>(&self, rows: &mut Vec<T>, position: impl FnOnce(&T) -> String) -> String {
        if rows.len() <= self.size {
            return String::new();
        }
        rows.truncate(self.size);
        rows.last().map(|last| self.token(&position(last))).unwrap_or_default()
    }

    /// Writes the rows of the page, and returns them with the token of the next page: empty on the last one. A page ends
    /// early where its rows are long, so that it fits the 4 MiB that gRPC clients accept.
    pub fn write<T, W: prost::Message>(
        &self,
        rows: &[T],
        write: impl Fn(&T) -> W,
        position: impl FnOnce(&T) -> String,
    ) -> (Vec<W>, String) {
        let (mut written, mut bytes) = (Vec::new(), 0);
        for row in rows.iter().take(self.size) {
            let row = write(row);
            bytes += row.encoded_len();
            if bytes > PAGE_BYTES_MAX && !written.is_empty() {
                break;
            }
            written.push(row);
        }
        let last = written.len().checked_sub(1).filter(|_| written.len() < rows.len()).and_then(|at| rows.get(at));
        let token = last.map(|last| self.token(&position(last))).unwrap_or_default();
        (written, token)
    }

    /// As [`Self::write`], for a list in the order of creation.
    pub fn write_created<T, W: prost::Message>(
        &self,
        rows: &[T],
        write: impl Fn(&T) -> W,
        place: impl FnOnce(&T) -> (Stamp, &str),
    ) -> (Vec<W>, String) {
        self.write(rows, write, |row| {
            let (stamp, id) = place(row);
            format!("{}/{id}", stamp.created)
        })
    }

    /// Whether no row of so many bytes finds room behind so many others.
    #[must_use]
    pub fn is_full(&self, rows: usize, bytes: usize) -> bool {
        rows >= self.size || (rows > 0 && bytes > PAGE_BYTES_MAX)
    }

    /// The token of the page that begins behind this position.
    #[must_use]
    pub fn token(&self, position: &str) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&binding(self.list, &self.filter, position));
        bytes.extend_from_slice(position.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

fn position(list: &str, filter: &str, token: &str) -> Option<String> {
    if token.len() > POSITION_BYTES_MAX * 2 {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let rest = bytes.strip_prefix(&[VERSION])?;
    let (bound, position) = rest.split_at_checked(BINDING_BYTES)?;
    let position = std::str::from_utf8(position).ok()?;
    (bound == binding(list, filter, position)).then(|| position.to_owned())
}

// Not a secret: it notices a token that was cut, or carried to another list or filter. What a caller may see is decided by
// permissions, not by tokens.
fn binding(list: &str, filter: &str, position: &str) -> [u8; BINDING_BYTES] {
    let mut hash = Sha256::new();
    for part in [list, filter, position] {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let digest: [u8; 32] = hash.finalize().into();
    digest.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(list: &'static str, filter: &str, size: i32, token: &str) -> (Page, usize) {
        let mut violations = Violations::default();
        let page = Page::read(list, filter, size, token, &mut violations);
        (page, violations.iter().count())
    }

    #[test]
    fn sizes_are_bounded() {
        for (asked, size, violations) in [(0, 100, 0), (1, 1, 0), (1_000, 1_000, 0), (5_000, 1_000, 0), (-1, 100, 1)] {
            let (page, wrong) = read("keys", "", asked, "");
            assert_eq!((page.size, wrong), (size, violations), "{asked}");
        }
    }

    #[test]
    fn a_page_of_long_rows_ends_early_and_never_empty() {
        let (page, _) = read("keys", "", 1_000, "");
        let write = |length: &usize| prost_types::FieldMask { paths: vec!["x".repeat(*length)] };
        let position = |length: &usize| length.to_string();
        let (rows, token) = page.write(&[1 << 20; 10], write, position);
        assert_eq!((rows.len(), token.is_empty()), (2, false));
        let (rows, token) = page.write(&[5 << 20], write, position);
        assert_eq!((rows.len(), token.as_str()), (1, ""));
        let (rows, token) = page.write(&[], write, position);
        assert_eq!((rows.len(), token.as_str()), (0, ""));
    }

    #[test]
    fn a_token_is_good_for_its_list_and_filter_only() {
        let (page, _) = read("keys", "state=active", 2, "");
        let mut rows = vec![1, 2, 3];
        let token = page.cut(&mut rows, |row| format!("{row}/id"));
        assert_eq!(rows, [1, 2]);
        assert_eq!(read("keys", "state=active", 2, &token).0.after.as_deref(), Some("2/id"));
        for (list, filter, token) in [
            ("teams", "state=active", token.clone()),
            ("keys", "", token.clone()),
            ("keys", "state=active", token[1..].to_owned()),
            ("keys", "state=active", format!("{token}AAAA")),
            ("keys", "state=active", "!".to_owned()),
            ("keys", "state=active", "A".repeat(5_000)),
        ] {
            let (page, violations) = read(list, filter, 2, &token);
            assert_eq!((page.after, violations), (None, 1), "{list} {filter} {token}");
        }
        assert_eq!(page.cut(&mut vec![1, 2], |_| unreachable!("the last page has no token")), "");
    }
}
