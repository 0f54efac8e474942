//! What both dialects of OpenAI have in common: `data:` URLs, and how a tool's failure is told.

use std::borrow::Cow;

use crate::hub::{Source, Text};

/// Ahead of what a tool said when it failed: the API has no field for it.
pub(super) const FAILED: &str = "Error: ";

/// The content of a URL such as `data:image/png;base64,…`, borrowed where the text is; `None` where it is another URL.
pub(super) fn inline<'a>(url: &Text<'a>) -> Option<Source<'a>> {
    match &url.0 {
        Cow::Borrowed(text) => {
            let (media_type, data) = split(text)?;
            Some(Source::Base64 { media_type: media_type.into(), data: data.into() })
        }
        Cow::Owned(text) => {
            let (media_type, data) = split(text)?;
            Some(Source::Base64 { media_type: media_type.to_owned().into(), data: data.to_owned().into() })
        }
    }
}

fn split(url: &str) -> Option<(&str, &str)> {
    let (head, data) = url.strip_prefix("data:")?.split_once(',')?;
    let media_type = head.strip_suffix(";base64")?;
    Some((media_type.split(';').next().unwrap_or_default(), data))
}

/// A URL that has the content in itself.
pub(super) fn data_url(media_type: &str, data: &str) -> String {
    ["data:", media_type, ";base64,", data].concat()
}
