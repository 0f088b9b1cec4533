//! The outcome of a job or a run as a file, for the hooks after it.
//!
//! Owns `jobs/outcomes` in the cache. Each file belongs to one run and has a unique name. Only its owner can read it.
//! offsite writes the file under another name, renames it, and deletes it after those hooks.
//! Invariant: a later run deletes the files that a crash left, once they are old enough.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::engine::{Machine, private_dir, private_file};

/// A file older than this counts as left by a crash: no hook is expected to run this long.
const OLD: Duration = Duration::from_hours(7 * 24);

/// A file that is deleted when this value is dropped.
pub struct TempFile(PathBuf);

impl TempFile {
    /// Writes an outcome. Ignores errors, because a full disk must not prevent the user's hooks from running.
    pub fn new(machine: &Machine, name: &str, outcome: &impl Serialize) -> Self {
        let dir = machine.cache_dir.join("jobs/outcomes");
        let _ = private_dir(&machine.cache_dir).and_then(|()| private_dir(&dir));
        clear(&dir);
        let name: String = name.chars().map(|c| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '-' }).collect();
        let path = dir.join(format!("{name}-{}-{:016x}.json", std::process::id(), crate::random()));
        let temp = path.with_extension("tmp");
        let body = serde_json::to_vec_pretty(outcome).unwrap_or_default();
        let file = private_file().write(true).create_new(true).open(&temp);
        let _ = file.and_then(|mut file| file.write_all(&body)).and_then(|()| fs::rename(&temp, &path));
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
        let _ = fs::remove_file(self.0.with_extension("tmp"));
    }
}

fn clear(dir: &Path) {
    for file in fs::read_dir(dir).into_iter().flatten().flatten() {
        let written = file.metadata().and_then(|meta| meta.modified()).ok();
        if written.and_then(|at| at.elapsed().ok()).is_some_and(|age| age > OLD) {
            let _ = fs::remove_file(file.path());
        }
    }
}
