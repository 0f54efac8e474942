//! Whether an exported log is sound. Nothing is trusted but the keys and the witnesses that whoever asks brings along.
//!
//! Each line is checked by itself (its hash, its MAC where the key is given), against the one before (indexes without gaps, the
//! chain of its writer), and with all before it against the next checkpoint (the root of the tree, the signature). What a
//! witness once saw must still be there. The first thing that is wrong is told, with its index.

mod fault;
mod gone;
mod witnesses;

use std::collections::HashMap;

use serde::Deserialize;

pub use self::fault::{Fault, Finding};
use self::{
    gone::Gone,
    witnesses::{Keys, Witnesses},
};
use crate::{
    checkpoint::{Checkpoint, Note, PublicKey},
    file::{Content, EntryLine, Head, InvalidLine, Line, Told},
    seal::{CHAIN_START, CONTROL_PLANE, Header, MacKey, MacKeyId, Sealed},
    tree::{Frontier, Hash},
};

/// The action of an entry that says which entries of a replica's chain nobody has any more.
pub const FORGOTTEN: &str = "usage.forget";
/// The action of an entry that says which public key signs from there on.
pub const NEW_KEY: &str = "audit.rotate_key";
/// The action of an entry that says which entries were pruned when their time had come.
pub const PRUNED: &str = "audit.prune";
/// The action of an entry that says which bodies were erased.
pub const ERASED: &str = "audit.erase";

/// With what a log is compared.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// The public keys that may sign. The first in the file must be one of them, and it
    /// announces those behind it. None: the file's own first one is believed, and [`Report::pinned`] is false.
    pub public_keys: Vec<PublicKey>,
    /// The HMAC keys of those who have them.
    pub mac_keys: Vec<MacKey>,
    /// What was seen before, elsewhere.
    pub witnesses: Vec<Witness>,
    /// Whether the file is known to be a part of the log: what is before it, and what entries behind it declare, is then not asked
    /// for.
    pub partial: bool,
}

/// What was seen of the log before.
#[derive(Clone, Debug)]
pub enum Witness {
    /// A signed checkpoint. It says nothing unless one of the keys signed it that are pinned, or that sign in the file.
    Checkpoint(Note),
    /// The link of an entry of a writer's own chain.
    Link(ChainLink),
}

/// An entry of a writer's chain.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, serde::Serialize)]
pub struct ChainLink {
    /// The writer.
    pub writer: String,
    /// Its run.
    pub incarnation: u64,
    /// The position.
    pub sequence: u64,
    /// The link.
    #[serde(with = "hex::serde")]
    pub link: Hash,
}

/// A sound log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Report {
    /// The first index of the file.
    pub first: u64,
    /// The last checkpoint, over all of it.
    pub checkpoint: Checkpoint,
    /// How many entries there are.
    pub entries: u64,
    /// How many of them have a MAC that was checked.
    pub macs: u64,
    /// How many bodies were erased.
    pub erased: u64,
    /// How many of those no entry of the file declares: of a part of the log, one behind it may.
    pub undeclared: u64,
    /// Whether an entry of the file says that what is before its beginning was pruned.
    pub pruned: bool,
    /// How many checkpoints are in the file.
    pub checkpoints: u64,
    /// How many witnessed statements hold.
    pub witnessed: u64,
    /// How many are about what is before the file's beginning, and were not compared.
    pub older: u64,
    /// Whether the keys came from whoever asked, and not from the file.
    pub pinned: bool,
    /// The keys that signed, in their order.
    pub keys: Vec<PublicKey>,
}

/// Verifies one file, line after line.
#[derive(Debug)]
pub struct Verifier {
    head: Head,
    tree: Frontier,
    // Of the entry that is verified, in memory that is used again.
    sealed: Sealed,
    // Of the last checkpoint that holds.
    proved: u64,
    last: Option<Checkpoint>,
    // The keys that signed, in their order: the last one signs now, and no other. One key signs over the announcement of the
    // next, so that whoever trusts the first trusts the others; and a key that was stolen later signs nothing more.
    trusted: Vec<PublicKey>,
    pinned: Vec<PublicKey>,
    announced: Vec<PublicKey>,
    // The HMAC key of the last entry.
    mac_key: Option<MacKeyId>,
    mac_keys: HashMap<MacKeyId, MacKey>,
    ended: bool,
    chains: HashMap<Box<str>, HashMap<u64, Chain>>,
    witnesses: Witnesses,
    seen_links: HashMap<(String, u64, u64), Hash>,
    gone: Gone,
    partial: bool,
    report: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    entries: u64,
    macs: u64,
    erased: u64,
    checkpoints: u64,
    // Links of chains that hold.
    witnessed: u64,
}

