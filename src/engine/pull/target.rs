//! The changes that a restore makes to its target, and their order.
//!
//! Owns the order: make room where an entry has another kind, fetch contents, then set metadata, link further names,
//! remove entries, set metadata of directories, flush the disk. Invariants: every change passes a tree that follows
//! no symlink and stays below its root, also for the staging area. If one entry fails, that is noted and the rest
//! continues. The staging area is removed however the restore ends.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use offsite_backends::{FileKind, FileStat, Stamp, Tree};

use super::compare;
use super::compare::Link;
use super::options::PullOptions;
use super::privileges::RestoredRights;
use crate::engine::control::{RunControl, WINDOW};
use crate::engine::destination::Destination;
use crate::engine::dir_metadata::root_meta;
use crate::engine::{cleanup, dir_metadata};
use crate::error::{Error, Result};
use crate::manifest::{CacheReader, KeyRules};
use crate::model::{Change, Entry, Kind, RelPath, Snapshot, Stamps};
use crate::scan::Names;
use crate::spool::{Reader, Writer};
use crate::transfer::{Archived, Fetch, Fetched, Limit, Line, Why, Witness, archived, make_way, of_target};

/// A restore that the guard has let pass.
pub struct Pull<'a> {
    pub destination: &'a Destination,
    pub snapshot: &'a Snapshot,
    pub tree: Arc<dyn Tree>,
    /// The plan of changes. The further names of files are in `links`.
    pub plan: &'a Path,
    pub links: &'a Path,
    /// File for a second plan: names that must become files of their own.
    pub copies: &'a Path,
    pub manifest: &'a Path,
    pub options: &'a PullOptions,
    pub kept: RestoredRights,
    /// How the target's disk treats names.
    pub rules: KeyRules,
    pub control: &'a RunControl,
}

/// The result of the changes.
#[derive(Debug)]
pub struct Pulled {
    pub fetched: Fetched,
    /// The number of the snapshot, if a prune deleted it during the restore.
    pub gone: Option<u64>,
    /// Archived contents.
    pub archived: Archived,
}

