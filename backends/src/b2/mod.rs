//! Backblaze B2, by its native API.
//!
//! Owns [`B2Backend`]. All modules share one account (`session.rs`). Contents are handled in `upload.rs`, `put.rs`,
//! `large.rs` and `read.rs`, two competing writers in `claim.rs`, the traits in `store.rs`. A file id is both the tag
//! and the version of a content. Unlike a sha1 it names one upload, and large files have one too.
//! Invariants: opening sends no request and reads no key. Only a full, exact name is ever acted on.

mod claim;
mod credentials;
mod error;
mod init;
mod large;
mod list;
mod mark;
mod parts;
mod policy;
mod put;
mod read;
mod rooted;
mod session;
mod store;
mod upload;
mod versions;
mod wire;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{MultipartId, ObjectStore, PutMode, PutResult};
use sha1::Sha1;
use url::Url;

use self::error::Failure;
use self::large::B2CopyLimits;
use self::put::untagged;
use self::rooted::B2Store;
use self::session::{Account, HOME};
use self::wire::Wire;
use crate::contract::backend::{Backend, Stretch};
use crate::contract::capabilities::Capabilities;
use crate::contract::error::{Error, ErrorKind, Result, chain};
use crate::contract::held::{Held, Refused};
use crate::contract::initialize::{InitMode, Initialize, Setting};
use crate::contract::listing::{Depth, Listed, Scope, Space};
use crate::contract::location::Location;
use crate::contract::meter::Meter;

pub(crate) use self::policy::writer_policy;

/// The settings that the query of a `b2://` URL may have.
pub(crate) const SETTINGS: &[&str] = &["endpoint", "key_file"];

/// The largest copy that is one request, and the size of the parts of a larger one, in bytes.
const COPY: B2CopyLimits = B2CopyLimits { whole: 5_000_000_000, part: 1 << 30 };

/// Deletes of versions in flight; Backblaze has no call for several.
const DELETES: usize = 16;

/// A bucket, or a prefix in one.
///
/// Errors name `b2://bucket/prefix/key`, what the server said, and what to do about it.
pub struct B2Backend {
    location: Location,
    store: B2Store,
}

impl B2Backend {
    /// Opens a bucket by its URL. Settings in the query: `endpoint` (a server other than Backblaze's own;
    /// default: `B2_ENVIRONMENT`) and `key_file`. Without `key_file` the key is in `B2_APPLICATION_KEY_ID`
    /// and `B2_APPLICATION_KEY`. Sends no request and reads no key.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a setting, bucket name or prefix that is not valid.
    pub fn open(location: Location) -> Result<Self> {
        location.only_settings(SETTINGS)?;
        let prefix = parse_prefix(&location)?;
        check_bucket(&location)?;
        let asked = location.settings().get("endpoint").filter(|text| !text.is_empty()).cloned().or_else(credentials::environment);
        let home = asked.map(|text| endpoint(&location, &text)).transpose()?;
        let location = location.served_by(home.as_deref().unwrap_or_default());
        let home = home.unwrap_or_else(|| HOME.into());
        let wire = Wire::new(home.starts_with("https:"));
        let wire = wire.map_err(|error| Error::new(ErrorKind::Other, &location, chain(&error)))?;
        let account = Account::new(location.clone(), prefix, wire, home);
        let store = B2Store { account: Arc::new(account), pool: Arc::default(), copy: COPY };
        Ok(Self { location, store })
    }

    /// Sets the size above which a copy is made in parts (default: Backblaze's own 5 GB) and the size of
    /// those parts (default: 1 GiB), both in bytes. For tests.
    #[must_use]
    pub fn with_copy_limits(mut self, whole: u64, part: u64) -> Self {
        self.store.copy = B2CopyLimits { whole, part: part.max(1) };
        self
    }

    fn about(&self, key: &str, failure: Failure) -> Error {
        failure.about(&self.location, key)
    }
}

/// Shows only the location.
impl fmt::Debug for B2Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "B2Backend({})", self.location)
    }
}

/// The prefix; refused if Backblaze would refuse its names.
fn parse_prefix(location: &Location) -> Result<String> {
    let bad = |why: &str| Error::invalid(location, format!("this prefix is not possible: {why}"));
    let text = std::str::from_utf8(location.path()).map_err(|_| bad("it is not UTF-8"))?;
    let path = Path::parse(text).map_err(|error| bad(&chain(&error)))?;
    match path.as_ref() == text && !text.contains('\\') {
        true => Ok(text.to_owned()),
        false => Err(bad("Backblaze allows no backslash, `.` or `..` in a name")),
    }
}

fn check_bucket(location: &Location) -> Result<()> {
    let name = location.host();
    let fits = (6..=63).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    match fits {
        true => Ok(()),
        false => Err(Error::invalid(location, format!("`{name}` cannot be a bucket's name: 6 to 63 letters, digits and hyphens"))),
    }
}

