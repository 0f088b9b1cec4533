//! `offsite schedule`: units that systemd takes, a crontab that keeps its other lines.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::{Place, Ran, read};

/// A crontab of the test's own: the program of that name, as far as it is used.
const CRONTAB: &str = "#!/bin/sh\nf=\"$(dirname \"$0\")/table\"\ncase \"$1\" in\n-l) [ -f \"$f\" ] && cat \"$f\" || { echo 'no crontab for me' >&2; exit 1; } ;;\n-) cat > \"$f\" ;;\nesac\n";

impl Place {
    fn scheduled(&self, args: &[&str]) -> Ran {
        self.scheduled_with(args, &[])
    }

    fn scheduled_with(&self, args: &[&str], variables: &[(&str, &str)]) -> Ran {
        let path = format!("{}:/usr/bin:/bin", self.path("bin").display());
        let mut command = Command::new(env!("CARGO_BIN_EXE_offsite"));
        command.arg("schedule").args(args).current_dir(self.dir.path()).env_clear().env("PATH", path).env("HOME", self.dir.path());
        command.envs(variables.iter().copied());
        Ran::from(command.output().unwrap())
    }

    fn with_jobs(&self) {
        let config = r#"{ "jobs": { "files": { "source": "site", "destinations": ["HERE/backup/files"] } }, "variables": { "X": "1" } }"#;
        fs::write(self.path("offsite.json"), config.replace("HERE", &self.dir.path().display().to_string())).unwrap();
        fs::create_dir_all(self.path("bin")).unwrap();
        fs::write(self.path("bin/crontab"), CRONTAB).unwrap();
        fs::set_permissions(self.path("bin/crontab"), fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn units_are_hardened_and_may_write_where_jobs_do() {
    let place = Place::new();
    place.with_jobs();
    let args = ["install", "--daily", "03:00", "--jitter", "30m", "--units", "units", "--set", "X=50% $HOME"];
    let ran = place.scheduled(&args);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let (service, timer) = (read(place.path("units/offsite.service")), read(place.path("units/offsite.timer")));
    // Copies keep the set-id bits of what they are copies of.
    assert!(!service.contains("RestrictSUIDSGID"), "{service}");
    for line in ["ProtectSystem=strict", "NoNewPrivileges=yes", "--set \"X=50%% $$HOME\"", "SuccessExitStatus=3"] {
        assert!(service.contains(line), "{line}: {service}");
    }
    assert!(service.contains(&format!("ReadWritePaths=-{}\n", place.dir.path().display())), "{service}");
    assert!(service.contains(&format!("--config {}", place.path("offsite.json").display())), "{service}");
    // What the config names without a `/` in front is where it was when the schedule was made.
    let here = place.dir.path().canonicalize().unwrap();
    assert!(service.contains(&format!("\nWorkingDirectory=-{}\n", here.display())), "{service}");
    assert!(timer.contains("OnCalendar=*-*-* 03:00:00\nRandomizedDelaySec=1800\nPersistent=true\n"), "{timer}");
    // The same again is the same; then it is shown, and taken away.
    assert_eq!(place.scheduled(&args).code, 0);
    assert!(place.scheduled(&["show", "--units", "units"]).out.contains("OnCalendar"));
    assert_eq!(place.scheduled(&["remove", "--units", "units"]).code, 0);
    assert_eq!(place.scheduled(&["show", "--units", "units"]).code, 1);
    assert_eq!(fs::read_dir(place.path("units")).unwrap().count(), 0);
}

#[test]
fn a_crontab_keeps_its_other_lines() {
    let place = Place::new();
    place.with_jobs();
    fs::write(place.path("bin/table"), "MAILTO=root\n5 5 * * * other\n").unwrap();
    for _ in 0..2 {
        let ran = place.scheduled(&["install", "files", "--weekly", "Sun 03:00", "--cron", "--name", "offsite-files"]);
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    }
    let table = read(place.path("bin/table"));
    assert!(table.starts_with("MAILTO=root\n5 5 * * * other\n0 3 * * 0 ") && table.lines().count() == 3, "{table}");
    assert!(table.ends_with(" files # offsite schedule: offsite-files\n"), "{table}");
    assert_eq!(place.scheduled(&["remove", "--cron", "--name", "offsite-files"]).code, 0);
    assert_eq!(read(place.path("bin/table")), "MAILTO=root\n5 5 * * * other\n");
}

#[test]
fn what_cannot_run_is_not_scheduled() {
    let place = Place::new();
    place.with_jobs();
    for (args, said) in [
        (&["install", "--daily", "25:00", "--cron"][..], "not a time of day"),
        (&["install", "--cron"], "--daily"),
        (&["install", "nope", "--daily", "3:00", "--cron"], "no job `nope`"),
        (&["install", "--daily", "3:00", "--cron", "--name", "ssh"], "begin with `offsite`"),
        (&["install", "--daily", "3:00", "--cron", "--config", "no.json"], "no.json"),
        (&["install", "--weekly", "Sunxyz 3:00", "--cron"], "not a day and time"),
        (&["install", "--daily", "3:00", "--cron", "--set", "X=a\n* * * * * touch /tmp/x"], "a schedule cannot contain"),
        (&["install", "--daily", "3:00", "--units", "units", "--set", "X=a\rb"], "a schedule cannot contain"),
    ] {
        let ran = place.scheduled(args);
        assert!(ran.code == 2 && ran.err.contains(said), "{args:?}: {} {}", ran.code, ran.err);
    }
    assert!(!place.path("bin/table").exists() && !place.path("units").exists());
}

#[test]
fn what_only_the_environment_of_now_knows_is_met_before_the_night() {
    let place = Place::new();
    place.with_jobs();
    let config = r#"{ "variables": { "KNOWN": "k" }, "before": ["echo $TOLD $HOME $KNOWN"],
        "jobs": { "files": { "source": "site", "destinations": ["HERE/backup/$VOLUME/$KNOWN"] } } }"#;
    fs::write(place.path("offsite.json"), config.replace("HERE", &place.dir.path().display().to_string())).unwrap();
    let variables = [("VOLUME", "acme"), ("TOLD", "t"), ("KNOWN", "other")];
    for way in [&["--cron"][..], &["--units", "units"]] {
        let install = [&["install", "--daily", "03:00"], way].concat();
        let ran = place.scheduled_with(&install, &variables);
        assert!(ran.code == 2 && ran.err.contains("does not have: VOLUME\nhint: "), "{} {}", ran.code, ran.err);
        let ran = place.scheduled_with(&[&install[..], &["--set", "VOLUME=acme"]].concat(), &variables);
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert!(
            ran.err.contains("a scheduled run does not have: ") && ran.err.contains("TOLD") && !ran.err.contains("VOLUME"),
            "{}",
            ran.err
        );
    }
}

#[test]
fn credentials_that_a_timer_does_not_have_are_named_for_every_kind_of_store() {
    let place = Place::new();
    place.with_jobs();
    for (url, name) in [
        ("s3://acme/site", "AWS_SECRET_ACCESS_KEY"),
        ("gs://acme/site", "GOOGLE_APPLICATION_CREDENTIALS"),
        ("b2://acme/site", "B2_APPLICATION_KEY"),
        ("sftp://nas/site", "SSH_AUTH_SOCK"),
    ] {
        let config = format!(r#"{{ "jobs": {{ "files": {{ "source": "site", "destinations": ["{url}"] }} }} }}"#);
        fs::write(place.path("offsite.json"), config).unwrap();
        let install = ["install", "--daily", "03:00", "--units", "units"];
        let ran = place.scheduled_with(&install, &[(name, "set")]);
        assert!(ran.code == 0 && ran.err.contains(&format!("does not have: {name}")), "{url}: {} {}", ran.code, ran.err);
        let ran = place.scheduled_with(&install, &[("B2_APPLICATION_KEY_ID", ""), ("AWS_PROFILE", "")]);
        assert!(ran.code == 0 && !ran.err.contains("does not have"), "{url}: {} {}", ran.code, ran.err);
    }
}

#[test]
fn units_never_open_half_the_system_for_what_is_not_there() {
    let place = Place::new();
    place.with_jobs();
    for to in ["/offsite-test-no-such/x", "/srv/offsite-test-no-such/x", "/var/lib/offsite-test-no-such"] {
        fs::write(place.path("offsite.json"), format!(r#"{{ "jobs": {{ "j": {{ "source": "site", "destinations": ["{to}"] }} }} }}"#))
            .unwrap();
        let ran = place.scheduled(&["install", "--daily", "03:00", "--units", "units"]);
        assert!(ran.code == 2 && ran.err.contains("create it first: mkdir -p"), "{to}: {} {}", ran.code, ran.err);
    }
    assert!(!place.path("units").exists());
}
