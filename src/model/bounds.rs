//! Bounds on records at a destination, and on the lists and texts in them.
//!
//! Owns the numbers. Writers check them before they write, and readers while they read, so nothing can be written that is
//! refused later. `docs/format.md`, section 12, has them for people.
//! Invariant: everything that an earlier offsite wrote is within the bounds of the readers here.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

use super::entry::{Entry, Hash, Xattr};

/// A snapshot, `format.json`, `lease.json`, `run.json` or `check.json`, in bytes.
pub const RECORD: u64 = 16 << 20;
/// The highest number that a snapshot can have.
pub const NUMBER: u64 = 1_000_000_000_000_000;
/// A page, unpacked, in bytes; its frame, too.
pub const PAGE: u64 = 32 << 20;
/// A line of a page that is written, in bytes. A page is cut once it has 256 KiB, so it ends within its bound.
pub const LINE: usize = 16 << 20;
/// Lines on a page. One of 256 KiB has a quarter of that at the most.
pub const LINES: u64 = 16_384;
/// Pages of entries of one manifest: some 500 million files.
pub const PAGES: usize = 500_000;
/// An object of pages, by far.
pub const OBJECT: u64 = 1 << 44;
/// Levels of pages above the entries.
pub const LEVEL: u8 = 8;
/// Objects that the pages of one manifest lie in. A writer keeps them below 50.
pub const OBJECTS: usize = 65_536;
/// Attributes of one file or directory. Linux lists 64 KiB of names.
pub const XATTRS: usize = 16_384;
/// A path that is written, in bytes. One that is longer is listed as one that could not be read.
pub const PATH: usize = 32 << 10;
/// Values of the attributes of one file or directory that are written, in bytes.
pub const VALUES: usize = 2 << 20;
/// A name, time or program in a record, in bytes.
pub const TEXT: usize = 64 << 10;
/// Characters that a store refuses or changes, in bytes.
pub const CHARACTERS: usize = 4 << 10;
/// Paths that a list in a record names; the rest is a number.
pub const SAMPLE: usize = 1_000;
/// Bytes of a path or text in such a list, and of the whole list.
pub const SAMPLE_BYTES: usize = 256 << 10;

/// The snapshot after this one.
pub fn after(number: u64) -> Option<u64> {
    number.checked_add(1).filter(|next| *next <= NUMBER)
}

impl Entry {
    /// Whether a manifest can hold it; says what is too large.
    pub fn fits(&self) -> Result<(), String> {
        let link = self.link.as_ref().map_or(0, |link| link.as_bytes().len());
        if self.path.as_bytes().len() > PATH || link > PATH {
            Err(format!("its path or target is longer than {PATH} bytes"))
        } else {
            attributes(&self.xattrs)
        }
    }
}

/// Whether a manifest can hold these attributes; says what is too large.
pub fn attributes(xattrs: &[Xattr]) -> Result<(), String> {
    let bytes: usize = xattrs.iter().map(|x| x.name.as_bytes().len() + x.value.as_bytes().len()).sum();
    if bytes > VALUES || xattrs.len() > XATTRS {
        return Err(format!("it has {} extended attributes of {bytes} bytes; {XATTRS} of {VALUES} can be kept", xattrs.len()));
    }
    Ok(())
}

/// A list that is refused once it is longer than `most`.
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

/// Objects of pages.
pub fn objects<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Hash>, D::Error> {
    list(d, OBJECTS)
}

/// Extended attributes.
pub fn xattrs<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Xattr>, D::Error> {
    list(d, XATTRS)
}

/// A short text.
pub fn text<'de, D: Deserializer<'de>>(d: D) -> Result<String, D::Error> {
    short(String::deserialize(d)?, TEXT)
}

/// A short text that may be left out.
pub fn some_text<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    Option::<String>::deserialize(d)?.map(|text| short(text, TEXT)).transpose()
}

/// Characters that a store changes.
pub fn characters<'de, D: Deserializer<'de>>(d: D) -> Result<String, D::Error> {
    short(String::deserialize(d)?, CHARACTERS)
}

fn short<E: de::Error>(text: String, most: usize) -> Result<String, E> {
    if text.len() > most { Err(E::custom(format_args!("a text is longer than {most} bytes"))) } else { Ok(text) }
}
