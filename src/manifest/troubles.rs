//! The complete list of unreadable and unstable paths of a run, if the snapshot names only the first ones.
//!
//! Owns its storage: sorted by path, in pages like those of a manifest, as one page object that the snapshot names.
//! A list that equals that of the previous snapshot is reused, so a run with the same problems sends nothing.

use std::path::Path;

use super::chunker::Chunker;
use super::page_object::{PageObject, PageObjectWriter};
use crate::error::{Error, Result};
use crate::model::{Problem, RelPath, Trouble, bounds};

/// Longest text of one problem, in bytes.
const TEXT: usize = 4 << 10;

/// Writes the list into a local file, as a page object of snapshot `number`.
///
/// # Errors
/// The file cannot be written.
pub fn pack(file: &Path, naming: Option<[u8; 32]>, number: u64, unread: &[Problem], unstable: &[RelPath]) -> Result<PageObject> {
    let unread = unread.iter().map(|p| (&p.path, Some(p.problem.as_str())));
    let mut all: Vec<(&RelPath, Option<&str>)> = unread.chain(unstable.iter().map(|path| (path, None))).collect();
    // The final read error is reported, not that the file kept changing before.
    all.sort_by(|a, b| a.0.cmp(b.0).then(b.1.is_some().cmp(&a.1.is_some())));
    all.dedup_by(|later, kept| later.0 == kept.0);
    let fail = |e| Error::local(file, e);
    let mut pack = PageObjectWriter::create(file, naming)?;
    pack.mark(number)?;
    let (mut cutter, mut leaves, mut last) = (Chunker::default(), Vec::new(), RelPath::default());
    for (path, problem) in all {
        let line = Trouble { path: short(path), problem: problem.map(cut) };
        // A path that is too deep is replaced by its directory, which is named once.
        if line.path <= last {
            continue;
        }
        if let Some(page) = cutter.push(&line, &line.path, 1, 0).map_err(fail)? {
            leaves.push(pack.add(&page, 0)?);
        }
        last = line.path;
    }
    if let Some(page) = cutter.finish() {
        leaves.push(pack.add(&page, 0)?);
    }
    pack.finish(leaves, &[])
}

fn short(path: &RelPath) -> RelPath {
    let bytes = path.as_bytes();
    match bytes.get(..bounds::PATH) {
        Some(head) if bytes.len() > bounds::PATH => head[..=head.iter().rposition(|b| *b == b'/').unwrap_or(0)].into(),
        _ => path.clone(),
    }
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(TEXT)].to_owned()
}
