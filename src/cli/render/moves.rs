//! What `sync`, `plan`, `apply`, `pull` and `prune` print.
//!
//! Owns the blocks of text, one for each destination. With `--quiet` it prints only what needs attention, on standard
//! error. Invariant: standard error names a destination that failed, with `--json` too.

use std::fmt::Write as _;
use std::path::Path;

use offsite::engine::{Locked, Outcome, PlanReport, PruneOutcome, PullOutcome, RepackOutcome, SyncOutcome};
use offsite::error::{Failure, Result};
use offsite::model::{Counts, Problem, RelPath, Sample};

use super::documents::PlanDocument;
use super::units::{contents, count, counted, estimate, requests, seconds, size};
use super::{Out, SOME, clean};

impl Out {
    /// What a sync or an apply did.
    pub fn synced(&self, outcome: &SyncOutcome) -> Result<()> {
        for one in &outcome.destinations {
            let text = self.sync_block(one);
            if !self.json && !self.quiet && (one.error.is_none() || one.snapshot.is_some()) {
                self.print(&text)?;
            } else if self.quiet && one.exit == 3 {
                self.note(text.trim_end());
            }
            if let Some(error) = &one.error {
                self.destination_failed(&one.url, error, one.failure.as_ref());
            }
            one.warnings.iter().for_each(|warning| self.warning(&format!("{}: {}", clean(&one.url), clean(&warning.to_string()))));
        }
        outcome.notes.iter().for_each(|note| self.info(&clean(&note.to_string())));
        if self.json { self.document(outcome) } else { Ok(()) }
    }

    pub(super) fn destination_failed(&self, url: &str, error: &str, failure: Option<&Failure>) {
        // The error itself names a URL with a password, redacted.
        if error.starts_with(url) || error.contains("://…") {
            self.problem(error, failure);
        } else {
            self.problem(&format!("{url}: {error}"), failure);
        }
    }

    pub(super) fn sync_block(&self, o: &Outcome) -> String {
        let mut text = clean(&o.url);
        match (o.snapshot, o.base) {
            (Some(number), Some(base)) => _ = write!(text, "  snapshot {number} (base {base})"),
            (Some(number), None) => _ = write!(text, "  snapshot {number} (the first)"),
            (None, _) => text.push_str("  no snapshot"),
        }
        let _ = writeln!(text, "  {}", seconds(o.seconds));
        let _ = writeln!(text, "  {}", counts(&o.changes));
        let mut moved = format!("sent {}, read {}", size(o.bytes.sent), size(o.bytes.read));
        if o.bytes.copied > 0 {
            let _ = write!(moved, ", copied at the destination {}", size(o.bytes.copied));
        }
        let _ = writeln!(text, "  {moved}, requests: {}", requests(&o.requests));
        for (number, what) in
            [(o.adopted, "adopted"), (o.resumed, "resumed from an interrupted run"), (o.pruned, "expired snapshots deleted")]
        {
            if number > 0 {
                let _ = writeln!(text, "  {what}: {}", count(number));
            }
        }
        if let Some(RepackOutcome { packs, files, bytes }) = o.repack {
            let (packs, files) = (counted(packs, "pack", "packs"), counted(files, "file", "files"));
            let _ = writeln!(text, "  repacked: {packs}, {files}, {} sent again", size(bytes));
        }
        text.push_str(&locked(o.locked.as_ref(), "contents"));
        for dump in &o.dumps {
            let what = dump.error.as_ref().map_or_else(|| size(dump.bytes), |why| format!("failed: {}", clean(why)));
            let _ = writeln!(text, "  dump {}  {what}  {}", dump.path, seconds(dump.seconds));
        }
        text.push_str(&self.problems("could not be read or stored", ", their old copies stay", &o.unread));
        text.push_str(&self.paths("kept changing while they were read", ", stored as read", &o.unstable));
        text.push_str(&self.paths("disappeared during the run", "", &o.vanished));
        text.push_str(&self.problems("stored without an attribute", ", which a pull restores", &o.unset));
        if self.verbose {
            text.push_str(&self.problems("skipped", "", &o.skipped));
        }
        text
    }

