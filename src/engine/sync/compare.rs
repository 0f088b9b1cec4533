//! The comparison of one scan with the manifests of all destinations.
//!
//! Owns the merge. Paths ascend in the scan and in each manifest. A path that only the manifest has is removed, unless
//! the scan could not read it or a directory above it. A path that only the scan has is added. Metadata that takes more
//! than an `lstat` is read once for all destinations, and only if it is needed. The code blocks, so it runs on its own
//! thread.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::twins::Twins;
use crate::error::{Error, Result};
use crate::manifest::{CacheReader, KeyRules, Known, KnownStamps};
use crate::model::{Change, Entry, Kind, Problem, RelPath, Stamps, Totals, folded};
use crate::plan::{Before, DiffState, Facts, Memory, Verdict, compare};
use crate::scan::{Event, Names, ReadError, Root, Stat, Walk, WalkOptions, read_metadata};
use crate::spool::Writer;
use crate::transfer::{Line, Progress, Stop};

/// The comparison with one destination.
pub struct Side {
    /// Index of the destination among the URLs of the run. It is the destination's bit in [`Line::readers`].
    pub index: usize,
    pub(super) base: CacheReader,
    plan: Writer<Line>,
    pub facts: Facts,
    /// The file of the plan.
    pub path: PathBuf,
    /// Number of parts in which a file of a given size is sent.
    parts: Box<dyn Fn(u64) -> u64 + Send>,
    /// The error that ended the comparison with this destination. The others continue.
    pub failed: Option<Error>,
    pub(super) names: Naming,
    pub(super) twins: Twins,
}

/// What a run knows, before the comparison, about how a destination treats names.
#[derive(Debug, Clone)]
pub struct Naming {
    /// The rules for keys. None for a file tree that no run has written to, because nothing has probed its disk yet.
    pub rules: Option<KeyRules>,
    /// The run of the last snapshot did not know that the destination folds names. Entries with a twin are sent again.
    pub mend: bool,
}

impl Naming {
    /// Whether the destination may take two different names for one.
    pub fn may_fold(&self) -> bool {
        self.rules.as_ref().is_none_or(KeyRules::folds)
    }
}

impl Side {
    pub fn new(
        index: usize,
        base: CacheReader,
        totals: Option<Totals>,
        path: PathBuf,
        parts: Box<dyn Fn(u64) -> u64 + Send>,
        names: Naming,
    ) -> Result<Self> {
        let plan = Writer::create(&path)?;
        let facts = Facts { base: totals, ..Facts::default() };
        Ok(Self { index, base, plan, facts, path, parts, failed: None, names, twins: Twins::default() })
    }

    /// Whether the destination may take two different names for one.
    pub fn may_fold(&self) -> bool {
        self.names.may_fold()
    }

    /// Ends the comparison after the scan. Decides which of the new entries with a twin get their own name.
    pub(super) fn end(&mut self) -> Result<()> {
        self.plan.flush()?;
        match &self.names.rules {
            Some(rules) if self.twins.open => std::mem::take(&mut self.twins).resolve(&self.path, rules),
            _ => Ok(()),
        }
    }

    /// Adds a removal for each manifest entry before `path`, or for all that are left if `path` is `None`.
    pub(super) fn catch_up(&mut self, path: Option<&[u8]>) -> Result<()> {
        while let Some(known) = self.base.peek()? {
            if path.is_some_and(|p| known.path.as_slice() >= p) {
                return Ok(());
            }
            let old = known.entry()?;
            self.base.advance();
            self.write(Change::Removed { old, moved: false }, 0, false)?;
        }
        Ok(())
    }

    /// Carries over the manifest entries at or below a path that could not be read. They count as unchanged.
    fn carry(&mut self, path: &[u8], twin: bool) -> Result<()> {
        self.catch_up(Some(path))?;
        while let Some(known) = self.base.peek()? {
            let inside = known.path == path || (path.last() == Some(&b'/') || path.is_empty()) && known.path.starts_with(path);
            if !inside {
                return Ok(());
            }
            if twin && self.names.may_fold() {
                self.twins.known(&known.path, known.is_odd());
            }
            self.facts.counts.unchanged += 1;
            self.base.advance();
        }
        Ok(())
    }

