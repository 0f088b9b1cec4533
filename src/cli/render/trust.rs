//! What `check` and `repair` print.
//!
//! Owns the blocks of text. Findings are listed line by line, the worst first within a path. With `--quiet` it prints
//! only them, on standard error. Invariant: the counts include every finding.

use std::fmt::Write as _;

use offsite::engine::{CheckOutcome, Finding, Flaw, Foreign, RepairOutcome};
use offsite::error::Result;
use offsite::model::{Problem, Sample};

use super::units::{contents, count, counted, requests, seconds, size};
use super::{Out, SOME, clean};

impl Out {
    /// The result of a check.
    pub fn checked(&self, o: &CheckOutcome) -> Result<()> {
        if self.json {
            return self.document(o);
        }
        let mut text = Self::check_counts(o);
        text.push_str(&self.findings("wrong", &o.findings, o.snapshot, o.missing + o.changed + o.damaged));
        text.push_str(&self.unread(&o.unread));
        if !self.quiet {
            let line = |f: &Foreign| format!("{}  {}{}", f.key, size(f.size), if f.stray { "  (left by an interrupted run)" } else { "" });
            text.push_str(&self.list("foreign, left alone", &o.foreign_listed, o.foreign, line));
        }
        o.notes.iter().for_each(|note| _ = writeln!(text, "  note: {}", clean(&note.to_string())));
        if o.exit == 1 {
            text.push_str("  `offsite repair SOURCE DESTINATION` sends again what the source still has\n");
        }
        self.said(&text, o.exit)
    }

    fn check_counts(o: &CheckOutcome) -> String {
        let verdict = match o.exit {
            0 => "OK",
            1 => "problems found",
            _ => "not fully checked",
        };
        let mut text = format!("{}  snapshot {}: {verdict}  {}\n", clean(&o.url), o.snapshot, seconds(o.seconds));
        let _ = writeln!(
            text,
            "  missing {}  changed {}  damaged {}  foreign {} ({})",
            count(o.missing),
            count(o.changed),
            count(o.damaged),
            count(o.foreign),
            size(o.foreign_bytes)
        );
        let snapshots = counted(o.snapshots, "snapshot", "snapshots");
        let _ = write!(text, "  {}, {}, of {snapshots}", contents(o.contents, o.layout), size(o.bytes));
        let _ = writeln!(text, "; listed {}, requests: {}", count(o.listed), requests(&o.requests));
        if let Some(read) = &o.read {
            let _ = write!(text, "  read back {}, {}", contents(read.files, o.layout), size(read.bytes));
            if read.share < 1.0 {
                let _ = write!(text, "; {:.0} % of this round", read.round * 100.0);
            }
            text.push('\n');
        }
        for (number, what) in
            [(o.aside, "put aside by a run that was interrupted or is in progress"), (o.touched, "touched, with unchanged contents")]
        {
            if number > 0 {
                let _ = writeln!(text, "  {what}: {}", count(number));
            }
        }
        text
    }

    /// What a repair did, or would do.
    pub fn repaired(&self, o: &RepairOutcome) -> Result<()> {
        if self.json {
            return self.document(o);
        }
        let mut text = clean(&o.url);
        match (o.snapshot, o.dry_run) {
            (Some(number), _) => _ = write!(text, "  snapshot {number} (repaired {})", o.base),
            (None, true) => _ = write!(text, "  snapshot {} would be repaired", o.base),
            (None, false) => _ = write!(text, "  snapshot {}", o.base),
        }
        let _ = writeln!(text, "  {}", seconds(o.seconds));
        let [made, sent] = if o.dry_run { ["to repair", "to send"] } else { ["repaired", "sent"] };
        let _ = write!(text, "  wrong {}  {made} {}  adopted {}", count(o.wrong), count(o.repaired), count(o.taken_over));
        let _ = writeln!(text, "  lost {}", count(o.lost.len() as u64));
        let _ = writeln!(text, "  {sent} {}, requests: {}", size(o.sent), requests(&o.requests));
        if o.pages {
            let written = if o.dry_run { "would be written" } else { "were written" };
            let _ = writeln!(text, "  pages of the manifest {written} again from this machine's cache");
        }
        text.push_str(&self.findings("lost", &o.lost, o.base, o.lost.len() as u64));
        text.push_str(&self.unread(&o.unread));
        o.notes.iter().for_each(|note| _ = writeln!(text, "  note: {}", clean(&note.to_string())));
        self.said(&text, o.exit)
    }

    /// Prints the text; with `--quiet` only if the exit code is not 0.
    fn said(&self, text: &str, exit: u8) -> Result<()> {
        match (self.quiet, exit) {
            (false, _) => self.print(text),
            (true, 0) => Ok(()),
            (true, _) => {
                self.note(text.trim_end());
                Ok(())
            }
        }
    }

    fn findings(&self, what: &str, findings: &[Finding], newest: u64, all: u64) -> String {
        self.list(what, findings, all, |f| finding(f, newest))
    }

    fn unread(&self, unread: &Sample<Problem>) -> String {
        self.list("could not be checked", unread.first(), unread.total(), |p| format!("{}: {}", p.path, clean(&p.problem)))
    }

    /// A list under a heading, cut unless `--verbose`. `all` is the full count: `items` may have fewer.
    fn list<T>(&self, what: &str, items: &[T], all: u64, line: impl Fn(&T) -> String) -> String {
        if all == 0 {
            return String::new();
        }
        let shown = if self.verbose { items.len() } else { SOME.min(items.len()) };
        let mut text = format!("  {what} ({}):\n", count(all));
        items.iter().take(shown).for_each(|item| _ = writeln!(text, "    {}", line(item)));
        text.push_str(&self.more(all, shown as u64));
        text
    }
}

fn finding(f: &Finding, newest: u64) -> String {
    let flaw = match f.flaw {
        Flaw::Missing => "missing",
        Flaw::Changed => "changed",
        Flaw::Damaged => "damaged",
    };
    let of = match (f.first_snapshot, f.last_snapshot) {
        (_, last) if last == newest => String::new(),
        (first, last) if first == last => format!(" (snapshot {last})"),
        (first, last) => format!(" (snapshots {first}–{last})"),
    };
    format!("{flaw:<8} {}: {}{of}", f.path, clean(&f.problem))
}
