//! Metadata in SFTP version 3: mode, numeric owner, and times in unsigned whole seconds.
//!
//! Owns the translation in both directions, the entity tag, and whether this login may change owners. Invariant: a
//! value that SFTP cannot express is left out, never sent wrongly. A time is moved into the years from 1970 to 2106.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use chrono::{DateTime, Utc};

use super::dirs::kind;
use super::packet::{self, Attrs};
use super::session::SftpFault;
use crate::contract::tree::{FileKind, FileMeta, FileStat, Stamp};

/// The time that the server returns after this one was set: a whole second from 1970 to 2106.
pub(super) fn kept(stamp: Stamp) -> Stamp {
    Stamp { secs: i64::from(seconds(stamp)), nanos: 0 }
}

fn seconds(stamp: Stamp) -> u32 {
    u32::try_from(stamp.secs.max(0)).unwrap_or(u32::MAX)
}

/// Whether this login may change owners: assumed until the server refuses it.
pub(super) struct Owners {
    may: AtomicBool,
    /// Owner and group of files that are created here, once they are known.
    pub own: OnceLock<(u32, u32)>,
}

impl Default for Owners {
    fn default() -> Self {
        Self { may: AtomicBool::new(true), own: OnceLock::new() }
    }
}

impl Owners {
    /// The owner to set, if it can be set. It is sent in its own request before all others, because a change of owner
    /// clears set-id bits.
    pub fn wanted(&self, meta: &FileMeta) -> Option<Attrs> {
        // The highest number means "leave it" and cannot be an owner.
        let owner = meta.owner.filter(|(uid, gid)| *uid != u32::MAX && *gid != u32::MAX)?;
        self.may.load(Relaxed).then(|| Attrs { owner: Some(owner), ..Attrs::default() })
    }

    /// Like `wanted`, for a new file, which usually has the right owner already.
    pub fn wanted_new(&self, meta: &FileMeta) -> Option<Attrs> {
        self.wanted(meta).filter(|attrs| attrs.owner != self.own.get().copied())
    }

    /// Handles the result of setting an owner. A refusal is remembered and ignored.
    pub fn settle(&self, done: Result<(), SftpFault>) -> Result<(), SftpFault> {
        match done {
            Err(fault) if fault.is(packet::DENIED) => {
                self.may.store(false, Relaxed);
                Ok(())
            }
            done => done,
        }
    }
}

/// Mode and times to set on a file or directory. A symlink has no mode.
pub(super) fn to_set(meta: &FileMeta, symlink: bool) -> Attrs {
    Attrs {
        mode: meta.mode.filter(|_| !symlink).map(|mode| mode & 0o7777),
        times: meta.mtime.map(|mtime| (seconds(mtime), seconds(mtime))),
        ..Attrs::default()
    }
}

/// The part of `wanted` that differs from `found`. Equal values are not set again, so the fractions of a second that
/// another tool set, and that SFTP cannot express, stay.
pub(super) fn differing(wanted: Attrs, found: &Attrs) -> Attrs {
    Attrs {
        mode: wanted.mode.filter(|mode| found.mode.map(|found| found & 0o7777) != Some(*mode)),
        times: wanted.times.filter(|(_, modified)| found.times.map(|(_, found)| found) != Some(*modified)),
        ..wanted
    }
}

pub(super) fn file_stat(attrs: &Attrs) -> FileStat {
    FileStat { kind: kind(attrs), size: attrs.size.unwrap_or_default(), mtime: stamp(attrs), ino: 0 }
}

pub(super) fn stamp(attrs: &Attrs) -> Stamp {
    Stamp { secs: attrs.times.map_or(0, |(_, modified)| i64::from(modified)), nanos: 0 }
}

pub(super) fn modified(attrs: &Attrs) -> DateTime<Utc> {
    DateTime::from_timestamp(stamp(attrs).secs, 0).unwrap_or_default()
}

/// The entity tag: length in bytes, modification and access time in seconds since 1970, in hexadecimal. The server
/// does not send the inode, so offsite's own objects get a random access time ([`unique`]). Without it, a file that
/// is replaced by one of the same length within a second would keep its tag.
pub(super) fn etag(attrs: &Attrs) -> String {
    let (accessed, modified) = attrs.times.unwrap_or_default();
    format!("{:x}-{modified:x}-{accessed:x}", attrs.size.unwrap_or_default())
}

/// The same modification time, with a random later access time in the next four years. With today's mount options, a
/// read does not change an access time in the future.
pub(super) fn unique(attrs: &Attrs) -> Attrs {
    let (_, modified) = attrs.times.unwrap_or_default();
    let random = RandomState::new().build_hasher().finish() as u32 >> 5;
    Attrs { times: Some((modified.saturating_add(1 + random), modified)), ..Attrs::default() }
}

pub(super) fn is_file(attrs: &Attrs) -> bool {
    kind(attrs) == FileKind::File
}
