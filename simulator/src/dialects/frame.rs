//! Events and exceptions in the frames of Bedrock.

use bytes::Bytes;
use tollgate_dialect::bedrock::frames;

/// One event.
pub(crate) fn event(kind: &str, payload: &[u8]) -> Bytes {
    framed(|out| frames::event(kind, out, |out| out.extend_from_slice(payload)))
}

/// One exception, which ends a stream.
pub(crate) fn exception(kind: &str, payload: &[u8]) -> Bytes {
    framed(|out| frames::exception(kind, out, |out| out.extend_from_slice(payload)))
}

fn framed(write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut frame = Vec::new();
    write(&mut frame);
    frame.into()
}
