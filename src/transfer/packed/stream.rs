//! From pieces to packs at the destination, with a bounded number of each step under way.
//!
//! Owns the order: frames are compressed side by side and come into packs in the order of their pieces. Packs are sent
//! side by side and count in order. Invariant: the journal names a pack before it is sent, and its pieces once the
//! destination has it.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinHandle;

use super::super::journal::Journal;
use super::super::target::Target;
use super::rooms::PackRooms;
use super::target::PackedTarget;
use crate::error::{Error, Result};
use crate::manifest::{PackKind, Records};
use crate::model::{Hash, Piece};
use crate::packs::{Frame, FrameBuffer, FullPack, PackBuffer, StoredPacks};

/// Frames that are compressed at a time.
const COMPRESSING: usize = 3;
/// Packs that are sent at a time, in addition to the one that is being filled.
const SENDING: usize = 2;

/// Where packs go, and where they are noted.
#[derive(Clone)]
pub struct PackSink {
    pub target: Arc<Target>,
    pub records: Records,
    pub journal: Arc<Mutex<Journal>>,
    /// Where packs are noted once the destination has them.
    pub stored: Arc<Mutex<StoredPacks>>,
    /// The packs that were begun.
    pub begun: Arc<Mutex<Vec<Hash>>>,
    rooms: PackRooms,
}

/// A pack that the destination has.
pub struct Arrived {
    pub pieces: Vec<Piece>,
}

/// One stream of packs.
pub struct PackStream {
    sink: PackSink,
    kind: PackKind,
    frame: FrameBuffer,
    /// Number of the frame that is being filled, from 1 on.
    number: u64,
    compressing: VecDeque<JoinHandle<Result<Frame>>>,
    /// The pack that is being filled.
    pack: Option<PackBuffer>,
    /// Frames that are in packs.
    placed: u64,
    /// Packs on their way, each with the number of its last frame.
    sending: VecDeque<(u64, JoinHandle<Result<Arrived>>)>,
    through: u64,
}

impl PackStream {
    pub fn new(sink: PackSink, kind: PackKind) -> Self {
        Self {
            sink,
            kind,
            frame: FrameBuffer::default(),
            number: 1,
            compressing: VecDeque::new(),
            pack: None,
            placed: 0,
            sending: VecDeque::new(),
            through: 0,
        }
    }

    /// The destination has the frames up to this number.
    pub fn through(&self) -> u64 {
        self.through
    }

    /// Adds a piece. Returns the number of its frame, and adds to `arrived` the packs that the destination has now.
    pub async fn push(&mut self, hash: Hash, bytes: &[u8], arrived: &mut Vec<Arrived>) -> Result<u64> {
        if self.frame.is_full_for(bytes.len()) {
            self.end_frame(arrived).await?;
        }
        self.frame.push(hash, bytes);
        let number = self.number;
        // A list is alone in its frame, so its place needs no more than the frame.
        if self.kind == PackKind::Lists {
            self.end_frame(arrived).await?;
        }
        Ok(number)
    }

    async fn end_frame(&mut self, arrived: &mut Vec<Arrived>) -> Result<()> {
        if self.frame.is_empty() {
            return Ok(());
        }
        let frame = std::mem::take(&mut self.frame);
        self.number += 1;
        self.compressing.push_back(tokio::task::spawn_blocking(move || frame.compress()));
        while self.compressing.len() > COMPRESSING || self.compressing.front().is_some_and(JoinHandle::is_finished) {
            self.place(arrived).await?;
        }
        Ok(())
    }

    /// Puts the oldest frame into the pack.
    async fn place(&mut self, arrived: &mut Vec<Arrived>) -> Result<()> {
        let Some(compressing) = self.compressing.pop_front() else { return Ok(()) };
        let frame = compressing.await.map_err(|e| Error::local("a frame", std::io::Error::other(e)))??;
        if self.pack.as_ref().is_some_and(|pack| pack.is_full_for(&frame)) {
            self.end_pack(true, arrived).await?;
        }
        let pack = match &mut self.pack {
            Some(pack) => pack,
            none => none.insert(self.sink.pack(self.kind)?),
        };
        pack.push(frame)?;
        self.placed += 1;
        Ok(())
    }

    async fn end_pack(&mut self, full: bool, arrived: &mut Vec<Arrived>) -> Result<()> {
        let Some(pack) = self.pack.take() else { return Ok(()) };
        while self.sending.len() >= SENDING || self.sending.front().is_some_and(|(_, sending)| sending.is_finished()) {
            self.wait_for_one(arrived).await?;
        }
        self.sending.push_back((self.placed, tokio::spawn(self.sink.clone().send(pack, full))));
        Ok(())
    }

    async fn wait_for_one(&mut self, arrived: &mut Vec<Arrived>) -> Result<()> {
        let Some((through, sending)) = self.sending.pop_front() else { return Ok(()) };
        let pack = sending.await.map_err(|e| Error::local("a pack", std::io::Error::other(e)))??;
        self.through = through;
        arrived.push(pack);
        Ok(())
    }

    /// Ends the frame and the pack that are being filled, and waits until the destination has everything.
    pub async fn flush(&mut self, arrived: &mut Vec<Arrived>) -> Result<()> {
        self.end_frame(arrived).await?;
        while !self.compressing.is_empty() {
            self.place(arrived).await?;
        }
        self.end_pack(false, arrived).await?;
        while !self.sending.is_empty() {
            self.wait_for_one(arrived).await?;
        }
        Ok(())
    }

    /// Waits for the packs that are on their way, so that the journal has those that arrive. For a run that ends early.
    pub async fn settle(&mut self) {
        while let Some((_, sending)) = self.sending.pop_front() {
            let _ = sending.await;
        }
    }
}

impl PackSink {
    pub fn new(target: &Arc<Target>, packed: &PackedTarget, journal: &Arc<Mutex<Journal>>) -> Self {
        Self {
            target: Arc::clone(target),
            records: packed.records.clone(),
            journal: Arc::clone(journal),
            stored: Arc::clone(&packed.stored),
            begun: Arc::default(),
            rooms: PackRooms::default(),
        }
    }

    pub fn journal(&self, write: impl FnOnce(&mut Journal) -> Result<()>) -> Result<()> {
        write(&mut self.journal.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A pack without frames.
    fn pack(&self, kind: PackKind) -> Result<PackBuffer> {
        PackBuffer::new(self.records.pack_writer(kind, self.rooms.take())?)
    }

    async fn send(self, pack: PackBuffer, full: bool) -> Result<Arrived> {
        let made = tokio::task::spawn_blocking(move || pack.finish(full)).await;
        let FullPack { name, bytes, pieces } = made.map_err(|e| Error::local("a pack", std::io::Error::other(e)))??;
        let bytes = self.rooms.lend(bytes);
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).push(name);
        self.journal(|journal| journal.pack(name))?;
        let length = bytes.len() as u64;
        self.target.limit.take(length).await;
        self.records.put_pack(&name, bytes).await?;
        self.target.progress.packed.fetch_add(length, Relaxed);
        self.journal(|journal| journal.packed(name, &pieces))?;
        let raw = pieces.iter().map(|piece| piece.size).sum();
        self.stored.lock().unwrap_or_else(PoisonError::into_inner).note(name, length, raw)?;
        Ok(Arrived { pieces })
    }
}
