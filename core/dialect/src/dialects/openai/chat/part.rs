//! Parts of a message's content, both ways.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    call::is_custom,
    wire::{WireAudio, WireBreakpoint, WireCache, WireFile, WirePart, WireUrl},
};
use crate::{
    dialects::{
        openai::media::{data_url, inline},
        read::{each, field, is_text},
    },
    error::DecodeError,
    hub::{Block, Json, Media, MediaKind, Source, Text},
};

type Read<T> = Result<T, DecodeError>;

/// The API wants a name for a file's bytes: what one without a title is called, and read as being without.
const PDF_NAME: &str = "document.pdf";
const FILE_NAME: &str = "document";
/// What a model says aloud, in the hub.
pub(super) const AUDIO: &str = "audio";

/// Reads `content`: a text, or parts. Empty texts say nothing, and most dialects refuse them.
pub(super) fn content<'a>(raw: &'a RawValue) -> Read<Vec<Block<'a>>> {
    let is_said = |block: &Block<'_>| !matches!(block, Block::Text { text, .. } if text.is_empty());
    let mut blocks =
        if is_text(raw) { vec![Block::text(field::<Text<'a>>("content", raw)?)] } else { each("content", raw, part)? };
    blocks.retain(is_said);
    Ok(blocks)
}

fn part<'a>(raw: &'a RawValue) -> Read<Block<'a>> {
    // Some vendors take texts in the list.
    if is_text(raw) {
        return Ok(Block::text(field::<Text<'a>>("", raw)?));
    }
    let wire: WirePart<'a> = field("", raw)?;
    let breakpoint = wire.prompt_cache_breakpoint.as_ref().map(WireBreakpoint::cache);
    let cache = wire.cache_control.as_ref().map(WireCache::cache).or(breakpoint);
    Ok(match &*wire.kind {
        "text" | "input_text" | "output_text" => {
            Block::Text { text: needed("text", wire.text)?, citations: Vec::new(), cache }
        }
        "refusal" => Block::text(needed("refusal", wire.refusal)?),
        "thinking" => Block::Thinking { text: thinking(needed("thinking", wire.thinking)?)?, signature: None },
        "image_url" => {
            let WireUrl { url, detail } = link("image_url", needed("image_url", wire.image_url)?)?;
            medium(Media { detail, cache, ..Media::new(MediaKind::Image, source(url)) })
        }
        "video_url" => {
            let WireUrl { url, detail: _ } = link("video_url", needed("video_url", wire.video_url)?)?;
            medium(Media { cache, ..Media::new(MediaKind::Video, source(url)) })
        }
        "input_audio" => {
            let WireAudio { data, format } = needed("input_audio", wire.input_audio)?;
            let media_type = if &*format == "mp3" { "audio/mpeg".into() } else { format!("audio/{}", &*format).into() };
            medium(Media { cache, ..Media::new(MediaKind::Audio, Source::Base64 { media_type, data }) })
        }
        "file" => {
            let file = file(needed("file", wire.file)?).map_err(|error| error.within("file", None))?;
            medium(Media { cache, ..file })
        }
        // They stand beside the content: within it they are a mistake, and would be written where they belong.
        kind if kind == AUDIO || is_custom(kind) => return Err(DecodeError::invalid("type", "the type of a part")),
        _ => Block::Other {
            kind: needed("type", Some(wire.kind).filter(|kind| !kind.is_empty()))?,
            json: field("", raw)?,
        },
    })
}

fn medium(media: Media<'_>) -> Block<'_> {
    Block::Media(Box::new(media))
}

fn needed<T>(name: &str, value: Option<T>) -> Read<T> {
    value.ok_or_else(|| DecodeError::invalid(name, "there"))
}

// Some clients send the URL itself.
fn link<'a>(name: &str, raw: &'a RawValue) -> Read<WireUrl<'a>> {
    if is_text(raw) { Ok(WireUrl { url: field(name, raw)?, detail: None }) } else { field(name, raw) }
}

/// Reads what a part of Mistral says of the thinking: a text, or parts.
pub(super) fn thinking<'a>(raw: &'a RawValue) -> Read<Text<'a>> {
    if is_text(raw) {
        return field("thinking", raw);
    }
    let mut text = String::new();
    for block in each("thinking", raw, part)? {
        if let Block::Text { text: piece, .. } = block {
            text.push_str(&piece);
        }
    }
    Ok(text.into())
}

