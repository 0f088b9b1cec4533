//! The path of an entry in a real directory tree, and its metadata there.

use offsite_backends::{FileMeta, Stamp};

use crate::manifest::KeyRules;
use crate::model::{Entry, Kind, Xattr};

/// The metadata of an entry, to be set on a copy.
pub fn file_meta(entry: &Entry) -> FileMeta {
    FileMeta {
        mode: Some(entry.mode),
        mtime: Some(Stamp { secs: entry.mtime.secs, nanos: entry.mtime.nanos }),
        owner: Some((entry.uid, entry.gid)),
        xattrs: entry.xattrs.iter().map(|Xattr { name, value }| (name.0.clone(), value.0.clone())).collect(),
        sparse: entry.sparse,
    }
}

/// The path of an entry in a tree. `None` for an entry that only the manifest holds: a directory or symlink that would
/// be in `.offsite/`, or whose name or kind the disk does not support.
pub fn place(rules: &KeyRules, entry: &Entry) -> Option<Vec<u8>> {
    // The location of an existing content is fixed, whatever the rules say today.
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

/// The entry without its content. A new content may get another path than the present one has.
pub fn planned(entry: &Entry) -> Entry {
    Entry { content: None, ..entry.clone() }
}

/// The path that the content of `old` gets when it is replaced. `None` for an entry without content.
pub fn kept_place(rules: &KeyRules, old: &Entry) -> Option<Vec<u8>> {
    old.content.as_ref().map(|content| rules.kept_key(old.path.as_bytes(), content))
}
