//! What is left to read of a text that can be written in one way only: whatever is not as it must be ends the reading.
//!
//! The short methods are always inlined: a cursor then lives in registers, and no step waits for what the one before stored.

/// The rest of a text. Each method takes what it reads, and says `None` when something else is there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
    // The bytes of the texts that were read, all of them in one another.
    texts: u64,
}

// Eight bytes are looked at in one step, in a register.
const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;
// What surely fits into 64 bits, signed or not.
const DIGITS_MAX: usize = 18;

impl<'a> Cursor<'a> {
    pub(super) const fn new(text: &'a [u8]) -> Self {
        Self { rest: text, texts: 0 }
    }

    /// Whether every text that was read is of ASCII characters alone.
    pub(super) const fn is_ascii(&self) -> bool {
        self.texts & HIGHS == 0
    }

    pub(super) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline(always)]
    pub(super) fn literal(&mut self, text: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(text)?;
        Some(())
    }

    #[inline(always)]
    pub(super) fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    /// A number without a sign, and without a zero before it.
    #[inline]
    pub(super) fn unsigned(&mut self) -> Option<u64> {
        let text = self.rest;
        let mut number = 0_u64;
        while let Some((digit @ b'0'..=b'9', rest)) = self.rest.split_first() {
            number = number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
            self.rest = rest;
        }
        let digits = text.len() - self.rest.len();
        (digits == 1 || digits > 1 && text.first() != Some(&b'0')).then_some(number)
    }

    /// The same with or without a minus; there is no minus zero.
    #[inline]
    pub(super) fn signed(&mut self) -> Option<i64> {
        if self.literal(b"-").is_none() {
            return self.unsigned()?.try_into().ok();
        }
        let number = self.unsigned().filter(|number| *number > 0)?;
        0_i64.checked_sub_unsigned(number)
    }

    /// A whole number as JSON has it, of which nobody asks how much it is. One that is long or written otherwise is not read.
    #[inline(always)]
    pub(super) fn number(&mut self) -> Option<()> {
        let _minus = self.literal(b"-");
        let digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (number, rest) = self.rest.split_at_checked(digits)?;
        self.rest = rest;
        (digits == 1 || (2..=DIGITS_MAX).contains(&digits) && number.first() != Some(&b'0')).then_some(())
    }

    /// Lower case hexadecimal digits, of so many bytes.
    #[inline]
    pub(super) fn hexadecimal<const BYTES: usize>(&mut self) -> Option<[u8; BYTES]> {
        let (digits, rest) = self.rest.split_at_checked(BYTES * 2)?;
        self.rest = rest;
        let (mut bytes, mut wrong) = ([0; BYTES], 0);
        // Without a branch on any digit, so that many are decoded in one step.
        for (byte, [high, low]) in bytes.iter_mut().zip(digits.as_chunks().0) {
            let (high, low) = (nibble(*high), nibble(*low));
            wrong |= high | low;
            *byte = high << 4 | low & 0xf;
        }
        (wrong & 0xf0 == 0).then_some(bytes)
    }

    /// The text up to the next quote, which is taken too: without an escape or a control character. That it is UTF-8 is
    /// another question.
    #[inline(always)]
    pub(super) fn plain(&mut self) -> Option<&'a [u8]> {
        let (text, rest) = self.rest.split_at_checked(self.special())?;
        self.rest = rest;
        self.literal(b"\"")?;
        Some(text)
    }

    /// The same, where escapes are allowed that stand for one character.
    #[inline(always)]
    pub(super) fn escaped(&mut self) -> Option<()> {
        loop {
            let (_, rest) = self.rest.split_at_checked(self.special())?;
            self.rest = rest;
            match self.byte()? {
                b'"' => return Some(()),
                b'\\' => match self.byte()? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                    _ => return None,
                },
                _ => return None,
            }
        }
    }

    // How many bytes there are before the first that ends a plain text: a quote, a backslash or a control character.
    #[inline(always)]
    fn special(&mut self) -> usize {
        let (words, tail) = self.rest.as_chunks();
        for (at, word) in words.iter().enumerate() {
            let word = u64::from_le_bytes(*word);
            self.texts |= word;
            let (quote, escape) = (word ^ (ONES * b'"' as u64), word ^ (ONES * b'\\' as u64));
            // A byte that is zero, or below a space, borrows from its highest bit. It may then borrow from bytes behind it: only
            // the first of them says something.
            let found = quote.wrapping_sub(ONES) & !quote
                | escape.wrapping_sub(ONES) & !escape
                | word.wrapping_sub(ONES * b' ' as u64) & !word;
            if found & HIGHS != 0 {
                return at * 8 + usize::try_from((found & HIGHS).trailing_zeros() / 8).unwrap_or_default();
            }
        }
        let before = tail.iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..b' '));
        self.rest.len() - tail.len() + before.map(|byte| self.texts |= u64::from(*byte)).count()
    }
}

// The value of a digit; what is none has a bit in its upper half.
const fn nibble(digit: u8) -> u8 {
    let (number, letter) = (digit.wrapping_sub(b'0'), digit.wrapping_sub(b'a'));
    if number < 10 {
        number
    } else if letter < 6 {
        letter + 10
    } else {
        0xf0
    }
}
