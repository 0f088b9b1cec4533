//! The hooks around a job or a run.
//!
//! Owns which hooks run when, and in which order.
//! Invariants: `finally` runs whatever happened before it. A hook that starts after an interrupt is not ended by that
//! interrupt, because it cleans up. A later interrupt ends offsite itself, and what its hooks started.

use super::hooks::{self, HookOutcome};
use super::outcome::Ended;
use crate::config::{Command, Hooks};
use crate::transfer::Stop;

/// The hooks around a job or a run.
#[derive(Clone, Copy)]
pub struct HookScope<'a> {
    pub hooks: &'a Hooks,
    pub variables: &'a [(String, String)],
    pub stop: &'a Stop,
}

/// What several hooks came to.
#[derive(Default)]
pub struct HooksRun {
    /// One for each hook that ran, in order.
    pub outcomes: Vec<HookOutcome>,
    /// The first error.
    pub failed: Option<String>,
}

impl HookScope<'_> {
    /// Runs the `before` hooks until one fails. Its error prevents the job, or the jobs of the run.
    pub async fn before(&self) -> HooksRun {
        self.all("before", &self.hooks.before, true).await
    }

    /// Runs the hooks `after` or `on_failure` until one fails, and then every `finally` hook.
    pub async fn after(&self, ended: Ended) -> HooksRun {
        let (name, commands) = match ended {
            // A skipped job did nothing that a hook could follow up.
            Ended::Skipped => ("after", &[][..]),
            _ if ended.is_well() => ("after", &self.hooks.after[..]),
            _ => ("on_failure", &self.hooks.on_failure[..]),
        };
        let mut first = self.all(name, commands, true).await;
        let last = self.all("finally", &self.hooks.finally, false).await;
        first.outcomes.extend(last.outcomes);
        HooksRun { failed: first.failed.or(last.failed), ..first }
    }

    async fn all(&self, name: &str, commands: &[Command], until_one_fails: bool) -> HooksRun {
        let calm = Stop::default();
        let mut run = HooksRun::default();
        for command in commands {
            // A hook that comes after an interrupt has to clean up, so nothing stops it.
            let stop = if self.stop.check().is_ok() { self.stop } else { &calm };
            let outcome = hooks::run(name, command, self.variables, self.hooks.timeout, stop).await;
            let why = outcome.error.as_ref().map(|why| format!("`{}`: {why}", outcome.command));
            run.outcomes.push(outcome);
            run.failed = run.failed.or(why);
            if until_one_fails && run.failed.is_some() {
                break;
            }
        }
        run
    }
}
