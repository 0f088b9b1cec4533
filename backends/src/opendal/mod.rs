//! WebDAV, Azure Blob Storage and more, through OpenDAL: a build with the feature `opendal` has them.
//!
//! Owns the list of its parts, and what is known of these services in every build (`services.rs`).

pub(crate) mod services;

#[cfg(feature = "opendal")]
mod backend;
#[cfg(feature = "opendal")]
mod config;
#[cfg(feature = "opendal")]
mod dirs;
#[cfg(feature = "opendal")]
mod error;
#[cfg(feature = "opendal")]
mod list;
#[cfg(feature = "opendal")]
mod parts;
#[cfg(feature = "opendal")]
mod rooted;
#[cfg(feature = "opendal")]
mod store;
#[cfg(feature = "opendal")]
mod wire;

#[cfg(feature = "opendal")]
pub use self::backend::OpendalBackend;
