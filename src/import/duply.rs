//! duply's profiles: `conf`, `exclude`, `pre` and `post`.
//!
//! Owns what its settings become: the URL of the target, the rules of the exclude file, retention.
//! Invariant: no value of a password or a key leaves this module.

use super::ForeignConfig;
use super::document::{Document, percent, plain, sealed, trimmed, with_settings};
use super::flags::{Arg, parse};
use super::notes::Notes;
use super::rules::{PatternRule, PatternRules, below, from_duplicity};
use super::tree::Node;
use super::words::{assignment, commands, split};
use crate::config::values;

const DAY: u64 = 86_400;
/// Days between two full backups of duply, by default.
const FULL: u64 = 30;
/// Settings of duplicity's own files and processes.
const PLAIN: [&str; 12] = [
    "VOLSIZE",
    "VERBOSITY",
    "TEMP_DIR",
    "ARCH_DIR",
    "PYTHON",
    "GPG",
    "GPG_OPTS",
    "GPG_TEST",
    "GPG_IMPORT",
    "GPG_EXPORT",
    "SIGN_KEY",
    "GPG_KEY_SIGN",
];
const VALUED: &str = "--volsize --full-if-older-than --s3-endpoint-url --s3-region-name --exclude --include --exclude-if-present --exclude-filelist --include-filelist --num-retries --backend-retry-delay --archive-dir --tempdir --name --ssh-options --timeout --verbosity --concurrency --max-blocksize --file-prefix --ssh-backend --log-file --encrypt-key --gpg-options";

type DuplySettings = Vec<(String, String)>;

/// Imports a profile.
///
/// # Errors
/// What is wrong with the profile, in words.
pub fn import(old: &ForeignConfig, notes: &mut Notes) -> Result<Document, String> {
    let settings = settings(&old.text)?;
    let value =
        |name: &str| settings.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone()).filter(|v| !v.is_empty());
    let (Some(target), Some(source)) = (value("TARGET"), value("SOURCE")) else {
        return Err("a profile needs TARGET and SOURCE, and one is missing".into());
    };
    let mut document = Document::default();
    let dir = old.path.rsplit_once('/').map_or(".", |(dir, _)| dir);
    let name = document
        .name(Some(dir.rsplit('/').next().unwrap_or_default()).filter(|name| !name.is_empty() && *name != ".").unwrap_or("profile"));
    let mut options = Node::map();
    let parameters = parameters(&value("DUPL_PARAMS").unwrap_or_default(), &mut options, &name, notes)?;
    let url = url_of(&target, value("TARGET_USER").as_deref(), &parameters.settings, &name, notes);
    let source = plain(&source, &name, notes);
    let mut rules = rules(old, &parameters, &source, notes);
    rules.reach();
    rules.put(&mut options);
    let place = Node::map().with("url", url);
    // duplicity encrypts unless it is told not to.
    let open = value("GPG_KEY").is_some_and(|key| key == "disabled") || parameters.open;
    let place = if open { place } else { sealed(place, "GPG_KEY, GPG_PW", &name, notes) };
    document.destinations.push((name.clone(), place));
    let mut job = Node::map().with("source", trimmed(&source)).with("destinations", Node::texts([name.clone()]));
    if !options.is_empty() {
        job.put("options", Node::map().with("*", options));
    }
    if let Some(keep) = keep(&value, &name, notes) {
        job.put("keep", keep);
    }
    for (script, key) in [("pre", "before"), ("post", "finally")] {
        if old.beside.iter().any(|(known, _)| known == script) {
            job.put(key, Node::List(vec![Node::texts(["bash".to_owned(), format!("{dir}/{script}")])]));
            notes.different(&name, format!("`{script}` runs as `{key}`{}; duply's variables ($PROFILE, $TARGET_URL_…, $CMD_…) do not exist, offsite's do (docs/hooks.md)", if script == "pre" { ", and if it fails, nothing is sent" } else { "" }));
        }
    }
    document.jobs.push((name.clone(), job));
    add_notes(&settings, &name, notes);
    Ok(document)
}

/// The assignments of a conf, with or without `export`.
fn settings(text: &str) -> Result<DuplySettings, String> {
    let words = commands(text)?.into_iter().flat_map(|words| words.into_iter().filter(|word| word != "export"));
    let mut all: DuplySettings = Vec::new();
    for word in words {
        if let Some((name, value)) = assignment(&word) {
            // NAME="$NAME more" adds to an earlier value.
            let before = all.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone()).unwrap_or_default();
            let value = value.replace(&format!("${{{name}}}"), &before).replace(&format!("${name} "), &format!("{before} "));
            all.push((name.to_owned(), value));
        }
    }
    Ok(all)
}

