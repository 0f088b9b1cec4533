//! Reading contents back and comparing their hashes.
//!
//! Owns which contents a run reads, and the bounds of reading them in parallel. The hash of a key is a point of the
//! round. A run reads the keys whose points are in its share, which begins where the last run stopped. So each round
//! reads every key, whatever the shares are, and a new file does not move others.
//! Invariant: a content is read only at the key, tag and version that the manifest names.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use async_trait::async_trait;
use bytes::Bytes;
use offsite_backends::ErrorKind;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::expect::Expect;
use super::found::{CheckFindings, Fault};
use crate::engine::outcome::Flaw;
use crate::error::{Error, Result};
use crate::manifest::Records;
use crate::model::{Hash, RelPath};
use crate::spool::{Reader, Writer};
use crate::transfer::{ContentPlace, Limit, Phase, Progress, Sink, Stop, hash_at};

/// Points of a round, over which the hashes are spread.
const ROUND: u64 = 1 << 32;
/// Files with another mtime that are read at most, in addition to the sample.
const TOUCHED: u64 = 1_000;
/// Content bytes in flight at most, in permits of [`PERMIT`] bytes.
const WINDOW: u32 = (48 << 20) / PERMIT;
const PERMIT: u32 = 16 << 10;
/// Bytes of the window that one content takes at most.
const MOST: u64 = 32 << 20;

/// Why a content is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadReason {
    /// It is in the sample, or the last check found it damaged.
    Selected,
    /// Its mtime is not the one that offsite set.
    Touched,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct ToRead {
    expect: Expect,
    why: ReadReason,
}

/// The contents to read back.
pub struct Reading {
    /// Point at which the last run stopped.
    from: u64,
    /// Number of points that this run covers.
    width: u64,
    /// Keys that the last check found damaged.
    known: HashSet<RelPath>,
    spool: Writer<ToRead>,
    touched: u64,
    bytes: u64,
}

impl Reading {
    /// Selects `share` of all keys from the point `from` on, and the keys in `known`. `spool` is the local file for the
    /// list.
    pub fn new(from: u32, share: f64, known: HashSet<RelPath>, spool: &Path) -> Result<Self> {
        let width = ((share * ROUND as f64).ceil() as u64).min(ROUND);
        Ok(Self { from: u64::from(from), width, known, spool: Writer::create(spool)?, touched: 0, bytes: 0 })
    }

    /// The point where the next run begins, and the share of the round that is done.
    pub fn next(&self) -> (u32, f64) {
        let end = self.from + self.width;
        ((end % ROUND) as u32, if end >= ROUND { 1.0 } else { end as f64 / ROUND as f64 })
    }

    fn wants(&self, key: &RelPath) -> bool {
        let [a, b, c, d, ..] = Hash::of(key.as_bytes()).0;
        let point = u64::from(u32::from_be_bytes([a, b, c, d]));
        (point + ROUND - self.from) % ROUND < self.width || self.known.contains(key)
    }

    /// Adds a content that was found, if it is selected.
    pub fn sample(&mut self, expect: Expect) -> Result<()> {
        if self.width == 0 && self.known.is_empty() || !self.wants(&expect.key) {
            return Ok(());
        }
        self.add(expect, ReadReason::Selected).map(drop)
    }

    /// Adds a content. False if it is not selected and [`TOUCHED`] others with another mtime were added already.
    pub fn add(&mut self, expect: Expect, why: ReadReason) -> Result<bool> {
        if why == ReadReason::Touched && !self.wants(&expect.key) {
            if self.touched == TOUCHED {
                return Ok(false);
            }
            self.touched += 1;
        }
        self.bytes = self.bytes.saturating_add(expect.entry.size);
        self.spool.push(&ToRead { expect, why })?;
        Ok(true)
    }

    /// Reads all contents that were added. Returns the number and the bytes of those that could be read and compared.
    pub async fn run(&mut self, how: &ReadOptions, found: &mut CheckFindings, spool: &Path) -> Result<(u64, u64)> {
        self.spool.flush()?;
        let count = self.spool.count();
        if count == 0 {
            return Ok((0, 0));
        }
        how.progress.files_total.store(count, Relaxed);
        how.progress.bytes_total.store(self.bytes, Relaxed);
        how.progress.set_phase(Phase::Transfer);
        let (slots, window) = (Arc::new(Semaphore::new(how.transfers)), Arc::new(Semaphore::new(WINDOW as usize)));
        let mut tasks: JoinSet<(ToRead, Result<Hash>)> = JoinSet::new();
        let mut lines = Reader::<ToRead>::open(spool)?;
        let mut compared = (0, 0);
        let mut add = |bytes: Option<u64>| compared = (compared.0 + u64::from(bytes.is_some()), compared.1 + bytes.unwrap_or_default());
        while let Some(one) = lines.next_line()? {
            how.stop.check()?;
            let permits = ((one.expect.entry.size.min(MOST) / u64::from(PERMIT)) as u32).clamp(1, WINDOW);
            let slot = Arc::clone(&slots).acquire_owned().await;
            let room = Arc::clone(&window).acquire_many_owned(permits).await;
            let how = how.clone();
            tasks.spawn(async move {
                let _held = (slot, room);
                let hash = how.hash(&one.expect).await;
                (one, hash)
            });
            while let Some(done) = tasks.try_join_next() {
                add(settle(done, found)?);
            }
        }
        while let Some(done) = tasks.join_next().await {
            add(settle(done, found)?);
        }
        Ok(compared)
    }
}

