//! What lies at a destination before the first sync there.
//!
//! Owns that look and the refusal: a first run replaces nothing that it did not put there, unless it is told
//! to take it over. One listing of the top names, and only where there is no `format.json` yet.

use std::collections::BTreeSet;
use std::path::Path;

use offsite_backends::ErrorKind;

use super::destination::Destination;
use crate::error::Result;
use crate::model::Change;
use crate::spool::Reader;
use crate::transfer::Line;

/// Names at the top of a destination that was never synced to; none for any other.
pub async fn top_names(destination: &Destination) -> Result<BTreeSet<Vec<u8>>> {
    if destination.head.is_some() {
        return Ok(BTreeSet::new());
    }
    let listed = match destination.backend.store().list_with_delimiter(None).await {
        Ok(listed) => listed,
        Err(error) => {
            let error = destination.records.error("", &error);
            let no_directory = error.kind() == Some(ErrorKind::NotFound) && destination.backend.tree().is_some();
            return if no_directory { Ok(BTreeSet::new()) } else { Err(error) };
        }
    };
    let objects = listed.objects.iter().map(|object| &object.location);
    let names = listed.common_prefixes.iter().chain(objects).filter_map(|path| path.filename());
    Ok(names.filter(|name| *name != ".offsite").map(|name| name.as_bytes().to_vec()).collect())
}

/// Why a plan would write over what is there, if it would.
pub fn refusal(names: &BTreeSet<Vec<u8>>, plan: &Path) -> Result<Option<String>> {
    if names.is_empty() {
        return Ok(None);
    }
    let mut met = BTreeSet::new();
    let mut lines = Reader::<Line>::open(plan)?;
    while let Some(line) = lines.next_line()? {
        if let Change::Added { entry, .. } = &line.step
            && let Some(top) = entry.path.as_bytes().split(|b| *b == b'/').next()
            && names.contains(top)
        {
            met.insert(String::from_utf8_lossy(top).into_owned());
        }
    }
    if met.is_empty() {
        return Ok(None);
    }
    let shown = met.iter().take(3).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let more = if met.len() > 3 { format!(" and {} more names", met.len() - 3) } else { String::new() };
    Ok(Some(format!(
        "nothing was ever synced there, and it holds {shown}{more} already, which would be written over; --adopt takes over \
         what is the same and replaces the rest, or choose an empty place"
    )))
}
