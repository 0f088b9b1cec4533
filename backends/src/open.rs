//! Opens a destination from the text that a user writes.
//!
//! Owns the two ways to open one, and the message about a URL that this build cannot open. The table (`kinds.rs`) has
//! everything else.

use std::sync::Arc;

use crate::contract::backend::Backend;
use crate::contract::error::{Error, Result};
use crate::contract::location::Location;
use crate::kinds::{KINDS, OpenBackend, StoreKind};
use crate::parse;

/// Opens the destination that a URL or bare path names. Changes nothing, and reads no credentials yet if the store's
/// own chain can do that later.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] for a URL that is not valid, or a scheme that this build does not know.
///
/// # Examples
///
/// ```
/// use object_store::ObjectStoreExt;
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// # let dir = tempfile::tempdir()?;
/// let directory = dir.path().join("backup");
/// let backend = offsite_backends::open(&directory.display().to_string()).await?;
/// backend.prepare().await?;
/// backend.store().put(&"site/index.html".into(), "<h1>hello</h1>".into()).await?;
/// assert_eq!(std::fs::read_to_string(directory.join("site/index.html"))?, "<h1>hello</h1>");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub async fn open(text: &str) -> Result<Arc<dyn Backend>> {
    open_with(KINDS, text).await
}

/// The same with another table of kinds, for example one that contains a store of your own.
///
/// # Errors
/// Those of [`open`].
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use futures::FutureExt;
/// use offsite_backends::kinds::{PLAIN, StoreKind};
/// use offsite_backends::testing::MemoryBackend;
/// use offsite_backends::{Backend, Location, Result, open_with};
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// fn in_memory(location: &Location) -> Result<Arc<dyn Backend>> {
///     Ok(Arc::new(MemoryBackend::new(location.host())?))
/// }
///
/// let kinds = [StoreKind {
///     schemes: &["mem"],
///     open: Some(|location| async move { in_memory(&location) }.boxed()),
///     ..PLAIN
/// }];
/// let backend = open_with(&kinds, "mem://site").await?;
/// assert_eq!(backend.location().to_string(), "s3://memory/site");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub async fn open_with(kinds: &[StoreKind], text: &str) -> Result<Arc<dyn Backend>> {
    let location = Location::parse(text)?;
    way_in(kinds, &location)?(location).await
}

/// Checks whether this build can open destinations of this scheme.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`], which names the schemes that it can open.
///
/// # Examples
///
/// ```
/// use offsite_backends::{ErrorKind, Location, spoken};
///
/// spoken(&Location::parse("sftp://me@nas.example/backup")?)?;
///
/// let refused = spoken(&Location::parse("ftp://nas.example/backup")?);
/// assert!(refused.is_err_and(|error| error.kind == ErrorKind::Invalid && error.message.contains("sftp://")));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn spoken(location: &Location) -> Result<()> {
    way_in(KINDS, location).map(drop)
}

fn way_in(kinds: &[StoreKind], location: &Location) -> Result<OpenBackend> {
    let row = kinds.iter().find(|kind| kind.schemes.contains(&location.scheme()));
    row.and_then(|kind| kind.open).ok_or_else(|| {
        let meant = parse::instead(location).map_or(String::new(), |what| format!("; {what}"));
        Error::invalid(location, format!("no backend for `{}://`{meant}; known are {}", location.scheme(), known(kinds)))
    })
}

/// The schemes that can be opened, for messages. Then those that another build can open.
fn known(kinds: &[StoreKind]) -> String {
    let shown = |kind: &StoreKind| match kind.shown {
        "" => kind.schemes.iter().map(|scheme| format!("{scheme}://")).collect::<Vec<_>>().join(", "),
        shown => shown.to_owned(),
    };
    let (here, elsewhere): (Vec<_>, Vec<_>) = kinds.iter().partition(|kind| kind.open.is_some());
    let here = here.into_iter().map(shown).collect::<Vec<_>>().join(", ");
    elsewhere.into_iter().map(shown).fold(here, |all, one| format!("{all}; {one}"))
}
