//! WebDAV, Azure Blob Storage and more, through OpenDAL. The first two are in every usual build; the feature `opendal` has the rest.
//!
//! Owns the list of its parts, and what is known of these services in every build (`services.rs`).

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