// Where a chain stands, up to where its next entries are declared lost, and the first that this file can know of.
#[derive(Clone, Copy, Debug)]
struct Chain {
    first: u64,
    sequence: u64,
    link: Hash,
    forgotten: u64,
}

#[derive(Deserialize)]
struct Forgotten {
    target: String,
    detail: ForgottenDetail,
}

#[derive(Deserialize)]
struct ForgottenDetail {
    incarnation: u64,
    from_sequence: u64,
    to_sequence: u64,
}

#[derive(Deserialize)]
struct Announced {
    detail: AnnouncedDetail,
}

#[derive(Deserialize)]
struct AnnouncedDetail {
    #[serde(with = "hex::serde")]
    public_key: PublicKey,
}

impl Verifier {
    /// Begins with the first line of a file.
    ///
    /// # Errors
    /// When it is no exported log, or one of another log than a witness saw.
    pub fn begin(line: &[u8], trust: Trust) -> Result<Self, Finding> {
        let head = Head::read(line).map_err(|error| Finding { index: 0, fault: error.into() })?;
        let Trust { public_keys, mac_keys, witnesses, partial } = trust;
        if !public_keys.is_empty() && !public_keys.contains(&head.key) {
            return Err(Finding { index: 0, fault: Fault::Checkpoint("is signed by a key that is not one of yours") });
        }
        let mut verifier = Self {
            tree: head.start.clone(),
            sealed: Sealed::default(),
            proved: head.start.size(),
            last: None,
            trusted: vec![head.key],
            pinned: public_keys,
            announced: vec![],
            mac_key: None,
            mac_keys: mac_keys.into_iter().map(|key| (key.id(), key)).collect(),
            ended: false,
            chains: HashMap::new(),
            witnesses: Witnesses::default(),
            seen_links: HashMap::new(),
            gone: Gone::default(),
            partial,
            report: Counts::default(),
            head,
        };
        for witness in witnesses {
            verifier.expect(witness)?;
        }
        verifier.compare()?;
        Ok(verifier)
    }

    /// Verifies the next line, without its break.
    ///
    /// # Errors
    /// The first thing that is wrong. Nothing behind it says anything.
    pub fn line(&mut self, line: &[u8]) -> Result<(), Finding> {
        let index = self.tree.size() + 1;
        let found = |fault| Finding { index, fault };
        if self.ended {
            return Err(found(InvalidLine("it stands behind the end").into()));
        }
        match Line::read(self.head.log, line).map_err(|error| found(error.into()))? {
            Line::Entry(entry) => {
                self.entry(&entry).map_err(found)?;
                self.compare()
            }
            Line::Checkpoint(note) => self.checkpoint(&note),
            Line::End(note) => {
                self.ended = true;
                self.checkpoint(&note)
            }
            Line::Broken(other, _) if other != index => Err(found(Fault::Order(other))),
            Line::Broken(_, what) => Err(found(Fault::Row(what))),
        }
    }

    /// Goes on with the first line of a file that begins where the one before ended: archives, and then what is left of the log.
    ///
    /// # Errors
    /// When it does not.
    pub fn go_on(&mut self, line: &[u8]) -> Result<(), Finding> {
        let index = self.tree.size() + 1;
        let found = |fault| Finding { index, fault };
        let head = Head::read(line).map_err(|error| found(error.into()))?;
        if !self.ended {
            return Err(found(Fault::Truncated(
                "the file before does not end with a checkpoint over its last entry".into(),
            )));
        }
        if head.log != self.head.log || head.start != self.tree {
            return Err(found(Fault::Order(head.start.size() + 1)));
        }
        if self.trusted.last() != Some(&head.key) && !self.announced.contains(&head.key) {
            return Err(found(Fault::Checkpoint("is signed by a key that nothing announces")));
        }
        self.ended = false;
        Ok(())
    }

    /// The index of the entry that is read next.
    #[must_use]
    pub fn next_index(&self) -> u64 {
        self.tree.size() + 1
    }

