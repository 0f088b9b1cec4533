//! The newest manifest of a destination on this machine, with the stamps that the files had.
//!
//! Owns a private binary file: blocks, one for each page, of records sorted by path. It can be deleted at any time. The
//! next run then rebuilds it from the destination. Reading a record allocates nothing, so a run without changes is as
//! fast as the walk over the disk.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::model::{Content, Entry, Hash, Kind, PackPlace, PageRef, Piece, PieceList, RelPath, Stamps, Time, Xattr};
use crate::spool::private_file;

const MAGIC: &[u8; 8] = b"offsite\x02";
/// Set in a record's kind where the entry is odd.
const ODD: u8 = 0x80;
/// Maximum length of a block, in bytes. No page makes a larger one, so a larger one is damage.
const MAX_BLOCK: u32 = 64 << 20;

/// What this machine knows of a file's stamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum KnownStamps {
    /// Nothing: the entry came from the destination.
    Unknown,
    /// The file may have been written again in the same clock tick, so it is unverified.
    Fresh,
    /// The stamps that the last scan saw.
    At(Stamps),
}

/// The part of a record that decides whether an entry changed.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Quick {
    kind: u8,
    size: u64,
    mtime: (i64, u32),
    mode: u32,
    uid: u32,
    gid: u32,
    stamps: KnownStamps,
}

/// The other part of a record.
#[derive(Debug, Serialize, Deserialize)]
struct Rest {
    user: Option<String>,
    group: Option<String>,
    link: Option<Vec<u8>>,
    hard: Option<String>,
    sparse: bool,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    content: Option<CachedContent>,
}

/// Hash, since, key, tag and version of a content.
type CachedContent = (Hash, u64, Option<String>, Option<String>, Option<String>);

/// Stands for no number of allocated bytes before places.
const NO_BYTES: u64 = u64::MAX;

/// Pack, frame, length and skip.
type CachedPlace = (Hash, u64, u64, u64);
/// Size, count, hash, raw, packs, used bytes and place of a list.
type CachedList = (u64, u64, Hash, u64, Vec<(Hash, u64)>, Vec<u64>, CachedPlace);
/// The places of a content of a packed destination: `at`, pieces with size and hash, lists.
type CachedPlaces = (Option<CachedPlace>, Vec<(u64, Hash, CachedPlace)>, Vec<CachedList>);

fn to_cached(content: &Content) -> CachedPlaces {
    let cached = |place: PackPlace| (place.pack, place.frame, place.length, place.skip);
    let pieces = content.pieces.iter().map(|piece| (piece.size, piece.hash, cached(piece.place()))).collect();
    let list = |list: &PieceList| (list.size, list.count, list.hash, list.raw, list.packs.clone(), list.used.clone(), cached(list.place()));
    (content.at.map(cached), pieces, content.lists.iter().map(list).collect())
}

fn from_cached((at, pieces, lists): CachedPlaces) -> (Option<PackPlace>, Vec<Piece>, Vec<PieceList>) {
    let at = at.map(|(pack, frame, length, skip)| PackPlace { pack, frame, length, skip });
    let piece = |(size, hash, (pack, frame, length, skip))| Piece { size, hash, pack, frame, length, skip };
    let list = |(size, count, hash, raw, packs, used, (pack, frame, length, _))| PieceList {
        size,
        count,
        hash,
        raw,
        packs,
        used,
        pack,
        frame,
        length,
    };
    (at, pieces.into_iter().map(piece).collect(), lists.into_iter().map(list).collect())
}

/// One record of the cache.
#[derive(Debug, Default)]
pub struct Known {
    /// Path of the entry.
    pub path: Vec<u8>,
    quick: Option<Quick>,
    rest: Vec<u8>,
}

impl Known {
    fn quick(&self) -> &Quick {
        const NONE: &Quick = &Quick { kind: 0, size: 0, mtime: (0, 0), mode: 0, uid: 0, gid: 0, stamps: KnownStamps::Unknown };
        self.quick.as_ref().unwrap_or(NONE)
    }

    /// Kind of the entry.
    pub fn kind(&self) -> Kind {
        match self.quick().kind & !ODD {
            1 => Kind::Dir,
            2 => Kind::Symlink,
            _ => Kind::File,
        }
    }

    /// See [`Entry::odd`].
    pub fn is_odd(&self) -> bool {
        self.quick().kind & ODD != 0
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.quick().size
    }

    /// Modification time.
    pub fn mtime(&self) -> Time {
        let (secs, nanos) = self.quick().mtime;
        Time { secs, nanos }
    }

