//! What the verbs print, and that it is true.

use std::fs;

use super::{Place, read};

#[test]
fn a_sync_says_what_it_did() {
    let place = Place::new();
    let out = place.ok(&["sync", "site", "copy", "second"]);
    assert_eq!(out.matches("snapshot 1 (the first)").count(), 2, "{out}");
    assert!(out.contains("added 4"), "{out}");
    assert_eq!(read(place.path("copy/docs/a.txt")), "first");
    assert_eq!(read(place.path("second/index.html")), "<html>");
    fs::write(place.path("site/docs/a.txt"), "second one").unwrap();
    let out = place.ok(&["sync", "site", "copy", "--verbose"]);
    assert!(out.contains("snapshot 2 (base 1)") && out.contains("changed   docs/a.txt"), "{out}");
    assert_eq!(place.ok(&["sync", "site", "second", "--quiet"]), "");
}

#[test]
fn a_dry_run_is_a_plan() {
    let place = Place::new();
    let plan = place.ok(&["plan", "site", "copy"]);
    assert_eq!(plan, place.ok(&["sync", "site", "copy", "--dry-run"]));
    assert!(plan.contains("added     docs/a.txt") && plan.contains("$0.0000 (none)"), "{plan}");
    assert!(!place.path("copy/docs").exists());
}

#[test]
fn a_saved_plan_is_carried_out_once() {
    let place = Place::synced();
    fs::write(place.path("site/new"), "new").unwrap();
    place.ok(&["plan", "site", "copy", "--out", "friday.plan"]);
    assert!(!place.path("copy/new").exists());
    assert!(place.ok(&["apply", "friday.plan"]).contains("snapshot 2 (base 1)"));
    assert_eq!(read(place.path("copy/new")), "new");
    let again = place.run(&["apply", "friday.plan"]);
    assert_eq!(again.code, 1, "{}", again.err);
    assert!(again.err.contains("no longer fits"), "{}", again.err);
}

#[test]
fn a_saved_plan_is_held_to_a_budget_when_it_is_carried_out() {
    let place = Place::synced();
    fs::write(place.path("site/new"), "new").unwrap();
    place.ok(&["plan", "site", "copy", "--out", "friday.plan", "--price", "aws/s3-standard"]);
    for budget in [["--max-bytes", "2"], ["--max-cost", "0.000001"]] {
        let ran = place.run(&[&["apply", "friday.plan"], &budget[..]].concat());
        assert_eq!(ran.code, 4, "{}", ran.err);
        assert!(ran.err.contains(budget[0]), "{}", ran.err);
        assert!(!place.path("copy/new").exists());
    }
    place.ok(&["apply", "friday.plan", "--max-bytes", "100", "--max-cost", "1"]);
}

#[test]
fn looking_back() {
    let place = Place::synced();
    fs::write(place.path("site/docs/a.txt"), "second one").unwrap();
    fs::remove_file(place.path("site/index.html")).unwrap();
    place.ok(&["sync", "site", "copy"]);
    assert_eq!(place.ok(&["snapshots", "copy"]).lines().count(), 3);
    let top = place.ok(&["ls", "copy"]);
    assert!(top.contains("docs/  (2 entries)") && !top.contains("a.txt"), "{top}");
    assert!(place.ok(&["ls", "copy", "--at", "1", "--recursive"]).contains("index.html"));
    let diff = place.ok(&["diff", "copy", "1"]);
    assert!(diff.contains("removed   index.html") && diff.contains("docs/a.txt  5 B → 10 B"), "{diff}");
    assert_eq!(place.ok(&["cat", "copy", "docs/a.txt"]), "second one");
    assert_eq!(place.ok(&["cat", "copy", "docs/a.txt", "--at", "1"]), "first");
    let history = place.ok(&["history", "copy", "docs/a.txt"]);
    assert_eq!(history.lines().count(), 3, "{history}");
    assert_eq!(place.run(&["ls", "copy", "no/such"]).code, 2);
}

#[test]
fn a_pull_brings_it_back() {
    let place = Place::synced();
    fs::write(place.path("site/docs/a.txt"), "second one").unwrap();
    place.ok(&["sync", "site", "copy"]);
    assert!(place.ok(&["pull", "copy", "back", "--dry-run"]).contains("would be pulled"));
    assert!(!place.path("back/docs").exists());
    place.ok(&["pull", "copy", "back", "--at", "1"]);
    assert_eq!(read(place.path("back/docs/a.txt")), "first");
    fs::write(place.path("back/extra"), "x").unwrap();
    place.ok(&["pull", "copy", "back"]);
    assert_eq!(read(place.path("back/docs/a.txt")), "second one");
    assert!(place.path("back/extra").exists());
    place.ok(&["pull", "copy", "back", "--delete"]);
    assert!(!place.path("back/extra").exists());
}

#[test]
fn pruning() {
    let place = Place::synced();
    fs::write(place.path("site/docs/a.txt"), "second one").unwrap();
    place.ok(&["sync", "site", "copy"]);
    let out = place.ok(&["prune", "copy", "--keep-last", "1", "--dry-run"]);
    assert!(out.contains("snapshots to delete: 1, kept: 1") && out.contains("kept 2\n"), "{out}");
    assert_eq!(place.ok(&["cat", "copy", "docs/a.txt", "--at", "1"]), "first");
    assert!(place.ok(&["prune", "copy", "--keep-last", "1"]).contains("deleted 1\n"));
    assert_eq!(place.run(&["cat", "copy", "docs/a.txt", "--at", "1"]).code, 2);
}

#[test]
fn names_do_not_steer_the_terminal() {
    let place = Place::new();
    fs::write(place.path("site/a\x1b[2Jb"), "x").unwrap();
    place.ok(&["sync", "site", "copy"]);
    for args in [&["ls", "copy"][..], &["plan", "site", "other"], &["sync", "site", "third", "-v"]] {
        let out = place.ok(args);
        assert!(out.contains("a\\u{1b}[2Jb") && !out.contains('\x1b'), "{args:?}: {out}");
    }
}
