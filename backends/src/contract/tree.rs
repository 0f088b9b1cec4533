//! A destination that is a real directory tree (local or behind SFTP), and the target of a restore.
//!
//! Owns only the contract; `file/tree.rs` implements it locally, `sftp/tree.rs` over SFTP. Invariants of every
//! implementation: nothing outside the root is ever read, written or followed, whatever the paths say and whatever
//! symlinks are in the tree; a file appears under its own name whole or not at all.

use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::contract::error::{Error, ErrorKind, Result};

/// Where contents are staged, relative to the destination's root. Listings leave it out.
pub const STAGING: &[u8] = b".offsite/tmp";

/// A point in time as file systems keep it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Stamp {
    /// Whole seconds since 1970-01-01 UTC, negative before.
    pub secs: i64,
    /// Nanoseconds within the second, below 1,000,000,000.
    pub nanos: u32,
}

/// Metadata to set on a file, directory or symlink. `None` leaves a value as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileMeta {
    /// Permission bits (`0o7777`); ignored for symlinks.
    pub mode: Option<u32>,
    /// Modification time.
    pub mtime: Option<Stamp>,
    /// Numeric owner and group. Only root sets them; for any other user they are ignored in silence, as `rsync -a`
    /// does.
    pub owner: Option<(u32, u32)>,
    /// Extended attributes, name and value. If one cannot be set, the file is written without it, and [`Unset`] says
    /// so.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Write long runs of zeros as holes.
    pub sparse: bool,
}

/// An extended attribute that was not set: the file system has none, or none so large, or this user lacks the right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unset {
    /// Its name.
    pub name: Vec<u8>,
    /// Why not, as a sentence without a full stop.
    pub why: String,
}

/// A content that was written to the staging area and has no name in the tree yet.
#[derive(Debug)]
pub struct Staged {
    /// The temporary name, relative to the root.
    pub temp: Vec<u8>,
    /// Attributes that could not be set. Empty if the tree by its nature has no attributes at all.
    pub unset: Vec<Unset>,
}

/// One step of [`Tree::publish`].
#[derive(Debug)]
pub struct Publish {
    /// The content that gets a name.
    pub staged: Staged,
    /// Its name, relative to the root.
    pub path: Vec<u8>,
    /// Name under which a replaced file stays reachable, if there is one and it is to be kept. If that name is taken,
    /// the file there stays and is not replaced.
    pub keep: Option<Vec<u8>>,
}

/// What kind of file a name in the tree has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A FIFO, socket or device.
    Other,
}

/// What [`Tree::stat`] answers. A symlink is described itself, not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStat {
    /// What has this name.
    pub kind: FileKind,
    /// Length in bytes; without meaning for a directory.
    pub size: u64,
    /// Modification time.
    pub mtime: Stamp,
    /// Number of the inode, which tells a replaced file from the one it replaced; 0 if unknown.
    pub ino: u64,
}

/// A real directory tree.
///
/// Paths are raw bytes relative to the root, with components separated by `/` and no slash at the beginning or end. The
/// empty path is the root itself. If the mode of one of our own directories (0555) forbids us to enter it or write in
/// it, the call opens the directory while it runs and restores the mode. A component that is empty, `.` or `..` is
/// refused ([`crate::ErrorKind::Invalid`]). One that the file system cannot hold is [`crate::ErrorKind::NameRefused`].
/// No component is ever followed if it is a symlink.
///
/// # Examples
///
/// ```
/// use offsite_backends::{FileMeta, Publish};
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// # let dir = tempfile::tempdir()?;
/// let backend = offsite_backends::open(&dir.path().display().to_string()).await?;
/// let tree = backend.tree().ok_or("this store is not a directory tree")?;
/// let meta = FileMeta { mode: Some(0o640), ..FileMeta::default() };
/// let staged = tree.stage("<h1>hello</h1>".into(), meta).await?;
/// assert!(tree.stat(b"site/index.html").await?.is_none());
///
/// let item = Publish { staged, path: b"site/index.html".to_vec(), keep: None };
/// tree.publish(vec![item], true).await.into_iter().collect::<Result<Vec<()>, _>>()?;
/// assert_eq!(std::fs::read_to_string(dir.path().join("site/index.html"))?, "<h1>hello</h1>");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[async_trait]
pub trait Tree: Send + Sync {
    /// Where the root is on this machine, if it is there. For messages and for reading back.
    fn local_root(&self) -> Option<PathBuf>;

    /// The mtime that [`Tree::stat`] answers after this one was set: some trees keep only whole seconds.
    fn kept_stamp(&self, stamp: Stamp) -> Stamp {
        stamp
    }

