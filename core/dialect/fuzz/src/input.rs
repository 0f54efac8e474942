//! How the bytes of an input are taken.

/// The widths of pieces that a stream is cut into.
const WIDTHS: [u64; 4] = [1, 7, 64, 700];

/// One input: four bytes of choices, and a body.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// What the body is.
    pub kind: u8,
    /// Choices, bit by bit.
    pub flags: u8,
    /// More of them; also where a stream is cut.
    pub seed: u16,
    /// What is read.
    pub body: &'a [u8],
}

impl<'a> Input<'a> {
    /// Takes an input apart; `None` where it is too short to be one.
    #[must_use]
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let (&[kind, flags, high, low], body) = bytes.split_first_chunk()?;
        Some(Self { kind, flags, seed: u16::from_be_bytes([high, low]), body })
    }

    /// Whether a choice is made.
    #[must_use]
    pub const fn has(&self, bit: u32) -> bool {
        self.flags >> bit & 1 == 1
    }

    /// Cuts a stream where the seed says; some pieces are empty.
    #[must_use]
    pub fn pieces<'b>(&self, mut stream: &'b [u8]) -> Vec<&'b [u8]> {
        let mut state = u64::from(self.seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let width = WIDTHS[usize::from(self.seed) % WIDTHS.len()];
        let mut pieces = Vec::new();
        while !stream.is_empty() {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let size = if width == 1 { 1 } else { (state >> 32) % (width + 1) };
            let (piece, rest) = stream.split_at(stream.len().min(size as usize));
            pieces.push(piece);
            stream = rest;
        }
        pieces
    }
}
