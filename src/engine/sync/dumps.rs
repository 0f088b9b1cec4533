//! Dumps: files of a run whose content a command writes while they are sent.
//!
//! Owns their entries in a plan, and their order: a run sends them before all other files, so that all destinations
//! read each dump at about the same time. A dump that fails changes only the exit code. Its last good content stays.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use offsite_backends::Tree;

use super::run::{Common, DestinationRun};
use crate::engine::outcome::DumpOutcome;
use crate::error::{Error, Result};
use crate::model::{Change, Entry, Kind, RelPath, Time};
use crate::spool::Reader;
use crate::transfer::{Blocked, Dump, Journal, Line, PackedTarget, Sent, Target, Undone, make_way, send_dump, send_packed_dump};

/// Mode of a dump. Only the owner may read it, since it can hold a whole database.
const MODE: u32 = 0o600;

/// Entries for a plan, sorted by path. Their size and content are not known yet.
pub fn entries(dumps: &[Dump]) -> Vec<Entry> {
    let now = chrono::Utc::now();
    let mtime = Time { secs: now.timestamp(), nanos: 0 };
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let entry = |dump: &Dump| Entry { mtime, mode: MODE, uid, gid, ..Entry::bare(dump.path.clone(), Kind::File) };
    let mut entries: Vec<Entry> = dumps.iter().map(entry).collect();
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    entries
}

/// What happened to the dumps at one destination.
pub struct Dumped {
    pub outcomes: Vec<DumpOutcome>,
    /// The plan has only dumps.
    pub alone: bool,
}

/// How dumps reach a destination. Neither is set for a mirror in an object store.
pub struct DumpWay<'a> {
    /// The destination is a directory tree.
    pub tree: Option<&'a Arc<dyn Tree>>,
    /// The destination is packed.
    pub packed: Option<&'a mut PackedTarget>,
}

/// Sends all dumps to one destination, one after the other.
pub async fn send(
    common: &Common,
    part: &DestinationRun,
    target: &Arc<Target>,
    mut way: DumpWay<'_>,
    journal: &Arc<Mutex<Journal>>,
) -> Result<Dumped> {
    let (mut planned, alone) = planned(common, part)?;
    let blocked = match way.tree {
        // `upload_tree` calls it again for the whole plan, and reports the refusals.
        Some(tree) if target.rules.folds() => make_way(tree, &target.rules, &part.plan, true, &mut Undone::default()).await?,
        _ => Blocked::default(),
    };
    let mut outcomes = Vec::new();
    for (index, dump) in common.dump_streams.dumps().iter().enumerate() {
        let began = Instant::now();
        let (Some(pieces), Some(step)) = (common.dump_streams.take(index, part.index), planned.remove(&dump.path)) else {
            return Err(Error::damaged(dump.path.display(), "it is not in the plan"));
        };
        let stays = step.1.is_some();
        let sent = if blocked.keeps_out(&target.rules, &step.0) {
            Sent::Not("a file with the same name at the destination could not be moved away".into())
        } else {
            let sent = match &mut way.packed {
                Some(packed) => send_packed_dump(target, packed, journal, dump, pieces, step).await,
                None => send_dump(target, way.tree, journal, dump, pieces, step).await,
            };
            match sent {
                Err(error) if target.is_of_entry(&error).await => Sent::Not(error.to_string()),
                sent => sent?,
            }
        };
        let (bytes, error) = match sent {
            Sent::Whole(bytes) => (bytes, None),
            Sent::Not(why) => (0, Some(why)),
        };
        outcomes.push(DumpOutcome { path: dump.path.clone(), bytes, seconds: began.elapsed().as_secs_f64(), stays, error });
    }
    Ok(Dumped { outcomes, alone })
}

/// The new entry of a dump, and the one of the last snapshot.
type PlannedDumps = (Entry, Option<Entry>);

/// The entries of the dumps in the plan, and whether the plan changes only dumps.
fn planned(common: &Common, part: &DestinationRun) -> Result<(HashMap<RelPath, PlannedDumps>, bool)> {
    let (mut found, mut alone) = (HashMap::new(), true);
    let mut lines = Reader::<Line>::open(&part.plan)?;
    while let Some(line) = lines.next_line()? {
        if !line.dump {
            alone &= line.step.is_repack();
            if let Change::Removed { old, .. } = &line.step
                && old.kind == Kind::Dir
                && let Some(dump) = common.dump_streams.dumps().iter().find(|dump| dump.path.as_bytes() == old.path.bare())
            {
                return Err(Error::Usage(format!(
                    "{}: a dump replaces the directory `{}` of the same name; rename the dump, or run once without it",
                    part.destination.backend.location(),
                    dump.path
                )));
            }
            continue;
        }
        match line.step {
            Change::Added { entry, .. } => found.insert(entry.path.clone(), (entry, None)),
            Change::Changed { entry, old, .. } => found.insert(entry.path.clone(), (entry, Some(old))),
            _ => None,
        };
    }
    Ok((found, alone))
}
