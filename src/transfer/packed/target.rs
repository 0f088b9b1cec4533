//! What a packed destination needs besides its target.

use crate::manifest::Records;
use crate::packs::KnownPieces;

/// What a packed destination needs besides its target.
pub struct PackedTarget {
    /// Its records, which write packs.
    pub records: Records,
    /// The pieces that the destination has.
    pub known: KnownPieces,
}
