//! The staging area: contents that are written and have no name in the tree yet.
//!
//! Owns temporary names, writing whole contents, and removal. Copies are in `copy.rs`, contents that arrive block by
//! block in `blocks.rs`. `publish.rs` and `put.rs` give staged contents their names.
//! Invariant: a temporary file is created exclusively, mode 0600, in a directory that only its owner can enter. A
//! whole content that a lost connection interrupted is written again under another name.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use tokio::sync::OnceCell;

use super::address::Fsync;
use super::dirs::SftpDirs;
use super::meta::{self, Owners};
use super::ops::{Handle, OpenMode, attrs};
use super::packet;
use super::session::SftpFault;
use crate::contract::error::{Error, ErrorKind, Result};
use crate::contract::tree::{FileMeta, Staged};
use crate::staging_area::temp_name;

/// Number of directories in the staging area, used in turn, as for a directory of this machine.
pub(super) const SHARDS: u64 = 16;
/// From this size on, in bytes, a file is synced before it gets its name: for a large file a sync costs little.
const LARGE: u64 = 1 << 20;
/// How often an operation is tried when connections break or names exist.
pub(super) const TRIES: usize = 6;

/// One destination's directories and its staging area.
pub(super) struct SftpStaging {
    pub dirs: SftpDirs,
    pub owners: Owners,
    staging: &'static [u8],
    /// Random, so that two processes that share a staging area use different names.
    prefix: u64,
    next: AtomicU64,
    /// Whether version 3's rename refuses to replace a file, once that was tested.
    pub exclusive_rename: OnceCell<bool>,
    /// Held while a read-only directory is unlocked.
    pub unlocking: tokio::sync::Mutex<()>,
}

impl SftpStaging {
    pub fn new(dirs: SftpDirs, staging: &'static [u8]) -> Self {
        let prefix = RandomState::new().build_hasher().finish();
        Self {
            dirs,
            owners: Owners::default(),
            staging,
            prefix,
            next: AtomicU64::new(0),
            exclusive_rename: OnceCell::new(),
            unlocking: tokio::sync::Mutex::default(),
        }
    }

    /// Ignores the refusal of a value that the server cannot store (a time before 1980 on FAT). The file need not
    /// fail for it, because the manifest has the value.
    pub fn without_unstorable(set: Result<(), SftpFault>) -> Result<(), SftpFault> {
        match set {
            Err(fault) if fault.is(packet::BAD_MESSAGE) || fault.is(packet::UNSUPPORTED) => Ok(()),
            done => done,
        }
    }

