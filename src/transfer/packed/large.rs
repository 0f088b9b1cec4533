//! Large files of a packed destination: read block by block, cut into pieces, and sent piece by piece.
//!
//! Owns what happens if the file changes meanwhile: it is read again, three times in all. Pieces that were sent before
//! are found again, so nothing is sent twice.

use std::sync::Arc;

use bytes::Bytes;

use super::super::journal::Done;
use super::super::parts::part_size;
use super::super::shared_reader::SharedReader;
use super::super::target::Target;
use super::super::upload::{UploadError, as_read};
use super::packer::PackFiller;
use super::parts::FileParts;
use crate::error::Error;
use crate::model::{Content, Entry, Hash};
use crate::packs::Cutter;
use crate::scan::{ReadError, TRIES};

/// Pieces with their hashes.
pub(super) type HashedPieces = Vec<(Hash, Bytes)>;

pub(super) fn hashed(pieces: Vec<Bytes>) -> HashedPieces {
    pieces.into_iter().map(|piece| (Hash::of(&piece), piece)).collect()
}

pub(super) fn join(error: tokio::task::JoinError) -> UploadError {
    UploadError::Store(Error::local("a read", std::io::Error::other(error)))
}

/// One large file.
pub(super) struct LargeFile<'a> {
    pub target: &'a Arc<Target>,
    pub shared_reader: &'a Arc<SharedReader>,
    pub entry: &'a Entry,
    /// Its entry in the last snapshot, if it may be unchanged.
    pub old: Option<&'a Entry>,
    pub readers: u64,
}

impl LargeFile<'_> {
    pub async fn send(&self, packer: &mut PackFiller<'_>) -> Result<(), UploadError> {
        for attempt in 1..=TRIES {
            match self.once(packer, attempt == TRIES).await {
                Err(UploadError::Source(error)) if matches!(*error, ReadError::Changed) && attempt < TRIES => {}
                done => return done,
            }
        }
        Err(UploadError::Source(Arc::new(ReadError::Changed)))
    }

    async fn once(&self, packer: &mut PackFiller<'_>, last_try: bool) -> Result<(), UploadError> {
        let source = |error| UploadError::Source(Arc::new(error));
        let file = self.shared_reader.open(self.entry.path.as_bytes(), last_try).await.map_err(source)?;
        let size = file.stat().size;
        let block_size = part_size(size, &self.target.backend.capabilities());
        let (mut hasher, mut cutter, mut parts) = (blake3::Hasher::new(), Cutter::new(packer.cut_seed()), FileParts::default());
        let mut offset = 0;
        while offset < size {
            self.target.stop.check()?;
            let path = self.entry.path.as_bytes();
            let block = self.shared_reader.block(self.target.index, path, &file, offset, block_size, self.readers).await;
            let block = block.map_err(UploadError::Source)?;
            offset += block.len() as u64;
            let last = offset >= size;
            let cut = move || {
                hasher.update(&block);
                let mut pieces = cutter.push(block);
                if last {
                    pieces.extend(cutter.finish());
                }
                (hasher, cutter, hashed(pieces))
            };
            let pieces;
            (hasher, cutter, pieces) = tokio::task::spawn_blocking(cut).await.map_err(join)?;
            for (hash, piece) in pieces {
                parts.push(packer.piece(hash, &piece).await?);
            }
            packer.advance(&mut parts).await?;
        }
        let (stat, xattrs, unstable) = file.settle().await.map_err(source)?;
        let hash = Hash(*hasher.finalize().as_bytes());
        let mut done = Done { entry: as_read(self.entry, &stat, &xattrs), stamps: stat.stamps(), unstable };
        let old = self.old.and_then(|old| old.content.as_ref()).filter(|content| content.hash == hash);
        if let Some(content) = packer.stays(old) {
            done.entry.content = Some(content);
            return Ok(packer.done(done)?);
        }
        if unstable {
            self.target.note(|f| f.unstable.push(self.entry.path.clone()));
        }
        done.entry.content = Some(Content::new(hash, packer.since(old)));
        // A file that became empty has no piece.
        if size == 0 { Ok(packer.done(done)?) } else { Ok(packer.file(done, parts).await?) }
    }
}
