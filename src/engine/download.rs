//! Downloads pages of a manifest into a cache file.

use std::ops::ControlFlow;
use std::path::Path;

use crate::error::Result;
use crate::manifest::{CacheWriter, KnownStamps, Leaf, Lost, PageSource, Records};
use crate::model::{PageRef, Snapshot};

/// Downloads the `wanted` pages of a manifest into a cache file. Returns references to the inner pages, and what
/// could not be read.
///
/// # Errors
/// For a page that cannot be read, unless `lenient`.
pub async fn download(
    records: &Records,
    snapshot: &Snapshot,
    path: &Path,
    lenient: bool,
    wanted: impl Fn(&[u8], Option<&[u8]>) -> bool,
) -> Result<(Vec<PageRef>, Vec<Lost>)> {
    let source = PageSource::new(records.clone());
    let (leaves, inner, mut lost) = source.leaves(snapshot, wanted).await?;
    if !lenient && !lost.is_empty() {
        return Err(lost.swap_remove(0).error);
    }
    let mut writer = CacheWriter::create(path)?;
    let count = leaves.len();
    let mut index = 0;
    source
        .read(leaves, |leaf| {
            index += 1;
            match leaf {
                Ok(Leaf { page, entries }) => {
                    for entry in &entries {
                        writer.push(entry, KnownStamps::Unknown)?;
                    }
                    writer.end_block(&page, index < count)?;
                }
                Err(gone) if lenient => gone.add_to(&mut lost),
                Err(gone) => return Err(gone.error),
            }
            Ok(ControlFlow::Continue(()))
        })
        .await?;
    writer.finish()?;
    Ok((inner, lost))
}

/// Downloads these pages into a cache file.
///
/// # Errors
/// For a page that cannot be read.
pub async fn fetch_leaves(records: &Records, leaves: Vec<PageRef>, path: &Path) -> Result<()> {
    let source = PageSource::new(records.clone());
    let mut writer = CacheWriter::create(path)?;
    source
        .read(leaves, |leaf| {
            let Leaf { page, entries } = leaf.map_err(|lost| lost.error)?;
            for entry in &entries {
                writer.push(entry, KnownStamps::Unknown)?;
            }
            writer.end_block(&page, true)?;
            Ok(ControlFlow::Continue(()))
        })
        .await?;
    writer.finish()
}
