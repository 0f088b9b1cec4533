//! Large files: sent in parts, in parallel, and continued after an interrupted run.
//!
//! Owns the size of parts and the life of an upload. The journal has each upload that has begun and its finished parts.
//! An upload that no run continues is aborted. The whole file is read and hashed in any case, so a continued upload is
//! checked as a new one is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use offsite_backends::{Backend, Capabilities, ErrorKind};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;

use super::content_source::SourceFile;
use super::delta::{self, OldBlocks};
use super::finish::{Left, complete};
use super::journal::{Done, Resumed, Upload};
use super::keep::keep_old;
use super::target::Target;
use super::upload::{UploadContext, UploadError, as_read, tag};
use crate::error::{Error, Result};
use crate::manifest::object_path;
use crate::model::{Content, Entry, Hash, RelPath};
use crate::scan::{ReadError, TRIES, hash_file};

/// Files up to this length are sent with one request. Parts have at least this length (bytes).
const PART: u64 = 8 << 20;

/// The length of the parts of a file, in bytes. A file that is not longer is sent whole. It grows with the file, so
/// that the store's largest number of parts is enough.
pub fn part_size(size: u64, capabilities: &Capabilities) -> u64 {
    let needed = size.div_ceil(capabilities.max_parts.max(1)).div_ceil(1 << 20) << 20;
    PART.max(capabilities.min_part).max(needed)
}

/// One large file.
pub(super) struct PartsJob {
    pub entry: Entry,
    pub old: Option<Entry>,
    pub unverified: bool,
    /// The upload that an earlier run began.
    pub part: Option<Upload>,
    pub readers: u64,
    /// The upload was begun again once, because the store had lost it.
    pub anew: bool,
}

/// Sends a large file. If the file changes, it begins again, three times in all.
pub(super) async fn upload_in_parts(uploads: &UploadContext, mut job: PartsJob) -> Result<Option<Done>, UploadError> {
    if let Some(done) = unchanged(uploads, &job).await? {
        return Ok(Some(done));
    }
    if let Some(old) = &job.old {
        keep_old(&uploads.target, old).await?;
    }
    for attempt in 1..=TRIES {
        match once(uploads, &mut job, attempt == TRIES).await {
            Err(UploadError::Source(error)) if matches!(*error, ReadError::Changed) && attempt < TRIES => {}
            done => return done.map(Some),
        }
    }
    Err(UploadError::Source(Arc::new(ReadError::Changed)))
}

/// Hashes an unverified file before anything is sent. Returns the result if the content is unchanged.
async fn unchanged(uploads: &UploadContext, job: &PartsJob) -> Result<Option<Done>, UploadError> {
    let Some(content) = job.old.as_ref().filter(|_| job.unverified).and_then(|o| o.content.clone()) else { return Ok(None) };
    let Some(root) = uploads.shared_reader.root() else { return Ok(None) };
    let (root, path) = (Arc::clone(root), job.entry.path.clone());
    let hashed = tokio::task::spawn_blocking(move || hash_file(&root, path.as_bytes())).await;
    let (hash, stat, xattrs) = hashed.map_err(join)?.map_err(|e| UploadError::Source(Arc::new(e)))?;
    if hash != content.hash {
        return Ok(None);
    }
    let mut done = Done { entry: as_read(&job.entry, &stat, &xattrs), stamps: stat.stamps(), unstable: false };
    done.entry.content = Some(content);
    Ok(Some(done))
}

fn join(error: tokio::task::JoinError) -> UploadError {
    UploadError::Store(Error::local("a read", std::io::Error::other(error)))
}

/// An upload that has begun and has not ended.
struct InFlightUpload {
    store: Arc<dyn MultipartStore>,
    to: Path,
    upload: Upload,
}

impl InFlightUpload {
    /// Bytes that the store already has from earlier runs.
    fn arrived(&self) -> u64 {
        let length = |index: &usize| (self.upload.size - *index as u64 * self.upload.part_size).min(self.upload.part_size);
        self.upload.parts.keys().map(length).sum()
    }

    fn part(&self, index: usize) -> PartOf {
        PartOf { store: Arc::clone(&self.store), to: self.to.clone(), id: self.upload.id.clone(), index }
    }
}

/// One part of an upload, for the task that sends it.
struct PartOf {
    store: Arc<dyn MultipartStore>,
    to: Path,
    id: String,
    index: usize,
}

