//! Figures of a run for Prometheus' textfile collector.
//!
//! Owns the names of the metrics. The file is written beside and renamed, so a scrape sees all of it or the one before.
//! Units are in the names: seconds and bytes, times in seconds since 1970.

use std::fmt::Write as _;
use std::path::Path;

use super::outcome::{JobOutcome, RunOutcome};
use crate::error::{Error, Result};

/// Writes the figures of a run to a file.
pub fn write(path: &Path, outcome: &RunOutcome) -> Result<()> {
    let text = text(outcome, chrono::Utc::now().timestamp());
    let temp = path.with_extension(format!("{:016x}.tmp", crate::random()));
    let written = std::fs::write(&temp, text).and_then(|()| std::fs::rename(&temp, path));
    written.map_err(|e| {
        let _ = std::fs::remove_file(&temp);
        Error::local(path, e)
    })
}

fn text(outcome: &RunOutcome, now: i64) -> String {
    let mut out = String::new();
    let ran = || outcome.jobs.iter().filter(|job| !matches!(job.result, super::Ended::Ignored));
    let mut gauge = |name: &str, help: &str, value: &dyn Fn(&JobOutcome) -> Option<f64>| {
        let _ = writeln!(out, "# HELP offsite_job_{name} {help}\n# TYPE offsite_job_{name} gauge");
        for job in ran() {
            if let Some(value) = value(job) {
                let volume = job.volume.as_ref().map_or(String::new(), |volume| format!(",volume=\"{}\"", label(volume)));
                let kind = label(job.kind.as_deref().unwrap_or(""));
                let _ = writeln!(out, "offsite_job_{name}{{job=\"{}\",type=\"{kind}\"{volume}}} {value}", label(&job.job));
            }
        }
    };
    gauge("success", "Whether the last run of the job did all it was to do.", &|job| Some(f64::from(u8::from(job.result.is_well()))));
    gauge("exit_code", "Exit code of the last run of the job.", &|job| Some(f64::from(job.exit)));
    gauge("last_run_timestamp_seconds", "When the job last ended.", &|_| Some(now as f64));
    gauge("duration_seconds", "How long the last run of the job took.", &|job| Some(job.seconds));
    gauge("sent_bytes", "Content bytes sent to all destinations by the last run of the job.", &|job| {
        Some(job.destinations.iter().map(|d| d.bytes.sent).sum::<u64>() as f64)
    });
    gauge("unread_files", "Paths that the last run of the job could not read.", &|job| {
        job.destinations.iter().map(|d| d.unread.len() as f64).reduce(f64::max)
    });
    out
}

fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_prometheus_reads() {
        let job = JobOutcome { job: "a\"b".into(), kind: Some("t".into()), seconds: 1.5, ..JobOutcome::default() };
        let found = JobOutcome { job: "v".into(), volume: Some("web".into()), ..JobOutcome::default() };
        let all = text(&RunOutcome { jobs: vec![job, found], ..RunOutcome::default() }, 1_700_000_000);
        assert!(all.contains("# TYPE offsite_job_success gauge\noffsite_job_success{job=\"a\\\"b\",type=\"t\"} 1\n"), "{all}");
        assert!(all.contains("offsite_job_success{job=\"v\",type=\"\",volume=\"web\"} 1\n"), "each volume is a series of its own: {all}");
        assert!(all.contains("offsite_job_last_run_timestamp_seconds{job=\"a\\\"b\",type=\"t\"} 1700000000\n"));
        assert!(all.lines().all(|line| line.starts_with('#') || line.split(' ').count() == 2));
    }
}