/// Puts the result of a read among the findings. Returns the bytes of a content that was read and compared.
fn settle(done: Result<(ToRead, Result<Hash>), tokio::task::JoinError>, found: &mut CheckFindings) -> Result<Option<u64>> {
    let (ToRead { expect, why }, read) = done.map_err(|e| Error::local("a comparison", std::io::Error::other(e)))?;
    let bytes = read.is_ok().then_some(expect.entry.size);
    match read {
        Ok(hash) if Some(hash) == expect.hash() => match why {
            ReadReason::Selected => Ok(()),
            ReadReason::Touched => found.touched(expect.entry),
        },
        Ok(_) => {
            found.rotten.push(expect.key.clone());
            found.content(expect, Fault::new(Flaw::Damaged, "its content is damaged (BLAKE3 differs)"))
        }
        Err(error) if matches!(error.kind(), Some(ErrorKind::NotFound | ErrorKind::Precondition)) => {
            found.content(expect, Fault::new(Flaw::Changed, format!("it was replaced or removed during the check ({error})")))
        }
        // An error that would affect every content ends the check.
        Err(error @ (Error::Interrupted | Error::Local { .. })) => Err(error),
        Err(error) if error.kind() == Some(ErrorKind::Transient) => Err(error),
        Err(error) => {
            found.unread(&expect.entry.path, error);
            Ok(())
        }
    }?;
    Ok(bytes)
}

/// How to read.
#[derive(Clone)]
pub struct ReadOptions {
    pub records: Records,
    pub transfers: usize,
    pub limit: Arc<Limit>,
    pub progress: Arc<Progress>,
    pub stop: Arc<Stop>,
}

impl ReadOptions {
    /// The hash of the bytes at the place where this content must be.
    async fn hash(&self, expect: &Expect) -> Result<Hash> {
        self.progress.set_current(&expect.entry.path);
        self.progress.files.fetch_add(1, Relaxed);
        if expect.entry.size == 0 {
            return Ok(Hash::of(b""));
        }
        if let Some(pack) = expect.hash().filter(|_| expect.pack) {
            let body = self.records.pack_whole(&pack).await?;
            HashOnly(self).write(body.clone()).await?;
            return tokio::task::spawn_blocking(move || Hash::of(&body))
                .await
                .map_err(|e| Error::local("a pack", std::io::Error::other(e)));
        }
        let own = |text: Option<&str>| text.map(str::to_owned);
        let place = ContentPlace { key: expect.key.0.clone(), etag: own(expect.etag()), version: own(expect.version()) };
        self.hash_at(&place, expect.entry.size).await
    }

    /// The hash of the bytes at one place.
    pub async fn hash_at(&self, place: &ContentPlace, size: u64) -> Result<Hash> {
        hash_at(&self.records, place, size, &mut HashOnly(self)).await
    }
}

/// Discards the bytes, because only their hash is needed.
struct HashOnly<'a>(&'a ReadOptions);

#[async_trait]
impl Sink for HashOnly<'_> {
    async fn restart(&mut self) -> Result<()> {
        Ok(())
    }

    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.0.stop.check()?;
        self.0.limit.take(bytes.len() as u64).await;
        self.0.progress.bytes.fetch_add(bytes.len() as u64, Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shares of the runs may differ. A round still reads every key.
    #[test]
    fn a_round_reads_every_key_once() {
        let dir = tempfile::tempdir().unwrap();
        for shares in [vec![0.05; 20], vec![0.07; 15], vec![0.5, 0.3, 0.1, 0.1], vec![1.0], vec![0.333, 0.333, 0.333, 0.01]] {
            let keys: Vec<RelPath> = (0..2000).map(|i| RelPath::from(format!("dir/{i}").as_str())).collect();
            let mut from = 7;
            let mut met = vec![0; keys.len()];
            for share in shares {
                let reading = Reading::new(from, share, HashSet::new(), &dir.path().join("spool")).unwrap();
                keys.iter().enumerate().for_each(|(i, key)| met[i] += usize::from(reading.wants(key)));
                from = reading.next().0;
            }
            assert!(met.iter().all(|n| *n >= 1), "{met:?}");
            assert!(met.iter().filter(|n| **n > 1).count() < keys.len() / 10);
        }
    }
}
