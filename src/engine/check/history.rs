//! What older snapshots need: their own objects, their pages, and the contents that only they name.
//!
//! Owns reading them. Each snapshot is read once. Each page is read once, even if several snapshots share it. Pages of
//! the newest manifest are not read again. Memory grows with the number of pages, not of entries.
//! Invariant: damage is a finding that names the snapshots that it affects. It does not end the check.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::path::Path;

use super::expect::{Expect, names};
use super::found::CheckFindings;
use super::packs::PackNeeds;
use crate::engine::damage::is_damage;
use crate::engine::outcome::Flaw;
use crate::error::Result;
use crate::manifest::{CacheReader, Lost, PageSource, Records, SnapshotRef};
use crate::model::{Hash, KeyRules, Kind, Layout, PageRef, RelPath, Snapshot, plural};
use crate::spool::Sorter;
use crate::transfer::Stop;

/// The pages of one snapshot that no newer snapshot has.
struct Own {
    number: u64,
    rules: KeyRules,
    pages: Vec<PageRef>,
}

/// Reads the older snapshots, the newest of them first.
pub struct History<'a> {
    pub records: &'a Records,
    pub stop: &'a Stop,
    pub found: &'a mut CheckFindings,
    /// The page objects that the snapshots name.
    pub objects: HashSet<Hash>,
    /// Number of snapshots that could be read, including the newest.
    pub snapshots: u64,
    /// At least one of the contents is a version of the store.
    pub versions: bool,
    /// No snapshot and no page is damaged, so everything that is needed is known.
    pub whole: bool,
    /// The packs that the snapshots need. `None` for a mirror.
    pub packs: Option<PackNeeds>,
    /// For each page, the index in `oldest` of the last new root under which the walk found it.
    pages: HashMap<Hash, usize>,
    /// For each root, in the order in which the walk found them, the oldest snapshot that has it.
    oldest: Vec<u64>,
}

impl<'a> History<'a> {
    pub fn new(records: &'a Records, stop: &'a Stop, found: &'a mut CheckFindings, newest: &Snapshot) -> Self {
        let objects = newest.objects.iter().copied().collect();
        let (pages, oldest) = (HashMap::new(), Vec::new());
        let packs = (newest.layout() == Layout::Packed).then(PackNeeds::default);
        Self { records, stop, found, objects, snapshots: 1, versions: false, whole: true, packs, pages, oldest }
    }

    /// Reads all snapshots older than `newest`, whose manifest is in the local file `manifest`. Adds to `aside` the
    /// contents that only older snapshots need.
    pub async fn read(&mut self, list: &[SnapshotRef], newest: &Snapshot, manifest: &Path, aside: &mut Sorter<Expect>) -> Result<()> {
        let older: Vec<u64> = list.iter().map(|s| s.number).filter(|n| *n < newest.number).collect();
        if older.is_empty() {
            return Ok(());
        }
        let known = page_hashes(manifest)?;
        let groups = self.walk(&older, newest, &known).await?;
        for own in groups {
            self.stop.check()?;
            self.contents(own, manifest, aside).await?;
        }
        Ok(())
    }

    /// Reads every snapshot, from the newest to the oldest. Returns for each the pages that no newer one has.
    async fn walk(&mut self, older: &[u64], newest: &Snapshot, known: &HashSet<Hash>) -> Result<Vec<Own>> {
        let source = PageSource::new(self.records.clone());
        let mut roots: HashMap<Hash, usize> = HashMap::new();
        let newest_root = newest.root.as_ref().map(|r| r.hash);
        let mut groups = Vec::new();
        let mut next = (newest.number, newest.parent);
        for &number in older.iter().rev() {
            self.stop.check()?;
            let (snapshot, hash) = match self.records.snapshot(number).await {
                Ok(read) => read,
                Err(error) if is_damage(&error) => {
                    self.damaged(&Records::snapshot_object_key(number), &error.to_string(), number, number);
                    next = (number, None);
                    continue;
                }
                Err(error) => return Err(error),
            };
            if number + 1 == next.0 && next.1.is_some_and(|parent| parent != hash) {
                let what = format!("it is not the predecessor that snapshot {} names", next.0);
                self.damaged(&Records::snapshot_object_key(number), &what, number, number);
            }
            next = (number, snapshot.parent);
            self.snapshots += 1;
            self.objects.extend(&snapshot.objects);
            let Some(root) = snapshot.root.as_ref().map(|r| r.hash).filter(|root| Some(*root) != newest_root) else { continue };
            if let Some(&index) = roots.get(&root) {
                self.oldest[index] = number;
                continue;
            }
            roots.insert(root, self.oldest.len());
            self.oldest.push(number);
            let (leaves, _, lost) = source.leaves(&snapshot, |_, _| true).await?;
            for lost in lost {
                self.lost(&lost, number, number)?;
            }
            let pages = self.first_met(leaves, known);
            groups.push(Own { number, rules: snapshot.keys, pages });
        }
        Ok(groups)
    }

