//! Reading contents: what counts as a file, and several requests in flight for each.
//!
//! Owns opening without following symlinks, reading ranges, and reading on in the same file after a lost connection.
//! Invariant: all bytes of one value come from one file. After a lost connection the file is opened again only if its
//! length and time are unchanged. A file that ends early is an error.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use tokio::sync::Mutex;

use super::dirs::kind;
use super::meta::{is_file, stamp};
use super::ops::{Handle, OpenMode, attrs, data};
use super::packet::{self, Attrs, Status};
use super::session::SftpFault;
use super::staging::SftpStaging;
use crate::contract::error::{Error, ErrorKind, Result};
use crate::contract::tree::{self, FileKind, FileStat, Stamp};

/// Size of one block of a stream, in bytes.
pub(super) const BLOCK: u64 = 1 << 20;
/// Blocks of one stream that are requested at once.
const AHEAD: usize = 4;

/// A regular file that is open for reading.
pub(super) struct File {
    area: Arc<SftpStaging>,
    path: Vec<u8>,
    pub size: u64,
    mtime: Stamp,
    pub attrs: Attrs,
    handle: Mutex<Arc<Handle>>,
}

impl File {
    /// Opens a regular file. Returns `NotFound` if `path` is another kind of file, or if a component on the way is
    /// not a directory.
    pub async fn open(area: &Arc<SftpStaging>, path: &[u8]) -> Result<Self> {
        let found = look_file(area, path).await?;
        let (handle, attrs) = Self::open_as(area, path, found).await?;
        let size = attrs.size.unwrap_or_default();
        Ok(Self { area: Arc::clone(area), path: path.to_vec(), size, mtime: stamp(&attrs), attrs, handle: Mutex::new(Arc::new(handle)) })
    }

    /// Like `open`, for a file of `length` bytes. Returns `NotFound` for a file of another length.
    pub async fn open_exactly(area: &Arc<SftpStaging>, path: &[u8], length: u64) -> Result<Self> {
        let file = Self::open(area, path).await?;
        match file.size == length {
            true => Ok(file),
            false => Err(tree::other_length(area.dirs.link.shown(path), file.size, length)),
        }
    }

    async fn open_as(area: &SftpStaging, path: &[u8], found: Attrs) -> Result<(Handle, Attrs)> {
        let full = area.dirs.full(path);
        let opened = area.dirs.link.run(path, |session, _| {
            let full = &full;
            async move { session.open_file(full, OpenMode::Read).await }
        });
        Ok((opened.await?, found))
    }

    pub async fn handle(&self) -> Arc<Handle> {
        Arc::clone(&*self.handle.lock().await)
    }

    /// Opens the file again if `broken` is still the handle in use.
    async fn again(&self, broken: &Arc<Handle>) -> Result<()> {
        let mut slot = self.handle.lock().await;
        if !Arc::ptr_eq(&slot, broken) {
            return Ok(());
        }
        let found = look_file(&self.area, &self.path).await?;
        if (found.size, stamp(&found)) != (Some(self.size), self.mtime) {
            let what = "the connection broke during the read, and the file has changed";
            return Err(Error::new(ErrorKind::Transient, self.area.dirs.link.shown(&self.path), what));
        }
        *slot = Arc::new(Self::open_as(&self.area, &self.path, found).await?.0);
        Ok(())
    }