    /// The staging directory, relative to the root.
    pub fn staging(&self) -> &'static [u8] {
        self.staging
    }

    /// Whether a path is the staging directory or lies in it.
    pub fn is_staging(&self, path: &[u8]) -> bool {
        path.strip_prefix(self.staging).is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
    }

    /// An unused name in the staging directory. Creates the directory that holds it.
    pub async fn temp_name(self: &Arc<Self>) -> Result<SftpTemp> {
        let number = self.next.fetch_add(1, Relaxed);
        let shard = [self.staging, format!("/{:x}", number % SHARDS).as_bytes()].concat();
        self.dirs.dir(&shard, true).await?;
        let path = [&shard, &b"/"[..], temp_name(self.prefix, number).as_bytes()].concat();
        Ok(SftpTemp { area: Arc::clone(self), path, armed: true })
    }

    /// Creates an empty temporary file.
    pub async fn create(self: &Arc<Self>) -> Result<(SftpTemp, Handle)> {
        let mut last = None;
        for _ in 0..TRIES {
            let mut temp = self.temp_name().await?;
            let full = self.dirs.full(&temp.path);
            match self.dirs.link.session().await?.open_file(&full, OpenMode::New).await {
                Ok(handle) => return Ok((temp, handle)),
                // The name exists, or the connection broke. Try another name.
                Err(fault) => {
                    temp.armed = false;
                    if fault.is(packet::NO_SUCH_FILE) {
                        self.dirs.forget_all();
                    }
                    let failed = self.fault(&temp.path, &fault, 0).await;
                    if failed.kind == ErrorKind::Denied || failed.concerns_destination() && failed.kind != ErrorKind::Transient {
                        return Err(failed);
                    }
                    last = Some(failed);
                }
            }
        }
        Err(last.unwrap_or_else(|| self.dirs.link.error(self.staging, &SftpFault::Lost)))
    }

    /// Opens a temporary file again for more writes. Also returns its length in bytes.
    pub async fn reopen(&self, temp: &[u8]) -> Result<(Handle, u64)> {
        let full = self.dirs.full(temp);
        let opened = self.dirs.link.run(temp, |session, _| {
            let full = &full;
            async move {
                let found = attrs(session.lstat(full)).await?;
                let handle = session.open_file(full, OpenMode::Again).await?;
                Ok((handle, found.and_then(|attrs| attrs.size).unwrap_or_default()))
            }
        });
        opened.await
    }

    async fn learn_owner(&self, handle: &Handle) {
        if self.owners.own.get().is_none()
            && let Ok(Some(attrs)) = attrs(handle.stat()).await
            && let Some(owner) = attrs.owner
        {
            let _ = self.owners.own.set(owner);
        }
    }

    /// Writes a whole content with its metadata. `chunks` are its bytes in order. With `durable` it is on the
    /// server's disk when this returns, as far as the server and the settings allow.
    pub async fn stage(self: &Arc<Self>, chunks: &[Bytes], meta: &FileMeta, durable: bool) -> Result<SftpTemp> {
        let length = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        for _ in 0..TRIES {
            let (temp, handle) = self.create().await?;
            if meta.owner.is_some() {
                self.learn_owner(&handle).await;
            }
            match self.write(handle, chunks, length, meta, durable).await {
                Ok(()) => return Ok(temp),
                Err(SftpFault::Lost) => {}
                Err(fault) => return Err(self.fault(&temp.path, &fault, length).await),
            }
        }
        Err(self.dirs.link.error(self.staging, &SftpFault::Lost))
    }

    async fn write(&self, handle: Handle, chunks: &[Bytes], length: u64, meta: &FileMeta, durable: bool) -> Result<(), SftpFault> {
        let (mut offset, mut writes) = (0, Vec::new());
        for chunk in chunks {
            for piece in pieces(chunk, handle.session.write_size) {
                let at = offset;
                offset += piece.len() as u64;
                if !(meta.sparse && is_zero(&piece)) {
                    writes.push(handle.write(at, piece).await);
                }
            }
        }
        // These requests are sent without waiting for the writes. The server handles them in order.
        let finished = self.finish(handle, meta, length, durable);
        for write in writes {
            write.done().await?;
        }
        finished.await
    }

    /// Sets the metadata of a written file and closes it. The call itself sends the requests. The future waits for
    /// the replies.
    pub fn finish(&self, handle: Handle, meta: &FileMeta, length: u64, durable: bool) -> impl Future<Output = Result<(), SftpFault>> {
        let owner = self.owners.wanted_new(meta).map(|attrs| handle.set(&attrs));
        let mut wanted = meta::to_set(meta, false);
        wanted.size = meta.sparse.then_some(length);
        let length_is_set = wanted.size.is_some();
        let set = (wanted != packet::Attrs::default()).then(|| handle.set(&wanted));
        let fsync = match (self.dirs.link.address.fsync, durable) {
            (Fsync::All, _) | (Fsync::Large, true) => handle.fsync(),
            (Fsync::Large, false) if length >= LARGE => handle.fsync(),
            _ => None,
        };
        let close = handle.close();
        async move {
            if let Some(owner) = owner {
                self.owners.settle(owner.done().await)?;
            }
            if let Some(set) = set {
                match set.done().await {
                    // The file is ours, so a refusal means that the file system has no such modes.
                    Err(fault) if fault.is(packet::DENIED) => {}
                    done if length_is_set => done?,
                    done => Self::without_unstorable(done)?,
                }
            }
            if let Some(fsync) = fsync {
                fsync.done().await?;
            }
            close.done().await
        }
    }

    /// Removes a temporary file. A missing file is not an error.
    pub async fn discard(&self, temp: &[u8]) -> Result<()> {
        let full = self.dirs.full(temp);
        let removed = self.dirs.link.run(temp, |session, _| {
            let asked = session.remove(&full);
            async move { missing_is_fine(asked.done().await) }
        });
        removed.await
    }

    /// A fault as an error. If the server does not say why a write failed, asks it whether its disk is full.
    pub async fn fault(&self, path: &[u8], fault: &SftpFault, length: u64) -> Error {
        let error = self.dirs.link.error(path, fault);
        if !fault.is(packet::FAILURE) {
            return error;
        }
        let base = self.dirs.full(b"");
        let Ok(session) = self.dirs.link.session().await else { return error };
        match session.space(&base).await {
            Ok(Some(space)) if space.free < length.max(64 << 10) => {
                Error::new(ErrorKind::Full, error.url, format!("no space left on the server ({} bytes are free)", space.free))
            }
            _ => error,
        }
    }
}

