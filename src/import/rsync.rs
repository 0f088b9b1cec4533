//! Flags of rsync, gsutil and gcloud storage as rules and options of a job.
//!
//! Owns what each flag becomes. Invariant: every flag ends in the options, in `plain` (offsite always does it), or in a
//! note.

use super::flags::{Arg, parse};
use super::notes::Notes;
use super::rules::{PatternRule, from_regex, from_rsync};
use super::tree::Node;

/// The meaning of a command line.
#[derive(Debug, Default)]
pub struct RsyncArgs {
    /// In the order of the command line.
    pub rules: Vec<PatternRule>,
    /// Options of the job.
    pub options: Vec<(String, Node)>,
    /// It deletes files that are missing in the source.
    pub deletes: bool,
    /// It also deletes excluded files.
    pub deletes_excluded: bool,
    /// It copies everything below a directory.
    pub recursive: bool,
    /// rsync's `-d`: the entries of the directory and nothing below.
    pub dirs: bool,
    /// The port of ssh.
    pub port: Option<String>,
    /// Words that are no flags: sources and destinations.
    pub operands: Vec<String>,
    /// Flags that offsite does not need.
    pub plain: Vec<String>,
}

const VALUED: &str = "-e -f -B -T -M -@ --rsh --filter --exclude --include --exclude-from --include-from --files-from --bwlimit --max-size --min-size --max-delete --backup-dir --suffix --link-dest --compare-dest --copy-dest --partial-dir --temp-dir --log-file --log-file-format --out-format --password-file --port --timeout --contimeout --rsync-path --chmod --chown --usermap --groupmap --modify-window --block-size --info --debug --stop-after --skip-compress --compress-choice --checksum-choice --iconv --sockopts --address --max-alloc --compress-level --remote-option --outbuf --protocol --early-input";
const PLAIN: &str = "-a -l -t -p -g -o -D -v -z -h -P -q -W -i -H -X -A -S -u -y --archive --links --times --perms --group --owner --devices --specials --verbose --compress --human-readable --partial --progress --quiet --whole-file --itemize-changes --hard-links --xattrs --acls --sparse --update --stats --inplace --info --timeout --contimeout --no-motd --mkpath --fuzzy --delay-updates --partial-dir --temp-dir -T --fsync --compress-level --no-inc-recursive --out-format --fake-super --no-compress -m --prune-empty-dirs --log-file --log-file-format";

fn is(list: &str, name: &str) -> bool {
    list.split(' ').any(|known| known == name)
}

impl RsyncArgs {
    /// Parses the words after `rsync`.
    pub fn by_rsync(words: &[String], at: &str, notes: &mut Notes) -> Self {
        let mut said = Self::default();
        for arg in parse(words, |name| is(VALUED, name)) {
            match arg {
                Arg::Operand(word) => said.operands.push(word),
                Arg::Flag(name, value) => said.rsync_flag(&name, &value.unwrap_or_default(), at, notes),
            }
        }
        said
    }

    fn rsync_flag(&mut self, name: &str, value: &str, at: &str, notes: &mut Notes) {
        match name {
            "--exclude" => self.rule(false, value, at, notes),
            "--include" => self.rule(true, value, at, notes),
            "-f" | "--filter" => self.filter(value, at, notes),
            "--exclude-from" => {
                self.options.push(("exclude_from".into(), Node::texts([value])));
                notes.different(at, format!("{value} is read as gitignore patterns: the last match wins, and a slash in the middle of a pattern anchors it; put `**/` in front if rsync matched at every depth"));
            }
            "--delete-excluded" => (self.deletes, self.deletes_excluded) = (true, true),
            "--delete" | "--delete-before" | "--delete-during" | "--del" | "--delete-delay" | "--delete-after" => self.deletes = true,
            "-a" | "--archive" | "-r" | "--recursive" => {
                self.recursive = true;
                self.plain.push(name.to_owned());
            }
            "-d" | "--dirs" => self.dirs = true,
            "-x" | "--one-file-system" => self.options.push(("one_file_system".into(), true.into())),
            "-c" | "--checksum" => self.options.push(("checksum".into(), true.into())),
            "--bwlimit" => self.limit(value, at, notes),
            "-e" | "--rsh" => self.shell(value, at, notes),
            "-n" | "--dry-run" => notes.different(at, "`-n` was a dry run; use `offsite run --dry-run` for that"),
            "--max-delete" => notes.different(at, "--max-delete: offsite refuses a run that removes too much; `max_removals` in the options says how much (a share, default 25%)"),
            "-b" | "--backup" | "--backup-dir" | "--suffix" | "--link-dest" | "--compare-dest" | "--copy-dest" => {
                notes.different(at, format!("{name}: offsite always keeps replaced and removed files, as long as `keep` says (default: 30 days)"));
            }
            "-L" | "--copy-links" | "-k" | "--copy-dirlinks" | "--copy-unsafe-links" => {
                notes.different(at, format!("{name}: offsite keeps a symlink as a symlink; a target outside the source needs a job of its own"));
            }
            _ if is(PLAIN, name) => self.plain.push(name.to_owned()),
            _ => notes.left_out(at, format!("{name} of rsync has no counterpart")),
        }
    }

