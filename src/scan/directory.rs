//! One directory, read and sorted.
//!
//! Owns the order: names are compared as bytes, and a directory's name has `/` appended. So a depth-first walk yields
//! whole paths in byte order. All names of a directory share one allocation.

use std::cmp::Ordering;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Dir, FileType as RawType};

use super::listing::{DirListing, Item, Looked, look};
use super::stat::FileType;

/// With more names than this, a directory's metadata is read as it is consumed, so that memory holds only names.
const LAZY_ABOVE: usize = 20_000;

/// Reads a directory. Names that vanish during the read are left out. `keep` selects among the names. With `twins`,
/// names that some disks take for one are marked.
pub(super) fn list(fd: OwnedFd, twins: bool, keep: impl Fn(&[u8], bool) -> bool) -> io::Result<DirListing> {
    let mut names = Vec::new();
    let mut items = Vec::new();
    let mut dir = Dir::read_from(&fd)?;
    while let Some(entry) = dir.read() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        let mut looked = Looked::Later;
        let is_dir = match entry.file_type() {
            RawType::Unknown => match look(&fd, name) {
                Ok(None) => continue,
                Ok(Some(stat)) => {
                    looked = Looked::Stat(stat);
                    stat.file_type == FileType::Dir
                }
                Err(error) => {
                    looked = Looked::Failed(error);
                    false
                }
            },
            kind => kind == RawType::Directory,
        };
        if !keep(name, is_dir) {
            continue;
        }
        let start = u32::try_from(names.len()).map_err(|_| io::Error::other("a directory with more than 4 GiB of names"))?;
        names.extend_from_slice(name);
        items.push(Item { start, len: name.len() as u16, is_dir, twin: false, looked, child: None });
    }
    let at = |item: &Item| &names[item.start as usize..item.start as usize + item.len as usize];
    items.sort_unstable_by(|a, b| compare(at(a), a.is_dir, at(b), b.is_dir));
    if twins {
        for place in crate::model::twins(items.iter().map(at)) {
            items[place].twin = true;
        }
    }
    let lazy = items.len() > LAZY_ABOVE;
    if !lazy {
        items.retain_mut(|item| {
            if matches!(item.looked, Looked::Later) {
                match look(&fd, &names[item.start as usize..item.start as usize + item.len as usize]) {
                    Ok(None) => return false,
                    Ok(Some(stat)) => item.looked = Looked::Stat(stat),
                    Err(error) => item.looked = Looked::Failed(error),
                }
            }
            true
        });
    }
    Ok(DirListing { names, items: items.into_iter(), fd: lazy.then_some(fd) })
}

/// Compares names as bytes. A directory's name has `/` appended.
pub(super) fn compare(a: &[u8], a_dir: bool, b: &[u8], b_dir: bool) -> Ordering {
    let common = a.len().min(b.len());
    a[..common].cmp(&b[..common]).then_with(|| {
        let next = |name: &[u8], is_dir: bool| name.get(common).copied().or(is_dir.then_some(b'/'));
        next(a, a_dir).cmp(&next(b, b_dir)).then_with(|| a.len().cmp(&b.len()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn whole(name: &[u8], is_dir: bool) -> Vec<u8> {
        [name, if is_dir { b"/" } else { b"" }].concat()
    }

    proptest! {
        #[test]
        fn names_sort_as_their_paths_do(a in "[-./a0\\x01]{1,4}", b in "[-./a0\\x01]{1,4}", ad: bool, bd: bool) {
            let (a, b) = (a.replace('/', "."), b.replace('/', "."));
            prop_assert_eq!(
                compare(a.as_bytes(), ad, b.as_bytes(), bd),
                whole(a.as_bytes(), ad).cmp(&whole(b.as_bytes(), bd))
            );
        }
    }
}
