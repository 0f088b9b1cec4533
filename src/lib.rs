//! offsite backs up directories as plain mirrors with history, using a manifest to find differences.
//!
//! The library is the engine; `main.rs` adds the command line. Data flows
//! scan → diff → plan → guard → transfer → commit → cleanup (`engine/`), over the plain data of `model/`.
//!
//! # Example
//!
//! ```
//! use offsite::engine::{self, CheckOptions, Machine, PullOptions, RunControl, SyncOptions};
//!
//! # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
//! # let dir = tempfile::tempdir()?;
//! # let at = |name: &str| dir.path().join(name);
//! std::fs::create_dir(at("site"))?;
//! std::fs::write(at("site/index.html"), "<h1>hello</h1>")?;
//! let machine = Machine { cache_dir: at("cache"), host: "web1".into(), ..Machine::default() };
//! let destination = at("backup").display().to_string();
//!
//! let urls = [destination.clone()];
//! let synced = engine::sync(&machine, &at("site"), &urls, &SyncOptions::default(), &RunControl::new(1)).await;
//! assert_eq!((synced.exit, synced.destinations[0].snapshot), (0, Some(1)));
//!
//! let options = CheckOptions { read_data: Some(1.0), ..CheckOptions::default() };
//! let checked = engine::check(&machine, &destination, &options, &RunControl::new(1)).await?;
//! assert_eq!((checked.missing, checked.damaged), (0, 0));
//!
//! engine::pull(&machine, &destination, &at("restored"), &PullOptions::default(), &RunControl::new(1)).await?;
//! assert_eq!(std::fs::read_to_string(at("restored/index.html"))?, "<h1>hello</h1>");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![warn(missing_docs)]

pub mod config;
pub mod containers;
pub mod engine;
pub mod error;
pub mod import;
pub mod jobs;
pub mod manifest;
pub mod model;
pub mod open_files;
pub mod packs;
pub mod plan;
pub mod scan;
pub mod schedule;
pub mod seal;
pub mod spool;
pub mod transfer;

/// A random number, for names that must be unique.
pub(crate) fn random() -> u64 {
    let mut bytes = [0; 8];
    // The kernel's generator cannot fail once the machine has started; the clock is good enough if it does.
    if rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty()) != Ok(8) {
        return std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64);
    }
    u64::from_le_bytes(bytes)
}