    /// Mode, owner and group.
    pub fn rights(&self) -> (u32, u32, u32) {
        let quick = self.quick();
        (quick.mode, quick.uid, quick.gid)
    }

    /// What this machine knows of the file's stamps.
    pub fn stamps(&self) -> KnownStamps {
        self.quick().stamps
    }

    /// The whole entry.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the record cannot be decoded.
    pub fn entry(&self) -> Result<Entry> {
        let damaged = |e| Error::damaged("the local cache", e);
        let (rest, more) = postcard::take_from_bytes::<Rest>(&self.rest).map_err(damaged)?;
        // They follow the rest. So this program can read a cache without them.
        let (mut allocated, mut places) = (None, None);
        if !more.is_empty() {
            let (bytes, more) = postcard::take_from_bytes::<u64>(more).map_err(damaged)?;
            allocated = (bytes != NO_BYTES).then_some(bytes);
            if !more.is_empty() {
                places = Some(postcard::from_bytes::<CachedPlaces>(more).map_err(damaged)?);
            }
        }
        let (mode, uid, gid) = self.rights();
        Ok(Entry {
            path: RelPath::from(&self.path[..]),
            kind: self.kind(),
            size: self.size(),
            mtime: self.mtime(),
            mode,
            uid,
            gid,
            user: rest.user,
            group: rest.group,
            link: rest.link.map(RelPath),
            hard: rest.hard,
            sparse: rest.sparse,
            allocated,
            xattrs: rest.xattrs.into_iter().map(|(n, v)| Xattr { name: RelPath(n), value: RelPath(v) }).collect(),
            odd: self.is_odd(),
            content: rest.content.map(|(hash, since, key, etag, version)| {
                let (at, pieces, lists) = places.map_or_else(Default::default, from_cached);
                Content { key, etag, version, at, pieces, lists, ..Content::new(hash, since) }
            }),
        })
    }
}

/// The head of a block, which precedes its records.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BlockHead {
    /// The page that holds these records. A reader fills in its object.
    pub page: PageRef,
    /// Last path on the page.
    pub last: RelPath,
    /// Number of files on the page.
    pub files: u64,
    /// The chunker ended the page. False if the page ended only because the manifest did.
    pub cut: bool,
    length: u32,
}

/// Writes a cache file. Records come in order of their paths.
pub struct CacheWriter {
    out: BufWriter<File>,
    path: PathBuf,
    block: Vec<u8>,
    last: Vec<u8>,
    files: u64,
}

impl CacheWriter {
    /// Creates a private file at `path`, or truncates the one that is there.
    ///
    /// # Errors
    /// [`Error::Local`] if the file cannot be created, for example because `path` is a symlink.
    pub fn create(path: &Path) -> Result<Self> {
        let file = private_file().write(true).create(true).truncate(true).open(path);
        let mut out = BufWriter::with_capacity(1 << 18, file.map_err(|e| Error::cache(path, e))?);
        out.write_all(MAGIC).map_err(|e| Error::cache(path, e))?;
        Ok(Self { out, path: path.into(), block: Vec::new(), last: Vec::new(), files: 0 })
    }

    /// Adds a record to the current block.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the record cannot be encoded. The file is not written before [`Self::end_block`].
    pub fn push(&mut self, entry: &Entry, stamps: KnownStamps) -> Result<()> {
        let path = entry.path.as_bytes();
        let shared = self.last.iter().zip(path).take_while(|(a, b)| a == b).count();
        let quick = Quick {
            kind: entry.kind as u8 | if entry.odd { ODD } else { 0 },
            size: entry.size,
            mtime: (entry.mtime.secs, entry.mtime.nanos),
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            stamps,
        };
        let content = entry.content.as_ref().map(|c| (c.hash, c.since, c.key.clone(), c.etag.clone(), c.version.clone()));
        let rest = Rest {
            user: entry.user.clone(),
            group: entry.group.clone(),
            link: entry.link.as_ref().map(|l| l.0.clone()),
            hard: entry.hard.clone(),
            sparse: entry.sparse,
            xattrs: entry.xattrs.iter().map(|x| (x.name.0.clone(), x.value.0.clone())).collect(),
            content,
        };
        let broken = |e| Error::damaged("a record for the local cache", e);
        let block = std::mem::take(&mut self.block);
        let block = postcard::to_extend(&(shared as u32, &path[shared..]), block).map_err(broken)?;
        let block = postcard::to_extend(&quick, block).map_err(broken)?;
        let mut rest = postcard::to_extend(&rest, Vec::new()).map_err(broken)?;
        let places = entry.content.as_ref().filter(|content| content.is_packed()).map(to_cached);
        if entry.allocated.is_some() || places.is_some() {
            rest = postcard::to_extend(&entry.allocated.unwrap_or(NO_BYTES), rest).map_err(broken)?;
        }
        if let Some(places) = places {
            rest = postcard::to_extend(&places, rest).map_err(broken)?;
        }
        self.block = postcard::to_extend(&rest[..], block).map_err(broken)?;
        self.files += u64::from(entry.kind == Kind::File);
        self.last.clear();
        self.last.extend_from_slice(path);
        Ok(())
    }

