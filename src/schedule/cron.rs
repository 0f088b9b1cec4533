//! One line of a crontab, recognised by a mark.
//!
//! Owns its text, and its insertion into a crontab and removal from it. Cron has no random delay, so the jitter is a
//! delay that is the same every day and differs between hosts. Invariant: in a crontab only lines with the mark change.

use super::timetable::Schedule;
use crate::model::Hash;

/// The line of a schedule, without a line break.
pub fn line(schedule: &Schedule) -> String {
    let spread = u32::try_from(schedule.jitter / 60).unwrap_or(0).min(24 * 60 - 1);
    let hash = Hash::of(schedule.host.as_bytes());
    let later = u32::from_be_bytes([hash.0[0], hash.0[1], hash.0[2], hash.0[3]]) % (spread + 1);
    let command = schedule.command.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
    let command = format!("cd {} && {command}", quoted(&schedule.directory));
    // A percent sign ends a command in a crontab unless a backslash precedes it.
    format!("{} {} {}", schedule.rhythm.fields(later), command.replace('%', "\\%"), mark(&schedule.name))
}

fn mark(name: &str) -> String {
    format!("# offsite schedule: {name}")
}

/// A crontab with the line of a schedule, in place of an earlier one.
pub fn with(crontab: &str, schedule: &Schedule) -> String {
    let mut text = without(crontab, &schedule.name);
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text + &line(schedule) + "\n"
}

/// A crontab without the line of a schedule.
pub fn without(crontab: &str, name: &str) -> String {
    let mark = mark(name);
    crontab.split_inclusive('\n').filter(|line| !line.trim_end().ends_with(&mark)).collect()
}

/// The line of a schedule in a crontab.
pub fn find<'a>(crontab: &'a str, name: &str) -> Option<&'a str> {
    let mark = mark(name);
    crontab.lines().find(|line| line.trim_end().ends_with(&mark))
}

/// One word, quoted for the shell that cron calls.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:@,+%".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::times::Rhythm;
    use crate::schedule::timetable::Sandbox;

    fn schedule(jitter: u64) -> Schedule {
        Schedule {
            name: "nightly".into(),
            command: ["/usr/bin/offsite", "run", "--set", "A=it's 50% \"x\""].map(str::to_owned).to_vec(),
            directory: "/srv/50% of it".into(),
            rhythm: Rhythm::Daily(3, 0),
            jitter,
            sandbox: Sandbox::default(),
            host: "h".into(),
        }
    }

    #[test]
    fn of_a_crontab_only_the_own_line_changes() {
        let others = "MAILTO=root\n# a comment\n0 4 * * * other # offsite schedule: nightly2\n5 5 * * * no newline";
        let once = with(others, &schedule(0));
        assert!(once.starts_with(others) && once.ends_with("# offsite schedule: nightly\n"), "{once}");
        assert_eq!(with(&once, &schedule(0)), once, "the second time it is the same");
        assert_eq!(without(&once, "nightly"), format!("{others}\n"));
        assert_eq!(
            find(&once, "nightly"),
            Some("0 3 * * * cd '/srv/50\\% of it' && /usr/bin/offsite run --set 'A=it'\\''s 50\\% \"x\"' # offsite schedule: nightly")
        );
    }

    #[test]
    fn the_delay_is_of_the_host_and_within_the_jitter() {
        let minutes = |jitter| line(&schedule(jitter)).split(' ').next().unwrap().parse::<u32>().unwrap();
        assert_eq!(minutes(1800), minutes(1800));
        assert!(minutes(1800) <= 30);
    }
}
