//! Imports the configs of other systems: backup-rsync's JSON, duply profiles, phpbu's XML and JSON, `aws s3 sync`.
//!
//! Owns the decision of which system a text belongs to. Each system has its own module. They share the parsers of shell
//! words, flags and patterns, and the document. Pure: texts in, a config and notes out. Invariant: every setting of an
//! old config ends in the new config or in a note, and no secret ends in either.

mod aws;
mod backup_rsync;
mod document;
mod dumps;
mod duply;
mod flags;
mod notes;
mod phpbu;
mod phpbu_dumps;
mod phpbu_places;
mod phpbu_read;
mod phpbu_values;
mod rsync;
mod rules;
mod tree;
mod words;

#[cfg(test)]
mod tests;

use crate::error::{Error, Result};

pub use notes::{ImportNote, NoteKind};
pub use tree::Node;

/// A system whose config can be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// backup-rsync, by its `backups.json`.
    BackupRsync,
    /// duply, by a profile.
    Duply,
    /// phpbu, by its XML or JSON.
    Phpbu,
    /// Scripts and crontabs with `aws s3 sync`.
    Aws,
}

/// The config of another system.
#[derive(Debug, Clone, Default)]
pub struct ForeignConfig {
    /// Its path, for messages. For duply the path of `conf`.
    pub path: String,
    /// Its text.
    pub text: String,
    /// The files beside it that belong to it, by name: duply's `exclude`, `pre`, `post`.
    pub beside: Vec<(String, String)>,
}

/// The result of an import.
#[derive(Debug, Clone)]
pub struct Imported {
    /// The system of the old config.
    pub system: System,
    /// A config that `offsite config check` accepts.
    pub config: Node,
    /// Notes for the user, in the order in which they arose.
    pub notes: Vec<ImportNote>,
}

/// Makes a config of an old one. `from` names its system; without it, the text decides.
///
/// # Errors
/// [`Error::Usage`] if the system is unknown, if the text cannot be read, or if nothing in it can become a job.
///
/// # Examples
///
/// ```
/// use std::path::Path;
///
/// use offsite::config::Parsed;
/// use offsite::import::{self, ForeignConfig, System};
///
/// let old = ForeignConfig {
///     path: "backup.sh".into(),
///     text: "aws s3 sync /srv/site s3://acme/site --delete --exclude 'cache/*'".into(),
///     ..ForeignConfig::default()
/// };
/// let imported = import::import(&old, None)?;
/// assert_eq!(imported.system, System::Aws);
///
/// let text = serde_json::to_string_pretty(&imported.config)?;
/// let parsed = Parsed::from_text(&text, Path::new("offsite.json"))?;
/// assert!(parsed.file.jobs.get("site").is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn import(old: &ForeignConfig, from: Option<System>) -> Result<Imported> {
    let fail = |what: String| Error::Usage(format!("{}: {what}", old.path));
    let system = from.or_else(|| system_of(old)).ok_or_else(|| {
        fail("this looks like none of backup-rsync's JSON, a duply profile, phpbu's XML or JSON, a script with `aws s3 sync`; --from says which it is".into())
    })?;
    let mut notes = notes::Notes::default();
    let document = match system {
        System::BackupRsync => backup_rsync::import(&old.text, &mut notes),
        System::Duply => duply::import(old, &mut notes),
        System::Phpbu => phpbu::import(&old.text, &mut notes),
        System::Aws => aws::import(&old.text, &mut notes),
    };
    let document = document.map_err(fail)?;
    if document.jobs.is_empty() {
        let why: Vec<&str> = notes.0.iter().map(|note| note.text.as_str()).collect();
        return Err(fail(format!("nothing in it can become a job{}{}", if why.is_empty() { "" } else { ": " }, why.join("; "))));
    }
    Ok(Imported { system, config: document.into_node(), notes: notes.0 })
}

/// The system of a config, by its text and not by the name of the file.
fn system_of(old: &ForeignConfig) -> Option<System> {
    let text = old.text.trim_start_matches('\u{feff}').trim_start();
    if text.starts_with('<') {
        return text.contains("<phpbu").then_some(System::Phpbu);
    }
    if text.starts_with('{') {
        return Some(if text.contains("\"backups\"") && text.contains("\"source\"") { System::Phpbu } else { System::BackupRsync });
    }
    let has = |name: &str| text.lines().any(|line| line.trim_start().trim_start_matches("export ").starts_with(name));
    if has("TARGET=") || has("SOURCE=") && has("GPG_") {
        return Some(System::Duply);
    }
    (text.contains("aws") && text.contains("s3") && text.contains("sync")).then_some(System::Aws)
}
