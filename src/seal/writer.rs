//! What a writing host has of a destination's keys, and what a reader has.
//!
//! Owns the text form of the writer key and which key serves for what.
//! Invariant: no writer key has a secret that opens contents.

use std::fmt;

use zeroize::Zeroizing;

use super::error::{KeyText, SealError};
use super::header::FileSecrets;
use super::keys::KeySet;
use super::lines::{Lines, hex64, is_destination, number};
use super::native::{Identity, Recipient};

const FIRST: &str = "`# offsite writer key for <id of the destination>: …`";
const ABOUT: &str = "adds, lists, checks, prunes; cannot read contents";
const CONTENTS: &str = "`contents age1…`, a recipient with 62 characters";
const NAMES: &str = "`names AGE-SECRET-KEY-1…`, an identity with 74 characters";
const EARLIER: &str = "`earlier AGE-SECRET-KEY-1…`, an identity with 74 characters that no other line has";
const CUT: &str = "`cut ` and 16 hexadecimal digits in lower case";
const FILE: &str = "`file `, the number of a key file in rising order (with `.passphrase` if one opens it), and its BLAKE3 as 64 \
                    hexadecimal digits";
const PASSPHRASE: &str = ".passphrase";

/// A key file as it lies at the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyFile {
    /// Its number in the folder.
    pub number: u64,
    /// A passphrase opens it.
    pub passphrase: bool,
    /// The BLAKE3 of the sealed file.
    pub hash: [u8; 32],
}

impl KeyFile {
    /// The file with this number and these bytes.
    pub fn new(number: u64, passphrase: bool, sealed: &[u8]) -> Self {
        Self { number, passphrase, hash: *blake3::hash(sealed).as_bytes() }
    }

    /// Whether these are its bytes.
    pub fn is(&self, sealed: &[u8]) -> bool {
        blake3::hash(sealed) == self.hash
    }

    /// Its name in the folder: `1.age` or `1.passphrase.age`.
    pub fn name(&self) -> String {
        format!("{}{}.age", self.number, if self.passphrase { PASSPHRASE } else { "" })
    }
}

/// What a writing host keeps.
#[derive(Clone, PartialEq, Eq)]
pub struct WriterKey {
    /// The `id` of the destination.
    pub destination: String,
    /// Contents are sealed to it.
    pub contents: Recipient,
    /// Pages and records are sealed to its recipient.
    pub names: Identity,
    /// Those of earlier key files, newest first. Pages from before a rotation are sealed to them.
    pub earlier_names: Vec<Identity>,
    /// The seed of the chunker.
    pub cut: u64,
    /// All key files that the destination must have, in rising order.
    pub files: Vec<KeyFile>,
}

impl WriterKey {
    /// The writer key that follows from all key files of a destination; `None` if there is none.
    pub fn new(sets: &[KeySet], files: Vec<KeyFile>) -> Option<Self> {
        let sets = newest_first(sets);
        let (newest, earlier) = sets.split_first()?;
        Some(Self {
            destination: newest.destination.clone(),
            contents: newest.contents.recipient(),
            names: newest.names.clone(),
            earlier_names: earlier.iter().map(|set| set.names.clone()).collect(),
            cut: newest.cut,
            files,
        })
    }

    /// The text of the writer key. It has a secret.
    pub fn print(&self) -> Zeroizing<String> {
        // Long enough from the start, so that no shorter copy is left in memory.
        let mut text = Zeroizing::new(String::with_capacity(512 + 90 * self.earlier_names.len() + 100 * self.files.len()));
        text.push_str(&format!("# offsite writer key for {}: {ABOUT}\ncontents {}\n", self.destination, self.contents));
        for (name, identity) in [("names", &self.names)].into_iter().chain(self.earlier_names.iter().map(|earlier| ("earlier", earlier))) {
            text.push_str(name);
            text.push(' ');
            text.push_str(&identity.reveal());
            text.push('\n');
        }
        text.push_str(&format!("cut {:016x}\n", self.cut));
        for file in &self.files {
            let kind = if file.passphrase { PASSPHRASE } else { "" };
            text.push_str(&format!("file {}{kind} {}\n", file.number, hex::encode(file.hash)));
        }
        text
    }

    /// # Errors
    /// [`SealError::Line`] names the line and what was expected there.
    pub fn parse(text: &str) -> Result<Self, SealError> {
        let mut lines = Lines::new(KeyText::WriterKey, text)?;
        let destination = lines.after("# offsite writer key for ", FIRST)?.split_once(": ").map(|(id, _)| id);
        let destination = destination.filter(|id| is_destination(id)).ok_or_else(|| lines.wrong(FIRST))?;
        let contents: Recipient = lines.after("contents ", CONTENTS)?.parse().map_err(|_| lines.wrong(CONTENTS))?;
        let names: Identity = lines.after("names ", NAMES)?.parse().map_err(|_| lines.wrong(NAMES))?;
        if names.recipient() == contents {
            return Err(lines.wrong("another key than that of the contents"));
        }
        let mut known = vec![names];
        let mut line = lines.next_line();
        while let Some(earlier) = line.and_then(|line| line.strip_prefix("earlier ")) {
            let identity: Identity = earlier.parse().map_err(|_| lines.wrong(EARLIER))?;
            if known.contains(&identity) || identity.recipient() == contents {
                return Err(lines.wrong(EARLIER));
            }
            known.push(identity);
            line = lines.next_line();
        }
        let cut = line.and_then(|line| hex64(line.strip_prefix("cut ")?)).ok_or_else(|| lines.wrong(CUT))?;
        let files = files(lines)?;
        let names = known.remove(0);
        Ok(Self { destination: destination.to_owned(), contents, names, earlier_names: known, cut, files })
    }
}

