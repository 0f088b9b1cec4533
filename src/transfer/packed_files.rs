//! The small files of a restore from packs, sorted by their places.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::model::{Entry, Piece, RelPath};
use crate::spool::Sorter;

/// A file of one piece.
#[derive(Serialize, Deserialize)]
pub(super) struct PackedFile {
    /// Pack, frame, skip and path.
    order: RelPath,
    pub entry: Entry,
}

/// The small files of a restore.
pub(super) type PackedFiles = Sorter<PackedFile>;

/// Collects files. `plan` is the plan of the restore, and its directory takes what does not fit in memory.
pub(super) fn packed_files(plan: &Path) -> PackedFiles {
    Sorter::new(plan.parent().unwrap_or(plan), |file: &PackedFile| file.order.as_bytes())
}

/// The piece of an entry that has exactly one.
pub(super) fn piece_of(entry: &Entry) -> Option<Piece> {
    let content = entry.content.as_ref()?;
    let at = content.at?;
    Some(Piece { size: entry.size, hash: content.hash, pack: at.pack, frame: at.frame, length: at.length, skip: at.skip })
}

/// Adds a file whose content is one piece. Returns any other entry.
pub(super) fn collect(files: &mut PackedFiles, entry: Entry) -> Result<Option<Entry>> {
    let Some(piece) = piece_of(&entry) else { return Ok(Some(entry)) };
    let place = format!("{} {:010} {:010} ", piece.pack, piece.frame, piece.skip);
    files.push(&PackedFile { order: RelPath([place.as_bytes(), entry.path.as_bytes()].concat()), entry })?;
    Ok(None)
}
