//! A body as writers write it, read in one pass: that it is JSON, that no member stands twice, and what of it repeats its header.
//!
//! Nothing is refused here that is only written in another way: of such a body [`Told::read`] asks [`serde_json`].

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{cursor::Cursor, unique::Unique};
use crate::{
    seal::{SALT_BYTES, Salt},
    tree::Hash,
};

/// What of a body repeats its header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Told<'a> {
    pub(crate) time_ms: i64,
    pub(crate) action: &'a [u8],
}

/// Reads a body, and computes its commitment on the way: the hash of one stretch takes nothing of what reading the next one takes,
/// so that a processor does both at once.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    hasher: Sha256,
    ahead: &'a [u8],
}

// A name with its beginning as a number, by which most names are told apart.
#[derive(Clone, Copy, Default)]
struct Name<'a> {
    name: &'a [u8],
    beginning: u64,
}

#[derive(Deserialize)]
struct Repeated<'a> {
    time_ms: i64,
    #[serde(borrow)]
    action: &'a str,
}

// Details are flatter; what is deeper goes the long way.
const DEPTH_MAX: usize = 16;
// Of SHA-256.
const BLOCK_BYTES: usize = 64;
// === impl Told ===

impl<'a> Told<'a> {
    /// Reads a body in any writing: an object in which no member stands twice, at any depth.
    pub(crate) fn read(body: &'a [u8]) -> Option<Self> {
        let Unique = serde_json::from_slice(body).ok()?;
        let Repeated { time_ms, action } = serde_json::from_slice(body).ok()?;
        Some(Self { time_ms, action: action.as_bytes() })
    }
}

// === impl Reading ===

impl<'a> Reading<'a> {
    pub(super) fn new(salt: &Salt, body: &'a [u8]) -> Self {
        let (first, ahead) = body.split_at(body.len().min(BLOCK_BYTES - SALT_BYTES));
        let hasher = Sha256::new_with_prefix(salt).chain_update(first);
        Self { hasher, ahead }
    }

    /// The commitment of all of it, read or not.
    pub(super) fn commitment(self) -> Hash {
        self.hasher.chain_update(self.ahead).finalize().into()
    }

    /// Reads a body as writers write it: the members of an entry in their order, and a detail in which those of each object are
    /// sorted. Names that rise are all different.
    pub(super) fn told(&mut self, body: &'a [u8]) -> Option<Told<'a>> {
        let mut rest = Cursor::new(body);
        rest.literal(br#"{"time_ms":"#)?;
        let time_ms = rest.signed()?;
        rest.literal(br#","action":""#)?;
        let action = rest.plain()?;
        rest.literal(br#","outcome":""#)?;
        rest.escaped()?;
        rest.literal(br#","initiator":""#)?;
        rest.escaped()?;
        self.hash(rest);
        rest.literal(br#","target":""#)?;
        rest.escaped()?;
        rest.literal(br#","replica":""#)?;
        rest.escaped()?;
        rest.literal(br#","request_id":""#)?;
        rest.escaped()?;
        self.hash(rest);
        rest.literal(br#","session":""#)?;
        rest.escaped()?;
        rest.literal(br#","source_address":""#)?;
        rest.escaped()?;
        self.hash(rest);
        rest.literal(br#","detail":{"#)?;
        rest = self.object(rest, 1)?;
        rest.literal(b"}")?;
        let is_text = rest.is_ascii() || std::str::from_utf8(body).is_ok();
        (is_text && rest.rest().is_empty()).then_some(Told { time_ms, action })
    }

    // What was read, in whole blocks, which are not copied.
    #[inline]
    fn hash(&mut self, rest: Cursor<'_>) {
        let read = self.ahead.len().saturating_sub(rest.rest().len());
        if read >= BLOCK_BYTES
            && let Some((blocks, ahead)) = self.ahead.split_at_checked(read - read % BLOCK_BYTES)
        {
            self.hasher.update(blocks);
            self.ahead = ahead;
        }
    }

    // Behind its bracket.
    fn object(&mut self, mut rest: Cursor<'a>, depth: usize) -> Option<Cursor<'a>> {
        if rest.literal(b"}").is_some() {
            return Some(rest);
        }
        let mut before = Name::default();
        loop {
            rest.literal(b"\"")?;
            let ahead = rest.rest();
            let name = Name::new(rest.plain()?, ahead);
            if !name.is_behind(before) {
                return None;
            }
            before = name;
            rest.literal(b":")?;
            rest = self.value(rest, depth)?;
            match rest.byte()? {
                b',' => {}
                b'}' => return Some(rest),
                _ => return None,
            }
        }
    }

    // As an object.
    fn array(&mut self, mut rest: Cursor<'a>, depth: usize) -> Option<Cursor<'a>> {
        if rest.literal(b"]").is_some() {
            return Some(rest);
        }
        loop {
            rest = self.value(rest, depth)?;
            match rest.byte()? {
                b',' => {}
                b']' => return Some(rest),
                _ => return None,
            }
        }
    }

    #[inline(always)]
    fn value(&mut self, mut rest: Cursor<'a>, depth: usize) -> Option<Cursor<'a>> {
        match rest.rest().first()? {
            b'-' | b'0'..=b'9' => rest.number()?,
            b'"' => {
                rest.byte()?;
                rest.escaped()?;
            }
            b'{' if depth < DEPTH_MAX => {
                rest.byte()?;
                rest = self.object(rest, depth + 1)?;
            }
            b'[' if depth < DEPTH_MAX => {
                rest.byte()?;
                rest = self.array(rest, depth + 1)?;
            }
            b't' => rest.literal(b"true")?,
            b'f' => rest.literal(b"false")?,
            b'n' => rest.literal(b"null")?,
            _ => return None,
        }
        self.hash(rest);
        Some(rest)
    }
}

// === impl Name ===

impl<'a> Name<'a> {
    #[inline]
    fn new(name: &'a [u8], ahead: &[u8]) -> Self {
        // Of a short name, zeros stand for what is behind it.
        let behind = match name.len() {
            0 => u64::MAX,
            length @ 1..8 => u64::MAX >> (8 * length),
            _ => 0,
        };
        let near_end = || {
            let mut word = [0; 8];
            word.iter_mut().zip(ahead).for_each(|(to, from)| *to = *from);
            word
        };
        let word = ahead.first_chunk().copied().unwrap_or_else(near_end);
        let beginning = u64::from_be_bytes(word) & !behind;
        Self { name, beginning }
    }

    #[inline]
    fn is_behind(&self, before: Self) -> bool {
        self.beginning > before.beginning || self.beginning == before.beginning && self.name > before.name
    }
}
