//! Sends a content of unknown length.
//!
//! Owns one dump at one destination. Until its source reports that the dump is complete, the destination does not
//! change: an object store holds parts of an upload, a tree holds a file in its staging area. Only then offsite keeps
//! the content that the dump replaces, and the dump gets its name. Memory: at most one [`PART`] and the blocks in the
//! channel.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload, PutResult};
use offsite_backends::{Publish, Tree};
use tokio::sync::mpsc::Receiver;

use super::dump_stream::{Dump, DumpChunk};
use super::finish::{Left, complete};
use super::journal::{Done, Journal, Upload};
use super::keep::keep_old;
use super::place::{file_meta, kept_place};
use super::target::Target;
use super::upload::tag;
use crate::error::{Error, Result};
use crate::manifest::{KeyRules, object_path};
use crate::model::{Content, Entry, Hash, Stamps};

/// Length of a part. 10,000 parts are 156 GiB.
const PART: usize = 16 << 20;

/// Result of a dump at one destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// The destination has the whole dump, with this length in bytes.
    Whole(u64),
    /// The dump was incomplete or failed its checks, for this reason. The previous content is still in place.
    Not(String),
}

/// Sends a dump. `entry` is the entry in the plan, `old` the one in the last snapshot.
///
/// # Errors
/// A failure of the destination or the journal, and cancellation. A dump that its source or its checks reject is
/// [`Sent::Not`].
pub async fn send_dump(
    target: &Target,
    tree: Option<&Arc<dyn Tree>>,
    journal: &Mutex<Journal>,
    dump: &Dump,
    pieces: Receiver<DumpChunk>,
    (entry, old): (Entry, Option<Entry>),
) -> Result<Sent> {
    target.progress.set_current(&dump.path);
    let mut got = Got::new(pieces);
    let key = target.rules.key_for(&entry);
    let sink = DumpSink { target, journal, entry: &entry, old: old.as_ref(), key: key.clone() };
    let fits = |size: u64| verdict(dump, size, old.as_ref().map(|old| old.size));
    let stored = match tree {
        Some(tree) => sink.to_tree(tree, &mut got, fits).await?,
        None => sink.to_store(&mut got, fits).await?,
    };
    let (etag, version) = match stored {
        Ok(stored) => stored,
        Err(why) => return Ok(Sent::Not(why)),
    };
    let content = Some(Content { key, etag: tag(etag), version: target.version(version), ..Content::new(got.hash(), target.number) });
    let done = Done { entry: Entry { size: got.size, content, ..entry }, stamps: Stamps::default(), unstable: false };
    target.progress.files.fetch_add(1, Relaxed);
    let mut journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
    journal.done(done)?;
    journal.flush()?;
    Ok(Sent::Whole(got.size))
}

/// Checks the length of a dump. The error says why it is rejected.
pub(super) fn verdict(dump: &Dump, size: u64, before: Option<u64>) -> Result<(), String> {
    if size < dump.min_size {
        return Err(format!("it has {size} bytes, min_size is {}", dump.min_size));
    }
    match (dump.max_shrink, before) {
        (Some(share), Some(before)) if (size as f64) < before as f64 * (1.0 - share) => Err(format!(
            "it has {size} bytes, the last one had {before}: it shrank by more than max_shrink allows ({:.0} %)",
            share * 100.0
        )),
        _ => Ok(()),
    }
}

/// What has arrived so far.
pub(super) struct Got {
    pieces: Receiver<DumpChunk>,
    hasher: blake3::Hasher,
    pub size: u64,
}

impl Got {
    pub fn new(pieces: Receiver<DumpChunk>) -> Self {
        Self { pieces, hasher: blake3::Hasher::new(), size: 0 }
    }

    /// BLAKE3 of everything so far.
    pub fn hash(&self) -> Hash {
        Hash(*self.hasher.finalize().as_bytes())
    }

    /// The next block. `None` at the end. The inner error is that of the source.
    pub async fn next(&mut self, target: &Target) -> Result<Result<Option<Bytes>, String>> {
        let piece = tokio::select! {
            piece = self.pieces.recv() => piece,
            () = target.stop.wait() => return Err(target.stop.check().err().unwrap_or(Error::Interrupted)),
        };
        match piece {
            Some(DumpChunk::Block(block)) => {
                target.limit.take(block.len() as u64).await;
                self.hasher.update(&block);
                self.size += block.len() as u64;
                Ok(Ok(Some(block)))
            }
            Some(DumpChunk::End(Ok(()))) => Ok(Ok(None)),
            Some(DumpChunk::End(Err(why))) => Ok(Err(why)),
            None => Ok(Err("its source ended without a result".into())),
        }
    }
}

/// Tag and version that the store reported for a content that has its name.
type Stored = (Option<String>, Option<String>);

struct DumpSink<'a> {
    target: &'a Target,
    journal: &'a Mutex<Journal>,
    entry: &'a Entry,
    old: Option<&'a Entry>,
    key: Option<String>,
}

/// An upload in parts that has begun.
struct InFlightDump {
    store: Arc<dyn MultipartStore>,
    id: String,
    parts: Vec<PartId>,
}

