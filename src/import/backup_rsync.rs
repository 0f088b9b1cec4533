//! backup-rsync's `backups.json`: named process lines of rsync or gsutil with options and subdirectories by type.
//!
//! Owns the meaning of its keys, and the list of defects of its script that offsite does not repeat. Invariant: jobs
//! are in the order of the file.

use super::document::{Document, plain, trimmed, url_of};
use super::notes::Notes;
use super::rsync::RsyncArgs;
use super::rules::PatternRules;
use super::tree::Node;
use super::words::split;

/// The directory of the volume in the image of backup-rsync.
const SOURCE: &str = "/backup-source";
const KNOWN: [&str; 8] = ["process", "destination", "prefix", "subdirectories", "options", "initialize", "report", "comment"];

/// Imports `backups.json`.
///
/// # Errors
/// What is wrong with the text, in words.
pub fn import(text: &str, notes: &mut Notes) -> Result<Document, String> {
    let backups = read(text.trim_start_matches('\u{feff}'), notes)?;
    let mut document = Document { variables: vec![("BACKUP_SOURCE".into(), SOURCE.into())], ..Document::default() };
    for (name, backup) in backups.entries() {
        match backup {
            Node::Map(_) => one(name, backup, &mut document, notes)?,
            _ if name == "comment" => {}
            _ => notes.left_out(name, "this is not a backup, because it is not an object"),
        }
    }
    notes.left_to_do("", format!("$BACKUP_SOURCE is {SOURCE}, where the image had the volume; on the host set it to the volume's own path, with --set or below `variables`"));
    notes.mended("", "the old exit code was that of the last backup; offsite's is the worst of all jobs");
    notes.different("", "the first run adopts the existing files at the destinations (`adopt`) and sends no identical file again");
    let typed = document.jobs.iter().any(|(_, job)| job.get("subdirectories").is_some());
    if typed {
        notes.mended("", "without a type, the old script ran with broken paths (`//`); offsite demands --type");
    }
    nested(&document, notes);
    Ok(document)
}

/// Parses the file, and adds commas that are missing.
fn read(text: &str, notes: &mut Notes) -> Result<Node, String> {
    let error = match serde_json::from_str::<Node>(text) {
        Ok(node) => return Ok(node),
        Err(error) => error,
    };
    let (mended, lines) = with_commas(text);
    match serde_json::from_str::<Node>(&mended) {
        Ok(node) if !lines.is_empty() => {
            let at: Vec<String> = lines.iter().map(ToString::to_string).collect();
            notes.mended(
                "",
                format!(
                    "the JSON is invalid: a comma is missing at the end of line {}; the old script then ran no backup and ended with 0",
                    at.join(" and ")
                ),
            );
            Ok(node)
        }
        _ => Err(format!("this is not JSON: {error}")),
    }
}

/// Puts a comma between two members that have none. Returns the text and the lines that got one.
fn with_commas(text: &str) -> (String, Vec<usize>) {
    let (mut out, mut lines) = (String::new(), Vec::new());
    let (mut ended, mut end, mut line, mut end_line) = (false, 0, 1, 1);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '\n' {
            line += 1;
        }
        if c.is_whitespace() {
            out.push(c);
            continue;
        }
        if ended && (c == '"' || c == '{' || c == '[') {
            out.insert(end, ',');
            lines.push(end_line);
        }
        out.push(c);
        if c == '"' {
            while let Some(inside) = chars.next() {
                out.push(inside);
                match inside {
                    '\\' => out.extend(chars.next()),
                    '"' => break,
                    _ => {}
                }
            }
        }
        ended = !",:{[".contains(c);
        (end, end_line) = (out.len(), line);
    }
    (out, lines)
}