    /// Ends the current block. Its records are those of `page`; `cut` says whether the chunker ended the page.
    ///
    /// # Errors
    /// [`Error::Local`] if the file cannot be written.
    pub fn end_block(&mut self, page: &PageRef, cut: bool) -> Result<()> {
        let block = std::mem::take(&mut self.block);
        let last = RelPath(std::mem::take(&mut self.last));
        let head = BlockHead { page: page.clone(), last, files: std::mem::take(&mut self.files), cut, length: block.len() as u32 };
        self.raw_block(&head, &block)?;
        self.block = block;
        self.block.clear();
        Ok(())
    }

    /// Copies a block without decoding its records.
    ///
    /// # Errors
    /// [`Error::Local`] if the file cannot be written.
    pub fn raw_block(&mut self, head: &BlockHead, records: &[u8]) -> Result<()> {
        let fail = |e| Error::cache(&self.path, e);
        let head = serde_json::to_vec(head).map_err(|e| fail(e.into()))?;
        self.out.write_all(&(head.len() as u32).to_le_bytes()).map_err(fail)?;
        self.out.write_all(&head).map_err(fail)?;
        self.out.write_all(records).map_err(fail)
    }

    /// Ends the file. Its data is on the disk when this returns.
    ///
    /// # Errors
    /// [`Error::Local`] if the file cannot be written or flushed to the disk. It may then be incomplete.
    pub fn finish(mut self) -> Result<()> {
        let fail = |e| Error::cache(&self.path, e);
        self.out.write_all(&0u32.to_le_bytes()).map_err(fail)?;
        self.out.flush().map_err(fail)?;
        self.out.get_ref().sync_data().map_err(fail)
    }
}

/// Reads a cache file, in order, once.
pub struct CacheReader {
    input: Option<BufReader<File>>,
    path: PathBuf,
    head: Option<BlockHead>,
    block: Vec<u8>,
    at: usize,
    known: Known,
    peeked: bool,
    /// The page object that was written with this cache. Pages without a named object are in it.
    own: Option<Hash>,
}

