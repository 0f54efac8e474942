//! What the clouds that carry bodies of Anthropic Messages do with them: the model stands in the path, and a version in the body.

use crate::{
    error::Malformed,
    splice::{Edit, Object, quoted},
};

/// A body of Messages, made ready for a cloud.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Enveloped {
    /// The body to send.
    pub body: Vec<u8>,
    /// The model, which belongs into the path.
    pub model: String,
    /// Whether the answer shall be a stream, which the path says too.
    pub is_stream: bool,
}

/// Puts a body of Messages into an envelope. Every byte that is not told of in `edits` stays.
pub(crate) fn wrap(
    body: &[u8],
    version: &str,
    edits: impl FnOnce(&Object<'_>) -> Result<Vec<Edit<'static>>, Malformed>,
) -> Result<Enveloped, Malformed> {
    let object = Object::read(body)?;
    let model = object.get("model").ok_or(Malformed::Missing("model"))?;
    let model =
        serde_json::from_str(model.get()).map_err(|_| Malformed::Invalid { field: "model", expected: "a text" })?;
    let is_stream = match object.get("stream") {
        None => false,
        Some(raw) => serde_json::from_str::<Option<bool>>(raw.get())
            .map_err(|_| Malformed::Invalid { field: "stream", expected: "true or false" })?
            .unwrap_or_default(),
    };
    let mut all = vec![
        Edit::Set("anthropic_version", quoted(version)),
        Edit::Remove("model"),
        // What Claude Code tells gateways of a request, and no cloud takes.
        Edit::Remove("tags"),
    ];
    all.extend(edits(&object)?);
    Ok(Enveloped { body: object.edited(&all), model, is_stream })
}
