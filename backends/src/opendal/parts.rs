//! Uploads in parts through OpenDAL's writers, which take a content in order.
//!
//! Owns the uploads of this process and the order of their parts: a part that is ahead waits in memory for those before
//! it. If a service takes a content in one request only, the parts are first collected in an unnamed file. An upload
//! does not outlive its process, because OpenDAL does not give the service's own id for it: a later run gets `NotFound`
//! and begins anew. Invariant: memory holds at most [`AHEAD`] of an upload, and one content at a time that is sent
//! whole.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{MultipartId, MultipartUpload, PutPayload, PutResult, UploadPart};
use opendal::{Buffer, Writer};
use tokio::sync::{Mutex as AsyncMutex, Semaphore, watch};

use super::error::refused;
use super::rooted::OpendalStore;
use crate::contract::data_plane::StoreResult;
use crate::contract::error::{Error, ErrorKind};

/// Limit of the parts of one upload that wait for their turn, in bytes.
const AHEAD: usize = 64 << 20;

/// Largest content, in bytes, for a service that takes it in one request. It is in memory while it is sent.
pub(super) const WHOLE: u64 = 1 << 30;

/// Number of contents up to [`WHOLE`] that are in memory at once.
static IN_MEMORY: Semaphore = Semaphore::const_new(1);

/// Where parts are written, in order.
enum Sink {
    Writer(Box<Writer>),
    /// For a service that takes a content in one request only: a file without a name, and its length.
    File(Arc<File>, u64),
}

struct PartsState {
    sink: Sink,
    /// The next part to write.
    next: usize,
    early: BTreeMap<usize, PutPayload>,
    failed: bool,
}

/// An upload that is under way.
pub(super) struct OngoingUpload {
    store: OpendalStore,
    path: Path,
    state: AsyncMutex<PartsState>,
    /// Changes with each part that is written, and when one failed.
    moved: watch::Sender<()>,
}

impl OngoingUpload {
    pub async fn begin(store: &OpendalStore, path: &Path) -> StoreResult<Self> {
        let key = store.key(path)?;
        let sink = match store.operator.info().capability().write_can_multi {
            true => Sink::Writer(Box::new(store.operator.writer_with(key).concurrent(2).await.map_err(|e| store.error(key, e))?)),
            false => Sink::File(Arc::new(unnamed().map_err(Error::into_store)?), 0),
        };
        let state = PartsState { sink, next: 0, early: BTreeMap::new(), failed: false };
        Ok(Self { store: store.clone(), path: path.clone(), state: AsyncMutex::new(state), moved: watch::Sender::new(()) })
    }

    fn fail(&self, kind: ErrorKind, message: impl std::fmt::Display) -> object_store::Error {
        refused(&self.store.location, self.path.as_ref(), kind, message)
    }

    /// Takes a part. Waits while too many bytes are ahead of their turn.
    async fn put(&self, index: usize, data: PutPayload) -> StoreResult<()> {
        let mut moved = self.moved.subscribe();
        loop {
            moved.mark_unchanged();
            let mut state = self.state.lock().await;
            if state.failed {
                return Err(self.fail(ErrorKind::Transient, "a part before this one could not be written"));
            }
            if index <= state.next {
                return self.write_on(&mut state, data).await;
            }
            let held: usize = state.early.values().map(PutPayload::content_length).sum();
            if held + data.content_length() <= AHEAD {
                state.early.insert(index, data);
                return Ok(());
            }
            drop(state);
            let _ = moved.changed().await;
        }
    }

    /// Writes the part whose turn it is, and those after it that have arrived already.
    async fn write_on(&self, state: &mut PartsState, data: PutPayload) -> StoreResult<()> {
        let mut part = Some(data);
        while let Some(data) = part {
            let written = self.write(&mut state.sink, data).await;
            state.failed = written.is_err();
            self.moved.send_replace(());
            written?;
            state.next += 1;
            part = state.early.remove(&state.next);
        }
        Ok(())
    }

    async fn write(&self, sink: &mut Sink, data: PutPayload) -> StoreResult<()> {
        let key = self.path.as_ref();
        match sink {
            Sink::Writer(writer) => writer.write(data.into_iter().collect::<Buffer>()).await.map_err(|e| self.store.error(key, e)),
            Sink::File(file, length) => {
                *length += data.content_length() as u64;
                if *length > WHOLE {
                    let limit = WHOLE >> 20;
                    let why = format!("longer than {limit} MiB: this store accepts a file in one request only; exclude it with --exclude");
                    return Err(self.fail(ErrorKind::Unsupported, why));
                }
                let file = Arc::clone(file);
                let written = tokio::task::spawn_blocking(move || data.into_iter().try_for_each(|piece| (&*file).write_all(&piece)));
                written.await.unwrap_or_else(|e| Err(std::io::Error::other(e))).map_err(temporary)
            }
        }
    }

