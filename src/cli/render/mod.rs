//! The printer: all output except progress passes it.
//!
//! Owns standard output (the requested output: text, or one JSON document) and standard error (the rest). Invariants:
//! a closed pipe never ends a run and is never an error; no control character of a file's name reaches a terminal;
//! all output passes [`Out`].

mod copy;
mod documents;
mod hint;
mod import;
mod init;
mod jobs;
mod key;
mod look;
mod moves;
mod report;
mod schedule;
mod status;
mod stream;
mod trust;
mod units;

use std::io::{self, Write};

use offsite::error::{Error, Failure, Hint, Result};
use serde::Serialize;

use super::clean::{clean, tame};
use super::global::Global;
use super::screen::Screen;

pub use documents::{
    CatDocument, ConfigCheckDocument, DiffDocument, ErrorDocument, HistoryDocument, ImportDocument, LsDocument, LsUnreadDocument,
    PlanDocument, ScheduleDocument, SnapshotsDocument,
};
pub use units::{count, counted, size};

/// Longest list of problems or changes without `--verbose`.
const SOME: usize = 20;

/// The printer: the streams, and the flags that shape the output.
#[derive(Clone)]
pub struct Out {
    json: bool,
    quiet: bool,
    verbose: bool,
    screen: Screen,
}

impl Out {
    pub fn new(global: &Global, screen: Screen) -> Self {
        Self { json: global.json, quiet: global.quiet, verbose: global.verbose > 0, screen }
    }

    /// Whether `--verbose` text is wanted on standard output.
    pub fn lists_changes(&self) -> bool {
        self.verbose && !self.json
    }

    /// A note on standard error, unless `--quiet`.
    pub fn info(&self, text: &str) {
        if !self.quiet {
            self.screen.aside(&format!("note: {text}"));
        }
    }

    /// An error, on standard error.
    pub fn error(&self, text: &str) {
        self.screen.aside(&format!("error: {text}"));
    }

    /// A warning on standard error: the run ended as it should, but something else failed.
    pub fn warning(&self, text: &str) {
        self.screen.aside(&format!("warning: {text}"));
    }

    /// A result that needs attention. With `--quiet` it is on standard error.
    fn note(&self, text: &str) {
        self.screen.aside(text);
    }

    /// Reports that a verb failed, why, and what to do; with `--json` also in a document. Returns the exit code.
    pub fn failed(&self, error: &Error) -> u8 {
        let exit = self.show_error(error);
        if self.json {
            // If this fails too, nothing more can be reported.
            let _ = self.document(&ErrorDocument::of(error));
        }
        exit
    }

    /// The same on standard error only, for a document that has already ended.
    fn show_error(&self, error: &Error) -> u8 {
        match error {
            Error::Refused(reasons) if reasons.len() > 1 => {
                self.error("refused, nothing was written:");
                reasons.iter().for_each(|reason| self.screen.aside(&format!("  {}", clean(reason))));
            }
            Error::Moved(what) => {
                self.error("the plan no longer fits:");
                what.iter().for_each(|line| self.screen.aside(&format!("  {}", clean(line))));
            }
            other => {
                self.problem(&other.to_string(), Some(&Failure::from(error)));
                return error.exit_code();
            }
        }
        self.hint(Failure::from(error).hint);
        error.exit_code()
    }

    /// An error, and what to do on a line of its own.
    fn problem(&self, text: &str, failure: Option<&Failure>) {
        let advice = failure.and_then(|failure| failure.advice.as_deref());
        match advice.and_then(|advice| Some((text.strip_suffix(advice)?.strip_suffix("; ")?, advice))) {
            Some((what, advice)) => {
                self.error(&clean(what));
                self.screen.aside(&format!("hint: {}", clean(advice)));
            }
            None => self.error(&clean(text)),
        }
        self.hint(failure.and_then(|failure| failure.hint));
    }

    /// What to do, below the error.
    fn hint(&self, hint: Option<Hint>) {
        if let Some(hint) = hint {
            self.screen.aside(&format!("hint: {}", hint::sentence(hint)));
        }
    }

    /// Text on standard output.
    fn print(&self, text: &str) -> Result<()> {
        Self::print_bytes(tame(text).as_bytes())
    }

    fn print_bytes(bytes: &[u8]) -> Result<()> {
        let mut out = io::stdout().lock();
        forgive(out.write_all(bytes).and_then(|()| out.flush()))
    }

    /// The one JSON document.
    fn document(&self, value: &impl Serialize) -> Result<()> {
        let mut bytes = serde_json::to_vec(value).map_err(|e| Error::output(e.into()))?;
        bytes.push(b'\n');
        Self::print_bytes(&bytes)
    }

    /// A line above a list.
    pub fn heading(&self, text: &str) -> Result<()> {
        self.print(&format!("{}\n", clean(text)))
    }

    /// A shell's completion script.
    pub fn completions(&self, shell: &str, script: &[u8]) -> Result<()> {
        if self.json {
            let script = String::from_utf8_lossy(script);
            return self.document(&serde_json::json!({ "shell": shell, "script": script }));
        }
        Self::print_bytes(script)
    }

    /// A JSON Schema, as it is in `docs/schema/`.
    pub fn schema(&self, schema: &schemars::Schema) -> Result<()> {
        let text = serde_json::to_string_pretty(schema).map_err(|e| Error::output(e.into()))?;
        Self::print_bytes(format!("{text}\n").as_bytes())
    }

    /// Names, one on each line.
    pub fn names(&self, names: &[&str]) -> Result<()> {
        if self.json {
            return self.document(&names);
        }
        self.print(&format!("{}\n", names.join("\n")))
    }
}

/// Help, version or a usage error of clap. Returns the exit code. Help and version are requested output, the rest is
/// an error.
pub fn usage(error: &clap::Error, json: bool) -> u8 {
    let said = error.render().to_string();
    let text = offsite_backends::error::redact(&said);
    // An error of the pipe is ignored. The error repeats a superfluous argument, which may be a URL with a password.
    let _ = if text == said { error.print() } else { write!(io::stderr(), "{text}") };
    if !error.use_stderr() {
        return 0;
    }
    if json {
        let first = text.lines().next().unwrap_or_default();
        let document = ErrorDocument { error: first.strip_prefix("error: ").unwrap_or(first).to_owned(), exit: 2, failure: None };
        if let Ok(line) = serde_json::to_string(&document) {
            let _ = writeln!(io::stdout().lock(), "{line}");
        }
    }
    2
}

/// A destination's URL that is safe to print: without its settings and without secrets.
pub fn printable_url(url: &str) -> String {
    clean(&offsite_backends::location::shown(url))
}

/// A closed pipe is no error: its reader has read enough.
fn forgive(result: io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(Error::output),
    }
}
