//! Reads contents out of packs.
//!
//! Owns how few requests that takes: pieces that lie close after one another in a pack come with one request. Invariant:
//! every piece and every list is checked by its BLAKE3 before a byte of it is used, and a content as a whole too.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, stream};

use super::sink::{RANGES_AHEAD, Sink};
use crate::error::{Error, Result};
use crate::manifest::{PackKind, Records};
use crate::model::{Entry, Hash, Piece, PieceList};
use crate::packs;

/// Maximum gap between frames of one request, in bytes. To fetch that much for nothing takes no longer than another
/// request.
const GAP: u64 = 1 << 20;
/// Maximum length of a request, in bytes.
const STRETCH: u64 = 8 << 20;
/// Maximum length of the unpacked pieces of a request, in bytes, if it is not a single one.
const UNPACKED: u64 = 16 << 20;

/// Pieces of one pack whose frames lie close together.
#[derive(Debug)]
pub(super) struct PackStretch<T> {
    pack: Hash,
    start: u64,
    end: u64,
    size: u64,
    /// What is wanted from it, each with its place, in order.
    pub wanted: Vec<(Piece, T)>,
}

impl<T> PackStretch<T> {
    pub fn new(piece: Piece, what: T) -> Self {
        Self { pack: piece.pack, start: piece.frame, end: piece.frame + piece.length, size: piece.size, wanted: vec![(piece, what)] }
    }

    /// Adds a piece if it lies close after the others, or in the same frame as the last one. Otherwise returns it.
    pub fn add(&mut self, piece: Piece, what: T) -> Option<(Piece, T)> {
        let last = self.wanted.last().map_or(0, |(last, _)| last.frame);
        let end = piece.frame + piece.length;
        let close = piece.pack == self.pack && piece.frame >= last && piece.frame <= self.end + GAP;
        let fits = end.saturating_sub(self.start) <= STRETCH && self.size + piece.size <= UNPACKED;
        if !close || !fits {
            return Some((piece, what));
        }
        self.end = self.end.max(end);
        self.size += piece.size;
        self.wanted.push((piece, what));
        None
    }

    /// Fetches the stretch with one request.
    pub async fn fetch(&self, records: &Records) -> Result<Bytes> {
        records.pack_range(PackKind::Contents, &self.pack, self.start..self.end).await
    }

    /// Unpacks every piece and hands it to `take`, in order. A piece that is damaged is an error of that piece.
    pub fn unpack(self, records: &Records, body: &Bytes, mut take: impl FnMut(T, Result<Bytes>)) {
        let url = records.pack_url(&self.pack);
        let mut open: Option<(u64, Bytes)> = None;
        for (piece, what) in self.wanted {
            if open.as_ref().is_none_or(|(frame, _)| *frame != piece.frame) {
                let from = (piece.frame - self.start) as usize;
                let frame = body.get(from..from + piece.length as usize).unwrap_or_default();
                match packs::unpack(&url, frame) {
                    Ok(raw) => open = Some((piece.frame, raw.into())),
                    Err(error) => {
                        open = None;
                        take(what, Err(error));
                        continue;
                    }
                }
            }
            let raw = open.as_ref().map(|(_, raw)| raw.clone()).unwrap_or_default();
            take(what, checked(&url, &raw, &piece));
        }
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
            let body = stretch.fetch(&records).await?;
            let unpacked = tokio::task::spawn_blocking(move || {
                let mut pieces = Vec::with_capacity(stretch.wanted.len());
                stretch.unpack(&records, &body, |(), piece| pieces.push(piece));
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
        out.extend(left.map(|(piece, what)| PackStretch::new(piece, what)));
    }
    out
}