/// Adds notes on settings that have no equivalent in the config.
fn add_notes(settings: &DuplySettings, name: &str, notes: &mut Notes) {
    notes.left_to_do(name, "duplicity's backups stay where they are, and offsite does not read them. Keep them as long as you need them. The new backup goes to a directory `offsite` beside them");
    let set = |key: &str| settings.iter().any(|(known, value)| known == key && !value.is_empty());
    if set("TARGET_PASS") || set("TARGET_USER") {
        notes.left_to_do(name, "TARGET_USER and TARGET_PASS: the password is not copied. For s3 and b2 put them where the vendor's tools find them (~/.aws/credentials; B2_APPLICATION_KEY_ID and B2_APPLICATION_KEY); for sftp use an ssh key");
    }
    for (key, _) in settings {
        let secret = ["AWS_", "B2_", "GS_", "AZURE_", "SWIFT_", "_KEY", "PASS", "SECRET", "TOKEN"].iter().any(|mark| key.contains(mark));
        match key.as_str() {
            "TARGET"
            | "SOURCE"
            | "TARGET_USER"
            | "TARGET_PASS"
            | "DUPL_PARAMS"
            | "MAX_AGE"
            | "MAX_FULL_BACKUPS"
            | "MAX_FULLS_WITH_INCRS"
            | "FTP_PASSWORD" => {}
            _ if PLAIN.contains(&key.as_str()) => {
                notes.different(name, format!("{key} is about duplicity's own files and programs; offsite needs none"));
            }
            _ if key.starts_with("GPG_") => {}
            "MAX_FULLBKP_AGE" => notes.different(
                name,
                "MAX_FULLBKP_AGE: offsite has no full backups and no chains; each run sends what changed, and each snapshot is whole",
            ),
            "DUPL_PRECMD" => notes.left_out(name, "DUPL_PRECMD: for a lower rate use `limit_upload` in the options"),
            "FILENAME" => notes.left_out(
                name,
                "FILENAME: a file that marks directories to exclude; `exclude_caches` knows CACHEDIR.TAG, for others use `exclude`",
            ),
            _ if secret => notes.left_to_do(
                name,
                format!(
                    "{key} may be a secret and is not copied; set it in the environment of the run (/etc/offsite/environment for a timer)"
                ),
            ),
            _ => notes.left_out(name, format!("{key} has no counterpart")),
        }
    }
}

