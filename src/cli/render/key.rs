//! What `key` prints.

use std::fmt::Write as _;

use offsite::engine::KeyOutcome;
use offsite::error::Result;

use super::units::table;
use super::{Out, clean};

impl Out {
    /// The key files of a destination.
    pub fn keys(&self, outcome: &KeyOutcome) -> Result<()> {
        if self.json {
            return self.document(outcome);
        }
        let row = |file: &offsite::engine::KeyFileRow| vec![clean(&file.name), clean(&file.sealed_to.join(", "))];
        let rows: Vec<_> = outcome.files.iter().map(row).collect();
        let mut text = format!("{}\n{}", clean(&outcome.url), table(&["key file", "sealed to"], &rows));
        if !outcome.added.is_empty() {
            let _ = writeln!(text, "  added {}", clean(&outcome.added.join(", ")));
        }
        let _ = match &outcome.writer {
            Some(path) => writeln!(text, "  this machine writes with {}", clean(path)),
            None => writeln!(text, "  this machine has no writer key for it"),
        };
        self.print(&text)
    }

    /// A key, which goes to standard output and nowhere else.
    pub fn secret(&self, text: &str) -> Result<()> {
        self.print(text)
    }
}
