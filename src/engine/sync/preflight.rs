//! The check for foreign names at a destination before its first sync.
//!
//! Owns one listing of the top names, only at a destination without `format.json`, and the refusal.
//! Invariant: a first run replaces nothing that offsite did not put there, unless the user allows it with `--adopt`.

use std::collections::BTreeSet;
use std::path::Path;

use offsite_backends::ErrorKind;

use crate::engine::destination::Destination;
use crate::engine::top_names::TopNames;
use crate::error::Result;
use crate::model::{Change, folded};
use crate::spool::Reader;
use crate::transfer::Line;

/// Lists the names at the top of a destination that was never synced to. Returns none for any other destination.
pub async fn top_names(destination: &Destination) -> Result<TopNames> {
    if destination.head.is_some() {
        return Ok(TopNames::default());
    }
    let listed = match destination.backend.store().list_with_delimiter(None).await {
        Ok(listed) => listed,
        Err(error) => {
            let error = destination.records.error("", &error);
            let no_directory = error.kind() == Some(ErrorKind::NotFound) && destination.backend.tree().is_some();
            return if no_directory { Ok(TopNames::default()) } else { Err(error) };
        }
    };
    let objects = listed.objects.iter().map(|object| &object.location);
    let names = listed.common_prefixes.iter().chain(objects).filter_map(|path| path.filename());
    let names: BTreeSet<Vec<u8>> = names.filter(|name| *name != ".offsite").map(|name| name.as_bytes().to_vec()).collect();
    if folds(destination, &names).await {
        return Ok(TopNames { names: names.iter().map(|name| folded(name)).collect(), folded: true });
    }
    Ok(TopNames { names, folded: false })
}

/// Whether the disk folds names: it finds one of the names in the other case as well. offsite has written nothing there
/// yet that would be a better test.
async fn folds(destination: &Destination, names: &BTreeSet<Vec<u8>>) -> bool {
    let turned = names.iter().find_map(|name| {
        let turned: Vec<u8> =
            name.iter().map(|c| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }).collect();
        (turned != *name && !names.contains(&turned)).then_some(turned)
    });
    match (destination.backend.tree(), turned) {
        (Some(tree), Some(turned)) => tree.stat(&turned).await.is_ok_and(|found| found.is_some()),
        _ => false,
    }
}

/// The reason to refuse a plan that would overwrite foreign files. `None` for any other plan.
pub fn refusal(foreign: &TopNames, plan: &Path) -> Result<Option<String>> {
    if foreign.names.is_empty() {
        return Ok(None);
    }
    let mut met = BTreeSet::new();
    let mut lines = Reader::<Line>::open(plan)?;
    while let Some(line) = lines.next_line()? {
        if let Change::Added { entry, .. } = &line.step
            && let Some(top) = entry.path.as_bytes().split(|b| *b == b'/').next()
            && foreign.has(top)
        {
            met.insert(String::from_utf8_lossy(top).into_owned());
        }
    }
    if met.is_empty() {
        return Ok(None);
    }
    let shown = met.iter().take(3).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let more = if met.len() > 3 { format!(" and {} more", met.len() - 3) } else { String::new() };
    Ok(Some(format!(
        "the destination is not empty: {shown}{more} would be overwritten; use --adopt to keep identical files and replace \
         the rest, or choose an empty destination"
    )))
}
