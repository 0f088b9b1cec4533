//! The pieces of one file on their way to the destination.
//!
//! Owns what becomes of them: the places of up to 32 pieces stand in the entry, and more go into lists. Pieces leave
//! memory as soon as a list has them, so a file of any length takes a bounded part of it.

use std::collections::VecDeque;

use crate::model::{Hash, PIECES, Piece};
use crate::packs::{ListBuffer, ListHead};

/// A piece whose place is not known yet.
#[derive(Debug, Clone, Copy)]
pub struct Coming {
    pub hash: Hash,
    pub size: u64,
    /// The frame that it is in. 0 if the destination had it already.
    pub frame: u64,
    /// Its place, if the destination had it already.
    pub place: Option<Piece>,
}

/// The pieces of one file, in order.
#[derive(Debug, Default)]
pub struct FileParts {
    pub coming: VecDeque<Coming>,
    /// Pieces whose places are known and that are in no list.
    pub found: Vec<Piece>,
    list: ListBuffer,
    pub lists: Vec<ListHead>,
    /// The frame of the last list.
    pub list_frame: u64,
    /// Number of all pieces so far.
    count: usize,
    /// No piece follows.
    pub ended: bool,
}

/// A list to be stored.
pub type NewList = (ListHead, Vec<u8>);

impl FileParts {
    /// Of a file with one piece.
    pub fn whole(piece: Coming) -> Self {
        Self { coming: [piece].into(), count: 1, ended: true, ..Self::default() }
    }

    /// Adds the next piece.
    pub fn push(&mut self, piece: Coming) {
        self.coming.push_back(piece);
        self.count += 1;
    }

    /// Moves pieces whose places are known into lists, if the file has so many that it needs them. Returns the next
    /// list that is full, or the last one.
    ///
    /// # Errors
    /// Those of [`ListBuffer`].
    pub fn next_list(&mut self) -> crate::error::Result<Option<NewList>> {
        if self.count <= PIECES {
            return Ok(None);
        }
        let mut found = std::mem::take(&mut self.found).into_iter();
        while let Some(piece) = found.next() {
            if let Some(full) = self.list.push(piece)? {
                self.found = found.collect();
                return Ok(Some(full));
            }
        }
        if self.ended && self.coming.is_empty() { self.list.finish() } else { Ok(None) }
    }
}
