//! Files of a run that are made while they are sent.
//!
//! Owns their place in a plan and their turn: before everything else, so that all destinations listen at about the same
//! time. One that fails costs the run its exit code and nothing else: the last good one stays.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use offsite_backends::Tree;

use super::run::{Common, DestinationRun};
use crate::engine::outcome::DumpOutcome;
use crate::error::{Error, Result};
use crate::model::{Change, Entry, Kind, RelPath, Time};
use crate::spool::Reader;
use crate::transfer::{Blocked, Dump, Journal, Line, Sent, Target, Undone, make_way, send_dump};

/// Rights of a dump: it holds everything.
const MODE: u32 = 0o600;

/// Entries for a plan, by path. Size and content are not known yet.
pub fn entries(dumps: &[Dump]) -> Vec<Entry> {
    let now = chrono::Utc::now();
    let mtime = Time { secs: now.timestamp(), nanos: 0 };
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let entry = |dump: &Dump| Entry {
        path: dump.path.clone(),
        kind: Kind::File,
        size: 0,
        mtime,
        mode: MODE,
        uid,
        gid,
        user: None,
        group: None,
        link: None,
        hard: None,
        sparse: false,
        allocated: None,
        xattrs: Vec::new(),
        odd: false,
        content: None,
    };
    let mut entries: Vec<Entry> = dumps.iter().map(entry).collect();
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    entries
}

/// What became of them at one destination.
pub struct Dumped {
    pub outcomes: Vec<DumpOutcome>,
    /// The plan has nothing else.
    pub alone: bool,
}

/// Sends all of them to one destination, one after the other.
pub async fn send(
    common: &Common,
    part: &DestinationRun,
    target: &Arc<Target>,
    tree: Option<&Arc<dyn Tree>>,
    journal: &Arc<Mutex<Journal>>,
) -> Result<Dumped> {
    let (mut planned, alone) = planned(common, part)?;
    let blocked = match tree {
        // What is refused is said when way is made for all else.
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
            match send_dump(target, tree, journal, dump, pieces, step).await {
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

/// What the plan has for each, and whether it has nothing else.
fn planned(common: &Common, part: &DestinationRun) -> Result<(HashMap<RelPath, PlannedDumps>, bool)> {
    let (mut found, mut alone) = (HashMap::new(), true);
    let mut lines = Reader::<Line>::open(&part.plan)?;
    while let Some(line) = lines.next_line()? {
        if !line.dump {
            alone = false;
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
