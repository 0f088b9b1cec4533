//! Where a run reads the contents that it sends: the disk of the source, or another destination.
//!
//! Owns the two traits that another destination implements, and the open large file of either kind. Invariant: a reader
//! learns from [`SourceFile::settle`] whether what it read is the content, before it gives that content a name.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::model::Xattr;
use crate::scan::{BigFile, Read, ReadError, Root, Stat, read_file};

/// Reads the contents of files by their paths, instead of the disk of the source.
#[async_trait]
pub trait ContentSource: Send + Sync {
    /// Reads a whole file of at most `limit` bytes.
    ///
    /// # Errors
    /// [`ReadError::Grown`] if it is larger. [`ReadError::Lost`] if the content is missing or damaged.
    async fn whole(&self, path: &[u8], limit: u64) -> Result<Read, ReadError>;

    /// Opens a large file.
    ///
    /// # Errors
    /// [`ReadError::Lost`] if there is no such file.
    async fn open(&self, path: &[u8]) -> Result<Arc<dyn OpenContent>, ReadError>;
}

/// A large file of a [`ContentSource`]. It is read from its beginning to its end.
#[async_trait]
pub trait OpenContent: Send + Sync {
    /// The metadata of the file.
    fn stat(&self) -> &Stat;

    /// Reads `size` bytes from `offset` on, or fewer at the end.
    ///
    /// # Errors
    /// [`ReadError::Changed`] if the file has to be opened again. [`ReadError::Lost`] if the content is missing or
    /// damaged.
    async fn block(&self, offset: u64, size: u64) -> Result<Bytes, ReadError>;

    /// Call it after the last block.
    ///
    /// # Errors
    /// As for [`block`](Self::block): what was read is not the content.
    async fn settle(&self) -> Result<(Stat, Vec<Xattr>, bool), ReadError>;
}

/// Where a run reads contents.
#[derive(Clone)]
pub(super) enum Origin {
    /// A directory of this machine.
    Disk(Arc<Root>),
    /// Something else.
    Other(Arc<dyn ContentSource>),
}

/// An open large file.
#[derive(Clone)]
pub enum SourceFile {
    /// On the disk.
    Disk(Arc<BigFile>),
    /// Elsewhere.
    Other(Arc<dyn OpenContent>),
}

fn cut_off(error: tokio::task::JoinError) -> ReadError {
    ReadError::Io(std::io::Error::other(error))
}

impl Origin {
    pub async fn whole(&self, path: Vec<u8>, limit: u64) -> Result<Read, ReadError> {
        match self {
            Self::Disk(root) => {
                let root = Arc::clone(root);
                tokio::task::spawn_blocking(move || read_file(&root, &path, limit)).await.unwrap_or_else(|e| Err(cut_off(e)))
            }
            Self::Other(source) => source.whole(&path, limit).await,
        }
    }

    pub async fn open(&self, path: &[u8], last_try: bool) -> Result<SourceFile, ReadError> {
        match self {
            Self::Disk(root) => {
                let (root, path) = (Arc::clone(root), path.to_vec());
                let opened = tokio::task::spawn_blocking(move || BigFile::open(&root, &path, last_try)).await;
                Ok(SourceFile::Disk(Arc::new(opened.unwrap_or_else(|e| Err(cut_off(e)))?)))
            }
            Self::Other(source) => source.open(path).await.map(SourceFile::Other),
        }
    }
}

impl SourceFile {
    /// Metadata when the file was opened. Its size is the length that will be read.
    pub fn stat(&self) -> &Stat {
        match self {
            Self::Disk(file) => file.stat(),
            Self::Other(file) => file.stat(),
        }
    }

    /// Reads `size` bytes from `offset` on, or fewer at the end.
    pub(super) async fn block(&self, offset: u64, size: u64) -> Result<Bytes, ReadError> {
        match self {
            Self::Disk(file) => {
                let file = Arc::clone(file);
                tokio::task::spawn_blocking(move || file.block(offset, size)).await.unwrap_or_else(|e| Err(cut_off(e)))
            }
            Self::Other(file) => file.block(offset, size).await,
        }
    }

    /// Call it after the last block. Returns the metadata, the extended attributes and whether the file changed
    /// meanwhile.
    ///
    /// # Errors
    /// As for [`BigFile::settle`] and [`OpenContent::settle`].
    pub async fn settle(&self) -> Result<(Stat, Vec<Xattr>, bool), ReadError> {
        match self {
            Self::Disk(file) => file.settle(),
            Self::Other(file) => file.settle().await,
        }
    }
}
