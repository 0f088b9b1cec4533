//! Converts rules of other systems into rules of offsite.
//!
//! Owns the translation of patterns (rsync's filters, gsutil's regular expressions, the globs of duplicity and the AWS
//! CLI) into gitignore's syntax, and their order: offsite's last rule wins, rsync's and duplicity's first one.
//! Invariant: a pattern without an equivalent is an error with its text, never a pattern with another meaning.

use super::tree::Node;
use crate::scan::Filter;

/// One rule, in gitignore's syntax.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternRule {
    /// The rule includes what matches. Otherwise it excludes it.
    pub keep: bool,
    /// The pattern, without a `!`.
    pub pattern: String,
}

/// Rules in offsite's order: the last one that matches decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PatternRules(pub Vec<PatternRule>);

impl PatternRules {
    /// Converts rules of which the first one that matches decides.
    pub fn first_wins(mut rules: Vec<PatternRule>) -> Self {
        rules.reverse();
        Self(rules)
    }

    /// Whether any rule includes.
    pub fn has_includes(&self) -> bool {
        self.0.iter().any(|rule| rule.keep)
    }

    /// Makes includes below excluded directories take effect. Includes the directories above them and nothing else in
    /// those. Returns the patterns that would have had no effect.
    pub fn reach(&mut self) -> Vec<String> {
        let mut mended = Vec::new();
        for pattern in self.0.iter().filter(|rule| rule.keep).map(|rule| rule.pattern.clone()).collect::<Vec<_>>() {
            let Some((root, path)) = ["/", "**/"].iter().find_map(|root| Some((*root, pattern.strip_prefix(root)?))) else { continue };
            let parts: Vec<&str> = path.trim_end_matches('/').split('/').collect();
            let plain = parts.iter().take_while(|part| !part.contains(['*', '?', '[', '\\'])).count();
            let mut above = String::new();
            for part in parts.iter().take(plain.min(parts.len() - 1)) {
                if !self.keeps(&above, part) {
                    self.push(true, format!("{root}{above}{part}/"));
                    self.push(false, format!("{root}{above}{part}/*"));
                    if !mended.contains(&pattern) {
                        mended.push(pattern.clone());
                    }
                }
                above = format!("{above}{part}/");
            }
            let hidden = parts.len() == plain && !self.keeps(&above, parts[plain - 1]);
            if hidden || mended.contains(&pattern) {
                self.push(true, pattern);
            }
        }
        mended
    }

    fn push(&mut self, keep: bool, pattern: String) {
        self.0.push(PatternRule { keep, pattern });
    }

    fn keeps(&self, above: &str, name: &str) -> bool {
        let line = |rule: &PatternRule| if rule.keep { Filter::taking(&rule.pattern) } else { Filter::leaving_out(&rule.pattern) };
        let lines: Vec<String> = self.0.iter().map(line).collect();
        Filter::new(&lines, &[]).is_ok_and(|filter| filter.keeps(above.as_bytes(), name.as_bytes(), true))
    }

    /// Adds the rules to `options`: as `exclude` and `include` if all excludes come first, else as one list with `!`.
    pub fn put(&self, options: &mut Node) {
        let of = |keep| Node::texts(self.0.iter().filter(|rule| rule.keep == keep).map(|rule| rule.pattern.clone()));
        let apart = self.0.is_sorted_by_key(|rule| rule.keep);
        if !apart {
            let sign = |rule: &PatternRule| if rule.keep { format!("!{}", rule.pattern) } else { rule.pattern.clone() };
            options.put("exclude", Node::texts(self.0.iter().map(sign)));
            return;
        }
        for (key, keep) in [("exclude", false), ("include", true)] {
            if !of(keep).is_empty() {
                options.put(key, of(keep));
            }
        }
    }
}

fn cannot(pattern: &str) -> String {
    format!("the pattern `{pattern}` has no equivalent in gitignore's syntax; write its meaning into `exclude`")
}

/// Escapes a first character that would have another meaning in a rule.
fn guarded(pattern: String) -> String {
    if pattern.starts_with('!') { format!("\\{pattern}") } else { pattern }
}

/// Converts a pattern of rsync. A leading `/` anchors it. With any other slash it matches at every depth. `***` is a
/// directory with everything below it.
pub fn from_rsync(pattern: &str) -> Result<String, String> {
    let (body, whole) = pattern.strip_suffix("/***").map_or((pattern, false), |body| (body, true));
    let dir = whole || body.ends_with('/');
    let inner = body.trim_end_matches('/').trim_start_matches('/');
    if inner.is_empty() {
        return Err(cannot(pattern));
    }
    let inner = stars(inner).ok_or_else(|| cannot(pattern))?;
    let root = match (body.starts_with('/'), inner.contains('/')) {
        (true, _) => "/",
        (false, true) if !inner.starts_with("**/") => "**/",
        _ => "",
    };
    Ok(guarded(format!("{root}{inner}{}", if dir { "/" } else { "" })))
}

