//! The findings of a check.
//!
//! Owns the counts, the bounded lists for people, and the complete list for a repair, which is a local file.
//! Invariant: every finding is counted, also if its list is full.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::expect::Expect;
use crate::engine::outcome::{Finding, Flaw, Foreign};
use crate::error::Result;
use crate::model::{Entry, Hash, Problem, RelPath, Sample};
use crate::spool::Writer;

/// Findings that are listed at most.
const LISTED: usize = 10_000;
/// Foreign objects that are listed at most.
const FOREIGN: usize = 1_000;

/// One entry that a repair must correct.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Wrong {
    pub entry: Entry,
    pub problem: String,
    /// Tag and version of the object that is there now, if it has the right length.
    pub there: Option<(Option<String>, Option<String>)>,
    /// Something else has its path, and only a person can move that away.
    pub blocked: bool,
    /// Only its mtime is wrong.
    pub touched: bool,
}

/// What is wrong with one entry, before it is noted as a finding.
#[derive(Debug, Clone)]
pub struct Fault {
    pub flaw: Flaw,
    pub problem: String,
    pub there: Option<(Option<String>, Option<String>)>,
    pub blocked: bool,
}

impl Fault {
    pub fn new(flaw: Flaw, problem: impl Into<String>) -> Self {
        Self { flaw, problem: problem.into(), there: None, blocked: false }
    }
}

#[derive(Debug)]
pub struct CheckFindings {
    /// The snapshot that is checked.
    pub newest: u64,
    pub missing: u64,
    pub changed: u64,
    pub damaged: u64,
    pub foreign: u64,
    pub foreign_bytes: u64,
    pub strays: u64,
    pub aside: u64,
    pub touched: u64,
    /// Objects that exist although the listing does not have them.
    pub unlisted: u64,
    pub findings: Vec<Finding>,
    pub foreign_listed: Vec<Foreign>,
    pub unread: Sample<Problem>,
    /// Keys of contents that were read and are damaged.
    pub rotten: Vec<RelPath>,
    /// Packs that the newest snapshot needs and that are wrong. `packs.rs` tells them as files.
    pub wrong_packs: BTreeMap<Hash, Fault>,
    wrong: Writer<Wrong>,
}

impl CheckFindings {
    /// `newest` is the number of the checked snapshot. `wrong` is the local file for a repair.
    pub fn new(newest: u64, wrong: &Path) -> Result<Self> {
        Ok(Self {
            newest,
            missing: 0,
            changed: 0,
            damaged: 0,
            foreign: 0,
            foreign_bytes: 0,
            strays: 0,
            aside: 0,
            touched: 0,
            unlisted: 0,
            findings: Vec::new(),
            foreign_listed: Vec::new(),
            unread: Sample::default(),
            rotten: Vec::new(),
            wrong_packs: BTreeMap::new(),
            wrong: Writer::create(wrong)?,
        })
    }

    pub fn any(&self) -> bool {
        self.missing + self.changed + self.damaged > 0
    }

    /// Counts and lists a finding.
    pub fn flaw(&mut self, flaw: Flaw, path: RelPath, problem: String, (first, last): (u64, u64)) {
        // A damaged page that several snapshots share is one finding.
        let same = |f: &&mut Finding| flaw == Flaw::Damaged && f.flaw == flaw && f.path == path && f.problem == problem;
        if let Some(known) = self.findings.iter_mut().rev().take(64).find(same) {
            known.first_snapshot = known.first_snapshot.min(first);
            known.last_snapshot = known.last_snapshot.max(last);
            return;
        }
        *match flaw {
            Flaw::Missing => &mut self.missing,
            Flaw::Changed => &mut self.changed,
            Flaw::Damaged => &mut self.damaged,
        } += 1;
        if self.findings.len() < LISTED {
            self.findings.push(Finding { flaw, path, problem, first_snapshot: first, last_snapshot: last });
        }
    }

    /// Notes a fault of a content. A repair corrects only contents of the newest snapshot.
    pub fn content(&mut self, expect: Expect, fault: Fault) -> Result<()> {
        if let Some(content) = expect.entry.content.as_ref().filter(|_| expect.pack && expect.old.is_none()) {
            self.wrong_packs.insert(content.hash, fault);
            return Ok(());
        }
        let snapshots = expect.old.unwrap_or((self.newest, self.newest));
        self.flaw(fault.flaw, expect.entry.path.clone(), fault.problem.clone(), snapshots);
        if expect.old.is_some() {
            return Ok(());
        }
        let Fault { problem, there, blocked, .. } = fault;
        self.wrong.push(&Wrong { entry: expect.entry, problem, there, blocked, touched: false })
    }

    /// Notes a fault of a directory or symlink of the newest manifest.
    pub fn other(&mut self, entry: Entry, fault: Fault) -> Result<()> {
        self.flaw(fault.flaw, entry.path.clone(), fault.problem.clone(), (self.newest, self.newest));
        self.wrong.push(&Wrong { entry, problem: fault.problem, there: None, blocked: fault.blocked, touched: false })
    }

    /// Notes a file of a tree with another mtime and an unchanged content.
    pub fn touched(&mut self, entry: Entry) -> Result<()> {
        self.touched += 1;
        self.wrong.push(&Wrong { entry, problem: String::new(), there: None, blocked: false, touched: true })
    }

    pub fn foreign(&mut self, key: &RelPath, size: u64, stray: bool) {
        self.foreign += 1;
        self.foreign_bytes += size;
        self.strays += u64::from(stray);
        if self.foreign_listed.len() < FOREIGN {
            self.foreign_listed.push(Foreign { key: key.clone(), size, stray });
        }
    }

    pub fn unread(&mut self, path: &RelPath, problem: impl ToString) {
        self.unread.push(Problem { path: path.clone(), problem: problem.to_string() });
    }

    /// Sorts the findings, and completes the list for a repair.
    pub fn flush(&mut self) -> Result<()> {
        self.findings.sort_by(|a, b| (&a.path, a.flaw, a.first_snapshot).cmp(&(&b.path, b.flaw, b.first_snapshot)));
        self.wrong.flush()
    }
}
