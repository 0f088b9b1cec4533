//! Listing: the entries below a directory, with raw names.
//!
//! Owns reading directories, several at once, and which entries are objects: regular files outside the staging area.
//! Invariants: a listing ends with an error or is complete. An entry that vanishes meanwhile counts as missing. An
//! entry that cannot be read is an error. So is a name that could lead out of its directory, and a listing that goes
//! on without new names.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::{BoxStream, FuturesUnordered};
use futures::{StreamExt, TryStreamExt, stream};

use super::meta::is_file;
use super::ops::{Handle, names};
use super::packet::{self, Attrs};
use super::read::is_dir;
use super::session::{Pending, SftpFault};
use super::staging::SftpStaging;
use crate::contract::error::{Error, ErrorKind, Result};

/// Directories that are read at once.
const DIRECTORIES: usize = 16;
/// Requests for entries of one directory in flight.
const AHEAD: usize = 4;
/// How often one directory is read from its start when connections break.
const TRIES: usize = 6;
/// The most replies in a row without a new name. An entry that is replaced meanwhile can appear twice.
const STALE: u32 = 16;
/// The most names of one directory: more than file systems hold with their default settings.
const MOST: usize = 8_000_000;
/// The most bytes that the gathered names of one directory may take.
const GATHERED: usize = 96 << 20;

/// A path below the root and its attributes.
pub(super) type WalkedPath = (Vec<u8>, Attrs);

/// Every regular file below the directory `start`, in no particular order, or none if it does not exist. A missing
/// root is an error. Memory grows with the number of waiting directories, and by a few bytes with each name of the
/// directories that are being read.
pub(super) fn files(area: Arc<SftpStaging>, start: Vec<u8>) -> BoxStream<'static, Result<WalkedPath>> {
    struct Walk {
        area: Arc<SftpStaging>,
        waiting: VecDeque<Vec<u8>>,
        reading: FuturesUnordered<BoxFuture<'static, Batch>>,
        failed: bool,
    }
    let walk = Walk { area, waiting: VecDeque::from([start]), reading: FuturesUnordered::new(), failed: false };
    let batches = stream::unfold(walk, |mut walk| async move {
        if walk.failed {
            return None;
        }
        while walk.reading.len() < DIRECTORIES
            && let Some(dir) = walk.waiting.pop_back()
        {
            walk.reading.push(Box::pin(OpenDir::new(&walk.area, dir).next()));
        }
        let mut batch = Vec::new();
        match walk.reading.next().await? {
            Ok(None) => {}
            Ok(Some((found, dir))) => {
                walk.reading.push(Box::pin(dir.next()));
                for (path, attrs) in found {
                    if is_dir(&attrs) && !walk.area.is_staging(&path) {
                        walk.waiting.push_back(path);
                    } else if is_file(&attrs) {
                        batch.push(Ok((path, attrs)));
                    }
                }
            }
            Err(error) => {
                walk.failed = true;
                batch.push(Err(error));
            }
        }
        Some((batch, walk))
    });
    batches.flat_map(stream::iter).boxed()
}

/// All entries of one directory, in the order of the server's replies, or none if it does not exist.
pub(super) fn each(area: &Arc<SftpStaging>, dir: &[u8]) -> BoxStream<'static, Result<Vec<WalkedPath>>> {
    stream::try_unfold(OpenDir::new(area, dir.to_vec()), OpenDir::next).boxed()
}

/// Like `each`, gathered. More entries than fit in memory are an error.
pub(super) async fn entries(area: &Arc<SftpStaging>, dir: &[u8]) -> Result<Vec<WalkedPath>> {
    let (mut all, mut bytes) = (Vec::new(), 0);
    let mut batches = each(area, dir);
    while let Some(batch) = batches.try_next().await? {
        bytes += batch.iter().map(|(path, _)| path.len() + size_of::<WalkedPath>()).sum::<usize>();
        if bytes > GATHERED {
            let what = format!("the directory has more names than offsite can process ({} so far)", all.len() + batch.len());
            return Err(Error::new(ErrorKind::Other, area.dirs.link.shown(dir), what));
        }
        all.extend(batch);
    }
    Ok(all)
}

/// The entries of one reply, and the directory to continue with. `None` at its end.
type Batch = Result<Option<(Vec<WalkedPath>, OpenDir)>>;

/// One directory that is being read.
struct OpenDir {
    area: Arc<SftpStaging>,
    path: Vec<u8>,
    /// `None` before it was opened, and after its connection broke.
    open: Option<(Handle, VecDeque<Pending>)>,
    ended: bool,
    opened: usize,
    seen: Seen,
}

impl OpenDir {
    fn new(area: &Arc<SftpStaging>, path: Vec<u8>) -> Self {
        Self { area: Arc::clone(area), path, open: None, ended: false, opened: 0, seen: Seen::default() }
    }

