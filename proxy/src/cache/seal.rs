//! Encrypts a file frame by frame, so that neither writing nor reading holds it whole.
//!
//! `magic (18) | file id (16) | frames`; a frame is its length (4, big endian) and AES-256-GCM. Each file has a key of its
//! own, HKDF-SHA256 of the seal key and the file's random id; the nonce of a frame is its number and whether it is the last.
//! So no nonce repeats, and a frame that is changed, moved, missing, or of another file does not open.

use std::{
    fmt, fs,
    io::{self, Read, Write},
    path::Path,
};

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hkdf,
};
use zeroize::Zeroizing;

/// The longest frame, in bytes, before it is sealed.
pub(super) const FRAME_BYTES_MAX: usize = 1 << 20;

const MAGIC: &[u8; 18] = b"tollgate-cache-v1\n";
const ID_BYTES: usize = 16;
const KEY_BYTES: usize = 32;
const TAG_BYTES: usize = 16;

/// The key under which slots are sealed.
pub(super) struct Key(Zeroizing<[u8; KEY_BYTES]>);

/// Seals what is written. [`Sealer::finish`] writes the last frame; without it the file does not open.
pub(super) struct Sealer<W> {
    writer: W,
    key: LessSafeKey,
    frame: Vec<u8>,
    number: u32,
}

/// Opens what is read, frame by frame.
pub(super) struct Opener<R> {
    reader: R,
    key: LessSafeKey,
    number: u32,
    frame: Vec<u8>,
    taken: usize,
    last: bool,
}

// === impl Key ===

impl Key {
    /// Reads the key; `None` when there is none.
    pub(super) fn read(path: &Path) -> io::Result<Option<Self>> {
        let bytes = match fs::read(path) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if !super::is_private(path)? {
            tracing::warn!(path = %path.display(), "others may read the seal key; set its mode to 0600");
        }
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        if bytes.len() != KEY_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the seal key is not of 32 bytes; remove it"));
        }
        key.copy_from_slice(&bytes);
        Ok(Some(Self(key)))
    }

    /// A fresh key.
    pub(super) fn random() -> io::Result<Zeroizing<[u8; KEY_BYTES]>> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        getrandom::fill(key.as_mut_slice()).map_err(|error| io::Error::other(error.to_string()))?;
        Ok(key)
    }

    fn of_file(&self, id: &[u8; ID_BYTES]) -> io::Result<LessSafeKey> {
        let master = hkdf::Salt::new(hkdf::HKDF_SHA256, id).extract(self.0.as_slice());
        let info: [&[u8]; 1] = [MAGIC];
        let derived = master.expand(&info, &AES_256_GCM).map_err(|_| invalid("gives no key"))?;
        Ok(LessSafeKey::new(UnboundKey::from(derived)))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(***)")
    }
}

// === impl Sealer ===

impl<W: Write> Sealer<W> {
    pub(super) fn new(mut writer: W, key: &Key) -> io::Result<Self> {
        let mut id = [0; ID_BYTES];
        getrandom::fill(&mut id).map_err(|error| io::Error::other(error.to_string()))?;
        writer.write_all(MAGIC)?;
        writer.write_all(&id)?;
        let frame = Vec::with_capacity(FRAME_BYTES_MAX + TAG_BYTES);
        Ok(Self { writer, key: key.of_file(&id)?, frame, number: 0 })
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.seal(true)
    }

    fn seal(&mut self, last: bool) -> io::Result<()> {
        let nonce = nonce(self.number, last);
        self.key.seal_in_place_append_tag(nonce, Aad::empty(), &mut self.frame).map_err(|_| invalid("is too long"))?;
        let length = u32::try_from(self.frame.len()).map_err(io::Error::other)?;
        self.writer.write_all(&length.to_be_bytes())?;
        self.writer.write_all(&self.frame)?;
        self.frame.clear();
        self.number = self.number.checked_add(1).ok_or_else(|| io::Error::other("too many frames"))?;
        Ok(())
    }
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.frame.len() == FRAME_BYTES_MAX {
            self.seal(false)?;
        }
        let room = (FRAME_BYTES_MAX - self.frame.len()).min(bytes.len());
        self.frame.extend_from_slice(bytes.get(..room).unwrap_or_default());
        Ok(room)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// === impl Opener ===

impl<R: Read> Opener<R> {
    pub(super) fn new(mut reader: R, key: &Key) -> io::Result<Self> {
        let mut magic = [0; MAGIC.len()];
        reader.read_exact(&mut magic)?;
        if &magic != MAGIC {
            return Err(invalid("is not a snapshot of this version"));
        }
        let mut id = [0; ID_BYTES];
        reader.read_exact(&mut id)?;
        Ok(Self { reader, key: key.of_file(&id)?, number: 0, frame: Vec::new(), taken: 0, last: false })
    }

    /// Whether everything was read, and nothing stands behind it.
    pub(super) fn ended(mut self) -> io::Result<()> {
        if self.read(&mut [0])? != 0 || self.reader.read(&mut [0])? != 0 {
            return Err(invalid("is longer than it says"));
        }
        Ok(())
    }

    fn open(&mut self) -> io::Result<()> {
        let mut length = [0; 4];
        self.reader.read_exact(&mut length)?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if !(TAG_BYTES..=FRAME_BYTES_MAX + TAG_BYTES).contains(&length) {
            return Err(invalid("has a frame of an impossible length"));
        }
        let mut sealed = vec![0; length];
        self.reader.read_exact(&mut sealed)?;
        // Only the last frame opens with the nonce of a last frame.
        let mut attempt = sealed.clone();
        let opened = match self.key.open_in_place(nonce(self.number, false), Aad::empty(), &mut attempt) {
            Ok(opened) => opened.to_vec(),
            Err(_) => {
                let opened = self.key.open_in_place(nonce(self.number, true), Aad::empty(), &mut sealed);
                self.last = true;
                opened.map_err(|_| invalid("was changed, or sealed under another key"))?.to_vec()
            }
        };
        self.number = self.number.checked_add(1).ok_or_else(|| invalid("has too many frames"))?;
        (self.frame, self.taken) = (opened, 0);
        Ok(())
    }
}

impl<R: Read> Read for Opener<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.frame.len() {
            if self.last {
                return Ok(0);
            }
            self.open()?;
        }
        let left = self.frame.get(self.taken..).unwrap_or_default();
        let length = left.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..length), left.get(..length)) {
            to.copy_from_slice(from);
        }
        self.taken += length;
        Ok(length)
    }
}

fn nonce(number: u32, last: bool) -> Nonce {
    let mut bytes = [0; 12];
    for (to, from) in bytes.iter_mut().zip(number.to_be_bytes().into_iter().chain([u8::from(last)])) {
        *to = from;
    }
    Nonce::assume_unique_for_key(bytes)
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}
