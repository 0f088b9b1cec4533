//! An entry: one path of a tree with its metadata and the location of its content.
//!
//! Owns the shape of a line in a manifest page (`docs/format.md`), and the check that a line from a destination is
//! valid. A field that has its default value is omitted in JSON.

use serde::{Deserialize, Serialize};

use super::hash::Hash;
use super::path::RelPath;
use super::place::{PackPlace, Piece, PieceList};
use super::time::Time;

/// Kind of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Regular file.
    #[default]
    File,
    /// Directory.
    Dir,
    /// Symbolic link. It is not followed.
    Symlink,
}

impl Kind {
    fn is_file(&self) -> bool {
        *self == Self::File
    }
}

/// Identity and location of the content of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// BLAKE3 of the bytes.
    pub hash: Hash,
    /// The number of the snapshot that wrote it. With the path it names this content for good. The newest content of a
    /// path lies under its own key, and an older one below `.offsite/kept/<since>/`.
    pub since: u64,
    /// The key, if it is not the path (`.offsite/odd/…`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The entity tag that the store reported, without quotes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// The version id that the store reported, if the bucket keeps versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// In a packed destination: where it is, if it is one piece.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<PackPlace>,
    /// In a packed destination: its pieces in order, if they are 2 to 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "super::bounds::pieces")]
    pub pieces: Vec<Piece>,
    /// In a packed destination: the lists of its pieces in order, if they are more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lists: Vec<PieceList>,
}

impl Content {
    /// A content that lies under the path of its file, or nowhere because it is empty.
    pub fn new(hash: Hash, since: u64) -> Self {
        Self { hash, since, key: None, etag: None, version: None, at: None, pieces: Vec::new(), lists: Vec::new() }
    }
}

/// One extended attribute.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Xattr {
    /// The name with its namespace (`user.comment`), as bytes.
    pub name: RelPath,
    /// The value, as bytes.
    pub value: RelPath,
}

/// One path of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Path relative to the root of the tree. The path of a directory ends in `/`.
    pub path: RelPath,
    /// File, directory or symlink.
    #[serde(default, skip_serializing_if = "Kind::is_file")]
    pub kind: Kind,
    /// Length of the content in bytes. It is 0 for directories and symlinks.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub size: u64,
    /// Time of the last modification.
    pub mtime: Time,
    /// Permission bits (at most `0o7777`). In JSON they are an octal string.
    #[serde(with = "octal")]
    pub mode: u32,
    /// Numeric id of the owner on the machine that was read.
    #[serde(default, skip_serializing_if = "is_zero32")]
    pub uid: u32,
    /// Numeric id of the group on the machine that was read.
    #[serde(default, skip_serializing_if = "is_zero32")]
    pub gid: u32,
    /// Name of the owner, if that machine knew one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Name of the group, if that machine knew one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Target of a symlink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<RelPath>,
    /// Hard links: files of one tree with the same value are names of one file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hard: Option<String>,
    /// The file had holes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sparse: bool,
    /// Bytes that the file occupied on the disk of the source. Present only for files with holes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocated: Option<u64>,
    /// Extended attributes, sorted by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "super::bounds::xattrs")]
    pub xattrs: Vec<Xattr>,
    /// The entry has no name of its own at a destination that is a file tree, because the disk there takes its name and
    /// that of another entry for one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub odd: bool,
    /// Present for files only, once they have been read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
}

impl Entry {
    /// An entry of which nothing is known but its path and kind: no content, mode 0, and the time 0.
    pub fn bare(path: RelPath, kind: Kind) -> Self {
        Self {
            path,
            kind,
            size: 0,
            mtime: Time::default(),
            mode: 0,
            uid: 0,
            gid: 0,
            user: None,
            group: None,
            link: None,
            hard: None,
            sparse: false,
            allocated: None,
            xattrs: Vec::new(),
            odd: false,
            content: None,
        }
    }

    /// Checks that a line from a destination is a valid entry.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn check(&self) -> Result<(), &'static str> {
        if !self.path.is_sound() {
            Err("a path that is no path of a tree")
        } else if self.path.is_dir() != (self.kind == Kind::Dir) {
            Err("a directory without a slash, or a slash without a directory")
        } else if (self.kind == Kind::File) != self.content.is_some() {
            Err("a file without a content, or a content without a file")
        } else if (self.kind == Kind::Symlink) != self.link.is_some() {
            Err("a symlink without a target, or a target without a symlink")
        } else if self.mode > 0o7777 {
            Err("a mode that is none")
        } else if self.content.as_ref().and_then(|c| c.key.as_ref()).is_some_and(|k| !k.starts_with(".offsite/odd/") || k.contains("..")) {
            Err("a key that is neither the path nor in .offsite/odd/")
        } else {
            self.content.as_ref().map_or(Ok(()), |content| content.check_places(self.size))
        }
    }

    /// Whether the two differ at most in content: `chmod`, `chown`, `touch` and `setfattr` change what is compared
    /// here.
    pub fn same_metadata(&self, other: &Self) -> bool {
        self.mtime == other.mtime
            && self.mode == other.mode
            && (self.uid, self.gid) == (other.uid, other.gid)
            && (&self.user, &self.group) == (&other.user, &other.group)
            && self.link == other.link
            && self.hard == other.hard
            && self.sparse == other.sparse
            && self.xattrs == other.xattrs
    }
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

fn is_zero32(n: &u32) -> bool {
    *n == 0
}

mod octal {
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub fn serialize<S: Serializer>(mode: &u32, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&format_args!("{mode:04o}"))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<u32, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(d)?;
        u32::from_str_radix(&text, 8).map_err(de::Error::custom)
    }
}
