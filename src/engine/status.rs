//! How the last run of a job ended: the run record.
//!
//! Owns `.offsite/run.json`, which each run of a job writes at its destination, and what `status` concludes from it
//! on any host. A plain `sync` writes none; `status` then uses the newest snapshot. Ages are by the store's clock.
//! Invariants: `status` sends one small request for the run and one for the check, at a sealed destination that this
//! machine knows also a listing, and writes nothing; an unreadable record is no good result.

use chrono::{DateTime, Utc};
use futures::{StreamExt, stream};
use object_store::PutMode;
use serde::{Deserialize, Serialize};

use super::absent::{is_absent, last_seen};
use super::check::CheckRecord;
use super::clock::{rfc3339, shown};
use super::destination::Destination;
use super::machine::{Machine, PROGRAM};
use super::outcome::Outcome;
use super::query::{follows, newest};
use crate::error::{Error, Result};
use crate::manifest::{Records, StoredRecord};
use crate::model::{bounds, span};

/// The result of a record that cannot be read.
const UNREADABLE: &str = "unreadable";
/// Longest message in a run record, in bytes.
const MESSAGE: usize = 8 << 10;
/// Results that the config allows: a run that did nothing because the source was missing, and a destination that is
/// absent.
const SKIPPED: &str = "skipped";
const ABSENT: &str = "absent";
/// A time this many seconds in the future is no error: clocks differ.
const SLACK: u64 = 300;
/// Destinations that `status` asks at the same time.
const AT_A_TIME: usize = 8;

/// The run record: how the last run of a job ended, as stored at the destination.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Name of the job.
    #[serde(deserialize_with = "bounds::text")]
    pub job: String,
    /// Type of the job, if it has types.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "type", deserialize_with = "bounds::some_text")]
    pub kind: Option<String>,
    /// Host that ran the job.
    #[serde(deserialize_with = "bounds::text")]
    pub host: String,
    /// Name and version of the program that wrote the record.
    #[serde(deserialize_with = "bounds::text")]
    pub program: String,
    /// When the run ended: RFC 3339, by the writer's clock, for people. The age of a run comes from the store's time
    /// of the object.
    #[serde(deserialize_with = "bounds::text")]
    pub time: String,
    /// `done`, `partly`, `refused`, `failed`, `interrupted`, or `skipped`.
    #[serde(deserialize_with = "bounds::text")]
    pub result: String,
    /// For a skipped run: when the last run that was not skipped ended (RFC 3339, by the store's clock).
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "bounds::some_text")]
    pub ran: Option<String>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "bounds::some_text")]
    pub message: Option<String>,
    /// How the destination differs from what the config declares.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "bounds::some_text")]
    pub drift: Option<String>,
    /// Number of the newest snapshot after the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<u64>,
    /// Files of that snapshot.
    #[serde(default)]
    pub files: u64,
    /// Content bytes of that snapshot.
    #[serde(default)]
    pub bytes: u64,
    /// Paths that could not be read, or kept changing.
    #[serde(default)]
    pub unread: u64,
    /// Duration of the run in seconds.
    #[serde(default)]
    pub seconds: f64,
}

impl RunRecord {
    /// Key of the record below the destination.
    pub const KEY: &str = ".offsite/run.json";
}

/// Writes the run record of a run at its destination. It replaces the earlier record. A run that wrote nothing to a
/// destination without a snapshot writes no record.
///
/// # Errors
/// When the record cannot be written. The run itself has not failed then.
pub async fn record_outcome(destination: &Destination, machine: &Machine, job: &str, kind: Option<&str>, outcome: &Outcome) -> Result<()> {
    if destination.snapshot().is_none() && outcome.snapshot.is_none() && !matches!(outcome.exit, 0 | 3) {
        return Ok(());
    }
    let totals = destination.snapshot().map(|(snapshot, _)| snapshot.totals).unwrap_or_default();
    let record = RunRecord {
        message: outcome.error.clone(),
        drift: outcome.drift.clone(),
        snapshot: outcome.snapshot.or(outcome.base),
        files: totals.files,
        bytes: totals.bytes,
        unread: outcome.unread.total() + outcome.unstable.total(),
        seconds: outcome.seconds,
        ..RunRecord::default()
    };
    put(&destination.records, about(record, machine, job, kind, outcome.exit)).await
}

