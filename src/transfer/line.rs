//! The lines of a spooled plan.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::journal::Done;
use crate::error::Result;
use crate::model::Change;
use crate::spool::{Joined, Reader, Sorted};

/// One line of a spooled plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// The change.
    pub step: Change,
    /// The destinations that read this file's content, as a bit mask of their indices.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub readers: u64,
    /// The content is made while it is sent, see `dump.rs`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dump: bool,
    /// The tree may take the name of this entry and that of another for one. Whether the entry gets its own name is not
    /// decided yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub twin: bool,
}

impl Line {
    /// A step whose content the destinations in `readers` read.
    pub fn new(step: Change, readers: u64) -> Self {
        Self { step, readers, dump: false, twin: false }
    }
}

/// The steps of a plan, each with the result that an interrupted run left for it. Dumps are left out.
pub struct PlanSteps {
    lines: Reader<Line>,
    finished: Joined<Done>,
}

impl PlanSteps {
    /// Opens a plan. `done` has the steps that an earlier run finished, sorted by path.
    ///
    /// # Errors
    /// [`crate::error::Error::Local`] if the plan or the results cannot be read.
    pub fn open(plan: &Path, done: Sorted<Done>) -> Result<Self> {
        Ok(Self { lines: Reader::open(plan)?, finished: Joined::new(done)? })
    }

    /// The next step. `None` at the end.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub fn next_step(&mut self) -> Result<Option<(Line, Option<Done>)>> {
        while let Some(line) = self.lines.next_line()? {
            let earlier = self.finished.meet(line.step.path().as_bytes())?;
            if !line.dump {
                return Ok(Some((line, earlier)));
            }
        }
        Ok(None)
    }
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}
