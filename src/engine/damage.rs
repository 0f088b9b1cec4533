//! Which failures mean that one object is broken, and not the whole destination.

use offsite_backends::ErrorKind;

use crate::error::Error;

/// Whether it is one object that is broken, so that others may still be looked at; not that the store
/// cannot be reached or refuses.
pub fn is_damage(error: &Error) -> bool {
    match error {
        Error::Damaged { .. } => true,
        Error::Store(error) => matches!(error.kind, ErrorKind::NotFound | ErrorKind::Precondition | ErrorKind::Other),
        _ => false,
    }
}
