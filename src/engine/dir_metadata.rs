//! Metadata of directories in a real tree, set after everything in them has been written.
//!
//! Owns which directories need it: those that the plan names, and those in which the run created, replaced or removed
//! something. One pass over manifest and plan, with memory for one chain of directories.

use std::path::Path;
use std::sync::Arc;

use futures::{StreamExt, stream};
use offsite_backends::{FileMeta, Tree};

use crate::error::Result;
use crate::manifest::CacheReader;
use crate::model::TreeRoot;
use crate::model::{Change, Entry, Kind, RelPath};
use crate::spool::Reader;
use crate::transfer::{Line, Undone};

struct OpenDir {
    entry: Entry,
    dirty: bool,
}

/// Sets the metadata of the directories that the plan touched, as `entries` (the manifest that the tree must match)
/// has it. `skip` selects entries that are not in the tree. It notes in `undone` what the tree refuses, and
/// continues.
pub async fn settle(
    tree: &Arc<dyn Tree>,
    mut entries: CacheReader,
    plan: &Path,
    skip: impl Fn(&Entry) -> bool,
    meta: impl Fn(&Entry) -> FileMeta,
    undone: &mut Undone,
) -> Result<()> {
    let mut lines = Reader::<Line>::open(plan)?;
    let mut stack: Vec<OpenDir> = Vec::new();
    let mut setter = Setter { tree, waiting: Vec::new(), undone };
    let mut next_dir = next_directory(&mut entries, &skip)?;
    while let Some(line) = lines.next_line()? {
        let change = line.step;
        if matches!(change, Change::Stamped { .. }) {
            continue;
        }
        let path = change.path();
        // Opens directories that come before this path, and closes those that do not contain it.
        while next_dir.as_ref().is_some_and(|d| d.path <= *path) {
            let Some(entry) = next_dir.take() else { break };
            if path.as_bytes().starts_with(entry.path.as_bytes()) {
                close(&mut setter, &mut stack, &entry.path, &meta).await?;
                stack.push(OpenDir { entry, dirty: false });
            }
            next_dir = next_directory(&mut entries, &skip)?;
        }
        close(&mut setter, &mut stack, path, &meta).await?;
        let own = matches!(&change, Change::Added { .. } | Change::Changed { .. } | Change::Metadata { .. }) && path.is_dir();
        let content = !matches!(change, Change::Metadata { .. });
        for open in &mut stack {
            let is_self = open.entry.path == *path;
            let is_parent = open.entry.path.as_bytes() == path.parent();
            open.dirty |= is_self && own || is_parent && content;
        }
    }
    close(&mut setter, &mut stack, &RelPath::new(vec![0xff]), &meta).await?;
    setter.flush().await
}

/// Directories that are set in parallel: on a distant server each one takes a round trip.
const AT_ONCE: usize = 64;

/// Sets the metadata of many directories, inner ones first where the order matters.
struct Setter<'a> {
    tree: &'a Arc<dyn Tree>,
    waiting: Vec<(Vec<u8>, FileMeta)>,
    undone: &'a mut Undone,
}

impl Setter<'_> {
    async fn push(&mut self, path: &[u8], meta: FileMeta) -> Result<()> {
        // If the mode locks the owner out of a directory, everything below it must be set before.
        let shuts = meta.mode.is_some_and(|mode| mode & 0o300 != 0o300);
        if shuts || self.waiting.len() >= 4 * AT_ONCE {
            self.flush().await?;
        }
        self.waiting.push((path.to_vec(), meta));
        if shuts { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<()> {
        let tree = self.tree;
        let set = self.waiting.drain(..).map(|(path, meta)| async move {
            let done = tree.set_meta(&path, meta).await;
            (path, done)
        });
        let done: Vec<_> = stream::iter(set.collect::<Vec<_>>()).buffered(AT_ONCE).collect().await;
        for (path, done) in done {
            if let Some(unset) = self.undone.take(&path, done)? {
                self.undone.unset(&path, unset);
            }
        }
        Ok(())
    }
}

fn next_directory(entries: &mut CacheReader, skip: &impl Fn(&Entry) -> bool) -> Result<Option<Entry>> {
    while let Some(known) = entries.peek()? {
        if known.kind() == Kind::Dir {
            let entry = known.entry()?;
            entries.advance();
            if !skip(&entry) {
                return Ok(Some(entry));
            }
            continue;
        }
        entries.advance();
    }
    Ok(None)
}

/// Closes the open directories that do not contain `path`.
async fn close(setter: &mut Setter<'_>, stack: &mut Vec<OpenDir>, path: &RelPath, meta: &impl Fn(&Entry) -> FileMeta) -> Result<()> {
    while let Some(open) = stack.pop_if(|open| !path.as_bytes().starts_with(open.entry.path.as_bytes())) {
        if open.dirty {
            setter.push(open.entry.path.bare(), meta(&open.entry)).await?;
        }
    }
    Ok(())
}

/// The metadata of a tree's root directory.
pub fn root_meta(root: &TreeRoot) -> offsite_backends::FileMeta {
    offsite_backends::FileMeta {
        mode: Some(root.mode),
        mtime: Some(offsite_backends::Stamp { secs: root.mtime.secs, nanos: root.mtime.nanos }),
        owner: Some((root.uid, root.gid)),
        xattrs: root.xattrs.iter().map(|x| (x.name.0.clone(), x.value.0.clone())).collect(),
        sparse: false,
    }
}
