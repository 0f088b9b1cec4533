//! The stores offsite can write to, behind one small seam.
//!
//! Owns: [`Backend`] (one destination), [`Tree`] (a destination that is a real directory tree),
//! [`Location`] (its URL), [`Error`] and the request [`Meter`]. Knows nothing of manifests, plans or
//! snapshots: the engine is built on this crate, never the other way round.
//! Invariant: what differs between stores is said by [`Capabilities`], never asked by scheme.

mod archive;
pub mod b2;
pub mod conformance;
mod content;
pub mod error;
mod fence;
mod fenced;
pub mod file;
mod file_lock;
#[cfg(test)]
mod fuzz;
pub mod gcs;
mod held;
pub mod initialize;
pub mod lacks;
mod listing;
pub mod location;
pub mod meter;
mod mistaken;
#[cfg(feature = "opendal")]
pub mod opendal;
mod ranges;
pub mod s3;
pub mod scrub;
pub mod sftp;
pub mod testing;
pub mod tidy;
pub mod trace;
mod tree;
mod turns;
pub mod usage;
mod userinfo;
mod watch;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutResult, multipart::MultipartStore};

pub use archive::{Restore, Restoring, Tier};
pub use content::content_put;
pub use error::{Error, ErrorKind, Reach, Result};
pub use fence::{Act, Fence};
pub use fenced::Fenced;
pub use file_lock::FileLock;
pub use held::{Held, Refused};
pub use initialize::Initialize;
pub use lacks::Lack;
pub use listing::{Depth, Listed, Scope, Space, State};
pub use location::{Location, Settings};
pub use meter::{Meter, Requests};
pub use tree::{FileKind, FileMeta, FileStat, Publish, StageBlocks, Staged, Stamp, Tree, Unset};
pub use usage::{Gaps, Usage};

/// What a store can do. The engine asks these and nothing else about the kind of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// `PutMode::Create` can be relied on: of several writers exactly one wins. Some S3 servers
    /// accept the header and ignore it, so the engine probes this once per prefix.
    pub create_only: bool,
    /// `PutMode::Update` can be relied on in the same way.
    pub compare_and_swap: bool,
    /// A condition travels with the put itself, so that it costs no request more.
    pub conditions_are_free: bool,
    /// [`Backend::copy_exact`] runs on the server, without moving content through this machine.
    pub server_copy: bool,
    /// Names are bytes, as on a file system: no name needs `odd/` except offsite's own.
    pub any_name: bool,
    /// Longest key in bytes, prefix included. `usize::MAX` where [`Self::any_name`] holds.
    pub max_key: usize,
    /// Smallest size of a part that is not the last, in bytes.
    pub min_part: u64,
    /// Most parts of one upload.
    pub max_parts: u64,
    /// Largest object, in bytes.
    pub max_object: u64,
    /// Uploads in flight that use the store well when the user does not say.
    pub transfers: usize,
    /// The store keeps, or can be told to keep, what is replaced or removed, and names each by a version.
    pub versions: bool,
    /// What the store itself checks of an upload before it takes it; none where it checks nothing.
    pub checksum: Option<&'static str>,
    /// There is more than a data plane: `initialize` can set things up, not only look.
    pub control: bool,
}

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
    async fn copy_exact(&self, from: &Path, to: &Path, size: u64, etag: Option<&str>) -> Result<PutResult>;

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
    /// at the end and begins with [`usage::NO_UPLOADS`].
    fn list(&self, scope: Scope, depth: Depth) -> BoxStream<'static, Result<Listed>>;

    /// Every object under the prefix that a reader sees.
    fn list_keys(&self) -> BoxStream<'static, Result<Listed>> {
        self.list(Scope::Prefix, Depth::Current)
    }

    /// The room that is left, where the store knows it. Costs at most one request.
    async fn space(&self) -> Result<Option<Space>>;

    /// Makes the store as declared, or with [`initialize::Mode::Check`] only looks. Idempotent; merges
    /// with rules that others made and never removes them. One row for each thing wished, and one for
    /// the bucket or directory itself, in a fixed order; what goes wrong is a row, and does not stop
    /// the others. An error only where nothing at all can be said.
    async fn initialize(&self, want: &Initialize, mode: initialize::Mode) -> Result<Vec<initialize::Setting>>;

    /// Deletes single versions for good, by key and version id. What is not there is no error. Those that the
    /// store says may not be deleted come back, and the others are gone.
    async fn delete_versions(&self, versions: Vec<(Path, String)>) -> Result<Vec<Refused>>;

    /// What forbids to delete a version; without one, what is current. One request, two where a store has to be
    /// asked for what is current. [`ErrorKind::NotFound`] if it is not there.
    async fn held(&self, path: &Path, version: Option<&str>) -> Result<Held> {
        let Some(version) = version else {
            let found = self.store().head(path).await.map_err(|error| Error::from_store(self.location(), path.as_ref(), &error))?;
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

/// Opens the destination that a URL or bare path names. Reads no credential yet where the store's
/// own chain can do that later; touches nothing.
///
/// # Errors
/// [`ErrorKind::Invalid`] for a URL that cannot be one, or a scheme this build does not know.
pub async fn open(text: &str) -> Result<Arc<dyn Backend>> {
    let location = Location::parse(text)?;
    match location.scheme() {
        "file" => Ok(Arc::new(file::FileBackend::open(location)?)),
        "gs" => Ok(Arc::new(gcs::GcsBackend::open(location)?)),
        "sftp" => Ok(Arc::new(sftp::SftpBackend::open(location)?)),
        "s3" => Ok(Arc::new(s3::S3Backend::open(location).await?)),
        "b2" => Ok(Arc::new(b2::B2Backend::open(location)?)),
        #[cfg(feature = "opendal")]
        scheme if opendal::speaks(scheme) => Ok(Arc::new(opendal::OpendalBackend::open(location)?)),
        _ => Err(unspoken(&location)),
    }
}

/// Whether this build speaks to a place of this scheme.
///
/// # Errors
/// [`ErrorKind::Invalid`] naming those it speaks to.
pub fn spoken(location: &Location) -> Result<()> {
    match location.scheme() {
        "file" | "gs" | "sftp" | "s3" | "b2" => Ok(()),
        #[cfg(feature = "opendal")]
        scheme if opendal::speaks(scheme) => Ok(()),
        _ => Err(unspoken(location)),
    }
}

fn unspoken(location: &Location) -> Error {
    let meant = mistaken::instead(location).map_or(String::new(), |what| format!("; {what}"));
    Error::invalid(location, format!("no backend for `{}://`{meant}; known are {}", location.scheme(), known()))
}

/// What can be opened, for messages.
fn known() -> String {
    let own = "directories (a path or file://), s3://, gs://, b2://, sftp://";
    #[cfg(feature = "opendal")]
    return format!("{own}, {}", opendal::schemes());
    #[cfg(not(feature = "opendal"))]
    format!("{own}; webdav://, azblob:// and others are in a build with `cargo build --release --features opendal` (see docs/opendal.md)")
}