/// Rewrites `**` to whole names: `**.log` after a directory is `**/*.log`, and `*.log` at the beginning.
fn stars(inner: &str) -> Option<String> {
    let mut parts = Vec::new();
    for part in inner.split('/') {
        match part.strip_prefix("**") {
            None if part.contains("**") => return part.strip_suffix("**").filter(|p| !p.contains("**")).map(|_| inner.replace("**", "*")),
            None => parts.push(part.to_owned()),
            Some("") => parts.push("**".to_owned()),
            Some(rest) => {
                if !parts.is_empty() && parts.last().is_none_or(|last| last != "**") {
                    parts.push("**".to_owned());
                }
                parts.push(format!("*{}", rest.trim_start_matches('*').replace("**", "*")));
            }
        }
    }
    Some(parts.join("/"))
}

/// Converts a glob of duplicity. It matches whole paths that begin with the source, and `**` crosses slashes.
pub fn from_duplicity(pattern: &str, source: &str) -> Result<String, String> {
    if pattern == "**" {
        return Ok("/*".to_owned());
    }
    if pattern.starts_with("ignorecase:") || pattern.starts_with("regexp:") {
        return Err(cannot(pattern));
    }
    let root = source.trim_end_matches('/');
    if let Some(inner) = pattern.strip_prefix(root).filter(|inner| inner.starts_with('/')) {
        return from_rsync(inner);
    }
    if pattern.starts_with("**") {
        return from_rsync(pattern.strip_prefix("**/").unwrap_or(pattern));
    }
    Err(format!("`{pattern}` matches nothing below the source {source}"))
}

/// A pattern for everything below the matches of a pattern.
pub fn below(pattern: &str) -> String {
    let inner = pattern.trim_end_matches('/');
    // A pattern without a slash matches at any depth; with one it begins at the top.
    let root = if inner.contains('/') { "" } else { "**/" };
    format!("{root}{inner}/**")
}

/// Converts a pattern of the AWS CLI. It matches whole paths below the source, `*` crosses slashes, and directories are
/// not tested.
pub fn from_aws(pattern: &str, keep: bool) -> Vec<PatternRule> {
    let pattern = pattern.trim_start_matches("./");
    let rule = |keep, pattern: String| PatternRule { keep, pattern: guarded(pattern) };
    if pattern == "*" {
        // Directories stay included, so that the scan finds includes below them.
        return if keep { vec![rule(true, "*".into())] } else { vec![rule(false, "*".into()), rule(true, "*/".into())] };
    }
    let text = match pattern.strip_prefix('*') {
        Some(rest) if !rest.contains('/') => format!("*{rest}"),
        Some(rest) if rest.starts_with('/') => format!("**{rest}"),
        Some(rest) => format!("**/*{rest}"),
        None => format!("/{pattern}"),
    };
    // A star after a slash at the end matches everything below. A star inside crosses slashes.
    let text = text.strip_suffix("/*").map_or(text.clone(), |dir| format!("{dir}/**"));
    let text = match text.split_once("/*.") {
        Some((dir, name)) if !name.contains('/') && !dir.is_empty() && !dir.ends_with("**") => format!("{dir}/**/*.{name}"),
        _ => text,
    };
    vec![rule(keep, text)]
}

/// Converts a Python regular expression of gsutil. It matches from the start of the path below the source.
///
/// # Errors
/// The expression has no equivalent list of patterns.
pub fn from_regex(regex: &str) -> Result<Vec<String>, String> {
    alternatives(regex).ok_or_else(|| cannot(regex))?.iter().map(|one| from_one(one).ok_or_else(|| cannot(regex))).collect()
}

/// The alternatives between the `|` at the top level.
fn alternatives(regex: &str) -> Option<Vec<String>> {
    let (mut all, mut depth, mut now, mut chars) = (Vec::new(), 0_i32, String::new(), regex.chars());
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                now.push(c);
                now.push(chars.next()?);
                continue;
            }
            '(' => depth += 1,
            ')' => depth -= 1,
            '|' if depth == 0 => {
                all.push(std::mem::take(&mut now));
                continue;
            }
            _ => {}
        }
        now.push(c);
    }
    all.push(now);
    (depth == 0).then_some(all)
}

