//! Which rights a restore sets: set-id bits, owners, and attributes that only root may set.
//!
//! Owns the choice and its effect on an entry. Anyone who can write to a destination can write any mode, owner and
//! capability into a manifest, and a restore by root would set them. Invariant: the comparison also ignores what is
//! left out, so a second restore finds nothing to do.

use offsite_backends::FileMeta;

use crate::model::{Entry, Kind, Snapshot};
use crate::scan::Names;
use crate::transfer::file_meta;

/// Set-user-id and set-group-id.
const SET_ID: u32 = 0o6000;

/// Which rights are restored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Privileges {
    /// All rights, as far as the user may set them.
    #[default]
    All,
    /// All rights if the snapshot was made on this host. From another host's snapshot: owners, but neither set-id
    /// bits nor attributes that give rights.
    MadeOn(String),
    /// No rights: files belong to the user who restores.
    None,
}

/// The choice for one snapshot and this user.
#[derive(Debug, Clone, Copy)]
pub struct RestoredRights {
    /// Set-id bits of files.
    set_ids: bool,
    /// `security.*` and `trusted.*`.
    attributes: bool,
    owners: bool,
}

impl Privileges {
    /// The choice for this snapshot and the user who runs this process. Only root sets owners and attributes.
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
    /// Whether owners are set, and so also compared.
    pub fn owners(self) -> bool {
        self.owners
    }

    /// Removes from an entry what is not restored. Returns whether anything was removed; owners do not count.
    pub fn trim(self, entry: &mut Entry) -> bool {
        let bits = entry.kind == Kind::File && entry.mode & SET_ID != 0 && !self.set_ids;
        if bits {
            entry.mode &= !SET_ID;
        }
        let before = entry.xattrs.len();
        entry.xattrs.retain(|attribute| self.attributes || !gives_rights(attribute.name.as_bytes()));
        bits || entry.xattrs.len() < before
    }

    /// The metadata to set for an entry. User and group names become the numbers that this machine has for them.
    pub fn meta(self, names: &Names, entry: &Entry) -> FileMeta {
        let mut entry = entry.clone();
        self.trim(&mut entry);
        let mut meta = file_meta(&entry);
        meta.owner = Some((names.uid(entry.user.as_deref(), entry.uid), names.gid(entry.group.as_deref(), entry.gid)));
        self.owned(meta)
    }

    /// The metadata without the owner and attributes that are not restored.
    pub fn owned(self, mut meta: FileMeta) -> FileMeta {
        meta.owner = meta.owner.filter(|_| self.owners);
        meta.xattrs.retain(|(name, _)| self.attributes || !gives_rights(name));
        meta
    }
}

/// Whether the kernel or a security module grants rights by this attribute.
fn gives_rights(name: &[u8]) -> bool {
    name.starts_with(b"security.") || name.starts_with(b"trusted.")
}
