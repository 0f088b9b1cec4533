//! Standard error, with or without progress bars on it.
//!
//! Owns all output to standard error: it passes [`Screen`], so that a message never appears in the middle of a bar.

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

    /// Prints a line above the bars. An error of standard error is ignored.
    pub fn aside(&self, line: &str) {
        self.bars.suspend(|| _ = writeln!(io::stderr().lock(), "{}", tame(line)));
    }
}
