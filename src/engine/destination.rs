//! One open destination: its backend, its records, and what this machine remembers of it.
//!
//! Owns the local cache directory of a destination (`head.json`, the cache of the newest manifest, journal, spools)
//! and its lock: one run at a time on this machine. Loading costs one small request while the cache is current.
//! Invariant: if the cache and the destination differ, the destination counts.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use offsite_backends::{self as backends, Backend, Fence, Fenced, FileLock, Tree};
use serde::{Deserialize, Serialize};

use super::download::download;
use super::keys::ring::KeyRing;
use super::keys::wish::SealWish;
use super::lease::hold::Hold;
use super::locked::Locked;
use super::machine::Machine;
use crate::engine::top_names::TopNames;
use crate::error::{Error, Result};
use crate::manifest::{CacheReader, Format, KeyRules, Lost, PROBE, Records, SnapshotRef, probe_disk};
use crate::model::{DiskRules, Hash, Layout, PageRef, Snapshot};
use crate::seal::WriterKey;
use crate::spool::{cache_error, private_dir, private_file};
use crate::transfer::part_size;

/// The facts of a snapshot that retention needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Number of the snapshot.
    pub number: u64,
    /// Commit time by the store's clock, seconds since 1970. Of a copied snapshot, that of its origin.
    pub time: i64,
    /// The store's time of its object, if that is another one.
    #[serde(default)]
    pub written: Option<i64>,
    /// Tag of its object, if the store has tags.
    pub etag: Option<String>,
}

impl From<&SnapshotRef> for Listed {
    fn from(s: &SnapshotRef) -> Self {
        let written = Some(s.written.timestamp()).filter(|_| s.written != s.modified);
        Self { number: s.number, time: s.modified.timestamp(), written, etag: s.etag.clone() }
    }
}

/// What this machine remembers of a destination: `head.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Head {
    /// URL of the destination.
    pub url: String,
    /// The destination's `format.json`.
    pub format: Format,
    /// The newest snapshot and the hash of its object.
    pub snapshot: Option<(Snapshot, Hash)>,
    /// All snapshots of the destination, oldest first.
    pub list: Vec<Listed>,
    /// References to the inner pages of the newest manifest.
    pub inner: Vec<PageRef>,
    /// Page object that was written together with the cache.
    pub own: Option<Hash>,
    /// Name of the cache file; none for an empty manifest.
    pub file: Option<String>,
    /// When a prune last deleted expired snapshots, by the store's clock, in seconds since 1970.
    #[serde(default)]
    pub pruned: i64,
    /// What had expired then and was locked.
    #[serde(default)]
    pub locked: Option<Locked>,
    /// When a run last looked for packs to repack, by the store's clock, in seconds since 1970. 0: not known.
    #[serde(default)]
    pub repacked: i64,
}

/// An open destination.
///
/// # Examples
///
/// ```
/// use offsite::engine::{self, Destination};
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
/// let mut destination = Destination::open(&backup, &machine).await?;
/// destination.load(false, false).await?;
/// assert_eq!(destination.number(), 1);
///
/// // Several queries share one connection.
/// let listing = engine::snapshots_over(&destination.records).await?;
/// let mut page = Vec::new();
/// engine::cat_over(&destination.records, "index.html", None, &mut page).await?;
/// assert_eq!((listing.snapshots[0].files, page.as_slice()), (1, &b"<h1>hello</h1>"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Destination {
    /// The fenced backend: it refuses every change that `hold` does not allow.
    pub backend: Arc<dyn Backend>,
    /// The fence, which knows whether this run has the lease.
    pub hold: Arc<Hold>,
    /// offsite's own records at the destination, over the fenced backend.
    pub records: Records,
    /// Its cache directory on this machine.
    pub dir: PathBuf,
    /// What this machine remembers of it; none before the first run.
    pub head: Option<Head>,
    /// Parts of the manifest that could not be read. Only a lenient [`load`](Self::load) fills it.
    pub lost: Vec<Lost>,
    /// Names at the top of a destination that was never synced to; `sync/preflight.rs` sets them.
    pub foreign: TopNames,
    /// The fenced backend below a seal: the objects as they lie there.
    pub(super) below: Arc<dyn Backend>,
    /// The writer key that this machine has for a sealed destination.
    pub(super) writer_key: Option<WriterKey>,
    /// The keys of this machine and its user.
    pub(super) keys: KeyRing,
    /// Only some of the key files were read.
    pub(super) few_keys: bool,
    /// The directory that a packed destination lies in, if it is one: for unfinished files and the reserve.
    pub directory: Option<Arc<dyn Tree>>,
    /// The layout that the caller wants. It decides that of a new destination.
    pub(super) wanted: Option<Layout>,
    /// How the caller wants a new destination to be sealed.
    pub(super) seal: Option<SealWish>,
    /// How many days old a pack must be before a run repacks it. `None`: no run does.
    pub repack_after: Option<u64>,
    lock: Option<FileLock<File>>,
    /// Identifies the local lock file; see `lease/record.rs`. Empty before [`lock`](Self::lock).
    pub writer: String,
}

