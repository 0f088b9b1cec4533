//! One destination at a service of OpenDAL: a data plane without a control plane, which its [`Capabilities`] say.
//!
//! Owns [`OpendalBackend`]. `config.rs` makes a service from a URL, `wire.rs` counts its requests, `store.rs`,
//! `list.rs`, `dirs.rs` and `parts.rs` are the data plane over it, `error.rs` its errors. Does not use
//! `object_store_opendal`, which decodes `%` in keys, lists directories as objects, and loses tags. Invariants: a key
//! is sent to the service unchanged or not at all; what a service cannot do is refused.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutResult};
use opendal::Operator;

use super::parts::{PartStore, WHOLE};
use super::rooted::OpendalStore;
use super::services::OpendalService;
use super::{config, error, list};
use crate::contract::backend::Backend;
use crate::contract::capabilities::Capabilities;
use crate::contract::error::{Error, ErrorKind, Result};
use crate::contract::held::Refused;
use crate::contract::initialize::{InitMode, Initialize, Rights, Setting, settle};
use crate::contract::listing::{Depth, Listed, Scope, Space};
use crate::contract::location::Location;
use crate::contract::meter::Meter;
use crate::wire::probe::Probe;

/// The object that is requested to read the store's clock. Whether it exists does not matter.
const ANY: &str = ".offsite/format.json";

/// Longest wait for a copy that the server makes later.
const COPYING: Duration = Duration::from_mins(5);

/// A destination at a service of OpenDAL.
pub struct OpendalBackend {
    location: Location,
    store: Arc<OpendalStore>,
    parts: Arc<PartStore>,
    probe: Arc<Probe>,
    /// The same service, rooted at its top.
    top: Operator,
    service: &'static OpendalService,
}

impl OpendalBackend {
    /// Opens a destination by its URL: `webdav://user@host/path`, `azblob://container/prefix?account_name=…`. Secrets
    /// come from variables (`config.rs`). Sends nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a setting or prefix that is not valid.
    pub fn open(location: Location) -> Result<Self> {
        let probe = Arc::new(Probe::default());
        let made = config::make(&location, &probe)?;
        let location = location.served_by(&made.server);
        let store = Arc::new(OpendalStore::new(made.rooted, location.clone(), made.service.is_tree, made.copies));
        Ok(Self { parts: Arc::new(PartStore::new(store.clone())), location, store, probe, top: made.top, service: made.service })
    }