/// Writes the run record of a job that ended before it reached its destination; it replaces the earlier record.
/// Without an earlier record it writes nothing: the destination may be a path where nothing is mounted, and `status`
/// says that no run was ever recorded there.
///
/// # Errors
/// For a URL that cannot be opened, and when the earlier record cannot be read or the new one not be written.
///
/// # Examples
///
/// ```
/// use offsite::engine::{self, Watched};
/// # use offsite::engine::{Machine, RunControl, SyncOptions};
///
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// # let dir = tempfile::tempdir()?;
/// # let at = |name: &str| dir.path().join(name);
/// # let (site, backup) = (at("site"), at("backup").display().to_string());
/// # std::fs::create_dir(&site)?;
/// # std::fs::write(site.join("index.html"), "<h1>hello</h1>")?;
/// # let machine = Machine { cache_dir: at("cache"), host: "web1".into(), ..Machine::default() };
/// # let job = SyncOptions { job: Some("site".into()), ..SyncOptions::default() };
/// # engine::sync(&machine, &site, &[backup.clone()], &job, &RunControl::new(1)).await;
/// // A hook of the job `site` failed, so the job did not reach the sync.
/// engine::record_run(&machine, &backup, "site", None, 1, Some("the hook `before` failed")).await?;
///
/// let status = engine::status(&machine, &[Watched { url: backup, ..Watched::default() }], None).await;
/// let row = &status.destinations[0];
/// assert_eq!((row.result.as_deref(), row.message.as_deref()), (Some("failed"), Some("the hook `before` failed")));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub async fn record_run(machine: &Machine, url: &str, job: &str, kind: Option<&str>, exit: u8, message: Option<&str>) -> Result<()> {
    let destination = Destination::open(url, machine).await?;
    let before = match destination.records.read::<RunRecord>(RunRecord::KEY).await {
        Ok(None) => return Ok(()),
        // The destination still holds the same snapshot.
        Ok(Some(held)) => held.record,
        Err(Error::Damaged { .. }) => RunRecord::default(),
        Err(error) => return Err(error),
    };
    let record = RunRecord { unread: 0, seconds: 0.0, ..before };
    put(&destination.records, RunRecord { message: message.map(str::to_owned), ..about(record, machine, job, kind, exit) }).await
}

/// Writes the run record of a job that was skipped because its source was missing. `ran` keeps the time of the last
/// run that was not skipped, so that `status` notices by its age a source that never comes back. Without an earlier
/// record it writes nothing.
///
/// # Errors
/// As for [`record_run`]. A damaged earlier record is an error, too.
///
/// # Examples
///
/// ```
/// use offsite::engine::{self, Watched};
/// # use offsite::engine::{Machine, RunControl, SyncOptions};
///
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// # let dir = tempfile::tempdir()?;
/// # let at = |name: &str| dir.path().join(name);
/// # let (site, backup) = (at("site"), at("backup").display().to_string());
/// # std::fs::create_dir(&site)?;
/// # std::fs::write(site.join("index.html"), "<h1>hello</h1>")?;
/// # let machine = Machine { cache_dir: at("cache"), host: "web1".into(), ..Machine::default() };
/// # let job = SyncOptions { job: Some("site".into()), ..SyncOptions::default() };
/// # engine::sync(&machine, &site, &[backup.clone()], &job, &RunControl::new(1)).await;
/// engine::record_skipped(&machine, &backup, "site", None, "the source is missing").await?;
///
/// let status = engine::status(&machine, &[Watched { url: backup, ..Watched::default() }], Some(26 * 3600)).await;
/// assert_eq!((status.exit, status.destinations[0].result.as_deref()), (0, Some("skipped")));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub async fn record_skipped(machine: &Machine, url: &str, job: &str, kind: Option<&str>, message: &str) -> Result<()> {
    let destination = Destination::open(url, machine).await?;
    let Some(StoredRecord { record: before, modified, .. }) = destination.records.read::<RunRecord>(RunRecord::KEY).await? else {
        return Ok(());
    };
    let ran = before.ran.clone().or_else(|| Some(shown(modified)));
    let record = RunRecord { unread: 0, seconds: 0.0, ..before };
    let record = RunRecord { result: SKIPPED.into(), ran, message: Some(message.into()), ..about(record, machine, job, kind, 0) };
    put(&destination.records, record).await
}

