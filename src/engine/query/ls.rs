//! `ls`: the entries of a directory of a snapshot, with the sizes of whole directories.
//!
//! Owns the sums. A page that lies inside one child counts by its reference and is not fetched; only pages at the
//! edges of children are read. So the sizes of a tree of a million files come from a few pages of references. Lines
//! go to the sink in order while pages arrive, and memory does not grow with the tree.

use std::ops::ControlFlow;

use serde::Serialize;

use super::at::resolve_at;
use super::spot::EntrySpot;
use super::words::not_there;
use crate::engine::destination::Destination;
use crate::engine::machine::Machine;
use crate::error::Result;
use crate::manifest::{PageSource, Records};
use crate::model::{Entry, Kind, PageRef, RelPath, Snapshot, Time};

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct LsLine {
    /// From the top of the tree.
    pub path: RelPath,
    /// File, directory or symlink.
    pub kind: Kind,
    /// Content bytes; for a directory those of all files below it (0 where everything below is listed too).
    pub size: u64,
    /// Entries below a directory; none for anything else and where everything below is listed too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries: Option<u64>,
    /// None for a directory that has no entry of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub mtime: Option<Time>,
    /// Permission bits in octal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Target of a symlink.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<RelPath>,
}

/// What was listed, and the sums of everything below.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct LsTotals {
    /// URL of the destination.
    pub url: String,
    /// Number of the snapshot.
    pub snapshot: u64,
    /// Entries below the path.
    pub entries: u64,
    /// Content bytes below the path.
    pub bytes: u64,
}

/// Receives the lines.
pub type LsSink<'a> = dyn FnMut(LsLine) -> Result<()> + Send + 'a;

/// Lists the children of a directory (for an empty path, of the top), or everything below it (`recursive`), or the
/// one entry that a path names. Lines come in order of paths.
///
/// # Errors
/// [`crate::error::Error::Usage`] for a path or a snapshot that does not exist; damage; the sink's own errors.
///
/// # Examples
///
/// ```
/// use offsite::engine;
/// # use offsite::engine::{Machine, RunControl, SyncOptions};
///
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// # let dir = tempfile::tempdir()?;
/// # let at = |name: &str| dir.path().join(name);
/// # let (site, backup) = (at("site"), at("backup").display().to_string());
/// # std::fs::create_dir(&site)?;
/// # std::fs::write(site.join("index.html"), "<h1>hello</h1>")?;
/// # std::fs::create_dir(site.join("docs"))?;
/// # std::fs::write(site.join("docs/guide.md"), "# Guide")?;
/// # let machine = Machine { cache_dir: at("cache"), host: "web1".into(), ..Machine::default() };
/// # let urls = [backup.clone()];
/// # engine::sync(&machine, &site, &urls, &SyncOptions::default(), &RunControl::new(1)).await;
/// let mut lines = Vec::new();
/// let mut sink = |line: engine::LsLine| {
///     lines.push((line.path.to_string(), line.size));
///     Ok(())
/// };
/// let totals = engine::ls(&machine, &backup, "", None, false, &mut sink).await?;
/// assert_eq!(lines, [("docs/".to_owned(), 7), ("index.html".to_owned(), 14)]);
/// assert_eq!((totals.snapshot, totals.entries, totals.bytes), (1, 3, 21));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub async fn ls(machine: &Machine, url: &str, path: &str, at: Option<&str>, recursive: bool, sink: &mut LsSink<'_>) -> Result<LsTotals> {
    let destination = Destination::open(url, machine).await?;
    ls_over(&destination.records, path, at, recursive, sink).await
}

/// Like [`ls`], over records that are already open.
///
/// # Errors
/// [`crate::error::Error::Usage`] for a path or a snapshot that does not exist. [`crate::error::Error::Damaged`] if the
/// snapshot or a page that the listing needs cannot be read. The sink's own errors.
pub async fn ls_over(records: &Records, path: &str, at: Option<&str>, recursive: bool, sink: &mut LsSink<'_>) -> Result<LsTotals> {
    let (snapshot, ..) = resolve_at(records, at).await?;
    ls_in(records, &snapshot, path, recursive, sink).await
}