    /// Ends behind the last line.
    ///
    /// # Errors
    /// When the end is missing, or less than what was witnessed.
    pub fn finish(mut self) -> Result<Report, Finding> {
        let size = self.tree.size();
        let missing = |index, what: String| Finding { index, fault: Fault::Truncated(what) };
        let keys = Keys { pinned: &self.pinned, of_file: &self.trusted };
        if let Some(witnessed) = self.witnesses.longer(keys) {
            return Err(missing(size + 1, format!("the log had {witnessed} entries when it was witnessed")));
        }
        let Some(checkpoint) = self.last.filter(|last| self.ended && last.size == size) else {
            return Err(missing(size + 1, "the file does not end with a checkpoint over its last entry".into()));
        };
        if let Some(finding) = self.witnesses.foreign(size) {
            return Err(finding);
        }
        // What a replica wrote may not have arrived yet; but whatever is in the log up to there must be what it wrote.
        if let Some(((writer, incarnation, sequence), _)) =
            self.seen_links.iter().find(|(place, _)| self.is_missing(place))
        {
            let what = format!("{writer} wrote entry {sequence} of its run {incarnation}, and it was acknowledged");
            return Err(missing(size + 1, what));
        }
        if let Some(finding) = self.gone.finding(&self.head.start).filter(|_| !self.partial) {
            return Err(finding);
        }
        let Counts { entries, macs, erased, checkpoints, witnessed } = self.report;
        Ok(Report {
            first: self.head.start.size() + 1,
            checkpoint,
            entries,
            macs,
            erased,
            undeclared: u64::try_from(self.gone.undeclared.len()).unwrap_or(u64::MAX),
            pruned: self.gone.pruned,
            checkpoints,
            witnessed: witnessed + self.witnesses.witnessed,
            older: self.witnesses.older + u64::try_from(self.seen_links.len()).unwrap_or(u64::MAX),
            pinned: !self.pinned.is_empty(),
            keys: self.trusted,
        })
    }

    fn expect(&mut self, witness: Witness) -> Result<(), Finding> {
        match witness {
            Witness::Checkpoint(note) => self.witnesses.expect(note, &self.head)?,
            Witness::Link(ChainLink { writer, incarnation, sequence, link }) => {
                let other = self.seen_links.insert((writer, incarnation, sequence), link);
                if other.is_some_and(|other| other != link) {
                    let fault = Fault::Witness("two witnesses contradict each other".into());
                    return Err(Finding { index: 0, fault });
                }
            }
        }
        Ok(())
    }

    fn entry(&mut self, line: &EntryLine<'_>) -> Result<(), Fault> {
        let EntryLine { header, content, mac, leaf, differs, told, commitment } = line;
        if header.index != self.tree.size() + 1 {
            return Err(Fault::Order(header.index));
        }
        let sealed = self.sealed.set(header, commitment, mac);
        sealed.map_err(|_| InvalidLine("the writer or the action cannot be one"))?;
        if self.sealed.leaf() != *leaf {
            return Err(Fault::Leaf);
        }
        if let Some(key) = self.mac_keys.get(&header.key) {
            if !key.verifies(&[self.sealed.under_mac()], mac) {
                return Err(Fault::Mac);
            }
            self.report.macs += 1;
        }
        match content {
            Content::Body { body, .. } => self.body(header, body, *told)?,
            Content::Erased(_) => {
                self.report.erased += 1;
                self.gone.erased(header.index);
            }
        }
        if !differs.is_empty() {
            return Err(Fault::Row((*differs).to_owned()));
        }
        self.chain(header, commitment)?;
        self.tree.push(*leaf);
        self.mac_key = Some(header.key);
        self.report.entries += 1;
        Ok(())
    }

