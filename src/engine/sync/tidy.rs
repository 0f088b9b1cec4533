//! The cleanup after a commit, by the run itself or by the next one.
//!
//! Owns what becomes of objects that the new snapshot no longer references, and the metadata of directories. Invariant:
//! the plan of a cleanup stays on this machine until all of it is done.

use std::path::Path;

use crate::engine::cleanup;
use crate::engine::commit::still_newest;
use crate::engine::destination::Destination;
use crate::engine::dir_metadata;
use crate::engine::dir_metadata::root_meta;
use crate::engine::lease::Lease;
use crate::error::Result;
use crate::model::Problem;
use crate::transfer::{Undone, Why, file_meta, not_taken, place, unset_problems};

/// Finishes the cleanup of an earlier run and clears the staging area of a tree. `keeps` says whether old contents stay.
/// Fails if another run has committed a snapshot since this run loaded the destination.
pub async fn clear(destination: &Destination, keeps: bool, lease: &Lease) -> Result<()> {
    still_newest(destination).await?;
    if destination.backend.deletes()
        && let Some(left) = cleanup::left_over(destination)
    {
        lease.verify().await?;
        // If the destination refuses a step again, the cleanup of this run repeats the step and reports it.
        clean_up(destination, keeps, &left).await?;
    }
    match destination.backend.tree().as_ref().or(destination.directory.as_ref()) {
        Some(tree) => Ok(tree.clear_staging().await?),
        None => Ok(()),
    }
}

/// Runs the cleanup of a committed plan. Returns the steps that the destination refused, and the entries that it stores
/// without an attribute. If it refused a step, the file of the plan stays for the next run.
pub async fn clean_up(destination: &Destination, keeps: bool, plan: &Path) -> Result<(Vec<Problem>, Vec<Problem>)> {
    let rules = destination.rules();
    let mut undone = Undone::default();
    match destination.backend.tree() {
        // The list of leftovers names it.
        None if !destination.backend.deletes() => {}
        None => cleanup::objects(&destination.records, plan).await?,
        Some(tree) => {
            let manifest = [destination.base()?, destination.base()?];
            let wanted = cleanup::CleanupScope { rules: &rules, plan, manifest, keeps };
            cleanup::tree(&tree, wanted, &mut undone).await?;
            let not_there = |e: &crate::model::Entry| place(&rules, e).is_none();
            dir_metadata::settle(&tree, destination.base()?, plan, not_there, file_meta, &mut undone).await?;
            if let Some((snapshot, _)) = destination.snapshot() {
                match tree.set_meta(b"", root_meta(&snapshot.tree)).await {
                    // The root of the destination can belong to another user, for example as a mount point. Then its
                    // metadata stays as it is.
                    Err(error) if !error.concerns_destination() => {}
                    done => drop(done?),
                }
            }
        }
    }
    let refused = undone.reasons().filter_map(|(path, why)| match why {
        Why::Refused(error) => Some(Problem { path: path.clone(), problem: not_taken(error) }),
        _ => None,
    });
    let refused: Vec<Problem> = refused.collect();
    if refused.is_empty() {
        let _ = std::fs::remove_file(plan);
    }
    let unset = undone.reasons().filter_map(|(path, why)| match why {
        Why::Unset(unset) => Some(unset_problems(path, std::slice::from_ref(unset))),
        _ => None,
    });
    let unset = unset.flatten().collect();
    Ok((refused, unset))
}