    pub(super) fn write(&mut self, step: Change, readers: u64, twin: bool) -> Result<()> {
        self.facts.add(&step, &self.parts);
        self.twins.open |= twin;
        self.plan.push(&Line { step, readers, dump: false, twin })
    }

    /// Adds a dump to the plan. Its size is not known yet, so the plan has the size of the last one.
    fn dump(&mut self, entry: &Entry) -> Result<()> {
        self.catch_up(Some(entry.path.as_bytes()))?;
        let old = match self.base.peek()?.filter(|known| known.path == entry.path.as_bytes()) {
            Some(known) => Some(known.entry()?),
            None => None,
        };
        let decided = old.as_ref().filter(|_| !self.names.mend);
        let twin = self.names.may_fold() && decided.is_none();
        match decided {
            Some(old) => self.twins.known(entry.path.as_bytes(), old.odd),
            None => self.twins.open |= twin,
        }
        let step = match old {
            Some(old) => {
                self.base.advance();
                let entry = Entry { size: old.size, odd: old.odd, ..entry.clone() };
                Change::Changed { entry, stamps: Stamps::default(), old, unverified: None }
            }
            None => Change::Added { entry: entry.clone(), stamps: Stamps::default() },
        };
        self.facts.add(&step, &self.parts);
        self.plan.push(&Line { step, readers: 0, dump: true, twin })
    }

    /// Compares one path. Returns the change to write, if any, and whether its name is not decided yet.
    fn look(&mut self, path: &[u8], stat: &Stat, kind: Kind, how: CompareOptions, meta: &mut Meta<'_>) -> Result<Option<(Change, bool)>> {
        self.catch_up(Some(path))?;
        let stamps = stat.stamps();
        let twin = how.twin && self.names.may_fold();
        let Some(known) = self.base.peek()?.filter(|k| k.path == path) else {
            let entry = if kind == Kind::File { meta.shallow() } else { meta.deep() };
            // `end` decides whether it gets its own name, when all its twins are known.
            return Ok(entry.map(|entry| (Change::Added { entry, stamps }, twin)));
        };
        // If the earlier run did not know that names fold, the content at the destination may be that of a twin.
        let again = twin && self.names.mend;
        let odd = known.is_odd();
        if twin && !again {
            self.twins.known(path, odd);
        }
        // A directory or symlink has no content, so it gets its own name as soon as it has no twin any more.
        let freed = odd && !twin && kind != Kind::File;
        let seen = DiffState { kind, size: stat.size, mtime: stat.mtime, rights: (stat.mode, stat.uid, stat.gid), stamps };
        let verdict = if again || freed { Verdict::Changed } else { compare(&before(known), &seen, how.checksum) };
        if verdict == Verdict::Same {
            self.facts.counts.unchanged += 1;
            self.base.advance();
            return Ok(None);
        }
        let old = known.entry()?;
        self.base.advance();
        let deep = verdict == Verdict::Compare || (again || freed) && kind != Kind::File;
        let entry = if deep { meta.deep() } else { meta.shallow() };
        // It has vanished or cannot be read. The manifest keeps its old entry until the next scan.
        let Some(mut entry) = entry else { return Ok(None) };
        // The content stays under its odd key. Only an entry that is sent again and has no twin gets its own name.
        entry.odd = odd && (twin || verdict != Verdict::Changed);
        let change = match verdict {
            Verdict::Same | Verdict::Compare => {
                entry.content.clone_from(&old.content);
                if entry.same_metadata(&old) {
                    Change::Stamped { path: entry.path, stamps }
                } else {
                    Change::Metadata { entry, stamps, old }
                }
            }
            Verdict::Unverified(why) => Change::Changed { entry, stamps, old, unverified: Some(why) },
            Verdict::Changed => Change::Changed { entry, stamps, old, unverified: None },
        };
        Ok(Some((change, again)))
    }
}

/// How one path is compared.
#[derive(Debug, Clone, Copy)]
struct CompareOptions {
    checksum: bool,
    /// The path or a directory above it has a twin.
    twin: bool,
}

fn before(known: &Known) -> Before {
    let memory = match known.stamps() {
        KnownStamps::Unknown => Memory::None,
        KnownStamps::Fresh => Memory::Fresh,
        KnownStamps::At(stamps) => Memory::At(stamps),
    };
    Before { kind: known.kind(), size: known.size(), mtime: known.mtime(), rights: known.rights(), memory }
}

