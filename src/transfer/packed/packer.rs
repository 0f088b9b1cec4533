//! The packer of one destination: takes pieces of files, sends those that the destination does not have, and notes each
//! file once everything of it is there.
//!
//! Owns the files that wait for packs. Invariant: a file is noted as done only after the destination has acknowledged
//! every pack that it names.

use std::collections::{HashMap, VecDeque};
use std::sync::PoisonError;

use super::super::journal::Done;
use super::parts::{Coming, FileParts};
use super::stream::{Arrived, PackSink, PackStream};
use crate::error::{Error, Result};
use crate::manifest::PackKind;
use crate::model::{Content, Hash, Piece};
use crate::packs::{KnownPieces, ListHead};

/// A file that waits for packs. Its content has no places yet.
struct WaitingFile {
    done: Done,
    parts: FileParts,
}

/// Length of pieces that can be in the middle of a file, in bytes.
const INNER: u64 = 128 << 10;

/// Fills packs with the contents of one destination.
pub struct PackFiller<'a> {
    pub sink: PackSink,
    known: &'a mut KnownPieces,
    contents: PackStream,
    lists: PackStream,
    /// Pieces in frames that the destination does not have yet.
    fresh: HashMap<Hash, u64>,
    waiting: VecDeque<WaitingFile>,
    /// Pieces that have arrived and that a file may still wait for. The index on the disk may turn out to be damaged.
    arrived: HashMap<Hash, Piece>,
    /// Bytes of pieces that the destination did not have.
    pub pushed: u64,
}

/// The name of a list among the known pieces. A file with the same bytes must not count as the list.
fn list_name(list: &Hash) -> Hash {
    Hash::of(&[&list.0[..], b"list"].concat())
}

impl<'a> PackFiller<'a> {
    pub fn new(sink: PackSink, known: &'a mut KnownPieces) -> Self {
        let (contents, lists) = (PackStream::new(sink.clone(), PackKind::Contents), PackStream::new(sink.clone(), PackKind::Lists));
        Self { sink, known, contents, lists, fresh: HashMap::new(), waiting: VecDeque::new(), arrived: HashMap::new(), pushed: 0 }
    }

    /// The content, if the destination still has all of it as far as is known.
    pub fn still_there(&self, content: Option<&Content>) -> Option<Content> {
        content.filter(|content| self.known.relies_on(content)).cloned()
    }

    /// The content of a file that was read, if nothing of it has to be sent again.
    pub fn stays(&self, content: Option<&Content>) -> Option<Content> {
        self.still_there(content.filter(|content| !self.known.is_retired(content)))
    }

    /// The number of the snapshot that wrote a content which is sent now. `old` is the same content, if the last snapshot
    /// has it. Out of a retired pack it only moves.
    pub fn since(&self, old: Option<&Content>) -> u64 {
        old.filter(|old| self.known.is_retired(old)).map_or(self.sink.target.number, |old| old.since)
    }

    /// Decides where contents are cut.
    pub fn cut_seed(&self) -> u64 {
        self.sink.records.cut_seed()
    }

    /// Sends a piece, unless the destination has it or it is on its way.
    pub async fn piece(&mut self, hash: Hash, bytes: &[u8]) -> Result<Coming> {
        let size = bytes.len() as u64;
        if let Some(frame) = self.fresh.get(&hash) {
            return Ok(Coming { hash, size, frame: *frame, place: None });
        }
        let place = self.known.get(&hash, size)?;
        if place.is_some() {
            return Ok(Coming { hash, size, frame: 0, place });
        }
        let mut arrived = Vec::new();
        let frame = self.contents.push(hash, bytes, &mut arrived).await?;
        self.fresh.insert(hash, frame);
        self.pushed += size;
        if !arrived.is_empty() {
            self.take(arrived)?;
            self.settle().await?;
        }
        Ok(Coming { hash, size, frame, place: None })
    }

