//! What `config import` prints: the config on standard output, the notes on standard error.
//!
//! Owns the order of the notes: what the user must still do is last, where it is seen. Invariant: standard output has
//! only the config, so that it can be redirected to a file.

use std::path::Path;

use offsite::error::{Error, Result};
use offsite::import::{Imported, Node, NoteKind};

use super::documents::ImportDocument;
use super::{Out, clean};

impl Out {
    /// A config as the text of a file.
    pub fn config_text(config: &Node) -> Result<String> {
        serde_json::to_string_pretty(config).map(|text| format!("{text}\n")).map_err(|e| Error::output(e.into()))
    }

    /// The config, unless it was written to a file, and the notes about it.
    pub fn config_imported(&self, imported: &Imported, written: Option<&Path>) -> Result<()> {
        if self.json {
            return self.document(&ImportDocument { config: &imported.config, notes: &imported.notes });
        }
        if written.is_none() {
            self.print(&Self::config_text(&imported.config)?)?;
        }
        for (kind, word) in
            [(NoteKind::Mended, "mended"), (NoteKind::Different, "different"), (NoteKind::LeftOut, "left out"), (NoteKind::ToDo, "to do")]
        {
            for note in imported.notes.iter().filter(|note| note.kind == kind) {
                let at = if note.at.is_empty() { String::new() } else { format!("{}: ", note.at) };
                self.note(&clean(&format!("{word}: {at}{}", note.text)));
            }
        }
        if let Some(path) = written {
            self.info(&clean(&format!(
                "wrote {}; `offsite config check --config {}` shows what would run",
                path.display(),
                path.display()
            )));
        }
        Ok(())
    }
}
