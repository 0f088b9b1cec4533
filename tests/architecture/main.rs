//! The walls of the house, checked on the source.

mod circles;
mod imports;
mod rules;
