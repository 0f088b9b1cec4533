//! A directory's names in order, and the reading of the directories below it.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex};

use rustix::fs::{AtFlags, statat};

use super::stat::Stat;

pub enum Looked {
    Stat(Stat),
    /// Metadata not read yet (very large directories).
    Later,
    /// The name exists, but its metadata could not be read.
    Failed(io::Error),
}

pub struct Item {
    pub start: u32,
    pub len: u16,
    pub is_dir: bool,
    /// Some disks take another name in this directory for the same.
    pub twin: bool,
    pub looked: Looked,
    pub child: Option<Arc<Task>>,
}

/// A directory's names in order.
pub struct DirListing {
    pub names: Vec<u8>,
    pub items: std::vec::IntoIter<Item>,
    pub fd: Option<OwnedFd>,
}

impl DirListing {
    pub fn name(&self, item: &Item) -> &[u8] {
        &self.names[item.start as usize..item.start as usize + item.len as usize]
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Reads the metadata of a deferred item. `None` if it was removed.
    pub fn look(&self, item: &Item) -> Option<io::Result<Stat>> {
        let fd = self.fd.as_ref()?;
        look(fd, self.name(item)).transpose()
    }
}

pub fn look(fd: &OwnedFd, name: &[u8]) -> io::Result<Option<Stat>> {
    match statat(fd, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(raw) => Ok(Some(Stat::from_raw(&raw))),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

pub struct Task {
    pub path: Vec<u8>,
    pub state: Mutex<TaskState>,
    pub done: Condvar,
}

pub enum TaskState {
    Todo,
    Running,
    Done(io::Result<DirListing>),
    Taken,
}