/// The record with job, host, time and result of a run that ended now.
fn about(record: RunRecord, machine: &Machine, job: &str, kind: Option<&str>, exit: u8) -> RunRecord {
    let result = match exit {
        0 => "done",
        3 => "partly",
        4 => "refused",
        130 => "interrupted",
        _ => "failed",
    };
    RunRecord {
        job: job.to_owned(),
        kind: kind.map(str::to_owned),
        host: machine.host.clone(),
        program: PROGRAM.to_owned(),
        ran: None,
        time: rfc3339(),
        result: result.to_owned(),
        ..record
    }
}

/// Writes the record, with texts cut to `MESSAGE` bytes.
async fn put(records: &Records, mut record: RunRecord) -> Result<()> {
    for message in [&mut record.message, &mut record.drift].into_iter().flatten() {
        message.truncate(message.floor_char_boundary(MESSAGE));
    }
    records.write(RunRecord::KEY, &record, PutMode::Overwrite).await.map(drop)
}

/// The status of one destination.
#[derive(Debug, Clone, Default, Serialize, schemars::JsonSchema)]
pub struct StatusRow {
    /// URL of the destination.
    pub url: String,
    /// Name of the job, if a job ran.
    pub job: Option<String>,
    /// Type of the job, if it has types.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The host that ran it.
    pub host: Option<String>,
    /// When the last run ended (RFC 3339, UTC, by the store's clock); null if no run is known.
    pub ran: Option<String>,
    /// Seconds since then.
    pub age: Option<u64>,
    /// How many seconds it is in the future by the store's clock. Its age is then unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ahead: Option<u64>,
    /// How it ended: `done`, `partly`, `refused`, `failed` or `interrupted`; `skipped` if the source was missing,
    /// `absent` if the destination is absent now. The config allows the last two, and `ran` is then the time of the
    /// run before.
    pub result: Option<String>,
    /// Why the run did not end well.
    pub message: Option<String>,
    /// How the destination differed from `initialize` in the config at the last run.
    pub drift: Option<String>,
    /// Number of the newest snapshot after the last run.
    pub snapshot: Option<u64>,
    /// Files of that snapshot.
    pub files: u64,
    /// Content bytes of that snapshot.
    pub bytes: u64,
    /// Paths that the last run could not read, or that kept changing.
    pub unread: u64,
    /// When the destination was last checked (RFC 3339, UTC, by the store's clock); null without a readable check
    /// record.
    pub checked: Option<String>,
    /// Seconds since then.
    pub check_age: Option<u64>,
    /// Result of the check: `good`, `wrong`, `partly`, or `unreadable` for a record that cannot be read.
    pub check_result: Option<String>,
    /// Why this is not well; null if it is.
    pub bad: Option<String>,
    /// 0 if the destination is well, else 1.
    pub exit: u8,
}

