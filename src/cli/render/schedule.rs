//! What `schedule` prints: the complete files or the crontab line.

use std::fmt::Write as _;

use offsite::error::Result;
use offsite::schedule::Installed;

use super::documents::ScheduleDocument;
use super::{Out, clean};

impl Out {
    /// The schedule that was installed, found or removed.
    pub fn scheduled(&self, what: &str, name: &str, found: &Installed) -> Result<()> {
        if self.json {
            let parts = found.parts.iter().map(|(place, text)| (place.as_str(), text.as_str())).collect();
            return self.document(&ScheduleDocument { name, did: what, parts, notes: &found.notes });
        }
        let mut text = String::new();
        for (place, lines) in &found.parts {
            let _ = writeln!(text, "{what}: {}", clean(place));
            if what != "removed" && !self.quiet {
                lines.lines().for_each(|line| _ = writeln!(text, "  {}", clean(line)));
            }
        }
        if found.parts.is_empty() {
            let _ = writeln!(text, "no schedule `{}`", clean(name));
        }
        self.print(&text)?;
        found.notes.iter().for_each(|note| self.info(&clean(note)));
        Ok(())
    }
}
