//! The headers of a frame, and the types of their values.

use std::str;

/// The longest text or byte string that the format allows.
const VALUE_BYTES_MAX: usize = i16::MAX as usize;

/// The value of a header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Value<'a> {
    /// True or false.
    Bool(bool),
    /// 8 bits.
    Byte(i8),
    /// 16 bits.
    Short(i16),
    /// 32 bits.
    Integer(i32),
    /// 64 bits.
    Long(i64),
    /// Bytes.
    Bytes(&'a [u8]),
    /// A text.
    Text(&'a str),
    /// Milliseconds since 1970.
    Timestamp(i64),
    /// A UUID.
    Uuid([u8; 16]),
}

/// Reads the next header; `None` where there is none, or none that can be read.
pub(super) fn header<'a>(unread: &mut &'a [u8]) -> Option<(&'a str, Value<'a>)> {
    let [name_bytes] = fixed(unread)?;
    let name = str::from_utf8(taken(unread, usize::from(name_bytes))?).ok().filter(|name| !name.is_empty())?;
    let [kind] = fixed(unread)?;
    let value = match kind {
        0 => Value::Bool(true),
        1 => Value::Bool(false),
        2 => Value::Byte(i8::from_be_bytes(fixed(unread)?)),
        3 => Value::Short(i16::from_be_bytes(fixed(unread)?)),
        4 => Value::Integer(i32::from_be_bytes(fixed(unread)?)),
        5 => Value::Long(i64::from_be_bytes(fixed(unread)?)),
        6 => Value::Bytes(sized(unread)?),
        7 => Value::Text(str::from_utf8(sized(unread)?).ok()?),
        8 => Value::Timestamp(i64::from_be_bytes(fixed(unread)?)),
        9 => Value::Uuid(fixed(unread)?),
        _ => return None,
    };
    Some((name, value))
}

fn fixed<const N: usize>(unread: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, rest) = unread.split_first_chunk()?;
    *unread = rest;
    Some(*bytes)
}

fn taken<'a>(unread: &mut &'a [u8], bytes: usize) -> Option<&'a [u8]> {
    let (taken, rest) = unread.split_at_checked(bytes)?;
    *unread = rest;
    Some(taken)
}

fn sized<'a>(unread: &mut &'a [u8]) -> Option<&'a [u8]> {
    let bytes = u16::from_be_bytes(fixed(unread)?);
    taken(unread, usize::from(bytes))
}

// === impl Value ===

impl Value<'_> {
    /// Appends a header of that name; nothing where the name or the value is longer than the format allows.
    pub(super) fn write(&self, name: &str, out: &mut Vec<u8>) {
        let (kind, fixed, sized): (u8, &[u8], Option<&[u8]>) = match self {
            Self::Bool(is_true) => (u8::from(!is_true), &[], None),
            Self::Byte(number) => (2, &number.to_be_bytes(), None),
            Self::Short(number) => (3, &number.to_be_bytes(), None),
            Self::Integer(number) => (4, &number.to_be_bytes(), None),
            Self::Long(number) => (5, &number.to_be_bytes(), None),
            Self::Bytes(bytes) => (6, &[], Some(bytes)),
            Self::Text(text) => (7, &[], Some(text.as_bytes())),
            Self::Timestamp(number) => (8, &number.to_be_bytes(), None),
            Self::Uuid(bytes) => (9, bytes, None),
        };
        let value_bytes = sized.map_or(0, <[u8]>::len);
        let (Ok(name_bytes @ 1..), Ok(length)) = (u8::try_from(name.len()), u16::try_from(value_bytes)) else { return };
        if value_bytes > VALUE_BYTES_MAX {
            return;
        }
        out.push(name_bytes);
        out.extend_from_slice(name.as_bytes());
        out.push(kind);
        out.extend_from_slice(fixed);
        if let Some(bytes) = sized {
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(bytes);
        }
    }
}
