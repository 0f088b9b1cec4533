//! A destination opened by what a user writes.
//!
//! Owns the two ways in, and what is said of a URL that nobody here speaks. All else is in the table (`kinds.rs`).

use std::sync::Arc;

use crate::contract::backend::Backend;
use crate::contract::error::{Error, Result};
use crate::contract::location::Location;
use crate::kinds::{KINDS, OpenBackend, StoreKind};
use crate::parse;

/// Opens the destination that a URL or bare path names. Reads no credential yet where the store's
/// own chain can do that later; touches nothing.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] for a URL that cannot be one, or a scheme this build does not know.
pub async fn open(text: &str) -> Result<Arc<dyn Backend>> {
    open_with(KINDS, text).await
}

/// The same with another table of kinds, such as one with a store of your own in it.
///
/// # Errors
/// Those of [`open`].
pub async fn open_with(kinds: &[StoreKind], text: &str) -> Result<Arc<dyn Backend>> {
    let location = Location::parse(text)?;
    way_in(kinds, &location)?(location).await
}

/// Whether this build speaks to a place of this scheme.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] naming those it speaks to.
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

/// What can be opened, for messages; then what another build can.
fn known(kinds: &[StoreKind]) -> String {
    let shown = |kind: &StoreKind| match kind.shown {
        "" => kind.schemes.iter().map(|scheme| format!("{scheme}://")).collect::<Vec<_>>().join(", "),
        shown => shown.to_owned(),
    };
    let (here, elsewhere): (Vec<_>, Vec<_>) = kinds.iter().partition(|kind| kind.open.is_some());
    let here = here.into_iter().map(shown).collect::<Vec<_>>().join(", ");
    elsewhere.into_iter().map(shown).fold(here, |all, one| format!("{all}; {one}"))
}
