//! phpbu's backups as jobs.
//!
//! Owns what its directories and loggers become, and the order of the keys of a job. `phpbu_dumps.rs` has the dumps,
//! `phpbu_places.rs` the syncs and cleanups. Invariants: passwords and keys become variables or files that the vendor's
//! tools read. An option without an equivalent is in a note.

use super::document::{Document, sealed, trimmed};
use super::dumps::{dump, line, repacked};
use super::notes::Notes;
use super::phpbu_dumps::{checks, command};
use super::phpbu_places::{keep, remote_cleanup, sync_url, undated};
use super::phpbu_read::{Backup, Configuration, PhpbuPart, read};
use super::phpbu_values::{ignored, value};
use super::rules::{PatternRule, PatternRules, from_rsync};
use super::tree::Node;

/// Imports phpbu's XML or JSON.
///
/// # Errors
/// What is wrong with the text, in words.
pub fn import(text: &str, notes: &mut Notes) -> Result<Document, String> {
    let configuration = read(text)?;
    let mut document = Document::default();
    for backup in &configuration.backups {
        one(backup, &mut document, notes);
    }
    loggers(&configuration, &mut document, notes);
    for other in &configuration.others {
        notes.left_out("", format!("`{other}` of phpbu: offsite takes secrets and values from the environment, `\"variables\"` and --set"));
    }
    if !document.jobs.is_empty() {
        notes.different("", "phpbu made an archive with a date in its name for each run; offsite keeps the files themselves, and older states as snapshots. The archives stay where they are, and each job has a destination of its own beside them");
    }
    Ok(document)
}

fn one(backup: &Backup, document: &mut Document, notes: &mut Notes) {
    let unnamed = backup.source.get("databases").or_else(|| backup.source.get("database")).unwrap_or(&backup.source.kind);
    let name = document.name(if backup.name.is_empty() { unnamed } else { &backup.name });
    let at = name.as_str();
    let mut job = Node::map();
    let Some(dumped) = source(backup, &mut job, at, notes) else { return };
    let names = places(backup, document, at, notes);
    if names.is_empty() {
        return notes.left_out(at, "it has no target or sync that offsite can write to");
    }
    job.put("destinations", Node::texts(names));
    if let Some(dumps) = dumped {
        job.put("dumps", dumps);
    }
    if let Some(keep) = kept(backup, at, notes) {
        job.put("keep", keep);
    }
    if backup.stop_on_failure {
        notes.different(at, "stopOnFailure: a failed job does not stop the others; the exit code reports it");
    }
    document.jobs.push((name, job));
}

/// The destinations of a backup, by name: the directory of its target, and its syncs.
fn places(backup: &Backup, document: &mut Document, at: &str, notes: &mut Notes) -> Vec<String> {
    let local = backup.target.get("dirname").map(|dirname| format!("{}/{at}", undated(&value(dirname, at, notes))));
    let mut all: Vec<(String, String)> = local.into_iter().map(|url| (format!("{at}-local"), url)).collect();
    for sync in &backup.syncs {
        if let Some(url) = sync_url(sync, at, notes) {
            if let Some(command) = taking_over(backup, sync, &url, at) {
                notes.left_to_do(at, format!("the archives at the {} stay as they are, and none is sent again. To include them in checks and reports, adopt them once: `{command}`", sync.kind));
            }
            all.push((format!("{at}-{}", sync.kind), url));
        }
    }
    let mut names = Vec::new();
    for (wanted, url) in all {
        let name = document.name(&wanted);
        let place = Node::map().with("url", url);
        // What phpbu encrypts is encrypted on this disk too.
        let place = match &backup.crypt {
            Some(crypt) => sealed(place, &format!("crypt {}", crypt.kind), at, notes),
            None => place,
        };
        document.destinations.push((name.clone(), place));
        names.push(name);
    }
    names
}

/// The command that makes a snapshot of the archives of a sync, from their directory on this machine. None if a date is
/// in the path, or a character that has a meaning in the shell or in a rule.
fn taking_over(backup: &Backup, sync: &PhpbuPart, url: &str, at: &str) -> Option<String> {
    let (place, settings) = url.split_at(url.find('?').unwrap_or(url.len()));
    let place = place.strip_suffix(at)?.strip_suffix('/')?;
    let (dirname, filename) = (backup.target.get("dirname")?, backup.target.get("filename")?);
    if [dirname, sync.get("path").unwrap_or_default()].iter().any(|path| path.contains('%')) {
        return None;
    }
    let mut pattern = String::new();
    let mut chars = filename.chars();
    while let Some(c) = chars.next() {
        match c {
            '%' if pattern.ends_with('*') => _ = chars.next(),
            '%' => {
                chars.next();
                pattern.push('*');
            }
            c => pattern.push(c),
        }
    }
    let command = format!("offsite sync --adopt --exclude '*' --include '/{pattern}*' {} '{place}{settings}'", trimmed(dirname));
    (!dirname.contains(' ') && !command.contains(['$', '[', '\\', '"']) && !filename.contains('\'')).then_some(command)
}

