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