    /// What a sync would do.
    pub fn planned(&self, plans: &[PlanReport], exit: u8) -> Result<()> {
        for plan in plans {
            if let Some(error) = &plan.error {
                self.destination_failed(&plan.url, error, plan.failure.as_ref());
            } else if !self.json {
                self.print(&self.plan_block(plan))?;
            }
        }
        if self.json { self.document(&PlanDocument { destinations: plans, exit }) } else { Ok(()) }
    }

    pub(super) fn plan_block(&self, plan: &PlanReport) -> String {
        let base = plan.base.map_or_else(|| "for the first time".into(), |base| format!("on base {base}"));
        let mut text = format!("{}  plan {base}\n  {}\n", clean(&plan.url), counts(&plan.changes));
        let _ = write!(text, "  to send {}, requests: {}", size(plan.bytes), estimate(&plan.requests));
        let _ = writeln!(text, ", cost ${:.4} ({})", plan.cost, plan.price);
        if let Some(repack) = &plan.repack {
            let RepackOutcome { packs, files, bytes } = *repack;
            let (packs, files) = (counted(packs, "pack", "packs"), counted(files, "file", "files"));
            let _ = writeln!(text, "  to repack: {packs} that are hardly used, {files}, {} to send again", size(bytes));
        }
        if !plan.refused.is_empty() {
            text.push_str("  would be refused:\n");
            plan.refused.iter().for_each(|reason| _ = writeln!(text, "    {}", clean(reason)));
        }
        text.push_str(&self.problems("could not be read", ", their old copies stay", &plan.unread));
        if self.quiet {
            return text;
        }
        let shown = if self.verbose { plan.listed.len() } else { SOME };
        for change in plan.listed.iter().take(shown) {
            let _ = write!(text, "  {:<9} {}", change.change, change.path);
            if let Some(from) = &change.from {
                let _ = write!(text, " (from {from})");
            }
            if change.size > 0 {
                let _ = write!(text, "  {}", size(change.size));
            }
            text.push('\n');
        }
        let c = &plan.changes;
        let all = c.added + c.changed + c.metadata + c.removed + c.renamed;
        text.push_str(&self.more(all, shown.min(plan.listed.len()) as u64));
        text
    }

    /// What a pull did, or would do.
    pub fn pulled(&self, o: &PullOutcome, target: &Path, dry_run: bool) -> Result<()> {
        let target = clean(&target.display().to_string());
        let what = if dry_run { "would be pulled to" } else { "pulled to" };
        let mut text = format!("{}  snapshot {} {what} {target}  {}\n", clean(&o.url), o.snapshot, seconds(o.seconds));
        let _ = writeln!(text, "  {}", counts(&o.changes));
        let fetched = if dry_run { "to fetch" } else { "fetched" };
        let _ = writeln!(text, "  {fetched} {}, {}, requests: {}", counted(o.files, "file", "files"), size(o.bytes), requests(&o.requests));
        text.push_str(&self.problems("could not be restored", "", &o.problems));
        if o.left_out > 0 {
            let _ = writeln!(
                text,
                "  restored without set-id bits or attributes that give rights: {} (--privileges restores them; attributes only as root)",
                count(o.left_out)
            );
        }
        o.notes.iter().for_each(|note| self.info(&clean(&note.to_string())));
        if self.json {
            return self.document(o);
        }
        if self.quiet && !o.problems.is_empty() {
            self.note(text.trim_end());
        }
        if self.quiet { Ok(()) } else { self.print(&text) }
    }

