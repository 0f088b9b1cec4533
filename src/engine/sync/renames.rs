//! Finding renames in a plan: new files with the content of a removed one.
//!
//! Owns the proof. A new file is a renamed one if size, mtime, inode and ctime agree, as after the move of a directory,
//! or if size, mtime and hash agree. A rename is a copy on the server instead of an upload.
//! Invariant: memory is bounded. Only the first [`CAP`] removed files are compared, and files renamed from others are
//! uploaded.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use crate::error::Result;
use crate::manifest::{CacheReader, KnownStamps};
use crate::model::{Change, Entry, Hash, Kind, Stamps, Time};
use crate::plan::Facts;
use crate::spool::{Reader, Writer};
use crate::transfer::{Line, Stop};

/// Maximum number of removed files that are compared.
const CAP: usize = 200_000;

/// The removed files, indexed by what is known of a new file. Of several equal ones, the first counts. Every new file
/// takes the same number of look-ups, even if all files have the same size and mtime.
#[derive(Default)]
struct Gone {
    /// Hashes of paths, by facts that only the same file on this machine has.
    by_stamps: HashMap<(u64, Time, Stamps), Hash>,
    /// Hashes of paths, by size and mtime and then by the hash of the content.
    by_content: HashMap<(u64, Time), HashMap<Hash, Hash>>,
}

impl Gone {
    fn add(&mut self, old: &Entry, content: Hash, stamps: Option<Stamps>) {
        let path = Hash::of(old.path.as_bytes());
        if let Some(stamps) = stamps {
            self.by_stamps.entry((old.size, old.mtime, stamps)).or_insert(path);
        }
        self.by_content.entry((old.size, old.mtime)).or_default().entry(content).or_insert(path);
    }

    /// The path hash of the removed file that was renamed to `entry`. Calls `content` only if size and mtime agree with
    /// a removed file but the stamps do not.
    fn source(&self, entry: &Entry, stamps: Stamps, content: impl FnOnce() -> Result<Option<Hash>>) -> Result<Option<Hash>> {
        let Some(alike) = self.by_content.get(&(entry.size, entry.mtime)) else { return Ok(None) };
        if let Some(same) = self.by_stamps.get(&(entry.size, entry.mtime, stamps)) {
            return Ok(Some(*same));
        }
        Ok(content()?.and_then(|content| alike.get(&content).copied()))
    }
}

/// Finds the renames in `plan` and rewrites it with them. `content` says which content a new file has. It is asked in
/// order of the paths. Returns the new facts.
pub fn find(
    content: &mut dyn FnMut(&Entry) -> Result<Option<Hash>>,
    plan: &Path,
    base: CacheReader,
    facts: Facts,
    parts: &dyn Fn(u64) -> u64,
    stop: &Stop,
) -> Result<Facts> {
    if facts.counts.removed == 0 || facts.counts.added == 0 {
        return Ok(facts);
    }
    let gone = removed(plan, base)?;
    let matches = matches(content, plan, &gone, stop)?;
    if matches.is_empty() {
        return Ok(facts);
    }
    let sources = sources(plan, &matches)?;
    let moved: HashSet<Hash> = matches.values().copied().collect();
    let temp = plan.with_extension("renamed");
    let mut lines = Reader::<Line>::open(plan)?;
    let mut out = Writer::<Line>::create(&temp)?;
    let mut sum = Facts { base: facts.base, seen: facts.seen, ..Facts::default() };
    let mut stamped = 0;
    while let Some(line) = lines.next_line()? {
        let step = match line.step {
            Change::Added { entry, stamps } => {
                let from = matches.get(&Hash::of(entry.path.as_bytes())).and_then(|source| sources.get(source));
                match from {
                    Some(from) => Change::Renamed { entry, stamps, from: from.clone() },
                    None => Change::Added { entry, stamps },
                }
            }
            Change::Removed { old, .. } => {
                let moved = moved.contains(&Hash::of(old.path.as_bytes()));
                Change::Removed { old, moved }
            }
            other => other,
        };
        stamped += u64::from(matches!(step, Change::Stamped { .. }));
        sum.add(&step, parts);
        out.push(&Line { step, readers: line.readers, dump: line.dump, twin: line.twin })?;
    }
    out.flush()?;
    std::fs::rename(&temp, plan).map_err(|e| crate::error::Error::cache(plan, e))?;
    sum.counts.unchanged += facts.counts.unchanged - stamped;
    sum.counts.skipped = facts.counts.skipped;
    Ok(sum)
}

