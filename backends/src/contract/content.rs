//! The mark that distinguishes puts of contents from puts of records.
//!
//! Owns the mark. A store that has to ask whether it keeps versions asks only for contents, because no record is ever
//! read by its version.

use object_store::{PutMode, PutOptions};

#[derive(Clone)]
struct Content;

/// Options for the put of a content. Its answer has a version id if the store keeps versions.
///
/// # Examples
///
/// ```
/// use object_store::{ObjectStore, PutMode};
/// use offsite_backends::testing::MemoryBackend;
/// use offsite_backends::{Backend, content_put};
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let bucket = MemoryBackend::new("site")?;
/// bucket.versions(true);
/// let options = content_put(PutMode::Create);
/// let put = bucket.store().put_opts(&"index.html".into(), "<h1>hello</h1>".into(), options).await?;
/// assert!(put.version.is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn content_put(mode: PutMode) -> PutOptions {
    let mut options = PutOptions::from(mode);
    options.extensions.insert(Content);
    options
}

/// Whether these are the options of a put of a content.
pub(crate) fn is_content(options: &PutOptions) -> bool {
    options.extensions.get::<Content>().is_some()
}
