//! A plan in a file, which people can read and which `apply` carries out later exactly as it is.
//!
//! Owns the format of the file: a heading as one JSON line, then one line for each change, in order.
//! Invariant: `apply` writes nothing at a destination that is no longer at the base of the plan, or if a file of the
//! source is no longer as planned. It reports what has changed instead.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use offsite_backends as backends;
use serde::{Deserialize, Serialize};

use super::apply::{self, Applied};
use super::compare::tree_root;
use super::owner::{Claimant, Owner};
use super::planning::{FinishedPlan, verdict};
use super::prepare::End;
use super::repack::Repack;
use super::run::{Common, DestinationRun};
use crate::engine::clock::rfc3339;
use crate::engine::control::RunControl;
use crate::engine::destination::{Destination, has_moved};
use crate::engine::machine::{Machine, PROGRAM};
use crate::engine::outcome::{Outcome, SyncOutcome, finished};
use crate::engine::warning::Warning;
use crate::error::{Error, Result};
use crate::model::{Change, Hash, KeepRules, RelPath, Time};
use crate::plan::{Facts, Limits, judge};
use crate::scan::{Names, Root};
use crate::spool::{Reader, Writer};
use crate::transfer::{Limit, Line, SharedReader};

/// The first line of the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Heading {
    plan: u32,
    program: String,
    made: String,
    source: RelPath,
    destination: String,
    /// The snapshot that the source was compared with, and the hash of its object.
    base: Option<(u64, Hash)>,
    facts: Facts,
    /// Cost of the requests in US dollars.
    #[serde(default)]
    cost: f64,
    keep: KeepRules,
    scan_start: Time,
    /// The run deletes nothing at the destination.
    #[serde(default)]
    append_only: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Row {
    Heading(Box<Heading>),
    Line(Box<Line>),
}

const VERSION: u32 = 1;

/// Where to save a plan, and the facts for its heading.
pub struct Saving<'a> {
    pub to: &'a Path,
    pub source: &'a Path,
    /// The destination as the user named it.
    pub url: &'a str,
    pub keep: KeepRules,
    pub scan_start: Time,
}

/// Writes a plan to the file that the user named.
pub fn save_plan(saving: &Saving<'_>, plan: &Path, planned: &FinishedPlan, destination: &Destination) -> Result<()> {
    let Saving { to, source, url, ref keep, scan_start } = *saving;
    let absolute = std::path::absolute(source).map_err(|e| Error::local(source, e))?;
    let heading = Heading {
        plan: VERSION,
        program: PROGRAM.into(),
        made: rfc3339(),
        source: super::compare::shown(&absolute),
        destination: absolute_url(url)?,
        base: destination.snapshot().map(|(s, h)| (s.number, *h)),
        facts: planned.facts,
        cost: planned.cost,
        keep: keep.clone(),
        scan_start,
        append_only: destination.backend.is_append_only(),
    };
    let mut out = Writer::<Row>::create(to)?;
    out.push(&Row::Heading(Box::new(heading)))?;
    let mut lines = Reader::<Line>::open(plan)?;
    while let Some(line) = lines.next_line()? {
        out.push(&Row::Line(Box::new(line)))?;
    }
    out.flush()
}

/// Makes a bare path absolute, since `apply` may run in another working directory.
fn absolute_url(url: &str) -> Result<String> {
    if url.contains("://") {
        return Ok(url.to_owned());
    }
    let path = std::path::absolute(url).map_err(|e| Error::local(url, e))?;
    path.into_os_string().into_string().map_err(|_| Error::Usage("a plan file needs a destination whose path is UTF-8".into()))
}

/// How to apply a saved plan. The plan itself says what to do.
#[derive(Debug, Clone)]
pub struct ApplyOptions {
    /// What the guard allows. It judges the plan again.
    pub limits: Limits,
    /// Number of parallel transfers at the destination. `None` for the default of the store.
    pub transfers: Option<usize>,
    /// Limit of uploads in bytes a second.
    pub limit_upload: Option<u64>,
}

