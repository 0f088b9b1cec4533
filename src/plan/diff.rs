//! Whether the entry at one path changed.
//!
//! Owns the rule. With stamps from this machine, size, mtime, ctime and inode must all be the same. Without them, size
//! and mtime must be as in the manifest, and the other metadata is compared in full. A file that is neither surely the
//! same nor surely different is unverified: reading it decides.

use crate::model::{Kind, Stamps, Time, UnverifiedReason};

/// A path as the scan sees it.
#[derive(Debug, Clone, Copy)]
pub struct DiffState {
    /// Kind of the entry.
    pub kind: Kind,
    /// Size in bytes.
    pub size: u64,
    /// Modification time.
    pub mtime: Time,
    /// Mode, owner, group.
    pub rights: (u32, u32, u32),
    /// Inode and change time.
    pub stamps: Stamps,
}

/// The same path in the last snapshot.
#[derive(Debug, Clone, Copy)]
pub struct Before {
    /// Kind of the entry.
    pub kind: Kind,
    /// Size in bytes.
    pub size: u64,
    /// Modification time.
    pub mtime: Time,
    /// Mode, owner, group.
    pub rights: (u32, u32, u32),
    /// Stamps of the file, if this machine knows them.
    pub memory: Memory,
}

/// What this machine remembers of the file's stamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// Nothing: the entry came from the destination.
    None,
    /// The file was written while the last scan ran, so its stamps prove nothing.
    Fresh,
    /// The stamps that the last scan saw.
    At(Stamps),
}

/// The result of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The entry is unchanged.
    Same,
    /// The content is the same. The metadata must be compared in full.
    Compare,
    /// The content may differ. Reading it decides.
    Unverified(UnverifiedReason),
    /// The entry differs.
    Changed,
}

/// Compares one path. With `checksum`, the stamps of files prove nothing.
pub fn compare(before: &Before, seen: &DiffState, checksum: bool) -> Verdict {
    if before.kind != seen.kind || before.size != seen.size {
        return Verdict::Changed;
    }
    if seen.kind != Kind::File {
        return match before.memory {
            Memory::At(stamps) if stamps == seen.stamps && before.mtime == seen.mtime => Verdict::Same,
            _ => Verdict::Compare,
        };
    }
    if checksum {
        return Verdict::Unverified(UnverifiedReason::Asked);
    }
    match before.memory {
        Memory::At(stamps) if stamps == seen.stamps && before.mtime == seen.mtime => Verdict::Same,
        Memory::None if before.mtime == seen.mtime => Verdict::Compare,
        _ => Verdict::Unverified(UnverifiedReason::Stamps),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Time = Time { secs: 5, nanos: 0 };
    const S: Stamps = Stamps { ino: 1, ctime: T };

    fn seen() -> DiffState {
        DiffState { kind: Kind::File, size: 3, mtime: T, rights: (0o644, 0, 0), stamps: S }
    }

    fn before(memory: Memory) -> Before {
        Before { kind: Kind::File, size: 3, mtime: T, rights: (0o644, 0, 0), memory }
    }

    #[test]
    fn all_four_stamps_must_agree() {
        assert_eq!(compare(&before(Memory::At(S)), &seen(), false), Verdict::Same);
        let later = Time { secs: 6, nanos: 0 };
        for changed in [
            DiffState { mtime: later, ..seen() },
            DiffState { stamps: Stamps { ctime: later, ..S }, ..seen() },
            DiffState { stamps: Stamps { ino: 2, ..S }, ..seen() },
        ] {
            assert_eq!(compare(&before(Memory::At(S)), &changed, false), Verdict::Unverified(UnverifiedReason::Stamps));
        }
        assert_eq!(compare(&before(Memory::At(S)), &DiffState { size: 4, ..seen() }, false), Verdict::Changed);
    }

    #[test]
    fn without_memory_size_and_mtime_decide_and_fresh_proves_nothing() {
        assert_eq!(compare(&before(Memory::None), &seen(), false), Verdict::Compare);
        assert_eq!(compare(&before(Memory::Fresh), &seen(), false), Verdict::Unverified(UnverifiedReason::Stamps));
        assert_eq!(compare(&before(Memory::At(S)), &seen(), true), Verdict::Unverified(UnverifiedReason::Asked));
    }
}
