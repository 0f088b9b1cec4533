//! What `run` and `config check` print.
//!
//! Owns a line for each job and the blocks of its destinations below it. With `--quiet` it prints only what needs
//! attention.

use std::fmt::Write as _;

use offsite::config::{Command, InitializeMethod, Job, ResolvedJobs, VolumeUnavailable};
use offsite::engine::Note;
use offsite::error::{Error, Result};
use offsite::jobs::{Ended, HookOutcome, JobOutcome, RunOutcome};

use super::documents::{CheckedDestination, CheckedJob, ConfigCheckDocument};
use super::units::{counted, seconds};
use super::{Out, clean, printable_url};

impl Out {
    /// The result of one job, when it has ended.
    pub fn job_ran(&self, job: &JobOutcome, dry_run: bool) -> Result<()> {
        let name = clean(&job.shown());
        if !self.json && !self.quiet {
            let what = if dry_run && job.result.is_well() && job.result == Ended::Done { "planned" } else { job.result.word() };
            let why = job.message.as_ref().map_or(String::new(), |why| format!(": {}", clean(why)));
            let said = if job.result.is_well() { why } else { String::new() };
            self.print(&format!("{name}  {what}{said}  {}\n", seconds(job.seconds)))?;
            for made in job.initialized.iter().filter(|made| made.settings.iter().any(|row| row.was != row.wanted)) {
                self.print(&format!("  {}: set up as declared\n", clean(&made.url)))?;
            }
            for absent in &job.absent {
                self.print(&format!("  {}: absent, skipped\n", clean(absent)))?;
            }
            self.print(&indented(
                &job.destinations
                    .iter()
                    .filter(|o| o.error.is_none() || o.snapshot.is_some())
                    .map(|o| self.sync_block(o))
                    .collect::<String>(),
            ))?;
            self.print(&indented(&job.plans.iter().filter(|p| p.error.is_none()).map(|p| self.plan_block(p)).collect::<String>()))?;
        }
        let failed =
            job.destinations.iter().map(|o| (&o.url, &o.error, &o.failure)).chain(job.plans.iter().map(|p| (&p.url, &p.error, &p.failure)));
        for (url, error, failure) in failed {
            if let Some(error) = error {
                self.destination_failed(url, error, failure.as_ref());
            }
        }
        for one in &job.destinations {
            one.warnings.iter().for_each(|warning| self.warning(&format!("{}: {}", clean(&one.url), clean(&warning.to_string()))));
        }
        if let Some(why) = job.message.as_ref().filter(|_| !job.result.is_well()) {
            self.problem(&format!("{name}: {why}"), job.failure.as_ref());
        }
        job.notes.iter().for_each(|note| self.info(&format!("{name}: {}", clean(&note.to_string()))));
        job.warnings.iter().for_each(|warning| self.warning(&format!("{name}: {}", clean(&warning.to_string()))));
        job.hooks.iter().for_each(|hook| self.hook_ran(&name, hook));
        Ok(())
    }

    /// A warning that one destination failed and that the verb tries the next one.
    pub fn failed_over(&self, error: &Error) {
        self.warning(&format!("{}; trying the job's next destination", clean(&error.to_string())));
    }

    /// The error and the last output of a hook that failed.
    pub fn hook_ran(&self, name: &str, hook: &HookOutcome) {
        if let Some(error) = &hook.error {
            self.error(&format!("{name}: {} `{}`: {}", hook.hook, clean(&hook.command), clean(error)));
            let lines: Vec<&str> = hook.output.lines().collect();
            lines.iter().skip(lines.len().saturating_sub(5)).for_each(|line| self.note(&format!("  {}", clean(line))));
        }
    }

    /// The result of all jobs, at the end.
    pub fn jobs_ran(&self, outcome: &RunOutcome) -> Result<()> {
        outcome.hooks.iter().for_each(|hook| self.hook_ran("run", hook));
        outcome.warnings.iter().for_each(|warning| self.warning(&clean(&warning.to_string())));
        if self.json {
            return self.document(outcome);
        }
        let bad = outcome.jobs.iter().filter(|job| !job.result.is_well()).count();
        if bad > 0 {
            let all = outcome.jobs.len() as u64;
            self.error(&format!("{bad} of {} failed", counted(all, "job", "jobs")));
        }
        Ok(())
    }

    /// What would run, for each type.
    pub fn config_checked(&self, file: &str, plans: &[ResolvedJobs]) -> Result<()> {
        for job in plans.iter().flat_map(|plan| &plan.jobs).filter(|job| !job.ignored) {
            let notes = job.dumps.iter().filter(|dump| dump.hides_failure()).map(|dump| Note::PipeHidesFailure(dump.name.clone()));
            notes.for_each(|note| self.info(&format!("{}: {}", clean(&job.shown()), clean(&note.to_string()))));
        }
        if self.json {
            let jobs = plans.iter().flat_map(|plan| &plan.jobs).map(checked).collect();
            return self.document(&ConfigCheckDocument { file: file.to_owned(), jobs });
        }
        let mut text = format!("{}: valid\n", clean(file));
        for job in plans.iter().flat_map(|plan| &plan.jobs) {
            let _ = write!(text, "{}  ", clean(&job.shown()));
            if job.ignored {
                text.push_str("ignored\n");
                continue;
            }
            let there = match &job.mounted {
                Some(Err(VolumeUnavailable::Unknown(why) | VolumeUnavailable::Missing(why))) => format!("  ({})", clean(why)),
                _ if job.source.as_ref().is_none_or(|source| source.is_dir()) => String::new(),
                _ => "  (missing)".to_owned(),
            };
            let _ = writeln!(text, "{}{there}", clean(&job.shown_source()));
            for dump in &job.dumps {
                let _ = writeln!(text, "  with {}: {}", clean(&dump.name), command_text(&dump.command));
            }
            for to in &job.destinations {
                let name = to.name.as_ref().map_or(String::new(), |name| format!("{}: ", clean(name)));
                let made = match &to.initialize {
                    InitializeMethod::AsNeeded => String::new(),
                    InitializeMethod::Declared(_) => "  (set up as declared)".to_owned(),
                    InitializeMethod::By(command) => format!("  (set up by `{}`)", command_text(command)),
                };
                let _ = writeln!(text, "  to {name}{}{made}", printable_url(&to.url));
            }
            for (when, commands) in [
                ("before", &job.hooks.before),
                ("after", &job.hooks.after),
                ("on failure", &job.hooks.on_failure),
                ("finally", &job.hooks.finally),
            ] {
                commands.iter().for_each(|command| _ = writeln!(text, "  {when}: {}", command_text(command)));
            }
        }
        self.print(&text)
    }
}

fn checked(job: &Job) -> CheckedJob {
    let lack = match &job.mounted {
        Some(Err(VolumeUnavailable::Unknown(why) | VolumeUnavailable::Missing(why))) => Some(why.clone()),
        _ => None,
    };
    CheckedJob {
        job: job.name.clone(),
        kind: job.kind.clone(),
        source: job.shown_source(),
        ignored: job.ignored,
        destinations: job.destinations.iter().map(|to| CheckedDestination { name: to.name.clone(), url: printable_url(&to.url) }).collect(),
        volume: job.volume.clone(),
        lack,
    }
}

fn command_text(command: &Command) -> String {
    clean(&offsite_backends::error::redact(&command.written()))
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}
