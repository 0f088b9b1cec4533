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
pub async fn open(text: &str) -> Result<Arc<dyn Backend>> {
    open_with(KINDS, text).await
}

/// The same with another table of kinds, for example one that contains a store of your own.
///
/// # Errors
/// Those of [`open`].
pub async fn open_with(kinds: &[StoreKind], text: &str) -> Result<Arc<dyn Backend>> {
    let location = Location::parse(text)?;
    way_in(kinds, &location)?(location).await
}

/// Checks whether this build can open destinations of this scheme.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`], which names the schemes that it can open.
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
