//! Listing: what lies below a directory, with raw names.
//!
//! Owns reading directories, several at once, and what of it are objects: regular files outside the
//! staging area. Invariant: a listing ends in an error or is complete. What vanishes meanwhile was not
//! there; what cannot be read is an error; a name that could lead out of its directory is one too.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::stream::{BoxStream, FuturesUnordered};
use futures::{StreamExt, stream};

use super::meta::is_file;
use super::ops::{Handle, names};
use super::packet::{self, Attrs, Status};
use super::read::is_dir;
use super::session::Fault;
use super::staging::Area;
use crate::{ErrorKind, Result};

/// Directories that are read at once.
const DIRECTORIES: usize = 16;
/// Requests for entries of one directory that are on the way.
const AHEAD: usize = 4;

/// A path below the root, and what is there.
pub(super) type Found = (Vec<u8>, Attrs);

/// Every regular file below the directory `start`, in no order; nothing if there is none. A missing root
/// is an error. Memory grows with the directories that wait, and with the largest one.
pub(super) fn files(area: Arc<Area>, start: Vec<u8>) -> BoxStream<'static, Result<Found>> {
    struct Walk {
        area: Arc<Area>,
        waiting: VecDeque<Vec<u8>>,
        reading: FuturesUnordered<futures::future::BoxFuture<'static, Result<Vec<Found>>>>,
        failed: bool,
    }
    let walk = Walk { area, waiting: VecDeque::from([start]), reading: FuturesUnordered::new(), failed: false };
    let batches = stream::unfold(walk, |mut walk| async move {
        if walk.failed {
            return None;
        }
        while walk.reading.len() < DIRECTORIES
            && let Some(dir) = walk.waiting.pop_back()
        {
            let area = Arc::clone(&walk.area);
            walk.reading.push(Box::pin(async move { entries(&area, &dir).await }));
        }
        let found = match walk.reading.next().await? {
            Ok(found) => found,
            Err(error) => {
                walk.failed = true;
                return Some((vec![Err(error)], walk));
            }
        };
        let mut batch = Vec::new();
        for (path, attrs) in found {
            if is_dir(&attrs) && !walk.area.is_staging(&path) {
                walk.waiting.push_back(path);
            } else if is_file(&attrs) {
                batch.push(Ok((path, attrs)));
            }
        }
        Some((batch, walk))
    });
    batches.flat_map(stream::iter).boxed()
}

/// Everything in one directory, in no order; nothing if there is none.
pub(super) async fn entries(area: &Area, dir: &[u8]) -> Result<Vec<Found>> {
    area.dirs.root().await?;
    match area.dirs.dir(dir, false).await {
        Ok(()) => {}
        Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Exists) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    }
    let full = area.dirs.full(dir);
    let read = area.dirs.link.run(dir, |session, _| {
        let full = &full;
        async move {
            match session.open_dir(full).await {
                Ok(handle) => read_all(handle).await,
                // Vanished since its parent was read.
                Err(fault) if fault.is(packet::NO_SUCH_FILE) => Ok(Vec::new()),
                Err(fault) => Err(fault),
            }
        }
    });
    let mut found = Vec::new();
    for (name, attrs) in read.await? {
        let path = if dir.is_empty() { name } else { [dir, b"/", &name].concat() };
        match attrs.mode {
            Some(_) => found.push((path, attrs)),
            // The server does not say what it is.
            None => found.extend(super::read::look(area, &path).await?.map(|attrs| (path, attrs))),
        }
    }
    Ok(found)
}

async fn read_all(handle: Handle) -> Result<Vec<Found>, Fault> {
    let mut asked: VecDeque<_> = (0..AHEAD).map(|_| handle.read_dir()).collect();
    let mut found = Vec::new();
    let mut ended = false;
    while let Some(next) = asked.pop_front() {
        let Some(entries) = names(next).await? else {
            ended = true;
            continue;
        };
        for (name, attrs) in entries {
            match &name[..] {
                b"." | b".." => {}
                name if name.is_empty() || name.contains(&b'/') || name.contains(&0) => {
                    let message = "the server lists a name that cannot be one".to_owned();
                    return Err(Fault::Refused(Status { code: packet::BAD_MESSAGE, message }));
                }
                name => found.push((name.to_vec(), attrs)),
            }
        }
        if !ended {
            asked.push_back(handle.read_dir());
        }
    }
    // Closed by being dropped: nobody waits for that.
    Ok(found)
}
