//! The frames of `application/vnd.amazon.eventstream`: <https://smithy.io/2.0/aws/amazon-eventstream.html>.
//!
//! A frame is its total length, the length of its headers, the CRC-32 of these eight bytes, the headers, the payload, and the CRC-32
//! of all before it; numbers are big-endian.

use bytes::{BufMut, Bytes, BytesMut};

/// Lengths of the frame and of the headers, their checksum, and the checksum of all.
const AROUND_BYTES: usize = 4 + 4 + 4 + 4;
/// The type of a header whose value is a text.
const TEXT: u8 = 7;

/// One event.
pub(crate) fn event(kind: &str, payload: &[u8]) -> Bytes {
    frame(&[(":event-type", kind), (":content-type", "application/json"), (":message-type", "event")], payload)
}

/// One exception, which ends a stream.
pub(crate) fn exception(kind: &str, payload: &[u8]) -> Bytes {
    frame(&[(":exception-type", kind), (":content-type", "application/json"), (":message-type", "exception")], payload)
}

fn frame(headers: &[(&str, &str)], payload: &[u8]) -> Bytes {
    let headers_bytes: usize = headers.iter().map(|(name, value)| 1 + name.len() + 1 + 2 + value.len()).sum();
    let total = AROUND_BYTES + headers_bytes + payload.len();
    let mut frame = BytesMut::with_capacity(total);
    frame.put_u32(length(total));
    frame.put_u32(length(headers_bytes));
    frame.put_u32(crc32fast::hash(&frame));
    for (name, value) in headers {
        frame.put_u8(u8::try_from(name.len()).unwrap_or(u8::MAX));
        frame.put_slice(name.as_bytes());
        frame.put_u8(TEXT);
        frame.put_u16(u16::try_from(value.len()).unwrap_or(u16::MAX));
        frame.put_slice(value.as_bytes());
    }
    frame.put_slice(payload);
    frame.put_u32(crc32fast::hash(&frame));
    frame.freeze()
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_lengths_checksums_headers_and_payload() {
        let frame = event("chunk", b"{}");
        let number = |at: usize| u32::from_be_bytes(frame[at..at + 4].try_into().unwrap());
        assert_eq!(number(0) as usize, frame.len());
        assert_eq!(number(8), crc32fast::hash(&frame[..8]));
        let headers = 12 + number(4) as usize;
        assert_eq!(&frame[12..29], b"\x0b:event-type\x07\0\x05ch");
        assert_eq!(&frame[headers..headers + 2], b"{}");
        assert_eq!(number(frame.len() - 4), crc32fast::hash(&frame[..frame.len() - 4]));
    }
}