fn one(name: &str, backup: &Node, document: &mut Document, notes: &mut Notes) -> Result<(), String> {
    let fail = |what: String| format!("{name}: {what}");
    let text = |key: &str| backup.get(key).and_then(Node::text).filter(|text| text != "null");
    for (key, _) in backup.entries().iter().filter(|(key, _)| !KNOWN.contains(&key.as_str())) {
        notes.left_out(name, format!("backup-rsync has no key `{key}`"));
    }
    let (Some(process), Some(destination)) = (text("process"), text("destination")) else {
        notes.left_out(name, "a backup without `process` and `destination` never ran");
        return Ok(());
    };
    if process.contains(['\'', '"']) {
        notes.mended(
            name,
            "quotes in `process` reached the program literally, so quoted patterns matched nothing; here they work as intended",
        );
    }
    let words = split(&process).map_err(fail)?;
    let said = program(&words, name, notes);
    add_notes(&said, &words, name, notes);
    let prefix = text("prefix").unwrap_or_default();
    if prefix.is_empty() {
        notes.mended("", "a backup without `prefix` went to `null/…` if sh is dash; here it goes to its destination");
    }
    let url = url_of(&plain(&format!("{prefix}{destination}"), name, notes), said.port.as_deref(), name, notes);
    let job_name = document.name(name);
    if job_name != name {
        notes.different(name, format!("its name is `{job_name}` here; names may have letters, digits, `-`, `_` and `.`"));
    }
    let typed = backup.get("subdirectories").is_some_and(|all| !all.is_empty());
    let old = if url.contains("://") && url != destination { trimmed(&destination).to_owned() } else { String::new() };
    let commands = Commands { old, prefix, typed };
    let mut place = Node::map().with("url", url);
    for (key, note) in [("initialize", "if it fails, nothing is sent there; before, the backup ran nevertheless"), ("report", "")] {
        if let Some(line) = text(key).filter(|line| !line.trim().is_empty()) {
            place.put(key, commands.of(&line, name, notes).map_err(|what| fail(format!("{key}: {what}")))?);
            if !note.is_empty() {
                notes.different(name, format!("`{key}`: {note}; it no longer runs on a dry run"));
            }
        }
    }
    document.destinations.push((job_name.clone(), place));
    let job = job(backup, &job_name, &said, &words, notes).map_err(fail)?;
    document.jobs.push((job_name, job));
    Ok(())
}

/// Parses the words of a process by the rules of its program.
fn program(words: &[String], name: &str, notes: &mut Notes) -> RsyncArgs {
    let is = |word: &String, program: &str| word.rsplit('/').next() == Some(program);
    let behind = |program: &str| words.iter().position(|word| is(word, program)).map(|at| &words[at + 1..]);
    if let Some(words) = behind("rsync").filter(|_| behind("gsutil").is_none() && behind("gcloud").is_none()) {
        return RsyncArgs::by_rsync(words, name, notes);
    }
    if let Some(words) = behind("gsutil").or_else(|| behind("gcloud")) {
        return RsyncArgs::by_gsutil(words, name, notes);
    }
    let program = words.first().map_or("", String::as_str);
    notes.left_out(name, format!("the flags of `{program}`: offsite knows those of rsync and gsutil"));
    RsyncArgs { deletes: true, recursive: true, ..RsyncArgs::default() }
}

/// Adds notes on the differences between a process and a mirror.
fn add_notes(said: &RsyncArgs, words: &[String], name: &str, notes: &mut Notes) {
    if !said.plain.is_empty() {
        notes.different(name, format!("no longer needed, because offsite always does or shows this: {}", said.plain.join(" ")));
    }
    if said.dirs && !said.recursive {
        notes.mended(
            name,
            "rsync's `-d` without `-r` or `-a` copied the files at the top and nothing below; offsite copies everything below",
        );
    } else if !said.recursive && words.iter().any(|word| word.ends_with("rsync")) {
        notes.mended(name, "without `-r` or `-a` nothing below the top was copied; offsite copies everything below");
    }
    if !said.deletes {
        notes.different(
            name,
            "nothing was removed at the destination before; offsite mirrors, and keeps removed files for 30 days (`keep`)",
        );
    }
    if said.deletes_excluded {
        notes.different(name, "offsite always does --delete-excluded: files that are excluded from now on are removed from the mirror and kept for 30 days (`keep`)");
    }
    for operand in &said.operands {
        notes.left_out(name, format!("`{operand}` in `process`; sources and destinations are the job's"));
    }
}

