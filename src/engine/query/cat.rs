//! `cat`: the content of one file of one snapshot.
//!
//! Owns when bytes are written. A content that fits in memory is checked before its first byte is written. A larger
//! one is written while it arrives, and the verb ends in an error if it is not the stored content. Invariant: bytes
//! of a second attempt never follow bytes of a first one.

use std::io::Write;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use offsite_backends::{FileKind, Tree};

use super::at::resolve_at;
use super::spot::{EntrySpot, find, own_pages};
use super::words::not_there;
use crate::engine::destination::Destination;
use crate::engine::machine::Machine;
use crate::error::{Error, Result};
use crate::manifest::{KeyRules, PageSource, Records};
use crate::model::{Content, Entry, Hash, Kind, RelPath, Snapshot};
use crate::transfer::{Sink, locate, read_content};

/// Contents up to this size are checked before they are written.
const CHECKED_FIRST: u64 = 64 << 20;

/// Receives the bytes.
pub type CatOutput<'a> = dyn Write + Send + 'a;

/// Writes the content of a file as it was in a snapshot.
///
/// # Errors
/// [`Error::Usage`] if the path is no file or does not exist; [`Error::Damaged`] if the content is not the stored
/// one; [`Error::Local`] if it cannot be written.
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
/// # let machine = Machine { cache_dir: at("cache"), host: "web1".into(), ..Machine::default() };
/// # let urls = [backup.clone()];
/// # engine::sync(&machine, &site, &urls, &SyncOptions::default(), &RunControl::new(1)).await;
/// # std::fs::write(site.join("index.html"), "<h1>hello, world</h1>")?;
/// # std::fs::write(site.join("about.html"), "<h1>about</h1>")?;
/// # engine::sync(&machine, &site, &urls, &SyncOptions::default(), &RunControl::new(1)).await;
/// let mut page = Vec::new();
/// engine::cat(&machine, &backup, "index.html", Some("1"), &mut page).await?;
/// assert_eq!(page, b"<h1>hello</h1>");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub async fn cat(machine: &Machine, url: &str, path: &str, at: Option<&str>, sink: &mut CatOutput<'_>) -> Result<()> {
    let mut destination = Destination::open_contents(url, machine).await?;
    cat_from(&mut destination, path, at, sink).await
}

/// Like [`cat`], from a destination that is already open. A packed destination's newest snapshot may be known here.
///
/// # Errors
/// As for [`cat`].
pub async fn cat_from(destination: &mut Destination, path: &str, at: Option<&str>, sink: &mut CatOutput<'_>) -> Result<()> {
    let spot = spot(path)?;
    destination.records.opens_contents()?;
    if at.is_none()
        && let Some(entry) = cached(destination, &spot).await?
        && let Some((snapshot, _)) = destination.snapshot()
    {
        return write_entry(&destination.records, snapshot, &entry, sink).await;
    }
    let (snapshot, _) = destination.resolve(at).await?;
    cat_in(&destination.records, &snapshot, path, &spot, sink).await
}

/// The entry of a packed destination's newest manifest, from this machine's cache: one listing, and a look for a newer
/// snapshot beside it. `None` if the cache is not current or has no such entry.
async fn cached(destination: &Destination, spot: &EntrySpot) -> Result<Option<Entry>> {
    let number = destination.number();
    if number == 0 || destination.layout().is_mirror() {
        return Ok(None);
    }
    let records = &destination.records;
    let (list, newer) = futures::try_join!(records.snapshots(Some(number - 1)), records.has_snapshot(number + 1))?;
    if newer || !destination.is_current(&list).await? {
        return Ok(None);
    }
    tokio::task::block_in_place(|| {
        let mut cache = destination.base()?;
        while let Some(known) = cache.peek()? {
            if spot.is_path(&known.path) {
                return known.entry().map(Some);
            }
            cache.advance();
        }
        Ok(None)
    })
}

/// Like [`cat`], over records that are already open.
///
/// # Errors
/// [`Error::Usage`] if the path or the snapshot does not exist, or if the path is not a file. [`Error::Damaged`] if the
/// content is not the stored one. [`Error::Local`] if `sink` cannot be written.
pub async fn cat_over(records: &Records, path: &str, at: Option<&str>, sink: &mut CatOutput<'_>) -> Result<()> {
    let spot = spot(path)?;
    records.opens_contents()?;
    let (snapshot, ..) = resolve_at(records, at).await?;
    cat_in(records, &snapshot, path, &spot, sink).await
}

fn spot(path: &str) -> Result<EntrySpot> {
    let spot = EntrySpot::new(path);
    if spot.is_top() { Err(Error::Usage("cat needs the path of a file".into())) } else { Ok(spot) }
}

