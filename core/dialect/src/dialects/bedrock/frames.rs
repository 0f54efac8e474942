//! The frames of `application/vnd.amazon.eventstream`: <https://smithy.io/2.0/aws/amazon-eventstream.html>.
//!
//! ```text
//! total length | length of the headers | CRC-32 of these 8 bytes | headers | payload | CRC-32 of all before it
//! header: length of the name (1 byte) | name | type of the value (1 byte) | value
//! ```
//! Numbers are big-endian. A frame whose checksum or shape is wrong ends the stream: where the next one begins is not known then.

mod value;

pub use value::Value;

/// Two lengths and their checksum.
const PRELUDE_BYTES: usize = 12;
const CHECKSUM_BYTES: usize = 4;
/// What a frame has around its headers and its payload.
const AROUND_BYTES: usize = PRELUDE_BYTES + CHECKSUM_BYTES;
/// What a buffer may keep once its frame is done; more is given back, so that one large frame does not burden a long stream.
const KEPT_BYTES_MAX: usize = 4 * 1024;

/// One frame, as long as it is looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Frame<'a> {
    // Whole and well-formed: that is checked before there is a frame.
    headers: &'a [u8],
    /// What it carries.
    pub payload: &'a [u8],
}

/// Why bytes are no frames.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Broken {
    /// A checksum is not that of the bytes.
    #[error("the checksum of a frame is wrong")]
    Checksum,
    /// The lengths of a frame contradict each other.
    #[error("the lengths of a frame contradict each other")]
    Lengths,
    /// A frame is larger than the limit.
    #[error("a frame is too large")]
    TooLarge,
    /// The headers of a frame cannot be read.
    #[error("the headers of a frame cannot be read")]
    Headers,
    /// The stream ended in the middle of a frame.
    #[error("the stream ended in the middle of a frame")]
    Truncated,
}

/// Finds the frames of one stream.
#[derive(Debug)]
pub struct Splitter {
    bytes_max: usize,
    // The beginning of a frame whose end has not arrived.
    held: Vec<u8>,
    // How many bytes the whole frames had.
    boundary: u64,
    is_broken: bool,
}

// === impl Splitter ===

impl Splitter {
    /// A splitter that reads frames of at most `bytes_max`, and holds no more than that.
    #[must_use]
    pub const fn new(bytes_max: usize) -> Self {
        Self { bytes_max, held: Vec::new(), boundary: 0, is_broken: false }
    }

