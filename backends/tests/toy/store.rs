//! A toy store: buckets in the memory of this process, `toy://bucket/prefix`.
//!
//! Owns [`ToyBackend`], which says of itself what `docs/add-a-store.md` asks for. A real store has its client where this has
//! [`InMemory`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt, PutResult};
use offsite_backends::initialize::{InitMode, Rights, Setting, settle};
use offsite_backends::{
    Backend, Capabilities, Depth, Error, ErrorKind, Initialize, Listed, Location, Meter, Refused, Result, Scope, Space, State,
};

/// What may stand in the query of a `toy://` URL.
pub const SETTINGS: &[&str] = &["colour"];

/// The buckets of the toy's one server.
static SERVER: Mutex<Option<HashMap<String, Arc<InMemory>>>> = Mutex::new(None);

/// A bucket, or a prefix in one.
pub struct ToyBackend {
    location: Location,
    prefix: Path,
    bucket: Arc<InMemory>,
    meter: Meter,
}

impl ToyBackend {
    /// Opens a bucket by its URL; all buckets are there.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a setting or prefix that cannot be.
    pub fn open(location: Location) -> Result<Self> {
        location.only_settings(SETTINGS)?;
        let prefix = location.prefix()?;
        let mut server = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = Arc::clone(server.get_or_insert_default().entry(location.host().to_owned()).or_default());
        Ok(Self { location, prefix, bucket, meter: Meter::default() })
    }

    fn rooted(&self) -> Arc<PrefixStore<Arc<InMemory>>> {
        Arc::new(PrefixStore::new(Arc::clone(&self.bucket), self.prefix.clone()))
    }
}

fn listed(meta: ObjectMeta) -> Listed {
    Listed {
        key: meta.location.as_ref().as_bytes().to_vec(),
        size: meta.size,
        etag: meta.e_tag,
        modified: meta.last_modified,
        state: State::Current,
        version: None,
        class: None,
    }
}

#[async_trait]
impl Backend for ToyBackend {
    fn location(&self) -> &Location {
        &self.location
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { max_object: 1 << 30, transfers: 8, versions: false, control: false, ..Capabilities::BUCKET }
    }

    fn store(&self) -> Arc<dyn ObjectStore> {
        self.rooted()
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

    async fn now(&self) -> Result<DateTime<Utc>> {
        Ok(Utc::now())
    }

    async fn prepare(&self) -> Result<()> {
        Ok(())
    }

    async fn copy_exact(&self, from: &Path, to: &Path, _size: u64, etag: Option<&str>, _over: object_store::PutMode) -> Result<PutResult> {
        let store = self.rooted();
        // Manifests hold tags without their quotes, and the store compares them with.
        let if_match = etag.map(|tag| format!("\"{}\"", tag.trim_matches('"')));
        let options = GetOptions { if_match, ..GetOptions::default() };
        let found = async { store.get_opts(from, options).await?.bytes().await };
        let content = found.await.map_err(|error| self.error(from.as_ref(), &error))?;
        store.put(to, content.into()).await.map_err(|error| self.error(to.as_ref(), &error))
    }

    fn list(&self, scope: Scope, depth: Depth) -> BoxStream<'static, Result<Listed>> {
        if depth == Depth::Unfinished {
            return stream::empty().boxed();
        }
        let location = self.location.clone();
        let found = match scope {
            Scope::Prefix => self.rooted().list(None),
            Scope::Bucket => self.bucket.list(None),
        };
        found.map_ok(listed).map_err(move |error| Error::from_store(&location, "", &error)).boxed()
    }

    async fn space(&self) -> Result<Option<Space>> {
        Ok(None)
    }

    async fn initialize(&self, _: &Initialize, mode: InitMode) -> Result<Vec<Setting>> {
        let rights = Rights { look: "the right to look", make: "the right to make a bucket" };
        Ok(vec![settle("bucket", mode, &rights, Ok("there"), "there", |_| true, async || Ok(())).await])
    }

    async fn delete_versions(&self, versions: Vec<(Path, String)>) -> Result<Vec<Refused>> {
        match versions.is_empty() {
            true => Ok(Vec::new()),
            false => Err(Error::new(ErrorKind::Unsupported, &self.location, "a toy keeps no versions")),
        }
    }
}
