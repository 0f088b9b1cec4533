//! Contents for a repair at another destination of the same source.
//!
//! Owns the search by hash. A content is first looked for under its path in the newest snapshot there, then under every
//! path of every snapshot, the newest first. Memory holds only the hashes that were not found under their paths.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::engine::check::Wrong;
use crate::engine::copy::origin::CopyOrigin;
use crate::engine::outcome::{Finding, Flaw};
use crate::error::Result;
use crate::manifest::{CacheReader, KeyRules};
use crate::model::{Content, Entry, Hash, Kind, Problem, RelPath};
use crate::scan::Root;
use crate::spool::{Reader, Sorter, Writer};
use crate::transfer::WantedFile;

/// Maximum number of contents that are looked for under other paths.
const CAP: usize = 200_000;

/// The contents that another destination has.
pub struct OtherContents {
    pub origin: CopyOrigin,
    /// The local list of them, sorted by their paths at the destination that is repaired.
    pub wanted: PathBuf,
    pub rules: KeyRules,
    /// The newest snapshot there.
    pub number: u64,
}

/// What a repair reads contents from.
pub enum RepairContents {
    Source(Arc<Root>),
    Other(Box<OtherContents>),
}

/// Contents that were not found yet: the wrong entries by hash and size.
type MissingContents = HashMap<(Hash, u64), Vec<Entry>>;

fn key(entry: &Entry) -> Option<(Hash, u64)> {
    Some((entry.content.as_ref()?.hash, entry.size))
}

/// Finds the contents of the entries that a check listed below `scratch`.
pub async fn find(origin: CopyOrigin, scratch: &Path) -> Result<OtherContents> {
    let mut found = Sorter::new(scratch, |file: &WantedFile| file.path.as_bytes());
    let (mut missing, mut rules, mut number) = (None, KeyRules::any(), 0);
    for listed in origin.list.iter().rev() {
        if missing.as_ref().is_some_and(MissingContents::is_empty) {
            break;
        }
        let snapshot = origin.read(listed, scratch).await?;
        let entries = snapshot.entries()?;
        if missing.is_none() {
            (rules, number) = (snapshot.rules(), listed.number);
            missing = Some(tokio::task::block_in_place(|| under_their_paths(entries, scratch, &mut found))?);
        }
        if let Some(missing) = missing.as_mut().filter(|missing| !missing.is_empty()) {
            let entries = snapshot.entries()?;
            tokio::task::block_in_place(|| under_any_path(entries, missing, &mut found))?;
        }
    }
    let wanted = scratch.join("wanted");
    let (mut sorted, mut out) = (found.finish()?, Writer::create(&wanted)?);
    while let Some(file) = sorted.next_sorted()? {
        out.push(&file)?;
    }
    out.flush()?;
    Ok(OtherContents { origin, wanted, rules, number })
}

/// The wrong entry with the content that the other destination has, under the path that it has there.
fn file(wrong: Entry, there: &RelPath, content: &Content) -> WantedFile {
    let path = wrong.path.clone();
    WantedFile { path, entry: Entry { path: there.clone(), content: Some(content.clone()), ..wrong }, sent: true }
}

fn under_their_paths(mut there: CacheReader, scratch: &Path, found: &mut Sorter<WantedFile>) -> Result<MissingContents> {
    let mut sorter = Sorter::new(scratch, |wrong: &Wrong| wrong.entry.path.as_bytes());
    let mut lines = Reader::<Wrong>::open(&scratch.join("wrong"))?;
    while let Some(wrong) = lines.next_line()? {
        sorter.push(&wrong)?;
    }
    let (mut sorted, mut missing, mut count) = (sorter.finish()?, MissingContents::new(), 0);
    while let Some(Wrong { entry, .. }) = sorted.next_sorted()? {
        let Some(key_here) = key(&entry).filter(|_| entry.kind == Kind::File) else { continue };
        let at = at(&mut there, entry.path.as_bytes())?;
        match at.filter(|at| key(at) == Some(key_here)).and_then(|at| at.content) {
            Some(content) => found.push(&file(entry.clone(), &entry.path, &content))?,
            None if count < CAP => {
                count += 1;
                missing.entry(key_here).or_default().push(entry);
            }
            None => {}
        }
    }
    Ok(missing)
}

/// The entry of a path. The caller asks in order of the paths.
fn at(there: &mut CacheReader, path: &[u8]) -> Result<Option<Entry>> {
    while let Some(known) = there.peek()? {
        if known.path.as_slice() >= path {
            return if known.path == path { known.entry().map(Some) } else { Ok(None) };
        }
        there.advance();
    }
    Ok(None)
}

fn under_any_path(mut there: CacheReader, missing: &mut MissingContents, found: &mut Sorter<WantedFile>) -> Result<()> {
    while let Some(known) = there.peek()? {
        let entry = if known.kind() == Kind::File { Some(known.entry()?) } else { None };
        there.advance();
        let Some(entry) = entry else { continue };
        let Some(key) = key(&entry) else { continue };
        let (Some(wrong), Some(content)) = (missing.remove(&key), &entry.content) else { continue };
        wrong.into_iter().try_for_each(|wrong| found.push(&file(wrong, &entry.path, content)))?;
    }
    Ok(())
}

/// A content that turned out to be missing or damaged there too.
pub fn lost(unsent: Problem, newest: u64) -> Finding {
    Finding { flaw: Flaw::Missing, path: unsent.path, problem: unsent.problem, first_snapshot: newest, last_snapshot: newest }
}
