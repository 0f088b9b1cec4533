//! Directories of this machine: the backend, and its tree and object store.
//!
//! Owns [`FileBackend`], which connects the parts: `dirs.rs` opens directories, `meta.rs` sets metadata, `staging.rs`
//! writes, `publish.rs` gives names, `read.rs` and `walk.rs` read, `put.rs` decides between competing writers,
//! `sweep.rs` clears the staging area, `store.rs` implements the object store, `tree.rs` the tree.
//! Invariant: nothing outside the root is touched, and no symlink below it is followed.

pub(crate) mod dirs;
mod init;
mod meta;
mod publish;
mod put;
mod read;
mod staging;
mod store;
mod sweep;
mod threads;
mod tree;
mod walk;

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{ObjectStore, PutMode, PutResult};

pub use put::etag;
pub use tree::LocalTree;

pub use crate::contract::tree::{FileKind, FileStat, STAGING, StageBlocks};

use self::threads::blocking;
use crate::contract::backend::Backend;
use crate::contract::capabilities::Capabilities;
use crate::contract::error::{Error, ErrorKind, Result};
use crate::contract::held::Refused;
use crate::contract::initialize::{InitMode, Initialize, Setting};
use crate::contract::listing::{Depth, Listed, Scope, Space, State};
use crate::contract::location::Location;
use crate::contract::meter::{Class, Meter};
use crate::contract::tree::{FileMeta, Tree};

/// A destination that is a directory of this machine.
pub struct FileBackend {
    location: Location,
    tree: LocalTree,
    store: Arc<store::FileStore>,
    meter: Arc<Meter>,
}

impl FileBackend {
    /// The directory that `location` names. Does no I/O. The directory need not exist before [`Backend::prepare`],
    /// but until then every operation fails with [`ErrorKind::NotFound`].
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a location with settings: a directory takes none.
    pub fn open(location: Location) -> Result<Self> {
        location.only_settings(&[])?;
        let tree = LocalTree::open(&location.dir(), STAGING)?;
        let meter = Arc::new(Meter::default());
        let store = Arc::new(store::FileStore::new(tree.area.clone(), meter.clone()));
        Ok(Self { location, tree, store, meter })
    }
}

#[async_trait]
impl Backend for FileBackend {
    fn location(&self) -> &Location {
        &self.location
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::DIRECTORY
    }

    fn store(&self) -> Arc<dyn ObjectStore> {
        self.store.clone()
    }

    fn multipart(&self) -> Option<Arc<dyn MultipartStore>> {
        None
    }

    fn meter(&self) -> &Meter {
        &self.meter
    }

    fn error(&self, key: &str, error: &object_store::Error) -> Error {
        Error::from_store(&self.location, key, error)
    }

    /// The clock of the file system. On a network file system it is the server's clock. If nothing can be written
    /// (the directory does not exist yet, or is read-only), it is the clock of this machine.
    async fn now(&self) -> Result<DateTime<Utc>> {
        let area = self.tree.area.clone();
        let touched = blocking(move || {
            area.dirs.root()?;
            let (temp, fd) = area.create()?;
            rustix::fs::fstat(&fd).map_err(|e| area.dirs.error(&temp.path, e))
        })
        .await;
        match touched {
            Ok(stat) => {
                let now = put::modified(&stat);
                self.meter.note_clock(now);
                Ok(now)
            }
            Err(e) if matches!(e.kind, ErrorKind::NotFound | ErrorKind::Denied | ErrorKind::ReadOnly) => Ok(Utc::now()),
            Err(e) => Err(e),
        }
    }

    async fn prepare(&self) -> Result<()> {
        let (dir, area) = (self.location.dir(), self.tree.area.clone());
        let location = self.location.clone();
        blocking(move || {
            std::fs::create_dir_all(&dir).map_err(|e| Error::from_io(&location, &e))?;
            area.dirs.root().map(drop)
        })
        .await
    }

    async fn copy_exact(&self, from: &Path, to: &Path, _size: u64, etag: Option<&str>, _over: PutMode) -> Result<PutResult> {
        self.meter.call(Class::Copy, || self.tree.area.dirs.shown(from.as_ref().as_bytes()));
        let area = self.tree.area.clone();
        let (from, to) = (from.clone(), to.clone());
        let etag = etag.map(str::to_owned);
        blocking(move || {
            let (source, stat) = read::open_file(&area.dirs, from.as_ref().as_bytes())?;
            put::expect(&area, from.as_ref().as_bytes(), &stat, etag.as_deref())?;
            // Copies the file that was compared, even if its name belongs to another file by now.
            let size = stat.st_size.unsigned_abs();
            let staged = area.stage_copy_of(&source, size, &FileMeta::default())?;
            put::name(&area, staged, to.as_ref().as_bytes(), &put::LocalPutMode::Overwrite)
        })
        .await
    }

    /// Lists in no particular order. Memory grows only with the number of directories. Ends with an error at a
    /// directory that cannot be read.
    fn list(&self, _: Scope, depth: Depth) -> BoxStream<'static, Result<Listed>> {
        if depth == Depth::Unfinished {
            return futures::stream::empty().boxed();
        }
        self.meter.call(Class::List, || self.location.to_string());
        walk::list(self.tree.area.clone(), Vec::new(), walk::Order::Any)
            .map(|found| {
                let found = found?;
                Ok(Listed {
                    size: found.stat.st_size.unsigned_abs(),
                    etag: Some(put::etag_of(&found.stat)),
                    modified: put::modified(&found.stat),
                    key: found.key,
                    state: State::Current,
                    version: None,
                    class: None,
                })
            })
            .boxed()
    }

    async fn space(&self) -> Result<Option<Space>> {
        let dir = self.location.dir();
        blocking(move || {
            let room = rustix::fs::statvfs(&dir).map_err(|e| Error::from_io(dir.display(), &e.into()))?;
            Ok(Some(Space { total: room.f_blocks * room.f_frsize, free: room.f_bavail * room.f_frsize }))
        })
        .await
    }

    async fn initialize(&self, want: &Initialize, mode: InitMode) -> Result<Vec<Setting>> {
        Ok(init::initialize(self, want, mode).await)
    }

    async fn delete_versions(&self, versions: Vec<(Path, String)>) -> Result<Vec<Refused>> {
        match versions.is_empty() {
            true => Ok(Vec::new()),
            false => Err(Error::new(ErrorKind::Unsupported, &self.location, "a directory keeps no versions of its own")),
        }
    }

    fn tree(&self) -> Option<Arc<dyn Tree>> {
        Some(Arc::new(self.tree.clone()))
    }
}
