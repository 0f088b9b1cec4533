//! Finds the packs that only expired snapshots name.
//!
//! Owns the proof. A pack belongs to consecutive snapshots: a run refers only to packs of the snapshot before it and to
//! its own, and no two packs have one name. So if neither remaining neighbour of a dropped snapshot names a pack, no
//! snapshot does.
//! Invariant: a pack stays if the store wrote it before the neighbour before it or after the dropped snapshot. A forged
//! manifest can name anything, and this limits what it deletes.

use std::collections::{BTreeSet, HashSet};
use std::ops::ControlFlow;

use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStoreExt;

use super::queued::{QueueLine, QueuedDeletion};
use crate::engine::destination::Destination;
use crate::error::Result;
use crate::manifest::{PageSource, object_path, pack_key};
use crate::model::{Entry, Hash, PageRef, Snapshot};
use crate::spool::Writer;

/// Number of packs that are looked at in parallel.
pub const AT_ONCE: usize = 16;

/// The packs that remaining neighbours name, and the pages that were read.
pub struct NeededPacks {
    source: PageSource,
    packs: HashSet<Hash>,
    pages: HashSet<Hash>,
}

/// When the packs of a dropped snapshot were written, by the store's clock, in seconds since 1970.
#[derive(Debug, Clone, Copy)]
pub struct PackTimes {
    pub after: Option<i64>,
    pub before: Option<i64>,
}

impl NeededPacks {
    /// What the neighbours in `stay` name.
    pub async fn of(destination: &Destination, stay: &[Snapshot]) -> Result<Self> {
        let mut needed = Self { source: PageSource::new(destination.records.clone()), packs: HashSet::new(), pages: HashSet::new() };
        for snapshot in stay {
            let newest = destination.snapshot().filter(|(newest, _)| newest.root == snapshot.root);
            match newest {
                Some(_) => needed.take_cached(destination)?,
                None => {
                    let packs = needed.unseen(snapshot).await?;
                    needed.packs.extend(packs);
                }
            }
        }
        Ok(needed)
    }

    /// Whether one of them names this pack.
    pub fn has(&self, pack: &Hash) -> bool {
        self.packs.contains(pack)
    }

    /// Takes the newest manifest from the cache of this machine.
    fn take_cached(&mut self, destination: &Destination) -> Result<()> {
        let mut base = destination.base()?;
        while let Some(head) = base.next_block()? {
            self.pages.insert(head.page.hash);
            while let Some(known) = base.peek_in_block()? {
                let entry = known.entry()?;
                base.advance();
                self.packs.extend(packs_of(&entry));
            }
        }
        Ok(())
    }

    /// The packs on the pages of a snapshot that were not read before.
    async fn unseen(&mut self, snapshot: &Snapshot) -> Result<BTreeSet<Hash>> {
        let (leaves, _, mut lost) = self.source.leaves(snapshot, |_, _| true).await?;
        if !lost.is_empty() {
            return Err(lost.swap_remove(0).error);
        }
        let unseen: Vec<PageRef> = leaves.into_iter().filter(|page| self.pages.insert(page.hash)).collect();
        let mut packs = BTreeSet::new();
        self.source
            .read(unseen, |leaf| {
                let leaf = leaf.map_err(|lost| lost.error)?;
                packs.extend(leaf.entries.iter().flat_map(packs_of));
                Ok(ControlFlow::Continue(()))
            })
            .await?;
        Ok(packs)
    }

    /// Adds to the list the packs that a dropped snapshot names and no neighbour does.
    pub async fn collect(
        &mut self,
        destination: &Destination,
        dropped: &Snapshot,
        times: PackTimes,
        goes: &mut Writer<QueueLine>,
    ) -> Result<()> {
        let mut packs = self.unseen(dropped).await?;
        packs.retain(|pack| self.packs.insert(*pack));
        let keeps = destination.backend.capabilities().versions && destination.backend.keeps_versions().await?;
        let looks = packs.iter().map(|pack| look(destination, pack, times, keeps));
        let mut found = stream::iter(looks.collect::<Vec<_>>()).buffered(AT_ONCE);
        while let Some(pack) = found.try_next().await? {
            if let Some(pack) = pack {
                goes.push(&QueueLine::QueuedDeletion(pack))?;
            }
        }
        Ok(())
    }
}

fn packs_of(entry: &Entry) -> Vec<Hash> {
    let mut packs: Vec<Hash> = entry.content.iter().flat_map(|content| content.packs().copied()).collect();
    packs.dedup();
    packs
}

/// The deletion of a pack, with its version if the store keeps versions. `None` if the pack is gone, or was written at
/// another time than this snapshot allows.
pub async fn look(destination: &Destination, pack: &Hash, times: PackTimes, keeps: bool) -> Result<Option<QueuedDeletion>> {
    let key = pack_key(pack);
    let meta = match destination.backend.store().head(&object_path(key.as_bytes())?).await {
        Ok(meta) => meta,
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(destination.records.error(&key, &error)),
    };
    let time = meta.last_modified.timestamp();
    let fits = times.after.is_none_or(|after| time >= after) && times.before.is_none_or(|before| time <= before);
    let version = meta.version.filter(|version| keeps && version != "null");
    Ok(fits.then(|| QueuedDeletion { version, ..QueuedDeletion::at(key.as_bytes(), meta.size) }))
}
