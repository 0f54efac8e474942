//! Compresses a body event by event, so that each can be read when it arrives.

use crate::behaviour::Encoding;
use bytes::Bytes;
use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};
use std::io::{self, Write};

pub(super) enum Encoder {
    Gzip(GzEncoder<Vec<u8>>),
    Deflate(ZlibEncoder<Vec<u8>>),
    Zstd(Box<zstd::stream::write::Encoder<'static, Vec<u8>>>),
}

impl Encoder {
    pub(super) fn new(encoding: Encoding) -> Option<Self> {
        Some(match encoding {
            Encoding::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), Compression::fast())),
            Encoding::Deflate => Self::Deflate(ZlibEncoder::new(Vec::new(), Compression::fast())),
            Encoding::Zstd => Self::Zstd(Box::new(zstd::stream::write::Encoder::new(Vec::new(), 1).ok()?)),
        })
    }

    /// Compresses one event, to its last byte.
    pub(super) fn encode(&mut self, event: &[u8]) -> Bytes {
        let written = match self {
            Self::Gzip(encoder) => flushed(encoder, event).map(|()| encoder.get_mut()),
            Self::Deflate(encoder) => flushed(encoder, event).map(|()| encoder.get_mut()),
            Self::Zstd(encoder) => flushed(encoder.as_mut(), event).map(|()| encoder.get_mut()),
        };
        // Writing to memory does not fail.
        written.map(std::mem::take).unwrap_or_default().into()
    }

    /// What ends the compressed stream.
    pub(super) fn finish(self) -> Bytes {
        let end = match self {
            Self::Gzip(encoder) => encoder.finish(),
            Self::Deflate(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        };
        end.unwrap_or_default().into()
    }
}

fn flushed(encoder: &mut impl Write, event: &[u8]) -> io::Result<()> {
    encoder.write_all(event)?;
    encoder.flush()
}