/// The flags in `DUPL_PARAMS`.
struct Parameters {
    settings: Vec<(&'static str, String)>,
    /// Globs in the notation of the exclude file. The flag says whether a glob includes.
    globs: Vec<(bool, String)>,
    /// The backups are not encrypted.
    open: bool,
}

fn parameters(text: &str, options: &mut Node, at: &str, notes: &mut Notes) -> Result<Parameters, String> {
    let mut found = Parameters { settings: Vec::new(), globs: Vec::new(), open: false };
    for arg in parse(&split(text)?, |name| VALUED.split(' ').any(|known| known == name)) {
        let (flag, value) = match arg {
            Arg::Flag(flag, value) => (flag, value.unwrap_or_default()),
            Arg::Operand(_) => continue,
        };
        match flag.as_str() {
            "--s3-endpoint-url" => found.settings.push(("endpoint", value)),
            "--s3-region-name" => found.settings.push(("region", value)),
            "--exclude" => found.globs.push((false, value)),
            "--include" => found.globs.push((true, value)),
            "--no-encryption" => found.open = true,
            "--exclude-other-filesystems" => options.put("one_file_system", true),
            "--volsize"
            | "--full-if-older-than"
            | "--archive-dir"
            | "--tempdir"
            | "--name"
            | "--num-retries"
            | "--backend-retry-delay"
            | "--asynchronous-upload"
            | "--timeout"
            | "--verbosity"
            | "--concurrency"
            | "--max-blocksize"
            | "--allow-source-mismatch"
            | "--progress"
            | "--s3-use-multiprocessing" => {
                notes.different(at, format!("{flag} is about duplicity's own files and programs; offsite needs none"));
            }
            "--ssh-options" => {
                notes.left_to_do(at, "--ssh-options: put them below a `Host` of ~/.ssh/config, which offsite reads (docs/sftp.md)");
            }
            _ => notes.left_out(at, format!("{flag} of duplicity has no counterpart")),
        }
    }
    Ok(found)
}

/// The rules of `DUPL_PARAMS` and of the exclude file, of which the first that matches decides.
fn rules(old: &ForeignConfig, parameters: &Parameters, source: &str, notes: &mut Notes) -> PatternRules {
    let file = old.beside.iter().find(|(name, _)| name == "exclude").map_or("", |(_, text)| text.as_str());
    let of_line = |line: &str| {
        let line = line.trim();
        let (keep, glob) = match (line.strip_prefix("+ "), line.strip_prefix("- ")) {
            (Some(glob), _) => (true, glob),
            (_, Some(glob)) => (false, glob),
            _ => (false, line),
        };
        (!line.is_empty() && !line.starts_with('#')).then(|| (keep, glob.trim().replace('$', "$$")))
    };
    let mut rules = Vec::new();
    for (keep, glob) in parameters.globs.iter().cloned().chain(file.lines().filter_map(of_line)) {
        match from_duplicity(&glob, source) {
            // An include also includes everything below it, and later rules do not change that.
            Ok(pattern) if keep => rules.extend([below(&pattern), pattern].map(|pattern| PatternRule { keep, pattern })),
            Ok(pattern) => rules.push(PatternRule { keep, pattern }),
            Err(what) => notes.left_out("exclude", what),
        }
    }
    PatternRules::first_wins(rules)
}

/// Retention from the ages and counts of backups.
fn keep(value: &dyn Fn(&str) -> Option<String>, at: &str, notes: &mut Notes) -> Option<Node> {
    let number = |name: &str| value(name).and_then(|text| text.parse::<u64>().ok());
    let full = value("MAX_FULLBKP_AGE").and_then(|text| days(&text)).unwrap_or(FULL).max(1);
    let age = value("MAX_AGE").and_then(|text| days(&text));
    let fulls = number("MAX_FULL_BACKUPS");
    let chains = number("MAX_FULLS_WITH_INCRS");
    let total = match (age, fulls) {
        (Some(age), Some(fulls)) => Some(age.min(fulls * full)),
        (age, fulls) => age.or(fulls.map(|n| n * full)),
    };
    let keep = match (total, chains) {
        (None, None) => return None,
        (Some(total), None) => Node::map().with("within", format!("{total}d")),
        (None, Some(chains)) => Node::map().with("within", format!("{}d", chains * full)),
        (Some(total), Some(chains)) => Node::map().with("within", format!("{}d", chains * full)).with("monthly", total.div_ceil(30)),
    };
    notes.different(at, format!("`keep` is made from MAX_AGE, MAX_FULL_BACKUPS and MAX_FULLS_WITH_INCRS, one full backup every {full} days: every snapshot of the time that had increments, then one a month; it applies after each run, where duply needed `purge --force`"));
    Some(keep)
}

/// An age in duplicity's notation, in days: `2Y`, `6M`, `1W3D`, `86400` (seconds).
fn days(text: &str) -> Option<u64> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(seconds.div_ceil(DAY));
    }
    let (mut total, mut rest) = (0_u64, text);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit()).filter(|end| *end > 0)?;
        let number = rest[..end].parse::<u64>().ok()?;
        let unit = rest[end..].chars().next()?;
        let part = match unit {
            'Y' => 365 * DAY,
            'M' => 30 * DAY,
            'W' => 7 * DAY,
            'D' => DAY,
            unit => values::duration(&format!("1{unit}")).ok()?,
        };
        total = total.checked_add(number.checked_mul(part)?)?;
        rest = &rest[end + unit.len_utf8()..];
    }
    Some(total.div_ceil(DAY))
}