fn from_one(regex: &str) -> Option<String> {
    let body = regex.trim_start_matches('^');
    let (anywhere, body) = ["(^|.*/)", "(.*/)?", "(.*/|^)", "(^|/)", "(?:^|.*/)", "(?:.*/)?"]
        .iter()
        .find_map(|start| body.strip_prefix(start))
        .map_or((false, body), |rest| (true, rest));
    let exact = body.ends_with('$') && !body.ends_with("\\$");
    let body = body.strip_suffix('$').filter(|_| exact).unwrap_or(body);
    // gsutil's paths have no leading slash, so such a pattern never matched. Its author meant the top.
    let (body, meant) = body.strip_prefix('/').map_or((body, false), |rest| (rest, true));
    let (body, below) = body.strip_suffix("/.*").or_else(|| body.strip_suffix('/')).map_or((body, false), |rest| (rest, true));
    let glob = glob_of(body)?;
    let closed = exact || below || meant || glob.ends_with('*');
    let glob = format!("{glob}{}{}", if closed { "" } else { "*" }, if below { "/" } else { "" });
    let inner = stars(&glob)?;
    Some(match (anywhere, glob.starts_with("**"), inner.trim_end_matches('/').contains('/')) {
        (true, _, true) => format!("**/{inner}"),
        (true, ..) | (false, true, _) => inner,
        _ => format!("/{inner}"),
    })
}

