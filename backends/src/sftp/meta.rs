//! Metadata as version 3 has it: whole seconds without a sign, numbers for owners, nothing else.
//!
//! Owns the translation both ways, the entity tag, and whether this login may give files away.
//! Invariant: what cannot be said is left out, never said wrongly.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use chrono::{DateTime, Utc};

use super::dirs::kind;
use super::packet::{self, Attrs};
use super::session::SftpFault;
use crate::contract::tree::{FileKind, FileMeta, FileStat, Stamp};

/// A time as it comes back after it was set: the whole second, from 1970 to 2106.
pub(super) fn kept(stamp: Stamp) -> Stamp {
    Stamp { secs: i64::from(seconds(stamp)), nanos: 0 }
}

fn seconds(stamp: Stamp) -> u32 {
    u32::try_from(stamp.secs.max(0)).unwrap_or(u32::MAX)
}

/// Whether this login may give files away: assumed until the server refuses it.
pub(super) struct Owners {
    may: AtomicBool,
    /// Whose the files are that are made here, once that is known.
    pub own: OnceLock<(u32, u32)>,
}

impl Default for Owners {
    fn default() -> Self {
        Self { may: AtomicBool::new(true), own: OnceLock::new() }
    }
}

impl Owners {
    /// The owner to be set, if it can be. It goes by itself, and first: setting it clears set-id bits.
    pub fn wanted(&self, meta: &FileMeta) -> Option<Attrs> {
        // The highest number means "leave it" and cannot be an owner.
        let owner = meta.owner.filter(|(uid, gid)| *uid != u32::MAX && *gid != u32::MAX)?;
        self.may.load(Relaxed).then(|| Attrs { owner: Some(owner), ..Attrs::default() })
    }

    /// The same for a file that was just made, which most often is its owner's already.
    pub fn wanted_new(&self, meta: &FileMeta) -> Option<Attrs> {
        self.wanted(meta).filter(|attrs| attrs.owner != self.own.get().copied())
    }

    /// What came of setting it: a refusal is remembered and passed over.
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

/// Mode and times to be set on a file or directory; a symlink has no mode.
pub(super) fn to_set(meta: &FileMeta, symlink: bool) -> Attrs {
    Attrs {
        mode: meta.mode.filter(|_| !symlink).map(|mode| mode & 0o7777),
        times: meta.mtime.map(|mtime| (seconds(mtime), seconds(mtime))),
        ..Attrs::default()
    }
}

/// Of that, what is not so already. What is stays untouched, with the parts of a second that another tool set and SFTP cannot say.
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

/// The entity tag: length, modification and access time in hexadecimal. The server does not say the inode,
/// so offsite's own objects get an access time of their own ([`unique`]); without it a file that was
/// replaced by one of the same length within a second would keep its tag.
pub(super) fn etag(attrs: &Attrs) -> String {
    let (accessed, modified) = attrs.times.unwrap_or_default();
    format!("{:x}-{modified:x}-{accessed:x}", attrs.size.unwrap_or_default())
}

/// The same modification time with a random access time after it, some day in the next four years: one
/// that lies ahead is not moved by a read, as file systems are mounted today.
pub(super) fn unique(attrs: &Attrs) -> Attrs {
    let (_, modified) = attrs.times.unwrap_or_default();
    let random = RandomState::new().build_hasher().finish() as u32 >> 5;
    Attrs { times: Some((modified.saturating_add(1 + random), modified)), ..Attrs::default() }
}

pub(super) fn is_file(attrs: &Attrs) -> bool {
    kind(attrs) == FileKind::File
}
