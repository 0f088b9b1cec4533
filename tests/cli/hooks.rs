//! Commands and messages around a job: whose they are, what ends them, what they leave, what the metrics keep.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::jobs::listener;
use super::{Place, read};

impl Place {
    fn started(&self, args: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_offsite"));
        command.args(args).current_dir(self.dir.path()).env("OFFSITE_CACHE_DIR", self.path("cache"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    #[track_caller]
    fn wait_for(&self, name: &str) {
        let began = Instant::now();
        while fs::read(self.path(name)).is_ok_and(|text| text.is_empty()) || !self.path(name).exists() {
            assert!(began.elapsed() < Duration::from_secs(30), "{name} did not come");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

fn signalled(mut child: Child, signal: Signal) -> Option<i32> {
    kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), signal).unwrap();
    child.wait().unwrap().code()
}

#[test]
fn jobs_of_one_name_in_two_configs_are_two() {
    let place = Arc::new(Place::new());
    let job =
        |to: &str, command: &str| format!(r#"{{ "jobs": {{ "db": {{ "dumps": {{ "x": "{command}" }}, "destinations": "{to}" }} }} }}"#);
    for (file, text) in [
        ("a.json", job(&place.path("a").display().to_string(), "echo y > begun; sleep 3; echo x")),
        ("b.json", job(&place.path("b").display().to_string(), "echo x")),
    ] {
        fs::write(place.path(file), text).unwrap();
        fs::set_permissions(place.path(file), fs::Permissions::from_mode(0o600)).unwrap();
    }
    let first = {
        let place = Arc::clone(&place);
        thread::spawn(move || place.run(&["run", "--config", "a.json"]).code)
    };
    place.wait_for("begun");
    let other = place.run(&["run", "--config", "b.json"]);
    let same = place.run(&["run", "--config", "./a.json"]);
    assert_eq!((other.code, same.code), (0, 1), "{} {}", other.err, same.err);
    assert!(same.err.contains("another run of it is in progress"), "{}", same.err);
    assert_eq!(first.join().unwrap(), 0);
}

#[test]
fn each_run_has_an_outcome_of_its_own_and_takes_it_away() {
    let place = Place::new();
    place.config(
        r#"{ "finally": "echo $OFFSITE_OUTCOME >> $HERE/paths",
             "jobs": { "j": { "source": "$HERE/site", "destinations": ["$HERE/copy"], "after": "echo $OFFSITE_OUTCOME >> $HERE/paths; stat -c %a $OFFSITE_OUTCOME > $HERE/mode" } } }"#,
    );
    place.ok(&["run"]);
    place.ok(&["run"]);
    let mut paths: Vec<String> = read(place.path("paths")).lines().map(str::to_owned).collect();
    assert_eq!(read(place.path("mode")), "600\n");
    assert!(paths.iter().all(|path| !fs::exists(path).unwrap()), "{paths:?}");
    assert_eq!(fs::read_dir(place.path("cache/jobs/outcomes")).unwrap().count(), 0);
    paths.sort();
    paths.dedup();
    assert_eq!(paths.len(), 4, "{paths:?}");
}

#[test]
fn a_closed_terminal_ends_a_run_as_ctrl_c_does() {
    let place = Place::new();
    place.config(
        r#"{ "jobs": { "j": { "source": "$HERE/site", "destinations": ["$HERE/copy"], "before": "echo y > $HERE/begun; sleep 60",
                              "on_failure": "echo $OFFSITE_RESULT > $HERE/told", "finally": "touch $HERE/cleaned" } } }"#,
    );
    let through = |words: &[&str]| {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg(env!("CARGO_BIN_EXE_offsite")).arg("run").current_dir(place.dir.path());
        command.env("OFFSITE_CACHE_DIR", place.path("cache")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    };
    // Whoever runs the tests may not want to hear of it.
    let child = through(&["env", "--default-signal=HUP"]);
    place.wait_for("begun");
    assert_eq!(signalled(child, Signal::HUP), Some(130));
    assert_eq!(read(place.path("told")), "interrupted\n");
    assert!(place.path("cleaned").exists());
    // Under nohup nobody is to hear of it.
    fs::remove_file(place.path("begun")).unwrap();
    place.config(
        r#"{ "jobs": { "j": { "source": "$HERE/site", "destinations": ["$HERE/copy"], "before": "echo y > $HERE/begun; sleep 2" } } }"#,
    );
    let child = through(&["nohup"]);
    place.wait_for("begun");
    assert_eq!(signalled(child, Signal::HUP), Some(0));
}

#[test]
fn ctrl_c_ends_the_command_of_a_report() {
    let place = Place::new();
    place.config(
        r#"{ "destinations": { "d": { "url": "$HERE/copy", "report": "echo $$ > $HERE/begun; sleep 60" } },
             "jobs": { "j": { "source": "$HERE/site", "destinations": "d" } } }"#,
    );
    let child = place.started(&["report"]);
    place.wait_for("begun");
    assert_eq!(signalled(child, Signal::INT), Some(130));
    let command = read(place.path("begun"));
    assert!(!fs::exists(format!("/proc/{}", command.trim())).unwrap(), "it is still there");
}

#[test]
fn who_sends_elsewhere_was_not_told() {
    let place = Place::new();
    let (url, seen) = listener("302 Found\r\nlocation: https://login.example/hush");
    place.config(&format!(
        r#"{{ "jobs": {{ "j": {{ "source": "$HERE/site", "destinations": ["$HERE/copy"], "notify": {{ "webhook": "{url}/x" }} }} }} }}"#
    ));
    let ran = place.run(&["run"]);
    assert!(ran.code == 0 && ran.err.contains("it redirects to login.example (status 302 Found)"), "{}", ran.err);
    assert!(!ran.err.contains("hush") && seen.lock().unwrap().len() == 1, "{}", ran.err);
}

#[test]
fn metrics_keep_the_jobs_that_did_not_run_and_everybody_reads_them() {
    let place = Place::new();
    place.config(
        r#"{ "metrics": "$HERE/offsite.prom",
             "jobs": { "a": { "source": "$HERE/site", "destinations": ["$HERE/a"] }, "b": { "source": "$HERE/site", "destinations": ["$HERE/b"] },
                       "gone": { "source": "$HERE/nowhere", "missing": "skip", "destinations": ["$HERE/c"] } } }"#,
    );
    let mut command = Command::new("sh");
    command.args(["-c", "umask 077; exec \"$0\" run a", env!("CARGO_BIN_EXE_offsite")]);
    let ran = command.current_dir(place.dir.path()).env("OFFSITE_CACHE_DIR", place.path("cache")).output().unwrap();
    assert!(ran.status.success());
    let mode = fs::metadata(place.path("offsite.prom")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644, "the collector is another user");
    place.ok(&["run", "b"]);
    place.ok(&["run", "gone"]);
    let metrics = read(place.path("offsite.prom"));
    for line in [
        "offsite_job_success{job=\"a\",type=\"\"} 1",
        "offsite_job_success{job=\"b\",type=\"\"} 1",
        "offsite_job_skipped{job=\"gone\",type=\"\"} 1",
        "offsite_job_skipped{job=\"a\",type=\"\"} 0",
    ] {
        assert!(metrics.lines().any(|known| known == line), "{line}: {metrics}");
    }
    assert!(!metrics.contains("offsite_job_success{job=\"gone\""), "{metrics}");
    assert!(metrics.contains("offsite_job_last_success_timestamp_seconds{job=\"a\",type=\"\"} "), "{metrics}");
    assert!(metrics.contains("offsite_destination_success{job=\"b\",type=\"\",destination=\""), "{metrics}");
}