/// The plain part of a regular expression as a glob: letters, `.`, `.*`, `[^/]*`, classes.
fn glob_of(regex: &str) -> Option<String> {
    let (mut out, mut rest) = (String::new(), regex);
    while let Some(c) = rest.chars().next() {
        let many = [("[^/]*", "*"), ("[^/]+", "*"), (".*", "**"), (".+", "**")].iter().find(|(from, _)| rest.starts_with(from));
        if let Some((from, to)) = many {
            out.push_str(to);
            rest = &rest[from.len()..];
            continue;
        }
        rest = &rest[c.len_utf8()..];
        match c {
            '\\' => {
                let next = rest.chars().next().filter(|c| !c.is_alphanumeric())?;
                rest = &rest[next.len_utf8()..];
                if "*?[\\".contains(next) {
                    out.push('\\');
                }
                out.push(next);
            }
            '.' => out.push('?'),
            '[' => {
                let end = rest.find(']').filter(|end| !rest[..*end].contains(['\\', '/', '[']))?;
                out.push('[');
                out.push_str(&rest[..end].replacen('^', "!", usize::from(rest.starts_with('^'))));
                out.push(']');
                rest = &rest[end + 1..];
            }
            '*' | '+' | '?' | '(' | ')' | '{' | '}' | '|' | '^' | '$' => return None,
            c => out.push(c),
        }
        if rest.starts_with(['*', '+', '?', '{']) {
            return None;
        }
    }
    (!out.is_empty()).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(keep: bool, pattern: &str) -> PatternRule {
        PatternRule { keep, pattern: pattern.to_owned() }
    }

    #[test]
    fn patterns_of_rsync() {
        for (old, new) in [
            ("/tmp", "/tmp"),
            ("*.log", "*.log"),
            ("cache/", "cache/"),
            ("files/*", "**/files/*"),
            ("/a/***", "/a/"),
            ("**.log", "*.log"),
            ("/a/**.log", "/a/**/*.log"),
            ("!odd", "\\!odd"),
        ] {
            assert_eq!(from_rsync(old).as_deref(), Ok(new), "{old}");
        }
        assert!(from_rsync("/").is_err());
    }

    #[test]
    fn patterns_of_gsutil() {
        for (old, new) in [
            ("/tmp", &["/tmp"][..]),
            ("tmp", &["/tmp*"]),
            ("^cache/.*$", &["/cache/"]),
            (r".*\.log$", &["*.log"]),
            (r"(^|.*/)\.git/", &[".git/"]),
            (r"a/[^/]*\.tmp$|b$", &["/a/*.tmp", "/b"]),
            ("(^|/)a/b$", &["**/a/b"]),
        ] {
            assert_eq!(from_regex(old).unwrap(), new, "{old}");
        }
        for odd in ["(?!keep).*", "a{2}", r"\d+", "(a|b", "x*"] {
            assert!(from_regex(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn patterns_of_duplicity() {
        for (old, new) in [("/srv/site/cache", "/cache"), ("**/node_modules", "node_modules"), ("**.pyc", "*.pyc"), ("**", "/*")] {
            assert_eq!(from_duplicity(old, "/srv/site/").as_deref(), Ok(new), "{old}");
        }
        assert_eq!(from_duplicity("/home/me", "/").as_deref(), Ok("/home/me"));
        assert!(from_duplicity("/elsewhere", "/srv").is_err());
    }

    /// Asks the filter as a scan does: each directory on the way, then the file.
    fn kept(rules: &PatternRules, path: &str) -> bool {
        let line = |r: &PatternRule| if r.keep { Filter::taking(&r.pattern) } else { Filter::leaving_out(&r.pattern) };
        let filter = Filter::new(&rules.0.iter().map(line).collect::<Vec<_>>(), &[]).unwrap();
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        let mut parts =
            ends.map(|end| path[..end].rsplit_once('/').map_or(("", &path[..end]), |(dir, _)| path[..end].split_at(dir.len() + 1)));
        parts.all(|(dir, name)| filter.keeps(dir.as_bytes(), name.as_bytes(), dir.len() + name.len() < path.len()))
    }

    /// The rules keep exactly what `aws s3 sync` would send.
    #[test]
    fn patterns_of_aws() {
        let of = |all: &[(bool, &str)]| PatternRules(all.iter().flat_map(|(keep, pattern)| from_aws(pattern, *keep)).collect());
        let mut rules = of(&[(false, "*"), (true, "*.jpg"), (true, "docs/*"), (false, "docs/tmp/*")]);
        rules.reach();
        for (path, wanted) in [("a.jpg", true), ("x/y/b.jpg", true), ("a.txt", false), ("docs/a/b.txt", true), ("docs/tmp/x.txt", false)] {
            assert_eq!(kept(&rules, path), wanted, "{path}: {rules:?}");
        }
        let rules = of(&[(false, ".git/*"), (false, "*cache/*"), (false, "logs/*.log")]);
        for (path, wanted) in [(".git/x/y", false), ("a/.git/x", true), ("a/mycache/x", false), ("logs/a/b.log", false), ("b.log", true)] {
            assert_eq!(kept(&rules, path), wanted, "{path}: {rules:?}");
        }
    }

    /// The rules keep what duplicity would keep: an include also includes everything below it, and the first rule that
    /// matches decides.
    #[test]
    fn an_include_of_duplicity_takes_all_below_it() {
        let of = |all: &[(bool, &str)]| {
            let rule = |(keep, glob): &(bool, &str)| {
                let pattern = from_duplicity(glob, "/srv").unwrap();
                let all = if *keep { vec![below(&pattern), pattern] } else { vec![pattern] };
                all.into_iter().map(|pattern| PatternRule { keep: *keep, pattern }).collect::<Vec<_>>()
            };
            let mut rules = PatternRules::first_wins(all.iter().flat_map(rule).collect());
            rules.reach();
            rules
        };
        let rules = of(&[(false, "/srv/keep/tmp"), (true, "/srv/keep"), (true, "**/photos"), (false, "**/cache"), (false, "**")]);
        for (path, wanted) in [
            ("keep", true),
            ("keep/a", true),
            ("keep/cache/x", true),
            ("keep/a/cache", true),
            ("keep/tmp/x", false),
            ("photos/cache/x", true),
            ("cache/x", false),
            ("other", false),
        ] {
            assert_eq!(kept(&rules, path), wanted, "{path}: {rules:?}");
        }
        let rules = of(&[(true, "/srv/a/keep"), (false, "**/cache"), (false, "**")]);
        for (path, wanted) in [("a/keep/cache/x", true), ("a/other", false), ("a/cache", false), ("b", false)] {
            assert_eq!(kept(&rules, path), wanted, "{path}: {rules:?}");
        }
    }

    #[test]
    fn an_include_below_a_left_out_directory_is_reached() {
        let mut rules = PatternRules::first_wins(vec![rule(true, "**/files/civicrm/ext/"), rule(false, "**/files/*")]);
        assert!(!kept(&rules, "files/civicrm/ext/a"));
        assert_eq!(rules.reach(), ["**/files/civicrm/ext/"]);
        assert!(kept(&rules, "files/civicrm/ext/a"));
        assert!(!kept(&rules, "files/civicrm/log") && !kept(&rules, "files/x"));
        // Two includes below the same directory do not hide each other.
        let mut rules = PatternRules::first_wins(vec![rule(true, "/a/x"), rule(true, "/a/y"), rule(false, "/*")]);
        rules.reach();
        assert!(kept(&rules, "a/x") && kept(&rules, "a/y") && !kept(&rules, "a/z") && !kept(&rules, "b"), "{rules:?}");
        let mut node = Node::map();
        rules.put(&mut node);
        assert_eq!(node.entries().len(), 1);
    }
}
