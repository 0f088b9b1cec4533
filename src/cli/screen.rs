//! Standard error, with or without progress bars on it.
//!
//! Everything that is printed there goes through [`Screen`], so that a message never lands in the middle of a bar.

use std::io::{self, IsTerminal, Write};

use indicatif::{MultiProgress, ProgressDrawTarget};

use super::clean::tame;
use super::global::Global;

/// Standard error, with or without bars on it.
#[derive(Clone)]
pub struct Screen {
    pub bars: MultiProgress,
    pub drawn: bool,
}

impl Screen {
    pub fn new(global: &Global) -> Self {
        let drawn = io::stderr().is_terminal() && !global.quiet && !global.json && !global.no_progress;
        let target = if drawn { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { bars: MultiProgress::with_draw_target(target), drawn }
    }

    /// A line beside the bars. If nobody reads it, nothing is lost but the line.
    pub fn aside(&self, line: &str) {
        self.bars.suspend(|| _ = writeln!(io::stderr().lock(), "{}", tame(line)));
    }
}
