//! What every verb is given.

use offsite::config::Makeshift;
use offsite::engine::{Machine, RunControl};
use offsite::error::Result;

use super::global::Global;
use super::interrupt::Interrupt;
use super::progress::Bars;
use super::render::Out;
use super::screen::Screen;

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
        offsite::config::machine(self.global.cache_dir.clone())
    }

    /// The machine for a verb that only reads. If the cache cannot be written, it has a temporary one, until the
    /// second value is dropped.
    pub fn machine_to_read(&self) -> Result<(Machine, Option<Makeshift>)> {
        let (machine, makeshift) = offsite::config::machine_to_read(self.global.cache_dir.clone())?;
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
