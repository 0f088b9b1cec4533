//! A destination that is a real directory tree (a directory here or behind SFTP), and the target of a pull.
//!
//! Owns the contract only; `file/tree.rs` is the local one, `sftp/tree.rs` the other. Invariants every implementation keeps:
//! nothing outside the root is ever read, written or followed, whatever the paths say or whatever
//! symlinks lie in the tree; a file appears under its own name whole or not at all.

use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::contract::error::{Error, ErrorKind, Result};

/// Where contents are staged, relative to the destination's root. Left out of every listing.
pub const STAGING: &[u8] = b".offsite/tmp";

/// A point in time as file systems keep it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Stamp {
    /// Whole seconds since 1970, negative before.
    pub secs: i64,
    /// Nanoseconds within the second, below 1,000,000,000.
    pub nanos: u32,
}

/// Metadata to set on a file, directory or symlink. `None` leaves a thing as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileMeta {
    /// Permission bits (`0o7777`); ignored for symlinks.
    pub mode: Option<u32>,
    pub mtime: Option<Stamp>,
    /// Numeric owner and group. Set only by root; anybody else's attempt is passed over in silence,
    /// as `rsync -a` does.
    pub owner: Option<(u32, u32)>,
    /// Extended attributes, name and value. One that cannot be had there does not keep the file away: the file
    /// comes without it, and [`Unset`] says so.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Write long runs of zeros as holes.
    pub sparse: bool,
}

/// An extended attribute that was not set: the file system has none, or none so large, or our rights forbid it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unset {
    /// Its name.
    pub name: Vec<u8>,
    /// Why not, in a sentence without a final stop.
    pub why: String,
}

/// A content that was written beside the tree and has no name in it yet.
#[derive(Debug)]
pub struct Staged {
    /// The temporary name, relative to the root.
    pub temp: Vec<u8>,
    /// What of its metadata could not be set; empty where the tree has no attributes at all by its nature.
    pub unset: Vec<Unset>,
}

/// One step of [`Tree::publish`].
#[derive(Debug)]
pub struct Publish {
    pub staged: Staged,
    /// Where it is to appear, relative to the root.
    pub path: Vec<u8>,
    /// Where the file that is replaced shall stay reachable, if there is one and it is to stay.
    /// If that name is taken already, the one that is there stays and is not replaced.
    pub keep: Option<Vec<u8>>,
}

/// What kind of thing has a name in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    File,
    Dir,
    Symlink,
    /// A FIFO, socket or device.
    Other,
}

/// What [`Tree::stat`] answers; a symlink is described itself, not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStat {
    pub kind: FileKind,
    /// Length in bytes; of no meaning for a directory.
    pub size: u64,
    pub mtime: Stamp,
    /// The inode's number, which tells a replaced file from the one it replaced; 0 where it is not known.
    pub ino: u64,
}

/// Paths are raw bytes relative to the root, components separated by `/`, with no leading or trailing
/// slash; the empty path is the root itself. A directory of our own whose mode keeps us from writing in it or
/// entering it (0555) is opened for the moment of a call and gets its mode back. A component that is empty, `.` or
/// `..` is refused ([`crate::ErrorKind::Invalid`]), one that the file system cannot hold is
/// [`crate::ErrorKind::NameRefused`]. No component is ever followed if it is a symlink.
#[async_trait]
pub trait Tree: Send + Sync {
    /// Where the root is on this machine, if it is; for messages and for reading back.
    fn local_root(&self) -> Option<PathBuf>;

    /// The mtime that [`Tree::stat`] answers once this one was set: some trees keep whole seconds only.
    fn kept_stamp(&self, stamp: Stamp) -> Stamp {
        stamp
    }

    /// Writes one content to a temporary file with its metadata (owner, mode, xattrs, mtime), not
    /// yet durable (it may be), not yet visible under a name of the tree.
    async fn stage(&self, content: Bytes, meta: FileMeta) -> Result<Staged>;

    /// The same for a content of any size that arrives in order, block by block.
    async fn stage_blocks(&self, meta: FileMeta) -> Result<Box<dyn StageBlocks>>;

    /// Throws a staged content away.
    async fn discard(&self, staged: Staged) -> Result<()>;

