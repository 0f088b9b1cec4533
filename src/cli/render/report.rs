//! What `report` prints: a table with a row for each destination, and below it what does not fit into a row.
//!
//! Owns columns, words and the chart. It leaves out a column that is empty in all rows; `-` means not counted.
//! Invariant: standard error names a destination that failed, and the table has no row for it.

use std::fmt::Write as _;

use offsite::engine::{Counted, DestinationReport, ReportOutcome, ReportRow, TrendPoint};
use offsite::error::Result;

use super::units::{count, counted, dollars, local_of, size, table};
use super::{Out, clean};

/// The lowest bar first.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// For terminals without block characters.
const ASCII: [char; 8] = ['_', '.', '-', '~', '=', '+', '*', '#'];

impl Out {
    /// The report of all URLs.
    pub fn reported(&self, outcome: &ReportOutcome) -> Result<()> {
        for one in &outcome.destinations {
            if let Some(error) = &one.error {
                self.destination_failed(&one.url, error, one.failure.as_ref());
            }
        }
        if self.json {
            return self.document(outcome);
        }
        let fine: Vec<&DestinationReport> = outcome.destinations.iter().filter(|one| one.error.is_none()).collect();
        if fine.is_empty() {
            return Ok(());
        }
        let mut text = if fine.iter().all(|one| one.rows.is_empty()) { String::new() } else { overview(&fine) };
        let utf8 = offsite::config::is_utf8();
        for one in fine {
            let mut block = String::new();
            for row in &one.rows {
                let details = details(row, one, if utf8 { &BARS } else { &ASCII });
                if !details.is_empty() {
                    let _ = write!(block, "\n{}\n{details}", name(row));
                }
            }
            if !one.notes.is_empty() && !self.quiet {
                let _ = writeln!(block, "\n{}: notes", clean(&one.url));
                // A command's own report has tabs, as `du` writes them.
                one.notes.iter().for_each(|note| _ = writeln!(block, "  {}", clean(&note.to_string().replace('\t', "  "))));
            }
            text.push_str(&block);
        }
        self.print(text.trim_start_matches('\n'))
    }
}

fn name(row: &ReportRow) -> String {
    let url = clean(&row.url);
    if row.nobodys { format!("{url} (not offsite's)") } else { url }
}

