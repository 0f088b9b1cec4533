//! Adopting objects that another tool put at the destination and that equal what the plan would send.
//!
//! Owns the proof that they are equal. The sizes must agree, and then the contents. If the tag of an object is the MD5
//! of the file, that is proof. Otherwise the object is read back and hashed. The journal records an adopted file as if
//! this run had sent it.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::engine::destination::Destination;
use crate::error::{Error, Result};
use crate::manifest::{KeyRules, Records};
use crate::model::{Change, Content, Entry, Hash, Kind, Stamps};
use crate::scan::{BigFile, ReadError, Root};
use crate::spool::{Joined, Reader, Sorter};
use crate::transfer::{Done, Journal, Limit, Line, SharedReader, Sink, Target, file_meta, read_content};

/// An object at the destination. They are sorted by key.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct ExistingObject {
    key: crate::model::RelPath,
    size: u64,
    etag: Option<String>,
}

/// Records in the journal every new file of the plan whose content the destination already has. Returns how many.
pub async fn adopt(
    target: &Arc<Target>,
    shared_reader: &Arc<SharedReader>,
    destination: &Destination,
    plan: &Path,
    journal: &Arc<Mutex<Journal>>,
    limit: &Arc<Limit>,
) -> Result<u64> {
    let Some(root) = shared_reader.root() else { return Ok(0) };
    let mut sorter = Sorter::new(&destination.dir, |t: &ExistingObject| t.key.as_bytes());
    let mut listing = destination.backend.list_keys();
    while let Some(found) = listing.next().await {
        let found = found?;
        if !found.key.starts_with(b".offsite/") {
            sorter.push(&ExistingObject { key: found.key.into(), size: found.size, etag: found.etag })?;
        }
    }
    let mut there = Joined::new(sorter.finish()?)?;
    let mut lines = Reader::<Line>::open(plan)?;
    let mut tasks: JoinSet<Result<bool>> = JoinSet::new();
    let mut adopted = 0;
    while let Some(line) = lines.next_line()? {
        target.stop.check()?;
        let Change::Added { entry, stamps } = line.step else { continue };
        if entry.kind != Kind::File || target.rules.key_for(&entry).is_some() {
            continue;
        }
        let Some(object) = there.meet(entry.path.as_bytes())?.filter(|t| t.size == entry.size) else { continue };
        if tasks.len() >= target.transfers.clamp(1, 16) {
            adopted += joined(tasks.join_next().await)?;
        }
        let one = One {
            target: Arc::clone(target),
            root: Arc::clone(root),
            records: destination.records.clone(),
            journal: Arc::clone(journal),
            limit: Arc::clone(limit),
        };
        tasks.spawn(async move { one.adopt(entry, stamps, object).await });
    }
    while !tasks.is_empty() {
        adopted += joined(tasks.join_next().await)?;
    }
    journal.lock().unwrap_or_else(PoisonError::into_inner).flush()?;
    Ok(adopted)
}

fn joined(result: Option<Result<Result<bool>, tokio::task::JoinError>>) -> Result<u64> {
    let done = result.transpose().map_err(|e| Error::local("a comparison", std::io::Error::other(e)))?;
    Ok(u64::from(done.transpose()?.unwrap_or(false)))
}

struct One {
    target: Arc<Target>,
    root: Arc<Root>,
    records: Records,
    journal: Arc<Mutex<Journal>>,
    limit: Arc<Limit>,
}

impl One {
    async fn adopt(&self, mut entry: Entry, stamps: Stamps, object: ExistingObject) -> Result<bool> {
        let (root, path) = (Arc::clone(&self.root), entry.path.clone());
        let read = tokio::task::spawn_blocking(move || digests(&root, path.as_bytes())).await;
        let read = read.map_err(|e| Error::local("a comparison", std::io::Error::other(e)))?;
        // If the file cannot be read now, the transfer tries again and reports it.
        let Ok((hash, md5, now, xattrs)) = read else { return Ok(false) };
        if now != stamps {
            return Ok(false);
        }
        let etag = object.etag.clone().filter(|_| self.target.backend.tree().is_none());
        entry.xattrs = xattrs;
        entry.content = Some(Content { etag, ..Content::new(hash, self.target.number) });
        // A store may add a suffix to the MD5. S3 does so after an upload in parts. That MD5 is not the one of the
        // content and does not match.
        let said = object.etag.as_deref().and_then(|tag| tag.split('-').next());
        let same = said == Some(md5.as_str()) || self.same_content(&entry).await?;
        if !same {
            return Ok(false);
        }
        if let Some(tree) = self.target.backend.tree() {
            match tree.set_meta(&KeyRules::current_key(&entry), file_meta(&entry)).await {
                // The transfer sends the file, and reports it if the destination refuses that, too.
                Err(error) if !error.concerns_destination() => return Ok(false),
                done => drop(done?),
            }
        }
        self.journal.lock().unwrap_or_else(PoisonError::into_inner).done(Done { entry, stamps, unstable: false })?;
        Ok(true)
    }

    /// Reads the object back and compares its hash. A tag that differs from the MD5 proves nothing, since with some
    /// kinds of encryption it only looks like an MD5.
    async fn same_content(&self, entry: &Entry) -> Result<bool> {
        let rules = &self.target.rules;
        match read_content(&self.records, rules, entry, &mut NullSink(&self.limit)).await {
            Ok(()) => Ok(true),
            Err(Error::Damaged { .. }) => Ok(false),
            Err(error)
                if matches!(error.kind(), Some(offsite_backends::ErrorKind::NotFound | offsite_backends::ErrorKind::Precondition)) =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

/// Discards the bytes, since only their hash is needed. Applies the rate limit.
struct NullSink<'a>(&'a Limit);

#[async_trait]
impl Sink for NullSink<'_> {
    async fn restart(&mut self) -> Result<()> {
        Ok(())
    }

    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.0.take(bytes.len() as u64).await;
        Ok(())
    }
}

type Digests = (Hash, String, Stamps, Vec<crate::model::Xattr>);

/// BLAKE3 and MD5 of a file, from one read.
fn digests(root: &Root, path: &[u8]) -> Result<Digests, ReadError> {
    let file = BigFile::open(root, path, false)?;
    let (mut blake, mut md5) = (blake3::Hasher::new(), Md5::new());
    let mut offset = 0;
    while offset < file.stat().size {
        let block = file.block(offset, 1 << 20)?;
        blake.update(&block);
        md5.update(&block);
        offset += block.len() as u64;
    }
    let (stat, xattrs, _) = file.settle()?;
    let md5 = hex::encode(md5.finalize());
    Ok((Hash(*blake.finalize().as_bytes()), md5, stat.stamps(), xattrs))
}
