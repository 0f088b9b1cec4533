//! Settings that a bucket shows only a moment after it accepted them.
//!
//! Invariant: a setting counts as done only after it was read back.

use std::fmt::Display;
use std::time::Duration;

use super::control::S3Control;
use crate::contract::error::{Error, ErrorKind, Result};

/// Waits before each look: a bucket may show a setting only a moment after it accepted it.
const SHOWS_WITHIN: [Duration; 4] = [Duration::ZERO, Duration::from_millis(300), Duration::from_millis(900), Duration::from_millis(1800)];

/// Fails unless a look shows the value that was just set.
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