/// Metadata of the path that is being compared. It is read at most once for all destinations.
struct Meta<'a> {
    root: &'a Root,
    names: &'a Names,
    path: &'a [u8],
    stat: &'a Stat,
    shallow: Option<Entry>,
    deep: Option<Entry>,
    problem: Option<Problem>,
}

impl Meta<'_> {
    fn shallow(&mut self) -> Option<Entry> {
        if self.shallow.is_none() {
            self.shallow = self.read(false);
        }
        self.shallow.clone()
    }

    fn deep(&mut self) -> Option<Entry> {
        if self.deep.is_none() {
            self.deep = self.read(true);
        }
        self.deep.clone()
    }

    fn read(&mut self, deep: bool) -> Option<Entry> {
        match read_metadata(self.root, self.path, self.stat, self.names, deep) {
            Ok(entry) => match entry.fits() {
                Ok(()) => Some(entry),
                Err(problem) => {
                    self.problem = Some(Problem { path: self.path.into(), problem });
                    None
                }
            },
            Err(ReadError::Vanished) => None,
            Err(error) => {
                self.problem = Some(Problem { path: self.path.into(), problem: error.to_string() });
                None
            }
        }
    }
}

/// What the scan found, independent of the destinations.
#[derive(Debug, Default)]
pub struct Scanned {
    pub unread: Vec<Problem>,
    /// Sockets, pipes and devices.
    pub skipped: Vec<Problem>,
    pub entries: u64,
}

/// How to scan and compare.
pub struct Comparison<'a> {
    pub root: &'a Arc<Root>,
    pub names: &'a Names,
    pub walk: WalkOptions,
    pub checksum: bool,
    pub progress: &'a [Arc<Progress>],
    pub stop: &'a Stop,
    /// The entries of the dumps, which are at the top of the tree, in the order of their paths.
    pub dumps: &'a [Entry],
}

/// Scans once and compares each path with every destination.
pub fn compare_all(how: &Comparison<'_>, sides: &mut [Side]) -> Result<Scanned> {
    let threads = if std::thread::available_parallelism().map_or(1, usize::from) > 1 { 2 } else { 0 };
    let fail = |e| Error::source(how.root.path(), e);
    let twins = sides.iter().any(|side| side.names.may_fold());
    let options = WalkOptions { twins, ..how.walk.clone() };
    let mut walk = Walk::start(Arc::clone(how.root), options, threads).map_err(fail)?;
    let mut scanned = Scanned::default();
    let mut found = Vec::new();
    let mut dumps = how.dumps.iter().peekable();
    while let Some(event) = walk.next_event() {
        let (Event::Entry(path, ..) | Event::Skipped(path, _) | Event::Unread(path, ..)) = &event;
        while let Some(dump) = dumps.next_if(|dump| dump.path.as_bytes() <= *path) {
            each(sides, |side| side.dump(dump));
        }
        if how.dumps.iter().any(|dump| dump.path.as_bytes() == *path) {
            let problem = "a dump of the job has this name, so the file in the source is not backed up".to_owned();
            scanned.skipped.push(Problem { path: (*path).into(), problem });
            continue;
        }
        no_directory_of_a_dump(how, path)?;
        match event {
            Event::Entry(path, stat, twin) => {
                scanned.entries += 1;
                if scanned.entries % 4096 == 0 {
                    how.stop.check()?;
                    how.progress.iter().for_each(|p| p.scanned.store(scanned.entries, Relaxed));
                }
                let twin = twin || twins && is_twin_of_dump(how, path);
                one_path(how, sides, &mut found, (path, &stat, twin), &mut scanned);
            }
            Event::Skipped(path, what) => {
                scanned.skipped.push(Problem { path: path.into(), problem: format!("a {what} is not backed up") });
            }
            Event::Unread(b"", error, _) => return Err(fail(error)),
            Event::Unread(path, error, twin) => {
                each(sides, |side| side.carry(path, twin || twins && is_twin_of_dump(how, path)));
                let gone = error.kind() == std::io::ErrorKind::NotFound;
                // The path is listed already if its metadata could not be read.
                let said = scanned.unread.last().is_some_and(|last| last.path.as_bytes() == path);
                if !gone && !said {
                    scanned.unread.push(Problem { path: path.into(), problem: error.to_string() });
                }
            }
        }
    }
    // A source that is removed during the scan looks empty from then on.
    let now = how.root.open_dir(b"").and_then(|_| std::fs::metadata(how.root.path())).map_err(fail)?;
    let then = how.root.stat().map_err(fail)?;
    if std::os::unix::fs::MetadataExt::ino(&now) != then.ino || then.nlink == 0 {
        return Err(fail(std::io::Error::other("the source was replaced or removed while it was scanned; run again")));
    }
    dumps.for_each(|dump| each(sides, |side| side.dump(dump)));
    each(sides, |side| {
        side.catch_up(None)?;
        side.facts.seen = scanned.entries;
        side.facts.counts.skipped = scanned.skipped.len() as u64;
        side.end()
    });
    Ok(scanned)
}

