//! What a run at a packed destination knows of its packs, and the packs that no snapshot will name.
//!
//! Owns the pass over the newest manifest that says which packs it names, and the deletion of packs that this or an
//! interrupted run wrote in vain. Invariant: a pack is deleted only if nothing that was committed can name it.

use std::collections::BTreeSet;
use std::path::Path;

use crate::engine::destination::Destination;
use crate::error::Result;
use crate::manifest::pack_key;
use crate::model::{Content, Hash, Piece, PieceList};
use crate::packs::KnownPieces;
use crate::transfer::{Journal, JournalPack, PackedTarget, read_list};

/// Opens what is known of the pieces of a destination: those of the packs that its newest snapshot names, and those that
/// the journal says arrived.
///
/// # Errors
/// The cache of this machine cannot be read or written. If it was lost: a list of pieces cannot be read.
pub async fn open(destination: &Destination, id: &str) -> Result<PackedTarget> {
    let mut known = KnownPieces::open(&destination.dir, id)?;
    let counted = tokio::task::block_in_place(|| living(destination, &mut known))?;
    known.renew_if_stale(counted)?;
    if known.is_new() {
        make_anew(destination, &mut known).await?;
    }
    Journal::packs(&destination.local("journal"), |pack| match pack {
        JournalPack::Piece(piece) => known.note(&piece),
        JournalPack::Begun(_) => Ok(()),
    })?;
    Ok(PackedTarget { records: destination.records.clone(), known })
}

/// Notes the packs that the newest manifest names. Returns the number of its pieces.
fn living(destination: &Destination, known: &mut KnownPieces) -> Result<u64> {
    let mut count = 0;
    each_content(destination, |_, content| {
        content.packs().for_each(|pack| known.lives(pack));
        count += u64::from(content.at.is_some()) + content.pieces.len() as u64;
        count += content.lists.iter().map(|list| list.count.saturating_add(1)).sum::<u64>();
        Ok(())
    })?;
    Ok(count)
}

/// Hands every packed content of the newest manifest to `take`, with its size.
fn each_content(destination: &Destination, mut take: impl FnMut(u64, &Content) -> Result<()>) -> Result<()> {
    let mut base = destination.base()?;
    while let Some(known) = base.peek()? {
        let entry = known.entry()?;
        base.advance();
        if let Some(content) = entry.content.as_ref().filter(|content| content.is_packed()) {
            take(entry.size, content)?;
        }
    }
    Ok(())
}

/// Notes all pieces of the newest manifest. Reads the lists of large files at the destination.
async fn make_anew(destination: &Destination, known: &mut KnownPieces) -> Result<()> {
    let mut lists: Vec<PieceList> = Vec::new();
    tokio::task::block_in_place(|| {
        each_content(destination, |size, content| {
            if let Some(place) = &content.at {
                known.note(&Piece {
                    size,
                    hash: content.hash,
                    pack: place.pack,
                    frame: place.frame,
                    length: place.length,
                    skip: place.skip,
                })?;
            }
            content.pieces.iter().try_for_each(|piece| known.note(piece))?;
            lists.extend(content.lists.iter().cloned());
            Ok(())
        })
    })?;
    for list in lists {
        let pieces = read_list(&destination.records, &list).await?;
        pieces.iter().try_for_each(|piece| known.note(piece))?;
    }
    Ok(())
}

/// The packs that the journal begins and that no entry in it names.
fn unnamed(destination: &Destination, journal: &Path) -> Result<BTreeSet<Hash>> {
    let mut packs = begun(journal)?;
    if packs.is_empty() {
        return Ok(packs);
    }
    let mut done = Journal::sorted(journal, &destination.dir)?;
    while let Some(done) = done.next_sorted()? {
        if let Some(content) = &done.entry.content {
            for pack in content.packs() {
                packs.remove(pack);
            }
        }
    }
    Ok(packs)
}

/// Deletes the packs of this run that no entry names: of files that changed while they were read, and of an interrupted
/// run whose files are gone. To be called after the commit and before the journal is removed.
///
/// # Errors
/// The journal cannot be read, or the destination refuses.
pub async fn delete_unnamed(destination: &Destination, journal: &Path) -> Result<()> {
    delete(destination, tokio::task::block_in_place(|| unnamed(destination, journal))?).await
}

/// Deletes the packs of a journal that no run continues. `number` is the snapshot that its run was going to commit. If
/// another snapshot has that number now, the run may have committed, and the packs that its entries name stay.
///
/// # Errors
/// As for [`delete_unnamed`].
pub async fn delete_abandoned(destination: &Destination, journal: &Path, number: u64) -> Result<()> {
    let gone = if destination.number() < number { begun(journal)? } else { unnamed(destination, journal)? };
    delete(destination, gone).await
}

fn begun(journal: &Path) -> Result<BTreeSet<Hash>> {
    let mut packs = BTreeSet::new();
    Journal::packs(journal, |pack| {
        if let JournalPack::Begun(name) = pack {
            packs.insert(name);
        }
        Ok(())
    })?;
    Ok(packs)
}

async fn delete(destination: &Destination, packs: BTreeSet<Hash>) -> Result<()> {
    if packs.is_empty() {
        return Ok(());
    }
    destination.records.delete(packs.iter().map(|pack| pack_key(pack).into_bytes()).collect()).await
}
