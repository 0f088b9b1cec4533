//! The conformance suite of `backends/src/conformance` on every backend: directories and memory always,
//! each other store where its server's variables are set.
//!
//! `OFFSITE_CONFORMANCE_CASE` runs only the cases whose name contains it. `OFFSITE_STORES_MD` names the
//! page whose rows are brought up to date with what was found (`integration/conformance --write` does that for all).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

#[cfg(feature = "webdav-azure")]
mod azure;
mod b2;
mod file;
mod gcs;
mod memory;
mod s3;
mod sftp;
#[cfg(feature = "webdav-azure")]
mod webdav;

use std::env::var;
use std::sync::{Arc, Mutex, PoisonError};

use offsite_backends::conformance::{self, Report, TestedPlace};

/// Rows of one page are written one after the other.
static PAGE: Mutex<()> = Mutex::new(());

/// Runs the suite on a place, says each case, and fails with all that fail.
pub async fn judge(place: Arc<dyn TestedPlace>) {
    let only = var("OFFSITE_CONFORMANCE_CASE").ok();
    let report = conformance::run(place, &stem(), only.as_deref(), |line| println!("{line}")).await;
    if let (Ok(page), None) = (var("OFFSITE_STORES_MD"), only) {
        write_rows(&report, &page);
    }
    if let Err(failed) = report.verdict() {
        panic!("{failed}");
    }
}

fn write_rows(report: &Report, page: &str) {
    let _one = PAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let text = std::fs::read_to_string(page).unwrap_or_else(|error| panic!("{page}: {error}"));
    std::fs::write(page, report.update(&text)).unwrap();
}

/// Whether the server of that name was promised by `OFFSITE_PROMISED`.
pub fn is_promised(name: &str) -> bool {
    var("OFFSITE_PROMISED").unwrap_or_default().split([',', ' ']).any(|word| word == name)
}

/// What no name of a place ever began with; short enough for a bucket's name.
fn stem() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("c{}-{}", std::process::id(), now.as_nanos())
}
