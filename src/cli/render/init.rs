//! What `init` prints: one table for each destination, and below it why a setting is not as wanted.
//!
//! Owns columns and words. With `--quiet` it prints only destinations that are not as wanted.

use std::fmt::Write as _;

use offsite::engine::{Deed, InitOutcome, InitReport, InitRow};
use offsite::error::Result;

use super::units::{counted, table};
use super::{Out, clean};

impl Out {
    /// The tables of all destinations.
    pub fn initialized(&self, outcome: &InitOutcome) -> Result<()> {
        if self.json {
            return self.document(outcome);
        }
        let shown = outcome.destinations.iter().filter(|report| !self.quiet || report.exit != 0 || report.policy.is_some());
        let texts: Vec<String> = shown.map(text).collect();
        self.print(&texts.join("\n"))?;
        for report in outcome.destinations.iter().filter(|report| report.exit != 0) {
            let wrong = report.settings.iter().filter(|row| !matches!(row.did, Deed::Nothing | Deed::Changed)).count();
            let all = counted(report.settings.len() as u64, "setting", "settings");
            let then = match (&report.error, outcome.check) {
                (Some(error), _) => error.clone(),
                (None, true) => format!("{}: {wrong} of {all} not as wanted, and nothing was changed", report.url),
                (None, false) => format!("{}: {wrong} of {all} not as wanted", report.url),
            };
            self.problem(&then, report.failure.as_ref());
        }
        Ok(())
    }
}

fn text(report: &InitReport) -> String {
    if let Some(policy) = &report.policy {
        return policy.lines().map(|line| clean(line) + "\n").collect();
    }
    if report.settings.is_empty() {
        return String::new();
    }
    let rows: Vec<_> = report.settings.iter().map(cells).collect();
    let mut text = format!("{}\n{}", clean(&report.url), table(&["setting", "was", "wanted", "did"], &rows));
    for row in &report.settings {
        if let Some(why) = &row.why {
            let _ = writeln!(text, "  {}: {}", row.setting, clean(why));
        }
    }
    text
}

fn cells(row: &InitRow) -> Vec<String> {
    let did = match row.did {
        Deed::Nothing => "nothing",
        Deed::Changed => "changed",
        Deed::WouldChange => "would change",
        Deed::Cannot => "cannot",
        Deed::Denied => "denied",
        Deed::Failed => "failed",
    };
    vec![row.setting.to_owned(), clean(&row.was), clean(&row.wanted), did.to_owned()]
}
