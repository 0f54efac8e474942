//! What a client's session carries from replica to replica: everything, sealed in its id, so that none of them remembers anything.
//!
//! An id is `AES-256-GCM` under a key of the fleet, with the caller's key as additional data: it opens for nobody else, says nothing to whoever reads it,
//! and cannot be guessed or made.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};
use tollgate_mcp::{Revision, capability::ClientCapabilities};
use tollgate_policy::{
    id::{KeyId, McpServerId},
    time::UnixMillis,
    token::Pepper,
};

use super::catalogue::Link;

/// The longest id, in bytes: a header of a request has room for it.
pub(crate) const ID_BYTES_MAX: usize = 8 * 1024;
/// How long a session may be used.
pub(crate) const AGE_MAX_MS: i64 = 30 * 24 * 3_600 * 1_000;
// What it is sealed for.
const PURPOSE: &str = "tollgate mcp sessions";

/// A client's session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Session {
    /// Told apart from every other.
    pub(crate) number: [u8; 16],
    /// The server that it is with alone; `None`: it is with all.
    pub(crate) server: Option<McpServerId>,
    /// In which revision the client speaks.
    pub(crate) revision: Revision,
    /// What the client can.
    pub(crate) client: ClientCapabilities,
    /// When it began.
    pub(crate) since: UnixMillis,
    /// The sessions with servers that were opened for it.
    pub(crate) links: Vec<(McpServerId, Link)>,
}

/// A session could not be made: the system has no random bytes.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("no random bytes")]
pub(crate) struct NoRandom;

// As it is sealed.
#[derive(Deserialize, Serialize)]
struct Written {
    n: [u8; 16],
    #[serde(default, skip_serializing_if = "Option::is_none")]
    o: Option<String>,
    r: String,
    c: u8,
    t: i64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    l: Vec<(String, String, String)>,
}

// === impl Session ===

impl Session {
    /// A session that begins now, without sessions with servers.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub(crate) fn begin(
        server: Option<McpServerId>,
        revision: Revision,
        client: ClientCapabilities,
        since: UnixMillis,
    ) -> Result<Self, NoRandom> {
        let mut number = [0; 16];
        getrandom::fill(&mut number).map_err(|_| NoRandom)?;
        Ok(Self { number, server, revision, client, since, links: Vec::new() })
    }

    /// The id by which the client of that key knows it. Of its links those stay that have room.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub(crate) fn seal(&self, pepper: &Pepper, key: &KeyId) -> Result<String, NoRandom> {
        let mut written = self.written();
        loop {
            let text = serde_json::to_vec(&written).unwrap_or_default();
            // Base64 makes four characters of three bytes.
            if (NONCE_LEN + text.len() + AES_256_GCM.tag_len()).div_ceil(3) * 4 <= ID_BYTES_MAX || written.l.is_empty()
            {
                return sealed(pepper, key, text);
            }
            written.l.pop();
        }
    }

    /// Opens an id; `None`: it is no session of that key, or too old.
    #[must_use]
    pub(crate) fn open(id: &str, pepper: &Pepper, key: &KeyId, now: UnixMillis) -> Option<Self> {
        if id.len() > ID_BYTES_MAX {
            return None;
        }
        let mut bytes = URL_SAFE_NO_PAD.decode(id).ok()?;
        let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let text = cipher(pepper)?.open_in_place(nonce, Aad::from(key.as_str()), sealed).ok()?;
        let session = Self::read(serde_json::from_slice(text).ok()?)?;
        let age = now.get().saturating_sub(session.since.get());
        (age < AGE_MAX_MS).then_some(session)
    }

    /// The link with a server that it carries.
    #[must_use]
    pub(crate) fn link(&self, server: &McpServerId) -> Option<&Link> {
        self.links.iter().find(|(id, _)| id == server).map(|(_, link)| link)
    }

    /// What records name it by.
    #[must_use]
    pub(crate) fn name(&self) -> String {
        hex::encode(self.number)
    }

    fn written(&self) -> Written {
        let Self { number, server, revision, client, since, links } = self;
        let of_link = |(id, link): &(McpServerId, Link)| {
            let session = link.session.as_deref().unwrap_or_default();
            (id.ulid().to_owned(), session.to_owned(), link.revision.word().to_owned())
        };
        Written {
            n: *number,
            o: server.as_ref().map(|id| id.ulid().to_owned()),
            r: revision.word().to_owned(),
            c: flags(*client),
            t: since.get(),
            l: links.iter().map(of_link).collect(),
        }
    }

    fn read(written: Written) -> Option<Self> {
        let Written { n: number, o: server, r: revision, c: client, t: since, l: links } = written;
        let of_link = |(id, session, revision): (String, String, String)| {
            let session = (!session.is_empty()).then(|| session.into());
            let link = Link { revision: Revision::of_word(&revision)?, session };
            Some((McpServerId::from_ulid(&id).ok()?, link))
        };
        Some(Self {
            number,
            server: server.map(|id| McpServerId::from_ulid(&id)).transpose().ok()?,
            revision: Revision::of_word(&revision)?,
            client: client_of(client),
            since: UnixMillis::new(since),
            links: links.into_iter().map(of_link).collect::<Option<_>>()?,
        })
    }
}

