//! Scripts and crontabs with `aws s3 sync`.
//!
//! Owns what the lines and flags become, and which other lines of a script belong to them: variables, dumps and their
//! number, the time of a line in cron. Invariant: each sync from a directory to a bucket becomes a separate job, in the
//! order of the script.

use super::document::{Document, plain, trimmed, with_settings};
use super::dumps::{dump, line, repacked, without_secret};
use super::flags::{Arg, parse};
use super::notes::Notes;
use super::rules::{PatternRules, from_aws};
use super::tree::Node;
use super::words::{assignment, commands};

const VALUED: &str = "--exclude --include --storage-class --endpoint-url --region --profile --acl --grants --sse --sse-c --sse-c-key --sse-kms-key-id --sse-c-copy-source --sse-c-copy-source-key --metadata --metadata-directive --content-type --content-encoding --content-language --content-disposition --cache-control --expires --page-size --request-payer --source-region --checksum-mode --checksum-algorithm --website-redirect --copy-props --case-conflict --output --color --query --ca-bundle --cli-read-timeout --cli-connect-timeout";
const PLAIN: &str = "--quiet --only-show-errors --no-progress --progress --no-follow-symlinks --page-size --delete --output --color --cli-read-timeout --cli-connect-timeout --checksum-algorithm --no-guess-mime-type --debug";
const SECRET: [&str; 6] = ["KEY", "SECRET", "PASS", "TOKEN", "PWD", "DATABASE_URL"];

/// Imports a script or a crontab.
///
/// # Errors
/// A quote or a bracket that is not closed.
pub fn import(text: &str, notes: &mut Notes) -> Result<Document, String> {
    let mut document = Document::default();
    let mut dumped: Vec<(String, Node)> = Vec::new();
    let mut known: Vec<(String, String)> = Vec::new();
    let (mut keep, commands) = (None, commands(text)?);
    for (at, words) in commands.iter().enumerate() {
        let words = without_time(words, notes);
        keep = keep.or_else(|| rotated(words, commands.get(at + 1)));
        let assigned = words.iter().skip_while(|word| *word == "export").map_while(|word| assignment(word));
        known.extend(assigned.map(|(name, value)| (name.to_owned(), value.to_owned())));
        match syncs(words) {
            Some(flags) => one(flags, &mut document, notes),
            None => {
                if let Some((name, entry)) = dumps(words, notes) {
                    let taken = |name: &str| dumped.iter().any(|(known, _)| known == name);
                    let other = |n: u32| name.replace(".sql", &format!("-{n}.sql"));
                    let name = if taken(&name) { (2..=u32::MAX).map(other).find(|name| !taken(name)).unwrap_or_default() } else { name };
                    if let Some(packer) = commands.get(at + 1).and_then(|next| next.first()) {
                        repacked(packer, &name, "dumps", notes);
                    }
                    dumped.push((name, entry));
                }
            }
        }
    }
    if let (Some((_, job)), false) = (document.jobs.first_mut(), dumped.is_empty()) {
        job.put("dumps", Node::Map(dumped));
        notes.different("", "dumps are streamed to the destinations without a file on this disk. If a dump fails, the last good one stays; `keep` says how many older ones stay, so lines that rotated them are not needed");
        if let Some((keep, said)) = keep {
            notes.different(
                "",
                format!(
                    "the line that rotated dumps (`{said}`) is now `keep` of the job with `dumps`; it applies to everything in that job"
                ),
            );
            job.put("keep", keep);
        }
    }
    variables(&known, &mut document, notes);
    if !document.jobs.is_empty() {
        notes.different("", "the first run adopts the existing objects in the bucket (`adopt`) and sends no identical file again");
        notes.different("", "files are compared by size, time, inode and digest, not only by size and time");
    }
    Ok(document)
}

/// A line of a crontab without its time fields. A note says the schedule.
fn without_time<'a>(words: &'a [String], notes: &mut Notes) -> &'a [String] {
    let field = |word: &String| !word.is_empty() && word.chars().all(|c| c.is_ascii_digit() || "*/,-".contains(c));
    let behind = match words.first() {
        Some(word) if word.starts_with('@') => 1,
        Some(_) if words.len() > 5 && words[..5].iter().all(field) => 5,
        _ => return words,
    };
    let number = |word: &String| word.parse::<u8>().ok();
    let how = match (&words[..behind], behind) {
        ([minute, hour, day, month, week], 5) => match (number(minute), number(hour)) {
            (Some(minute), Some(hour)) if [day, month, week].iter().all(|field| *field == "*") => {
                format!("`offsite schedule install --daily {hour:02}:{minute:02}`")
            }
            (Some(minute), None) if [hour, day, month, week].iter().all(|field| *field == "*") => {
                format!("`offsite schedule install --hourly {minute}`")
            }
            _ => "`offsite schedule install` (--daily, --hourly, --weekly)".to_owned(),
        },
        _ => "`offsite schedule install` (--daily, --hourly, --weekly)".to_owned(),
    };
    notes.left_to_do("", format!("cron ran it at `{}`: use {how}", words[..behind].join(" ")));
    &words[behind..]
}

