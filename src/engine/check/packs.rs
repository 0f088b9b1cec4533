//! The packs that snapshots need, and what a wrong pack means for files.
//!
//! Owns the expectations of a packed destination: one for each pack, however many files are in it. A pack that is wrong
//! is told as the files of the newest snapshot that have something in it, because these can be repaired.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::expect::Expect;
use super::found::{CheckFindings, Fault};
use crate::error::Result;
use crate::manifest::{CacheReader, Records, pack_key};
use crate::model::{Content, Entry, Hash, Kind};
use crate::spool::Sorter;

/// What snapshots need of one pack.
#[derive(Debug, Clone, Copy)]
struct PackNeed {
    /// How far the last frame that an entry names reaches, in bytes.
    end: u64,
    /// The oldest and the newest snapshot.
    first: u64,
    last: u64,
}

/// What snapshots need of packs, by pack. Takes some 100 bytes for each pack.
#[derive(Debug, Default)]
pub struct PackNeeds(BTreeMap<Hash, PackNeed>);

impl PackNeeds {
    /// Adds what an entry of these snapshots needs.
    pub fn add(&mut self, entry: &Entry, (first, last): (u64, u64)) {
        let Some(content) = &entry.content else { return };
        for (pack, end) in content.reaches() {
            let need = self.0.entry(*pack).or_insert(PackNeed { end, first, last });
            *need = PackNeed { end: need.end.max(end), first: need.first.min(first), last: need.last.max(last) };
        }
    }

    /// Adds everything in a manifest.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn add_manifest(&mut self, manifest: &Path, number: u64) -> Result<()> {
        let mut reader = CacheReader::open(manifest, None)?;
        while let Some(known) = reader.peek()? {
            let entry = if known.kind() == Kind::File { Some(known.entry()?) } else { None };
            reader.advance();
            if let Some(entry) = entry {
                self.add(&entry, (number, number));
            }
        }
        Ok(())
    }

    /// Expects each pack. `newest` is the newest snapshot.
    ///
    /// # Errors
    /// Those of the sorter.
    pub fn expect(self, records: &Records, newest: u64, aside: &mut Sorter<Expect>) -> Result<()> {
        for (pack, PackNeed { end, first, last }) in self.0 {
            let bytes = records.pack_length(end);
            aside.push(&Expect::pack(pack_key(&pack), pack, bytes, (last < newest).then_some((first, last))))?;
        }
        Ok(())
    }
}

/// Tells the files of the newest manifest that have something in a wrong pack.
///
/// # Errors
/// The manifest cannot be read, or the list of findings cannot be written.
pub fn tell_files(manifest: &Path, found: &mut CheckFindings) -> Result<()> {
    let wrong = std::mem::take(&mut found.wrong_packs);
    if !wrong.is_empty() {
        let mut reader = CacheReader::open(manifest, None)?;
        while let Some(known) = reader.peek()? {
            let entry = if known.kind() == Kind::File { Some(known.entry()?) } else { None };
            reader.advance();
            let Some((entry, fault)) = entry.and_then(|entry| fault_of(&entry, &wrong).map(|fault| (entry, fault))) else { continue };
            found.other(entry, fault)?;
        }
    }
    found.wrong_packs = wrong;
    Ok(())
}

fn fault_of(entry: &Entry, wrong: &BTreeMap<Hash, Fault>) -> Option<Fault> {
    let packs: BTreeSet<&Hash> = entry.content.iter().flat_map(Content::packs).collect();
    let (pack, fault) = packs.into_iter().find_map(|pack| wrong.get_key_value(pack))?;
    let problem = format!("its pack {} is wrong: {}", pack_key(pack), fault.problem);
    Some(Fault { problem, ..fault.clone() })
}
