//! What `snapshots`, `ls`, `diff`, `history` and `cat` print.
//!
//! Owns columns and words. Lines of `ls` and `diff` are printed while they arrive, so their columns have fixed
//! widths. The sums after them are not the requested output, and so are on standard error.

use std::fmt::Write as _;

use offsite::engine::{DiffLine, DiffTotals, HistoryLine, Listing, LsLine, LsTotals, UnreadTotals};
use offsite::error::Result;
use offsite::model::{RelPath, Trouble, Zone};

use super::documents::{HistoryDocument, HistoryEntry, LsEnd, LsEntry, SnapshotsDocument};
use super::stream::{CatContent, LineStream};
use super::units::{count, counted, local, local_of, shown_in, size, table};
use super::{Out, clean, printable_url};

/// The output of `ls`, line by line.
pub struct LsList<'a>(LineStream<'a>);

impl LsList<'_> {
    pub fn line(&mut self, line: &LsLine) -> Result<()> {
        self.0.line(&LsEntry::from(line), || ls_text(line))
    }

    pub fn end(self, totals: Result<LsTotals>) -> Result<u8> {
        let totals = match totals {
            Ok(totals) => totals,
            Err(error) => return self.0.end::<()>(Err(error)),
        };
        let t = &totals;
        let text = format!("snapshot {} of {}: {}, {}", t.snapshot, clean(&t.url), counted(t.entries, "entry", "entries"), size(t.bytes));
        self.0.end(Ok((LsEnd::from(t), text)))
    }
}

/// The output of `ls --unread`, line by line.
pub struct UnreadList<'a>(LineStream<'a>);

impl UnreadList<'_> {
    pub fn line(&mut self, line: &Trouble) -> Result<()> {
        self.0.line(line, || {
            let what = line.problem.as_deref().unwrap_or("kept changing while it was read; stored as read");
            format!("{}: {}", line.path, clean(what))
        })
    }

    pub fn end(self, totals: Result<UnreadTotals>) -> Result<u8> {
        self.0.end(totals.map(|t| {
            let text = format!(
                "snapshot {} of {}: {} could not be read, {} kept changing",
                t.snapshot,
                clean(&t.url),
                count(t.unread),
                count(t.unstable)
            );
            (t, text)
        }))
    }
}

/// The output of `diff`, line by line.
pub struct DiffList<'a>(LineStream<'a>);

impl DiffList<'_> {
    pub fn line(&mut self, line: &DiffLine) -> Result<()> {
        self.0.line(line, || diff_text(line))
    }

    pub fn end(self, totals: Result<DiffTotals>) -> Result<u8> {
        self.0.end(totals.map(|t| {
            let [added, changed, metadata, removed] = [t.added, t.changed, t.metadata, t.removed].map(count);
            let (before, after) = (size(t.bytes_before), size(t.bytes_after));
            let counts = format!("added {added}  changed {changed}  metadata {metadata}  removed {removed}");
            let text = format!("snapshot {} → {}: {counts}; {before} → {after}", t.from, t.to);
            (t, text)
        }))
    }
}

impl Out {
    pub fn ls(&self) -> LsList<'_> {
        LsList(LineStream::new(self, "entries"))
    }

    pub fn troubles(&self) -> UnreadList<'_> {
        UnreadList(LineStream::new(self, "troubles"))
    }

    pub fn diff(&self) -> DiffList<'_> {
        DiffList(LineStream::new(self, "changes"))
    }

    pub fn content(&self, url: &str, path: &str) -> CatContent<'_> {
        CatContent::new(self, printable_url(url), path.to_owned())
    }

    /// One change of a run, for `--verbose`.
    pub fn diff_line(&self, line: &DiffLine) -> Result<()> {
        self.print(&format!("  {}\n", diff_text(line)))
    }

    /// One entry of a first run.
    pub fn added_line(&self, line: &LsLine) -> Result<()> {
        self.print(&format!("  {}\n", diff_words("added", &line.path, None, Some(line.size).filter(|s| *s > 0))))
    }

    /// The table of snapshots.
    pub fn snapshots(&self, listing: &Listing, zone: &Zone) -> Result<()> {
        if self.json {
            let (url, snapshots, problem) = (&listing.url, &listing.snapshots, listing.problem.as_deref());
            return self.document(&SnapshotsDocument { url, snapshots, problem });
        }
        if let Some(problem) = &listing.problem {
            self.error(&clean(problem));
        }
        let headings = [">snapshot", "time", ">entries", ">size", ">added", ">changed", ">removed", ">sent", "host", "source"];
        let calendar = zone.calendar();
        let mut rows = Vec::new();
        for row in &listing.snapshots {
            let mut cells = vec![row.number.to_string(), shown_in(&calendar, &row.time)];
            if let Some(problem) = &row.problem {
                self.warning(&format!("snapshot {}: {}", row.number, clean(problem)));
                rows.push(cells);
                continue;
            }
            let c = &row.changes;
            cells.extend([count(row.entries), size(row.bytes)]);
            cells.extend([c.added, c.changed, c.removed].map(count));
            let unread = if row.unread > 0 { format!("  ({} could not be read)", count(row.unread)) } else { String::new() };
            cells.extend([size(row.sent), clean(&row.host), format!("{}{unread}", row.source)]);
            rows.push(cells);
        }
        self.print(&table(&headings, &rows))
    }

    /// The changes of a path.
    pub fn history(&self, url: &str, path: &str, lines: &[HistoryLine]) -> Result<()> {
        if self.json {
            let history = lines.iter().map(HistoryEntry::from).collect();
            return self.document(&HistoryDocument { url: &printable_url(url), path, history });
        }
        let row = |line: &HistoryLine| {
            vec![
                line.snapshot.to_string(),
                local_of(&line.time),
                line.change.to_owned(),
                line.size.map(size).unwrap_or_default(),
                line.mtime.map(local).unwrap_or_default(),
                line.problem.as_deref().map(clean).or_else(|| line.hash.map(|hash| hash.to_string()[..16].to_owned())).unwrap_or_default(),
            ]
        };
        self.print(&table(&[">snapshot", "time", "change", ">size", "mtime", "blake3"], &lines.iter().map(row).collect::<Vec<_>>()))
    }
}

fn ls_text(line: &LsLine) -> String {
    let mode = line.mode.as_deref().unwrap_or("-");
    let mtime = line.mtime.map(local).unwrap_or_default();
    let mut text = format!("{mode:>4}  {:>10}  {mtime:<16}  {}", size(line.size), line.path);
    if let Some(link) = &line.link {
        let _ = write!(text, " -> {link}");
    }
    if let Some(entries) = line.entries {
        let _ = write!(text, "  ({})", counted(entries, "entry", "entries"));
    }
    text
}

fn diff_text(line: &DiffLine) -> String {
    diff_words(line.change, &line.path, line.size_before, line.size_after)
}

fn diff_words(change: &str, path: &RelPath, before: Option<u64>, after: Option<u64>) -> String {
    let sizes = match (before, after) {
        (Some(before), Some(after)) if before != after => format!("  {} → {}", size(before), size(after)),
        (_, Some(one)) | (Some(one), None) => format!("  {}", size(one)),
        (None, None) => String::new(),
    };
    format!("{change:<9} {path}{sizes}")
}
