//! Readers that take a format for exactly what its specification says, and panic at anything else.

use std::collections::BTreeMap;

/// A syslog message.
pub(crate) struct Syslog {
    pub(crate) facility: u8,
    pub(crate) severity: u8,
    pub(crate) time: String,
    pub(crate) host: String,
    pub(crate) message_id: String,
    pub(crate) data: BTreeMap<String, String>,
    pub(crate) message: String,
}

/// A record of CEF.
pub(crate) struct Cef {
    pub(crate) header: Vec<String>,
    pub(crate) extension: BTreeMap<String, String>,
}

/// RFC 5424, section 6, of messages with one element of structured data and UTF-8 behind it.
pub(crate) fn syslog(line: &str) -> Syslog {
    assert!(!line.chars().any(char::is_control), "{line:?}");
    let (priority, rest) = line.strip_prefix('<').unwrap().split_once('>').unwrap();
    assert!((1..=3).contains(&priority.len()) && !(priority.len() > 1 && priority.starts_with('0')), "{priority}");
    let priority: u8 = priority.parse().unwrap();
    assert!(priority <= 191);
    let fields: Vec<_> = rest.splitn(7, ' ').collect();
    let [version, time, host, app, process, message_id, rest] = fields[..] else { panic!("{rest:?}") };
    assert_eq!((version, app, process), ("1", "tollgate", "-"));
    for (field, length_max) in [(host, 255), (message_id, 32)] {
        assert!(
            (1..=length_max).contains(&field.len()) && field.bytes().all(|byte| byte.is_ascii_graphic()),
            "{field}"
        );
    }
    let (data, rest) = element(rest);
    let message = rest.strip_prefix(' ').unwrap().strip_prefix('\u{feff}').unwrap();
    Syslog {
        facility: priority / 8,
        severity: priority % 8,
        time: time.into(),
        host: host.into(),
        message_id: message_id.into(),
        data,
        message: message.into(),
    }
}

// RFC 5424, section 6.3.
fn element(text: &str) -> (BTreeMap<String, String>, &str) {
    let mut rest = text.strip_prefix("[tollgate@32473").unwrap();
    let mut data = BTreeMap::new();
    while let Some(parameter) = rest.strip_prefix(' ') {
        let (name, value) = parameter.split_once("=\"").unwrap();
        assert!(
            (1..=32).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
            "{name:?}"
        );
        let (value, behind) = parameter_value(value);
        assert!(data.insert(name.to_owned(), value).is_none(), "{name} is there twice");
        rest = behind;
    }
    (data, rest.strip_prefix(']').unwrap())
}

fn parameter_value(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut letters = text.char_indices();
    loop {
        match letters.next().unwrap() {
            (at, '"') => return (value, &text[at + 1..]),
            (_, ']') => panic!("a bracket that is not escaped in {text:?}"),
            (_, '\\') => {
                let (_, letter) = letters.next().unwrap();
                assert!(matches!(letter, '"' | '\\' | ']'), "\\{letter} in {text:?}");
                value.push(letter);
            }
            (_, letter) => value.push(letter),
        }
    }
}

/// The guide to CEF, version 25, sections "CEF format" and "Character encoding".
pub(crate) fn cef(line: &str) -> Cef {
    assert!(!line.chars().any(char::is_control), "{line:?}");
    let mut rest = line.strip_prefix("CEF:0|").unwrap();
    let mut header = Vec::new();
    for _ in 0..6 {
        let end = unescaped(rest, '|')[0];
        header.push(plain(&rest[..end], "|\\"));
        rest = &rest[end + 1..];
    }
    let mut extension = BTreeMap::new();
    let signs = unescaped(rest, '=');
    let key_starts: Vec<_> = signs.iter().map(|sign| rest[..*sign].rfind(' ').map_or(0, |space| space + 1)).collect();
    for (at, (start, sign)) in key_starts.iter().zip(&signs).enumerate() {
        let end = key_starts.get(at + 1).map_or(rest.len(), |next| next - 1);
        let (key, value) = (&rest[*start..*sign], plain(&rest[sign + 1..end], "=\\nr"));
        assert!(!key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{key:?} in {line:?}");
        assert!(extension.insert(key.to_owned(), value).is_none(), "{key} is there twice");
    }
    Cef { header, extension }
}

// Where this character stands without a backslash before it.
fn unescaped(text: &str, wanted: char) -> Vec<usize> {
    let mut found = Vec::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        if letter == '\\' {
            letters.next().unwrap();
        } else if letter == wanted {
            found.push(at);
        }
    }
    found
}

fn plain(text: &str, escapes: &str) -> String {
    let mut plain = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        plain.push(match letter {
            '\\' => match letters.next().unwrap() {
                escape if !escapes.contains(escape) => panic!("\\{escape} in {text:?}"),
                'n' => '\n',
                'r' => '\r',
                escape => escape,
            },
            letter => letter,
        });
    }
    plain
}
