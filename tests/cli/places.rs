//! Where jobs go: places in each other's way, values in URLs, and what a refusal there asks to be told.

use std::fs;

use super::{Place, read};

#[test]
fn places_that_are_in_each_others_way_are_seen_before_anything_runs() {
    let place = Place::new();
    fs::create_dir_all(place.path("disk")).unwrap();
    std::os::unix::fs::symlink(place.path("disk"), place.path("link")).unwrap();
    let one = |to: &str| format!(r#"{{ "jobs": {{ "j": {{ "source": "$HERE/site", "destinations": [{to}] }} }} }}"#);
    let two = |a: &str, b: &str| {
        let job = |to: &str| format!(r#"{{ "source": "$HERE/site", "destinations": ["{to}"] }}"#);
        format!(r#"{{ "jobs": {{ "j": {}, "k": {} }} }}"#, job(a), job(b))
    };
    for (config, said) in [
        (two("$HERE/disk/a", "$HERE/link/a/b"), "of the job `j`"),
        (two("$HERE/disk/a", "file://$HERE/no/../disk/a/"), "of the job `j`"),
        (two("s3://b/x", "s3://b/x?endpoint=https://s3.eu-west-1.amazonaws.com/"), "of the job `j`"),
        (two("sftp://me@NAS:22/b", "sftp://nas/b/x"), "of the job `j`"),
        (one(r#""$HERE/site/copy""#), "are one inside the other"),
        (one(r#""$HERE""#), "are one inside the other"),
        (one(r#""$HERE/m1", "$HERE/m1""#), "name each once"),
        (one(r#""$HERE/m1", "$HERE/m1/x""#), "name each once"),
        (one(r#""ftp://nas/x""#), "no backend for `ftp://`"),
    ] {
        place.refused(&config, &["config", "check"], said);
        place.refused(&config, &["run"], said);
        assert!(!place.path("m1").exists() && !place.path("disk/a").exists());
    }
}

#[test]
fn what_a_refusal_names_can_be_said_to_a_run() {
    let place = Place::new();
    let of = |more: &str| format!(r#"{{ "jobs": {{ "j": {{ "source": "$HERE/site", "destinations": ["$HERE/copy"]{more} }} }} }}"#);
    place.config(&of(""));
    // What lies there already: refused, and no word is left where nothing was ever committed.
    fs::create_dir_all(place.path("copy")).unwrap();
    fs::write(place.path("copy/index.html"), "<html>").unwrap();
    let ran = place.run(&["run"]);
    assert!(ran.code == 4 && ran.err.contains("--adopt"), "{} {}", ran.code, ran.err);
    assert!(!place.path("copy/.offsite/run.json").exists());
    place.ok(&["run", "j", "--adopt"]);
    // Too much removed, then everything.
    for n in 0..40 {
        fs::write(place.path(&format!("site/docs/{n}.txt")), "n").unwrap();
    }
    place.ok(&["run", "j"]);
    fs::remove_dir_all(place.path("site/docs")).unwrap();
    assert!(place.run(&["run"]).err.contains("--max-removals"));
    place.ok(&["run", "j", "--max-removals", "100%"]);
    fs::remove_file(place.path("site/index.html")).unwrap();
    assert!(place.run(&["run", "j", "--max-removals", "100%"]).err.contains("--allow-empty"));
    place.ok(&["run", "j", "--max-removals", "100%", "--allow-empty"]);
    // Emptied behind our back.
    fs::write(place.path("site/new.txt"), "new").unwrap();
    fs::remove_dir_all(place.path("copy")).unwrap();
    let ran = place.run(&["run", "j"]);
    assert!(ran.code != 0 && ran.err.contains("--start-over"), "{} {}", ran.code, ran.err);
    place.ok(&["run", "j", "--start-over"]);
    assert_eq!(read(place.path("copy/new.txt")), "new");
}

#[test]
fn a_value_in_a_url_is_a_name_and_sets_nothing() {
    let place = Place::new();
    place.config(
        r#"{ "destinations": { "d": "file://$HERE/copy/$VOLUME" }, "jobs": { "j": { "source": "$HERE/site", "destinations": ["d"] } } }"#,
    );
    for volume in ["q?region=x", "p%20q", "a#b"] {
        place.ok(&["run", "--set", &format!("VOLUME={volume}")]);
        assert!(place.path("copy").join(volume).join("index.html").exists(), "{volume}");
    }
    // In the job's own URL it is expanded once, as in any other text.
    place.config(r#"{ "jobs": { "j": { "source": "$HERE/site", "destinations": ["file://$HERE/own/$VOLUME"] } } }"#);
    place.ok(&["run", "--set", "VOLUME=a$b%20c"]);
    assert!(place.path("own/a$b%20c/index.html").exists());
}

#[test]
fn a_place_as_another_program_writes_it_is_no_directory() {
    let place = Place::new();
    fs::create_dir(place.path("cwd")).unwrap();
    let before = fs::read_dir(place.path("")).unwrap().count();
    for (text, meant) in [
        ("nas:/srv/backup", "sftp://nas/srv/backup"),
        ("me@nas:backup", "sftp://me@nas/~/backup"),
        ("s3:bucket/x", "s3://bucket/x"),
        ("s3:/bucket/x", "s3://bucket/x"),
        ("s3;//bucket/x", "s3://bucket/x"),
        ("remote:x", "sftp://remote/~/x"),
        ("dropbox:x", "dropbox://x"),
        ("~/usb", "$HOME/usb"),
    ] {
        for args in [
            ["sync", "site", text].as_slice(),
            &["sync", text, "copy"],
            &["plan", "site", text],
            &["pull", text, "back"],
            &["pull", "./copy", text],
            &["init", text],
            &["ls", text],
            &["check", text],
            &["repair", "site", text],
            &["repair", "copy", "--from", text],
            &["copy", "copy", text],
            &["copy", text, "other"],
            &["prune", text, "--keep-last", "1"],
            &["status", text],
        ] {
            let ran = place.run(args);
            let refused = if args[0] == "status" { 1 } else { 2 };
            assert!(ran.code == refused && (ran.err.clone() + &ran.out).contains(meant), "{args:?}: {} {}{}", ran.code, ran.out, ran.err);
        }
        for config in [
            format!(r#"{{ "destinations": {{ "d": "{text}" }}, "jobs": {{ "j": {{ "source": "$HERE/site", "destinations": "d" }} }} }}"#),
            format!(r#"{{ "jobs": {{ "j": {{ "source": "$HERE/site", "destinations": "{text}" }} }} }}"#),
            format!(r#"{{ "jobs": {{ "j": {{ "source": "{text}", "destinations": "$HERE/copy" }} }} }}"#),
        ] {
            // A `$` in the hint of a file is the config's own.
            place.refused(&config, &["config", "check"], meant);
            place.refused(&config, &["run"], meant);
        }
        fs::remove_file(place.path("offsite.json")).unwrap();
    }
    for (text, meant) in [("gcs://b/x", "gs://b/x"), ("S3://b/x", "s3://b/x"), ("sft://nas/x", "sftp://nas/x"), ("ftp://nas/x", "mount")] {
        let ran = place.run(&["sync", "site", text]);
        assert!(ran.code == 2 && ran.err.contains(meant), "{text}: {} {}", ran.code, ran.err);
    }
    let after = fs::read_dir(place.path("")).unwrap().filter(|entry| entry.as_ref().unwrap().file_name() != "cache").count();
    assert_eq!(after, before, "nothing was made");
    // A directory that is really called so.
    place.ok(&["sync", "site", "./nas:x"]);
    place.ok(&["pull", "./nas:x", "./back:y"]);
    assert!(place.path("nas:x/index.html").exists() && place.path("back:y/index.html").exists());
}

#[test]
fn another_machine_and_another_source_take_no_place_over_in_silence() {
    let place = Place::new();
    fs::create_dir_all(place.path("other")).unwrap();
    fs::write(place.path("other/mine"), "mine").unwrap();
    place.ok(&["sync", "site", "copy"]);
    // As if another machine had written the newest snapshot, of another source.
    let theirs = |host: &str, source: &str| {
        let snapshots = fs::read_dir(place.path("copy/.offsite/snapshots")).unwrap();
        let newest = snapshots.map(|entry| entry.unwrap().path()).max().unwrap();
        let mut snapshot: serde_json::Value = serde_json::from_str(&read(&newest)).unwrap();
        assert!(snapshot["source"].as_str().unwrap().starts_with('/'), "{snapshot}");
        (snapshot["host"], snapshot["source"]) = (host.into(), source.into());
        fs::write(&newest, snapshot.to_string()).unwrap();
        fs::remove_dir_all(place.path("cache")).unwrap();
    };
    theirs("web1", "/srv/www");
    for args in [["sync", "other", "copy", "--max-removals", "100%"].as_slice(), &["plan", "other", "copy", "--max-removals", "100%"]] {
        let ran = place.run(args);
        let all = ran.out + &ran.err;
        assert!(ran.code == 4 && all.contains("/srv/www on web1") && all.contains("--take-over"), "{args:?}: {} {all}", ran.code);
    }
    assert!(place.path("copy/index.html").exists());
    let config = |more: &str| {
        place.config(&format!(
            r#"{{ "jobs": {{ "j": {{ "source": "$HERE/other", "destinations": "$HERE/copy", "options": {{ "*": {{ "max_removals": "100%" {more} }} }} }} }} }}"#
        ));
    };
    config("");
    assert_eq!(place.run(&["run"]).code, 4);
    place.ok(&["run", "j", "--take-over"]);
    place.ok(&["run"]);
    // One of them: a note, and for a job whose source moved not even that.
    theirs("web1", &place.path("other").display().to_string());
    let ran = place.run(&["run"]);
    assert!(ran.code == 0 && ran.err.contains("on web1"), "{}", ran.err);
    assert!(!place.run(&["run"]).err.contains("on web1"), "it is said once");
    fs::rename(place.path("other"), place.path("moved")).unwrap();
    place.config(&read(place.path("offsite.json")).replace("/other", "/moved"));
    let ran = place.run(&["run"]);
    assert!(ran.code == 0 && ran.err.is_empty(), "{}", ran.err);
    theirs("web1", "/srv/www");
    config(", \"take_over\": true");
    fs::rename(place.path("moved"), place.path("other")).unwrap();
    let ran = place.run(&["run"]);
    assert!(ran.code == 0 && ran.err.is_empty(), "{}", ran.err);
}

#[test]
fn an_empty_variable_in_a_path_is_none() {
    let place = Place::new();
    for (config, said) in [
        (r#"{ "jobs": { "j": { "source": "$HERE/site", "destinations": "$HERE/disk/$CUSTOMER" } } }"#, "is empty"),
        (r#"{ "jobs": { "j": { "source": "$HERE/site/${CUSTOMER}", "destinations": "$HERE/disk/x" } } }"#, "is empty"),
        (
            r#"{ "destinations": { "d": "s3://b/$CUSTOMER" }, "jobs": { "j": { "source": "$HERE/site", "destinations": "d" } } }"#,
            "${NAME:-}",
        ),
    ] {
        place.config(config);
        for args in [["run", "--set", "CUSTOMER="].as_slice(), &["config", "check", "--set", "CUSTOMER="]] {
            let ran = place.run(args);
            assert!(ran.code == 2 && ran.err.contains(said), "{config}: {} {}", ran.code, ran.err);
        }
    }
    place.config(r#"{ "jobs": { "j": { "source": "$HERE/site", "destinations": "$HERE/disk/${CUSTOMER:-}/$TYPE" } } }"#);
    place.ok(&["run", "--set", "CUSTOMER="]);
    assert!(place.path("disk/index.html").exists());
}

#[test]
fn a_disk_that_is_not_there_now_is_left_out() {
    let place = Place::new();
    let config = |age: &str| {
        place.config(&format!(
            r#"{{ "destinations": {{ "usb": {{ "url": "$HERE/usb/copy", "absent": "skip", "max_age": "{age}" }}, "near": "$HERE/near" }},
                 "jobs": {{ "j": {{ "source": "$HERE/site", "destinations": ["usb", "near"] }},
                            "k": {{ "source": "$HERE/site/docs", "destinations": {{}} }} }} }}"#
        ).replace(r#""destinations": {}"#, r#""destinations": "$HERE/k""#));
    };
    config("40d");
    let ran = place.run(&["run", "j"]);
    assert!(ran.code == 0 && ran.out.contains("usb/copy: absent, skipped"), "{}{}", ran.out, ran.err);
    assert!(!place.path("usb").exists() && place.path("near/index.html").exists());
    assert_eq!(place.run(&["status"]).code, 1, "it was never there");
    fs::create_dir_all(place.path("usb/copy")).unwrap();
    place.ok(&["run"]);
    assert!(place.path("usb/copy/index.html").exists());
    // Unplugged: the mount point is there and empty.
    fs::rename(place.path("usb/copy"), place.path("unplugged")).unwrap();
    fs::create_dir(place.path("usb/copy")).unwrap();
    for args in [["run", "--dry-run"].as_slice(), &["run"]] {
        assert!(place.ok(args).contains("absent, skipped"), "{args:?}");
    }
    assert_eq!(fs::read_dir(place.path("usb/copy")).unwrap().count(), 0);
    let status = place.ok(&["status", "--max-age", "1h"]);
    assert!(status.contains("absent"), "{status}");
    config("0");
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    let old = place.run(&["status"]);
    assert!(old.code == 1 && old.err.contains("usb/copy"), "{}{}", old.out, old.err);
    place.config(r#"{ "destinations": { "d": { "url": "s3://b/x", "absent": "skip" } }, "jobs": { "j": { "source": "$HERE/site", "destinations": "d" } } }"#);
    assert!(place.run(&["config", "check"]).err.contains("only a directory"));
}

#[test]
fn a_source_that_may_be_missing_is_skipped_and_shown() {
    let place = Place::new();
    place.config(r#"{ "jobs": { "j": { "source": "$HERE/site", "missing": "skip", "destinations": "$HERE/copy" } } }"#);
    place.ok(&["run"]);
    fs::rename(place.path("site"), place.path("away")).unwrap();
    assert!(place.ok(&["run"]).contains("skipped"));
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    place.ok(&["run"]);
    let (code, status) = place.json(&["status"]);
    let row = &status["destinations"][0];
    assert_eq!((code, &row["result"]), (0, &"skipped".into()), "{status}");
    assert!(row["age"].as_u64().unwrap() >= 1, "its age is that of the last run that did anything: {status}");
    assert_eq!(place.run(&["status", "--max-age", "0"]).code, 1);
    place.config(r#"{ "jobs": { "j": { "source": "$HERE/site", "destinations": "$HERE/copy" } } }"#);
    let ran = place.run(&["run"]);
    assert!(ran.code == 1 && ran.err.contains("\"missing\": \"skip\""), "{}", ran.err);
    assert_eq!(place.run(&["status"]).code, 1);
}