async fn cat_in(records: &Records, snapshot: &Snapshot, path: &str, spot: &EntrySpot, sink: &mut CatOutput<'_>) -> Result<()> {
    let source = PageSource::new(records.clone());
    let pages = own_pages(&source, snapshot, spot).await?;
    match find(&source, pages, spot).await? {
        Some(entry) => write_entry(records, snapshot, &entry, sink).await,
        None => Err(not_there(path, snapshot, &records.url(""))),
    }
}

async fn write_entry(records: &Records, snapshot: &Snapshot, entry: &Entry, sink: &mut CatOutput<'_>) -> Result<()> {
    let url = records.url("");
    let is = |what: &str| Err(Error::Usage(format!("{} is {what} in snapshot {} of {url}, not a file", entry.path, snapshot.number)));
    match (entry.kind, &entry.link) {
        (Kind::File, _) => write_content(records, &snapshot.keys, entry, CHECKED_FIRST, sink).await,
        (Kind::Dir, _) => is("a directory"),
        (Kind::Symlink, None) => is("a symlink"),
        (Kind::Symlink, Some(target)) => is(&format!("a symlink to {target}")),
    }
}

/// Writes a content. It checks a content of at most `checked_first` bytes before it writes the first byte.
pub async fn write_content(records: &Records, rules: &KeyRules, entry: &Entry, checked_first: u64, sink: &mut CatOutput<'_>) -> Result<()> {
    let Some(content) = &entry.content else { return Err(Error::damaged(&entry.path, "the manifest names no content for it")) };
    if entry.size == 0 && content.hash == Hash::of(b"") {
        return Ok(());
    }
    if entry.size <= checked_first {
        let mut whole = WholeContent(Vec::with_capacity(entry.size as usize));
        read_content(records, rules, entry, &mut whole).await?;
        write(sink, &whole.0)?;
    } else if content.is_packed() {
        read_content(records, rules, entry, &mut Through { path: &entry.path, out: sink, written: 0 }).await?;
    } else if let Some((tree, key)) = kept_copy(records, rules, entry).await? {
        stream_kept(records, tree.as_ref(), &key, entry.size, content, sink).await?;
    } else {
        read_content(records, rules, entry, &mut Through { path: &entry.path, out: sink, written: 0 }).await?;
    }
    sink.flush().map_err(unwritten)
}

/// Collects a content, so that it can be checked before it is written.
struct WholeContent(Vec<u8>);

#[async_trait]
impl Sink for WholeContent {
    async fn restart(&mut self) -> Result<()> {
        self.0.clear();
        Ok(())
    }

    async fn write(&mut self, block: Bytes) -> Result<()> {
        self.0.extend_from_slice(&block);
        Ok(())
    }
}

/// Writes a content while it arrives.
struct Through<'a, 'b> {
    path: &'a RelPath,
    out: &'a mut CatOutput<'b>,
    written: u64,
}

#[async_trait]
impl Sink for Through<'_, '_> {
    async fn restart(&mut self) -> Result<()> {
        match self.written {
            0 => Ok(()),
            bytes => Err(Error::damaged(
                self.path,
                format_args!("its content is damaged (BLAKE3 differs); {bytes} bytes were written before this was known"),
            )),
        }
    }

    async fn write(&mut self, block: Bytes) -> Result<()> {
        self.written += block.len() as u64;
        write(self.out, &block)
    }
}

/// The kept copy of this content on a real tree, if there is one. On a tree, a newer content of the same length can
/// lie under the file's own name. Only reading would show that, after bytes of it have been written.
async fn kept_copy(records: &Records, rules: &KeyRules, entry: &Entry) -> Result<Option<(Arc<dyn Tree>, Vec<u8>)>> {
    let (Some(tree), Some(kept)) = (records.backend().tree(), locate(rules, entry).into_iter().nth(1)) else { return Ok(None) };
    let stat = tree.stat(&kept.key).await?;
    let there = stat.is_some_and(|s| s.kind == FileKind::File && s.size == entry.size);
    Ok(there.then_some((tree, kept.key)))
}

async fn stream_kept(records: &Records, tree: &dyn Tree, key: &[u8], size: u64, content: &Content, sink: &mut CatOutput<'_>) -> Result<()> {
    let mut body = tree.read_blocks(key, size).await?;
    let mut hasher = blake3::Hasher::new();
    while let Some(block) = body.next().await {
        let block = block?;
        hasher.update(&block);
        write(sink, &block)?;
    }
    if *hasher.finalize().as_bytes() == content.hash.0 {
        return Ok(());
    }
    let url = records.url(&String::from_utf8_lossy(key));
    Err(Error::damaged(url, "its content is damaged (BLAKE3 differs), and it was written before this was known"))
}

fn write(sink: &mut CatOutput<'_>, bytes: &[u8]) -> Result<()> {
    sink.write_all(bytes).map_err(unwritten)
}

fn unwritten(error: std::io::Error) -> Error {
    Error::output(error)
}
