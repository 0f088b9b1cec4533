//! The walls of the house, checked on the source.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod circles;
mod imports;
mod rules;