impl Pull<'_> {
    /// Makes the changes.
    ///
    /// # Errors
    /// Errors of the whole target or the whole store, and cancellation. Changes until then stay.
    pub async fn carry_out(&self) -> Result<Pulled> {
        self.tree.clear_staging().await.map_err(of_target)?;
        let done = self.steps().await;
        // After success and failure alike. The next restore removes what remains now.
        let _ = self.tree.clear_staging().await;
        let _ = self.tree.remove_staging().await;
        let pulled = done?;
        self.finish().await.map_err(of_target)?;
        Ok(pulled)
    }

    async fn steps(&self) -> Result<Pulled> {
        let tree = &self.tree;
        let fetch = self.fetch();
        let mut fetched = Fetched::default();
        if self.options.delete {
            // What could not be removed is replaced like any other file that differs.
            let _blocked = make_way(tree, &self.rules, self.plan, false, &mut fetched.undone).await.map_err(here)?;
        }
        fetch.run(self.plan, &mut fetched).await?;
        self.set_metadata(&fetch, &mut fetched).await?;
        let linked = self.link(&fetch, &mut fetched).await?;
        if self.options.delete {
            let manifest = [CacheReader::open(self.manifest, None)?, CacheReader::open(self.manifest, None)?];
            let wanted = cleanup::CleanupScope { rules: &self.rules, plan: self.plan, manifest, keeps: false };
            cleanup::tree(tree, wanted, &mut fetched.undone).await.map_err(here)?;
        }
        let meta = Arc::clone(&fetch.meta);
        let manifest = CacheReader::open(self.manifest, None)?;
        dir_metadata::settle(tree, manifest, self.plan, |e| !self.covers(e), |e| meta(e), &mut fetched.undone).await.map_err(here)?;
        self.settle_linked(&linked, &fetch, &mut fetched).await?;
        // Only if a content was not found may a prune have deleted the snapshot. Only then ask the store.
        let in_doubt = fetched.undone.reasons().any(|(_, why)| matches!(why, Why::Content(_)));
        let gone = if in_doubt { fetch.witness.gone(&fetch.records).await } else { None };
        let backend = &self.destination.backend;
        let (rules, stop) = (&self.snapshot.keys, &self.control.stop);
        let archived = archived(backend, rules, self.plan, &fetched.undone, self.options.restore, stop).await?;
        Ok(Pulled { fetched, gone, archived })
    }

    fn fetch(&self) -> Arc<Fetch> {
        let (names, kept) = (Names::default(), self.kept);
        Arc::new(Fetch {
            records: self.destination.records.clone(),
            rules: self.snapshot.keys.clone(),
            tree: Arc::clone(&self.tree),
            transfers: self.options.transfers.unwrap_or(self.destination.backend.capabilities().transfers.max(8)),
            window: WINDOW,
            limit: Arc::new(Limit::new(self.options.limit_download)),
            progress: self.control.progress.first().cloned().unwrap_or_default(),
            stop: Arc::clone(&self.control.stop),
            meta: Arc::new(move |entry: &Entry| kept.meta(&names, entry)),
            durable: !self.options.no_sync,
            witness: Witness::new(self.snapshot.number),
        })
    }

    /// Sets the metadata of the top directory, after the staging area is removed, and flushes the disk.
    async fn finish(&self) -> Result<(), offsite_backends::Error> {
        if self.options.prefixes.is_empty() && !self.options.filter.is_partial() {
            let done = self.tree.set_meta(b"", self.kept.owned(root_meta(&self.snapshot.tree))).await;
            match done {
                Err(error) if error.concerns_destination() => return Err(error),
                // The directory belongs to another user, and this user may only write to it: its mode stays.
                _ => {}
            }
        }
        if self.options.no_sync { Ok(()) } else { self.tree.sync().await }
    }

    fn covers(&self, entry: &Entry) -> bool {
        compare::covers(self.options, entry)
    }

    /// Sets the metadata of files and symlinks whose content is already right.
    async fn set_metadata(&self, fetch: &Fetch, fetched: &mut Fetched) -> Result<()> {
        let mut lines = Reader::<Line>::open(self.plan)?;
        while let Some(line) = lines.next_line()? {
            let Change::Metadata { entry, .. } = line.step else { continue };
            if entry.kind != Kind::Dir {
                self.control.stop.check()?;
                let path = entry.path.bare();
                let done = self.tree.set_meta(path, (fetch.meta)(&entry)).await;
                if let Some(unset) = fetched.undone.take(path, done).map_err(of_target)? {
                    fetched.undone.unset(path, unset);
                }
            }
        }
        Ok(())
    }

    /// Makes the names of one file one file again. If that is impossible (the first name could not be restored, or
    /// the disk has no hard links), the name gets the content as a file of its own. Returns the directories in which
    /// a name was created.
    async fn link(&self, fetch: &Arc<Fetch>, fetched: &mut Fetched) -> Result<HashSet<Vec<u8>>> {
        let mut copies = Writer::<Line>::create(self.copies)?;
        let mut inodes: HashMap<RelPath, Option<u64>> = HashMap::new();
        let mut links = Reader::<Link>::open(self.links)?;
        let (mut unlinked, mut linked) = (Vec::new(), HashSet::new());
        while let Some(Link { first, entry }) = links.next_line()? {
            self.control.stop.check()?;
            let want = match inodes.get(&first) {
                Some(ino) => *ino,
                None => {
                    let ino = if fetched.undone.has(first.bare()) { None } else { self.inode(&first).await?.map(|s| s.ino) };
                    inodes.insert(first.clone(), ino);
                    ino
                }
            };
            let there = self.inode(&entry.path).await?;
            if want.is_some() && there.map(|s| s.ino) == want {
                continue;
            }
            linked.insert(entry.path.parent().to_vec());
            let error = match want {
                Some(_) => match self.tree.hard_link(first.bare(), entry.path.bare()).await {
                    Ok(()) => {
                        fetched.files += 1;
                        continue;
                    }
                    Err(error) if error.concerns_destination() => return Err(of_target(error)),
                    Err(error) => Some(error),
                },
                None => None,
            };
            let mtime = Stamp { secs: entry.mtime.secs, nanos: entry.mtime.nanos };
            if !there.is_some_and(|s| s.kind == FileKind::File && s.size == entry.size && s.mtime == mtime) {
                copies.push(&Line::new(Change::Added { entry: entry.clone(), stamps: Stamps::default() }, 0))?;
            }
            unlinked.push((entry.path, Why::Unlinked { first, error }));
        }
        copies.flush()?;
        if copies.count() > 0 {
            fetch.run(self.copies, fetched).await?;
        }
        // After the second fetch, so that a name that failed there keeps the reason of that failure.
        unlinked.into_iter().for_each(|(path, why)| fetched.undone.note(path.bare(), why));
        Ok(linked)
    }

    /// Sets the metadata of directories in which only names of files were created: no plan lists them.
    async fn settle_linked(&self, linked: &HashSet<Vec<u8>>, fetch: &Fetch, fetched: &mut Fetched) -> Result<()> {
        if linked.is_empty() {
            return Ok(());
        }
        let mut entries = CacheReader::open(self.manifest, None)?;
        while let Some(known) = entries.peek()? {
            if known.kind() == Kind::Dir && linked.contains(&known.path) {
                let entry = known.entry()?;
                if self.covers(&entry) {
                    let path = entry.path.bare();
                    let done = self.tree.set_meta(path, (fetch.meta)(&entry)).await;
                    fetched.undone.take(path, done).map_err(of_target)?;
                }
            }
            entries.advance();
        }
        Ok(())
    }

    async fn inode(&self, path: &RelPath) -> Result<Option<FileStat>> {
        match self.tree.stat(path.bare()).await {
            Err(error) if error.concerns_destination() => Err(of_target(error)),
            found => Ok(found.unwrap_or_default()),
        }
    }
}

/// An error of this tree is an error of the target, not of the destination.
fn here(error: Error) -> Error {
    match error {
        Error::Store(error) => of_target(error),
        error => error,
    }
}
