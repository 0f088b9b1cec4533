//! Sends to an object store: many small files at once, each with one request.
//!
//! Owns the order for one file: kept copy, then content, then the journal. An error of the source concerns one file and
//! is noted. An error of the store ends the transfer, after everything in flight has ended.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use offsite_backends::ErrorKind;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::journal::{Done, Journal, Resumed};
use super::keep::keep_old;
use super::line::{Line, PlanSteps};
use super::parts::{PartsJob, abort_stale, part_size, upload_in_parts};
use super::present::is_there;
use super::refused::Subject;
use super::shared_reader::SharedReader;
use super::target::Target;
use super::upload::{PERMIT, UploadContext, UploadError, as_read, note_source, tag};
use crate::error::{Error, Result};
use crate::manifest::object_path;
use crate::model::{Change, Content, Entry, Kind};
use crate::scan::{Read, ReadError};
use crate::spool::Sorted;

/// Sends everything in the plan. `done` has the steps that an earlier run finished, sorted by path.
///
/// # Errors
/// A failure of the whole store or of this machine, and cancellation.
pub async fn upload_objects(
    target: &Arc<Target>,
    shared_reader: &Arc<SharedReader>,
    plan: &Path,
    journal: &Arc<Mutex<Journal>>,
    mut resumed: Option<Resumed>,
    done: Sorted<Done>,
) -> Result<()> {
    let window_permits = u32::try_from(target.window.div_ceil(PERMIT)).unwrap_or(u32::MAX).max(1);
    let uploads = Arc::new(UploadContext {
        target: Arc::clone(target),
        shared_reader: Arc::clone(shared_reader),
        journal: Arc::clone(journal),
        window: Arc::new(Semaphore::new(window_permits as usize)),
        window_permits,
    });
    let mut tasks: JoinSet<Result<()>> = JoinSet::new();
    let mut outcome = uploads.start(plan, done, resumed.as_mut(), &mut tasks).await;
    // Uploads under way end before an error is returned, so that the journal has them.
    while let Some(result) = tasks.join_next().await {
        outcome = outcome.and(flatten(result));
    }
    shared_reader.leave(target.index);
    uploads.journal(Journal::flush)?;
    target.stop.check()?;
    outcome?;
    // No run continues the uploads that are open now: neither those of an earlier run, nor those of a refused file.
    let path = uploads.journal.lock().unwrap_or_else(PoisonError::into_inner).path().to_path_buf();
    let left = if resumed.is_some() || Journal::sorted_refused(&path, spill(&path))?.is_some() { Resumed::read(&path)? } else { None };
    match left {
        Some(left) => abort_stale(&target.backend, left).await,
        None => Ok(()),
    }
}

/// Directory where sorting may write: that of the journal.
fn spill(journal: &Path) -> &Path {
    journal.parent().unwrap_or(journal)
}

fn flatten(result: Result<Result<()>, tokio::task::JoinError>) -> Result<()> {
    result.unwrap_or_else(|e| Err(Error::local("an upload", std::io::Error::other(e))))
}

fn drain_ready(tasks: &mut JoinSet<Result<()>>) -> Result<()> {
    while let Some(result) = tasks.try_join_next() {
        flatten(result)?;
    }
    Ok(())
}

/// Whether a change concerns the content at an object store. With `careful`, a metadata change does too, because the
/// content may be missing.
fn is_work(change: &Change, careful: bool) -> bool {
    let file = |entry: &Entry| entry.kind == Kind::File;
    match change {
        Change::Added { entry, .. } | Change::Renamed { entry, .. } => file(entry),
        Change::Changed { entry, old, .. } => file(entry) || file(old),
        Change::Removed { old, .. } => file(old),
        Change::Metadata { entry, .. } => careful && file(entry),
        Change::Stamped { .. } => false,
    }
}

impl UploadContext {
    /// Starts the uploads of the plan, as many at once as the store takes, until the run is to stop or one fails.
    async fn start(
        self: &Arc<Self>,
        plan: &Path,
        done: Sorted<Done>,
        mut resumed: Option<&mut Resumed>,
        tasks: &mut JoinSet<Result<()>>,
    ) -> Result<()> {
        let target = &self.target;
        let slots = Arc::new(Semaphore::new(target.transfers.max(1)));
        let mut steps = PlanSteps::open(plan, done)?;
        while let Some((line, earlier)) = steps.next_step()? {
            if !is_work(&line.step, target.careful) {
                continue;
            }
            let path = line.step.path().clone();
            let slot = tokio::select! {
                slot = Arc::clone(&slots).acquire_owned() => slot,
                () = target.stop.wait() => break,
            };
            drain_ready(tasks)?;
            let at = self.shared_reader.reached(target.index, path.as_bytes());
            let part = resumed.as_mut().and_then(|r| r.uploads.remove(&path));
            let uploads = Arc::clone(self);
            tasks.spawn(async move {
                let _held = (slot, at);
                let subject = Subject::of(&line.step);
                let done = uploads.one(line, earlier, part).await;
                uploads.target.settle(&uploads.journal, subject, done).await
            });
        }
        Ok(())
    }

