//! Finding renames in a plan: a new file whose content a removed one had.
//!
//! Owns the proof. A new file is taken for a removed one if size, mtime, inode and ctime all agree (a
//! directory was moved), or if size and mtime agree and its hash does. A rename is then a copy on the
//! server instead of an upload. Memory is bounded: beyond [`CAP`] removed files the rest is uploaded.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use crate::error::Result;
use crate::manifest::{CacheReader, KnownStamps};
use crate::model::{Change, Entry, Hash, Kind, Stamps, Time};
use crate::plan::Facts;
use crate::scan::{Root, hash_file};
use crate::spool::{Reader, Writer};
use crate::transfer::{Line, Stop};

/// So many removed files are looked at.
const CAP: usize = 200_000;

struct Gone {
    path: Hash,
    hash: Hash,
    stamps: Option<Stamps>,
}

/// Writes `plan` again with its renames found; the new facts.
pub fn find(root: &Root, plan: &Path, base: CacheReader, facts: Facts, parts: &dyn Fn(u64) -> u64, stop: &Stop) -> Result<Facts> {
    if facts.counts.removed == 0 || facts.counts.added == 0 {
        return Ok(facts);
    }
    let gone = removed(plan, base)?;
    let matches = matches(root, plan, &gone, stop)?;
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
        out.push(&Line { step, readers: line.readers, dump: line.dump })?;
    }
    out.flush()?;
    std::fs::rename(&temp, plan).map_err(|e| crate::error::Error::local(plan, e))?;
    sum.counts.unchanged += facts.counts.unchanged - stamped;
    sum.counts.skipped = facts.counts.skipped;
    Ok(sum)
}

/// Removed files by size and mtime.
fn removed(plan: &Path, mut base: CacheReader) -> Result<HashMap<(u64, Time), Vec<Gone>>> {
    let mut gone: HashMap<(u64, Time), Vec<Gone>> = HashMap::new();
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
        gone.entry((old.size, old.mtime)).or_default().push(Gone { path: Hash::of(old.path.as_bytes()), hash: content.hash, stamps });
    }
    Ok(gone)
}

/// The stamps this machine remembers of a path; the base is read on from where it stands.
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

/// For each new file that is an old one: its path's hash and the old path's.
fn matches(root: &Root, plan: &Path, gone: &HashMap<(u64, Time), Vec<Gone>>, stop: &Stop) -> Result<HashMap<Hash, Hash>> {
    let mut found = HashMap::new();
    let mut lines = Reader::<Line>::open(plan)?;
    while let Some(line) = lines.next_line()? {
        let Change::Added { entry, stamps } = line.step else { continue };
        let Some(candidates) = gone.get(&(entry.size, entry.mtime)).filter(|_| entry.kind == Kind::File) else { continue };
        let source = match candidates.iter().find(|g| g.stamps == Some(stamps)) {
            Some(same) => Some(same.path),
            None => {
                stop.check()?;
                let hash = hash_file(root, entry.path.as_bytes()).ok().map(|(hash, ..)| hash);
                candidates.iter().find(|g| Some(g.hash) == hash).map(|g| g.path)
            }
        };
        if let Some(source) = source {
            found.insert(Hash::of(entry.path.as_bytes()), source);
        }
    }
    Ok(found)
}

/// The old entries that are renamed, by the hash of their paths.
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
