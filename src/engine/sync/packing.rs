//! What a run at a packed destination knows of its packs, and the packs that no snapshot will name.
//!
//! Owns the pass over the newest manifest that says which packs it names, and the deletion of packs that this or an
//! interrupted run wrote in vain. Invariant: a pack is deleted only if nothing that was committed can name it.

use std::collections::BTreeSet;
use std::path::Path;

use offsite_backends::ErrorKind;

use crate::engine::damage::is_damage;
use crate::engine::destination::Destination;
use crate::engine::leftovers;
use crate::engine::pack_use::{each_content, stored};
use crate::engine::prune::packs::NeededPacks;
use crate::error::Result;
use crate::manifest::pack_key;
use crate::model::{Hash, Piece, PieceList};
use crate::packs::KnownPieces;
use crate::spool::{Reader, Writer};
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
        JournalPack::Gone(name) => {
            known.forget(&[name]);
            Ok(())
        }
    })?;
    known.forget(&wrong_packs(destination)?);
    Ok(PackedTarget::new(destination.records.clone(), known, stored(destination)))
}

const WRONG: &str = "wrong-packs";

/// The packs that a check or a repair of this machine found missing or damaged. No new snapshot relies on them.
fn wrong_packs(destination: &Destination) -> Result<Vec<Hash>> {
    let path = destination.local(WRONG);
    let mut packs = Vec::new();
    if path.exists() {
        let mut lines = Reader::<Hash>::open(&path)?;
        while let Some(pack) = lines.next_line()? {
            packs.push(pack);
        }
    }
    Ok(packs)
}

/// Notes packs that are missing or damaged, for all later runs of this machine.
///
/// # Errors
/// The cache cannot be written.
pub fn note_wrong(destination: &Destination, packs: impl Iterator<Item = Hash>) -> Result<()> {
    let known: BTreeSet<Hash> = wrong_packs(destination)?.into_iter().collect();
    let fresh: BTreeSet<Hash> = packs.filter(|pack| !known.contains(pack)).collect();
    if fresh.is_empty() {
        return Ok(());
    }
    let path = destination.local(WRONG);
    let mut out = if path.exists() { Writer::append(&path)? } else { Writer::create(&path)? };
    fresh.iter().try_for_each(|pack| out.push(pack))?;
    out.flush()
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
        match read_list(&destination.records, &list).await {
            Ok(pieces) => pieces.iter().try_for_each(|piece| known.note(piece))?,
            // Its pieces are sent again, also if the credentials may not read packs.
            Err(error) if is_damage(&error) || error.kind() == Some(ErrorKind::Denied) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Deletes the packs of this run, and of an interrupted one that it continued, that the newest snapshot does not name: of
/// files that changed while they were read, or that are gone. To be called after the commit, or when there is none, and
/// before the journal is removed.
///
/// # Errors
/// The journal or the cache cannot be read, or the destination refuses.
pub async fn delete_unnamed(destination: &Destination, journal: &Path) -> Result<()> {
    let unnamed = tokio::task::block_in_place(|| -> Result<BTreeSet<Hash>> {
        let mut packs = begun(journal)?;
        if !packs.is_empty() {
            each_content(destination, |_, content| {
                for pack in content.packs() {
                    packs.remove(pack);
                }
                Ok(())
            })?;
        }
        Ok(packs)
    });
    delete(destination, unnamed?).await
}

/// Deletes the packs of a journal that no run continues. `number` is the snapshot that its run was going to commit. If the
/// destination has that number by now, the run may have committed, so every snapshot from there on is asked.
///
/// # Errors
/// The journal or a manifest cannot be read, or the destination refuses.
pub async fn delete_abandoned(destination: &Destination, journal: &Path, number: u64) -> Result<()> {
    let mut packs = begun(journal)?;
    if !packs.is_empty() && destination.number() >= number {
        let mut since = Vec::new();
        for listed in destination.records.snapshots(number.checked_sub(1).filter(|before| *before > 0)).await? {
            since.push(destination.records.snapshot(listed.number).await?.0);
        }
        let needed = NeededPacks::of(destination, &since).await?;
        packs.retain(|pack| !needed.has(pack));
    }
    delete(destination, packs).await
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

/// Deletes packs. A run that may not delete lists them instead, for a later one that may.
async fn delete(destination: &Destination, packs: BTreeSet<Hash>) -> Result<()> {
    if packs.is_empty() {
        return Ok(());
    }
    let keys = packs.iter().map(|pack| pack_key(pack).into_bytes()).collect();
    match destination.backend.deletes() {
        true => destination.records.delete(keys).await,
        false => leftovers::note_keys(destination, keys).await,
    }
}
