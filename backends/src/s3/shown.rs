//! Settings that show a moment after they were taken.
//!
//! Invariant: what is set is read back before it counts as done.

use std::fmt::Display;
use std::time::Duration;

use super::control::S3Control;
use crate::contract::error::{Error, ErrorKind, Result};

/// A setting of a bucket shows a moment after it was taken: so long it is looked at again.
const SHOWS_WITHIN: [Duration; 4] = [Duration::ZERO, Duration::from_millis(300), Duration::from_millis(900), Duration::from_millis(1800)];

/// Fails unless a look says what was just set.
pub(super) async fn shows<T: Display, F: Future<Output = Result<T>>>(
    control: &S3Control,
    look: impl Fn() -> F,
    same: impl Fn(&T) -> bool,
) -> Result<()> {
    let mut said = String::new();
    for wait in SHOWS_WITHIN {
        tokio::time::sleep(wait).await;
        let found = look().await?;
        if same(&found) {
            return Ok(());
        }
        said = found.to_string();
    }
    let text = format!("the server accepted it and does not keep it: it still says `{said}`; check again later with --check");
    Err(Error::new(ErrorKind::Unsupported, &control.location, text))
}
