//! The files that a copy reads at another destination, in order of their paths.
//!
//! Owns the local list of them and a window on it. A transfer asks for paths in order, except a few that it repeats, so
//! the list is read forward in groups, and only the last groups are in memory.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::packed_files::piece_of;
use super::unpack::{PackStretch, stretches};
use crate::error::Result;
use crate::model::{Entry, RelPath};
use crate::spool::Reader;

/// Files of a group.
const GROUP: usize = 256;
/// Groups in memory.
const GROUPS: usize = 4;

/// A file that a copy may read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WantedFile {
    /// The path by which it is asked for.
    pub path: RelPath,
    /// Its entry at the destination that is read. Its own path decides where the content is.
    pub entry: Entry,
    /// The plan sends its content for certain. Otherwise only if the destination turns out not to have it.
    pub sent: bool,
}

/// Small packed files that lie close together, which one request fetches.
pub(super) type WantedStretch = Mutex<Option<PackStretch<usize>>>;

/// Files that follow one another in the list.
pub(super) struct Group {
    pub files: Vec<WantedFile>,
    /// For each file, the stretch that holds its only piece.
    pub stretch_of: Vec<Option<usize>>,
    pub stretches: Vec<WantedStretch>,
}

impl Group {
    fn of(files: Vec<WantedFile>) -> Self {
        let pieces = files.iter().enumerate().filter(|(_, file)| file.sent);
        let found = stretches(pieces.filter_map(|(index, file)| Some((piece_of(&file.entry)?, index))));
        let mut stretch_of = vec![None; files.len()];
        for (number, stretch) in found.iter().enumerate() {
            for index in stretch.wanted() {
                stretch_of[*index] = Some(number);
            }
        }
        Self { files, stretch_of, stretches: found.into_iter().map(|stretch| Mutex::new(Some(stretch))).collect() }
    }

    fn find(&self, path: &[u8]) -> Option<usize> {
        self.files.binary_search_by(|file| file.path.as_bytes().cmp(path)).ok()
    }

    fn is_past(&self, path: &[u8]) -> bool {
        self.files.first().is_some_and(|file| path < file.path.as_bytes())
    }
}

/// A window on the list.
pub(super) struct Wanted {
    path: PathBuf,
    lines: Option<Reader<WantedFile>>,
    groups: VecDeque<Arc<Group>>,
}

impl Wanted {
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_path_buf(), lines: None, groups: VecDeque::new() }
    }

    /// The group of a file, and its index there. `None` if the list does not have it. Blocks.
    pub fn find(&mut self, path: &[u8]) -> Result<Option<(Arc<Group>, usize)>> {
        if let Some(found) = self.in_memory(path) {
            return Ok(Some(found));
        }
        if self.groups.front().is_some_and(|group| group.is_past(path)) {
            (self.lines, self.groups) = (None, VecDeque::new());
        }
        while self.next_group()? {
            if let Some(found) = self.in_memory(path) {
                return Ok(Some(found));
            }
            if self.groups.back().is_some_and(|group| group.is_past(path)) {
                break;
            }
        }
        Ok(None)
    }

    fn in_memory(&self, path: &[u8]) -> Option<(Arc<Group>, usize)> {
        self.groups.iter().find_map(|group| Some((Arc::clone(group), group.find(path)?)))
    }

    fn next_group(&mut self) -> Result<bool> {
        if self.lines.is_none() {
            self.lines = Some(Reader::open(&self.path)?);
        }
        let mut files = Vec::new();
        if let Some(lines) = &mut self.lines {
            while files.len() < GROUP
                && let Some(file) = lines.next_line()?
            {
                files.push(file);
            }
        }
        if files.is_empty() {
            return Ok(false);
        }
        if self.groups.len() >= GROUPS {
            self.groups.pop_front();
        }
        self.groups.push_back(Arc::new(Group::of(files)));
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::Writer;

    #[test]
    fn every_file_is_found_forward_and_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wanted");
        let mut out = Writer::create(&path).unwrap();
        let names: Vec<String> = (0..3_000).map(|n| format!("{n:05}")).collect();
        for name in &names {
            let json = format!(r#"{{"path":"{name}","mtime":"1.000000000","mode":"0644"}}"#);
            let entry: Entry = serde_json::from_str(&json).unwrap();
            out.push(&WantedFile { path: entry.path.clone(), entry, sent: true }).unwrap();
        }
        out.flush().unwrap();
        let mut wanted = Wanted::new(&path);
        for name in names.iter().chain(names.iter().rev().step_by(700)) {
            let (group, index) = wanted.find(name.as_bytes()).unwrap().unwrap();
            assert_eq!(group.files[index].path.as_bytes(), name.as_bytes());
        }
        assert!(wanted.find(b"00001x").unwrap().is_none());
        assert!(wanted.find(b"x").unwrap().is_none());
        assert!(wanted.groups.len() <= GROUPS);
    }
}
