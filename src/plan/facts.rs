//! The figures of a plan.

use serde::{Deserialize, Serialize};

use crate::model::{Change, Counts, Entry, Kind, Totals};

/// What a whole plan adds up to; the guard judges by these.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// What the last snapshot held; none if there is none.
    pub base: Option<Totals>,
    pub counts: Counts,
    /// Files whose content would be sent again under the same name, those that are only suspect included.
    pub rewritten: u64,
    /// How many of these are only suspect.
    pub suspects: u64,
    /// Content bytes to send at the most.
    pub bytes: u64,
    /// Files to send.
    pub uploads: u64,
    /// Parts of files that are sent in parts.
    pub parts: u64,
    /// Files sent in parts.
    pub in_parts: u64,
    /// Contents copied on the server: renames, and kept versions where the store has none of its own.
    pub copies: u64,
    /// Objects deleted after the commit.
    pub deletes: u64,
    /// Entries the scan saw.
    pub seen: u64,
}

impl Facts {
    /// Adds one change. `parts` says in how many parts a content of that size goes (1: whole).
    pub fn add(&mut self, change: &Change, parts: impl Fn(u64) -> u64) {
        let file = |entry: &Entry| entry.kind == Kind::File;
        match change {
            Change::Added { entry, .. } => {
                self.counts.added += 1;
                self.send(entry, parts);
            }
            Change::Changed { entry, old, suspicion, .. } => {
                self.counts.changed += 1;
                self.rewritten += u64::from(file(entry));
                self.suspects += u64::from(suspicion.is_some());
                self.copies += u64::from(file(old) && unversioned(old));
                self.send(entry, parts);
            }
            Change::Metadata { .. } => self.counts.metadata += 1,
            Change::Renamed { .. } => {
                self.counts.renamed += 1;
                self.copies += 1;
            }
            Change::Removed { old, moved } => {
                self.counts.removed += u64::from(!moved);
                self.deletes += u64::from(file(old));
                self.copies += u64::from(file(old) && unversioned(old));
            }
            Change::Stamped { .. } => self.counts.unchanged += 1,
        }
    }

    fn send(&mut self, entry: &Entry, parts: impl Fn(u64) -> u64) {
        if entry.kind == Kind::File {
            self.uploads += 1;
            self.bytes = self.bytes.saturating_add(entry.size);
            let parts = parts(entry.size);
            if parts > 1 {
                self.in_parts += 1;
                self.parts += parts;
            }
        }
    }

    /// The requests that a run of this plan takes, its own look included. Not in it: the once-a-day look for old
    /// snapshots, and what is tried again.
    pub fn estimate(&self, way: PlanTarget) -> Estimate {
        if !self.counts.any() && !way.first {
            return Estimate { put: 1, list: 1, ..Estimate::default() };
        }
        // Lease, pages, snapshot; the look, and the one under the lease; the lease goes again.
        let mut sum = Estimate { put: 3, list: 2, delete: 1, ..Estimate::default() };
        if way.first {
            sum.put += 1; // format.json
            sum.get += 1; // which was looked for
        }
        let replaced = self.counts.removed + self.counts.renamed;
        if way.tree {
            // What is done to the tree itself is no request.
            sum.get += u64::from(replaced + self.counts.changed > 0);
            return sum;
        }
        if way.first {
            // The probe: three conditions, four names, what is read back whole and in part, a copy, the listing, and away
            // with them.
            let (get, copy) = (sum.get + 2, sum.copy + 1);
            sum = Estimate { put: sum.put + 7, get, list: sum.list + 1, copy, delete: sum.delete + 6, ..sum };
        }
        sum.put += self.uploads - self.in_parts;
        sum.multipart += self.parts + 2 * self.in_parts;
        sum.copy += if way.keeps { self.copies } else { self.counts.renamed };
        // Before anything is deleted the lease is looked at.
        sum.get += u64::from(self.deletes > 0);
        sum.delete += self.deletes.div_ceil(1000);
        sum
    }
}

/// What the destination of a plan is like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PlanTarget {
    /// Replaced contents are copied aside.
    pub keeps: bool,
    /// Nothing was ever written there.
    pub first: bool,
    /// It is a real directory tree.
    pub tree: bool,
}

/// Whether a replaced content must be copied to be kept.
fn unversioned(old: &Entry) -> bool {
    old.content.as_ref().is_none_or(|c| c.version.is_none())
}

/// Requests by class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Estimate {
    pub put: u64,
    pub get: u64,
    pub list: u64,
    pub copy: u64,
    pub delete: u64,
    pub multipart: u64,
}
