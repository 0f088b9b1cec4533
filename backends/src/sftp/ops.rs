//! The requests by name: what is asked, and which answer is a good one.
//!
//! Owns the arguments of each request and nothing of when it is made again. Paths are as the server is
//! asked for them. Requests that can be under way together answer a [`Pending`]; they leave in the order
//! of the calls, and a server works on one file in that order.

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
    /// Made by this call, mode 0600.
    New,
    /// Written on, as it is.
    Again,
}

/// A file or directory that is open; closed when it is dropped, if nobody did before.
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

    /// Closes it, after what was asked before.
    pub fn close(mut self) -> Pending {
        self.closed = true;
        self.session.send(self.packet(packet::CLOSE))
    }

    /// Sends bytes, once there is room for them on the way.
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

    /// None where the server has no such thing.
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

    /// Has the server copy `length` bytes from one offset to the same of another file.
    pub async fn copy_to(&self, to: &Handle, offset: u64, length: u64) -> Result<(), SftpFault> {
        let packet = Packet::extended("copy-data").bytes(&self.handle).long(offset).long(length);
        self.session.send(packet.bytes(&to.handle).long(offset)).done().await
    }
}

/// The bytes of a read; empty at the end of the file.
pub(super) async fn data(asked: Pending) -> Result<Bytes, SftpFault> {
    match asked.reply().await? {
        Reply::Data(data) => Ok(data),
        Reply::Status(Status { code: packet::EOF, .. }) => Ok(Bytes::new()),
        other => Err(SftpFault::unexpected(other)),
    }
}

/// Entries of a directory; none at its end.
pub(super) async fn names(asked: Pending) -> Result<Option<Vec<(Bytes, Attrs)>>, SftpFault> {
    match asked.reply().await? {
        Reply::Names(names) => Ok(Some(names)),
        Reply::Status(Status { code: packet::EOF, .. }) => Ok(None),
        other => Err(SftpFault::unexpected(other)),
    }
}

/// What is there; none where nothing is.
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

    /// Of the thing itself; see [`attrs`].
    pub fn lstat(&self, path: &[u8]) -> Pending {
        self.path(packet::LSTAT, path)
    }

    /// Of what a symlink leads to; see [`attrs`].
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

    /// Sets attributes of the thing itself; only where it is offered.
    pub fn lset(&self, path: &[u8], attrs: &Attrs) -> Pending {
        self.send(Packet::extended("lsetstat@openssh.com").bytes(path).attrs(attrs))
    }

    /// Renames over what is there; only where it is offered.
    pub fn posix_rename(&self, from: &[u8], to: &[u8]) -> Pending {
        self.send(Packet::extended("posix-rename@openssh.com").bytes(from).bytes(to))
    }

    /// Version 3's rename, which most servers refuse where `to` exists.
    pub fn rename(&self, from: &[u8], to: &[u8]) -> Pending {
        self.send(Packet::new(packet::RENAME).bytes(from).bytes(to))
    }

    /// A second name, refused where `new` exists; only where it is offered.
    pub fn hard_link(&self, existing: &[u8], new: &[u8]) -> Pending {
        self.send(Packet::extended("hardlink@openssh.com").bytes(existing).bytes(new))
    }

    /// Target before name, as OpenSSH and all that follow it have it, and not as the draft says.
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
