//! The errors of a run, grouped by what the user can do about them.
//!
//! Owns the one error type of the engine and its exit codes. A text says what happened, to which file or URL. What to
//! do now follows from kind and place ([`Failure`]), and the printer puts it into words.

mod failure;
mod kind;

pub use failure::{Failure, Hint, Turn};
pub use kind::{Error, Place, Result};
