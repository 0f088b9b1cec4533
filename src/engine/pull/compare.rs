//! Compares a manifest with the target of a restore.
//!
//! Owns which files are fetched: those that are missing, or whose size differs, or whose mtime and hash both differ.
//! It hashes a local file before it fetches the file again. Blocks its thread.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::options::{PullOptions, STAGING};
use super::privileges::RestoredRights;
use crate::engine::sync::spellings::Spellings;
use crate::error::{Error, Result};
use crate::manifest::{CacheReader, KeyRules, OWN};
use crate::model::{Change, Entry, Hash, Kind, Problem, RelPath, Sample, Stamps, Totals, folded};
use crate::plan::Facts;
use crate::scan::{Event, Names, Root, Stat, Walk, WalkOptions, hash_file, read_metadata};
use crate::spool::Writer;
use crate::transfer::{Line, Stop};

pub struct PullComparison<'a> {
    /// The target; none if it does not exist.
    pub root: Option<Arc<Root>>,
    pub manifest: &'a Path,
    /// File for the plan. The further names of files are in `links`.
    pub plan: &'a Path,
    pub links: &'a Path,
    pub options: &'a PullOptions,
    pub kept: RestoredRights,
    /// How the target's disk treats names.
    pub rules: KeyRules,
    pub stop: &'a Stop,
}

/// The result of a comparison: what the restore must do.
#[derive(Debug, Default)]
pub struct PullPlan {
    pub facts: Facts,
    pub problems: Sample<Problem>,
    /// Number of further names of files.
    pub links: u64,
    /// Entries without some of their rights.
    pub left_out: u64,
    /// Bytes that the disk must have free, beyond what the target occupies now.
    pub growth: u64,
    /// Sparse files that `growth` does not include, because their allocated size is unknown.
    pub unsized_sparse: u64,
}

impl PullPlan {
    /// Whether there is anything to do.
    pub fn any(&self) -> bool {
        self.facts.counts.any() || self.links > 0
    }
}

/// A further name of a file (hard link).
#[derive(Debug, Serialize, Deserialize)]
pub struct Link {
    /// The name under which the content is fetched.
    pub first: RelPath,
    pub entry: Entry,
}

/// Whether a restore with these options includes this entry.
pub fn covers(options: &PullOptions, entry: &Entry) -> bool {
    let path = entry.path.as_bytes();
    let below = options.prefixes.is_empty()
        || options.prefixes.iter().any(|prefix| {
            let bare = prefix.strip_suffix(b"/").unwrap_or(prefix);
            entry.path.bare() == bare || path.starts_with(bare) && path.get(bare.len()) == Some(&b'/')
        });
    below
        && !own(path)
        && options.filter.keeps_whole(path, entry.kind == Kind::Dir)
        && options.max_size.is_none_or(|max| entry.kind != Kind::File || entry.size <= max)
}

/// Whether a path has a name that offsite reserves at the top of a target: the records of a destination, and the
/// staging area of a restore. No manifest may bring such a path. Otherwise anyone who writes to the destination could
/// make the target useless for later restores.
fn own(path: &[u8]) -> bool {
    [OWN, STAGING].into_iter().any(|own| path.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/")))
}

/// Whether a disk that folds names would take this path for the staging area.
fn folds_to_staging(path: &[u8]) -> bool {
    folded(path.split(|byte| *byte == b'/').next().unwrap_or_default()) == STAGING
}

struct CompareWork<'a> {
    how: &'a PullComparison<'a>,
    names: Names,
    manifest: CacheReader,
    plan: Writer<Line>,
    links: Writer<Link>,
    compared: PullPlan,
    /// First path and content of each file with several names.
    hard: HashMap<String, (RelPath, Option<Hash>)>,
    local: Totals,
    /// Parts of the manifest are missing, and may hold what only the target has.
    lossy: bool,
    spellings: Spellings,
}

