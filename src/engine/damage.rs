//! Which errors mean that one object is damaged, and not that the whole destination fails.

use offsite_backends::ErrorKind;

use crate::error::Error;

/// Whether only one object is damaged, so that the caller can continue with others. False if the store cannot be
/// reached or refuses.
pub fn is_damage(error: &Error) -> bool {
    match error {
        Error::Damaged { .. } => true,
        Error::Store(error) => matches!(error.kind, ErrorKind::NotFound | ErrorKind::Precondition | ErrorKind::Other),
        _ => false,
    }
}
