//! Packs: how contents lie in the objects of a packed destination.
//!
//! Owns the forms below `.offsite/packs/` (pieces, frames, packs and lists), and what this machine knows of the pieces
//! that are there. Talks to no destination. `docs/format.md`, section 18, is normative.

mod cut;
mod frame;
mod index;
mod known;
mod list;
mod pack;
mod run;
mod stored;

pub use cut::Cutter;
pub use frame::{Frame, FrameBuffer, unpack};
pub use known::KnownPieces;
pub use list::{ListBuffer, ListHead, read as read_list};
pub use pack::{FullPack, PACK_ROOM, PackBuffer};
pub use stored::{StoredPack, StoredPacks};
