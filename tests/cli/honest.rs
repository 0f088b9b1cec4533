//! What `run` and `status` must not call well: a source nobody can see, dumps that fail night after night, commands
//! after a job that fail, records that cannot be judged.

use std::fs;
use std::os::unix::fs::symlink;

use super::{Place, read};

fn snapshots(place: &Place, of: &str) -> Vec<u64> {
    let (_, document) = place.json(&["snapshots", of]);
    document["snapshots"].as_array().unwrap().iter().map(|one| one["number"].as_u64().unwrap()).collect()
}

fn dump(place: &Place, command: &str) {
    let config = r#"{ "jobs": { "db": { "destinations": "$HERE/copy", "keep": { "last": 3 }, "dumps": { "db.sql": "COMMAND" } } } }"#;
    place.config(&config.replace("COMMAND", command));
}

#[test]
fn nights_without_a_dump_let_no_good_one_go() {
    let place = Place::new();
    // The first one of all fails: there is nothing that could stay, and nothing is committed.
    dump(&place, "echo bad; exit 1");
    let ran = place.run(&["run"]);
    assert!(ran.code == 1 && ran.err.contains("no earlier run has one"), "{}", ran.err);
    assert_eq!(place.run(&["snapshots", "copy"]).code, 2, "nothing was committed");
    for night in 1..=3 {
        dump(&place, &format!("echo good {night}"));
        place.ok(&["run"]);
    }
    assert_eq!(snapshots(&place, "copy"), [1, 2, 3]);
    dump(&place, "echo bad; exit 1");
    for _ in 0..4 {
        // What this machine remembers must make no difference.
        let _ = fs::remove_dir_all(place.path("cache"));
        let (code, run) = place.json(&["run"]);
        assert_eq!((code, &run["jobs"][0]["destinations"][0]["snapshot"]), (1, &serde_json::Value::Null));
    }
    assert_eq!(snapshots(&place, "copy"), [1, 2, 3]);
    assert_eq!(place.ok(&["cat", "copy", "db.sql", "--at", "1"]), "good 1\n");
    assert!(place.run(&["status", "copy"]).err.contains("the last run failed"));
    dump(&place, "echo good 4");
    let _ = fs::remove_dir_all(place.path("cache"));
    place.ok(&["run"]);
    assert_eq!(place.ok(&["cat", "copy", "db.sql"]), "good 4\n");
    place.ok(&["check", "copy"]);
}

#[test]
fn a_source_that_cannot_be_seen_is_not_one_that_is_not_there() {
    let place = Place::new();
    fs::write(place.path("file"), "x").unwrap();
    symlink("round", place.path("round")).unwrap();
    for (source, code, said) in [
        ("$HERE/nowhere", 1, "does not exist"),
        ("$HERE/file", 1, "is not a directory"),
        ("$HERE/file/below", 1, "cannot be inspected"),
        ("$HERE/round", 1, "cannot be inspected"),
        ("", 2, "an empty path is not a path"),
    ] {
        place.config(&r#"{ "jobs": { "j": { "source": "SOURCE", "destinations": "$HERE/copy" } } }"#.replace("SOURCE", source));
        let ran = place.run(&["run"]);
        let all = format!("{}{}", ran.out, ran.err);
        assert!(ran.code == code && all.contains(said), "{source}: {} {all}", ran.code);
    }
    // Dumps have nothing to do with it, and are not to be left out in silence.
    place.config(r#"{ "jobs": { "j": { "source": "$HERE/nowhere", "missing": "skip", "destinations": "$HERE/copy", "dumps": { "d": "echo d" } } } }"#);
    let ran = place.run(&["run"]);
    assert!(ran.code == 1 && ran.err.contains("dumps did not run either"), "{}", ran.err);
}

#[test]
fn a_command_before_a_job_may_bring_its_source_about() {
    let place = Place::new();
    let config = |before: &str| {
        place.config(&format!(
            r#"{{ "jobs": {{ "j": {{ "source": "$HERE/mnt", "destinations": "$HERE/copy", "before": "{before}",
                 "after": "echo after >> $HERE/log", "on_failure": "echo failure >> $HERE/log", "finally": "echo $OFFSITE_RESULT >> $HERE/log" }} }} }}"#
        ));
    };
    config("mkdir $HERE/mnt; echo a > $HERE/mnt/a");
    let ran = place.run(&["run", "--dry-run"]);
    assert!(ran.code == 0 && format!("{}{}", ran.out, ran.err).contains("may create it"), "{}{}", ran.out, ran.err);
    place.ok(&["run"]);
    assert_eq!((read(place.path("copy/a")), read(place.path("log"))), ("a\n".into(), "after\ndone\n".into()));
    // One that does not: it fails, or is skipped where that is wanted, and what `before` did is cleaned up.
    fs::remove_dir_all(place.path("mnt")).unwrap();
    fs::remove_file(place.path("log")).unwrap();
    config("true");
    let ran = place.run(&["run"]);
    assert!(ran.code == 1 && ran.err.contains("does not exist"), "{}{}", ran.out, ran.err);
    assert_eq!(read(place.path("log")), "failure\nfailed\n");
    fs::remove_file(place.path("log")).unwrap();
    config("true\", \"missing\": \"skip");
    let ran = place.run(&["run"]);
    assert!(ran.code == 0 && ran.out.contains("skipped"), "{}{}", ran.out, ran.err);
    assert_eq!(read(place.path("log")), "skipped\n");
}