/// The first Ctrl-C ends `after`, and `finally` still runs. A second one ends offsite, and `finally` with it.
#[test]
fn ctrl_c_ends_a_hook_after_the_job_and_a_second_one_ends_what_runs() {
    let place = Place::new();
    place.config(
        r#"{ "jobs": { "j": { "source": "$HERE/site", "destinations": ["$HERE/copy"], "after": "echo y > $HERE/begun; sleep 60",
                              "finally": "echo $$ > $HERE/cleaning; sleep 60" } } }"#,
    );
    let child = place.started(&["run"]);
    place.wait_for("begun");
    let own = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(own, Signal::INT).unwrap();
    place.wait_for("cleaning");
    assert_eq!(signalled(child, Signal::INT), Some(130));
    let command = read(place.path("cleaning"));
    let began = Instant::now();
    while fs::exists(format!("/proc/{}", command.trim())).unwrap() {
        assert!(began.elapsed() < Duration::from_secs(10), "the hook outlived offsite");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn finally_runs_after_a_job_that_was_skipped() {
    let place = Place::new();
    place.config(
        r#"{ "jobs": { "j": { "source": "$HERE/nowhere", "missing": "skip", "destinations": ["$HERE/copy"], "after": "touch $HERE/after",
                              "finally": "echo $OFFSITE_RESULT > $HERE/told" } } }"#,
    );
    place.ok(&["run", "--dry-run"]);
    assert!(!place.path("told").exists());
    place.ok(&["run"]);
    assert_eq!(read(place.path("told")), "skipped\n");
    assert!(!place.path("after").exists());
}

/// The URL of one destination is the beginning of that of the other. Each run record has the error of its own.
#[test]
fn the_error_of_one_destination_is_not_told_at_another() {
    let place = Place::new();
    let config = |short: &str, long: &str| {
        place.config(&format!(
            r#"{{ "destinations": {{ "short": {{ "url": "$HERE/copy", "initialize": "{short}" }},
                                     "long": {{ "url": "$HERE/copy2", "initialize": "{long}" }} }},
                 "jobs": {{ "j": {{ "source": "$HERE/site", "destinations": ["short", "long"] }} }} }}"#
        ));
    };
    config("true", "true");
    place.ok(&["run"]);
    config("exit 5", "exit 6");
    assert_eq!(place.run(&["run"]).code, 1);
    let told = |name: &str| read(place.path(name).join(".offsite/run.json"));
    assert!(told("copy").contains("exit code 5"), "{}", told("copy"));
    assert!(told("copy2").contains("exit code 6") && !told("copy2").contains("exit code 5"), "{}", told("copy2"));
}

/// A job whose source is missing fails before it has begun. The hooks for a failure run all the same.
#[test]
fn on_failure_and_finally_run_if_the_source_is_missing() {
    let place = Place::new();
    place.config(
        r#"{ "jobs": { "j": { "source": "$HERE/nowhere", "destinations": ["$HERE/copy"], "on_failure": "echo $OFFSITE_RESULT > $HERE/told",
                              "finally": "touch $HERE/cleaned" } } }"#,
    );
    assert_eq!(place.run(&["run", "--dry-run"]).code, 1);
    assert!(!place.path("told").exists());
    assert_eq!(place.run(&["run"]).code, 1);
    assert_eq!(read(place.path("told")), "failed\n");
    assert!(place.path("cleaned").exists());
}