    async fn one(&self, line: Line, earlier: Option<Done>, part: Option<super::journal::Upload>) -> Result<()> {
        let readers = line.readers;
        self.target.progress.set_current(line.step.path());
        match line.step {
            Change::Removed { old, .. } => {
                self.target.blocks.iter().for_each(|blocks| blocks.note_removed(old.size));
                keep_old(&self.target, &old).await
            }
            Change::Changed { entry, old, .. } if entry.kind != Kind::File => keep_old(&self.target, &old).await,
            Change::Renamed { entry, stamps, from } => {
                if earlier.is_some_and(|d| d.stamps == stamps && d.entry.size == entry.size) {
                    return Ok(());
                }
                match self.copy(&entry, stamps, &from).await {
                    // Another program deleted or replaced the object that the last snapshot names.
                    Err(Error::Store(e)) if matches!(e.kind, ErrorKind::NotFound | ErrorKind::Precondition | ErrorKind::Exists) => {
                        self.send(entry, stamps, None, false, None, None, self.target.alone()).await
                    }
                    done => done,
                }
            }
            Change::Added { entry, stamps } => self.send(entry, stamps, None, false, earlier, part, readers).await,
            Change::Changed { entry, stamps, old, unverified } => {
                self.send(entry, stamps, Some(old), unverified.is_some(), earlier, part, readers).await
            }
            Change::Metadata { entry, stamps, old } => {
                if !self.target.careful || is_there(&self.target, &old, &entry).await? {
                    return Ok(());
                }
                self.send(entry, stamps, Some(old), false, earlier, part, self.target.alone()).await
            }
            Change::Stamped { .. } => Ok(()),
        }
    }

    /// A rename: the destination has the content under another key.
    async fn copy(&self, entry: &Entry, stamps: crate::model::Stamps, from: &Entry) -> Result<()> {
        let Some(content) = &from.content else { return Ok(()) };
        let key = self.target.rules.key_for(entry);
        let source = object_path(&crate::manifest::KeyRules::current_key(from))?;
        let to = object_path(key.as_ref().map_or(entry.path.as_bytes(), |k| k.as_bytes()))?;
        let put = self.target.copy(&source, &to, from.size, content.etag.as_deref()).await?;
        let content = Some(Content {
            key,
            etag: tag(put.e_tag),
            version: self.target.version(put.version),
            ..Content::new(content.hash, self.target.number)
        });
        let entry = Entry { content, ..entry.clone() };
        self.target.progress.files.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.journal(|j| j.done(Done { entry, stamps, unstable: false }))
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one plan line, taken apart once")]
    async fn send(
        &self,
        entry: Entry,
        stamps: crate::model::Stamps,
        old: Option<Entry>,
        unverified: bool,
        earlier: Option<Done>,
        part: Option<super::journal::Upload>,
        readers: u64,
    ) -> Result<()> {
        let progress = &self.target.progress;
        let size = entry.size;
        let unverified = match &old {
            Some(old) if unverified && self.target.careful => is_there(&self.target, old, &entry).await?,
            _ => unverified,
        };
        let sent = match earlier {
            Some(done) if done.stamps == stamps && done.entry.size == entry.size && done.entry.mtime == entry.mtime => Ok(None),
            _ if size > part_size(size, &self.target.backend.capabilities()) => {
                upload_in_parts(self, PartsJob { entry: entry.clone(), old, unverified, part, readers, anew: false }).await
            }
            _ => match self.small(&entry, old.as_ref(), unverified, readers).await {
                Err(UploadError::Source(error)) if matches!(*error, ReadError::Grown) => {
                    upload_in_parts(self, PartsJob { entry: entry.clone(), old, unverified, part, readers, anew: false }).await
                }
                other => other.map(Some),
            },
        };
        match sent {
            Ok(None) => {}
            Ok(Some(done)) => self.journal(|j| j.done(done))?,
            Err(UploadError::Store(error)) => return Err(error),
            Err(UploadError::Source(error)) => note_source(&self.target, &entry, &error),
        }
        progress.files.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    }

    /// Sends a file with one request.
    async fn small(&self, entry: &Entry, old: Option<&Entry>, unverified: bool, readers: u64) -> Result<Done, UploadError> {
        let _room = self.room(entry.size).await?;
        let limit = part_size(entry.size, &self.target.backend.capabilities());
        let read = self
            .shared_reader
            .whole(self.target.index, entry.path.as_bytes(), entry.size, readers, limit)
            .await
            .map_err(UploadError::Source)?;
        let mut done = Done { entry: as_read(entry, &read.stat, &read.xattrs), stamps: read.stat.stamps(), unstable: read.unstable };
        if let Some(content) = unchanged(old, unverified, &read) {
            done.entry.content = Some(content);
            return Ok(done);
        }
        if let Some(old) = old {
            keep_old(&self.target, old).await?;
        }
        let key = self.target.rules.key_for(entry);
        let to = object_path(key.as_ref().map_or(entry.path.as_bytes(), |k| k.as_bytes()))?;
        self.target.limit.take(read.stat.size).await;
        let put = self.target.put(&to, read.content, old).await.map_err(|e| self.error(to.as_ref(), &e))?;
        self.target.progress.bytes.fetch_add(read.stat.size, std::sync::atomic::Ordering::Relaxed);
        done.entry.content = Some(Content {
            key,
            etag: tag(put.e_tag),
            version: self.target.version(put.version),
            ..Content::new(read.hash, self.target.number)
        });
        if read.unstable {
            self.target.note(|f| f.unstable.push(entry.path.clone()));
        }
        Ok(done)
    }
}

/// The old content, if an unverified file turns out to have it still.
fn unchanged(old: Option<&Entry>, unverified: bool, read: &Read) -> Option<Content> {
    let content = old.filter(|_| unverified)?.content.as_ref()?;
    (content.hash == read.hash).then(|| content.clone())
}
