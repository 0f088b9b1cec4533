//! What is left out of a sync and a pull.

use std::fs;

use super::{Place, read};

#[test]
fn the_last_rule_that_matches_wins() {
    let place = Place::new();
    fs::write(place.path("rules"), "# a comment\n*.txt\n").unwrap();
    place.ok(&["sync", "site", "one", "--exclude", "*.log", "--include", "b.log"]);
    assert!(place.path("one/docs/b.log").exists());
    place.ok(&["sync", "site", "two", "--include", "b.log", "--exclude", "*.log"]);
    assert!(!place.path("two/docs/b.log").exists());
    place.ok(&["sync", "site", "three", "--exclude-from", "rules", "--include", "a.txt"]);
    assert!(place.path("three/docs/a.txt").exists());
    place.ok(&["sync", "site", "four", "--include", "a.txt", "--exclude-from", "rules"]);
    assert!(!place.path("four/docs/a.txt").exists() && place.path("four/docs/b.log").exists());
    assert_eq!(place.run(&["sync", "site", "five", "--exclude-from", "no-such-file"]).code, 2);
}

#[test]
fn only_is_anchored_at_the_top() {
    let place = Place::new();
    fs::create_dir_all(place.path("site/old/docs")).unwrap();
    fs::write(place.path("site/old/docs/a.txt"), "old").unwrap();
    place.ok(&["sync", "site", "copy"]);
    place.ok(&["pull", "copy", "part", "--only", "docs/"]);
    assert_eq!(read(place.path("part/docs/a.txt")), "first");
    assert!(!place.path("part/old").exists() && !place.path("part/index.html").exists());
    place.ok(&["pull", "copy", "glob", "--only", "*.txt", "--exclude", "old/"]);
    assert!(place.path("glob/docs/a.txt").exists() && !place.path("glob/docs/b.log").exists());
    assert!(!place.path("glob/old/docs/a.txt").exists());
}

#[test]
fn large_files_stay_there() {
    let place = Place::synced();
    place.ok(&["pull", "copy", "small", "--max-size", "5"]);
    assert!(place.path("small/docs/a.txt").exists() && !place.path("small/index.html").exists());
}

#[test]
fn a_pattern_that_did_nothing_is_named_once() {
    let place = Place::new();
    let absolute = place.path("site/docs").canonicalize().unwrap().display().to_string();
    fs::write(place.path("rules"), "- docs/\n").unwrap();
    let never =
        ["sync", "site", "one", "--exclude", "./docs/", "--exclude", &absolute, "--exclude", "../site/docs", "--exclude-from", "rules"];
    let ran = place.run(&never);
    assert_eq!((ran.code, ran.err.matches("can never match").count()), (0, 3), "{}", ran.err);
    assert!(ran.err.contains("write `/docs/`") && ran.err.contains("as for rsync"), "{}", ran.err);
    let ran = place.run(&["sync", "site", "two", "--exclude", "*.log", "--exclude", "*.bak"]);
    assert!(ran.err.contains("`*.bak` matched nothing") && !ran.err.contains("*.log"), "{}", ran.err);
    assert!(!place.run(&["sync", "site", "two", "--exclude", "*.bak", "--quiet"]).err.contains("matched"));
    let (code, document) = place.json(&["sync", "site", "two", "--exclude", "*.bak"]);
    assert_eq!((code, document["notes"][0].as_str()), (0, Some("the pattern `*.bak` matched nothing")));
    let ran = place.run(&["pull", "two", "back", "--only", "docs/", "--only", "nothing-such"]);
    assert!(ran.code == 0 && ran.err.contains("nothing-such` matched nothing"), "{} {}", ran.code, ran.err);
}
