//! What `schedule` prints: the files or the line, whole.

use std::fmt::Write as _;

use offsite::error::Result;
use offsite::schedule::Installed;
use serde_json::{Map, Value, json};

use super::{Out, clean};

impl Out {
    /// What is installed, or was.
    pub fn scheduled(&self, what: &str, name: &str, found: &Installed) -> Result<()> {
        if self.json {
            let parts: Map<String, Value> = found.parts.iter().map(|(place, text)| (place.clone(), text.as_str().into())).collect();
            return self.document(&json!({ "name": name, "did": what, "parts": parts, "notes": found.notes }));
        }
        let mut text = String::new();
        for (place, lines) in &found.parts {
            let _ = writeln!(text, "{what}: {}", clean(place));
            if what != "removed" && !self.quiet {
                lines.lines().for_each(|line| _ = writeln!(text, "  {}", clean(line)));
            }
        }
        if found.parts.is_empty() {
            let _ = writeln!(text, "there is no schedule `{}`", clean(name));
        }
        self.print(&text)?;
        found.notes.iter().for_each(|note| self.info(&clean(note)));
        Ok(())
    }
}
