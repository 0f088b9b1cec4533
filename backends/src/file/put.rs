//! Writing objects: competing writers, stable storage, and the entity tag.
//!
//! Owns the three ways to name an object (overwrite, create-only, compare and swap) and uploads in parts. Invariants:
//! an object is on stable storage before it gets its name, and the name is before the call returns. If several
//! writers create one name, in this process or in others, exactly one succeeds.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use object_store::{MultipartUpload, PutPayload, PutResult, UploadPart};
use rustix::fs::{AtFlags, OFlags, Stat};
use rustix::io::Errno;

use super::dirs::Make;
use super::staging::{self, LocalStaging, LocalTemp};
use super::threads::blocking;
use super::{meta, publish, read};
use crate::contract::error::{Error, ErrorKind, Result};
use crate::contract::meter::{Class, Meter};
use crate::contract::tree::Stamp;
use crate::file_lock::FileLock;
use crate::names::check;

/// The file in the staging directory whose lock serializes compare-and-swap. It is never removed.
pub(super) const LOCK: &[u8] = b"lock";

/// The entity tag of a file: inode, length in bytes and modification time in nanoseconds since 1970, in hexadecimal.
/// It changes whenever the file is replaced, and stays when the file is renamed or linked.
pub fn etag(ino: u64, size: u64, mtime: Stamp) -> String {
    let nanos = i128::from(mtime.secs) * 1_000_000_000 + i128::from(mtime.nanos);
    let sign = if nanos < 0 { "-" } else { "" };
    format!("{ino:x}-{size:x}-{sign}{:x}", nanos.unsigned_abs())
}

pub(super) fn etag_of(stat: &Stat) -> String {
    etag(stat.st_ino, stat.st_size.unsigned_abs(), meta::stamp(stat))
}

/// The modification time as a date. A time outside the calendar becomes the nearest possible date.
pub(super) fn modified(stat: &Stat) -> DateTime<Utc> {
    let Stamp { secs, nanos } = meta::stamp(stat);
    DateTime::from_timestamp(secs, nanos).unwrap_or(match secs < 0 {
        true => DateTime::<Utc>::MIN_UTC,
        false => DateTime::<Utc>::MAX_UTC,
    })
}

/// Returns `Precondition` if `wanted` is a tag and the file has another one.
pub(super) fn expect(area: &LocalStaging, key: &[u8], stat: &Stat, wanted: Option<&str>) -> Result<()> {
    let found = etag_of(stat);
    match wanted.map(|tag| tag.trim_matches('"')) {
        Some(wanted) if wanted != found => {
            Err(Error::new(ErrorKind::Precondition, area.dirs.shown(key), format!("it is {found}, not {wanted}")))
        }
        _ => Ok(()),
    }
}

/// How an object gets its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LocalPutMode {
    Overwrite,
    Create,
    /// Replaces only an object with this entity tag.
    Update(String),
}

/// Gives a staged file the name `key`. File and name are on stable storage when it returns.
pub(super) fn name(area: &Arc<LocalStaging>, (temp, fd): (LocalTemp, OwnedFd), key: &[u8], mode: &LocalPutMode) -> Result<PutResult> {
    let (parent, _) = area.dirs.split(key)?;
    let fail = |errno| area.dirs.error(key, errno);
    let stat = make_unique(&fd).map_err(fail)?;
    rustix::fs::fsync(&fd).map_err(fail)?;
    area.dirs.dir(parent, Make::Durable)?;
    match mode {
        LocalPutMode::Overwrite => {
            // The lock keeps this rename out of the time between another writer's comparison and its rename. If the
            // file system has no locks, the rename happens without one.
            let _lock = lock(area).ok();
            publish::rename(area, &temp.path, key)?;
            temp.release();
        }
        LocalPutMode::Create => create(area, temp, &fd, key)?,
        LocalPutMode::Update(wanted) => {
            let _lock = lock(area)?;
            let current = match read::open_file(&area.dirs, key) {
                Ok((_, stat)) => stat,
                Err(e) if e.kind == ErrorKind::NotFound => {
                    return Err(Error { kind: ErrorKind::Precondition, ..e });
                }
                Err(e) => return Err(e),
            };
            expect(area, key, &current, Some(wanted))?;
            publish::rename(area, &temp.path, key)?;
            temp.release();
        }
    }
    area.dirs.fsync(parent)?;
    Ok(PutResult { e_tag: Some(etag_of(&stat)), version: None, extensions: Default::default() })
}

