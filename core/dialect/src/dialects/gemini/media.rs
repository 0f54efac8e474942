//! Images, documents, audio and video: `inlineData` and `fileData`, both ways.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::wire::{WireBlob, WireFile, WirePart, WireResolution};
use crate::hub::{Block, Media, MediaKind, Source, Text};

const PLAIN_TEXT: &str = "text/plain";

/// Types by the ending of a URL, since the API wants one beside each URL, and other dialects do not say it.
const TYPES: [(&str, &str); 20] = [
    (".png", "image/png"),
    (".jpg", "image/jpeg"),
    (".jpeg", "image/jpeg"),
    (".webp", "image/webp"),
    (".gif", "image/gif"),
    (".heic", "image/heic"),
    (".pdf", "application/pdf"),
    (".txt", PLAIN_TEXT),
    (".md", "text/markdown"),
    (".html", "text/html"),
    (".csv", "text/csv"),
    (".json", "application/json"),
    (".mp3", "audio/mp3"),
    (".wav", "audio/wav"),
    (".flac", "audio/flac"),
    (".ogg", "audio/ogg"),
    (".mp4", "video/mp4"),
    (".mov", "video/mov"),
    (".webm", "video/webm"),
    (".mpeg", "video/mpeg"),
];

/// Reads bytes that are here.
pub(super) fn read_blob<'a>(blob: WireBlob<'a>, resolution: Option<WireResolution<'a>>) -> Media<'a> {
    let WireBlob { mime_type, data, display_name } = blob;
    let data = plain(data);
    let kind = MediaKind::of(&mime_type);
    let plain = (mime_type == *PLAIN_TEXT).then(|| STANDARD.decode(data.as_bytes()).ok()).flatten();
    let source = match plain.and_then(|bytes| String::from_utf8(bytes).ok()) {
        Some(text) => Source::Text { text: text.into() },
        None => Source::Base64 { media_type: mime_type, data },
    };
    Media { title: display_name, detail: detail(resolution), ..Media::new(kind, source) }
}

// JSON of protocol buffers has base64 in either alphabet, with and without padding, and Google's SDK for Python writes that of URLs. All
// others take the plain one alone.
fn plain(data: Text<'_>) -> Text<'_> {
    let missing = match data.len() % 4 {
        rest @ 2..=3 if !data.ends_with('=') => 4 - rest,
        _ => 0,
    };
    if missing == 0 && !data.contains(['-', '_']) {
        return data;
    }
    let mut plain = data.replace('-', "+").replace('_', "/");
    plain.extend(std::iter::repeat_n('=', missing));
    plain.into()
}

/// Reads bytes that are elsewhere.
pub(super) fn read_file<'a>(file: WireFile<'a>, resolution: Option<WireResolution<'a>>) -> Media<'a> {
    let WireFile { mime_type, file_uri: url, display_name } = file;
    let expected = type_of(&url);
    let kind = MediaKind::of(mime_type.as_deref().or(expected).unwrap_or_default());
    let media_type = mime_type.filter(|told| Some(&**told) != expected);
    Media { title: display_name, detail: detail(resolution), ..Media::new(kind, Source::Url { url, media_type }) }
}

/// Writes a medium; `None` for what is no medium with bytes or a URL.
pub(super) fn write<'a>(media: &'a Media<'a>, is_own: bool) -> Option<WirePart<'a>> {
    // Only Vertex takes names, and only the newest models a resolution: they are written where the client gave them so.
    let display_name = || media.title.as_ref().filter(|_| is_own).map(Text::lend);
    let blob = |mime_type, data| WireBlob { mime_type, data, display_name: display_name() };
    let part = match &media.source {
        Source::Base64 { media_type, data } => {
            WirePart { inline_data: Some(blob(media_type.lend(), data.lend())), ..WirePart::default() }
        }
        Source::Text { text } => {
            let data = STANDARD.encode(text.as_bytes()).into();
            WirePart { inline_data: Some(blob(PLAIN_TEXT.into(), data)), ..WirePart::default() }
        }
        Source::Url { url, media_type } => {
            let known = media_type.as_deref().or_else(|| type_of(url)).unwrap_or(usual(media.kind));
            let file = WireFile { mime_type: Some(known.into()), file_uri: url.lend(), display_name: display_name() };
            WirePart { file_data: Some(file), ..WirePart::default() }
        }
        Source::Blocks { .. } | Source::File { .. } => return None,
    };
    Some(WirePart { media_resolution: media.detail.as_ref().filter(|_| is_own).and_then(resolution), ..part })
}

/// What the model shall know of a medium, as text ahead of it: the API has no field for it.
pub(super) fn about(media: &Media<'_>, is_own: bool) -> Option<String> {
    let title = media.title.as_ref().filter(|_| !is_own && media.kind == MediaKind::Document);
    let title = title.map(|title| format!("The title of the document that follows: {}", &**title));
    let lines: Vec<String> = title.into_iter().chain(media.context.as_ref().map(|text| text.to_string())).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// The blocks of a document that is made of blocks.
pub(super) fn pieces<'a>(media: &'a Media<'a>) -> Option<&'a [Block<'a>]> {
    match &media.source {
        Source::Blocks { blocks } => Some(blocks),
        _ => None,
    }
}

fn type_of(url: &str) -> Option<&'static str> {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    let ending = path.get(path.rfind('.')?..)?;
    TYPES.iter().find(|(known, _)| known.eq_ignore_ascii_case(ending)).map(|(_, media_type)| *media_type)
}

// A URL without an ending: the type that such a medium mostly has.
const fn usual(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Image => "image/jpeg",
        MediaKind::Document => "application/pdf",
        MediaKind::Audio => "audio/mp3",
        MediaKind::Video => "video/mp4",
    }
}

const LEVEL: &str = "MEDIA_RESOLUTION_";

fn detail<'a>(wire: Option<WireResolution<'a>>) -> Option<Text<'a>> {
    let level = wire?.level;
    let word = level.strip_prefix(LEVEL).filter(|word| *word != "UNSPECIFIED")?;
    Some(word.to_ascii_lowercase().into())
}

fn resolution<'a>(detail: &Text<'_>) -> Option<WireResolution<'a>> {
    let is_known = ["low", "medium", "high", "ultra_high"].contains(&&**detail);
    is_known.then(|| WireResolution { level: [LEVEL, &detail.to_ascii_uppercase()].concat().into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_in_either_alphabet_and_with_or_without_padding() {
        for (given, expect) in [
            ("", ""),
            ("AAAA", "AAAA"),
            ("+/8=", "+/8="),
            ("-_8=", "+/8="),
            ("-_8", "+/8="),
            ("+/8", "+/8="),
            ("_w", "/w=="),
            // What is no base64 stays for the provider to refuse.
            ("A", "A"),
            ("AA=", "AA="),
        ] {
            let blob = WireBlob { mime_type: "image/png".into(), data: given.into(), display_name: None };
            let expect = Source::Base64 { media_type: "image/png".into(), data: expect.into() };
            assert_eq!(read_blob(blob, None).source, expect, "{given}");
        }
        let blob = WireBlob { mime_type: PLAIN_TEXT.into(), data: "w7_Dvw".into(), display_name: None };
        assert_eq!(read_blob(blob, None).source, Source::Text { text: "ÿÿ".into() });
    }
}