    /// Reads exactly this range, over new connections where necessary.
    pub async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        for _ in 0..6 {
            let handle = self.handle().await;
            match self.pieces(&handle, range.clone()).await {
                Err(SftpFault::Lost) => self.again(&handle).await?,
                done => return done.map_err(|fault| self.area.dirs.link.error(&self.path, &fault)),
            }
        }
        Err(self.area.dirs.link.error(&self.path, &SftpFault::Lost))
    }

    /// Reads a range in pieces, all of which are requested at once.
    async fn pieces(&self, handle: &Handle, range: Range<u64>) -> Result<Bytes, SftpFault> {
        let length = range.end.saturating_sub(range.start);
        let count = length.div_ceil(u64::from(handle.session.read_size)).max(1);
        let size = length.div_ceil(count).max(1);
        let starts = (range.start..range.end).step_by(size as usize);
        let asked: Vec<_> =
            starts.map(|at| (at, size.min(range.end - at))).map(|(at, length)| (at, length, handle.read(at, length as u32))).collect();
        let mut whole = BytesMut::with_capacity(if count > 1 { length as usize } else { 0 });
        for (at, length, pending) in asked {
            let mut piece = within(data(pending).await?, length)?;
            if (piece.len() as u64) < length {
                // A server may return fewer bytes than requested.
                piece = self.rest(handle, at, length, piece).await?;
            }
            handle.session.meter().add_received(piece.len() as u64);
            if count == 1 {
                return Ok(piece);
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }

    /// Reads exactly these bytes over this handle.
    pub async fn exactly(&self, handle: &Handle, offset: u64, length: u64) -> Result<Bytes, SftpFault> {
        self.pieces(handle, offset..offset + length).await
    }

    async fn rest(&self, handle: &Handle, at: u64, length: u64, first: Bytes) -> Result<Bytes, SftpFault> {
        let mut whole = BytesMut::from(&first[..]);
        while (whole.len() as u64) < length {
            let done = whole.len() as u64;
            let more = within(data(handle.read(at + done, (length - done) as u32)).await?, length - done)?;
            if more.is_empty() {
                let message = "the file became shorter while it was read".to_owned();
                return Err(SftpFault::Refused(Status { code: packet::FAILURE, message }));
            }
            whole.extend_from_slice(&more);
        }
        Ok(whole.freeze())
    }

    /// Streams a range in blocks of 1 MiB, of which only the last can be shorter.
    pub fn blocks(self, range: Range<u64>) -> BoxStream<'static, Result<Bytes>> {
        let file = Arc::new(self);
        let starts = (range.start..range.end).step_by(BLOCK as usize);
        let block = move |start: u64| {
            let file = Arc::clone(&file);
            async move { file.read(start..(start + BLOCK).min(range.end)).await }
        };
        stream::iter(starts).map(block).buffered(AHEAD).boxed()
    }
}

fn within(bytes: Bytes, asked: u64) -> Result<Bytes, SftpFault> {
    if bytes.len() as u64 > asked { Err(SftpFault::Odd("the server sent more than requested")) } else { Ok(bytes) }
}

/// The attributes of `path` itself. `None` if it does not exist, or if a component on the way is not a directory.
pub(super) async fn look(area: &SftpStaging, path: &[u8]) -> Result<Option<Attrs>> {
    if path.is_empty() {
        area.dirs.root().await?;
        return ask(area, path, true).await;
    }
    let (parent, _) = area.dirs.split(path)?;
    match area.dirs.dir(parent, false).await {
        Ok(()) => ask(area, path, false).await,
        Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Exists) => {
            // A missing root is an error.
            area.dirs.root().await?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

async fn ask(area: &SftpStaging, path: &[u8], follow: bool) -> Result<Option<Attrs>> {
    let full = area.dirs.full(path);
    let found = area.dirs.link.run(path, |session, _| {
        let asked = if follow { session.stat(&full) } else { session.lstat(&full) };
        attrs(asked)
    });
    found.await
}

async fn look_file(area: &SftpStaging, path: &[u8]) -> Result<Attrs> {
    let no_file = |what| Error::new(ErrorKind::NotFound, area.dirs.link.shown(path), what);
    match look(area, path).await? {
        Some(attrs) if is_file(&attrs) => Ok(attrs),
        Some(_) => Err(no_file("something that is not a regular file is there")),
        None => Err(no_file("no such file")),
    }
}

/// See [`crate::Tree::stat`].
pub(super) async fn stat(area: &SftpStaging, path: &[u8]) -> Result<Option<FileStat>> {
    Ok(look(area, path).await?.map(|attrs| super::meta::file_stat(&attrs)))
}

pub(super) fn is_dir(attrs: &Attrs) -> bool {
    kind(attrs) == FileKind::Dir
}

/// The attributes of a path whose parents are known to be directories.
pub(super) async fn lstat(area: &SftpStaging, path: &[u8]) -> Result<Option<Attrs>> {
    ask(area, path, false).await
}
