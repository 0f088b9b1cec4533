//! `report`: what a destination, or a whole bucket, holds and costs.
//!
//! Owns the order of it: from the newest manifest where there is one, else, or where that is asked for,
//! from the store's own listing; then room, trend, growth and cost. The result says which it was and as of
//! when. One destination that fails stops no other. Invariant: a listing takes one request a page and
//! nothing else, and writes nothing; memory does not grow with the number of objects.

mod rows;
mod split;
mod trend;

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::Utc;
use futures::{StreamExt, stream};
use offsite_backends::usage::survey;
use offsite_backends::{self as backends, Scope, Usage};

use super::clock::shown;
use super::control::RunControl;
use super::destination::Destination;
use super::machine::Machine;
use super::note::Note;
use super::outcome::worst;
use super::pack_use::{PackUse, each_pack};
use super::query::{LsLine, ls_in, newest};
use crate::error::{Error, Result};
use crate::manifest::{Records, SnapshotRef};
use crate::model::{Hash, Kind, Layout, RelPath, Snapshot};
use crate::plan::{Price, Prices, Slope, grown};
use crate::transfer::{Phase, Progress, Stop};

pub use rows::{Costs, Counted, DestinationReport, DirectorySum, Growth, PacksInUse, ReportOutcome, ReportRow, Room, Total, TrendPoint};
use split::{Split, SplitUsage};

/// Destinations that are looked at at a time.
const AT_A_TIME: usize = 4;
const YEAR: f64 = 365.0;

/// How to report.
#[derive(Debug, Clone)]
pub struct ReportOptions {
    /// Count what the store lists, whatever the manifest says.
    pub list: bool,
    /// Sums of first directories.
    pub by_directory: bool,
    /// For what other storage classes cost.
    pub prices: Prices,
}

/// A row of the price table.
#[derive(Debug, Clone)]
pub struct Priced {
    /// Its name in the table, such as `s3.standard`.
    pub name: String,
    /// What the store charges.
    pub price: Price,
}

/// Reports on each URL, storage priced by the row that stands with it.
///
/// # Examples
///
/// ```
/// use offsite::engine::{self, Priced, ReportOptions, RunControl};
/// use offsite::plan::Prices;
/// # use offsite::engine::{Machine, SyncOptions};
///
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// # let dir = tempfile::tempdir()?;
/// # let at = |name: &str| dir.path().join(name);
/// # let (site, backup) = (at("site"), at("backup").display().to_string());
/// # std::fs::create_dir(&site)?;
/// # std::fs::write(site.join("index.html"), "<h1>hello</h1>")?;
/// # let machine = Machine { cache_dir: at("cache"), host: "web1".into(), ..Machine::default() };
/// # let urls = [backup.clone()];
/// # engine::sync(&machine, &site, &urls, &SyncOptions::default(), &RunControl::new(1)).await;
/// let (prices, name) = (Prices::shipped()?, "aws/s3-standard");
/// let urls = [(backup, Some(Priced { name: name.into(), price: prices.get(name)?.clone() }))];
/// let options = ReportOptions { list: false, by_directory: true, prices };
/// let report = engine::report(&machine, &urls, &options, &RunControl::new(urls.len())).await;
///
/// let row = &report.destinations[0].rows[0];
/// assert_eq!((row.snapshot, row.content.objects, row.content.bytes), (Some(1), 1, 14));
/// assert!(row.cost.as_ref().is_some_and(|cost| cost.month < 0.01));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub async fn report(machine: &Machine, urls: &[(String, Option<Priced>)], options: &ReportOptions, run: &RunControl) -> ReportOutcome {
    let destinations = stream::iter(urls.iter().enumerate())
        .map(|(index, (url, priced))| async move {
            let progress = run.progress.get(index).cloned().unwrap_or_default();
            let report = match open(url, machine).await {
                Err(error) => failed(backends::location::shown(url), &error),
                Ok(destination) => match look(&destination, priced.as_ref(), options, (&progress, &run.stop)).await {
                    Ok(report) => report,
                    Err(error) => {
                        let requests = destination.backend.meter().requests();
                        DestinationReport { requests, ..failed(destination.backend.location().to_string(), &error) }
                    }
                },
            };
            progress.set_phase(if report.exit == 0 { Phase::Finished } else { Phase::Failed });
            report
        })
        .buffered(AT_A_TIME)
        .collect::<Vec<_>>()
        .await;
    let exit = worst(destinations.iter().map(|d| d.exit));
    ReportOutcome { destinations, exit }
}

async fn open(url: &str, machine: &Machine) -> Result<Destination> {
    Destination::open(url, machine).await
}

fn failed(url: String, error: &Error) -> DestinationReport {
    let (failure, exit) = (Some(error.into()), error.exit_code());
    DestinationReport { url, error: Some(error.to_string()), failure, exit, ..DestinationReport::default() }
}

