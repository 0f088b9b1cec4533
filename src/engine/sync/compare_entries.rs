//! The comparison of a snapshot of another destination with the newest one of this destination.
//!
//! Owns the merge of the two manifests. A file is unchanged if its content has the same hash, whatever its times, so
//! nothing is read to decide it. What is new goes to the plan without its content, as from a scan.

use std::sync::atomic::Ordering::Relaxed;

use super::compare::Side;
use crate::error::Result;
use crate::manifest::CacheReader;
use crate::model::{Change, Entry, Hash, Kind};
use crate::transfer::{Progress, Stop, content_stamps};

/// Compares every entry of `snapshot` that is `wanted` with a destination. `twin` says whether a disk that folds names
/// could take the path, or a directory above it, for another. Blocks.
pub fn compare_entries(
    mut snapshot: CacheReader,
    side: &mut Side,
    wanted: impl Fn(&[u8]) -> bool,
    twin: impl Fn(&[u8]) -> bool,
    (progress, stop): (&Progress, &Stop),
) -> Result<()> {
    while let Some(known) = snapshot.peek()? {
        let entry = wanted(&known.path).then(|| known.entry()).transpose()?;
        snapshot.advance();
        let Some(entry) = entry else { continue };
        side.facts.seen += 1;
        if side.facts.seen.is_multiple_of(4096) {
            stop.check()?;
            progress.scanned.store(side.facts.seen, Relaxed);
        }
        let twin = side.names.may_fold() && twin(entry.path.as_bytes());
        side.meet(entry, twin)?;
    }
    side.catch_up(None)?;
    side.end()
}

impl Side {
    fn meet(&mut self, mut entry: Entry, twin: bool) -> Result<()> {
        self.catch_up(Some(entry.path.as_bytes()))?;
        let stamps = content_stamps(&entry);
        let hash = entry.content.take().map(|content| content.hash);
        let readers = if entry.kind == Kind::File { 1 << self.index } else { 0 };
        entry.odd = false;
        let Some(known) = self.base.peek()?.filter(|known| known.path == entry.path.as_bytes()) else {
            return self.write(Change::Added { entry, stamps }, readers, twin);
        };
        let (old, odd) = (known.entry()?, known.is_odd());
        self.base.advance();
        // If the earlier run did not know that names fold, the content at the destination may be that of a twin.
        let again = twin && self.names.mend;
        if twin && !again {
            self.twins.known(entry.path.as_bytes(), odd);
        }
        // A directory or symlink has no content, so it gets its own name as soon as it has no twin any more.
        let freed = odd && !twin && entry.kind != Kind::File;
        if again || freed || !has_same_content(&old, &entry, hash) {
            entry.odd = odd && twin;
            return self.write(Change::Changed { entry, stamps, old, unverified: None }, readers, again);
        }
        entry.odd = odd;
        entry.content.clone_from(&old.content);
        if entry.same_metadata(&old) {
            self.facts.counts.unchanged += 1;
            return Ok(());
        }
        self.write(Change::Metadata { entry, stamps, old }, 0, false)
    }
}

fn has_same_content(old: &Entry, new: &Entry, hash: Option<Hash>) -> bool {
    old.kind == new.kind && old.size == new.size && old.content.as_ref().map(|content| content.hash) == hash
}