/// The status of all destinations.
#[derive(Debug, Clone, Default, Serialize, schemars::JsonSchema)]
pub struct StatusOutcome {
    /// One for each destination, in the order asked.
    pub destinations: Vec<StatusRow>,
    /// 0 if all destinations are well, else 1.
    pub exit: u8,
}

/// A destination to look at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watched {
    /// URL of the destination.
    pub url: String,
    /// Maximum age of its last run, in seconds. It overrides the maximum for all destinations.
    pub max_age: Option<u64>,
    /// The destination may be absent, for example a disk that is not always plugged in.
    pub may_be_absent: bool,
}

/// The status of each destination. `max_age` is the maximum age of the last run in seconds. A destination that cannot
/// be read is a row with `bad` set.
///
/// # Examples
///
/// ```
/// use offsite::engine::{self, Watched};
/// # use offsite::engine::{Machine, RunControl, SyncOptions};
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
/// # std::fs::create_dir(at("never"))?;
/// let watched = |name| Watched { url: at(name).display().to_string(), ..Watched::default() };
/// let status = engine::status(&machine, &[watched("backup"), watched("never")], Some(26 * 3600)).await;
///
/// let [backup, never] = &status.destinations[..] else { return Err("one row for each destination".into()) };
/// assert_eq!((backup.exit, backup.result.as_deref()), (0, Some("done")));
/// assert_eq!((never.exit, never.bad.as_deref()), (1, Some("no run has ever been recorded")));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub async fn status(machine: &Machine, watched: &[Watched], max_age: Option<u64>) -> StatusOutcome {
    let rows = stream::iter(watched).map(|one_of| one(machine, one_of, one_of.max_age.or(max_age))).buffered(AT_A_TIME);
    let destinations: Vec<StatusRow> = rows.collect().await;
    let exit = destinations.iter().map(|row| row.exit).max().unwrap_or(0);
    StatusOutcome { destinations, exit }
}

async fn one(machine: &Machine, watched: &Watched, max_age: Option<u64>) -> StatusRow {
    let url = watched.url.as_str();
    let mut row = StatusRow { url: offsite_backends::location::shown(url), ..StatusRow::default() };
    let looked = async {
        if watched.may_be_absent && is_absent(machine, url).await? {
            return remembered(machine, url, &mut row).await;
        }
        let destination = Destination::open(url, machine).await?;
        row.url = destination.backend.location().to_string();
        look(&destination.records, &mut row).await
    };
    row.bad = match looked.await {
        Err(error) => Some(error.to_string()),
        Ok(()) => verdict(&row, max_age),
    };
    row.exit = u8::from(row.bad.is_some());
    row
}

/// Fills the row of an absent destination from what this machine remembers.
async fn remembered(machine: &Machine, url: &str, row: &mut StatusRow) -> Result<()> {
    let Some(seen) = last_seen(machine, url).await?.and_then(|seen| DateTime::from_timestamp(seen, 0)) else { return Ok(()) };
    row.result = Some(ABSENT.into());
    (row.ran, row.age) = (Some(shown(seen)), u64::try_from((Utc::now() - seen).num_seconds()).ok());
    Ok(())
}