async fn once(uploads: &UploadContext, job: &mut PartsJob, last_try: bool) -> Result<Done, UploadError> {
    let path = job.entry.path.clone();
    let file = uploads.shared_reader.open(path.as_bytes(), last_try).await.map_err(|e| UploadError::Source(Arc::new(e)))?;
    let Some(store) = uploads.target.backend.multipart() else {
        return Err(Error::Usage(format!("{}: this store has no multipart uploads", uploads.target.backend.location())).into());
    };
    let key = uploads.target.rules.key_for(&job.entry);
    let to = object_path(key.as_ref().map_or(path.as_bytes(), |k| k.as_bytes()))?;
    let going = begin(uploads, store, to, &path, &file, job.part.take()).await?;
    let (id, there) = (going.upload.id.clone(), going.arrived());
    let old = OldBlocks::of(&uploads.target, job.old.as_ref(), going.upload.part_size)?;
    let sent = match send(uploads, &going, &file, job.readers, old.map(Arc::new)).await {
        Ok(sent) => finish(uploads, job, going, &file, sent, key).await,
        Err(trouble) => {
            // The next run uses what the store has, unless the file itself has changed since.
            if matches!(trouble, UploadError::Source(_)) {
                abort(uploads, &going).await?;
            }
            Err(trouble)
        }
    };
    match sent {
        // The store dropped the upload (by a rule of the bucket or by hand), or never kept it. It is begun again once.
        Err(UploadError::Store(error)) if !job.anew && error.kind() == Some(ErrorKind::NotFound) => {
            job.anew = true;
            uploads.journal(|j| j.closed(&id))?;
            uploads.target.progress.bytes.fetch_sub(there, Relaxed);
            Box::pin(once(uploads, job, last_try)).await
        }
        sent => sent,
    }
}

/// Begins an upload, or continues an earlier one of exactly this file.
async fn begin(
    uploads: &UploadContext,
    store: Arc<dyn MultipartStore>,
    to: Path,
    path: &RelPath,
    file: &SourceFile,
    earlier: Option<Upload>,
) -> Result<InFlightUpload, UploadError> {
    let stat = file.stat();
    let part_size = part_size(stat.size, &uploads.target.backend.capabilities());
    if let Some(upload) = earlier {
        let same = (upload.size, upload.mtime, upload.stamps) == (stat.size, stat.mtime, stat.stamps());
        let going = InFlightUpload { store: Arc::clone(&store), to: to.clone(), upload };
        if same && going.upload.part_size == part_size && going.upload.key == to.as_ref() {
            return Ok(going);
        }
        abort(uploads, &going).await?;
    }
    let id = store.create_multipart(&to).await.map_err(|e| uploads.error(to.as_ref(), &e))?;
    let upload = Upload {
        path: path.clone(),
        key: to.as_ref().to_owned(),
        id,
        part_size,
        size: stat.size,
        mtime: stat.mtime,
        stamps: stat.stamps(),
        parts: BTreeMap::new(),
    };
    uploads.journal(|j| j.upload(upload.clone()))?;
    Ok(InFlightUpload { store, to, upload })
}

/// A part that the store has.
struct PartDone {
    index: usize,
    id: PartId,
    length: u64,
    /// The store copied it from the old content.
    copied: bool,
}

type PartTask = Result<PartDone, object_store::Error>;

/// Everything that was sent of a file.
struct SentParts {
    hash: Hash,
    parts: Vec<PartId>,
    /// Hashes of the parts, if they are worth noting.
    blocks: Vec<Hash>,
}

async fn send(
    uploads: &UploadContext,
    going: &InFlightUpload,
    file: &SourceFile,
    readers: u64,
    old: Option<Arc<OldBlocks>>,
) -> Result<SentParts, UploadError> {
    let count = usize::try_from(file.stat().size.div_ceil(going.upload.part_size)).unwrap_or(usize::MAX);
    let known = |i: usize| going.upload.parts.get(&i).map(|c| PartId { content_id: c.clone() });
    let mut parts: Vec<Option<PartId>> = (0..count).map(known).collect();
    let mut tasks: JoinSet<PartTask> = JoinSet::new();
    let mut outcome = send_each(uploads, going, file, readers, old, &mut parts, &mut tasks).await;
    // Also after an error: the next run need not send again what arrives now.
    while let Some(done) = tasks.join_next().await {
        let noted = part_done(uploads, going, &mut parts, done);
        outcome = match (outcome, noted) {
            (Ok(_), Err(trouble)) => Err(trouble),
            (outcome, _) => outcome,
        };
    }
    let (hash, blocks) = outcome?;
    Ok(SentParts { hash, parts: parts.into_iter().flatten().collect(), blocks })
}

/// Reads the file, and starts a task for each part that the store does not have. Returns the hash of the whole and of
/// each block.
async fn send_each(
    uploads: &UploadContext,
    going: &InFlightUpload,
    file: &SourceFile,
    readers: u64,
    old: Option<Arc<OldBlocks>>,
    parts: &mut [Option<PartId>],
    tasks: &mut JoinSet<PartTask>,
) -> Result<(Hash, Vec<Hash>), UploadError> {
    let part_size = going.upload.part_size;
    let (mut hasher, mut blocks) = (blake3::Hasher::new(), Vec::new());
    for index in 0..parts.len() {
        uploads.target.stop.check()?;
        let room = uploads.room(part_size).await?;
        let offset = index as u64 * part_size;
        let block = uploads.shared_reader.block(uploads.target.index, going.upload.path.as_bytes(), file, offset, part_size, readers).await;
        let block = block.map_err(UploadError::Source)?;
        let (for_hash, target, size) = (block.clone(), Arc::clone(&uploads.target), going.upload.size);
        let hashed = tokio::task::spawn_blocking(move || {
            hasher.update(&for_hash);
            (hasher, delta::hash_of(&target, size, &for_hash))
        });
        let hash;
        (hasher, hash) = hashed.await.map_err(join)?;
        blocks.extend(hash);
        if parts[index].is_some() {
            uploads.target.progress.bytes.fetch_add(block.len() as u64, Relaxed);
            continue;
        }
        let same = old.clone().filter(|old| old.has(index, hash));
        if same.is_none() {
            uploads.target.limit.take(block.len() as u64).await;
        }
        tasks.spawn(send_part(Arc::clone(&uploads.target), going.part(index), block, same, room));
        while let Some(done) = tasks.try_join_next() {
            part_done(uploads, going, parts, done)?;
        }
    }
    Ok((Hash(*hasher.finalize().as_bytes()), blocks))
}

