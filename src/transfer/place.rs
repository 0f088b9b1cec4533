//! Where an entry lies in a real directory tree, and with which metadata.

use offsite_backends::{FileMeta, Stamp};

use crate::manifest::KeyRules;
use crate::model::{Entry, Kind, Xattr};

/// Metadata of an entry, to be set on a copy.
pub fn file_meta(entry: &Entry) -> FileMeta {
    FileMeta {
        mode: Some(entry.mode),
        mtime: Some(Stamp { secs: entry.mtime.secs, nanos: entry.mtime.nanos }),
        owner: Some((entry.uid, entry.gid)),
        xattrs: entry.xattrs.iter().map(|Xattr { name, value }| (name.0.clone(), value.0.clone())).collect(),
        sparse: entry.sparse,
    }
}

/// Where an entry lies in a tree; none for what only the manifest holds: directories and links that would
/// lie in `.offsite/`, or whose names or kind the disk there does not have.
pub fn place(rules: &KeyRules, entry: &Entry) -> Option<Vec<u8>> {
    // Where a content lies is known, whatever the rules say today.
    if entry.content.is_some() {
        return Some(KeyRules::current_key(entry));
    }
    match (rules.key_for(entry), entry.kind) {
        (None, Kind::Symlink) if !rules.links() => None,
        (None, _) => Some(entry.path.bare().to_vec()),
        (Some(key), Kind::File) => Some(key.into_bytes()),
        (Some(_), _) => None,
    }
}

/// An entry as far as a new content of it goes, which may lie elsewhere than the one that it has.
pub fn planned(entry: &Entry) -> Entry {
    Entry { content: None, ..entry.clone() }
}

/// Where the content of `old` goes when it is replaced.
pub fn kept_place(rules: &KeyRules, old: &Entry) -> Option<Vec<u8>> {
    old.content.as_ref().map(|content| rules.kept_key(old.path.as_bytes(), content))
}