/// offsite's URL for duplicity's target, without its password, in a separate directory.
fn url_of(target: &str, user: Option<&str>, settings: &[(&'static str, String)], at: &str, notes: &mut Notes) -> String {
    let target = plain(target, at, notes);
    let (scheme, rest) = target.split_once("://").unwrap_or(("file", target.as_str()));
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (login, host) = host.rsplit_once('@').map_or((None, host), |(login, host)| (Some(login), host));
    login_left_out(scheme, login, at, notes);
    let mut settings = settings.to_vec();
    let joined = |bucket: &str, path: &str| {
        [bucket, path.trim_matches('/'), "offsite"].iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join("/")
    };
    let kind = scheme.rsplit('+').next().unwrap_or_default();
    let url = match (scheme, kind) {
        ("file", _) => format!("{}/offsite", trimmed(rest)),
        ("s3+http" | "boto3+s3" | "boto+s3", _) => format!("s3://{}", joined(host, path)),
        ("s3", _) if host.is_empty() || host.contains('.') || host.contains(':') => {
            if !host.is_empty() && !host.ends_with("amazonaws.com") {
                settings.push(("endpoint", format!("https://{host}")));
            }
            format!("s3://{}", joined("", path))
        }
        ("s3" | "b2" | "gs", _) => format!("{scheme}://{}", joined(host, path)),
        (_, "sftp" | "scp" | "ssh") | ("rsync", _) if !host.contains("::") => {
            let user = login.map(|login| login.split(':').next().unwrap_or_default()).or(user).filter(|user| !user.is_empty());
            let user = user.map_or(String::new(), |user| format!("{user}@"));
            let path = if path.starts_with('/') { percent(path) } else { format!("/~/{}", percent(path)) };
            format!("sftp://{user}{host}{}/offsite", path.trim_end_matches('/'))
        }
        _ => {
            notes.left_to_do(at, format!("{scheme}://… has no counterpart here; set $NEW_DESTINATION to a URL that offsite knows (docs/stores.md, docs/opendal.md for WebDAV, Azure and others)"));
            return "$NEW_DESTINATION".to_owned();
        }
    };
    with_settings(&url, if url.starts_with("s3://") { &settings } else { &[] })
}

/// Adds a note that the login before the `@` of a target is not copied, or only its user name.
fn login_left_out(scheme: &str, login: Option<&str>, at: &str, notes: &mut Notes) {
    let Some(login) = login else { return };
    let kind = scheme.rsplit('+').next().unwrap_or_default();
    let text = match kind {
        "b2" => {
            "TARGET has an account and a key of B2: neither is copied. Set them as B2_APPLICATION_KEY_ID and B2_APPLICATION_KEY in the environment (docs/b2.md)"
        }
        "s3" | "http" => {
            "TARGET has a key of S3: it is not copied. Put it into ~/.aws/credentials, where the AWS tools find it (docs/s3.md)"
        }
        "gs" => "TARGET has a Google key: it is not copied. offsite uses the credentials of gcloud (docs/gcs.md)",
        _ if !login.contains(':') => return,
        _ => "TARGET has a password: it is not copied. For SFTP use an ssh key (docs/sftp.md)",
    };
    notes.left_to_do(at, text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_in_the_target_is_named() {
        for (target, said) in [
            ("b2://id:hush@acme/web", "B2_APPLICATION_KEY"),
            ("s3://key:hush@s3.example/acme", "~/.aws/credentials"),
            ("sftp://me:hush@nas//srv", "a password"),
        ] {
            let mut notes = Notes::default();
            url_of(target, None, &[], "x", &mut notes);
            assert!(notes.0.iter().any(|note| note.text.contains(said)), "{target}: {notes:?}");
            assert!(!format!("{notes:?}").contains("hush"));
        }
        for target in ["sftp://me@nas//srv", "b2://acme/web", "/mnt/disk"] {
            let mut notes = Notes::default();
            url_of(target, None, &[], "x", &mut notes);
            assert!(notes.0.is_empty(), "{target}: {notes:?}");
        }
    }

    #[test]
    fn targets() {
        for (target, url) in [
            ("s3://s3-eu-west-1.amazonaws.com/acme/web", "s3://acme/web/offsite"),
            ("s3://minio.example:9000/acme/web", "s3://acme/web/offsite?endpoint=https://minio.example:9000"),
            ("boto3+s3://acme/web/", "s3://acme/web/offsite"),
            ("s3:///acme/web", "s3://acme/web/offsite"),
            ("b2://id:hush@acme/web", "b2://acme/web/offsite"),
            ("gs://acme", "gs://acme/offsite"),
            ("sftp://me:hush@nas:2222//srv/backup", "sftp://me@nas:2222/srv/backup/offsite"),
            ("scp://nas/backup", "sftp://user@nas/~/backup/offsite"),
            ("rsync://me@nas//srv/b", "sftp://me@nas/srv/b/offsite"),
            ("file:///mnt/disk", "/mnt/disk/offsite"),
            ("rsync://nas::module/b", "$NEW_DESTINATION"),
            ("webdavs://u:hush@cloud/x", "$NEW_DESTINATION"),
        ] {
            let mut notes = Notes::default();
            assert_eq!(url_of(target, Some("user"), &[], "x", &mut notes), url, "{target}");
            assert!(!format!("{notes:?}").contains("hush"));
        }
    }

    #[test]
    fn ages() {
        assert_eq!(["2Y", "1M", "1W3D", "86400", "36h"].map(days), [Some(730), Some(30), Some(10), Some(1), Some(2)]);
        assert_eq!(["", "x", "3"].map(days), [Some(0), None, Some(1)]);
    }
}
