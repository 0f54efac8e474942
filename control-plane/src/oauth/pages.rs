//! The few pages that people see. They load nothing, run nothing, and are framed by nobody.

use axum::response::{Html, IntoResponse};
use http::{HeaderValue, StatusCode, header};

use super::answers::Answer;

const POLICY: &str = "default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// A page; `body` is markup in which every text was escaped.
pub fn page(status: StatusCode, title: &str, body: &str) -> Answer {
    let title = escaped(title);
    let text = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title} · Tollgate</title></head>\n\
         <body><h1>{title}</h1>\n{body}\n</body></html>\n"
    );
    let mut answer = (status, Html(text)).into_response();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-store"),
        // With `no-referrer` a form would come without its origin, by which it is known to be ours.
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

/// A page of one sentence.
pub fn sentence(status: StatusCode, title: &str, sentence: &str) -> Answer {
    page(status, title, &format!("<p>{}</p>", escaped(sentence)))
}

/// A paragraph that leads on.
pub fn link(url: &str, text: &str) -> String {
    format!("<p><a href=\"{}\">{}</a></p>", escaped(url), escaped(text))
}

/// A form's field that nobody sees.
pub fn hidden(name: &str, value: &str) -> String {
    format!("<input type=\"hidden\" name=\"{}\" value=\"{}\">", escaped(name), escaped(value))
}

/// Text as it may stand in markup and in a quoted attribute.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            character => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_markup() {
        assert_eq!(escaped("<a href=\"x\">'&"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;");
        assert_eq!(link("x\" onclick=\"y", "<b>"), "<p><a href=\"x&quot; onclick=&quot;y\">&lt;b&gt;</a></p>");
    }
}
