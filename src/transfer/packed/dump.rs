//! Sends a content of unknown length to a packed destination.
//!
//! Owns one dump there: it is cut while it arrives, into packs of its own. If it turns out to be incomplete, these packs
//! are deleted under the lease, and nothing names them.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc::Receiver;

use super::super::dump::{Got, Sent, verdict};
use super::super::dump_stream::{Dump, DumpChunk};
use super::super::journal::{Done, Journal};
use super::super::target::Target;
use super::large::hashed;
use super::packer::PackFiller;
use super::parts::FileParts;
use super::stream::PackSink;
use super::target::PackedTarget;
use crate::error::{Error, Result};
use crate::manifest::pack_key;
use crate::model::{Content, Entry, Hash, Stamps};
use crate::packs::Cutter;

/// Sends a dump. `entry` is the entry in the plan, `old` the one in the last snapshot.
///
/// # Errors
/// A failure of the destination or the journal, and cancellation. A dump that its source or its checks reject is
/// [`Sent::Not`].
pub async fn send_packed_dump(
    target: &Arc<Target>,
    packed: &mut PackedTarget,
    journal: &Arc<Mutex<Journal>>,
    dump: &Dump,
    pieces: Receiver<DumpChunk>,
    (entry, old): (Entry, Option<Entry>),
) -> Result<Sent> {
    target.progress.set_current(&dump.path);
    let sink = PackSink::new(target, packed, journal);
    let mut packer = PackFiller::new(sink, &mut packed.known);
    let (mut got, mut parts) = (Got::new(pieces), FileParts::default());
    let ended = stream(target, &mut packer, &mut got, &mut parts).await;
    let ended = match ended {
        Ok(Ok(())) => verdict(dump, got.size, old.as_ref().map(|old| old.size)),
        Ok(why) => why,
        Err(error) => {
            packer.give_up().await;
            return Err(error);
        }
    };
    if let Err(why) = ended {
        packer.give_up().await;
        let written = packer.begun();
        for pack in &written {
            // An interrupted run must not leave the next one to rely on them.
            packer.sink.journal(|journal| journal.unpacked(*pack))?;
        }
        packed.known.forget(&written);
        // In append-only mode, the end of the run lists them.
        if packed.records.backend().deletes() {
            packed.records.delete(written.iter().map(|pack| pack_key(pack).into_bytes()).collect()).await?;
        }
        return Ok(Sent::Not(why));
    }
    packer.finish().await?;
    let mut content = Content::new(got.hash(), target.number);
    packer.places(&mut content, parts).await?;
    let done = Done { entry: Entry { size: got.size, content: Some(content), ..entry }, stamps: Stamps::default(), unstable: false };
    target.progress.files.fetch_add(1, Relaxed);
    let mut journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
    journal.done(done)?;
    journal.flush()?;
    Ok(Sent::Whole(got.size))
}

/// Takes the dump to its end. The inner error is that of its source.
async fn stream(target: &Target, packer: &mut PackFiller<'_>, got: &mut Got, parts: &mut FileParts) -> Result<Result<(), String>> {
    let mut cutter = Cutter::new(packer.cut_seed());
    loop {
        let block = match got.next(target).await? {
            Ok(block) => block,
            Err(why) => return Ok(Err(why)),
        };
        let last = block.is_none();
        target.progress.bytes.fetch_add(block.as_ref().map_or(0, |block| block.len() as u64), Relaxed);
        let cut = move || {
            let mut pieces = block.map_or_else(Vec::new, |block| cutter.push(block));
            if last {
                pieces.extend(cutter.finish());
            }
            (cutter, hashed(pieces))
        };
        let pieces: Vec<(Hash, bytes::Bytes)>;
        (cutter, pieces) = tokio::task::spawn_blocking(cut).await.map_err(|e| Error::local("a dump", std::io::Error::other(e)))?;
        for (hash, piece) in pieces {
            parts.push(packer.piece(hash, &piece).await?);
        }
        packer.advance(parts).await?;
        if last {
            return Ok(Ok(()));
        }
    }
}
