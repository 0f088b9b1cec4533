//! What every verb is given.

use std::sync::Arc;

use offsite::config::{Job, Makeshift};
use offsite::engine::{Machine, RunControl};
use offsite::error::Result;

use super::args_from::FromArgs;
use super::global::Global;
use super::interrupt::Interrupt;
use super::progress::Bars;
use super::render::Out;
use super::screen::Screen;
use super::terminal::Terminal;

/// What every verb is given.
pub struct Context {
    pub out: Out,
    pub global: Global,
    pub screen: Screen,
    pub interrupt: Interrupt,
}

impl Context {
    /// The machine, with the cache directory that the user chose.
    pub fn machine(&self) -> Result<Machine> {
        Ok(self.with_keys(offsite::config::machine(self.global.cache_dir.clone())?))
    }

    /// The machine for these jobs, with the keys that their config names.
    pub fn machine_for<'a>(&self, jobs: impl IntoIterator<Item = &'a Job>) -> Result<Machine> {
        let mut machine = self.machine()?;
        jobs.into_iter().for_each(|job| job.add_keys(&mut machine.keys));
        Ok(machine)
    }

    /// The machine for a verb that reads from a URL or a job, with the keys that the job's config names.
    pub fn machine_from(&self, from: &FromArgs) -> Result<Machine> {
        self.machine_for(&from.resolve(false)?.job)
    }

    /// The machine with the keys that the user gave.
    fn with_keys(&self, mut machine: Machine) -> Machine {
        machine.keys.identities.clone_from(&self.global.identity);
        machine.keys.ask = Some(Arc::new(Terminal(self.screen.clone())));
        machine
    }

    /// The machine for a verb that only reads. If the cache cannot be written, it has a temporary one, until the
    /// second value is dropped.
    pub fn machine_to_read(&self) -> Result<(Machine, Option<Makeshift>)> {
        let (machine, makeshift) = offsite::config::machine_to_read(self.global.cache_dir.clone())?;
        let machine = self.with_keys(machine);
        if let Some(makeshift) = &makeshift {
            self.out.info(&format!("the cache cannot be used ({}); this run uses {}", makeshift.why, makeshift.dir().display()));
        }
        Ok((machine, makeshift))
    }

    /// Makes Ctrl-C stop this run from now on.
    pub fn watch(&self, control: &RunControl) {
        self.interrupt.watch(control);
    }

    /// A run control with progress for each name, which is shown until the second value is dropped. Ctrl-C stops the
    /// run.
    pub fn control(&self, names: &[String]) -> (RunControl, Bars) {
        let control = RunControl::new(names.len());
        self.watch(&control);
        let bars = Bars::start(&self.screen, &self.global, names, &control);
        (control, bars)
    }
}
