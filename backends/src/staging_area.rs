//! What the staging areas of a local directory and of an SFTP server have in common.
//!
//! Owns the names of temporary files, and the reserve: a file that only takes up disk space. On a disk that others have
//! filled, offsite gives that space up for its own small objects. Without it a prune, which makes room, could not
//! begin.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use crate::contract::error::{ErrorKind, Result};

/// The reserve's name within the staging area.
pub(crate) const RESERVE: &[u8] = b"/reserve";
const RESERVE_BYTES: u64 = 64 << 10;

/// Objects up to this length, in bytes, may use the reserve.
const SMALL: u64 = 16 << 10;

/// The content of the reserve: noise, because a file system that compresses would keep no space for zeros.
pub(crate) fn reserve() -> Vec<u8> {
    (0..RESERVE_BYTES / 8).flat_map(|i| RandomState::new().hash_one(i).to_le_bytes()).collect()
}

/// Whether a write of so many bytes failed because the disk is full, and may use the reserve.
pub(crate) fn may_use_reserve<T>(done: &Result<T>, length: u64) -> bool {
    length <= SMALL && done.as_ref().is_err_and(|error| error.kind == ErrorKind::Full)
}

/// The name of a temporary file. `prefix` is random for each process, so that two processes that share a staging area
/// never use the same name.
pub(crate) fn temp_name(prefix: u64, number: u64) -> String {
    format!("{prefix:016x}-{number:x}")
}

/// Whether [`temp_name`] makes names like this one.
pub(crate) fn is_temp(name: &[u8]) -> bool {
    let hex = |part: &[u8]| !part.is_empty() && part.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    name.iter().position(|b| *b == b'-').is_some_and(|at| at == 16 && hex(&name[..at]) && hex(&name[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_temporary_files_are_known_as_such() {
        for (prefix, number) in [(0, 0), (1, 16), (u64::MAX, u64::MAX)] {
            assert!(is_temp(temp_name(prefix, number).as_bytes()));
        }
        for name in ["reserve", "lock", "0123456789abcdef-", "0123456789abcdef", "0123456789abcdeg-1", "claim-6b", "-1"] {
            assert!(!is_temp(name.as_bytes()), "{name}");
        }
    }
}