    /// Gives staged contents their names. With `durable`, all of them are on stable storage before
    /// the first gets its name, as far as the tree has calls for that (SFTP: only large files, unless
    /// its settings say more). Each is replaced atomically (hard link to `keep` first, then
    /// rename), parent directories are made as needed (mode 0700 until [`Tree::set_meta`] says
    /// otherwise). Answers item by item, in order; one that failed is discarded and does not stop
    /// the others. One that came too late ([`crate::ErrorKind::Late`]) stays staged, to be tried again or discarded.
    /// An empty directory makes way; one that holds something answers
    /// [`crate::ErrorKind::Exists`].
    async fn publish(&self, items: Vec<Publish>, durable: bool) -> Vec<Result<()>>;

    /// Makes a directory and its parents. One that exists is no error; something else of that name
    /// answers [`crate::ErrorKind::Exists`].
    async fn make_dir(&self, path: &[u8]) -> Result<()>;

    /// Makes (or atomically replaces) a symlink; a directory in the way that holds something answers `Exists`.
    async fn symlink(&self, path: &[u8], target: &[u8], meta: FileMeta) -> Result<()>;

    /// Makes `path` another name of the file `existing`, replacing a file or symlink there atomically.
    async fn hard_link(&self, existing: &[u8], path: &[u8]) -> Result<()>;

    /// Copies a file of `length` bytes within the tree to a staged one (reflink or in-kernel where it can), with new
    /// metadata. One of another length answers [`crate::ErrorKind::NotFound`].
    async fn stage_copy(&self, from: &[u8], length: u64, meta: FileMeta) -> Result<Staged>;

    /// Sets metadata on a file, directory or symlink that is there. Answers which attributes could not be set; all
    /// else was.
    async fn set_meta(&self, path: &[u8], meta: FileMeta) -> Result<Vec<Unset>>;

    /// Removes a file or symlink; with `keep`, moves a file there in one step instead (if `keep` is
    /// taken already the one there stays and the file is removed). What is not there is no error.
    async fn remove_file(&self, path: &[u8], keep: Option<&[u8]>) -> Result<()>;

    /// Removes a directory if it is empty. Answers whether it is gone: a directory that still holds
    /// something (foreign files) stays and is no error; nor is one that is not there.
    async fn remove_dir(&self, path: &[u8]) -> Result<bool>;

    /// Everything done so far is on stable storage when this returns.
    async fn sync(&self) -> Result<()>;

    /// The content of a regular file of `length` bytes in order, in blocks of 1 MiB of which only the last is
    /// shorter (an empty file has none). What has another length or is no regular file, a symlink included, answers
    /// [`crate::ErrorKind::NotFound`]. The stream ends in an error or is complete, and never gives more than
    /// `length`; it is as of one moment if the file was published by this trait: those are replaced, never changed.
    async fn read_blocks(&self, path: &[u8], length: u64) -> Result<BoxStream<'static, Result<Bytes>>>;

    /// What is at `path`, itself and not what it points to; `None` when nothing is, also because
    /// what should be a directory on the way is something else. A missing root is an error.
    async fn stat(&self, path: &[u8]) -> Result<Option<FileStat>>;

    /// The target of the symlink at `path`; `None` when there is no symlink, or when asking for it would cost more
    /// than [`Tree::stat`] does.
    async fn read_link(&self, _path: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    /// Removes what earlier, interrupted runs left in the staging area. Only to be called by the one writer.
    async fn clear_staging(&self) -> Result<()>;

    /// Takes the staging area itself away, as far as nothing lies in it; nothing is followed on the way. Where the
    /// area is part of a destination it stays, which is the default.
    async fn remove_staging(&self) -> Result<()> {
        Ok(())
    }
}

/// Said where a file is not as long as its caller knows it to be.
pub(crate) fn other_length(shown: String, length: u64, wanted: u64) -> Error {
    Error::new(ErrorKind::NotFound, shown, format!("the object has {length} bytes instead of {wanted}"))
}

/// A content on its way into the staging area.
#[async_trait]
pub trait StageBlocks: Send {
    /// Appends one block.
    async fn write(&mut self, block: Bytes) -> Result<()>;
    /// Ends it: sets length and metadata. Dropping the value without this discards it.
    async fn finish(self: Box<Self>) -> Result<Staged>;
}
