//! Reading files that may be changing while they are read.
//!
//! Owns the rule for that: a file's stamps are compared before and after reading it. If they changed, it is read again.
//! After the third time it is taken as read and marked unstable. Content and metadata come from the same open file, so
//! they belong together. Every function here blocks.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use bytes::Bytes;
use rustix::fs::fstat;
use rustix::io::Errno;

use super::blocks;
use super::names::Names;
use super::root::Root;
use super::stat::{FileType, Stat};
use crate::model::{Entry, Hash, Kind, RelPath, Xattr, bounds};

/// Number of attempts to read a file that keeps changing.
pub const TRIES: u32 = 3;

/// Why a file could not be read.
#[derive(Debug)]
pub enum ReadError {
    /// It no longer exists, or is no longer a file.
    Vanished,
    /// It became too large to read at once. The caller reads it in blocks.
    Grown,
    /// It changed while it was read in blocks. The caller starts again.
    Changed,
    /// The destination that it is read from does not have its content: why not.
    Lost(String),
    /// The system's error.
    Io(io::Error),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            // ENOENT, ENOTDIR, ELOOP: it was removed or replaced.
            Some(2 | 20 | 40) => Self::Vanished,
            _ => Self::Io(error),
        }
    }
}

impl From<rustix::io::Errno> for ReadError {
    fn from(error: rustix::io::Errno) -> Self {
        io::Error::from(error).into()
    }
}

impl std::fmt::Display for ReadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Vanished => f.write_str("disappeared during the run"),
            Self::Grown | Self::Changed => f.write_str("kept changing while it was read"),
            Self::Lost(why) => f.write_str(why),
            Self::Io(error) => error.fmt(f),
        }
    }
}

/// A file that was read whole.
#[derive(Debug, Clone)]
pub struct Read {
    /// The bytes.
    pub content: Bytes,
    /// BLAKE3 of the bytes.
    pub hash: Hash,
    /// Metadata after the read. Its size is the length of `content`.
    pub stat: Stat,
    /// Extended attributes, sorted by name.
    pub xattrs: Vec<Xattr>,
    /// It changed during every attempt.
    pub unstable: bool,
}

fn open(root: &Root, path: &[u8]) -> Result<(OwnedFd, Stat), ReadError> {
    let fd = root.open_file(path)?;
    let stat = Stat::from_raw(&fstat(&fd)?);
    if stat.file_type == FileType::File { Ok((fd, stat)) } else { Err(ReadError::Vanished) }
}

/// Reads a file of at most `limit` bytes at once, again if it changes, [`TRIES`] times at most.
///
/// # Errors
/// [`ReadError::Grown`] if the file is larger.
pub fn read_file(root: &Root, path: &[u8], limit: u64) -> Result<Read, ReadError> {
    let mut tries = 1;
    loop {
        let (fd, before) = open(root, path)?;
        if before.size > limit {
            return Err(ReadError::Grown);
        }
        let mut content = Vec::with_capacity(before.size as usize + 1);
        read_up_to(&fd, &mut content, before.size as usize + 1)?;
        let xattrs = xattrs(&fd)?;
        let after = Stat::from_raw(&fstat(&fd)?);
        let stable = after.same_content_stamps(&before) && content.len() as u64 == after.size;
        if stable || tries == TRIES {
            let hash = Hash::of(&content);
            let stat = Stat { size: content.len() as u64, ..after };
            return Ok(Read { content: content.into(), hash, stat, xattrs, unstable: !stable });
        }
        tries += 1;
    }
}

