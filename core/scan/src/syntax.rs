//! Puts an expression of Go's `regexp` into the syntax of Rust's `regex`, where the two differ.
//!
//! Both come from RE2. In Go a brace that begins no count is itself, and a bracket within a class too; `\<` is a sign, not the beginning
//! of a word; `\Q..\E` quotes; `&&`, `--` and `~~` in a class are signs, not operators. In both, `\w`, `\d`, `\s` and `\b` are ASCII, once
//! Rust's Unicode mode is off (<https://pkg.go.dev/regexp/syntax>).

use std::{iter::Peekable, str::Chars};

/// The same expression in Rust's syntax. What neither understands is left as it is, and refused by the parser.
pub(crate) fn translated(go: &str) -> String {
    let mut out = String::with_capacity(go.len() + 8);
    let mut chars = go.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\\' => escape(&mut chars, &mut out, false),
            '[' => class(&mut chars, &mut out),
            '{' if !begins_count(chars.clone()) => out.push_str("\\{"),
            _ => out.push(char),
        }
    }
    out
}

fn escape(chars: &mut Peekable<Chars<'_>>, out: &mut String, in_class: bool) {
    match chars.next() {
        Some('Q') => quoted(chars, out),
        Some(sign @ ('<' | '>')) => out.push(sign),
        Some('C') if !in_class => out.push_str("(?s-u:.)"),
        Some(kind @ ('p' | 'P')) if !in_class => {
            out.push_str("(?u:\\");
            out.push(kind);
            property(chars, out);
            out.push(')');
        }
        Some(digit @ '0'..='7') => octal(digit, chars, out),
        Some(other) => {
            out.push('\\');
            out.push(other);
        }
        None => out.push('\\'),
    }
}

fn quoted(chars: &mut Peekable<Chars<'_>>, out: &mut String) {
    while let Some(char) = chars.next() {
        if char == '\\' && chars.peek() == Some(&'E') {
            chars.next();
            return;
        }
        out.push_str(&regex_syntax::escape(char.encode_utf8(&mut [0; 4])));
    }
}

fn property(chars: &mut Peekable<Chars<'_>>, out: &mut String) {
    let Some(first) = chars.next() else { return };
    out.push(first);
    if first != '{' {
        return;
    }
    for next in chars.by_ref() {
        out.push(next);
        if next == '}' {
            return;
        }
    }
}

/// `\0` and up to three octal digits; a single digit from 1 on would be a back reference, which neither has.
fn octal(first: char, chars: &mut Peekable<Chars<'_>>, out: &mut String) {
    let mut digits = String::from(first);
    while digits.len() < 3
        && let Some(digit) = chars.next_if(|char| matches!(char, '0'..='7'))
    {
        digits.push(digit);
    }
    match u8::from_str_radix(&digits, 8) {
        Ok(value) if first == '0' || digits.len() > 1 => out.push_str(&format!("\\x{value:02x}")),
        _ => {
            out.push('\\');
            out.push_str(&digits);
        }
    }
}

fn class(chars: &mut Peekable<Chars<'_>>, out: &mut String) {
    out.push('[');
    if chars.next_if_eq(&'^').is_some() {
        out.push('^');
    }
    if chars.next_if_eq(&']').is_some() {
        out.push_str("\\]");
    }
    while let Some(char) = chars.next() {
        match char {
            ']' => {
                out.push(']');
                return;
            }
            '\\' => escape(chars, out, true),
            '[' if is_named(chars.clone()) => {
                out.push('[');
                for char in chars.by_ref().take_while(|char| *char != ']') {
                    out.push(char);
                }
                out.push(']');
            }
            '[' | '&' | '~' => {
                out.push('\\');
                out.push(char);
            }
            '-' if chars.next_if_eq(&'-').is_some() => out.push_str("-\\-"),
            _ => out.push(char),
        }
    }
}

/// Whether `:name:]` follows.
fn is_named(mut chars: Peekable<Chars<'_>>) -> bool {
    chars.next() == Some(':')
        && chars.find(|char| !char.is_ascii_alphabetic() && *char != '^') == Some(':')
        && chars.next() == Some(']')
}

/// Whether `3}`, `3,}` or `3,5}` follows.
fn begins_count(chars: Peekable<Chars<'_>>) -> bool {
    let inner: String = chars.take_while(|char| *char != '}').take(10).collect();
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match inner.split_once(',') {
        Some((low, high)) => is_number(low) && (high.is_empty() || is_number(high)),
        None => is_number(&inner),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_put_into_the_other_syntax() {
        for (go, rust) in [
            (r"a{3}b{2,}c{1,5}", r"a{3}b{2,}c{1,5}"),
            (r"^\$(?:\d+|{\d+})$", r"^\$(?:\d+|\{\d+})$"),
            (r"^\${(?:[A-Z_]+)}$", r"^\$\{(?:[A-Z_]+)}$"),
            (r"{{[ \t]*}}", r"\{\{[ \t]*}}"),
            (r"[[a]", r"[\[a]"),
            (r"[]a]", r"[\]a]"),
            (r"[[:word:]x[]", r"[[:word:]x\[]"),
            (r"[a&&b~~c]", r"[a\&\&b\~\~c]"),
            (r"[+--]", r"[+-\-]"),
            (r"\<b\>", r"<b>"),
            (r"\Qa.b\E.", r"a\.b."),
            (r"\pL\p{Greek}", r"(?u:\pL)(?u:\p{Greek})"),
            (r"\012\x60", r"\x0a\x60"),
            (r"\1", r"\1"),
        ] {
            assert_eq!(translated(go), rust, "{go}");
        }
    }
}
