//! The result of one `lstat`, as a type of offsite.

use rustix::fs::Stat as Raw;

use crate::model::{Kind, Stamps, Time};

/// File type of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileType {
    /// Regular file.
    File,
    /// Directory.
    Dir,
    /// Symbolic link.
    Symlink,
    /// Socket, pipe or device, with a word for people.
    Other(&'static str),
}

/// Metadata of one name. A symlink is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// The file type.
    pub file_type: FileType,
    /// Length of a regular file in bytes. It is 0 for everything else.
    pub size: u64,
    /// Time of the last modification.
    pub mtime: Time,
    /// Time of the last change of the inode.
    pub ctime: Time,
    /// Inode number.
    pub ino: u64,
    /// Number of the device that holds the inode.
    pub dev: u64,
    /// Permission bits (at most `0o7777`).
    pub mode: u32,
    /// Numeric id of the owner.
    pub uid: u32,
    /// Numeric id of the group.
    pub gid: u32,
    /// Number of hard links.
    pub nlink: u64,
    /// Bytes allocated on the disk.
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

    /// The kind of its entry. `None` for a socket, pipe or device.
    pub fn kind(&self) -> Option<Kind> {
        match self.file_type {
            FileType::File => Some(Kind::File),
            FileType::Dir => Some(Kind::Dir),
            FileType::Symlink => Some(Kind::Symlink),
            FileType::Other(_) => None,
        }
    }

    /// The stamps that tell whether a file was touched.
    pub fn stamps(&self) -> Stamps {
        Stamps { ino: self.ino, ctime: self.ctime }
    }

    /// Whether size, mtime, ctime and inode are equal. A write changes at least one of them.
    pub fn same_content_stamps(&self, other: &Self) -> bool {
        (self.size, self.mtime, self.ctime, self.ino) == (other.size, other.mtime, other.ctime, other.ino)
    }
}
