//! The requests by name: their arguments, and which reply is a success.
//!
//! Owns the arguments of each request, but not when it is repeated. Paths are in the form that is sent to the server.
//! Requests that can be in flight together return a [`Pending`]. They are sent in the order of the calls, and a
//! server works on one file in that order.

use std::sync::Arc;

use bytes::{Buf, Bytes};

use super::packet::{self, Attrs, Packet, Reply, Status};
use super::session::{Pending, SftpFault, SftpSession};
use crate::contract::listing::Space;

const READ: u32 = 1;
const WRITE: u32 = 2;
const CREATE: u32 = 8;
const EXCLUSIVE: u32 = 32;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OpenMode {
    Read,
    /// For writing. The call creates the file, mode 0600.
    New,
    /// For more writes to an existing file.
    Again,
}

/// An open file or directory. It is closed when this value is dropped, unless `close` was called.
pub(super) struct Handle {
    pub session: Arc<SftpSession>,
    handle: Bytes,
    closed: bool,
}

impl Drop for Handle {
    fn drop(&mut self) {
        if !self.closed {
            drop(self.session.send(Packet::new(packet::CLOSE).bytes(&self.handle)));
        }
    }
}

impl Handle {
    fn packet(&self, kind: u8) -> Packet {
        Packet::new(kind).bytes(&self.handle)
    }

    /// Closes it after all earlier requests.
    pub fn close(mut self) -> Pending {
        self.closed = true;
        self.session.send(self.packet(packet::CLOSE))
    }

    /// Sends bytes. Waits until the limit of bytes in flight allows it.
    pub async fn write(&self, offset: u64, data: Bytes) -> Pending {
        self.session.send_content(self.packet(packet::WRITE).long(offset).body(data)).await
    }

    /// See [`attrs`].
    pub fn stat(&self) -> Pending {
        self.session.send(self.packet(packet::FSTAT))
    }

    pub fn set(&self, attrs: &Attrs) -> Pending {
        self.session.send(self.packet(packet::FSETSTAT).attrs(attrs))
    }

    /// `None` if the server does not offer it.
    pub fn fsync(&self) -> Option<Pending> {
        let packet = Packet::extended("fsync@openssh.com").bytes(&self.handle);
        self.session.offers.fsync.then(|| self.session.send(packet))
    }

    /// Asks for up to `length` bytes; see [`data`].
    pub fn read(&self, offset: u64, length: u32) -> Pending {
        self.session.send(self.packet(packet::READ).long(offset).number(length))
    }

    pub fn read_dir(&self) -> Pending {
        self.session.send(self.packet(packet::READDIR))
    }

    /// Lets the server copy `length` bytes at `offset` to the same offset of another file.
    pub async fn copy_to(&self, to: &Handle, offset: u64, length: u64) -> Result<(), SftpFault> {
        let packet = Packet::extended("copy-data").bytes(&self.handle).long(offset).long(length);
        self.session.send(packet.bytes(&to.handle).long(offset)).done().await
    }
}

/// The bytes of a read, empty at the end of the file.
pub(super) async fn data(asked: Pending) -> Result<Bytes, SftpFault> {
    match asked.reply().await? {
        Reply::Data(data) => Ok(data),
        Reply::Status(Status { code: packet::EOF, .. }) => Ok(Bytes::new()),
        other => Err(SftpFault::unexpected(other)),
    }
}

/// The next entries of a directory, or `None` at its end.
pub(super) async fn names(asked: Pending) -> Result<Option<Vec<(Bytes, Attrs)>>, SftpFault> {
    match asked.reply().await? {
        Reply::Names(names) => Ok(Some(names)),
        Reply::Status(Status { code: packet::EOF, .. }) => Ok(None),
        other => Err(SftpFault::unexpected(other)),
    }
}

/// The attributes in a reply, or `None` if the file does not exist.
pub(super) async fn attrs(asked: Pending) -> Result<Option<Attrs>, SftpFault> {
    match asked.reply().await? {
        Reply::Attrs(attrs) => Ok(Some(attrs)),
        Reply::Status(Status { code: packet::NO_SUCH_FILE, .. }) => Ok(None),
        other => Err(SftpFault::unexpected(other)),
    }
}

impl SftpSession {
    fn path(&self, kind: u8, path: &[u8]) -> Pending {
        self.send(Packet::new(kind).bytes(path))
    }

