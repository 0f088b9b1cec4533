//! What is left out of a scan: rules in gitignore's syntax, and cache directories.
//!
//! Owns the meaning of `--exclude`, `--include`, `--exclude-from` and `--only`. The matching itself is
//! the `ignore` crate's. The last rule that matches decides; below a directory that is left out
//! nothing is looked at.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use rustix::fs::{Mode, OFlags, openat};

/// The signature every CACHEDIR.TAG begins with (bford.info/cachedir).
const CACHE_TAG: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// Rules that choose among paths. The default keeps everything.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    exclude: Option<Arc<Gitignore>>,
    only: Option<Arc<Gitignore>>,
}

impl Filter {
    /// `rules` are lines of a gitignore file, in order (`!` keeps again); `only` are patterns of which
    /// one must match the path or a directory above it.
    pub fn new(rules: &[String], only: &[String]) -> Result<Self, String> {
        Ok(Self { exclude: build(rules)?, only: build(only)? })
    }

    /// The rule that leaves out what a pattern matches: a pattern is a pattern, never a comment.
    pub fn leaving_out(pattern: &str) -> String {
        if pattern.starts_with('#') { format!("\\{pattern}") } else { pattern.to_owned() }
    }

    /// The rule that takes what a pattern matches; of `!x` the opposite of the opposite.
    pub fn taking(pattern: &str) -> String {
        pattern.strip_prefix('!').map_or_else(|| format!("!{}", Self::leaving_out(pattern)), str::to_owned)
    }

    /// Whether a name in a directory (its path with slash; empty for the top) is kept.
    pub fn keeps(&self, dir: &[u8], name: &[u8], is_dir: bool) -> bool {
        if self.exclude.is_none() && self.only.is_none() {
            return true;
        }
        let path = [dir, name].concat();
        self.keeps_path(&path, is_dir, false)
    }

    /// The same for a whole path, with all directories above it asked as well.
    pub fn keeps_whole(&self, path: &[u8], is_dir: bool) -> bool {
        self.keeps_path(path, is_dir, true)
    }

    fn keeps_path(&self, path: &[u8], is_dir: bool, parents: bool) -> bool {
        let path = Path::new(std::ffi::OsStr::from_bytes(path.strip_suffix(b"/").unwrap_or(path)));
        if let Some(rules) = &self.exclude {
            let found = if parents { rules.matched_path_or_any_parents(path, is_dir) } else { rules.matched(path, is_dir) };
            if matches!(found, Match::Ignore(_)) {
                return false;
            }
        }
        match &self.only {
            None => true,
            // A directory may hold what is wanted; whether it does shows further down.
            Some(_) if is_dir && !parents => true,
            Some(only) => matches!(only.matched_path_or_any_parents(path, is_dir), Match::Ignore(_)),
        }
    }

    /// Whether `--only` is in force.
    pub fn is_partial(&self) -> bool {
        self.only.is_some()
    }

    /// Whether there are any rules.
    pub fn is_empty(&self) -> bool {
        self.only.is_none() && self.exclude.is_none()
    }
}

fn build(lines: &[String]) -> Result<Option<Arc<Gitignore>>, String> {
    if lines.is_empty() {
        return Ok(None);
    }
    let mut builder = GitignoreBuilder::new("");
    for line in lines {
        builder.add_line(None, line).map_err(|e| format!("pattern `{line}`: {e}"))?;
    }
    builder.build().map(|rules| Some(Arc::new(rules))).map_err(|e| e.to_string())
}

/// Whether a directory carries a valid CACHEDIR.TAG.
pub(super) fn is_cache(dir: &OwnedFd) -> bool {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let Ok(fd) = openat(dir, c"CACHEDIR.TAG", flags, Mode::empty()) else { return false };
    let mut head = [0; CACHE_TAG.len()];
    let mut got = 0;
    while got < head.len() {
        match rustix::io::read(&fd, &mut head[got..]) {
            Ok(0) | Err(_) => return false,
            Ok(n) => got += n,
        }
    }
    head == CACHE_TAG
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[&str]) -> Vec<String> {
        text.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn the_last_rule_that_matches_decides() {
        let filter = Filter::new(&lines(&["*.log", "!keep.log", "/tmp/"]), &[]).unwrap();
        assert!(!filter.keeps(b"a/", b"x.log", false));
        assert!(filter.keeps(b"a/", b"keep.log", false));
        assert!(!filter.keeps(b"", b"tmp", true));
        assert!(filter.keeps(b"a/", b"tmp", true));
        assert!(!filter.keeps_whole(b"tmp/deep/file", false));
    }

    #[test]
    fn only_takes_what_lies_below() {
        let filter = Filter::new(&[], &lines(&["docs/"])).unwrap();
        assert!(filter.keeps_whole(b"docs/a.txt", false));
        assert!(filter.keeps_whole(b"docs/", true));
        assert!(!filter.keeps_whole(b"other/a.txt", false));
    }
}