/// The same over one destination that is open.
///
/// # Errors
/// [`Error::Store`] if the store cannot be read or listed. [`Error::Damaged`] if the newest snapshot cannot be read.
/// [`Error::Usage`] if a newer offsite wrote it. [`Error::Busy`] if the listing misses a newer snapshot. A damaged
/// older snapshot is a note, not an error.
pub async fn report_over(destination: &Destination, priced: Option<&Priced>, options: &ReportOptions) -> Result<DestinationReport> {
    look(destination, priced, options, (&Progress::default(), &Arc::default())).await
}

async fn look(
    destination: &Destination,
    priced: Option<&Priced>,
    options: &ReportOptions,
    (progress, stop): (&Progress, &Arc<Stop>),
) -> Result<DestinationReport> {
    progress.set_phase(Phase::Loading);
    let backend = &destination.backend;
    let snapshots = if options.list { Vec::new() } else { destination.records.snapshots(None).await? };
    if let (Some(seen), false) = (destination.records.remembered(), options.list) {
        seen.check_number(&destination.records.url(""), snapshots.last().map_or(0, |last| last.number))?;
    }
    let figures = match snapshots.last() {
        Some(newest) => from_manifest(destination, newest, &snapshots, options).await?,
        None => from_listing(destination, options, (progress, stop)).await?,
    };
    let mut report = DestinationReport {
        url: backend.location().to_string(),
        // Not worth a failure.
        space: backend.space().await.ok().flatten().map(Room::from),
        counted: Some(figures.counted),
        as_of: Some(figures.as_of),
        rows: figures.rows,
        notes: figures.notes,
        requests: backend.meter().requests(),
        ..DestinationReport::default()
    };
    if let Some(priced) = priced {
        report.notes.extend(price_notes(&report.rows, priced, &options.prices));
        report.rows.iter_mut().for_each(|row| row.cost = Some(cost(row, priced)));
    }
    Ok(report)
}

/// What limits the costs.
fn price_notes(rows: &[ReportRow], Priced { name, price }: &Priced, prices: &Prices) -> Vec<Note> {
    let stale = price.is_stale(Utc::now().date_naive()).map(|days| Note::PriceStale { name: name.clone(), days });
    let own = price.note.iter().map(|note| Note::Price { name: name.clone(), note: note.clone() });
    let uncounted = |row: &ReportRow| row.unfinished_uploads.is_some_and(|uploads| uploads.bytes.is_none());
    let unpriced = rows.iter().any(uncounted).then_some(Note::UploadsUnpriced);
    let apart = rows.iter().flat_map(|row| prices.classes_apart(name, row.classes.keys().map(String::as_str)));
    let apart: BTreeSet<(String, String)> = apart.collect();
    let apart = apart.into_iter().map(|(class, other)| Note::OtherClass { name: name.clone(), class, other });
    stale.into_iter().chain(own).chain(unpriced).chain(apart).collect()
}

fn cost(row: &ReportRow, Priced { name, price }: &Priced) -> Costs {
    let parts = [Some(row.content), row.kept, row.manifest, row.old_versions].into_iter().flatten().map(|part| part.bytes);
    let uploads = row.unfinished_uploads.and_then(|uploads| uploads.bytes);
    let bytes = parts.chain(uploads).fold(0_u64, u64::saturating_add);
    let in_a_year = |g: &Growth| grown(bytes, &Slope { bytes_per_day: g.bytes_per_day, days: g.days }, YEAR);
    Costs {
        price: name.clone(),
        price_as_of: price.as_of.clone(),
        price_source: price.source.clone(),
        confidence: price.confidence.clone(),
        bytes,
        month: price.storage(bytes),
        month_in_a_year: row.growth.as_ref().map(|g| price.storage(in_a_year(g))),
    }
}

/// What either way of counting finds.
struct Tally {
    counted: Counted,
    as_of: String,
    rows: Vec<ReportRow>,
    notes: Vec<Note>,
}

/// The newest snapshot's totals, the sums of directories from its inner pages, and the trend.
async fn from_manifest(destination: &Destination, last: &SnapshotRef, list: &[SnapshotRef], options: &ReportOptions) -> Result<Tally> {
    let records = &destination.records;
    let (snapshot, hash) = newest(records, last.number).await?;
    let as_of = shown(last.modified);
    let (trend, growth, lost) = trend::trend(records, list, &snapshot).await?;
    let mut row = ReportRow {
        url: destination.backend.location().to_string(),
        snapshot: Some(snapshot.number),
        snapshot_time: Some(as_of.clone()),
        content: Total { objects: snapshot.totals.files, bytes: snapshot.totals.bytes },
        packs: packs(destination, &hash),
        trend,
        growth,
        ..ReportRow::default()
    };
    if options.by_directory {
        let (directories, others) = directories(records, &snapshot).await?;
        (row.directories, row.other_directories) = (Some(directories), others);
    }
    let notes = lost.into_iter().chain([if snapshot.layout().is_mirror() { Note::ContentsOnly } else { Note::FilesOnly }]).collect();
    Ok(Tally { counted: Counted::Manifest, as_of, rows: vec![row], notes })
}