/// The words after `aws … s3 sync`, including those between `aws` and `s3`.
fn syncs(words: &[String]) -> Option<Vec<String>> {
    let aws = words.iter().position(|word| word.rsplit('/').next() == Some("aws"))?;
    let words = &words[aws + 1..];
    let s3 = words.iter().zip(words.iter().skip(1)).position(|(a, b)| a == "s3" && b == "sync")?;
    Some([&words[..s3], &words[s3 + 2..]].concat())
}

fn one(words: Vec<String>, document: &mut Document, notes: &mut Notes) {
    let args = parse(&words, |name| VALUED.split(' ').any(|known| known == name));
    let operands: Vec<&String> = args.iter().filter_map(|arg| if let Arg::Operand(word) = arg { Some(word) } else { None }).collect();
    let (from, to) = match operands[..] {
        [from, to] if to.starts_with("s3://") && !from.starts_with("s3://") => (from, to),
        [from, to] if from.starts_with("s3://") && !to.starts_with("s3://") => {
            return notes.left_to_do(
                "",
                format!("`aws s3 sync {from} {to}` restores a copy: use `offsite pull {from} {to}`, after offsite has written there"),
            );
        }
        _ => return notes.left_out("", format!("`aws s3 sync {}`: offsite syncs a directory to a bucket", line(&words))),
    };
    let last = |text: &str| trimmed(text).rsplit('/').next().unwrap_or_default().trim_matches(['$', '{', '}', '.']).to_owned();
    let name = document.name(&Some(last(from)).filter(|name| !name.is_empty()).unwrap_or_else(|| last(to)));
    let (source, url) = (plain(from, &name, notes), plain(to, &name, notes));
    let mut said = AwsArgs { options: Node::map().with("adopt", true), ..AwsArgs::default() };
    for arg in &args {
        if let Arg::Flag(flag, value) = arg {
            said.flag(flag, value.as_deref().unwrap_or_default(), &name, notes);
        }
    }
    if !said.deletes {
        notes.different(&name, "without --delete the bucket kept growing; offsite mirrors, and keeps removed files for 30 days (`keep`)");
    }
    if !said.links {
        notes.different(
            &name,
            "`aws s3 sync` followed symlinks; offsite keeps them as symlinks. A target outside the source needs a job of its own",
        );
    }
    if !said.plain.is_empty() {
        notes.different(&name, format!("no longer needed, because offsite always does this: {}", said.plain.join(" ")));
    }
    said.rules.reach();
    said.rules.put(&mut said.options);
    let settings: Vec<(&str, String)> = said.settings.iter().map(|(key, value)| (*key, plain(value, &name, notes))).collect();
    let url = with_settings(trimmed(&url), &settings);
    document.destinations.push((name.clone(), Node::map().with("url", url)));
    let job = Node::map().with("source", trimmed(&source)).with("destinations", Node::texts([name.clone()]));
    document.jobs.push((name, job.with("options", Node::map().with("*", said.options))));
}

#[derive(Debug, Default)]
struct AwsArgs {
    rules: PatternRules,
    options: Node,
    settings: Vec<(&'static str, String)>,
    deletes: bool,
    links: bool,
    plain: Vec<String>,
}

impl AwsArgs {
    fn flag(&mut self, name: &str, value: &str, at: &str, notes: &mut Notes) {
        match name {
            "--exclude" | "--include" => self.rules.0.extend(from_aws(value, name == "--include")),
            "--endpoint-url" => self.settings.push(("endpoint", value.to_owned())),
            "--region" => self.settings.push(("region", value.to_owned())),
            "--profile" => self.settings.push(("profile", value.to_owned())),
            "--dryrun" => notes.different(at, "--dryrun was a dry run; use `offsite run --dry-run` for that"),
            "--size-only" | "--exact-timestamps" => {
                notes.different(at, format!("{name} is not needed: offsite reads touched files and does not send them again if the content is the same"));
            }
            "--storage-class" => notes.left_out(at, format!("--storage-class {value}: offsite writes the bucket's default class; use a lifecycle rule to move objects to another one")),
            "--sse" | "--sse-kms-key-id" => notes.left_to_do(at, format!("{name}: set it as the bucket's default encryption; offsite's requests do not name one")),
            "--follow-symlinks" => {}
            _ => self.known(name, at, notes),
        }
    }

