//! What must be at a destination, in the order of its keys.
//!
//! Owns the stream of expectations. It merges the contents of the newest manifest with those whose keys are out of that
//! order (odd names and kept contents), which are sorted on disk. Memory does not grow with their number.
//! Invariant: [`Expected::take`] returns every expectation once, with ascending keys, until [`Expected::look_again`]
//! puts some back.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::manifest::CacheReader;
use crate::model::{Content, Entry, Hash, KeyRules, Kind, RelPath};
use crate::spool::{Reader, Sorted};

/// One content that must be at the destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expect {
    /// The key. If only older snapshots need the content, a NUL and the newest of them follow, because several contents
    /// can have one key.
    order: RelPath,
    pub key: RelPath,
    pub entry: Entry,
    /// If the newest snapshot does not need it: the oldest and the newest snapshot that do.
    pub old: Option<(u64, u64)>,
    /// It is a pack: its size is what it has at least, and its hash is its name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pack: bool,
    /// Nothing has to be there. An object is what a run in append-only mode left.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub left: bool,
}

impl Expect {
    /// A content that the newest manifest names.
    pub fn current(entry: Entry) -> Self {
        let key = RelPath(KeyRules::current_key(&entry));
        Self { order: key.clone(), key, entry, old: None, pack: false, left: false }
    }

    /// A content that only older snapshots name.
    pub fn kept(entry: Entry, content: &Content, rules: &KeyRules, first: u64, last: u64) -> Self {
        let key = match content.version {
            Some(_) => KeyRules::current_key(&entry),
            None => rules.kept_key(entry.path.as_bytes(), content),
        };
        let order = [&key[..], b"\0", &last.to_be_bytes()].concat();
        Self { order: RelPath(order), key: RelPath(key), entry, old: Some((first, last)), pack: false, left: false }
    }

    /// A pack of at least this many bytes. `old` as for [`Self::old`].
    pub fn pack(key: String, pack: Hash, bytes: u64, old: Option<(u64, u64)>) -> Self {
        let key = RelPath(key.into_bytes());
        let entry = Entry { size: bytes, content: Some(Content::new(pack, 0)), ..Entry::bare(key.clone(), Kind::File) };
        Self { order: key.clone(), key, entry, old, pack: true, left: false }
    }

    /// A key under which a run in append-only mode left an object.
    pub fn left(key: RelPath) -> Self {
        let entry = Entry::bare(key.clone(), Kind::File);
        Self { order: key.clone(), key, entry, old: None, pack: false, left: true }
    }

    /// What is wrong with an object of this length, if anything.
    pub fn wrong_size(&self, bytes: u64) -> Option<String> {
        let want = self.entry.size;
        match self.pack {
            true if bytes < want => Some(format!("it has {bytes} bytes, and at least {want} are needed")),
            false if bytes != want => Some(format!("it has {bytes} bytes, not {want}")),
            _ => None,
        }
    }

    pub fn order(&self) -> &[u8] {
        self.order.as_bytes()
    }

    /// The version of the store that it must be, if it must be one.
    pub fn version(&self) -> Option<&str> {
        self.entry.content.as_ref()?.version.as_deref()
    }

    /// The tag that it must have. `None` for a copy below `.offsite/kept/`, because a copy has another tag.
    pub fn etag(&self) -> Option<&str> {
        let content = self.entry.content.as_ref()?;
        content.etag.as_deref().filter(|_| self.old.is_none() || content.version.is_some())
    }

    pub fn hash(&self) -> Option<Hash> {
        self.entry.content.as_ref().map(|c| c.hash)
    }
}

/// All expectations, in order.
pub struct Expected {
    /// The expectations that an earlier pass did not find. Their keys precede those of the other two streams.
    again: Option<Reader<Expect>>,
    again_next: Option<Expect>,
    manifest: CacheReader,
    manifest_next: Option<Expect>,
    aside: Sorted<Expect>,
    aside_next: Option<Expect>,
    only: Option<CacheReader>,
}