/// The packs that the newest snapshot names, if the cache of this machine is of that snapshot and knows all of them.
fn packs(destination: &Destination, newest: &Hash) -> Option<PacksInUse> {
    let current = destination.layout() == Layout::Packed && destination.snapshot().is_some_and(|(_, hash)| hash == newest);
    let mut sum = PacksInUse::default();
    let add = |one: PackUse| {
        sum = PacksInUse { packs: sum.packs + 1, bytes: sum.bytes + one.stored.bytes, used: sum.used + one.living };
        Ok(())
    };
    let unknown = current.then(|| tokio::task::block_in_place(|| each_pack(destination, add)));
    matches!(unknown, Some(Ok(0))).then_some(sum)
}

/// Sums of first directories; what lies at the top itself is one of them.
async fn directories(records: &Records, snapshot: &Snapshot) -> Result<(Vec<DirectorySum>, Option<Total>)> {
    let mut usage = Usage::default();
    let mut sink = |line: LsLine| {
        let (name, objects) = match line.kind {
            Kind::Dir => (line.path.as_bytes(), line.entries.unwrap_or(0)),
            _ => (&b""[..], 1),
        };
        usage.names.add(name, backends::usage::Sum { objects, bytes: line.size });
        Ok(())
    };
    if snapshot.root.is_some() {
        ls_in(records, snapshot, "", false, &mut sink).await?;
    }
    Ok(named(usage))
}

fn named(usage: Usage) -> (Vec<DirectorySum>, Option<Total>) {
    let (largest, others) = usage.names.largest();
    let sum =
        |(path, sum): (Vec<u8>, backends::usage::Sum)| DirectorySum { path: RelPath::new(path), objects: sum.objects, bytes: sum.bytes };
    (largest.into_iter().map(sum).collect(), Some(Total::from(others)).filter(|others| others.objects > 0))
}

/// What the store lists, told apart by destination.
async fn from_listing(destination: &Destination, options: &ReportOptions, (progress, stop): (&Progress, &Arc<Stop>)) -> Result<Tally> {
    let backend = &destination.backend;
    progress.set_phase(Phase::Scanning);
    let (mut split, mut begun) = (Split::new(), None);
    let gaps = survey(backend.as_ref(), Scope::Prefix, |listed| {
        begun.get_or_insert_with(|| backend.meter().clock().unwrap_or_else(Utc::now));
        split.add(listed);
        progress.scanned.store(split.seen, std::sync::atomic::Ordering::Relaxed);
        stop.check().map_err(|_| backends::Error::new(backends::ErrorKind::Other, backend.location(), "interrupted"))
    });
    let gaps = gaps.await;
    stop.check()?;
    let gaps = gaps?;
    let as_of = shown(begun.unwrap_or_else(|| backend.meter().clock().unwrap_or_else(Utc::now)));
    let empty = split.seen == 0;
    let (places, nobodys) = split.finish();
    let mut rows = Vec::new();
    for (dir, SplitUsage { usage, newest }) in places {
        let dir = String::from_utf8_lossy(&dir);
        let mut row = counted(usage, options.by_directory, &gaps);
        row.url = backend.location().at(dir.trim_end_matches('/'));
        row.snapshot = newest.map(|(number, _)| number);
        row.snapshot_time = newest.map(|(_, time)| shown(time));
        rows.push(row);
    }
    if rows.is_empty() || !nobodys.is_empty() {
        let row = counted(nobodys, options.by_directory, &gaps);
        rows.push(ReportRow { url: backend.location().to_string(), nobodys: true, ..row });
    }
    let uncounted = |what, why: Option<String>| why.map(|why| Note::Uncounted { what, why });
    let notes = [
        (!options.list).then_some(Note::ListedInstead),
        empty.then_some(Note::Empty),
        uncounted("old versions and delete markers", gaps.versions.clone()),
        uncounted("unfinished uploads", gaps.uploads.filter(|_| gaps.versions.is_none())),
    ];
    Ok(Tally { counted: Counted::Listing, as_of, rows, notes: notes.into_iter().flatten().collect() })
}

fn counted(usage: Usage, by_directory: bool, gaps: &backends::Gaps) -> ReportRow {
    let mut row = ReportRow {
        content: usage.current.without(usage.records).without(usage.kept).into(),
        kept: Some(usage.kept.into()),
        manifest: Some(usage.records.into()),
        old_versions: gaps.versions.is_none().then(|| usage.old.into()),
        delete_markers: gaps.versions.is_none().then_some(usage.markers),
        unfinished_uploads: gaps.uploads.is_none().then(|| usage.unfinished.into()),
        classes: usage.classes.iter().map(|(class, sum)| (class.clone(), (*sum).into())).collect(),
        ..ReportRow::default()
    };
    if by_directory {
        let (directories, others) = named(usage);
        (row.directories, row.other_directories) = (Some(directories), others);
    }
    row
}
