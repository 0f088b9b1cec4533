//! Moves contents: one read feeds many destinations, and back in a restore.
//!
//! Owns windows, parts, the journal and the publishing of files. A transfer runs before the commit and writes no
//! manifest. It notes finished steps in the journal, and the commit reads them there.
//! Invariant: a kept copy is made before a content is replaced, and nothing is deleted here.

mod archived;
mod bring;
mod bring_packed;
mod content_source;
mod delta;
mod dump;
mod dump_stream;
mod fetch;
mod finish;
mod journal;
mod keep;
mod limit;
mod line;
mod objects;
mod packed;
mod packed_files;
mod parts;
mod place;
mod present;
mod progress;
mod refused;
mod replace;
mod shared_reader;
mod sink;
mod stop;
mod stored_contents;
mod stored_file;
mod target;
mod tree;
mod undone;
mod unpack;
mod upload;
mod wanted;
mod way;
mod witness;

pub use archived::{Archived, archived};
pub use bring::{Fetch, Fetched, of_target};
pub use content_source::ContentSource;
pub use dump::{Sent, send_dump};
pub use dump_stream::{Dump, DumpChunk, DumpStreams, Source};
pub use fetch::{ContentPlace, hash_at, locate, read_content};
pub use journal::{Done, Header, Journal, JournalPack, Resumed, Upload};
pub use limit::Limit;
pub use line::Line;
pub use objects::upload_objects;
pub use packed::{PackedTarget, Repacked, send_packed_dump, upload_packed};
pub use parts::{abort_stale, part_size};
pub use place::{file_meta, kept_place, place, planned};
pub use progress::{Phase, Progress};
pub use refused::not_taken;
pub use shared_reader::SharedReader;
pub use sink::Sink;
pub use stop::Stop;
pub use stored_contents::{StoredContents, content_stamps};
pub use target::{Conditions, Doubt, Findings, Target};
pub use tree::upload_tree;
pub use undone::{Undone, Why, unset_problems};
pub use unpack::read_list;
pub use wanted::WantedFile;
pub use way::{Blocked, make_way};
pub use witness::Witness;
