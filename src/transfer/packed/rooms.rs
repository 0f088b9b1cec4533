//! Memory for packs, which is used again for later packs.
//!
//! Owns rooms of the length of a full pack. An allocator that gets back so much at a time, and gives it out in parts,
//! would need several times as much memory.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::packs::PACK_ROOM;

/// Rooms of one destination that no pack is in.
#[derive(Clone, Default)]
pub struct PackRooms(Arc<Mutex<Vec<Vec<u8>>>>);

impl PackRooms {
    /// A room that is empty.
    pub fn take(&self) -> Vec<u8> {
        let free = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        free.unwrap_or_else(|| Vec::with_capacity(PACK_ROOM))
    }

    /// Bytes in a room, which comes back once nobody has them any more.
    pub fn lend(&self, bytes: Vec<u8>) -> Bytes {
        Bytes::from_owner(LentRoom { bytes, rooms: self.clone() })
    }
}

struct LentRoom {
    bytes: Vec<u8>,
    rooms: PackRooms,
}

impl AsRef<[u8]> for LentRoom {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for LentRoom {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        self.rooms.0.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
    }
}
