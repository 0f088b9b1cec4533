//! What a scan excludes: rules in gitignore's syntax, and cache directories.
//!
//! Owns the meaning of `--exclude`, `--include`, `--exclude-from` and `--only`. The crate `ignore` does the matching.
//! The last rule that matches decides, and a scan does not enter an excluded directory. A filter and its clones
//! remember which of its rules have decided anything.

use std::collections::HashMap;
use std::fmt;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use rustix::fs::{Mode, OFlags, openat};

/// The signature at the start of every CACHEDIR.TAG (bford.info/cachedir).
const CACHE_TAG: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// Rules that select paths. The default keeps everything.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    exclude: Option<Arc<FilterRules>>,
    only: Option<Arc<FilterRules>>,
}

/// Rules of one kind, in order.
#[derive(Debug)]
struct FilterRules {
    globs: Gitignore,
    lines: Vec<String>,
    /// Whether a rule has decided anything, by its text.
    used: HashMap<String, AtomicBool>,
}

/// A rule that decided nothing in a run. Its `Display` is a warning for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idle {
    /// The rule in the syntax of gitignore, without blanks at its end.
    pub rule: String,
    /// Why it decided nothing.
    pub why: ExcludeReason,
}

/// Why a rule decided nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExcludeReason {
    /// It begins with `./`, and paths are compared without that.
    Dot,
    /// It contains `.` or `..` as a component, and no path in the tree has one.
    Outside,
    /// It begins with the path of the source itself.
    Absolute,
    /// It begins with `- ` or `+ `, as rules of rsync do.
    Rsync,
    /// No name matches it, or a later rule decided.
    Nothing,
}

impl fmt::Display for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, why } = self;
        match why {
            ExcludeReason::Dot => {
                let rest = rule.trim_start_matches("./");
                write!(f, "the pattern `{rule}` can never match: paths begin at the top of the tree; write `/{rest}`")
            }
            ExcludeReason::Outside => {
                write!(f, "the pattern `{rule}` can never match: paths begin at the top of the tree, and `.` and `..` are none of it")
            }
            ExcludeReason::Absolute => {
                write!(f, "the pattern `{rule}` can never match: write it from the top of the tree, without the path of the source itself")
            }
            ExcludeReason::Rsync => {
                let rest = rule.get(2..).unwrap_or_default().trim_start();
                let keeps = if rule.starts_with('+') { "!" } else { "" };
                write!(f, "the pattern `{rule}` is written as for rsync and can match only a name that begins so; write `{keeps}{rest}`")
            }
            ExcludeReason::Nothing => write!(f, "the pattern `{rule}` matched nothing"),
        }
    }
}

impl Filter {
    /// `rules` are lines of a gitignore file, in order (`!` includes again). `only` are patterns: one of them must
    /// match the path or a directory above it.
    ///
    /// # Errors
    /// Names the pattern that cannot be read.
    ///
    /// # Examples
    ///
    /// ```
    /// use offsite::scan::Filter;
    ///
    /// let rules = ["*.tmp", "!keep.tmp"].map(str::to_owned);
    /// let filter = Filter::new(&rules, &[])?;
    /// assert!(!filter.keeps_whole(b"var/a.tmp", false));
    /// assert!(filter.keeps_whole(b"var/keep.tmp", false));
    /// // Each rule has decided something.
    /// assert_eq!(filter.idle(None), []);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(rules: &[String], only: &[String]) -> Result<Self, String> {
        Ok(Self { exclude: build(rules)?, only: build(only)? })
    }

    /// The rule that excludes what a pattern matches. A pattern that begins with `#` is not a comment.
    pub fn leaving_out(pattern: &str) -> String {
        if pattern.starts_with('#') { format!("\\{pattern}") } else { pattern.to_owned() }
    }

    /// The rule that includes what a pattern matches. For `!x` it is the rule that excludes it.
    pub fn taking(pattern: &str) -> String {
        pattern.strip_prefix('!').map_or_else(|| format!("!{}", Self::leaving_out(pattern)), str::to_owned)
    }

    /// Whether a name in a directory is kept. `dir` is the path of the directory with a slash, and empty at the top.
    pub fn keeps(&self, dir: &[u8], name: &[u8], is_dir: bool) -> bool {
        if self.exclude.is_none() && self.only.is_none() {
            return true;
        }
        let path = [dir, name].concat();
        self.keeps_path(&path, is_dir, false)
    }

    /// Whether a whole path is kept. All directories above it are checked as well.
    pub fn keeps_whole(&self, path: &[u8], is_dir: bool) -> bool {
        self.keeps_path(path, is_dir, true)
    }

    fn keeps_path(&self, path: &[u8], is_dir: bool, parents: bool) -> bool {
        let path = Path::new(std::ffi::OsStr::from_bytes(path.strip_suffix(b"/").unwrap_or(path)));
        if let Some(rules) = &self.exclude
            && rules.matches(path, is_dir, parents)
        {
            return false;
        }
        match &self.only {
            None => true,
            // A directory may contain wanted files. The rules for its contents decide that.
            Some(_) if is_dir && !parents => true,
            Some(only) => only.matches(path, is_dir, true),
        }
    }

    /// The rules that have decided nothing so far, in order. After a whole run, a user should know of them. `source` is
    /// the directory that was read, if any.
    pub fn idle(&self, source: Option<&Path>) -> Vec<Idle> {
        let source = source.and_then(|source| std::fs::canonicalize(source).ok());
        let all = self.exclude.iter().chain(&self.only);
        let mut idle: Vec<Idle> = all.flat_map(|rules| rules.idle(source.as_deref())).collect();
        idle.dedup();
        idle
    }

    /// Whether `--only` limits the scan to a part of the tree.
    pub fn is_partial(&self) -> bool {
        self.only.is_some()
    }

    /// Whether there are any rules.
    pub fn is_empty(&self) -> bool {
        self.only.is_none() && self.exclude.is_none()
    }
}

