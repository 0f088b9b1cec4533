//! Metrics of a run for Prometheus' textfile collector.
//!
//! Owns the names of the metrics. They contain the units: bytes, seconds, and for times seconds since 1970.
//! Keeps two things of the old file: the series of jobs that this run did not have, and the time of a last success.
//! Invariants: offsite writes the file under another name and renames it, so a scrape never reads a part of a file. The
//! file holds no secret, and every user can read it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use offsite_backends::FileLock;

use super::outcome::{Ended, JobOutcome, RunOutcome};
use crate::engine::Outcome;
use crate::error::{Error, Result};

/// How long a run waits for the lock of another one, and the pause between two attempts.
const PATIENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(50);

/// Writes the figures of a run to a file.
pub fn write(path: &Path, outcome: &RunOutcome) -> Result<()> {
    // With the lock, two simultaneous runs keep each other's series. Without it, the later file replaces the earlier.
    // Every user who can open the directory can hold the lock, so offsite waits only a few seconds for it.
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let lock = File::open(dir);
    let _lock = lock.as_ref().ok().and_then(locked_soon);
    let before = std::fs::read_to_string(path).unwrap_or_default();
    let text = text(outcome, &before, chrono::Utc::now().timestamp());
    let temp = path.with_extension(format!("{:016x}.tmp", crate::random()));
    // The collector is another user, so the umask must not apply.
    let written = std::fs::write(&temp, text)
        .and_then(|()| std::fs::set_permissions(&temp, Permissions::from_mode(0o644)))
        .and_then(|()| std::fs::rename(&temp, path));
    written.map_err(|e| {
        let _ = std::fs::remove_file(&temp);
        Error::local(path, e)
    })
}

/// Tries to take the lock for [`PATIENCE`]. `None` without the lock.
fn locked_soon(dir: &File) -> Option<FileLock<&File>> {
    let began = Instant::now();
    loop {
        match FileLock::try_take(dir) {
            Ok(None) if began.elapsed() < PATIENCE => std::thread::sleep(PAUSE),
            taken => return taken.ok().flatten(),
        }
    }
}

/// Builds the new file, metric by metric: the series of this run, and those of other jobs from the old file.
struct MetricsPage<'a> {
    out: String,
    before: &'a str,
    /// The labels with which the series of this run's jobs begin.
    ran: BTreeSet<String>,
}

impl MetricsPage<'_> {
    fn gauge(&mut self, name: &str, help: &str, rows: impl Iterator<Item = (String, f64)>) {
        let rows: Vec<String> = rows.map(|(labels, value)| format!("{name}{{{labels}}} {value}")).collect();
        let others = self.before.lines().filter(|line| {
            let series = line.strip_prefix(name).and_then(|rest| rest.strip_prefix('{'));
            series.is_some_and(|series| !self.ran.iter().any(|own| begins(series, own)))
        });
        let all: Vec<String> = rows.into_iter().chain(others.map(str::to_owned)).collect();
        if !all.is_empty() {
            let _ = writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} gauge\n{}", all.join("\n"));
        }
    }
}

/// Whether a series has these labels and no other one but `destination`.
fn begins(series: &str, labels: &str) -> bool {
    series.strip_prefix(labels).is_some_and(|rest| rest.starts_with('}') || rest.starts_with(",destination="))
}

fn text(outcome: &RunOutcome, before: &str, now: i64) -> String {
    let mut page = MetricsPage { out: String::new(), before, ran: outcome.jobs.iter().map(labels).collect() };
    let at = |job: &JobOutcome, value: f64| (labels(job), value);
    let all = || outcome.jobs.iter().filter(|job| job.result != Ended::Ignored);
    // A skipped job did nothing, so it neither succeeded nor failed.
    let ran = || all().filter(|job| job.result != Ended::Skipped);
    let truth = |yes: bool| f64::from(u8::from(yes));
    let name = "offsite_job_success";
    page.gauge(name, "Whether the last run of the job succeeded.", ran().map(|job| at(job, truth(job.result.is_well()))));
    let name = "offsite_job_skipped";
    let help = "Whether the last run of the job was skipped because its source was missing.";
    page.gauge(name, help, all().map(|job| at(job, truth(job.result == Ended::Skipped))));
    let name = "offsite_job_last_success_timestamp_seconds";
    let last = |job: &JobOutcome| match job.result {
        Ended::Done => Some(at(job, now as f64)),
        _ => Some(at(job, said_before(before, name, &labels(job))?)),
    };
    page.gauge(name, "When the job last succeeded.", all().filter_map(last));
    let name = "offsite_job_exit_code";
    page.gauge(name, "Exit code of the last run of the job.", all().map(|job| at(job, f64::from(job.exit))));
    let name = "offsite_job_last_run_timestamp_seconds";
    page.gauge(name, "When the job last ended.", all().map(|job| at(job, now as f64)));
    let name = "offsite_job_duration_seconds";
    page.gauge(name, "How long the last run of the job took.", all().map(|job| at(job, job.seconds)));
    let sent = |job: &JobOutcome| job.destinations.iter().map(|d| d.bytes.sent).sum::<u64>() as f64;
    let name = "offsite_job_sent_bytes";
    page.gauge(name, "Content bytes sent to all destinations by the last run of the job.", ran().map(|job| at(job, sent(job))));
    let unread = |job: &JobOutcome| Some(at(job, job.destinations.iter().map(|d| d.unread.total() as f64).reduce(f64::max)?));
    let name = "offsite_job_unread_files";
    page.gauge(name, "Paths that the last run of the job could not read.", ran().filter_map(unread));
    let places = || ran().flat_map(|job| job.destinations.iter().map(move |to| (job, to)));
    let to = |job: &JobOutcome, to: &Outcome, value: f64| (format!("{},destination=\"{}\"", labels(job), label(&to.url)), value);
    let name = "offsite_destination_success";
    let help = "Whether the last run of the job succeeded at this destination.";
    page.gauge(name, help, places().map(|(job, place)| to(job, place, truth(place.exit == 0))));
    let name = "offsite_destination_sent_bytes";
    page.gauge(name, "Content bytes sent to this destination by the last run of the job.", {
        places().map(|(job, place)| to(job, place, place.bytes.sent as f64))
    });
    page.out
}