    pub async fn open_file(self: &Arc<Self>, path: &[u8], how: OpenMode) -> Result<Handle, SftpFault> {
        let (flags, mode) = match how {
            OpenMode::Read => (READ, None),
            OpenMode::New => (WRITE | CREATE | EXCLUSIVE, Some(0o600)),
            OpenMode::Again => (WRITE, None),
        };
        let packet = Packet::new(packet::OPEN).bytes(path).number(flags).attrs(&Attrs { mode, ..Attrs::default() });
        self.handle(self.send(packet)).await
    }

    pub async fn open_dir(self: &Arc<Self>, path: &[u8]) -> Result<Handle, SftpFault> {
        self.handle(self.path(packet::OPENDIR, path)).await
    }

    async fn handle(self: &Arc<Self>, asked: Pending) -> Result<Handle, SftpFault> {
        match asked.reply().await? {
            Reply::Handle(handle) => Ok(Handle { session: Arc::clone(self), handle, closed: false }),
            other => Err(SftpFault::unexpected(other)),
        }
    }

    /// Asks for the attributes of `path` itself; see [`attrs`].
    pub fn lstat(&self, path: &[u8]) -> Pending {
        self.path(packet::LSTAT, path)
    }

    /// Asks for the attributes of `path`, following symlinks; see [`attrs`].
    pub fn stat(&self, path: &[u8]) -> Pending {
        self.path(packet::STAT, path)
    }

    pub fn remove(&self, path: &[u8]) -> Pending {
        self.path(packet::REMOVE, path)
    }

    pub fn rmdir(&self, path: &[u8]) -> Pending {
        self.path(packet::RMDIR, path)
    }

    pub fn mkdir(&self, path: &[u8], mode: Option<u32>) -> Pending {
        self.send(Packet::new(packet::MKDIR).bytes(path).attrs(&Attrs { mode, ..Attrs::default() }))
    }

    /// Sets attributes, following symlinks.
    pub fn set(&self, path: &[u8], attrs: &Attrs) -> Pending {
        self.send(Packet::new(packet::SETSTAT).bytes(path).attrs(attrs))
    }

    /// Sets attributes of `path` itself. Only for a server that offers it.
    pub fn lset(&self, path: &[u8], attrs: &Attrs) -> Pending {
        self.send(Packet::extended("lsetstat@openssh.com").bytes(path).attrs(attrs))
    }

    /// Renames, and replaces a file at `to`. Only for a server that offers it.
    pub fn posix_rename(&self, from: &[u8], to: &[u8]) -> Pending {
        self.send(Packet::extended("posix-rename@openssh.com").bytes(from).bytes(to))
    }

    /// Version 3's rename, which most servers refuse if `to` exists.
    pub fn rename(&self, from: &[u8], to: &[u8]) -> Pending {
        self.send(Packet::new(packet::RENAME).bytes(from).bytes(to))
    }

    /// Creates a second name. The server refuses it if `new` exists. Only for a server that offers it.
    pub fn hard_link(&self, existing: &[u8], new: &[u8]) -> Pending {
        self.send(Packet::extended("hardlink@openssh.com").bytes(existing).bytes(new))
    }

    /// Sends the target before the name, as OpenSSH and the servers modelled on it expect it. The draft says the
    /// opposite.
    pub fn symlink(&self, target: &[u8], path: &[u8]) -> Pending {
        self.send(Packet::new(packet::SYMLINK).bytes(target).bytes(path))
    }

    pub async fn read_link(&self, path: &[u8]) -> Result<Bytes, SftpFault> {
        match self.path(packet::READLINK, path).reply().await? {
            Reply::Names(mut names) if names.len() == 1 => Ok(names.remove(0).0),
            other => Err(SftpFault::unexpected(other)),
        }
    }

    pub async fn space(&self, path: &[u8]) -> Result<Option<Space>, SftpFault> {
        if !self.offers.statvfs {
            return Ok(None);
        }
        match self.send(Packet::extended("statvfs@openssh.com").bytes(path)).reply().await? {
            Reply::Extended(mut body) => {
                let mut fields = [0; 5];
                for field in &mut fields {
                    *field = body.try_get_u64().unwrap_or_default();
                }
                let [_, block, blocks, _, free] = fields;
                Ok(Some(Space { total: blocks.saturating_mul(block), free: free.saturating_mul(block) }))
            }
            other => Err(SftpFault::unexpected(other)),
        }
    }
}
