//! Bounds on records at a destination, and on the lists and texts in them.
//!
//! Owns the numbers. A writer checks them before it writes, and a reader checks them while it reads, so no writer can
//! write what a reader refuses. `docs/format.md`, section 12, lists them for people.
//! Invariant: everything that an earlier offsite wrote is within the bounds of the readers here.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

use super::entry::{Entry, Xattr};
use super::hash::Hash;
use super::path::RelPath;
use super::place::{PIECES, Piece};

/// Size of a snapshot, `format.json`, `lease.json`, `run.json` or `check.json`, in bytes.
pub const RECORD: u64 = 16 << 20;
/// The highest number that a snapshot can have.
pub const NUMBER: u64 = 1_000_000_000_000_000;
/// Size of an unpacked page in bytes, and of its frame.
pub const PAGE: u64 = 32 << 20;
/// Size of a line on a page, in bytes, for writers. A writer ends a page at 256 KiB, so a page with such a line stays
/// below [`PAGE`].
pub const LINE: usize = 16 << 20;
/// Lines on a page. A page of 256 KiB has at most a quarter of that.
pub const LINES: u64 = 16_384;
/// Pages of entries of one manifest: some 500 million files.
pub const PAGES: usize = 500_000;
/// Size of an object of pages in bytes, far above any real one.
pub const OBJECT: u64 = 1 << 44;
/// Levels of pages above the entries.
pub const LEVEL: u8 = 8;
/// Objects that hold the pages of one manifest. A writer keeps them below 50.
pub const OBJECTS: usize = 65_536;
/// Keys on one list of what append-only runs left. A key on an object store has at most 1,024 bytes.
pub const KEYS: usize = 4_000;
/// Extended attributes of one file or directory. Linux lists 64 KiB of names.
pub const XATTRS: usize = 16_384;
/// Length of a path in bytes, for writers. A longer path is listed as unreadable.
pub const PATH: usize = 32 << 10;
/// Names and values of the extended attributes of one file or directory together, in bytes, for writers.
pub const VALUES: usize = 2 << 20;
/// Length of a name, time or program in a record, in bytes.
pub const TEXT: usize = 64 << 10;
/// Length of the list of characters that a store refuses or changes, in bytes.
pub const CHARACTERS: usize = 4 << 10;
/// Paths that a list in a record names. A total stands for the rest.
pub const SAMPLE: usize = 1_000;
/// Bytes of a path or text in such a list, and of the whole list.
pub const SAMPLE_BYTES: usize = 256 << 10;

/// The number of the next snapshot. `None` if it is above [`NUMBER`].
pub fn after(number: u64) -> Option<u64> {
    number.checked_add(1).filter(|next| *next <= NUMBER)
}

impl Entry {
    /// Checks that a manifest can hold this entry.
    ///
    /// # Errors
    /// Says what is too large.
    pub fn fits(&self) -> Result<(), String> {
        let link = self.link.as_ref().map_or(0, |link| link.as_bytes().len());
        if self.path.as_bytes().len() > PATH || link > PATH {
            Err(format!("its path or target is longer than {PATH} bytes"))
        } else {
            attributes(&self.xattrs)
        }
    }
}

/// Checks that a manifest can hold these attributes.
///
/// # Errors
/// Says how many attributes and bytes there are.
pub fn attributes(xattrs: &[Xattr]) -> Result<(), String> {
    let bytes: usize = xattrs.iter().map(|x| x.name.as_bytes().len() + x.value.as_bytes().len()).sum();
    if bytes > VALUES || xattrs.len() > XATTRS {
        return Err(format!("it has {} extended attributes of {bytes} bytes; {XATTRS} of {VALUES} can be kept", xattrs.len()));
    }
    Ok(())
}

/// Reads a list, and refuses one that is longer than `most`.
struct BoundedList<T> {
    most: usize,
    shape: PhantomData<fn() -> T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for BoundedList<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an array of at most {}", self.most)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
        let mut out = Vec::new();
        while let Some(value) = seq.next_element()? {
            if out.len() == self.most {
                return Err(de::Error::custom(format_args!("an array has more than {} elements", self.most)));
            }
            out.push(value);
        }
        Ok(out)
    }
}

fn list<'de, T: Deserialize<'de>, D: Deserializer<'de>>(d: D, most: usize) -> Result<Vec<T>, D::Error> {
    d.deserialize_seq(BoundedList { most, shape: PhantomData })
}

/// Reads the page objects of a manifest: at most [`OBJECTS`].
///
/// # Errors
/// An error of the deserializer if the value is not a list of hashes or has more than [`OBJECTS`] elements.
pub fn objects<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Hash>, D::Error> {
    list(d, OBJECTS)
}

/// Reads a list of keys: at most [`KEYS`].
///
/// # Errors
/// An error of the deserializer if the value is not a list of keys or has more than [`KEYS`] elements.
pub fn keys<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<RelPath>, D::Error> {
    list(d, KEYS)
}

/// Reads extended attributes: at most [`XATTRS`].
///
/// # Errors
/// An error of the deserializer if the value is not a list of attributes or has more than [`XATTRS`] elements.
pub fn xattrs<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Xattr>, D::Error> {
    list(d, XATTRS)
}

/// Reads the pieces that an entry names itself: at most [`PIECES`].
///
/// # Errors
/// An error of the deserializer if the value is not a list of pieces or has more than [`PIECES`] elements.
pub fn pieces<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Piece>, D::Error> {
    list(d, PIECES)
}

/// Snapshots before this one that a snapshot names.
pub const TRAIL: usize = 16;

/// Reads the numbers and hashes of earlier snapshots: at most [`TRAIL`].
///
/// # Errors
/// An error of the deserializer if the value is not a list of them or has more than [`TRAIL`] elements.
pub fn trail<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<(u64, Hash)>, D::Error> {
    list(d, TRAIL)
}

/// Reads the keys of page objects: at most [`OBJECTS`].
///
/// # Errors
/// An error of the deserializer if the value is not a list of pairs or has more than [`OBJECTS`] elements.
pub fn page_keys<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<(Hash, Hash)>, D::Error> {
    list(d, OBJECTS)
}

/// Reads a text of at most [`TEXT`] bytes.
///
/// # Errors
/// An error of the deserializer if the value is not a text or is longer than [`TEXT`] bytes.
pub fn text<'de, D: Deserializer<'de>>(d: D) -> Result<String, D::Error> {
    short(String::deserialize(d)?, TEXT)
}

/// Reads an optional text of at most [`TEXT`] bytes.
///
/// # Errors
/// An error of the deserializer if the value is neither null nor a text, or is longer than [`TEXT`] bytes.
pub fn some_text<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    Option::<String>::deserialize(d)?.map(|text| short(text, TEXT)).transpose()
}

/// Reads the characters that a store changes: at most [`CHARACTERS`] bytes.
///
/// # Errors
/// An error of the deserializer if the value is not a text or is longer than [`CHARACTERS`] bytes.
pub fn characters<'de, D: Deserializer<'de>>(d: D) -> Result<String, D::Error> {
    short(String::deserialize(d)?, CHARACTERS)
}

fn short<E: de::Error>(text: String, most: usize) -> Result<String, E> {
    if text.len() > most { Err(E::custom(format_args!("a text is longer than {most} bytes"))) } else { Ok(text) }
}
