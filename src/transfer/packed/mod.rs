//! Sends to a packed destination: small files together in packs, large ones in pieces, each content once.
//!
//! Owns the order there: a plan's files are read ahead (`feed.rs`), cut into pieces (`large.rs`), and packed
//! (`packer.rs`, `stream.rs`). Nothing that the destination has is replaced, so nothing is kept aside and an
//! interrupted run leaves only packs that no snapshot names.

mod dump;
mod feed;
mod large;
mod packer;
mod parts;
mod rooms;
mod stream;
mod target;

use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

pub use self::dump::send_packed_dump;
use self::feed::{FedStep, Feed, SmallRead};
use self::large::LargeFile;
use self::packer::PackFiller;
use self::parts::FileParts;
use self::stream::PackSink;
pub use self::target::{PackedTarget, Repacked};
use super::journal::{Done, Journal};
use super::shared_reader::SharedReader;
use super::target::Target;
use super::upload::{UploadError, as_read, note_source};
use crate::error::Result;
use crate::model::{Change, Content, Entry};
use crate::packs::Cutter;
use crate::scan::{Read, ReadError};
use crate::spool::Sorted;

/// A file of at most this length is one piece, in bytes.
const WHOLE: usize = 512 << 10;

/// Sends everything in the plan. `done` has the steps that an earlier run finished, sorted by path.
///
/// # Errors
/// A failure of the destination or of this machine, and cancellation. What arrived until then is in the journal.
pub async fn upload_packed(
    target: &Arc<Target>,
    packed: &mut PackedTarget,
    shared_reader: &Arc<SharedReader>,
    plan: &Path,
    journal: &Arc<Mutex<Journal>>,
    done: Sorted<Done>,
) -> Result<()> {
    let sink = PackSink::new(target, packed, journal);
    let feed = Feed { target: Arc::clone(target), shared_reader: Arc::clone(shared_reader), plan: plan.to_path_buf() };
    let packer = PackFiller::new(sink, &mut packed.known);
    let mut uploads = PackedUploads { target, shared_reader, packer, repacked: &mut packed.repacked };
    let mut outcome = uploads.run(feed.start(done)).await;
    if outcome.is_ok() {
        outcome = uploads.packer.finish().await;
    }
    if outcome.is_err() {
        uploads.packer.give_up().await;
    }
    shared_reader.leave(target.index);
    journal.lock().unwrap_or_else(PoisonError::into_inner).flush()?;
    target.stop.check()?;
    outcome
}

struct PackedUploads<'a> {
    target: &'a Arc<Target>,
    shared_reader: &'a Arc<SharedReader>,
    packer: PackFiller<'a>,
    repacked: &'a mut Repacked,
}

impl PackedUploads<'_> {
    async fn run(&mut self, mut steps: tokio::sync::mpsc::Receiver<Result<FedStep>>) -> Result<()> {
        loop {
            let step = tokio::select! {
                step = steps.recv() => step,
                () = self.target.stop.wait() => return self.target.stop.check(),
            };
            let Some(step) = step else { return Ok(()) };
            self.step(step?).await?;
        }
    }

    async fn step(&mut self, step: FedStep) -> Result<()> {
        let FedStep { line, earlier, read, at: _at } = step;
        self.target.progress.set_current(line.step.path());
        let (size, readers) = (line.step.entry().map_or(0, |entry| entry.size), line.readers);
        let (repack, before) = (line.step.is_repack(), self.packer.pushed);
        let (entry, old) = match line.step {
            Change::Added { entry, .. } => (entry, None),
            Change::Changed { entry, old, unverified, .. } => (entry, Some(old).filter(|_| unverified.is_some())),
            Change::Renamed { entry, stamps, from } => {
                let content = self.packer.still_there(from.content.as_ref());
                if earlier.is_some() || content.is_some() {
                    self.target.progress.files.fetch_add(1, Relaxed);
                    let done = Done { entry: Entry { content, ..entry }, stamps, unstable: false };
                    return if earlier.is_some() { Ok(()) } else { self.packer.done(done) };
                }
                // A check found a pack of it missing or damaged.
                (entry, None)
            }
            _ => return Ok(()),
        };
        let sent = match (earlier, read) {
            (Some(_), _) => Ok(()),
            (None, Some(read)) => self.small(&entry, old.as_ref(), read, readers).await,
            (None, None) => self.large(&entry, old.as_ref(), readers).await,
        };
        match sent {
            Ok(()) if repack => {
                self.repacked.files += 1;
                self.repacked.bytes += self.packer.pushed - before;
            }
            Ok(()) => {}
            Err(UploadError::Store(error)) => return Err(error),
            // It did not change, and its content stays where it is.
            Err(UploadError::Source(error)) if repack => {
                tracing::info!(target: "offsite::run", path = %entry.path, %error, "not sent again, because it cannot be read");
            }
            Err(UploadError::Source(error)) => note_source(self.target, &entry, &error),
        }
        self.target.progress.bytes.fetch_add(size, Relaxed);
        self.target.progress.files.fetch_add(1, Relaxed);
        Ok(())
    }

    /// A file that was read whole. `old` is its entry in the last snapshot, if it may be unchanged.
    async fn small(&mut self, entry: &Entry, old: Option<&Entry>, read: SmallRead, readers: u64) -> Result<(), UploadError> {
        let read = match read.take().await? {
            Err(error) if matches!(*error, ReadError::Grown) => return self.large(entry, old, readers).await,
            read => read.map_err(UploadError::Source)?,
        };
        let Read { content: bytes, hash, stat, xattrs, unstable } = read;
        let mut done = Done { entry: as_read(entry, &stat, &xattrs), stamps: stat.stamps(), unstable };
        let old = old.and_then(|old| old.content.as_ref()).filter(|content| content.hash == hash);
        if let Some(content) = self.packer.stays(old) {
            done.entry.content = Some(content);
            return Ok(self.packer.done(done)?);
        }
        if unstable {
            self.target.note(|f| f.unstable.push(entry.path.clone()));
        }
        done.entry.content = Some(Content::new(hash, self.packer.since(old)));
        if bytes.is_empty() {
            return Ok(self.packer.done(done)?);
        }
        if bytes.len() <= WHOLE {
            let piece = self.packer.piece(hash, &bytes).await?;
            return Ok(self.packer.file(done, FileParts::whole(piece)).await?);
        }
        let mut cutter = Cutter::new(self.packer.cut_seed());
        let cut = move || {
            let mut pieces = cutter.push(bytes);
            pieces.extend(cutter.finish());
            large::hashed(pieces)
        };
        let pieces = tokio::task::spawn_blocking(cut).await.map_err(large::join)?;
        let mut parts = FileParts::default();
        for (hash, piece) in pieces {
            parts.push(self.packer.piece(hash, &piece).await?);
        }
        Ok(self.packer.file(done, parts).await?)
    }

    async fn large(&mut self, entry: &Entry, old: Option<&Entry>, readers: u64) -> Result<(), UploadError> {
        let file = LargeFile { target: self.target, shared_reader: self.shared_reader, entry, old, readers };
        file.send(&mut self.packer).await
    }
}