fn sealed(pepper: &Pepper, key: &KeyId, mut text: Vec<u8>) -> Result<String, NoRandom> {
    let mut nonce = [0; NONCE_LEN];
    getrandom::fill(&mut nonce).map_err(|_| NoRandom)?;
    let cipher = cipher(pepper).ok_or(NoRandom)?;
    let sealing =
        cipher.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(key.as_str()), &mut text);
    sealing.map_err(|_| NoRandom)?;
    Ok(URL_SAFE_NO_PAD.encode([&nonce[..], &text].concat()))
}

fn cipher(pepper: &Pepper) -> Option<LessSafeKey> {
    let key = pepper.derive(PURPOSE);
    UnboundKey::new(&AES_256_GCM, key.as_slice()).ok().map(LessSafeKey::new)
}

fn flags(client: ClientCapabilities) -> u8 {
    let ClientCapabilities { sampling, sampling_tools, sampling_context, form, url, roots, roots_changes } = client;
    let all = [sampling, sampling_tools, sampling_context, form, url, roots, roots_changes];
    all.into_iter().enumerate().fold(0, |flags, (at, holds)| flags | u8::from(holds) << at)
}

fn client_of(flags: u8) -> ClientCapabilities {
    let has = |at: u8| flags >> at & 1 == 1;
    ClientCapabilities {
        sampling: has(0),
        sampling_tools: has(1),
        sampling_context: has(2),
        form: has(3),
        url: has(4),
        roots: has(5),
        roots_changes: has(6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ULID: &str = "01k9zq3v5m8c4t2n7r6x0w1y9";

    fn pepper(byte: u8) -> Pepper {
        Pepper::new(vec![byte; 32]).unwrap()
    }

    fn key(last: char) -> KeyId {
        KeyId::from_ulid(&format!("{ULID}{last}")).unwrap()
    }

    fn server(last: char) -> McpServerId {
        McpServerId::from_ulid(&format!("{ULID}{last}")).unwrap()
    }

    fn session(links: usize) -> Session {
        let client = ClientCapabilities { sampling: true, url: true, roots_changes: true, ..Default::default() };
        let mut begun =
            Session::begin(Some(server('a')), Revision::V2025_06_18, client, UnixMillis::new(1_000)).unwrap();
        let link = |at: usize| {
            let session = at.is_multiple_of(2).then(|| "s".repeat(500).into());
            (
                server(char::from(b'a' + u8::try_from(at % 20).unwrap())),
                Link { revision: Revision::V2025_11_25, session },
            )
        };
        begun.links = (0..links).map(link).collect();
        begun
    }

    #[test]
    fn a_session_opens_on_each_replica_for_its_key_alone() {
        let session = session(3);
        let id = session.seal(&pepper(1), &key('a')).unwrap();
        assert!(id.bytes().all(|byte| byte.is_ascii_graphic()) && id.len() <= ID_BYTES_MAX);
        let open = |id: &str, byte, owner, now| Session::open(id, &pepper(byte), &key(owner), UnixMillis::new(now));
        assert_eq!(open(&id, 1, 'a', 2_000), Some(session));
        assert_eq!(open(&id, 1, 'b', 2_000), None, "of another key");
        assert_eq!(open(&id, 2, 'a', 2_000), None, "of another fleet");
        assert_eq!(open(&id, 1, 'a', 1_000 + AGE_MAX_MS), None, "too old");
        for bad in ["", "x", "0b4c1b52-7d55-4c55-9d5b-1f8f4a3c9e11", &id[1..], &format!("{id}AA")] {
            assert_eq!(open(bad, 1, 'a', 2_000), None, "{bad}");
        }
    }

    #[test]
    fn what_has_no_room_is_left_out() {
        let session = session(40);
        let id = session.seal(&pepper(1), &key('a')).unwrap();
        let opened = Session::open(&id, &pepper(1), &key('a'), UnixMillis::new(2_000)).unwrap();
        assert!(id.len() <= ID_BYTES_MAX && (10..40).contains(&opened.links.len()), "{}", opened.links.len());
        assert_eq!(opened.links, session.links[..opened.links.len()]);
    }

    #[test]
    fn two_sessions_are_never_alike() {
        let one = session(0);
        assert_ne!(one.number, session(0).number);
        assert_ne!(one.seal(&pepper(1), &key('a')).unwrap(), one.seal(&pepper(1), &key('a')).unwrap());
    }
}
