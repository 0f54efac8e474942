//! The formats of images, documents, audio and video, beside their media types.

use crate::hub::MediaKind::{self, Audio, Document, Image, Video};

/// Of what, the API's word, the media type. The first that fits is taken, in either direction.
const FORMATS: &[(MediaKind, &str, &str)] = &[
    (Image, "png", "image/png"),
    (Image, "jpeg", "image/jpeg"),
    (Image, "jpeg", "image/jpg"),
    (Image, "gif", "image/gif"),
    (Image, "webp", "image/webp"),
    (Document, "pdf", "application/pdf"),
    (Document, "txt", "text/plain"),
    (Document, "md", "text/markdown"),
    (Document, "csv", "text/csv"),
    (Document, "html", "text/html"),
    (Document, "doc", "application/msword"),
    (Document, "docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    (Document, "xls", "application/vnd.ms-excel"),
    (Document, "xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    (Audio, "wav", "audio/wav"),
    (Audio, "wav", "audio/x-wav"),
    (Audio, "mp3", "audio/mpeg"),
    (Audio, "mp3", "audio/mp3"),
    (Audio, "mpga", "audio/mpeg"),
    (Audio, "mpeg", "audio/mpeg"),
    (Audio, "m4a", "audio/mp4"),
    (Audio, "m4a", "audio/m4a"),
    (Audio, "mp4", "audio/mp4"),
    (Audio, "flac", "audio/flac"),
    (Audio, "aac", "audio/aac"),
    (Audio, "x-aac", "audio/x-aac"),
    (Audio, "ogg", "audio/ogg"),
    (Audio, "opus", "audio/opus"),
    (Audio, "webm", "audio/webm"),
    (Audio, "pcm", "audio/pcm"),
    (Audio, "mkv", "audio/x-matroska"),
    (Audio, "mka", "audio/x-matroska"),
    (Video, "mp4", "video/mp4"),
    (Video, "mov", "video/quicktime"),
    (Video, "webm", "video/webm"),
    (Video, "mkv", "video/x-matroska"),
    (Video, "mpeg", "video/mpeg"),
    (Video, "mpg", "video/mpeg"),
    (Video, "flv", "video/x-flv"),
    (Video, "wmv", "video/x-ms-wmv"),
    (Video, "three_gp", "video/3gpp"),
];

/// The API's word for a media type.
pub(super) fn format(kind: MediaKind, media_type: &str) -> Option<&'static str> {
    // Parameters such as a charset change nothing.
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    let found = FORMATS.iter().find(|row| row.0 == kind && row.2.eq_ignore_ascii_case(media_type));
    found.map(|row| row.1)
}

/// The media type of the API's word.
pub(super) fn media_type(kind: MediaKind, format: &str) -> Option<&'static str> {
    FORMATS.iter().find(|row| row.0 == kind && row.1 == format).map(|row| row.2)
}
