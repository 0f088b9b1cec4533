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
    /// The machine, with the cache where the user wants it.
    pub fn machine(&self) -> Result<Machine> {
        offsite::config::machine(self.global.cache_dir.clone())
    }

    /// The machine for a verb that only reads: where the cache cannot be written there is another one until the second
    /// value is dropped.
    pub fn machine_to_read(&self) -> Result<(Machine, Option<Makeshift>)> {
        let (machine, makeshift) = offsite::config::machine_to_read(self.global.cache_dir.clone())?;
        if let Some(makeshift) = &makeshift {
            self.out.info(&format!("the cache cannot be used ({}); this run uses {}", makeshift.why, makeshift.dir().display()));
        }
        Ok((machine, makeshift))
    }

    /// From now on Ctrl-C stops this run.
    pub fn watch(&self, control: &RunControl) {
        self.interrupt.watch(control);
    }

    /// A control with progress for each name, shown until the second value is dropped; Ctrl-C stops it.
    pub fn control(&self, names: &[String]) -> (RunControl, Bars) {
        let control = RunControl::new(names.len());
        self.watch(&control);
        let bars = Bars::start(&self.screen, &self.global, names, &control);
        (control, bars)
    }
}
