//! Manifests: entries ↔ pages ↔ snapshots, and the copy of the newest one on this machine.
//!
//! Owns everything under `.offsite/` at a destination except the lease, and the local cache. Invariant: nothing that is
//! read from a destination is trusted before its hash, order and shape are checked.
//! `docs/format.md` is the normative description of what is written here.

mod blocks;
mod cache;
mod chunker;
mod copied_times;
mod disk;
mod format;
mod json;
mod keys;
mod load;
mod merge;
mod pack_objects;
mod pack_reader;
mod page_keys;
mod page_object;
mod page_upload;
mod probe;
mod readable;
mod records;
mod remembered;
mod sealed_backend;
mod sealed_store;
mod snapshot_list;
pub mod troubles;

pub use blocks::KnownBlocks;
pub use cache::{BlockHead, CacheReader, CacheWriter, Known, KnownStamps};
pub use chunker::{Chunker, PageChunk};
pub use copied_times::CopiedTimes;
pub use disk::{PROBE, probe_disk};
pub use format::{FORMAT, Format, format_of};
pub use keys::{KeyRules, OWN};
pub use load::{Leaf, Lost, PageSource};
pub use merge::{ManifestMerge, MergedManifest, Step};
pub use pack_objects::{PackKind, pack_key, pack_of_key};
pub use pack_reader::PackReader;
pub use page_object::{PageObject, PageObjectWriter};
pub use probe::{STAYS, create_format, probe};
pub use records::{Records, StoredRecord, object_path, snapshot_number};
pub use remembered::Remembered;
pub use sealed_backend::{SealedBackend, no_contents_key, no_key};
pub use snapshot_list::SnapshotRef;