/// The labels that identify the series of a job.
fn labels(job: &JobOutcome) -> String {
    let volume = job.volume.as_ref().map_or(String::new(), |volume| format!(",volume=\"{}\"", label(volume)));
    format!("job=\"{}\",type=\"{}\"{volume}", label(&job.job), label(job.kind.as_deref().unwrap_or("")))
}

/// The value of a series in the old file.
fn said_before(before: &str, name: &str, labels: &str) -> Option<f64> {
    let series = format!("{name}{{{labels}}} ");
    before.lines().find_map(|line| line.strip_prefix(&series)?.trim().parse().ok())
}

fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_somebody_holds_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let held = File::open(dir.path()).unwrap();
        rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
        write(&dir.path().join("o.prom"), &RunOutcome { jobs: vec![JobOutcome::default()], ..RunOutcome::default() }).unwrap();
        assert!(dir.path().join("o.prom").exists());
    }

    #[test]
    fn it_is_what_prometheus_reads() {
        let job = JobOutcome { job: "a\"b".into(), kind: Some("t".into()), seconds: 1.5, ..JobOutcome::default() };
        let found = JobOutcome { job: "v".into(), volume: Some("web".into()), ..JobOutcome::default() };
        let all = text(&RunOutcome { jobs: vec![job, found], ..RunOutcome::default() }, "", 1_700_000_000);
        assert!(all.contains("# TYPE offsite_job_success gauge\noffsite_job_success{job=\"a\\\"b\",type=\"t\"} 1\n"), "{all}");
        assert!(all.contains("offsite_job_success{job=\"v\",type=\"\",volume=\"web\"} 1\n"), "each volume is a series of its own: {all}");
        assert!(all.contains("offsite_job_last_run_timestamp_seconds{job=\"a\\\"b\",type=\"t\"} 1700000000\n"));
        assert!(all.lines().all(|line| line.starts_with('#') || line.split(' ').count() == 2));
    }

    #[test]
    fn other_jobs_and_the_last_good_end_stay() {
        let job =
            |name: &str, result| JobOutcome { job: name.into(), result, exit: u8::from(result == Ended::Failed), ..JobOutcome::default() };
        let run = |before: &str, now, jobs: Vec<JobOutcome>| text(&RunOutcome { jobs, ..RunOutcome::default() }, before, now);
        let one = run("", 100, vec![job("a", Ended::Done), JobOutcome { volume: Some("web".into()), ..job("a", Ended::Done) }]);
        let two = run(&one, 200, vec![job("a", Ended::Failed), job("b", Ended::Skipped)]);
        for line in [
            "offsite_job_success{job=\"a\",type=\"\"} 0",
            "offsite_job_last_success_timestamp_seconds{job=\"a\",type=\"\"} 100",
            "offsite_job_success{job=\"a\",type=\"\",volume=\"web\"} 1",
            "offsite_job_last_run_timestamp_seconds{job=\"a\",type=\"\",volume=\"web\"} 100",
            "offsite_job_skipped{job=\"b\",type=\"\"} 1",
        ] {
            assert_eq!(two.lines().filter(|known| *known == line).count(), 1, "{line}: {two}");
        }
        assert!(!two.contains("offsite_job_success{job=\"b\"") && !two.contains("last_success_timestamp_seconds{job=\"b\""), "{two}");
        let heads = two.lines().filter(|line| line.starts_with("# TYPE offsite_job_success ")).count();
        assert_eq!(heads, 1, "the rows of a metric stand together: {two}");
        assert_eq!(run(&two, 300, Vec::new()), two, "a run without jobs changes nothing");
    }
}
