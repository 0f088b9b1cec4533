//! Reads contents out of packs.
//!
//! Owns how few requests that takes: pieces that lie close after one another in a pack come with one request. Invariant:
//! every piece and every list is checked by its BLAKE3 before a byte of it is used, and a content as a whole too.

use std::iter::Peekable;
use std::sync::Arc;
use std::vec::IntoIter;

use bytes::Bytes;
use futures::{StreamExt, stream};

use super::sink::{RANGES_AHEAD, Sink};
use crate::error::{Error, Result};
use crate::manifest::{PackKind, PackReader, Records};
use crate::model::{Entry, Hash, Piece, PieceList};
use crate::packs;

/// Maximum gap between frames of one request, in bytes. To fetch that much for nothing takes about as long as another
/// request.
const GAP: u64 = 128 << 10;
/// How much one request may be for.
#[derive(Debug, Clone, Copy)]
pub(super) struct StretchBounds {
    /// Maximum length, in bytes.
    length: u64,
    /// Maximum length of the unpacked pieces, in bytes, if it is not a single one.
    unpacked: u64,
    /// Maximum number of pieces.
    pieces: usize,
}

/// Of a stretch that is in memory as a whole.
const IN_MEMORY: StretchBounds = StretchBounds { length: 4 << 20, unpacked: 8 << 20, pieces: 100_000 };
/// Of a stretch that is unpacked while it arrives: a pack.
pub(super) const STREAMED: StretchBounds = StretchBounds { length: 16 << 20, unpacked: 1 << 40, pieces: 20_000 };

/// Frames of a batch, in bytes, and their pieces, unpacked. A batch ends when one of them is reached.
const BATCH: u64 = 512 << 10;
const BATCH_UNPACKED: u64 = 2 << 20;

/// Pieces of one pack whose frames lie close together.
#[derive(Debug)]
pub(super) struct PackStretch<T> {
    pack: Hash,
    start: u64,
    end: u64,
    size: u64,
    bounds: StretchBounds,
    /// What is wanted from it, each with its place, in order. Frames do not overlap.
    wanted: Vec<(Piece, T)>,
}

impl<T> PackStretch<T> {
    pub fn new(bounds: StretchBounds, piece: Piece, what: T) -> Self {
        let (start, end) = (piece.frame, piece.frame + piece.length);
        Self { pack: piece.pack, start, end, size: piece.size, bounds, wanted: vec![(piece, what)] }
    }

    /// Adds a piece if it lies close after the others, or in the same frame as the last one. Otherwise returns it.
    pub fn add(&mut self, piece: Piece, what: T) -> Option<(Piece, T)> {
        let same = self.wanted.last().is_some_and(|(last, _)| (last.frame, last.length) == (piece.frame, piece.length));
        let end = piece.frame + piece.length;
        let close = piece.pack == self.pack && (same || piece.frame >= self.end && piece.frame <= self.end + GAP);
        let fits = end.saturating_sub(self.start) <= self.bounds.length
            && self.size + piece.size <= self.bounds.unpacked
            && self.wanted.len() < self.bounds.pieces;
        if !close || !fits {
            return Some((piece, what));
        }
        self.end = end;
        self.size += piece.size;
        self.wanted.push((piece, what));
        None
    }

    /// What is wanted from it, in order.
    pub fn wanted(&self) -> impl Iterator<Item = &T> {
        self.wanted.iter().map(|(_, what)| what)
    }

    /// Asks for the stretch with one request, and reads it batch by batch.
    pub fn open(self, records: &Records) -> StretchReader<T> {
        let reader = records.pack_reader(PackKind::Contents, &self.pack, self.start..self.end);
        StretchReader { url: records.pack_url(&self.pack), reader: Ok(reader), at: self.start, wanted: self.wanted.into_iter().peekable() }
    }

    /// Reads the whole stretch with one request.
    pub async fn read(self, records: &Records) -> Vec<FrameBatch<T>> {
        let mut reader = self.open(records);
        let mut batches = Vec::new();
        while let Some(batch) = reader.next_batch().await {
            batches.push(batch);
        }
        batches
    }
}

/// A stretch that is arriving.
pub(super) struct StretchReader<T> {
    url: String,
    /// The error that ended the reading: every later piece has it.
    reader: Result<PackReader>,
    /// Where in the pack the next byte is.
    at: u64,
    wanted: Peekable<IntoIter<(Piece, T)>>,
}

impl<T> StretchReader<T> {
    /// The next frames. `None` at the end.
    pub async fn next_batch(&mut self) -> Option<FrameBatch<T>> {
        let mut batch = FrameBatch { url: self.url.clone(), length: 0, frames: Vec::new() };
        let mut unpacked = 0;
        while batch.length < BATCH && unpacked < BATCH_UNPACKED {
            let Some((first, what)) = self.wanted.next() else { break };
            unpacked += first.skip + first.size;
            let mut pieces = vec![(first, what)];
            while let Some((piece, what)) = self.wanted.next_if(|(piece, _)| piece.frame == first.frame) {
                unpacked += piece.size;
                pieces.push((piece, what));
            }
            batch.length += first.length;
            batch.frames.push((self.frame(&first).await, pieces));
        }
        if batch.frames.is_empty() { None } else { Some(batch) }
    }