impl Destination {
    /// Opens a destination to read it. Writes only to the local cache directory.
    ///
    /// # Errors
    /// [`Error::Store`] if the URL is not valid or the store cannot be opened. [`Error::Local`] if the cache directory
    /// cannot be used.
    pub async fn open(url: &str, machine: &Machine) -> Result<Self> {
        let mut destination = Self::below_seal(url, machine).await?;
        destination.unlock(&machine.keys).await?;
        Ok(destination)
    }

    /// Opens a destination to read contents.
    ///
    /// # Errors
    /// As for [`open`](Self::open). [`Error::Usage`] if it is sealed and nothing opens its contents.
    pub async fn open_contents(url: &str, machine: &Machine) -> Result<Self> {
        let mut destination = Self::below_seal(url, machine).await?;
        destination.unlock_contents(&machine.keys).await?;
        Ok(destination)
    }

    /// Opens a destination without unlocking it: a sealed one shows its objects as they lie there.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub async fn below_seal(url: &str, machine: &Machine) -> Result<Self> {
        Self::over(backends::open(url).await?, machine)
    }

    /// Like [`open`](Self::open), over a backend that is already open.
    ///
    /// # Errors
    /// [`Error::Local`] if the cache directory cannot be created, or if it belongs to another user.
    pub fn over(backend: Arc<dyn Backend>, machine: &Machine) -> Result<Self> {
        let id = Hash::of(&backend.location().identity()).to_string();
        let dir = machine.cache_dir.join(&id[..24]);
        private_dir(&machine.cache_dir)?;
        private_dir(&dir)?;
        let head = read_head(&dir.join("head.json"));
        if let Some(head) = &head {
            backend.assume_missing(&head.format.known_missing_features());
        }
        let hold = Arc::new(Hold::of(Arc::clone(&backend)));
        let fence: Arc<dyn Fence> = hold.clone();
        let backend: Arc<dyn Backend> = Arc::new(Fenced::new(backend, fence));
        let mut destination = Self {
            directory: backend.tree(),
            below: Arc::clone(&backend),
            writer_key: None,
            keys: machine.keys.clone(),
            few_keys: false,
            records: Records::new(Arc::clone(&backend)),
            backend,
            hold,
            dir,
            head,
            lost: Vec::new(),
            foreign: TopNames::default(),
            wanted: None,
            seal: None,
            repack_after: None,
            lock: None,
            writer: String::new(),
        };
        destination.settle_layout();
        destination.records.remember(destination.remembered());
        Ok(destination)
    }

    /// A packed destination is a store of objects, also in a directory.
    pub(super) fn settle_layout(&self) {
        if self.layout() == Layout::Packed {
            self.backend.use_objects_only();
        }
    }

    /// Takes the lock of this destination on this machine. It ends with the value or the process.
    ///
    /// # Errors
    /// [`Error::Busy`] if another process has the lock.
    pub fn lock(&mut self) -> Result<()> {
        let path = self.dir.join("lock");
        let file = private_file().write(true).create(true).truncate(false).open(&path).map_err(|e| cache_error(&path, e))?;
        let stat = rustix::fs::fstat(&file).map_err(|e| Error::cache(&path, e.into()))?;
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        self.writer = format!("{}:{:x}:{:x}", boot.trim(), stat.st_dev, stat.st_ino);
        self.lock = FileLock::try_take(file).map_err(|e| Error::cache(&path, e.into()))?;
        if self.lock.is_none() {
            let at = self.backend.location();
            return Err(Error::Busy(format!("{at}: another offsite on this machine is using it; wait until it ends")));
        }
        Ok(())
    }

    /// From now on, deletes nothing at this destination.
    ///
    /// # Errors
    /// [`Error::Usage`] for a directory, which knows no such right.
    pub fn append_only(&self) -> Result<()> {
        if self.directory.is_some() {
            let url = self.backend.location();
            return Err(Error::Usage(format!(
                "{url}: a directory cannot be append-only, because anyone who may write there may also delete; leave out --append-only \
                 (`append_only` in the config), and let the file system or the server keep snapshots"
            )));
        }
        self.backend.assume_append_only();
        Ok(())
    }

    /// The path of a file in its cache directory.
    pub fn local(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The number of the newest snapshot; 0 if there is none.
    pub fn number(&self) -> u64 {
        self.snapshot().map_or(0, |(s, _)| s.number)
    }

    /// The newest snapshot and the hash of its object, as of the last [`load`](Self::load).
    pub fn snapshot(&self) -> Option<&(Snapshot, Hash)> {
        self.head.as_ref()?.snapshot.as_ref()
    }

    /// A reader of the cached newest manifest, at its first entry.
    ///
    /// # Errors
    /// [`Error::Local`] if the cache file cannot be read. [`Error::Damaged`] if another version of offsite wrote it.
    pub fn base(&self) -> Result<CacheReader> {
        match &self.head {
            Some(Head { file: Some(file), own, .. }) => CacheReader::open(&self.dir.join(file), *own),
            _ => Ok(CacheReader::none()),
        }
    }

    /// Brings the cache up to the destination's newest snapshot. With `lenient` it continues without pages that
    /// cannot be read and lists them in `lost`. With `start_over` it treats an emptied destination as new.
    ///
    /// # Errors
    /// [`Error::Emptied`] if all snapshots have disappeared; [`Error::Busy`] if the listing misses a newer snapshot;
    /// [`Error::Damaged`] for a record or page that cannot be read.
    pub async fn load(&mut self, lenient: bool, start_over: bool) -> Result<()> {
        let known = self.number();
        let list = if known > 0 { self.records.snapshots(Some(known - 1)).await? } else { self.records.snapshots(None).await? };
        if known > 0 && self.is_current(&list).await? {
            return Ok(());
        }
        let list = if known > 0 { self.records.snapshots(None).await? } else { list };
        if known > 0 && list.is_empty() && !start_over {
            let url = self.backend.location();
            return Err(Error::Emptied { url: url.to_string(), last: known });
        }
        let format = self.records.format().await?;
        let Some(format) = format else {
            if list.is_empty() {
                return self.forget();
            }
            self.head = None;
            return match list.last() {
                None => Ok(()),
                Some(_) => Err(Error::damaged(self.records.url(Format::KEY), "it is missing although there are snapshots")),
            };
        };
        self.backend.assume_missing(&format.known_missing_features());
        self.not_downgraded(&format)?;
        if format.layout == Layout::Packed {
            self.backend.use_objects_only();
        }
        self.looked_past(&list).await?;
        let known_list: Vec<Listed> = list.iter().map(Listed::from).collect();
        let snapshot = match list.last() {
            None => None,
            Some(newest) => match self.records.snapshot(newest.number).await {
                Err(Error::Damaged { .. }) if lenient => None,
                read => Some(read?),
            },
        };
        if let Some((newest, hash)) = &snapshot {
            self.not_rolled_back(newest, hash)?;
        }
        self.rebuild(format, snapshot, known_list, lenient).await
    }

    /// Checks that the snapshot after the last listed one does not exist. A truncated listing would look like an
    /// older state, and the run would overwrite what is newer.
    async fn looked_past(&self, list: &[SnapshotRef]) -> Result<()> {
        let next = list.last().map_or(1, |s| s.number + 1);
        if self.records.has_snapshot(next).await? {
            let url = self.backend.location();
            return Err(Error::Busy(format!(
                "{url}: snapshot {next} exists, but the listing ends before it; if another run has just committed it, run again"
            )));
        }
        Ok(())
    }

    /// Whether the newest snapshot of the destination is the one that this machine knows. The number is not enough:
    /// another disk may be mounted there, or the destination may have been created again.
    pub(super) async fn is_current(&self, list: &[SnapshotRef]) -> Result<bool> {
        let Some(Head { snapshot: Some((_, hash)), list: known, file, .. }) = &self.head else { return Ok(false) };
        let (Some(last), [only]) = (known.last(), list) else { return Ok(false) };
        // A cache that another version of offsite wrote is rebuilt.
        let readable = file.as_ref().is_none_or(|file| CacheReader::open(&self.dir.join(file), None).is_ok());
        if only.number != last.number || !readable {
            return Ok(false);
        }
        if last.etag.is_some() && last.etag == only.etag {
            return Ok(true);
        }
        Ok(self.records.snapshot(only.number).await.is_ok_and(|(_, there)| there == *hash))
    }

    /// Builds the cache again from the destination's pages.
    async fn rebuild(&mut self, format: Format, snapshot: Option<(Snapshot, Hash)>, list: Vec<Listed>, lenient: bool) -> Result<()> {
        let mut head = Head {
            url: self.backend.location().to_string(),
            format,
            snapshot,
            list,
            inner: Vec::new(),
            own: None,
            file: None,
            pruned: self.head.as_ref().map_or(0, |h| h.pruned),
            locked: self.head.as_ref().and_then(|h| h.locked.clone()),
            repacked: self.head.as_ref().map_or(0, |h| h.repacked),
        };
        self.lost.clear();
        if let Some((snapshot, _)) = &head.snapshot
            && snapshot.root.is_some()
        {
            let name = format!("tree-{:016x}", crate::random());
            let (inner, lost) = download(&self.records, snapshot, &self.dir.join(&name), lenient, |_, _| true).await?;
            head.inner = inner;
            head.file = Some(name);
            self.lost = lost;
        }
        self.keep_head(head)
    }

    /// Writes `head.json` by a rename, so it is complete or old, and deletes caches that do not belong to it.
    ///
    /// # Errors
    /// [`Error::Local`] if `head.json` cannot be written, or if the cache directory cannot be listed.
    pub fn keep_head(&mut self, head: Head) -> Result<()> {
        let path = self.dir.join("head.json");
        let temp = self.dir.join(format!("head-{:016x}", crate::random()));
        let body = serde_json::to_vec(&head).map_err(|e| Error::damaged(path.display(), e))?;
        // A lenient load may be incomplete: the next load must not trust it.
        if self.lost.is_empty() {
            std::fs::write(&temp, body).and_then(|()| std::fs::rename(&temp, &path)).map_err(|e| Error::cache(&path, e))?;
        }
        for entry in std::fs::read_dir(&self.dir).map_err(|e| Error::cache(&self.dir, e))?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let old = name.starts_with("tree-") && head.file.as_ref() != Some(&name);
            if old || name.starts_with("head-") {
                let _ = std::fs::remove_file(entry.path());
            }
        }
        self.head = Some(head);
        Ok(())
    }

    /// The rules for keys; before the first run, those of a directory tree. The newest snapshot has what a run found
    /// out about the disk after the destination was created.
    pub fn rules(&self) -> KeyRules {
        let Some(head) = &self.head else { return KeyRules::any() };
        let newest = head.snapshot.as_ref().map(|(snapshot, _)| &snapshot.keys).filter(|keys| keys.disk.is_some());
        // A later probe found that the destination now lies on a disk that folds names.
        newest.filter(|keys| keys.folds() || !head.format.keys.folds()).unwrap_or(&head.format.keys).clone()
    }

    /// Probes how the disk of a directory treats names, if no run has done so, or if the destination has `moved`
    /// (`has_moved`). Returns whether the probe found anything new.
    ///
    /// # Errors
    /// [`Error::Local`] if the result cannot be written to the cache. A probe that fails is no error and finds nothing
    /// new.
    pub async fn look_at_disk(&mut self, moved: bool) -> Result<bool> {
        let (Some(tree), Some(mut head)) = (self.backend.tree(), self.head.clone()) else { return Ok(false) };
        let known = self.rules();
        if known.disk.is_some() && (known.folds() || !moved) {
            return Ok(false);
        }
        // The run itself will meet the same error.
        let Ok(disk) = probe_disk(&tree, PROBE).await else { return Ok(false) };
        let news = known.disk.as_ref().map_or(disk != DiskRules::default(), |known| *known != disk);
        head.format.keys.disk = Some(disk);
        self.keep_head(head)?;
        Ok(news)
    }
}

/// Whether the disk of a directory folds names, which can be new after a move to another disk: offsite's own name
/// exists there in capitals. One request, which can run in parallel with others.
pub async fn has_moved(backend: Arc<dyn Backend>) -> bool {
    let Some(tree) = backend.tree() else { return false };
    tree.stat(b".OFFSITE/format.json").await.is_ok_and(|found| found.is_some())
}

fn read_head(path: &Path) -> Option<Head> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// How many parts an upload of a file of this size has at this destination.
pub fn parts_of(destination: &Destination) -> Box<dyn Fn(u64) -> u64 + Send> {
    let capabilities = destination.backend.capabilities();
    // A packed destination gets whole packs, which the estimate counts by their bytes.
    let whole = destination.backend.tree().is_some() || destination.layout() == Layout::Packed;
    Box::new(move |size| if whole { 1 } else { size.div_ceil(part_size(size, &capabilities)).max(1) })
}