    fn first_met(&mut self, leaves: Vec<PageRef>, known: &HashSet<Hash>) -> Vec<PageRef> {
        let root = self.oldest.len() - 1;
        leaves.into_iter().filter(|page| !known.contains(&page.hash) && self.pages.insert(page.hash, root).is_none()).collect()
    }

    /// Adds to `aside` the contents on these pages that the newest manifest does not have.
    async fn contents(&mut self, own: Own, manifest: &Path, aside: &mut Sorter<Expect>) -> Result<()> {
        if own.pages.is_empty() {
            return Ok(());
        }
        let mut newest = CacheReader::open(manifest, None)?;
        let mut gone: Vec<Lost> = Vec::new();
        let mut versions = false;
        let (pages, oldest, packs) = (&self.pages, &self.oldest, &mut self.packs);
        PageSource::new(self.records.clone())
            .read(own.pages, |leaf| {
                let leaf = match leaf {
                    Ok(leaf) => leaf,
                    Err(lost) => {
                        lost.add_to(&mut gone);
                        return Ok(ControlFlow::Continue(()));
                    }
                };
                let first = pages.get(&leaf.page.hash).map_or(own.number, |root| oldest[*root]);
                for entry in leaf.entries {
                    if let Some(packs) = packs {
                        packs.add(&entry, (first, own.number));
                        continue;
                    }
                    let Some(content) = entry.content.clone().filter(|_| entry.kind == Kind::File) else { continue };
                    if !names(&mut newest, &entry)? {
                        versions |= content.version.is_some();
                        aside.push(&Expect::kept(entry, &content, &own.rules, first, own.number))?;
                    }
                }
                Ok(ControlFlow::Continue(()))
            })
            .await?;
        self.versions |= versions;
        for lost in gone {
            self.lost(&lost, own.number, own.number)?;
        }
        Ok(())
    }

    fn lost(&mut self, lost: &Lost, first: u64, last: u64) -> Result<()> {
        let key = lost.object.map_or_else(|| ".offsite/pages/".to_owned(), |object| Records::pages_object_key(&object));
        let problem = lost_problem(lost)?;
        self.damaged(&key, &problem, first, last);
        Ok(())
    }

    fn damaged(&mut self, key: &str, problem: &str, first: u64, last: u64) {
        self.whole = false;
        self.found.flaw(Flaw::Damaged, RelPath::from(key), problem.to_owned(), (first, last));
    }
}

/// Describes what is lost with a page.
///
/// # Errors
/// The page is not known to be damaged: the store could not be reached or refused the request.
pub fn lost_problem(lost: &Lost) -> Result<String> {
    match &lost.error {
        crate::error::Error::Store(error) if !is_damage(&lost.error) => Err(error.clone().into()),
        error => Ok(format!("{} {} from {} on: {error}", lost.entries, plural(lost.entries, "entry", "entries"), lost.first)),
    }
}

fn page_hashes(manifest: &Path) -> Result<HashSet<Hash>> {
    let mut reader = CacheReader::open(manifest, None)?;
    let mut hashes = HashSet::new();
    while let Some(head) = reader.next_block()? {
        hashes.insert(head.page.hash);
    }
    Ok(hashes)
}
