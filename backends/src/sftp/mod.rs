//! Directories of SFTP servers: the backend, and its tree and object store.
//!
//! Owns [`SftpBackend`], which connects the parts: `address.rs` reads the URL, `ssh.rs` runs `ssh`, `packet.rs`,
//! `session.rs` and `ops.rs` speak version 3, `link.rs` reconnects, `dirs.rs` checks directories, `staging.rs`,
//! `blocks.rs` and `copy.rs` write, `publish.rs`, `rename.rs` and `links.rs` give names, `read.rs` and `walk.rs`
//! read, `put.rs` decides between competing writers, `store.rs` implements the object store, `tree.rs` the tree.
//! Invariant: `ssh` alone decides whether the server is trusted. No symlink below the root is followed.

mod address;
mod blocks;
mod copy;
mod dirs;
mod init;
mod link;
mod links;
mod meta;
mod ops;
mod packet;
mod publish;
mod put;
mod read;
mod rename;
mod reserve;
mod session;
mod ssh;
mod staging;
mod store;
mod tree;
mod unlock;
mod walk;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{ObjectStore, PutMode, PutResult};

pub(crate) use self::address::SETTINGS;
use crate::contract::backend::Backend;
use crate::contract::capabilities::Capabilities;
use crate::contract::error::{Error, ErrorKind, Result};
use crate::contract::held::Refused;
use crate::contract::initialize::{InitMode, Initialize, Setting};
use crate::contract::listing::{Depth, Listed, Scope, Space, State};
use crate::contract::location::Location;
use crate::contract::meter::{Class, Meter};
use crate::contract::tree::{FileMeta, STAGING, Tree};
use address::Address;
use dirs::SftpDirs;
use link::Link;
use staging::SftpStaging;

/// A destination that is a directory of an SFTP server.
pub struct SftpBackend {
    location: Location,
    area: Arc<SftpStaging>,
    meter: Arc<Meter>,
}

impl SftpBackend {
    /// The directory that `location` names. Does no I/O: the first operation starts `ssh`.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a user, host, port or setting that is not valid.
    pub fn open(location: Location) -> Result<Self> {
        let meter = Arc::new(Meter::default());
        let address = Address::new(&location)?;
        let link = Arc::new(Link::new(location.clone(), address, Arc::clone(&meter)));
        Ok(Self { location, area: Arc::new(SftpStaging::new(SftpDirs::new(link), STAGING)), meter })
    }

    /// Number of requests sent to the server so far. One call of the backend can take several.
    pub fn packets(&self) -> u64 {
        self.area.dirs.link.packets.load(Relaxed)
    }
}

#[async_trait]
impl Backend for SftpBackend {
    fn location(&self) -> &Location {
        &self.location
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { compare_and_swap: false, transfers: 64, ..Capabilities::DIRECTORY }
    }

    fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::new(store::SftpStore(Arc::clone(&self.area)))
    }

    fn multipart(&self) -> Option<Arc<dyn MultipartStore>> {
        None
    }

    /// Counts calls. Each call takes one or more requests; see [`SftpBackend::packets`].
    fn meter(&self) -> &Meter {
        &self.meter
    }

    fn error(&self, key: &str, error: &object_store::Error) -> Error {
        Error::from_store(&self.location, key, error)
    }

    /// The clock that the server uses for the times of a new file. If nothing can be written (the directory does not
    /// exist yet, or is read-only), it is the clock of this machine.
    async fn now(&self) -> Result<DateTime<Utc>> {
        self.meter.call(Class::Head, || self.location.to_string());
        let touched = async {
            self.area.dirs.root().await?;
            let (temp, handle) = self.area.create().await?;
            match ops::attrs(handle.stat()).await {
                Ok(found) => Ok(found.unwrap_or_default()),
                Err(fault) => Err(self.area.dirs.link.error(&temp.path, &fault)),
            }
        };
        match touched.await {
            Ok(attrs) => {
                let now = meta::modified(&attrs);
                self.meter.note_clock(now);
                Ok(now)
            }
            Err(e) if matches!(e.kind, ErrorKind::NotFound | ErrorKind::Denied) && self.area.dirs.link.current().is_some() => {
                Ok(Utc::now())
            }
            Err(e) => Err(e),
        }
    }

    async fn prepare(&self) -> Result<()> {
        self.area.dirs.make_root().await
    }

    async fn copy_exact(&self, from: &Path, to: &Path, _size: u64, etag: Option<&str>, _over: PutMode) -> Result<PutResult> {
        self.meter.call(Class::Copy, || self.area.dirs.link.shown(from.as_ref().as_bytes()));
        let (from, to) = (from.as_ref().as_bytes(), to.as_ref().as_bytes());
        let found = read::File::open(&self.area, from).await?;
        put::expect(&self.area, from, &found.attrs, etag)?;
        let temp = self.area.stage_copy(from, found.size, &FileMeta::default(), true).await?;
        put::name(&self.area, temp, to, put::SftpPutMode::Overwrite).await
    }

    /// Lists in no particular order. Ends with an error at a directory that cannot be read.
    fn list(&self, _: Scope, depth: Depth) -> BoxStream<'static, Result<Listed>> {
        if depth == Depth::Unfinished {
            return futures::stream::empty().boxed();
        }
        self.meter.call(Class::List, || self.location.to_string());
        let listed = |found: Result<walk::WalkedPath>| {
            let (key, attrs) = found?;
            Ok(Listed {
                key,
                size: attrs.size.unwrap_or_default(),
                etag: Some(meta::etag(&attrs)),
                modified: meta::modified(&attrs),
                state: State::Current,
                version: None,
                class: None,
            })
        };
        walk::files(Arc::clone(&self.area), Vec::new()).map(listed).boxed()
    }

    async fn space(&self) -> Result<Option<Space>> {
        self.meter.call(Class::Head, || self.location.to_string());
        let root = self.area.dirs.full(b"");
        let asked = self.area.dirs.link.run(b"", |session, _| {
            let root = &root;
            async move { session.space(root).await }
        });
        asked.await
    }

    async fn initialize(&self, want: &Initialize, mode: InitMode) -> Result<Vec<Setting>> {
        init::initialize(self, &self.area.dirs, want, mode).await
    }

    async fn delete_versions(&self, versions: Vec<(Path, String)>) -> Result<Vec<Refused>> {
        match versions.is_empty() {
            true => Ok(Vec::new()),
            false => Err(Error::new(ErrorKind::Unsupported, &self.location, "a directory keeps no versions of its own")),
        }
    }

    fn tree(&self) -> Option<Arc<dyn Tree>> {
        Some(Arc::new(tree::SftpTree(Arc::clone(&self.area))))
    }
}
