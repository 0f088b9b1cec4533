//! Manifests: entries ↔ pages ↔ snapshots, and the copy of the newest one on this machine.
//!
//! Owns everything under `.offsite/` at a destination except the lease, and the local cache. Invariant: nothing that is
//! read from a destination is trusted before its hash, order and shape are checked.
//! `docs/format.md` is the normative description of what is written here.

mod blocks;
mod cache;
mod chunker;
mod disk;
mod format;
mod json;
mod keys;
mod load;
mod merge;
mod pack;
mod probe;
mod readable;
mod records;
pub mod troubles;

pub use blocks::KnownBlocks;
pub use cache::{BlockHead, CacheReader, CacheWriter, Known, KnownStamps};
pub use chunker::{Chunker, PageChunk};
pub use disk::{PROBE, probe_disk};
pub use format::{FORMAT, Format};
pub use keys::{KeyRules, OWN};
pub use load::{Leaf, Lost, PageSource};
pub use merge::{ManifestMerge, MergedManifest, Step};
pub use pack::{Pack, Packed};
pub use probe::{STAYS, probe};
pub use records::{Records, SnapshotRef, StoredRecord, object_path, snapshot_number};