/// Carries out a saved plan.
///
/// # Examples
///
/// ```
/// use offsite::engine::{self, ApplyOptions, RunControl, SyncOptions};
/// use offsite::plan::Limits;
/// # use offsite::engine::Machine;
///
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// # let dir = tempfile::tempdir()?;
/// # let at = |name: &str| dir.path().join(name);
/// # let (site, backup) = (at("site"), at("backup").display().to_string());
/// # std::fs::create_dir(&site)?;
/// # std::fs::write(site.join("index.html"), "<h1>hello</h1>")?;
/// # let machine = Machine { cache_dir: at("cache"), host: "web1".into(), ..Machine::default() };
/// let (urls, file) = ([backup], at("tonight.plan"));
/// engine::plan(&machine, &site, &urls, &SyncOptions::default(), &RunControl::new(1), Some(&file)).await;
///
/// let options = ApplyOptions { limits: Limits::default(), transfers: None, limit_upload: None };
/// let applied = engine::apply(&machine, &file, &options, &RunControl::new(1)).await;
/// assert_eq!((applied.exit, applied.destinations[0].snapshot), (0, Some(1)));
///
/// // The destination is no longer at the base of the plan.
/// let again = engine::apply(&machine, &file, &options, &RunControl::new(1)).await;
/// assert_eq!((again.exit, again.destinations[0].snapshot), (1, None));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub async fn apply(machine: &Machine, file: &Path, options: &ApplyOptions, control: &RunControl) -> SyncOutcome {
    let started = Instant::now();
    let End { mut outcome, error } = applied(machine, file, options, control).await;
    outcome.seconds = started.elapsed().as_secs_f64();
    let outcome = finished(outcome, error.as_ref());
    let exit = outcome.exit;
    SyncOutcome { destinations: vec![outcome], notes: Vec::new(), exit }
}

async fn applied(machine: &Machine, file: &Path, options: &ApplyOptions, control: &RunControl) -> End {
    let (heading, rows) = match opened(file) {
        Ok(opened) => opened,
        Err(error) => return End { outcome: Outcome::default(), error: Some(error) },
    };
    let url = backends::location::shown(&heading.destination);
    let outcome = Outcome { url, base: heading.base.map(|(number, _)| number), ..Outcome::default() };
    match ready(machine, heading, rows, options, control).await {
        Ok((common, part, warnings)) => {
            let Applied { mut outcome, error, .. } = apply::run(&common, part, outcome).await;
            outcome.warnings.extend(warnings);
            End { outcome, error }
        }
        Err(error) => End { outcome, error: Some(error) },
    }
}

/// Opens a saved plan. The reader is at its first line.
fn opened(file: &Path) -> Result<(Heading, Reader<Row>)> {
    let mut rows = Reader::<Row>::open(file)?;
    match rows.next_line() {
        Ok(Some(Row::Heading(heading))) if heading.plan == VERSION => Ok((*heading, rows)),
        _ => Err(not_a_plan(file)),
    }
}