    /// Writes one content with its metadata (owner, mode, xattrs, mtime) to a temporary file. The content is not
    /// visible under a name of the tree yet, and need not be durable yet.
    async fn stage(&self, content: Bytes, meta: FileMeta) -> Result<Staged>;

    /// The same for a content of any size that arrives in order, block by block.
    async fn stage_blocks(&self, meta: FileMeta) -> Result<Box<dyn StageBlocks>>;

    /// Deletes a staged content.
    async fn discard(&self, staged: Staged) -> Result<()>;

    /// Gives staged contents their names. With `durable`, all of them are on stable storage before the first gets its
    /// name, as far as the tree has calls for that (SFTP: only large files, unless its settings say more).
    ///
    /// Each file is replaced atomically (first a hard link to `keep`, then a rename). Parent directories are made as
    /// needed (mode 0700 until [`Tree::set_meta`] sets another). An empty directory in the way is replaced; one that
    /// holds something answers [`crate::ErrorKind::Exists`].
    ///
    /// Answers item by item, in order. An item that failed is discarded and does not stop the others. An item that came
    /// too late ([`crate::ErrorKind::Late`]) stays staged, to be tried again or discarded.
    async fn publish(&self, items: Vec<Publish>, durable: bool) -> Vec<Result<()>>;

    /// Makes a directory and its parents. An existing directory is no error; anything else of that name answers
    /// [`crate::ErrorKind::Exists`].
    async fn make_dir(&self, path: &[u8]) -> Result<()>;

    /// Makes or atomically replaces a symlink. A directory in the way that holds something answers `Exists`.
    async fn symlink(&self, path: &[u8], target: &[u8], meta: FileMeta) -> Result<()>;

    /// Makes `path` another name of the file `existing`, replacing a file or symlink there atomically.
    async fn hard_link(&self, existing: &[u8], path: &[u8]) -> Result<()>;

    /// Copies a file of `length` bytes within the tree to a staged one, with new metadata (by reflink or in the kernel
    /// if possible). A file of another length answers [`crate::ErrorKind::NotFound`].
    async fn stage_copy(&self, from: &[u8], length: u64, meta: FileMeta) -> Result<Staged>;

    /// Sets metadata on an existing file, directory or symlink. Answers the attributes that could not be set;
    /// everything else was set.
    async fn set_meta(&self, path: &[u8], meta: FileMeta) -> Result<Vec<Unset>>;

    /// Removes a file or symlink. With `keep`, moves a file there in one step instead; if the name `keep` is taken, the
    /// file there stays and the other is removed. A file that does not exist is no error.
    async fn remove_file(&self, path: &[u8], keep: Option<&[u8]>) -> Result<()>;

    /// Removes a directory if it is empty. Answers whether it no longer exists. A directory that still holds something
    /// (foreign files) stays and is no error, nor is one that does not exist.
    async fn remove_dir(&self, path: &[u8]) -> Result<bool>;

    /// Returns when everything done so far is on stable storage.
    async fn sync(&self) -> Result<()>;

    /// The content of a regular file of `length` bytes in order, in blocks of 1 MiB; only the last is shorter (an empty
    /// file has none). A file of another length, or anything but a regular file, answers
    /// [`crate::ErrorKind::NotFound`], and so does a symlink.
    ///
    /// The stream ends in an error or is complete, and never gives more than `length` bytes. It shows the file at one
    /// moment if this trait published the file, because such files are replaced and never changed.
    async fn read_blocks(&self, path: &[u8], length: u64) -> Result<BoxStream<'static, Result<Bytes>>>;

    /// What `path` names, without following a symlink; `None` if it does not exist, also because a parent is no
    /// directory. A missing root is an error.
    async fn stat(&self, path: &[u8]) -> Result<Option<FileStat>>;

    /// The target of the symlink at `path`; `None` if there is no symlink, or if the answer would cost more than
    /// [`Tree::stat`] does.
    async fn read_link(&self, _path: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    /// Deletes what interrupted runs left in the staging area. Only the one writer may call it.
    async fn clear_staging(&self) -> Result<()>;

    /// Removes the staging area itself if it is empty, without following symlinks. If the area is part of a destination
    /// it stays, which is the default.
    async fn remove_staging(&self) -> Result<()> {
        Ok(())
    }
}

/// The error for a file that is not as long as its caller expects.
pub(crate) fn other_length(shown: String, length: u64, wanted: u64) -> Error {
    Error::new(ErrorKind::NotFound, shown, format!("the object has {length} bytes instead of {wanted}"))
}

/// A content on its way into the staging area.
#[async_trait]
pub trait StageBlocks: Send {
    /// Appends one block.
    async fn write(&mut self, block: Bytes) -> Result<()>;
    /// Ends the content: sets length and metadata. A value that is dropped without this call is discarded.
    async fn finish(self: Box<Self>) -> Result<Staged>;
}
