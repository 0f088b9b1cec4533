//! Requests to a store to make archived contents readable.
//!
//! Owns what is requested: of the files that a restore could not bring because they are archived, each content at the
//! location that the manifest names. Nothing waits for the answer: an archive takes hours, and a later restore brings
//! what is readable then.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use futures::{StreamExt, stream};
use offsite_backends::{Backend, ErrorKind, Restore, Restoring};

use super::fetch::locate;
use super::line::Line;
use super::stop::Stop;
use super::undone::{Undone, Why};
use crate::error::{Error, Result};
use crate::manifest::{KeyRules, object_path, pack_key};
use crate::model::{Change, Content, Entry, Hash};
use crate::spool::Reader;

/// Requests at a time.
const AT_ONCE: usize = 16;

/// Archived contents, and the result of the requests for them.
#[derive(Debug, Default)]
pub struct Archived {
    /// Archived files of the plan.
    pub files: u64,
    /// Bytes of these files.
    pub bytes: u64,
    /// Files for which a request was accepted, now or earlier.
    pub asked: u64,
    /// Hours within which all of them can usually be read. 0 if that is not known.
    pub hours: u32,
    /// Why the first request failed, if any did.
    pub refused: Option<Error>,
}

/// Counts the archived files of a plan that `undone` lists. With `want`, it also requests them.
///
/// # Errors
/// The plan cannot be read, or the run stops. A failed request is in [`Archived::refused`].
pub async fn archived(
    backend: &Arc<dyn Backend>,
    rules: &KeyRules,
    plan: &Path,
    undone: &Undone,
    want: Option<Restore>,
    stop: &Stop,
) -> Result<Archived> {
    let mut found = Archived::default();
    let is_archived = |why: &Why| matches!(why, Why::Content(error) if error.kind() == Some(ErrorKind::Archived));
    if !undone.reasons().any(|(_, why)| is_archived(why)) {
        return Ok(found);
    }
    let mut lines = Reader::<Line>::open(plan)?;
    let mut waiting = Vec::new();
    loop {
        let line = lines.next_line()?;
        let last = line.is_none();
        if let Some(Change::Added { entry, .. } | Change::Changed { entry, .. }) = line.map(|line| line.step)
            && undone.why(entry.path.bare()).is_some_and(is_archived)
        {
            found.files += 1;
            found.bytes += entry.size;
            waiting.push(entry);
        }
        if last || waiting.len() >= 4 * AT_ONCE {
            let batch = std::mem::take(&mut waiting);
            if let Some(want) = want {
                stop.check()?;
                ask_all(backend, rules, batch, want, &mut found).await;
            }
        }
        if last {
            return Ok(found);
        }
    }
}

async fn ask_all(backend: &Arc<dyn Backend>, rules: &KeyRules, batch: Vec<Entry>, want: Restore, found: &mut Archived) {
    let asked = batch.into_iter().map(|entry| async move { ask(backend, rules, &entry, want).await });
    let answers: Vec<_> = stream::iter(asked.collect::<Vec<_>>()).buffered(AT_ONCE).collect().await;
    for answer in answers {
        match answer {
            Ok(hours) => {
                found.asked += 1;
                found.hours = found.hours.max(hours);
            }
            Err(error) => found.refused = found.refused.take().or(Some(error)),
        }
    }
}

/// Requests every pack of a content. A pack that another file needed before is under way already.
async fn ask_packs(backend: &Arc<dyn Backend>, content: &Content, want: Restore) -> Result<u32> {
    let packs: BTreeSet<Hash> = content.packs().copied().collect();
    let mut longest = 0;
    for pack in packs {
        match backend.restore(&object_path(pack_key(&pack).as_bytes())?, None, None, want).await? {
            Restoring::Asked { hours } => longest = longest.max(hours),
            Restoring::UnderWay | Restoring::Readable => {}
        }
    }
    Ok(longest)
}

/// Requests one content. Returns the hours within which it can be read, or 0 if that is not known.
async fn ask(backend: &Arc<dyn Backend>, rules: &KeyRules, entry: &Entry, want: Restore) -> Result<u32> {
    if let Some(content) = entry.content.as_ref().filter(|content| content.is_packed()) {
        return ask_packs(backend, content, want).await;
    }
    let (mut readable, mut missing) = (false, None);
    for place in locate(rules, entry) {
        match backend.restore(&object_path(&place.key)?, place.version.as_deref(), place.etag.as_deref(), want).await {
            Ok(Restoring::Asked { hours }) => return Ok(hours),
            Ok(Restoring::UnderWay) => return Ok(0),
            // Another location held the archived content, or this one has become readable meanwhile.
            Ok(Restoring::Readable) => readable = true,
            Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Precondition) => missing = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    match missing {
        Some(error) if !readable => Err(error.into()),
        _ => Ok(0),
    }
}
