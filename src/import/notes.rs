//! Notes of an import: what was corrected, what is different, what was left out, and what the user has to do.
//!
//! Owns the list. Invariant: no note holds the value of a secret, and no note occurs twice.

use schemars::JsonSchema;
use serde::Serialize;

/// What a note is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NoteKind {
    /// A defect of the old config that is corrected.
    Mended,
    /// It works, but differently.
    Different,
    /// The old config had it, and the new one does not.
    LeftOut,
    /// Left for you to do.
    ToDo,
}

/// One note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ImportNote {
    /// What it is about.
    pub kind: NoteKind,
    /// The job, destination or option of the old config that it is about; empty for all of it.
    pub at: String,
    /// The note itself.
    pub text: String,
}

/// Notes in the order in which they arose.
#[derive(Debug, Clone, Default)]
pub struct Notes(pub Vec<ImportNote>);

impl Notes {
    /// Adds a note on a corrected defect.
    pub fn mended(&mut self, at: &str, text: impl Into<String>) {
        self.add(NoteKind::Mended, at, text.into());
    }

    /// Adds a note on a difference.
    pub fn different(&mut self, at: &str, text: impl Into<String>) {
        self.add(NoteKind::Different, at, text.into());
    }

    /// Adds a note on a setting that is left out.
    pub fn left_out(&mut self, at: &str, text: impl Into<String>) {
        self.add(NoteKind::LeftOut, at, text.into());
    }

    /// Adds a note on a task for the user.
    pub fn left_to_do(&mut self, at: &str, text: impl Into<String>) {
        self.add(NoteKind::ToDo, at, text.into());
    }

    fn add(&mut self, kind: NoteKind, at: &str, text: String) {
        let note = ImportNote { kind, at: at.to_owned(), text: offsite_backends::error::redact(&text) };
        if !self.0.contains(&note) {
            self.0.push(note);
        }
    }
}