/// Checks that the plan still fits the destination and the source, and that the guard lets it pass.
async fn ready(
    machine: &Machine,
    heading: Heading,
    rows: Reader<Row>,
    options: &ApplyOptions,
    control: &RunControl,
) -> Result<(Common, DestinationRun, Vec<Warning>)> {
    let mut destination = Destination::open(&heading.destination, machine).await?;
    if heading.append_only {
        destination.append_only()?;
    }
    destination.lock()?;
    destination.load(false, false).await?;
    still_fits(&mut destination, &heading).await?;
    let mut refused = judge(&heading.facts, &options.limits, heading.cost);
    let source = PathBuf::from(<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(heading.source.0.clone()));
    let now = Claimant { host: &machine.host, source: &source, job: None, kind: None };
    let warnings = match Owner::of(&destination, &now, options.limits.take_over) {
        Owner::Other(why) => {
            refused.push(why);
            Vec::new()
        }
        Owner::Perhaps(note) => vec![Warning::Owner(note)],
        Owner::Same => Vec::new(),
    };
    verdict(&refused)?;
    let root = Arc::new(Root::open(&source).map_err(|e| Error::local(&source, e))?);
    let plan = destination.local("plan-0");
    tokio::task::block_in_place(|| check_and_copy(&root, rows, &plan))?;
    let common = Common {
        machine: machine.clone(),
        shared_reader: Arc::new(SharedReader::new(Arc::clone(&root), 1, 0)),
        stop: Arc::clone(&control.stop),
        source: heading.source.clone(),
        tree_root: tree_root(&root, &Names::default())?,
        scan_start: Some(heading.scan_start),
        unread: Vec::new(),
        adopt: false,
        keep: heading.keep.clone(),
        transfers: options.transfers,
        limit: Arc::new(Limit::new(options.limit_upload)),
        limit_download: Arc::new(Limit::new(None)),
        window: crate::engine::control::WINDOW,
        job: None,
        kind: None,
        dump_streams: Arc::new(crate::transfer::DumpStreams::none()),
        replay: None,
    };
    let progress = control.progress.first().cloned().unwrap_or_default();
    let part =
        DestinationRun { destination, index: 0, plan, facts: heading.facts, unread: Vec::new(), progress, repack: Repack::default() };
    Ok((common, part, warnings))
}

fn not_a_plan(file: &Path) -> Error {
    Error::Usage(format!("{}: not a plan of this program; make one with `offsite plan SRC DEST --out FILE`", file.display()))
}

/// Fails if the destination is not as it was when the plan was made.
async fn still_fits(destination: &mut Destination, heading: &Heading) -> Result<()> {
    let url = destination.backend.location().to_string();
    let now = destination.snapshot().map(|(s, h)| (s.number, *h));
    if now != heading.base {
        let name = |base: Option<(u64, Hash)>| base.map_or("no snapshot".into(), |(n, _)| format!("snapshot {n}"));
        return Err(Error::Moved(vec![format!("{url} is at {}, the plan starts from {}", name(now), name(heading.base))]));
    }
    if destination.look_at_disk(has_moved(destination.backend.clone()).await).await? {
        let what = "is on a disk that takes some different names for one, which the plan does not know";
        return Err(Error::Moved(vec![format!("{url} {what}")]));
    }
    Ok(())
}

/// Copies the lines to the spool. Fails if a file is no longer as planned.
fn check_and_copy(root: &Root, mut rows: Reader<Row>, spool: &Path) -> Result<()> {
    const SHOWN: usize = 20;
    let mut out = Writer::<Line>::create(spool)?;
    let mut moved = Vec::new();
    while let Some(row) = rows.next_line()? {
        let Row::Line(line) = row else { continue };
        if moved.len() < SHOWN {
            moved.extend(what_moved(root, &line.step));
        }
        out.push(&Line { readers: 1, dump: false, ..*line })?;
    }
    out.flush()?;
    if moved.is_empty() { Ok(()) } else { Err(Error::Moved(moved)) }
}

fn what_moved(root: &Root, change: &Change) -> Option<String> {
    let path = change.path();
    let now = root.stat_at(path.as_bytes());
    match change {
        Change::Removed { old, .. } => {
            let back = now.is_ok_and(|s| s.kind() == Some(old.kind));
            back.then(|| format!("{path} exists again"))
        }
        Change::Added { stamps, .. }
        | Change::Changed { stamps, .. }
        | Change::Metadata { stamps, .. }
        | Change::Renamed { stamps, .. } => match now {
            Ok(stat) if stat.stamps() == *stamps => None,
            Ok(_) => Some(format!("{path} was changed")),
            Err(error) => Some(format!("{path}: {error}")),
        },
        Change::Stamped { .. } => None,
    }
}
