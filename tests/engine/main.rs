//! The engine over hermetic stores: round trips, faults, damage, request counts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod append_only;
mod bounds;
mod check;
mod copy;
mod copy_faults;
mod crash;
mod damage;
mod delta;
mod dumps;
mod estimates;
mod every_verb;
mod fold;
mod foreign;
mod guard;
mod harness;
mod history;
mod hostile;
mod kinds;
mod layouts;
mod lies;
mod locked;
mod names;
mod order;
mod packed;
mod pull;
mod refused;
mod repair;
mod report;
mod requests;
mod round_trip;
mod sealed;
mod sealed_keys;
mod sealed_requests;
mod several;
mod stop;
mod unfit;
mod writers;
