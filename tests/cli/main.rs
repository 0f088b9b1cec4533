//! The program as its users run it: arguments, output, exit codes, the round trip over a directory.
//!
//! Owns what only the whole binary can show; the engine has tests of its own. Hermetic: directories in
//! a temporary place, a cache of its own, no network.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod containers;
mod dumps;
mod exits;
mod filters;
mod help;
mod honest;
mod hooks;
mod import;
mod init;
mod jobs;
mod liars;
mod others;
mod output;
mod places;
mod report;
mod schedule;
mod schema;
mod secrets;
mod terminal;
mod trust;
mod unread;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// A source, a destination and a cache of a test's own.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir_all(place.path("site/docs")).unwrap();
        fs::write(place.path("site/docs/a.txt"), "first").unwrap();
        fs::write(place.path("site/docs/b.log"), "log").unwrap();
        fs::write(place.path("site/index.html"), "<html>").unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs offsite in the place.
    fn run(&self, args: &[&str]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_offsite"));
        command.args(args).current_dir(self.dir.path()).env_clear();
        command.env("OFFSITE_CACHE_DIR", self.path("cache")).env("TZ", "UTC").env("HOME", self.dir.path());
        Ran::from(command.output().unwrap())
    }

    /// Runs it and expects success.
    fn ok(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, 0, "{args:?}: {}{}", ran.out, ran.err);
        ran.out
    }

    /// Runs it with `--json`; the code and the one document.
    fn json(&self, args: &[&str]) -> (i32, Value) {
        let ran = self.run(&[args, &["--json"]].concat());
        let document = serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{args:?}: {e}: {}{}", ran.out, ran.err));
        (ran.code, document)
    }

    fn synced() -> Self {
        let place = Self::new();
        place.ok(&["sync", "site", "copy"]);
        place
    }
}

/// What a run said.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Self { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap()
}