#[test]
fn a_command_after_a_job_or_a_run_that_fails_is_known() {
    let place = Place::new();
    place.config(r#"{ "jobs": { "j": { "source": "$HERE/site", "destinations": "$HERE/copy", "after": "exit 5" } } }"#);
    assert_eq!(place.run(&["run"]).code, 1);
    assert!(place.run(&["status", "copy"]).err.contains("a hook after it failed"));
    assert_eq!(snapshots(&place, "copy"), [1], "what was sent is there");
    for key in ["after", "finally"] {
        place.config(
            &r#"{ "KEY": "exit 7", "jobs": { "j": { "source": "$HERE/site", "destinations": "$HERE/copy" } } }"#.replace("KEY", key),
        );
        let ran = place.run(&["run"]);
        assert!(ran.code == 1 && ran.err.contains("a hook after the run failed"), "{key}: {}", ran.err);
    }
    assert_eq!(place.run(&["status", "copy"]).code, 0, "the job itself did well");
}

#[test]
fn records_that_cannot_be_judged_are_not_well() {
    let place = Place::new();
    place.config(r#"{ "jobs": { "j": { "source": "$HERE/site", "destinations": "$HERE/copy" } } }"#);
    place.ok(&["run"]);
    place.ok(&["check", "copy"]);
    place.ok(&["status", "copy", "--max-age", "1h"]);
    let next_year = std::time::SystemTime::now() + std::time::Duration::from_hours(8760);
    let set = |time| fs::File::options().write(true).open(place.path("copy/.offsite/run.json")).unwrap().set_modified(time).unwrap();
    set(next_year);
    let ran = place.run(&["status", "copy", "--max-age", "1h"]);
    assert!(ran.code == 1 && ran.err.contains("in the future"), "{}{}", ran.out, ran.err);
    set(std::time::SystemTime::now());
    fs::write(place.path("copy/.offsite/check.json"), "{\"result\":\"wro").unwrap();
    let ran = place.run(&["status", "copy"]);
    assert!(ran.code == 1 && ran.err.contains("the record of the last check cannot be read"), "{}{}", ran.out, ran.err);
    fs::write(place.path("copy/.offsite/run.json"), "garbage").unwrap();
    assert_eq!(place.run(&["status", "copy"]).code, 1);
}

#[test]
fn a_dump_named_like_a_directory_is_refused_before_anything_is_touched() {
    let place = Place::new();
    let config = |dumps: &str| {
        place.config(
            &r#"{ "jobs": { "j": { "source": "$HERE/site", "destinations": "$HERE/copy", "dumps": DUMPS } } }"#.replace("DUMPS", dumps),
        );
    };
    config("{}");
    place.ok(&["run"]);
    config(r#"{ "docs": "echo dump" }"#);
    let ran = place.run(&["run"]);
    assert!(ran.code == 2 && ran.err.contains("the source has a directory `docs/`"), "{}", ran.err);
    assert_eq!(snapshots(&place, "copy"), [1]);
    // The directory is gone from the source, and still at the destination.
    fs::rename(place.path("site/docs"), place.path("aside")).unwrap();
    let ran = place.run(&["run"]);
    assert!(ran.code != 0 && ran.err.contains("rename the dump, or run once without it"), "{}", ran.err);
    place.ok(&["check", "copy"]);
    config("{}");
    fs::write(place.path("site/more"), "more").unwrap();
    let ran = place.run(&["run"]);
    assert!(ran.code == 0 || ran.code == 4, "{}", ran.err);
    if ran.code == 0 {
        config(r#"{ "docs": "echo dump" }"#);
        place.ok(&["run"]);
        assert_eq!(read(place.path("copy/docs")), "dump\n");
    }
}

#[test]
fn a_keep_without_a_rule_is_refused() {
    let place = Place::new();
    for keep in ["{}", r#"{ "comment": "later" }"#, r#"{ "last": 0 }"#] {
        place.config(
            &r#"{ "jobs": { "j": { "source": "$HERE/site", "destinations": "$HERE/copy", "keep": KEEP } } }"#.replace("KEEP", keep),
        );
        let ran = place.run(&["run"]);
        assert!(ran.code == 2 && ran.err.contains("jobs.j.keep: no rule keeps any snapshot"), "{keep}: {}", ran.err);
    }
}
