//! The figures of a plan.

use serde::{Deserialize, Serialize};

use crate::model::{Change, Counts, Entry, Kind, Totals};

/// Length of a full pack, in bytes.
const PACK: u64 = 16 << 20;
/// A longer file is cut into pieces at a packed destination, each in a frame of its own.
const CUT: u64 = 512 << 10;
/// Of these pieces, the next one does not fit into a pack that lacks so many bytes on average: one part in 40.
const UNFILLED: u64 = 40;
/// The average length of 32 pieces. A longer file has a list of pieces.
const LISTED: u64 = 32 * 638_700;

/// The sums of a whole plan, by which the guard judges it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// What the last snapshot holds. None if there is no snapshot.
    pub base: Option<Totals>,
    /// Number of entries for each kind of change.
    pub counts: Counts,
    /// Files whose content would be sent again under the same name, including unverified files.
    pub rewritten: u64,
    /// Unverified files among these.
    #[serde(rename = "suspects")]
    pub unverified: u64,
    /// Content bytes to send, at most.
    pub bytes: u64,
    /// Files to send.
    pub uploads: u64,
    /// Parts of files that are sent in parts.
    pub parts: u64,
    /// Files sent in parts.
    pub in_parts: u64,
    /// Content bytes of files that a packed destination cuts into pieces, among these.
    #[serde(default)]
    pub cut: u64,
    /// Files that get a list of pieces at a packed destination.
    #[serde(default)]
    pub listed: u64,
    /// Contents copied on the server: renames, and kept contents if the store has no versions of its own.
    pub copies: u64,
    /// Objects deleted after the commit.
    pub deletes: u64,
    /// Entries that the scan saw.
    pub seen: u64,
}

impl Facts {
    /// Adds one change. `parts` says in how many parts a content of that many bytes is sent (1: whole).
    pub fn add(&mut self, change: &Change, parts: impl Fn(u64) -> u64) {
        let file = |entry: &Entry| entry.kind == Kind::File;
        match change {
            Change::Added { entry, .. } => {
                self.counts.added += 1;
                self.send(entry, parts);
            }
            Change::Changed { entry, old, unverified, .. } => {
                self.counts.changed += 1;
                self.rewritten += u64::from(file(entry));
                self.unverified += u64::from(unverified.is_some());
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
            self.cut = self.cut.saturating_add(if entry.size > CUT { entry.size } else { 0 });
            self.listed += u64::from(entry.size > LISTED);
            let parts = parts(entry.size);
            if parts > 1 {
                self.in_parts += 1;
                self.parts += parts;
            }
        }
    }

    /// The requests of a run of this plan, including its first listing. It leaves out the daily search for old
    /// snapshots, and retries.
    pub fn estimate(&self, way: PlanTarget) -> Estimate {
        if !self.counts.any() && !way.first {
            return Estimate { put: 1, list: 1, ..Estimate::default() };
        }
        // 3 puts: lease, pages, snapshot. 2 lists: before the lease and under it. 1 delete: the lease.
        let mut sum = Estimate { put: 3, list: 2, delete: 1, ..Estimate::default() };
        if way.first {
            sum.put += 1; // format.json
            sum.get += 1; // which was looked for
        }
        if way.packed {
            // At most: every content is new, and nothing shrinks. Lists of pieces are in a pack of their own.
            sum.put += self.bytes.saturating_add(self.cut / UNFILLED).div_ceil(PACK) + u64::from(self.listed > 0);
            // The key file, at a new one that is sealed.
            sum.put += u64::from(way.first && way.sealed);
            if way.first && !way.tree {
                // The probe: 3 puts for conditions, 2 reads, and the delete.
                sum = Estimate { put: sum.put + 3, get: sum.get + 2, delete: sum.delete + 1, ..sum };
            }
            return sum;
        }
        let replaced = self.counts.removed + self.counts.renamed;
        if way.tree {
            // A change of the tree itself is no request.
            sum.get += u64::from(replaced + self.counts.changed > 0);
            return sum;
        }
        if way.first {
            // The probe: 3 puts for conditions, 4 for names, 2 reads (whole and in part), a copy, the listing, and the
            // deletes.
            let (get, copy) = (sum.get + 2, sum.copy + 1);
            sum = Estimate { put: sum.put + 7, get, list: sum.list + 1, copy, delete: sum.delete + 6, ..sum };
        }
        sum.put += self.uploads - self.in_parts;
        sum.multipart += self.parts + 2 * self.in_parts;
        sum.copy += if way.keeps { self.copies } else { self.counts.renamed };
        // The run reads the lease before it deletes anything.
        sum.get += u64::from(self.deletes > 0);
        sum.delete += self.deletes.div_ceil(1000);
        sum
    }
}

/// The properties of a destination that decide how many requests a plan takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PlanTarget {
    /// Retention keeps replaced contents, so they are copied.
    pub keeps: bool,
    /// The destination has no snapshot yet.
    pub first: bool,
    /// It is a real directory tree.
    pub tree: bool,
    /// It is packed.
    pub packed: bool,
    /// It is sealed.
    pub sealed: bool,
}

/// Whether a replaced content must be copied to be kept.
fn unversioned(old: &Entry) -> bool {
    old.content.as_ref().is_none_or(|c| c.version.is_none())
}

/// Number of requests, by class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Estimate {
    /// Requests that write one whole object.
    pub put: u64,
    /// Requests that read an object.
    pub get: u64,
    /// Requests that list objects.
    pub list: u64,
    /// Requests that copy an object on the server.
    pub copy: u64,
    /// Requests that delete objects. One request deletes up to 1,000 objects.
    pub delete: u64,
    /// Requests of uploads in parts: one for each part, and two more for each file.
    pub multipart: u64,
}
