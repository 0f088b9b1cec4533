//! Reads the contents of a copy at the destination that is copied.
//!
//! Owns the check of each content by its hash, and what a failure concerns. A content that is missing or damaged there
//! is lost, and the run names it. If the store itself fails, the run ends. Small files that lie close together in a pack
//! come with one request.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use offsite_backends::ErrorKind;
use tokio::sync::Semaphore;

use super::fetch::read_old_content;
use super::limit::Limit;
use super::sink::Sink;
use super::stop::Stop;
use super::wanted::{Group, Wanted};
use super::witness::Witness;
use crate::error::{Error, Result};
use crate::manifest::{KeyRules, Records};
use crate::model::{Entry, Hash, Stamps, Time};
use crate::scan::{FileType, Read, ReadError, Stat};

/// Number of requests for a content whose body breaks off.
pub(super) const TRIES: u32 = 3;
/// Stretches whose pieces may be in memory.
const OPEN: usize = 3;

/// The contents of one snapshot of another destination.
pub struct StoredContents {
    pub(super) records: Records,
    pub(super) rules: KeyRules,
    pub(super) limit: Arc<Limit>,
    /// Stops the transfer that reads.
    stop: Arc<Stop>,
    slots: Semaphore,
    witness: Witness,
    wanted: Arc<Mutex<Wanted>>,
    taken: Mutex<EarlyPieces>,
    /// How many locations of a large file turned out to have another content.
    pub(super) passed: Mutex<HashMap<Vec<u8>, usize>>,
    /// How often the body of a large file broke off.
    pub(super) breaks: Mutex<HashMap<Vec<u8>, u32>>,
    broken: Mutex<Option<Error>>,
}

/// Pieces that came with others and that nobody has asked for yet.
#[derive(Default)]
struct EarlyPieces {
    pieces: HashMap<Vec<u8>, Bytes>,
    /// The paths of each stretch, the oldest first.
    order: VecDeque<Vec<Vec<u8>>>,
}

/// What stands for the stamps of a file that is on no disk. They are equal only if content and metadata are, so that a run
/// which continues another one does not take over what that one noted of an older snapshot.
pub fn content_stamps(entry: &Entry) -> Stamps {
    let Some(content) = &entry.content else { return Stamps::default() };
    let Entry { mtime, mode, uid, gid, user, group, sparse, allocated, xattrs, .. } = entry;
    let metadata = format!("{:?}", (mtime, mode, uid, gid, user, group, sparse, allocated, xattrs));
    let hash = Hash::of(&[&content.hash.0[..], metadata.as_bytes()].concat());
    let number = |from: usize| (0..8).fold(0, |sum: u64, at| sum << 8 | u64::from(hash.0[from + at]));
    let (secs, nanos) = (number(8) >> 32, number(8) as u32 % 1_000_000_000);
    Stamps { ino: number(0), ctime: Time { secs: secs as i64, nanos } }
}

/// The metadata of an entry as if it were on a disk.
pub(super) fn stat_of(entry: &Entry) -> Stat {
    let stamps = content_stamps(entry);
    Stat {
        file_type: FileType::File,
        size: entry.size,
        mtime: entry.mtime,
        ctime: stamps.ctime,
        ino: stamps.ino,
        dev: 0,
        mode: entry.mode,
        uid: entry.uid,
        gid: entry.gid,
        nlink: 1,
        allocated: entry.allocated.unwrap_or(entry.size),
    }
}

impl StoredContents {
    /// The contents of snapshot `number` of the destination with these records. `wanted` is the local list of files that
    /// may be asked for. `stop` is stopped when the store fails.
    pub fn new(records: Records, rules: KeyRules, number: u64, wanted: &Path, limit: Arc<Limit>, stop: Arc<Stop>) -> Self {
        let slots = Semaphore::new(records.backend().capabilities().transfers.max(1));
        Self {
            records,
            rules,
            limit,
            stop,
            slots,
            witness: Witness::new(number),
            wanted: Arc::new(Mutex::new(Wanted::new(wanted))),
            taken: Mutex::default(),
            passed: Mutex::default(),
            breaks: Mutex::default(),
            broken: Mutex::default(),
        }
    }

    /// The failure of the store that ended the transfer, if one did.
    pub fn failure(&self) -> Option<Error> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether the snapshot was deleted meanwhile.
    pub async fn is_gone(&self) -> bool {
        self.witness.gone(&self.records).await.is_some()
    }

    pub(super) async fn find(&self, path: &[u8]) -> Result<(Arc<Group>, usize), ReadError> {
        let (wanted, owned) = (Arc::clone(&self.wanted), path.to_vec());
        let found = tokio::task::spawn_blocking(move || wanted.lock().unwrap_or_else(PoisonError::into_inner).find(&owned)).await;
        match found.unwrap_or_else(|e| Err(Error::local("the list of files", std::io::Error::other(e)))) {
            Ok(Some(found)) => Ok(found),
            Ok(None) => Err(ReadError::Vanished),
            Err(error) => Err(self.end(error)),
        }
    }