async fn look(records: &Records, row: &mut StatusRow) -> Result<()> {
    // The run record of a sealed destination is no proof: a store can keep showing an old one.
    if records.keys().is_some() {
        follows(records).await?;
    }
    let (run, check) = futures::join!(records.read::<RunRecord>(RunRecord::KEY), records.read::<CheckRecord>(CheckRecord::KEY));
    let run = run?;
    let now = records.backend().meter().clock().unwrap_or_else(Utc::now);
    let age = |time: DateTime<Utc>| u64::try_from((now - time).num_seconds()).unwrap_or(0);
    let ahead = |time: DateTime<Utc>| u64::try_from((time - now).num_seconds()).ok().filter(|ahead| *ahead > SLACK);
    match check {
        Ok(None) => {}
        Ok(Some(StoredRecord { record, modified, .. })) => {
            (row.checked, row.check_age, row.check_result) = (Some(shown(modified)), Some(age(modified)), Some(record.result));
        }
        Err(Error::Damaged { .. }) => row.check_result = Some(UNREADABLE.to_owned()),
        Err(error) => return Err(error),
    }
    if let Some(StoredRecord { record: run, modified: time, .. }) = run {
        let before = run.ran.as_deref().and_then(|ran| DateTime::parse_from_rfc3339(ran).ok());
        let time = before.map_or(time, |before| before.with_timezone(&Utc).min(time));
        (row.ran, row.age, row.ahead) = (Some(shown(time)), Some(age(time)), ahead(time));
        (row.job, row.kind, row.host) = (Some(run.job), run.kind, Some(run.host));
        (row.result, row.message, row.snapshot) = (Some(run.result), run.message, run.snapshot);
        row.drift = run.drift;
        (row.files, row.bytes, row.unread) = (run.files, run.bytes, run.unread);
        return Ok(());
    }
    // No job ran there: use the newest snapshot.
    let list = records.snapshots(None).await?;
    if let Some(last) = list.last() {
        let (snapshot, _) = newest(records, last.number).await?;
        (row.ran, row.age, row.ahead) = (Some(shown(last.modified)), Some(age(last.modified)), ahead(last.modified));
        let unread = snapshot.unread_count().saturating_add(snapshot.unstable_count());
        row.result = Some(if unread == 0 { "done" } else { "partly" }.to_owned());
        (row.job, row.kind, row.host) = (snapshot.job, snapshot.kind, Some(snapshot.host));
        (row.snapshot, row.files, row.bytes, row.unread) = (Some(last.number), snapshot.totals.files, snapshot.totals.bytes, unread);
    }
    Ok(())
}

/// Why the destination is not well; none if it is.
fn verdict(row: &StatusRow, max_age: Option<u64>) -> Option<String> {
    let Some(result) = row.result.as_deref() else { return Some("no run has ever been recorded".into()) };
    if !matches!(result, "done" | "partly" | SKIPPED | ABSENT) {
        let why = row.message.as_ref().map_or(String::new(), |why| format!(": {why}"));
        let ended = if result == "failed" { result.to_owned() } else { format!("was {result}") };
        return Some(format!("the last run {ended}{why}"));
    }
    if let Some(ahead) = row.ahead {
        return Some(format!("the last run's time is {} in the future by the store's clock, so its age is unknown", span(ahead)));
    }
    if let (Some(age), Some(max)) = (row.age, max_age)
        && age > max
    {
        return Some(format!("the last run is {} old, the limit is {}", span(age), span(max)));
    }
    match row.check_result.as_deref() {
        Some("wrong") => Some("the last check found problems; `offsite check` lists them".into()),
        Some(UNREADABLE) => Some("the record of the last check cannot be read; `offsite check` writes a new one".into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stale_failed_and_never_are_told_apart() {
        let row = |result: Option<&str>, age| StatusRow { result: result.map(Into::into), age: Some(age), ..StatusRow::default() };
        assert_eq!(verdict(&row(Some("done"), 90_000), Some(93_600)), None);
        assert_eq!(verdict(&row(Some("done"), 100_000), Some(93_600)).unwrap(), "the last run is 27 h old, the limit is 26 h");
        assert_eq!(verdict(&row(Some("partly"), 1), None), None);
        // A result that the config allows is well until it is too old.
        for passed in [SKIPPED, ABSENT] {
            assert_eq!(verdict(&row(Some(passed), 90_000), Some(93_600)), None);
            assert!(verdict(&row(Some(passed), 100_000), Some(93_600)).is_some());
        }
        assert_eq!(verdict(&row(Some("refused"), 1), None).unwrap(), "the last run was refused");
        assert_eq!(verdict(&row(None, 0), None).unwrap(), "no run has ever been recorded");
    }
}