/// Sets the part of the mtime below a millisecond to a random value. A file system reuses inodes at once, and its
/// clock ticks every few milliseconds. Without this, an object that is replaced twice within a tick could get its
/// first tag back.
fn make_unique(fd: &OwnedFd) -> rustix::io::Result<Stat> {
    use std::hash::{BuildHasher, Hasher};
    let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
    let mut mtime = meta::stamp(&rustix::fs::fstat(fd)?);
    mtime.nanos = mtime.nanos / 1_000_000 * 1_000_000 + (random % 1_000_000) as u32;
    rustix::fs::futimens(fd, &meta::times(mtime)?)?;
    rustix::fs::fstat(fd)
}

/// Names a temporary file if the name is free. A hard link is the only operation that is exclusive on every file
/// system that has it, network ones included.
fn create(area: &Arc<LocalStaging>, temp: LocalTemp, fd: &OwnedFd, key: &[u8]) -> Result<()> {
    let (staging, name) = area.dirs.split(&temp.path)?;
    let staging = area.dirs.dir(staging, Make::No)?;
    let linked = area.dirs.at(key, Make::Durable, |dir, new| {
        match rustix::fs::linkat(&staging, name, dir, new, AtFlags::empty()) {
            Ok(()) => Ok(Some(true)),
            // A server that repeats a request refuses its own first success. The number of links tells whether it
            // succeeded.
            Err(Errno::EXIST) => Ok(Some(rustix::fs::fstat(fd)?.st_nlink > 1)),
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK) => Ok(None),
            Err(errno) => Err(errno),
        }
    })?;
    let won = match linked {
        Some(won) => won,
        None => {
            let won = publish::rename_new(area, &temp.path, key)?;
            if won {
                temp.release();
            }
            won
        }
    };
    match won {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::Exists, area.dirs.shown(key), "it exists already")),
    }
}

/// Blocks other writers that compare and swap, until the returned lock is dropped.
pub(super) fn lock(area: &LocalStaging) -> Result<FileLock<OwnedFd>> {
    let path = [area.staging(), b"/", LOCK].concat();
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    let fd = area.dirs.at(&path, Make::Yes, |dir, name| rustix::fs::openat(dir, name, flags, mode))?;
    FileLock::wait(fd).map_err(|e| area.dirs.error(&path, e))
}

/// An upload in parts. Each part is written at its offset in one temporary file.
pub(super) struct LocalUpload {
    area: Arc<LocalStaging>,
    meter: Arc<Meter>,
    key: Vec<u8>,
    fd: Arc<OwnedFd>,
    /// `None` after the upload was completed or aborted.
    temp: Option<LocalTemp>,
    offset: u64,
}

impl LocalUpload {
    pub fn new(area: Arc<LocalStaging>, meter: Arc<Meter>, key: &[u8]) -> Result<Self> {
        check(key).map_err(|why| Error::invalid(area.dirs.shown(key), why))?;
        let (temp, fd) = area.create()?;
        Ok(Self { area, meter, key: key.to_vec(), fd: Arc::new(fd), temp: Some(temp), offset: 0 })
    }
}

impl fmt::Debug for LocalUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upload({})", self.area.dirs.shown(&self.key))
    }
}

#[async_trait]
impl MultipartUpload for LocalUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.meter.call(Class::Put, || self.area.dirs.shown(&self.key));
        let (fd, area, key) = (self.fd.clone(), self.area.clone(), self.key.clone());
        let (meter, mut at) = (self.meter.clone(), self.offset);
        self.offset += data.content_length() as u64;
        Box::pin(async move {
            blocking(move || {
                for chunk in &data {
                    staging::write_at(&fd, at, chunk, false).map_err(|e| area.dirs.error(&key, e))?;
                    at += chunk.len() as u64;
                }
                meter.add_sent(data.content_length() as u64);
                Ok(())
            })
            .await
            .map_err(Error::into_store)
        })
    }

    async fn complete(&mut self) -> object_store::Result<PutResult> {
        let done = "the upload is finished already";
        let (area, key, fd) = (self.area.clone(), self.key.clone(), self.fd.clone());
        let temp = self.temp.take().ok_or_else(|| Error::new(ErrorKind::Invalid, area.dirs.shown(&key), done).into_store())?;
        blocking(move || {
            let fd = fd.try_clone().map_err(|e| Error::from_io(area.dirs.shown(&key), &e))?;
            name(&area, (temp, fd), &key, &LocalPutMode::Overwrite)
        })
        .await
        .map_err(Error::into_store)
    }

    async fn abort(&mut self) -> object_store::Result<()> {
        let temp = self.temp.take();
        blocking(move || {
            drop(temp);
            Ok(())
        })
        .await
        .map_err(Error::into_store)
    }
}
