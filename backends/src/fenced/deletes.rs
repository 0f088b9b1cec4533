//! Whether names may be removed: not in append-only mode, unless to delete is to hide.
//!
//! Owns the rule, and the refusal. Everything that a backend has handed out shares one rule.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use crate::contract::error::{Error, ErrorKind};

/// Whether a name may be removed.
#[derive(Debug, Clone)]
pub(super) struct Deletes {
    append_only: Arc<AtomicBool>,
    hides: bool,
}

impl Deletes {
    pub(super) fn new(append_only: &Arc<AtomicBool>, hides: bool) -> Self {
        Self { append_only: Arc::clone(append_only), hides }
    }

    pub(super) fn allowed(&self) -> bool {
        self.hides || !self.append_only.load(SeqCst)
    }
}

/// The refusal of a delete in append-only mode. The engine asks [`crate::Backend::deletes`] first, so nobody should see
/// it.
pub(super) fn kept(at: impl Display) -> Error {
    let what = "a request that deletes was refused in append-only mode, and nothing was deleted; please report this";
    Error::new(ErrorKind::Other, at, what)
}