/// Sends one part, or has the store copy it from the old content.
async fn send_part(target: Arc<Target>, part: PartOf, block: Bytes, same: Option<Arc<OldBlocks>>, _room: OwnedSemaphorePermit) -> PartTask {
    let PartOf { store, to, id, index } = part;
    let length = block.len() as u64;
    if let Some(old) = same {
        if let Some(content_id) = old.copy(&*target.backend, &to, &id, index, block.clone()).await {
            return Ok(PartDone { index, id: PartId { content_id }, length, copied: true });
        }
        target.limit.take(length).await;
    }
    let part = store.put_part(&to, &id, index, PutPayload::from_bytes(block)).await?;
    Ok(PartDone { index, id: part, length, copied: false })
}

fn part_done(
    uploads: &UploadContext,
    going: &InFlightUpload,
    parts: &mut [Option<PartId>],
    done: Result<PartTask, tokio::task::JoinError>,
) -> Result<(), UploadError> {
    let part = done.map_err(join)?.map_err(|e| uploads.error(going.to.as_ref(), &e))?;
    let progress = &uploads.target.progress;
    match part.copied {
        true => progress.note_copied(part.length),
        false => drop(progress.bytes.fetch_add(part.length, Relaxed)),
    }
    uploads.journal(|j| j.part(&going.upload.id, part.index, &part.id.content_id))?;
    parts[part.index] = Some(part.id);
    Ok(())
}

async fn finish(
    uploads: &UploadContext,
    job: &PartsJob,
    going: InFlightUpload,
    file: &SourceFile,
    sent: SentParts,
    key: Option<String>,
) -> Result<Done, UploadError> {
    let SentParts { hash, parts, blocks } = sent;
    let (stat, xattrs, unstable) = match file.settle().await {
        Ok(settled) => settled,
        Err(error) => {
            abort(uploads, &going).await?;
            return Err(UploadError::Source(Arc::new(error)));
        }
    };
    let put = match complete(&uploads.target, &going.to, &going.upload.id, parts, job.old.as_ref()).await {
        Ok(put) => put,
        Err((error, left)) => {
            match left {
                Left::Nothing => uploads.journal(|j| j.closed(&going.upload.id))?,
                // It stays in the journal, and the next run continues it.
                Left::Whole => {}
                Left::Useless => abort(uploads, &going).await?,
            }
            return Err(Error::from(error).into());
        }
    };
    let etag = match put.e_tag {
        None => uploads.target.store.head(&going.to).await.map_err(|e| uploads.error(going.to.as_ref(), &e))?.e_tag,
        etag => etag,
    };
    uploads.journal(|j| j.closed(&going.upload.id))?;
    delta::note(&uploads.target, job.old.as_ref(), hash, going.upload.part_size, &blocks);
    let mut done = Done { entry: as_read(&job.entry, &stat, &xattrs), stamps: stat.stamps(), unstable };
    done.entry.content =
        Some(Content { key, etag: tag(etag), version: uploads.target.version(put.version), ..Content::new(hash, uploads.target.number) });
    if unstable {
        uploads.target.note(|f| f.unstable.push(job.entry.path.clone()));
    }
    Ok(done)
}

async fn abort(uploads: &UploadContext, going: &InFlightUpload) -> Result<()> {
    match going.store.abort_multipart(&going.to, &going.upload.id).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => uploads.journal(|j| j.closed(&going.upload.id)),
        Err(error) => Err(uploads.error(going.to.as_ref(), &error)),
    }
}

/// Aborts the uploads of an earlier run that no run continues.
///
/// # Errors
/// The store refused an abort. The remaining uploads stay.
pub async fn abort_stale(backend: &Arc<dyn Backend>, left: Resumed) -> Result<()> {
    let Some(store) = backend.multipart() else { return Ok(()) };
    for upload in left.into_uploads() {
        let to = object_path(upload.key.as_bytes())?;
        match store.abort_multipart(&to, &upload.id).await {
            // A store that has forgotten the upload has nothing to clean up.
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(backend.error(to.as_ref(), &error).into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_file_up_to_the_largest_object_fits() {
        let caps = Capabilities::BUCKET;
        for size in [1, PART, PART + 1, 80 << 30, 5 << 40] {
            let part = part_size(size, &caps);
            assert!(size.div_ceil(part) <= caps.max_parts && part >= caps.min_part, "{size}: {part}");
        }
        assert_eq!(part_size(512 << 20, &caps), PART);
    }
}