/// The retention of the target, or of the last sync if the target has none.
fn kept(backup: &Backup, at: &str, notes: &mut Notes) -> Option<Node> {
    let mut all: Vec<Node> = backup.syncs.iter().filter_map(|sync| remote_cleanup(sync, at, notes)).collect();
    all.extend(backup.cleanup.iter().filter_map(|part| keep(part, "", at, notes)));
    if all.windows(2).any(|pair| pair[0] != pair[1]) {
        notes.different(at, "target and syncs had different retention; a job has one `keep`: that of the target, or of the last sync");
    }
    all.pop()
}

/// Adds `source` to the job, or returns its `dumps`. None if offsite cannot back up the source.
#[allow(clippy::option_option, reason = "the inner one is the value of a key that a directory does not have")]
fn source(backup: &Backup, job: &mut Node, at: &str, notes: &mut Notes) -> Option<Option<Node>> {
    let part = &backup.source;
    match part.kind.as_str() {
        "tar" | "rsync" => directory(backup, job, at, notes).then_some(None),
        _ => {
            let (name, words) = command(part, at, notes)?;
            let (min_size, max_shrink) = checks(&backup.checks, at, notes);
            let packer = backup.target.get("compress");
            let made = dump(&name, line(&words), packer.is_some(), min_size, max_shrink);
            if let (Some(packer), Some((name, _))) = (packer, made.entries().first()) {
                repacked(packer, name, at, notes);
            }
            Some(Some(made))
        }
    }
}

/// Options of `tar` and `rsync` that the import converts, or that offsite does not need.
const KNOWN: [&str; 8] =
    ["path", "exclude", "pathToTar", "pathToRsync", "compressProgram", "ignoreFailedRead", "incrementalFile", "forceLevelZeroOn"];

/// Adds a directory as the source of the job. Returns whether offsite can back it up.
fn directory(backup: &Backup, job: &mut Node, at: &str, notes: &mut Notes) -> bool {
    let part = &backup.source;
    let Some(path) = part.get("path").map(|path| value(path, at, notes)) else {
        notes.left_out(at, format!("the source {} has no path", part.kind));
        return false;
    };
    if path.contains(':') || part.get("args").is_some() {
        let what = if path.contains(':') { "a path of another host" } else { "args" };
        notes.left_out(at, format!("the source {} with `{what}`: offsite reads directories of this machine", part.kind));
        return false;
    }
    job.put("source", trimmed(&path));
    let mut options = Node::map();
    excludes(part, at, notes).put(&mut options);
    if !options.is_empty() {
        job.put("options", Node::map().with("*", options));
    }
    ignored(part, &KNOWN, at, notes);
    for check in &backup.checks {
        let what = "for a directory, the guard checks what a run would remove and rewrite (docs/guard.md)";
        notes.left_out(at, format!("the check {}: {what}", check.kind));
    }
    true
}

fn excludes(part: &PhpbuPart, at: &str, notes: &mut Notes) -> PatternRules {
    let mut rules = PatternRules::default();
    for pattern in part.get("exclude").unwrap_or_default().split([':', ',']).map(str::trim).filter(|pattern| !pattern.is_empty()) {
        match from_rsync(pattern.trim_start_matches("./")) {
            Ok(pattern) => rules.0.push(PatternRule { keep: false, pattern: pattern.replace('$', "$$") }),
            Err(what) => notes.left_out(at, what),
        }
    }
    rules
}

fn loggers(configuration: &Configuration, document: &mut Document, notes: &mut Notes) {
    let mut notify = Node::map();
    for logger in &configuration.loggers {
        match logger.kind.as_str() {
            "mail" => {
                let all = logger.get("recipients").unwrap_or_default().split([',', ';']).map(str::trim).filter(|one| !one.is_empty());
                let all: Vec<String> = all.map(str::to_owned).collect();
                if !all.is_empty() && notify.get("mail").is_none() {
                    notify.put("mail", Node::texts(all));
                }
                if logger.is("sendOnlyOnError") && notify.get("only_failures").is_none() {
                    notify.put("only_failures", true);
                }
                notes.different(
                    "logging",
                    "mails go through the local `sendmail`; its configuration has the SMTP server, user, password, subject and sender",
                );
            }
            "webhook" => {
                let uri =
                    logger.get("uri").map(|uri| value(uri, "logging", notes)).filter(|uri| offsite_backends::error::redact(uri) == *uri);
                match uri {
                    Some(uri) if notify.get("webhook").is_none() => notify.put("webhook", uri),
                    _ => notes.left_out("logging", "the webhook: its URI is missing or holds a secret; `notify.webhook` takes $NAME"),
                }
                notes.different(
                    "logging",
                    "offsite posts its JSON outcome to the webhook (docs/hooks.md); it has no query, template or basic auth",
                );
            }
            "prometheus" => {
                if let Some(target) = logger.get("target") {
                    document.rest.push(("metrics".into(), value(target, "logging", notes).into()));
                    notes.different("logging", "the metrics have names of their own: offsite_…, not phpbu_…");
                }
            }
            "json" => notes.different("logging", "the JSON log: `offsite run --json` prints it, and hooks find it at $OFFSITE_OUTCOME"),
            other => notes.left_out("logging", format!("the logger {other}; use a command in `finally`")),
        }
    }
    if !notify.is_empty() {
        document.rest.insert(0, ("notify".into(), notify));
    }
}
