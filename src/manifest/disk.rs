//! What the disk below a directory, local or over SFTP, does to names.
//!
//! Owns the probe: a few files with telling names, all created at once, looked up under their own and other names, and
//! removed. The result is stored in `keys` as `disk`, so the probe runs only once.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use offsite_backends::{FileKind, FileMeta, Publish, Tree};

use crate::error::Result;
use crate::model::DiskRules;

/// Characters that exFAT, NTFS and SMB refuse.
const MARKS: &str = ":?*\"<>|\\";
/// The names that are created first; each tests a rule.
const CASE: usize = 0;
const FORM: usize = 1;
const MARK: usize = 2;
const DOT: usize = 3;
const BLANK: usize = 4;
const DEVICE: usize = 5;
const BYTES: usize = 6;
const CONTROL: usize = 7;
const LONG: usize = 8;

struct Probe<'a> {
    tree: &'a Arc<dyn Tree>,
    folder: String,
}

impl Probe<'_> {
    fn at(&self, name: &[u8]) -> Vec<u8> {
        [self.folder.as_bytes(), b"/", name].concat()
    }

    /// Puts files with these names. Says for each whether the disk has it.
    async fn take(&self, names: &[Vec<u8>]) -> Result<Vec<bool>> {
        let content = Bytes::from_static(b"offsite");
        let staged = join_all(names.iter().map(|_| self.tree.stage(content.clone(), FileMeta::default()))).await;
        let staged = staged.into_iter().collect::<Result<Vec<_>, _>>()?;
        let items = staged.into_iter().zip(names).map(|(staged, name)| Publish { staged, path: self.at(name), keep: None });
        let published = self.tree.publish(items.collect(), false).await;
        let there = join_all(names.iter().map(|name| self.has(name))).await;
        let mut taken = Vec::new();
        for (published, there) in published.into_iter().zip(there) {
            match published {
                Err(error) if error.concerns_destination() => return Err(error.into()),
                published => taken.push(published.is_ok() && there),
            }
        }
        Ok(taken)
    }

    async fn has(&self, name: &[u8]) -> bool {
        let found = self.tree.stat(&self.at(name)).await;
        found.is_ok_and(|found| found.is_some_and(|found| found.kind == FileKind::File && found.size == 7))
    }
}

/// The folder in which the probe of a destination writes.
pub const PROBE: &str = ".offsite/probe";

/// Finds out what a tree does to names. It writes below `place` only and removes everything that it wrote.
///
/// # Errors
/// Errors of the whole destination: full, read-only, missing. A refused name is a result, not an error.
pub async fn probe_disk(tree: &Arc<dyn Tree>, place: &str) -> Result<DiskRules> {
    let probe = Probe { tree, folder: format!("{place}/{:016x}{:016x}", crate::random(), crate::random()) };
    let marks = format!("m{MARKS}m");
    let mut names: Vec<Vec<u8>> = ["case", "form \u{e9}", &marks, "dot.", "blank ", "con", "", "control \u{1}", "a long name.probe"]
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    names[BYTES] = b"bytes \xff".to_vec();
    let found = look(&probe, &mut names).await;
    // The cleanup runs after an error too, and some of the files may not exist.
    names.push(b"link".to_vec());
    join_all(names.iter().map(|name| async { tree.remove_file(&probe.at(name), None).await })).await;
    let _ = tree.remove_dir(probe.folder.as_bytes()).await;
    let _ = tree.remove_dir(place.as_bytes()).await;
    found
}

/// Runs the tests. Adds the names that it puts besides to `names`.
async fn look(probe: &Probe<'_>, names: &mut Vec<Vec<u8>>) -> Result<DiskRules> {
    let taken = probe.take(names).await?;
    let folds = taken[CASE] && probe.has(b"CASE").await || taken[FORM] && probe.has("form e\u{301}".as_bytes()).await;
    let trimmed = taken[DOT] && probe.has(b"dot").await || taken[BLANK] && probe.has(b"blank").await;
    let mut refused = String::new();
    if !taken[MARK] {
        let each: Vec<Vec<u8>> = MARKS.chars().map(|c| format!("m{c}m").into_bytes()).collect();
        names.extend(each.iter().cloned());
        let taken = probe.take(&each).await?;
        refused.extend(MARKS.chars().zip(taken).filter(|(_, taken)| !taken).map(|(c, _)| c));
    }
    if !taken[CONTROL] {
        refused.extend('\u{1}'..='\u{1f}');
    }
    let links = match probe.tree.symlink(&probe.at(b"link"), b"case", FileMeta::default()).await {
        Err(error) if error.concerns_destination() => return Err(error.into()),
        made => made.is_ok(),
    };
    Ok(DiskRules {
        folds,
        aliases: taken[LONG] && probe.has(b"ALONGN~1.PRO").await,
        refused,
        ends: !taken[DOT] || !taken[BLANK] || trimmed,
        devices: !taken[DEVICE],
        text: !taken[BYTES],
        no_links: !links,
    })
}
