//! The destination that is copied.
//!
//! Owns what is read of it: its `id`, the list of its snapshots, and everything of one snapshot but its contents.
//! Nothing is written there, and it is not locked, so a run may write to it meanwhile.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use offsite_backends::Backend;

use crate::engine::destination::Destination;
use crate::engine::download::download;
use crate::engine::machine::Machine;
use crate::engine::query;
use crate::error::{Error, Result};
use crate::manifest::{CacheReader, Format, KeyRules, PageSource, Records, SnapshotRef};
use crate::model::{CopiedFrom, Problem, RelPath, Snapshot, Trouble};

/// The destination that is copied.
pub struct CopyOrigin {
    destination: Destination,
    pub format: Format,
    /// Its snapshots, the oldest first.
    pub list: Vec<SnapshotRef>,
}

/// A snapshot that is copied.
pub struct OriginSnapshot {
    pub snapshot: Snapshot,
    /// The local file with its entries.
    manifest: PathBuf,
    pub unread: Vec<Problem>,
    pub unstable: Vec<RelPath>,
    pub from: CopiedFrom,
}

impl CopyOrigin {
    pub async fn open(backend: Arc<dyn Backend>, machine: &Machine) -> Result<Self> {
        let mut destination = Destination::over(backend, machine)?;
        destination.unlock_contents(&machine.keys).await?;
        destination.unlock_others().await?;
        destination.records.opens_contents()?;
        let list = query::list(&destination.records).await?;
        let format = destination.records.format().await?.ok_or_else(|| {
            Error::damaged(
                destination.records.url(Format::KEY),
                "it is missing although there are snapshots; repair this destination first",
            )
        })?;
        let last = list.last().map_or(0, |listed| listed.number);
        let (newest, hash) = query::newest(&destination.records, last).await?;
        destination.not_rolled_back(&newest, &hash)?;
        Ok(Self { destination, format, list })
    }

    pub fn records(&self) -> &Records {
        &self.destination.records
    }

    pub fn url(&self) -> String {
        self.destination.backend.location().to_string()
    }

    /// Reads a snapshot and its manifest, which goes into `scratch`.
    pub async fn read(&self, listed: &SnapshotRef, scratch: &Path) -> Result<OriginSnapshot> {
        let records = self.records();
        let (snapshot, _) = records.snapshot(listed.number).await?;
        let manifest = scratch.join("manifest");
        if snapshot.root.is_some() {
            download(records, &snapshot, &manifest, false, |_, _| true).await?;
        }
        let (mut unread, mut unstable) = (snapshot.unread.first().to_vec(), snapshot.unstable.first().to_vec());
        if snapshot.troubles.is_some() {
            (unread, unstable) = (Vec::new(), Vec::new());
            let mut take = |Trouble { path, problem }: Trouble| {
                match problem {
                    Some(problem) => unread.push(Problem { path, problem }),
                    None => unstable.push(path),
                }
                Ok(())
            };
            PageSource::new(records.clone()).troubles(&snapshot, &mut take).await?;
        }
        let (destination, time) = (self.format.id.clone(), listed.modified.timestamp());
        let from = CopiedFrom { destination, number: listed.number, time };
        Ok(OriginSnapshot { snapshot, manifest, unread, unstable, from })
    }

    /// Whether the snapshot was deleted since it was listed.
    pub async fn is_gone(&self, number: u64) -> bool {
        self.records().has_snapshot(number).await.is_ok_and(|there| !there)
    }
}

impl OriginSnapshot {
    /// The entries, from the first one on.
    pub fn entries(&self) -> Result<CacheReader> {
        if self.snapshot.root.is_some() { CacheReader::open(&self.manifest, None) } else { Ok(CacheReader::none()) }
    }

    pub fn rules(&self) -> KeyRules {
        self.snapshot.keys.clone()
    }
}