impl DumpSink<'_> {
    fn journal(&self, write: impl FnOnce(&mut Journal) -> Result<()>) -> Result<()> {
        write(&mut self.journal.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn error(&self, to: &Path, error: &object_store::Error) -> Error {
        self.target.backend.error(to.as_ref(), error).into()
    }

    async fn to_tree(
        &self,
        tree: &Arc<dyn Tree>,
        got: &mut Got,
        fits: impl Fn(u64) -> Result<(), String>,
    ) -> Result<Result<Stored, String>> {
        let mut out = tree.stage_blocks(file_meta(self.entry)).await?;
        // Dropping the staged content discards it.
        loop {
            match got.next(self.target).await? {
                Ok(Some(block)) => {
                    self.target.progress.bytes.fetch_add(block.len() as u64, Relaxed);
                    out.write(block).await?;
                }
                Ok(None) => break,
                Err(why) => return Ok(Err(why)),
            }
        }
        if let Err(why) = fits(got.size) {
            return Ok(Err(why));
        }
        let staged = out.finish().await?;
        let path = self.key.clone().map_or_else(|| self.entry.path.0.clone(), String::into_bytes);
        let keep = self.old.filter(|old| KeyRules::current_key(old) == path).and_then(|old| kept_place(&self.target.rules, old));
        for published in tree.publish(vec![Publish { staged, path, keep }], true).await {
            published?;
        }
        Ok(Ok((None, None)))
    }

    async fn to_store(&self, got: &mut Got, fits: impl Fn(u64) -> Result<(), String>) -> Result<Result<Stored, String>> {
        let to = object_path(self.key.as_ref().map_or(self.entry.path.as_bytes(), |key| key.as_bytes()))?;
        let (mut buffer, mut going) = (BytesMut::new(), None::<InFlightDump>);
        let ended = self.parts(&to, got, &mut buffer, &mut going).await;
        let ended = match ended {
            Ok(Ok(())) => fits(got.size),
            Ok(why) => why,
            Err(error) => {
                self.give_up(&to, going).await;
                return Err(error);
            }
        };
        if let Err(why) = ended {
            self.give_up(&to, going).await;
            return Ok(Err(why));
        }
        if let Some(old) = self.old {
            keep_old(self.target, old).await?;
        }
        let last = buffer.freeze();
        self.target.progress.bytes.fetch_add(last.len() as u64, Relaxed);
        let put = match going {
            None => self.target.put(&to, last, self.old).await.map_err(|e| self.error(&to, &e))?,
            Some(going) => self.finish(&to, going, last).await?,
        };
        let etag = match put.e_tag {
            None => self.target.store.head(&to).await.map_err(|e| self.error(&to, &e))?.e_tag,
            etag => etag,
        };
        Ok(Ok((etag, put.version)))
    }

    /// Sends the last part and completes the upload. An upload that cannot be completed now never can, because its
    /// content is no longer available.
    async fn finish(&self, to: &Path, mut going: InFlightDump, last: Bytes) -> Result<PutResult> {
        if !last.is_empty() {
            let part = going.store.put_part(to, &going.id, going.parts.len(), PutPayload::from_bytes(last)).await;
            match part {
                Ok(part) => going.parts.push(part),
                Err(error) => {
                    self.give_up(to, Some(going)).await;
                    return Err(self.error(to, &error));
                }
            }
        }
        match complete(self.target, to, &going.id, going.parts.clone(), self.old).await {
            Ok(put) => {
                self.journal(|journal| journal.closed(&going.id))?;
                Ok(put)
            }
            Err((error, Left::Nothing)) => {
                self.journal(|journal| journal.closed(&going.id))?;
                Err(error.into())
            }
            Err((error, Left::Whole | Left::Useless)) => {
                self.give_up(to, Some(going)).await;
                Err(error.into())
            }
        }
    }

    /// Sends each part once it is full. The rest at the end is in `buffer`.
    async fn parts(&self, to: &Path, got: &mut Got, buffer: &mut BytesMut, going: &mut Option<InFlightDump>) -> Result<Result<(), String>> {
        loop {
            let block = match got.next(self.target).await? {
                Ok(Some(block)) => block,
                Ok(None) => return Ok(Ok(())),
                Err(why) => return Ok(Err(why)),
            };
            buffer.extend_from_slice(&block);
            while buffer.len() > PART {
                let part = buffer.split_to(PART).freeze();
                let upload = match going {
                    Some(upload) => upload,
                    None => going.insert(self.begin(to).await?),
                };
                let sent = upload.store.put_part(to, &upload.id, upload.parts.len(), PutPayload::from_bytes(part)).await;
                upload.parts.push(sent.map_err(|e| self.error(to, &e))?);
                self.target.progress.bytes.fetch_add(PART as u64, Relaxed);
            }
        }
    }

    /// Begins an upload and writes it to the journal, so that an interrupted run leaves no upload behind for ever.
    async fn begin(&self, to: &Path) -> Result<InFlightDump> {
        let store = self.target.backend.multipart();
        let store = store
            .ok_or_else(|| Error::Usage(format!("{}: this store accepts no content of unknown length", self.target.backend.location())))?;
        let id = store.create_multipart(to).await.map_err(|e| self.error(to, &e))?;
        self.journal(|journal| {
            journal.upload(Upload {
                path: self.entry.path.clone(),
                key: to.to_string(),
                id: id.clone(),
                part_size: PART as u64,
                size: 0,
                mtime: self.entry.mtime,
                stamps: Stamps::default(),
                parts: Default::default(),
            })
        })?;
        Ok(InFlightDump { store, id, parts: Vec::new() })
    }

    /// Aborts an upload. If that fails, the next run does it, because the upload is in the journal.
    async fn give_up(&self, to: &Path, going: Option<InFlightDump>) {
        if let Some(going) = going
            && going.store.abort_multipart(to, &going.id).await.is_ok()
        {
            let _ = self.journal(|journal| journal.closed(&going.id));
        }
    }
}
