//! What is left alone. A provider has sealed its thinking, and refuses what was changed of it; what it sealed came from there. And pictures
//! hold no text that could be read here.

use tollgate_scan::json::Sealed;

/// In requests and answers of every dialect.
pub(super) const SEALED: Sealed<'static> = Sealed(&[
    // Anthropic: thinking, what a server's tool found, and in answers the same one level higher.
    &["messages", "content", "thinking"],
    &["messages", "content", "signature"],
    &["messages", "content", "data"],
    &["messages", "content", "encrypted_content"],
    &["messages", "content", "content", "encrypted_content"],
    &["messages", "content", "citations", "encrypted_index"],
    &["content", "thinking"],
    &["content", "signature"],
    &["content", "data"],
    &["content", "encrypted_content"],
    &["content", "content", "encrypted_content"],
    &["content", "citations", "encrypted_index"],
    // OpenAI's Responses.
    &["input", "encrypted_content"],
    &["output", "encrypted_content"],
    // OpenRouter.
    &["messages", "reasoning_details"],
    &["choices", "message", "reasoning_details"],
    // Gemini.
    &["contents", "parts", "thoughtSignature"],
    &["contents", "parts", "thought_signature"],
    &["candidates", "content", "parts", "thoughtSignature"],
    // Converse.
    &["messages", "content", "reasoningContent"],
    &["output", "message", "content", "reasoningContent"],
]);

// With what PNG, JPEG, GIF, WebP and PDF begin in base64, and what says so.
const PICTURES: [&[u8]; 6] = [b"iVBORw0KGgo", b"/9j/", b"R0lGOD", b"UklGR", b"JVBERi0", b"data:image/"];
/// A shorter text is looked at, whatever it begins with.
const PICTURE_BYTES_MIN: usize = 1_024;

/// Whether a string is a picture, or a document in a compressed form.
pub(super) fn is_picture(raw: &[u8]) -> bool {
    raw.len() >= PICTURE_BYTES_MIN && PICTURES.iter().any(|magic| raw.starts_with(magic))
}

/// In which of the sealed places the part of a document may be, as a number: what is remembered of a part holds for one of them.
pub(super) fn way(name: &[u8]) -> u64 {
    let roots = SEALED.0.iter().map(|path| path.first().copied().unwrap_or_default());
    let at = roots.into_iter().position(|root| root.as_bytes() == name);
    at.map_or(0, |at| u64::try_from(at).unwrap_or_default().saturating_add(1))
}