/// The removed files of a plan.
fn removed(plan: &Path, mut base: CacheReader) -> Result<Gone> {
    let mut gone = Gone::default();
    let mut lines = Reader::<Line>::open(plan)?;
    let mut count = 0;
    while let Some(line) = lines.next_line()? {
        let Change::Removed { old, .. } = line.step else { continue };
        let Some(content) = old.content.as_ref().filter(|_| old.kind == Kind::File && old.size > 0) else { continue };
        count += 1;
        if count > CAP {
            break;
        }
        let stamps = stamps_of(&mut base, old.path.as_bytes())?;
        gone.add(&old, content.hash, stamps);
    }
    Ok(gone)
}

/// The stamps of a path in the cache of this machine. The caller must ask for paths in order, since `base` is only read
/// forward.
fn stamps_of(base: &mut CacheReader, path: &[u8]) -> Result<Option<Stamps>> {
    while let Some(known) = base.peek()? {
        if known.path.as_slice() < path {
            base.advance();
            continue;
        }
        let stamps = match known.stamps() {
            KnownStamps::At(stamps) if known.path == path => Some(stamps),
            _ => None,
        };
        return Ok(stamps);
    }
    Ok(None)
}

/// The hash of the old path of each renamed file, by the hash of its new path.
fn matches(content: &mut dyn FnMut(&Entry) -> Result<Option<Hash>>, plan: &Path, gone: &Gone, stop: &Stop) -> Result<HashMap<Hash, Hash>> {
    let mut found = HashMap::new();
    let mut lines = Reader::<Line>::open(plan)?;
    while let Some(line) = lines.next_line()? {
        let Change::Added { entry, stamps } = line.step else { continue };
        if entry.kind != Kind::File {
            continue;
        }
        stop.check()?;
        if let Some(source) = gone.source(&entry, stamps, || content(&entry))? {
            found.insert(Hash::of(entry.path.as_bytes()), source);
        }
    }
    Ok(found)
}

/// The old entries of renamed files, by the hash of their old paths.
fn sources(plan: &Path, matches: &HashMap<Hash, Hash>) -> Result<HashMap<Hash, Entry>> {
    let wanted: HashSet<&Hash> = matches.values().collect();
    let mut found = HashMap::new();
    let mut lines = Reader::<Line>::open(plan)?;
    while let Some(line) = lines.next_line()? {
        if let Change::Removed { old, .. } = line.step {
            let path = Hash::of(old.path.as_bytes());
            if wanted.contains(&path) {
                found.insert(path, old);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn file(path: &str, size: u64) -> Entry {
        serde_json::from_str(&format!(r#"{{"path":"{path}","size":{size},"mtime":"1.000000000","mode":"0644"}}"#)).unwrap()
    }

    fn stamps(ino: u64) -> Stamps {
        Stamps { ino, ..Stamps::default() }
    }

    #[test]
    fn a_moved_file_is_found_by_its_stamps_and_a_copied_one_by_its_content() {
        let mut gone = Gone::default();
        let (one, two) = (Hash::of(b"1"), Hash::of(b"2"));
        gone.add(&file("a", 5), one, Some(stamps(7)));
        gone.add(&file("b", 5), two, None);
        gone.add(&file("c", 5), two, Some(stamps(8)));
        let read = Cell::new(0);
        let of = |hash| {
            read.set(read.get() + 1);
            Ok(Some(hash))
        };
        assert_eq!(gone.source(&file("x", 5), stamps(7), || of(two)).unwrap(), Some(Hash::of(b"a")));
        assert_eq!(gone.source(&file("x", 6), stamps(7), || of(two)).unwrap(), None);
        assert_eq!(read.get(), 0, "nothing was read where stamps or sizes decide");
        assert_eq!(gone.source(&file("x", 5), stamps(9), || of(two)).unwrap(), Some(Hash::of(b"b")), "the first of those alike");
        assert_eq!(gone.source(&file("x", 5), stamps(9), || of(Hash::of(b"3"))).unwrap(), None);
    }

    /// [`CAP`] files with the same size and mtime. If each were compared with each, the test would need 4 * 10^10
    /// comparisons and would not end.
    #[test]
    fn files_that_are_all_alike_cost_one_look_up_each() {
        let mut gone = Gone::default();
        for n in 0..CAP as u64 {
            gone.add(&file("a", 5), Hash::of(&n.to_le_bytes()), Some(stamps(n)));
        }
        for n in 0..CAP as u64 {
            assert!(gone.source(&file("b", 5), stamps(u64::MAX), || Ok(Some(Hash::of(&n.to_le_bytes())))).unwrap().is_some());
        }
    }
}