/// Like [`ls_over`], for a snapshot that was already read.
///
/// # Errors
/// [`crate::error::Error::Usage`] for a path that the snapshot does not have. [`crate::error::Error::Damaged`] if a
/// page that the listing needs cannot be read. The sink's own errors.
pub async fn ls_in(records: &Records, snapshot: &Snapshot, path: &str, recursive: bool, sink: &mut LsSink<'_>) -> Result<LsTotals> {
    let spot = EntrySpot::new(path);
    let source = PageSource::new(records.clone());
    let (leaves, _, lost) = source.leaves(snapshot, |first, end| spot.any_page(first, end)).await?;
    if let Some(lost) = lost.into_iter().next() {
        return Err(lost.error);
    }
    let (inside, edges) = if recursive { (Vec::new(), leaves) } else { split(leaves, &spot) };
    let mut inside = inside.into_iter().peekable();
    let mut view = View { spot: &spot, recursive, sink, child: None, found: spot.is_top(), entries: 0, bytes: 0 };
    source
        .read(edges, |leaf| {
            let leaf = leaf.map_err(|lost| lost.error)?;
            while let Some(page) = inside.next_if(|page| page.first < leaf.page.first) {
                view.page(&page)?;
            }
            leaf.entries.into_iter().try_for_each(|entry| view.entry(entry))?;
            Ok(ControlFlow::Continue(()))
        })
        .await?;
    inside.try_for_each(|page| view.page(&page))?;
    view.end_child()?;
    let (found, entries, bytes) = (view.found, view.entries, view.bytes);
    let url = records.url("");
    if found { Ok(LsTotals { url, snapshot: snapshot.number, entries, bytes }) } else { Err(not_there(path, snapshot, &url)) }
}

/// Pages that lie inside one child, and those that must be read.
fn split(leaves: Vec<PageRef>, spot: &EntrySpot) -> (Vec<PageRef>, Vec<PageRef>) {
    // The end of the last page is unknown or outside the directory, so the page is read.
    let nexts: Vec<Option<RelPath>> = leaves.iter().skip(1).map(|page| Some(page.first.clone())).chain([None]).collect();
    let (inside, edges): (Vec<_>, Vec<_>) = leaves.into_iter().zip(nexts).partition(|(page, next)| {
        let next = next.as_ref().and_then(|next| spot.child(next.as_bytes()));
        // A page that begins with the child's own entry is read, because it has the metadata.
        next.is_some_and(|child| spot.child(page.first.as_bytes()) == Some(child) && page.first.as_bytes() != child)
    });
    let pages = |pairs: Vec<(PageRef, _)>| pairs.into_iter().map(|(page, _)| page).collect();
    (pages(inside), pages(edges))
}

/// The child whose sums are not complete yet.
struct Child {
    path: RelPath,
    entry: Option<Entry>,
    entries: u64,
    bytes: u64,
}

/// Turns entries and pages, in order, into lines.
struct View<'a, 'b> {
    spot: &'a EntrySpot,
    recursive: bool,
    sink: &'a mut LsSink<'b>,
    child: Option<Child>,
    found: bool,
    entries: u64,
    bytes: u64,
}

impl View<'_, '_> {
    fn entry(&mut self, entry: Entry) -> Result<()> {
        let itself = self.spot.is(&entry.path);
        self.found |= itself;
        if itself && entry.kind == Kind::Dir {
            return Ok(());
        }
        let child = self.spot.child(entry.path.as_bytes());
        if !itself && child.is_none() {
            return Ok(());
        }
        self.found = true;
        self.entries += 1;
        self.bytes += entry.size;
        match child.map(RelPath::from) {
            Some(path) if !self.recursive => {
                let child = self.child(path)?;
                if entry.path == child.path {
                    child.entry = Some(entry);
                } else {
                    child.entries += 1;
                    child.bytes += entry.size;
                }
                Ok(())
            }
            _ => (self.sink)(line(entry.path.clone(), Some(entry), 0, None)),
        }
    }

    /// A page that lies inside one child.
    fn page(&mut self, page: &PageRef) -> Result<()> {
        let Some(path) = self.spot.child(page.first.as_bytes()).map(RelPath::from) else { return Ok(()) };
        self.found = true;
        self.entries += page.entries;
        self.bytes += page.bytes;
        let child = self.child(path)?;
        child.entries += page.entries;
        child.bytes += page.bytes;
        Ok(())
    }

    fn child(&mut self, path: RelPath) -> Result<&mut Child> {
        if self.child.as_ref().is_none_or(|child| child.path != path) {
            self.end_child()?;
        }
        Ok(self.child.get_or_insert(Child { path, entry: None, entries: 0, bytes: 0 }))
    }

    fn end_child(&mut self) -> Result<()> {
        let Some(Child { path, entry, entries, bytes }) = self.child.take() else { return Ok(()) };
        let entries = path.is_dir().then_some(entries);
        (self.sink)(line(path, entry, bytes, entries))
    }
}

fn line(path: RelPath, entry: Option<Entry>, below: u64, entries: Option<u64>) -> LsLine {
    let kind = entry.as_ref().map_or(Kind::Dir, |e| e.kind);
    LsLine {
        path,
        kind,
        size: below + entry.as_ref().map_or(0, |e| e.size),
        entries,
        mtime: entry.as_ref().map(|e| e.mtime),
        mode: entry.as_ref().map(|e| format!("{:04o}", e.mode)),
        link: entry.and_then(|e| e.link),
    }
}