    /// Ends the transfer with this error.
    fn end(&self, error: Error) -> ReadError {
        let shown = std::io::Error::other(error.to_string());
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.stop.interrupt();
        ReadError::Io(shown)
    }

    /// What an error while a content was read means: the content is lost, or the store or this machine failed.
    pub(super) async fn failed(&self, error: Error) -> ReadError {
        match error {
            Error::Interrupted | Error::Local { .. } | Error::Busy(_) | Error::Usage(_) => self.end(error),
            error if error.kind() == Some(ErrorKind::Transient) => self.end(error),
            error => match self.witness.ask(&self.records).await {
                Ok(()) => ReadError::Lost(error.to_string()),
                Err(_) => self.end(error),
            },
        }
    }

    fn taken(&self) -> MutexGuard<'_, EarlyPieces> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The piece of a small packed file, together with those beside it. `None` if it has to be read alone: it was taken
    /// before, or it is damaged.
    async fn with_others(&self, group: &Arc<Group>, index: usize, path: &[u8]) -> Option<Bytes> {
        let stretch = group.stretches.get(group.stretch_of[index]?)?;
        let mut waiting = stretch.lock().await;
        if let Some(stretch) = waiting.take() {
            let batches = stretch.read(&self.records).await;
            self.limit.take(batches.iter().map(|batch| batch.length).sum()).await;
            let group = Arc::clone(group);
            let unpacked = tokio::task::spawn_blocking(move || {
                let mut pieces = Vec::new();
                let mut take = |index: usize, piece: Result<Bytes>| {
                    pieces.extend(piece.ok().map(|piece| (group.files[index].path.0.clone(), piece)));
                };
                batches.into_iter().for_each(|batch| batch.unpack(&mut take));
                pieces
            });
            let pieces = unpacked.await.ok()?;
            self.taken().add(pieces);
        }
        self.taken().pieces.remove(path)
    }

    async fn alone(&self, entry: &Entry) -> Result<Bytes, ReadError> {
        let mut tries = 1;
        loop {
            let mut sink = GatheredContent { body: Vec::with_capacity(entry.size as usize), source: self };
            match read_old_content(&self.records, &self.rules, entry, 0, &mut sink).await {
                Ok(()) => return Ok(sink.body.into()),
                Err(error) if error.kind() == Some(ErrorKind::Transient) && tries < TRIES => tries += 1,
                Err(error) => return Err(self.failed(error).await),
            }
        }
    }
    /// Reads a whole file of at most `limit` bytes.
    pub(super) async fn read_whole(&self, path: &[u8], limit: u64) -> Result<Read, ReadError> {
        let _slot = self.slots.acquire().await;
        self.stop.check().map_err(|error| ReadError::Io(std::io::Error::other(error.to_string())))?;
        let (group, index) = self.find(path).await?;
        let entry = &group.files[index].entry;
        if entry.size > limit {
            return Err(ReadError::Grown);
        }
        let Some(hash) = entry.content.as_ref().map(|content| content.hash) else { return Err(ReadError::Vanished) };
        let content = match self.with_others(&group, index, path).await {
            _ if entry.size == 0 && hash == Hash::of(b"") => Bytes::new(),
            Some(content) => content,
            None => self.alone(entry).await?,
        };
        Ok(Read { content, hash, stat: stat_of(entry), xattrs: entry.xattrs.clone(), unstable: false })
    }
}

impl EarlyPieces {
    fn add(&mut self, pieces: Vec<(Vec<u8>, Bytes)>) {
        self.order.push_back(pieces.iter().map(|(path, _)| path.clone()).collect());
        self.pieces.extend(pieces);
        while self.order.len() > OPEN {
            for path in self.order.pop_front().unwrap_or_default() {
                self.pieces.remove(&path);
            }
        }
    }
}

/// A content gathered in memory.
struct GatheredContent<'a> {
    body: Vec<u8>,
    source: &'a StoredContents,
}

#[async_trait]
impl Sink for GatheredContent<'_> {
    async fn restart(&mut self) -> Result<()> {
        self.body.clear();
        Ok(())
    }

    async fn write(&mut self, block: Bytes) -> Result<()> {
        self.source.limit.take(block.len() as u64).await;
        self.body.extend_from_slice(&block);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Content;

    #[test]
    fn other_contents_and_other_metadata_have_other_stamps() {
        let of = |text: &[u8], mode: &str| {
            let json = format!(r#"{{"path":"a","mtime":"1.000000000","mode":"{mode}"}}"#);
            let entry: Entry = serde_json::from_str(&json).unwrap();
            content_stamps(&Entry { content: Some(Content::new(Hash::of(text), 1)), ..entry })
        };
        assert_eq!(of(b"a", "0644"), of(b"a", "0644"));
        assert_ne!(of(b"a", "0644"), of(b"b", "0644"));
        assert_ne!(of(b"a", "0644"), of(b"a", "0750"));
        let json = serde_json::to_string(&of(b"a", "0644")).unwrap();
        assert_eq!(serde_json::from_str::<Stamps>(&json).unwrap(), of(b"a", "0644"), "a journal keeps them");
    }
}
