//! The seam: what the engine asks of a destination, whatever it is.
//!
//! Owns [`Backend`]. Knows no store; each store's folder fills it in. Invariant: what differs between stores is said by
//! [`Capabilities`], never asked by scheme.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{MultipartId, ObjectStore, ObjectStoreExt, PutMode, PutResult};

use crate::contract::archive::{Restore, Restoring};
use crate::contract::capabilities::Capabilities;
use crate::contract::error::{Error, ErrorKind, Result};
use crate::contract::fence;
use crate::contract::held::{Held, Refused};
use crate::contract::initialize::{InitMode, Initialize, Setting};
use crate::contract::lacks::Lack;
use crate::contract::listing::{Depth, Listed, Scope, Space};
use crate::contract::location::Location;
use crate::contract::meter::Meter;
use crate::contract::tree::Tree;

/// One destination: a data plane and what the data plane cannot say.
///
/// Every method may be called from several tasks at once. Errors carry the URL and never a credential.
#[async_trait]
pub trait Backend: Send + Sync {
    /// Scheme, bucket and prefix; safe to print.
    fn location(&self) -> &Location;

    /// What this store can do; constant for the life of the value.
    fn capabilities(&self) -> Capabilities;

    /// The data plane, rooted at the prefix. Puts are atomic: a reader sees the old object or the
    /// new one. A create-only put that had to be retried may answer `AlreadyExists` because of its
    /// own first try: compare before believing it.
    fn store(&self) -> Arc<dyn ObjectStore>;

    /// Uploads in parts that can be taken up again by another process, rooted at the prefix; none
    /// where a store has no such thing.
    fn multipart(&self) -> Option<Arc<dyn MultipartStore>>;

    /// Requests and bytes so far, counted on the wire where there is one (retries included).
    fn meter(&self) -> &Meter;

    /// What an error of the data plane about the object at `key` means: its kind, how far it reaches, and what to do.
    /// Stores whose servers say more than `object_store` has kinds for read it out here; for all others it is
    /// [`Error::from_store`].
    fn error(&self, key: &str, error: &object_store::Error) -> Error;

    /// Nanoseconds since this machine was started, sleep included (`CLOCK_BOOTTIME`): what a right that runs out is
    /// measured by here. Only a test puts it forward.
    fn boot_clock(&self) -> u64 {
        fence::boot_clock()
    }

    /// The time by the store's clock. Costs at most one request.
    async fn now(&self) -> Result<DateTime<Utc>>;

    /// Makes the place ready to be written to for the first time: a directory is created with its
    /// parents, a bucket must exist. Idempotent.
    async fn prepare(&self) -> Result<()>;

    /// Whether what is replaced or removed from now on stays readable by the version that its put was
    /// answered with. Most stores keep that promise once it was given; where it hangs on a setting of the
    /// bucket that can be taken back, this asks, with at most one request in the life of the value.
    async fn keeps_versions(&self) -> Result<bool> {
        Ok(true)
    }

    /// Copies one object on the server, replacing `to`. With `etag`, the copy is made only of
    /// exactly that content, even if it was replaced and is kept as a version, and answers
    /// [`ErrorKind::Precondition`] where that cannot be had any more; without a source it
    /// answers [`ErrorKind::NotFound`]. `size` is what the manifest says, in bytes, so that large
    /// objects can be copied in parts. Atomic: `to` is the old object or the whole new one.
    ///
    /// `over` says what may lie at `to`. A store that can compare (S3, GCS) answers [`ErrorKind::Precondition`] or
    /// [`ErrorKind::Exists`] where something else does, and leaves it; all others replace whatever is there.
    async fn copy_exact(&self, from: &Path, to: &Path, size: u64, etag: Option<&str>, over: PutMode) -> Result<PutResult>;

    /// Ends an upload in parts: `to` becomes what they hold, in order. Atomic. `over` says what may lie at `to`; a
    /// store that can compare (S3) refuses with `Precondition`, `AlreadyExists` or `NotFound` where something else
    /// does, and the upload stays; all others replace whatever is there.
    async fn complete_upload(&self, to: &Path, id: &MultipartId, parts: Vec<PartId>, over: PutMode) -> object_store::Result<PutResult> {
        let _ = over;
        match self.multipart() {
            Some(store) => store.complete_multipart(to, id, parts).await,
            None => Err(object_store::Error::NotSupported { source: "this store has no uploads in parts".into() }),
        }
    }

    /// What the store turned out not to do so far, in a fixed order. Each of these is worked around already.
    fn lacks(&self) -> Vec<Lack> {
        Vec::new()
    }

    /// Takes an earlier run's word for what the store does not do, which saves the requests that would be refused.
    /// Sends nothing.
    fn assume_lacking(&self, lacks: &[Lack]) {
        let _ = lacks;
    }

    /// What lies there, with raw keys, in whatever order the store lists it; the order is not to be
    /// relied on. The stream ends in an error or is complete. Costs one LIST a page (uploads that have
    /// not ended are listed apart, where asked for). If nothing but those cannot be listed, the error stands
    /// at the end and begins with [`crate::usage::NO_UPLOADS`].
    fn list(&self, scope: Scope, depth: Depth) -> BoxStream<'static, Result<Listed>>;

    /// Every object under the prefix that a reader sees.
    fn list_keys(&self) -> BoxStream<'static, Result<Listed>> {
        self.list(Scope::Prefix, Depth::Current)
    }

    /// The room that is left, where the store knows it. Costs at most one request.
    async fn space(&self) -> Result<Option<Space>>;

    /// Makes the store as declared, or with [`InitMode::Check`] only looks. Idempotent; merges
    /// with rules that others made and never removes them. One row for each thing wished, and one for
    /// the bucket or directory itself, in a fixed order; what goes wrong is a row, and does not stop
    /// the others. An error only where nothing at all can be said.
    async fn initialize(&self, want: &Initialize, mode: InitMode) -> Result<Vec<Setting>>;

    /// Deletes single versions for good, by key and version id. What is not there is no error. Those that the
    /// store says may not be deleted come back, and the others are gone.
    async fn delete_versions(&self, versions: Vec<(Path, String)>) -> Result<Vec<Refused>>;

    /// What forbids to delete a version; without one, what is current. One request, two where a store has to be
    /// asked for what is current. [`ErrorKind::NotFound`] if it is not there.
    async fn held(&self, path: &Path, version: Option<&str>) -> Result<Held> {
        let Some(version) = version else {
            let found = self.store().head(path).await.map_err(|error| self.error(path.as_ref(), &error))?;
            return Ok(Held { version: found.version, ..Held::default() });
        };
        Ok(Held { version: Some(version.to_owned()), ..Held::default() })
    }

    /// Asks the store to make an archived object readable for some days: of exactly this version, or of what is
    /// current and has this tag. Costs two requests at the most, and what the store takes for it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] or [`ErrorKind::Precondition`] if that is not there; [`ErrorKind::Unsupported`] where
    /// the store has no archive that can be asked.
    async fn restore(&self, path: &Path, _version: Option<&str>, _etag: Option<&str>, _want: Restore) -> Result<Restoring> {
        let what = "offsite cannot ask this store's archive; make the object readable with the store's own tools, then run again";
        Err(Error::new(ErrorKind::Unsupported, self.location().at(path.as_ref()), what))
    }

    /// The destination as a real directory tree, where it is one.
    fn tree(&self) -> Option<Arc<dyn Tree>> {
        None
    }
}
