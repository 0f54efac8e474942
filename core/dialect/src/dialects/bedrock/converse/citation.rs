//! Citations. Their places in documents and search results are those of Anthropic's API in other words, so that they come through whole;
//! a page on the web loses the index that Anthropic encrypts.

use serde::{Deserialize, Serialize};

use super::wire::{WireCitation, WireLocation, WireRange, WireText, WireWeb};
use crate::hub::{Citation, Json, Text};

/// A citation as Anthropic's API has it: each type has some of the fields.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Native<'a> {
    #[serde(rename = "type", borrow)]
    kind: Text<'a>,
    cited_text: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    document_index: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    document_title: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    search_result_index: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_char_index: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_char_index: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_page_number: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_page_number: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_block_index: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_block_index: Option<u64>,
}

/// Reads a citation.
pub(super) fn read(wire: WireCitation<'_>) -> Citation<'_> {
    let WireCitation { title, source, source_content, location } = wire;
    let cited: String = source_content.iter().map(|piece| &*piece.text).collect();
    let cited_text = (!source_content.is_empty()).then(|| Text::from(cited));
    let location = location.unwrap_or_default();
    let native = native(&location, title.as_ref(), source.as_ref(), cited_text.as_deref().unwrap_or_default());
    let url = location.web.and_then(|web| web.url).or(source);
    Citation { url, title, cited_text, native }
}

fn native(
    location: &WireLocation<'_>,
    title: Option<&Text<'_>>,
    source: Option<&Text<'_>>,
    cited_text: &str,
) -> Option<Json<'static>> {
    let of = |kind: &'static str| Native { kind: kind.into(), cited_text: cited_text.into(), ..Native::default() };
    let of_document = |kind: &'static str, range: &WireRange| Native {
        document_index: Some(range.document_index.unwrap_or_default()),
        document_title: title.map(Text::lend),
        ..of(kind)
    };
    let native = match location {
        WireLocation { document_char: Some(range), .. } => Native {
            start_char_index: Some(range.start),
            end_char_index: Some(range.end),
            ..of_document("char_location", range)
        },
        WireLocation { document_page: Some(range), .. } => Native {
            start_page_number: Some(range.start),
            end_page_number: Some(range.end),
            ..of_document("page_location", range)
        },
        WireLocation { document_chunk: Some(range), .. } => Native {
            start_block_index: Some(range.start),
            end_block_index: Some(range.end),
            ..of_document("content_block_location", range)
        },
        WireLocation { search_result_location: Some(range), .. } => Native {
            source: Some(source.map(Text::lend).unwrap_or_default()),
            title: title.map(Text::lend),
            search_result_index: Some(range.search_result_index.unwrap_or_default()),
            start_block_index: Some(range.start),
            end_block_index: Some(range.end),
            ..of("search_result_location")
        },
        _ => return None,
    };
    Some(Json::of(&native))
}

/// Writes a citation.
pub(super) fn written<'a>(citation: &'a Citation<'a>) -> WireCitation<'a> {
    let Citation { url, title, cited_text, native } = citation;
    let native: Option<Native<'a>> = native.as_ref().and_then(Json::read);
    let place = native.as_ref().and_then(place);
    let is_result = place.as_ref().is_some_and(|place| place.search_result_location.is_some());
    let web = || url.as_ref().map(|url| WireLocation { web: Some(web(url)), ..WireLocation::default() });
    WireCitation {
        title: title.as_ref().map(Text::lend),
        source: url.as_ref().filter(|_| is_result).map(Text::lend),
        source_content: cited_text.iter().map(|text| WireText { text: text.lend() }).collect(),
        location: place.or_else(web),
    }
}

fn place(native: &Native<'_>) -> Option<WireLocation<'static>> {
    let range = |start: Option<u64>, end: Option<u64>| WireRange {
        document_index: native.document_index,
        search_result_index: native.search_result_index,
        start: start.unwrap_or_default(),
        end: end.unwrap_or_default(),
    };
    let chunk = || range(native.start_block_index, native.end_block_index);
    let mut location = WireLocation::default();
    match &*native.kind {
        "char_location" => location.document_char = Some(range(native.start_char_index, native.end_char_index)),
        "page_location" => location.document_page = Some(range(native.start_page_number, native.end_page_number)),
        "content_block_location" => location.document_chunk = Some(chunk()),
        "search_result_location" => location.search_result_location = Some(chunk()),
        _ => return None,
    }
    Some(location)
}

fn web(url: &str) -> WireWeb<'_> {
    let host = url.split_once("://").map(|(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or_default());
    WireWeb { url: Some(url.into()), domain: host.filter(|host| !host.is_empty()).map(Text::from) }
}
