//! Uploads in parts that an earlier run left unfinished and that no journal of this machine names.
//!
//! Owns finding them with a listing, and the proof that offsite began them. This run has the lease and has begun no
//! upload yet, so an upload to a key of this destination belongs to a run that has ended. An upload to another key is
//! foreign, even below the destination's prefix, and stays. The listing happens only after a run that did not end
//! cleanly, so all other runs make no request for it.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use futures::TryStreamExt;
use offsite_backends::{Depth, ErrorKind, Scope, State};

use crate::engine::destination::Destination;
use crate::error::Result;
use crate::manifest::{KeyRules, object_path};
use crate::model::Change;
use crate::spool::Reader;
use crate::transfer::{Line, Resumed};

/// Maximum number of uploads that one run considers. A lifecycle rule of the bucket should delete more than that.
const MOST: usize = 10_000;

/// Aborts the uploads that no run continues. Returns how many.
pub async fn give_up(destination: &Destination, plan: &Path, known: Option<&Resumed>) -> Result<u64> {
    let Some(store) = destination.backend.multipart() else { return Ok(0) };
    let named: HashSet<&str> =
        known.into_iter().flat_map(|known| known.uploads.values().chain(&known.older)).map(|u| u.id.as_str()).collect();
    let mut found: HashMap<Vec<u8>, Vec<String>> = HashMap::new();
    let mut listing = destination.backend.list(Scope::Prefix, Depth::Unfinished);
    let mut count = 0;
    while count < MOST {
        let listed = match listing.try_next().await {
            Ok(Some(listed)) => listed,
            Ok(None) => break,
            Err(error) if error.kind == ErrorKind::Transient => return Err(error.into()),
            // Some credentials and some stores do not allow this listing. The next run that replaces a lease tries
            // again.
            Err(_) => return Ok(0),
        };
        if let Some(id) = listed.version.filter(|id| listed.state == State::Unfinished && !named.contains(id.as_str())) {
            found.entry(listed.key).or_default().push(id);
            count += 1;
        }
    }
    let mut given_up = 0;
    for key in ours(destination, plan, &found)? {
        let to = object_path(&key)?;
        for id in found.remove(&key).unwrap_or_default() {
            match store.abort_multipart(&to, &id).await {
                Ok(()) => given_up += 1,
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(destination.records.error(to.as_ref(), &error)),
            }
        }
    }
    Ok(given_up)
}

/// Of these keys, those of offsite's own objects, of entries in the last manifest, and of entries that this run sends.
fn ours(destination: &Destination, plan: &Path, found: &HashMap<Vec<u8>, Vec<String>>) -> Result<Vec<Vec<u8>>> {
    const OWN: [&[u8]; 3] = [b".offsite/pages/", b".offsite/kept/", b".offsite/odd/"];
    let mut ours: HashSet<Vec<u8>> = found.keys().filter(|key| OWN.iter().any(|own| key.starts_with(own))).cloned().collect();
    if ours.len() == found.len() {
        return Ok(ours.into_iter().collect());
    }
    let mut base = destination.base()?;
    while let Some(known) = base.peek()? {
        if found.contains_key(known.path.as_slice()) {
            ours.insert(known.path.clone());
        }
        base.advance();
    }
    let mut lines = Reader::<Line>::open(plan)?;
    while let Some(line) = lines.next_line()? {
        if let Change::Added { entry, .. } | Change::Changed { entry, .. } | Change::Renamed { entry, .. } = &line.step {
            let key = KeyRules::current_key(entry);
            if found.contains_key(&key) {
                ours.insert(key);
            }
        }
    }
    Ok(ours.into_iter().collect())
}