/// Compares, and writes the plan and the links. With `lossy`, parts of the manifest could not be read, so no entry of
/// the target counts as superfluous.
pub fn compare(how: &PullComparison<'_>, lossy: bool) -> Result<PullPlan> {
    let mut work = CompareWork {
        how,
        names: Names::default(),
        manifest: CacheReader::open(how.manifest, None)?,
        plan: Writer::create(how.plan)?,
        links: Writer::create(how.links)?,
        compared: PullPlan::default(),
        hard: HashMap::new(),
        local: Totals::default(),
        lossy,
        spellings: Spellings::default(),
    };
    if let Some(root) = &how.root {
        let options = WalkOptions { hide: Some(STAGING), ..WalkOptions::default() };
        let mut walk = Walk::start(Arc::clone(root), options, 2).map_err(|e| Error::target(root.path(), e))?;
        while let Some(event) = walk.next_event() {
            match event {
                Event::Entry(path, stat, _) => work.local(path, &stat)?,
                Event::Skipped(path, what) => {
                    work.missing_until(Some(path))?;
                    work.problem(path, format!("a {what} is in its place and is left alone"));
                }
                Event::Unread(path, error, _) => work.unreadable(path, &error)?,
            }
        }
    }
    work.missing_until(None)?;
    work.plan.flush()?;
    work.links.flush()?;
    work.compared.links = work.links.count();
    // The guard judges removals by the entries of the target, not by those of the snapshot.
    work.compared.facts.base = Some(work.local);
    work.compared.facts.seen = work.local.entries.max(1);
    work.compared.facts.rewritten = 0;
    Ok(work.compared)
}

impl CompareWork<'_> {
    fn problem(&mut self, path: &[u8], problem: String) {
        self.compared.problems.push(Problem { path: path.into(), problem });
    }

    fn write(&mut self, change: Change) -> Result<()> {
        match &change {
            Change::Added { entry, .. } => self.grow(entry, 0),
            Change::Changed { entry, old, .. } if old.kind == Kind::File => self.grow(entry, old.allocated.unwrap_or(old.size)),
            Change::Changed { entry, .. } => self.grow(entry, 0),
            _ => {}
        }
        self.compared.facts.add(&change, |_| 1);
        self.plan.push(&Line::new(change, 0))
    }

    /// Adds the size of a file minus the size of the file that it replaces.
    fn grow(&mut self, entry: &Entry, old: u64) {
        match room(entry) {
            Some(bytes) => self.compared.growth = self.compared.growth.saturating_add(bytes.saturating_sub(old)),
            None => self.compared.unsized_sparse += 1,
        }
    }

    /// An entry of the manifest without the rights that are not restored.
    fn restored(&mut self, mut entry: Entry) -> Entry {
        if covers(self.how.options, &entry) && self.how.kept.trim(&mut entry) {
            self.compared.left_out += 1;
        }
        entry
    }

    /// Adds every entry of the manifest before `path`: the target does not have them.
    fn missing_until(&mut self, path: Option<&[u8]>) -> Result<()> {
        loop {
            self.how.stop.check()?;
            let entry = match self.manifest.peek()? {
                Some(known) if path.is_none_or(|p| known.path.as_slice() < p) => known.entry()?,
                _ => return Ok(()),
            };
            self.manifest.advance();
            self.refuse_own(&entry);
            let entry = self.restored(entry);
            if self.is_brought(&entry) && !self.is_other_name(&entry)? {
                self.write(Change::Added { entry, stamps: Stamps::default() })?;
            }
        }
    }

    /// Notes that an entry with a reserved name is not restored.
    fn refuse_own(&mut self, entry: &Entry) {
        let path = entry.path.as_bytes();
        if entry.kind != Kind::Dir && own(path) {
            self.problem(path, "offsite reserves this name, so it is not restored; `offsite cat` reads it".into());
        }
    }

    /// Whether an entry is restored. If the options include it but this disk cannot have its name, a problem says so.
    fn is_brought(&mut self, entry: &Entry) -> bool {
        if !covers(self.how.options, entry) {
            return false;
        }
        let rules = &self.how.rules;
        let (path, bare) = (entry.path.as_bytes(), entry.path.bare());
        let why = if rules.folds() && folds_to_staging(bare) || rules.odd_key(bare).is_some() {
            "this disk cannot have this name"
        } else if rules.folds() && self.spellings.clash(path) {
            "this disk takes this name for that of another restored file"
        } else {
            return true;
        };
        self.problem(path, format!("{why}, so it is not restored; restore it onto another disk, or read it with `offsite cat`"));
        false
    }

    /// Skips what belongs below a local directory that cannot be read.
    fn unreadable(&mut self, path: &[u8], error: &std::io::Error) -> Result<()> {
        self.missing_until(Some(path))?;
        self.problem(path, error.to_string());
        while self.manifest.peek()?.is_some_and(|k| k.path.starts_with(path)) {
            self.manifest.advance();
        }
        Ok(())
    }

    /// Whether an entry is a further name of a file that is restored under its first name.
    fn is_other_name(&mut self, entry: &Entry) -> Result<bool> {
        let Some(group) = &entry.hard else { return Ok(false) };
        let hash = entry.content.as_ref().map(|c| c.hash);
        match self.hard.get(group) {
            Some((first, content)) if *content == hash => {
                self.links.push(&Link { first: first.clone(), entry: entry.clone() })?;
                Ok(true)
            }
            Some(_) => Ok(false),
            None => {
                self.hard.insert(group.clone(), (entry.path.clone(), hash));
                Ok(false)
            }
        }
    }

    fn local(&mut self, path: &[u8], stat: &Stat) -> Result<()> {
        self.local.entries += 1;
        self.missing_until(Some(path))?;
        let wanted = match self.manifest.peek()? {
            Some(known) if known.path == path => Some(known.entry()?),
            _ => None,
        };
        let Some(wanted) = wanted else { return self.superfluous(path, stat) };
        self.manifest.advance();
        self.refuse_own(&wanted);
        let wanted = self.restored(wanted);
        if !self.is_brought(&wanted) || self.is_other_name(&wanted)? {
            return Ok(());
        }
        let Some(root) = self.how.root.clone() else { return Ok(()) };
        let deep = !wanted.xattrs.is_empty();
        let Ok(mut here) = read_metadata(&root, path, stat, &self.names, deep) else {
            return self.write(Change::Added { entry: wanted, stamps: stat.stamps() });
        };
        if here.kind != wanted.kind || here.size != wanted.size || here.link != wanted.link || !self.same_content(&root, &wanted, stat)? {
            let stamps = stat.stamps();
            here.content.clone_from(&wanted.content);
            return self.write(Change::Changed { entry: wanted, stamps, old: here, unverified: None });
        }
        if same_metadata(&here, &wanted, self.how.kept.owners()) {
            self.compared.facts.counts.unchanged += 1;
            return Ok(());
        }
        here.content.clone_from(&wanted.content);
        self.write(Change::Metadata { entry: wanted, stamps: stat.stamps(), old: here })
    }

    fn same_content(&self, root: &Root, wanted: &Entry, stat: &Stat) -> Result<bool> {
        let Some(content) = wanted.content.as_ref().filter(|_| wanted.kind == Kind::File) else { return Ok(true) };
        if stat.mtime == wanted.mtime && !self.how.options.checksum {
            return Ok(true);
        }
        self.how.stop.check()?;
        Ok(hash_file(root, wanted.path.as_bytes()).is_ok_and(|(hash, ..)| hash == content.hash))
    }

    fn superfluous(&mut self, path: &[u8], stat: &Stat) -> Result<()> {
        let options = self.how.options;
        let Some(kind) = stat.kind() else { return Ok(()) };
        let probe = Entry { size: 0, ..Entry::bare(path.into(), kind) };
        if !options.delete || self.lossy || !covers(options, &probe) {
            self.compared.facts.counts.unchanged += 1;
            return Ok(());
        }
        self.write(Change::Removed { old: Entry::bare(path.into(), kind), moved: false })
    }
}