    /// Waits for a copy that the server has only promised. It is complete when it is as long as its source.
    async fn copied(&self, to: &Path, size: u64) -> Result<PutResult> {
        let end = tokio::time::Instant::now() + COPYING;
        loop {
            let made = self.store.head(to).await.map_err(|e| self.error(to.as_ref(), &e))?;
            if made.size == size {
                return Ok(PutResult { e_tag: made.e_tag, version: None, extensions: Default::default() });
            }
            if tokio::time::Instant::now() > end {
                let message = format!("the server has not made the copy within {} s", COPYING.as_secs());
                return Err(Error::new(ErrorKind::Transient, self.location.at(to.as_ref()), message));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Whether the container or the directory exists.
    async fn look(&self) -> Result<&'static str> {
        let first = async || self.store.operator.lister_with("/").limit(1).await?.try_next().await.map(drop);
        let found = if self.service.is_tree { self.store.operator.stat("/").await.map(drop) } else { first().await };
        match found.map_err(|e| error::error(&self.location, "", e)) {
            Ok(()) => Ok("there"),
            Err(e) if e.kind == ErrorKind::NotFound => Ok("missing"),
            Err(e) => Err(e),
        }
    }
}

#[async_trait]
impl Backend for OpendalBackend {
    fn location(&self) -> &Location {
        &self.location
    }

    fn capabilities(&self) -> Capabilities {
        let can = self.store.operator.info().capability();
        Capabilities {
            create_only: can.write_with_if_not_exists,
            compare_and_swap: can.write_with_if_match,
            server_copy: can.copy && self.store.copies,
            min_part: can.write_multi_min_size.unwrap_or(0).max(5 << 20) as u64,
            max_object: if can.write_can_multi { 5 << 40 } else { WHOLE },
            transfers: 16,
            versions: false,
            control: false,
            ..Capabilities::BUCKET
        }
    }

    fn store(&self) -> Arc<dyn ObjectStore> {
        self.store.clone()
    }

    fn multipart(&self) -> Option<Arc<dyn MultipartStore>> {
        Some(self.parts.clone())
    }

    fn meter(&self) -> &Meter {
        &self.probe.meter
    }

    fn error(&self, key: &str, error: &object_store::Error) -> Error {
        Error::from_store(&self.location, key, error)
    }

    /// From the `Date` of the last answer. Before the first answer, one request reads it.
    async fn now(&self) -> Result<DateTime<Utc>> {
        if let Some(now) = self.probe.meter.clock() {
            return Ok(now);
        }
        match self.store.operator.stat(ANY).await {
            Err(e) if e.kind() != opendal::ErrorKind::NotFound => Err(error::error(&self.location, "", e)),
            // For a server that gives no time, this machine's clock counts.
            _ => Ok(self.probe.meter.clock().unwrap_or_else(Utc::now)),
        }
    }

    /// Sends nothing: the first write makes what it needs, or says what is missing.
    async fn prepare(&self) -> Result<()> {
        Ok(())
    }

    /// These services cannot bind a copy to a tag of its source. The source is looked at first, which is sufficient
    /// under the lease.
    async fn copy_exact(&self, from: &Path, to: &Path, _: u64, etag: Option<&str>, _over: PutMode) -> Result<PutResult> {
        let failed = |key: &Path, e: object_store::Error| self.error(key.as_ref(), &e);
        let found = self.store.head(from).await.map_err(|e| failed(from, e))?;
        let plain = |tag: &str| tag.trim_matches('"').to_owned();
        if etag.is_some_and(|wanted| found.e_tag.as_deref().map(plain) != Some(plain(wanted))) {
            let message = "the object is not the one that should be copied";
            return Err(Error::new(ErrorKind::Precondition, self.location.at(from.as_ref()), message));
        }
        self.store.copy(from, to).await.map_err(|e| failed(from, e))?;
        self.copied(to, found.size).await
    }

    fn list(&self, scope: Scope, depth: Depth) -> BoxStream<'static, Result<Listed>> {
        if depth == Depth::Unfinished {
            return futures::stream::empty().boxed();
        }
        let operator = match scope {
            Scope::Prefix => self.store.operator.clone(),
            Scope::Bucket => self.top.clone(),
        };
        let location = self.location.clone();
        list::walk(operator, String::new()).map_ok(list::ListedFile::listed).map_err(move |e| error::error(&location, "", e)).boxed()
    }

    async fn delete_versions(&self, versions: Vec<(Path, String)>) -> Result<Vec<Refused>> {
        match versions.is_empty() {
            true => Ok(Vec::new()),
            false => Err(Error::new(ErrorKind::Unsupported, &self.location, "offsite does not use versions at this store")),
        }
    }

    async fn space(&self) -> Result<Option<Space>> {
        Ok(None)
    }

    async fn initialize(&self, want: &Initialize, mode: InitMode) -> Result<Vec<Setting>> {
        let name = if self.service.is_tree { "directory" } else { "bucket" };
        let rights = Rights { look: "the right to list", make: "the right to create a directory" };
        let make = async || match self.service.is_tree {
            true => self.store.operator.create_dir("/").await.map_err(|e| error::error(&self.location, "", e)),
            false => {
                let message = "offsite does not create containers; use the store's own tools, such as `az storage container create`";
                Err(Error::new(ErrorKind::Unsupported, &self.location, message))
            }
        };
        let found = self.look().await;
        let mut rows = vec![settle(name, mode, &rights, found, "there", |was| *was == "there", make).await];
        let why = |name| match name {
            "versioning" => "offsite keeps replaced files in .offsite/kept here; switch versions on or off with the store's own tools",
            "expire old versions" => "use `offsite prune --keep-within`",
            _ => "offsite does not configure this store; use its own tools",
        };
        rows.extend(want.wished().into_iter().map(|(name, wanted)| Setting::cannot(name, wanted, why(name))));
        Ok(rows)
    }
}

/// Only the location, because a service's settings may contain secrets.
impl fmt::Debug for OpendalBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpendalBackend({})", self.location)
    }
}
