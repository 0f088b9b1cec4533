//! What `status` prints: a row for each destination, and why it is not well.
//!
//! Owns columns and words. Invariant: standard error names a destination that is not well, with `--json` and
//! `--quiet` too.

use offsite::engine::{StatusOutcome, StatusRow};
use offsite::error::Result;
use offsite::model::span;

use super::units::{count, size, table};
use super::{Out, clean};

impl Out {
    /// How the last runs ended.
    pub fn statuses(&self, outcome: &StatusOutcome) -> Result<()> {
        for row in &outcome.destinations {
            if let Some(bad) = &row.bad {
                let bad = clean(bad);
                let url = clean(&row.url);
                self.error(&if bad.starts_with(&url) { bad } else { format!("{url}: {bad}") });
            } else if let (Some("skipped" | "absent"), Some(why)) = (row.result.as_deref(), &row.message) {
                self.info(&format!("{}: the last run was skipped: {}", clean(&row.url), clean(why)));
            }
            if let Some(drift) = &row.drift {
                let what = clean(drift);
                self.info(&format!("{}: it differs from `initialize`: {what}; `offsite init` corrects it", clean(&row.url)));
            }
        }
        if self.json {
            return self.document(outcome);
        }
        if self.quiet || outcome.destinations.is_empty() {
            return Ok(());
        }
        let headings = ["destination", "job", "last run", "ended", ">files", ">size", ">unread", "last check"];
        let rows: Vec<Vec<String>> = outcome.destinations.iter().map(cells).collect();
        self.print(&table(&headings, &rows))
    }
}

fn cells(row: &StatusRow) -> Vec<String> {
    let none = || "-".to_owned();
    let job = row.job.as_ref().map(|job| row.kind.as_ref().map_or_else(|| job.clone(), |kind| format!("{job} ({kind})")));
    let known = row.result.is_some();
    let check =
        row.check_age.map(|age| format!("{} ago, {}", span(age), row.check_result.as_deref().map_or_else(|| "?".to_owned(), clean)));
    vec![
        clean(&row.url),
        job.map_or_else(none, |job| clean(&job)),
        row.age.map_or_else(none, |age| format!("{} ago", span(age))),
        row.result.as_deref().map_or_else(none, clean),
        if known { count(row.files) } else { none() },
        if known { size(row.bytes) } else { none() },
        if known { count(row.unread) } else { none() },
        check.unwrap_or_else(none),
    ]
}