    async fn frame(&mut self, piece: &Piece) -> Result<Bytes> {
        let reader = self.reader.as_mut().map_err(|error| copy_of(error))?;
        let read = async {
            reader.skip(piece.frame - self.at).await?;
            reader.read(piece.length).await
        };
        let read = read.await;
        self.at = piece.frame + piece.length;
        if let Err(error) = &read {
            self.reader = Err(copy_of(error));
        }
        read
    }
}

/// Frames of a pack, and what is wanted from each.
pub(super) struct FrameBatch<T> {
    url: String,
    /// Length of the frames, in bytes.
    pub length: u64,
    frames: Vec<WantedFrame<T>>,
}

/// A frame, and what is wanted from it.
type WantedFrame<T> = (Result<Bytes>, Vec<(Piece, T)>);

impl<T> FrameBatch<T> {
    /// Unpacks every piece and hands it to `take`, in order. A piece that is damaged is an error of that piece.
    pub fn unpack(self, mut take: impl FnMut(T, Result<Bytes>)) {
        for (frame, pieces) in self.frames {
            match frame.and_then(|frame| packs::unpack(&self.url, &frame)) {
                Ok(raw) => {
                    let raw = Bytes::from(raw);
                    pieces.into_iter().for_each(|(piece, what)| take(what, checked(&self.url, &raw, &piece)));
                }
                Err(error) => pieces.into_iter().for_each(|(_, what)| take(what, Err(copy_of(&error)))),
            }
        }
    }
}

/// The same error for another content.
fn copy_of(error: &Error) -> Error {
    match error {
        Error::Store(error) => Error::Store(error.clone()),
        Error::Damaged { object, what } => Error::Damaged { object: object.clone(), what: what.clone() },
        Error::Usage(text) => Error::Usage(text.clone()),
        Error::Interrupted => Error::Interrupted,
        other => Error::damaged("a pack", other),
    }
}

/// One piece of an unpacked frame.
fn checked(url: &str, raw: &Bytes, piece: &Piece) -> Result<Bytes> {
    let range = piece.skip as usize..(piece.skip + piece.size) as usize;
    let bytes = if range.end <= raw.len() { raw.slice(range) } else { Bytes::new() };
    if Hash::of(&bytes) == piece.hash {
        // A small piece must not hold the memory of a large frame.
        return Ok(if bytes.len() < raw.len() / 2 { Bytes::copy_from_slice(&bytes) } else { bytes });
    }
    Err(Error::damaged(url, "a piece in it is damaged (BLAKE3 differs)"))
}

/// The pieces of a list, which is read at the destination.
///
/// # Errors
/// [`Error::Damaged`] if the list is not what the entry says. Otherwise the store's own error.
pub async fn read_list(records: &Records, list: &PieceList) -> Result<Vec<Piece>> {
    let url = records.pack_url(&list.pack);
    let frame = records.pack_range(PackKind::Lists, &list.pack, list.frame..list.frame + list.length).await?;
    packs::read_list(&url, list, &packs::unpack(&url, &frame)?)
}

/// Streams the content of a packed entry to `sink`. What the sink took is valid only if this returns without an error.
pub(super) async fn read_packed(records: &Records, entry: &Entry, sink: &mut dyn Sink) -> Result<()> {
    let Some(content) = &entry.content else { return Ok(()) };
    sink.restart().await?;
    let mut hasher = blake3::Hasher::new();
    let whole = content.at.map(|at| Piece {
        size: entry.size,
        hash: content.hash,
        pack: at.pack,
        frame: at.frame,
        length: at.length,
        skip: at.skip,
    });
    let own: Vec<Piece> = whole.into_iter().chain(content.pieces.iter().copied()).collect();
    read_pieces(records, own, &mut hasher, sink).await?;
    for list in &content.lists {
        let pieces = read_list(records, list).await?;
        read_pieces(records, pieces, &mut hasher, sink).await?;
    }
    if Hash(*hasher.finalize().as_bytes()) == content.hash {
        return Ok(());
    }
    Err(Error::damaged(entry.path.display(), "its content is damaged (BLAKE3 differs)"))
}

async fn read_pieces(records: &Records, pieces: Vec<Piece>, hasher: &mut blake3::Hasher, sink: &mut dyn Sink) -> Result<()> {
    let stretches = stretches(pieces.into_iter().map(|piece| (piece, ())));
    let records = Arc::new(records.clone());
    let mut fetched = stream::iter(stretches.into_iter().map(|stretch| {
        let records = Arc::clone(&records);
        async move {
            let batches = stretch.read(&records).await;
            let unpacked = tokio::task::spawn_blocking(move || {
                let mut pieces = Vec::new();
                batches.into_iter().for_each(|batch| batch.unpack(|(), piece| pieces.push(piece)));
                pieces
            });
            unpacked.await.map_err(|e| Error::local("a piece", std::io::Error::other(e)))
        }
    }))
    .buffered(RANGES_AHEAD);
    while let Some(pieces) = fetched.next().await {
        for piece in pieces? {
            let piece = piece?;
            hasher.update(&piece);
            sink.write(piece).await?;
        }
    }
    Ok(())
}

/// Groups pieces that follow one another.
pub(super) fn stretches<T>(pieces: impl Iterator<Item = (Piece, T)>) -> Vec<PackStretch<T>> {
    let mut out: Vec<PackStretch<T>> = Vec::new();
    for (piece, what) in pieces {
        let left = match out.last_mut() {
            Some(last) => last.add(piece, what),
            None => Some((piece, what)),
        };
        out.extend(left.map(|(piece, what)| PackStretch::new(IN_MEMORY, piece, what)));
    }
    out
}
