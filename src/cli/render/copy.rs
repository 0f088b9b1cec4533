//! What `copy` prints.
//!
//! Owns the lines: one for each snapshot that was copied, and the files that a copy lacks. With `--quiet` it prints only
//! what needs attention, on standard error.

use std::fmt::Write as _;

use offsite::engine::{CopiedSnapshot, CopyOutcome};
use offsite::error::Result;

use super::units::{count, counted, local_of, requests, seconds, size};
use super::{Out, clean};

impl Out {
    /// What a copy did, or would do.
    pub fn copied(&self, o: &CopyOutcome) -> Result<()> {
        let mut text = format!("{} → {}  {}\n", clean(&o.from), clean(&o.to), seconds(o.seconds));
        o.copied.iter().for_each(|one| text.push_str(&self.copied_snapshot(one, o.dry_run)));
        let number = o.copied.len() as u64;
        let (all, last) = (counted(number, "snapshot", "snapshots"), o.last.map(|last| format!("; the last one before: {last}")));
        let _ = writeln!(text, "  {} {all}{}", if o.dry_run { "to copy:" } else { "copied:" }, last.unwrap_or_default());
        if !o.gone.is_empty() {
            let numbers = o.gone.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
            let _ = writeln!(text, "  deleted there before they were copied: {numbers}");
        }
        text.push_str(&self.problems("cannot be copied", "", &o.lost));
        let _ = writeln!(text, "  requests there: {}; here: {}", requests(&o.requests_from), requests(&o.requests_to));
        if !self.json && !self.quiet {
            self.print(&text)?;
        } else if self.quiet && o.exit != 0 {
            self.note(text.trim_end());
        }
        o.warnings.iter().for_each(|warning| self.warning(&format!("{}: {}", clean(&o.to), clean(&warning.to_string()))));
        if let Some(error) = &o.error {
            self.destination_failed(&o.to, error, o.failure.as_ref());
            if let Some(before) = o.stopped_before {
                self.info(&format!("the copy stopped before snapshot {before}; --skip-damaged copies it without these files"));
            }
        }
        if self.json { self.document(o) } else { Ok(()) }
    }

    fn copied_snapshot(&self, one: &CopiedSnapshot, dry_run: bool) -> String {
        let (files, time) = (counted(one.files, "file", "files"), local_of(&one.time));
        let mut text = format!("  snapshot {}  {time}  {files}, {}", one.from, size(one.bytes));
        if let Some(to) = one.to.filter(|_| !dry_run) {
            let c = &one.changes;
            let changed = count(c.added + c.changed + c.metadata + c.removed + c.renamed);
            let _ = write!(text, "  as {to}: changes {changed}, read {}, sent {}", size(one.read), size(one.sent));
        }
        text.push('\n');
        text.push_str(&self.problems("not in the copy", ", because their contents are lost", &one.omitted));
        text
    }
}
