//! `--exclude`, `--include`, `--exclude-from`, and `--only` of `pull`.
//!
//! Owns the order of the first three: as in a gitignore file, the last rule that matches wins, so their order on the
//! command line counts. `scan::Filter` owns what a rule means.

use std::path::{Path, PathBuf};

use clap::{ArgMatches, Args, FromArgMatches};
use offsite::error::{Error, Result};
use offsite::scan::Filter;

/// The flags as clap knows them.
#[derive(Debug, Args)]
struct Flags {
    /// Exclude files that match this pattern, in gitignore's syntax; repeatable. Of --exclude, --include
    /// and --exclude-from, the last rule that matches wins
    #[arg(long, value_name = "PATTERN", allow_hyphen_values = true, help_heading = "Filters")]
    exclude: Vec<String>,
    /// Include files that match this pattern after all, in gitignore's syntax; repeatable
    #[arg(long, value_name = "PATTERN", allow_hyphen_values = true, help_heading = "Filters")]
    include: Vec<String>,
    /// Read exclude patterns from this file, in gitignore's syntax; repeatable
    #[arg(long, value_name = "FILE", help_heading = "Filters")]
    exclude_from: Vec<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum FilterRule {
    Exclude(String),
    Include(String),
    From(PathBuf),
}

/// Rules in the order of the command line.
#[derive(Debug, Clone, Default)]
pub struct FilterArgs {
    rules: Vec<FilterRule>,
}

impl FilterArgs {
    /// The filter. `only` are rules as [`Only`] has them.
    pub fn filter(&self, only: &[String]) -> Result<Filter> {
        self.filter_after(&[], only)
    }

    /// The same with rules before those of the command line.
    pub fn filter_after(&self, before: &[String], only: &[String]) -> Result<Filter> {
        let mut lines = before.to_vec();
        for rule in &self.rules {
            match rule {
                FilterRule::Exclude(pattern) => lines.push(Filter::leaving_out(pattern)),
                FilterRule::Include(pattern) => lines.push(Filter::taking(pattern)),
                FilterRule::From(file) => lines.extend(read(file)?),
            }
        }
        Filter::new(&lines, only).map_err(Error::Usage)
    }
}

fn read(file: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(file).map_err(|e| Error::Usage(format!("--exclude-from {}: {e}", file.display())))?;
    Ok(text.trim_start_matches('\u{feff}').lines().map(str::to_owned).collect())
}

impl FromArgMatches for FilterArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let flags = Flags::from_arg_matches(matches)?;
        let places = |name: &str| matches.indices_of(name).into_iter().flatten().collect::<Vec<_>>();
        let mut rules: Vec<(usize, FilterRule)> =
            places("exclude").into_iter().zip(flags.exclude.into_iter().map(FilterRule::Exclude)).collect();
        rules.extend(places("include").into_iter().zip(flags.include.into_iter().map(FilterRule::Include)));
        rules.extend(places("exclude_from").into_iter().zip(flags.exclude_from.into_iter().map(FilterRule::From)));
        rules.sort_by_key(|(place, _)| *place);
        Ok(Self { rules: rules.into_iter().map(|(_, rule)| rule).collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for FilterArgs {
    fn augment_args(command: clap::Command) -> clap::Command {
        Flags::augment_args(command)
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Flags::augment_args_for_update(command)
    }
}

/// What `--only` selects from a manifest: rules for the filter, and where to look, if the values say so.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Only {
    pub rules: Vec<String>,
    /// Beginnings of paths; empty means anywhere.
    pub prefixes: Vec<Vec<u8>>,
}

impl Only {
    /// A value without glob characters is a path from the top of the tree. Only such values say where to look.
    pub fn new(values: &[String]) -> Result<Self> {
        let mut only = Self::default();
        let mut anywhere = false;
        for value in values {
            let path = value.trim_start_matches("./").trim_start_matches('/');
            if path.is_empty() || path == "." {
                return Err(Error::Usage(format!("--only `{value}` is not a path inside the tree; write docs/ or '*.txt'")));
            }
            if value.contains(['*', '?', '[', '\\', '{']) {
                anywhere = true;
                only.rules.push(Filter::leaving_out(value));
            } else {
                // gitignore drops a trailing blank unless it is escaped.
                let rule = path.strip_suffix(' ').map_or_else(|| format!("/{path}"), |rest| format!("/{rest}\\ "));
                only.rules.push(rule);
                only.prefixes.push(path.as_bytes().to_vec());
            }
        }
        if anywhere {
            only.prefixes.clear();
        }
        Ok(only)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(args: &[&str]) -> Vec<FilterRule> {
        let command = FilterArgs::augment_args(clap::Command::new("t"));
        let matches = command.get_matches_from([&["t"], args].concat());
        FilterArgs::from_arg_matches(&matches).unwrap().rules
    }

    #[test]
    fn the_order_on_the_command_line_counts() {
        let got = rules(&["--exclude", "*.log", "--exclude-from=f", "--include", "keep.log", "--exclude", "-x"]);
        let want = [
            FilterRule::Exclude("*.log".into()),
            FilterRule::From("f".into()),
            FilterRule::Include("keep.log".into()),
            FilterRule::Exclude("-x".into()),
        ];
        assert_eq!(got, want);
    }

    #[test]
    fn the_last_rule_wins() {
        let exclude = FilterRule::Exclude("*.log".into());
        let include = FilterRule::Include("keep.log".into());
        let filter = FilterArgs { rules: vec![exclude.clone(), include.clone()] }.filter(&[]).unwrap();
        assert!(filter.keeps(b"", b"keep.log", false));
        let filter = FilterArgs { rules: vec![include, exclude] }.filter(&[]).unwrap();
        assert!(!filter.keeps(b"", b"keep.log", false));
        let filter = FilterArgs { rules: vec![FilterRule::Exclude("#tmp#".into())] }.filter(&[]).unwrap();
        assert!(!filter.keeps(b"", b"#tmp#", false));
    }

    #[test]
    fn a_plain_value_of_only_is_a_path_from_the_top() {
        let only = |values: &[&str]| Only::new(&values.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>());
        assert_eq!(
            only(&["docs/", "/a b"]).unwrap(),
            Only { rules: vec!["/docs/".into(), "/a b".into()], prefixes: vec![b"docs/".to_vec(), b"a b".to_vec()] }
        );
        assert_eq!(only(&["docs/", "*.txt"]).unwrap(), Only { rules: vec!["/docs/".into(), "*.txt".into()], prefixes: vec![] });
        assert!(only(&["/"]).is_err());
    }
}