/// Fails if the source has a directory with the name of a dump. A file and a directory cannot have the same name at a
/// destination.
fn no_directory_of_a_dump(how: &Comparison<'_>, path: &[u8]) -> Result<()> {
    let directory = path.strip_suffix(b"/").unwrap_or_default();
    match how.dumps.iter().find(|dump| dump.path.as_bytes() == directory) {
        None => Ok(()),
        Some(dump) => Err(Error::Usage(format!(
            "{}: the source has a directory `{}/`, and the job has a dump of that name; rename the dump",
            how.root.path().display(),
            dump.path
        ))),
    }
}

/// Whether the first part of a path has a dump as its twin. The scan does not see dumps, so it cannot mark such paths.
fn is_twin_of_dump(how: &Comparison<'_>, path: &[u8]) -> bool {
    let top = path.split(|b| *b == b'/').next().unwrap_or_default();
    !how.dumps.is_empty() && how.dumps.iter().any(|dump| folded(dump.path.as_bytes()) == folded(top))
}

fn one_path(
    how: &Comparison<'_>,
    sides: &mut [Side],
    found: &mut Vec<Option<(Change, bool)>>,
    (path, stat, twin): (&[u8], &Stat, bool),
    scanned: &mut Scanned,
) {
    let Some(kind) = stat.kind() else { return };
    let mut meta = Meta { root: how.root, names: how.names, path, stat, shallow: None, deep: None, problem: None };
    found.clear();
    let mut readers = 0u64;
    for side in sides.iter_mut() {
        let change = if side.failed.is_some() {
            None
        } else {
            side.look(path, stat, kind, CompareOptions { checksum: how.checksum, twin }, &mut meta).unwrap_or_else(|error| {
                side.failed = Some(error);
                None
            })
        };
        let step = change.as_ref().map(|(step, _)| step);
        if matches!(step, Some(Change::Added { entry, .. } | Change::Changed { entry, .. }) if entry.kind == Kind::File) {
            readers |= 1 << side.index;
        }
        found.push(change);
    }
    scanned.unread.extend(meta.problem);
    for (side, change) in sides.iter_mut().zip(found.drain(..)) {
        if let Some((change, twin)) = change
            && let Err(error) = side.write(change, readers, twin)
        {
            side.failed = Some(error);
        }
    }
}

fn each(sides: &mut [Side], mut act: impl FnMut(&mut Side) -> Result<()>) {
    for side in sides.iter_mut().filter(|s| s.failed.is_none()) {
        if let Err(error) = act(side) {
            side.failed = Some(error);
        }
    }
}

/// The metadata of the root of the source, as a snapshot holds it.
pub fn tree_root(root: &Root, names: &Names) -> Result<crate::model::TreeRoot> {
    let fail = |e| Error::source(root.path(), e);
    let stat = root.stat().map_err(fail)?;
    let entry = read_metadata(root, b"", &stat, names, true).map_err(|e| fail(std::io::Error::other(e.to_string())))?;
    Ok(crate::model::TreeRoot { mode: stat.mode, mtime: stat.mtime, uid: stat.uid, gid: stat.gid, xattrs: entry.xattrs })
}

/// A local path as snapshots and saved plans name it.
pub fn shown(path: &std::path::Path) -> RelPath {
    use std::os::unix::ffi::OsStrExt;
    RelPath::from(path.as_os_str().as_bytes())
}