    /// The packs that were begun.
    pub fn begun(&self) -> Vec<Hash> {
        self.sink.begun.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes a file whose pieces were all sent. It is noted in the journal once the destination has them.
    pub async fn file(&mut self, done: Done, mut parts: FileParts) -> Result<()> {
        parts.ended = true;
        match self.advance(&mut parts).await? {
            true => self.note(done, parts),
            false => {
                self.waiting.push_back(WaitingFile { done, parts });
                Ok(())
            }
        }
    }

    /// Notes a file that needs no pack.
    pub fn done(&self, done: Done) -> Result<()> {
        self.sink.journal.lock().unwrap_or_else(PoisonError::into_inner).done(done)
    }

    /// Looks up the places of pieces that have arrived, and stores the lists that are full. Returns whether nothing of
    /// the file is on its way.
    pub async fn advance(&mut self, parts: &mut FileParts) -> Result<bool> {
        while let Some(piece) = parts.coming.pop_front_if(|piece| piece.frame <= self.contents.through()) {
            let place = match piece.place {
                Some(place) => place,
                None => self.place(&piece.hash, piece.size)?,
            };
            parts.found.push(place);
        }
        while let Some((head, raw)) = parts.next_list()? {
            let name = list_name(&head.hash);
            if self.known.get(&name, head.raw)?.is_none() && !self.fresh.contains_key(&name) {
                let mut arrived = Vec::new();
                let frame = self.lists.push(name, &raw, &mut arrived).await?;
                self.fresh.insert(name, frame);
                self.take(arrived)?;
            }
            parts.list_frame = parts.list_frame.max(self.fresh.get(&name).copied().unwrap_or(0));
            parts.lists.push(head);
        }
        Ok(parts.ended && parts.coming.is_empty() && parts.list_frame <= self.lists.through())
    }

    fn place(&mut self, hash: &Hash, size: u64) -> Result<Piece> {
        let lost = || Error::local("the list of pieces", std::io::Error::other("a piece that was sent is not in it; run again"));
        let arrived = self.arrived.get(hash).filter(|piece| piece.size == size).copied();
        if arrived.is_some() {
            return arrived.ok_or_else(lost);
        }
        self.known.get(hash, size)?.ok_or_else(lost)
    }

    fn take(&mut self, arrived: Vec<Arrived>) -> Result<()> {
        for Arrived { pieces } in arrived {
            for piece in &pieces {
                self.known.note(piece)?;
                self.fresh.remove(&piece.hash);
                self.arrived.insert(piece.hash, *piece);
            }
        }
        Ok(())
    }

    /// Notes the waiting files that have everything now.
    async fn settle(&mut self) -> Result<()> {
        for _ in 0..self.waiting.len() {
            let Some(WaitingFile { done, mut parts }) = self.waiting.pop_front() else { break };
            match self.advance(&mut parts).await? {
                true => self.note(done, parts)?,
                false => self.waiting.push_back(WaitingFile { done, parts }),
            }
        }
        // Small pieces are the last ones of their files, which are noted by now or in a moment.
        self.arrived.retain(|_, piece| piece.size >= INNER);
        Ok(())
    }

    /// Notes a file with the places of its pieces.
    fn note(&mut self, mut done: Done, parts: FileParts) -> Result<()> {
        if let Some(content) = &mut done.entry.content {
            self.set_places(content, parts)?;
        }
        self.done(done)
    }

    fn set_places(&mut self, content: &mut Content, parts: FileParts) -> Result<()> {
        let FileParts { mut found, lists, .. } = parts;
        match (found.len(), lists.is_empty()) {
            (1, true) => content.at = found.pop().map(|piece| piece.place()),
            (_, true) => content.pieces = found,
            (_, false) => {
                for head in lists {
                    content.lists.push(self.listed(head)?);
                }
            }
        }
        Ok(())
    }

    fn listed(&mut self, head: ListHead) -> Result<crate::model::PieceList> {
        let place = self.place(&list_name(&head.hash), head.raw)?;
        Ok(head.at(&place))
    }

    /// Sends what is left, and waits until every file is noted.
    pub async fn finish(&mut self) -> Result<()> {
        let mut arrived = Vec::new();
        self.contents.flush(&mut arrived).await?;
        self.take(std::mem::take(&mut arrived))?;
        self.settle().await?;
        self.lists.flush(&mut arrived).await?;
        self.take(arrived)?;
        self.settle().await?;
        match self.waiting.front() {
            None => Ok(()),
            Some(WaitingFile { done, .. }) => Err(Error::damaged(done.entry.path.display(), "some of its pieces were not sent")),
        }
    }

    /// Places of a content whose pieces were all sent, after [`Self::finish`].
    pub async fn places(&mut self, content: &mut Content, mut parts: FileParts) -> Result<()> {
        parts.ended = true;
        if !self.advance(&mut parts).await? {
            let mut arrived = Vec::new();
            self.lists.flush(&mut arrived).await?;
            self.take(arrived)?;
        }
        self.set_places(content, parts)
    }

    /// Waits for packs on their way. For a run that ends early.
    pub async fn give_up(&mut self) {
        self.contents.settle().await;
        self.lists.settle().await;
    }
}