/// A temporary file that is removed when this value is dropped, unless it was handed on.
pub(super) struct SftpTemp {
    pub area: Arc<SftpStaging>,
    pub path: Vec<u8>,
    armed: bool,
}

impl SftpTemp {
    /// Guards a name that was handed on before.
    pub fn of(area: &Arc<SftpStaging>, staged: Staged) -> Self {
        Self { area: Arc::clone(area), path: staged.temp, armed: true }
    }

    /// Disarms the guard and returns the name. The file was renamed, or the caller takes care of it.
    pub fn release(mut self) -> Vec<u8> {
        self.armed = false;
        std::mem::take(&mut self.path)
    }

    pub fn into_staged(self) -> Staged {
        Staged { temp: self.release(), unset: Vec::new() }
    }
}

impl Drop for SftpTemp {
    fn drop(&mut self) {
        // Sent without waiting for the reply. `clear` removes files that stay.
        if self.armed
            && let Some(session) = self.area.dirs.link.current()
        {
            drop(session.remove(&self.area.dirs.full(&self.path)));
        }
    }
}

pub(super) fn missing_is_fine(done: Result<(), SftpFault>) -> Result<(), SftpFault> {
    done.or_else(|fault| if fault.is(packet::NO_SUCH_FILE) { Ok(()) } else { Err(fault) })
}

/// Cuts a content into even pieces of up to `most` bytes, without a copy.
pub(super) fn pieces(content: &Bytes, most: u32) -> impl Iterator<Item = Bytes> + '_ {
    let count = content.len().div_ceil(most.max(1) as usize);
    let size = content.len().div_ceil(count.max(1));
    (0..count).map(move |n| content.slice(n * size..((n + 1) * size).min(content.len())))
}

pub(super) fn is_zero(bytes: &[u8]) -> bool {
    static ZEROS: [u8; 4096] = [0; 4096];
    bytes.chunks(ZEROS.len()).all(|chunk| *chunk == ZEROS[..chunk.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_even_and_whole() {
        let content = Bytes::from((0..10_u8).collect::<Vec<_>>());
        let lengths = |most| pieces(&content, most).map(|piece| piece.len()).collect::<Vec<_>>();
        assert_eq!((lengths(4), lengths(10), lengths(100)), (vec![4, 4, 2], vec![10], vec![10]));
        assert_eq!(pieces(&content, 3).flatten().collect::<Vec<u8>>(), content);
        assert_eq!(pieces(&Bytes::new(), 4).count(), 0);
    }
}
