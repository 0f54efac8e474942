//! Writes images, documents, audio and video.

use super::{
    formats,
    piece::{Piece, Writing},
    wire::{WireEnabled, WireMedia, WireSource, WireText},
};
use crate::hub::{Block, Feature, Media, MediaKind, Source, Text};

/// Writes a medium: a block, a link in the text, or a note that it is left out.
pub(super) fn media<'a>(writing: &mut Writing<'_>, media: &'a Media<'a>) -> Option<Piece<'a>> {
    let (source, format) = match &media.source {
        Source::Base64 { media_type, data } => {
            let Some(format) = formats::format(media.kind, media_type) else {
                writing.losses.drop(by_bytes(media.kind));
                return Some(Piece::Text(media.kind.left_out().into()));
            };
            (WireSource { bytes: Some(data.lend()), ..WireSource::default() }, format)
        }
        Source::Url { url, .. } => return Some(link(writing, media, url)),
        Source::Text { text } => (WireSource { text: Some(text.lend()), ..WireSource::default() }, "txt"),
        Source::Blocks { blocks } => {
            let content = blocks.iter().filter_map(|block| text(writing, block)).collect();
            (WireSource { content: Some(content), ..WireSource::default() }, "txt")
        }
        Source::File { .. } => {
            writing.losses.meet(Feature::File);
            return Some(Piece::Text(media.kind.left_out().into()));
        }
    };
    let wire = WireMedia { format: Some(format.into()), source, ..WireMedia::default() };
    Some(match media.kind {
        MediaKind::Image => Piece::Image(Box::new(wire)),
        MediaKind::Audio => Piece::Audio(Box::new(wire)),
        MediaKind::Video => Piece::Video(Box::new(wire)),
        MediaKind::Document => Piece::Document(Box::new(WireMedia {
            name: Some(Text(writing.names.next(media.title.as_deref()))),
            context: media.context.as_ref().map(Text::lend),
            citations: media.is_cited.then_some(WireEnabled { enabled: true }),
            ..wire
        })),
    })
}

const fn by_bytes(kind: MediaKind) -> Feature {
    match kind {
        MediaKind::Image => Feature::ImageBytes,
        MediaKind::Document => Feature::DocumentBytes,
        MediaKind::Audio => Feature::Audio,
        MediaKind::Video => Feature::Video,
    }
}

// The API fetches from S3 alone.
fn link<'a>(writing: &mut Writing<'_>, media: &Media<'a>, url: &str) -> Piece<'a> {
    let (name, feature) = match media.kind {
        MediaKind::Image => ("Image", Feature::ImageUrl),
        MediaKind::Document => ("Document", Feature::DocumentUrl),
        MediaKind::Audio => ("Audio", Feature::Audio),
        MediaKind::Video => ("Video", Feature::Video),
    };
    writing.losses.approximate(feature);
    Piece::Text(format!("[{name}: {url}]").into())
}

fn text<'a>(writing: &mut Writing<'_>, block: &'a Block<'a>) -> Option<WireText<'a>> {
    match block {
        Block::Text { text, .. } => Some(WireText { text: text.lend() }),
        Block::Media(media) => {
            writing.losses.drop(by_bytes(media.kind));
            None
        }
        _ => None,
    }
}