    /// What a prune did, or would do.
    pub fn pruned(&self, o: &PruneOutcome) -> Result<()> {
        if self.json {
            return self.document(o);
        }
        if self.quiet {
            return Ok(());
        }
        if let Some(strays) = o.strays {
            let what = if o.dry_run { "packs to delete that no snapshot names" } else { "packs deleted that no snapshot named" };
            let mut text = format!("{}  {what}: {}, {}\n", clean(&o.url), count(strays), size(o.bytes));
            let _ = writeln!(text, "  requests: {}", requests(&o.requests));
            text.push_str(&locked(o.locked.as_ref(), "packs"));
            return self.print(&text);
        }
        let what = if o.dry_run { "snapshots to delete" } else { "snapshots deleted" };
        let mut text = format!("{}  {what}: {}, kept: {}\n", clean(&o.url), count(o.removed.len() as u64), count(o.kept.len() as u64));
        let _ = writeln!(text, "  deleted {}\n  kept {}", numbers(&o.removed), numbers(&o.kept));
        if !o.dry_run {
            let _ = writeln!(
                text,
                "  freed {}, {}, requests: {}",
                if o.layout.is_mirror() { counted(o.contents, "kept content", "kept contents") } else { contents(o.contents, o.layout) },
                size(o.bytes),
                requests(&o.requests)
            );
        }
        text.push_str(&locked(o.locked.as_ref(), if o.layout.is_mirror() { "contents" } else { "packs" }));
        self.print(&text)
    }

    pub(super) fn problems(&self, what: &str, then: &str, problems: &Sample<Problem>) -> String {
        self.some(what, then, problems, |p| format!("{}: {}", p.path, clean(&p.problem)))
    }

    fn paths(&self, what: &str, then: &str, paths: &Sample<RelPath>) -> String {
        self.some(what, then, paths, RelPath::display)
    }

    /// A list under a heading, cut unless `--verbose`.
    fn some<T>(&self, what: &str, then: &str, items: &Sample<T>, line: impl Fn(&T) -> String) -> String {
        if items.is_empty() {
            return String::new();
        }
        let (first, all) = (items.first(), items.total());
        let shown = if self.verbose { first.len() } else { SOME.min(first.len()) };
        let mut text = format!("  {what} ({}){then}:\n", count(all));
        first.iter().take(shown).for_each(|item| _ = writeln!(text, "    {}", line(item)));
        text.push_str(&self.more(all, shown as u64));
        text
    }

    pub(super) fn more(&self, all: u64, shown: u64) -> String {
        let rest = all.saturating_sub(shown);
        match (rest, self.verbose) {
            (0, _) => String::new(),
            (_, true) => format!("    … and {} more\n", count(rest)),
            (_, false) => format!("    … and {} more (-v lists them)\n", count(rest)),
        }
    }
}

/// What has expired but is locked.
fn locked(locked: Option<&Locked>, what: &str) -> String {
    let Some(locked) = locked else { return String::new() };
    let until = match (&locked.until, locked.hold) {
        (Some(until), _) => format!("the first can be deleted on {until}"),
        (None, true) => "until a hold is removed".into(),
        (None, false) => "until its lock ends".into(),
    };
    format!("  expired, but locked by the store: snapshots {}, {what} {}; {until}\n", count(locked.snapshots), count(locked.contents))
}

fn counts(c: &Counts) -> String {
    let known = [
        ("added", c.added),
        ("changed", c.changed),
        ("metadata", c.metadata),
        ("removed", c.removed),
        ("renamed", c.renamed),
        ("unchanged", c.unchanged),
        ("skipped", c.skipped),
    ];
    known.map(|(name, n)| format!("{name} {}", count(n))).join("  ")
}

/// `1–3, 7`: numbers in order, with consecutive ones as a range.
fn numbers(numbers: &[u64]) -> String {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for &number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => runs.push((number, number)),
        }
    }
    let said: Vec<String> = runs.iter().map(|(a, b)| if a == b { a.to_string() } else { format!("{a}–{b}") }).collect();
    if said.is_empty() { "none".into() } else { said.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_numbers() {
        assert_eq!(numbers(&[]), "none");
        assert_eq!(numbers(&[1, 2, 3, 7, 9, 10]), "1–3, 7, 9–10");
    }
}