fn job(backup: &Node, name: &str, said: &RsyncArgs, words: &[String], notes: &mut Notes) -> Result<Node, String> {
    let mut job = Node::map();
    if let Some(comment) = backup.get("comment") {
        job.put("comment", comment.clone());
    }
    job.put("source", "$BACKUP_SOURCE");
    job.put("destinations", Node::texts([name]));
    // The old script skipped a missing source.
    job.put("missing", "skip");
    let subdirectories = backup.get("subdirectories").map_or(&[][..], Node::entries);
    if !subdirectories.is_empty() {
        job.put(
            "subdirectories",
            Node::Map(subdirectories.iter().map(|(kind, path)| (kind.clone(), path.text().unwrap_or_default().into())).collect()),
        );
    }
    let mut all = Node::map().with("adopt", true);
    said.options.iter().for_each(|(key, value)| all.put(key, value.clone()));
    let mut rules = PatternRules::first_wins(said.rules.clone());
    reached(&mut rules, name, notes);
    rules.put(&mut all);
    let mut options = Node::map().with("*", all);
    let by_type = backup.get("options").map_or(&[][..], Node::entries);
    for (kind, text) in by_type {
        let text = text.text().filter(|text| text != "null").unwrap_or_default();
        let at = format!("{name}.{kind}");
        if text.trim() == "ignore" {
            options.put(kind, "ignore");
        } else if !text.trim().is_empty() {
            let of_type = typed(&text, said, words, &at, notes)?;
            if !of_type.is_empty() {
                options.put(kind, of_type);
            }
        }
    }
    if subdirectories.iter().any(|(kind, _)| !by_type.iter().any(|(known, _)| known == kind)) {
        notes.mended("", "a type without `options` got the word `null` as another source; here it does not");
    }
    job.put("options", options);
    Ok(job)
}

/// The options of one type: more flags for the same program.
fn typed(text: &str, process: &RsyncArgs, words: &[String], at: &str, notes: &mut Notes) -> Result<Node, String> {
    if text.contains('$') {
        notes.mended(at, "variables in `options` were not expanded; here they are");
    }
    let flags = split(text)?;
    let google = words.iter().any(|word| word.ends_with("gsutil") || word.ends_with("gcloud"));
    let of_rsync = ["--include", "--exclude", "--delete", "--filter"];
    let foreign = google && flags.iter().any(|word| of_rsync.iter().any(|flag| word.starts_with(flag)));
    if foreign {
        notes.mended(at, "these are rsync flags, which gsutil does not have, so it refused to run; here they mean what they mean in rsync");
    }
    let said = match google && !foreign {
        true => RsyncArgs::by_gsutil(&[&["rsync".to_owned()], &flags[..]].concat(), at, notes),
        false => RsyncArgs::by_rsync(&flags, at, notes),
    };
    let mut node = Node::map();
    said.options.iter().for_each(|(key, value)| node.put(key, value.clone()));
    let mut rules = PatternRules::first_wins(said.rules.clone());
    // In rsync the first rule wins, and the rules of the process come first. In offsite the last one wins.
    let of_process = PatternRules::first_wins(process.rules.clone());
    if rules.has_includes() || of_process.has_includes() {
        rules.0.extend(of_process.0);
    }
    reached(&mut rules, at, notes);
    rules.put(&mut node);
    if said.deletes_excluded {
        notes.different(at, "offsite always does --delete-excluded: files that are excluded from now on are removed from the mirror and kept for 30 days (`keep`)");
    }
    for operand in &said.operands {
        notes.left_out(at, format!("`{operand}` in `options`; sources and destinations are the job's"));
    }
    Ok(node)
}