    async fn complete(&self) -> StoreResult<PutResult> {
        let mut state = self.state.lock().await;
        if state.failed || !state.early.is_empty() {
            return Err(self.fail(ErrorKind::Invalid, "parts of this upload are missing"));
        }
        let key = self.path.as_ref();
        let written = match &mut state.sink {
            Sink::Writer(writer) => writer.close().await.map_err(|e| self.store.error(key, e))?,
            Sink::File(file, length) => {
                let _one = IN_MEMORY.acquire().await.map_err(|e| self.fail(ErrorKind::Other, e))?;
                let (file, length) = (Arc::clone(file), usize::try_from(*length).unwrap_or(usize::MAX));
                let read = tokio::task::spawn_blocking(move || {
                    let mut content = vec![0; length];
                    file.read_exact_at(&mut content, 0).map(|()| content)
                });
                let content = read.await.unwrap_or_else(|e| Err(std::io::Error::other(e))).map_err(temporary)?;
                self.store.write(key, content.into(), Default::default()).await?
            }
        };
        self.store.put_result(key, written).await
    }

    async fn abort(&self) -> StoreResult<()> {
        let mut state = self.state.lock().await;
        (state.failed, state.early) = (true, BTreeMap::new());
        self.moved.send_replace(());
        match &mut state.sink {
            Sink::Writer(writer) => match writer.abort().await {
                Err(e) if e.kind() != opendal::ErrorKind::Unsupported => Err(self.store.error(self.path.as_ref(), e)),
                _ => Ok(()),
            },
            Sink::File(..) => Ok(()),
        }
    }
}

/// A file without a name. It disappears with its last handle.
fn unnamed() -> Result<File, Error> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_nanos();
    let path = std::env::temp_dir().join(format!("offsite-upload-{}-{now}", std::process::id()));
    let failed = |e: std::io::Error| Error::from_io(path.display(), &e);
    let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
    std::fs::remove_file(&path).map_err(failed)?;
    Ok(file)
}

fn temporary(error: std::io::Error) -> object_store::Error {
    Error::from_io(std::env::temp_dir().display(), &error).into_store()
}

/// Uploads by id.
#[derive(Debug)]
pub(super) struct PartStore {
    store: Arc<OpendalStore>,
    going: Mutex<HashMap<MultipartId, Arc<OngoingUpload>>>,
}

impl PartStore {
    pub fn new(store: Arc<OpendalStore>) -> Self {
        Self { store, going: Mutex::default() }
    }

    fn found(&self, path: &Path, going: Option<Arc<OngoingUpload>>) -> StoreResult<Arc<OngoingUpload>> {
        let message = "this upload is not in progress (any more)";
        going.ok_or_else(|| refused(&self.store.location, path.as_ref(), ErrorKind::NotFound, message))
    }

    fn take(&self, path: &Path, id: &MultipartId) -> StoreResult<Arc<OngoingUpload>> {
        let going = self.going.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        self.found(path, going)
    }
}

#[async_trait]
impl MultipartStore for PartStore {
    async fn create_multipart(&self, path: &Path) -> StoreResult<MultipartId> {
        let going = OngoingUpload::begin(&self.store, path).await?;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let mut all = self.going.lock().unwrap_or_else(PoisonError::into_inner);
        let id = format!("{}-{}-{}", std::process::id(), now.as_nanos(), all.len());
        all.insert(id.clone(), Arc::new(going));
        Ok(id)
    }

    async fn put_part(&self, path: &Path, id: &MultipartId, part_idx: usize, data: PutPayload) -> StoreResult<PartId> {
        let going = self.going.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned();
        self.found(path, going)?.put(part_idx, data).await?;
        Ok(PartId { content_id: part_idx.to_string() })
    }

    async fn complete_multipart(&self, path: &Path, id: &MultipartId, _: Vec<PartId>) -> StoreResult<PutResult> {
        self.take(path, id)?.complete().await
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> StoreResult<()> {
        self.take(path, id)?.abort().await
    }
}

/// The plain interface to an upload in parts.
#[derive(Debug)]
pub(super) struct OpendalUpload {
    going: Arc<OngoingUpload>,
    next: usize,
}

impl OpendalUpload {
    pub fn new(going: OngoingUpload) -> Self {
        Self { going: Arc::new(going), next: 0 }
    }
}

#[async_trait]
impl MultipartUpload for OpendalUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (going, index) = (Arc::clone(&self.going), self.next);
        self.next += 1;
        Box::pin(async move { going.put(index, data).await })
    }

    async fn complete(&mut self) -> StoreResult<PutResult> {
        self.going.complete().await
    }

    async fn abort(&mut self) -> StoreResult<()> {
        self.going.abort().await
    }
}

impl std::fmt::Debug for OngoingUpload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OngoingUpload({})", self.path)
    }
}