    fn known(&mut self, name: &str, at: &str, notes: &mut Notes) {
        self.deletes |= name == "--delete";
        self.links |= name == "--no-follow-symlinks";
        match PLAIN.split(' ').any(|known| known == name) {
            true => self.plain.extend((name != "--delete").then(|| name.to_owned())),
            false => notes.left_out(at, format!("{name} of `aws s3 sync` has no counterpart")),
        }
    }
}

/// How many dumps a script kept, or for how long, and the command that says so: `head -n -5` or `tail -n +6` before
/// `xargs rm`, or `find … -mtime +14 -delete`. A number of files is a number of runs, not of days.
fn rotated(words: &[String], next: Option<&Vec<String>>) -> Option<(Node, String)> {
    let removes = |words: &[String]| words.iter().any(|word| word == "rm" || word == "-delete" || word.ends_with("/rm"));
    let number = |flag: &str, sign: char| {
        let at = words.iter().position(|word| word.starts_with(flag))?;
        let value = words[at].strip_prefix(flag).filter(|rest| !rest.is_empty()).or(words.get(at + 1).map(String::as_str))?;
        value.trim_start_matches('=').strip_prefix(sign)?.parse::<u64>().ok()
    };
    let lines = |sign| number("-n", sign).or_else(|| number("--lines", sign));
    let piped = next.is_some_and(|next| next.first().is_some_and(|word| word == "xargs") && removes(next));
    let last = |count: u64| (count > 0).then(|| Node::map().with("last", count));
    let keep = match words.first()?.rsplit('/').next()? {
        "head" if piped => last(lines('-')?)?,
        "tail" if piped => last(lines('+')?.checked_sub(1)?)?,
        "find" if piped || removes(words) => Node::map().with("within", format!("{}d", number("-mtime", '+')?)),
        _ => return None,
    };
    Some((keep, line(words)))
}

/// A command that dumps a database, as an entry of `dumps`.
fn dumps(words: &[String], notes: &mut Notes) -> Option<(String, Node)> {
    let at = words.iter().position(|word| assignment(word).is_none())?;
    let program = words[at].rsplit('/').next().unwrap_or_default();
    if !["pg_dump", "pg_dumpall", "mysqldump", "mariadb-dump", "mongodump"].contains(&program) {
        return None;
    }
    let mut command = vec![words[at].clone()];
    let (mut user, mut secret) = (None, words[..at].iter().any(|word| is_secret(assignment(word).map_or("", |(name, _)| name))));
    for word in &words[at + 1..] {
        let password = word.starts_with("--password=") || program.starts_with('m') && word.starts_with("-p") && word.len() > 2;
        match without_secret(word) {
            _ if password => secret = true,
            Some(instead) => {
                secret = true;
                command.push(instead);
            }
            None => command.push(plain(word, "dumps", notes)),
        }
        user = user.or_else(|| word.strip_prefix("--dbname=").map(str::to_owned));
    }
    if secret {
        notes.left_to_do("dumps", format!("the call of {program} had a secret, which is not copied; set it as $DATABASE_URL, $PGPASSWORD or $MYSQL_PWD in the environment (docs/jobs.md), or in ~/.pgpass or ~/.my.cnf"));
    }
    let plain_name = |word: &&String| !word.starts_with('-') && !word.contains(['$', '/', '=', ':']);
    let database = user.filter(|name| !name.contains(['$', '/', ':'])).or_else(|| words[at + 1..].iter().rev().find(plain_name).cloned());
    let name = format!("{}.sql", database.unwrap_or_else(|| "database".to_owned()));
    let entry = dump(&name, line(&command), true, None, None);
    entry.entries().first().cloned()
}

fn is_secret(name: &str) -> bool {
    SECRET.iter().any(|mark| name.contains(mark))
}

/// Adds the variables of the script that the config uses.
fn variables(known: &[(String, String)], document: &mut Document, notes: &mut Notes) {
    let text = serde_json::to_string(&Node::Map([&document.destinations[..], &document.jobs].concat())).unwrap_or_default();
    for (name, value) in known {
        let used = text.contains(&format!("${name}")) || text.contains(&format!("${{{name}"));
        let (plain, cut) = super::words::without_shell(value);
        if is_secret(name) || without_secret(value).is_some() {
            notes.left_to_do("", format!("{name} is a secret and not copied; put AWS keys into ~/.aws/credentials, others into the environment of the run (/etc/offsite/environment for a timer)"));
        } else if name.starts_with("AWS_") {
            notes.left_to_do(
                "",
                format!("{name}={value} was set for the AWS tools; set it for offsite in the same way, or in the URL (docs/s3.md)"),
            );
        } else if used && !cut && !document.variables.iter().any(|(known, _)| known == name) {
            document.variables.push((name.clone(), unescaped(&plain).into()));
        } else if used {
            notes.left_to_do("", format!("${name} comes from a command of the script; set its value with --set {name}=…"));
        }
    }
}

/// The value of a variable in the config, where `$` is not escaped because values are not expanded again.
fn unescaped(value: &str) -> String {
    value.replace("$$", "$")
}