    fn body(&mut self, header: &Header<'_>, body: &[u8], told: Option<Told<'_>>) -> Result<(), Fault> {
        let told = told.or_else(|| Told::read(body)).ok_or(Fault::Body("form"))?;
        if told.action != header.action.as_bytes() {
            return Err(Fault::Body("action"));
        }
        if told.time_ms != header.time_ms {
            return Err(Fault::Body("time"));
        }
        // Only the control plane speaks for others.
        if header.writer != CONTROL_PLANE {
            return Ok(());
        }
        match header.action {
            FORGOTTEN => self.forgotten(body),
            ERASED => self.gone.declares_erased(body),
            PRUNED => self.gone.declares_pruned(&self.head.start, body),
            NEW_KEY => {
                let announced: Announced = serde_json::from_slice(body).map_err(|_| Fault::Body("form"))?;
                self.announced.push(announced.detail.public_key);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn forgotten(&mut self, body: &[u8]) -> Result<(), Fault> {
        let Forgotten { target, detail } = serde_json::from_slice(body).map_err(|_| Fault::Body("form"))?;
        let ForgottenDetail { incarnation, from_sequence, to_sequence } = detail;
        let writer = target.strip_prefix("replica/").ok_or(Fault::Body("form"))?;
        // What is no stretch, or does not begin where the chain stands, declares nothing.
        let Some(before) = from_sequence.checked_sub(1).filter(|_| from_sequence <= to_sequence) else { return Ok(()) };
        // Only a file that begins later cannot know where the chain stood.
        let sequence = if self.head.start.size() > 0 { before } else { 0 };
        let start = Chain { first: sequence + 1, sequence, link: CHAIN_START, forgotten: 0 };
        let chain = self.chains.entry(writer.into()).or_default().entry(incarnation).or_insert(start);
        if before == chain.sequence.max(chain.forgotten) {
            chain.forgotten = to_sequence;
        }
        Ok(())
    }

    fn chain(&mut self, header: &Header<'_>, commitment: &Hash) -> Result<(), Fault> {
        let Header { writer, incarnation, sequence, previous, .. } = *header;
        let broken = |what| Err(Fault::Chain(writer.to_owned(), what));
        let runs = match self.chains.get_mut(writer) {
            Some(runs) => runs,
            None => self.chains.entry(writer.into()).or_default(),
        };
        let link = header.link(commitment);
        match runs.get_mut(&incarnation) {
            Some(chain) => {
                if chain.sequence.max(chain.forgotten).checked_add(1) != Some(sequence) {
                    return broken("entries are missing or out of order");
                }
                // What was declared lost had a link that nobody knows here.
                if chain.forgotten <= chain.sequence && previous != chain.link {
                    return broken("the entry before is not the one that it follows");
                }
                *chain = Chain { first: chain.first, sequence, link, forgotten: 0 };
            }
            // A file that begins later cannot know where the chain stood.
            None if self.head.start.size() == 0 && (sequence != 1 || previous != CHAIN_START) => {
                return broken("its beginning is missing");
            }
            None => {
                runs.insert(incarnation, Chain { first: sequence, sequence, link, forgotten: 0 });
            }
        }
        if !self.seen_links.is_empty()
            && let Some(seen) = self.seen_links.remove(&(writer.to_owned(), incarnation, sequence))
        {
            if seen != link {
                return Err(Fault::Witness(format!("{writer} wrote something else here")));
            }
            self.report.witnessed += 1;
        }
        Ok(())
    }

    // A file that begins with the log has everything, and a declared loss does not excuse one that was acknowledged. One that
    // begins later has everything of a chain from its first entry here.
    fn is_missing(&self, (writer, incarnation, sequence): &(String, u64, u64)) -> bool {
        let chain = self.chains.get(writer.as_str()).and_then(|runs| runs.get(incarnation));
        self.head.start.size() == 0 || chain.is_some_and(|chain| chain.first <= *sequence)
    }

    fn checkpoint(&mut self, text: &str) -> Result<(), Finding> {
        let size = self.tree.size();
        let found = |fault| Err(Finding { index: size.max(1), fault });
        let Ok(note) = Note::parse(text) else { return found(Fault::Checkpoint("is none")) };
        let checkpoint = *note.checkpoint();
        if checkpoint.log != self.head.log {
            return found(Fault::Checkpoint("is of another log"));
        }
        if checkpoint.size != size {
            return found(Fault::Checkpoint("is of another size"));
        }
        if !self.trusted.last().is_some_and(|key| note.is_signed_by_none_but(key)) {
            return found(Fault::Checkpoint("is not signed by the key that signs there"));
        }
        // Nobody changes the HMAC key without an entry under the new one.
        let mac_key = self.mac_key.and_then(|key| self.mac_keys.get(&key));
        if mac_key.is_some_and(|key| !note.has_mac_of(key)) {
            return found(Fault::Checkpoint("has not the MAC of the key of the entries"));
        }
        if checkpoint.root != self.tree.root() {
            return Err(Finding { index: (self.proved + 1).min(size.max(1)), fault: Fault::Root(size) });
        }
        // Now the entries behind the one before are what was signed, and with them the keys that they announce.
        (self.proved, self.last) = (size, Some(checkpoint));
        self.report.checkpoints += 1;
        if self.announced.is_empty() {
            return Ok(());
        }
        self.trusted.append(&mut self.announced);
        self.witnesses.judge_again(Keys { pinned: &self.pinned, of_file: &self.trusted })
    }

    // Compares the tree with what was witnessed of this size.
    fn compare(&mut self) -> Result<(), Finding> {
        let keys = Keys { pinned: &self.pinned, of_file: &self.trusted };
        self.witnesses.compare(&self.tree, keys)
    }
}