/// A column: its heading and its cell for a row; none for an empty cell.
type Column = (&'static str, fn(&DestinationReport, &ReportRow) -> Option<String>);

const COLUMNS: [Column; 12] = [
    ("destination", |_, row| Some(name(row))),
    ("counted by", |one, _| one.counted.map(|how| if how == Counted::Manifest { "manifest" } else { "listing" }.into())),
    ("as of", |one, _| one.as_of.as_deref().map(local_of)),
    (">snapshot", |_, row| row.snapshot.map(|n| n.to_string())),
    (">files", |_, row| Some(count(row.content.objects))),
    (">size", |_, row| Some(size(row.content.bytes))),
    (">kept", |_, row| row.kept.filter(|sum| sum.objects > 0).map(|sum| size(sum.bytes))),
    (">old versions", |_, row| row.old_versions.filter(|sum| sum.objects > 0).map(|sum| size(sum.bytes))),
    (">offsite's own", |_, row| row.manifest.filter(|sum| sum.objects > 0).map(|sum| size(sum.bytes))),
    (">free", |one, _| one.space.map(|room| size(room.free))),
    (">a month", |_, row| row.cost.as_ref().map(|cost| dollars(cost.month))),
    (">in a year", |_, row| row.cost.as_ref().and_then(|cost| cost.month_in_a_year).map(dollars)),
];

fn overview(reports: &[&DestinationReport]) -> String {
    let rows: Vec<(&DestinationReport, &ReportRow)> = reports.iter().flat_map(|one| one.rows.iter().map(move |row| (*one, row))).collect();
    let said: Vec<(&str, Vec<Option<String>>)> = COLUMNS
        .iter()
        .map(|(heading, cell)| (*heading, rows.iter().map(|(one, row)| cell(one, row)).collect::<Vec<_>>()))
        .filter(|(_, cells)| cells.iter().any(Option::is_some))
        .collect();
    let headings: Vec<&str> = said.iter().map(|(heading, _)| *heading).collect();
    let line = |i: usize| said.iter().map(|(_, cells)| cells[i].clone().unwrap_or_else(|| "-".into())).collect();
    table(&headings, &(0..rows.len()).map(line).collect::<Vec<Vec<String>>>())
}

fn details(row: &ReportRow, one: &DestinationReport, bars: &[char; 8]) -> String {
    let mut text = String::new();
    if let [first, .., last] = &row.trend[..] {
        let sizes = row.trend.iter().map(|point| point.bytes);
        let (least, most) = (sizes.clone().min().unwrap_or(0), sizes.max().unwrap_or(0));
        let [from, to] = [first, last].map(|point| local_of(&point.time));
        let _ = writeln!(text, "  trend   {}", chart(&row.trend, bars));
        let _ = writeln!(
            text,
            "          {} to {}, {}, {from} to {to}",
            size(least),
            size(most),
            counted(row.trend.len() as u64, "snapshot", "snapshots")
        );
    }
    if let Some(packs) = row.packs.filter(|packs| packs.bytes > 0) {
        let used = packs.used as f64 / packs.bytes as f64 * 100.0;
        let _ = writeln!(
            text,
            "  packs   {}, {} of {} used by this snapshot ({used:.0} %)",
            counted(packs.packs, "pack", "packs"),
            size(packs.used),
            size(packs.bytes)
        );
    }
    if let Some(growth) = &row.growth {
        let sign = if growth.bytes_per_day < 0.0 { "-" } else { "+" };
        let day = size(growth.bytes_per_day.abs().round() as u64);
        let _ = writeln!(text, "  growth  {sign}{day} a day (least squares over {:.1} days)", growth.days);
    }
    if let Some(cost) = &row.cost {
        let _ = write!(text, "  cost    {} a month for {}", dollars(cost.month), size(cost.bytes));
        if let Some(then) = cost.month_in_a_year {
            let _ = write!(text, "; {} in 12 months at this growth", dollars(then));
        }
        let _ = writeln!(text, " ({} of {}, confidence {})", clean(&cost.price), clean(&cost.price_as_of), clean(&cost.confidence));
    }
    let markers = row.delete_markers.unwrap_or(0);
    if let Some(old) = row.old_versions.filter(|old| old.objects > 0 || markers > 0) {
        let versions = counted(old.objects, "version", "versions");
        let _ = writeln!(text, "  old     {versions}, {}; {}", size(old.bytes), counted(markers, "delete marker", "delete markers"));
    }
    if let Some(uploads) = row.unfinished_uploads.filter(|sum| sum.objects > 0) {
        let known = uploads.bytes.map_or_else(|| ", of unknown size".into(), |bytes| format!(", {}", size(bytes)));
        let _ = writeln!(text, "  uploads {} unfinished{known}", count(uploads.objects));
    }
    for (class, sum) in row.classes.iter().filter(|_| row.classes.len() > 1) {
        let _ = writeln!(text, "  class   {}: {}, {}", clean(class), counted(sum.objects, "object", "objects"), size(sum.bytes));
    }
    text + &directories(row, one.counted == Some(Counted::Manifest))
}

fn directories(row: &ReportRow, from_manifest: bool) -> String {
    let Some(directories) = &row.directories else { return String::new() };
    let line = |objects: u64, bytes: u64, name: String| vec![String::new(), count(objects), size(bytes), name];
    let mut rows: Vec<Vec<String>> = directories
        .iter()
        .map(|d| line(d.objects, d.bytes, if d.path.as_bytes().is_empty() { "(at the top)".into() } else { d.path.display() }))
        .collect();
    rows.extend(row.other_directories.map(|sum| line(sum.objects, sum.bytes, "(others)".into())));
    let things = if from_manifest { ">entries" } else { ">objects" };
    table(&["", things, ">size", "directory"], &rows)
}

/// One bar for each snapshot, scaled from the smallest to the largest.
fn chart(points: &[TrendPoint], bars: &[char; 8]) -> String {
    let least = points.iter().map(|p| p.bytes).min().unwrap_or(0);
    let range = points.iter().map(|p| p.bytes).max().unwrap_or(0) - least;
    let level = |bytes: u64| match range {
        0 => 3,
        _ => usize::try_from(u128::from(bytes - least) * 7 / u128::from(range)).unwrap_or(7),
    };
    points.iter().map(|point| bars[level(point.bytes).min(7)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(sizes: &[u64]) -> Vec<TrendPoint> {
        sizes.iter().map(|bytes| TrendPoint { snapshot: 1, time: "2026-01-01T00:00:00Z".into(), files: 1, bytes: *bytes }).collect()
    }

    #[test]
    fn the_chart_goes_from_the_least_to_the_most() {
        assert_eq!(chart(&points(&[0, 50, 100, 99]), &BARS), "▁▄█▇");
        assert_eq!(chart(&points(&[7, 7, 7]), &ASCII), "~~~");
        assert_eq!(chart(&points(&[u64::MAX, 0]), &ASCII), "#_");
        assert_eq!(chart(&points(&[]), &ASCII), "");
    }

    #[test]
    fn columns_that_say_nothing_are_left_out() {
        let row = ReportRow { url: "s3://a/b".into(), ..ReportRow::default() };
        let one = DestinationReport { url: "s3://a/b".into(), rows: vec![row], ..DestinationReport::default() };
        assert_eq!(overview(&[&one]), "destination  files  size\ns3://a/b         0   0 B\n");
    }
}