impl FilterRules {
    fn matches(&self, path: &Path, is_dir: bool, parents: bool) -> bool {
        let found = if parents { self.globs.matched_path_or_any_parents(path, is_dir) } else { self.globs.matched(path, is_dir) };
        if let Match::Ignore(glob) | Match::Whitelist(glob) = &found
            && let Some(used) = self.used.get(glob.original())
            && !used.load(Ordering::Relaxed)
        {
            used.store(true, Ordering::Relaxed);
        }
        matches!(found, Match::Ignore(_))
    }

    fn idle<'a>(&'a self, source: Option<&'a Path>) -> impl Iterator<Item = Idle> + 'a {
        let idle = self.lines.iter().filter(|line| self.used.get(*line).is_some_and(|used| !used.load(Ordering::Relaxed)));
        idle.map(move |rule| Idle { rule: rule.clone(), why: why(rule, source) })
    }
}

/// The reason why a rule decided nothing.
fn why(rule: &str, source: Option<&Path>) -> ExcludeReason {
    let path = rule.strip_prefix('!').unwrap_or(rule);
    let odd = |part: &str| part == "." || part == "..";
    match path {
        _ if path.starts_with("- ") || path.starts_with("+ ") => ExcludeReason::Rsync,
        _ if path.starts_with("./") && !path.trim_start_matches("./").split('/').any(odd) => ExcludeReason::Dot,
        _ if path.split('/').any(odd) => ExcludeReason::Outside,
        _ if path.starts_with('/') && source.is_some_and(|source| source.as_os_str() != "/" && Path::new(path).starts_with(source)) => {
            ExcludeReason::Absolute
        }
        _ => ExcludeReason::Nothing,
    }
}

fn build(lines: &[String]) -> Result<Option<Arc<FilterRules>>, String> {
    if lines.is_empty() {
        return Ok(None);
    }
    let mut builder = GitignoreBuilder::new("");
    for line in lines {
        builder.add_line(None, line).map_err(|e| format!("pattern `{line}`: {e}"))?;
    }
    let globs = builder.build().map_err(|e| e.to_string())?;
    // As in gitignore, blanks at the end do not count, and empty lines and comments are not rules.
    let trimmed = |line: &String| if line.ends_with("\\ ") { line.clone() } else { line.trim_end().to_owned() };
    let lines: Vec<String> = lines.iter().map(trimmed).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let used = lines.iter().map(|line| (line.clone(), AtomicBool::new(false))).collect();
    Ok(Some(Arc::new(FilterRules { globs, lines, used })))
}

/// Whether a directory contains a valid CACHEDIR.TAG.
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

    #[test]
    fn what_did_nothing_is_named_with_its_reason() {
        let rules = ["*.log", "./private/", "../up", "/etc/x", "- old", "!keep.log", "# no rule", "", "trailing  "];
        let filter = Filter::new(&lines(&rules), &lines(&["docs/"])).unwrap();
        assert!(!filter.clone().keeps(b"", b"a.log", false));
        let idle = |source| filter.idle(source).into_iter().map(|i| (i.rule, i.why)).collect::<Vec<_>>();
        let named = |all: &[(&str, ExcludeReason)]| all.iter().map(|(rule, why)| ((*rule).to_owned(), *why)).collect::<Vec<_>>();
        let mut all = vec![
            ("./private/", ExcludeReason::Dot),
            ("../up", ExcludeReason::Outside),
            ("/etc/x", ExcludeReason::Absolute),
            ("- old", ExcludeReason::Rsync),
            ("!keep.log", ExcludeReason::Nothing),
            ("trailing", ExcludeReason::Nothing),
            ("docs/", ExcludeReason::Nothing),
        ];
        assert_eq!(idle(Some(Path::new("/etc"))), named(&all));
        assert!(filter.keeps_whole(b"docs/a", false) && filter.keeps(b"docs/", b"keep.log", false));
        all.retain(|(rule, _)| !matches!(*rule, "!keep.log" | "docs/"));
        all[2].1 = ExcludeReason::Nothing;
        assert_eq!(idle(None), named(&all));
        let said = filter.idle(None).iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert!(said.contains("write `/private/`") && said.contains("write `old`"), "{said}");
    }
}