    /// Takes the next bytes, cut anywhere, and hands out each frame that they complete, in order. What is broken is told once; nothing
    /// follows it. A frame that lies whole in one piece is handed out without a copy.
    pub fn push(&mut self, bytes: &[u8], mut sink: impl FnMut(Result<Frame<'_>, Broken>)) {
        let mut rest = bytes;
        while !rest.is_empty() && !self.is_broken {
            match self.next(&mut rest, &mut sink) {
                Ok(()) => {}
                Err(broken) => {
                    self.is_broken = true;
                    self.held = Vec::new();
                    sink(Err(broken));
                }
            }
        }
    }

    /// Where the last whole frame ends: the offset from the start of the stream.
    #[must_use]
    pub const fn boundary(&self) -> u64 {
        self.boundary
    }

    /// The stream has ended.
    ///
    /// # Errors
    /// When it ended in the middle of a frame.
    pub fn end(&mut self) -> Result<(), Broken> {
        let is_whole = self.is_broken || self.held.is_empty();
        self.is_broken = true;
        if is_whole { Ok(()) } else { Err(Broken::Truncated) }
    }

    fn next(&mut self, rest: &mut &[u8], sink: &mut impl FnMut(Result<Frame<'_>, Broken>)) -> Result<(), Broken> {
        if self.held.is_empty() {
            if let Some(total) = total_of(rest, self.bytes_max)?
                && let Some((frame, behind)) = rest.split_at_checked(total)
            {
                *rest = behind;
                sink(Ok(read(frame)?));
                self.boundary += total as u64;
                return Ok(());
            }
            self.hold(rest, usize::MAX);
            return Ok(());
        }
        // The prelude comes first, since it says how much more belongs to the frame.
        self.hold(rest, PRELUDE_BYTES);
        let Some(total) = total_of(&self.held, self.bytes_max)? else { return Ok(()) };
        self.hold(rest, total);
        if self.held.len() == total {
            let mut held = std::mem::take(&mut self.held);
            sink(Ok(read(&held)?));
            self.boundary += held.len() as u64;
            held.clear();
            held.shrink_to(KEPT_BYTES_MAX);
            self.held = held;
        }
        Ok(())
    }

    // Moves bytes behind those that are held, until they are so many.
    fn hold(&mut self, rest: &mut &[u8], bytes: usize) {
        let missing = bytes.saturating_sub(self.held.len()).min(rest.len());
        let (taken, behind) = rest.split_at_checked(missing).unwrap_or((rest, &[]));
        self.held.extend_from_slice(taken);
        *rest = behind;
    }
}

// The length of the frame that begins there, once its prelude is whole.
fn total_of(bytes: &[u8], bytes_max: usize) -> Result<Option<usize>, Broken> {
    let Some((lengths, checked)) = bytes.get(..PRELUDE_BYTES).and_then(|prelude| prelude.split_at_checked(8)) else {
        return Ok(None);
    };
    if number(checked) != crc32fast::hash(lengths) {
        return Err(Broken::Checksum);
    }
    let (total, headers) = (number(lengths) as usize, number(lengths.get(4..).unwrap_or_default()) as usize);
    if total < AROUND_BYTES || headers > total - AROUND_BYTES {
        return Err(Broken::Lengths);
    }
    if total > bytes_max { Err(Broken::TooLarge) } else { Ok(Some(total)) }
}

// Reads a whole frame, whose prelude has been read.
fn read(frame: &[u8]) -> Result<Frame<'_>, Broken> {
    let (checked, checksum) =
        frame.split_last_chunk::<CHECKSUM_BYTES>().map(|(all, sum)| (all, sum.as_slice())).ok_or(Broken::Lengths)?;
    if number(checksum) != crc32fast::hash(checked) {
        return Err(Broken::Checksum);
    }
    let headers_bytes = number(frame.get(4..).unwrap_or_default()) as usize;
    let content = checked.get(PRELUDE_BYTES..).ok_or(Broken::Lengths)?;
    let (headers, payload) = content.split_at_checked(headers_bytes).ok_or(Broken::Lengths)?;
    let frame = Frame { headers, payload };
    let mut unread = headers;
    while !unread.is_empty() {
        value::header(&mut unread).ok_or(Broken::Headers)?;
    }
    Ok(frame)
}

fn number(bytes: &[u8]) -> u32 {
    bytes.first_chunk().copied().map(u32::from_be_bytes).unwrap_or_default()
}

// === impl Frame ===

impl<'a> Frame<'a> {
    /// Its headers, in order.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, Value<'a>)> + use<'a> {
        let mut unread = self.headers;
        std::iter::from_fn(move || value::header(&mut unread))
    }

    /// The text of a header; `None` where there is none of that name, or where it is no text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&'a str> {
        match self.headers().find(|(found, _)| *found == name)?.1 {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Appends one frame, whose payload `write` appends. A header whose name or value is longer than the format allows (255 and 32,767
/// bytes) is left out.
pub fn write(headers: &[(&str, Value<'_>)], out: &mut Vec<u8>, payload: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; PRELUDE_BYTES]);
    headers.iter().for_each(|(name, value)| value.write(name, out));
    let headers_bytes = length(out.len() - start - PRELUDE_BYTES);
    payload(out);
    let total = length(out.len() - start + CHECKSUM_BYTES);
    let frame = out.get_mut(start..).unwrap_or_default();
    let mut prelude = [0; PRELUDE_BYTES];
    let lengths = (u64::from(total) << 32 | u64::from(headers_bytes)).to_be_bytes();
    let checksum = crc32fast::hash(&lengths).to_be_bytes();
    prelude.iter_mut().zip(lengths.into_iter().chain(checksum)).for_each(|(byte, value)| *byte = value);
    frame.iter_mut().zip(prelude).for_each(|(byte, value)| *byte = value);
    let checksum = crc32fast::hash(frame).to_be_bytes();
    out.extend_from_slice(&checksum);
}

/// Appends one event with a JSON payload.
pub fn event(kind: &str, out: &mut Vec<u8>, payload: impl FnOnce(&mut Vec<u8>)) {
    told(":event-type", kind, "event", out, payload);
}

/// Appends one exception, which ends a stream, with a JSON payload.
pub fn exception(kind: &str, out: &mut Vec<u8>, payload: impl FnOnce(&mut Vec<u8>)) {
    told(":exception-type", kind, "exception", out, payload);
}

fn told(name: &str, kind: &str, message: &str, out: &mut Vec<u8>, payload: impl FnOnce(&mut Vec<u8>)) {
    let headers = [
        (name, Value::Text(kind)),
        (":content-type", Value::Text("application/json")),
        (":message-type", Value::Text(message)),
    ];
    write(&headers, out, payload);
}

// No frame is as large as 4 GiB: it would have to lie in memory.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
