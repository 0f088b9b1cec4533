//! Restores small files out of packs.
//!
//! Owns their order: they are sorted by their places, so each pack is fetched once, whatever the order of the paths, and
//! unpacked while it arrives. Memory holds a few frames of a few packs, whatever the number of files.
//! Invariant: a file gets its name only after its BLAKE3 was right, as any other in a restore.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use futures::{StreamExt, stream};
use offsite_backends::{Publish, Staged};
use tokio::task::JoinSet;

use super::bring::{Fetch, FetchBatch, FetchError, Fetched, of_content};
use super::packed_files::{PackedFile, PackedFiles, piece_of};
use super::unpack::{PackStretch, STREAMED};
use crate::error::{Error, Result};
use crate::model::Entry;
use crate::spool::Sorted;

/// Stretches in flight.
const STRETCHES: usize = 6;
/// Files that are staged at a time, of one stretch.
const STAGING: usize = 8;

/// Files of one stretch, each staged or failed.
type StretchDone = Vec<(Entry, Result<Staged, FetchError>)>;

impl Fetch {
    /// Restores the files that were collected.
    pub(super) async fn unpack_files(self: &Arc<Self>, files: PackedFiles, fetched: &mut Fetched) -> Result<()> {
        let mut files = files.finish()?;
        let mut tasks: JoinSet<Result<StretchDone>> = JoinSet::new();
        let done = self.unpack_sorted(&mut files, &mut tasks, fetched).await;
        tasks.shutdown().await;
        done
    }

    async fn unpack_sorted(
        self: &Arc<Self>,
        files: &mut Sorted<PackedFile>,
        tasks: &mut JoinSet<Result<StretchDone>>,
        fetched: &mut Fetched,
    ) -> Result<()> {
        let mut batch = FetchBatch::default();
        let mut filling: Option<PackStretch<Entry>> = None;
        loop {
            self.stop.check()?;
            let next = files.next_sorted()?.map(|file| file.entry);
            let last = next.is_none();
            let next = next.and_then(|entry| Some((piece_of(&entry)?, entry)));
            let left = match (&mut filling, next) {
                (Some(stretch), Some((piece, entry))) => stretch.add(piece, entry),
                (_, next) => next,
            };
            if left.is_some() || last {
                let full = std::mem::replace(&mut filling, left.map(|(piece, entry)| PackStretch::new(STREAMED, piece, entry)));
                if let Some(full) = full {
                    let fetch = Arc::clone(self);
                    tasks.spawn(async move { fetch.stretch(full).await });
                }
            }
            while tasks.len() >= STRETCHES || last && !tasks.is_empty() {
                let Some(done) = tasks.join_next().await else { break };
                let done = done.map_err(|e| Error::local("a download", std::io::Error::other(e)))??;
                self.take_stretch(done, &mut batch, fetched).await?;
            }
            if last {
                return self.publish(batch, fetched).await;
            }
        }
    }

    async fn take_stretch(&self, done: StretchDone, batch: &mut FetchBatch, fetched: &mut Fetched) -> Result<()> {
        for (entry, result) in done {
            match result {
                Ok(mut staged) => {
                    let unset = std::mem::take(&mut staged.unset);
                    batch.push(Publish { staged, path: entry.path.bare().to_vec(), keep: None }, entry, unset);
                }
                Err(trouble) => self.note(&entry, trouble, fetched).await?,
            }
            if batch.is_full() {
                self.publish(std::mem::take(batch), fetched).await?;
            }
        }
        Ok(())
    }

    async fn stretch(&self, stretch: PackStretch<Entry>) -> Result<StretchDone> {
        let mut reader = stretch.open(&self.records);
        let mut done = StretchDone::new();
        while let Some(batch) = reader.next_batch().await {
            self.stop.check()?;
            self.limit.take(batch.length).await;
            let unpacked = tokio::task::spawn_blocking(move || {
                let mut files: Vec<(Entry, Result<Bytes>)> = Vec::new();
                batch.unpack(|entry, content| files.push((entry, content)));
                files
            });
            let files = unpacked.await.map_err(|e| Error::local("a pack", std::io::Error::other(e)))?;
            let staged = stream::iter(files.into_iter().map(|(entry, content)| self.stage(entry, content))).buffered(STAGING);
            done.extend(staged.collect::<Vec<_>>().await);
        }
        Ok(done)
    }

    async fn stage(&self, entry: Entry, content: Result<Bytes>) -> (Entry, Result<Staged, FetchError>) {
        self.progress.set_current(&entry.path);
        self.progress.files.fetch_add(1, Relaxed);
        let staged = match content {
            Ok(content) => {
                self.progress.bytes.fetch_add(entry.size, Relaxed);
                self.tree.stage(content, (self.meta)(&entry)).await.map_err(FetchError::Target)
            }
            Err(error) => Err(of_content(error)),
        };
        (entry, staged)
    }
}