fn reached(rules: &mut PatternRules, at: &str, notes: &mut Notes) {
    for pattern in rules.reach() {
        notes.mended(
            at,
            format!("the include `{pattern}` had no effect, because a rule excluded a directory above it; here it works as intended"),
        );
    }
}

/// Converts command lines that the old script ran without a shell.
struct Commands {
    /// The destination in the old lines, if it differs from the URL.
    old: String,
    prefix: String,
    typed: bool,
}

impl Commands {
    fn of(&self, line: &str, at: &str, notes: &mut Notes) -> Result<Node, String> {
        let words = split(line)?;
        let shell = words.iter().any(|word| ["|", ">", ">>", "&&", "||", ";", "<"].contains(&word.as_str()) || word.ends_with(';'));
        if shell {
            notes.mended(
                at,
                format!("`{}`: this line ran without a shell, so its operators were arguments; here `sh -c` runs it", words[0]),
            );
            return Ok(renamed(line, &|name| self.value(name, "OFFSITE_")).into());
        }
        Ok(Node::texts(words.iter().map(|word| renamed(word, &|name| self.value(name, "")))))
    }

    fn value(&self, name: &str, own: &str) -> Option<String> {
        Some(match name {
            "destination" if self.old.is_empty() => format!("${own}DESTINATION"),
            "destination" if self.typed => format!("{}/${own}SUBDIRECTORY", self.old),
            "destination" => self.old.clone(),
            "prefix" => self.prefix.clone(),
            "backup" => format!("${own}JOB"),
            "source" => format!("${own}SOURCE"),
            "subdir" => format!("${own}SUBDIRECTORY"),
            "type" => format!("${own}TYPE"),
            _ => return None,
        })
    }
}

/// A text in which `value` replaces `$name` and `${name}`.
fn renamed(text: &str, value: &dyn Fn(&str) -> Option<String>) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let (name, end) = match rest[1..].strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some((name, _)) => (name, name.len() + 3),
            None => {
                let length = rest[1..].find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len() - 1);
                (&rest[1..=length], length + 1)
            }
        };
        let braced = |value: String| value.strip_prefix('$').map(|name| format!("${{{name}}}")).unwrap_or(value.clone());
        let glued = rest[end..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        match value(name) {
            Some(value) => out.push_str(&if glued { braced(value) } else { value }),
            None => out.push_str(&rest[..end]),
        }
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

/// Adds a note if the destination of one job is inside that of another, which offsite refuses.
fn nested(document: &Document, notes: &mut Notes) {
    let urls: Vec<(&str, String)> =
        document.destinations.iter().filter_map(|(name, place)| Some((name.as_str(), place.get("url")?.text()? + "/"))).collect();
    for (at, (name, url)) in urls.iter().enumerate() {
        for (other, there) in &urls[..at] {
            if url.starts_with(there) || there.starts_with(url) {
                notes.left_to_do(name, format!("its destination is that of `{other}` or inside it; if both run for one type, offsite refuses that: use separate destinations"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_commas_are_found_and_nothing_else_is_touched() {
        let (mended, lines) = with_commas("{\n \"a\": {\n  \"x\": \"1 \\\" y\"\n  \"y\": 2\n }\n \"b\": [1, {}]\n}");
        assert_eq!(mended, "{\n \"a\": {\n  \"x\": \"1 \\\" y\",\n  \"y\": 2\n },\n \"b\": [1, {}]\n}");
        assert_eq!(lines, [3, 5]);
        assert!(read("{ \"a\": ", &mut Notes::default()).is_err());
    }

    #[test]
    fn names_of_variables() {
        let value = |name: &str| (name == "destination").then(|| "$DESTINATION".to_owned());
        assert_eq!(renamed("a$destination/$VOLUME${destination}s $$", &value), "a$DESTINATION/$VOLUME${DESTINATION}s $$");
    }
}