fn endpoint(location: &Location, text: &str) -> Result<String> {
    let bad = || Error::invalid(location, format!("endpoint `{text}` is not a URL; it must begin with https:// or http://"));
    let url = Url::parse(text).map_err(|_| bad())?;
    match matches!(url.scheme(), "http" | "https") && url.host().is_some() && url.username().is_empty() {
        true => Ok(url.as_str().trim_end_matches('/').to_owned()),
        false => Err(bad()),
    }
}

#[async_trait]
impl Backend for B2Backend {
    fn location(&self) -> &Location {
        &self.location
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            conditions_are_free: false,
            min_part: 5_000_000,
            max_object: 10_000_000_000_000,
            transfers: 32,
            checksum: Some("sha1"),
            part_copies: true,
            hides: true,
            ..Capabilities::BUCKET
        }
    }

    fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::new(self.store.clone())
    }

    fn multipart(&self) -> Option<Arc<dyn MultipartStore>> {
        Some(Arc::new(self.store.clone()))
    }

    fn meter(&self) -> &Meter {
        &self.store.account.wire.meter
    }

    fn error(&self, key: &str, error: &object_store::Error) -> Error {
        Error::from_store(&self.location, key, error)
    }

    async fn now(&self) -> Result<DateTime<Utc>> {
        if self.meter().clock().is_none() {
            self.store.account.session(None).await.map_err(|failure| self.about("", failure))?;
        }
        let unknown = || Error::new(ErrorKind::Unsupported, &self.location, "the server's responses have no Date, so its clock is unknown");
        self.meter().clock().ok_or_else(unknown)
    }

    /// Sends nothing: if the bucket does not exist, the first request fails and says so.
    async fn prepare(&self) -> Result<()> {
        Ok(())
    }

    async fn copy_exact(&self, from: &Path, to: &Path, size: u64, etag: Option<&str>, _over: PutMode) -> Result<PutResult> {
        let fail = |failure| self.about(from.as_ref(), failure);
        let (id, size) = match etag {
            Some(etag) => (untagged(etag).to_owned(), size),
            None => {
                let seen = self.store.look(from).await.map_err(fail)?;
                (seen.id().to_owned(), seen.content_length.unwrap_or(size))
            }
        };
        let copied = self.store.account.copy(&self.store.pool, &id, &self.store.name(to), size, self.store.copy).await;
        match copied {
            // The id was deleted or never existed: another version may be current.
            Err(failure) if etag.is_some() && matches!(failure.kind, ErrorKind::NotFound | ErrorKind::Invalid) => {
                let seen = self.store.look(from).await.map_err(fail)?;
                if untagged(etag.unwrap_or_default()) == seen.id() {
                    return Err(fail(failure));
                }
                Err(fail(Failure::new(ErrorKind::Precondition, "it is not the version that should be copied")))
            }
            copied => copied.map_err(fail),
        }
    }

    async fn copy_part(&self, _to: &Path, id: &MultipartId, index: usize, from: &Stretch<'_>) -> Result<PartId> {
        let copied = self.store.account.copy_part(untagged(from.etag), id, index, from.range()).await;
        let part = copied.map_err(|failure| self.about(from.from.as_ref(), failure))?;
        match part.content_id == hex::encode(from.digest::<Sha1>().await) {
            true => Ok(part),
            false => Err(from.unproved(&self.location)),
        }
    }

    fn assume_append_only(&self) {
        self.store.account.assume_append_only();
    }

    fn is_append_only(&self) -> bool {
        self.store.account.is_append_only()
    }

    fn list(&self, scope: Scope, depth: Depth) -> BoxStream<'static, Result<Listed>> {
        list::list(self.store.account.clone(), scope, depth)
    }

    /// A bucket has no size limit, and Backblaze does not say how much of the account's cap is left.
    async fn space(&self) -> Result<Option<Space>> {
        Ok(None)
    }

    async fn initialize(&self, want: &Initialize, mode: InitMode) -> Result<Vec<Setting>> {
        Ok(init::initialize(&self.store.account, want, mode).await)
    }

    async fn delete_versions(&self, versions: Vec<(Path, String)>) -> Result<Vec<Refused>> {
        let delete = |(path, version): (Path, String)| async move {
            let gone = self.store.account.delete_version(&self.store.name(&path), &version).await;
            let Err(error) = gone.map_err(|failure| self.about(path.as_ref(), failure)) else { return Ok(None) };
            if error.kind == ErrorKind::Denied { Ok(Some(Refused { path, version, error })) } else { Err(error) }
        };
        let done = stream::iter(versions).map(delete).buffer_unordered(DELETES);
        done.try_filter_map(|refused| async { Ok(refused) }).try_collect().await
    }

    async fn held(&self, path: &Path, version: Option<&str>) -> Result<Held> {
        let held = self.store.account.held(&self.store.name(path), version).await;
        held.map_err(|failure| self.about(path.as_ref(), failure))
    }
}