    fn rule(&mut self, keep: bool, pattern: &str, at: &str, notes: &mut Notes) {
        match from_rsync(pattern) {
            Ok(pattern) => self.rules.push(PatternRule { keep, pattern }),
            Err(what) => notes.left_out(at, what),
        }
    }

    /// A filter rule: `- PATTERN`, `+ PATTERN`, or the same with long words. Merge files have no equivalent.
    fn filter(&mut self, value: &str, at: &str, notes: &mut Notes) {
        let (word, pattern) = value.trim().split_once([' ', '_']).unwrap_or((value, ""));
        match word {
            "-" | "exclude" => self.rule(false, pattern, at, notes),
            "+" | "include" => self.rule(true, pattern, at, notes),
            _ => notes.left_out(at, format!("the filter `{value}`; `exclude_from` reads rules from a file")),
        }
    }

    /// A rate. Without a unit, rsync counts in KiB.
    fn limit(&mut self, value: &str, at: &str, notes: &mut Notes) {
        let rate = if value.ends_with(|c: char| c.is_ascii_digit()) { format!("{value}K") } else { value.to_uppercase() };
        match crate::config::values::rate(&rate) {
            Ok(_) => self.options.push(("limit_upload".into(), rate.into())),
            Err(_) => notes.left_out(at, format!("--bwlimit={value}; `limit_upload` takes \"10M\"")),
        }
    }

    /// The remote shell, such as `ssh -p 2222 -i key`.
    fn shell(&mut self, value: &str, at: &str, notes: &mut Notes) {
        let words: Vec<String> = value.split_whitespace().map(str::to_owned).collect();
        for arg in parse(words.get(1..).unwrap_or_default(), |name| is("-p -i -o -l -F -J -c -b -m -S -W -w", name)) {
            match arg {
                Arg::Flag(name, port) if name == "-p" => self.port = port,
                Arg::Flag(name, _) => notes
                    .left_to_do(at, format!("{name} of ssh: put it below a `Host` of ~/.ssh/config, which offsite reads (docs/sftp.md)")),
                Arg::Operand(_) => {}
            }
        }
    }

    /// Parses the words after `gsutil` or `gcloud`.
    pub fn by_gsutil(words: &[String], at: &str, notes: &mut Notes) -> Self {
        let mut said = Self::default();
        let at_rsync = words.iter().position(|word| word == "rsync").map_or(words.len(), |at| at + 1);
        let (before, behind) = words.split_at(at_rsync);
        said.plain.extend(before.iter().filter(|word| word.starts_with('-')).cloned());
        for arg in parse(behind, |name| is("-x -y -a -j --exclude --exclude-name-pattern --include --content-type", name)) {
            match arg {
                Arg::Operand(word) => said.operands.push(word),
                Arg::Flag(name, value) => said.gsutil_flag(&name, &value.unwrap_or_default(), at, notes),
            }
        }
        said
    }

    fn gsutil_flag(&mut self, name: &str, value: &str, at: &str, notes: &mut Notes) {
        match name {
            "-x" | "--exclude" => {
                if value.starts_with('/') {
                    notes.mended(at, format!("-x `{value}`: gsutil's paths have no leading slash, so it excluded nothing; here it works as intended, from the top of the source"));
                }
                match from_regex(value) {
                    Ok(patterns) => self.rules.extend(patterns.into_iter().map(|pattern| PatternRule { keep: false, pattern })),
                    Err(what) => notes.left_out(at, what),
                }
            }
            "-d" | "--delete-unmatched-destination-objects" => self.deletes = true,
            "-r" | "-R" | "--recursive" => {
                self.recursive = true;
                self.plain.push(name.to_owned());
            }
            "-c" | "--checksums-only" => self.options.push(("checksum".into(), true.into())),
            "-n" | "--dry-run" => notes.different(at, "`-n` was a dry run; use `offsite run --dry-run` for that"),
            "-e" | "-C" | "-i" | "-u" | "-U" | "-p" | "-P" | "--ignore-symlinks" | "--preserve-posix" => self.plain.push(name.to_owned()),
            _ => notes.left_out(at, format!("{name} of gsutil has no counterpart")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::words::split;
    use super::*;

    #[test]
    fn every_flag_goes_somewhere() {
        let mut notes = Notes::default();
        let line = "-avx --delete --bwlimit=500 -e 'ssh -p 2222 -i key' --exclude '*.tmp' -f '+ keep/' --max-size=1G --stats /from/";
        let said = RsyncArgs::by_rsync(&split(line).unwrap(), "files", &mut notes);
        assert_eq!((said.deletes, said.recursive, said.port.as_deref()), (true, true, Some("2222")));
        assert_eq!(said.operands, ["/from/"]);
        assert_eq!(said.options, [("one_file_system".to_owned(), true.into()), ("limit_upload".to_owned(), "500K".into())]);
        assert_eq!(
            said.rules.iter().map(|rule| (rule.keep, rule.pattern.as_str())).collect::<Vec<_>>(),
            [(false, "*.tmp"), (true, "keep/")]
        );
        assert_eq!(said.plain, ["-a", "-v", "--stats"]);
        let texts: Vec<&str> = notes.0.iter().map(|note| note.text.as_str()).collect();
        assert!(texts.iter().any(|text| text.contains("--max-size")) && texts.iter().any(|text| text.contains("-i of ssh")), "{texts:?}");
    }
}
