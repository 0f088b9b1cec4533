//! What a packed destination needs besides its target.

use std::sync::{Arc, Mutex};

use crate::manifest::Records;
use crate::packs::{KnownPieces, StoredPacks};

/// What a packed destination needs besides its target.
pub struct PackedTarget {
    /// Its records, which write packs.
    pub records: Records,
    /// The pieces that the destination has.
    pub known: KnownPieces,
    /// The packs that the destination has.
    pub stored: Arc<Mutex<StoredPacks>>,
    /// What was sent again out of retired packs.
    pub repacked: Repacked,
}

/// What a run sent again out of retired packs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Repacked {
    /// Files that were read for it, and whose contents are in other packs now.
    pub files: u64,
    /// Bytes of their pieces that were sent again, before compression.
    pub bytes: u64,
}

impl PackedTarget {
    /// Before anything is sent.
    pub fn new(records: Records, known: KnownPieces, stored: StoredPacks) -> Self {
        Self { records, known, stored: Arc::new(Mutex::new(stored)), repacked: Repacked::default() }
    }
}