    /// The entries of the next reply. `None` at the end.
    async fn next(mut self) -> Batch {
        loop {
            if self.open.is_none() && !self.open().await? {
                return Ok(None);
            }
            let Some((handle, asked)) = &mut self.open else { return Ok(None) };
            // The handle is closed when it is dropped. Nobody waits for that.
            let Some(next) = asked.pop_front() else { return Ok(None) };
            match names(next).await {
                Ok(None) => self.ended = true,
                Ok(Some(entries)) => {
                    if !self.ended {
                        asked.push_back(handle.read_dir());
                    }
                    let fresh = self.seen.fresh(entries, self.opened > 1);
                    let fresh = fresh.map_err(|what| self.area.dirs.link.error(&self.path, &SftpFault::Odd(what)))?;
                    let found = self.complete(fresh).await?;
                    return Ok(Some((found, self)));
                }
                Err(SftpFault::Lost) if self.opened < TRIES => self.open = None,
                Err(fault) => return Err(self.area.dirs.link.error(&self.path, &fault)),
            }
        }
    }

    /// Opens the directory and requests the first entries. Returns false if it does not exist.
    async fn open(&mut self) -> Result<bool> {
        self.opened += 1;
        self.ended = false;
        self.area.dirs.root().await?;
        match self.area.dirs.dir(&self.path, false).await {
            Ok(()) => {}
            Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Exists) => return Ok(false),
            Err(error) => return Err(error),
        }
        let full = self.area.dirs.full(&self.path);
        let opened = self.area.dirs.link.run(&self.path, |session, _| {
            let full = &full;
            async move {
                match session.open_dir(full).await {
                    // It was deleted since its parent was read.
                    Err(fault) if fault.is(packet::NO_SUCH_FILE) => Ok(None),
                    opened => opened.map(Some),
                }
            }
        });
        let Some(handle) = opened.await? else { return Ok(false) };
        let asked = (0..AHEAD).map(|_| handle.read_dir()).collect();
        self.open = Some((handle, asked));
        Ok(true)
    }

    /// Makes whole paths of the names, and requests the attributes that the server left out.
    async fn complete(&self, entries: Vec<WalkedPath>) -> Result<Vec<WalkedPath>> {
        let mut found = Vec::with_capacity(entries.len());
        for (name, attrs) in entries {
            let path = if self.path.is_empty() { name } else { [&self.path[..], b"/", &name].concat() };
            match attrs.mode {
                Some(_) => found.push((path, attrs)),
                None => found.extend(super::read::look(&self.area, &path).await?.map(|attrs| (path, attrs))),
            }
        }
        Ok(found)
    }
}

/// Hashes of the names that were listed so far.
#[derive(Default)]
struct Seen {
    names: HashSet<u64>,
    hasher: RandomState,
    stale: u32,
}

impl Seen {
    /// Selects the entries of a reply that are passed on. With `again`, when the directory is read once more, these
    /// are only the names that were not listed before. A name that is not possible is an error.
    fn fresh(&mut self, entries: Vec<(bytes::Bytes, Attrs)>, again: bool) -> Result<Vec<WalkedPath>, &'static str> {
        let (before, mut fresh) = (self.names.len(), Vec::with_capacity(entries.len()));
        for (name, attrs) in entries {
            match &name[..] {
                b"." | b".." => {}
                name if name.is_empty() || name.contains(&b'/') || name.contains(&0) => {
                    return Err("the server lists a name that is not possible");
                }
                name => {
                    if self.names.insert(self.hasher.hash_one(name)) || !again {
                        fresh.push((name.to_vec(), attrs));
                    }
                }
            }
        }
        self.stale = if self.names.len() > before { 0 } else { self.stale + 1 };
        // A directory that is read once more lists all its earlier names first.
        let patience = STALE as usize + if again { before } else { 0 };
        match () {
            () if self.stale as usize > patience => Err("the server's listing repeats itself: it brings the same names again and again"),
            () if self.names.len() > MOST => Err("the server lists more names than a directory can have"),
            () => Ok(fresh),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn answer(names: impl IntoIterator<Item = String>) -> Vec<(Bytes, Attrs)> {
        names.into_iter().map(|name| (Bytes::from(name), Attrs::default())).collect()
    }

    #[test]
    fn a_listing_that_brings_nothing_new_ends() {
        let mut seen = Seen::default();
        let page = || answer((0..100).map(|n| n.to_string()));
        assert_eq!(seen.fresh(page(), false).unwrap().len(), 100);
        let ended = (0..=STALE).find_map(|_| seen.fresh(page(), false).err());
        assert!(ended.unwrap().contains("repeats itself"));
        // An entry that is replaced meanwhile appears twice. That is not a listing without end.
        let mut seen = Seen::default();
        for n in 0..1000 {
            assert_eq!(seen.fresh(answer([format!("{n}"), format!("{}", n / 2)]), false).unwrap().len(), 2);
        }
    }

    #[test]
    fn what_came_before_the_connection_broke_does_not_come_again() {
        let mut seen = Seen::default();
        seen.fresh(answer(["a".into(), "b".into(), ".".into()]), false).unwrap();
        let rest = seen.fresh(answer(["b".into(), "c".into()]), true).unwrap();
        assert_eq!(rest.iter().map(|(name, _)| &name[..]).collect::<Vec<_>>(), [b"c"]);
        assert!(seen.fresh(answer(["a/b".into()]), false).is_err());
    }
}