fn file(wire: WireFile<'_>) -> Read<Media<'_>> {
    let WireFile { filename, file_data, file_id } = wire;
    let title = filename.filter(|name| ![PDF_NAME, FILE_NAME].contains(&&**name));
    let source = match (file_id, file_data) {
        (Some(id), None) => Source::File { id },
        (_, Some(data)) if data.starts_with("data:") || data.starts_with("http") => source(data),
        (_, Some(data)) => Source::Base64 { media_type: "application/pdf".into(), data },
        (None, None) => return Err(DecodeError::invalid("file_data", "there, or `file_id`")),
    };
    Ok(Media { title, ..Media::new(MediaKind::Document, source) })
}

/// Where a URL points: a `data:` URL has the content in itself.
fn source(url: Text<'_>) -> Source<'_> {
    inline(&url).unwrap_or(Source::Url { url, media_type: None })
}

/// A part, as it is written.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Piece<'a> {
    /// One that the hub models.
    Part(Part<'a>),
    /// One that is only this dialect's own.
    Own(&'a Json<'a>),
}

#[derive(Debug, Serialize)]
pub(super) struct Part<'a> {
    #[serde(flatten)]
    pub(super) kind: PartKind<'a>,
    #[serde(flatten)]
    pub(super) mark: Mark,
}

/// Up to here, the prompt is cached.
#[derive(Debug, Default, Serialize)]
pub(super) struct Mark {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cache_control: Option<WireCache<'static>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) prompt_cache_breakpoint: Option<WireBreakpoint<'static>>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum PartKind<'a> {
    Text { text: Cow<'a, str> },
    ImageUrl { image_url: Url<'a> },
    VideoUrl { video_url: Url<'a> },
    InputAudio { input_audio: WireAudio<'a> },
    File { file: WireFile<'a> },
}

#[derive(Debug, Serialize)]
pub(super) struct Url<'a> {
    pub(super) url: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) detail: Option<&'a Text<'a>>,
}

// === impl Mark ===

impl Mark {
    /// Whether nothing is marked.
    pub(super) const fn is_none(&self) -> bool {
        self.cache_control.is_none() && self.prompt_cache_breakpoint.is_none()
    }
}

/// Writes an image.
pub(super) fn image<'a>(media: &'a Media<'a>) -> Option<PartKind<'a>> {
    Some(PartKind::ImageUrl { image_url: Url { url: url(&media.source)?, detail: media.detail.as_ref() } })
}

/// Writes a video.
pub(super) fn video<'a>(media: &'a Media<'a>) -> Option<PartKind<'a>> {
    Some(PartKind::VideoUrl { video_url: Url { url: url(&media.source)?, detail: None } })
}

/// Writes sound.
pub(super) fn audio<'a>(media_type: &'a str, data: &'a Text<'a>) -> PartKind<'a> {
    let format = match media_type.rsplit_once('/').map_or(media_type, |(_, format)| format) {
        "mpeg" | "mp3" => "mp3",
        "wav" | "x-wav" | "wave" => "wav",
        format => format,
    };
    PartKind::InputAudio { input_audio: WireAudio { data: data.lend(), format: format.into() } }
}

/// Writes the bytes of a document.
pub(super) fn document<'a>(media: &'a Media<'a>) -> Option<PartKind<'a>> {
    let Source::Base64 { media_type, .. } = &media.source else { return None };
    let unnamed = || if &**media_type == "application/pdf" { PDF_NAME } else { FILE_NAME }.into();
    Some(PartKind::File {
        file: WireFile {
            filename: Some(media.title.as_ref().map_or_else(unnamed, Text::lend)),
            file_data: Some(Text(url(&media.source)?)),
            file_id: None,
        },
    })
}

fn url<'a>(source: &'a Source<'a>) -> Option<Cow<'a, str>> {
    match source {
        Source::Base64 { media_type, data } => Some(data_url(media_type, data).into()),
        Source::Url { url, .. } => Some(Cow::Borrowed(url)),
        Source::Text { .. } | Source::Blocks { .. } | Source::File { .. } => None,
    }
}
