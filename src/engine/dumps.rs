//! Files of a run that are made while they are sent.
//!
//! Owns their place in a plan and their turn: before everything else, so that all destinations listen at about the same
//! time. One that fails costs the run its exit code and nothing else: the last good one stays.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use offsite_backends::Tree;

use super::apply::{Common, Part};
use super::outcome::DumpOutcome;
use crate::error::{Error, Result};
use crate::model::{Change, Entry, Kind, RelPath, Time};
use crate::spool::Reader;
use crate::transfer::{Dump, Journal, Line, Sent, Target, send_dump};

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
        xattrs: Vec::new(),
        content: None,
    };
    let mut entries: Vec<Entry> = dumps.iter().map(entry).collect();
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    entries
}

/// Sends all of them to one destination, one after the other.
pub async fn send(
    common: &Common,
    part: &Part,
    target: &Arc<Target>,
    tree: Option<&Arc<dyn Tree>>,
    journal: &Arc<Mutex<Journal>>,
) -> Result<Vec<DumpOutcome>> {
    let mut planned = planned(part)?;
    let mut outcomes = Vec::new();
    for (index, dump) in common.feeds.dumps().iter().enumerate() {
        let began = Instant::now();
        let (Some(pieces), Some(step)) = (common.feeds.take(index, part.index), planned.remove(&dump.path)) else {
            return Err(Error::damaged(dump.path.display(), "it is in no plan"));
        };
        let sent = send_dump(target, tree, journal, dump, pieces, step).await?;
        let (bytes, error) = match sent {
            Sent::Whole(bytes) => (bytes, None),
            Sent::Not(why) => (0, Some(why)),
        };
        outcomes.push(DumpOutcome { path: dump.path.clone(), bytes, seconds: began.elapsed().as_secs_f64(), error });
    }
    Ok(outcomes)
}

/// What the plan has for each: the new entry, and the one of the last snapshot.
fn planned(part: &Part) -> Result<HashMap<RelPath, (Entry, Option<Entry>)>> {
    let mut found = HashMap::new();
    let mut lines = Reader::<Line>::open(&part.plan)?;
    while let Some(line) = lines.next_line()? {
        if !line.dump {
            continue;
        }
        match line.step {
            Change::Added { entry, .. } => found.insert(entry.path.clone(), (entry, None)),
            Change::Changed { entry, old, .. } => found.insert(entry.path.clone(), (entry, Some(old))),
            _ => None,
        };
    }
    Ok(found)
}