/// Whether the metadata agree, as far as a restore sets them. Numeric ids, attributes that only the target has, and
/// without `owners` the owners do not count.
fn same_metadata(here: &Entry, wanted: &Entry, owners: bool) -> bool {
    let owner = !owners || (&here.user, &here.group) == (&wanted.user, &wanted.group);
    let mode = here.kind == Kind::Symlink || here.mode == wanted.mode;
    here.mtime == wanted.mtime && mode && owner && wanted.xattrs.iter().all(|attribute| here.xattrs.contains(attribute))
}

/// The space that a file needs on a disk: its length, or the allocated bytes of a sparse file. None if an older
/// program did not record the allocated bytes.
fn room(entry: &Entry) -> Option<u64> {
    if entry.sparse { entry.allocated.map(|bytes| bytes.min(entry.size)) } else { Some(entry.size) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_take_no_room() {
        let file = |sparse, allocated| Entry { size: 1 << 31, sparse, allocated, ..Entry::bare("vm.img".into(), Kind::File) };
        assert_eq!(room(&file(false, None)), Some(1 << 31));
        assert_eq!(room(&file(true, Some(4096))), Some(4096));
        // The manifest is not trusted.
        assert_eq!(room(&file(true, Some(u64::MAX))), Some(1 << 31));
        assert_eq!(room(&file(true, None)), None);
    }
}