/// Fills a buffer up to `want` bytes or the end of the file.
fn read_up_to(fd: &OwnedFd, buffer: &mut Vec<u8>, want: usize) -> io::Result<()> {
    while buffer.len() < want {
        let room = want - buffer.len();
        buffer.reserve(room);
        match rustix::io::read(fd, rustix::buffer::spare_capacity(buffer)) {
            Ok(0) => return Ok(()),
            Ok(_) => buffer.truncate(want),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// A file that one or several readers read block by block, in any order.
#[derive(Debug)]
pub struct BigFile {
    fd: OwnedFd,
    stat: Stat,
    /// This is the last attempt, so changes do not matter.
    last_try: bool,
}

impl BigFile {
    /// Opens a file. With `last_try`, changes during the read are not an error.
    ///
    /// # Errors
    /// [`ReadError::Vanished`] if the file was removed or replaced, for example by a directory or a symlink.
    /// [`ReadError::Io`] for other errors of the system.
    pub fn open(root: &Root, path: &[u8], last_try: bool) -> Result<Self, ReadError> {
        let (fd, stat) = open(root, path)?;
        rustix::fs::fadvise(&fd, 0, None, rustix::fs::Advice::Sequential).ok();
        Ok(Self { fd, stat, last_try })
    }

    /// Metadata when the file was opened. Its size is the length that will be read.
    pub fn stat(&self) -> &Stat {
        &self.stat
    }

    /// Reads `size` bytes from `offset` on, or fewer at the end of the file. Empty after the end.
    ///
    /// # Errors
    /// [`ReadError::Changed`] if the file became shorter, except on the last attempt: then zeros replace the missing
    /// bytes.
    pub fn block(&self, offset: u64, size: u64) -> Result<Bytes, ReadError> {
        let want = size.min(self.stat.size.saturating_sub(offset)) as usize;
        let mut block = blocks::take(want);
        while block.len() < want {
            let at = offset + block.len() as u64;
            match rustix::io::pread(&self.fd, rustix::buffer::spare_capacity(&mut block), at) {
                Ok(0) => break,
                Ok(_) => block.truncate(want),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if block.len() < want {
            if !self.last_try {
                return Err(ReadError::Changed);
            }
            // The file became shorter. Zeros replace the missing bytes, so that the announced length holds.
            block.resize(want, 0);
        }
        Ok(blocks::give(block))
    }

    /// Call it after the last block. Returns the metadata, the extended attributes and whether the file changed
    /// meanwhile.
    ///
    /// # Errors
    /// [`ReadError::Changed`] if it changed, except on the last attempt.
    pub fn settle(&self) -> Result<(Stat, Vec<Xattr>, bool), ReadError> {
        let after = Stat::from_raw(&fstat(&self.fd)?);
        let stable = after.same_content_stamps(&self.stat);
        if !stable && !self.last_try {
            return Err(ReadError::Changed);
        }
        Ok((Stat { size: self.stat.size, ..after }, xattrs(&self.fd)?, !stable))
    }
}

/// Hashes a file without holding it in memory, again if it changes. Returns the metadata and extended attributes of the
/// same open file.
///
/// # Errors
/// As for [`BigFile::open`]. [`ReadError::Io`] also if the extended attributes are more than a manifest can hold. A
/// file that changes during every attempt is no error.
pub fn hash_file(root: &Root, path: &[u8]) -> Result<(Hash, Stat, Vec<Xattr>), ReadError> {
    for attempt in 1..=TRIES {
        match hash_once(root, path, attempt == TRIES) {
            Err(ReadError::Changed) => {}
            done => return done,
        }
    }
    Err(ReadError::Changed)
}

fn hash_once(root: &Root, path: &[u8], last_try: bool) -> Result<(Hash, Stat, Vec<Xattr>), ReadError> {
    let file = BigFile::open(root, path, last_try)?;
    let mut hasher = blake3::Hasher::new();
    let mut offset = 0;
    while offset < file.stat().size {
        let block = file.block(offset, 1 << 20)?;
        hasher.update(&block);
        offset += block.len() as u64;
    }
    let (stat, xattrs, _) = file.settle()?;
    Ok((Hash(*hasher.finalize().as_bytes()), stat, xattrs))
}

/// The entry of a path as a scan sees it. A file has no content yet. With `deep`, the extended attributes are read as
/// well, which takes an open file.
///
/// # Errors
/// [`ReadError::Vanished`] if `stat` is that of a socket, pipe or device, or if a path that has to be opened or read
/// was removed. [`ReadError::Io`] for other errors of the system, and for more extended attributes than a manifest can
/// hold.
pub fn read_metadata(root: &Root, path: &[u8], stat: &Stat, names: &Names, deep: bool) -> Result<Entry, ReadError> {
    let kind = stat.kind().ok_or(ReadError::Vanished)?;
    let link = (kind == Kind::Symlink).then(|| root.read_link(path)).transpose()?.map(RelPath);
    let xattrs = match (deep, kind) {
        (true, Kind::File) => xattrs(&open(root, path)?.0)?,
        (true, Kind::Dir) => xattrs(&root.open_dir(path)?)?,
        _ => Vec::new(),
    };
    let sparse = kind == Kind::File && stat.allocated + 4096 < stat.size;
    Ok(Entry {
        path: path.into(),
        kind,
        size: stat.size,
        mtime: stat.mtime,
        mode: if kind == Kind::Symlink { 0o777 } else { stat.mode },
        uid: stat.uid,
        gid: stat.gid,
        user: names.user(stat.uid),
        group: names.group(stat.gid),
        link,
        hard: (kind == Kind::File && stat.nlink > 1).then(|| stat.ino.to_string()),
        sparse,
        allocated: sparse.then_some(stat.allocated),
        xattrs,
        odd: false,
        content: None,
    })
}

/// Extended attributes of an open file or directory, sorted by name. More than a manifest can hold is an error.
pub(super) fn xattrs(fd: impl AsFd) -> io::Result<Vec<Xattr>> {
    let all = all_xattrs(fd)?;
    bounds::attributes(&all).map_err(io::Error::other)?;
    Ok(all)
}

/// Attributes that were removed meanwhile are left out, and those that this user may not read: the rest of the file is
/// worth a backup without them. Any other failure makes the file unreadable, so that its last state stays.
fn all_xattrs(fd: impl AsFd) -> io::Result<Vec<Xattr>> {
    const LEFT_OUT: [Errno; 5] = [Errno::NODATA, Errno::NOTSUP, Errno::NOSYS, Errno::ACCESS, Errno::PERM];
    // As much as the kernel gives out.
    const MOST: usize = 65536;
    let or_none = |read: Result<usize, Errno>| match read {
        Err(errno) if LEFT_OUT.contains(&errno) => Ok(None),
        read => read.map(Some),
    };
    let mut names = vec![0; 4096];
    let read = match rustix::fs::flistxattr(&fd, &mut names[..]) {
        Err(Errno::RANGE) => {
            names.resize(MOST, 0);
            rustix::fs::flistxattr(&fd, &mut names[..])
        }
        read => read,
    };
    names.truncate(or_none(read)?.unwrap_or(0));
    let mut out = Vec::new();
    for name in names.split(|b| *b == 0).filter(|name| !name.is_empty() && *name != b"security.selinux") {
        let mut value = vec![0; MOST];
        if let Some(length) = or_none(rustix::fs::fgetxattr(&fd, name, &mut value[..]))? {
            out.push(Xattr { name: name.into(), value: RelPath::from(&value[..length]) });
        }
    }
    out.sort();
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn attributes_that_cannot_be_read_are_an_error_and_not_none() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("f"), "x").unwrap();
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
        // The kernel answers EBADF for what was opened as a path only.
        let fd = rustix::fs::open(dir.path().join("f"), flags, rustix::fs::Mode::empty()).unwrap();
        assert!(xattrs(&fd).is_err());
        assert_eq!(xattrs(fs::File::open(dir.path().join("f")).unwrap()).unwrap(), []);
    }

    #[test]
    fn whole_and_in_blocks_are_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
        fs::write(dir.path().join("f"), &content).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let whole = read_file(&root, b"f", 1 << 20).unwrap();
        assert_eq!((&whole.content[..], whole.unstable), (&content[..], false));
        let file = BigFile::open(&root, b"f", false).unwrap();
        let joined: Vec<u8> = (0..).map(|i| file.block(i * 1000, 1000).unwrap()).take_while(|b| !b.is_empty()).flatten().collect();
        assert_eq!(joined, content);
        assert_eq!(hash_file(&root, b"f").unwrap().0, whole.hash);
    }

    #[test]
    fn a_file_that_changes_between_blocks_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("f"), vec![1; 4000]).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let file = BigFile::open(&root, b"f", false).unwrap();
        file.block(0, 1000).unwrap();
        fs::write(dir.path().join("f"), vec![2; 500]).unwrap();
        assert!(matches!(file.block(1000, 3000), Err(ReadError::Changed)));
        assert!(matches!(file.settle(), Err(ReadError::Changed)));
    }

    #[test]
    fn a_pipe_in_place_of_the_file_does_not_hang() {
        let dir = tempfile::tempdir().unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, dir.path().join("p"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert!(matches!(read_file(&root, b"p", 10), Err(ReadError::Vanished)));
    }
}