impl Expected {
    /// `aside` has the expectations that are not stored under their paths. With `only`, the stream has only those
    /// contents of the manifest that `only` names too.
    pub fn new(manifest: CacheReader, mut aside: Sorted<Expect>, only: Option<CacheReader>) -> Result<Self> {
        let aside_next = aside.next_sorted()?;
        let mut expected = Self { again: None, again_next: None, manifest, manifest_next: None, aside, aside_next, only };
        expected.next_of_manifest()?;
        Ok(expected)
    }

    /// Puts the expectations that were not found in front of those that were not taken yet.
    pub fn look_again(&mut self, mut missed: Reader<Expect>) -> Result<()> {
        self.again_next = missed.next_line()?;
        self.again = Some(missed);
        Ok(())
    }

    /// Whether expectations of an earlier pass are left. They come before all others.
    pub fn is_again(&self) -> bool {
        self.again_next.is_some()
    }

    fn next_of_manifest(&mut self) -> Result<()> {
        self.manifest_next = None;
        while let Some(known) = self.manifest.peek()? {
            let entry = if known.kind() == Kind::File { Some(known.entry()?) } else { None };
            self.manifest.advance();
            let Some(entry) = entry.filter(|e| e.content.as_ref().is_some_and(|c| c.key.is_none())) else { continue };
            if self.only.as_mut().map_or(Ok(true), |only| names(only, &entry))? {
                self.manifest_next = Some(Expect::current(entry));
                return Ok(());
            }
        }
        Ok(())
    }

    /// The next key. `None` at the end.
    pub fn peek(&self) -> Option<&RelPath> {
        [&self.again_next, &self.manifest_next, &self.aside_next].into_iter().flatten().map(|e| &e.key).min()
    }

    /// All expectations of the next key.
    pub fn take(&mut self) -> Result<Vec<Expect>> {
        let mut group: Vec<Expect> = Vec::new();
        let Some(key) = self.peek().cloned() else { return Ok(group) };
        while let Some(expect) = self.again_next.take_if(|e| e.key == key) {
            join(&mut group, expect);
            self.again_next = self.again.as_mut().map_or(Ok(None), Reader::next_line)?;
        }
        while let Some(expect) = self.manifest_next.take_if(|e| e.key == key) {
            join(&mut group, expect);
            self.next_of_manifest()?;
        }
        while let Some(expect) = self.aside_next.take_if(|e| e.key == key) {
            join(&mut group, expect);
            self.aside_next = self.aside.next_sorted()?;
        }
        Ok(group)
    }
}

/// Adds an expectation to those of its key. Expectations of older snapshots for the same content become one.
fn join(group: &mut Vec<Expect>, expect: Expect) {
    let same = group.iter_mut().find(|e| e.old.is_some() == expect.old.is_some() && e.version() == expect.version());
    match (same.and_then(|e| e.old.as_mut()), expect.old) {
        (Some((first, last)), Some((other_first, other_last))) => {
            *first = other_first.min(*first);
            *last = other_last.max(*last);
        }
        _ => group.push(expect),
    }
}

/// Whether a manifest names this content under this path. Callers must ask with ascending paths.
pub fn names(manifest: &mut CacheReader, entry: &Entry) -> Result<bool> {
    loop {
        // Pages that end before the path are skipped without decoding them.
        if manifest.block().is_some_and(|(head, _)| head.last < entry.path) {
            if manifest.next_block()?.is_none() {
                return Ok(false);
            }
            continue;
        }
        match manifest.peek()? {
            Some(known) if known.path.as_slice() < entry.path.as_bytes() => manifest.advance(),
            Some(known) if known.path == entry.path.as_bytes() && known.kind() == Kind::File => {
                let there = known.entry()?.content.map(|c| (c.hash, c.since));
                return Ok(there == entry.content.as_ref().map(|c| (c.hash, c.since)));
            }
            _ => return Ok(false),
        }
    }
}