impl fmt::Debug for WriterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriterKey").field("destination", &self.destination).field("files", &self.files).finish_non_exhaustive()
    }
}

/// All lines up to the end: at least one key file.
fn files(mut lines: Lines<'_>) -> Result<Vec<KeyFile>, SealError> {
    let mut files: Vec<KeyFile> = Vec::new();
    while let Some(line) = lines.next_line() {
        let order = |file: &KeyFile| (file.number, file.passphrase);
        let file = file(line).filter(|file| file.number > 0 && files.last().is_none_or(|last| order(file) > order(last)));
        files.push(file.ok_or_else(|| lines.wrong(FILE))?);
    }
    if files.is_empty() { Err(lines.wrong(FILE)) } else { Ok(files) }
}

fn file(line: &str) -> Option<KeyFile> {
    let (index, digits) = line.strip_prefix("file ")?.split_once(' ')?;
    let (index, passphrase) = index.strip_suffix(PASSPHRASE).map_or((index, false), |index| (index, true));
    let mut hash = [0; 32];
    hex::decode_to_slice(digits, &mut hash).ok()?;
    Some(KeyFile { number: number(index)?, passphrase, hash }).filter(|_| digits == hex::encode(hash))
}

fn newest_first(sets: &[KeySet]) -> Vec<&KeySet> {
    let mut sets: Vec<_> = sets.iter().collect();
    sets.sort_by_key(|set| std::cmp::Reverse(set.number));
    sets
}

/// What a writer needs.
#[derive(Clone)]
pub struct Sealing {
    /// Contents are sealed to it.
    pub contents: Recipient,
    /// Everything else is sealed to it.
    pub names: Recipient,
    /// Open everything but contents, newest first.
    pub names_identities: Vec<Identity>,
    /// The seed of the chunker.
    pub cut: u64,
    derivation: Zeroizing<[u8; 32]>,
}

impl Sealing {
    /// Secrets for an object that comes out the same whenever it is made again of the same plaintext, whose BLAKE3 is
    /// `plain_hash`. It must be sealed to `names`.
    pub fn derived_secrets(&self, plain_hash: &[u8; 32]) -> FileSecrets {
        FileSecrets::derived(&self.derivation, plain_hash)
    }

    /// The key of the hashes that name objects whose content could be guessed.
    pub fn naming_key(&self) -> [u8; 32] {
        blake3::derive_key("offsite 2026-11 names identity: key of the names of objects", &self.derivation[..])
    }
}

/// Everything that this process has of the keys of one destination.
#[derive(Clone, Debug)]
pub struct SealKeys {
    /// What a writer needs.
    pub sealing: Sealing,
    /// What opens contents. Empty on a host that only writes.
    pub contents: Vec<Identity>,
}

impl SealKeys {
    /// Of a writer key, which opens no content.
    pub fn of_writer(key: &WriterKey) -> Self {
        Self { sealing: key.into(), contents: Vec::new() }
    }

    /// Of key files that were opened. `None` without any.
    pub fn of_sets(sets: &[KeySet]) -> Option<Self> {
        let writer = WriterKey::new(sets, Vec::new())?;
        Some(Self { sealing: (&writer).into(), contents: Opening::new(sets).contents })
    }
}

impl From<&WriterKey> for Sealing {
    fn from(key: &WriterKey) -> Self {
        Self {
            contents: key.contents,
            names: key.names.recipient(),
            names_identities: [&key.names].into_iter().chain(&key.earlier_names).cloned().collect(),
            cut: key.cut,
            derivation: key.names.derive("offsite 2026-11 names identity: key of derived age files"),
        }
    }
}

impl fmt::Debug for Sealing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealing").field("contents", &self.contents).field("names", &self.names).finish_non_exhaustive()
    }
}

/// What a reader of contents needs: the identities of all key files that could be opened, newest first.
#[derive(Clone, Debug)]
pub struct Opening {
    /// What opens contents, the newest first.
    pub contents: Vec<Identity>,
    /// What opens everything else, the newest first.
    pub names: Vec<Identity>,
}

impl Opening {
    /// Everything in these key sets.
    pub fn new(sets: &[KeySet]) -> Self {
        let sets = newest_first(sets);
        let of = |identity: fn(&KeySet) -> &Identity| sets.iter().map(|set| identity(set).clone()).collect();
        Self { contents: of(|set| &set.contents), names: of(|set| &set.names) }
    }
}
