//! The results of the cases, as text, as a verdict, and as rows of `docs/stores.md`.
//!
//! Owns the rows: one a store, found by the store's name. All other lines of the page stay as they are.

use std::fmt;

use super::kit::{CaseVerdict, Outcome, PlaceKind, TestedPlace};
use crate::contract::capabilities::Capabilities;

/// One case and its result.
#[derive(Debug)]
pub struct ReportEntry {
    /// Name of the case.
    pub case: &'static str,
    /// Whether it held, and if not, why.
    pub outcome: Outcome,
    /// The case was not run, because [`TestedPlace::not_here`] says that it does not hold there.
    pub is_quirk: bool,
}

impl fmt::Display for ReportEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.outcome {
            Ok(()) => write!(f, "holds: {}", self.case),
            Err(CaseVerdict::Fails(why)) => write!(f, "FAILS: {}: {why}", self.case),
            Err(CaseVerdict::NotHere(why)) => write!(f, "not here: {}: {why}", self.case),
        }
    }
}

/// All results of one store.
#[derive(Debug)]
pub struct Report {
    /// Name of the store, from [`TestedPlace::name`].
    pub store: String,
    /// `None` if not even a plain destination could be opened; the cases say why.
    pub capabilities: Option<Capabilities>,
    is_tree: bool,
    has_parts: bool,
    /// The results, in the order in which the cases ran.
    pub entries: Vec<ReportEntry>,
}

impl Report {
    pub(super) async fn of(place: &dyn TestedPlace, stem: &str) -> Self {
        let backend = place.open(PlaceKind::Plain, &format!("{stem}-look")).await.ok().flatten();
        Self {
            store: place.name().to_owned(),
            capabilities: backend.as_ref().map(|backend| backend.capabilities()),
            is_tree: backend.as_ref().is_some_and(|backend| backend.tree().is_some()),
            has_parts: backend.as_ref().is_some_and(|backend| backend.multipart().is_some()),
            entries: Vec::new(),
        }
    }

    /// Succeeds if no case failed.
    ///
    /// # Errors
    /// All cases that failed, one line each. A run without any case is a failure too.
    pub fn verdict(&self) -> Result<(), String> {
        let failed: Vec<_> = self.entries.iter().filter(|entry| matches!(entry.outcome, Err(CaseVerdict::Fails(_)))).collect();
        match (failed.len(), self.entries.len()) {
            (_, 0) => Err(format!("{}: no case has that name", self.store)),
            (0, _) => Ok(()),
            (some, all) => {
                let lines: Vec<_> = failed.iter().map(|entry| format!("  {entry}")).collect();
                Err(format!("{}: {some} of {all} cases fail\n{}", self.store, lines.join("\n")))
            }
        }
    }

    /// Whether a case holds here.
    fn holds(&self, case: &str) -> bool {
        self.entries.iter().any(|entry| entry.case == case && entry.outcome.is_ok())
    }

