//! Dumps of commands through the whole program.

use std::fs;

use super::{Place, read};

const CONFIG: &str = r#"{ "jobs": { "db": { "destinations": ["$HERE/copy", "$HERE/other"], "keep": { "last": 5 },
    "dumps": { "db.sql": { "command": "cat $HERE/database; exit $(cat $HERE/code)", "min_size": "5", "max_shrink": "50%" },
               "all.tar.zst": { "command": ["tar", "-C", "$HERE/site", "-c", "."], "compress": "zstd" } } } } }"#;

fn place() -> Place {
    let place = Place::new();
    place.config(CONFIG);
    fs::write(place.path("database"), "-- all of it, and more\n").unwrap();
    fs::write(place.path("code"), "0").unwrap();
    place
}

#[test]
fn a_job_of_dumps_alone_is_streamed_to_all_its_destinations() {
    let place = place();
    place.ok(&["run"]);
    for copy in ["copy", "other"] {
        assert_eq!(read(place.path(&format!("{copy}/db.sql"))), "-- all of it, and more\n");
        let packed = fs::read(place.path(&format!("{copy}/all.tar.zst"))).unwrap();
        let tar = zstd::decode_all(&packed[..]).unwrap();
        assert!(tar.windows(6).any(|part| part == b"<html>"), "{} bytes", tar.len());
    }
    // Nothing of it is left on this machine's own disk.
    let left = fs::read_dir(place.path("cache/jobs/nothing")).unwrap().count();
    assert_eq!(left, 0);
    fs::write(place.path("database"), "-- the second\n").unwrap();
    place.ok(&["run"]);
    assert_eq!(read(place.path("copy/db.sql")), "-- the second\n");
    assert_eq!(place.ok(&["cat", "copy", "db.sql", "--at", "1"]), "-- all of it, and more\n");
    place.ok(&["pull", "db", "back"]);
    assert_eq!(read(place.path("back/db.sql")), "-- the second\n");
}

#[test]
fn a_command_that_fails_leaves_the_last_good_dump_and_says_why() {
    let place = place();
    place.ok(&["run"]);
    place.config(&CONFIG.replace("exit $(cat $HERE/code)", "echo lost postgres://me:hush@db/x >&2; exit 7"));
    fs::write(place.path("database"), "-- cut sho").unwrap();
    let ran = place.run(&["run"]);
    assert!(ran.code == 1 && ran.err.contains("the dump db.sql failed, the last good one stays"), "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("exit code 7") && !ran.err.contains("hush") && !ran.out.contains("hush"), "{}", ran.err);
    assert_eq!(read(place.path("copy/db.sql")), "-- all of it, and more\n");
    assert!(place.run(&["status", "copy"]).err.contains("the last run failed: the dump db.sql"));
    // One that is too small, and one that shrank.
    place.config(CONFIG);
    for (text, said) in [("x", "min_size is 5"), ("12345678", "max_shrink")] {
        fs::write(place.path("database"), text).unwrap();
        let ran = place.run(&["run"]);
        assert!(ran.code == 1 && ran.err.contains(said), "{}", ran.err);
        assert_eq!(read(place.path("other/db.sql")), "-- all of it, and more\n");
    }
    place.ok(&["check", "copy"]);
}

#[test]
fn a_dump_beside_a_source_and_one_that_hangs() {
    let place = Place::new();
    let config = r#"{ "jobs": { "j": { "source": "$HERE/site", "destinations": ["$HERE/copy"],
        "dumps": { "m.sql": { "command": "COMMAND", "timeout": "1s" }, "index.html": "echo dumped instead" } } } }"#;
    place.config(&config.replace("COMMAND", "echo fine"));
    let (code, run) = place.json(&["run"]);
    let skipped = run["jobs"][0]["destinations"][0]["skipped"].to_string();
    assert!(code == 0 && skipped.contains("a dump of the job has this name"), "{run}");
    assert_eq!([read(place.path("copy/m.sql")), read(place.path("copy/index.html"))], ["fine\n", "dumped instead\n"]);
    assert_eq!(read(place.path("copy/docs/a.txt")), "first");
    place.config(&config.replace("COMMAND", "echo begun; sleep 100"));
    fs::write(place.path("site/docs/a.txt"), "second").unwrap();
    let ran = place.run(&["run"]);
    assert!(ran.code == 1 && ran.err.contains("longer than 1 s"), "{}", ran.err);
    assert_eq!([read(place.path("copy/m.sql")), read(place.path("copy/docs/a.txt"))], ["fine\n", "second"], "the rest goes on");
    // On a dry run no command runs.
    assert_eq!(place.run(&["run", "--dry-run"]).code, 0);
}

#[test]
fn bad_dumps_are_refused_before_anything_runs() {
    let place = Place::new();
    for (dumps, said) in [
        (r#"{ "a/b.sql": "true" }"#, "without a slash"),
        (r#"{ "a": { "command": "true", "compress": "gzip" } }"#, "jobs.j.dumps.a.compress: `gzip`"),
        (r#"{ "a": { "comand": "true" } }"#, "did you mean `command`?"),
        (r#"{ "a": "" }"#, "an empty command"),
        ("{}", "a job needs a `source`, or `dumps`"),
    ] {
        place.config(&format!(r#"{{ "jobs": {{ "j": {{ "destinations": ["$HERE/copy"], "dumps": {dumps} }} }} }}"#));
        let ran = place.run(&["run"]);
        assert!(ran.code == 2 && ran.err.contains(said), "{dumps}: {}", ran.err);
    }
}

#[test]
fn a_dump_whose_failure_nobody_would_see_is_named() {
    let place = Place::new();
    let config = |dump: &str| place.config(&format!(r#"{{ "jobs": {{ "j": {{ "destinations": ["$HERE/copy"], "dumps": {dump} }} }} }}"#));
    config(r#"{ "db.gz": "cat $HERE/site/index.html | gzip" }"#);
    for args in [&["config", "check"][..], &["run"]] {
        let ran = place.run(args);
        assert!(ran.code == 0 && ran.err.contains("db.gz") && ran.err.contains("pipefail"), "{args:?}: {}", ran.err);
    }
    for fine in [
        r#"{ "a": "echo '|'" }"#,
        r#"{ "a": "true || false" }"#,
        r#"{ "a": "set -o pipefail; echo | cat" }"#,
        r#"{ "a": { "command": "echo | cat", "min_size": "2" } }"#,
        r#"{ "a": ["sh", "-c", "echo | cat"] }"#,
    ] {
        config(fine);
        let ran = place.run(&["config", "check"]);
        assert!(ran.code == 0 && !ran.err.contains("pipefail"), "{fine}: {}", ran.err);
    }
}
