//! The result of one `lstat`, as our own type.

use rustix::fs::Stat as Raw;

use crate::model::{Kind, Stamps, Time};

/// What kind of thing a name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileType {
    File,
    Dir,
    Symlink,
    /// Socket, pipe or device, by its name for people.
    Other(&'static str),
}

/// Metadata of one name, not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    pub file_type: FileType,
    pub size: u64,
    pub mtime: Time,
    pub ctime: Time,
    pub ino: u64,
    pub dev: u64,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub nlink: u64,
    /// Bytes that take room on the disk.
    pub allocated: u64,
}

impl Stat {
    pub(super) fn from_raw(raw: &Raw) -> Self {
        use rustix::fs::FileType as T;
        let file_type = match T::from_raw_mode(raw.st_mode) {
            T::RegularFile => FileType::File,
            T::Directory => FileType::Dir,
            T::Symlink => FileType::Symlink,
            T::Socket => FileType::Other("socket"),
            T::Fifo => FileType::Other("pipe"),
            _ => FileType::Other("device"),
        };
        Self {
            file_type,
            size: if file_type == FileType::File { raw.st_size as u64 } else { 0 },
            mtime: Time { secs: raw.st_mtime, nanos: raw.st_mtime_nsec as u32 },
            ctime: Time { secs: raw.st_ctime, nanos: raw.st_ctime_nsec as u32 },
            ino: raw.st_ino,
            dev: raw.st_dev,
            mode: raw.st_mode & 0o7777,
            uid: raw.st_uid,
            gid: raw.st_gid,
            nlink: raw.st_nlink,
            allocated: raw.st_blocks as u64 * 512,
        }
    }

    /// The kind it is kept as; none for what is not kept.
    pub fn kind(&self) -> Option<Kind> {
        match self.file_type {
            FileType::File => Some(Kind::File),
            FileType::Dir => Some(Kind::Dir),
            FileType::Symlink => Some(Kind::Symlink),
            FileType::Other(_) => None,
        }
    }

    pub fn stamps(&self) -> Stamps {
        Stamps { ino: self.ino, ctime: self.ctime }
    }

    /// Whether nothing that a write moves has moved.
    pub fn same_content_stamps(&self, other: &Self) -> bool {
        (self.size, self.mtime, self.ctime, self.ino) == (other.size, other.mtime, other.ctime, other.ino)
    }
}