    fn word(&self, promised: bool, case: &str) -> &'static str {
        match (promised, self.holds(case)) {
            (false, _) => "no",
            (true, true) => "yes",
            (true, false) => "not on this server",
        }
    }

    /// The store's row of the table in `docs/stores.md`; `None` if its capabilities are unknown.
    pub fn row(&self) -> Option<String> {
        let can = self.capabilities?;
        let names = match (can.any_name, self.holds("a backslash in a key")) {
            (true, _) => "any bytes".to_owned(),
            (false, true) => format!("UTF-8, {} bytes", can.max_key),
            (false, false) => format!("UTF-8 without `\\`, {} bytes", can.max_key),
        };
        let both = if self.holds("a key and a key below it") { "yes" } else { "no" };
        let times = match (self.is_tree, self.holds("tree: times in nanoseconds")) {
            (false, _) => "offsite keeps them",
            (true, true) => "mtime (ns), mode",
            (true, false) => "mtime (s), mode",
        };
        let cells = [
            self.store.clone(),
            names,
            both.to_owned(),
            self.word(can.create_only, "create-only: of eight at once one wins").to_owned(),
            self.word(can.compare_and_swap, "compare-and-swap: of eight at once one wins").to_owned(),
            self.word(can.versions, "versions: an old one is read by its id").to_owned(),
            can.checksum.unwrap_or("none").to_owned(),
            match (can.server_copy, self.holds("a copy of another etag is refused")) {
                (true, false) => "yes, not bound to an etag".to_owned(),
                _ => self.word(can.server_copy, "a copy on the server").to_owned(),
            },
            self.word(self.has_parts, "an upload goes on in another process").to_owned(),
            bytes(can.max_object),
            if self.is_tree { "yes" } else { "no" }.to_owned(),
            times.to_owned(),
            if can.control { "yes" } else { "no" }.to_owned(),
        ];
        Some(format!("| {} |", cells.join(" | ")))
    }

    /// One line for each quirk of this make of server.
    pub fn quirks(&self) -> Vec<String> {
        let said = self.entries.iter().filter(|entry| entry.is_quirk);
        said.filter_map(|entry| match &entry.outcome {
            Err(CaseVerdict::NotHere(why)) => Some(format!("* **{}**, {}: {why}", self.store, entry.case)),
            _ => None,
        })
        .collect()
    }

    /// The page with this store's rows in place of its old ones. New rows are added after the last of their kind.
    pub fn update(&self, page: &str) -> String {
        let (row, quirk) = (format!("| {} |", self.store), format!("* **{}**,", self.store));
        let mut lines: Vec<String> = page.lines().map(str::to_owned).collect();
        let rows = self.row().into_iter().collect();
        put_in(&mut lines, &row, "|", rows);
        put_in(&mut lines, &quirk, "* **", self.quirks());
        lines.join("\n") + "\n"
    }
}

/// Replaces the lines that begin with `own`. If there are none, adds the new ones after the last line that begins with
/// `like`.
fn put_in(lines: &mut Vec<String>, own: &str, like: &str, new: Vec<String>) {
    let first = lines.iter().position(|line| line.starts_with(own));
    let after_last = lines.iter().rposition(|line| line.starts_with(like)).map(|at| at + 1);
    lines.retain(|line| !line.starts_with(own));
    let at = first.or(after_last).unwrap_or(lines.len()).min(lines.len());
    lines.splice(at..at, new);
}

/// A size in the largest unit that leaves it whole.
fn bytes(size: u64) -> String {
    const UNITS: [(u32, &str); 4] = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    if size >= i64::MAX as u64 {
        return "what the file system takes".into();
    }
    const TERABYTE: u64 = 1_000_000_000_000;
    if size >= TERABYTE && size.is_multiple_of(TERABYTE) {
        return format!("{} TB", size / TERABYTE);
    }
    let whole = |(shift, _): &(u32, &str)| size >= 1 << shift && size.is_multiple_of(1 << shift);
    match UNITS.iter().find(|unit| whole(unit)) {
        Some((shift, unit)) => format!("{} {unit}", size >> shift),
        None => format!("{size} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_row_is_replaced_where_it_stands_or_added_at_the_end() {
        let mut page = lines("# T\n| A | x |\n| B | y |\n\ntext");
        put_in(&mut page, "| A |", "| ", vec!["| A | new |".into()]);
        put_in(&mut page, "| C |", "| ", vec!["| C | z |".into()]);
        assert_eq!(page, lines("# T\n| A | new |\n| B | y |\n| C | z |\n\ntext"));
    }

    #[test]
    fn sizes_are_in_the_largest_whole_unit() {
        assert_eq!(bytes(5 << 40), "5 TiB");
        assert_eq!(bytes(10_000_000_000_000), "10 TB");
        assert_eq!(bytes(1), "1 bytes");
    }
}
