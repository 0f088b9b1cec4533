//! WebDAV, Azure Blob Storage and more, through OpenDAL. Every usual build has the first two; the feature `opendal` has
//! the rest.
//!
//! Owns the list of its parts, and what every build knows of these services (`services.rs`).

pub(crate) mod services;

#[cfg(feature = "webdav-azure")]
mod backend;
#[cfg(feature = "webdav-azure")]
mod config;
#[cfg(feature = "webdav-azure")]
mod dirs;
#[cfg(feature = "webdav-azure")]
mod error;
#[cfg(feature = "webdav-azure")]
mod list;
#[cfg(feature = "webdav-azure")]
mod parts;
#[cfg(feature = "webdav-azure")]
mod rooted;
#[cfg(feature = "webdav-azure")]
mod store;
#[cfg(feature = "webdav-azure")]
mod wire;

#[cfg(feature = "webdav-azure")]
pub use self::backend::OpendalBackend;
