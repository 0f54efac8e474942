//! With what a file is compared: keys and witnesses that whoever asks brings along.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use clap::Args;
use serde::Serialize;
use tollgate_audit::{
    MacKey, Trust,
    checkpoint::{PUBLIC_KEY_BYTES, PublicKey, key_name},
};
use zeroize::Zeroizing;

use super::witness;
use crate::failure::{Exit, Failure};

/// The longest file of an HMAC key, in bytes: a key needs 32.
const KEY_FILE_BYTES_MAX: u64 = 4_096;
/// A key of 32 bytes as hexadecimal digits.
const KEY_DIGITS: usize = 64;

/// What is trusted.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct TrustArguments {
    /// A public key that may sign, in 64 hexadecimal digits; without one, the file's own is believed
    #[arg(long, value_name = "HEX", value_parser = public_key)]
    pub(super) key: Vec<PublicKey>,
    /// A file that holds an HMAC key, as it is or in 64 hexadecimal digits: the MACs of its entries are checked too
    #[arg(long, value_name = "FILE")]
    hmac_key_file: Vec<PathBuf>,
    /// What was seen of the log before: a replica's audit-witness.jsonl, a control plane's audit-checkpoints.jsonl, a signed
    /// checkpoint, or an earlier export
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
}

/// A public key for people and programs.
#[derive(Clone, Debug, Serialize)]
pub(super) struct KeyView {
    name: String,
    key: String,
}

impl TrustArguments {
    /// Reads the files. The notes are what the caller should know of them.
    ///
    /// # Errors
    /// A file that cannot be read or used; the exit code is that of what is unreadable.
    pub(super) fn read(self) -> Result<(Trust, Vec<String>), Failure> {
        let Self { key: public_keys, hmac_key_file, checkpoint } = self;
        let mac_keys = hmac_key_file.iter().map(|path| mac_key(path)).collect::<Result<_, _>>().map_err(unreadable)?;
        let mut trust = Trust { public_keys, mac_keys, ..Trust::default() };
        let mut notes = vec![];
        for path in checkpoint {
            let seen = witness::read(&path).map_err(unreadable)?;
            trust.witnesses.extend(seen.witnesses);
            notes.extend(seen.note);
        }
        Ok((trust, notes))
    }
}

/// A failure whose exit code says that nothing was verified.
pub(super) fn unreadable(failure: Failure) -> Failure {
    Failure { exit: Exit::Usage, ..failure }
}

/// Parses a public key.
pub(super) fn public_key(text: &str) -> Result<PublicKey, String> {
    let mut key = [0; PUBLIC_KEY_BYTES];
    match hex::decode_to_slice(text, &mut key) {
        Ok(()) => Ok(key),
        Err(_) if text.len() == 16 => {
            Err("is the name of a key, which says little: the key itself has 64 hexadecimal digits".to_owned())
        }
        Err(_) => Err("must be 64 hexadecimal digits".to_owned()),
    }
}

/// A key that did not sign what it is to have signed, or is not among those that were brought.
pub(super) fn pinned(keys: &[PublicKey], signer: &PublicKey) -> Result<(), Failure> {
    if keys.is_empty() || keys.contains(signer) {
        return Ok(());
    }
    let message = format!("it is signed by the key {}, which is not one of yours", hex::encode(signer));
    Err(Failure::new("untrusted", message)
        .hint("after `tollgate audit rotate-key` the new key is named as a further --key"))
}

/// What is to be known about a key that was found in what it signed.
pub(super) fn unpinned(keys: &[KeyView], option: &str) -> String {
    let named: Vec<_> = keys.iter().map(|key| format!("{} {} (name {})", option, key.key, key.name)).collect();
    format!(
        "the public key was taken from the file itself: it agrees with itself, and who signed it is not shown. Compare the key with \
         what `tollgate audit checkpoint` of your control plane says, keep it, and pin it: {}",
        named.join(" ")
    )
}

fn mac_key(path: &Path) -> Result<MacKey, Failure> {
    let name = path.display().to_string();
    let mut bytes = Zeroizing::new(Vec::new());
    let read = File::open(path).and_then(|file| file.take(KEY_FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    read.map_err(|error| Failure::unreadable(&name, &error))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > KEY_FILE_BYTES_MAX) {
        return Err(Failure::new("unreadable", format!("{name} is longer than any HMAC key")));
    }
    let text = bytes.trim_ascii();
    let decoded = if text.len() == KEY_DIGITS { hex::decode(text).ok().map(Zeroizing::new) } else { None };
    let key = decoded.as_deref().unwrap_or(&*bytes);
    MacKey::new(key).map_err(|error| Failure::new("unreadable", format!("{name}: {error}")))
}

// === impl KeyView ===

impl From<&PublicKey> for KeyView {
    fn from(key: &PublicKey) -> Self {
        Self { name: key_name(key), key: hex::encode(key) }
    }
}

impl std::fmt::Display for KeyView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.name, self.key)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_key_has_sixty_four_digits() {
        assert_eq!(public_key(&"ab".repeat(32)), Ok([0xab; 32]));
        assert_eq!(public_key(&"AB".repeat(32)), Ok([0xab; 32]));
        assert!(public_key("0123456789abcdef").unwrap_err().contains("name of a key"));
        for bad in ["", "x", &"g".repeat(64), &"a".repeat(66)] {
            assert!(public_key(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_hmac_key_is_raw_or_in_digits_and_never_short() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let read = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            mac_key(&path)
        };
        let expect = MacKey::new(&[0xab; 32]).unwrap().id();
        assert_eq!(read(&[0xab; 32]).unwrap().id(), expect);
        assert_eq!(read("ab".repeat(32).as_bytes()).unwrap().id(), expect);
        assert_eq!(read(format!("{}\n", "ab".repeat(32)).as_bytes()).unwrap().id(), expect);
        let raw = "g".repeat(64);
        assert_eq!(read(raw.as_bytes()).unwrap().id(), MacKey::new(raw.as_bytes()).unwrap().id());
        assert!(read(&[1; 31]).unwrap_err().message.contains("at least 32 bytes"));
        assert!(read(&[1; 5_000]).unwrap_err().message.contains("longer than"));
        let failure =
            TrustArguments { hmac_key_file: vec!["/no/such".into()], ..Default::default() }.read().unwrap_err();
        assert_eq!((failure.exit, failure.code), (Exit::Usage, "unreadable"));
    }
}