impl CacheReader {
    /// Opens a cache. `own` is the page object that was written with it.
    ///
    /// # Errors
    /// [`Error::Damaged`] if another version of offsite wrote the file.
    pub fn open(path: &Path, own: Option<Hash>) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::cache(path, e))?;
        let mut input = BufReader::with_capacity(1 << 18, file);
        let mut magic = [0; 8];
        input.read_exact(&mut magic).map_err(|e| Error::cache(path, e))?;
        if &magic != MAGIC {
            return Err(Error::damaged(path.display(), "not a cache of this version"));
        }
        Ok(Self { input: Some(input), own, ..Self::empty(path) })
    }

    /// The cache of a manifest without entries.
    pub fn none() -> Self {
        Self::empty(Path::new("no manifest"))
    }

    fn empty(path: &Path) -> Self {
        Self { input: None, path: path.into(), head: None, block: Vec::new(), at: 0, known: Known::default(), peeked: false, own: None }
    }

    fn damaged(&self, what: impl std::fmt::Display) -> Error {
        Error::damaged(self.path.display(), what)
    }

    /// Moves to the next block and skips the unread records of the current one. None at the end.
    ///
    /// # Errors
    /// [`Error::Local`] if the file cannot be read or ends too early. [`Error::Damaged`] if the head of the block
    /// cannot be decoded, or if the block is larger than any page makes it.
    pub fn next_block(&mut self) -> Result<Option<&BlockHead>> {
        self.peeked = false;
        self.at = 0;
        self.known.path.clear();
        let Some(input) = &mut self.input else { return Ok(None) };
        let fail = |e| Error::cache(&self.path, e);
        let mut length = [0; 4];
        input.read_exact(&mut length).map_err(fail)?;
        let length = u32::from_le_bytes(length);
        if length == 0 {
            self.input = None;
            self.head = None;
            self.block.clear();
            return Ok(None);
        }
        if length > MAX_BLOCK {
            return Err(self.damaged("a block that cannot be"));
        }
        self.block.resize(length as usize, 0);
        input.read_exact(&mut self.block).map_err(fail)?;
        let mut head: BlockHead = serde_json::from_slice(&self.block).map_err(|e| Error::damaged(self.path.display(), e))?;
        if head.length > MAX_BLOCK {
            return Err(self.damaged("a block that cannot be"));
        }
        self.block.resize(head.length as usize, 0);
        input.read_exact(&mut self.block).map_err(fail)?;
        head.page.object = head.page.object.or(self.own);
        self.head = Some(head);
        Ok(self.head.as_ref())
    }

    /// The current block, with its encoded records.
    pub fn block(&self) -> Option<(&BlockHead, &[u8])> {
        self.head.as_ref().map(|head| (head, &self.block[..]))
    }

    /// The next record of the current block, without taking it. None at the end of the block.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the record cannot be decoded.
    pub fn peek_in_block(&mut self) -> Result<Option<&Known>> {
        if self.peeked {
            return Ok(Some(&self.known));
        }
        if self.at >= self.block.len() {
            return Ok(None);
        }
        let broken = |e| Error::damaged(self.path.display(), e);
        let from = &self.block[self.at..];
        let ((shared, suffix), rest): ((u32, &[u8]), _) = postcard::take_from_bytes(from).map_err(broken)?;
        let (quick, rest): (Quick, _) = postcard::take_from_bytes(rest).map_err(broken)?;
        let (tail, rest): (&[u8], _) = postcard::take_from_bytes(rest).map_err(broken)?;
        self.known.path.truncate(shared as usize);
        self.known.path.extend_from_slice(suffix);
        self.known.quick = Some(quick);
        self.known.rest.clear();
        self.known.rest.extend_from_slice(tail);
        self.at = self.block.len() - rest.len();
        self.peeked = true;
        Ok(Some(&self.known))
    }

    /// The next record, across blocks, without taking it. None at the end of the file.
    ///
    /// # Errors
    /// Those of [`Self::next_block`] and [`Self::peek_in_block`].
    pub fn peek(&mut self) -> Result<Option<&Known>> {
        while !self.peeked && self.at >= self.block.len() {
            if self.next_block()?.is_none() {
                return Ok(None);
            }
        }
        self.peek_in_block()
    }

    /// Takes the record that the last peek returned.
    pub fn advance(&mut self) {
        self.peeked = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str) -> Entry {
        Entry {
            path: path.into(),
            kind: Kind::File,
            size: 5,
            mtime: Time { secs: -3, nanos: 7 },
            mode: 0o640,
            uid: 1,
            gid: 2,
            user: Some("u".into()),
            group: None,
            link: None,
            hard: Some("9".into()),
            sparse: true,
            allocated: Some(1 << 40),
            xattrs: vec![Xattr { name: "user.x".into(), value: RelPath::new(vec![0, 255]) }],
            odd: false,
            content: Some(Content { etag: Some("e".into()), ..Content::new(Hash([7; 32]), 3) }),
        }
    }

    fn page(first: &str) -> PageRef {
        PageRef { object: None, offset: 0, length: 1, raw: 1, hash: Hash([1; 32]), level: 0, first: first.into(), entries: 1, bytes: 1 }
    }

    #[test]
    fn what_goes_in_comes_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cache");
        let mut writer = CacheWriter::create(&path).unwrap();
        let stamps = KnownStamps::At(Stamps { ino: 4, ctime: Time { secs: 1, nanos: 2 } });
        for name in ["a", "ab/c", "ab/d"] {
            writer.push(&entry(name), stamps).unwrap();
        }
        writer.end_block(&page("a"), true).unwrap();
        writer.push(&entry("ab/e"), KnownStamps::Fresh).unwrap();
        writer.end_block(&page("ab/e"), false).unwrap();
        writer.finish().unwrap();

        let mut reader = CacheReader::open(&path, None).unwrap();
        let mut got = Vec::new();
        while let Some(known) = reader.peek().unwrap() {
            got.push((known.entry().unwrap(), known.stamps()));
            reader.advance();
        }
        let want: Vec<_> =
            ["a", "ab/c", "ab/d"].into_iter().map(|n| (entry(n), stamps)).chain([(entry("ab/e"), KnownStamps::Fresh)]).collect();
        assert_eq!(got, want);
    }
}
