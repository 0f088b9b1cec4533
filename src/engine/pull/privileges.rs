//! What a pull restores of what gives rights: set-id bits, owners, and attributes that only root may set.
//!
//! Owns the choice and what it does to an entry. Whoever can write to a destination can write any mode, owner and
//! capability into a manifest; a pull by root would set them. Invariant: what is left out is left out of the
//! comparison as well, so a second pull finds nothing to do.

use offsite_backends::FileMeta;

use crate::model::{Entry, Kind, Snapshot};
use crate::scan::Names;
use crate::transfer::file_meta;

/// Set-user-id and set-group-id.
const SET_ID: u32 = 0o6000;

/// What is restored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Privileges {
    /// All of it, as far as the user may.
    #[default]
    All,
    /// All of it if the snapshot was made on this host. Of another host's: owners, but neither set-id bits nor
    /// attributes that give rights.
    MadeOn(String),
    /// None of it: files belong to whoever pulls.
    None,
}

/// The same for one snapshot and this user.
#[derive(Debug, Clone, Copy)]
pub struct RestoredRights {
    /// Set-id bits of files.
    set_ids: bool,
    /// `security.*` and `trusted.*`.
    attributes: bool,
    owners: bool,
}

impl Privileges {
    pub fn of(&self, snapshot: &Snapshot) -> RestoredRights {
        let all = match self {
            Self::All => true,
            Self::MadeOn(host) => *host == snapshot.host,
            Self::None => false,
        };
        let root = rustix::process::geteuid().is_root();
        RestoredRights { set_ids: all, attributes: all && root, owners: root && *self != Self::None }
    }
}

impl RestoredRights {
    /// Owners are set, and so compared.
    pub fn owners(self) -> bool {
        self.owners
    }

    /// Takes out of an entry what is not restored; answers whether there was any of it, owners aside.
    pub fn trim(self, entry: &mut Entry) -> bool {
        let bits = entry.kind == Kind::File && entry.mode & SET_ID != 0 && !self.set_ids;
        if bits {
            entry.mode &= !SET_ID;
        }
        let before = entry.xattrs.len();
        entry.xattrs.retain(|attribute| self.attributes || !gives_rights(attribute.name.as_bytes()));
        bits || entry.xattrs.len() < before
    }

    /// Metadata of an entry as it is set here: owners by their names on this machine.
    pub fn meta(self, names: &Names, entry: &Entry) -> FileMeta {
        let mut entry = entry.clone();
        self.trim(&mut entry);
        let mut meta = file_meta(&entry);
        meta.owner = Some((names.uid(entry.user.as_deref(), entry.uid), names.gid(entry.group.as_deref(), entry.gid)));
        self.owned(meta)
    }

    /// Without the owner where none is set.
    pub fn owned(self, mut meta: FileMeta) -> FileMeta {
        meta.owner = meta.owner.filter(|_| self.owners);
        meta.xattrs.retain(|(name, _)| self.attributes || !gives_rights(name));
        meta
    }
}

/// Attributes that the kernel or its security modules go by.
fn gives_rights(name: &[u8]) -> bool {
    name.starts_with(b"security.") || name.starts_with(b"trusted.")
}
