//! The two systemd units: a service with few permissions, and the timer that starts it.
//!
//! Owns their text. Invariant: a command line reaches the program unchanged: systemd sees no specifier, variable or second
//! word in it.

use super::timetable::{Sandbox, Schedule};

/// The service.
pub fn service(schedule: &Schedule) -> String {
    let Sandbox { writes, copies, mails, shares_tmp, of_user } = &schedule.sandbox;
    let command = schedule.command.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
    let mut text = format!(
        "[Unit]\nDescription=offsite: {}\nWants=network-online.target\nAfter=network-online.target\n\n\
         [Service]\nType=oneshot\nExecStart={command}\nWorkingDirectory=-{}\n",
        percent(&schedule.name),
        percent(&schedule.directory)
    );
    // 3: committed, but some files could not be read. `offsite status` reports it; it is no failure of the unit.
    text.push_str("SuccessExitStatus=3\nNice=10\nIOSchedulingClass=idle\nUMask=0077\nKillMode=mixed\nTimeoutStopSec=2min\n");
    if *of_user {
        // A user's own manager may not set up most of what follows.
        text.push_str("NoNewPrivileges=yes\n");
        return text;
    }
    text.push_str("EnvironmentFile=-/etc/offsite/environment\nCacheDirectory=offsite\nEnvironment=OFFSITE_CACHE_DIR=/var/cache/offsite\n");
    text.push_str("NoNewPrivileges=yes\nProtectSystem=strict\nProtectHome=read-only\n");
    text.push_str(if *shares_tmp { "PrivateTmp=no\n" } else { "PrivateTmp=yes\n" });
    for path in writes {
        text.push_str(&format!("ReadWritePaths={}\n", quoted(&format!("-{}", path.display()))));
    }
    if *mails {
        text.push_str("ReadWritePaths=-/var/spool -/var/mail\n");
    }
    if !copies {
        text.push_str("RestrictSUIDSGID=yes\n");
    }
    for line in [
        "PrivateDevices=yes",
        "ProtectClock=yes",
        "ProtectControlGroups=yes",
        "ProtectHostname=yes",
        "ProtectKernelLogs=yes",
        "ProtectKernelModules=yes",
        "ProtectKernelTunables=yes",
        "LockPersonality=yes",
        "RestrictRealtime=yes",
        "RestrictNamespaces=yes",
        "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
        "SystemCallArchitectures=native",
    ] {
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// The timer.
pub fn timer(schedule: &Schedule) -> String {
    let mut text = format!(
        "[Unit]\nDescription=offsite: {}, when it runs\n\n[Timer]\nOnCalendar={}\n",
        percent(&schedule.name),
        schedule.rhythm.calendar()
    );
    if schedule.jitter > 0 {
        text.push_str(&format!("RandomizedDelaySec={}\n", schedule.jitter));
    }
    // A machine that was off at the time runs it when it is on again.
    text.push_str("Persistent=true\n\n[Install]\nWantedBy=timers.target\n");
    text
}

fn percent(text: &str) -> String {
    text.replace('%', "%%")
}

/// Quotes a text as one word.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:@,+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    let mut out = String::from("\"");
    for c in word.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '%' => out.push_str("%%"),
            '$' => out.push_str("$$"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::times::Rhythm;

    fn schedule() -> Schedule {
        Schedule {
            name: "offsite".into(),
            command: ["/usr/bin/offsite", "run", "--set", "A=it's 50% $HOME \"x\"\n\\"].map(str::to_owned).to_vec(),
            directory: "/srv/50% of it".into(),
            rhythm: Rhythm::Daily(3, 0),
            jitter: 1800,
            sandbox: Sandbox { writes: vec!["/srv/my backup".into()], ..Sandbox::default() },
            host: "h".into(),
        }
    }

    #[test]
    fn a_word_stays_one_word() {
        let text = service(&schedule());
        assert!(text.contains("ExecStart=/usr/bin/offsite run --set \"A=it's 50%% $$HOME \\\"x\\\"\\n\\\\\"\n"), "{text}");
        assert!(
            text.contains("ReadWritePaths=\"-/srv/my backup\"\n")
                && text.contains("ProtectSystem=strict\n")
                && text.contains("PrivateTmp=yes\n")
        );
    }

    #[test]
    fn copies_keep_their_modes_and_mail_reaches_its_spool() {
        let mut schedule = schedule();
        assert!(service(&schedule).contains("RestrictSUIDSGID=yes\n") && !service(&schedule).contains("/var/spool"));
        (schedule.sandbox.copies, schedule.sandbox.mails) = (true, true);
        let text = service(&schedule);
        assert!(!text.contains("RestrictSUIDSGID") && text.contains("ReadWritePaths=-/var/spool -/var/mail\n"), "{text}");
    }

    #[test]
    fn a_timer_makes_up_for_what_was_missed() {
        let text = timer(&schedule());
        assert!(text.contains("OnCalendar=*-*-* 03:00:00\nRandomizedDelaySec=1800\nPersistent=true\n"), "{text}");
    }
}
